/** What RET to another code segment and IRET have in common: which selectors a return may load, and what it leaves behind. SDM Vol. 2, "RET", "IRET". */
import {
  AR_CODE,
  AR_DC,
  AR_DPL_SHIFT,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_UNUSABLE,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
} from "../spec/architecture";
import { CS, ES, GS, SS, cpu } from "../state/cpu";
import { isLongMode, segBase, segLimit, segRights, setSegment } from "../state/mode";
import {
  descriptorRights,
  dplOf,
  isCodeSizeLegal,
  readDescriptor,
  setFromDescriptor,
} from "../mmu/descriptors";
import { raiseGp, raiseWithError } from "../interrupts/raise";

/** Segments that an outer ring must not use become null (SDM Vol. 2, "RET"); FS and GS keep their bases, for 64-bit code. */
export function dropInnerSegments(): void {
  for (let index: u32 = ES; index <= GS; index++) {
    if (index == CS || index == SS) continue;
    const rights = segRights(index);
    const isConforming = (rights & (AR_CODE | AR_DC)) == (AR_CODE | AR_DC);
    if ((rights & AR_UNUSABLE) == 0 && !isConforming && dplOf(rights) < cpu.cpl)
      setSegment(index, 0, segBase(index), segLimit(index), AR_UNUSABLE);
  }
}

/** Checks CS of a far return or IRET; `cpu.descriptor` holds its descriptor. */
export function isReturnCodeLegal(selector: u32): bool {
  if ((selector & 0xfffc) == 0) {
    raiseGp();
    return false;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return false;
  const rights = descriptorRights(cpu.descriptor);
  const rpl = selector & 3;
  const dpl = dplOf(rights);
  const isCode = (rights & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
  if (
    !isCode ||
    rpl < cpu.cpl ||
    ((rights & AR_DC) != 0 ? dpl > rpl : dpl != rpl) ||
    !isCodeSizeLegal(rights)
  ) {
    raiseGp(selector & 0xfffc);
    return false;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, selector & 0xfffc);
    return false;
  }
  return true;
}

/** Checks SS of a return to an outer ring, or of IRET in 64-bit mode. A null one is marked by descriptor 0. */
export function isReturnStackLegal(selector: u32, code: u64, rpl: u32): bool {
  if ((selector & 0xfffc) == 0) {
    if (isLongMode() && (code & AR_L) != 0 && rpl != 3 && (selector & 3) == rpl) {
      cpu.descriptor = 0;
      return true;
    }
    raiseGp();
    return false;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return false;
  const rights = descriptorRights(cpu.descriptor);
  if (
    (selector & 3) != rpl ||
    (rights & (AR_S | AR_CODE | AR_RW)) != (AR_S | AR_RW) ||
    dplOf(rights) != rpl
  ) {
    raiseGp(selector & 0xfffc);
    return false;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_SS, selector & 0xfffc);
    return false;
  }
  return true;
}

/** Loads SS with what `isReturnStackLegal` has found. */
export function setReturnStack(selector: u32, descriptor: u64, cpl: u32): void {
  if (descriptor == 0) setSegment(SS, selector, 0, 0, AR_UNUSABLE | ((<u64>cpl) << AR_DPL_SHIFT));
  else setFromDescriptor(SS, selector, descriptor);
}

/**
 * Far JMP, CALL and RET. SDM Vol. 2.
 *
 * Call gates and tasks: gates.ts, task-switch.ts.
 */
import { AR_CODE, AR_DC, AR_L, AR_P, AR_S, VECTOR_GP, VECTOR_NP } from "../spec/architecture";
import { CS, RSP, cpu, getGpr, setGpr } from "../state/cpu";
import { isLongMode, isRealOrV86, segLimit, segSelector, updateContext, updateMode } from "../state/mode";
import {
  descriptorLimit,
  descriptorRights,
  dplOf,
  isCodeSizeLegal,
  loadRealSegment,
  readDescriptor,
  setAccessed,
  setCodeSegment,
} from "../mmu/descriptors";
import { Linear, isCanonical } from "../mmu/linear";
import { Address } from "../mmu/segmented";
import { faultPending, raiseGp, raiseWithError } from "../interrupts/raise";
import { R_DISP } from "../records/record";
import { throughSystemDescriptor } from "./gates";
import { Op } from "./operand";
import { dropStack, peekStack, pushValue, setStackPointer } from "./stack";
import { dropInnerSegments, isReturnCodeLegal, isReturnStackLegal, setReturnStack } from "./return-checks";

/** Does a far target's selector name a gate or a TSS? Reads its descriptor to `cpu.descriptor`; check `faultPending()`. */
function isSystemDescriptor(selector: u32): bool {
  if ((selector & 0xfffc) == 0) {
    raiseGp();
    return false;
  }
  return readDescriptor(selector, VECTOR_GP) && (descriptorRights(cpu.descriptor) & AR_S) == 0;
}

/** Checks a code descriptor for a direct far JMP or CALL; its DPL rules. `cpu.descriptor` holds it. */
function isDirectTargetLegal(selector: u32): bool {
  if ((selector & 0xfffc) == 0) {
    raiseGp();
    return false;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return false;
  const rights = descriptorRights(cpu.descriptor);
  const dpl = dplOf(rights);
  const isCode = (rights & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
  const isAllowed = (rights & AR_DC) != 0 ? dpl <= cpu.cpl : (selector & 3) <= cpu.cpl && dpl == cpu.cpl;
  if (!isCode || !isAllowed || !isCodeSizeLegal(rights)) {
    raiseGp(selector & 0xfffc);
    return false;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, selector & 0xfffc);
    return false;
  }
  return true;
}

export function isFarTargetLegal(descriptor: u64, target: u64): bool {
  const rights = descriptorRights(descriptor);
  const fits =
    isLongMode() && (rights & AR_L) != 0 ? isCanonical(target) : target <= <u64>descriptorLimit(descriptor);
  if (!fits) raiseGp();
  return fits;
}

function farJump(selector: u32, target: u64): void {
  if (isRealOrV86()) {
    if (target > <u64>segLimit(CS)) {
      raiseGp();
      return;
    }
    loadRealSegment(CS, selector);
    cpu.rip = target;
    cpu.leave = 1;
    updateMode();
    return;
  }
  if (isSystemDescriptor(selector)) {
    throughSystemDescriptor(selector, false, cpu.rip);
    return;
  }
  if (faultPending() || !isDirectTargetLegal(selector)) return;
  const descriptor = cpu.descriptor;
  if (!isFarTargetLegal(descriptor, target) || !setAccessed(selector, descriptor)) return;
  setCodeSegment(selector, descriptor, cpu.cpl);
  cpu.rip = target;
  cpu.leave = 1;
  updateMode();
}

function farCall<T>(selector: u32, target: u64): void {
  const returnRip = cpu.rip;
  let descriptor: u64 = 0;
  if (isRealOrV86()) {
    if (target > <u64>segLimit(CS)) {
      raiseGp();
      return;
    }
  } else {
    if (isSystemDescriptor(selector)) {
      throughSystemDescriptor(selector, true, returnRip);
      return;
    }
    if (faultPending() || !isDirectTargetLegal(selector)) return;
    descriptor = cpu.descriptor;
    if (!isFarTargetLegal(descriptor, target)) return;
  }
  const rsp = getGpr(RSP);
  pushValue<T>(<T>segSelector(CS));
  if (faultPending()) return;
  pushValue<T>(<T>returnRip);
  if (faultPending()) {
    setGpr(RSP, rsp);
    return;
  }
  if (isRealOrV86()) loadRealSegment(CS, selector);
  else {
    if (!setAccessed(selector, descriptor)) {
      setGpr(RSP, rsp);
      return;
    }
    setCodeSegment(selector, descriptor, cpu.cpl);
  }
  cpu.rip = target;
  cpu.leave = 1;
  updateMode();
}

/** ptr16:16 and ptr16:32: offset in the immediate, selector in the displacement field. */
export function jmpFarDirect<T>(record: usize): void {
  farJump(<u32>load<u16>(record, R_DISP), <u64>Op.imm<T>(record));
}

export function callFarDirect<T>(record: usize): void {
  farCall<T>(<u32>load<u16>(record, R_DISP), <u64>Op.imm<T>(record));
}

/** Reads m16:16, m16:32 or m16:64. The selector goes to cpu.farSelector; check `faultPending()`. */
export function readFarPointer<T>(record: usize): T {
  const linear = Address.forRead(record, <u32>sizeof<T>() + 2);
  if (faultPending()) return <T>0;
  const offset = Linear.read<T>(linear);
  if (faultPending()) return <T>0;
  cpu.farSelector = <u32>Linear.read<u16>(linear + sizeof<T>());
  return offset;
}

export function jmpFarMemory<T>(record: usize): void {
  const target = <u64>readFarPointer<T>(record);
  if (!faultPending()) farJump(cpu.farSelector, target);
}

export function callFarMemory<T>(record: usize): void {
  const target = <u64>readFarPointer<T>(record);
  if (!faultPending()) farCall<T>(cpu.farSelector, target);
}

function farReturn<T>(extra: u64): void {
  const size = sizeof<T>();
  const target = <u64>peekStack<T>(0);
  if (faultPending()) return;
  const selector = (<u32>peekStack<T>(size)) & 0xffff;
  if (faultPending()) return;
  if (isRealOrV86()) {
    if (target > <u64>segLimit(CS)) {
      raiseGp();
      return;
    }
    dropStack(size * 2 + extra);
    loadRealSegment(CS, selector);
    cpu.rip = target;
    cpu.leave = 1;
    updateMode();
    return;
  }
  if (!isReturnCodeLegal(selector)) return;
  const descriptor = cpu.descriptor;
  const rpl = selector & 3;
  if (rpl == cpu.cpl) {
    if (!isFarTargetLegal(descriptor, target) || !setAccessed(selector, descriptor)) return;
    dropStack(size * 2 + extra);
    setCodeSegment(selector, descriptor, rpl);
    cpu.rip = target;
    cpu.leave = 1;
    updateMode();
    return;
  }
  const newPointer = <u64>peekStack<T>(size * 2 + extra);
  if (faultPending()) return;
  const newSs = (<u32>peekStack<T>(size * 3 + extra)) & 0xffff;
  if (faultPending()) return;
  if (!isReturnStackLegal(newSs, descriptorRights(descriptor), rpl)) return;
  const stack = cpu.descriptor;
  if (
    !isFarTargetLegal(descriptor, target) ||
    !setAccessed(selector, descriptor) ||
    (stack != 0 && !setAccessed(newSs, stack))
  )
    return;
  setCodeSegment(selector, descriptor, rpl);
  setReturnStack(newSs, stack, rpl);
  setGpr(RSP, newPointer);
  updateMode();
  setStackPointer(newPointer + extra);
  dropInnerSegments();
  cpu.rip = target;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

export function retFar<T>(record: usize): void {
  farReturn<T>(0);
}

export function retFarPop<T>(record: usize): void {
  farReturn<T>(<u64>Op.imm<u16>(record));
}

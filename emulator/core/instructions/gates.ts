/** Call gates, task gates and TSS descriptors as targets of far CALL and JMP. SDM Vol. 2A, "CALL" and "JMP". */
import {
  AR_CODE,
  AR_DB,
  AR_DC,
  AR_L,
  AR_P,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  AR_DPL_SHIFT,
  TYPE_CALL_GATE,
  TYPE_CALL_GATE16,
  TYPE_TASK_GATE,
  TYPE_TSS16_AVAILABLE,
  TYPE_TSS16_BUSY,
  TYPE_TSS_AVAILABLE,
  TYPE_TSS_BUSY,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
  VECTOR_TS,
} from "../spec/architecture";
import { CS, RSP, SS, TR, cpu, getGpr, setGpr } from "../state/cpu";
import {
  isLongMode,
  segBase,
  segLimit,
  segRights,
  segSelector,
  setSegment,
  updateContext,
  updateMode,
} from "../state/mode";
import {
  descriptorAddress,
  descriptorBase,
  descriptorLimit,
  descriptorRights,
  dplOf,
  isStackLarge,
  readDescriptor,
  setAccessed,
  setCodeSegment,
  setFromDescriptor,
} from "../mmu/descriptors";
import { Linear, System, isCanonical } from "../mmu/linear";
import { faultPending, raiseGp, raiseWithError } from "../interrupts/raise";
import { readInnerStack } from "../interrupts/deliver";
import { TASK_BY_CALL, TASK_BY_JMP, switchTask } from "./task-switch";

/**
 * A far CALL or JMP whose selector names a system descriptor, which `cpu.descriptor` holds.
 *
 * @param nextRip address of the instruction behind it
 */
export function throughSystemDescriptor(selector: u32, isCall: bool, nextRip: u64): void {
  const rights = descriptorRights(cpu.descriptor);
  const dpl = dplOf(rights);
  const code = selector & 0xfffc;
  if (dpl < cpu.cpl || dpl < (selector & 3)) {
    raiseGp(code);
    return;
  }
  const type = rights & (AR_S | AR_TYPE);
  const isLong = isLongMode();
  if (type == TYPE_CALL_GATE || (type == TYPE_CALL_GATE16 && !isLong)) {
    if ((rights & AR_P) == 0) raiseWithError(VECTOR_NP, code);
    else throughCallGate(selector, isCall, nextRip);
    return;
  }
  if (isLong) {
    raiseGp(code);
    return;
  }
  const cause = isCall ? TASK_BY_CALL : TASK_BY_JMP;
  if (type == TYPE_TASK_GATE) {
    if ((rights & AR_P) == 0) raiseWithError(VECTOR_NP, code);
    else switchTask((<u32>(cpu.descriptor >> 16)) & 0xffff, cause, nextRip, 0, 0);
    return;
  }
  const isTss =
    type == TYPE_TSS_AVAILABLE ||
    type == TYPE_TSS16_AVAILABLE ||
    type == TYPE_TSS_BUSY ||
    type == TYPE_TSS16_BUSY;
  if (isTss) switchTask(selector, cause, nextRip, 0, 0);
  else raiseGp(code);
}

function throughCallGate(gateSelector: u32, isCall: bool, nextRip: u64): void {
  const gate = cpu.descriptor;
  const isLong = isLongMode();
  const isWide = (descriptorRights(gate) & 8) != 0;
  let target = (gate & 0xffff) | (isWide ? (gate >> 32) & 0xffff0000 : 0);
  if (isLong) {
    const at = descriptorAddress(gateSelector);
    const limit = (gateSelector & 4) != 0 ? 0xffffffff : <u32>cpu.gdtrLimit;
    if ((gateSelector & 0xfff8) + 15 > limit) {
      raiseGp(gateSelector & 0xfffc);
      return;
    }
    const high = System.read<u64>(at + 8);
    if (faultPending()) return;
    // The type of the upper half must be 0.
    if (((high >> 40) & 0x1f) != 0) {
      raiseGp(gateSelector & 0xfffc);
      return;
    }
    target |= high << 32;
  }
  const selector = (<u32>(gate >> 16)) & 0xffff;
  if ((selector & 0xfffc) == 0) {
    raiseGp();
    return;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return;
  const descriptor = cpu.descriptor;
  const rights = descriptorRights(descriptor);
  const dpl = dplOf(rights);
  const isConforming = (rights & AR_DC) != 0;
  const isAllowed = isCall || isConforming ? dpl <= cpu.cpl : dpl == cpu.cpl;
  const isCode = (rights & (AR_S | AR_CODE)) == (AR_S | AR_CODE);
  if (!isCode || !isAllowed || (isLong && (rights & (AR_L | AR_DB)) != AR_L)) {
    raiseGp(selector & 0xfffc);
    return;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, selector & 0xfffc);
    return;
  }
  if (isLong ? !isCanonical(target) : target > <u64>descriptorLimit(descriptor)) {
    raiseGp();
    return;
  }
  const size: u32 = isLong ? 8 : isWide ? 4 : 2;
  const newCpl = isCall && !isConforming ? dpl : cpu.cpl;
  const done = !isCall
    ? setAccessed(selector, descriptor)
    : newCpl == cpu.cpl
      ? callSame(size, selector, descriptor, nextRip)
      : isLong
        ? callInnerLong(newCpl, selector, descriptor, nextRip)
        : callInner(newCpl, size, (<u32>(gate >> 32)) & 31, selector, descriptor, nextRip);
  if (!done) return;
  setCodeSegment(selector, descriptor, newCpl);
  cpu.rip = target;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

/** Mask of the stack pointer in a stack segment. */
function stackMask(rights: u64): u64 {
  return (rights & AR_DB) != 0 ? 0xffffffff : 0xffff;
}

function write(linear: u64, size: u32, value: u64): bool {
  if (size == 8) return Linear.write<u64>(linear, value);
  const wrapped = linear & 0xffffffff;
  return size == 4 ? Linear.write<u32>(wrapped, <u32>value) : Linear.write<u16>(wrapped, <u16>value);
}

function callSame(size: u32, selector: u32, descriptor: u64, nextRip: u64): bool {
  const rsp = getGpr(RSP);
  const isLong = size == 8;
  const mask: u64 = isLong ? 0xffffffffffffffff : stackMask(segRights(SS));
  const base: u64 = isLong ? 0 : segBase(SS);
  const top = rsp & mask;
  const low = (top - 2 * size) & mask;
  if (!isLong && !isStackLarge(segRights(SS), segLimit(SS), low, low + 2 * size)) {
    raiseWithError(VECTOR_SS, 0);
    return false;
  }
  if (!write(base + low + size, size, <u64>segSelector(CS)) || !write(base + low, size, nextRip))
    return false;
  if (!setAccessed(selector, descriptor)) return false;
  setGpr(RSP, isLong ? low : (rsp & ~mask & 0xffffffff) | low);
  return true;
}

/** To an inner ring: new stack, with the caller's stack pointer and `count` parameters on it. */
function callInner(newCpl: u32, size: u32, count: u32, selector: u32, descriptor: u64, nextRip: u64): bool {
  if (!readInnerStack(newCpl, 0)) return false;
  const stack = cpu.descriptor;
  const newSs = cpu.innerSs;
  const rights = descriptorRights(stack);
  const mask = stackMask(rights);
  const base = descriptorBase(stack);
  const bytes = (4 + count) * size;
  const top = cpu.innerEsp & mask;
  const low = (top - bytes) & mask;
  if (!isStackLarge(rights, descriptorLimit(stack), low, low + bytes)) {
    raiseWithError(VECTOR_SS, newSs & 0xfffc);
    return false;
  }
  const oldCpl = cpu.cpl;
  const oldBase = segBase(SS);
  const oldMask = stackMask(segRights(SS));
  const oldEsp = getGpr(RSP);
  // Parameters are read as the caller would read them, and all is written as the new ring does.
  for (let i: u32 = 0; i < count; i++) {
    const from = (oldBase + ((oldEsp + i * size) & oldMask)) & 0xffffffff;
    const value: u64 = size == 4 ? <u64>Linear.read<u32>(from) : <u64>Linear.read<u16>(from);
    if (faultPending()) return false;
    if (!writeInner(newCpl, oldCpl, base + low + (2 + i) * size, size, value)) return false;
  }
  if (
    !writeInner(newCpl, oldCpl, base + low + (2 + count) * size, size, oldEsp) ||
    !writeInner(newCpl, oldCpl, base + low + (3 + count) * size, size, <u64>segSelector(SS)) ||
    !writeInner(newCpl, oldCpl, base + low + size, size, <u64>segSelector(CS)) ||
    !writeInner(newCpl, oldCpl, base + low, size, nextRip)
  )
    return false;
  if (!setAccessed(selector, descriptor) || !setAccessed(newSs, stack)) return false;
  setFromDescriptor(SS, newSs, stack);
  setGpr(RSP, (cpu.innerEsp & ~mask & 0xffffffff) | low);
  return true;
}

/** One write with the new ring's rights; the CPL is the old one again afterwards. */
function writeInner(newCpl: u32, oldCpl: u32, linear: u64, size: u32, value: u64): bool {
  cpu.cpl = newCpl;
  updateContext();
  const done = write(linear, size, value);
  cpu.cpl = oldCpl;
  updateContext();
  return done;
}

/** To an inner ring in long mode: RSP from the TSS, SS null. */
function callInnerLong(newCpl: u32, selector: u32, descriptor: u64, nextRip: u64): bool {
  const offset: u32 = 4 + (newCpl << 3);
  if (offset + 7 > segLimit(TR)) {
    raiseWithError(VECTOR_TS, segSelector(TR) & 0xfffc);
    return false;
  }
  const top = System.read<u64>(segBase(TR) + offset);
  if (faultPending()) return false;
  if (!isCanonical(top)) {
    raiseWithError(VECTOR_SS, 0);
    return false;
  }
  const oldCpl = cpu.cpl;
  if (
    !writeInner(newCpl, oldCpl, top - 8, 8, <u64>segSelector(SS)) ||
    !writeInner(newCpl, oldCpl, top - 16, 8, getGpr(RSP)) ||
    !writeInner(newCpl, oldCpl, top - 24, 8, <u64>segSelector(CS)) ||
    !writeInner(newCpl, oldCpl, top - 32, 8, nextRip)
  )
    return false;
  if (!setAccessed(selector, descriptor)) return false;
  setSegment(SS, newCpl, 0, 0, AR_UNUSABLE | ((<u64>newCpl) << AR_DPL_SHIFT));
  setGpr(RSP, top - 32);
  return true;
}

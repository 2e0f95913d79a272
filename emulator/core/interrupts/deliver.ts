/**
 * Delivery of interrupts and exceptions through the IDT (SDM Vol. 3A, "Interrupt and Exception Handling"), double
 * and triple faults, and the stop on the way for VMX.
 */
import {
  AR_CODE,
  AR_DB,
  AR_DC,
  AR_DPL_SHIFT,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_UNUSABLE,
  FLAG_AC,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  TYPE_INTERRUPT_GATE,
  TYPE_INTERRUPT_GATE16,
  TYPE_TASK_GATE,
  TYPE_TRAP_GATE,
  TYPE_TRAP_GATE16,
  VECTOR_DB,
  VECTOR_DE,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_SS,
  VECTOR_TS,
} from "../spec/architecture";
import { CS, DS, ES, FS, GS, RSP, SHUTDOWN, SS, TR, cpu, getGpr, setGpr } from "../state/cpu";
import { getFlags } from "../state/flags";
import {
  isLongMode,
  isProtected,
  isVirtual8086,
  segBase,
  segLimit,
  segRights,
  segSelector,
  setSegment,
  updateContext,
  updateMode,
} from "../state/mode";
import {
  descriptorLimit,
  descriptorRights,
  dplOf,
  isStackLarge,
  isWithinCodeLimit,
  loadRealSegment,
  readDescriptor,
  setAccessed,
  setCodeSegment,
  setFromDescriptor,
} from "../mmu/descriptors";
import { Linear, System, isCanonical } from "../mmu/linear";
import {
  FAULT_NON_CANONICAL,
  FAULT_RETRY,
  FAULT_VM_EXIT,
  NO_FAULT,
  faultPending,
  raiseWithError,
} from "./raise";
import { NO_TASK_FAULT, TASK_BY_GATE, pushTaskError, switchTask } from "../instructions/task-switch";
import { applyDebugConditions } from "./debug";
import { deliverRedirected, isRedirected } from "./virtual-8086";
import { DEBUGCTL_BTF, DEBUGCTL_LBR } from "../spec/msr";
import { exitOnException, exitOnTripleFault } from "../vmx/event-exits";

/** Where an event comes from; decides privilege checks, the EXT bit and the VMX interruption type. */
export const SOURCE_EXTERNAL: u32 = 0;
export const SOURCE_NMI: u32 = 2;
export const SOURCE_EXCEPTION: u32 = 3;
export const SOURCE_SOFTWARE: u32 = 4;
/** INT1, and the #DB it raises. */
export const SOURCE_PRIVILEGED: u32 = 5;
/** INT3 and INTO. */
export const SOURCE_SOFTWARE_EXCEPTION: u32 = 6;

function isSoftware(source: u32): bool {
  return source == SOURCE_SOFTWARE || source == SOURCE_SOFTWARE_EXCEPTION;
}

/** Contributory exceptions for the double-fault rule. */
function isContributory(vector: i32): bool {
  return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/**
 * Delivers an event with everything that can follow: a fault on the way becomes that fault, a double fault or
 * shutdown; in VMX non-root operation any of them may be a VM exit instead.
 *
 * @param nextRip return address of a software interrupt or trap; for faults, the instruction's own RIP
 */
export function deliver(vector: i32, source: u32, hasError: bool, error: u32, nextRip: u64): void {
  let back = nextRip;
  let current = vector;
  let from = source;
  let withError = hasError;
  let code = error;
  // The event whose delivery is under way, for IDT-vectoring information.
  let first = true;
  let previous: i32 = -1;
  let previousFrom: u32 = 0;
  let previousError: bool = false;
  let previousCode: u32 = 0;
  for (;;) {
    // There are no error codes in real-address mode: SDM Vol. 3C, "Information for VM Exits Due to Vectored Events".
    if (!isProtected()) withError = false;
    const isException = from == SOURCE_EXCEPTION || from >= SOURCE_PRIVILEGED;
    if (cpu.vmxNonRoot != 0 && isException && !(first && cpu.injecting != 0)) {
      if (
        exitOnException(current, from, withError, code, previous, previousFrom, previousError, previousCode)
      )
        return;
    }
    if (from == SOURCE_EXCEPTION && current == VECTOR_PF) cpu.cr2 = cpu.cr2Pending;
    if (current == VECTOR_DB && cpu.debugConditions != 0) applyDebugConditions();
    if (current == VECTOR_DB && isException) endBranchTracing();
    cpu.deliveringVector = current;
    cpu.deliveringSource = from;
    cpu.deliveringHasError = withError ? 1 : 0;
    cpu.deliveringError = code;
    cpu.faultVector = NO_FAULT;
    const rspBefore = getGpr(RSP);
    cpu.taskSwitched = 0;
    if (!isProtected()) deliverReal(current, back);
    else if (isLongMode()) deliverLong(current, from, withError, code, back);
    else {
      const isRedirection = from == SOURCE_SOFTWARE && isVirtual8086() && isRedirected(<u32>current);
      if (isRedirection) deliverRedirected(<u32>current, back);
      else if (!faultPending()) deliverProtected(current, from, withError, code, back);
    }
    const fault = cpu.faultVector;
    if (fault == NO_FAULT) {
      cpu.deliveringVector = -1;
      return;
    }
    if (cpu.taskSwitched == 0) setGpr(RSP, rspBefore);
    // A fault on the way is a fault: it returns to the instruction, or to the task just switched to.
    back = cpu.rip;
    if (fault == FAULT_VM_EXIT || fault == FAULT_RETRY) {
      cpu.deliveringVector = -1;
      return;
    }
    previous = current;
    previousFrom = from;
    previousError = withError;
    previousCode = code;
    cpu.deliveringVector = -1;
    const second = fault == FAULT_NON_CANONICAL ? VECTOR_SS : fault;
    const isFault = from == SOURCE_EXCEPTION;
    if (isFault && current == VECTOR_DF) {
      cpu.faultVector = NO_FAULT;
      if (cpu.vmxNonRoot != 0 && exitOnTripleFault()) return;
      cpu.activity = SHUTDOWN;
      cpu.leave = 1;
      return;
    }
    const isDouble =
      isFault &&
      ((isContributory(current) && isContributory(second)) ||
        (current == VECTOR_PF && (isContributory(second) || second == VECTOR_PF)));
    first = false;
    from = SOURCE_EXCEPTION;
    if (isDouble) {
      current = VECTOR_DF;
      withError = true;
      code = 0;
    } else {
      current = second;
      withError = fault == FAULT_NON_CANONICAL ? true : cpu.faultHasError != 0;
      code = fault == FAULT_NON_CANONICAL ? 0 : cpu.faultError;
    }
  }
}

/** A debug exception clears IA32_DEBUGCTL's LBR and BTF. SDM Vol. 3B, "Single-Stepping on Branches". */
function endBranchTracing(): void {
  if ((cpu.debugCtl & (DEBUGCTL_LBR | DEBUGCTL_BTF)) == 0) return;
  cpu.debugCtl &= ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
  cpu.guestStateChanged = 1;
}

/** Error code for a fault about the event's own IDT entry. */
function idtError(vector: i32, source: u32): u32 {
  return ((<u32>vector) << 3) | 2 | ext(source);
}

function ext(source: u32): u32 {
  return isSoftware(source) ? 0 : 1;
}

/** Real-address mode: the interrupt vector table at IDTR. */
function deliverReal(vector: i32, nextRip: u64): void {
  const at = (<u32>vector) << 2;
  if (at + 3 > <u32>cpu.idtrLimit) {
    raiseWithError(VECTOR_GP, 0);
    return;
  }
  const entry = Linear.read<u32>(cpu.idtrBase + at);
  if (faultPending()) return;
  const mask: u64 = (segRights(SS) & AR_DB) != 0 ? 0xffffffff : 0xffff;
  const top = getGpr(RSP) & mask;
  const low = (top - 6) & mask;
  if (!isStackLarge(segRights(SS), segLimit(SS), low, low + 6)) {
    raiseWithError(VECTOR_SS, 0);
    return;
  }
  const base = segBase(SS);
  cpu.pushPointer = top;
  if (
    !pushFrame(base, mask, 2, <u32>getFlags()) ||
    !pushFrame(base, mask, 2, segSelector(CS)) ||
    !pushFrame(base, mask, 2, <u32>nextRip)
  )
    return;
  setGpr(RSP, (getGpr(RSP) & ~mask) | low);
  cpu.rflags = cpu.rflags & ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
  loadRealSegment(CS, entry >> 16);
  cpu.rip = <u64>(entry & 0xffff);
  updateMode();
  updateContext();
}

/** Faults store RF = 1 in the image of RFLAGS (SDM Vol. 3B, "Resume Flag"), other events as it is. */
function resumeFlag(vector: i32, source: u32): u64 {
  return source == SOURCE_EXCEPTION && vector != 1 && vector != VECTOR_DF ? FLAG_RF : 0;
}

/** 64-bit gates: 16-byte entries, IST, stack aligned to 16, SS:RSP always pushed. */
function deliverLong(vector: i32, source: u32, hasError: bool, error: u32, nextRip: u64): void {
  const at = (<u32>vector) << 4;
  if (at + 15 > <u32>cpu.idtrLimit) {
    raiseWithError(VECTOR_GP, idtError(vector, source));
    return;
  }
  const low = System.read<u64>(cpu.idtrBase + at);
  if (faultPending()) return;
  const high = System.read<u64>(cpu.idtrBase + at + 8);
  if (faultPending()) return;
  const rights = (low >> 40) & 0xff;
  const type = rights & 0x1f;
  if (type != TYPE_INTERRUPT_GATE && type != TYPE_TRAP_GATE) {
    raiseWithError(VECTOR_GP, idtError(vector, source));
    return;
  }
  if (isSoftware(source) && dplOf(rights) < cpu.cpl) {
    raiseWithError(VECTOR_GP, idtError(vector, source));
    return;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, idtError(vector, source));
    return;
  }
  const selector = (<u32>(low >> 16)) & 0xffff;
  const target = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high << 32);
  if ((selector & 0xfffc) == 0) {
    raiseWithError(VECTOR_GP, ext(source));
    return;
  }
  if (!readDescriptor(selector, VECTOR_GP)) {
    cpu.faultError |= ext(source);
    return;
  }
  const descriptor = cpu.descriptor;
  const code = descriptorRights(descriptor);
  const dpl = dplOf(code);
  if ((code & (AR_S | AR_CODE)) != (AR_S | AR_CODE) || dpl > cpu.cpl) {
    raiseWithError(VECTOR_GP, (selector & 0xfffc) | ext(source));
    return;
  }
  if ((code & AR_P) == 0) {
    raiseWithError(VECTOR_NP, (selector & 0xfffc) | ext(source));
    return;
  }
  if ((code & (AR_L | AR_DB)) != AR_L) {
    raiseWithError(VECTOR_GP, (selector & 0xfffc) | ext(source));
    return;
  }
  const ist = (<u32>(low >> 32)) & 7;
  const newCpl = (code & AR_DC) != 0 ? cpu.cpl : dpl;
  let rsp = getGpr(RSP);
  if (ist != 0 || newCpl != cpu.cpl) {
    const offset: u32 = ist != 0 ? 0x24 + ((ist - 1) << 3) : 4 + (newCpl << 3);
    if (offset + 7 > segLimit(TR)) {
      raiseWithError(VECTOR_TS, (segSelector(TR) & 0xfffc) | ext(source));
      return;
    }
    rsp = System.read<u64>(segBase(TR) + offset);
    if (faultPending()) return;
    if (!isCanonical(rsp)) {
      raiseWithError(VECTOR_SS, ext(source));
      return;
    }
  }
  if (!isCanonical(target)) {
    raiseWithError(VECTOR_GP, ext(source));
    return;
  }
  rsp &= ~(<u64>15);
  const oldSs = segSelector(SS);
  const oldCs = segSelector(CS);
  const oldRsp = getGpr(RSP);
  const flags = getFlags() | resumeFlag(vector, source);
  const savedCpl = cpu.cpl;
  const frame: u64 = hasError ? 48 : 40;
  // The frame is written with the new privilege: check all of it first, then commit.
  cpu.cpl = newCpl;
  if (newCpl != savedCpl) updateContext();
  const bottom = rsp - frame;
  let done =
    Linear.write<u64>(rsp - 8, <u64>oldSs) &&
    Linear.write<u64>(rsp - 16, oldRsp) &&
    Linear.write<u64>(rsp - 24, flags) &&
    Linear.write<u64>(rsp - 32, <u64>oldCs) &&
    Linear.write<u64>(rsp - 40, nextRip);
  if (done && hasError) done = Linear.write<u64>(bottom, <u64>error);
  if (!done || !setAccessed(selector, descriptor)) {
    cpu.cpl = savedCpl;
    updateContext();
    return;
  }
  setGpr(RSP, bottom);
  if (newCpl != savedCpl) setSegment(SS, newCpl, 0, 0, AR_UNUSABLE | ((<u64>newCpl) << AR_DPL_SHIFT));
  setCodeSegment(selector, descriptor, newCpl);
  cpu.rip = target;
  let clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
  if (type == TYPE_INTERRUPT_GATE) clear |= FLAG_IF;
  cpu.rflags &= ~clear;
  updateMode();
  updateContext();
}

/** Pushes on a stack given as segment base and mask, moving `cpu.pushPointer`. */
function pushFrame(base: u64, mask: u64, size: u32, value: u32): bool {
  const pointer = (cpu.pushPointer - size) & mask;
  const linear = (base + pointer) & 0xffffffff;
  const done = size == 4 ? Linear.write<u32>(linear, value) : Linear.write<u16>(linear, <u16>value);
  cpu.pushPointer = pointer;
  return done;
}

/** 8-byte gates of protected mode, to inner, same or (from virtual-8086) ring 0. */
function deliverProtected(vector: i32, source: u32, hasError: bool, error: u32, nextRip: u64): void {
  const at = (<u32>vector) << 3;
  if (at + 7 > <u32>cpu.idtrLimit) {
    raiseWithError(VECTOR_GP, idtError(vector, source));
    return;
  }
  const gate = System.read<u64>(cpu.idtrBase + at);
  if (faultPending()) return;
  const rights = (gate >> 40) & 0xff;
  const type = rights & 0x1f;
  const isWide = type == TYPE_INTERRUPT_GATE || type == TYPE_TRAP_GATE;
  const isNarrow = type == TYPE_INTERRUPT_GATE16 || type == TYPE_TRAP_GATE16;
  const isTask = type == TYPE_TASK_GATE;
  if ((!isWide && !isNarrow && !isTask) || (isSoftware(source) && dplOf(rights) < cpu.cpl)) {
    raiseWithError(VECTOR_GP, idtError(vector, source));
    return;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, idtError(vector, source));
    return;
  }
  const selector = (<u32>(gate >> 16)) & 0xffff;
  if (isTask) {
    if (!switchTask(selector, TASK_BY_GATE, nextRip, ext(source), resumeFlag(vector, source))) return;
    cpu.taskSwitched = 1;
    if (cpu.taskFault == NO_TASK_FAULT && hasError) pushTaskError(error);
    return;
  }
  const size: u32 = isWide ? 4 : 2;
  const target = isWide ? (gate & 0xffff) | ((gate >> 32) & 0xffff0000) : gate & 0xffff;
  if ((selector & 0xfffc) == 0) {
    raiseWithError(VECTOR_GP, ext(source));
    return;
  }
  if (!readDescriptor(selector, VECTOR_GP)) {
    if (cpu.faultVector == VECTOR_GP) cpu.faultError |= ext(source);
    return;
  }
  const descriptor = cpu.descriptor;
  const code = descriptorRights(descriptor);
  const dpl = dplOf(code);
  if ((code & (AR_S | AR_CODE)) != (AR_S | AR_CODE) || dpl > cpu.cpl) {
    raiseWithError(VECTOR_GP, (selector & 0xfffc) | ext(source));
    return;
  }
  if ((code & AR_P) == 0) {
    raiseWithError(VECTOR_NP, (selector & 0xfffc) | ext(source));
    return;
  }
  const fromV86 = isVirtual8086();
  const newCpl = (code & AR_DC) != 0 ? cpu.cpl : dpl;
  if (fromV86 && newCpl != 0) {
    raiseWithError(VECTOR_GP, (selector & 0xfffc) | ext(source));
    return;
  }
  if (!isWithinCodeLimit(code, descriptorLimit(descriptor), target)) {
    raiseWithError(VECTOR_GP, ext(source));
    return;
  }
  const flags = <u32>(getFlags() | resumeFlag(vector, source));
  const oldSs = segSelector(SS);
  const oldCs = segSelector(CS);
  const oldEsp = <u32>getGpr(RSP);
  const oldCpl = cpu.cpl;
  let stackBase = segBase(SS);
  let stackMask: u64 = (segRights(SS) & AR_DB) != 0 ? 0xffffffff : 0xffff;
  let newSsDescriptor: u64 = 0;
  let newSs: u32 = 0;
  if (newCpl != oldCpl) {
    if (!readInnerStack(newCpl, ext(source))) return;
    newSs = cpu.innerSs;
    newSsDescriptor = cpu.descriptor;
    stackBase = ((newSsDescriptor >> 16) & 0xffffff) | ((newSsDescriptor >> 56) << 24);
    stackMask = (descriptorRights(newSsDescriptor) & AR_DB) != 0 ? 0xffffffff : 0xffff;
    cpu.pushPointer = cpu.innerEsp;
  } else cpu.pushPointer = (<u64>oldEsp) & stackMask;
  const frame = <u64>(((fromV86 ? 9 : newCpl != oldCpl ? 5 : 3) + (hasError ? 1 : 0)) * size);
  const low = (cpu.pushPointer - frame) & stackMask;
  const stackRights = newCpl != oldCpl ? descriptorRights(newSsDescriptor) : segRights(SS);
  const stackLimit = newCpl != oldCpl ? descriptorLimit(newSsDescriptor) : segLimit(SS);
  if (!isStackLarge(stackRights, stackLimit, low, low + frame)) {
    raiseWithError(VECTOR_SS, (newSs & 0xfffc) | ext(source));
    return;
  }
  cpu.cpl = newCpl;
  const flagsBefore = cpu.rflags;
  if (fromV86) cpu.rflags &= ~FLAG_VM;
  if (newCpl != oldCpl) updateContext();
  let done: bool = true;
  if (newCpl != oldCpl) {
    if (fromV86)
      done =
        pushFrame(stackBase, stackMask, size, segSelector(GS)) &&
        pushFrame(stackBase, stackMask, size, segSelector(FS)) &&
        pushFrame(stackBase, stackMask, size, segSelector(DS)) &&
        pushFrame(stackBase, stackMask, size, segSelector(ES));
    done =
      done && pushFrame(stackBase, stackMask, size, oldSs) && pushFrame(stackBase, stackMask, size, oldEsp);
  }
  done =
    done &&
    pushFrame(stackBase, stackMask, size, flags) &&
    pushFrame(stackBase, stackMask, size, oldCs) &&
    pushFrame(stackBase, stackMask, size, <u32>nextRip) &&
    (!hasError || pushFrame(stackBase, stackMask, size, error));
  if (!done || !setAccessed(selector, descriptor)) {
    cpu.cpl = oldCpl;
    cpu.rflags = flagsBefore;
    updateContext();
    return;
  }
  if (newCpl != oldCpl) {
    setFromDescriptor(SS, newSs, newSsDescriptor);
    setGpr(RSP, cpu.pushPointer);
    if (fromV86) {
      setSegment(GS, 0, 0, 0, AR_UNUSABLE);
      setSegment(FS, 0, 0, 0, AR_UNUSABLE);
      setSegment(DS, 0, 0, 0, AR_UNUSABLE);
      setSegment(ES, 0, 0, 0, AR_UNUSABLE);
    }
  } else setGpr(RSP, ((<u64>oldEsp) & ~stackMask & 0xffffffff) | cpu.pushPointer);
  setCodeSegment(selector, descriptor, newCpl);
  cpu.rip = target;
  let clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
  if (type == TYPE_INTERRUPT_GATE || type == TYPE_INTERRUPT_GATE16) clear |= FLAG_IF;
  cpu.rflags &= ~clear;
  updateMode();
  updateContext();
}

/** Reads SS:ESP of an inner ring from the TSS and checks SS. Results in cpu.innerSs, cpu.innerEsp, cpu.descriptor. */
export function readInnerStack(newCpl: u32, extBit: u32): bool {
  const isWideTss = (segRights(TR) & 8) != 0;
  const offset: u32 = isWideTss ? 4 + (newCpl << 3) : 2 + (newCpl << 2);
  const need: u32 = isWideTss ? 5 : 3;
  if (offset + need > segLimit(TR)) {
    raiseWithError(VECTOR_TS, (segSelector(TR) & 0xfffc) | extBit);
    return false;
  }
  const base = segBase(TR);
  if (isWideTss) {
    cpu.innerEsp = <u64>System.read<u32>(base + offset);
    if (faultPending()) return false;
    cpu.innerSs = <u32>System.read<u16>(base + offset + 4);
  } else {
    cpu.innerEsp = <u64>System.read<u16>(base + offset);
    if (faultPending()) return false;
    cpu.innerSs = <u32>System.read<u16>(base + offset + 2);
  }
  if (faultPending()) return false;
  const ss = cpu.innerSs;
  if ((ss & 0xfffc) == 0) {
    raiseWithError(VECTOR_TS, extBit);
    return false;
  }
  if (!readDescriptor(ss, VECTOR_TS)) {
    if (cpu.faultVector == VECTOR_TS) cpu.faultError |= extBit;
    return false;
  }
  const rights = descriptorRights(cpu.descriptor);
  if (
    (ss & 3) != newCpl ||
    dplOf(rights) != newCpl ||
    (rights & (AR_S | AR_CODE | AR_RW)) != (AR_S | AR_RW)
  ) {
    raiseWithError(VECTOR_TS, (ss & 0xfffc) | extBit);
    return false;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_SS, (ss & 0xfffc) | extBit);
    return false;
  }
  return true;
}

/**
 * Hardware task switching. SDM Vol. 3A, "Task Management": the state of the old task goes to its TSS, that of the new one comes
 * from its own, in protected mode outside long mode.
 */
import { CPU_DR, CPU_TASK_IMAGE } from "../layout.generated";
import {
  AR_AVL,
  AR_CODE,
  AR_DC,
  AR_P,
  AR_RW,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  CR0_PG,
  CR0_TS,
  FLAGS_ARITHMETIC,
  FLAG_NT,
  FLAG_VM,
  TYPE_LDT,
  TYPE_TSS16_AVAILABLE,
  TYPE_TSS16_BUSY,
  TYPE_TSS_AVAILABLE,
  TYPE_TSS_BUSY,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
  VECTOR_TS,
} from "../spec/architecture";
import { EXIT_REASON_TASK_SWITCH } from "../spec/vmx";
import { CPU, CS, DS, ES, FS, GS, LDTR, SS, TR, cpu, getGpr, setGpr } from "../state/cpu";
import { getFlags, setArithmeticFlags } from "../state/flags";
import { updateMedia } from "../state/media";
import {
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
  loadRealSegment,
  readDescriptor,
  setAccessed,
  setFromDescriptor,
} from "../mmu/descriptors";
import { Linear, System } from "../mmu/linear";
import { updateBreakpoints } from "../interrupts/debug";
import { faultPending, raiseWithError } from "../interrupts/raise";
import { vmExit } from "../vmx/exit";
import { writeCr3 } from "./control-registers";

/** What asks for the switch; numbered as in the exit qualification (SDM Vol. 3C, "Exit Qualification for Task Switch"). */
export const TASK_BY_CALL: u32 = 0;
export const TASK_BY_IRET: u32 = 1;
export const TASK_BY_JMP: u32 = 2;
export const TASK_BY_GATE: u32 = 3;

/** Places in a 32-bit TSS. */
const LINK: u32 = 0x00;
const CR3: u32 = 0x1c;
const EIP: u32 = 0x20;
const EFLAGS: u32 = 0x24;
const EAX: u32 = 0x28;
const SEGMENTS: u32 = 0x48;
const LDT: u32 = 0x60;
const TRAP: u32 = 0x64;
const BYTES: u32 = 0x68;
/** And in a 16-bit one. */
const IP16: u32 = 0x0e;
const FLAGS16: u32 = 0x10;
const AX16: u32 = 0x12;
const SEGMENTS16: u32 = 0x22;
const LDT16: u32 = 0x2a;
const BYTES16: u32 = 0x2c;

const FLAGS_DEFINED: u64 = 0x3f7fd5;

/** No fault of the new task is waiting. */
export const NO_TASK_FAULT: i32 = -1;

function image32(at: u32): u32 {
  return load<u32>(CPU + CPU_TASK_IMAGE + <usize>at);
}

function image16(at: u32): u32 {
  return <u32>load<u16>(CPU + CPU_TASK_IMAGE + <usize>at);
}

/** A fault that belongs to the new task: delivered at its first instruction. The switch itself is done. */
function lateFault(vector: i32, error: u32): void {
  cpu.taskFault = vector;
  cpu.taskFaultError = error;
}

function isBusyType(type: u64): bool {
  return type == TYPE_TSS_BUSY || type == TYPE_TSS16_BUSY;
}

/**
 * Checks a TSS descriptor and reads it to `cpu.descriptor`.
 *
 * @param ext bit 0 of error codes: the switch is part of an external event's delivery
 */
function readTss(selector: u32, cause: u32, ext: u32): bool {
  const code = (selector & 0xfffc) | ext;
  const vector = cause == TASK_BY_IRET ? VECTOR_TS : VECTOR_GP;
  if ((selector & 4) != 0 || (selector & 0xfffc) == 0) {
    raiseWithError(vector, code);
    return false;
  }
  if (!readDescriptor(selector, vector)) {
    if (cpu.faultVector == vector) cpu.faultError = code;
    return false;
  }
  const rights = descriptorRights(cpu.descriptor);
  const type = rights & (AR_S | AR_TYPE);
  const isTss = type == TYPE_TSS_AVAILABLE || type == TYPE_TSS16_AVAILABLE || isBusyType(type);
  if (!isTss || isBusyType(type) != (cause == TASK_BY_IRET)) {
    raiseWithError(vector, code);
    return false;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, code);
    return false;
  }
  if (descriptorLimit(cpu.descriptor) < ((rights & 8) != 0 ? BYTES - 1 : BYTES16 - 1)) {
    raiseWithError(VECTOR_TS, code);
    return false;
  }
  return true;
}

/** Brings the new TSS to `Cpu.taskImage`. */
function readImage(base: u64, bytes: u32): bool {
  for (let at: u32 = 0; at < bytes; at += 4) {
    const value = System.read<u32>((base + at) & 0xffffffff);
    if (faultPending()) return false;
    store<u32>(CPU + CPU_TASK_IMAGE + <usize>at, value);
  }
  return true;
}

function write32(base: u64, at: u32, value: u32): bool {
  return System.write<u32>((base + at) & 0xffffffff, value);
}

function write16(base: u64, at: u32, value: u32): bool {
  return System.write<u16>((base + at) & 0xffffffff, <u16>value);
}

/** Saves the old task. A page fault part of the way leaves nothing that saving it again does not repair. */
function saveTask(nextRip: u64, flags: u32): bool {
  const base = segBase(TR);
  if ((segRights(TR) & 8) != 0) {
    if (!write32(base, EIP, <u32>nextRip) || !write32(base, EFLAGS, flags)) return false;
    for (let i: u32 = 0; i < 8; i++) if (!write32(base, EAX + (i << 2), <u32>getGpr(i))) return false;
    for (let i: u32 = ES; i <= GS; i++) if (!write16(base, SEGMENTS + (i << 2), segSelector(i))) return false;
    return true;
  }
  if (!write16(base, IP16, <u32>nextRip) || !write16(base, FLAGS16, flags)) return false;
  for (let i: u32 = 0; i < 8; i++) if (!write16(base, AX16 + (i << 1), <u32>getGpr(i))) return false;
  for (let i: u32 = ES; i <= DS; i++) if (!write16(base, SEGMENTS16 + (i << 1), segSelector(i))) return false;
  return true;
}

function setBusy(selector: u32, busy: bool): bool {
  const at = descriptorAddress(selector);
  const byte = System.read<u8>(at + 5);
  if (faultPending()) return false;
  return System.write<u8>(at + 5, busy ? byte | 2 : byte & 0xfd);
}

/**
 * Switches to the task of a TSS selector.
 *
 * Faults before the switch are recorded as the instruction's. What is wrong with the new task's own state is its first
 * instruction's fault: `Cpu.taskFault`.
 *
 * @param nextRip where the old task goes on
 * @param resume FLAG_RF when a fault switches: the old task's saved flags have it
 * @returns false when a fault or VM exit was recorded and nothing changed
 */
export function switchTask(selector: u32, cause: u32, nextRip: u64, ext: u32, resume: u64): bool {
  if (!readTss(selector, cause, ext)) return false;
  if (cpu.vmxNonRoot != 0 && cpu.emulating == 0) {
    vmExit(EXIT_REASON_TASK_SWITCH, <u64>(selector | (cause << 30)));
    return false;
  }
  const descriptor = cpu.descriptor;
  const base = descriptorBase(descriptor);
  const isWide = (descriptorRights(descriptor) & 8) != 0;
  if (!readImage(base, isWide ? BYTES : BYTES16)) return false;
  const oldSelector = segSelector(TR);
  let flags = <u32>(getFlags() | resume);
  if (cause == TASK_BY_IRET) flags &= ~(<u32>FLAG_NT);
  if (!saveTask(nextRip, flags)) return false;
  if (cause == TASK_BY_CALL || cause == TASK_BY_GATE) {
    if (!write16(base, LINK, oldSelector)) return false;
  } else if (!setBusy(oldSelector, false)) return false;
  if (cause != TASK_BY_IRET && !setBusy(selector, true)) return false;
  setSegment(TR, selector, base, descriptorLimit(descriptor), (descriptorRights(descriptor) & ~AR_AVL) | 2);
  cpu.cr0 |= CR0_TS;
  updateMedia();
  loadTask(isWide, cause, ext);
  return true;
}

function loadTask(isWide: bool, cause: u32, ext: u32): void {
  // Local breakpoints are the old task's.
  store<u64>(CPU + CPU_DR + 56, load<u64>(CPU + CPU_DR + 56) & ~(<u64>0x155));
  cpu.guestStateChanged = 1;
  updateBreakpoints();
  if (isWide && (cpu.cr0 & CR0_PG) != 0) writeCr3(<u64>image32(CR3));
  let flags: u64 = isWide ? <u64>image32(EFLAGS) : <u64>image16(FLAGS16);
  if (cause == TASK_BY_CALL || cause == TASK_BY_GATE) flags |= FLAG_NT;
  setArithmeticFlags(flags);
  cpu.rflags = (flags & FLAGS_DEFINED & ~FLAGS_ARITHMETIC) | 2;
  cpu.rip = isWide ? <u64>image32(EIP) : <u64>image16(IP16);
  for (let i: u32 = 0; i < 8; i++)
    setGpr(i, isWide ? <u64>image32(EAX + (i << 2)) : (<u64>image16(AX16 + (i << 1))) | 0xffff0000);
  const isV86 = (cpu.rflags & FLAG_VM) != 0;
  const cs = segmentImage(CS, isWide);
  cpu.cpl = isV86 ? 3 : cs & 3;
  // Until each has been checked, segments have their selectors and nothing behind them.
  for (let i: u32 = ES; i <= GS; i++)
    setSegment(i, isWide || i <= DS ? segmentImage(i, isWide) : 0, 0, 0, AR_UNUSABLE);
  const ldt = isWide ? image32(LDT) & 0xffff : image16(LDT16);
  setSegment(LDTR, ldt, 0, 0, AR_UNUSABLE);
  updateMode();
  updateContext();
  cpu.leave = 1;
  if (loadLdt(ldt, ext)) {
    if (isV86) for (let i: u32 = ES; i <= GS; i++) loadRealSegment(i, segmentImage(i, isWide));
    else loadSegments(isWide, ext);
  }
  updateMode();
  updateContext();
  if (cpu.taskFault == NO_TASK_FAULT && cpu.rip > <u64>segLimit(CS)) lateFault(VECTOR_GP, ext);
  if (isWide && (image16(TRAP) & 1) != 0) cpu.debugHits |= 1 << 15;
}

function segmentImage(index: u32, isWide: bool): u32 {
  return isWide ? image32(SEGMENTS + (index << 2)) & 0xffff : image16(SEGMENTS16 + (index << 1));
}

/** Reads a descriptor for the new task; what is wrong is a late fault. */
function readFor(selector: u32, ext: u32): bool {
  if (readDescriptor(selector, VECTOR_TS)) return true;
  const vector = cpu.faultVector;
  // The fault is the new task's, not the instruction's.
  cpu.faultVector = -1;
  if (vector == VECTOR_TS) lateFault(VECTOR_TS, (selector & 0xfffc) | ext);
  else lateFault(vector, cpu.faultError);
  return false;
}

function loadLdt(selector: u32, ext: u32): bool {
  if ((selector & 0xfffc) == 0) return true;
  if ((selector & 4) != 0) {
    lateFault(VECTOR_TS, (selector & 0xfffc) | ext);
    return false;
  }
  if (!readFor(selector, ext)) return false;
  const rights = descriptorRights(cpu.descriptor);
  if ((rights & (AR_S | AR_TYPE)) != TYPE_LDT || (rights & AR_P) == 0) {
    lateFault(VECTOR_TS, (selector & 0xfffc) | ext);
    return false;
  }
  setSegment(LDTR, selector, descriptorBase(cpu.descriptor), descriptorLimit(cpu.descriptor), rights);
  return true;
}

function loadSegments(isWide: bool, ext: u32): void {
  if (!loadCode(segmentImage(CS, isWide), ext) || !loadStack(segmentImage(SS, isWide), ext)) return;
  if (!loadData(ES, segmentImage(ES, isWide), ext) || !loadData(DS, segmentImage(DS, isWide), ext)) return;
  if (isWide && loadData(FS, segmentImage(FS, true), ext)) loadData(GS, segmentImage(GS, true), ext);
}

function fill(index: u32, selector: u32): bool {
  const descriptor = cpu.descriptor;
  if (!setAccessed(selector, descriptor)) {
    const vector = cpu.faultVector;
    cpu.faultVector = -1;
    lateFault(vector, cpu.faultError);
    return false;
  }
  setFromDescriptor(index, selector, descriptor);
  return true;
}

function loadCode(selector: u32, ext: u32): bool {
  const code = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) == 0) {
    lateFault(VECTOR_TS, code);
    return false;
  }
  if (!readFor(selector, ext)) return false;
  const rights = descriptorRights(cpu.descriptor);
  const dpl = dplOf(rights);
  const isAllowed = (rights & AR_DC) != 0 ? dpl <= (selector & 3) : dpl == (selector & 3);
  if ((rights & (AR_S | AR_CODE)) != (AR_S | AR_CODE) || !isAllowed) {
    lateFault(VECTOR_TS, code);
    return false;
  }
  if ((rights & AR_P) == 0) {
    lateFault(VECTOR_NP, code);
    return false;
  }
  return fill(CS, selector);
}

function loadStack(selector: u32, ext: u32): bool {
  const code = (selector & 0xfffc) | ext;
  if ((selector & 0xfffc) == 0) {
    lateFault(VECTOR_TS, code);
    return false;
  }
  if (!readFor(selector, ext)) return false;
  const rights = descriptorRights(cpu.descriptor);
  const isData = (rights & (AR_S | AR_CODE | AR_RW)) == (AR_S | AR_RW);
  if (!isData || dplOf(rights) != cpu.cpl || (selector & 3) != cpu.cpl) {
    lateFault(VECTOR_TS, code);
    return false;
  }
  if ((rights & AR_P) == 0) {
    lateFault(VECTOR_SS, code);
    return false;
  }
  return fill(SS, selector);
}

function loadData(index: u32, selector: u32, ext: u32): bool {
  if ((selector & 0xfffc) == 0) return true;
  if (!readFor(selector, ext)) return false;
  const code = (selector & 0xfffc) | ext;
  const rights = descriptorRights(cpu.descriptor);
  const isReadable = (rights & AR_CODE) == 0 || (rights & AR_RW) != 0;
  const isConforming = (rights & (AR_CODE | AR_DC)) == (AR_CODE | AR_DC);
  const dpl = dplOf(rights);
  if ((rights & AR_S) == 0 || !isReadable || (!isConforming && (dpl < cpu.cpl || dpl < (selector & 3)))) {
    lateFault(VECTOR_TS, code);
    return false;
  }
  if ((rights & AR_P) == 0) {
    lateFault(VECTOR_NP, code);
    return false;
  }
  return fill(index, selector);
}

/** Pushes an event's error code on the new task's stack, in the width of its TSS. */
export function pushTaskError(error: u32): bool {
  const size: u32 = (segRights(TR) & 8) != 0 ? 4 : 2;
  const mask: u64 = ((segRights(SS) >> 14) & 1) != 0 ? 0xffffffff : 0xffff;
  const pointer = (getGpr(4) - size) & mask;
  const linear = (segBase(SS) + pointer) & 0xffffffff;
  const done = size == 4 ? Linear.write<u32>(linear, error) : Linear.write<u16>(linear, <u16>error);
  if (done) setGpr(4, (getGpr(4) & ~mask & 0xffffffff) | pointer);
  return done;
}

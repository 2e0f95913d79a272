/**
 * Far branches, IRET, software interrupts, SYSCALL and SYSENTER. SDM Vol. 2.
 *
 * Call gates and tasks: gates.ts, task-switch.ts.
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
  AR_ACCESSED,
  AR_G,
  AR_UNUSABLE,
  EFER_SCE,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
} from "../spec/architecture";
import { CS, DS, ES, FS, GS, RCX, RDX, RSP, SS, TR, cpu, getGpr, setGpr } from "../state/cpu";
import { Flags, getFlags, setArithmeticFlags } from "../state/flags";
import {
  is64,
  isLongMode,
  isProtected,
  isRealOrV86,
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
  isCodeSizeLegal,
  loadRealSegment,
  readDescriptor,
  setAccessed,
  setCodeSegment,
  setFromDescriptor,
} from "../mmu/descriptors";
import { Linear, System, isCanonical } from "../mmu/linear";
import { Address } from "../mmu/segmented";
import { faultPending, raiseGp, raiseUd, raiseWithError } from "../interrupts/raise";
import {
  areVirtualFlagsLegal,
  hasVirtualFlags,
  isIoplBelow3,
  isRedirected,
  loadVirtualFlags,
} from "../interrupts/virtual-8086";
import { SOURCE_PRIVILEGED, SOURCE_SOFTWARE, SOURCE_SOFTWARE_EXCEPTION } from "../interrupts/deliver";
import { R_DISP, R_LENGTH } from "../records/record";
import { throughSystemDescriptor } from "./gates";
import { PIN_NMI_EXITING, PIN_VIRTUAL_NMIS } from "../spec/vmx";
import { Op } from "./operand";
import { TASK_BY_IRET, switchTask } from "./task-switch";
import { dropStack, peekStack, pushValue, setFlagsMasked, setStackPointer } from "./stack";

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

function isFarTargetLegal(descriptor: u64, target: u64): bool {
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

/** Segments that an outer ring must not use become null (SDM Vol. 2, "RET"); FS and GS keep their bases, for 64-bit code. */
function dropInnerSegments(): void {
  for (let index: u32 = ES; index <= GS; index++) {
    if (index == CS || index == SS) continue;
    const rights = segRights(index);
    const isConforming = (rights & (AR_CODE | AR_DC)) == (AR_CODE | AR_DC);
    if ((rights & AR_UNUSABLE) == 0 && !isConforming && dplOf(rights) < cpu.cpl)
      setSegment(index, 0, segBase(index), segLimit(index), AR_UNUSABLE);
  }
}

/** Checks CS of a far return or IRET; `cpu.descriptor` holds its descriptor. */
function isReturnCodeLegal(selector: u32): bool {
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
function isReturnStackLegal(selector: u32, code: u64, rpl: u32): bool {
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

function setReturnStack(selector: u32, descriptor: u64, pointer: u64, cpl: u32): void {
  if (descriptor == 0) setSegment(SS, selector, 0, 0, AR_UNUSABLE | ((<u64>cpl) << AR_DPL_SHIFT));
  else setFromDescriptor(SS, selector, descriptor);
  setGpr(RSP, pointer);
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
  setReturnStack(newSs, stack, newPointer, rpl);
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

export function iret<T>(record: usize): void {
  cpu.leave = 1;
  endNmiBlocking();
  const size = sizeof<T>();
  if (!isProtected()) {
    const target = <u64>peekStack<T>(0);
    const selector = (<u32>peekStack<T>(size)) & 0xffff;
    const image = <u64>peekStack<T>(size * 2);
    if (faultPending()) return;
    if (target > <u64>segLimit(CS)) {
      raiseGp();
      return;
    }
    dropStack(size * 3);
    loadRealSegment(CS, selector);
    cpu.rip = target;
    let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT;
    if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
    setReturnFlags(image, writable);
    updateMode();
    return;
  }
  if (isVirtual8086()) {
    iretV86<T>();
    return;
  }
  if (cpu.rflags & FLAG_NT) {
    if (isLongMode()) {
      raiseGp();
      return;
    }
    const link = <u32>System.read<u16>(segBase(TR));
    if (faultPending()) return;
    switchTask(link, TASK_BY_IRET, cpu.rip, 0, 0);
    return;
  }
  const target = <u64>peekStack<T>(0);
  if (faultPending()) return;
  const selector = (<u32>peekStack<T>(size)) & 0xffff;
  if (faultPending()) return;
  const image = <u64>peekStack<T>(size * 2);
  if (faultPending()) return;
  if (!isLongMode() && (image & FLAG_VM) != 0 && cpu.cpl == 0 && sizeof<T>() == 4) {
    iretToV86(target, selector, image);
    return;
  }
  if (!isReturnCodeLegal(selector)) return;
  const descriptor = cpu.descriptor;
  const rpl = selector & 3;
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
  if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
  if (cpu.cpl <= iopl) writable |= FLAG_IF;
  if (cpu.cpl == 0) writable |= FLAG_IOPL | (sizeof<T>() != 2 ? FLAG_VIF | FLAG_VIP : 0);
  if (rpl == cpu.cpl && !is64()) {
    if (!isFarTargetLegal(descriptor, target) || !setAccessed(selector, descriptor)) return;
    dropStack(size * 3);
    setCodeSegment(selector, descriptor, rpl);
    cpu.rip = target;
    setReturnFlags(image, writable);
    updateMode();
    return;
  }
  const newPointer = <u64>peekStack<T>(size * 3);
  if (faultPending()) return;
  const newSs = (<u32>peekStack<T>(size * 4)) & 0xffff;
  if (faultPending()) return;
  if (!isReturnStackLegal(newSs, descriptorRights(descriptor), rpl)) return;
  const stack = cpu.descriptor;
  if (
    !isFarTargetLegal(descriptor, target) ||
    !setAccessed(selector, descriptor) ||
    (stack != 0 && !setAccessed(newSs, stack))
  )
    return;
  const isOuter = rpl != cpu.cpl;
  setCodeSegment(selector, descriptor, rpl);
  if (stack == 0) setSegment(SS, newSs, 0, 0, AR_UNUSABLE | ((<u64>rpl) << AR_DPL_SHIFT));
  else setFromDescriptor(SS, newSs, stack);
  updateMode();
  setStackPointer(newPointer);
  if (isOuter) dropInnerSegments();
  cpu.rip = target;
  setReturnFlags(image, writable);
  updateMode();
  updateContext();
}

/**
 * IRET ends blocking by NMI, even when it faults (SDM Vol. 3A, "Handling Multiple NMIs"): so before everything else. Under "NMI exiting"
 * that is virtual-NMI blocking, and without virtual NMIs nothing (SDM Vol. 3C, "Changes to Instruction Behavior in VMX Non-Root
 * Operation").
 */
function endNmiBlocking(): void {
  if ((cpu.interruptibility & 8) == 0) return;
  if (cpu.vmxNonRoot != 0 && (cpu.pinControls & (PIN_NMI_EXITING | PIN_VIRTUAL_NMIS)) == PIN_NMI_EXITING)
    return;
  cpu.interruptibility &= ~(<u32>8);
  cpu.iretUnblocked = 1;
}

/** As setFlagsMasked, but RF is taken from the image. */
function setReturnFlags(image: u64, writable: u64): void {
  setFlagsMasked(image, writable);
  cpu.rflags |= image & writable & FLAG_RF;
}

function iretV86<T>(): void {
  const isVirtual = isIoplBelow3();
  if (isVirtual && (sizeof<T>() != 2 || !hasVirtualFlags())) {
    raiseGp();
    return;
  }
  const size = sizeof<T>();
  const target = <u64>peekStack<T>(0);
  const selector = (<u32>peekStack<T>(size)) & 0xffff;
  const image = <u64>peekStack<T>(size * 2);
  if (faultPending()) return;
  if (target > 0xffff) {
    raiseGp();
    return;
  }
  if (isVirtual && !areVirtualFlagsLegal(image)) return;
  dropStack(size * 3);
  loadRealSegment(CS, selector);
  cpu.rip = target;
  let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_NT;
  if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
  if (isVirtual) loadVirtualFlags(image);
  else setReturnFlags(image, writable);
  updateMode();
}

/** IRET from ring 0 of protected mode to virtual-8086 mode. */
function iretToV86(target: u64, selector: u32, image: u64): void {
  const esp = <u64>peekStack<u32>(12);
  const ss = peekStack<u32>(16) & 0xffff;
  const es = peekStack<u32>(20) & 0xffff;
  const ds = peekStack<u32>(24) & 0xffff;
  const fs = peekStack<u32>(28) & 0xffff;
  const gs = peekStack<u32>(32) & 0xffff;
  if (faultPending()) return;
  if (target > 0xffff) {
    raiseGp();
    return;
  }
  setFlagsMasked(image, 0x3f7fd5 | FLAG_VM);
  cpu.rflags |= FLAG_VM;
  cpu.cpl = 3;
  loadRealSegment(CS, selector);
  loadRealSegment(SS, ss);
  loadRealSegment(ES, es);
  loadRealSegment(DS, ds);
  loadRealSegment(FS, fs);
  loadRealSegment(GS, gs);
  setGpr(RSP, esp);
  cpu.rip = target;
  updateMode();
  updateContext();
}

/** Software interrupts are delivered by the run loop after the instruction: they are events, not faults. */
function softwareInterrupt(record: usize, vector: u32, source: u32): void {
  cpu.softwareLength = <u32>load<u8>(record, R_LENGTH);
  cpu.softwareVector = <i32>vector;
  cpu.softwareSource = source;
  cpu.leave = 1;
}

export function int3(record: usize): void {
  softwareInterrupt(record, 3, SOURCE_SOFTWARE_EXCEPTION);
}

/** Where in virtual-8086 mode it goes, is found when it is delivered; with IOPL below 3 only to the 8086 program itself. */
export function intN(record: usize): void {
  const vector = <u32>Op.imm<u8>(record);
  if (isVirtual8086() && isIoplBelow3() && !isRedirected(vector)) {
    if (!faultPending()) raiseGp();
    return;
  }
  softwareInterrupt(record, vector, SOURCE_SOFTWARE);
}

export function into(record: usize): void {
  if (Flags.of() != 0) softwareInterrupt(record, 4, SOURCE_SOFTWARE_EXCEPTION);
}

export function int1(record: usize): void {
  softwareInterrupt(record, 1, SOURCE_PRIVILEGED);
}

/** A flat segment as SYSCALL, SYSRET, SYSENTER and SYSEXIT load them: from the MSR alone. */
function setFlatSegment(index: u32, selector: u32, rights: u64): void {
  setSegment(index, selector, 0, 0xffffffff, rights | AR_P | AR_S | AR_G | AR_ACCESSED | AR_RW);
}

export function syscall(record: usize): void {
  if ((cpu.efer & EFER_SCE) == 0) {
    raiseUd();
    return;
  }
  setGpr(RCX, cpu.rip);
  setGpr(11, getFlags() & ~FLAG_RF);
  const selector = (<u32>(cpu.star >> 32)) & 0xfffc;
  cpu.rip = cpu.lstar;
  const kept = getFlags() & ~cpu.fmask & ~FLAG_RF;
  setArithmeticFlags(kept);
  cpu.rflags = kept & ~FLAGS_ARITHMETIC;
  setFlatSegment(CS, selector, AR_CODE | AR_L);
  setFlatSegment(SS, selector + 8, AR_DB);
  cpu.cpl = 0;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

export function sysret<T>(record: usize): void {
  if ((cpu.efer & EFER_SCE) == 0) {
    raiseUd();
    return;
  }
  if (cpu.cpl != 0 || (sizeof<T>() == 8 && !isCanonical(getGpr(RCX)))) {
    raiseGp();
    return;
  }
  const base = <u32>(cpu.star >> 48);
  const dpl3 = (<u64>3) << AR_DPL_SHIFT;
  if (sizeof<T>() == 8) {
    setFlatSegment(CS, ((base + 16) & 0xffff) | 3, AR_CODE | AR_L | dpl3);
    cpu.rip = getGpr(RCX);
  } else {
    setFlatSegment(CS, (base & 0xffff) | 3, AR_CODE | AR_DB | dpl3);
    cpu.rip = getGpr(RCX) & 0xffffffff;
  }
  setFlatSegment(SS, ((base + 8) & 0xffff) | 3, AR_DB | dpl3);
  const image = getGpr(11) & 0x3c7fd7;
  setArithmeticFlags(image);
  cpu.rflags = image & ~FLAGS_ARITHMETIC & ~FLAG_RF & ~FLAG_VM;
  cpu.cpl = 3;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

export function sysenter(record: usize): void {
  if (!isProtected() || (cpu.sysenterCs & 0xfffc) == 0) {
    raiseGp();
    return;
  }
  const selector = (<u32>cpu.sysenterCs) & 0xfffc;
  cpu.rflags &= ~(FLAG_VM | FLAG_IF | FLAG_RF);
  const long = isLongMode();
  setFlatSegment(CS, selector, AR_CODE | (long ? AR_L : AR_DB));
  setFlatSegment(SS, selector + 8, AR_DB);
  setGpr(RSP, long ? cpu.sysenterEsp : cpu.sysenterEsp & 0xffffffff);
  cpu.rip = long ? cpu.sysenterEip : cpu.sysenterEip & 0xffffffff;
  cpu.cpl = 0;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

export function sysexit<T>(record: usize): void {
  if (!isProtected() || cpu.cpl != 0 || (cpu.sysenterCs & 0xfffc) == 0) {
    raiseGp();
    return;
  }
  const base = (<u32>cpu.sysenterCs) & 0xfffc;
  const dpl3 = (<u64>3) << AR_DPL_SHIFT;
  if (sizeof<T>() == 8) {
    if (!isCanonical(getGpr(RCX)) || !isCanonical(getGpr(RDX))) {
      raiseGp();
      return;
    }
    setFlatSegment(CS, (base + 32) | 3, AR_CODE | AR_L | dpl3);
    setFlatSegment(SS, (base + 40) | 3, AR_DB | dpl3);
    setGpr(RSP, getGpr(RCX));
    cpu.rip = getGpr(RDX);
  } else {
    setFlatSegment(CS, (base + 16) | 3, AR_CODE | AR_DB | dpl3);
    setFlatSegment(SS, (base + 24) | 3, AR_DB | dpl3);
    setGpr(RSP, getGpr(RCX) & 0xffffffff);
    cpu.rip = getGpr(RDX) & 0xffffffff;
  }
  cpu.cpl = 3;
  cpu.leave = 1;
  updateMode();
  updateContext();
}

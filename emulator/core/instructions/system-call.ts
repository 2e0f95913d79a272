/** Software interrupts, and the fast ways into a kernel and back: SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM Vol. 2. */
import {
  AR_CODE,
  AR_DB,
  AR_DPL_SHIFT,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_ACCESSED,
  AR_G,
  EFER_SCE,
  FLAGS_ARITHMETIC,
  FLAG_IF,
  FLAG_RF,
  FLAG_VM,
} from "../spec/architecture";
import { CS, RCX, RDX, RSP, SS, cpu, getGpr, setGpr } from "../state/cpu";
import { Flags, getFlags, setArithmeticFlags } from "../state/flags";
import { isLongMode, isProtected, isVirtual8086, setSegment, updateContext, updateMode } from "../state/mode";
import { isCanonical } from "../mmu/linear";
import { faultPending, raiseGp, raiseUd } from "../interrupts/raise";
import { isIoplBelow3, isRedirected } from "../interrupts/virtual-8086";
import { SOURCE_PRIVILEGED, SOURCE_SOFTWARE, SOURCE_SOFTWARE_EXCEPTION } from "../interrupts/deliver";
import { R_LENGTH } from "../records/record";
import { Op } from "./operand";

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

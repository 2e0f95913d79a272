/**
 * The local APIC (SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)"), xAPIC and x2APIC modes.
 *
 * Registers are kept at index (offset >> 4) of `Cpu.apicRegister`. IRR and attention bits may be set by other
 * threads, atomically; everything else belongs to this CPU.
 */
import { endOfInterrupt, sendInterrupt } from "../env";
import { CPU_APIC_REGISTER, CPU_ATTENTION } from "../layout.generated";
import { ATTENTION_NMI, CPU, cpu } from "../state/cpu";
import { NEVER, guestTimeStamp, now, unscaledCycles } from "../state/clock";

export const APIC_BASE_BSP: u64 = 1 << 8;
export const APIC_BASE_X2APIC: u64 = 1 << 10;
export const APIC_BASE_ENABLE: u64 = 1 << 11;

// Register offsets in the xAPIC page.
export const APIC_ID: u32 = 0x20;
export const APIC_VERSION: u32 = 0x30;
export const APIC_TPR: u32 = 0x80;
export const APIC_PPR: u32 = 0xa0;
export const APIC_EOI: u32 = 0xb0;
export const APIC_LDR: u32 = 0xd0;
export const APIC_DFR: u32 = 0xe0;
export const APIC_SVR: u32 = 0xf0;
export const APIC_ISR: u32 = 0x100;
export const APIC_TMR: u32 = 0x180;
export const APIC_IRR: u32 = 0x200;
export const APIC_ESR: u32 = 0x280;
export const APIC_ICR_LOW: u32 = 0x300;
export const APIC_ICR_HIGH: u32 = 0x310;
export const APIC_LVT_TIMER: u32 = 0x320;
export const APIC_LVT_THERMAL: u32 = 0x330;
export const APIC_LVT_PERFORMANCE: u32 = 0x340;
export const APIC_LVT_LINT0: u32 = 0x350;
export const APIC_LVT_LINT1: u32 = 0x360;
export const APIC_LVT_ERROR: u32 = 0x370;
export const APIC_TIMER_INITIAL: u32 = 0x380;
export const APIC_TIMER_CURRENT: u32 = 0x390;
export const APIC_TIMER_DIVIDE: u32 = 0x3e0;
export const APIC_SELF_IPI: u32 = 0x3f0;

const LVT_MASKED: u32 = 1 << 16;
const SVR_ENABLE: u32 = 1 << 8;
const TIMER_MODE: u32 = 3 << 17;
const TIMER_PERIODIC: u32 = 1 << 17;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;
const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;

/** Delivery modes of ICR and LVT. */
const DELIVERY_FIXED: u32 = 0;
const DELIVERY_NMI: u32 = 4;
const DELIVERY_EXTINT: u32 = 7;

/** Cycles of the time-stamp counter per tick of the undivided APIC timer (the bus clock). */
export const CYCLES_PER_TIMER_TICK: u64 = 16;

function get(offset: u32): u32 {
  return load<u32>(CPU + CPU_APIC_REGISTER + ((<usize>offset) >> 2));
}
function set(offset: u32, value: u32): void {
  store<u32>(CPU + CPU_APIC_REGISTER + ((<usize>offset) >> 2), value);
}

export function isX2apic(): bool {
  return (cpu.apicBase & APIC_BASE_X2APIC) != 0;
}
export function isApicEnabled(): bool {
  return (cpu.apicBase & APIC_BASE_ENABLE) != 0;
}

/** INIT: as after power-on, but the APIC ID stays. SDM Vol. 3A, "Local APIC State After an INIT Reset". */
export function initApic(): void {
  const id = get(APIC_ID);
  resetApic();
  set(APIC_ID, id);
}

/** Power-on state. */
export function resetApic(): void {
  for (let index: u32 = 0; index < 64; index++) set(index << 4, 0);
  setIdRegister();
  set(APIC_VERSION, 0x00050014);
  set(APIC_DFR, 0xffffffff);
  set(APIC_SVR, 0xff);
  for (let offset = APIC_LVT_TIMER; offset <= APIC_LVT_ERROR; offset += 0x10) set(offset, LVT_MASKED);
  cpu.timerDeadline = NEVER;
  cpu.apicEsrPending = 0;
}

function setIdRegister(): void {
  set(APIC_ID, isX2apic() ? cpu.id : cpu.id << 24);
  // x2APIC: the logical ID follows from the ID ("Logical Destination Mode in x2APIC Mode").
  if (isX2apic()) set(APIC_LDR, ((cpu.id >> 4) << 16) | (1 << (cpu.id & 15)));
}

/** IA32_APIC_BASE has changed legally. */
export function apicBaseChanged(before: u64): void {
  if (!isApicEnabled()) {
    resetApic();
    return;
  }
  if ((before ^ cpu.apicBase) & APIC_BASE_X2APIC) {
    if (!isX2apic()) set(APIC_LDR, 0);
    setIdRegister();
  }
  cpu.leave = 1;
}

/** Highest vector in one of the three 256-bit registers, or -1. */
function highest(offset: u32): i32 {
  for (let word: i32 = 7; word >= 0; word--) {
    const bits = atomic.load<u32>(CPU + CPU_APIC_REGISTER + ((<usize>(offset + ((<u32>word) << 4))) >> 2));
    if (bits != 0) return (word << 5) + 31 - <i32>clz<u32>(bits);
  }
  return -1;
}

function bitAddress(offset: u32, vector: u32): usize {
  return CPU + CPU_APIC_REGISTER + ((<usize>(offset + ((vector >> 5) << 4))) >> 2);
}

export function processorPriority(): u32 {
  const inService = highest(APIC_ISR);
  const tpr = get(APIC_TPR) & 0xff;
  const isrClass: u32 = inService < 0 ? 0 : (<u32>inService) & 0xf0;
  return (tpr & 0xf0) >= isrClass ? tpr : isrClass;
}

/** No interrupt is requested: the usual case, in four loads. */
function isRequestRegisterEmpty(): bool {
  const irr = CPU + CPU_APIC_REGISTER + (APIC_IRR >> 2);
  return (
    (atomic.load<u64>(irr) |
      atomic.load<u64>(irr, 8) |
      atomic.load<u64>(irr, 16) |
      atomic.load<u64>(irr, 24)) ==
    0
  );
}

/** The vector that the APIC would deliver now, or -1. */
export function pendingVector(): i32 {
  if (isRequestRegisterEmpty()) return -1;
  if (!isApicEnabled() || (get(APIC_SVR) & SVR_ENABLE) == 0) return -1;
  const vector = highest(APIC_IRR);
  if (vector < 0 || ((<u32>vector) & 0xf0) <= (processorPriority() & 0xf0)) return -1;
  return vector;
}

/** True when the 8259's INTR reaches this CPU: APIC off, or LINT0 in virtual-wire mode. */
export function isExternalIntPending(): bool {
  if (cpu.intrLine == 0) return false;
  if (!isApicEnabled()) return true;
  const lint0 = get(APIC_LVT_LINT0);
  return (lint0 & LVT_MASKED) == 0 && ((lint0 >> 8) & 7) == DELIVERY_EXTINT;
}

/** Moves the vector from request to service: the processor's acknowledgement. */
export function acknowledgeVector(vector: u32): void {
  const bit: u32 = 1 << (vector & 31);
  atomic.and<u32>(bitAddress(APIC_IRR, vector), ~bit);
  const isr = bitAddress(APIC_ISR, vector);
  store<u32>(isr, load<u32>(isr) | bit);
}

/** A fixed, edge-triggered interrupt for this CPU. */
export function acceptVector(vector: u32): void {
  if (vector < 16) {
    recordError(ESR_RECEIVE_ILLEGAL_VECTOR);
    return;
  }
  const bit: u32 = 1 << (vector & 31);
  atomic.or<u32>(bitAddress(APIC_IRR, vector), bit);
  atomic.and<u32>(bitAddress(APIC_TMR, vector), ~bit);
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

function recordError(bits: u32): void {
  cpu.apicEsrPending |= bits;
  const lvt = get(APIC_LVT_ERROR);
  if ((lvt & LVT_MASKED) == 0 && (lvt & 0xff) >= 16) acceptVector(lvt & 0xff);
}

/** EOI: the highest vector in service ends; a level-triggered one is told to the I/O APICs. */
export function apicEoi(): void {
  const vector = highest(APIC_ISR);
  if (vector < 0) return;
  const bit: u32 = 1 << ((<u32>vector) & 31);
  const isr = bitAddress(APIC_ISR, <u32>vector);
  store<u32>(isr, load<u32>(isr) & ~bit);
  if ((load<u32>(bitAddress(APIC_TMR, <u32>vector)) & bit) != 0 && (get(APIC_SVR) & (1 << 12)) == 0)
    endOfInterrupt(<u32>vector);
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

/** A performance counter has overflowed: its LVT entry masks itself when it delivers (SDM Vol. 3B, "Generating an Interrupt on Overflow"). */
export function performanceInterrupt(): void {
  const lvt = get(APIC_LVT_PERFORMANCE);
  if ((lvt & LVT_MASKED) != 0) return;
  set(APIC_LVT_PERFORMANCE, lvt | LVT_MASKED);
  const mode = (lvt >> 8) & 7;
  if (mode == DELIVERY_NMI) atomic.or<u32>(CPU + CPU_ATTENTION, ATTENTION_NMI);
  else if (mode == DELIVERY_FIXED) acceptVector(lvt & 0xff);
}

// --- timer

function timerShift(): u64 {
  const divide = get(APIC_TIMER_DIVIDE);
  const code = (divide & 3) | ((divide >> 1) & 4);
  return code == 7 ? 0 : <u64>(code + 1);
}

function timerMode(): u32 {
  return get(APIC_LVT_TIMER) & TIMER_MODE;
}

function startTimer(initial: u32): void {
  set(APIC_TIMER_INITIAL, initial);
  const at = now();
  cpu.apicTimerStart = at;
  cpu.timerDeadline = initial == 0 ? NEVER : at + ((<u64>initial * CYCLES_PER_TIMER_TICK) << timerShift());
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

function currentCount(): u32 {
  if (cpu.timerDeadline == NEVER || timerMode() == TIMER_TSC_DEADLINE) return 0;
  const left = <i64>(cpu.timerDeadline - now());
  if (left <= 0) return 0;
  const perTick = CYCLES_PER_TIMER_TICK << timerShift();
  return <u32>((<u64>left + perTick - 1) / perTick);
}

/** Called at a boundary when the deadline has passed. */
export function fireTimer(): void {
  const lvt = get(APIC_LVT_TIMER);
  if (timerMode() == TIMER_PERIODIC && get(APIC_TIMER_INITIAL) != 0) {
    const period = (<u64>get(APIC_TIMER_INITIAL) * CYCLES_PER_TIMER_TICK) << timerShift();
    const behind = now() - cpu.timerDeadline;
    // Missed periods collapse into one request, as in an IRR bit; the phase is kept.
    cpu.timerDeadline += (behind / period + 1) * period;
  } else {
    cpu.timerDeadline = NEVER;
    if (timerMode() == TIMER_TSC_DEADLINE) cpu.tscDeadline = 0;
  }
  if ((lvt & LVT_MASKED) == 0) acceptVector(lvt & 0xff);
}

/** IA32_TSC_DEADLINE. `value` is in the guest-visible time-stamp counter; 0 disarms. */
export function setTscDeadline(value: u64): void {
  if (timerMode() != TIMER_TSC_DEADLINE) return;
  cpu.tscDeadline = value;
  if (value == 0) cpu.timerDeadline = NEVER;
  else {
    const distance = <i64>(value - guestTimeStamp());
    cpu.timerDeadline = distance <= 0 ? now() : now() + unscaledCycles(<u64>distance);
  }
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

export function getTscDeadline(): u64 {
  return timerMode() == TIMER_TSC_DEADLINE ? cpu.tscDeadline : 0;
}

// --- register access

/** Reads a register at an xAPIC offset. Unknown registers read 0 and set the ESR bit. */
export function apicRead(offset: u32): u32 {
  switch (offset >> 4) {
    case APIC_PPR >> 4:
      return processorPriority();
    case APIC_TIMER_CURRENT >> 4:
      return currentCount();
    case APIC_EOI >> 4:
    case APIC_SELF_IPI >> 4:
      return 0;
    default:
      if (!isImplemented(offset)) {
        recordError(ESR_ILLEGAL_REGISTER);
        return 0;
      }
      return get(offset);
  }
}

export function isImplemented(offset: u32): bool {
  if (offset >= APIC_ISR && offset < APIC_ESR) return true;
  if (offset >= APIC_ICR_LOW && offset <= APIC_TIMER_CURRENT) return true;
  switch (offset >> 4) {
    case APIC_ID >> 4:
    case APIC_VERSION >> 4:
    case APIC_TPR >> 4:
    case APIC_PPR >> 4:
    case APIC_EOI >> 4:
    case APIC_LDR >> 4:
    case APIC_DFR >> 4:
    case APIC_SVR >> 4:
    case APIC_ESR >> 4:
    case APIC_TIMER_DIVIDE >> 4:
      return true;
    default:
      return false;
  }
}

/** Writes a register at an xAPIC offset; read-only registers ignore the write. */
export function apicWrite(offset: u32, value: u32): void {
  switch (offset >> 4) {
    case APIC_ID >> 4:
      // SDM Vol. 3A, "Local APIC ID": some processors let software change it, in xAPIC mode; so does this one.
      if (!isX2apic()) set(APIC_ID, value & 0xff000000);
      return;
    case APIC_TPR >> 4:
      set(APIC_TPR, value & 0xff);
      cpu.leave = 1;
      cpu.recordEnd = 0;
      return;
    case APIC_EOI >> 4:
      apicEoi();
      return;
    case APIC_LDR >> 4:
      if (!isX2apic()) set(APIC_LDR, value & 0xff000000);
      return;
    case APIC_DFR >> 4:
      set(APIC_DFR, value | 0x0fffffff);
      return;
    case APIC_SVR >> 4:
      set(APIC_SVR, value & 0x11ff);
      if ((value & SVR_ENABLE) == 0) maskAllLvts();
      cpu.leave = 1;
      cpu.recordEnd = 0;
      return;
    case APIC_ESR >> 4:
      set(APIC_ESR, cpu.apicEsrPending);
      cpu.apicEsrPending = 0;
      return;
    case APIC_ICR_LOW >> 4:
      set(APIC_ICR_LOW, value & 0xcdfff & ~((<u32>1) << 12));
      sendIpi(value, get(APIC_ICR_HIGH) >> 24);
      return;
    case APIC_ICR_HIGH >> 4:
      set(APIC_ICR_HIGH, value & 0xff000000);
      return;
    case APIC_LVT_TIMER >> 4:
      writeLvtTimer(value);
      return;
    case APIC_LVT_THERMAL >> 4:
    case APIC_LVT_PERFORMANCE >> 4:
    case APIC_LVT_LINT0 >> 4:
    case APIC_LVT_LINT1 >> 4:
    case APIC_LVT_ERROR >> 4:
      writeLvt(offset, value);
      return;
    case APIC_TIMER_INITIAL >> 4:
      if (timerMode() != TIMER_TSC_DEADLINE) startTimer(value);
      return;
    case APIC_TIMER_DIVIDE >> 4:
      set(APIC_TIMER_DIVIDE, value & 0xb);
      if (cpu.timerDeadline != NEVER && timerMode() != TIMER_TSC_DEADLINE)
        startTimer(get(APIC_TIMER_INITIAL));
      return;
    default:
      if (!isImplemented(offset)) recordError(ESR_ILLEGAL_REGISTER);
  }
}

function writeLvt(offset: u32, value: u32): void {
  let writable: u32 = 0x107ff;
  if (offset == APIC_LVT_LINT0 || offset == APIC_LVT_LINT1) writable = 0x1a7ff;
  if (offset == APIC_LVT_ERROR) writable = 0x100ff;
  let next = value & writable;
  if ((get(APIC_SVR) & SVR_ENABLE) == 0) next |= LVT_MASKED;
  set(offset, next);
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

function writeLvtTimer(value: u32): void {
  const before = timerMode();
  let next = value & 0x700ff;
  if ((next & TIMER_MODE) == TIMER_MODE) next &= ~TIMER_MODE;
  if ((get(APIC_SVR) & SVR_ENABLE) == 0) next |= LVT_MASKED;
  set(APIC_LVT_TIMER, next);
  // A change to or from TSC-deadline mode disarms the timer.
  if ((before == TIMER_TSC_DEADLINE) != (timerMode() == TIMER_TSC_DEADLINE)) {
    cpu.timerDeadline = NEVER;
    cpu.tscDeadline = 0;
    set(APIC_TIMER_INITIAL, 0);
  }
}

function maskAllLvts(): void {
  for (let offset = APIC_LVT_TIMER; offset <= APIC_LVT_ERROR; offset += 0x10)
    set(offset, get(offset) | LVT_MASKED);
}

/** Sends an interprocessor interrupt. A fixed one to itself alone stays inside; the rest goes over the bus. */
export function sendIpi(icrLow: u32, destination: u32): void {
  const mode = (icrLow >> 8) & 7;
  const shorthand = (icrLow >> 18) & 3;
  if (mode == DELIVERY_FIXED && (icrLow & 0xff) < 16) {
    recordError(ESR_SEND_ILLEGAL_VECTOR);
    return;
  }
  if (shorthand == 1) {
    if (mode == DELIVERY_FIXED) acceptVector(icrLow & 0xff);
    return;
  }
  sendInterrupt(icrLow, destination);
}

/** Writes the x2APIC's 64-bit ICR. */
export function writeIcr64(value: u64): void {
  set(APIC_ICR_LOW, (<u32>value) & 0xcdfff & ~((<u32>1) << 12));
  set(APIC_ICR_HIGH, <u32>(value >> 32));
  sendIpi(<u32>value, <u32>(value >> 32));
}

export function readIcr64(): u64 {
  return (<u64>get(APIC_ICR_LOW)) | ((<u64>get(APIC_ICR_HIGH)) << 32);
}

/**
 * The CPU's time in cycles of the time-stamp counter.
 *
 * Virtual mode: instructions × cycles per instruction + what the cost profile charged. Wall mode: the host's
 * clock, read through an import.
 */
import { wallClock } from "../env";
import { FAULT_RETRY, raise } from "../interrupts/raise";
import { divide, multiplyHigh } from "../float/wide";
import { cpu } from "./cpu";

export const CLOCK_VIRTUAL: u32 = 0;
export const CLOCK_WALL: u32 = 1;
export const NEVER: u64 = 0xffffffffffffffff;

/** Adds the running block's finished instructions to the count, so that it is exact inside a block too. */
export function settleCount(): void {
  cpu.instructions += <u64>((cpu.record - cpu.blockFirst) >> 5);
  cpu.blockFirst = cpu.record;
}

/** Cycles since power-on, now. */
export function now(): u64 {
  if (cpu.clockMode != CLOCK_VIRTUAL) return <u64>wallClock();
  settleCount();
  return cpu.instructions * <u64>cpu.cyclesPerInstruction + cpu.charged;
}

/** As `now`, between instructions: no block runs, so the count is exact as it is. */
export function boundaryTime(): u64 {
  if (cpu.clockMode != CLOCK_VIRTUAL) return <u64>wallClock();
  return cpu.instructions * <u64>cpu.cyclesPerInstruction + cpu.charged;
}

/**
 * In virtual mode, what depends on time waits until this CPU is not ahead of the others. True: the
 * instruction must be made again (the fault is recorded).
 */
export function mustWait(): bool {
  // The hypervisor's emulator acts within an exit, which has begun: it does not wait half-way.
  if (cpu.clockMode != CLOCK_VIRTUAL || cpu.emulating != 0 || now() <= cpu.yieldAbove) return false;
  raise(FAULT_RETRY);
  return true;
}

/** The time-stamp counter as root-mode software sees it. */
export function timeStamp(): u64 {
  return now() + cpu.tscAdjust;
}

/** The time-stamp counter as the running software sees it: a guest's is scaled and offset by its VMCS. */
export function guestTimeStamp(): u64 {
  const value = timeStamp();
  if (cpu.vmxNonRoot == 0) return value;
  const multiplier = cpu.tscMultiplier;
  const scaled =
    multiplier == 0 ? value : (multiplyHigh(value, multiplier) << 16) | ((value * multiplier) >> 48);
  return scaled + cpu.tscOffset;
}

/** Cycles of the machine's counter for a distance in the guest's. */
export function unscaledCycles(distance: u64): u64 {
  const multiplier = cpu.vmxNonRoot != 0 ? cpu.tscMultiplier : 0;
  if (multiplier == 0) return distance;
  // distance × 2^48 / multiplier, rounded up; far deadlines saturate.
  const high = distance >> 16;
  if (high >= multiplier) return NEVER >> 1;
  const shift = clz<u64>(multiplier);
  const low = distance << 48;
  const numeratorHigh = shift == 0 ? high : (high << shift) | (low >> (64 - shift));
  return divide(numeratorHigh, low << shift, multiplier << shift) + 1;
}

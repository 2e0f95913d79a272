/**
 * One counter of an 8254 (Intel, "8254 Programmable Interval Timer", data sheet), derived from time: nothing
 * happens per clock. State says since which clock the counting element runs and from what count; OUT and the
 * count are functions of that and of the present clock.
 */
import { struct, u16, u32, u53, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import * as spec from "./i8254-spec.ts";

/** Volatile state of one counter. Clocks are periods of the timer's input clock since power-on. */
export const I8254CounterStruct = struct("I8254Counter", {
  /** 0–5, or 0 before the first control word. */
  mode: u8,
  rw: u8,
  bcd: u8,
  gate: u8,
  /** A count was written completely since the control word. */
  loaded: u8,
  /** Modes 1 and 5: 1 after a trigger; 2 when it came during a one-shot, so that OUT is low already. */
  triggered: u8,
  /** The next byte written, or read, is the most significant one. */
  writeMsb: u8,
  readMsb: u8,
  writeLsb: u8,
  /** Bytes of the output latch still to be read: 0, 1 or 2. */
  latchedBytes: u8,
  statusLatched: u8,
  status: u8,
  /** Modes 0 and 4 with gate low, or a half-written count: counting stands still at `heldClocks`. */
  held: u8,
  /** A new count waits for clock `nextAt`: 1 to begin a period, 2 to begin with the low half (mode 3). */
  hasNext: u8,
  latchedCount: u16,
  /** The count in use (1–65536 or 1–10000), and the one that replaces it at clock `nextAt`. */
  count: u32,
  nextCount: u32,
  /** The clock at which the counting element held `count`. May lie one clock ahead. */
  start: u53,
  heldClocks: u53,
  nextAt: u53,
});

export type Counter = ViewOf<typeof I8254CounterStruct>;

/** Power-on: the data sheet leaves mode and count undefined; this makes a counter that does not run. */
export function resetCounter(c: Counter, gate: boolean): void {
  c.mode = 0;
  c.rw = spec.RW_LSB_MSB;
  c.bcd = 0;
  c.gate = gate ? 1 : 0;
  c.loaded = 0;
  c.triggered = 0;
  c.writeMsb = 0;
  c.readMsb = 0;
  c.writeLsb = 0;
  c.latchedBytes = 0;
  c.statusLatched = 0;
  c.status = 0;
  c.held = 0;
  c.hasNext = 0;
  c.latchedCount = 0;
  c.count = 0x10000;
  c.nextCount = 0;
  c.start = 0;
  c.heldClocks = 0;
  c.nextAt = 0;
}

/** True when the counting element runs (or stands held) with a count. */
function isCounting(c: Counter): boolean {
  return c.loaded !== 0 && ((c.mode !== 1 && c.mode !== 5) || c.triggered !== 0);
}

/** Takes over a count that was written earlier and falls due by clock `now`. */
function settle(c: Counter, now: number): void {
  if (!c.hasNext || now < c.nextAt) return;
  c.count = c.nextCount;
  c.start = c.hasNext === 2 ? c.nextAt - halves(c.count).high : c.nextAt;
  c.hasNext = 0;
}

/** Clocks since the counting element was loaded; -1 in the clock before. */
function elapsed(c: Counter, now: number): number {
  return c.held ? c.heldClocks : now - c.start;
}

/** In mode 3, how long OUT is high and how long it is low. */
function halves(count: number): { high: number; low: number } {
  return { high: Math.ceil(count / 2), low: Math.floor(count / 2) };
}

/** The OUT pin at clock `now`. */
export function output(c: Counter, now: number): boolean {
  settle(c, now);
  const mode = c.mode;
  if (!isCounting(c)) return mode !== 0;
  const clocks = elapsed(c, now);
  switch (mode) {
    case 0:
      return clocks >= c.count;
    case 1:
      return clocks < 0 ? c.triggered !== 2 : clocks >= c.count;
    case 2:
      if (!c.gate || clocks < 0) return true;
      return clocks % c.count !== c.count - 1;
    case 3:
      if (!c.gate || clocks < 0) return true;
      return clocks % c.count < halves(c.count).high;
    default: // Modes 4 and 5: a strobe of one clock when the count is reached.
      return clocks !== c.count;
  }
}

/** The counting element at clock `now`, as the two bytes a program reads. */
export function currentCount(c: Counter, now: number): number {
  settle(c, now);
  const modulus = c.bcd ? 10000 : 0x10000;
  let value = c.count;
  if (isCounting(c)) {
    const clocks = Math.max(0, elapsed(c, now));
    if (c.mode === 2) value = c.gate ? c.count - (clocks % c.count) : c.count;
    else if (c.mode === 3) {
      // Counts down by two; an odd count starts from count - 1.
      const { high } = halves(c.count);
      const inPeriod = c.gate ? clocks % c.count : 0;
      value = c.count - (c.count % 2) - 2 * (inPeriod < high ? inPeriod : inPeriod - high);
    } else value = (((c.count - clocks) % modulus) + modulus) % modulus;
  }
  value %= modulus;
  if (!c.bcd) return value;
  return (
    (Math.floor(value / 1000) << 12) |
    (Math.floor((value / 100) % 10) << 8) |
    (Math.floor((value / 10) % 10) << 4) |
    (value % 10)
  );
}

/** The first clock after `now` at which OUT changes, or `undefined` if it will not by itself. */
export function nextOutputEdge(c: Counter, now: number): number | undefined {
  settle(c, now);
  if (!isCounting(c) || c.held) return undefined;
  const clocks = now - c.start;
  switch (c.mode) {
    case 0:
    case 1:
      if (c.mode === 1 && clocks < 0) return c.start;
      return clocks < c.count ? c.start + c.count : undefined;
    case 2:
    case 3: {
      if (!c.gate) return undefined;
      let edge: number;
      const inPeriod = clocks < 0 ? 0 : clocks % c.count;
      const periodStart = clocks < 0 ? c.start : now - inPeriod;
      const falling = c.mode === 2 ? c.count - 1 : halves(c.count).high;
      if (inPeriod < falling) edge = periodStart + falling;
      else edge = periodStart + c.count;
      // A new count takes over at `nextAt`, which is itself the end of a (half-)period.
      return c.hasNext && c.nextAt < edge ? c.nextAt : edge;
    }
    default:
      if (clocks < c.count) return c.start + c.count;
      return clocks === c.count ? c.start + c.count + 1 : undefined;
  }
}

/** A control word for this counter (not a latch command). */
export function writeControl(c: Counter, value: number): void {
  c.rw = (value >> spec.RW_SHIFT) & 3;
  const mode = (value >> spec.MODE_SHIFT) & 7;
  c.mode = mode > 5 ? mode - 4 : mode; // 110 and 111 are modes 2 and 3
  c.bcd = value & spec.CONTROL_BCD;
  c.loaded = 0;
  c.triggered = 0;
  c.held = 0;
  c.hasNext = 0;
  c.nextCount = 0;
  c.writeMsb = 0;
  c.readMsb = 0;
  c.latchedBytes = 0;
  c.statusLatched = 0;
}

/** A byte written to the count register. */
export function writeCount(c: Counter, value: number, now: number): void {
  let raw: number;
  if (c.rw === spec.RW_LSB) raw = value;
  else if (c.rw === spec.RW_MSB) raw = value << 8;
  else if (!c.writeMsb) {
    c.writeMsb = 1;
    c.writeLsb = value;
    // Mode 0: "Writing the first byte disables counting. OUT is set low immediately (no clock pulse required)."
    if (c.mode === 0) {
      c.held = 1;
      c.heldClocks = 0;
      c.loaded = 0;
    }
    return;
  } else {
    c.writeMsb = 0;
    raw = (value << 8) | c.writeLsb;
  }
  loadCount(c, decodeCount(raw, c.bcd !== 0), now);
}

function decodeCount(raw: number, bcd: boolean): number {
  if (!bcd) return raw === 0 ? 0x10000 : raw;
  const value = (raw >> 12) * 1000 + ((raw >> 8) & 15) * 100 + ((raw >> 4) & 15) * 10 + (raw & 15);
  return value === 0 ? 10000 : value;
}

function loadCount(c: Counter, count: number, now: number): void {
  settle(c, now);
  const running = isCounting(c);
  c.loaded = 1;
  if (c.mode === 1 || c.mode === 5) {
    // Loaded at the next trigger; the current one-shot is not affected.
    c.nextCount = count;
    if (!running) c.count = count;
    return;
  }
  if (running && (c.mode === 2 || c.mode === 3) && c.gate) {
    // "The new count will be loaded at the end of the current counting cycle" (mode 3: half-cycle).
    const clocks = Math.max(0, now - c.start);
    const inPeriod = clocks % c.count;
    const { high } = halves(c.count);
    const inHighHalf = c.mode === 3 && inPeriod < high;
    c.nextCount = count;
    c.nextAt = now + (inHighHalf ? high : c.count) - inPeriod;
    c.hasNext = inHighHalf ? 2 : 1;
    return;
  }
  // The count register is transferred to the counting element on the next clock pulse.
  c.count = count;
  c.start = now + 1;
  c.held = c.gate ? 0 : 1;
  c.heldClocks = 0;
}

/** The GATE input changes. */
export function setGate(c: Counter, level: boolean, now: number): void {
  if ((c.gate !== 0) === level) return;
  settle(c, now);
  c.gate = level ? 1 : 0;
  switch (c.mode) {
    case 0:
    case 4: // Level: counting is enabled or disabled.
      if (!c.loaded) return;
      if (level) {
        c.held = 0;
        c.start = now - c.heldClocks;
      } else {
        c.heldClocks = Math.max(0, now - c.start);
        c.held = 1;
      }
      return;
    case 2:
    case 3: // Low disables counting and sets OUT high; a rising edge reloads on the next clock.
      if (!level || !c.loaded) return;
      if (c.hasNext) {
        c.hasNext = 0;
        c.count = c.nextCount;
      }
      c.held = 0;
      c.start = now + 1;
      return;
    default: // Modes 1 and 5: a rising edge triggers.
      if (!level || !c.loaded) return;
      c.triggered = c.mode === 1 && !output(c, now) ? 2 : 1;
      if (c.nextCount !== 0) c.count = c.nextCount;
      c.start = now + 1;
  }
}

/** Counter latch command: the count is held in the output latch until read. A second command is ignored. */
export function latchCount(c: Counter, now: number): void {
  if (c.latchedBytes > 0) return;
  c.latchedCount = currentCount(c, now);
  c.latchedBytes = c.rw === spec.RW_LSB_MSB ? 2 : 1;
}

/** Read-back command's status latch. */
export function latchStatus(c: Counter, now: number): void {
  if (c.statusLatched) return;
  c.statusLatched = 1;
  const nullCount = !c.loaded || c.hasNext !== 0 || (!c.held && isCounting(c) && now < c.start);
  c.status =
    (output(c, now) ? spec.STATUS_OUTPUT : 0) |
    (nullCount ? spec.STATUS_NULL_COUNT : 0) |
    (c.rw << spec.RW_SHIFT) |
    (c.mode << spec.MODE_SHIFT) |
    c.bcd;
}

/** A byte read from the counter: latched status first, then the latched count, then the live count. */
export function readCounter(c: Counter, now: number): number {
  if (c.statusLatched) {
    c.statusLatched = 0;
    return c.status;
  }
  const latched = c.latchedBytes > 0;
  const value = latched ? c.latchedCount : currentCount(c, now);
  if (latched) c.latchedBytes--;
  if (c.rw === spec.RW_LSB) return value & 0xff;
  if (c.rw === spec.RW_MSB) return value >> 8;
  c.readMsb ^= 1;
  return c.readMsb ? value & 0xff : value >> 8;
}

/** The board's clock: cycles of the time-stamp counter, from whoever is acting now. */
import type { Clock } from "../../devices/ports.ts";

/** floor(a × b / c) for safe integers, exactly. */
export function mulDivFloor(a: number, b: number, c: number): number {
  const product = a * b;
  if (product <= Number.MAX_SAFE_INTEGER) return Math.floor(product / c);
  return Number((BigInt(a) * BigInt(b)) / BigInt(c));
}

/** ceil(a × b / c) for safe integers, exactly. */
export function mulDivCeil(a: number, b: number, c: number): number {
  const product = a * b;
  if (product <= Number.MAX_SAFE_INTEGER) return Math.ceil(product / c);
  return Number((BigInt(a) * BigInt(b) + BigInt(c) - 1n) / BigInt(c));
}

export class BoardClock implements Clock {
  readonly frequencyHz: number;
  readonly epochSeconds: number;
  /** Where the time comes from: set by the scheduler (virtual) or the thread (wall). */
  source: () => number = () => 0;

  constructor(frequencyHz: number, epochSeconds: number) {
    this.frequencyHz = frequencyHz;
    this.epochSeconds = epochSeconds;
  }

  now(): number {
    return this.source();
  }

  ticks(hz: number): number {
    return mulDivFloor(this.source(), hz, this.frequencyHz);
  }

  timeOfTick(hz: number, n: number): number {
    return mulDivCeil(n, this.frequencyHz, hz);
  }
}

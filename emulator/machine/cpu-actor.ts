/** A physical CPU as an actor of the deterministic scheduler: bare metal. */
import { Activity, Stop, type Core } from "../host/core.ts";
import { NEVER } from "./events.ts";
import type { Actor } from "./scheduler.ts";

/** Makes a running CPU look at its limits and requests before its next block; harmless when it is not running. */
export function leaveSoon(core: Core): void {
  core.state.leave = 1;
  core.state.recordEnd = 0;
}

/** HLT and its like: an event ends it. */
const waits = (activity: number): boolean =>
  activity === Activity.HALTED || activity === Activity.MWAIT || activity === Activity.FLOAT_ERROR;

export interface CpuOutcome {
  /** The CPU shut down (triple fault on metal). */
  shutdown(index: number): void;
}

export class CpuActor implements Actor {
  readonly label: string;
  readonly isDivisible = true;
  readonly core: Core;
  readonly #outcome: CpuOutcome;

  constructor(core: Core, outcome: CpuOutcome) {
    this.label = `CPU ${core.index}`;
    this.core = core;
    this.#outcome = outcome;
  }

  clock(): number {
    return this.core.clock();
  }

  isIdle(): boolean {
    const cpu = this.core.state;
    if (cpu.attention !== 0) return false;
    if (cpu.activity === Activity.ACTIVE) return false;
    const canEnd = waits(cpu.activity) || cpu.vmxNonRoot !== 0;
    return !canEnd || this.core.exports.isWakeUpPending() === 0;
  }

  wakeTime(): number {
    const cpu = this.core.state;
    // The VMX-preemption timer ends a guest's waiting of every kind.
    const timer = waits(cpu.activity) ? cpu.timerDeadline : NEVER;
    return Math.min(NEVER, timer, cpu.vmxNonRoot === 0 ? NEVER : cpu.preemptionDeadline);
  }

  waitUntil(time: number): void {
    const behind = time - this.clock();
    if (behind > 0) this.core.charge(behind);
  }

  act(limit: number, others: number): boolean {
    const cpu = this.core.state;
    cpu.stopAt = limit;
    cpu.yieldAbove = others;
    const stop = this.core.run();
    if (stop === Stop.SHUTDOWN) this.#outcome.shutdown(this.core.index);
    return stop === Stop.RETRY;
  }

  limitTo(time: number): void {
    if (time < this.core.state.stopAt) {
      this.core.state.stopAt = time;
      leaveSoon(this.core);
    }
  }

  othersFrom(time: number): void {
    this.core.state.yieldAbove = time;
  }
}

/** The scheduler alone, with actors that do nothing but let time pass. */
import { expect, test } from "vitest";
import { NEVER, EventQueue } from "../../../../emulator/machine/events.ts";
import { Scheduler, type Actor } from "../../../../emulator/machine/scheduler.ts";
import { MachineMemory } from "../../../../emulator/host/core.ts";
import { planMemory } from "../../../../layout/memory-map.ts";
import { StateAllocator } from "../../../../layout/struct.ts";

const LOOK_AHEAD = 1000;

/** A CPU that is always busy. */
class Busy implements Actor {
  readonly isDivisible = true;
  readonly label: string;
  longest = 0;
  #clock: number;
  constructor(label: string, clock: number) {
    this.label = label;
    this.#clock = clock;
  }
  clock(): number {
    return this.#clock;
  }
  isIdle(): boolean {
    return false;
  }
  wakeTime(): number {
    return NEVER;
  }
  waitUntil(time: number): void {
    this.#clock = Math.max(this.#clock, time);
  }
  act(limit: number): boolean {
    this.longest = Math.max(this.longest, limit - this.#clock);
    this.#clock = limit;
    return false;
  }
  limitTo(): void {
    // Nothing wakes anything here.
  }
}

test("who runs the machine is asked often, however far behind the others a CPU is", () => {
  const plan = planMemory({ cpus: 1, ramBytes: 1 << 20, stateBytes: 65536, recordBytes: 65536 });
  const memory = MachineMemory.create(plan, false);
  const state = new StateAllocator(memory.state, plan.stateBase, plan.stateEnd);
  const ahead = new Busy("CPU 0", 100_000_000_000);
  const behind = new Busy("CPU 1", 0);
  const events = new EventQueue(state);
  events.reset();
  const scheduler = new Scheduler(state, events, [ahead, behind], LOOK_AHEAD);
  scheduler.reset();
  let asked = 0;
  expect(scheduler.run(() => ++asked > 10)).toBe("stopped");
  expect(behind.clock()).toBeGreaterThan(0);
  expect(behind.longest).toBeLessThanOrEqual(5_000_000);
  // It goes on where it stopped, and comes to the others in the end.
  scheduler.run(() => behind.clock() >= ahead.clock() - LOOK_AHEAD);
  expect(ahead.clock()).toBe(100_000_000_000);
});

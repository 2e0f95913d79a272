/**
 * Host threads: the user process's main loop, the device-emulation thread, the polling thread. Each is a step function
 * with state in shared memory, driven by the virtual-time scheduler or by a worker's loop.
 */
import type { Actor } from "../emulator/machine/scheduler.ts";
import { NEVER } from "../emulator/machine/events.ts";
import { struct, u32, u53, u8, type StateAllocator, type ViewOf } from "../layout/struct.ts";

export const HostThreadStruct = struct("HostThread", {
  clock: u53,
  /** One bit per kind of pending work. */
  work: u32,
  sleeping: u8,
  /** The polling thread alone: nothing can happen until somebody runs again. */
  parked: u8,
  steps: u53,
  wakeUps: u53,
});

/** One kind of work of a thread; `run` charges what it costs to the thread. */
export interface ThreadTask {
  readonly label: string;
  run(thread: HostThread): void;
}

export interface HostThreadOptions {
  readonly label: string;
  /** The time now, on the clock of whoever acts. */
  now(): number;
  /** The thread has come to have something to do at `time`, on its own clock. */
  woken(time: number): void;
  /** Cycles from posting work until a sleeping thread runs; 0 for a thread that never sleeps. */
  readonly wakeCycles: number;
}

/** A thread that sleeps until work is posted. */
export class HostThread implements Actor {
  readonly label: string;
  readonly state: ViewOf<typeof HostThreadStruct>;
  readonly #tasks: ThreadTask[] = [];
  readonly #options: HostThreadOptions;

  constructor(state: StateAllocator, options: HostThreadOptions) {
    this.label = options.label;
    this.state = state.place(options.label, HostThreadStruct);
    this.#options = options;
  }

  reset(): void {
    this.state.clock = this.#options.now();
    this.state.work = 0;
    this.state.sleeping = 1;
    this.state.parked = 0;
  }

  /** Adds a kind of work; returns its bit. Configuration. Lower bits are served first. */
  addTask(task: ThreadTask): number {
    if (this.#tasks.length >= 31) throw new RangeError(`${this.label}: too many kinds of work`);
    this.#tasks.push(task);
    return 1 << (this.#tasks.length - 1);
  }

  /** Posts work; wakes the thread if it sleeps. `latency`: cycles until the other CPU can see it. */
  post(bit: number, latency = 0): void {
    const s = this.state;
    s.work |= bit;
    if (s.sleeping === 0) return;
    s.sleeping = 0;
    s.wakeUps++;
    s.clock = Math.max(s.clock, this.#options.now() + latency + this.#options.wakeCycles);
    this.#options.woken(s.clock);
  }

  /** Spends time on this thread. */
  charge(cycles: number): void {
    this.state.clock += cycles;
  }

  /** Does one piece of pending work. False: there is none, and the thread has gone to sleep. */
  step(): boolean {
    const s = this.state;
    if (s.work === 0) {
      s.sleeping = 1;
      return false;
    }
    const index = 31 - Math.clz32(s.work & -s.work);
    s.work &= ~(1 << index);
    s.steps++;
    this.#tasks[index]!.run(this);
    return true;
  }

  // --- Actor

  clock(): number {
    return this.state.clock;
  }
  isIdle(): boolean {
    return this.state.work === 0;
  }
  wakeTime(): number {
    return NEVER;
  }
  waitUntil(time: number): void {
    if (this.state.clock < time) this.state.clock = time;
  }
  act(limit: number): boolean {
    while (this.state.clock < limit && this.step());
    return false;
  }
  limitTo(): void {
    // One step is the least a thread does: its limit is looked at between steps.
  }
}

export interface PollThreadOptions {
  readonly label: string;
  /** Cycles of one look at all queues. */
  readonly iterationCycles: number;
  /** The thread watches again, from `time` on its own clock. */
  woken(time: number): void;
  /** Looks once; true when something was found and handed on. */
  poll(thread: PollThread): boolean;
}

/** A thread that never sleeps. Iterations that find nothing are not executed one by one: the clock jumps over them. */
export class PollThread implements Actor {
  readonly label: string;
  readonly state: ViewOf<typeof HostThreadStruct>;
  readonly #options: PollThreadOptions;

  constructor(state: StateAllocator, options: PollThreadOptions) {
    this.label = options.label;
    this.state = state.place(options.label, HostThreadStruct);
    this.#options = options;
  }

  reset(now: number): void {
    this.state.clock = now;
    this.state.sleeping = 0;
    this.state.parked = 1;
    this.state.work = 0;
  }

  charge(cycles: number): void {
    this.state.clock += cycles;
  }

  /** Somebody who could fill a queue runs again. */
  unpark(now: number): void {
    const s = this.state;
    if (s.parked === 0) return;
    s.parked = 0;
    this.#skipTo(now);
    this.#options.woken(s.clock);
  }

  /** Moves the clock to the first iteration boundary at or after `time`. */
  #skipTo(time: number): void {
    const s = this.state;
    const behind = time - s.clock;
    if (behind > 0)
      s.clock += Math.ceil(behind / this.#options.iterationCycles) * this.#options.iterationCycles;
  }

  clock(): number {
    return this.state.clock;
  }
  isIdle(): boolean {
    return this.state.parked !== 0;
  }
  wakeTime(): number {
    return NEVER;
  }
  waitUntil(time: number): void {
    this.unpark(time);
  }

  act(limit: number): boolean {
    const s = this.state;
    while (s.clock < limit) {
      s.clock += this.#options.iterationCycles;
      s.steps++;
      if (this.#options.poll(this)) continue;
      // Nobody else acts during this turn, so the other iterations of it find nothing either. With nobody left to
      // act at all, polling stands still until somebody does.
      if (limit === NEVER) s.parked = 1;
      else this.#skipTo(limit);
      break;
    }
    return false;
  }

  limitTo(): void {
    // Iterations are short; the limit of the turn is looked at between them.
  }
}

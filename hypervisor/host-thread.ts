/**
 * Host threads: the user process's main loop, the device-emulation thread, the polling thread. Each is a step function
 * with state in shared memory, driven by the virtual-time scheduler or by a worker's loop.
 */
import type { Actor } from "../emulator/machine/scheduler.ts";
import type { BoardLock } from "../emulator/machine/board-lock.ts";
import { NEVER } from "../emulator/machine/events.ts";
import { array, struct, u32, u53, u8, type StateAllocator, type ViewOf } from "../layout/struct.ts";

const WORK_WORDS = 4;
/** Kinds of work that a thread can have. */
const MOST_TASKS = 32 * WORK_WORDS;

export const HostThreadStruct = struct("HostThread", {
  clock: u53,
  /** One bit per kind of pending work. */
  work: array("u32", WORK_WORDS),
  /** The polling thread alone: nothing can happen until somebody runs again. */
  parked: u8,
  steps: u53,
  wakeUps: u53,
  /** Parallel mode: bumped when the thread must look; it waits on this word. `parked` is 1 while it does. */
  signal: u32,
});

/** The word on which a thread sleeps in parallel mode. */
class ThreadSignal {
  readonly #words: Int32Array;
  readonly #at: number;

  /** `offset`: of the thread's HostThreadStruct. */
  constructor(words: Int32Array, offset: number) {
    this.#words = words;
    this.#at = (offset + HostThreadStruct.offsets.signal) >>> 2;
  }

  /** To be read before looking for work; `wait` then returns at once if the signal was given since. */
  seen(): number {
    return Atomics.load(this.#words, this.#at);
  }

  give(): void {
    Atomics.add(this.#words, this.#at, 1);
    Atomics.notify(this.#words, this.#at);
  }

  wait(seen: number, milliseconds: number): void {
    Atomics.wait(this.#words, this.#at, seen, milliseconds);
  }
}

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
  /** Parallel mode: this is a thread of its own, and takes the time it takes. */
  readonly isParallel: boolean;
}

/** A thread that sleeps until work is posted. */
export class HostThread implements Actor {
  readonly label: string;
  readonly state: ViewOf<typeof HostThreadStruct>;
  readonly #tasks: ThreadTask[] = [];
  readonly #options: HostThreadOptions;
  readonly #signal: ThreadSignal;
  /** Valid inside one turn. */
  #limit = 0;

  constructor(state: StateAllocator, options: HostThreadOptions) {
    this.label = options.label;
    const offset = state.take(options.label, HostThreadStruct.size, HostThreadStruct.align);
    this.state = HostThreadStruct.at(state.memory, offset);
    this.#signal = new ThreadSignal(state.memory.i32, offset);
    this.#options = options;
  }

  reset(): void {
    this.state.clock = this.#options.now();
    this.state.work.fill(0);
    this.state.parked = 0;
  }

  /** Adds a kind of work; returns its number. Configuration. Lower numbers are served first. */
  addTask(task: ThreadTask): number {
    if (this.#tasks.length >= MOST_TASKS) throw new RangeError(`${this.label}: too many kinds of work`);
    return this.#tasks.push(task) - 1;
  }

  /** Work `task` has been posted and not begun. */
  isPosted(task: number): boolean {
    return (this.state.work[task >> 5]! & (1 << (task & 31))) !== 0;
  }

  get #hasWork(): boolean {
    for (const word of this.state.work) if (word !== 0) return true;
    return false;
  }

  /** Posts work. A thread whose last work was over before now sleeps, and takes time to wake. */
  post(task: number): void {
    const s = this.state;
    const hadWork = this.#hasWork;
    s.work[task >> 5]! |= 1 << (task & 31);
    if (this.#options.isParallel) {
      if (s.parked === 0) return;
      s.parked = 0;
      s.wakeUps++;
      this.#signal.give();
      return;
    }
    if (hadWork) return;
    const now = this.#options.now();
    if (s.clock < now) {
      s.wakeUps++;
      s.clock = now + this.#options.wakeCycles;
    }
    this.#options.woken(s.clock);
  }

  /** Spends time on this thread. */
  charge(cycles: number): void {
    this.state.clock += cycles;
  }

  /** Does one piece of pending work. False: there is none. */
  step(): boolean {
    const s = this.state;
    const index = s.work.findIndex((word) => word !== 0);
    if (index < 0) return false;
    const word = s.work[index]!;
    const task = 32 * index + 31 - Math.clz32(word & -word);
    s.work[index] = word & (word - 1);
    s.steps++;
    this.#tasks[task]!.run(this);
    return true;
  }

  /** Parallel mode: makes a sleeping thread look at its work, or at whether it is to stop. Any thread may call it. */
  signal(): void {
    this.#signal.give();
  }

  /** Parallel mode: the thread's one turn. Works under the lock, or sleeps until something is posted. */
  turn(lock: BoardLock): void {
    const seen = this.#signal.seen();
    if (lock.state.stop !== 0) return;
    const worked = lock.hold(() => {
      const did = this.step();
      this.state.parked = did ? 0 : 1;
      return did;
    });
    if (!worked) this.#signal.wait(seen, Infinity);
  }

  // --- Actor

  clock(): number {
    return this.state.clock;
  }
  isIdle(): boolean {
    return !this.#hasWork;
  }
  wakeTime(): number {
    return NEVER;
  }
  waitUntil(time: number): void {
    if (this.state.clock < time) this.state.clock = time;
  }
  act(limit: number): boolean {
    this.#limit = limit;
    while (this.state.clock < this.#limit && this.step());
    return false;
  }
  limitTo(time: number): void {
    this.#limit = Math.min(this.#limit, time);
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
  /** Looks once without changing anything, and without a lock: may `poll` find something? */
  peek(): boolean;
}

/** Parallel mode: looks that find nothing before the polling thread gives its processor away for a moment. */
const POLL_SPINS = 200;
/** How long that moment is, milliseconds: a processor may have to be shared with those who fill the queue. */
const POLL_PAUSE = 0.05;

/** A thread that never sleeps. Iterations that find nothing are not executed one by one: the clock jumps over them. */
export class PollThread implements Actor {
  readonly label: string;
  readonly state: ViewOf<typeof HostThreadStruct>;
  readonly #options: PollThreadOptions;
  readonly #signal: ThreadSignal;
  /** Valid inside one turn. */
  #limit = 0;

  constructor(state: StateAllocator, options: PollThreadOptions) {
    this.label = options.label;
    const offset = state.take(options.label, HostThreadStruct.size, HostThreadStruct.align);
    this.state = HostThreadStruct.at(state.memory, offset);
    this.#signal = new ThreadSignal(state.memory.i32, offset);
    this.#options = options;
  }

  /** Parallel mode: ends a pause between looks. Any thread may call it. */
  signal(): void {
    this.#signal.give();
  }

  /** Parallel mode: the thread's one turn. Looks at the shared queues; nobody tells it that they have filled. */
  turn(lock: BoardLock): void {
    const seen = this.#signal.seen();
    const s = this.state;
    for (let look = 0; look < POLL_SPINS; look++) {
      if (lock.state.stop !== 0) return;
      s.steps++;
      if (this.#options.peek() && lock.hold(() => this.#options.poll(this))) return;
    }
    this.#signal.wait(seen, POLL_PAUSE);
  }

  reset(now: number): void {
    this.state.clock = now;
    this.state.parked = 1;
    this.state.work.fill(0);
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
    this.#limit = limit;
    while (s.clock < this.#limit) {
      s.clock += this.#options.iterationCycles;
      s.steps++;
      if (this.#options.poll(this)) continue;
      // Nobody else acts during this turn, so the other iterations of it find nothing either. With nobody left to
      // act at all, polling stands still until somebody does.
      if (this.#limit === NEVER) s.parked = 1;
      else this.#skipTo(this.#limit);
      break;
    }
    return false;
  }

  limitTo(time: number): void {
    this.#limit = Math.min(this.#limit, time);
  }
}

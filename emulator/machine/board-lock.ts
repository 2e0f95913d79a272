/**
 * Parallel mode's one lock for everything that more than one thread may touch: chipset, cards, event queue, hypervisor.
 * It is taken before a device call (devices/ports.ts), so that the call itself never blocks.
 *
 * A thread may take it again while it holds it. Whoever gives it back fires what has become due in the event queue.
 */
import { struct, u32, u53, type StateAllocator, type ViewOf } from "../../layout/struct.ts";
import type { Clock } from "../../devices/ports.ts";
import { NEVER, type EventQueue } from "./events.ts";

export const BoardLockStruct = struct("BoardLock", {
  /** 0 free, 1 taken, 2 taken and others may wait. */
  word: u32,
  /** Bumped when the timekeeper must look at the event queue again; it waits on this word. */
  keeperSignal: u32,
  /** The time until which the timekeeper sleeps. */
  keeperUntil: u53,
  /** 1: the threads are to stop, whatever the guest does. */
  stop: u32,
  /** CPU threads that sleep until somebody wakes them. */
  asleep: u32,
});

const FREE = 0;
const TAKEN = 1;
const CONTENDED = 2;
/** Looks at a taken lock before sleeping. Few: there may be more threads than processors. */
const SPINS = 50;
/** How often a thread that waits does something else in the meantime, milliseconds. */
const MEANWHILE = 1;
/** How often the timekeeper asks whether the machine has come to rest, milliseconds. */
const QUIET_CHECK = 50;
/** Events fired at one release; what is still due then is left to the timekeeper. */
const MOST_EVENTS = 64;

export class BoardLock {
  readonly state: ViewOf<typeof BoardLockStruct>;
  readonly #words: Int32Array;
  readonly #word: number;
  readonly #keeper: number;
  readonly #asleep: number;
  readonly #events: EventQueue;
  readonly #clock: Clock;
  /** How often this thread holds it. */
  #depth = 0;

  constructor(allocator: StateAllocator, events: EventQueue, clock: Clock) {
    const offset = allocator.take("board lock", BoardLockStruct.size, BoardLockStruct.align);
    this.state = BoardLockStruct.at(allocator.memory, offset);
    this.#words = allocator.memory.i32;
    this.#word = (offset + BoardLockStruct.offsets.word) >>> 2;
    this.#keeper = (offset + BoardLockStruct.offsets.keeperSignal) >>> 2;
    this.#asleep = (offset + BoardLockStruct.offsets.asleep) >>> 2;
    this.#events = events;
    this.#clock = clock;
  }

  /** Nobody holds it, nobody is to stop. Before the threads start. */
  reset(): void {
    Object.assign(this.state, { word: FREE, keeperUntil: NEVER, stop: 0, asleep: 0 });
  }

  /**
   * Takes the lock; waits while another thread has it.
   *
   * @param meanwhile done now and then while waiting, by a thread for which the one that has the lock may itself be waiting
   */
  enter(meanwhile?: () => void): void {
    if (this.#depth++ > 0) return;
    const words = this.#words;
    const at = this.#word;
    for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(words, at, FREE, TAKEN) === FREE) return;
    while (Atomics.exchange(words, at, CONTENDED) !== FREE) {
      Atomics.wait(words, at, CONTENDED, meanwhile ? MEANWHILE : Infinity);
      meanwhile?.();
    }
  }

  /** Gives it back, after firing what is due. */
  leave(): void {
    if (this.#depth > 1) {
      this.#depth--;
      return;
    }
    this.fireDue();
    const { next } = this.#events;
    if (next < this.state.keeperUntil) {
      this.state.keeperUntil = next;
      this.wakeTimekeeper();
    }
    this.#depth = 0;
    const words = this.#words;
    const at = this.#word;
    if (Atomics.exchange(words, at, FREE) === CONTENDED) Atomics.notify(words, at, 1);
  }

  /** Runs `act` under the lock; see `enter`. */
  hold<T>(act: () => T, meanwhile?: () => void): T {
    this.enter(meanwhile);
    try {
      return act();
    } finally {
      this.leave();
    }
  }

  /** Fires what is due, with the lock held. */
  fireDue(): void {
    const events = this.#events;
    for (let i = 0; i < MOST_EVENTS && events.next !== NEVER; i++)
      if (events.fireOne(this.#clock.now()) === undefined) return;
  }

  /** Makes the timekeeper look at the queue. */
  wakeTimekeeper(): void {
    Atomics.add(this.#words, this.#keeper, 1);
    Atomics.notify(this.#words, this.#keeper);
  }

  /** Runs `wait`, in which this CPU thread sleeps with no timer of its own. */
  sleepingCpu(wait: () => void): void {
    Atomics.add(this.#words, this.#asleep, 1);
    wait();
    Atomics.sub(this.#words, this.#asleep, 1);
  }

  /**
   * The timekeeper's one turn: fires what is due, then sleeps until the next event or until something earlier has been
   * armed.
   * @returns true when nobody armed anything earlier in the meantime: a good moment to ask whether anything can still happen
   */
  keepTime(): boolean {
    this.enter();
    this.fireDue();
    const signal = Atomics.load(this.#words, this.#keeper);
    const next = this.#events.next;
    this.state.keeperUntil = next;
    this.leave();
    if (this.state.stop !== 0) return false;
    const milliseconds = next === NEVER ? QUIET_CHECK : millisecondsUntil(this.#clock, next);
    return Atomics.wait(this.#words, this.#keeper, signal, milliseconds) === "timed-out";
  }
}

/** How long to wait for a time on a clock, for Atomics.wait: Infinity for NEVER. */
export function millisecondsUntil(clock: Clock, time: number): number {
  if (time >= NEVER) return Infinity;
  return Math.max(0, ((time - clock.now()) / clock.frequencyHz) * 1000);
}

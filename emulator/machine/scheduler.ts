/**
 * Deterministic mode: one thread, a clock per actor (physical CPU or host thread), conservative scheduling.
 *
 * The actor furthest behind runs, at most one look-ahead beyond the others, and never past the next event; ties go to
 * the lower index. What an actor does to another is visible to it one look-ahead later at the latest. The choice under
 * way is state in shared memory, so a run that is stopped anywhere and goes on (or is saved and restored) makes the
 * same choices as one that is not.
 */
import { i32, struct, u53, type StateAllocator, type ViewOf } from "../../layout/struct.ts";
import { NEVER, type EventQueue } from "./events.ts";

/**
 * Cycles that a CPU may go on for before whoever runs the machine is asked again: one that is far behind the others would else go all
 * the way to them at once.
 */
const LONGEST_STRETCH = 5_000_000;

/** Something with a clock of its own that the scheduler runs. */
export interface Actor {
  readonly label: string;
  /** A turn may be cut short at any cycle and taken up again, and nothing differs: true of CPUs. */
  readonly isDivisible?: boolean;
  /** Cycles since power-on on this actor's own clock. */
  clock(): number;
  /** True when it has nothing to do until something happens to it. */
  isIdle(): boolean;
  /** When idle: the time at which it wakes by itself (its own timer), or NEVER. */
  wakeTime(): number;
  /** Moves an idle actor's clock forward to `time`: it has been waiting. */
  waitUntil(time: number): void;
  /**
   * Acts until its clock reaches `limit`, it becomes idle, or `shouldStop()`; `others` is the clock of the actor
   * furthest behind among the others. Returns true when it cannot go on before the others have caught up.
   */
  act(limit: number, others: number): boolean;
  /** An event was armed for `time` while this actor acts: it must not run past it. */
  limitTo(time: number): void;
  /** While this actor acts, another has come to act from `time` on: what depends on time waits until then at most. */
  othersFrom?(time: number): void;
}

export const SchedulerStruct = struct("Scheduler", {
  /** Index of the actor whose turn is under way, -1 between turns. */
  current: i32,
  limit: u53,
  others: u53,
  /** Time of the last event fired. */
  eventTime: u53,
  turns: u53,
});

export class Scheduler {
  readonly #state: ViewOf<typeof SchedulerStruct>;
  readonly #events: EventQueue;
  readonly #actors: readonly Actor[];
  readonly #lookAhead: number;
  #acting: Actor | undefined;

  constructor(state: StateAllocator, events: EventQueue, actors: readonly Actor[], lookAhead: number) {
    this.#state = state.place("scheduler", SchedulerStruct);
    this.#events = events;
    this.#actors = actors;
    this.#lookAhead = lookAhead;
    events.onEarlier = (time) => {
      if (this.#acting === undefined) return;
      if (time < this.#state.limit) this.#state.limit = time;
      this.#acting.limitTo(time);
    };
  }

  reset(): void {
    this.#state.current = -1;
    this.#state.limit = 0;
    this.#state.eventTime = 0;
  }

  /** The time of whoever acts now: the acting actor's clock, else that of the last event. */
  now(): number {
    return this.#acting?.clock() ?? this.#state.eventTime;
  }

  /** Time of the last event fired. */
  get eventTime(): number {
    return this.#state.eventTime;
  }

  /** Turns taken since power-on. */
  get turns(): number {
    return this.#state.turns;
  }

  /**
   * Takes turns until `shouldStop()`, which is asked between them; no CPU's turn goes beyond `horizon` at once. A turn
   * that the horizon cuts goes on at the next call, so where it lies does not change what happens. A thread's turn is
   * never cut: the looks of the polling thread are counted, and it may park only at the true end of a turn.
   * @returns "stopped", or "idle" when nothing can ever happen again
   */
  run(shouldStop: () => boolean, horizon = NEVER): "stopped" | "idle" {
    const s = this.#state;
    while (!shouldStop()) {
      if (s.current < 0 && !this.#choose()) return "idle";
      if (s.current < 0) continue;
      const actor = this.#actors[s.current]!;
      this.#acting = actor;
      const limit =
        actor.isDivisible === true ? Math.min(s.limit, horizon, actor.clock() + LONGEST_STRETCH) : s.limit;
      const waits = actor.act(limit, s.others);
      this.#acting = undefined;
      if (waits || actor.isIdle() || actor.clock() >= s.limit) s.current = -1;
    }
    return "stopped";
  }

  /** Fires what is due or picks the next actor. False when there is neither. */
  #choose(): boolean {
    const s = this.#state;
    let chosen = -1;
    let earliest = NEVER;
    let second = NEVER;
    let waking = -1;
    let wakeTime = NEVER;
    for (let i = 0; i < this.#actors.length; i++) {
      const actor = this.#actors[i]!;
      if (actor.isIdle()) {
        const wake = actor.wakeTime();
        if (wake < wakeTime) {
          wakeTime = wake;
          waking = i;
        }
        continue;
      }
      const clock = actor.clock();
      if (clock < earliest) {
        second = earliest;
        earliest = clock;
        chosen = i;
      } else if (clock < second) second = clock;
    }
    const event = this.#events.next;
    if (event <= earliest && event <= wakeTime) {
      if (event === NEVER) return false;
      s.eventTime = Math.max(s.eventTime, event);
      this.#events.fireOne(event);
      return true;
    }
    if (wakeTime <= earliest) {
      this.#actors[waking]!.waitUntil(wakeTime);
      second = earliest;
      earliest = wakeTime;
      chosen = waking;
    } else if (wakeTime < second) second = wakeTime;
    s.current = chosen;
    s.others = second;
    s.limit = Math.min(event, second === NEVER ? NEVER : second + this.#lookAhead);
    // Furthest behind by definition, but level with the second: give it at least one step.
    if (s.limit <= earliest) s.limit = earliest + 1;
    s.turns++;
    return true;
  }

  /**
   * Ends a turn under way at the pause between two runs, so that what has come from outside is seen before it. Only of what can be
   * cut anywhere.
   */
  interrupt(): void {
    const s = this.#state;
    if (s.current >= 0 && this.#actors[s.current]!.isDivisible === true) s.current = -1;
  }

  /** Something that happened now woke an actor: its clock must not be behind it. */
  wake(actor: Actor): void {
    const time = this.now();
    if (actor.clock() < time) actor.waitUntil(time);
    this.woken(actor.clock());
  }

  /** An actor has come to have something to do from `time` on: the acting one must not run too far beyond it. */
  woken(time: number): void {
    const s = this.#state;
    if (this.#acting === undefined) return;
    if (time < s.others) {
      // The acting actor learns of it at once, as it would if the turn were stopped here and taken up again.
      s.others = time;
      this.#acting.othersFrom?.(time);
    }
    const limit = Math.max(time, this.#acting.clock()) + this.#lookAhead;
    if (limit >= s.limit) return;
    s.limit = limit;
    this.#acting.limitTo(limit);
  }
}

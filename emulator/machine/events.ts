/**
 * The board's event queue: pending work as data.
 *
 * Every timer of every device owns one slot, made while the machine is built; what is armed, for when, and in which
 * order lives in shared memory. Which function a slot calls is configuration, the same on every thread.
 */
import { i32, nestedArray, struct, u32, u53, type StateAllocator, type ViewOf } from "../../layout/struct.ts";
import type { Timer } from "../../devices/ports.ts";

/** "Not armed", and "no event": later than every time. */
export const NEVER = Number.MAX_SAFE_INTEGER;

const MOST_TIMERS = 256;

const SlotStruct = struct("TimerSlot", { time: u53, order: u53 });

export const EventQueueStruct = struct("EventQueue", {
  /** Earliest armed time, NEVER when none. */
  next: u53,
  /** Slot of the earliest, -1 when unknown. */
  nextSlot: i32,
  count: u32,
  /** Arming order: breaks ties between equal times. */
  order: u53,
  fired: u53,
  slots: nestedArray(SlotStruct, MOST_TIMERS),
});

export class EventQueue {
  readonly #state: ViewOf<typeof EventQueueStruct>;
  readonly #timers: { readonly label: string; readonly fire: () => void }[] = [];
  /** Called when something is armed for earlier than everything else: a running CPU must stop in time. */
  onEarlier: (time: number) => void = () => undefined;

  constructor(state: StateAllocator) {
    this.#state = state.place("event queue", EventQueueStruct);
  }

  /** Disarms everything. */
  reset(): void {
    const s = this.#state;
    for (const slot of s.slots) slot.time = NEVER;
    s.next = NEVER;
    s.nextSlot = -1;
    s.order = 0;
  }

  /** Time of the earliest armed timer, or NEVER. */
  get next(): number {
    return this.#state.next;
  }

  /** Events fired since power-on. */
  get fired(): number {
    return this.#state.fired;
  }

  /** Makes a timer slot; configuration, while the machine is built. */
  timer(label: string, fire: () => void): Timer {
    const index = this.#timers.length;
    if (index >= MOST_TIMERS) throw new RangeError(`${label}: more than ${MOST_TIMERS} timers`);
    this.#timers.push({ label, fire });
    const s = this.#state;
    const slot = s.slots[index]!;
    return {
      arm: (time) => {
        slot.time = time;
        slot.order = s.order++;
        if (time < s.next) {
          s.next = time;
          s.nextSlot = index;
          this.onEarlier(time);
        } else if (s.nextSlot === index) this.#findNext();
      },
      disarm: () => {
        slot.time = NEVER;
        if (s.nextSlot === index) this.#findNext();
      },
      get armedAt() {
        const time = slot.time;
        return time === NEVER ? undefined : time;
      },
    };
  }

  #findNext(): void {
    const s = this.#state;
    let time = NEVER;
    let order = NEVER;
    let found = -1;
    for (let i = 0; i < this.#timers.length; i++) {
      const slot = s.slots[i]!;
      const t = slot.time;
      if (t === NEVER || t > time) continue;
      const o = slot.order;
      if (t === time && o > order) continue;
      time = t;
      order = o;
      found = i;
    }
    s.next = time;
    s.nextSlot = found;
  }

  /** Fires the earliest timer if it is due at `now`. Returns its label, or undefined when none is due. */
  fireOne(now: number): string | undefined {
    const s = this.#state;
    if (s.next > now) return undefined;
    const index = s.nextSlot;
    const timer = this.#timers[index]!;
    s.slots[index]!.time = NEVER;
    s.fired++;
    this.#findNext();
    timer.fire();
    return timer.label;
  }
}

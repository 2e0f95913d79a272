/** A small queue of bytes in shared state: what a PS/2 device has to send. */
import { bytes, struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";

const CAPACITY = 64;

export const Ps2QueueStruct = struct("Ps2Queue", { first: u8, count: u8, bytes: bytes(CAPACITY) });
export type Ps2QueueState = ViewOf<typeof Ps2QueueStruct>;

export class Ps2Queue {
  readonly #s: Ps2QueueState;

  constructor(state: Ps2QueueState) {
    this.#s = state;
  }

  get isEmpty(): boolean {
    return this.#s.count === 0;
  }

  clear(): void {
    this.#s.first = 0;
    this.#s.count = 0;
  }

  /** Adds all of them, or none where there is no room. */
  push(...values: readonly number[]): boolean {
    const s = this.#s;
    if (s.count + values.length > CAPACITY) return false;
    for (const value of values) s.bytes[(s.first + s.count++) % CAPACITY] = value;
    return true;
  }

  shift(): number | undefined {
    const s = this.#s;
    if (s.count === 0) return undefined;
    const value = s.bytes[s.first]!;
    s.first = (s.first + 1) % CAPACITY;
    s.count--;
    return value;
  }
}

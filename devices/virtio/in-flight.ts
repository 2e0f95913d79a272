/**
 * Requests that were started and not yet finished, as data in shared state: a bounded table, and the memory
 * segments of their data in a bounded pool of linked nodes. A snapshot taken between start and completion, or a
 * completion on another thread, finds everything here.
 */
import { array, nestedArray, struct, u16, u32, u53 } from "../../layout/struct.ts";
import type { Fields, StructType, View } from "../../layout/struct.ts";
import type { DmaMemory } from "../ports.ts";
import { MOST_DESCRIPTORS } from "./queue.ts";
import type { DescriptorChain } from "./queue.ts";

/** Requests in flight at one device. */
export const IN_FLIGHT_REQUESTS = 256;
/** Segments of all of them; at least one chain of the largest size fits. */
export const IN_FLIGHT_SEGMENTS = 4 * MOST_DESCRIPTORS;

/** End of a list. */
const NONE = 0xffffffff;
/** Words of a segment: address low, address high, length, next. */
const WORDS = 4;

/** What the table knows of every request; a device's struct begins with these fields and has its own beside them. */
export const inFlightFields = {
  /** This entry's own index. */
  slot: u16,
  queue: u16,
  head: u16,
  /** The lists of memory segments that were kept: for data, and for what else is written at the end. */
  data: u32,
  reply: u32,
  /** Cycle at which it finishes. */
  completeAt: u53,
};

export type InFlightRequest = View<typeof inFlightFields>;

/** The table's struct, for requests of a device. */
export function inFlightStruct<F extends Fields>(request: StructType<F>) {
  return struct("InFlight", {
    count: u32,
    freeSegment: u32,
    freeSegments: u32,
    /** The first `count` entries: slots in order of completion time, equal times in order of start. */
    order: array("u16", IN_FLIGHT_REQUESTS),
    /** The first `IN_FLIGHT_REQUESTS - count` entries: slots not in use. */
    free: array("u16", IN_FLIGHT_REQUESTS),
    requests: nestedArray(request, IN_FLIGHT_REQUESTS),
    segments: array("u32", WORDS * IN_FLIGHT_SEGMENTS),
  });
}

/** Shared state of the table: a view of `inFlightStruct`. */
export interface InFlightState<R> {
  count: number;
  freeSegment: number;
  freeSegments: number;
  readonly order: Uint16Array;
  readonly free: Uint16Array;
  readonly requests: readonly R[];
  readonly segments: Uint32Array;
}

export class InFlightTable<R extends InFlightRequest> {
  readonly #state: InFlightState<R>;

  constructor(state: InFlightState<R>) {
    this.#state = state;
  }

  /** Forgets every request. */
  clear(): void {
    const s = this.#state;
    s.requests.forEach((request, slot) => {
      request.slot = slot;
      // Taken from the end, so slot 0 is used first.
      s.free[IN_FLIGHT_REQUESTS - 1 - slot] = slot;
    });
    for (let i = 0; i < IN_FLIGHT_SEGMENTS; i++)
      s.segments[WORDS * i + 3] = i + 1 < IN_FLIGHT_SEGMENTS ? i + 1 : NONE;
    s.count = 0;
    s.freeSegment = 0;
    s.freeSegments = IN_FLIGHT_SEGMENTS;
  }

  get count(): number {
    return this.#state.count;
  }

  /** Is there room for a chain of so many descriptors? */
  hasRoom(descriptors: number): boolean {
    return this.#state.count < IN_FLIGHT_REQUESTS && this.#state.freeSegments >= descriptors;
  }

  /** Takes an entry for a request that completes at cycle `completeAt`; `hasRoom` was true. */
  add(completeAt: number): R {
    const s = this.#state;
    const slot = s.free[IN_FLIGHT_REQUESTS - 1 - s.count]!;
    const request = s.requests[slot]!;
    request.data = NONE;
    request.reply = NONE;
    request.completeAt = completeAt;
    // Most requests complete after those before them: look for the place from the end.
    let at = s.count;
    while (at > 0 && s.requests[s.order[at - 1]!]!.completeAt > completeAt) {
      s.order[at] = s.order[at - 1]!;
      at--;
    }
    s.order[at] = slot;
    s.count++;
    return request;
  }

  /**
   * Keeps `length` bytes, from byte `offset` of the chain's readable or writable part, as one of the request's lists.
   * The caller has checked that the chain has them.
   */
  keepSegments(
    request: R,
    list: "data" | "reply",
    chain: DescriptorChain,
    writable: boolean,
    offset: number,
    length: number,
  ): void {
    const segments = this.#state.segments;
    let last = NONE;
    let skip = offset;
    let left = length;
    const end = writable ? chain.count : chain.readable;
    for (let i = writable ? chain.readable : 0; i < end && left > 0; i++) {
      const available = chain.lengths[i]!;
      if (skip >= available) {
        skip -= available;
        continue;
      }
      const part = Math.min(available - skip, left);
      const at = this.#takeSegment();
      const address = chain.addresses[i]! + skip;
      segments[WORDS * at] = address % 2 ** 32;
      segments[WORDS * at + 1] = Math.floor(address / 2 ** 32);
      segments[WORDS * at + 2] = part;
      segments[WORDS * at + 3] = NONE;
      if (last === NONE) request[list] = at;
      else segments[WORDS * last + 3] = at;
      last = at;
      left -= part;
      skip = 0;
    }
  }

  /** Reads or writes the memory of a list, from its beginning. */
  stream(first: number, memory: DmaMemory): SegmentStream {
    return new SegmentStream(this.#state.segments, first, memory);
  }

  /** The requests, in order of completion. */
  get requests(): readonly R[] {
    const s = this.#state;
    return Array.from({ length: s.count }, (_, i) => s.requests[s.order[i]!]!);
  }

  /** Forgets the requests of a queue. */
  forget(queue: number): void {
    for (const request of this.requests) if (request.queue === queue) this.remove(request);
  }

  /** Gives the entry and its segments back. */
  remove(request: R): void {
    const s = this.#state;
    this.#giveBack(request.data);
    this.#giveBack(request.reply);
    const at = s.order.indexOf(request.slot);
    s.order.copyWithin(at, at + 1, s.count);
    s.count--;
    s.free[IN_FLIGHT_REQUESTS - 1 - s.count] = request.slot;
  }

  /** The request that finishes first, or `undefined` if none does by `time`. */
  earliest(time = Infinity): R | undefined {
    if (this.#state.count === 0) return undefined;
    const first = this.#state.requests[this.#state.order[0]!]!;
    return first.completeAt <= time ? first : undefined;
  }

  #giveBack(first: number): void {
    const s = this.#state;
    for (let at = first; at !== NONE;) {
      const next = s.segments[WORDS * at + 3]!;
      s.segments[WORDS * at + 3] = s.freeSegment;
      s.freeSegment = at;
      s.freeSegments++;
      at = next;
    }
  }

  #takeSegment(): number {
    const s = this.#state;
    const at = s.freeSegment;
    s.freeSegment = s.segments[WORDS * at + 3]!;
    s.freeSegments--;
    return at;
  }
}

/** The memory of a list of segments, as one stream of bytes. */
export class SegmentStream {
  readonly #segments: Uint32Array;
  readonly #memory: DmaMemory;
  #at: number;
  #done = 0;

  constructor(segments: Uint32Array, first: number, memory: DmaMemory) {
    this.#segments = segments;
    this.#at = first;
    this.#memory = memory;
  }

  /** Bytes to memory; false when the list is not so long, or not RAM. */
  write(from: Uint8Array): boolean {
    return this.#move(from, (address, part) => this.#memory.write(address, part));
  }

  /** Bytes from memory; false when the list is not so long, or not RAM. */
  read(into: Uint8Array): boolean {
    return this.#move(into, (address, part) => this.#memory.read(address, part));
  }

  #move(bytes: Uint8Array, each: (address: number, part: Uint8Array) => boolean): boolean {
    const s = this.#segments;
    for (let moved = 0; moved < bytes.length;) {
      if (this.#at === NONE) return false;
      const word = WORDS * this.#at;
      const part = Math.min(s[word + 2]! - this.#done, bytes.length - moved);
      const address = s[word]! + s[word + 1]! * 2 ** 32 + this.#done;
      if (!each(address, bytes.subarray(moved, moved + part))) return false;
      moved += part;
      this.#done += part;
      if (this.#done < s[word + 2]!) continue;
      this.#at = s[word + 3]!;
      this.#done = 0;
    }
    return true;
  }
}

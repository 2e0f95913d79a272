/**
 * Requests that were started and not yet finished, as data in shared state: a bounded table, and the memory
 * segments of their data in a bounded pool of linked nodes. A snapshot taken between start and completion, or a
 * completion on another thread, finds everything here.
 */
import { array, nestedArray, struct, u16, u32, u53, u8 } from "../../../layout/struct.ts";
import type { ViewOf } from "../../../layout/struct.ts";
import type { BusAddress } from "../../ports.ts";
import { MOST_DESCRIPTORS } from "../queue.ts";
import type { DescriptorChain } from "../queue.ts";

/** Requests in flight at one device. */
export const IN_FLIGHT_REQUESTS = 256;
/** Segments of all of them; at least one chain of the largest size fits. */
export const IN_FLIGHT_SEGMENTS = 4 * MOST_DESCRIPTORS;

/** End of a list. */
const NONE = 0xffffffff;
/** Words of a segment: address low, address high, length, next. */
const WORDS = 4;

export const InFlightRequestStruct = struct("InFlightRequest", {
  /** This entry's own index. */
  slot: u16,
  type: u8,
  status: u8,
  mayUnmap: u8,
  queue: u16,
  head: u16,
  firstSegment: u32,
  sector: u53,
  byteLength: u53,
  statusAddress: u53,
  /** Cycle at which it finishes. */
  completeAt: u53,
});

export const InFlightStruct = struct("InFlight", {
  count: u32,
  freeSegment: u32,
  freeSegments: u32,
  /** The first `count` entries: slots in order of completion time, equal times in order of start. */
  order: array("u16", IN_FLIGHT_REQUESTS),
  /** The first `IN_FLIGHT_REQUESTS - count` entries: slots not in use. */
  free: array("u16", IN_FLIGHT_REQUESTS),
  requests: nestedArray(InFlightRequestStruct, IN_FLIGHT_REQUESTS),
  segments: array("u32", WORDS * IN_FLIGHT_SEGMENTS),
});

export type InFlightRequest = ViewOf<typeof InFlightRequestStruct>;

export class InFlightTable {
  readonly #state: ViewOf<typeof InFlightStruct>;

  constructor(state: ViewOf<typeof InFlightStruct>) {
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
  add(completeAt: number): InFlightRequest {
    const s = this.#state;
    const slot = s.free[IN_FLIGHT_REQUESTS - 1 - s.count]!;
    const request = s.requests[slot]!;
    request.firstSegment = NONE;
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
   * Keeps `length` bytes, from byte `offset` of the chain's readable or writable part, as the request's data.
   * The caller has checked that the chain has them.
   */
  keepSegments(
    request: InFlightRequest,
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
      if (last === NONE) request.firstSegment = at;
      else segments[WORDS * last + 3] = at;
      last = at;
      left -= part;
      skip = 0;
    }
  }

  /** Calls `each` for the request's segments in order, until it returns false. */
  forEachSegment(request: InFlightRequest, each: (address: BusAddress, length: number) => boolean): boolean {
    const segments = this.#state.segments;
    for (let at = request.firstSegment; at !== NONE; at = segments[WORDS * at + 3]!)
      if (!each(segments[WORDS * at]! + segments[WORDS * at + 1]! * 2 ** 32, segments[WORDS * at + 2]!))
        return false;
    return true;
  }

  /** Gives the entry and its segments back. */
  remove(request: InFlightRequest): void {
    const s = this.#state;
    for (let at = request.firstSegment; at !== NONE;) {
      const next = s.segments[WORDS * at + 3]!;
      s.segments[WORDS * at + 3] = s.freeSegment;
      s.freeSegment = at;
      s.freeSegments++;
      at = next;
    }
    const at = s.order.indexOf(request.slot);
    s.order.copyWithin(at, at + 1, s.count);
    s.count--;
    s.free[IN_FLIGHT_REQUESTS - 1 - s.count] = request.slot;
  }

  /** The request that finishes first, or `undefined` if none does by `time`. */
  earliest(time = Infinity): InFlightRequest | undefined {
    if (this.#state.count === 0) return undefined;
    const first = this.#state.requests[this.#state.order[0]!]!;
    return first.completeAt <= time ? first : undefined;
  }

  #takeSegment(): number {
    const s = this.#state;
    const at = s.freeSegment;
    s.freeSegment = s.segments[WORDS * at + 3]!;
    s.freeSegments--;
    return at;
  }
}

/**
 * Frames on their way to a receiver: a bounded ring of bytes in shared memory, each frame with the time of its arrival and with what
 * was left to be done. A frame lies in one piece, so that the receiver can look at it where it is.
 */
import { bytes, struct, u32, u53, type StateAllocator, type ViewOf } from "../../layout/struct.ts";
import type { FrameOffload, ReceivedFrame } from "../ports.ts";
import { MOST_FRAME_BYTES } from "./ethernet.ts";

const RecordStruct = struct("FrameRecord", {
  /** Of the frame; SKIP: the next one begins at the ring's start. */
  length: u32,
  checksumStart: u32,
  checksumOffset: u32,
  segmentBytes: u32,
  /** Bits: 0–2 segmentation, 8 ECN, 9 checked. */
  flags: u32,
  arrival: u53,
});

const SKIP = 0xffffffff;
const FLAG_ECN = 1 << 8;
const FLAG_CHECKED = 1 << 9;
const ALIGN = 8;

const alignUp = (value: number): number => Math.ceil(value / ALIGN) * ALIGN;

function ringStruct(size: number) {
  return struct("FrameRing", {
    /** Offsets in `data`, and how much of it is in use. */
    head: u32,
    tail: u32,
    used: u32,
    count: u32,
    data: bytes(size, ALIGN),
  });
}

export class FrameRing {
  readonly #state: ViewOf<ReturnType<typeof ringStruct>>;
  readonly #size: number;
  readonly #words: Uint32Array;

  /** @param size bytes, a multiple of 8; at least one frame of the largest size fits */
  constructor(state: StateAllocator, label: string, size: number) {
    if (size % ALIGN !== 0 || size < 2 * (MOST_FRAME_BYTES + RecordStruct.size + ALIGN))
      throw new RangeError(`${label}: a ring of ${size} bytes`);
    this.#size = size;
    this.#state = state.place(label, ringStruct(size));
    const { data } = this.#state;
    this.#words = new Uint32Array(data.buffer, data.byteOffset, size / 4);
  }

  clear(): void {
    const s = this.#state;
    s.head = s.tail = s.used = s.count = 0;
  }

  get count(): number {
    return this.#state.count;
  }

  /** Bytes not in use. */
  get free(): number {
    return this.#size - this.#state.used;
  }

  /** When the oldest frame arrives; undefined when there is none. */
  get arrival(): number | undefined {
    const s = this.#state;
    if (s.count === 0) return undefined;
    const at = this.#headRecord() / 4;
    const w = this.#words;
    return (
      w[at + RecordStruct.offsets.arrival / 4]! + w[at + RecordStruct.offsets.arrival / 4 + 1]! * 2 ** 32
    );
  }

  /** Adds a frame; false when there is no room. */
  push(frame: Uint8Array, offload: FrameOffload, arrival: number): boolean {
    const s = this.#state;
    const needed = alignUp(RecordStruct.size + frame.length);
    const toEnd = this.#size - s.tail;
    const skipped = toEnd < needed ? toEnd : 0;
    if (frame.length > MOST_FRAME_BYTES || s.used + skipped + needed > this.#size) return false;
    const w = this.#words;
    if (skipped > 0) {
      w[s.tail / 4] = SKIP;
      s.tail = 0;
    }
    const at = s.tail / 4;
    const o = RecordStruct.offsets;
    w[at] = frame.length;
    w[at + o.checksumStart / 4] = offload.checksumStart;
    w[at + o.checksumOffset / 4] = offload.checksumOffset;
    w[at + o.segmentBytes / 4] = offload.segmentBytes;
    w[at + o.flags / 4] =
      offload.segmentation | (offload.ecn ? FLAG_ECN : 0) | (offload.checked ? FLAG_CHECKED : 0);
    w[at + o.arrival / 4] = arrival >>> 0;
    w[at + o.arrival / 4 + 1] = Math.floor(arrival / 2 ** 32);
    s.data.set(frame, s.tail + RecordStruct.size);
    s.tail = (s.tail + needed) % this.#size;
    s.used += skipped + needed;
    s.count++;
    return true;
  }

  /** The oldest frame, where it lies. */
  peek(): ReceivedFrame | undefined {
    const s = this.#state;
    if (s.count === 0) return undefined;
    const start = this.#headRecord();
    const at = start / 4;
    const o = RecordStruct.offsets;
    const w = this.#words;
    const flags = w[at + o.flags / 4]!;
    return {
      bytes: s.data.subarray(start + RecordStruct.size, start + RecordStruct.size + w[at]!),
      offload: {
        checksumStart: w[at + o.checksumStart / 4]!,
        checksumOffset: w[at + o.checksumOffset / 4]!,
        segmentBytes: w[at + o.segmentBytes / 4]!,
        segmentation: (flags & 7) as FrameOffload["segmentation"],
        ecn: (flags & FLAG_ECN) !== 0,
        checked: (flags & FLAG_CHECKED) !== 0,
      },
    };
  }

  /** Removes the oldest frame. */
  take(): void {
    const s = this.#state;
    if (s.count === 0) return;
    const start = this.#headRecord();
    const skipped = start === s.head ? 0 : this.#size - s.head;
    const length = alignUp(RecordStruct.size + this.#words[start / 4]!);
    s.head = (start + length) % this.#size;
    s.used -= skipped + length;
    s.count--;
  }

  /** Where the oldest record lies. */
  #headRecord(): number {
    const { head } = this.#state;
    return this.#words[head / 4] === SKIP ? 0 : head;
  }
}

/**
 * Bytes from the machine's threads to the one that started them, in order: a bounded ring in shared memory. Writers hold
 * the board's lock, so there is one at a time; a full ring makes the writer wait for the reader.
 */
import { bytes, struct, u32, type StateAllocator, type ViewOf } from "../../layout/struct.ts";

const RING_BYTES = 1 << 16;

export const ByteRingStruct = struct("ByteRing", {
  /** Bytes written and read so far, modulo 2^32. */
  written: u32,
  read: u32,
  data: bytes(RING_BYTES),
});

export class ByteRing {
  readonly #state: ViewOf<typeof ByteRingStruct>;
  readonly #words: Int32Array;
  readonly #written: number;
  readonly #read: number;

  constructor(allocator: StateAllocator, label: string) {
    const offset = allocator.take(label, ByteRingStruct.size, ByteRingStruct.align);
    this.#state = ByteRingStruct.at(allocator.memory, offset);
    this.#words = allocator.memory.i32;
    this.#written = (offset + ByteRingStruct.offsets.written) >>> 2;
    this.#read = (offset + ByteRingStruct.offsets.read) >>> 2;
  }

  /** Adds a byte; waits while the ring is full. `isStopping`: nobody reads any more, the byte is dropped. */
  push(byte: number, isStopping: () => boolean): void {
    const words = this.#words;
    const written = Atomics.load(words, this.#written);
    for (;;) {
      const read = Atomics.load(words, this.#read);
      if ((written - read) >>> 0 < RING_BYTES) break;
      if (isStopping()) return;
      Atomics.wait(words, this.#read, read, 10);
    }
    this.#state.data[(written >>> 0) % RING_BYTES] = byte;
    Atomics.store(words, this.#written, (written + 1) | 0);
  }

  /** Takes everything that is there. */
  drain(take: (byte: number) => void): void {
    const words = this.#words;
    let read = Atomics.load(words, this.#read);
    const written = Atomics.load(words, this.#written);
    if (read === written) return;
    while (read !== written) {
      take(this.#state.data[(read >>> 0) % RING_BYTES]!);
      read = (read + 1) | 0;
    }
    Atomics.store(words, this.#read, read);
    Atomics.notify(words, this.#read);
  }
}

/** The ways from a parallel machine's threads to the one that owns it: serial output, and room for traces. */
import { ByteRing } from "../emulator/machine/byte-ring.ts";
import { struct, u32, type StateAllocator } from "../layout/struct.ts";

const ChannelsStruct = struct("ParallelChannels", {
  /** Batches of exits sent and not yet taken. */
  batches: u32,
});

/** Batches under way before a thread that traces waits. */
const MOST_BATCHES = 64;

export class ParallelChannels {
  readonly serial: ByteRing;
  readonly #words: Int32Array;
  readonly #batches: number;

  constructor(allocator: StateAllocator) {
    this.serial = new ByteRing(allocator, "serial output");
    this.#words = allocator.memory.i32;
    this.#batches = allocator.take("trace batches", ChannelsStruct.size, 8) >>> 2;
  }

  reset(): void {
    Atomics.store(this.#words, this.#batches, 0);
  }

  /** Before a batch is sent: waits while too many are under way, unless the run ends. */
  traceSent(isStopping: () => boolean): void {
    for (;;) {
      const batches = Atomics.load(this.#words, this.#batches);
      if (batches < MOST_BATCHES || isStopping()) break;
      Atomics.wait(this.#words, this.#batches, batches, 10);
    }
    Atomics.add(this.#words, this.#batches, 1);
  }

  /** The owner has taken a batch. */
  traceTaken(): void {
    Atomics.sub(this.#words, this.#batches, 1);
    Atomics.notify(this.#words, this.#batches);
  }
}

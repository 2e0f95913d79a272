/** The ways from a parallel machine's threads to the one that owns it: serial output, frames for the host, room for traces. */
import { FrameRing } from "../devices/net/frame-ring.ts";
import type { FrameOffload } from "../devices/ports.ts";
import { ByteRing } from "../emulator/machine/byte-ring.ts";
import { struct, u32, type StateAllocator } from "../layout/struct.ts";

const ChannelsStruct = struct("ParallelChannels", {
  /** Batches of exits sent and not yet taken. */
  batches: u32,
  /** Bumped with each frame for the host; the owner waits on it. */
  frames: u32,
});

/** Frames of one netdev that wait for the owner: what does not fit is dropped. */
const FRAME_RING_BYTES = 1 << 20;
/** Frames taken at once. */
const FRAMES_A_TURN = 256;

/** A frame for the host, copied. */
export interface FrameForHost {
  readonly bytes: Uint8Array;
  readonly offload: FrameOffload;
}

/** Batches under way before a thread that traces waits. */
const MOST_BATCHES = 64;

export class ParallelChannels {
  readonly serial: ByteRing;
  readonly #words: Int32Array;
  readonly #batches: number;
  readonly #frameSignal: number;
  readonly #frames: readonly FrameRing[];

  constructor(allocator: StateAllocator, netdevs: number) {
    this.serial = new ByteRing(allocator, "serial output");
    this.#words = allocator.memory.i32;
    this.#batches = allocator.take("parallel channels", ChannelsStruct.size, 8) >>> 2;
    this.#frameSignal = this.#batches + (ChannelsStruct.offsets.frames >>> 2);
    this.#frames = Array.from(
      { length: netdevs },
      (_, i) => new FrameRing(allocator, `frames for the host ${i}`, FRAME_RING_BYTES),
    );
  }

  reset(): void {
    Atomics.store(this.#words, this.#batches, 0);
    for (const ring of this.#frames) ring.clear();
  }

  /** A frame for the host's side of a netdev. Under the board's lock, as all that touches its ring. */
  sendFrame(netdev: number, bytes: Uint8Array, offload: FrameOffload): void {
    if (!this.#frames[netdev]!.push(bytes, offload, 0)) return;
    Atomics.add(this.#words, this.#frameSignal, 1);
    Atomics.notify(this.#words, this.#frameSignal);
  }

  /** Frames wait; a look without the lock. */
  hasFrames(netdev: number): boolean {
    return this.#frames[netdev]!.count !== 0;
  }

  /** Takes frames, under the lock. */
  takeFrames(netdev: number): FrameForHost[] {
    const ring = this.#frames[netdev]!;
    const taken: FrameForHost[] = [];
    while (taken.length < FRAMES_A_TURN) {
      const frame = ring.peek();
      if (frame === undefined) break;
      taken.push({ bytes: frame.bytes.slice(), offload: frame.offload });
      ring.take();
    }
    return taken;
  }

  /** Waits, without blocking the thread, until a frame is sent, at most so many milliseconds. */
  async moreFrames(milliseconds: number): Promise<void> {
    const seen = Atomics.load(this.#words, this.#frameSignal);
    if (this.#frames.some((ring) => ring.count !== 0)) {
      // A turn of the event loop: sockets come between two batches.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    const wait = Atomics.waitAsync(this.#words, this.#frameSignal, seen, milliseconds);
    if (wait.async) await wait.value;
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

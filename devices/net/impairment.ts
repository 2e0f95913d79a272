/**
 * A line that loses, doubles and reorders frames, with a seeded generator: the same frames at the same places meet the same fate in each
 * run. State is in shared memory.
 */
import { struct, u32, u53, type ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, FrameOffload, Timer } from "../ports.ts";
import { MOST_FRAME_BYTES } from "./ethernet.ts";
import { FrameRing } from "./frame-ring.ts";

export interface ImpairmentOptions {
  /** Probabilities, 0 to 1, that a frame is lost, arrives twice, is overtaken by the next one. */
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly seed: number;
}

const ImpairmentStruct = struct("Impairment", {
  random: u32,
  lost: u53,
  doubled: u53,
  reordered: u53,
});

/** A frame that nobody overtakes goes on after so many seconds. */
const LONGEST_HOLD = 0.002;
const HELD_BYTES = Math.ceil((2 * MOST_FRAME_BYTES + 256) / 8) * 8;

export class Impairment {
  readonly #state: ViewOf<typeof ImpairmentStruct>;
  readonly #held: FrameRing;
  readonly #timer: Timer;
  readonly #options: ImpairmentOptions;
  readonly #context: DeviceContext;
  readonly #forward: (frame: Uint8Array, offload: FrameOffload) => void;

  /** `forward` takes what the line lets through. */
  constructor(
    context: DeviceContext,
    label: string,
    options: ImpairmentOptions,
    forward: (frame: Uint8Array, offload: FrameOffload) => void,
  ) {
    this.#context = context;
    this.#options = options;
    this.#forward = forward;
    this.#state = context.state.place(label, ImpairmentStruct);
    this.#held = new FrameRing(context.state, `${label} held`, HELD_BYTES);
    this.#timer = context.timer(`${label} held`, () => this.#release());
  }

  reset(): void {
    const s = this.#state;
    // The generator must not begin at 0; seeds next to each other must not give sequences that are alike.
    s.random = (Math.imul(this.#options.seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    s.lost = s.doubled = s.reordered = 0;
    this.#held.clear();
    this.#timer.disarm();
  }

  get counters(): { readonly lost: number; readonly doubled: number; readonly reordered: number } {
    const { lost, doubled, reordered } = this.#state;
    return { lost, doubled, reordered };
  }

  pass(frame: Uint8Array, offload: FrameOffload): void {
    const s = this.#state;
    if (this.#happens(this.#options.loss)) {
      s.lost++;
      return;
    }
    const isDouble = this.#happens(this.#options.duplicate);
    const isHeld = this.#happens(this.#options.reorder);
    if (isHeld && this.#held.count === 0 && this.#held.push(frame, offload, 0)) {
      s.reordered++;
      const { clock } = this.#context;
      this.#timer.arm(clock.now() + Math.ceil(LONGEST_HOLD * clock.frequencyHz));
      return;
    }
    this.#forward(frame, offload);
    if (isDouble) {
      s.doubled++;
      this.#forward(frame, offload);
    }
    this.#release();
  }

  #release(): void {
    const frame = this.#held.peek();
    if (frame === undefined) return;
    this.#timer.disarm();
    this.#forward(frame.bytes, frame.offload);
    this.#held.take();
  }

  /** One step of xorshift32 (Marsaglia, "Xorshift RNGs") for every question, so that one answer does not shift the others. */
  #happens(probability: number): boolean {
    const s = this.#state;
    let x = s.random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    s.random = x >>> 0;
    return s.random < probability * 2 ** 32;
  }
}

/**
 * One end of a network: what a network device is plugged into. Frames towards the device lie in a ring in shared memory until their time
 * of arrival, which is an event; frames from the device go to the medium: another device, a switch, the host.
 *
 * In virtual time a frame takes the link's latency and, one after another, the time its bits need. What the receiver does not
 * take undone (`FrameOffload`) is done here.
 */
import { struct, u53, u8, type ViewOf } from "../../layout/struct.ts";
import type {
  DeviceContext,
  FrameOffload,
  NetworkLink,
  NetworkReceiver,
  ReceivedFrame,
  Resettable,
  Timer,
} from "../ports.ts";
import { completeChecksum } from "./checksum.ts";
import { ETHERNET_HEADER_BYTES, MOST_FRAME_BYTES, NO_OFFLOAD } from "./ethernet.ts";
import { FrameRing } from "./frame-ring.ts";
import { Impairment, type ImpairmentOptions } from "./impairment.ts";
import { segment } from "./segmentation.ts";

/** Where a port's frames go. Must not block, and must copy what it keeps. */
export interface Medium {
  transmit(from: LinkPort, frame: Uint8Array, offload: FrameOffload): void;
  /** Offloads that the medium takes undone from its ports. */
  readonly takesOffloads: boolean;
}

export interface LinkOptions {
  readonly label: string;
  readonly medium: Medium;
  /** Cycles from the last bit sent until the frame is there. */
  readonly latency: number;
  /** 0: as many as come. */
  readonly bitsPerSecond: number;
  readonly impairment?: ImpairmentOptions;
  /** Sees every frame that the port sends (before it can be lost) or receives. `direction` as from the device. */
  readonly capture?: (direction: "sent" | "received", frame: Uint8Array) => void;
}

const LinkStruct = struct("Link", {
  /** The carrier is there. */
  isUp: u8,
  /** When the last bit sent so far towards the device has passed. */
  wireFree: u53,
  sent: u53,
  sentBytes: u53,
  received: u53,
  receivedBytes: u53,
  /** Frames for which the ring had no room, nobody listened, or that could not be cut up. */
  dropped: u53,
});

export interface LinkCounters {
  readonly sent: number;
  readonly sentBytes: number;
  readonly received: number;
  readonly receivedBytes: number;
  readonly dropped: number;
  /** What the line did on purpose, both directions. */
  readonly lost: number;
  readonly doubled: number;
  readonly reordered: number;
}

/** Frames on their way to one device: a switch's buffer, about 8 ms at 1 Gbit/s. */
export const LINK_RING_BYTES = 1 << 20;
/** Preamble, check sequence and the gap between frames (IEEE 802.3). */
const WIRE_OVERHEAD_BYTES = 24;

const scratch = new Uint8Array(MOST_FRAME_BYTES);

export class LinkPort implements NetworkLink, Resettable {
  readonly label: string;
  readonly #state: ViewOf<typeof LinkStruct>;
  readonly #ring: FrameRing;
  readonly #timer: Timer;
  readonly #context: DeviceContext;
  readonly #options: LinkOptions;
  readonly #impairments: { readonly out: Impairment; readonly in: Impairment } | undefined;
  #receiver: NetworkReceiver | undefined;

  constructor(context: DeviceContext, options: LinkOptions) {
    this.label = options.label;
    this.#context = context;
    this.#options = options;
    this.#state = context.state.place(options.label, LinkStruct);
    this.#ring = new FrameRing(context.state, `${options.label} ring`, LINK_RING_BYTES);
    this.#timer = context.timer(`${options.label} arrival`, () => this.#arrived());
    const { impairment } = options;
    if (impairment)
      this.#impairments = {
        out: new Impairment(context, `${options.label} out`, impairment, (frame, offload) =>
          options.medium.transmit(this, frame, offload),
        ),
        in: new Impairment(
          context,
          `${options.label} in`,
          { ...impairment, seed: impairment.seed + 1 },
          (frame, offload) => void this.#queue(frame, offload),
        ),
      };
  }

  reset(): void {
    const s = this.#state;
    s.isUp = 1;
    s.wireFree = 0;
    s.sent = s.sentBytes = s.received = s.receivedBytes = s.dropped = 0;
    this.#impairments?.out.reset();
    this.#impairments?.in.reset();
    this.clear();
  }

  connect(receiver: NetworkReceiver): void {
    if (this.#receiver !== undefined) throw new Error(`${this.label}: two devices`);
    this.#receiver = receiver;
  }

  get isUp(): boolean {
    return this.#state.isUp !== 0;
  }

  /** Pulls the plug, or puts it in. */
  setUp(up: boolean): void {
    const s = this.#state;
    if (this.isUp === up) return;
    s.isUp = up ? 1 : 0;
    if (!up) this.clear();
    this.#receiver?.carrierChanged();
  }

  get counters(): LinkCounters {
    const { sent, sentBytes, received, receivedBytes, dropped } = this.#state;
    const sums = { lost: 0, doubled: 0, reordered: 0 };
    if (this.#impairments)
      for (const { counters } of [this.#impairments.in, this.#impairments.out]) {
        sums.lost += counters.lost;
        sums.doubled += counters.doubled;
        sums.reordered += counters.reordered;
      }
    return { sent, sentBytes, received, receivedBytes, dropped, ...sums };
  }

  // --- the device's side

  send(frame: Uint8Array, offload: FrameOffload): void {
    const s = this.#state;
    if (!this.isUp || frame.length < ETHERNET_HEADER_BYTES || frame.length > MOST_FRAME_BYTES) {
      s.dropped++;
      return;
    }
    s.sent++;
    s.sentBytes += frame.length;
    // A line that loses frames loses those of the wire.
    const takes = this.#options.medium.takesOffloads && this.#impairments === undefined;
    const sent = this.#finish(frame, offload, takes, takes, (one, left) => {
      this.#options.capture?.("sent", one);
      if (this.#impairments) this.#impairments.out.pass(one, left);
      else this.#options.medium.transmit(this, one, left);
    });
    if (!sent) s.dropped++;
  }

  peek(): ReceivedFrame | undefined {
    const { arrival } = this.#ring;
    return arrival === undefined || arrival > this.#context.clock.now() ? undefined : this.#ring.peek();
  }

  take(): void {
    this.#ring.take();
    this.#armForNext();
  }

  clear(): void {
    this.#ring.clear();
    this.#timer.disarm();
  }

  // --- the medium's side

  /** Sends a frame to the device. False: there was no room, and nothing else is wrong. */
  deliver(frame: Uint8Array, offload: FrameOffload): boolean {
    const listens = this.isUp ? this.#receiver?.listens() : undefined;
    if (listens === undefined || frame.length < ETHERNET_HEADER_BYTES || frame.length > MOST_FRAME_BYTES) {
      this.#state.dropped++;
      return true;
    }
    const isImpaired = this.#impairments !== undefined;
    const takesChecksum = !isImpaired && listens.checksum;
    const takesWhole =
      !isImpaired &&
      (offload.segmentation === 4 ? listens.tcp4 : listens.tcp6) &&
      (listens.ecn || !offload.ecn);
    let hadRoom = true;
    const wellFormed = this.#finish(frame, offload, takesChecksum, takesWhole, (one, left) => {
      if (this.#impairments) this.#impairments.in.pass(one, left);
      else hadRoom = this.#queue(one, left) && hadRoom;
    });
    if (!wellFormed) this.#state.dropped++;
    return hadRoom;
  }

  /** A frame of any size would find room now. */
  get hasRoom(): boolean {
    return this.#ring.free > 2 * MOST_FRAME_BYTES;
  }

  /** Does to a frame what is left to be done and is not taken undone. False: it cannot be done. */
  #finish(
    frame: Uint8Array,
    offload: FrameOffload,
    takesChecksum: boolean,
    takesWhole: boolean,
    emit: (frame: Uint8Array, offload: FrameOffload) => void,
  ): boolean {
    if (offload.segmentBytes !== 0 && !takesWhole)
      return segment(frame, offload, (one) => emit(one, FINISHED));
    if (offload.checksumStart === 0 || takesChecksum) {
      emit(frame, offload);
      return true;
    }
    const copy = scratch.subarray(0, frame.length);
    copy.set(frame);
    if (!completeChecksum(copy, offload.checksumStart, offload.checksumOffset)) return false;
    emit(copy, FINISHED);
    return true;
  }

  #queue(frame: Uint8Array, offload: FrameOffload): boolean {
    const s = this.#state;
    const { clock } = this.#context;
    const { latency, bitsPerSecond } = this.#options;
    const now = clock.now();
    const bits = (frame.length + WIRE_OVERHEAD_BYTES) * 8;
    const passed =
      Math.max(now, s.wireFree) +
      (bitsPerSecond === 0 ? 0 : Math.ceil((bits * clock.frequencyHz) / bitsPerSecond));
    if (!this.#ring.push(frame, offload, passed + latency)) {
      s.dropped++;
      return false;
    }
    s.wireFree = passed;
    s.received++;
    s.receivedBytes += frame.length;
    this.#options.capture?.("received", frame);
    // Also where it is there at once: the receiver is not called in the middle of the sender's call.
    if (this.#ring.count === 1) this.#timer.arm(passed + latency);
    return true;
  }

  #armForNext(): void {
    const { arrival } = this.#ring;
    if (arrival !== undefined && arrival > this.#context.clock.now()) this.#timer.arm(arrival);
  }

  #arrived(): void {
    this.#receiver?.arrived();
    this.#armForNext();
  }
}

const FINISHED: FrameOffload = { ...NO_OFFLOAD, checked: true };

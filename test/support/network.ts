/** Frames for tests of networks, links on a small world, and the sums that must be right. */
import { checksum, pseudoHeader } from "../../devices/net/checksum.ts";
import { NO_OFFLOAD, be16, putBe16, putBe32 } from "../../devices/net/ethernet.ts";
import { LinkPort, type LinkOptions, type Medium } from "../../devices/net/link.ts";
import type { FrameOffload, NetworkReceiver, OffloadsTaken } from "../../devices/ports.ts";
import type { FakeContext } from "./device-context.ts";

export const LINK_STATE_BYTES = 4 * 1024 * 1024;
export const MAC_A = Uint8Array.of(0x52, 0x54, 0, 0, 0, 0xa);
export const MAC_B = Uint8Array.of(0x52, 0x54, 0, 0, 0, 0xb);
export const BROADCAST = new Uint8Array(6).fill(0xff);

export interface Sent {
  readonly bytes: Uint8Array;
  readonly offload: FrameOffload;
}

/** A medium that keeps what is sent. */
export class SentFrames implements Medium {
  readonly takesOffloads: boolean;
  readonly frames: Sent[] = [];

  constructor(takesOffloads = true) {
    this.takesOffloads = takesOffloads;
  }
  transmit(_from: LinkPort, frame: Uint8Array, offload: FrameOffload): void {
    this.frames.push({ bytes: frame.slice(), offload: { ...offload } });
  }
}

export const ALL_OFFLOADS: OffloadsTaken = { checksum: true, tcp4: true, tcp6: true, ecn: true };
const NO_OFFLOADS: OffloadsTaken = { checksum: false, tcp4: false, tcp6: false, ecn: false };

/** A receiver that takes everything at once. */
export class Received implements NetworkReceiver {
  readonly frames: Sent[] = [];
  readonly times: number[] = [];
  carrierChanges = 0;
  takes: OffloadsTaken | undefined;
  readonly #link: LinkPort;
  readonly #context: FakeContext;

  constructor(link: LinkPort, context: FakeContext, takes: OffloadsTaken | undefined = NO_OFFLOADS) {
    this.#link = link;
    this.#context = context;
    this.takes = takes;
    link.connect(this);
  }
  arrived(): void {
    for (;;) {
      const frame = this.#link.peek();
      if (frame === undefined) return;
      this.frames.push({ bytes: frame.bytes.slice(), offload: frame.offload });
      this.times.push(this.#context.clock.now());
      this.#link.take();
    }
  }
  carrierChanged(): void {
    this.carrierChanges++;
  }
  listens(): OffloadsTaken | undefined {
    return this.takes;
  }
}

export function makeLink(context: FakeContext, medium: Medium, options: Partial<LinkOptions> = {}): LinkPort {
  return new LinkPort(context, { label: "link", medium, latency: 0, bitsPerSecond: 0, ...options });
}

/** A frame with a payload that tells its place. */
export function frameOf(
  to: Uint8Array,
  from: Uint8Array,
  length: number,
  type = 0x88b5,
  seed = 0,
): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => i + seed);
  frame.set(to);
  frame.set(from, 6);
  putBe16(frame, 12, type);
  return frame;
}

/** An IPv4 TCP frame with `payload`, as a driver that leaves its checksum and segmentation to the device gives it. */
export function tcpFrame(
  payload: Uint8Array,
  options: { readonly flags?: number; readonly to?: Uint8Array; readonly from?: Uint8Array } = {},
): { readonly frame: Uint8Array; readonly offload: FrameOffload } {
  const frame = new Uint8Array(54 + payload.length);
  frame.set(options.to ?? MAC_B);
  frame.set(options.from ?? MAC_A, 6);
  putBe16(frame, 12, 0x0800);
  frame[14] = 0x45;
  putBe16(frame, 16, 40 + payload.length);
  putBe16(frame, 18, 0x1234);
  frame[22] = 64;
  frame[23] = 6;
  putBe32(frame, 26, 0x0a000001);
  putBe32(frame, 30, 0x0a000002);
  putBe16(frame, 24, checksum(frame, 14, 34));
  putBe16(frame, 34, 1000);
  putBe16(frame, 36, 2000);
  putBe32(frame, 38, 0xfffffff0);
  frame[46] = 0x50;
  frame[47] = options.flags ?? 0x19;
  putBe16(frame, 48, 0x1000);
  frame.set(payload, 54);
  putBe16(frame, 50, pseudoHeader(frame, 26, 8, 6, 20 + payload.length));
  return { frame, offload: { ...NO_OFFLOAD, checksumStart: 34, checksumOffset: 16 } };
}

/** An IPv4 TCP frame's header and transport checksums, and its lengths, are right. */
export function isSoundTcp4(frame: Uint8Array): boolean {
  const length = be16(frame, 16);
  if (length !== frame.length - 14 || checksum(frame, 14, 34) !== 0) return false;
  return checksum(frame, 34, frame.length, pseudoHeader(frame, 26, 8, 6, length - 20)) === 0;
}

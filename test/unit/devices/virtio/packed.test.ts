import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { NO_OFFLOAD } from "../../../../devices/net/ethernet.ts";
import type { LinkPort } from "../../../../devices/net/link.ts";
import { VirtioNet } from "../../../../devices/virtio/net/device.ts";
import * as spec from "../../../../devices/virtio/net/spec.ts";
import { LINK_STATE_BYTES, MAC_A, MAC_B, SentFrames, frameOf, makeLink } from "../../../support/network.ts";
import { PackedQueue } from "../../../support/packed-queue.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const PACKED = 1n << 34n;
const INDIRECT = 1n << 28n;
const EVENT_IDX = 1n << 29n;
const MERGE = 1n << spec.VIRTIO_NET_F_MRG_RXBUF;
const HEADER = 0x20000;
const DATA = 0x21000;
const BUFFERS = 0x40000;

class PackedNet extends VirtioMachine<VirtioNet> {
  readonly link: LinkPort;
  readonly medium: SentFrames;
  rx!: PackedQueue;
  tx!: PackedQueue;

  constructor() {
    const made: { link?: LinkPort } = {};
    const medium = new SentFrames();
    super(
      (context, parts) => {
        made.link = makeLink(context, medium);
        return new VirtioNet(context, { ...parts, link: made.link, mac: MAC_A, queueSize: 16, packed: true });
      },
      { stateBytes: LINK_STATE_BYTES, others: () => [made.link!] },
    );
    this.link = made.link!;
    this.medium = medium;
  }

  /** Negotiates, and sets both queues up with `size` descriptors. */
  begin(features: bigint, size = 8): this {
    const inForce = this.driver.negotiate(features | PACKED);
    if ((inForce & PACKED) === 0n) throw new Error("packed rings are not offered");
    this.driver.enableMsix(4);
    const queue = (index: number): PackedQueue => {
      const q = new PackedQueue(this.memory, size, 0x1000 * (index + 1), () => this.driver.kick(index));
      this.driver.setCommon(22, 2, index);
      this.driver.setCommon(24, 2, size);
      this.driver.setCommon(26, 2, index + 1);
      [q.ring, q.driverEvent, q.deviceEvent].forEach((address, i) => {
        this.driver.setCommon(32 + 8 * i, 4, address);
        this.driver.setCommon(36 + 8 * i, 4, 0);
      });
      this.driver.setCommon(28, 2, 1);
      return q;
    };
    this.rx = queue(0);
    this.tx = queue(1);
    this.driver.status = 0xf;
    return this;
  }

  transmit(frame: Uint8Array, pieces: number, indirect?: number): number {
    this.memory.bytes.fill(0, HEADER, HEADER + 12);
    this.memory.bytes.set(frame, DATA);
    const size = Math.ceil(frame.length / pieces);
    const list = Array.from({ length: pieces }, (_, i) => ({
      address: DATA + i * size,
      length: Math.min(size, frame.length - i * size),
    }));
    return this.tx.add([{ address: HEADER, length: 12 }, ...list], indirect);
  }

  deliver(frame: Uint8Array): void {
    this.link.deliver(frame, NO_OFFLOAD);
    this.context.settle();
  }
}

let m: PackedNet;
beforeEach(() => {
  m = new PackedNet().begin(INDIRECT | MERGE);
});

describe("a packed ring", () => {
  test("chains of any length, indirect or not, around the ring many times", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            pieces: fc.integer({ min: 1, max: 7 }),
            indirect: fc.boolean(),
            length: fc.integer({ min: 60, max: 500 }),
          }),
          { maxLength: 40 },
        ),
        (chains) => {
          m = new PackedNet().begin(INDIRECT);
          chains.forEach(({ pieces, indirect, length }, i) => {
            const frame = frameOf(MAC_B, MAC_A, length, 0x88b5, i);
            const id = m.transmit(frame, pieces, indirect ? 0x30000 : undefined);
            m.tx.kick();
            expect(m.tx.collect()).toEqual([{ id, length: 0 }]);
            const sent = m.medium.frames.pop()!;
            expect(Buffer.from(sent.bytes).equals(Buffer.from(frame))).toBe(true);
          });
          expect(m.driver.status).toBe(0xf);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("several chains at once, given back in order; a frame over several buffers", () => {
    for (let i = 0; i < 6; i++) m.rx.add([{ address: BUFFERS + 0x1000 * i, length: 100, write: true }]);
    m.rx.kick();
    const frame = frameOf(MAC_A, MAC_B, 250);
    m.deliver(frame);
    m.deliver(frameOf(MAC_A, MAC_B, 60));
    expect(m.rx.collect()).toEqual([
      { id: 0, length: 100 },
      { id: 1, length: 100 },
      { id: 2, length: 62 },
      { id: 3, length: 72 },
    ]);
    expect(m.memory.bytes[BUFFERS + 10]).toBe(3);
    expect(m.memory.bytes.slice(BUFFERS + 0x1000, BUFFERS + 0x1064)).toEqual(frame.slice(88, 188));
  });

  test("frames wait for buffers across the ring's end", () => {
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 3; i++) m.rx.add([{ address: BUFFERS + 0x1000 * i, length: 100, write: true }]);
      m.deliver(frameOf(MAC_A, MAC_B, 350));
      expect(m.rx.collect()).toEqual([]);
      m.rx.add([{ address: BUFFERS + 0x3000, length: 100, write: true }]);
      m.rx.kick();
      expect(m.rx.collect().map(({ length }) => length)).toEqual([100, 100, 100, 62]);
    }
  });
});

describe("event suppression", () => {
  const messages = (): number => m.messages.sent.splice(0).length;
  const send = (): void => {
    m.transmit(frameOf(MAC_B, MAC_A, 60), 1);
    m.tx.kick();
  };

  test("the driver enables and disables interrupts, or names a descriptor", () => {
    m = new PackedNet().begin(EVENT_IDX);
    send();
    expect(messages()).toBe(1);
    m.tx.setDriverEvent(0, 1);
    send();
    expect(messages()).toBe(0);
    m.tx.collect();
    // Two chains of two descriptors are in the ring: the next but one is asked for.
    const wanted = (m.tx.usedPosition & 0x7fff) + 2;
    m.tx.setDriverEvent((wanted % 8) | (wanted >= 8 ? 0 : 0x8000), 2);
    send();
    expect(messages()).toBeLessThanOrEqual(1);
    send();
    expect(messages()).toBe(1);
  });

  test("the device says where to notify, or that it need not be", () => {
    m = new PackedNet().begin(EVENT_IDX);
    send();
    expect([m.tx.deviceFlags, m.tx.deviceOffset]).toEqual([2, 2 | 0x8000]);
    m.device.setNotificationsEnabled(1, false);
    expect(m.tx.deviceFlags).toBe(1);
    m.device.setNotificationsEnabled(1, true);
    expect(m.tx.deviceFlags).toBe(2);
    m = new PackedNet().begin(0n);
    m.device.setNotificationsEnabled(1, false);
    expect(m.tx.deviceFlags).toBe(1);
    m.device.setNotificationsEnabled(1, true);
    expect(m.tx.deviceFlags).toBe(0);
  });
});

describe("hostile drivers", () => {
  test.each([
    ["an ID beyond the queue", [{ address: HEADER, length: 80, flags: 0, next: 8 }]],
    ["a loop", Array.from({ length: 8 }, () => ({ address: HEADER, length: 80, flags: 1, next: 0 }))],
    [
      "an indirect descriptor in a chain",
      [
        { address: HEADER, length: 12, flags: 1, next: 0 },
        { address: 0x30000, length: 16, flags: 4, next: 0 },
      ],
    ],
    ["an indirect table of no whole entries", [{ address: 0x30000, length: 17, flags: 4, next: 0 }]],
    ["memory that is not there", [{ address: 2n ** 60n, length: 80, flags: 0, next: 0 }]],
    [
      "readable after writable",
      [
        { address: HEADER, length: 12, flags: 3, next: 0 },
        { address: DATA, length: 60, flags: 0, next: 0 },
      ],
    ],
  ])("%s: the device asks for a reset, and works after it", (_name, list) => {
    m.tx.addRaw(list);
    m.tx.kick();
    expect(m.driver.status & 64).toBe(64);
    m.begin(INDIRECT);
    m.transmit(frameOf(MAC_B, MAC_A, 60), 2);
    m.tx.kick();
    expect(m.medium.frames).toHaveLength(1);
  });

  test("random descriptors", () => {
    const raw = fc.record({
      address: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: HEADER, max: HEADER + 0x8000 }) },
        fc.maxSafeNat(),
      ),
      length: fc.oneof({ weight: 8, arbitrary: fc.nat(2000) }, fc.nat(0xffffffff)),
      flags: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(0, 1, 2, 3, 4) }, fc.nat(0xffff)),
      next: fc.oneof({ weight: 8, arbitrary: fc.nat(7) }, fc.nat(0xffff)),
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.array(raw, { minLength: 1, maxLength: 8 })), { maxLength: 12 }),
        (steps) => {
          m = new PackedNet().begin(INDIRECT | EVENT_IDX | MERGE);
          for (const [isRx, list] of steps) {
            const queue = isRx ? m.rx : m.tx;
            queue.addRaw(list);
            queue.kick();
            m.deliver(frameOf(MAC_A, MAC_B, 100));
          }
          m.context.checkRedZones();
          m.begin(0n);
          m.transmit(frameOf(MAC_B, MAC_A, 60), 1);
          const before = m.medium.frames.length;
          m.tx.kick();
          expect(m.medium.frames.length).toBe(before + 1);
        },
      ),
      { numRuns: 100 },
    );
  });
});

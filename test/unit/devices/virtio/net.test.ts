import { beforeEach, describe, expect, test } from "vitest";
import { NO_OFFLOAD } from "../../../../devices/net/ethernet.ts";
import type { LinkPort } from "../../../../devices/net/link.ts";
import { VirtioNet } from "../../../../devices/virtio/net/device.ts";
import * as spec from "../../../../devices/virtio/net/spec.ts";
import {
  BROADCAST,
  LINK_STATE_BYTES,
  MAC_A,
  MAC_B,
  SentFrames,
  frameOf,
  isSoundTcp4,
  makeLink,
  tcpFrame,
} from "../../../support/network.ts";
import { fuzzVirtio } from "../../../support/virtio-fuzz.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const feature = (...bits: bigint[]): bigint => bits.reduce((all, bit) => all | (1n << bit), 0n);
const BASIC = feature(spec.VIRTIO_NET_F_MAC, spec.VIRTIO_NET_F_STATUS, spec.VIRTIO_NET_F_CTRL_VQ);
const EVENT_IDX = 1n << 29n;
const ALL = 0xffff_ffff_ffffn;
const SIZES = [16, 16, 16];
const HEADER = 0x20000;
const DATA = 0x21000;
const BUFFERS = 0x40000;

class NetMachine extends VirtioMachine<VirtioNet> {
  readonly link: LinkPort;
  readonly medium: SentFrames;

  constructor(queuePairs = 1) {
    const made: { link?: LinkPort } = {};
    const medium = new SentFrames();
    super(
      (context, parts) => {
        made.link = makeLink(context, medium);
        return new VirtioNet(context, { ...parts, link: made.link, mac: MAC_A, queuePairs, queueSize: 16 });
      },
      { stateBytes: LINK_STATE_BYTES, others: () => [made.link!] },
    );
    this.link = made.link!;
    this.medium = medium;
  }

  /** Sends `frame` in pieces, with a header. */
  transmit(
    queue: DriverQueue,
    frame: Uint8Array,
    header: Partial<Record<"flags" | "gso" | "size" | "start" | "offset", number>> = {},
  ): void {
    const view = new DataView(this.memory.bytes.buffer, HEADER, 12);
    view.setUint8(0, header.flags ?? 0);
    view.setUint8(1, header.gso ?? 0);
    view.setUint16(2, 54, true);
    view.setUint16(4, header.size ?? 0, true);
    view.setUint16(6, header.start ?? 0, true);
    view.setUint16(8, header.offset ?? 0, true);
    this.memory.bytes.set(frame, DATA);
    const cut = Math.min(20, frame.length - 1);
    queue.add([
      { address: HEADER, length: 12 },
      { address: DATA, length: cut },
      { address: DATA + cut, length: frame.length - cut },
    ]);
    queue.kick();
  }

  /** Gives the device buffers of `length`. */
  provide(queue: DriverQueue, count: number, length: number): void {
    for (let i = 0; i < count; i++)
      queue.add([{ address: BUFFERS + 0x4000 * (queue.availIndex % 16), length, write: true }]);
    queue.kick();
  }

  /** A command and the device's answer. */
  command(queue: DriverQueue, ...bytes: number[]): number {
    this.memory.bytes.set(bytes, DATA);
    this.memory.bytes[HEADER] = 0xff;
    queue.add([
      { address: DATA, length: 2 },
      { address: DATA + 2, length: bytes.length - 2 },
      { address: HEADER, length: 1, write: true },
    ]);
    queue.kick();
    queue.collect();
    return this.memory.bytes[HEADER];
  }

  deliver(frame: Uint8Array, offload = NO_OFFLOAD): void {
    this.link.deliver(frame, offload);
    this.context.settle();
  }

  bytesAt(address: number, length: number): Uint8Array {
    return this.memory.bytes.slice(address, address + length);
  }
}

let m: NetMachine;
let rx: DriverQueue;
let tx: DriverQueue;
let control: DriverQueue;
const start = (features: bigint, pairs = 1, sizes: readonly number[] = SIZES): void => {
  m = new NetMachine(pairs);
  [rx, tx, control] = m.start(sizes, features) as [DriverQueue, DriverQueue, DriverQueue];
};
beforeEach(() => start(BASIC));

describe("configuration", () => {
  test("identification, address, status; nothing can be written", () => {
    expect(m.device.pci.read(0, 4)).toBe(0x10411af4);
    expect(m.device.pci.read(8, 4) >>> 8).toBe(0x020000);
    m.driver.setConfig(0, 1, 0x99);
    expect([0, 1, 2, 3, 4, 5].map((i) => m.driver.config(i, 1))).toEqual([...MAC_A]);
    expect([m.driver.config(6, 2), m.driver.config(8, 2)]).toEqual([1, 1]);
  });

  test("the carrier is in the status, and its changes interrupt", () => {
    const before = m.messages.sent.length;
    m.link.setUp(false);
    expect([m.driver.config(6, 2), m.messages.sent.length - before]).toEqual([0, 1]);
    m.link.setUp(true);
    expect(m.driver.config(6, 2)).toBe(1);
  });
});

describe("sending", () => {
  test("a frame in pieces; the buffer is used with length 0", () => {
    const frame = frameOf(MAC_B, MAC_A, 333);
    m.transmit(tx, frame);
    expect(m.medium.frames.map(({ bytes }) => Buffer.from(bytes).equals(Buffer.from(frame)))).toEqual([true]);
    expect(tx.collect()).toEqual([{ id: 0, length: 0 }]);
    expect(m.messages.sent).toEqual([{ address: 0xfee00000, data: 0x42 }]);
  });

  test("checksums and segmentation go on as what is left to be done", () => {
    start(BASIC | feature(spec.VIRTIO_NET_F_CSUM, spec.VIRTIO_NET_F_HOST_TSO4, spec.VIRTIO_NET_F_HOST_ECN));
    const { frame } = tcpFrame(new Uint8Array(3000));
    m.transmit(tx, frame, { flags: 1, start: 34, offset: 16, gso: 0x81, size: 1448 });
    expect(m.medium.frames[0]!.offload).toEqual({
      checksumStart: 34,
      checksumOffset: 16,
      segmentBytes: 1448,
      segmentation: 4,
      ecn: true,
      checked: false,
    });
  });

  test.each([
    ["a checksum without the feature", { flags: 1, start: 34, offset: 16 }, BASIC],
    ["a checksum beyond the frame", { flags: 1, start: 34, offset: 2000 }, BASIC | 1n],
    ["segmentation without a checksum", { gso: 1, size: 1000 }, BASIC | 1n | (1n << 11n)],
    ["segmentation without a size", { flags: 1, start: 34, offset: 16, gso: 1 }, BASIC | 1n | (1n << 11n)],
    [
      "segmentation without the feature",
      { flags: 1, start: 34, offset: 16, gso: 4, size: 99 },
      BASIC | 1n | (1n << 11n),
    ],
    ["an unknown kind of segmentation", { flags: 1, start: 34, offset: 16, gso: 3, size: 99 }, ALL],
  ])("%s: the frame is dropped, its buffer used", (_name, header, features) => {
    start(features & ~EVENT_IDX);
    m.transmit(tx, tcpFrame(new Uint8Array(500)).frame, header);
    expect(m.medium.frames).toEqual([]);
    expect(tx.collect()).toHaveLength(1);
    expect(m.driver.status).toBe(0xf);
  });

  test.each([[0], [13], [65554]])("a frame of %i bytes is dropped", (length) => {
    tx.add([{ address: HEADER, length: 12 }, ...(length === 0 ? [] : [{ address: DATA, length }])]);
    tx.kick();
    expect(m.medium.frames).toEqual([]);
    expect(tx.collect()).toHaveLength(1);
  });
});

describe("receiving", () => {
  test("one buffer a frame: header with one buffer, then the frame", () => {
    m.provide(rx, 2, 2000);
    const frame = frameOf(MAC_A, MAC_B, 100);
    m.deliver(frame);
    expect(rx.collect()).toEqual([{ id: 0, length: 112 }]);
    expect([...m.bytesAt(BUFFERS, 12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expect(m.bytesAt(BUFFERS + 12, 100)).toEqual(frame);
  });

  test("a frame that fits no buffer is dropped, and the buffer stays", () => {
    m.provide(rx, 1, 80);
    m.deliver(frameOf(MAC_A, MAC_B, 100));
    m.deliver(frameOf(MAC_A, MAC_B, 60));
    expect(rx.collect()).toEqual([{ id: 0, length: 72 }]);
  });

  test("frames wait for buffers, and the driver is asked to say when there are some", () => {
    start(BASIC | EVENT_IDX);
    m.deliver(frameOf(MAC_A, MAC_B, 60));
    m.deliver(frameOf(MAC_A, MAC_B, 70));
    rx.add([{ address: BUFFERS, length: 2000, write: true }]);
    rx.notify();
    expect(rx.kicks).toBe(1);
    expect(rx.collect().map(({ length }) => length)).toEqual([72]);
    rx.add([{ address: BUFFERS, length: 2000, write: true }]);
    rx.add([{ address: BUFFERS, length: 2000, write: true }]);
    rx.notify();
    expect(rx.collect().map(({ length }) => length)).toEqual([82]);
    // Nothing waits any more: more buffers are no news.
    const kicks = rx.kicks;
    rx.add([{ address: BUFFERS, length: 2000, write: true }]);
    rx.notify();
    expect(rx.kicks).toBe(kicks);
  });

  test("with MRG_RXBUF a frame takes as many buffers as it needs, and the driver sees all or none", () => {
    start(BASIC | feature(spec.VIRTIO_NET_F_MRG_RXBUF));
    m.provide(rx, 2, 100);
    const frame = frameOf(MAC_A, MAC_B, 250);
    m.deliver(frame);
    expect(rx.collect()).toEqual([]);
    m.provide(rx, 2, 100);
    expect(rx.collect()).toEqual([
      { id: 0, length: 100 },
      { id: 1, length: 100 },
      { id: 2, length: 62 },
    ]);
    expect(m.memory.bytes[BUFFERS + 10]).toBe(3);
    const parts = [
      m.bytesAt(BUFFERS + 12, 88),
      m.bytesAt(BUFFERS + 0x4000, 100),
      m.bytesAt(BUFFERS + 0x8000, 62),
    ];
    expect(Buffer.concat(parts).equals(Buffer.from(frame))).toBe(true);
  });

  test("what the driver does not take undone arrives done", () => {
    const { frame, offload } = tcpFrame(new Uint8Array(2000));
    const large = { ...offload, segmentBytes: 1000, segmentation: 4 as const };
    m.provide(rx, 4, 4000);
    m.deliver(frame, large);
    expect(rx.collect().map(({ length }) => length)).toEqual([12 + 1054, 12 + 1054]);
    expect(isSoundTcp4(m.bytesAt(BUFFERS + 12, 1054))).toBe(true);
    start(BASIC | feature(spec.VIRTIO_NET_F_GUEST_CSUM, spec.VIRTIO_NET_F_GUEST_TSO4));
    m.provide(rx, 4, 4000);
    m.deliver(frame, large);
    expect(rx.collect().map(({ length }) => length)).toEqual([12 + 2054]);
    // NEEDS_CSUM, TCPV4, header length, size, start, offset.
    expect([...m.bytesAt(BUFFERS, 10)]).toEqual([1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0]);
  });
});

describe("the control queue", () => {
  const FILTERS =
    BASIC |
    feature(
      spec.VIRTIO_NET_F_CTRL_RX,
      spec.VIRTIO_NET_F_CTRL_RX_EXTRA,
      spec.VIRTIO_NET_F_CTRL_VLAN,
      spec.VIRTIO_NET_F_CTRL_MAC_ADDR,
    );
  const received = (to: Uint8Array | number[], type = 0x88b5): boolean => {
    const frame = frameOf(Uint8Array.from(to), MAC_B, 60, type);
    if (type === 0x8100) frame.set([0, 7], 14);
    m.deliver(frame);
    return rx.collect().length === 1;
  };
  const OTHER = [2, 0, 0, 0, 0, 1];
  const GROUP = [1, 0, 0x5e, 0, 0, 1];
  beforeEach(() => {
    start(FILTERS);
    m.provide(rx, 15, 2000);
  });

  test("receive modes", () => {
    expect([received(OTHER), received(GROUP), received(BROADCAST)]).toEqual([true, true, true]);
    expect(m.command(control, 0, 0, 0)).toBe(0); // PROMISC off
    expect([received(MAC_A), received(OTHER), received(GROUP), received(BROADCAST)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(m.command(control, 0, 1, 1)).toBe(0); // ALLMULTI
    expect(received(GROUP)).toBe(true);
    expect(m.command(control, 0, 3, 1)).toBe(0); // NOMULTI
    expect(received(GROUP)).toBe(false);
    expect(m.command(control, 0, 5, 1)).toBe(0); // NOBCAST
    expect(received(BROADCAST)).toBe(false);
    expect([m.command(control, 0, 6, 1), m.command(control, 0, 0, 2)]).toEqual([1, 1]);
  });

  test("address tables, the address itself", () => {
    m.command(control, 0, 0, 0);
    expect(m.command(control, 1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...GROUP)).toBe(0);
    expect([received(OTHER), received(GROUP), received([...GROUP.slice(0, 5), 9])]).toEqual([
      true,
      true,
      false,
    ]);
    expect(m.command(control, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect([received(OTHER), received(GROUP)]).toEqual([false, false]);
    // Counts that the command does not bear out.
    expect(m.command(control, 1, 0, 0xff, 0xff, 0xff, 0xff)).toBe(1);
    expect(m.command(control, 1, 0, 1, 0, 0, 0, ...OTHER, 0, 0, 0, 0, 9)).toBe(1);
    expect(m.command(control, 1, 1, ...OTHER)).toBe(0);
    expect([received(OTHER), received(MAC_A), m.driver.config(5, 1)]).toEqual([true, false, 1]);
  });

  test("more addresses than the table has: all of the kind pass", () => {
    m.command(control, 0, 0, 0);
    const many = Array.from({ length: 65 }, (_, i) => [1, 0, 0x5e, 0, 1, i]).flat();
    expect(m.command(control, 1, 0, 0, 0, 0, 0, 65, 0, 0, 0, ...many)).toBe(0);
    expect([received(GROUP), received(OTHER)]).toEqual([true, false]);
  });

  test("VLANs", () => {
    m.command(control, 0, 0, 0);
    expect(received(MAC_A, 0x8100)).toBe(false);
    expect(m.command(control, 2, 0, 7, 0)).toBe(0);
    expect(received(MAC_A, 0x8100)).toBe(true);
    expect(m.command(control, 2, 1, 7, 0)).toBe(0);
    expect([received(MAC_A, 0x8100), m.command(control, 2, 0, 0, 0x10)]).toEqual([false, 1]);
  });

  test("guest offloads can be switched off, and on again only as far as negotiated", () => {
    start(BASIC | feature(spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, spec.VIRTIO_NET_F_GUEST_CSUM));
    expect(m.device.listens()!.checksum).toBe(true);
    expect(m.command(control, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(m.device.listens()!.checksum).toBe(false);
    expect(m.command(control, 5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0)).toBe(1);
    expect(m.command(control, 5, 0, 2, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(m.device.listens()!.checksum).toBe(true);
  });

  test("a command that is not known, or too long, or has no room for an answer", () => {
    expect([m.command(control, 9, 0, 0), m.command(control, 4, 0, 1, 0)]).toEqual([1, 1]);
    m.memory.bytes[HEADER] = 0xff;
    control.add([
      { address: 0x30000, length: 8000 },
      { address: HEADER, length: 1, write: true },
    ]);
    control.kick();
    expect(m.memory.bytes[HEADER]).toBe(1);
    control.add([{ address: DATA, length: 3 }]);
    control.kick();
    expect(control.collect()).toHaveLength(2);
  });
});

describe("several pairs of queues", () => {
  const MQ = BASIC | feature(spec.VIRTIO_NET_F_MQ);
  test("without MQ the control queue is queue 2", () => {
    start(BASIC, 2, [16, 16, 16, 16, 16]);
    expect(m.command(control, 9, 9, 0)).toBe(1);
  });

  test("flows are spread once the driver says so, and one flow stays on one queue", () => {
    start(MQ, 2, [16, 16, 16, 16, 16]);
    const queues = m.start([16, 16, 16, 16, 16], MQ);
    const command = queues[4]!;
    expect([m.command(command, 4, 0, 3, 0), m.command(command, 4, 0, 2, 0)]).toEqual([1, 0]);
    m.provide(queues[0]!, 15, 2000);
    m.provide(queues[2]!, 15, 2000);
    const counts = (): number[] => [queues[0]!.collect().length, queues[2]!.collect().length];
    const { frame } = tcpFrame(new Uint8Array(10), { to: MAC_A, from: MAC_B });
    for (let i = 0; i < 5; i++) m.deliver(frame);
    expect(counts().sort()).toEqual([0, 5]);
    for (let i = 0; i < 10; i++) {
      frame[35] = i;
      m.deliver(frame);
    }
    expect(counts().every((count) => count > 0)).toBe(true);
  });
});

describe("hostile drivers", () => {
  test("any sequence of chains, kicks, jumps and resets leaves the device sound", () => {
    let fuzzed = new NetMachine();
    for (const features of [0n, ALL & 0x1_3fff_ffffn])
      fuzzVirtio(() => (fuzzed = new NetMachine()), SIZES, {
        features,
        runs: 40,
        check: () => {
          const sent = fuzzed.medium.frames;
          if (sent.some(({ bytes }) => bytes.length < 14 || bytes.length > 65553))
            throw new Error("a bad frame");
        },
      });
  });

  test("frames meet buffers that are anything", () => {
    start(BASIC | feature(spec.VIRTIO_NET_F_MRG_RXBUF));
    // Readable buffers are no place for frames: the driver has broken a rule.
    rx.add([
      { address: BUFFERS, length: 100 },
      { address: BUFFERS, length: 100, write: true },
    ]);
    rx.kick();
    m.deliver(frameOf(MAC_A, MAC_B, 60));
    expect(m.driver.status & 64).toBe(64);
    m.driver.status = 0;
    expect(m.link.peek()).toBeUndefined();
  });
});

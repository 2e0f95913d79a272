import fc from "fast-check";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Capture } from "../../../../devices/net/capture.ts";
import { crc32 } from "../../../../devices/net/crc32.ts";
import { MOST_FRAME_BYTES, NO_OFFLOAD, be16, be32 } from "../../../../devices/net/ethernet.ts";
import { FrameRing } from "../../../../devices/net/frame-ring.ts";
import { AddressTable, Loopback, MOST_ADDRESSES, Switch } from "../../../../devices/net/media.ts";
import { FakeContext } from "../../../support/device-context.ts";
import {
  ALL_OFFLOADS,
  BROADCAST,
  LINK_STATE_BYTES,
  MAC_A,
  MAC_B,
  Received,
  SentFrames,
  frameOf,
  isSoundTcp4,
  makeLink,
  tcpFrame,
} from "../../../support/network.ts";

const world = (): FakeContext => new FakeContext({ stateBytes: LINK_STATE_BYTES });
const payload = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7) >> 3);

describe("the ring of frames", () => {
  test("gives back what was put in, in order, whatever the lengths, and refuses what has no room", () => {
    const size = 160 * 1024;
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.oneof(fc.nat(2000), fc.nat(65553)), { freq: 3 }), { maxLength: 120 }),
        (steps) => {
          const context = new FakeContext({ stateBytes: 256 * 1024 });
          const ring = new FrameRing(context.state, "ring", size);
          context.powerOn();
          const model: { bytes: Uint8Array; arrival: number }[] = [];
          steps.forEach((length, step) => {
            if (length === null) {
              expect(ring.arrival).toBe(model[0]?.arrival);
              const seen = ring.peek();
              expect(seen === undefined).toBe(model.length === 0);
              if (seen) expect(Buffer.from(seen.bytes).equals(Buffer.from(model[0]!.bytes))).toBe(true);
              ring.take();
              model.shift();
              return;
            }
            const bytes = new Uint8Array(length).fill(step);
            const arrival = 2 ** 40 + step;
            const used = model.reduce((sum, frame) => sum + frame.bytes.length + 40, 0);
            const isIn = ring.push(bytes, NO_OFFLOAD, arrival);
            if (isIn) model.push({ bytes, arrival });
            // A frame is refused only when the ring is about full: the largest may have to skip the ring's end.
            else expect(used + 2 * length + 80).toBeGreaterThan(size);
            expect(ring.count).toBe(model.length);
          });
          context.checkRedZones();
        },
      ),
      { numRuns: 40 },
    );
  });

  test("keeps what was left to be done", () => {
    const context = new FakeContext({ stateBytes: 256 * 1024 });
    const ring = new FrameRing(context.state, "ring", 160 * 1024);
    context.powerOn();
    const offload = {
      checksumStart: 34,
      checksumOffset: 16,
      segmentBytes: 1448,
      segmentation: 6,
      ecn: true,
      checked: true,
    } as const;
    ring.push(payload(100), offload, 5);
    expect(ring.peek()!.offload).toEqual(offload);
  });
});

describe("a link", () => {
  test("latency and bandwidth: frames arrive one after the other", () => {
    const context = world();
    const medium = new SentFrames();
    // 1 Gbit/s at 1 GHz: a cycle a bit.
    const link = makeLink(context, medium, { latency: 500, bitsPerSecond: 1e9 });
    const received = new Received(link, context);
    context.powerOn(link);
    link.deliver(frameOf(MAC_A, MAC_B, 100), NO_OFFLOAD);
    link.deliver(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    expect(received.frames).toHaveLength(0);
    context.settle();
    expect(received.times).toEqual([124 * 8 + 500, (124 + 84) * 8 + 500]);
  });

  test("what a receiver does not take undone is done: a checksum", () => {
    const context = world();
    const link = makeLink(context, new SentFrames());
    const received = new Received(link, context);
    context.powerOn(link);
    const { frame, offload } = tcpFrame(payload(99));
    expect(isSoundTcp4(frame)).toBe(false);
    link.deliver(frame, offload);
    received.takes = ALL_OFFLOADS;
    link.deliver(frame, offload);
    context.settle();
    expect(received.frames.map(({ bytes }) => isSoundTcp4(bytes))).toEqual([true, false]);
    expect(received.frames.map(({ offload: left }) => left.checksumStart)).toEqual([0, 34]);
  });

  test("segments are sound and together the whole, and only the last one has FIN and PSH, the first CWR", () => {
    fc.assert(
      fc.property(fc.integer({ min: 32, max: 3000 }), fc.integer({ min: 1, max: 65000 }), (mss, length) => {
        const context = world();
        const link = makeLink(context, new SentFrames());
        const received = new Received(link, context);
        context.powerOn(link);
        const data = payload(length);
        const { frame, offload } = tcpFrame(data, { flags: 0x99 });
        link.deliver(frame, { ...offload, segmentBytes: mss, segmentation: 4 });
        context.settle();
        const segments = received.frames.map(({ bytes }) => bytes);
        expect(segments).toHaveLength(Math.ceil(length / mss));
        expect(segments.every(isSoundTcp4)).toBe(true);
        expect(Buffer.concat(segments.map((bytes) => bytes.subarray(54))).equals(Buffer.from(data))).toBe(
          true,
        );
        segments.forEach((bytes, i) => {
          const isLast = i === segments.length - 1;
          expect(bytes[47]).toBe(0x10 | (isLast ? 0x09 : 0) | (i === 0 ? 0x80 : 0));
          expect(be32(bytes, 38)).toBe((0xfffffff0 + i * mss) >>> 0);
          expect(be16(bytes, 18)).toBe(0x1234 + i);
        });
      }),
      { numRuns: 40 },
    );
  });

  test("a frame that cannot be cut up is dropped, whatever its headers say", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 14, maxLength: 300 }),
        fc.record({
          checksumStart: fc.nat(400),
          checksumOffset: fc.nat(400),
          segmentBytes: fc.nat(100),
          segmentation: fc.constantFrom(0 as const, 4 as const, 6 as const),
          ecn: fc.boolean(),
          checked: fc.boolean(),
        }),
        (frame, offload) => {
          const context = world();
          const link = makeLink(context, new SentFrames(false));
          const received = new Received(link, context);
          context.powerOn(link);
          link.deliver(frame, offload);
          link.send(frame, offload);
          context.settle();
          context.checkRedZones();
          expect(received.frames.length).toBeLessThanOrEqual(Math.ceil(frame.length / 32));
        },
      ),
      { numRuns: 150 },
    );
  });

  test("loses, doubles and reorders as its seed says, the same in each run", () => {
    const run = (seed: number): { order: number[]; counters: unknown } => {
      const context = world();
      const impairment = { loss: 0.1, duplicate: 0.05, reorder: 0.1, seed };
      const link = makeLink(context, new SentFrames(), { impairment });
      const received = new Received(link, context);
      context.powerOn(link);
      for (let i = 0; i < 1000; i++) link.deliver(frameOf(MAC_A, MAC_B, 60, 0x88b5, i & 0xff), NO_OFFLOAD);
      context.settle();
      return { order: received.frames.map(({ bytes }) => bytes[20]!), counters: link.counters };
    };
    const first = run(1);
    expect(run(1)).toEqual(first);
    expect(run(2).order).not.toEqual(first.order);
    const counters = first.counters as { lost: number; doubled: number; reordered: number };
    expect(first.order).toHaveLength(1000 - counters.lost + counters.doubled);
    for (const [count, least, most] of [
      [counters.lost, 60, 140],
      [counters.doubled, 20, 80],
      [counters.reordered, 50, 130],
    ] as const) {
      expect(count).toBeGreaterThan(least);
      expect(count).toBeLessThan(most);
    }
  });

  test("drops when nobody listens, when it is unplugged, and when the ring is full; and says so", () => {
    const context = world();
    const link = makeLink(context, new SentFrames());
    const received = new Received(link, context);
    context.powerOn(link);
    received.takes = undefined;
    link.deliver(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    received.takes = ALL_OFFLOADS;
    link.setUp(false);
    link.deliver(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    link.send(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    expect([link.counters.dropped, received.carrierChanges]).toEqual([3, 1]);
    link.setUp(true);
    const large = new Uint8Array(60000);
    let accepted = 0;
    while (link.deliver(large, NO_OFFLOAD)) accepted++;
    expect(accepted).toBe(17);
    expect(link.counters.dropped).toBe(4);
    context.settle();
    expect(received.frames).toHaveLength(accepted);
  });

  test("frames shorter than their header or longer than any may be are dropped, both ways, and counted", () => {
    const context = world();
    const sent = new SentFrames();
    const link = makeLink(context, sent);
    const received = new Received(link, context);
    context.powerOn(link);
    for (const length of [0, 13, MOST_FRAME_BYTES + 1]) {
      link.send(new Uint8Array(length), NO_OFFLOAD);
      expect(link.deliver(new Uint8Array(length), NO_OFFLOAD)).toBe(true);
    }
    expect([sent.frames, link.counters.dropped]).toEqual([[], 6]);
    link.send(new Uint8Array(MOST_FRAME_BYTES), NO_OFFLOAD);
    link.deliver(new Uint8Array(MOST_FRAME_BYTES), NO_OFFLOAD);
    context.settle();
    expect([sent.frames.length, received.frames.length, link.counters.dropped]).toEqual([1, 1, 6]);
  });

  test("frames on their way are state: a snapshot has them", () => {
    const context = world();
    const link = makeLink(context, new SentFrames(), { latency: 1000 });
    const received = new Received(link, context);
    context.powerOn(link);
    link.deliver(frameOf(MAC_A, MAC_B, 77), NO_OFFLOAD);
    const saved = context.snapshot();
    context.settle();
    const before = received.frames.length;
    context.restore(saved);
    link.take();
    expect([before, link.counters.received]).toEqual([1, 1]);
    context.restore(saved);
    context.advance(1000);
    expect(link.peek()!.bytes).toHaveLength(77);
  });
});

describe("media", () => {
  test("a loopback gives frames back after the sender's call", () => {
    const context = world();
    const link = makeLink(context, new Loopback());
    const received = new Received(link, context);
    context.powerOn(link);
    link.send(frameOf(MAC_B, MAC_A, 64), NO_OFFLOAD);
    expect(received.frames).toHaveLength(0);
    context.settle();
    expect(received.frames).toHaveLength(1);
  });

  test("a switch learns where stations are, and forgets them", () => {
    const context = world();
    const hub = new Switch(context, "switch");
    const links = [0, 1, 2].map((i) => makeLink(context, hub, { label: `link ${i}` }));
    const received = links.map((link) => new Received(link, context));
    links.forEach((link) => hub.add(link));
    context.powerOn(hub, ...links);
    const counts = (): number[] => {
      context.settle();
      return received.map(({ frames }) => frames.splice(0).length);
    };
    links[0]!.send(frameOf(MAC_B, MAC_A, 60), NO_OFFLOAD);
    expect(counts()).toEqual([0, 1, 1]);
    links[1]!.send(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    expect(counts()).toEqual([1, 0, 0]);
    links[0]!.send(frameOf(MAC_B, MAC_A, 60), NO_OFFLOAD);
    expect(counts()).toEqual([0, 1, 0]);
    links[0]!.send(frameOf(BROADCAST, MAC_A, 60), NO_OFFLOAD);
    expect(counts()).toEqual([0, 1, 1]);
    // A station that has moved.
    links[2]!.send(frameOf(MAC_A, MAC_B, 60), NO_OFFLOAD);
    counts();
    links[0]!.send(frameOf(MAC_B, MAC_A, 60), NO_OFFLOAD);
    expect(counts()).toEqual([0, 0, 1]);
    context.advance(301 * context.clock.frequencyHz);
    links[0]!.send(frameOf(MAC_B, MAC_A, 60), NO_OFFLOAD);
    expect(counts()).toEqual([0, 1, 1]);
  });

  test("the table of addresses is bounded: the one not heard of for longest gives way", () => {
    const context = world();
    const table = new AddressTable(context, "table");
    context.powerOn(table);
    const station = (i: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, i >> 8, i & 0xff);
    for (let i = 0; i <= MOST_ADDRESSES; i++) {
      table.learn(frameOf(MAC_A, station(i), 60), i);
      context.advance(1);
    }
    const known = (i: number): number | undefined => table.portOf(frameOf(station(i), MAC_A, 60));
    expect([known(0), known(1), known(MOST_ADDRESSES)]).toEqual([undefined, 1, MOST_ADDRESSES]);
    table.learn(frameOf(MAC_A, BROADCAST, 60), 3);
    expect(table.portOf(frameOf(BROADCAST, MAC_A, 60))).toBeUndefined();
  });
});

describe("captures", () => {
  test("a file of libpcap's, appended to by whoever has it open", () => {
    const folder = mkdtempSync(join(tmpdir(), "exitless-capture-"));
    try {
      const file = join(folder, "c.pcap");
      const first = new Capture({ file, mostBytes: 20 }, true);
      const second = new Capture({ file, mostBytes: 20 }, false);
      first.add(1767225600, 5, payload(14));
      second.add(1767225601, 999_999_999, payload(60));
      first.close();
      second.close();
      const bytes = readFileSync(file);
      expect(bytes.length).toBe(24 + 16 + 14 + 16 + 20);
      expect([bytes.readUInt32LE(0), bytes.readUInt32LE(16), bytes.readUInt32LE(20)]).toEqual([
        0xa1b23c4d, 20, 1,
      ]);
      const record = (at: number): number[] => [0, 4, 8, 12].map((i) => bytes.readUInt32LE(at + i));
      expect(record(24)).toEqual([1767225600, 5, 14, 14]);
      expect(record(24 + 30)).toEqual([1767225601, 999_999_999, 20, 60]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("the check sequence of IEEE 802.3", () => {
    expect(crc32(Buffer.from("123456789"))).toBe(0xcbf43926);
  });
});

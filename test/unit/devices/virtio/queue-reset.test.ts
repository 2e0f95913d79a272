/** Resetting one queue. VIRTIO 1.2, "Virtqueue Reset", and "Common configuration structure layout" (queue_reset). */
import { describe, expect, test } from "vitest";
import { VirtioBalloon } from "../../../../devices/virtio/balloon/device.ts";
import { BlkMachine } from "../../../support/virtio-blk-machine.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { PackedQueue } from "../../../support/packed-queue.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const RING_RESET = 1n << 40n;
const PACKED = 1n << 34n;
const HEADER = 0x40000;
const DATA = 0x50000;
const STATUS = 0x60000;
const READ = 0;
const WRITE = 1;
const SERVICE = 1000;

/** The three buffers of a request for one sector. */
const buffers = (index: number, type: number): { address: number; length: number; write?: boolean }[] => [
  { address: HEADER + 16 * index, length: 16 },
  { address: DATA + 512 * (index % 64), length: 512, write: type === READ },
  { address: STATUS + index, length: 1, write: true },
];

/** Asks for one sector. */
function request(m: BlkMachine, queue: DriverQueue | PackedQueue, type: number, index = 0): void {
  m.header(HEADER + 16 * index, type, index % 64);
  queue.add(buffers(index, type));
}

const registers = (m: BlkMachine): number[] =>
  [24, 26, 28]
    .map((at) => m.driver.common(at, 2))
    .concat([32, 36, 40, 44, 48, 52].map((at) => m.driver.common(at, 4)));

describe("the register", () => {
  test("resets a queue to what it is after power-on, and reads as 0", () => {
    const m = new BlkMachine();
    expect((m.driver.deviceFeatures() >> 40n) & 1n).toBe(1n);
    m.driver.setCommon(22, 2, 0);
    const fresh = registers(m);
    m.start(RING_RESET, 8);
    m.driver.setCommon(22, 2, 0);
    expect(registers(m)).not.toEqual(fresh);
    m.driver.resetQueue(0);
    expect(registers(m)).toEqual(fresh);
    expect(m.driver.status).toBe(0xf);
  });

  test.each([
    ["without the feature", 0n, 1, 2],
    ["of another value than 1", RING_RESET, 2, 2],
    ["of another width", RING_RESET, 1, 4],
  ] as const)("a write %s does nothing", (_, features, value, width) => {
    const m = new BlkMachine();
    m.start(features);
    m.driver.setCommon(22, 2, 0);
    m.driver.setCommon(58, width, value);
    expect(m.driver.common(28, 2)).toBe(1);
  });

  test("a queue that does not exist is none", () => {
    const m = new BlkMachine();
    m.start(RING_RESET);
    m.driver.resetQueue(7);
    m.driver.setCommon(22, 2, 0);
    expect(m.driver.common(28, 2)).toBe(1);
  });
});

describe("requests in flight", () => {
  test("never happen, and the queue works again with other rings and another size", () => {
    const m = new BlkMachine();
    const [old] = m.start(RING_RESET) as [DriverQueue];
    const before = m.contents.slice();
    m.memory.bytes.fill(0xee, DATA, DATA + 512);
    request(m, old, WRITE);
    old.kick();
    expect(m.disk.inFlight).toBe(1);
    m.driver.resetQueue(0);
    expect(m.disk.inFlight).toBe(0);
    m.context.settle();
    expect([old.collect(), m.messages.sent, m.byte(STATUS)]).toEqual([[], [], 0]);
    expect(m.contents).toEqual(before);
    // A queue that is not enabled is not served.
    request(m, old, WRITE);
    old.kick();
    m.context.settle();
    expect([m.disk.inFlight, m.contents]).toEqual([0, before]);

    const again = m.driver.setUpQueue(m.memory, 0, 4, 0x8000, false);
    m.memory.bytes[STATUS] = 0xff;
    request(m, again, READ);
    again.kick();
    m.context.settle();
    expect(again.collect()).toEqual([{ id: 0, length: 513 }]);
    expect([m.byte(STATUS), m.messages.sent.length]).toEqual([0, 1]);
    expect(m.memory.bytes.slice(DATA, DATA + 512)).toEqual(before.slice(0, 512));
  });

  test("those of other queues go on", () => {
    const m = new BlkMachine({ queues: 2 });
    const [first, second] = m.start(RING_RESET, 16, true, 2) as [DriverQueue, DriverQueue];
    request(m, first, READ, 0);
    first.kick();
    request(m, second, READ, 1);
    second.kick();
    m.driver.resetQueue(0);
    m.context.settle();
    expect([first.collect(), second.collect().length, m.messages.sent.length]).toEqual([[], 1, 1]);
  });

  /** Queue 0 fills the table of requests in flight; queue 1 has one more. */
  function crowded(): { m: BlkMachine; second: DriverQueue } {
    const m = new BlkMachine({ queues: 2, queueSize: 1024 });
    const [first, second] = m.start(RING_RESET, 1024, true, 2) as [DriverQueue, DriverQueue];
    for (let index = 0; index < 300; index++) request(m, first, READ, index);
    first.kick();
    expect(m.disk.inFlight).toBe(256);
    request(m, second, READ, 300);
    second.kick();
    return { m, second };
  }

  test("make room for what waited in other queues", () => {
    const { m, second } = crowded();
    m.driver.resetQueue(0);
    m.context.advance(SERVICE + 1);
    expect([second.collect().length, m.disk.inFlight]).toEqual([1, 0]);
  });

  test("so too where somebody else serves the queues", () => {
    const { m } = crowded();
    const told: number[] = [];
    m.disk.setService({ notified: (queue) => told.push(queue) });
    m.driver.resetQueue(0);
    expect(told).toEqual([1]);
    m.disk.serveQueue(1, 10);
    expect(m.disk.inFlight).toBe(1);
  });
});

test("a packed ring begins anew, with its wrap counters", () => {
  const m = new BlkMachine({ packed: true });
  m.driver.negotiate(RING_RESET | PACKED);
  m.driver.enableMsix(2);
  const setUp = (base: number): PackedQueue => {
    const queue = new PackedQueue(m.memory, 4, base, () => m.driver.kick(0));
    m.driver.setCommon(22, 2, 0);
    m.driver.setCommon(24, 2, 4);
    m.driver.setCommon(26, 2, 1);
    [queue.ring, queue.driverEvent, queue.deviceEvent].forEach((address, i) =>
      m.driver.setCommon(32 + 8 * i, 4, address),
    );
    m.driver.setCommon(28, 2, 1);
    return queue;
  };
  const first = setUp(0x1000);
  m.driver.status = 0xf;
  // Once around and a half: the wrap counters are at 0 when the third request is in flight.
  for (let index = 0; index < 3; index++) {
    request(m, first, READ, index);
    first.kick();
    if (index === 2) break;
    m.context.settle();
    expect(first.collect()).toHaveLength(1);
  }
  m.driver.resetQueue(0);
  m.context.settle();
  expect(first.collect()).toEqual([]);
  const second = setUp(0x3000);
  for (let index = 0; index < 3; index++) {
    request(m, second, READ, index);
    second.kick();
    m.context.settle();
    expect(second.collect()).toEqual([{ id: index, length: 513 }]);
  }
});

test("a balloon's buffer for statistics is the driver's again", () => {
  const m = new VirtioMachine((context, parts) => new VirtioBalloon(context, parts));
  const stats = m.start([16, 16, 16], RING_RESET | 3n)[2]!;
  const report = (queue: DriverQueue): void => {
    queue.add([{ address: DATA, length: 10 }]);
    queue.kick();
  };
  report(stats);
  m.driver.resetQueue(2);
  m.device.takeStatistics();
  const again = m.driver.setUpQueue(m.memory, 2, 16, 0x8000, false);
  m.device.takeStatistics();
  expect([stats.collect(), again.collect()]).toEqual([[], []]);
  report(again);
  m.device.takeStatistics();
  expect([again.collect(), m.driver.status]).toEqual([[{ id: 0, length: 0 }], 0xf]);
});

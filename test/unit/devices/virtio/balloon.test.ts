/** The memory balloon. VIRTIO 1.2, "Traditional Memory Balloon Device". */
import { beforeEach, expect, test } from "vitest";
import { VirtioBalloon } from "../../../../devices/virtio/balloon/device.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { fuzzVirtio } from "../../../support/virtio-fuzz.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const LIST = 0x20000;
const FEATURES = 3n;
const SIZES = [16, 16, 16];

const make = (): VirtioMachine<VirtioBalloon> =>
  new VirtioMachine((context, parts) => new VirtioBalloon(context, parts));
let m: VirtioMachine<VirtioBalloon>;
let inflate: DriverQueue;
let deflate: DriverQueue;
let stats: DriverQueue;
beforeEach(() => {
  m = make();
  [inflate, deflate, stats] = m.start(SIZES, FEATURES) as [DriverQueue, DriverQueue, DriverQueue];
});

const pages = (queue: DriverQueue, ...numbers: readonly number[]): void => {
  const view = new DataView(m.memory.bytes.buffer, LIST);
  numbers.forEach((number, i) => view.setUint32(4 * i, number, true));
  queue.add([{ address: LIST, length: 4 * numbers.length }]);
  queue.kick();
};

test("a target is told by a configuration change, and outlives a reset of the device", () => {
  m.device.setTarget(1000);
  expect([m.driver.config(0, 4), m.messages.sent.at(-1)]).toEqual([
    1000,
    { address: 0xfee00000, data: 0x40 },
  ]);
  m.driver.setConfig(4, 4, 256);
  expect(m.device.pages).toMatchObject({ target: 1000, actual: 256 });
  m.driver.status = 0;
  expect([m.driver.config(0, 4), m.driver.config(4, 4)]).toEqual([1000, 0]);
});

test("pages given up are zeroed and counted; those taken back are counted; others than RAM are not", () => {
  m.memory.bytes.fill(0xab, 0x80000, 0x83000);
  pages(inflate, 0x80, 0x81, 0xfffffff);
  expect(inflate.collect()).toEqual([{ id: 0, length: 0 }]);
  expect([m.memory.bytes[0x80000], m.memory.bytes[0x81fff], m.memory.bytes[0x82000]]).toEqual([0, 0, 0xab]);
  pages(deflate, 0x80);
  expect(m.device.pages).toMatchObject({ inflated: 2, deflated: 1 });
});

test("statistics: the driver's buffer is kept until more are wanted", () => {
  const view = new DataView(m.memory.bytes.buffer, LIST);
  const report = (free: bigint): void => {
    [
      [4, free],
      [5, 1n << 30n],
      [99, 1n],
    ].forEach(([tag, value], i) => {
      view.setUint16(10 * i, Number(tag), true);
      view.setBigUint64(10 * i + 2, BigInt(value!), true);
    });
    stats.add([{ address: LIST, length: 30 }]);
    stats.kick();
  };
  report(5_000_000n);
  expect(stats.collect()).toEqual([]);
  expect(m.device.takeStatistics()).toEqual({ "free-memory": 5_000_000, "total-memory": 2 ** 30 });
  // Asking gave the buffer back; the driver fills it anew.
  expect(stats.collect()).toEqual([{ id: 0, length: 0 }]);
  report(4_000_000n);
  expect(m.device.takeStatistics()["free-memory"]).toBe(4_000_000);
});

test.each([
  ["a list of odd length", 6],
  ["a list that is too long", 8192],
])("%s asks for a reset", (_, length) => {
  inflate.add([{ address: LIST, length }]);
  inflate.kick();
  expect(m.driver.status & 0x40).toBe(0x40);
});

test("hostile drivers", () => fuzzVirtio(make, SIZES, { features: FEATURES }));

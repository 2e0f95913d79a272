/** The entropy device, and the generator behind it in virtual time. VIRTIO 1.2, "Entropy Device". */
import { beforeEach, expect, test } from "vitest";
import { SeededEntropy } from "../../../../devices/entropy/seeded.ts";
import { VirtioRng } from "../../../../devices/virtio/rng/device.ts";
import { FakeContext } from "../../../support/device-context.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { fuzzVirtio } from "../../../support/virtio-fuzz.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const DATA = 0x20000;
const NEEDS_RESET = 0x40;

const make = (seed = 1): VirtioMachine<VirtioRng> => {
  let entropy: SeededEntropy | undefined;
  return new VirtioMachine(
    (context, parts) => {
      entropy = new SeededEntropy(context, { label: "entropy", seed });
      return new VirtioRng(context, { ...parts, entropy });
    },
    { others: () => [entropy!] },
  );
};

let m: VirtioMachine<VirtioRng>;
let q: DriverQueue;
beforeEach(() => {
  m = make();
  [q] = m.start([8]) as [DriverQueue];
});

const request = (machine: VirtioMachine<VirtioRng>, queue: DriverQueue, length: number): Buffer => {
  queue.add([{ address: DATA, length, write: true }]);
  queue.kick();
  return Buffer.from(machine.memory.bytes.slice(DATA, DATA + length));
};

test("a buffer is filled, and the driver is told how far", () => {
  const first = request(m, q, 64);
  expect(q.collect()).toEqual([{ id: 0, length: 64 }]);
  expect(m.messages.sent).toEqual([{ address: 0xfee00000, data: 0x41 }]);
  expect(new Set(first).size).toBeGreaterThan(32);
  const second = request(m, q, 64);
  expect(second.equals(first)).toBe(false);
});

test("equal machines get equal numbers, other seeds others; bits are balanced", () => {
  const numbers = (seed: number): Buffer => {
    const machine = make(seed);
    return request(machine, machine.start([8])[0]!, 4096);
  };
  expect(numbers(1).equals(numbers(1))).toBe(true);
  expect(numbers(1).equals(numbers(2))).toBe(false);
  const ones = numbers(3).reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
  // 32,768 fair bits: six standard deviations either way.
  expect(Math.abs(ones - 16384)).toBeLessThan(6 * 91);
});

test("one request is bounded, and pieces of a chain are filled in order", () => {
  q.add([
    { address: DATA, length: 4000, write: true },
    { address: DATA + 0x8000, length: 4000, write: true },
  ]);
  q.kick();
  expect(q.collect()).toEqual([{ id: 0, length: 4096 }]);
  expect(m.memory.bytes.slice(DATA + 0x8000 + 96, DATA + 0x8000 + 4000).every((byte) => byte === 0)).toBe(
    true,
  );
});

test("a buffer that the device may only read asks for a reset", () => {
  q.add([{ address: DATA, length: 64 }]);
  q.kick();
  expect(m.driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  expect(q.collect()).toEqual([]);
});

test("the generator's state is in shared memory: a restored snapshot repeats it", () => {
  const context = new FakeContext();
  const entropy = new SeededEntropy(context, { label: "entropy", seed: 5 });
  context.powerOn(entropy);
  const draw = (): Buffer => {
    const bytes = new Uint8Array(33);
    entropy.fill(bytes);
    return Buffer.from(bytes);
  };
  draw();
  const snapshot = context.snapshot();
  const after = draw();
  context.restore(snapshot);
  expect(draw().equals(after)).toBe(true);
});

test("hostile drivers", () => fuzzVirtio(make, [8]));

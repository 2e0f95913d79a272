import { beforeEach, expect, test } from "vitest";
import { IoApic } from "../../../../devices/interrupt/ioapic.ts";
import { WiredOr } from "../../../../devices/interrupt/wired-or.ts";
import { ApicRecorder, FakeContext, LineRecorder } from "../../../support/device-context.ts";

let context: FakeContext;
let bus: ApicRecorder;
let ioapic: IoApic;

const read = (index: number): number => {
  ioapic.writeMmio(0, 4, index);
  return ioapic.readMmio(0x10, 4);
};
const write = (index: number, value: number): void => {
  ioapic.writeMmio(0, 4, index);
  ioapic.writeMmio(0x10, 4, value);
};
const entry = (pin: number, low: number, high = 0): void => {
  write(0x11 + 2 * pin, high);
  write(0x10 + 2 * pin, low);
};

beforeEach(() => {
  context = new FakeContext();
  bus = new ApicRecorder();
  ioapic = new IoApic(context, { label: "ioapic", bus });
  context.powerOn(ioapic);
});

test("identification, version and masked entries after reset", () => {
  expect(read(1)).toBe(0x00170020);
  write(0, 0xff000000);
  expect([read(0), read(2)]).toEqual([0x0f000000, 0x0f000000]);
  for (let pin = 0; pin < 24; pin++) expect(read(0x10 + 2 * pin)).toBe(0x10000);
  expect(read(0x40)).toBe(0xffffffff);
});

test("an edge is delivered once, with the entry's fields; on a masked pin it is lost", () => {
  const line = ioapic.line(4);
  line.set(true);
  entry(4, 0x0934, 0x03000000);
  expect(bus.delivered).toEqual([]);
  line.set(false);
  line.set(true);
  line.set(true);
  expect(bus.delivered).toEqual([
    { destination: 3, destinationMode: "logical", deliveryMode: 1, vector: 0x34, trigger: "edge" },
  ]);
});

test("a level is delivered until EOI, and again while it stays asserted", () => {
  const line = ioapic.line(10);
  entry(10, 0x8041);
  line.set(true);
  expect(read(0x10 + 20)).toBe(0xc041); // remote IRR
  line.set(false);
  line.set(true);
  expect(bus.delivered.length).toBe(1);
  ioapic.eoi(0x41);
  expect(bus.delivered.length).toBe(2);
  line.set(false);
  ioapic.writeMmio(0x40, 4, 0x41);
  expect(bus.delivered.length).toBe(2);
  expect(read(0x10 + 20)).toBe(0x8041);
});

test("an EOI for another vector changes nothing; version 11H has no EOI register", () => {
  entry(10, 0x8041);
  ioapic.line(10).set(true);
  ioapic.eoi(0x42);
  expect(read(0x10 + 20)).toBe(0xc041);
  const old = new IoApic(context, { label: "old", bus, version: 0x11 });
  old.reset();
  old.writeMmio(0, 4, 0x10);
  old.writeMmio(0x10, 4, 0x8055);
  old.line(0).set(true);
  old.writeMmio(0x40, 4, 0x55);
  expect(old.readMmio(0x10, 4)).toBe(0xc055);
});

test("unmasking an asserted level delivers; masking holds it", () => {
  entry(9, 0x18061);
  ioapic.line(9).set(true);
  expect(bus.delivered.length).toBe(0);
  entry(9, 0x8061);
  expect(bus.delivered.length).toBe(1);
  entry(9, 0x18061);
  ioapic.eoi(0x61);
  expect(bus.delivered.length).toBe(1);
});

test("switching to edge and back clears remote IRR", () => {
  entry(9, 0x8061);
  ioapic.line(9).set(true);
  entry(9, 0x10061);
  entry(9, 0x18061);
  expect(read(0x10 + 18)).toBe(0x18061);
});

test("low-active polarity inverts the pin", () => {
  const line = ioapic.line(11);
  line.set(true);
  entry(11, 0xa070);
  expect(bus.delivered.length).toBe(0);
  line.set(false);
  expect(bus.delivered.length).toBe(1);
});

test("NMI is edge-sensitive even when programmed as level", () => {
  entry(2, 0x8400);
  ioapic.line(2).set(true);
  ioapic.eoi(0);
  expect(bus.delivered).toEqual([
    { destination: 0, destinationMode: "physical", deliveryMode: 4, vector: 0, trigger: "edge" },
  ]);
  expect(read(0x10 + 4) & (1 << 14)).toBe(0);
});

test("read-only bits and narrow writes do not change an entry", () => {
  entry(1, 0x15030);
  expect(read(0x12)).toBe(0x10030);
  ioapic.writeMmio(0x10, 1, 0x99);
  expect(read(0x12)).toBe(0x10030);
});

test("a wired-OR is asserted while any of its sources is", () => {
  const output = new LineRecorder();
  const wire = new WiredOr(context, "or", output);
  const [a, b] = [wire.source(), wire.source()];
  wire.reset();
  a.set(true);
  b.set(true);
  a.set(false);
  expect([output.level, output.rises]).toEqual([true, 1]);
  b.set(false);
  expect(output.level).toBe(false);
});

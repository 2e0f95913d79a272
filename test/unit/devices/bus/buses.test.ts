import { expect, test } from "vitest";
import { MmioBus } from "../../../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../../../devices/bus/port-bus.ts";
import type { MmioDevice, PortDevice } from "../../../../devices/ports.ts";

/** Remembers accesses; reads give the offset in each byte. */
function recorder(name: string, log: string[]): PortDevice & MmioDevice {
  const value = (offset: number, size: number): number => {
    let result = 0;
    for (let i = 0; i < size; i++) result += ((offset + i) & 0xff) * 256 ** i;
    return result;
  };
  const read = (offset: number, size: number): number => {
    log.push(`${name} r${size}@${offset}`);
    return value(offset, size);
  };
  const write = (offset: number, size: number, written: number): void =>
    void log.push(`${name} w${size}@${offset}=${written.toString(16)}`);
  return { readPort: read, writePort: write, readMmio: read, writeMmio: write };
}

test("a wide access to byte-wide neighbours is split, low part first", () => {
  const log: string[] = [];
  const bus = new PortBus();
  bus.addFixed({ label: "a", base: 0x70, size: 2, maxAccess: 1, device: recorder("a", log) });
  bus.addFixed({ label: "b", base: 0x72, size: 1, device: recorder("b", log) });
  expect(bus.read(0x70, 4)).toBe(0xff000100);
  bus.write(0x70, 4, 0x44332211);
  expect(log).toEqual(["a r1@0", "a r1@1", "b r1@0", "a w1@0=11", "a w1@1=22", "b w1@0=33"]);
});

test("unclaimed ports read as ones, and the end of the port space wraps", () => {
  const bus = new PortBus();
  expect([bus.read(0x80, 1), bus.read(0x80, 2), bus.read(0xfffe, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
  bus.write(0xffff, 4, 1);
});

test("CF8H takes dwords only; bytes go to the register below it", () => {
  const log: string[] = [];
  const bus = new PortBus();
  bus.addFixed({ label: "address", base: 0xcf8, size: 4, exactly: 4, device: recorder("address", log) });
  bus.addFixed({ label: "reset", base: 0xcf9, size: 1, device: recorder("reset", log) });
  bus.write(0xcf8, 4, 0x80000000);
  bus.write(0xcf9, 1, 6);
  bus.write(0xcf8, 2, 0x0600);
  expect(log).toEqual(["address w4@0=80000000", "reset w1@0=6", "reset w1@0=6"]);
});

test("fixed ranges win over programmable ones, then the first registered", () => {
  const log: string[] = [];
  const bus = new PortBus();
  let base: number | undefined = 0x1f0;
  bus.addProgrammable({ label: "p", size: 8, base: () => base, device: recorder("p", log) });
  bus.addProgrammable({ label: "q", size: 8, base: () => base, device: recorder("q", log) });
  bus.addFixed({ label: "f", base: 0x1f0, size: 4, device: recorder("f", log) });
  bus.read(0x1f0, 1);
  bus.read(0x1f4, 1);
  base = 0xc000;
  bus.read(0xc001, 2);
  base = undefined;
  expect(bus.read(0xc001, 2)).toBe(0xffff);
  expect(log).toEqual(["f r1@0", "p r1@4", "p r2@1"]);
  expect([bus.rangeAt(0x1f1)?.label, bus.rangeAt(0x1f4)?.label]).toEqual(["f", undefined]);
});

test("memory: word-crossing accesses are split into bytes; 8 bytes are two halves", () => {
  const log: string[] = [];
  const bus = new MmioBus();
  bus.addFixed({ label: "d", base: 0xfec00000, size: 0x100, device: recorder("d", log) });
  expect(bus.read(0xfec00003, 2)).toBe(0x0403);
  expect(bus.read64(0xfec00010)).toBe(0x1716151413121110n);
  bus.write64(0xfec00020, 0x1122334455667788n);
  bus.write(0xfec00001, 4, 0x44332211);
  expect(log).toEqual([
    "d r1@3",
    "d r1@4",
    "d r4@16",
    "d r4@20",
    "d w4@32=55667788",
    "d w4@36=11223344",
    "d w1@1=11",
    "d w1@2=22",
    "d w1@3=33",
    "d w1@4=44",
  ]);
  expect(bus.read(0xfed00000, 4)).toBe(0xffffffff);
});

/** The firmware configuration device, driven as firmware does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FwCfg } from "../../../../devices/firmware/fw-cfg.ts";
import { PortBus } from "../../../../devices/bus/port-bus.ts";
import { firmwareItems } from "../../../../emulator/machine/firmware/firmware-items.ts";
import { byteSum } from "../../../../emulator/machine/table-writer.ts";
import { FakeContext, FakeMemory } from "../../../support/device-context.ts";

const swap = (value: number): number => {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return view.getUint32(0, true);
};

class Guest {
  readonly memory = new FakeMemory(0x20000);
  readonly context = new FakeContext();
  readonly device: FwCfg;
  readonly ports = new PortBus();

  constructor(
    files: Readonly<Record<string, Uint8Array>>,
    keys: readonly (readonly [number, Uint8Array])[] = [],
  ) {
    const items = { keys: new Map(keys), files: new Map(Object.entries(files)) };
    this.device = new FwCfg(this.context, { label: "fw_cfg", memory: this.memory, items });
    this.ports.addFixed({ label: "ports", base: 0x510, size: 2, device: this.device.ports });
    this.ports.addFixed({ label: "DMA", base: 0x514, size: 8, device: this.device.dmaPorts });
    this.device.reset();
  }
  select(key: number): void {
    this.ports.write(0x510, 2, key);
  }
  read(count: number): number[] {
    return Array.from({ length: count }, () => this.ports.read(0x511, 1));
  }
  /** One access by DMA; the control word afterwards. */
  dma(control: number, length: number, address: number, at = 0x100): number {
    const view = new DataView(this.memory.bytes.buffer, this.memory.bytes.byteOffset);
    view.setUint32(at, control);
    view.setUint32(at + 4, length);
    view.setUint32(at + 8, 0);
    view.setUint32(at + 12, address);
    this.ports.write(0x514, 4, 0);
    this.ports.write(0x518, 4, swap(at));
    return view.getUint32(at);
  }
  /** Key and size of a file, by the directory. */
  find(name: string): { readonly key: number; readonly size: number } | undefined {
    this.select(0x19);
    const view = (bytes: number[]): DataView => new DataView(Uint8Array.from(bytes).buffer);
    for (let left = view(this.read(4)).getUint32(0); left > 0; left--) {
      const entry = this.read(64);
      const text = String.fromCharCode(...entry.slice(8, entry.indexOf(0, 8)));
      if (text === name) return { size: view(entry).getUint32(0), key: view(entry).getUint16(4) };
    }
    return undefined;
  }
}

const READ = 2;
const SKIP = 4;
const SELECT = 8;
const WRITE = 16;

test("signature and features, then zeroes; the word form reads two bytes", () => {
  const guest = new Guest({});
  guest.select(0);
  expect(guest.read(6)).toEqual([0x51, 0x45, 0x4d, 0x55, 0, 0]);
  guest.select(1);
  expect(guest.read(4)).toEqual([3, 0, 0, 0]);
  guest.select(0x8765);
  expect(guest.read(2)).toEqual([0, 0]);
});

test("files are found by name, in the order of names", () => {
  const guest = new Guest({ "etc/b": Uint8Array.of(1, 2, 3), "etc/a": Uint8Array.of(9) });
  expect(guest.find("etc/a")).toEqual({ key: 0x20, size: 1 });
  const { key } = guest.find("etc/b")!;
  guest.select(key);
  expect(guest.read(4)).toEqual([1, 2, 3, 0]);
});

describe("DMA", () => {
  test("reads as QEMU CFG", () => {
    const guest = new Guest({});
    expect(guest.ports.read(0x514, 4)).toBe(swap(0x51454d55));
    expect(guest.ports.read(0x518, 4)).toBe(swap(0x20434647));
    expect(guest.ports.read(0x515, 1)).toBe(0x45);
  });
  test("selects, skips and copies; beyond the end come zeroes", () => {
    const guest = new Guest({ f: Uint8Array.of(1, 2, 3, 4) });
    guest.memory.bytes.fill(0xee);
    expect(guest.dma((0x20 << 16) | SELECT | SKIP, 1, 0)).toBe(0);
    expect(guest.dma(READ, 5, 0x200)).toBe(0);
    expect([...guest.memory.bytes.subarray(0x200, 0x206)]).toEqual([2, 3, 4, 0, 0, 0xee]);
  });
  test("memory that is none, and writing, are errors", () => {
    const guest = new Guest({ f: Uint8Array.of(1) });
    expect(guest.dma(READ, 0x100, 0x1ff80)).toBe(1);
    expect(guest.dma(WRITE | SELECT, 4, 0x200)).toBe(1);
  });
  test("random accesses harm nothing but what they name", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.tuple(fc.constant("out"), fc.integer({ min: 0x510, max: 0x51b }), fc.nat(0xffffffff)),
            fc.tuple(fc.constant("in"), fc.integer({ min: 0x510, max: 0x51b }), fc.nat(2)),
            fc.tuple(fc.constant("dma"), fc.nat(0xffffffff), fc.nat(0x30000)),
          ),
        ),
        (accesses) => {
          const guest = new Guest({ f: Uint8Array.of(1, 2, 3), g: new Uint8Array(5000) });
          for (const [kind, a, b] of accesses) {
            if (kind === "out") guest.ports.write(a, 4, b);
            else if (kind === "in") guest.ports.read(a, b === 0 ? 1 : b === 1 ? 2 : 4);
            else guest.dma(a, b, a & 0x1ffff, 0x100);
          }
          guest.context.checkRedZones();
        },
      ),
      { numRuns: 200 },
    );
  });
});

test("the table-loader script gives tables with right pointers and checksums wherever the files are put", () => {
  const { files } = firmwareItems({
    ram: { lowRam: 128 << 20, highRam: 0 },
    cpus: 3,
    vga: true,
    keyboardAndMouse: true,
    timers: { hpet: true, pit: true },
    bootMenu: false,
  });
  const memory = new Uint8Array(0x40000);
  const view = new DataView(memory.buffer);
  const script = files.get("etc/table-loader")!;
  const placed = new Map<string, number>();
  const name = (at: number): string => String.fromCharCode(...script.subarray(at, script.indexOf(0, at)));
  let next = 0x10000;
  for (let at = 0; at < script.length; at += 128) {
    const entry = new DataView(script.buffer, script.byteOffset + at, 128);
    const file = name(at + 4);
    switch (entry.getUint32(0, true)) {
      case 1:
        placed.set(file, next);
        memory.set(files.get(file)!, next);
        next += 0x10000;
        break;
      case 2: {
        const pointer = placed.get(file)! + entry.getUint32(116, true);
        view.setUint32(pointer, view.getUint32(pointer, true) + placed.get(name(at + 60))!, true);
        break;
      }
      case 3: {
        const base = placed.get(file)!;
        const start = base + entry.getUint32(64, true);
        const sum = byteSum(memory.subarray(start, start + entry.getUint32(68, true)));
        memory[base + entry.getUint32(60, true)]! -= sum;
        break;
      }
      default:
        throw new Error("no such command");
    }
  }
  const rsdp = placed.get("etc/acpi/rsdp")!;
  expect(byteSum(memory.subarray(rsdp, rsdp + 20))).toBe(0);
  expect(byteSum(memory.subarray(rsdp, rsdp + 36))).toBe(0);
  const table = (at: number, signature: string): number => {
    expect(String.fromCharCode(...memory.subarray(at, at + 4))).toBe(signature);
    expect(byteSum(memory.subarray(at, at + view.getUint32(at + 4, true)))).toBe(0);
    return at;
  };
  const rsdt = table(view.getUint32(rsdp + 16, true), "RSDT");
  const xsdt = table(view.getUint32(rsdp + 24, true), "XSDT");
  ["FACP", "APIC", "MCFG"].forEach((signature, i) => {
    expect(view.getUint32(rsdt + 36 + 4 * i, true)).toBe(view.getUint32(xsdt + 36 + 8 * i, true));
    table(view.getUint32(xsdt + 36 + 8 * i, true), signature);
  });
  const fadt = view.getUint32(xsdt + 36, true);
  table(view.getUint32(fadt + 40, true), "DSDT");
  expect(view.getUint32(fadt + 140, true)).toBe(view.getUint32(fadt + 40, true));
  expect(String.fromCharCode(...memory.subarray(view.getUint32(fadt + 36, true)).subarray(0, 4))).toBe(
    "FACS",
  );
});

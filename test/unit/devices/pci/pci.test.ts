import { beforeEach, describe, expect, test } from "vitest";
import { MmioBus } from "../../../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../../../devices/bus/port-bus.ts";
import { HostBridge, IsaBridge, PmFunction } from "../../../../devices/pci/chipset.ts";
import { PciFunction } from "../../../../devices/pci/config-space.ts";
import { setUpPci } from "../../../../devices/pci/firmware-setup.ts";
import { Msix, MSIX_REGION_BYTES, msixCapability } from "../../../../devices/pci/msix.ts";
import { PciBus } from "../../../../devices/pci/pci-bus.ts";
import { FakeContext, LineRecorder, MessageRecorder } from "../../../support/device-context.ts";

interface World {
  context: FakeContext;
  ports: PortBus;
  memory: MmioBus;
  bus: PciBus;
  host: HostBridge;
  isa: IsaBridge;
  device: PciFunction;
  msix: Msix;
  messages: MessageRecorder;
  irqs: LineRecorder[];
  pirqs: [LineRecorder, LineRecorder, LineRecorder, LineRecorder];
  mapChanges: number;
}

let w: World;

function build(context: FakeContext): World {
  const ports = new PortBus();
  const memory = new MmioBus();
  const bus = new PciBus(context, { label: "pci", ports, memory });
  const irqs = Array.from({ length: 16 }, () => new LineRecorder());
  const pirqs: World["pirqs"] = [
    new LineRecorder(),
    new LineRecorder(),
    new LineRecorder(),
    new LineRecorder(),
  ];
  const world = { mapChanges: 0 };
  const host = new HostBridge(context, { label: "host", memoryMapChanged: () => world.mapChanges++ });
  const isa = new IsaBridge(context, { label: "isa", irq: (n) => irqs[n]!, pirq: pirqs });
  const pm = new PmFunction(context, {
    label: "pm",
    ports,
    pm: { readPort: (offset) => offset, writePort: () => undefined },
  });
  const messages = new MessageRecorder();
  const msix = new Msix(context, { label: "msix", vectors: 3, sink: messages });
  const echo = { readMmio: (offset: number) => offset, writeMmio: () => undefined };
  const device = new PciFunction(context, {
    label: "device",
    vendorId: 0x1af4,
    deviceId: 0x1042,
    classCode: 0x010000,
    interruptPin: 1,
    bars: [
      { kind: "io", index: 0, size: 32, device: { readPort: (o) => o, writePort: () => undefined } },
      { kind: "memory32", index: 1, size: MSIX_REGION_BYTES, device: msix },
      { kind: "memory64", index: 4, size: 0x4000, prefetchable: true, device: echo },
    ],
    capabilities: [msixCapability(0x40, 3, 1)],
    written: (offset, size) => {
      if (offset < 0x4c && offset + size > 0x40) msix.controlWritten();
    },
  });
  msix.attach(device);
  bus.add(0, 0, host.pci);
  bus.add(1, 0, isa.pci);
  bus.add(1, 3, pm.pci);
  bus.add(4, 0, device);
  ports.addFixed({ label: "CF8", base: 0xcf8, size: 4, exactly: 4, device: bus.addressPort });
  ports.addFixed({ label: "CFC", base: 0xcfc, size: 4, device: bus.dataPorts });
  memory.addFixed({ label: "ECAM", base: 0xb0000000, size: 0x10000000, device: bus.ecam });
  if (context.state.blocks.length > 0 && context.memory.bytes[context.state.blocks[0]!.offset] === 0xa5)
    context.powerOn(bus, host, isa, pm, device, msix);
  return Object.assign(world, {
    context,
    ports,
    memory,
    bus,
    host,
    isa,
    device,
    msix,
    messages,
    irqs,
    pirqs,
  });
}

const cf8 = (device: number, fn: number, offset: number): void =>
  w.ports.write(0xcf8, 4, 0x80000000 + ((device << 11) | (fn << 8) | (offset & 0xfc)));
const read = (device: number, fn: number, offset: number, size: 1 | 2 | 4): number => {
  cf8(device, fn, offset);
  return w.ports.read(0xcfc + (offset & 3), size);
};
const write = (device: number, fn: number, offset: number, size: 1 | 2 | 4, value: number): void => {
  cf8(device, fn, offset);
  w.ports.write(0xcfc + (offset & 3), size, value);
};

beforeEach(() => (w = build(new FakeContext())));

describe("configuration mechanisms", () => {
  test("identification by dword, word and byte; absent functions are all ones", () => {
    expect(read(0, 0, 0, 4)).toBe(0x12378086);
    expect([read(1, 0, 2, 2), read(1, 3, 3, 1), read(1, 0, 0x0e, 1)]).toEqual([0x7000, 0x71, 0x80]);
    expect([read(2, 0, 0, 4), read(1, 1, 0, 2)]).toEqual([0xffffffff, 0xffff]);
    w.ports.write(0xcf8, 4, 0x80010000);
    expect(w.ports.read(0xcfc, 4)).toBe(0xffffffff);
    w.ports.write(0xcf8, 4, 0x00000000);
    expect(w.ports.read(0xcfc, 4)).toBe(0xffffffff);
    expect(w.ports.read(0xcf8, 4)).toBe(0);
  });

  test("ECAM sees the same registers, and nothing on other buses or beyond 256 bytes", () => {
    expect(w.memory.read(0xb0000000 + (4 << 15), 4)).toBe(0x10421af4);
    w.memory.write(0xb0000000 + (4 << 15) + 0x3c, 1, 0x0b);
    expect(read(4, 0, 0x3c, 1)).toBe(0x0b);
    expect(w.memory.read(0xb0000000 + (4 << 15) + 0x100, 4)).toBe(0xffffffff);
    expect(w.memory.read(0xb0100000, 4)).toBe(0xffffffff);
  });

  test("read-only registers keep their values", () => {
    for (let offset = 0; offset < 0x10; offset += 4) if (offset !== 4) write(4, 0, offset, 4, 0xffffffff);
    expect([read(4, 0, 0, 4), read(4, 0, 8, 4)]).toEqual([0x10421af4, 0x01000000]);
    expect(read(4, 0, 0x3d, 1)).toBe(1);
  });
});

describe("base address registers", () => {
  test("sizing reads back the size and the type", () => {
    for (const [offset, expected] of [
      [0x10, 0xffffffe1],
      [0x14, 0xfffff000],
      [0x18, 0],
      [0x20, 0xffffc00c],
      [0x24, 0xffffffff],
    ] as const) {
      write(4, 0, offset, 4, 0xffffffff);
      expect(read(4, 0, offset, 4)).toBe(expected);
    }
  });

  test("decoding follows the command register and moves with the register", () => {
    write(4, 0, 0x10, 4, 0xc000);
    write(4, 0, 0x20, 4, 0x10000000);
    write(4, 0, 0x24, 4, 0x8);
    expect(w.ports.read(0xc003, 1)).toBe(0xff);
    write(4, 0, 4, 2, 3);
    expect(w.ports.read(0xc003, 1)).toBe(3);
    expect(w.memory.read(0x810000040, 4)).toBe(0x40);
    write(4, 0, 0x10, 4, 0xd000);
    expect([w.ports.read(0xc003, 1), w.ports.read(0xd003, 1)]).toEqual([0xff, 3]);
    write(4, 0, 4, 2, 0);
    expect([w.ports.read(0xd003, 1), w.memory.read(0x810000040, 4)]).toEqual([0xff, 0xffffffff]);
  });

  test("another thread's view, and a restored snapshot, see the move at once", () => {
    write(4, 0, 4, 2, 3);
    write(4, 0, 0x10, 4, 0xc000);
    const early = w.context.snapshot();
    const twin = build(new FakeContext({ like: w.context }));
    expect(twin.ports.read(0xc001, 1)).toBe(1);
    write(4, 0, 0x10, 4, 0xe000);
    expect([twin.ports.read(0xc001, 1), twin.ports.read(0xe001, 1)]).toEqual([0xff, 1]);
    w.context.restore(early);
    expect([w.ports.read(0xc001, 1), w.ports.read(0xe001, 1)]).toEqual([1, 0xff]);
    w.context.checkRedZones();
  });
});

describe("interrupt routing", () => {
  test("a slot's pin reaches the routed IRQ and the direct wire; sharing is wired-OR", () => {
    const a = w.isa.intx(4, 1); // PIRQD
    const b = w.isa.intx(8, 1); // PIRQD too
    a.set(true);
    expect([w.pirqs[3].level, w.irqs[11]!.level]).toEqual([true, false]);
    write(1, 0, 0x63, 1, 11);
    expect(w.irqs[11]!.level).toBe(true);
    b.set(true);
    a.set(false);
    expect(w.irqs[11]!.level).toBe(true);
    write(1, 0, 0x63, 1, 0x80 | 11);
    expect(w.irqs[11]!.level).toBe(false);
    write(1, 0, 0x63, 1, 5);
    expect(w.irqs[5]!.level).toBe(true);
    b.set(false);
    expect([w.irqs[5]!.level, w.pirqs[3].level]).toEqual([false, false]);
  });

  test("a PIRQ routed to a reserved IRQ reaches nothing", () => {
    write(1, 0, 0x60, 1, 13);
    w.isa.intx(1, 1).set(true);
    expect(w.irqs.some((line) => line.level)).toBe(false);
  });
});

test("the PM function places the ACPI block", () => {
  write(1, 3, 0x40, 4, 0x601);
  expect(w.ports.read(0x608, 1)).toBe(0xff);
  write(1, 3, 0x80, 1, 1);
  expect([w.ports.read(0x608, 1), read(1, 3, 0x40, 4)]).toEqual([8, 0x601]);
});

test("PAM registers tell the board of changes", () => {
  const before = w.mapChanges;
  expect(w.host.pam(0)).toEqual({ read: false, write: false });
  write(0, 0, 0x59, 1, 0x30);
  write(0, 0, 0x5a, 1, 0x21);
  expect(w.host.pam(0)).toEqual({ read: true, write: true });
  expect([w.host.pam(1), w.host.pam(2)]).toEqual([
    { read: true, write: false },
    { read: false, write: true },
  ]);
  expect(w.mapChanges - before).toBe(2);
});

describe("MSI-X", () => {
  const bar = 0xe0000000;
  beforeEach(() => {
    write(4, 0, 0x14, 4, bar);
    write(4, 0, 4, 2, 6);
    for (let vector = 0; vector < 3; vector++) {
      w.memory.write(bar + 16 * vector, 4, 0xfee01000);
      w.memory.write(bar + 16 * vector + 8, 4, 0x40 + vector);
      w.memory.write(bar + 16 * vector + 12, 4, 0);
    }
  });

  test("nothing is sent, or kept, while disabled", () => {
    w.msix.request(0);
    write(4, 0, 0x42, 2, 0x8000);
    expect(w.messages.sent).toEqual([]);
    w.msix.request(1);
    expect(w.messages.sent).toEqual([{ address: 0xfee01000, data: 0x41 }]);
  });

  test("a masked vector stays pending until unmasked, as does a masked function", () => {
    write(4, 0, 0x42, 2, 0x8000);
    w.memory.write(bar + 28, 4, 1);
    w.msix.request(1);
    expect(w.memory.read(bar + 0x800, 4)).toBe(2);
    w.memory.write(bar + 0x800, 4, 0);
    w.memory.write(bar + 28, 4, 0);
    expect(w.memory.read(bar + 0x800, 4)).toBe(0);
    expect(w.messages.sent.length).toBe(1);
    write(4, 0, 0x42, 2, 0xc000);
    w.msix.request(2);
    w.msix.request(2);
    expect(w.messages.sent.length).toBe(1);
    write(4, 0, 0x42, 2, 0x8000);
    expect(w.messages.sent.length).toBe(2);
    expect(read(4, 0, 0x42, 2)).toBe(0x8002);
  });

  test("vectors outside the table, narrow writes and reserved bits have no effect", () => {
    write(4, 0, 0x42, 2, 0x8000);
    w.msix.request(3);
    w.msix.request(0xffff);
    w.memory.write(bar, 1, 0x12);
    w.memory.write(bar + 12, 4, 0xfffffffe);
    expect([w.memory.read(bar, 4), w.memory.read(bar + 12, 4)]).toEqual([0xfee01000, 0]);
    expect(w.messages.sent).toEqual([]);
    w.context.checkRedZones();
  });
});

test("set-up as by firmware gives every BAR its own place and turns decoding on", () => {
  setUpPci(w.bus, w.ports, { ioBase: 0xc000, memoryBase: 0xe0000000, pmBase: 0x600 });
  expect(w.device.barBase(0)).toBe(0xc000);
  expect(w.device.barBase(1)).toBe(0xe0000000);
  expect(w.device.barBase(4)).toBe(0xe0004000);
  expect(w.ports.read(0x608, 1)).toBe(8);
  expect([read(1, 0, 0x60, 4), read(4, 0, 0x3c, 1)]).toEqual([0x0b0b0a0a, 11]);
});

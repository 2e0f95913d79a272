import { beforeEach, describe, expect, test } from "vitest";
import { I8259Pair } from "../../../../devices/interrupt/i8259.ts";
import { FakeContext, LineRecorder } from "../../../support/device-context.ts";

let context: FakeContext;
let intr: LineRecorder;
let pic: I8259Pair;

const out = (port: number, value: number): void => {
  if ((port & ~1) === 0x20) pic.masterPorts.writePort(port & 1, 1, value);
  else if ((port & ~1) === 0xa0) pic.slavePorts.writePort(port & 1, 1, value);
  else pic.elcrPorts.writePort(port & 1, 1, value);
};
const inp = (port: number): number => {
  if ((port & ~1) === 0x20) return pic.masterPorts.readPort(port & 1, 1);
  if ((port & ~1) === 0xa0) return pic.slavePorts.readPort(port & 1, 1);
  return pic.elcrPorts.readPort(port & 1, 1);
};
const initialize = (icw4Master = 1, icw4Slave = 1): void => {
  for (const [port, value] of [
    [0x20, 0x11],
    [0xa0, 0x11],
    [0x21, 0x30],
    [0xa1, 0x38],
    [0x21, 4],
    [0xa1, 2],
    [0x21, icw4Master],
    [0xa1, icw4Slave],
  ] as const)
    out(port, value);
};
const raise = (irq: number): void => pic.line(irq).set(true);
const lower = (irq: number): void => pic.line(irq).set(false);
const pulse = (irq: number): void => {
  lower(irq);
  raise(irq);
};

beforeEach(() => {
  context = new FakeContext();
  intr = new LineRecorder();
  pic = new I8259Pair(context, { label: "pic", intr });
  context.powerOn(pic);
  initialize();
});

test("an edge requests once; a held line does not request again after EOI", () => {
  raise(1);
  expect(intr.level).toBe(true);
  expect(pic.acknowledge()).toBe(0x31);
  expect(intr.level).toBe(false);
  out(0x20, 0x20);
  expect(intr.level).toBe(false);
  pulse(1);
  expect(pic.acknowledge()).toBe(0x31);
});

test("fully nested: a higher level interrupts a lower one, not the other way round", () => {
  raise(4);
  expect(pic.acknowledge()).toBe(0x34);
  raise(5);
  expect(intr.level).toBe(false);
  raise(0);
  expect(pic.acknowledge()).toBe(0x30);
  out(0x20, 0x0b); // read ISR
  expect(inp(0x20)).toBe(0x11);
  out(0x20, 0x20);
  expect(inp(0x20)).toBe(0x10);
  out(0x20, 0x0a); // read IRR
  expect(inp(0x20)).toBe(0x20);
  expect(intr.level).toBe(false);
  out(0x20, 0x64); // specific EOI of level 4
  expect(pic.acknowledge()).toBe(0x35);
});

test("the slave's vector comes through the cascade; both need an EOI", () => {
  raise(14);
  expect(pic.acknowledge()).toBe(0x3e);
  raise(9);
  expect(intr.level).toBe(false); // the master's level 2 is in service
  out(0xa0, 0x20);
  out(0x20, 0x20);
  expect(pic.acknowledge()).toBe(0x39);
});

test("a higher slave level needs special fully nested mode in the master", () => {
  initialize(0x11, 1);
  raise(14);
  expect(pic.acknowledge()).toBe(0x3e);
  raise(9);
  expect(intr.level).toBe(true);
  expect(pic.acknowledge()).toBe(0x39);
});

test("a line that falls before the acknowledge gives spurious 7, without an ISR bit", () => {
  raise(3);
  lower(3);
  expect(intr.level).toBe(false);
  expect(pic.acknowledge()).toBe(0x37);
  out(0x20, 0x0b);
  expect(inp(0x20)).toBe(0);
});

test("a slave request that is masked before the acknowledge is spurious at the master", () => {
  raise(12);
  const master = intr.level;
  pic.slavePorts.writePort(1, 1, 0xff);
  expect([master, intr.level]).toEqual([true, false]);
  expect(pic.acknowledge()).toBe(0x37); // INT fell with it
  out(0xa1, 0);
  out(0xa0, 0x0b);
  expect(inp(0xa0)).toBe(0);
});

test("masked requests stay in IRR and are delivered when unmasked", () => {
  out(0x21, 0x02);
  raise(1);
  expect(intr.level).toBe(false);
  expect(inp(0x21)).toBe(0x02);
  out(0x21, 0);
  expect(pic.acknowledge()).toBe(0x31);
});

describe("ELCR", () => {
  test("only the inputs that the PIIX allows can be made level-triggered", () => {
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    expect([inp(0x4d0), inp(0x4d1)]).toEqual([0xf8, 0xde]);
  });

  test("a level-triggered line requests until it falls", () => {
    out(0x4d1, 0x08);
    raise(11);
    for (let i = 0; i < 3; i++) {
      expect(pic.acknowledge()).toBe(0x3b);
      out(0xa0, 0x20);
      out(0x20, 0x20);
      expect(intr.level).toBe(true);
    }
    lower(11);
    expect(intr.level).toBe(false);
  });
});

describe("priorities", () => {
  test("rotation on non-specific EOI puts the served level last", () => {
    raise(0);
    raise(1);
    expect(pic.acknowledge()).toBe(0x30);
    out(0x20, 0xa0);
    pulse(0);
    expect(pic.acknowledge()).toBe(0x31);
  });

  test("set priority makes the level after it the highest", () => {
    out(0x20, 0xc4); // 4 is lowest, 5 highest
    raise(4);
    raise(5);
    expect(pic.acknowledge()).toBe(0x35);
  });

  test("automatic EOI keeps nothing in service; with rotation it serves in turn", () => {
    initialize(3);
    out(0x20, 0x80);
    raise(0);
    raise(1);
    expect(pic.acknowledge()).toBe(0x30);
    pulse(0);
    expect(pic.acknowledge()).toBe(0x31);
    expect(pic.acknowledge()).toBe(0x30);
    out(0x20, 0x0b);
    expect(inp(0x20)).toBe(0);
  });

  test("special mask mode lets lower levels through while a masked one is in service", () => {
    raise(2 + 1);
    expect(pic.acknowledge()).toBe(0x33);
    raise(6);
    expect(intr.level).toBe(false);
    out(0x21, 0x08);
    out(0x20, 0x68); // set special mask mode
    expect(pic.acknowledge()).toBe(0x36);
    out(0x20, 0x20); // a non-specific EOI passes over the masked level
    out(0x20, 0x0b);
    expect(inp(0x20)).toBe(0x08);
    out(0x20, 0x48); // reset it
    out(0x20, 0x20);
    expect(inp(0x20)).toBe(0);
  });
});

test("poll mode: the read acknowledges and names the level", () => {
  raise(5);
  out(0x20, 0x0c);
  expect(inp(0x20)).toBe(0x85);
  out(0x20, 0x0b);
  expect(inp(0x20)).toBe(0x20);
  out(0x20, 0x0c);
  expect(inp(0x20)).toBe(0);
});

test("ICW1 forgets edges, masks and rotation", () => {
  out(0x21, 0xff);
  raise(1);
  initialize();
  expect(inp(0x21)).toBe(0);
  expect(intr.level).toBe(false);
  pulse(1);
  expect(pic.acknowledge()).toBe(0x31);
});

test("state is in shared memory: a twin continues", () => {
  raise(14);
  raise(4);
  const twin = new I8259Pair(new FakeContext({ like: context }), { label: "pic", intr: new LineRecorder() });
  expect(twin.pending).toBe(true);
  expect([twin.acknowledge(), pic.pending]).toEqual([0x3e, false]);
  context.checkRedZones();
});

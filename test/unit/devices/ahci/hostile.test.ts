/** A driver without manners: random registers and random memory. No exception, nothing outside, and a reset brings it back. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AhciMachine, LIST, RECEIVED, TABLES, frame } from "../../../support/ahci-driver.ts";

const COMMANDS = [
  0x06, 0x20, 0x24, 0x25, 0x2f, 0x30, 0x35, 0x3d, 0x42, 0x60, 0x61, 0xc8, 0xca, 0xe7, 0xec, 0xef,
];
const word = fc.nat(0xffffffff);
const step = fc.oneof(
  fc.record({
    kind: fc.constant("register" as const),
    // Mostly port 0's registers.
    offset: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0x100, max: 0x17f }) }, fc.nat(0xfff)),
    size: fc.constantFrom(1 as const, 2 as const, 4 as const),
    value: fc.oneof(word, fc.constantFrom(0, 1, 0x11, 0x10, 0xffffffff)),
  }),
  fc.record({
    kind: fc.constant("command" as const),
    slot: fc.nat(31),
    command: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...COMMANDS) }, fc.nat(255)),
    feature: fc.nat(0xffff),
    count: fc.oneof(fc.nat(8), fc.nat(0xffff)),
    lba: fc.oneof({ weight: 4, arbitrary: fc.nat(600) }, fc.nat(2 ** 47)),
    device: fc.nat(255),
    isCommand: fc.boolean(),
    control: fc.nat(7),
    regions: fc.array(fc.tuple(fc.oneof(fc.nat(0xfffff), word), fc.integer({ min: 1, max: 0x400000 })), {
      maxLength: 4,
    }),
    isQueued: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("memory" as const), at: fc.nat(0x3fff), value: word }),
  fc.record({ kind: fc.constant("time" as const), cycles: fc.nat(1_000_000) }),
  fc.record({ kind: fc.constant("master" as const), command: fc.constantFrom(0, 2, 6) }),
);

test("random drivers", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const m = new AhciMachine();
      m.start();
      for (const s of steps)
        switch (s.kind) {
          case "register":
            m.read(s.offset - (s.offset % s.size), s.size);
            m.write(s.offset - (s.offset % s.size), s.value, s.size);
            break;
          case "command":
            m.put(s.slot, { ...s, count: s.isQueued ? s.slot << 3 : s.count });
            if (s.isQueued) m.issueQueued(s.slot);
            else m.issue(s.slot);
            break;
          case "memory":
            new DataView(m.memory.bytes.buffer).setUint32(s.at, s.value, true);
            break;
          case "time":
            m.context.advance(s.cycles);
            break;
          case "master":
            m.ahci.pci.write(4, 2, s.command);
            break;
        }
      m.context.settle();
      m.context.checkRedZones();
      // A reset of everything, as a driver that starts does.
      m.ahci.pci.write(4, 2, 6);
      m.write(0x04, 1);
      m.start();
      expect(m.run({ command: 0xec, regions: [[0x40000, 512]] }).tfd & 0xff).toBe(0x50);
    }),
    { numRuns: 200 },
  );
});

test("the received frames and the driver's data are all of memory that changes", () => {
  const m = new AhciMachine();
  m.start();
  const before = m.memory.bytes.slice();
  m.run({ command: 0x25, count: 4, lba: 1, regions: [[0x40000, 2048]] });
  const changed = new Set<number>();
  m.memory.bytes.forEach((byte, at) => {
    if (byte !== before[at]) changed.add(at & ~0x3ff);
  });
  const own = new Set([LIST, RECEIVED, TABLES, 0x40000, 0x40400]);
  expect([...changed].filter((page) => !own.has(page))).toEqual([]);
  expect(frame({ command: 0xec })[2]).toBe(0xec);
});

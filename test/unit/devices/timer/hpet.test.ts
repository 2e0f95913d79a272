/** High-precision event timers by their registers. IA-PC HPET Specification 1.0a. */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { COUNTER_HZ } from "../../../../devices/timer/hpet-spec.ts";
import { Hpet } from "../../../../devices/timer/hpet.ts";
import {
  FakeClock,
  FakeContext,
  LineRecorder,
  MessageRecorder,
  MovingClock,
} from "../../../support/device-context.ts";

const ENABLE = 1;
const LEGACY = 2;
const LEVEL = 1 << 1;
const INT = 1 << 2;
const PERIODIC = 1 << 3;
const VAL_SET = 1 << 6;
const MODE_32 = 1 << 8;
const FSB = 1 << 14;
const route = (input: number): number => input << 9;
const timer = (n: number): number => 0x100 + 0x20 * n;

let context: FakeContext;
let hpet: Hpet;
let irq0: LineRecorder;
let irq8: LineRecorder;
let routes: LineRecorder[];
let messages: MessageRecorder;

beforeEach(() => {
  // A cycle a tick, so that times are numbers of ticks.
  context = new FakeContext({ clock: new FakeClock(COUNTER_HZ) });
  irq0 = new LineRecorder();
  irq8 = new LineRecorder();
  routes = Array.from({ length: 32 }, () => new LineRecorder());
  messages = new MessageRecorder();
  hpet = new Hpet(context, { label: "hpet", irq0, irq8, route: (n) => routes[n]!, messages });
  context.powerOn(hpet);
});

const read = (offset: number): number => hpet.readMmio(offset, 4) >>> 0;
const write = (offset: number, value: number): void => hpet.writeMmio(offset, 4, value >>> 0);

describe("capabilities and main counter", () => {
  test("three timers of 64 bits, legacy replacement, Intel, 69.84 ns", () => {
    expect([read(0), read(4)]).toEqual([0x8086a201, 69841279]);
    // Periodic, 64 bits, messages; inputs 20 to 23, the first of them after reset.
    expect([read(0x100) & ~(31 << 9), (read(0x100) >> 9) & 31, read(0x104)]).toEqual([
      0x8030, 20, 0x00f00000,
    ]);
  });

  test("it stands still until enabled, can be set, and carries into its high half", () => {
    context.advance(1000);
    expect(read(0xf0)).toBe(0);
    write(0xf0, 0xfffffff0);
    write(0xf4, 7);
    write(0x10, ENABLE);
    context.advance(0x20);
    expect([read(0xf0), read(0xf4)]).toEqual([0x10, 8]);
    write(0x10, 0);
    context.advance(500);
    expect(read(0xf0)).toBe(0x10);
  });

  test("bytes and words can be read, not written", () => {
    write(0xf0, 0x11223344);
    expect([hpet.readMmio(0xf1, 1), hpet.readMmio(0xf2, 2)]).toEqual([0x33, 0x1122]);
    hpet.writeMmio(0xf0, 2, 0);
    expect(read(0xf0)).toBe(0x11223344);
  });
});

describe("one-shot timers", () => {
  test("an edge on the I/O APIC input at the match, once", () => {
    write(timer(0), INT | route(21));
    write(timer(0) + 8, 1000);
    write(timer(0) + 12, 0);
    write(0x10, ENABLE);
    context.advance(999);
    expect(routes[21]!.rises).toBe(0);
    context.advance(1);
    expect([routes[21]!.rises, read(0x20)]).toEqual([1, 0]);
    context.advance(1_000_000);
    expect(routes[21]!.rises).toBe(1);
    // A new comparator makes a new edge, though the line is still up.
    write(timer(0) + 8, 1_002_000);
    context.advance(1000);
    expect(routes[21]!.rises).toBe(2);
  });

  test("level-triggered: up until the status is cleared", () => {
    write(timer(1), INT | LEVEL | route(20));
    write(timer(1) + 8, 10);
    write(timer(1) + 12, 0);
    write(0x10, ENABLE);
    context.advance(10);
    expect([routes[20]!.level, read(0x20)]).toEqual([true, 2]);
    write(0x20, 1);
    expect(routes[20]!.level).toBe(true);
    write(0x20, 2);
    expect([routes[20]!.level, read(0x20)]).toEqual([false, 0]);
  });

  test("in 32-bit mode the match comes again when the counter wraps", () => {
    write(timer(2), INT | MODE_32 | route(22));
    write(timer(2) + 8, 5);
    write(0x10, ENABLE);
    context.advance(10);
    expect(routes[22]!.rises).toBe(1);
    context.advance(2 ** 32);
    expect(routes[22]!.rises).toBe(2);
  });

  test("a message instead of a line", () => {
    write(timer(0), INT | FSB | route(20));
    write(timer(0) + 0x10, 0x4055);
    write(timer(0) + 0x14, 0xfee01000);
    write(timer(0) + 8, 3);
    write(timer(0) + 12, 0);
    write(0x10, ENABLE);
    context.advance(5);
    expect([messages.sent, routes[20]!.rises]).toEqual([[{ address: 0xfee01000, data: 0x4055 }], 0]);
  });

  test("a route that does not exist is not taken", () => {
    write(timer(0), INT | route(3));
    expect((read(timer(0)) >> 9) & 31).toBe(20);
  });

  test("a disabled interrupt makes none; a line goes down with its enable bit", () => {
    write(timer(0), route(20));
    write(timer(0) + 8, 5);
    write(timer(0) + 12, 0);
    write(0x10, ENABLE);
    context.advance(10);
    expect(routes[20]!.rises).toBe(0);
    write(timer(0), INT | route(20));
    write(timer(0) + 8, 20);
    context.advance(10);
    expect(routes[20]!.level).toBe(true);
    write(timer(0), route(20));
    expect(routes[20]!.level).toBe(false);
  });
});

describe("periodic timers", () => {
  /** As Linux sets one: the first match with VAL_SET, then the period. */
  const periodic = (first: number, period: number): void => {
    write(timer(0), INT | PERIODIC | VAL_SET | MODE_32 | route(23));
    write(timer(0) + 8, first);
    write(timer(0) + 8, period);
  };

  test("first match, then every period; the comparator shows the next one", () => {
    periodic(500, 100);
    write(0x10, ENABLE);
    context.advance(499);
    expect(routes[23]!.rises).toBe(0);
    context.advance(1);
    expect([routes[23]!.rises, read(timer(0) + 8)]).toEqual([1, 600]);
    context.advance(1000);
    expect([routes[23]!.rises, read(timer(0) + 8)]).toEqual([11, 1600]);
  });

  test("time that goes on while a match is served does not take the next one away", () => {
    const clock = new MovingClock(COUNTER_HZ);
    context = new FakeContext({ clock });
    hpet = new Hpet(context, { label: "hpet", irq0, irq8, route: (n) => routes[n]!, messages });
    context.powerOn(hpet);
    periodic(500, 100);
    write(0x10, ENABLE);
    // More than a period between any two looks at the clock.
    clock.step = 250;
    context.advance(600);
    for (let i = 0; i < 20; i++) {
      const { rises } = routes[23]!;
      context.advance(100);
      expect(routes[23]!.rises).toBeGreaterThan(rises);
    }
  });

  test("VAL_SET holds for both halves of one 64-bit write", () => {
    write(timer(0), INT | PERIODIC | VAL_SET | route(23));
    write(timer(0) + 8, 7);
    write(timer(0) + 12, 1);
    write(timer(0) + 8, 50);
    write(timer(0) + 12, 0);
    expect([read(timer(0) + 8), read(timer(0) + 12)]).toEqual([7, 1]);
    write(0xf0, 0);
    write(0xf4, 1);
    write(0x10, ENABLE);
    context.advance(60);
    expect(routes[23]!.rises).toBe(2);
  });

  test("a period of nothing does not stop the world", () => {
    periodic(10, 0);
    write(0x10, ENABLE);
    context.advance(1000);
    expect(routes[23]!.rises).toBe(1);
  });
});

describe("legacy replacement", () => {
  test("timer 0 is IRQ 0 and timer 1 IRQ 8; PIT and RTC are cut off, and come back", () => {
    hpet.pit.set(true);
    hpet.rtc.set(true);
    expect([irq0.level, irq8.level]).toEqual([true, true]);
    write(timer(0), INT | route(20));
    write(timer(0) + 8, 10);
    write(timer(0) + 12, 0);
    write(timer(1), INT | route(21));
    write(timer(1) + 8, 20);
    write(timer(1) + 12, 0);
    write(0x10, ENABLE | LEGACY);
    expect([irq0.level, irq8.level]).toEqual([false, false]);
    hpet.pit.set(false);
    hpet.pit.set(true);
    expect(irq0.level).toBe(false);
    context.advance(20);
    expect([irq0.rises, irq8.rises, routes[20]!.rises, routes[21]!.rises]).toEqual([2, 2, 0, 0]);
    write(0x10, ENABLE);
    expect([irq0.level, irq8.level]).toEqual([true, true]);
    hpet.pit.set(false);
    expect(irq0.level).toBe(false);
  });
});

test("random register accesses: no exception, no storm without a periodic timer, state stays in its place", () => {
  const step = fc.record({
    offset: fc.oneof(fc.integer({ min: 0, max: 0x3ff }), fc.constantFrom(0x10, 0x100, 0x108, 0x120, 0x128)),
    size: fc.constantFrom(1 as const, 2 as const, 4 as const),
    // Periods as short as a tick would make millions of events: left to the guest.
    value: fc.oneof(fc.integer({ min: 50_000, max: 0xffffffff }), fc.constantFrom(1, 3, INT | route(20))),
    cycles: fc.nat(100_000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      for (const s of steps) {
        const offset = s.offset - (s.offset % s.size);
        hpet.readMmio(offset, s.size);
        hpet.writeMmio(offset, s.size, s.size === 4 ? s.value : s.value & 0xff);
        context.advance(s.cycles);
      }
      context.checkRedZones();
      hpet.reset();
      expect([read(0x10), read(0xf0)]).toEqual([0, 0]);
    }),
    { numRuns: 100 },
  );
});

import { beforeEach, describe, expect, test } from "vitest";
import { I8254 } from "../../../../devices/timer/i8254.ts";
import { FakeClock, FakeContext, LineRecorder } from "../../../support/device-context.ts";

let context: FakeContext;
let line: LineRecorder;
let pit: I8254;

/** A clock at the timer's own frequency: one cycle is one input clock. */
const clockHz = 1_193_182;
const run = (clocks: number): void => context.advance(clocks);
const control = (value: number): void => pit.writePort(3, 1, value);
const write = (counter: number, ...bytes: number[]): void => {
  for (const byte of bytes) pit.writePort(counter, 1, byte);
};
const readWord = (counter: number): number => pit.readPort(counter) | (pit.readPort(counter) << 8);
const out2 = (): boolean => (pit.port61.readPort(0, 1) & 0x20) !== 0;
const gate2 = (level: boolean): void => pit.port61.writePort(0, 1, level ? 1 : 0);
/** Lengths of the runs of equal OUT 2, starting now. */
const wave = (clocks: number): string => {
  let shape = "";
  for (let i = 0; i < clocks; i++) {
    shape += out2() ? "H" : "L";
    run(1);
  }
  return shape;
};

beforeEach(() => {
  context = new FakeContext({ clock: new FakeClock(clockHz) });
  line = new LineRecorder();
  pit = new I8254(context, { label: "pit", irq: line });
  context.powerOn(pit);
});

describe("wave forms of the data sheet, on counter 2", () => {
  test("mode 0: low from the control word until N + 1 clocks after the count was written", () => {
    gate2(true);
    control(0xb0);
    expect(out2()).toBe(false);
    write(2, 4, 0);
    expect(wave(8)).toBe("LLLLLHHH");
  });

  test("mode 0: gate low suspends counting", () => {
    gate2(true);
    control(0xb0);
    write(2, 10, 0);
    run(5);
    gate2(false);
    run(100);
    expect(readWord(2)).toBe(6);
    gate2(true);
    expect(wave(8)).toBe("LLLLLLHH");
  });

  test("mode 0: the first byte of a new count stops counting with OUT low", () => {
    gate2(true);
    control(0xb0);
    write(2, 2, 0);
    run(10);
    expect(out2()).toBe(true);
    write(2, 3);
    expect(out2()).toBe(false);
    run(100);
    expect(out2()).toBe(false);
    write(2, 0);
    expect(wave(6)).toBe("LLLLHH");
  });

  test("mode 1: a gate edge starts a one-shot of N clocks; a new edge retriggers", () => {
    control(0xb2);
    write(2, 3, 0);
    expect(out2()).toBe(true);
    gate2(true);
    expect(wave(6)).toBe("HLLLHH");
    gate2(false);
    gate2(true);
    run(2);
    gate2(false);
    gate2(true);
    expect(wave(6)).toBe("LLLLHH");
  });

  test("mode 2: low for the last clock of each period; gate low forces high and reloads", () => {
    gate2(true);
    control(0xb4);
    write(2, 3, 0);
    expect(wave(10)).toBe("HHHLHHLHHL");
    gate2(false);
    expect(wave(5)).toBe("HHHHH");
    gate2(true);
    expect(wave(7)).toBe("HHHLHHL");
  });

  test("mode 2: a new count is taken at the end of the period", () => {
    gate2(true);
    control(0xb4);
    write(2, 4, 0);
    run(2); // one clock into the period
    write(2, 2, 0);
    expect(wave(7)).toBe("HHLHLHL");
  });

  test.each([
    [4, "HHHLLHHLLHHL"],
    [5, "HHHHLLHHHLLH"],
  ])("mode 3 with count %i", (count, shape) => {
    gate2(true);
    control(0xb6);
    write(2, count, 0);
    expect(wave(12)).toBe(shape);
  });

  test("mode 3 counts by two", () => {
    gate2(true);
    control(0xb6);
    write(2, 8, 0);
    run(1);
    const counts = Array.from({ length: 8 }, () => {
      control(0x80);
      const value = readWord(2);
      run(1);
      return value;
    });
    expect(counts).toEqual([8, 6, 4, 2, 8, 6, 4, 2]);
  });

  test("mode 4: a strobe of one clock, N + 1 clocks after the write", () => {
    gate2(true);
    control(0xb8);
    write(2, 3, 0);
    expect(wave(8)).toBe("HHHHLHHH");
  });

  test("mode 5: the same strobe, from a gate edge", () => {
    control(0xba);
    write(2, 2, 0);
    expect(wave(4)).toBe("HHHH");
    gate2(true);
    expect(wave(6)).toBe("HHHLHH");
  });
});

describe("reading and writing", () => {
  test("the counter latch holds both bytes while the count runs on", () => {
    gate2(true);
    control(0xb4);
    write(2, 0, 0x10);
    run(1 + 0x10);
    control(0x80);
    run(500);
    control(0x80); // ignored: the latch is not read yet
    expect(readWord(2)).toBe(0x0ff0);
    expect(readWord(2)).toBe(0x1000 - 0x10 - 500);
  });

  test("single-byte access modes", () => {
    control(0x14);
    write(0, 0x50);
    run(1);
    expect(pit.readPort(0)).toBe(0x50);
    control(0x24);
    write(0, 0x02);
    run(2);
    expect(pit.readPort(0)).toBe(0x01);
  });

  test("BCD counts in decimal, and 0 is 10,000", () => {
    gate2(true);
    control(0xb1);
    write(2, 0x00, 0x10);
    run(2);
    expect(readWord(2)).toBe(0x0999);
    control(0xb5);
    write(2, 0, 0);
    run(2);
    expect(readWord(2)).toBe(0x9999);
  });

  test("read-back latches status and count of several counters, status first", () => {
    control(0x34);
    write(0, 0x00, 0x01);
    control(0xb0);
    run(10);
    control(0xc0 | 0x02 | 0x08);
    expect(pit.readPort(0)).toBe(0x80 | 0x34);
    expect(readWord(0)).toBe(0x100 - 9);
    expect(pit.readPort(2)).toBe(0x40 | 0x30); // null count: none written yet
    control(0xe0 | 0x02);
    expect(pit.readPort(0)).toBe(0x80 | 0x34);
  });

  test("the null-count bit is set until the new count is taken over", () => {
    control(0x34);
    write(0, 0x10, 0);
    control(0xe2);
    expect(pit.readPort(0) & 0x40).toBe(0x40);
    run(2);
    control(0xe2);
    expect(pit.readPort(0) & 0x40).toBe(0);
    write(0, 0x20, 0);
    control(0xe2);
    expect(pit.readPort(0) & 0x40).toBe(0x40);
    run(0x10);
    control(0xe2);
    expect(pit.readPort(0) & 0x40).toBe(0);
  });
});

describe("interrupts of counter 0", () => {
  test("mode 2 gives one rising edge a period, exactly, with one event each", () => {
    control(0x34);
    write(0, 1000 & 0xff, 1000 >> 8);
    const start = context.clock.cycles;
    const rises = line.rises;
    const times: number[] = [];
    line.onChange = (level) => {
      if (level) times.push(context.clock.cycles - start);
    };
    run(5001);
    expect(line.rises - rises).toBe(5);
    expect(times).toEqual([1001, 2001, 3001, 4001, 5001]);
  });

  test("a new count for counter 0 in mid-period leaves the running period alone", () => {
    control(0x34);
    write(0, 100, 0);
    run(1 + 40);
    const rises = line.rises;
    write(0, 50, 0);
    expect(readWord(0)).toBe(60);
    run(59);
    expect([readWord(0), line.rises - rises]).toEqual([1, 0]);
    run(1);
    expect([readWord(0), line.rises - rises]).toEqual([50, 1]);
    run(50);
    expect(line.rises - rises).toBe(2);
  });

  test("mode 3 gives both edges; mode 0 rises once", () => {
    control(0x36);
    write(0, 100, 0);
    const rises = line.rises;
    run(1001);
    expect(line.rises - rises).toBe(10);
    control(0x30);
    expect(line.level).toBe(false);
    write(0, 50, 0);
    run(50);
    expect(line.level).toBe(false);
    run(1);
    expect(line.level).toBe(true);
    context.settle();
    expect(line.level).toBe(true);
  });

  test("mode 3: an edge that is served too late to be seen has been there", () => {
    control(0x36);
    write(0, 100, 0);
    run(1);
    expect(line.level).toBe(true);
    const { rises } = line;
    // The fall after 50 clocks is looked at only when OUT has risen again.
    context.clock.cycles += 110;
    context.advance(0);
    expect([line.rises - rises, line.level]).toEqual([1, true]);
  });

  test("mode 4 makes an edge when the strobe ends", () => {
    control(0x38);
    write(0, 20, 0);
    const rises = line.rises;
    run(200);
    expect(line.rises - rises).toBe(1);
  });

  test("in cycles of another clock the rate stays exact over an hour", () => {
    context = new FakeContext({ clock: new FakeClock(2_670_000_000) });
    line = new LineRecorder();
    pit = new I8254(context, { label: "pit", irq: line });
    context.powerOn(pit);
    control(0x34);
    write(0, 0, 0);
    const rises = line.rises;
    context.advance(2_670_000_000 * 60);
    expect(line.rises - rises).toBe(Math.floor((clockHz * 60 - 1) / 65536));
  });
});

test("port 61H: refresh toggles every 18 clocks, low bits are writable, the rest is not", () => {
  const first = pit.port61.readPort(0, 1) & 0x10;
  run(18);
  expect(pit.port61.readPort(0, 1) & 0x10).not.toBe(first);
  pit.port61.writePort(0, 1, 0xff);
  expect(pit.port61.readPort(0, 1) & 0xcf).toBe(0x0f);
});

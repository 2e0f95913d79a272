import { beforeEach, describe, expect, test } from "vitest";
import { civilFromSeconds, secondsFromCivil } from "../../../../devices/timer/civil-time.ts";
import { Mc146818 } from "../../../../devices/timer/mc146818.ts";
import { FakeContext, LineRecorder, MovingClock } from "../../../support/device-context.ts";

const MIB = 1024 * 1024;
let context: FakeContext;
let line: LineRecorder;
let rtc: Mc146818;

const make = (on: FakeContext, irq = line): Mc146818 =>
  new Mc146818(on, { label: "rtc", irq, cmos: { memoryBelow4G: 256 * MIB, processors: 4 } });
const read = (index: number): number => {
  rtc.writePort(0, 1, index);
  return rtc.readPort(1);
};
const write = (index: number, value: number): void => {
  rtc.writePort(0, 1, index);
  rtc.writePort(1, 1, value);
};
const seconds = (n: number): void => context.advance(n * context.clock.frequencyHz);
const time = (): number[] => [0x32, 9, 8, 7, 4, 2, 0].map(read);

beforeEach(() => {
  context = new FakeContext(); // 2026-01-15 10:20:30, a Thursday
  line = new LineRecorder();
  rtc = make(context);
  context.powerOn(rtc);
});

describe("calendar", () => {
  test("starts at the configured time, in BCD and 24 hours, and runs", () => {
    expect(time()).toEqual([0x20, 0x26, 0x01, 0x15, 0x10, 0x20, 0x30]);
    expect(read(6)).toBe(5);
    seconds(86_400 + 35);
    expect(time()).toEqual([0x20, 0x26, 0x01, 0x16, 0x10, 0x21, 0x05]);
  });

  test("binary and 12-hour modes", () => {
    write(0x0b, 0x04); // binary, 12-hour
    expect([read(9), read(4), read(2)]).toEqual([26, 10, 20]);
    seconds(3 * 3600);
    expect(read(4)).toBe(0x81);
    write(4, 12); // 12 AM
    write(0x0b, 0x06);
    expect(read(4)).toBe(0);
  });

  test("SET freezes the registers so that a program can set them one by one", () => {
    write(0x0b, 0x82);
    const values = [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x59];
    [0x32, 9, 8, 7, 4, 2, 0].forEach((index, i) => write(index, values[i]!));
    seconds(10);
    expect(time()).toEqual(values);
    write(0x0b, 0x02);
    seconds(1);
    expect(time()).toEqual([0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00]);
  });

  test("leaving divider reset starts the first update half a second later", () => {
    write(0x0a, 0x76);
    write(0, 0x10);
    seconds(3);
    expect(read(0)).toBe(0x10);
    write(0x0a, 0x26);
    context.advance(context.clock.frequencyHz * 0.49);
    expect(read(0)).toBe(0x10);
    context.advance(context.clock.frequencyHz * 0.02);
    expect(read(0)).toBe(0x11);
  });

  test("UIP is set in the last 2,228 µs of a second only", () => {
    expect(read(0x0a)).toBe(0x26);
    context.advanceMicroseconds(997_000);
    expect(read(0x0a) & 0x80).toBe(0);
    context.advanceMicroseconds(1_000);
    expect(read(0x0a) & 0x80).toBe(0x80);
    context.advanceMicroseconds(2_100);
    expect(read(0x0a) & 0x80).toBe(0);
    expect(read(0)).toBe(0x31);
  });

  test("civil time agrees with the host's calendar over four centuries", () => {
    for (let day = 0; day < 146_097; day += 17) {
      const at = day * 86_400 + 12_345;
      const host = new Date(at * 1000);
      const civil = civilFromSeconds(at);
      expect([civil.year, civil.month, civil.day, civil.weekday]).toEqual([
        host.getUTCFullYear(),
        host.getUTCMonth() + 1,
        host.getUTCDate(),
        host.getUTCDay(),
      ]);
      expect(secondsFromCivil(civil)).toBe(at);
    }
  });
});

describe("interrupts", () => {
  test("time that goes on while register C is read takes no interrupt away", () => {
    const clock = new MovingClock();
    context = new FakeContext({ clock });
    rtc = make(context);
    context.powerOn(rtc);
    clock.step = 1_000_000;
    write(0x0b, 0x42);
    for (let i = 1; i <= 20; i++) {
      expect(line.level).toBe(true);
      const { rises } = line;
      read(0x0c);
      expect(line.rises).toBe(rises + 1);
    }
  });

  test("periodic at 1,024 Hz: one interrupt for each read of register C", () => {
    read(0x0c);
    write(0x0b, 0x42);
    let interrupts = 0;
    line.onChange = (level) => {
      if (!level) return;
      interrupts++;
    };
    for (let i = 0; i < 100; i++) {
      context.advanceMicroseconds(1000);
      if (line.level) expect(read(0x0c)).toBe(0xc0);
    }
    expect(interrupts).toBeGreaterThanOrEqual(99);
    expect(interrupts).toBeLessThanOrEqual(103);
  });

  test("flags are set even when not enabled, and reading clears them", () => {
    read(0x0c);
    seconds(2);
    expect(read(0x0c)).toBe(0x50);
    expect(read(0x0c)).toBe(0);
    expect(line.rises).toBe(0);
  });

  test("update-ended once a second", () => {
    read(0x0c);
    write(0x0b, 0x12);
    seconds(1);
    expect(line.level).toBe(true);
    expect(read(0x0c) & 0x90).toBe(0x90);
    expect(line.level).toBe(false);
    seconds(1);
    expect(line.rises).toBe(2);
  });

  test("an alarm fires at its second, once a day; don't-care codes more often", () => {
    read(0x0c);
    write(5, 0x10);
    write(3, 0x25);
    write(1, 0x00);
    write(0x0b, 0x22);
    seconds(4 * 60 + 29);
    expect(line.level).toBe(false);
    seconds(1);
    expect(line.level).toBe(true);
    expect(read(0x0c) & 0xa0).toBe(0xa0);
    seconds(86_399);
    expect(line.level).toBe(false);
    seconds(1);
    expect(line.level).toBe(true);
    read(0x0c);
    write(5, 0xff);
    write(3, 0xff);
    seconds(60);
    expect(line.rises).toBe(3);
  });

  test("an alarm that can never match is not waited for", () => {
    write(5, 0x99 & 0x3f);
    write(1, 0x7f);
    write(0x0b, 0x22);
    seconds(200_000);
    expect(line.rises).toBe(0);
  });
});

describe("CMOS RAM", () => {
  test("memory sizes where firmware looks for them, with a right checksum", () => {
    expect(read(0x15) | (read(0x16) << 8)).toBe(640);
    expect(read(0x30) | (read(0x31) << 8)).toBe(65535);
    expect((read(0x34) | (read(0x35) << 8)) * 65536).toBe(240 * MIB);
    expect(read(0x5f)).toBe(3);
    let sum = 0;
    for (let i = 0x10; i <= 0x2d; i++) sum += read(i);
    expect((read(0x2e) << 8) | read(0x2f)).toBe(sum);
  });

  test("RAM and time survive a reset, enables and flags do not; the NMI bit is not part of the index", () => {
    write(0x8f, 0x05);
    write(0x0b, 0x72);
    seconds(5);
    rtc.reset();
    expect(read(0x0f)).toBe(0x05);
    expect(read(0x0b)).toBe(0x02);
    expect(line.level).toBe(false);
    expect(read(0)).toBe(0x35);
    expect(read(0x0d)).toBe(0x80);
  });
});

test("a twin on the same memory tells the same time", () => {
  seconds(12);
  const before = context.snapshot();
  const twin = make(new FakeContext({ like: context }), new LineRecorder());
  expect(context.sameAs(before)).toBe(true);
  twin.writePort(0, 1, 0);
  expect(twin.readPort(1)).toBe(0x42);
  context.checkRedZones();
});

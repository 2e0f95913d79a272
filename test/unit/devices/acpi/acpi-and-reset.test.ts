import { beforeEach, describe, expect, test } from "vitest";
import { AcpiPm } from "../../../../devices/acpi/pm.ts";
import { ResetControl } from "../../../../devices/acpi/reset-control.ts";
import { DebugExit } from "../../../../devices/debug/debug-exit.ts";
import { I8042 } from "../../../../devices/input/i8042.ts";
import {
  FakeClock,
  FakeContext,
  LineRecorder,
  MovingClock,
  SystemRecorder,
} from "../../../support/device-context.ts";

let context: FakeContext;
let sci: LineRecorder;
let irq1: LineRecorder;
let system: SystemRecorder;
let pm: AcpiPm;
let resetControl: ResetControl;
let keyboard: I8042;

const PM_HZ = 3_579_545;

beforeEach(() => {
  context = new FakeContext({ clock: new FakeClock(PM_HZ) });
  [sci, irq1, system] = [new LineRecorder(), new LineRecorder(), new SystemRecorder()];
  pm = new AcpiPm(context, { label: "pm", sci, system });
  resetControl = new ResetControl(context, { label: "reset", system });
  keyboard = new I8042(context, { label: "kbc", irq: irq1, system });
  context.powerOn(pm, resetControl, keyboard);
});

describe("PM block", () => {
  test("the timer counts at 3.579545 MHz in 24 bits", () => {
    context.advance(0x123456);
    expect(pm.readPort(8, 4)).toBe(0x123456);
    context.advance(0x1000000);
    expect(pm.readPort(8, 4)).toBe(0x123456);
    expect(pm.readPort(9, 1)).toBe(0x34);
  });

  test("its bytes are those of one moment, and an overflow between two looks is not lost", () => {
    const clock = new MovingClock(PM_HZ);
    context = new FakeContext({ clock });
    pm = new AcpiPm(context, { label: "pm", sci, system });
    context.powerOn(pm);
    context.advance(0x12fffe);
    clock.step = 1;
    expect(pm.readPort(8, 4)).toBe(0x12ffff);
    expect(pm.readPort(8, 4)).toBe(0x130000);
    pm.writePort(4, 2, 1);
    clock.cycles = 0x7ffffe;
    pm.writePort(2, 2, 1);
    context.advance(1);
    expect(sci.level).toBe(true);
  });

  test("each change of bit 23 sets TMROF; enabled, it raises SCI; writing 1 clears it", () => {
    pm.writePort(2, 2, 1);
    pm.writePort(4, 2, 1);
    context.advance(0x7fffff);
    expect([pm.readPort(0, 2), sci.level]).toEqual([0, false]);
    context.advance(1);
    expect([pm.readPort(0, 2), sci.level]).toEqual([1, true]);
    pm.writePort(0, 2, 1);
    expect([pm.readPort(0, 2), sci.level]).toEqual([0, false]);
    context.advance(0x800000);
    expect(sci.level).toBe(true);
  });

  test("the power button interrupts only with PWRBTN_EN and SCI_EN", () => {
    pm.pressPowerButton();
    expect([pm.readPort(0, 2), sci.level]).toEqual([0x100, false]);
    pm.writePort(2, 2, 0x100);
    expect(sci.level).toBe(false);
    pm.smiPorts.writePort(0, 1, 0xf1);
    expect([pm.readPort(4, 2), sci.level]).toEqual([1, true]);
    pm.writePort(1, 1, 0x01);
    expect(sci.level).toBe(false);
    pm.smiPorts.writePort(0, 1, 0xf0);
    expect(pm.readPort(4, 2)).toBe(0);
  });

  test("SUS_EN with SUS_TYP of soft off turns the power off; it is write-only", () => {
    pm.writePort(4, 2, 0x2000 | (5 << 10) | 1);
    expect(system.events).toEqual([]);
    pm.writePort(4, 2, 0x2001);
    expect(system.events).toEqual(["power-off"]);
    expect(pm.readPort(4, 2)).toBe(1);
  });
});

describe("reset and A20", () => {
  test("CF9H resets on a rise of RCPU only", () => {
    resetControl.resetControlPort.writePort(0, 1, 0x02);
    expect(system.events).toEqual([]);
    resetControl.resetControlPort.writePort(0, 1, 0x06);
    resetControl.resetControlPort.writePort(0, 1, 0x06);
    expect(system.events).toEqual(["reset system"]);
    resetControl.resetControlPort.writePort(0, 1, 0);
    resetControl.resetControlPort.writePort(0, 1, 4);
    expect(system.events).toEqual(["reset system", "reset cpu"]);
  });

  test("port 92H: A20 and fast reset", () => {
    resetControl.systemControlPortA.writePort(0, 1, 2);
    expect(resetControl.systemControlPortA.readPort(0, 1)).toBe(2);
    resetControl.systemControlPortA.writePort(0, 1, 3);
    expect(system.events).toEqual(["a20 open", "reset cpu"]);
  });

  test("the debug-exit port passes the value on", () => {
    const exit = new DebugExit(system);
    exit.writePort(0, 4, 42);
    expect(system.events).toEqual(["exit 42"]);
  });
});

describe("keyboard controller without a keyboard", () => {
  const command = (value: number): void => keyboard.commandPort.writePort(0, 1, value);
  const data = (value: number): void => keyboard.dataPort.writePort(0, 1, value);
  const status = (): number => keyboard.commandPort.readPort(0, 1);
  const read = (): number => keyboard.dataPort.readPort(0, 1);

  test("self test, interface tests, command byte", () => {
    command(0xaa);
    expect(status() & 0x0d).toBe(0x0d);
    expect(read()).toBe(0x55);
    expect(status() & 1).toBe(0);
    command(0xab);
    expect(read()).toBe(0);
    command(0xa9);
    expect(read()).toBe(1);
    command(0x60);
    data(0x65);
    command(0x20);
    expect(read()).toBe(0x45);
    expect(status() & 1).toBe(0);
  });

  test("a byte for the keyboard times out; with IRQ 1 enabled it interrupts", () => {
    command(0x60);
    data(0x01);
    data(0xf2);
    expect(irq1.level).toBe(true);
    expect(status() & 0x41).toBe(0x41);
    expect(read()).toBe(0xfe);
    expect([irq1.level, status() & 0x41]).toEqual([false, 0]);
  });

  test("the auxiliary loop-back comes back as the keyboard's; A7H and A8H change nothing", () => {
    command(0xd3);
    data(0x5a);
    expect(status() & 0x21).toBe(0x01);
    expect(read()).toBe(0x5a);
    command(0xa7);
    command(0x20);
    expect(read() & 0x20).toBe(0);
  });

  test("the output port opens A20 and resets; FEH resets", () => {
    command(0xd1);
    data(0xdd);
    command(0xd1);
    data(0xdf);
    command(0xfe);
    expect(system.events).toEqual(["a20 closed", "a20 open", "reset cpu"]);
    command(0xd0);
    expect(read()).toBe(0xcf);
  });
});

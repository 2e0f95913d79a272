/** The firmware's ROM: where it is seen, what the host bridge's attribute map makes of it, and that resets find it again. */
import { describe, expect, test } from "vitest";
import { Machine, type MachineOptions } from "../../hypervisor/machine.ts";
import { ParallelMachine } from "../../hypervisor/parallel-machine.ts";
import { biosImage, step } from "../support/bios-image.ts";

const PAM0 = 0x59;
const pam0 = (value: number): number[] => step.configByte(0, PAM0, value);
/** A byte of ROM in F000H, and what it holds. */
const MARK = 0x40;
const IN_ROM = 0x5a;
const TIMES = 0x600;
const RESET_CONTROL = 0xcf9;

const SHADOWING = biosImage(
  [
    step.dataSegment(0xf000),
    step.extraSegment(0xf000),
    step.sendByte(MARK),
    // Reads and writes go to ROM: a write is lost.
    step.writeByte(MARK, 0x11),
    step.sendByte(MARK),
    // Reads from ROM, writes to RAM: an increment takes its operand from the one and puts the result into the other.
    pam0(0x20),
    step.copySegment(),
    step.incrementByte(MARK),
    step.sendByte(MARK),
    // Both RAM, the code that runs included.
    pam0(0x30),
    step.sendByte(MARK),
    step.writeByte(MARK, 0x33),
    step.sendByte(MARK),
    // RAM that is read alone.
    pam0(0x10),
    step.writeByte(MARK, 0x44),
    step.sendByte(MARK),
    step.incrementByte(MARK),
    step.sendByte(MARK),
    pam0(0x00),
    step.sendByte(MARK),
    pam0(0x30),
    // Twice: the reset makes ROM of it again.
    step.dataSegment(0),
    step.incrementByte(TIMES),
    step.ifByte(TIMES, 1, [step.outByte(RESET_CONTROL, 0x06), [0xf4]]),
    step.exit(7),
  ],
  { [MARK]: IN_ROM },
);
const ONCE = [IN_ROM, IN_ROM, IN_ROM, IN_ROM + 1, 0x33, 0x33, 0x33, IN_ROM];

const bios = (bytes: Uint8Array): NonNullable<MachineOptions["bios"]> => ({
  path: "test.bin",
  name: "test.bin",
  bytes,
});

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test("the attribute map sends reads and writes to ROM or RAM, and a reset starts in the ROM", () => {
    const sent: number[] = [];
    const machine = new Machine({
      bios: bios(SHADOWING),
      mode,
      memory: 4,
      onSerial: (byte) => sent.push(byte),
    });
    expect(machine.run()).toEqual({ end: "reset", code: 0 });
    expect(sent).toEqual(ONCE);
    machine.reset();
    expect(machine.run()).toEqual({ end: "debug-exit", code: 7 });
    expect(sent).toEqual([...ONCE, ...ONCE]);
    expect(machine.damagedRedZones()).toEqual([]);
    machine.close();
  });

  test("a snapshot restores the map", () => {
    const run = (from?: { readonly at: number; readonly machine: Machine }): number[] => {
      const sent: number[] = [];
      const options = {
        bios: bios(SHADOWING),
        mode,
        memory: 4,
        onSerial: (byte: number) => void sent.push(byte),
      };
      const machine = new Machine(options);
      if (from) machine.restore(from.machine.save());
      machine.run();
      return sent;
    };
    for (const at of [20, 60, 16_500, 16_540, 16_560]) {
      const sent: number[] = [];
      const machine = new Machine({
        bios: bios(SHADOWING),
        mode,
        memory: 4,
        onSerial: (byte) => void sent.push(byte),
      });
      machine.run({ untilInstruction: at });
      expect([...sent, ...run({ at, machine })]).toEqual(ONCE);
      // The machine that was saved has a map of its own.
      machine.run();
      expect(sent).toEqual(ONCE);
    }
  });

  test("firmware reads the configuration device by port", () => {
    const sent: number[] = [];
    const machine = new Machine({
      bios: bios(
        biosImage([
          step.outWord(0x510, 0),
          ...[0, 1, 2, 3, 4].map(() => [...step.inByte(0x511), ...step.sendLast()]),
          step.exit(0),
        ]),
      ),
      mode,
      memory: 4,
      onSerial: (byte) => sent.push(byte),
    });
    expect(machine.run().end).toBe("debug-exit");
    expect(String.fromCharCode(...sent)).toBe("QEMU\0");
  });
});

test("wall clock, two CPUs: the same", async () => {
  for (const mode of ["metal", "vm"] as const) {
    const sent: number[] = [];
    const machine = new ParallelMachine({
      bios: bios(SHADOWING),
      mode,
      memory: 4,
      smp: 2,
      onSerial: (byte) => sent.push(byte),
    });
    expect(await machine.run()).toEqual({ end: "reset", code: 0 });
    expect(sent).toEqual(ONCE);
    await machine.close();
  }
});

describe("what cannot be a BIOS image, and options that need one", () => {
  const refused = (options: MachineOptions): string => {
    try {
      new Machine(options).close();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    return "accepted";
  };
  test.each<[string, MachineOptions, string]>([
    ["size", { bios: bios(new Uint8Array(100_000)) }, "not a multiple of 64 KiB"],
    ["no code", { bios: bios(new Uint8Array(0x20000)) }, "no code at the reset vector"],
    ["no file", { bios: "no-such-file.bin" }, "there is no such file"],
    ["nothing to start", {}, "-kernel FILE or -bios FILE"],
    ["both", { bios: bios(SHADOWING), kernel: bios(SHADOWING) }, "name one of the two"],
    ["order without firmware", { kernel: bios(SHADOWING), bootOrder: "c" }, "-boot order= needs -bios"],
    ["order", { bios: bios(SHADOWING), bootOrder: "cx" }, 'boot order "cx"'],
  ])("%s", (_, options, message) => {
    expect(refused(options)).toContain(message);
  });
});

test("random BIOS images end in something a guest can do", () => {
  let seed = 12345;
  const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 16;
  for (let round = 0; round < 12; round++) {
    const image = Uint8Array.from({ length: 0x10000 }, () => random() & 0xff);
    for (const mode of ["metal", "vm"] as const) {
      const machine = new Machine({ bios: bios(image), mode, memory: 4 });
      expect(["paused", "idle", "reset", "triple-fault", "debug-exit"]).toContain(
        machine.run({ untilInstruction: 20_000 }).end,
      );
      expect(machine.damagedRedZones()).toEqual([]);
      machine.close();
    }
  }
});

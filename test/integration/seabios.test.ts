/**
 * SeaBIOS of Debian's package `seabios`, where it is installed: it starts, shows its screen, boots from disk and CD-ROM, and outlives
 * broken images. EXITLESS_SEABIOS names another folder, EXITLESS_MUTATIONS how many broken images of each kind to try.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Machine, type DriveOptions, type MachineOptions } from "../../hypervisor/machine.ts";
import { ParallelMachine } from "../../hypervisor/parallel-machine.ts";
import { Workspace, exitless } from "../support/cli.ts";

const FOLDER = process.env["EXITLESS_SEABIOS"] ?? "/usr/share/seabios";
const BIOS = join(FOLDER, "bios-256k.bin");
const VGA_BIOS = join(FOLDER, "vgabios-stdvga.bin");
/** CI installs it, and must not skip: without it the tests fail there. */
const isInstalled = process.env["CI"] !== undefined || (existsSync(BIOS) && existsSync(VGA_BIOS));
const MUTATIONS = Number(process.env["EXITLESS_MUTATIONS"] ?? 4);

const SECTOR = 512;
const CD_SECTOR = 2048;
/** What the boot sectors send. The serial port has not been set up: it sends five bits a character. */
const FROM_DISK = 0x0d;
const FROM_CD = 0x0c;
const word = (value: number): number[] => [value & 0xff, value >> 8];

/** A boot sector that reads the sector or block after it by INT 13H, sends its first byte, and leaves. */
function bootSector(read: readonly number[]): Buffer {
  const sector = Buffer.alloc(SECTOR);
  const code = [
    ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c], // segments 0, stack below
    ...read, // to 0:8000H
    ...[0x72, 0x08], // jc failed
    ...[0xba, ...word(0x3f8), 0xa0, ...word(0x8000), 0xee, 0x90], // first byte to COM1
    ...[0xb0, 0x2a, 0xe6, 0xf4], // exit
    ...[0xf4, 0xeb, 0xfd],
  ];
  sector.set(code);
  sector.set([0x55, 0xaa], SECTOR - 2);
  return sector;
}

/** By cylinder, head and sector: sector 2. */
const READ_DISK = [0xb8, 0x01, 0x02, 0xb9, 0x02, 0x00, 0xb6, 0x00, 0xbb, ...word(0x8000), 0xcd, 0x13];
/** By the extensions, with a packet at 0:7D00H: block 21. */
const READ_CD = [0xbe, ...word(0x7d00), 0xb4, 0x42, 0xcd, 0x13, 0x90];
const CD_PACKET = [16, 0, ...word(1), ...word(0x8000), ...word(0), 21, 0, 0, 0, 0, 0, 0, 0];

function diskImage(): Buffer {
  const image = Buffer.alloc(4096 * SECTOR);
  image.set(bootSector(READ_DISK));
  // One active partition.
  image.set([0x80, 0, 2, 0, 0x83, 0, 40, 0, 1, 0, 0, 0, 40, 0, 0, 0], 0x1be);
  image[SECTOR] = FROM_DISK;
  return image;
}

/** ISO 9660 volume descriptors with an El Torito boot record, catalog and image: "El Torito Bootable CD-ROM Format Specification". */
function isoImage(): Buffer {
  const image = Buffer.alloc(32 * CD_SECTOR);
  const at = (sector: number): Buffer => image.subarray(sector * CD_SECTOR, (sector + 1) * CD_SECTOR);
  at(16).write("\x01CD001\x01", "latin1");
  at(17).write("\x00CD001\x01EL TORITO SPECIFICATION", "latin1");
  at(17).writeUInt32LE(19, 0x47);
  at(18).write("\xffCD001\x01", "latin1");
  const catalog = at(19);
  catalog.set([1, 0, 0, 0], 0);
  catalog.set([0x55, 0xaa], 30);
  let sum = 0;
  for (let i = 0; i < 32; i += 2) sum += catalog.readUInt16LE(i);
  catalog.writeUInt16LE(-sum & 0xffff, 28);
  // Bootable, no emulation, loaded at 07C0H, one sector, at block 20.
  catalog.set([0x88, 0, ...word(0x7c0), 0, 0, ...word(1), 20, 0, 0, 0], 32);
  at(20).set(bootSector(READ_CD));
  at(20).set(CD_PACKET, 0x100);
  at(21)[0] = FROM_CD;
  return image;
}

const workspace = new Workspace();
afterAll(() => workspace.remove());
const disk = (bytes: Buffer, name = "disk.img"): DriveOptions => ({
  file: workspace.file(name, bytes),
  interface: "ide",
  snapshot: true,
});
const cdrom = (bytes: Buffer, name = "boot.iso"): DriveOptions => ({
  file: workspace.file(name, bytes),
  interface: "ide",
  media: "cdrom",
  index: 2,
});

function start(
  options: MachineOptions,
  instructions: number,
): { machine: Machine; end: string; sent: string } {
  let sent = "";
  const machine = new Machine({
    bios: BIOS,
    memory: 32,
    ...options,
    onSerial: (byte) => void (sent += String.fromCharCode(byte)),
  });
  const { end, code } = machine.run({ untilInstruction: instructions });
  return { machine, end: end === "debug-exit" ? `exit ${code}` : end, sent };
}

describe.skipIf(!isInstalled).each(["metal", "vm"] as const)("%s", (mode) => {
  test("POST, with its words on the screen", () => {
    const { machine } = start({ mode }, 30_000_000);
    expect(machine.screen!.text!.join("\n")).toMatch(/^SeaBIOS .*\n(.*\n)*No bootable device\.\n/);
    expect(machine.damagedRedZones()).toEqual([]);
    machine.close();
  });
  test("`exitless screen` prints it once where stdout is no terminal, without anything that steers one", async () => {
    const words = ["-bios", BIOS, "-m", "32", "--mode", mode, "--until", "No bootable device."];
    const { status, stdout, stderr } = await exitless(["screen", ...words]);
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^SeaBIOS .*\n(.*\n)*No bootable device\.\n\n*$/);
    expect(stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });
  test("without a VGA the serial port is its screen", () => {
    const { machine, sent } = start({ mode, vga: "none", smp: 2 }, 30_000_000);
    expect(sent).toContain("No bootable device.");
    expect(machine.screen).toBeUndefined();
    machine.close();
  });
  test("boots from a disk, and INT 13H reads it", () => {
    const { machine, end, sent } = start({ mode, drives: [disk(diskImage())] }, 40_000_000);
    expect([end, sent]).toEqual(["exit 42", String.fromCharCode(FROM_DISK)]);
    machine.close();
  });
  test("boots from a CD-ROM by El Torito; the boot order decides", () => {
    const drives = [disk(diskImage()), cdrom(isoImage())];
    const first = start({ mode, drives, bootOrder: "dc" }, 40_000_000);
    expect([first.end, first.sent]).toEqual(["exit 42", String.fromCharCode(FROM_CD)]);
    first.machine.close();
    const second = start({ mode, drives, bootOrder: "cd" }, 40_000_000);
    expect([second.end, second.sent]).toEqual(["exit 42", String.fromCharCode(FROM_DISK)]);
    second.machine.close();
  });
  test("the boot menu takes a key", () => {
    const drives = [disk(diskImage()), cdrom(isoImage())];
    const { machine } = start({ mode, drives, bootMenu: true }, 0);
    const shown = (): string => machine.screen!.text?.join("\n") ?? "";
    const waitFor = (text: string): void => {
      for (let slice = 0; slice < 1000 && !shown().includes(text); slice++)
        machine.run({ untilCycle: machine.cycles + 10_000_000 });
      expect(shown()).toContain(text);
    };
    waitFor("Press ESC for boot menu");
    machine.type("<esc>");
    waitFor("2. ");
    machine.type("2");
    expect(machine.run()).toEqual({ end: "debug-exit", code: 42 });
    expect(shown()).toContain("Booting from DVD/CD...");
    machine.close();
  });
});

test.skipIf(!isInstalled)("two runs are the same", () => {
  const once = (): string => {
    const { machine } = start({ mode: "vm", drives: [cdrom(isoImage())] }, 8_000_000);
    const hash = machine.hash();
    machine.close();
    return hash;
  };
  expect(once()).toBe(once());
});

test.skipIf(!isInstalled)("wall clock: boots from a disk", async () => {
  for (const mode of ["metal", "vm"] as const) {
    const machine = new ParallelMachine({ bios: BIOS, memory: 32, mode, drives: [disk(diskImage())] });
    expect(await machine.run()).toEqual({ end: "debug-exit", code: 42 });
    await machine.close();
  }
});

describe.skipIf(!isInstalled)("broken images: what comes of them is the guest's affair", () => {
  let seed = 20261128;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const mutate = (bytes: Buffer, from: number, length: number, changes: number): Buffer => {
    const mutated = Buffer.from(bytes);
    for (let i = 0; i < changes; i++) mutated[from + random(length)] = random(256);
    return mutated;
  };
  const outlives = (options: MachineOptions): void => {
    const { machine, end } = start({ mode: random(2) === 0 ? "metal" : "vm", ...options }, 12_000_000);
    expect(end).toMatch(/^(paused|idle|reset|triple-fault|power-off|exit \d+)$/);
    expect(machine.damagedRedZones()).toEqual([]);
    machine.close();
  };
  test("volume descriptors and boot catalog", () => {
    for (let i = 0; i < MUTATIONS; i++)
      outlives({ drives: [cdrom(mutate(isoImage(), 16 * CD_SECTOR, 5 * CD_SECTOR, 1 << random(9)))] });
  });
  test("boot record and partition table", () => {
    for (let i = 0; i < MUTATIONS; i++)
      outlives({ drives: [disk(mutate(diskImage(), i % 2 ? 0x1be : 0, i % 2 ? 64 : 510, 1 << random(7)))] });
  });
  test("option ROM", () => {
    const rom = readFileSync(VGA_BIOS);
    for (let i = 0; i < MUTATIONS; i++)
      outlives({ vgaBios: workspace.file("vga.bin", mutate(rom, 0, rom.length, 1 << random(12))) });
  });
  test("BIOS image", () => {
    const rom = readFileSync(BIOS);
    for (let i = 0; i < MUTATIONS; i++)
      outlives({
        bios: { path: BIOS, name: "bios", bytes: mutate(rom, 0x20000, 0x1fff0, 1 << random(12)) },
      });
  });
});

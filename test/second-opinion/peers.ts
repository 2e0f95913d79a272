/** Runs a program on other machines: QEMU (TCG) and Bochs. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseVerdict, type Verdict } from "./verdict.ts";

export interface Peer {
  readonly name: string;
  /** As the program says it; undefined when it is not installed. */
  version(): string | undefined;
  run(image: string): Verdict;
}

const TIMEOUT = 60_000;

function firstMatch(command: string, args: readonly string[], pattern: RegExp): string | undefined {
  const { stdout, stderr } = spawnSync(command, args, { encoding: "utf8", input: "" });
  return pattern.exec(`${stdout}${stderr}`)?.[1];
}

const QEMU = "qemu-system-x86_64";

export const qemu: Peer = {
  name: "QEMU",
  version: () => firstMatch(QEMU, ["--version"], /version (\S+)/),
  run(image) {
    const args = [
      ...["-M", "pc", "-accel", "tcg", "-cpu", "max,vendor=GenuineIntel", "-m", "32", "-net", "none"],
      ...["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"],
      ...["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", image],
    ];
    const { stdout, status } = spawnSync(QEMU, args, {
      encoding: "latin1",
      input: "",
      timeout: TIMEOUT,
      stdio: ["pipe", "pipe", "ignore"],
    });
    return parseVerdict(stdout, status === 0);
  },
};

const SECTOR = 512;
/** Where the boot sector wants the number of the file's sectors. */
const SECTORS_AT = 0x1fc;
/** 20 cylinders of 16 heads and 63 sectors. */
const CYLINDERS = 20;
const DISK_BYTES = CYLINDERS * 16 * 63 * SECTOR;

/** Bochs has no multiboot loader: a disk with our boot sector and the image behind it. */
function makeDisk(file: string): Buffer {
  const disk = Buffer.alloc(DISK_BYTES);
  readFileSync("guest-images/images/disk-boot.bin").copy(disk);
  const image = readFileSync(file);
  image.copy(disk, SECTOR);
  disk.writeUInt16LE(Math.ceil(image.length / SECTOR), SECTORS_AT);
  return disk;
}

const bochsrc = (folder: string): string => `
display_library: rfb, options="timeout=0"
megs: 32
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, count=1, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=0
ata0-master: type=disk, path=${folder}/disk.img, mode=flat, cylinders=${CYLINDERS}, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev=${folder}/serial
log: ${folder}/log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
clock: sync=none
`;

export const bochs: Peer = {
  name: "Bochs",
  version: () => firstMatch("bochs", ["--help", "cpu"], /Bochs x86 Emulator (\S+)/),
  run(image) {
    const folder = mkdtempSync(join(tmpdir(), "second-opinion-"));
    try {
      writeFileSync(join(folder, "disk.img"), makeDisk(image));
      writeFileSync(join(folder, "bochsrc"), bochsrc(folder));
      // Debian's Bochs has a debugger, which waits for its first command.
      writeFileSync(join(folder, "commands"), "c\n");
      spawnSync("bochs", ["-q", "-f", join(folder, "bochsrc"), "-rc", join(folder, "commands")], {
        stdio: "ignore",
        timeout: TIMEOUT,
      });
      const read = (name: string): string =>
        existsSync(join(folder, name)) ? readFileSync(join(folder, name), "latin1") : "";
      return parseVerdict(read("serial"), /3rd \(\d+\) exception with no resolution/.test(read("log")));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

export const PEERS: readonly Peer[] = [qemu, bochs];

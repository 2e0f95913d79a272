/** Runs a program on other machines: QEMU (TCG) and Bochs. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HEADS, SECTOR, SECTORS_A_TRACK, prepareBochs } from "../../scripts/bochs.mjs";
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

/** Where the boot sector wants the number of the file's sectors. */
const SECTORS_AT = 0x1fc;
const CYLINDERS = 20;
const DISK_BYTES = CYLINDERS * HEADS * SECTORS_A_TRACK * SECTOR;

/** Bochs has no multiboot loader: a disk with our boot sector and the image behind it. */
function makeDisk(file: string): Buffer {
  const disk = Buffer.alloc(DISK_BYTES);
  readFileSync("guest-images/images/disk-boot.bin").copy(disk);
  const image = readFileSync(file);
  image.copy(disk, SECTOR);
  disk.writeUInt16LE(Math.ceil(image.length / SECTOR), SECTORS_AT);
  return disk;
}

export const bochs: Peer = {
  name: "Bochs",
  version: () => firstMatch("bochs", ["--help", "cpu"], /Bochs x86 Emulator (\S+)/),
  run(image) {
    const folder = mkdtempSync(join(tmpdir(), "second-opinion-"));
    try {
      writeFileSync(join(folder, "disk.img"), makeDisk(image));
      const [command, words] = prepareBochs(folder, {
        model: "corei7_skylake_x",
        mebibytes: 32,
        cylinders: CYLINDERS,
        instructionsPerSecond: 200_000_000,
        ignoresBadMsrs: false,
      });
      spawnSync(command, words, { stdio: "ignore", timeout: TIMEOUT });
      const read = (name: string): string =>
        existsSync(join(folder, name)) ? readFileSync(join(folder, name), "latin1") : "";
      return parseVerdict(read("serial"), /3rd \(\d+\) exception with no resolution/.test(read("log")));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

export const PEERS: readonly Peer[] = [qemu, bochs];

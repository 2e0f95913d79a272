/**
 * A disk image that a BIOS boots: GRUB's boot.img in the master boot record, its core behind it, and one ext2 partition with the
 * files given. Nothing is mounted and no privilege is needed: mke2fs fills the file system.
 *
 *   node scripts/guests/disk-image.mjs --grub FOLDERS --output disk.img [--size MIB] --config grub.cfg [PATH=FILE …]
 *
 * FOLDERS, divided by colons, hold the unpacked packages grub-common (usr/bin/grub-mkimage) and grub-pc-bin (usr/lib/grub/i386-pc). Each
 * PATH=FILE puts a file into the image.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const SECTOR = 512;
const MIB = 1024 * 1024;
/** Where the partition begins: behind a gap in which GRUB's core lies. */
const PARTITION_SECTOR = 2048;
/** Offsets in GRUB's boot.img and diskboot.img, which are part of its published boot protocol (grub/i386/pc/boot.h). */
const BOOT_KERNEL_SECTOR = 0x5c;
const BOOT_DRIVE_CHECK = 0x66;
const BOOT_PARTITIONS = 0x1be;
const DISKBOOT_BLOCK_LIST = SECTOR - 12;
const CORE_SECTOR = 1;
const CORE_SEGMENT = 0x820;
const LINUX_PARTITION = 0x83;

/** Runs a program; throws with what it said when it fails. */
export function run(command, args, options = {}) {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (error) throw new Error(`${command}: ${error.message}; is it installed?`);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}`);
}

/** A file of the unpacked packages in `folders`. */
export function findFile(folders, path) {
  const found = folders.map((folder) => join(folder, path)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${path} is in none of ${folders.join(", ")}`);
  return found;
}

const I386_PC = "usr/lib/grub/i386-pc";

/** GRUB's core for a format of grub-mkimage, which looks for its configuration at `prefix`. */
export function makeCore({ grub, format, prefix, modules, output }) {
  const args = ["-O", format, "-d", findFile(grub, I386_PC), "-p", prefix, "-o", output, ...modules];
  run(findFile(grub, "usr/bin/grub-mkimage"), args);
  return readFileSync(output);
}

export const COMMON_MODULES = [
  "normal",
  "linux",
  "linux16",
  "multiboot",
  "echo",
  "serial",
  "terminal",
  "test",
];
export const SCREEN_MODULES = ["all_video", "gfxterm", "font", "vbe", "vga"];

/** Puts `files` (path in the image → file on the host) and the configuration into a folder. */
export function fillFolder(folder, files, config) {
  for (const [path, file] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(file, join(folder, path));
  }
  mkdirSync(join(folder, "boot/grub"), { recursive: true });
  writeFileSync(join(folder, "boot/grub/grub.cfg"), config);
}

/**
 * @param {{ grub: string[], output: string, sizeMib: number, files: Record<string, string>, config: string,
 *   modules?: string[], fileSystem?: string[] }} options `fileSystem`: words for mke2fs that say which one
 */
export function buildDiskImage(options) {
  const { grub, output, sizeMib, files, config, modules = [], fileSystem = ["-t", "ext2"] } = options;
  const work = mkdtempSync(join(tmpdir(), "exitless-disk-"));
  try {
    const folder = join(work, "root");
    fillFolder(folder, files, config);
    const partitionKib = (sizeMib * MIB - PARTITION_SECTOR * SECTOR) / 1024;
    rmSync(output, { force: true });
    const offset = PARTITION_SECTOR * SECTOR;
    // A fixed UUID and directory hash: equal files give equal images but for their times.
    const extended = `offset=${offset},hash_seed=6f1c9f1e-0a53-4d7b-9d3c-1b3a5c7e9f00,root_owner=0:0`;
    const uuid = "6f1c9f1e-0a53-4d7b-9d3c-1b3a5c7e9f01";
    const search = { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
    run("mke2fs", [
      "-q",
      "-F",
      ...fileSystem,
      "-U",
      uuid,
      "-E",
      extended,
      "-d",
      folder,
      output,
      `${partitionKib}k`,
    ]);
    const core = makeCore({
      grub,
      format: "i386-pc",
      prefix: "(hd0,msdos1)/boot/grub",
      modules: ["biosdisk", "part_msdos", "ext2", ...COMMON_MODULES, ...modules],
      output: join(work, "core.img"),
    });
    installGrub(output, readFileSync(findFile(grub, join(I386_PC, "boot.img"))), core, sizeMib);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What grub-bios-setup does: boot record and core, with the places of each other. */
function installGrub(output, boot, core, sizeMib) {
  const sectors = Math.ceil(core.length / SECTOR);
  if (sectors > PARTITION_SECTOR - CORE_SECTOR)
    throw new Error("GRUB's core does not fit before the partition");
  const record = Buffer.alloc(SECTOR);
  boot.copy(record);
  record.writeBigUInt64LE(BigInt(CORE_SECTOR), BOOT_KERNEL_SECTOR);
  // NOPs for the jump that trusts the BIOS's drive number: what grub-bios-setup does for hard disks.
  record.writeUInt16LE(0x9090, BOOT_DRIVE_CHECK);
  record.fill(0, BOOT_PARTITIONS, SECTOR - 2);
  record[BOOT_PARTITIONS] = 0x80;
  record[BOOT_PARTITIONS + 4] = LINUX_PARTITION;
  record.writeUInt32LE(PARTITION_SECTOR, BOOT_PARTITIONS + 8);
  record.writeUInt32LE((sizeMib * MIB) / SECTOR - PARTITION_SECTOR, BOOT_PARTITIONS + 12);
  const padded = Buffer.alloc(sectors * SECTOR);
  core.copy(padded);
  padded.writeBigUInt64LE(BigInt(CORE_SECTOR + 1), DISKBOOT_BLOCK_LIST);
  padded.writeUInt16LE(sectors - 1, DISKBOOT_BLOCK_LIST + 8);
  padded.writeUInt16LE(CORE_SEGMENT, DISKBOOT_BLOCK_LIST + 10);
  const file = openSync(output, "r+");
  try {
    writeSync(file, record, 0, SECTOR, 0);
    writeSync(file, padded, 0, padded.length, CORE_SECTOR * SECTOR);
    // mke2fs makes the file as long as its file system is: up to the end of the disk.
    const end = Buffer.alloc(SECTOR);
    const last = sizeMib * MIB - SECTOR;
    if (readSync(file, end, 0, SECTOR, last) < SECTOR) writeSync(file, end, 0, SECTOR, last);
  } finally {
    closeSync(file);
  }
}

/** `--name value` options, and PATH=FILE words. */
export function parseWords(words) {
  const options = {};
  const files = {};
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    if (word.startsWith("--")) options[word.slice(2)] = words[++i];
    else files[word.slice(0, word.indexOf("="))] = word.slice(word.indexOf("=") + 1);
  }
  return { options, files };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { options, files } = parseWords(process.argv.slice(2));
  const { grub, output, size = "64", config } = options;
  if (!grub || !output || !config) {
    process.stderr.write(
      "usage: disk-image.mjs --grub FOLDERS --output FILE --config GRUB.CFG [--size MIB] PATH=FILE …\n",
    );
    process.exitCode = 2;
  } else {
    const text = readFileSync(config, "utf8");
    buildDiskImage({ grub: grub.split(":"), output, sizeMib: Number(size), files, config: text });
  }
}

/** Disk images for the `disk` and `reboot` jobs: an MBR with a partition of known contents and one for a file system. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, writeFileSync, writeSync, ftruncateSync } from "node:fs";

const SECTOR = 512;
const MIB = 1 << 20;
const FIRST = { start: 2048, sectors: 8 * 2048, type: 0xda };
const SECOND = { start: FIRST.start + FIRST.sectors, sectors: 24 * 2048, type: 0x83 };
const PARTITION_TABLE = 446;

/** Bytes that differ in every sector and are the same in every run. */
function contents() {
  const bytes = Buffer.alloc(FIRST.sectors * SECTOR);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(Math.imul(at + 1, 0x9e3779b1) >>> 0, at);
  return bytes;
}

export const md5 = (bytes) => createHash("md5").update(bytes).digest("hex");
/** What `md5sum` says of the first partition. */
export const firstPartitionMd5 = md5(contents());

/** Writes a new image of 40 MiB. */
export function writeDisk(path) {
  const file = openSync(path, "w");
  const table = Buffer.alloc(SECTOR);
  [FIRST, SECOND].forEach(({ start, sectors, type }, index) => {
    const at = PARTITION_TABLE + 16 * index;
    table.set([0, 0xfe, 0xff, 0xff, type, 0xfe, 0xff, 0xff], at);
    table.writeUInt32LE(start, at + 8);
    table.writeUInt32LE(sectors, at + 12);
  });
  table.set([0x55, 0xaa], SECTOR - 2);
  writeSync(file, table, 0, SECTOR, 0);
  writeSync(file, contents(), 0, FIRST.sectors * SECTOR, FIRST.start * SECTOR);
  ftruncateSync(file, 40 * MIB);
  closeSync(file);
}

/**
 * Looks at the file system in the second partition with the host's own e2fsck and debugfs.
 * @param {string} scratch a path where the partition may be written
 * @returns {{ clean: boolean, numbers: string, moved: string }} MD5 sums of the two files that the `disk` job wrote
 */
export function examineFileSystem(path, scratch) {
  const bytes = Buffer.alloc(SECOND.sectors * SECTOR);
  const file = openSync(path, "r");
  readSync(file, bytes, 0, bytes.length, SECOND.start * SECTOR);
  closeSync(file);
  writeFileSync(scratch, bytes);
  const search = { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
  const check = spawnSync("e2fsck", ["-fn", scratch], search);
  if (check.error) throw new Error(`e2fsck: ${check.error.message}; install e2fsprogs`);
  const read = (name) =>
    spawnSync("debugfs", ["-R", `cat ${name}`, scratch], { ...search, maxBuffer: 64 * MIB }).stdout;
  return { clean: check.status === 0, numbers: md5(read("/numbers")), moved: md5(read("/folder/moved")) };
}

/** MD5 of what `seq 1 60000` prints. */
export const numbersMd5 = md5(
  Buffer.from(Array.from({ length: 60000 }, (_, index) => `${index + 1}\n`).join("")),
);

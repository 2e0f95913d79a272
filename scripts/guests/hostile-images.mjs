/** Images to be damaged: a disk and a disc with GRUB and a program of ours, where their parts are, and damage that fits them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildDiskImage } from "./disk-image.mjs";
import { buildIsoImage } from "./iso-image.mjs";
import { Region, damage, strangePartitions, usedSectors } from "./mutations.mjs";

export const SECTOR = 512;
export const CD_SECTOR = 2048;
const PARTITION = 2048 * SECTOR;
const DISK_MEBIBYTES = 16;

export const PAYLOAD_TEXT = "payload: here";
const PAYLOAD_CODE = [
  ...[0xbe, 0, 0, 0, 0], // mov esi, text
  ...[0x66, 0xba, 0xf8, 0x03], // mov dx, COM1
  ...[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // next: lodsb; test al, al; jz done; out dx, al; jmp next
  ...[0xb0, 0x2a, 0xe6, 0xf4], // done: mov al, 42; out 0f4h, al
  ...[0xf4, 0xeb, 0xfd], // hlt; and again
];
export const PAYLOAD_EXIT = "exit 42";

/** A multiboot image that sends a line and leaves; padded with a pattern, so that a loader reads several blocks. */
function payloadImage() {
  const BASE = 0x100000;
  const HEADER_BYTES = 32;
  const text = Buffer.from(`${PAYLOAD_TEXT}\r\n\0`);
  const image = Buffer.alloc(24 * 1024, 0x5a);
  const header = [0x1badb002, 0x10000, -(0x1badb002 + 0x10000), BASE, BASE, 0, 0, BASE + HEADER_BYTES];
  header.forEach((word, index) => image.writeUInt32LE(word >>> 0, 4 * index));
  image.set(PAYLOAD_CODE, HEADER_BYTES);
  image.writeUInt32LE(BASE + HEADER_BYTES + PAYLOAD_CODE.length, HEADER_BYTES + 1);
  text.copy(image, HEADER_BYTES + PAYLOAD_CODE.length);
  return image;
}

const GRUB_CONFIG = `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
menuentry payload {
  multiboot /boot/payload
}
`;

/**
 * A disk with GRUB, the payload and so many more files in an ext4 file system whose metadata have no checksums, so that damage is found
 * late.
 */
export function bootDisk({ grub, scratch }, fillers) {
  const output = join(scratch, "boot.img");
  const file = (name, bytes) => {
    writeFileSync(join(scratch, name), bytes);
    return join(scratch, name);
  };
  const files = { "boot/payload": file("payload", payloadImage()) };
  for (let index = 0; index < fillers; index++)
    files[`files/${index % 4}/${index}`] = file(`file${index}`, Buffer.alloc(index * 700, `${index} `));
  buildDiskImage({
    grub,
    output,
    sizeMib: DISK_MEBIBYTES,
    files,
    config: GRUB_CONFIG,
    // ext3, with what of ext4 GRUB knows.
    fileSystem: ["-t", "ext3", "-O", "extent,flex_bg,uninit_bg,dir_nlink,extra_isize"],
  });
  return readFileSync(output);
}

/** Where the parts of that disk are. */
export function diskRegions(image) {
  const used = usedSectors(image, PARTITION, image.length);
  // The payload's padding, and the fillers' numbers and blanks.
  const isContents = ({ at }) => /^(Z{16}|[\d ]{16})/.test(image.toString("latin1", at, at + SECTOR));
  return {
    record: new Region("boot record", [{ at: 0, length: 446 }]),
    table: new Region("partition table", [{ at: 446, length: 66 }]),
    core: new Region("GRUB's core", usedSectors(image, SECTOR, PARTITION)),
    super: new Region("superblock and group descriptors", [{ at: PARTITION + 1024, length: 2048 }]),
    metadata: new Region(
      "file system",
      used.filter((piece) => !isContents(piece)),
    ),
    contents: new Region("files", used.filter(isContents)),
    all: new Region("disk", [{ at: 0, length: image.length }]),
  };
}

export const FIELD_KINDS = ["bits", "bytes", "extreme"];

export const damagedTable = (random, bytes, { table }) =>
  random.below(2) ? strangePartitions(random, bytes) : damage(random, bytes, table, FIELD_KINDS);

/** An image cut short, to whole units. */
export function cut(random, bytes, unit = 1, limit = bytes.length) {
  const length = unit * random.below(limit / unit);
  return { text: `cut to ${length} bytes`, patches: [], length };
}

/** Damage to the file system, where it matters most. */
export const damagedFiles = (random, bytes, { super: head, metadata, contents }) =>
  damage(random, bytes, random.pick([head, head, metadata, metadata, metadata, contents]));

/** A CD-ROM with GRUB and the payload. */
export function bootDisc({ grub, scratch }) {
  const output = join(scratch, "boot.iso");
  writeFileSync(join(scratch, "payload"), payloadImage());
  const files = { "boot/payload": join(scratch, "payload") };
  buildIsoImage({ grub, output, files, config: GRUB_CONFIG });
  const bytes = readFileSync(output);
  const rest = new Region("disc", usedSectors(bytes, 20 * CD_SECTOR, bytes.length));
  const regions = {
    descriptors: new Region("volume descriptors", [{ at: 16 * CD_SECTOR, length: 4 * CD_SECTOR }]),
    head: new Region("catalog and directories", rest.pieces.slice(0, 40)),
    rest,
  };
  return { bytes, regions };
}

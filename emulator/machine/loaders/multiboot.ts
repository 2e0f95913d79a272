/**
 * Multiboot 1: "Multiboot Specification version 0.6.96".
 *
 * Loads ELF images (32 and 64 bits; entered in 32-bit mode either way) and images that carry load addresses in the header
 * (the a.out kludge). Hands over memory sizes, the memory map, the command line with the image's name as its first
 * word, modules and the boot loader's name.
 *
 * Not provided: video modes (there is no display; a wish for one is noted), symbol tables, drives, APM.
 */
import { conventionalKib, extendedKib } from "../firmware/e820.ts";
import { FOUR_GIB } from "../firmware/memory-ranges.ts";
import type { MemoryRange } from "../firmware/memory-ranges.ts";
import type { ImageFile } from "../read-image.ts";
import { TableWriter } from "../table-writer.ts";
import { BootMemory, placeElfSegments } from "./boot-memory.ts";
import { zeroTerminated } from "./boot-image.ts";
import type { BootImage, BootRequest } from "./boot-image.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { hex } from "./image-error.ts";
import {
  BOOT_LOADER_NAME,
  checkedEntry,
  enteredImage,
  flatImage,
  placeModule,
  withName,
} from "./multiboot-common.ts";
import { ImageReader } from "./reader.ts";

const HEADER_MAGIC = 0x1badb002;
const LOADER_MAGIC = 0x2badb002;
/** "contained completely within the first 8192 bytes of the OS image" */
const SEARCH_BYTES = 8192;

const FLAG_PAGE_ALIGN = 1 << 0;
const FLAG_MEMORY_INFO = 1 << 1;
const FLAG_VIDEO_MODE = 1 << 2;
const FLAGS_REQUIREMENTS = 0xffff;
const FLAG_ADDRESSES = 1 << 16;

/** Bits of the information structure's flags. */
const INFO_MEMORY = 1 << 0;
const INFO_COMMAND_LINE = 1 << 2;
const INFO_MODULES = 1 << 3;
const INFO_MEMORY_MAP = 1 << 6;
const INFO_BOOT_LOADER_NAME = 1 << 9;
/** Up to and with the APM table's address; later fields are video. */
const INFO_BYTES = 88;
const MODULE_BYTES = 16;
const MAP_ENTRY_BYTES = 24;

interface MultibootHeader {
  /** Offset of the header in the file. */
  readonly offset: number;
  readonly flags: number;
}

/** Finds the header: magic, flags and a checksum that makes their sum 0, 4-byte aligned, in the first 8192 bytes. */
export function findMultibootHeader(file: ImageFile): MultibootHeader | undefined {
  const view = new DataView(
    file.bytes.buffer,
    file.bytes.byteOffset,
    Math.min(file.bytes.length, SEARCH_BYTES),
  );
  for (let offset = 0; offset + 12 <= view.byteLength; offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    if ((HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) % FOUR_GIB === 0) return { offset, flags };
  }
  return undefined;
}

/**
 * Lays out a multiboot boot.
 * @throws ImageError when the image is not a well-formed multiboot image or does not fit in RAM
 */
export function loadMultiboot(request: BootRequest): BootImage {
  const { kernel, ram } = request;
  const reader = new ImageReader(kernel);
  const header = findMultibootHeader(kernel);
  if (!header)
    throw reader.error(
      "multiboot header",
      "first 8192 bytes",
      "there is no header with a right checksum",
      "name a multiboot 1 image, or choose another protocol",
    );
  const unknown = header.flags & FLAGS_REQUIREMENTS & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY_INFO | FLAG_VIDEO_MODE);
  if (unknown !== 0)
    throw reader.error(
      "multiboot header",
      `offset ${hex(header.offset + 4)}`,
      `it requires features unknown to the specification (flags ${hex(unknown)})`,
      "the file is damaged",
    );

  const memory = new BootMemory(ram);
  const entry =
    header.flags & FLAG_ADDRESSES ? placeByAddresses(reader, memory, header) : placeElf(kernel, memory);
  const endOfImage = memory.topOfUse;

  const info = new TableWriter(INFO_BYTES);
  const string = (what: string, text: string): number =>
    memory.placeTable(kernel, what, zeroTerminated(text), 1);
  info.u32(0, INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_BOOT_LOADER_NAME);
  info.u32(4, conventionalKib(ram)).u32(8, extendedKib(ram));
  info.u32(16, string("command line", withName(kernel, request.commandLine)));
  info.u32(20, request.modules.length);
  info.u32(24, placeModules(request, memory, endOfImage));
  const map = memoryMap(request.memoryMap);
  info.u32(44, map.length).u32(48, memory.placeTable(kernel, "multiboot memory map", map, 8));
  info.u32(64, string("boot loader name", BOOT_LOADER_NAME));
  const infoAt = memory.placeTable(kernel, "multiboot information", info.bytes, 8);
  return enteredImage({
    protocol: "multiboot",
    kernel,
    memory,
    entry,
    magic: LOADER_MAGIC,
    infoAt,
    asksForVideoMode: (header.flags & FLAG_VIDEO_MODE) !== 0,
  });
}

function placeElf(kernel: ImageFile, memory: BootMemory): number {
  const reader = new ImageReader(kernel);
  if (!isElf(kernel))
    throw reader.error(
      "multiboot header",
      "flags bit 16",
      "the image is not ELF and its header gives no load addresses",
      "link it as ELF, or set the address fields",
    );
  const image = parseElf(kernel);
  placeElfSegments(memory, kernel, image);
  return checkedEntry(reader, memory, physicalEntry(image), "ELF header: e_entry");
}

/** "The address fields of Multiboot header": load_addr, load_end_addr, bss_end_addr, entry_addr. */
function placeByAddresses(reader: ImageReader, memory: BootMemory, header: MultibootHeader): number {
  const what = "multiboot header: address fields";
  const where = `offset ${hex(header.offset + 12)}`;
  const field = (offset: number): number => reader.u32(header.offset + offset, what);
  const flat = flatImage(reader, header.offset, {
    headerAddress: field(12),
    loadAddress: field(16),
    loadEnd: field(20),
    bssEnd: field(24),
    what,
    where,
  });
  const entry = field(28);
  memory.place(reader.file, "multiboot image", flat.physical, flat.bytes, flat.size);
  return checkedEntry(reader, memory, BigInt(entry), `${what}: entry_addr`);
}

/** The modules and the list of them. Returns the list's address. */
function placeModules(request: BootRequest, memory: BootMemory, endOfImage: number): number {
  if (request.modules.length === 0) return 0;
  const list = new TableWriter(MODULE_BYTES * request.modules.length);
  request.modules.forEach((module, index) => {
    const { file, start, end, text } = placeModule(module, memory, endOfImage);
    list.u32(MODULE_BYTES * index, start);
    list.u32(MODULE_BYTES * index + 4, end);
    const string = memory.placeTable(file, "module command line", zeroTerminated(text), 1);
    list.u32(MODULE_BYTES * index + 8, string);
  });
  return memory.placeTable(request.kernel, "multiboot module list", list.bytes, 8);
}

/** Entries {size of the rest, base, length, type}; types are those of E820H. */
function memoryMap(ranges: readonly MemoryRange[]): Uint8Array {
  const table = new TableWriter(MAP_ENTRY_BYTES * ranges.length);
  ranges.forEach(({ base, length, type }, index) => {
    const at = MAP_ENTRY_BYTES * index;
    table
      .u32(at, MAP_ENTRY_BYTES - 4)
      .u64(at + 4, base)
      .u64(at + 12, length)
      .u32(at + 20, type);
  });
  return table.bytes;
}

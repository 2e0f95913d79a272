/**
 * PVH: Xen, "x86/HVM direct boot ABI". An ELF image names a 32-bit entry point in a note; the kernel gets a start
 * information structure (version 1) with memory map, modules, command line and RSDP.
 */
import { FOUR_GIB } from "../firmware/memory-ranges.ts";
import type { MemoryRange } from "../firmware/memory-ranges.ts";
import { TableWriter } from "../table-writer.ts";
import { BootMemory, placeElfSegments } from "./boot-memory.ts";
import { zeroTerminated } from "./boot-image.ts";
import type { BootImage, BootRequest } from "./boot-image.ts";
import { parseElf } from "./elf.ts";
import type { ElfImage } from "./elf.ts";
import { FLAT_SELECTORS, RBX, bootGdt, entryState } from "./entry-state.ts";
import { hex } from "./image-error.ts";
import { ImageReader } from "./reader.ts";

/** Xen, public/elfnote.h. */
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const NOTE_OWNER = "Xen";

/** Xen, public/arch-x86/hvm/start_info.h. */
const START_MAGIC = 0x336ec578;
const START_VERSION = 1;
const START_INFO_BYTES = 56;
const MODULE_BYTES = 32;
const MAP_ENTRY_BYTES = 24;

/** The entry point that the image's note gives, or undefined when it has no such note. */
export function pvhEntry(image: ElfImage): bigint | undefined {
  for (const { owner, type, descriptor } of image.notes) {
    if (owner !== NOTE_OWNER || type !== XEN_ELFNOTE_PHYS32_ENTRY) continue;
    const view = new DataView(descriptor.buffer, descriptor.byteOffset, descriptor.byteLength);
    // Linux writes the note with the width of its pointers.
    if (descriptor.length >= 8) return view.getBigUint64(0, true);
    if (descriptor.length >= 4) return BigInt(view.getUint32(0, true));
  }
  return undefined;
}

/**
 * Lays out a PVH boot.
 * @throws ImageError when the image is not ELF with the note, or does not fit in RAM
 */
export function loadPvh(request: BootRequest): BootImage {
  const { kernel, ram } = request;
  const reader = new ImageReader(kernel);
  const image = parseElf(kernel);
  const entry = pvhEntry(image);
  if (entry === undefined)
    throw reader.error(
      "PVH note",
      "ELF notes",
      "there is no XEN_ELFNOTE_PHYS32_ENTRY note",
      "build the kernel with PVH support, or choose another protocol",
    );

  const memory = new BootMemory(ram);
  placeElfSegments(memory, kernel, image);
  const inside = memory.segments.some(({ physical, size }) => entry >= physical && entry < physical + size);
  if (!inside || entry >= BigInt(FOUR_GIB))
    throw reader.error(
      "PVH note",
      `physical ${hex(entry)}`,
      "the entry point is not in what is loaded below 4 GiB",
      "the file is damaged",
    );

  const start = new TableWriter(START_INFO_BYTES);
  start.u32(0, START_MAGIC).u32(4, START_VERSION);
  start.u32(12, request.modules.length);
  start.u64(16, placeModules(request, memory));
  start.u64(24, memory.placeTable(kernel, "command line", zeroTerminated(request.commandLine), 1));
  start.u64(32, request.rsdp);
  start.u64(40, memory.placeTable(kernel, "PVH memory map", memoryMap(request.memoryMap), 8));
  start.u32(48, request.memoryMap.length);
  const startAt = memory.placeTable(kernel, "PVH start information", start.bytes, 8);

  const gdt = bootGdt("protected32", FLAT_SELECTORS);
  const gdtAt = memory.placeTable(kernel, "descriptor table", gdt, 8);
  return {
    protocol: "pvh",
    segments: memory.segments,
    entry: entryState({
      mode: "protected32",
      rip: Number(entry),
      registers: [[RBX, startAt]],
      selectors: FLAT_SELECTORS,
      gdt: { base: gdtAt, limit: gdt.length - 1 },
    }),
    topOfUse: memory.topOfUse,
    notes: [],
  };
}

/** Modules at the top of RAM below 4 GiB, out of the way of what the kernel allocates behind its image. */
function placeModules(request: BootRequest, memory: BootMemory): number {
  if (request.modules.length === 0) return 0;
  const list = new TableWriter(MODULE_BYTES * request.modules.length);
  request.modules.forEach(({ file, commandLine }, index) => {
    const at = MODULE_BYTES * index;
    list.u64(at, memory.placeModuleHigh(file, "module", file.bytes, FOUR_GIB)).u64(at + 8, file.bytes.length);
    if (commandLine !== "")
      list.u64(at + 16, memory.placeTable(file, "module command line", zeroTerminated(commandLine), 1));
  });
  return memory.placeTable(request.kernel, "PVH module list", list.bytes, 8);
}

/** hvm_memmap_table_entry: base, length, type (those of E820H), reserved. */
function memoryMap(ranges: readonly MemoryRange[]): Uint8Array {
  const table = new TableWriter(MAP_ENTRY_BYTES * ranges.length);
  ranges.forEach(({ base, length, type }, index) => {
    const at = MAP_ENTRY_BYTES * index;
    table
      .u64(at, base)
      .u64(at + 8, length)
      .u32(at + 16, type);
  });
  return table.bytes;
}

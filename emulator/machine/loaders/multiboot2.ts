/**
 * Multiboot 2: "Multiboot2 Specification version 2.0".
 *
 * Loads ELF images and images that carry load addresses in their header, relocatable ones where they ask to be; all are entered in 32-bit
 * mode. Hands over memory sizes, the memory map, the command line, modules, the boot loader's name, section headers and the ACPI
 * tables' RSDP.
 *
 * Not provided, because there is none of it without firmware: a BIOS boot device, video modes, APM, SMBIOS, EFI, network information.
 */
import { conventionalKib, extendedKib } from "../firmware/e820.ts";
import { FOUR_GIB } from "../firmware/memory-ranges.ts";
import type { MemoryRange } from "../firmware/memory-ranges.ts";
import { TableWriter, concatenate } from "../table-writer.ts";
import { BootMemory, placeElfSegments } from "./boot-memory.ts";
import { zeroTerminated } from "./boot-image.ts";
import type { BootImage, BootRequest } from "./boot-image.ts";
import { isElf, parseElf, physicalEntry } from "./elf.ts";
import { placeSections } from "./elf-sections.ts";
import type { SectionHeaders } from "./elf-sections.ts";
import { hex } from "./image-error.ts";
import { BOOT_LOADER_NAME, checkedEntry, enteredImage, flatImage, placeModule } from "./multiboot-common.ts";
import type { PlacedModule } from "./multiboot-common.ts";
import { parseMultiboot2Header } from "./multiboot2-header.ts";
import type { Multiboot2Header } from "./multiboot2-header.ts";
import { ImageReader } from "./reader.ts";

const LOADER_MAGIC = 0x36d76289;

/** Information tags. */
const INFO_END = 0;
const INFO_COMMAND_LINE = 1;
const INFO_BOOT_LOADER_NAME = 2;
const INFO_MODULE = 3;
const INFO_BASIC_MEMORY = 4;
const INFO_MEMORY_MAP = 6;
const INFO_ELF_SECTIONS = 9;
const INFO_ACPI_OLD = 14;
const INFO_ACPI_NEW = 15;
const INFO_LOAD_BASE = 21;
const TAG_BYTES = 8;
const FIXED_BYTES = 8;
const ALIGN = 8;
const MAP_ENTRY_BYTES = 24;
/** The RSDP of ACPI 1.0 is the first part of later ones. */
const RSDP_V1_BYTES = 20;

/**
 * Lays out a multiboot 2 boot.
 * @throws ImageError when the image is not a well-formed multiboot 2 image or does not fit in RAM
 */
export function loadMultiboot2(request: BootRequest): BootImage {
  const { kernel, ram } = request;
  const reader = new ImageReader(kernel);
  const header = parseMultiboot2Header(reader);
  const memory = new BootMemory(ram);
  const image = header.addresses ? flatParts(reader, header, header.addresses) : elfParts(reader, header);
  const shift = shiftOf(reader, memory, image, header);
  image.place(memory, shift);
  const entry = checkedEntry(reader, memory, image.entry + BigInt(shift), "multiboot 2 image: entry point");
  if (memory.topOfUse > FOUR_GIB)
    throw reader.error(
      "multiboot 2 image",
      `physical ${hex(image.start + shift)}`,
      "a part of it is loaded above 4 GiB",
      "link it lower",
    );
  const endOfImage = memory.topOfUse;
  const sections = header.addresses ? undefined : placeSections(kernel, memory, endOfImage);
  const modules = request.modules.map((module) => placeModule(module, memory, memory.topOfUse));

  const info = informationStructure([
    tag(INFO_COMMAND_LINE, zeroTerminated(request.commandLine)),
    tag(INFO_BOOT_LOADER_NAME, zeroTerminated(BOOT_LOADER_NAME)),
    ...modules.map(moduleTag),
    tag(INFO_BASIC_MEMORY, new TableWriter(8).u32(0, conventionalKib(ram)).u32(4, extendedKib(ram)).bytes),
    memoryMapTag(request.memoryMap),
    ...(sections ? [sectionsTag(sections)] : []),
    ...rsdpTags(request.rsdpBytes),
    ...(header.placement ? [tag(INFO_LOAD_BASE, new TableWriter(4).u32(0, image.start + shift).bytes)] : []),
  ]);
  const infoAt = memory.placeTable(kernel, "multiboot 2 information", info, ALIGN);
  return enteredImage({
    protocol: "multiboot2",
    kernel,
    memory,
    entry,
    magic: LOADER_MAGIC,
    infoAt,
    asksForVideoMode: header.asksForVideoMode,
  });
}

/** What is to be loaded, as linked: from `start` to `end`, entered at `entry`. */
interface ImageParts {
  readonly start: number;
  readonly end: number;
  readonly entry: bigint;
  /** Puts it there, moved by `shift`. */
  place(memory: BootMemory, shift: number): void;
}

function flatParts(
  reader: ImageReader,
  header: Multiboot2Header,
  addresses: NonNullable<Multiboot2Header["addresses"]>,
): ImageParts {
  const what = "multiboot 2 header: address tag";
  if (header.entry === undefined)
    throw reader.error(
      what,
      addresses.where,
      "there is no entry address tag beside it",
      "build the image again with one",
    );
  const { physical, bytes, size } = flatImage(reader, header.offset, { ...addresses, what });
  return {
    start: physical,
    end: physical + size,
    entry: BigInt(header.entry),
    place: (memory, shift) => {
      memory.place(reader.file, "multiboot 2 image", physical + shift, bytes, size);
    },
  };
}

function elfParts(reader: ImageReader, header: Multiboot2Header): ImageParts {
  const { file } = reader;
  if (!isElf(file))
    throw reader.error(
      "multiboot 2 header",
      `offset ${hex(header.offset)}`,
      "the image is not ELF and its header has no address tag",
      "link it as ELF, or add the tag",
    );
  const image = parseElf(file);
  return {
    start: Math.min(...image.segments.map(({ physical }) => physical)),
    end: Math.max(...image.segments.map(({ physical, memoryBytes }) => physical + memoryBytes)),
    entry: header.entry === undefined ? physicalEntry(image) : BigInt(header.entry),
    place: (memory, shift) => {
      const segments = image.segments.map((each) => ({ ...each, physical: each.physical + shift }));
      placeElfSegments(memory, file, { ...image, segments });
    },
  };
}

/** By how much a relocatable image is moved: as it prefers, or not at all where it is content with the place it is linked at. */
function shiftOf(
  reader: ImageReader,
  memory: BootMemory,
  { start, end }: ImageParts,
  { placement }: Multiboot2Header,
): number {
  if (!placement) return 0;
  const { lowest, highest, align, preference, where } = placement;
  const size = end - start;
  const top = highest + 1;
  const free = (which: "lowest" | "highest", from: number, to: number): number | undefined =>
    memory.freePlace(which, from, to, size, align);
  const linked = start >= lowest && end <= top ? free("lowest", start, end) : undefined;
  const at =
    preference === "none" && linked !== undefined
      ? linked
      : free(preference === "highest" ? "highest" : "lowest", lowest, top);
  if (at === undefined)
    throw reader.error(
      "multiboot 2 header: relocatable tag",
      where,
      `no ${hex(size)} bytes of RAM are free from ${hex(lowest)} to ${hex(highest)}`,
      "give the machine more memory: -m",
    );
  return at - start;
}

// --- the information structure

/** A tag with its padding. */
function tag(type: number, contents: Uint8Array): Uint8Array {
  const size = TAG_BYTES + contents.length;
  return new TableWriter(Math.ceil(size / ALIGN) * ALIGN).u32(0, type).u32(4, size).put(TAG_BYTES, contents)
    .bytes;
}

function informationStructure(tags: readonly Uint8Array[]): Uint8Array {
  const parts = [...tags, tag(INFO_END, new Uint8Array(0))];
  const total = parts.reduce((sum, { length }) => sum + length, FIXED_BYTES);
  return concatenate([new TableWriter(FIXED_BYTES).u32(0, total).bytes, ...parts]);
}

function moduleTag({ start, end, text }: PlacedModule): Uint8Array {
  const string = zeroTerminated(text);
  return tag(INFO_MODULE, new TableWriter(8 + string.length).u32(0, start).u32(4, end).put(8, string).bytes);
}

/** Entries {base, length, type, 0}, version 0; types are those of E820H. */
function memoryMapTag(ranges: readonly MemoryRange[]): Uint8Array {
  const table = new TableWriter(8 + MAP_ENTRY_BYTES * ranges.length).u32(0, MAP_ENTRY_BYTES);
  ranges.forEach(({ base, length, type }, index) => {
    const at = 8 + MAP_ENTRY_BYTES * index;
    table
      .u64(at, base)
      .u64(at + 8, length)
      .u32(at + 16, type);
  });
  return tag(INFO_MEMORY_MAP, table.bytes);
}

/** Three 32-bit fields, as the specification's multiboot2.h has them and every kernel reads them; its text shows 16-bit ones. */
function sectionsTag({ count, entryBytes, names, bytes }: SectionHeaders): Uint8Array {
  const table = new TableWriter(12 + bytes.length).u32(0, count).u32(4, entryBytes).u32(8, names);
  return tag(INFO_ELF_SECTIONS, table.put(12, bytes).bytes);
}

function rsdpTags(rsdp: Uint8Array | undefined): Uint8Array[] {
  if (rsdp === undefined) return [];
  return [tag(INFO_ACPI_OLD, rsdp.subarray(0, RSDP_V1_BYTES)), tag(INFO_ACPI_NEW, rsdp)];
}

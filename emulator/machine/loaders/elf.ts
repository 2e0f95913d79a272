/**
 * ELF executables for x86, 32 and 64 bits: program headers and notes, all that a boot loader needs.
 *
 * "Tool Interface Standard (TIS) Executable and Linking Format (ELF) Specification, version 1.2" and "ELF-64 Object File
 * Format, version 1.5". The file is untrusted: every offset, count and size is checked against its length, and nothing
 * is allocated by a size that the file states.
 */
import type { ImageFile } from "../read-image.ts";
import { hex } from "./image-error.ts";
import { ImageReader } from "./reader.ts";

const ELF_MAGIC = 0x464c457f;
const EI_CLASS = 4;
const EI_DATA = 5;
const EI_VERSION = 6;
const ELFCLASS32 = 1;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const EV_CURRENT = 1;
const ET_EXEC = 2;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** e_phnum when the count is kept elsewhere; no bootable image has so many. */
const PN_XNUM = 0xffff;

const EHDR_BYTES = { 32: 52, 64: 64 } as const;
const PHDR_BYTES = { 32: 32, 64: 56 } as const;
const NOTE_HEADER_BYTES = 12;
/** A note segment holds a few short notes; more is a damaged file, and the walk stays short. */
const MAX_NOTES = 4096;

/** Physical addresses are numbers below this. */
const ADDRESS_LIMIT = 2n ** 52n;

/** A part of the program that is loaded. `memoryBytes` ≥ `bytes.length`; what lies beyond `bytes` is zero. */
export interface ElfSegment {
  readonly index: number;
  readonly physical: number;
  readonly virtual: bigint;
  /** A view of the file, not a copy. */
  readonly bytes: Uint8Array;
  readonly memoryBytes: number;
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly descriptor: Uint8Array;
}

export interface ElfImage {
  readonly width: 32 | 64;
  /** e_entry: a virtual address. */
  readonly entry: bigint;
  /** Loaded segments with memory, in file order; at least one, none overlapping another in physical memory. */
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
}

/** Does the file begin as an ELF file? */
export function isElf(file: ImageFile): boolean {
  return file.bytes.length >= 4 && new ImageReader(file).u32(0, "ELF magic") === ELF_MAGIC;
}

/**
 * Parses an ELF executable.
 * @throws ImageError for anything but a well-formed executable for IA-32 or Intel 64
 */
export function parseElf(file: ImageFile): ElfImage {
  const reader = new ImageReader(file);
  const width = checkIdentification(reader);
  checkHeader(reader, width);
  const wide = width === 64;
  const what = "ELF header";
  const entry = wide ? reader.u64(24, what) : BigInt(reader.u32(24, what));
  const headersAt = fileOffset(
    reader,
    wide ? reader.u64(32, what) : BigInt(reader.u32(28, what)),
    what,
    "e_phoff",
  );
  const entryBytes = reader.u16(wide ? 54 : 42, what);
  const count = reader.u16(wide ? 56 : 44, what);
  const where = `offset ${hex(wide ? 54 : 42)}`;
  if (count === 0 || count === PN_XNUM)
    throw reader.error(what, where, `e_phnum is ${count}`, "an executable with program headers is needed");
  if (entryBytes !== PHDR_BYTES[width])
    throw reader.error(
      what,
      where,
      `e_phentsize is ${entryBytes}, not ${PHDR_BYTES[width]}`,
      "the file is damaged",
    );
  reader.require(headersAt, count * entryBytes, "ELF program headers");

  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let index = 0; index < count; index++) {
    const header = readProgramHeader(reader, width, headersAt + index * entryBytes, index);
    if (header.type === PT_LOAD) {
      const segment = loadedSegment(reader, header, index);
      if (segment.memoryBytes > 0) segments.push(segment);
    } else if (header.type === PT_NOTE) notes.push(...readNotes(reader, header, MAX_NOTES - notes.length));
  }
  if (segments.length === 0)
    throw reader.error(
      "ELF program headers",
      `offset ${hex(headersAt)}`,
      "nothing is to be loaded (no PT_LOAD)",
      "name an executable, not an object file",
    );
  checkOverlap(reader, segments);
  return { width, entry, segments, notes };
}

function checkIdentification(reader: ImageReader): 32 | 64 {
  const what = "ELF identification";
  if (reader.u32(0, what) !== ELF_MAGIC)
    throw reader.error(what, "offset 0H", "it does not begin with 7FH 'ELF'", "name an ELF file");
  const fileClass = reader.u8(EI_CLASS, what);
  if (fileClass !== ELFCLASS32 && fileClass !== ELFCLASS64)
    throw reader.error(
      what,
      "offset 4H",
      `class ${fileClass} is neither 32 nor 64 bits`,
      "the file is damaged",
    );
  if (reader.u8(EI_DATA, what) !== ELFDATA2LSB)
    throw reader.error(what, "offset 5H", "it is not little-endian", "name an image built for x86");
  if (reader.u8(EI_VERSION, what) !== EV_CURRENT)
    throw reader.error(what, "offset 6H", "its version is not 1", "the file is damaged");
  const width = fileClass === ELFCLASS64 ? 64 : 32;
  reader.require(0, EHDR_BYTES[width], "ELF header");
  return width;
}

function checkHeader(reader: ImageReader, width: 32 | 64): void {
  const what = "ELF header";
  const type = reader.u16(16, what);
  if (type !== ET_EXEC)
    throw reader.error(
      what,
      "offset 10H",
      `e_type ${type} is not an executable at fixed addresses (2)`,
      "link it statically, without -pie",
    );
  const machine = reader.u16(18, what);
  if (machine !== EM_386 && machine !== EM_X86_64)
    throw reader.error(
      what,
      "offset 12H",
      `e_machine ${machine} is neither IA-32 (3) nor x86-64 (62)`,
      "name an image built for x86",
    );
  if (width === 64 && machine === EM_386)
    throw reader.error(what, "offset 12H", "a 64-bit file for a 32-bit machine", "the file is damaged");
  if (reader.u32(20, what) !== EV_CURRENT)
    throw reader.error(what, "offset 14H", "e_version is not 1", "the file is damaged");
}

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly align: bigint;
  readonly what: string;
  readonly where: string;
}

function readProgramHeader(reader: ImageReader, width: 32 | 64, at: number, index: number): ProgramHeader {
  const what = `ELF program header ${index}`;
  const where = `offset ${hex(at)}`;
  const word = (offset32: number, offset64: number): bigint =>
    width === 64 ? reader.u64(at + offset64, what) : BigInt(reader.u32(at + offset32, what));
  const type = reader.u32(at, what);
  const bounded = (value: bigint, name: string): number => {
    if (value < ADDRESS_LIMIT) return Number(value);
    // Other kinds of header are not used, whatever they say.
    if (type !== PT_LOAD && type !== PT_NOTE) return 0;
    throw reader.error(what, where, `${name} ${hex(value)} is beyond 52 bits`, "the file is damaged");
  };
  return {
    type,
    offset: bounded(word(4, 8), "p_offset"),
    virtual: word(8, 16),
    physical: bounded(word(12, 24), "p_paddr"),
    fileBytes: bounded(word(16, 32), "p_filesz"),
    memoryBytes: bounded(word(20, 40), "p_memsz"),
    align: word(28, 48),
    what,
    where,
  };
}

function loadedSegment(reader: ImageReader, header: ProgramHeader, index: number): ElfSegment {
  const { offset, virtual, physical, fileBytes, memoryBytes, what, where } = header;
  if (fileBytes > memoryBytes)
    throw reader.error(
      what,
      where,
      `p_filesz ${hex(fileBytes)} exceeds p_memsz ${hex(memoryBytes)}`,
      "the file is damaged",
    );
  const bytes = fileBytes === 0 ? new Uint8Array(0) : reader.bytes(offset, fileBytes, `${what}: contents`);
  if (physical + memoryBytes > Number(ADDRESS_LIMIT))
    throw reader.error(what, where, `it ends beyond 52 bits of physical address`, "the file is damaged");
  return { index, physical, virtual, bytes, memoryBytes };
}

/** Segments that share memory would depend on the order of loading, which the format does not fix. */
function checkOverlap(reader: ImageReader, segments: readonly ElfSegment[]): void {
  const sorted = [...segments].sort((a, b) => a.physical - b.physical);
  for (let i = 1; i < sorted.length; i++) {
    const [before, after] = [sorted[i - 1]!, sorted[i]!];
    if (before.physical + before.memoryBytes > after.physical)
      throw reader.error(
        `ELF program header ${after.index}`,
        `physical ${hex(after.physical)}`,
        `it overlaps program header ${before.index}, which ends at ${hex(before.physical + before.memoryBytes)}`,
        "link the image so that its segments are apart",
      );
  }
}

/**
 * "Note Section": name size, descriptor size, type, then name and descriptor, each padded to 4 bytes, or to 8 in a
 * segment aligned so.
 */
function readNotes(reader: ImageReader, header: ProgramHeader, limit: number): ElfNote[] {
  const what = `${header.what}: notes`;
  const contents = reader.bytes(header.offset, header.fileBytes, what);
  const pad = header.align === 8n ? 8 : 4;
  const padded = (length: number): number => Math.ceil(length / pad) * pad;
  const view = new DataView(contents.buffer, contents.byteOffset, contents.byteLength);
  const notes: ElfNote[] = [];
  let at = 0;
  while (contents.length - at >= NOTE_HEADER_BYTES) {
    const nameBytes = view.getUint32(at, true);
    const descriptorBytes = view.getUint32(at + 4, true);
    const nameAt = at + NOTE_HEADER_BYTES;
    const descriptorAt = at + padded(NOTE_HEADER_BYTES + nameBytes);
    if (nameAt + nameBytes > contents.length || descriptorAt + descriptorBytes > contents.length)
      throw reader.error(
        what,
        `offset ${hex(header.offset + at)}`,
        `a note of ${hex(nameBytes)} + ${hex(descriptorBytes)} bytes reaches beyond its segment`,
        "the file is damaged",
      );
    if (notes.length >= limit)
      throw reader.error(
        what,
        `offset ${hex(header.offset + at)}`,
        `there are more than ${MAX_NOTES} notes`,
        "the file is damaged",
      );
    notes.push({
      owner: String.fromCharCode(...contents.subarray(nameAt, nameAt + Math.min(nameBytes, 64))).replace(
        /\0.*$/s,
        "",
      ),
      type: view.getUint32(at + 8, true),
      descriptor: contents.subarray(descriptorAt, descriptorAt + descriptorBytes),
    });
    at = descriptorAt + padded(descriptorBytes);
  }
  return notes;
}

function fileOffset(reader: ImageReader, value: bigint, what: string, name: string): number {
  if (value >= ADDRESS_LIMIT)
    throw reader.error(what, name, `${hex(value)} is beyond the file`, "the file is damaged");
  return Number(value);
}

/** Physical address of e_entry: where the segment that holds it is loaded, or e_entry itself when none does. */
export function physicalEntry(image: ElfImage): bigint {
  for (const { virtual, physical, memoryBytes } of image.segments)
    if (image.entry >= virtual && image.entry < virtual + BigInt(memoryBytes))
      return image.entry - virtual + BigInt(physical);
  return image.entry;
}

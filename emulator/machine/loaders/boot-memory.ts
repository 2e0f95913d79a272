/** Where an image's parts go in RAM: keeps them in RAM, apart from each other and from what firmware owns. */
import { EBDA, FOUR_GIB, MIB } from "../firmware/memory-ranges.ts";
import type { RamSize } from "../firmware/memory-ranges.ts";
import type { ImageFile } from "../read-image.ts";
import type { ElfImage } from "./elf.ts";
import { ImageError, hex, hexRange } from "./image-error.ts";

/** Bytes for RAM. `size` ≥ `bytes.length`; RAM from `bytes.length` to `size` must be zero at entry. */
export interface BootSegment {
  readonly physical: number;
  readonly bytes: Uint8Array;
  readonly size: number;
}

/** The interrupt vectors of real mode and the BIOS data area. */
const BIOS_DATA_END = 0x500;
/** Tables of ours start here: below, kernels put the start-up code of application processors. */
const LOW_TABLES = 0x10000;
const PAGE = 0x1000;

const alignDown = (value: number, to: number): number => Math.floor(value / to) * to;
const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;

interface Claim {
  readonly start: number;
  readonly end: number;
  readonly what: string;
}

export class BootMemory {
  readonly ram: RamSize;
  readonly segments: BootSegment[] = [];
  readonly #claims: Claim[] = [];

  constructor(ram: RamSize) {
    this.ram = ram;
  }

  /** First address above everything claimed. */
  get topOfUse(): number {
    return Math.max(0, ...this.#claims.map(({ end }) => end));
  }

  /**
   * Places part of an image where the image wants it.
   * @param size bytes in memory; those beyond `bytes` become zero
   * @throws ImageError when it is not all RAM that a program may have, or overlaps something placed before
   */
  place(file: ImageFile, what: string, physical: number, bytes: Uint8Array, size = bytes.length): void {
    const end = physical + size;
    const refuse = (why: string, hint: string): ImageError =>
      new ImageError({
        file: file.path,
        what,
        where: `physical ${hexRange(physical, Math.max(size, 1))}`,
        why,
        hint,
      });
    if (!this.#isUsable(physical, end)) {
      const { lowRam, highRam } = this.ram;
      if (physical >= MIB && end > lowRam && physical < FOUR_GIB)
        throw refuse(`RAM ends at ${hex(lowRam)}`, mebibytesHint(end));
      if (physical >= FOUR_GIB)
        throw refuse(`RAM above 4 GiB ends at ${hex(FOUR_GIB + highRam)}`, "link it lower");
      throw refuse(
        `below 1 MiB only ${hexRange(BIOS_DATA_END, Math.min(EBDA, lowRam) - BIOS_DATA_END)} is free RAM`,
        "link it at 100000H or above",
      );
    }
    const other = this.#overlapping(physical, end);
    if (other)
      throw refuse(
        `it overlaps ${other.what} at ${hexRange(other.start, other.end - other.start)}`,
        "link it elsewhere",
      );
    this.#claim(physical, end, what);
    this.segments.push({ physical, bytes, size });
  }

  /** Keeps a range free of tables and modules without loading anything there. False when it is not free RAM. */
  reserve(physical: number, size: number, what: string): boolean {
    if (!this.#isUsable(physical, physical + size) || this.#overlapping(physical, physical + size))
      return false;
    this.#claim(physical, physical + size, what);
    return true;
  }

  /**
   * Places a table of ours, in conventional memory if it fits there, else at the lowest free place above 1 MiB.
   * The address is below 4 GiB.
   * @throws ImageError when no place is free
   */
  placeTable(file: ImageFile, what: string, bytes: Uint8Array, align: number): number {
    const at =
      this.#lowest(LOW_TABLES, Math.min(EBDA, this.ram.lowRam), bytes.length, align) ??
      this.#lowest(MIB, this.ram.lowRam, bytes.length, align);
    if (at === undefined) throw this.#noRoom(file, what, bytes.length, align);
    this.#claim(at, at + bytes.length, what);
    this.segments.push({ physical: at, bytes, size: bytes.length });
    return at;
  }

  /** Places a module page-aligned at the lowest free place not below `from` (at least 1 MiB). */
  placeModule(file: ImageFile, what: string, bytes: Uint8Array, from: number): number {
    const at = this.#lowest(Math.max(from, MIB), this.ram.lowRam, bytes.length, PAGE);
    return this.#module(file, what, bytes, at, Math.max(from, MIB));
  }

  /** Places a module page-aligned at the highest free place below `limit` (and below 4 GiB), above 1 MiB. */
  placeModuleHigh(file: ImageFile, what: string, bytes: Uint8Array, limit: number): number {
    const at = this.#highest(MIB, Math.min(limit, this.ram.lowRam), bytes.length, PAGE);
    return this.#module(file, what, bytes, at, MIB);
  }

  /** The lowest or highest free place in [from, to) below 4 GiB for something that may lie anywhere; undefined when there is none. */
  freePlace(
    which: "lowest" | "highest",
    from: number,
    to: number,
    size: number,
    align: number,
  ): number | undefined {
    const zones = [
      [BIOS_DATA_END, Math.min(EBDA, this.ram.lowRam)],
      [MIB, this.ram.lowRam],
    ].map(([start, end]) => [Math.max(from, start!), Math.min(to, end!)] as const);
    if (which === "highest") zones.reverse();
    for (const [start, end] of zones) {
      const at =
        which === "lowest" ? this.#lowest(start, end, size, align) : this.#highest(start, end, size, align);
      if (at !== undefined) return at;
    }
    return undefined;
  }

  #module(file: ImageFile, what: string, bytes: Uint8Array, at: number | undefined, from: number): number {
    if (at === undefined) throw this.#noRoom(file, what, bytes.length, PAGE, from);
    this.#claim(at, at + bytes.length, what);
    this.segments.push({ physical: at, bytes, size: bytes.length });
    return at;
  }

  #noRoom(file: ImageFile, what: string, size: number, align: number, from = MIB): ImageError {
    const start = Math.max(
      from,
      ...this.#claims.filter(({ start }) => start < FOUR_GIB).map(({ end }) => end),
    );
    return new ImageError({
      file: file.path,
      what,
      where: `RAM ends at ${hex(this.ram.lowRam)}`,
      why: `no ${hex(size)} bytes are free beside what is loaded already`,
      hint: mebibytesHint(alignUp(start, align) + size),
    });
  }

  #claim(start: number, end: number, what: string): void {
    if (end > start) this.#claims.push({ start, end, what });
  }

  #overlapping(start: number, end: number): Claim | undefined {
    return this.#claims.find((claim) => start < claim.end && claim.start < end);
  }

  #isUsable(start: number, end: number): boolean {
    const { lowRam, highRam } = this.ram;
    const within = (from: number, to: number): boolean => start >= from && end <= to && start <= end;
    return (
      within(BIOS_DATA_END, Math.min(EBDA, lowRam)) ||
      within(MIB, lowRam) ||
      within(FOUR_GIB, FOUR_GIB + highRam)
    );
  }

  /** Lowest aligned place in [from, to); every step moves behind a claim, so there are at most as many as claims. */
  #lowest(from: number, to: number, size: number, align: number): number | undefined {
    let at = alignUp(from, align);
    while (at + size <= to) {
      const other = this.#overlapping(at, at + Math.max(size, 1));
      if (!other) return at;
      at = alignUp(other.end, align);
    }
    return undefined;
  }

  /** Highest aligned place in [from, to): as `#lowest`, downwards. */
  #highest(from: number, to: number, size: number, align: number): number | undefined {
    let at = alignDown(to - size, align);
    while (at >= from) {
      const other = this.#overlapping(at, at + Math.max(size, 1));
      if (!other) return at;
      at = alignDown(other.start - size, align);
    }
    return undefined;
  }
}

/**
 * Places an ELF image's segments, the highest first, so that an error about too little RAM names what the whole image
 * needs.
 */
export function placeElfSegments(memory: BootMemory, file: ImageFile, image: ElfImage): void {
  const end = (segment: ElfImage["segments"][number]): number => segment.physical + segment.memoryBytes;
  for (const segment of [...image.segments].sort((a, b) => end(b) - end(a)))
    memory.place(
      file,
      `ELF program header ${segment.index}`,
      segment.physical,
      segment.bytes,
      segment.memoryBytes,
    );
}

/** What to say when RAM must reach `end`. */
export function mebibytesHint(end: number): string {
  const mebibytes = Math.ceil(end / MIB);
  return end <= 0xb0000000
    ? `give the machine more memory: -m ${mebibytes}`
    : "it cannot fit below 2816 MiB: use a smaller image";
}

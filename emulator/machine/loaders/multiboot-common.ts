/** What multiboot 1 and 2 have in common: images with load addresses in their header, the entry point, modules. */
import { FOUR_GIB, MIB } from "../firmware/memory-ranges.ts";
import type { ImageFile } from "../read-image.ts";
import type { BootMemory } from "./boot-memory.ts";
import type { BootImage, BootRequest } from "./boot-image.ts";
import { FLAT_SELECTORS, RAX, RBX, bootGdt, entryState } from "./entry-state.ts";
import { hex } from "./image-error.ts";
import type { ImageReader } from "./reader.ts";

export const BOOT_LOADER_NAME = "exitless";

/** A command line as older loaders give it: the file's name is the first word. */
export function withName(file: ImageFile, commandLine: string): string {
  return commandLine === "" ? file.name : `${file.name} ${commandLine}`;
}

/** The address fields of a header: load_addr, load_end_addr, bss_end_addr, and where the header itself is loaded. */
export interface AddressFields {
  readonly headerAddress: number;
  readonly loadAddress: number;
  readonly loadEnd: number;
  readonly bssEnd: number;
  /** What they are and where they lie, for errors. */
  readonly what: string;
  readonly where: string;
}

/** A part of a file that is loaded as one piece; `size` ≥ `bytes.length`, the rest is zero. */
export interface FlatImage {
  readonly physical: number;
  readonly bytes: Uint8Array;
  readonly size: number;
}

/**
 * What the address fields say is to be loaded.
 * @param headerOffset where the header lies in the file
 * @throws ImageError when they do not agree with each other or the file
 */
export function flatImage(reader: ImageReader, headerOffset: number, fields: AddressFields): FlatImage {
  const { headerAddress, loadAddress, loadEnd, bssEnd, what, where } = fields;
  const damaged = "build the image again with address fields that agree";
  if (loadAddress > headerAddress)
    throw reader.error(
      what,
      where,
      `load_addr ${hex(loadAddress)} is above header_addr ${hex(headerAddress)}`,
      damaged,
    );
  const fileOffset = headerOffset - (headerAddress - loadAddress);
  if (fileOffset < 0)
    throw reader.error(
      what,
      where,
      `load_addr ${hex(loadAddress)} lies before the file's first byte`,
      damaged,
    );
  // load_end_addr 0: "the text and data segments occupy the whole OS image file".
  const fileBytes = loadEnd === 0 ? reader.length - fileOffset : loadEnd - loadAddress;
  if (fileBytes <= 0)
    throw reader.error(
      what,
      where,
      `load_end_addr ${hex(loadEnd)} is not above load_addr ${hex(loadAddress)}`,
      damaged,
    );
  const bytes = reader.bytes(fileOffset, fileBytes, "multiboot image contents");
  // bss_end_addr 0: there is no BSS.
  const size = bssEnd === 0 ? fileBytes : bssEnd - loadAddress;
  if (size < fileBytes)
    throw reader.error(what, where, `bss_end_addr ${hex(bssEnd)} is below the end of the data`, damaged);
  return { physical: loadAddress, bytes, size };
}

/** The entry point must be an address that 32-bit code reaches and that was loaded. */
export function checkedEntry(reader: ImageReader, memory: BootMemory, entry: bigint, what: string): number {
  const inside = memory.segments.some(({ physical, size }) => entry >= physical && entry < physical + size);
  if (!inside || entry >= BigInt(FOUR_GIB))
    throw reader.error(
      what,
      `physical ${hex(entry)}`,
      "the entry point is not in what is loaded below 4 GiB",
      "link the image with its entry point in a loaded segment",
    );
  return Number(entry);
}

/** A module in memory, and the text that goes with it. */
export interface PlacedModule {
  readonly file: ImageFile;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Puts a module page-aligned behind the image, as GRUB does. */
export function placeModule(
  { file, commandLine }: BootRequest["modules"][number],
  memory: BootMemory,
  endOfImage: number,
): PlacedModule {
  // An image above 4 GiB leaves all of the memory below free for modules.
  const from = endOfImage < FOUR_GIB ? endOfImage : MIB;
  const start = memory.placeModule(file, "module", file.bytes, from);
  return { file, start, end: start + file.bytes.length, text: withName(file, commandLine) };
}

/** What both hand to the machine: the image as placed, and 32-bit protected mode with the magic number and the information's address. */
export function enteredImage(options: {
  readonly protocol: "multiboot" | "multiboot2";
  readonly kernel: ImageFile;
  readonly memory: BootMemory;
  readonly entry: number;
  readonly magic: number;
  readonly infoAt: number;
  readonly asksForVideoMode: boolean;
}): BootImage {
  const { protocol, kernel, memory, entry, magic, infoAt, asksForVideoMode } = options;
  const gdt = bootGdt("protected32", FLAT_SELECTORS);
  const gdtAt = memory.placeTable(kernel, "descriptor table", gdt, 8);
  return {
    protocol,
    segments: memory.segments,
    entry: entryState({
      mode: "protected32",
      rip: entry,
      registers: [
        [RAX, magic],
        [RBX, infoAt],
      ],
      selectors: FLAT_SELECTORS,
      gdt: { base: gdtAt, limit: gdt.length - 1 },
    }),
    topOfUse: memory.topOfUse,
    notes: asksForVideoMode
      ? [`${kernel.path} asks for a video mode; there is no display, and it is told so`]
      : [],
  };
}

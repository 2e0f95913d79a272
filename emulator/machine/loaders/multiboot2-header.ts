/**
 * The header of a multiboot 2 image and its tags: "Multiboot2 Specification version 2.0", "OS image format". The file is untrusted: every
 * tag is checked against the header's end, and what is required and unknown is refused.
 */
import type { ImageFile } from "../read-image.ts";
import { hex } from "./image-error.ts";
import type { ImageReader } from "./reader.ts";

const HEADER_MAGIC = 0xe85250d6;
/** "contained completely within the first 32768 bytes of the OS image, and must be 64-bit aligned" */
const SEARCH_BYTES = 32768;
const ALIGN = 8;
const HEADER_BYTES = 16;
const ARCHITECTURE_I386 = 0;
const FOUR_GIB = 2 ** 32;

/** Header tags. */
const TAG_END = 0;
const TAG_INFORMATION_REQUEST = 1;
const TAG_ADDRESS = 2;
const TAG_ENTRY_ADDRESS = 3;
const TAG_FLAGS = 4;
const TAG_FRAMEBUFFER = 5;
const TAG_MODULE_ALIGNMENT = 6;
const TAG_EFI_BOOT_SERVICES = 7;
const TAG_ENTRY_ADDRESS_EFI32 = 8;
const TAG_ENTRY_ADDRESS_EFI64 = 9;
const TAG_RELOCATABLE = 10;
const TAG_BYTES = 8;
const TAG_OPTIONAL = 1;
/** Bit 0 of console_flags: there must be a console, described in the information structure. */
const CONSOLE_REQUIRED = 1;
/** The highest type of information tag that the specification knows. */
const LAST_INFORMATION = 21;

const LOAD_FROM_BEGINNING = 0xffffffff;

/** Address tag. */
export interface Multiboot2Addresses {
  readonly headerAddress: number;
  readonly loadAddress: number;
  readonly loadEnd: number;
  readonly bssEnd: number;
  readonly where: string;
}

/** Relocatable header tag. */
export interface Multiboot2Placement {
  readonly lowest: number;
  /** Highest address of the image's last byte. */
  readonly highest: number;
  readonly align: number;
  readonly preference: "none" | "lowest" | "highest";
  readonly where: string;
}

export interface Multiboot2Header {
  /** Offset of the header in the file. */
  readonly offset: number;
  readonly addresses?: Multiboot2Addresses;
  readonly entry?: number;
  readonly placement?: Multiboot2Placement;
  readonly asksForVideoMode: boolean;
}

/** Offset of a header whose checksum is right, or undefined. */
export function findMultiboot2Header(file: ImageFile): number | undefined {
  const view = new DataView(
    file.bytes.buffer,
    file.bytes.byteOffset,
    Math.min(file.bytes.length, SEARCH_BYTES),
  );
  for (let offset = 0; offset + HEADER_BYTES <= view.byteLength; offset += ALIGN) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const sum = [0, 4, 8, 12].reduce((total, at) => total + view.getUint32(offset + at, true), 0);
    if (sum % FOUR_GIB === 0) return offset;
  }
  return undefined;
}

/**
 * Reads the header and its tags.
 * @throws ImageError when there is none, it is damaged, or it requires what is not to be had here
 */
export function parseMultiboot2Header(reader: ImageReader): Multiboot2Header {
  const what = "multiboot 2 header";
  const offset = findMultiboot2Header(reader.file);
  if (offset === undefined)
    throw reader.error(
      what,
      "first 32768 bytes",
      "there is no header with a right checksum",
      "name a multiboot 2 image, or choose another protocol",
    );
  const where = `offset ${hex(offset)}`;
  const architecture = reader.u32(offset + 4, what);
  if (architecture !== ARCHITECTURE_I386)
    throw reader.error(
      what,
      where,
      `its architecture ${architecture} is not that of 32-bit x86 (0)`,
      "name an image built for x86",
    );
  const end = offset + reader.u32(offset + 8, what);
  if (end > SEARCH_BYTES || end > reader.length)
    throw reader.error(
      what,
      where,
      `it ends at ${hex(end)}, beyond the file or its first 32768 bytes`,
      "the file is damaged",
    );
  let header: Multiboot2Header = { offset, asksForVideoMode: false };
  for (let at = offset + HEADER_BYTES; ;) {
    const tag = readTag(reader, at, end);
    if (tag.type === TAG_END) return header;
    header = { ...header, ...readHeaderTag(reader, tag, offset) };
    at += Math.ceil(tag.size / ALIGN) * ALIGN;
  }
}

interface HeaderTag {
  readonly at: number;
  readonly type: number;
  readonly isOptional: boolean;
  readonly size: number;
  readonly what: string;
  readonly where: string;
}

function readTag(reader: ImageReader, at: number, end: number): HeaderTag {
  const where = `offset ${hex(at)}`;
  const damaged = (why: string): Error =>
    reader.error("multiboot 2 header: tags", where, why, "the file is damaged");
  if (at + TAG_BYTES > end) throw damaged("the header ends without an end tag");
  const what = "multiboot 2 header: tag";
  const type = reader.u16(at, what);
  const size = reader.u32(at + 4, what);
  if (size < TAG_BYTES || at + size > end)
    throw damaged(`a tag of type ${type} with ${hex(size)} bytes does not fit in the header`);
  return {
    at,
    type,
    isOptional: (reader.u16(at + 2, what) & TAG_OPTIONAL) !== 0,
    size,
    what: `multiboot 2 header: tag of type ${type}`,
    where,
  };
}

/** What one tag adds to the header. */
function readHeaderTag(reader: ImageReader, tag: HeaderTag, headerOffset: number): Partial<Multiboot2Header> {
  const { type, what, where } = tag;
  const refuse = (why: string, hint: string): Error => reader.error(what, where, why, hint);
  const field = (index: number): number => {
    if (tag.size < TAG_BYTES + 4 * (index + 1))
      throw refuse(`it has ${tag.size} bytes, too few for its fields`, "the file is damaged");
    return reader.u32(tag.at + TAG_BYTES + 4 * index, what);
  };
  switch (type) {
    case TAG_INFORMATION_REQUEST:
      if (!tag.isOptional) checkRequests(tag, field, refuse);
      return {};
    case TAG_ADDRESS: {
      const [headerAddress, load, loadEnd, bssEnd] = [field(0), field(1), field(2), field(3)];
      // "Special value -1 means that the file must be loaded from its beginning."
      const loadAddress = load === LOAD_FROM_BEGINNING ? headerAddress - headerOffset : load;
      if (loadAddress < 0)
        throw refuse(
          `header_addr ${hex(headerAddress)} is lower than the header's offset in the file`,
          "build the image again with address fields that agree",
        );
      return { addresses: { headerAddress, loadAddress, loadEnd, bssEnd, where } };
    }
    case TAG_ENTRY_ADDRESS:
      return { entry: field(0) };
    case TAG_FLAGS:
      if ((field(0) & CONSOLE_REQUIRED) !== 0 && !tag.isOptional)
        throw refuse(
          "it requires a console on the screen, and no firmware has set one up",
          "start it by firmware and a boot loader (-bios)",
        );
      return {};
    case TAG_FRAMEBUFFER:
      // "that is only a recommended mode"
      return { asksForVideoMode: true };
    case TAG_MODULE_ALIGNMENT:
      // Modules always are page-aligned.
      return {};
    case TAG_EFI_BOOT_SERVICES:
      if (!tag.isOptional)
        throw refuse("it requires EFI boot services", "there is no EFI here: name another image");
      return {};
    case TAG_ENTRY_ADDRESS_EFI32:
    case TAG_ENTRY_ADDRESS_EFI64:
      // "taken into account only on EFI … platforms"
      return {};
    case TAG_RELOCATABLE:
      return { placement: placementOf(tag, field, refuse) };
    default:
      if (!tag.isOptional)
        throw refuse(
          "it is required and unknown to the specification",
          "the file is damaged, or for another loader",
        );
      return {};
  }
}

type Field = (index: number) => number;
type Refuse = (why: string, hint: string) => Error;

/** "If the bootloader does not understand the meaning of the requested tag it must fail with an error"; what is not available is left out. */
function checkRequests(tag: HeaderTag, field: Field, refuse: Refuse): void {
  const count = Math.floor((tag.size - TAG_BYTES) / 4);
  for (let index = 0; index < count; index++)
    if (field(index) > LAST_INFORMATION)
      throw refuse(
        `it requires information of type ${field(index)}, unknown to the specification`,
        "the file is damaged, or for another loader",
      );
}

function placementOf(tag: HeaderTag, field: Field, refuse: Refuse): Multiboot2Placement {
  const [lowest, highest, align, preference] = [field(0), field(1), field(2), field(3)];
  if (align === 0 || (align & (align - 1)) !== 0)
    throw refuse(`its alignment ${hex(align)} is not a power of two`, "the file is damaged");
  const name = (["none", "lowest", "highest"] as const)[preference];
  if (name === undefined)
    throw refuse(`its preference ${preference} is not 0, 1 or 2`, "the file is damaged");
  return { lowest, highest, align, preference: name, where: tag.where };
}

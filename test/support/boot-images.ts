/** Boot images built byte by byte, so that a test can break one field at a time. */
import { e820Map } from "../../emulator/machine/firmware/e820.ts";
import type { BootModule, BootRequest } from "../../emulator/machine/loaders/boot-image.ts";
import type { BootSegment } from "../../emulator/machine/loaders/boot-memory.ts";
import type { ImageFile } from "../../emulator/machine/read-image.ts";

export const imageFile = (bytes: Uint8Array, name = "image.elf"): ImageFile => ({
  path: `dir/${name}`,
  name,
  bytes,
});

export interface ElfPart {
  readonly type?: number;
  readonly virtual?: number | bigint;
  readonly physical: number | bigint;
  readonly contents: Uint8Array;
  readonly memoryBytes?: number | bigint;
  readonly align?: number;
}

const FIRST_CONTENTS = 0x400;

/** An ELF executable: header, program headers, and from 400H the parts one after another. */
export function buildElf(width: 32 | 64, entry: number | bigint, parts: readonly ElfPart[]): Uint8Array {
  const wide = width === 64;
  const [headerBytes, entryBytes] = wide ? [64, 56] : [52, 32];
  const bytes = new Uint8Array(
    FIRST_CONTENTS + parts.reduce((sum, { contents }) => sum + contents.length, 0),
  );
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number | bigint): void => {
    if (wide) view.setBigUint64(at, BigInt(value), true);
    else view.setUint32(at, Number(value), true);
  };
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, wide ? 62 : 3, true);
  view.setUint32(20, 1, true);
  word(24, entry);
  word(wide ? 32 : 28, headerBytes);
  view.setUint16(wide ? 52 : 40, headerBytes, true);
  view.setUint16(wide ? 54 : 42, entryBytes, true);
  view.setUint16(wide ? 56 : 44, parts.length, true);
  let offset = FIRST_CONTENTS;
  parts.forEach((part, index) => {
    const at = headerBytes + index * entryBytes;
    const { physical, virtual = physical, contents, memoryBytes = contents.length } = part;
    view.setUint32(at, part.type ?? 1, true);
    const fields = wide ? [8, 16, 24, 32, 40, 48] : [4, 8, 12, 16, 20, 28];
    const values = [offset, virtual, physical, contents.length, memoryBytes, part.align ?? 4];
    fields.forEach((field, i) => word(at + field, values[i]!));
    bytes.set(contents, offset);
    offset += contents.length;
  });
  return bytes;
}

/** A Xen note: type 18 with the entry point. */
export function pvhNote(entry: number | bigint, wide = false): Uint8Array {
  const bytes = new Uint8Array(wide ? 24 : 20);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 4, true);
  view.setUint32(4, wide ? 8 : 4, true);
  view.setUint32(8, 18, true);
  bytes.set([0x58, 0x65, 0x6e, 0], 12);
  if (wide) view.setBigUint64(16, BigInt(entry), true);
  else view.setUint32(16, Number(entry), true);
  return bytes;
}

/** A multiboot header; the checksum is right. */
export function multibootHeader(flags: number, addresses: readonly number[] = []): Uint8Array {
  const words = [0x1badb002, flags, -(0x1badb002 + flags) >>> 0, ...addresses];
  const bytes = new Uint8Array(words.length * 4);
  words.forEach((word, i) => new DataView(bytes.buffer).setUint32(4 * i, word >>> 0, true));
  return bytes;
}

export interface BzImageFields {
  readonly version?: number;
  readonly xloadflags?: number;
  readonly loadflags?: number;
  readonly relocatable?: number;
  readonly alignment?: number;
  readonly preferred?: bigint;
  readonly initSize?: number;
  readonly initrdMax?: number;
  readonly cmdlineSize?: number;
  readonly jump?: number;
  readonly kernelBytes?: number;
  readonly syssize?: number;
}

/** A bzImage with one setup sector behind the boot sector and a kernel of NOPs. */
export function buildBzImage(fields: BzImageFields = {}): Uint8Array {
  const kernelBytes = fields.kernelBytes ?? 0x1000;
  const bytes = new Uint8Array(1024 + kernelBytes).fill(0x90, 1024);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 1;
  view.setUint32(0x1f4, fields.syssize ?? Math.ceil(kernelBytes / 16), true);
  view.setUint16(0x1fe, 0xaa55, true);
  bytes.set([0xeb, fields.jump ?? 0x66], 0x200);
  bytes.set([0x48, 0x64, 0x72, 0x53], 0x202);
  view.setUint16(0x206, fields.version ?? 0x20f, true);
  bytes[0x211] = fields.loadflags ?? 1;
  view.setUint32(0x22c, fields.initrdMax ?? 0x7fffffff, true);
  view.setUint32(0x230, fields.alignment ?? 0x200000, true);
  bytes[0x234] = fields.relocatable ?? 1;
  view.setUint16(0x236, fields.xloadflags ?? 1, true);
  view.setUint32(0x238, fields.cmdlineSize ?? 2047, true);
  view.setBigUint64(0x258, fields.preferred ?? 0x1000000n, true);
  view.setUint32(0x260, fields.initSize ?? 0x800000, true);
  return bytes;
}

export const MIB = 0x100000;

/** A request for a machine with `mebibytes` of RAM below the PCI hole. */
export function bootRequest(
  kernel: ImageFile,
  options: { commandLine?: string; modules?: BootModule[]; mebibytes?: number; highRam?: number } = {},
): BootRequest {
  const ram = { lowRam: (options.mebibytes ?? 64) * MIB, highRam: options.highRam ?? 0 };
  return {
    kernel,
    commandLine: options.commandLine ?? "",
    modules: options.modules ?? [],
    ram,
    memoryMap: e820Map(ram),
    rsdp: 0xe0000,
  };
}

/** Physical memory as a kernel would find it: reads what segments put there. */
export class LoadedMemory {
  readonly #segments: readonly BootSegment[];

  constructor(segments: readonly BootSegment[]) {
    this.#segments = segments;
  }

  bytes(physical: number, length: number): Uint8Array {
    const segment = this.#segments.find(
      (s) => physical >= s.physical && physical + length <= s.physical + s.size,
    );
    if (!segment) throw new Error(`nothing is loaded at ${physical.toString(16)} + ${length.toString(16)}`);
    const start = physical - segment.physical;
    const found = new Uint8Array(length);
    found.set(segment.bytes.subarray(start, start + length));
    return found;
  }

  u16(physical: number): number {
    return new DataView(this.bytes(physical, 2).buffer).getUint16(0, true);
  }

  u32(physical: number): number {
    return new DataView(this.bytes(physical, 4).buffer).getUint32(0, true);
  }

  u64(physical: number): number {
    return Number(new DataView(this.bytes(physical, 8).buffer).getBigUint64(0, true));
  }

  string(physical: number): string {
    let text = "";
    for (let at = physical; ; at++) {
      const byte = this.bytes(at, 1)[0]!;
      if (byte === 0) return text;
      text += String.fromCharCode(byte);
    }
  }
}

/** No two segments share a byte, and all are RAM below `lowRam` or above 4 GiB. */
export function overlapOf(segments: readonly BootSegment[]): string | undefined {
  const sorted = [...segments].sort((a, b) => a.physical - b.physical);
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i - 1]!.physical + sorted[i - 1]!.size > sorted[i]!.physical)
      return `${sorted[i - 1]!.physical.toString(16)} and ${sorted[i]!.physical.toString(16)}`;
  return undefined;
}

/** A tag of a multiboot 2 header: fields of 32 bits; with `size` instead of its own. */
export interface Multiboot2Tag {
  readonly type: number;
  readonly isOptional?: boolean;
  readonly fields?: readonly number[];
  readonly size?: number;
}

/** A multiboot 2 header with these tags and an end tag; the checksum is right. */
export function multiboot2Header(
  tags: readonly Multiboot2Tag[],
  options: { architecture?: number; hasEnd?: boolean } = {},
): Uint8Array {
  const words: number[] = [];
  for (const { type, isOptional = false, fields = [], size } of [
    ...tags,
    ...(options.hasEnd === false ? [] : [{ type: 0 }]),
  ]) {
    words.push(type + (isOptional ? 0x10000 : 0), size ?? 8 + 4 * fields.length, ...fields);
    if (fields.length % 2 === 1) words.push(0);
  }
  const architecture = options.architecture ?? 0;
  const length = 16 + 4 * words.length;
  words.unshift(0xe85250d6, architecture, length, -(0xe85250d6 + architecture + length) >>> 0);
  const bytes = new Uint8Array(length);
  words.forEach((word, i) => new DataView(bytes.buffer).setUint32(4 * i, word >>> 0, true));
  return bytes;
}

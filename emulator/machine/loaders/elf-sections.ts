/**
 * The section headers of an ELF image, for loaders that hand them to the kernel (symbols, strings). They are not needed to start it:
 * headers that do not hold together are as good as none.
 */
import type { ImageFile } from "../read-image.ts";
import type { BootMemory } from "./boot-memory.ts";

const ELFCLASS64 = 2;
const SHT_NULL = 0;
const SHT_NOBITS = 8;
/** Offsets of what is used, in 32-bit and 64-bit files. */
const LAYOUTS = {
  32: { table: 32, entrySize: 46, count: 48, names: 50, entryBytes: 40, address: 12, offset: 16, size: 20 },
  64: { table: 40, entrySize: 58, count: 60, names: 62, entryBytes: 64, address: 16, offset: 24, size: 32 },
} as const;
/** More than any kernel has; the work for a hostile file stays small. */
const MOST_SECTIONS = 1024;

export interface SectionHeaders {
  readonly count: number;
  readonly entryBytes: number;
  /** Index of the section with the names. */
  readonly names: number;
  /** The table, with the addresses at which sections were placed. */
  readonly bytes: Uint8Array;
}

/**
 * Puts sections without an address, such as symbols, behind the image and gives the table, in which they have one. The others keep the
 * address that they were linked at.
 * @returns undefined when the file has no section headers, or some that do not hold together
 * @throws ImageError when there is no room
 */
export function placeSections(
  file: ImageFile,
  memory: BootMemory,
  endOfImage: number,
): SectionHeaders | undefined {
  const { bytes } = file;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = view.getUint8(4) === ELFCLASS64 ? 64 : 32;
  const layout = LAYOUTS[width];
  const word = (at: number): number =>
    width === 64 ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  const tableAt = word(layout.table);
  const count = view.getUint16(layout.count, true);
  const names = view.getUint16(layout.names, true);
  const isTable =
    view.getUint16(layout.entrySize, true) === layout.entryBytes &&
    count > 0 &&
    count <= MOST_SECTIONS &&
    names < count &&
    tableAt > 0 &&
    tableAt + count * layout.entryBytes <= bytes.length;
  if (!isTable) return undefined;
  const sections = Array.from({ length: count }, (_, index) => {
    const at = tableAt + index * layout.entryBytes;
    const type = view.getUint32(at + 4, true);
    const [address, offset, size] = [
      word(at + layout.address),
      word(at + layout.offset),
      word(at + layout.size),
    ];
    return {
      at,
      offset,
      size,
      isToPlace: type !== SHT_NULL && type !== SHT_NOBITS && address === 0 && size > 0,
    };
  }).filter(({ isToPlace }) => isToPlace);
  const total = sections.reduce((sum, { size }) => sum + size, 0);
  if (total > bytes.length || sections.some(({ offset, size }) => offset + size > bytes.length))
    return undefined;

  const table = bytes.slice(tableAt, tableAt + count * layout.entryBytes);
  const out = new DataView(table.buffer);
  for (const { at, offset, size } of sections) {
    const place = memory.placeModule(file, "ELF section", bytes.subarray(offset, offset + size), endOfImage);
    const field = at - tableAt + layout.address;
    if (width === 64) out.setBigUint64(field, BigInt(place), true);
    else out.setUint32(field, place, true);
  }
  return { count, entryBytes: layout.entryBytes, names, bytes: table };
}

/**
 * A copy-on-write disk (`snapshot=on`): reads come from the base until written; writes go to a buffer.
 *
 * Everything written lies in one SharedArrayBuffer that the configuration hands in, so all threads see the same
 * disk and a snapshot of the machine can include it. Layout, in little-endian 32-bit words and then bytes:
 * ```
 *   word 0            blocks in use
 *   word 1 + b        0, or 1 + the slot that holds 4 KiB block b
 *   then, 4 KiB aligned: slots of 4 KiB
 * ```
 * Blocks are taken in order of first write, so the part in use is a prefix of the buffer.
 */
import type { Storage, StorageResult } from "../ports.ts";
import { StorageError } from "./errors.ts";
import { checkRange, SECTOR_BYTES } from "./sectors.ts";

export const OVERLAY_BLOCK_BYTES = 4096;
const SECTORS_PER_BLOCK = OVERLAY_BLOCK_BYTES / SECTOR_BYTES;

const blocksOf = (sectors: number): number => Math.ceil(sectors / SECTORS_PER_BLOCK);
const slotsAt = (sectors: number): number =>
  Math.ceil((4 * (1 + blocksOf(sectors))) / OVERLAY_BLOCK_BYTES) * OVERLAY_BLOCK_BYTES;

/**
 * Bytes the buffer must have for a disk of `sectors`, of which at most `writableBlocks` different 4 KiB blocks can
 * be written (default: all). The host commits memory only for what is written.
 */
export function overlayBytes(sectors: number, writableBlocks = blocksOf(sectors)): number {
  return slotsAt(sectors) + Math.min(writableBlocks, blocksOf(sectors)) * OVERLAY_BLOCK_BYTES;
}

export class OverlayStorage implements Storage {
  readonly sectors: number;
  readonly readOnly = false;
  readonly serial: string;
  readonly #base: Storage;
  readonly #map: Uint32Array;
  readonly #slots: Uint8Array;
  readonly #capacity: number;
  readonly #block = new Uint8Array(OVERLAY_BLOCK_BYTES);

  /** `buffer` is zero at first use and at least `overlayBytes(base.sectors, 1)` long. */
  constructor(base: Storage, buffer: SharedArrayBuffer | ArrayBuffer) {
    this.#base = base;
    this.sectors = base.sectors;
    this.serial = base.serial;
    const at = slotsAt(base.sectors);
    if (buffer.byteLength < at + OVERLAY_BLOCK_BYTES)
      throw new StorageError(
        "bad-configuration",
        "copy-on-write overlay",
        `its buffer of ${buffer.byteLength} bytes is too small for ${base.sectors} sectors`,
        "size it with overlayBytes()",
      );
    this.#map = new Uint32Array(buffer, 0, 1 + blocksOf(base.sectors));
    this.#slots = new Uint8Array(buffer, at);
    this.#capacity = Math.floor(this.#slots.length / OVERLAY_BLOCK_BYTES);
  }

  /** Bytes from the buffer's start that hold everything written so far. */
  get usedBytes(): number {
    return slotsAt(this.sectors) + this.#map[0]! * OVERLAY_BLOCK_BYTES;
  }

  read(sector: number, into: Uint8Array): StorageResult {
    const range = checkRange(this.sectors, sector, into.length);
    if (range !== "ok") return range;
    const end = sector + into.length / SECTOR_BYTES;
    for (let at = sector; at < end;) {
      const slot = this.#map[1 + Math.floor(at / SECTORS_PER_BLOCK)]!;
      // Neighbouring blocks that are all in the base, or one block of the overlay, at a time.
      let next = this.#blockEnd(at);
      if (slot === 0)
        while (next < end && this.#map[1 + Math.floor(next / SECTORS_PER_BLOCK)] === 0)
          next = this.#blockEnd(next);
      next = Math.min(next, end);
      const part = into.subarray((at - sector) * SECTOR_BYTES, (next - sector) * SECTOR_BYTES);
      if (slot === 0) {
        const result = this.#base.read(at, part);
        if (result !== "ok") return result;
      } else {
        const from = (slot - 1) * OVERLAY_BLOCK_BYTES + (at % SECTORS_PER_BLOCK) * SECTOR_BYTES;
        part.set(this.#slots.subarray(from, from + part.length));
      }
      at = next;
    }
    return "ok";
  }

  write(sector: number, from: Uint8Array): StorageResult {
    const range = checkRange(this.sectors, sector, from.length);
    if (range !== "ok") return range;
    return this.#writeBlocks(sector, from.length / SECTOR_BYTES, (slots, at, done, length) =>
      slots.set(from.subarray(done, done + length), at),
    );
  }

  flush(): StorageResult {
    return "ok";
  }

  discard(sector: number, count: number): StorageResult {
    return this.writeZeroes(sector, count);
  }

  writeZeroes(sector: number, count: number): StorageResult {
    const range = checkRange(this.sectors, sector, count * SECTOR_BYTES);
    if (range !== "ok") return range;
    return this.#writeBlocks(sector, count, (slots, at, _done, length) => slots.fill(0, at, at + length));
  }

  #blockEnd(sector: number): number {
    return (Math.floor(sector / SECTORS_PER_BLOCK) + 1) * SECTORS_PER_BLOCK;
  }

  #writeBlocks(
    sector: number,
    count: number,
    put: (slots: Uint8Array, at: number, done: number, length: number) => void,
  ): StorageResult {
    const end = sector + count;
    for (let at = sector; at < end;) {
      const next = Math.min(this.#blockEnd(at), end);
      const whole = next - at === SECTORS_PER_BLOCK;
      const slot = this.#slotFor(Math.floor(at / SECTORS_PER_BLOCK), whole);
      if (slot < 0) return "io-error";
      const to = slot * OVERLAY_BLOCK_BYTES + (at % SECTORS_PER_BLOCK) * SECTOR_BYTES;
      put(this.#slots, to, (at - sector) * SECTOR_BYTES, (next - at) * SECTOR_BYTES);
      at = next;
    }
    return "ok";
  }

  /** The slot of a block, taken and filled from the base at the first write; -1 if there is none left. */
  #slotFor(block: number, overwritten: boolean): number {
    const present = this.#map[1 + block]!;
    if (present !== 0) return present - 1;
    const slot = this.#map[0]!;
    if (slot >= this.#capacity) return -1;
    if (!overwritten) {
      const first = block * SECTORS_PER_BLOCK;
      const held = Math.min(SECTORS_PER_BLOCK, this.sectors - first) * SECTOR_BYTES;
      if (this.#base.read(first, this.#block.subarray(0, held)) !== "ok") return -1;
      this.#slots.set(this.#block.subarray(0, held), slot * OVERLAY_BLOCK_BYTES);
    }
    this.#map[0] = slot + 1;
    this.#map[1 + block] = slot + 1;
    return slot;
  }
}

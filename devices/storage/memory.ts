/**
 * A disk whose contents are an array: for tests, for generated images, and for hosts without files.
 */
import type { Storage, StorageResult } from "../ports.ts";
import { StorageError } from "./errors.ts";
import { checkRange, normalizeSerial, SECTOR_BYTES } from "./sectors.ts";

export interface MemoryStorageOptions {
  readonly readOnly?: boolean;
  readonly serial?: string;
}

export class MemoryStorage implements Storage {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly #contents: Uint8Array;

  /** `contents` is used as it is, not copied; over a SharedArrayBuffer several threads share the disk. */
  constructor(contents: Uint8Array, options: MemoryStorageOptions = {}) {
    if (contents.length === 0 || contents.length % SECTOR_BYTES !== 0)
      throw new StorageError(
        contents.length === 0 ? "zero-length" : "not-whole-sectors",
        "memory disk",
        `length ${contents.length} is not a positive multiple of ${SECTOR_BYTES}`,
        "give an array of whole sectors",
      );
    this.#contents = contents;
    this.sectors = contents.length / SECTOR_BYTES;
    this.readOnly = options.readOnly ?? false;
    this.serial = normalizeSerial(options.serial ?? "EXITLESS-MEM");
  }

  read(sector: number, into: Uint8Array): StorageResult {
    const range = checkRange(this.sectors, sector, into.length);
    if (range !== "ok") return range;
    into.set(this.#contents.subarray(sector * SECTOR_BYTES, sector * SECTOR_BYTES + into.length));
    return "ok";
  }

  write(sector: number, from: Uint8Array): StorageResult {
    if (this.readOnly) return "read-only";
    const range = checkRange(this.sectors, sector, from.length);
    if (range !== "ok") return range;
    this.#contents.set(from, sector * SECTOR_BYTES);
    return "ok";
  }

  flush(): StorageResult {
    return "ok";
  }

  discard(sector: number, count: number): StorageResult {
    return this.writeZeroes(sector, count);
  }

  writeZeroes(sector: number, count: number): StorageResult {
    if (this.readOnly) return "read-only";
    const range = checkRange(this.sectors, sector, count * SECTOR_BYTES);
    if (range !== "ok") return range;
    this.#contents.fill(0, sector * SECTOR_BYTES, (sector + count) * SECTOR_BYTES);
    return "ok";
  }
}

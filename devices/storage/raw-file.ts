/**
 * A disk in a raw image file: sector n is at byte 512 n.
 *
 * Several threads may open the same path; each has its own descriptor, and all reads and writes give positions.
 * The file's length is fixed when it is opened: writes past it are refused, so an image never grows. Node has no
 * call for punching holes, so discard and write-zeroes write zeroes.
 */
import { closeSync, constants, fsyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import type { Storage, StorageResult } from "../ports.ts";
import { StorageError } from "./errors.ts";
import { checkRange, normalizeSerial, SECTOR_BYTES } from "./sectors.ts";

export interface RawFileOptions {
  readonly readOnly?: boolean;
  readonly serial?: string;
  /** The disk must have at least this many sectors. */
  readonly minimumSectors?: number;
}

/** Bytes of zeroes written at a time. */
const ZEROES = new Uint8Array(64 * 1024);

export class RawFile implements Storage {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly path: string;
  #descriptor: number;

  /** Opens the image; throws a `StorageError` that says what is wrong with it. */
  constructor(path: string, options: RawFileOptions = {}) {
    this.path = path;
    this.readOnly = options.readOnly ?? false;
    this.serial = normalizeSerial(options.serial ?? "EXITLESS-RAW");
    this.#descriptor = open(path, this.readOnly);
    try {
      this.sectors = checkedSectors(path, this.#descriptor, options.minimumSectors ?? 1);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(sector: number, into: Uint8Array): StorageResult {
    const range = checkRange(this.sectors, sector, into.length);
    if (range !== "ok") return range;
    return this.#transfer(into.length, (at, length) =>
      readSync(this.#descriptor, into, at, length, sector * SECTOR_BYTES + at),
    );
  }

  write(sector: number, from: Uint8Array): StorageResult {
    if (this.readOnly) return "read-only";
    const range = checkRange(this.sectors, sector, from.length);
    if (range !== "ok") return range;
    return this.#transfer(from.length, (at, length) =>
      writeSync(this.#descriptor, from, at, length, sector * SECTOR_BYTES + at),
    );
  }

  flush(): StorageResult {
    if (this.readOnly) return "ok";
    try {
      fsyncSync(this.#descriptor);
      return "ok";
    } catch {
      return "io-error";
    }
  }

  discard(sector: number, count: number): StorageResult {
    return this.writeZeroes(sector, count);
  }

  writeZeroes(sector: number, count: number): StorageResult {
    if (this.readOnly) return "read-only";
    const range = checkRange(this.sectors, sector, count * SECTOR_BYTES);
    if (range !== "ok") return range;
    return this.#transfer(count * SECTOR_BYTES, (at, length) =>
      writeSync(this.#descriptor, ZEROES, 0, Math.min(length, ZEROES.length), sector * SECTOR_BYTES + at),
    );
  }

  /** Closes the descriptor; later accesses are "io-error". */
  close(): void {
    if (this.#descriptor < 0) return;
    closeSync(this.#descriptor);
    this.#descriptor = -1;
  }

  /** Repeats short transfers. Zero bytes means that the file was cut under us: an error, not an endless loop. */
  #transfer(total: number, step: (at: number, length: number) => number): StorageResult {
    if (this.#descriptor < 0) return "io-error";
    try {
      for (let at = 0; at < total;) {
        const moved = step(at, total - at);
        if (moved <= 0) return "io-error";
        at += moved;
      }
      return "ok";
    } catch {
      return "io-error";
    }
  }
}

function open(path: string, readOnly: boolean): number {
  try {
    // O_NONBLOCK so that a named pipe is refused below instead of blocking here.
    return openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    switch (code) {
      case "ENOENT":
        throw new StorageError(
          "missing-file",
          path,
          "no such disk image",
          "check the path, or create the image",
        );
      case "EISDIR":
        throw new StorageError("is-directory", path, "is a directory", "give a raw image file");
      case "EACCES":
      case "EPERM":
      case "EROFS":
        throw new StorageError(
          "permission-denied",
          path,
          `cannot be opened for ${readOnly ? "reading" : "writing"}`,
          readOnly ? "check its permissions" : "check its permissions, or use readonly=on or snapshot=on",
        );
      default:
        throw new StorageError(
          "cannot-open",
          path,
          `cannot be opened (${code})`,
          "check the file and its file system",
        );
    }
  }
}

function checkedSectors(path: string, descriptor: number, minimum: number): number {
  const stat = fstatSync(descriptor);
  if (stat.isDirectory())
    throw new StorageError("is-directory", path, "is a directory", "give a raw image file");
  if (!stat.isFile())
    throw new StorageError("not-a-regular-file", path, "is not a regular file", "give a raw image file");
  if (stat.size === 0)
    throw new StorageError("zero-length", path, "is empty", "a disk has at least one sector of 512 bytes");
  if (stat.size % SECTOR_BYTES !== 0)
    throw new StorageError(
      "not-whole-sectors",
      path,
      `its length of ${stat.size} bytes is not a multiple of ${SECTOR_BYTES}`,
      "is it a raw image? extend it to whole sectors if so",
    );
  const sectors = stat.size / SECTOR_BYTES;
  if (sectors < minimum)
    throw new StorageError(
      "shorter-than-asked",
      path,
      `has ${sectors} sectors, ${minimum} are needed`,
      "give a larger image, or ask for less",
    );
  return sectors;
}

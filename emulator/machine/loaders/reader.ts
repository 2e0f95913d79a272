/** Little-endian reads from an untrusted file, every one checked. */
import type { ImageFile } from "../read-image.ts";
import { ImageError, hex } from "./image-error.ts";

export class ImageReader {
  readonly file: ImageFile;
  readonly #view: DataView;

  constructor(file: ImageFile) {
    this.file = file;
    this.#view = new DataView(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength);
  }

  get length(): number {
    return this.file.bytes.length;
  }

  /** The error for this file. */
  error(what: string, where: string, why: string, hint: string): ImageError {
    return new ImageError({ file: this.file.path, what, where, why, hint });
  }

  /** Throws unless `[offset, offset + length)` lies in the file. Both may be any non-negative number. */
  require(offset: number, length: number, what: string): void {
    if (offset <= this.length && length <= this.length - offset) return;
    throw this.error(
      what,
      `offset ${hex(offset)}`,
      `${hex(length)} bytes are needed, the file has ${hex(this.length)} in all`,
      "the file is truncated or damaged: copy or build it again",
    );
  }

  u8(offset: number, what: string): number {
    this.require(offset, 1, what);
    return this.#view.getUint8(offset);
  }

  u16(offset: number, what: string): number {
    this.require(offset, 2, what);
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number, what: string): number {
    this.require(offset, 4, what);
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number, what: string): bigint {
    this.require(offset, 8, what);
    return this.#view.getBigUint64(offset, true);
  }

  /** A view of part of the file; not a copy. */
  bytes(offset: number, length: number, what: string): Uint8Array {
    this.require(offset, length, what);
    return this.file.bytes.subarray(offset, offset + length);
  }
}

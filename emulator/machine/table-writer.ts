/** Building binary tables: little-endian fields at named offsets, and byte sums. */

/** A table of fixed size whose unset bytes are zero. */
export class TableWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  u8(offset: number, value: number): this {
    this.#view.setUint8(offset, value);
    return this;
  }

  u16(offset: number, value: number): this {
    this.#view.setUint16(offset, value, true);
    return this;
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  /** `value` below 2^53. */
  u64(offset: number, value: number): this {
    this.#view.setBigUint64(offset, BigInt(value), true);
    return this;
  }

  /** ASCII text without a terminator. */
  text(offset: number, text: string): this {
    for (let i = 0; i < text.length; i++) this.u8(offset + i, text.charCodeAt(i));
    return this;
  }

  put(offset: number, bytes: Uint8Array): this {
    this.bytes.set(bytes, offset);
    return this;
  }

  /** Sets the byte at `offset` so that all bytes of [0, length) add up to 0 modulo 256. */
  checksum(offset: number, length = this.bytes.length): this {
    this.bytes[offset] = 0;
    this.bytes[offset] = (256 - byteSum(this.bytes.subarray(0, length))) & 0xff;
    return this;
  }
}

/** Sum of all bytes modulo 256. */
export function byteSum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) & 0xff;
  return sum;
}

/** The pieces one after another. */
export function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Command descriptor blocks that address blocks: SBC-3, by the families of 6, 10, 12 and 16 bytes. */
import * as spec from "./spec.ts";

/** A range of blocks as a CDB names it. */
export interface BlockRange {
  readonly sector: number;
  readonly count: number;
}

/** Kinds of commands on blocks. */
export type BlockOperation = "read" | "write" | "verify" | "flush" | "write-same";

const OPERATIONS: ReadonlyMap<number, BlockOperation> = new Map<number, BlockOperation>([
  [spec.READ_6, "read"],
  [spec.READ_10, "read"],
  [spec.READ_12, "read"],
  [spec.READ_16, "read"],
  [spec.WRITE_6, "write"],
  [spec.WRITE_10, "write"],
  [spec.WRITE_12, "write"],
  [spec.WRITE_16, "write"],
  [spec.VERIFY_10, "verify"],
  [spec.VERIFY_12, "verify"],
  [spec.VERIFY_16, "verify"],
  [spec.SYNCHRONIZE_CACHE_10, "flush"],
  [spec.SYNCHRONIZE_CACHE_16, "flush"],
  [spec.WRITE_SAME_10, "write-same"],
  [spec.WRITE_SAME_16, "write-same"],
]);

export function blockOperationOf(cdb: Uint8Array): BlockOperation | undefined {
  return OPERATIONS.get(cdb[0]!);
}

/** Big-endian numbers of a CDB or a parameter list. Beyond 2^53 they are rounded, and still beyond every disk. */
export function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
export function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 0x10000 + be16(bytes, at + 2);
}
export function be64(bytes: Uint8Array, at: number): number {
  return be32(bytes, at) * 2 ** 32 + be32(bytes, at + 4);
}
export function putBe(bytes: Uint8Array, at: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[at + i] = Math.floor(value / 256 ** (width - 1 - i)) & 0xff;
}

/** The range of a command for which `blockOperationOf` knows an operation. Its group is in the code's upper bits. */
export function rangeOf(cdb: Uint8Array): BlockRange {
  switch (cdb[0]! >> 5) {
    case 0:
      // "A TRANSFER LENGTH field set to zero specifies that 256 logical blocks": in 6-byte CDBs alone.
      return { sector: ((cdb[1]! & 0x1f) << 16) | be16(cdb, 2), count: cdb[4]! || 256 };
    case 5:
      return { sector: be32(cdb, 2), count: be32(cdb, 6) };
    case 4:
      return { sector: be64(cdb, 2), count: be32(cdb, 10) };
    default:
      return { sector: be32(cdb, 2), count: be16(cdb, 7) };
  }
}

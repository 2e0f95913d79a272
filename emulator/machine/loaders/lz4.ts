/** LZ4 legacy frames, as Linux's build packs kernels: LZ4 project, "LZ4 Frame Format Description" (Legacy frame) and "LZ4 Block Format". */

const MAGIC = 0x184c2102;
/** A block unpacks to at most this. */
const BLOCK_LIMIT = 8 << 20;
const SHORTEST_MATCH = 4;
/** In a token, "more length bytes follow". */
const LONG = 15;

export function isLz4(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && u32(bytes, 0) === MAGIC;
}

const u32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

/**
 * Unpacks a legacy frame.
 *
 * @param length what it must unpack to
 * @returns the contents, or undefined when the frame is damaged or unpacks to another length
 */
export function unpackLz4(packed: Uint8Array, length: number): Uint8Array | undefined {
  const out = new Uint8Array(length);
  let filled = 0;
  let at = 4;
  while (at + 4 <= packed.length && filled < length) {
    const end = at + 4 + u32(packed, at);
    if (end > packed.length) return undefined;
    const next = unpackBlock(
      packed.subarray(at + 4, end),
      out,
      filled,
      Math.min(length, filled + BLOCK_LIMIT),
    );
    if (next === undefined) return undefined;
    filled = next;
    at = end;
  }
  return filled === length ? out : undefined;
}

/** Unpacks one block to `out` from `start` on; returns where it ended, or undefined when it is damaged or passes `limit`. */
function unpackBlock(block: Uint8Array, out: Uint8Array, start: number, limit: number): number | undefined {
  let from = 0;
  let to = start;
  /** A length whose token part is LONG goes on in bytes, the last below 255. */
  const longLength = (value: number): number => {
    if (value !== LONG) return value;
    let total = value;
    for (;;) {
      const byte = block[from++];
      if (byte === undefined) return limit + 1;
      total += byte;
      if (byte !== 255) return total;
    }
  };
  while (from < block.length) {
    const token = block[from++]!;
    const literals = longLength(token >> 4);
    if (from + literals > block.length || to + literals > limit) return undefined;
    out.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    // The last sequence is literals alone.
    if (from === block.length) return to;
    if (from + 2 > block.length) return undefined;
    const distance = block[from]! | (block[from + 1]! << 8);
    from += 2;
    const match = longLength(token & LONG) + SHORTEST_MATCH;
    if (distance === 0 || distance > to - start || to + match > limit) return undefined;
    // A match may reach into what it writes: byte by byte then.
    if (distance >= match) out.copyWithin(to, to - distance, to - distance + match);
    else for (let i = 0; i < match; i++) out[to + i] = out[to - distance + i]!;
    to += match;
  }
  return to;
}

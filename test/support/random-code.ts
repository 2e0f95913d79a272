/** Random instruction bytes, biased towards what decoders get wrong: prefixes, rare opcodes, VEX, ModR/M corners. */
import { PREFIX_66, PREFIX_F2, PREFIX_F3 } from "../../emulator/isa/format.ts";
import { ROWS, type Row } from "../../emulator/isa/table.ts";
import type { Random } from "./random.ts";

/** Bytes per string. The longest instruction has 15; the sixteenth keeps strings aligned. */
export const STRING_BYTES = 16;

/** `mode` of `decode()` for 64-bit code. */
const MODE_64 = 2;

const LEGACY_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
const MAP_BYTES: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

const ROWS_OF_MAP: readonly (readonly Row[])[] = [0, 1, 2, 3, 4, 5, 6].map((map) =>
  ROWS.filter((row) => row.map === map),
);

/** A cursor into the string being written; what does not fit is dropped. */
class Writer {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = start + STRING_BYTES;
  }

  put(...values: number[]): void {
    for (const value of values) if (this.#at < this.#end) this.#bytes[this.#at++] = value;
  }
}

function putPrefixes(random: Random, out: Writer, mode: number): void {
  // Mostly few; now and then so many that the instruction becomes too long.
  const count = random.chance(55) ? 0 : random.chance(97) ? 1 + random.below(3) : random.below(16);
  for (let i = 0; i < count; i++)
    out.put(mode === MODE_64 && random.chance(8) ? 0x40 + random.below(16) : random.pick(LEGACY_PREFIXES));
}

/** One of the prefixes that a row takes, as its byte; undefined for none. */
function prefixByte(random: Random, row: Row): number | undefined {
  const bytes = [undefined, 0x66, 0xf3, 0xf2].filter((_, bit) => (row.prefixes & (1 << bit)) !== 0);
  return random.pick(bytes);
}

/** What a row asks of W or L (1: clear, 2: set, 3: any), as 0 or 1, mostly obeyed. */
const bitFor = (random: Random, wanted: number): number =>
  wanted === 3 || random.chance(8) ? random.below(2) : wanted - 1;

function putVex(random: Random, out: Writer, row: Row): void {
  const pp =
    row.prefixes === PREFIX_66 ? 1 : row.prefixes === PREFIX_F3 ? 2 : row.prefixes === PREFIX_F2 ? 3 : 0;
  const usesVvvv = row.operands.some(({ method }) => method === "H" || method === "B");
  const vvvv = usesVvvv || random.chance(8) ? random.below(16) : 15;
  const w = bitFor(random, row.w);
  const low = (vvvv << 3) | (bitFor(random, row.l) << 2) | (random.chance(95) ? pp : random.below(4));
  if (row.map === 4 && random.chance(40)) {
    out.put(0xc5, low | (random.chance(75) ? 0x80 : 0));
    return;
  }
  const map = random.chance(97) ? row.map - 3 : random.below(32);
  out.put(0xc4, (random.chance(70) ? 0xe0 : random.below(8) << 5) | map, low | (w << 7));
}

function putLegacy(random: Random, out: Writer, row: Row, mode: number): void {
  if (row.hasPrefixColumn && random.chance(90)) {
    const byte = prefixByte(random, row);
    if (byte !== undefined) out.put(byte);
  }
  if (mode === MODE_64 && (row.w === 2 || random.chance(40)))
    out.put(0x40 + (bitFor(random, row.w) << 3) + random.below(8));
  out.put(...MAP_BYTES[row.map]!);
}

/** Opcode and ModR/M that mostly select the row. */
function putOpcode(random: Random, out: Writer, row: Row): void {
  out.put(row.opcode + random.below(row.opcodeCount));
  if (row.modrm === undefined || random.chance(10)) return;
  const { mask, value, memoryOnly } = row.modrm;
  let modrm = (random.below(256) & ~mask) | value;
  if (memoryOnly && modrm >= 0xc0) modrm &= random.pick([0x3f, 0x7f, 0xbf]);
  // VSIB needs a SIB byte.
  if (row.operands.some(({ method }) => method === "VMX" || method === "VMY") && random.chance(80))
    modrm = (modrm & 0xf8) | 4;
  out.put(modrm);
}

/**
 * Writes one string of `STRING_BYTES` at `start`.
 *
 * Most are a row of the instruction table with its conditions mostly met, after random prefixes; the rest is a random
 * opcode of a random map, or noise. The bytes behind are always noise.
 *
 * @param mode  code size as `decode()` takes it
 */
export function writeRandomCode(random: Random, mode: number, bytes: Uint8Array, start: number): void {
  for (let i = 0; i < STRING_BYTES; i++) bytes[start + i] = random.next() >>> 24;
  const kind = random.below(100);
  if (kind < 3) return;
  const out = new Writer(bytes, start);
  if (kind < 25) {
    putPrefixes(random, out, mode);
    if (mode === MODE_64 && random.chance(40)) out.put(0x40 + random.below(16));
    out.put(...random.pick(MAP_BYTES));
    return;
  }
  const row = random.pick(kind < 40 ? ROWS_OF_MAP[0]! : kind < 60 ? ROWS_OF_MAP[1]! : ROWS);
  if (row.map >= 4) {
    // Nearly every prefix before VEX is undefined, so few have one.
    if (random.chance(10)) putPrefixes(random, out, mode);
    putVex(random, out, row);
  } else {
    putPrefixes(random, out, mode);
    putLegacy(random, out, row, mode);
  }
  putOpcode(random, out, row);
}

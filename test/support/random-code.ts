/** Random instruction bytes, biased towards what decoders get wrong: prefixes, rare opcodes, VEX, ModR/M corners. */
import { ROWS } from "../../emulator/isa/table.ts";
import type { Random } from "./random.ts";

/** Bytes per string. The longest instruction has 15; the sixteenth keeps strings aligned. */
export const STRING_BYTES = 16;

const LEGACY_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
const MAP_BYTES: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

/** Opcodes that have a row, by map. */
const KNOWN_OPCODES: readonly (readonly number[])[] = Array.from({ length: 7 }, (_, map) => {
  const opcodes = new Set<number>();
  for (const row of ROWS)
    if (row.map === map) for (let i = 0; i < row.opcodeCount; i++) opcodes.add(row.opcode + i);
  return [...opcodes].sort((a, b) => a - b);
});

function writePrefixes(random: Random, bytes: Uint8Array, start: number, is64Bit: boolean): number {
  let at = start;
  // Mostly few; now and then so many that the instruction becomes too long.
  const count = random.chance(55) ? 0 : random.chance(97) ? 1 + random.below(3) : random.below(16);
  for (let i = 0; i < count; i++)
    bytes[at++] = is64Bit && random.chance(8) ? 0x40 + random.below(16) : random.pick(LEGACY_PREFIXES);
  if (is64Bit && random.chance(40)) bytes[at++] = 0x40 + random.below(16);
  return at;
}

/** Writes a VEX prefix; returns its end and the map it selects, as the instruction table numbers them. */
function writeVex(random: Random, bytes: Uint8Array, start: number): { at: number; map: number } {
  // Most rows want vvvv = 1111B or any value, and few want W = 1.
  const last =
    (random.chance(20) ? 0x80 : 0) | ((random.chance(40) ? 15 : random.below(16)) << 3) | random.below(8);
  let at = start;
  if (random.chance(30)) {
    bytes[at++] = 0xc5;
    bytes[at++] = last | (random.chance(75) ? 0x80 : 0);
    return { at, map: 4 };
  }
  const map = random.chance(97) ? 1 + random.below(3) : random.below(32);
  bytes[at++] = 0xc4;
  bytes[at++] = (random.chance(60) ? 0xe0 : random.below(8) << 5) | map;
  bytes[at++] = last;
  return { at, map: map >= 1 && map <= 3 ? map + 3 : 4 };
}

/** Writes one string of `STRING_BYTES` at `start`. `mode` as `decode()` takes it. */
export function writeRandomCode(random: Random, mode: number, bytes: Uint8Array, start: number): void {
  for (let i = 0; i < STRING_BYTES; i++) bytes[start + i] = random.next() >>> 24;
  if (random.chance(3)) return;
  // Prefixes of 15 bytes and more may reach the next string, which is written later.
  const kind = random.below(100);
  let at = kind >= 78 && random.chance(90) ? start : writePrefixes(random, bytes, start, mode === 2);
  const end = start + STRING_BYTES;
  let map: number;
  if (kind < 78) {
    map = kind < 30 ? 0 : kind < 60 ? 1 : kind < 70 ? 2 : 3;
    for (const byte of MAP_BYTES[map]!) if (at < end) bytes[at++] = byte;
  } else {
    ({ at, map } = writeVex(random, bytes, at));
  }
  if (at < end && random.chance(75)) bytes[at] = random.pick(KNOWN_OPCODES[map]!);
}

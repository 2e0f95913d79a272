/**
 * The firmware's ROM: all of it below 4 GiB, its last 128 KiB below 1 MiB as well, and in C0000H–FFFFFH the host bridge's
 * attribute map, which sends reads and writes of each 16 KiB to RAM or to ROM. Intel, "440FX PCIset", data sheet,
 * "PAM[6:0] — Programmable Attribute Map Registers".
 */
import { cpu, machine } from "../state/cpu";
import { bumpJumpGeneration } from "../records/block-cache";
import { updateContext } from "../state/mode";
import { flushAllContexts } from "./contexts";
import { ramAddress } from "./physical";

const SHADOWED: u64 = 0xc0000;
const SHADOWED_END: u64 = 0x100000;
/** The part of the ROM that is seen below 1 MiB, at most. */
const LOW_ROM_BYTES: u64 = 0x20000;
const FOUR_GIB: u64 = 0x100000000;

/** Wasm offset from which `size` bytes at `physical` are read, or code is fetched, or 0 when they are not all memory. */
export function readAddress(physical: u64, size: u32): usize {
  const bytes = <u64>machine.romBytes;
  if (bytes == 0) return ramAddress(physical, size);
  if (physical < SHADOWED_END && physical + size > SHADOWED) {
    if (reachesRam(machine.shadowReads, physical, size)) return ramAddress(physical, size);
    if (physical + size > SHADOWED_END || reachesAnyRam(machine.shadowReads, physical, size)) return 0;
    const low = bytes < LOW_ROM_BYTES ? bytes : LOW_ROM_BYTES;
    if (physical < SHADOWED_END - low) return 0;
    return <usize>machine.romBase + <usize>(bytes - (SHADOWED_END - physical));
  }
  if (physical >= FOUR_GIB - bytes && physical < FOUR_GIB) {
    if (<u64>size > FOUR_GIB - physical) return 0;
    return <usize>machine.romBase + <usize>(physical - (FOUR_GIB - bytes));
  }
  return ramAddress(physical, size);
}

/** Wasm offset to which they are written; 0 where writes reach no memory. */
export function writeAddress(physical: u64, size: u32): usize {
  if (machine.romBytes != 0 && physical < SHADOWED_END && physical + size > SHADOWED)
    if (!reachesRam(machine.shadowWrites, physical, size)) return 0;
  return ramAddress(physical, size);
}

/** Is a wasm offset one of ROM? */
export function isRom(offset: usize): bool {
  return offset >= <usize>machine.romBase && machine.romBytes != 0;
}

/** Bits of the 16-KiB parts that a range, which meets C0000H–FFFFFH, has in it. */
function partsOf(physical: u64, size: u32): u32 {
  const first = physical < SHADOWED ? 0 : <u32>((physical - SHADOWED) >> 14);
  const end = physical + size - 1;
  const last: u32 = end >= SHADOWED_END ? 15 : <u32>((end - SHADOWED) >> 14);
  return (((<u32>2) << (last - first)) - 1) << first;
}

function reachesRam(map: u32, physical: u64, size: u32): bool {
  return (partsOf(physical, size) & ~map) == 0;
}

function reachesAnyRam(map: u32, physical: u64, size: u32): bool {
  return (partsOf(physical, size) & map) != 0 || physical < SHADOWED;
}

/** The attribute map has changed since this CPU last looked. */
export function isMemoryMapStale(): bool {
  return cpu.memoryMap != currentMap();
}

function currentMap(): u32 {
  return machine.shadowReads | (machine.shadowWrites << 16);
}

/** The attribute map has changed: this CPU forgets what it translated by the old one, and leaves its block. */
export function forgetMemoryMap(): void {
  cpu.memoryMap = currentMap();
  flushAllContexts();
  updateContext();
  bumpJumpGeneration();
  cpu.recordEnd = 0;
  cpu.leave = 1;
}

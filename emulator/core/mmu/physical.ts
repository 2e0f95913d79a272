/**
 * Machine-physical memory: which addresses are RAM, and the one door for writes to it.
 *
 * SAFETY: `ramAddress` and, for a machine with firmware, rom.ts are the only places where a physical address becomes a wasm
 * offset. They return an offset only when all of [physical, physical + size) is RAM (or ROM); RAM is the top of the memory, so
 * nothing below it can be reached through a physical address.
 */
import { machine } from "../state/cpu";
import { invalidateCode, invalidateCodeFromOutside } from "../records/block-cache";
import { noteWatchedWrite } from "./monitor";

/** Bits of a page's flags. */
/** A CPU monitors a line in the page (monitor.ts). */
export const PAGE_WATCHED: u32 = 1 << 0;
export const PAGE_DIRTY_LOG: u32 = 1 << 1;
export const PAGE_CHECKPOINT: u32 = 1 << 2;
/** With PAGE_DIRTY_LOG or PAGE_CHECKPOINT: the page has been written since the flag was set. */
export const PAGE_WRITTEN: u32 = 1 << 8;
/** Parallel mode, with PAGE_WATCHED: every CPU has seen it. */
export const PAGE_WATCH_SEEN: u32 = 1 << 9;

const VGA_START: u64 = 0xa0000;
const VGA_END: u64 = 0xc0000;
const FOUR_GIB: u64 = 0x100000000;

/** Wasm offset of `size` bytes of RAM at `physical`, or 0 when they are not all RAM. */
export function ramAddress(physical: u64, size: u32): usize {
  const low = <u64>machine.lowRam;
  if (physical < low) {
    if (<u64>size > low - physical) return 0;
    if (physical < VGA_END && physical + size > VGA_START) return 0;
    return <usize>machine.ramBase + <usize>physical;
  }
  if (physical < FOUR_GIB) return 0;
  const above = physical - FOUR_GIB;
  const high = <u64>machine.highRam;
  if (above >= high || <u64>size > high - above) return 0;
  return <usize>machine.ramBase + <usize>machine.lowRam + <usize>above;
}

/** Is a wasm offset one of RAM? */
export function isRam(offset: usize): bool {
  return offset >= <usize>machine.ramBase;
}

/** The page-info entry of a RAM offset. */
export function pageInfoAt(offset: usize): usize {
  return <usize>machine.pageInfo + (((offset - <usize>machine.ramBase) >> 12) << 4);
}

/** True when a write to this RAM page must go through `noteWrite`: it holds code or somebody watches. */
export function isGuarded(offset: usize): bool {
  const info = pageInfoAt(offset);
  return (load<u64>(info) | (<u64>load<u32>(info, 8))) != 0;
}

/**
 * Tells the machine that `size` bytes at a RAM offset, within one page, have been written. Every write that
 * does not go through a write-TLB entry comes here, whether a CPU's or a device's.
 */
export function noteWrite(offset: usize, size: u32): void {
  if (reachesCode(offset, size)) invalidateCode(offset);
}

/** As `noteWrite`, by a thread that runs no CPU. */
export function noteWriteFromOutside(offset: usize, size: u32): void {
  if (reachesCode(offset, size)) invalidateCodeFromOutside(offset);
}

/** Logs the write and ends the monitoring of its lines; true when it touches a part of the page that holds decoded code. */
function reachesCode(offset: usize, size: u32): bool {
  const info = pageInfoAt(offset);
  const flags = load<u32>(info, 8);
  if (flags & (PAGE_DIRTY_LOG | PAGE_CHECKPOINT)) atomic.or<u32>(info + 8, PAGE_WRITTEN);
  if (flags & PAGE_WATCHED) noteWatchedWrite(offset, size);
  const mask = load<u64>(info);
  if (mask == 0) return false;
  const first = ((<u32>offset) & 0xfff) >> 6;
  const last = (((<u32>offset) & 0xfff) + size - 1) >> 6;
  const touched = (((<u64>2) << (last - first)) - 1) << first;
  return (mask & touched) != 0;
}

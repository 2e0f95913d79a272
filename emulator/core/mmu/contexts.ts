/**
 * Translation contexts: which 12-bit tag stands for which (VPID, PCID, EPTP, paging mode, privilege, PKRU).
 *
 * A TLB entry's tag is the linear page with the context's number in the low 12 bits. To invalidate a context
 * is to forget its number: nothing is swept, and a number comes back only after a sweep of the whole TLB.
 * Losing entries early is always allowed (SDM Vol. 3A, "Invalidation of TLBs and Paging-Structure Caches").
 */
import { CPU_CONTEXTS, CPU_TLB_EXECUTE, CPU_TLB_READ, CPU_TLB_WRITE, TLB_ENTRIES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { CONTEXT_KEYS, currentPcid } from "../state/mode";
import { forgetAllEptTables, forgetAllTables, forgetTables } from "./structure-cache";

/** Direct-mapped table: {key u64, eptp u64, asid u32, hasLargePages u32, pkru u32} in 28 of 48 bytes. */
const CONTEXT_COUNT: u32 = 64;
const CONTEXT_SIZE: usize = 48;
const KEY: usize = 0;
const EPTP: usize = 8;
const ASID: usize = 16;
const HAS_LARGE: usize = 20;
const PKRU: usize = 24;

function contextAt(index: u32): usize {
  return CPU + CPU_CONTEXTS + <usize>index * CONTEXT_SIZE;
}

function keyOf(flavor: u32): u64 {
  return (<u64>cpu.vpid) | ((<u64>currentPcid()) << 16) | ((<u64>flavor) << 28) | (1 << 63);
}

/** The tag (1..4095) of the current context in the given flavor; a new one when it has none. */
export function contextAsid(flavor: u32): u32 {
  const key = keyOf(flavor);
  const eptp = cpu.eptp;
  // Entries hold what PKRU allowed when they were made: another value of it is another context, so that WRPKRU drops nothing.
  const pkru: u32 = (flavor & CONTEXT_KEYS) != 0 ? cpu.pkru : 0;
  const hash = <u32>(((key ^ (eptp >> 12) ^ (<u64>pkru)) * 0x9e3779b97f4a7c15) >> 58);
  const at = contextAt(hash);
  if (load<u64>(at, KEY) == key && load<u64>(at, EPTP) == eptp && load<u32>(at, PKRU) == pkru) {
    cpu.contextLast = hash;
    return load<u32>(at, ASID);
  }
  if (cpu.asidNext >= 4096) flushAllContexts();
  const asid = cpu.asidNext++;
  store<u64>(at, key, KEY);
  store<u64>(at, eptp, EPTP);
  store<u32>(at, asid, ASID);
  store<u32>(at, 0, HAS_LARGE);
  store<u32>(at, pkru, PKRU);
  cpu.contextLast = hash;
  return asid;
}

/** Sweeps the TLB and forgets every context. The caller then calls `updateContext`. */
export function flushAllContexts(): void {
  memory.fill(CPU + CPU_TLB_READ, 0, TLB_ENTRIES << 4);
  memory.fill(CPU + CPU_TLB_WRITE, 0, TLB_ENTRIES << 4);
  memory.fill(CPU + CPU_TLB_EXECUTE, 0, TLB_ENTRIES << 4);
  memory.fill(CPU + CPU_CONTEXTS, 0, <usize>CONTEXT_COUNT * CONTEXT_SIZE);
  forgetAllTables();
  forgetAllEptTables();
  cpu.asidNext = 1;
  cpu.contextStale = 1;
}

/** Forgets contexts by VPID, and by PCID unless `pcid` is negative. The caller then calls `updateContext`. */
export function dropContexts(vpid: u32, pcid: i32): void {
  cpu.contextStale = 1;
  for (let index: u32 = 0; index < CONTEXT_COUNT; index++) {
    const at = contextAt(index);
    const key = load<u64>(at, KEY);
    if (key == 0 || ((<u32>key) & 0xffff) != vpid) continue;
    if (pcid >= 0 && ((<u32>(key >> 16)) & 0xfff) != <u32>pcid) continue;
    store<u64>(at, 0, KEY);
  }
}

/** Forgets every context. */
export function dropContextsOfVpids(): void {
  cpu.contextStale = 1;
  for (let index: u32 = 0; index < CONTEXT_COUNT; index++) store<u64>(contextAt(index), 0, KEY);
}

/** Forgets contexts that use an EPT hierarchy (0: any). */
export function dropContextsOfEpt(eptp: u64): void {
  cpu.contextStale = 1;
  forgetAllEptTables();
  for (let index: u32 = 0; index < CONTEXT_COUNT; index++) {
    const at = contextAt(index);
    const has = load<u64>(at, EPTP);
    if (has != 0 && (eptp == 0 || (has ^ eptp) >> 12 == 0)) store<u64>(at, 0, KEY);
  }
}

/** Notes that a large page was split into 4-KiB entries, so that INVLPG must drop more than one entry. */
export function noteLargePage(): void {
  store<u32>(contextAt(cpu.contextLast), 1, HAS_LARGE);
}

/**
 * INVLPG: drops the page's entries in every flavor of the current VPID and PCID. Entries are indexed by page
 * number alone, so one slot per array covers all flavors; a context that holds fragments of large pages is
 * forgotten whole. Paging-structure caches lose the entries of every address, as the manual wants.
 */
export function invalidatePage(linear: u64): void {
  forgetAllTables();
  const slot = ((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4;
  store<u64>(CPU + CPU_TLB_READ + slot, 0);
  store<u64>(CPU + CPU_TLB_WRITE + slot, 0);
  store<u64>(CPU + CPU_TLB_EXECUTE + slot, 0);
  cpu.contextStale = 1;
  const vpid = cpu.vpid;
  for (let index: u32 = 0; index < CONTEXT_COUNT; index++) {
    const at = contextAt(index);
    const key = load<u64>(at, KEY);
    if (key != 0 && ((<u32>key) & 0xffff) == vpid && load<u32>(at, HAS_LARGE) != 0) store<u64>(at, 0, KEY);
  }
}

/**
 * A page fault at an address drops what translates it: SDM Vol. 3A, "Operations that Invalidate TLBs and Paging-Structure Caches". So
 * an operating system that grants more rights need not invalidate anything. Instruction fetches keep theirs (docs/known-gaps.md).
 */
export function forgetFaulting(linear: u64): void {
  const slot = ((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4;
  store<u64>(CPU + CPU_TLB_READ + slot, 0);
  store<u64>(CPU + CPU_TLB_WRITE + slot, 0);
  forgetTables(linear);
}

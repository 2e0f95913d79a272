/**
 * Paging-structure caches: SDM Vol. 3A, "Paging-Structure Caches"; Vol. 3C, "Information That May Be Cached". An entry stands for the
 * upper part of an address and says where the next table is, so that a walk begins there.
 *
 * Linear addresses have entries of three levels, which with EPT are combined mappings; guest-physical ones have their own.
 * A linear entry's tag holds the context's number (mmu/contexts.ts): forgetting a context forgets its entries.
 */
import { CPU_EPT_STRUCTURES, CPU_STRUCTURES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";

/** Entries a level; a power of two. Level 1 is that of page-directory entries. */
const PER_LEVEL: usize = 16;
const LEVELS: u32 = 3;
/** {tag u64, owner u64, table u64 machine-physical, its guest-physical address u64, rights u64, unused u64} */
const ENTRY_SHIFT: usize = 6;
const BYTES: usize = (<usize>LEVELS * PER_LEVEL) << ENTRY_SHIFT;
const OWNER: usize = 8;
const TABLE: usize = 16;
const GUEST_TABLE: usize = 24;
const RIGHTS: usize = 32;
/** Makes a tag that no empty entry has. */
const PRESENT: u64 = 1 << 63;

function entryAt(array: usize, address: u64, level: u32): usize {
  const index = (<usize>(address >> (12 + 9 * <u64>level))) & (PER_LEVEL - 1);
  return CPU + array + ((<usize>(level - 1) * PER_LEVEL + index) << ENTRY_SHIFT);
}

function tagOf(address: u64, level: u32, context: u64): u64 {
  return PRESENT | ((address >> (12 + 9 * <u64>level)) << 12) | context;
}

/** The cached next table of a linear address below an entry of `level` (1 to 3); 0 when there is none. */
export function cachedTable(linear: u64, level: u32): usize {
  const entry = entryAt(CPU_STRUCTURES, linear, level);
  return load<u64>(entry) == tagOf(linear, level, <u64>cpu.asid) ? entry : 0;
}

/**
 * Notes where the entry of `level` points.
 *
 * @param table machine-physical address of the next table, `guestTable` the one that the entry holds
 * @param rights what all entries so far allow, in the walk's own form
 */
export function cacheTable(linear: u64, level: u32, table: u64, guestTable: u64, rights: u64): void {
  if (cpu.walksCached == 0) return;
  const entry = entryAt(CPU_STRUCTURES, linear, level);
  store<u64>(entry, tagOf(linear, level, <u64>cpu.asid));
  store<u64>(entry, table, TABLE);
  store<u64>(entry, guestTable, GUEST_TABLE);
  store<u64>(entry, rights, RIGHTS);
}

/** As `cachedTable`, for a guest-physical address in the EPT hierarchy in use. */
export function cachedEptTable(guestPhysical: u64, level: u32): usize {
  const entry = entryAt(CPU_EPT_STRUCTURES, guestPhysical, level);
  const isOwn = load<u64>(entry) == tagOf(guestPhysical, level, 0) && load<u64>(entry, OWNER) == cpu.eptp;
  return isOwn ? entry : 0;
}

/** As `cacheTable`. */
export function cacheEptTable(guestPhysical: u64, level: u32, table: u64, rights: u64): void {
  if (cpu.walksCached == 0) return;
  const entry = entryAt(CPU_EPT_STRUCTURES, guestPhysical, level);
  store<u64>(entry, tagOf(guestPhysical, level, 0));
  store<u64>(entry, cpu.eptp, OWNER);
  store<u64>(entry, table, TABLE);
  store<u64>(entry, rights, RIGHTS);
}

/** Fields of an entry. */
export function tableOf(entry: usize): u64 {
  return load<u64>(entry, TABLE);
}
export function guestTableOf(entry: usize): u64 {
  return load<u64>(entry, GUEST_TABLE);
}
export function rightsOf(entry: usize): u64 {
  return load<u64>(entry, RIGHTS);
}

/** A fault or VM exit at a linear address: the entries that a walk to it would use, of every context. */
export function forgetTables(linear: u64): void {
  for (let level: u32 = 1; level <= LEVELS; level++) store<u64>(entryAt(CPU_STRUCTURES, linear, level), 0);
}

/** As `forgetTables`, for a guest-physical address. */
export function forgetEptTables(guestPhysical: u64): void {
  for (let level: u32 = 1; level <= LEVELS; level++)
    store<u64>(entryAt(CPU_EPT_STRUCTURES, guestPhysical, level), 0);
}

export function forgetAllTables(): void {
  memory.fill(CPU + CPU_STRUCTURES, 0, BYTES);
}

export function forgetAllEptTables(): void {
  memory.fill(CPU + CPU_EPT_STRUCTURES, 0, BYTES);
}

/**
 * Linear-address translation (SDM Vol. 3A, "Paging"): no paging, 32-bit, PAE, 4-level and 5-level, each on top of EPT
 * when the CPU runs a guest that has it.
 */
import {
  PF_FETCH,
  PF_KEY,
  PF_PRESENT,
  PF_RESERVED,
  PF_USER,
  PF_WRITE,
  PHYSICAL_MASK,
  PTE_A,
  PTE_D,
  PTE_NX,
  PTE_P,
  PTE_PS,
  PTE_RW,
  PTE_US,
} from "../spec/architecture";
import { CPU_PDPTE } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import {
  CONTEXT_KEYS,
  CONTEXT_LA57,
  CONTEXT_LONG,
  CONTEXT_NX,
  CONTEXT_PAE,
  CONTEXT_PAGING,
  CONTEXT_PSE,
  CONTEXT_SMAP,
  CONTEXT_SMEP,
  CONTEXT_USER,
  CONTEXT_WP,
} from "../state/mode";
import { raisePageFault } from "../interrupts/raise";
import { APIC_ACCESS, exitOnApicWalk } from "../vmx/virtual-apic";
import { FOR_DATA, FOR_WALK, eptTranslate } from "./ept-walk";
import { forgetFaulting, noteLargePage } from "./contexts";
import { cacheTable, cachedTable, guestTableOf, rightsOf, tableOf } from "./structure-cache";
import { noteWrite, isGuarded } from "./physical";
import { isRom, readAddress } from "./rom";

export const ACCESS_READ: u32 = 0;
export const ACCESS_WRITE: u32 = 1;
export const ACCESS_EXECUTE: u32 = 2;

/** "No translation": the fault or VM exit has been recorded. */
export const NO_TRANSLATION: u64 = 0xffffffffffffffff;

const ADDRESS: u64 = 0x000ffffffffff000;
/** Bits 62:59 of an entry that maps a page: its protection key. */
const PTE_KEY_SHIFT: u64 = 59;
/** The two bits of a key in PKRU: access disabled, writing disabled. */
const PKRU_AD: u32 = 1 << 0;
const PKRU_WD: u32 = 1 << 1;
/** Bits of an entry's address field beyond the physical-address width. */
const RESERVED_ADDRESS: u64 = ADDRESS & ~PHYSICAL_MASK;

/** Guest-physical to machine-physical; the identity without EPT. An address on the APIC-access page is marked as one. */
export function machinePhysical(guestPhysical: u64, linear: u64, access: u32, use: u32): u64 {
  if (cpu.vmxNonRoot == 0) return guestPhysical;
  const physical = cpu.eptp == 0 ? guestPhysical : eptTranslate(guestPhysical, linear, access, use);
  if ((physical & ~(<u64>0xfff)) != cpu.apicAccessPage || physical == NO_TRANSLATION) return physical;
  if (use == FOR_DATA) return physical | APIC_ACCESS;
  if (cpu.eptp == 0) return physical;
  exitOnApicWalk(physical);
  return NO_TRANSLATION;
}

/** Wasm offset of a paging-structure entry, or 0 (outside RAM, or fault recorded). */
function entryAddress(guestPhysical: u64, linear: u64, size: u32): usize {
  cpu.walkReferences++;
  const at = machinePhysical(guestPhysical, linear, ACCESS_READ, FOR_WALK);
  if (at == NO_TRANSLATION) return 0;
  return readAddress(at, size);
}

/** Sets bits of an entry, as the locked update of a processor. False when EPT forbids it (exit recorded). */
function setEntryBits(address: usize, guestPhysical: u64, linear: u64, bits: u64, wide: bool): bool {
  if (cpu.eptp != 0 && eptTranslate(guestPhysical, linear, ACCESS_WRITE, FOR_WALK) == NO_TRANSLATION)
    return false;
  if (isRom(address)) return true;
  if (wide) atomic.or<u64>(address, bits);
  else atomic.or<u32>(address, <u32>bits);
  if (isGuarded(address)) noteWrite(address, wide ? 8 : 4);
  return true;
}

function pageFault(linear: u64, access: u32, flavor: u32, flags: u32): u64 {
  let error = flags;
  if (access == ACCESS_WRITE) error |= PF_WRITE;
  if (flavor & CONTEXT_USER) error |= PF_USER;
  if (
    access == ACCESS_EXECUTE &&
    (((flavor & CONTEXT_NX) != 0 && (flavor & CONTEXT_PAE) != 0) || (flavor & CONTEXT_SMEP) != 0)
  )
    error |= PF_FETCH;
  forgetFaulting(linear);
  raisePageFault(linear, error);
  return NO_TRANSLATION;
}

/** Are the collected rights (RW and US: 1 = allowed all the way; NX: 1 = some level forbids) enough? */
function isAllowed(writable: bool, user: bool, noExecute: bool, access: u32, flavor: u32): bool {
  if (flavor & CONTEXT_USER) {
    if (!user) return false;
    if (access == ACCESS_WRITE) return writable;
    return access != ACCESS_EXECUTE || !noExecute;
  }
  if (access == ACCESS_EXECUTE) return !noExecute && !(user && (flavor & CONTEXT_SMEP) != 0);
  if (user && (flavor & CONTEXT_SMAP) != 0) return false;
  return access != ACCESS_WRITE || writable || (flavor & CONTEXT_WP) == 0;
}

/**
 * PF_KEY where protection keys forbid a data access to a user page with this entry, else 0. SDM Vol. 3A, "Protection Keys".
 */
function keyViolation(entry: u64, access: u32, flavor: u32): u32 {
  if ((flavor & CONTEXT_KEYS) == 0 || access == ACCESS_EXECUTE) return 0;
  const rights = (cpu.pkru >> (((<u32>(entry >> PTE_KEY_SHIFT)) & 15) << 1)) & 3;
  if ((rights & PKRU_AD) != 0) return PF_KEY;
  const isWriteChecked = access == ACCESS_WRITE && (flavor & (CONTEXT_USER | CONTEXT_WP)) != 0;
  return (rights & PKRU_WD) != 0 && isWriteChecked ? PF_KEY : 0;
}

/**
 * Translates a canonical linear address, sets accessed and dirty bits.
 *
 * @param access ACCESS_*; decides the rights checked and the #PF error code
 * @param flavor CONTEXT_*: paging mode and privilege of the access
 * @returns machine-physical address, or NO_TRANSLATION with the fault or VM exit recorded
 */
export function translate(linear: u64, access: u32, flavor: u32): u64 {
  if ((flavor & CONTEXT_PAGING) == 0) {
    // Without paging all linear addresses are user-mode addresses to mode-based execute control.
    cpu.walkUser = 1;
    return machinePhysical(linear & 0xffffffff, linear, access, FOR_DATA);
  }
  if ((flavor & CONTEXT_PAE) == 0) return translate32(linear, access, flavor);
  return translateWide(linear, access, flavor);
}

/** What the upper entries of a walk allow together, as paging-structure caches hold it. */
const ALLOWS_WRITE: u64 = 1 << 0;
const ALLOWS_USER: u64 = 1 << 1;
const FORBIDS_EXECUTE: u64 = 1 << 2;

function rightsWord(writable: bool, user: bool, noExecute: bool): u64 {
  return (writable ? ALLOWS_WRITE : 0) | (user ? ALLOWS_USER : 0) | (noExecute ? FORBIDS_EXECUTE : 0);
}

/** PAE, 4-level and 5-level paging: 8-byte entries. */
function translateWide(linear: u64, access: u32, flavor: u32): u64 {
  let level: u32;
  let table: u64;
  if (flavor & CONTEXT_LONG) {
    level = (flavor & CONTEXT_LA57) != 0 ? 4 : 3;
    table = cpu.cr3 & ADDRESS & PHYSICAL_MASK;
  } else {
    // PAE: the four PDPTEs are registers, loaded with CR3.
    const pdpte = load<u64>(CPU + CPU_PDPTE + (((<usize>(linear >> 30)) & 3) << 3));
    if ((pdpte & PTE_P) == 0) return pageFault(linear, access, flavor, 0);
    level = 1;
    table = pdpte & ADDRESS;
  }
  let writable = true;
  let user = true;
  let noExecute = false;
  // Wasm offset of the table, where a paging-structure cache knows it.
  let tableAt: usize = 0;
  for (let cached: u32 = 1; cached <= min<u32>(level, 3); cached++) {
    const entry = cachedTable(linear, cached);
    if (entry == 0) continue;
    level = cached - 1;
    table = guestTableOf(entry);
    tableAt = <usize>tableOf(entry);
    const rights = rightsOf(entry);
    writable = (rights & ALLOWS_WRITE) != 0;
    user = (rights & ALLOWS_USER) != 0;
    noExecute = (rights & FORBIDS_EXECUTE) != 0;
    break;
  }
  // Entries are cached when their accessed bits are set, and below the top of the walk.
  let isCacheable = false;
  // Upper entries whose accessed bit waits until the translation has succeeded: {address, guest-physical}.
  let a4: usize = 0,
    a3: usize = 0,
    a2: usize = 0,
    a1: usize = 0;
  let p4: u64 = 0,
    p3: u64 = 0,
    p2: u64 = 0,
    p1: u64 = 0;
  for (;;) {
    const offset = ((linear >> (12 + 9 * level)) & 511) << 3;
    const entryPhysical = table + offset;
    let at: usize = tableAt + <usize>offset;
    if (tableAt != 0) {
      cpu.walkReferences++;
      tableAt = 0;
    } else {
      at = entryAddress(entryPhysical, linear, 8);
      if (at == 0) {
        if (cpu.recordEnd == 0 && cpu.faultVector != -1) return NO_TRANSLATION;
        return pageFault(linear, access, flavor, 0);
      }
      if (isCacheable && level < 3)
        cacheTable(linear, level + 1, at - <usize>offset, table, rightsWord(writable, user, noExecute));
    }
    const entry = load<u64>(at);
    if ((entry & PTE_P) == 0) return pageFault(linear, access, flavor, 0);
    let reserved = RESERVED_ADDRESS;
    if ((flavor & CONTEXT_NX) == 0) reserved |= PTE_NX;
    const isLarge = (entry & PTE_PS) != 0 && level > 0;
    if (isLarge) {
      if (level >= 3) reserved |= PTE_PS;
      else reserved |= ((((<u64>1) << (9 * level)) - 1) << 12) & ~((<u64>1) << 12);
    }
    // PAE below long mode reserves bits 62:52 as well.
    if ((flavor & CONTEXT_LONG) == 0) reserved |= 0x7ff0000000000000;
    if ((entry & reserved) != 0) return pageFault(linear, access, flavor, PF_PRESENT | PF_RESERVED);
    writable = writable && (entry & PTE_RW) != 0;
    user = user && (entry & PTE_US) != 0;
    noExecute = noExecute || (entry & PTE_NX) != 0;
    if (level != 0 && !isLarge) {
      isCacheable = (entry & PTE_A) != 0 && (a4 | a3 | a2 | a1) == 0;
      if ((entry & PTE_A) == 0) {
        if (level == 4) {
          a4 = at;
          p4 = entryPhysical;
        } else if (level == 3) {
          a3 = at;
          p3 = entryPhysical;
        } else if (level == 2) {
          a2 = at;
          p2 = entryPhysical;
        } else {
          a1 = at;
          p1 = entryPhysical;
        }
      }
      table = entry & ADDRESS;
      level--;
      continue;
    }
    const key = user ? keyViolation(entry, access, flavor) : 0;
    if (key != 0 || !isAllowed(writable, user, noExecute, access, flavor))
      return pageFault(linear, access, flavor, PF_PRESENT | key);
    if (a4 != 0 && !setEntryBits(a4, p4, linear, PTE_A, true)) return NO_TRANSLATION;
    if (a3 != 0 && !setEntryBits(a3, p3, linear, PTE_A, true)) return NO_TRANSLATION;
    if (a2 != 0 && !setEntryBits(a2, p2, linear, PTE_A, true)) return NO_TRANSLATION;
    if (a1 != 0 && !setEntryBits(a1, p1, linear, PTE_A, true)) return NO_TRANSLATION;
    const want = access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
    if ((entry & want) != want && !setEntryBits(at, entryPhysical, linear, want, true)) return NO_TRANSLATION;
    if (level != 0) noteLargePage();
    const offsetMask: u64 = ((<u64>1) << (12 + 9 * level)) - 1;
    const guestPhysical = (entry & ADDRESS & ~offsetMask) | (linear & offsetMask);
    cpu.walkUser = user ? 1 : 0;
    return machinePhysical(guestPhysical, linear, access, FOR_DATA);
  }
}

/** 32-bit paging: 4-byte entries, 4-MByte pages with PSE (and PSE-36 addresses). */
function translate32(linear: u64, access: u32, flavor: u32): u64 {
  const cached = cachedTable(linear, 1);
  let directoryPhysical: u64 = 0;
  let directoryAt: usize = 0;
  let tablePhysical: u64;
  let tableAt: usize;
  let writable: bool;
  let user: bool;
  const offset = ((linear >> 12) & 1023) << 2;
  if (cached != 0) {
    cpu.walkReferences++;
    tablePhysical = guestTableOf(cached) + offset;
    tableAt = <usize>tableOf(cached) + <usize>offset;
    writable = (rightsOf(cached) & ALLOWS_WRITE) != 0;
    user = (rightsOf(cached) & ALLOWS_USER) != 0;
  } else {
    directoryPhysical = (cpu.cr3 & 0xfffff000) + (((linear >> 22) & 1023) << 2);
    directoryAt = entryAddress(directoryPhysical, linear, 4);
    if (directoryAt == 0)
      return cpu.faultVector != -1 ? NO_TRANSLATION : pageFault(linear, access, flavor, 0);
    const directory = load<u32>(directoryAt);
    if ((directory & (<u32>PTE_P)) == 0) return pageFault(linear, access, flavor, 0);
    if ((directory & (<u32>PTE_PS)) != 0 && (flavor & CONTEXT_PSE) != 0)
      return translateLarge32(linear, access, flavor, directory, directoryAt, directoryPhysical);
    writable = (directory & (<u32>PTE_RW)) != 0;
    user = (directory & (<u32>PTE_US)) != 0;
    tablePhysical = <u64>(directory & 0xfffff000) + offset;
    tableAt = entryAddress(tablePhysical, linear, 4);
    if (tableAt == 0) return cpu.faultVector != -1 ? NO_TRANSLATION : pageFault(linear, access, flavor, 0);
    if ((directory & (<u32>PTE_A)) != 0) {
      cacheTable(
        linear,
        1,
        tableAt - <usize>offset,
        tablePhysical - offset,
        rightsWord(writable, user, false),
      );
      directoryAt = 0;
    }
  }
  const entry = load<u32>(tableAt);
  if ((entry & (<u32>PTE_P)) == 0) return pageFault(linear, access, flavor, 0);
  writable = writable && (entry & (<u32>PTE_RW)) != 0;
  user = user && (entry & (<u32>PTE_US)) != 0;
  if (!isAllowed(writable, user, false, access, flavor)) return pageFault(linear, access, flavor, PF_PRESENT);
  if (directoryAt != 0 && !setEntryBits(directoryAt, directoryPhysical, linear, PTE_A, false))
    return NO_TRANSLATION;
  const want = access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
  if (((<u64>entry) & want) != want && !setEntryBits(tableAt, tablePhysical, linear, want, false))
    return NO_TRANSLATION;
  cpu.walkUser = user ? 1 : 0;
  return machinePhysical((<u64>(entry & 0xfffff000)) | (linear & 0xfff), linear, access, FOR_DATA);
}

/** A 4-MByte page of 32-bit paging, by its page-directory entry. */
function translateLarge32(
  linear: u64,
  access: u32,
  flavor: u32,
  directory: u32,
  at: usize,
  physical: u64,
): u64 {
  const writable = (directory & (<u32>PTE_RW)) != 0;
  const user = (directory & (<u32>PTE_US)) != 0;
  // Bits 20:13 are address bits 39:32 (PSE-36 with 40 physical bits); bit 21 is reserved.
  if ((directory & 0x00200000) != 0) return pageFault(linear, access, flavor, PF_PRESENT | PF_RESERVED);
  if (!isAllowed(writable, user, false, access, flavor)) return pageFault(linear, access, flavor, PF_PRESENT);
  const want = access == ACCESS_WRITE ? PTE_A | PTE_D : PTE_A;
  if (((<u64>directory) & want) != want && !setEntryBits(at, physical, linear, want, false))
    return NO_TRANSLATION;
  noteLargePage();
  const base = (<u64>(directory & 0xffc00000)) | (((<u64>(directory >> 13)) & 0xff) << 32);
  cpu.walkUser = user ? 1 : 0;
  return machinePhysical(base | (linear & 0x3fffff), linear, access, FOR_DATA);
}

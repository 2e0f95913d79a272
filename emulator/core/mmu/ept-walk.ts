/**
 * Extended page tables (SDM Vol. 3C, "The Extended Page Table Mechanism (EPT)"): 4 levels, 4-KByte, 2-MByte and
 * 1-GByte pages, accessed and dirty flags when EPTP bit 6 asks for them.
 */
import { PHYSICAL_MASK } from "../spec/architecture";
import { CPU_EMULATED_PAGES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { ACCESS_EXECUTE, ACCESS_READ, ACCESS_WRITE, NO_TRANSLATION } from "./walk";
import { ramAddress } from "./physical";
import {
  EPT_CAPABILITY_EXECUTE_ONLY,
  EPT_CAPABILITY_PAGES_1G,
  SECONDARY_MODE_BASED_EXECUTE,
} from "../spec/vmx";
import { eptViolation, exitEptMisconfiguration, logModifiedPage } from "../vmx/ept-exits";
import { noteLargePage } from "./contexts";
import { cacheEptTable, cachedEptTable, rightsOf, tableOf } from "./structure-cache";

const EPT_READ: u64 = 1 << 0;
const EPT_WRITE: u64 = 1 << 1;
const EPT_EXECUTE: u64 = 1 << 2;
const EPT_RIGHTS: u64 = 7;
/** With mode-based execute control: execute access for user-mode linear addresses, while bit 2 is for the others. */
const EPT_EXECUTE_USER: u64 = 1 << 10;
const SUPPRESS_VE: u64 = 1 << 63;
const EPT_LARGE: u64 = 1 << 7;
const EPT_A: u64 = 1 << 8;
const EPT_D: u64 = 1 << 9;
const EPTP_AD: u64 = 1 << 6;
/** Marks a guest-physical address that the host's emulator answers; above every physical address. */
export const EMULATED: u64 = 1 << 52;

const ADDRESS: u64 = 0x000ffffffffff000;

/** EPT misconfiguration by the manual's list ("EPT Misconfigurations"). */
function isMisconfigured(entry: u64, level: u32, isLeaf: bool): bool {
  const rights = entry & EPT_RIGHTS;
  if ((rights & (EPT_READ | EPT_WRITE)) == EPT_WRITE) return true;
  // Execute-only, where IA32_VMX_EPT_VPID_CAP does not report it.
  if ((rights & EPT_READ) == 0 && (cpu.vmxEptCapability & EPT_CAPABILITY_EXECUTE_ONLY) == 0) return true;
  if ((entry & ADDRESS & ~PHYSICAL_MASK) != 0) return true;
  if (!isLeaf) {
    // Reserved: bits 7:3 of a reference to a table (bit 7 set makes a leaf below level 3).
    return (entry & 0x78) != 0 || (level == 3 && (entry & EPT_LARGE) != 0);
  }
  if (level == 2 && (cpu.vmxEptCapability & EPT_CAPABILITY_PAGES_1G) == 0) return true;
  const memoryType = (<u32>(entry >> 3)) & 7;
  if (memoryType == 2 || memoryType == 3 || memoryType == 7) return true;
  // A large page's address is aligned to its size.
  return level > 0 && (entry & ((((<u64>1) << (9 * level)) - 1) << 12)) != 0;
}

/** What an access to guest-physical memory is for. */
export const FOR_DATA: u32 = 0;
/** A paging-structure entry of the guest, on the way to a linear address. */
export const FOR_WALK: u32 = 1;
/** PDPTEs that MOV to a control register loads: no linear address. */
export const FOR_PDPTES: u32 = 2;

function usesModeBasedExecute(): bool {
  return (cpu.proc2Controls & SECONDARY_MODE_BASED_EXECUTE) != 0;
}

/**
 * Guest-physical to machine-physical.
 *
 * @param linear the linear address being translated, for the exit's guest-linear-address field
 * @param use FOR_*
 * @returns machine-physical, or NO_TRANSLATION with an EPT violation (exit or #VE), misconfiguration or log-full exit recorded
 */
export function eptTranslate(guestPhysical: u64, linear: u64, access: u32, use: u32): u64 {
  const eptp = cpu.eptp;
  const hasAccessedDirty = (eptp & EPTP_AD) != 0;
  // With accessed and dirty flags on, a walk's reads of paging structures count as writes.
  const effective = hasAccessedDirty && use == FOR_WALK ? ACCESS_WRITE : access;
  // The instruction emulator's page: handed to the host, by an address that no RAM has.
  if (cpu.emulating != 0 && use == FOR_DATA && isEmulatedPage(guestPhysical & ~(<u64>0xfff)))
    return guestPhysical | EMULATED;
  if ((guestPhysical & ~PHYSICAL_MASK) != 0) {
    eptViolation(guestPhysical, linear, effective, 0, use, true);
    return NO_TRANSLATION;
  }
  const modeBased = usesModeBasedExecute();
  const present: u64 = modeBased ? EPT_RIGHTS | EPT_EXECUTE_USER : EPT_RIGHTS;
  let table = eptp & ADDRESS;
  let rights = present;
  let level: u32 = 3;
  for (let cached: u32 = 1; cached <= 3; cached++) {
    const entry = cachedEptTable(guestPhysical, cached);
    if (entry == 0) continue;
    level = cached - 1;
    table = tableOf(entry);
    rights = rightsOf(entry);
    break;
  }
  for (;;) {
    cpu.walkReferences++;
    const at = ramAddress(table + (((guestPhysical >> (12 + 9 * level)) & 511) << 3), 8);
    const entry = at != 0 ? load<u64>(at) : 0;
    if ((entry & present) == 0) {
      eptViolation(guestPhysical, linear, effective, 0, use, (entry & SUPPRESS_VE) != 0);
      return NO_TRANSLATION;
    }
    const isLeaf = level == 0 || ((entry & EPT_LARGE) != 0 && level < 3);
    if (isMisconfigured(entry, level, isLeaf)) {
      exitEptMisconfiguration(guestPhysical);
      return NO_TRANSLATION;
    }
    rights &= entry;
    if (!isLeaf) {
      if (hasAccessedDirty && (entry & EPT_A) == 0) atomic.or<u64>(at, EPT_A);
      table = entry & ADDRESS;
      cacheEptTable(guestPhysical, level, table, rights);
      level--;
      continue;
    }
    let need = effective == ACCESS_READ ? EPT_READ : effective == ACCESS_WRITE ? EPT_WRITE : EPT_EXECUTE;
    if (modeBased && effective == ACCESS_EXECUTE && cpu.walkUser != 0) need = EPT_EXECUTE_USER;
    if (
      (rights & need) == 0 ||
      (effective == ACCESS_WRITE && access == ACCESS_READ && (rights & EPT_READ) == 0)
    ) {
      eptViolation(guestPhysical, linear, effective, rights, use, (entry & SUPPRESS_VE) != 0);
      return NO_TRANSLATION;
    }
    if (hasAccessedDirty) {
      const want = effective == ACCESS_WRITE ? EPT_A | EPT_D : EPT_A;
      if ((entry & want) != want) {
        if ((want & ~entry & EPT_D) != 0 && !logModifiedPage(guestPhysical)) return NO_TRANSLATION;
        atomic.or<u64>(at, want);
      }
    }
    if (level != 0) noteLargePage();
    const offsetMask: u64 = ((<u64>1) << (12 + 9 * level)) - 1;
    return (entry & ADDRESS & ~offsetMask) | (guestPhysical & offsetMask);
  }
}

/** May the instruction that the hypervisor's emulator runs reach this page through the host? */
function isEmulatedPage(page: u64): bool {
  for (let i: usize = 0; i < <usize>cpu.emulatedPageCount; i++)
    if (load<u64>(CPU + CPU_EMULATED_PAGES + (i << 3)) == page) return true;
  return false;
}

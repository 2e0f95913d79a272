/**
 * What the core derives from control registers, segments and flags: code size, stack kind, the key of decoded
 * blocks and the translation context. Whoever changes an input calls the matching function here.
 */
import {
  AR_CODE,
  AR_DB,
  AR_DC,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_UNUSABLE,
  CR0_AM,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
  FLAG_AC,
  FLAG_VM,
} from "../spec/architecture";
import { CPU_SEG_BASE, CPU_SEG_LIMIT, CPU_SEG_RIGHTS, CPU_SEG_SELECTOR } from "../layout.generated";
import { CPU, CS, DS, ES, SS, cpu } from "./cpu";
import { updateMedia } from "./media";
import { contextAsid } from "../mmu/contexts";

export function segSelector(index: u32): u32 {
  return <u32>load<u64>(CPU + CPU_SEG_SELECTOR + ((<usize>index) << 3));
}
export function segBase(index: u32): u64 {
  return load<u64>(CPU + CPU_SEG_BASE + ((<usize>index) << 3));
}
export function segLimit(index: u32): u32 {
  return <u32>load<u64>(CPU + CPU_SEG_LIMIT + ((<usize>index) << 3));
}
export function segRights(index: u32): u64 {
  return load<u64>(CPU + CPU_SEG_RIGHTS + ((<usize>index) << 3));
}
export function setSegment(index: u32, selector: u32, base: u64, limit: u32, rights: u64): void {
  const at = CPU + ((<usize>index) << 3);
  store<u64>(at + CPU_SEG_SELECTOR, <u64>selector);
  store<u64>(at + CPU_SEG_BASE, base);
  store<u64>(at + CPU_SEG_LIMIT, <u64>limit);
  store<u64>(at + CPU_SEG_RIGHTS, rights);
  cpu.guestStateChanged = 1;
  // Far branches alone load CS.
  if (index == CS) cpu.branchTaken = 1;
}
export function setSegBase(index: u32, base: u64): void {
  store<u64>(CPU + CPU_SEG_BASE + ((<usize>index) << 3), base);
  cpu.guestStateChanged = 1;
}

export function isProtected(): bool {
  return (cpu.cr0 & CR0_PE) != 0;
}
export function isVirtual8086(): bool {
  return (cpu.rflags & FLAG_VM) != 0;
}
/** Real-address or virtual-8086 mode: segments are loaded as selector × 16. */
export function isRealOrV86(): bool {
  return !isProtected() || isVirtual8086();
}
export function isLongMode(): bool {
  return (cpu.efer & EFER_LMA) != 0;
}
export function is64(): bool {
  return cpu.codeSize == 2;
}

export const STACK_64: u32 = 0;
export const STACK_FLAT32: u32 = 1;
export const STACK_SEGMENTED: u32 = 2;

/** Bits of Cpu.modeKey. */
export const MODE_CODE_SIZE: u32 = 3;
/** In MODE_CODE_SIZE: 64-bit code. */
export const MODE_64: u32 = 2;
export const MODE_FLAT: u32 = 4;

/** A data segment through which a 32-bit offset *is* the linear address and every access is allowed. */
function isFlat(index: u32): bool {
  const rights = segRights(index);
  return (
    segBase(index) == 0 &&
    segLimit(index) == 0xffffffff &&
    (rights & (AR_P | AR_S | AR_RW | AR_CODE | AR_DC | AR_UNUSABLE)) == (AR_P | AR_S | AR_RW)
  );
}

/** After CS, SS, DS, ES, CR0.PE, EFER.LMA or RFLAGS.VM changed. */
export function updateMode(): void {
  const cs = segRights(CS);
  const long = isLongMode();
  if (long && (cs & AR_L) != 0) {
    cpu.codeSize = 2;
    cpu.stackKind = STACK_64;
    cpu.modeKey = 2;
  } else {
    cpu.codeSize = (cs & AR_DB) != 0 && !isVirtual8086() ? 1 : 0;
    const flatSs = isFlat(SS) && (segRights(SS) & AR_DB) != 0;
    const protectedFlat =
      isProtected() &&
      !isVirtual8086() &&
      flatSs &&
      isFlat(DS) &&
      isFlat(ES) &&
      segBase(CS) == 0 &&
      segLimit(CS) == 0xffffffff;
    cpu.stackKind = protectedFlat ? STACK_FLAT32 : STACK_SEGMENTED;
    cpu.modeKey = cpu.codeSize | (protectedFlat ? MODE_FLAT : 0);
  }
  updateMedia();
  updateJumpKey();
}

export function updateJumpKey(): void {
  cpu.jumpKey = cpu.asid | (cpu.modeKey << 12) | (cpu.jumpGeneration << 16);
  // 64-bit code or flat segments. Keys have no bit 15.
  cpu.followKey = (cpu.modeKey & (MODE_64 | MODE_FLAT)) != 0 ? cpu.jumpKey : 0xffffffff;
}

export const CONTEXT_USER: u32 = 1 << 0;
export const CONTEXT_PAGING: u32 = 1 << 1;
export const CONTEXT_WP: u32 = 1 << 2;
export const CONTEXT_PSE: u32 = 1 << 3;
export const CONTEXT_PAE: u32 = 1 << 4;
export const CONTEXT_LONG: u32 = 1 << 5;
export const CONTEXT_NX: u32 = 1 << 6;
export const CONTEXT_SMEP: u32 = 1 << 7;
export const CONTEXT_SMAP: u32 = 1 << 8;
/** Alignment is checked: a context of its own, whose accesses find no TLB entry. */
export const CONTEXT_ALIGNMENT: u32 = 1 << 9;
/** Five levels of paging structures. */
export const CONTEXT_LA57: u32 = 1 << 10;
/** Protection keys are on: PKRU is part of what decides (mmu/contexts.ts). */
export const CONTEXT_KEYS: u32 = 1 << 11;

/** The paging mode and privilege that decide what a TLB entry allows, as one word. */
export function contextFlavor(user: bool): u32 {
  let flavor: u32 = 0;
  if (user) {
    flavor |= CONTEXT_USER;
    if ((cpu.rflags & FLAG_AC) != 0 && (cpu.cr0 & CR0_AM) != 0) flavor |= CONTEXT_ALIGNMENT;
  }
  if ((cpu.cr0 & CR0_PG) == 0) return flavor;
  flavor |= CONTEXT_PAGING;
  if (cpu.cr0 & CR0_WP) flavor |= CONTEXT_WP;
  if (cpu.cr4 & CR4_PSE) flavor |= CONTEXT_PSE;
  if (cpu.cr4 & CR4_PAE) flavor |= CONTEXT_PAE;
  if (isLongMode()) {
    flavor |= CONTEXT_LONG;
    if (cpu.cr4 & CR4_LA57) flavor |= CONTEXT_LA57;
    if (cpu.cr4 & CR4_PKE) flavor |= CONTEXT_KEYS;
  }
  if (cpu.efer & EFER_NXE) flavor |= CONTEXT_NX;
  if (cpu.cr4 & CR4_SMEP) flavor |= CONTEXT_SMEP;
  // SMAP is suspended while RFLAGS.AC is set, for explicit accesses.
  if ((cpu.cr4 & CR4_SMAP) != 0 && (cpu.rflags & FLAG_AC) == 0) flavor |= CONTEXT_SMAP;
  return flavor;
}

export function currentPcid(): u32 {
  return (cpu.cr4 & CR4_PCIDE) != 0 ? (<u32>cpu.cr3) & 0xfff : 0;
}

/** After CPL, RFLAGS.AC, CR0, CR3, CR4, EFER, PKRU, EPTP or VPID changed. */
export function updateContext(): void {
  cpu.canonicalShift = (cpu.cr4 & CR4_LA57) != 0 ? 7 : 16;
  cpu.asid = contextAsid(contextFlavor(cpu.cpl == 3));
  cpu.contextStale = 0;
  // Privilege decides which counters count: the boundary brings them up to date (state/performance.ts).
  if (cpu.countersOn != 0) {
    cpu.leave = 1;
    cpu.recordEnd = 0;
  }
  updateJumpKey();
}

/**
 * Linear memory as an instruction sees it.
 *
 * `Linear.readable<T>` and `Linear.writable<T>` turn a linear address into a wasm offset at which a T may be
 * loaded or stored: the fast path is one TLB compare, which covers page crossing and permission, since what
 * needs more (MMIO, page-crossing, pages with code, watched pages, A/D bits not yet set) has no TLB entry.
 * The slow path brings the value to the CPU's scratch area and returns that; after a store to it the
 * instruction calls `Linear.commit<T>`. 0 means that a fault or exit has been recorded.
 */
import { CPU_SCRATCH, CPU_TLB_EXECUTE, CPU_TLB_READ, CPU_TLB_WRITE, TLB_ENTRIES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { contextFlavor, isLongMode } from "../state/mode";
import { CR0_AM, CR4_LA57, FLAG_AC, VECTOR_AC } from "../spec/architecture";
import { FAULT_NON_CANONICAL, faultPending, raise, raiseWithError } from "../interrupts/raise";
import { ACCESS_EXECUTE, ACCESS_READ, ACCESS_WRITE, NO_TRANSLATION, translate } from "./walk";
import { isGuarded, noteWrite } from "./physical";
import { readAddress, writeAddress } from "./rom";
import { contextAsid } from "./contexts";
import { readBus, writeBus } from "./bus";
import { APIC_ACCESS, canWriteApicAccessPage, exitOnApicFetch } from "../vmx/virtual-apic";
import { noteDataAccess, watchesData } from "../interrupts/debug";

const PAGE_MASK: u64 = ~(<u64>0xfff);

export const SCRATCH_OFFSET: usize = CPU_SCRATCH;

function slot(array: usize, linear: u64): usize {
  return CPU + array + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
}

function kept(array: usize, linear: u64): usize {
  const entry = slot(array, linear);
  if (load<u64>(entry) != ((linear & PAGE_MASK) | (<u64>cpu.asid))) return 0;
  return <usize>linear + load<u32>(entry, 8);
}

export class Linear {
  /** Wasm offset from which a T at `linear` can be loaded, or 0 with a fault recorded. */
  @inline static readable<T>(linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + CPU_TLB_READ + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry) == (page | (<u64>cpu.asid))) return <usize>linear + load<u32>(entry, 8);
    return readableSlow(linear, <u32>sizeof<T>());
  }

  /**
   * Wasm offset to which a T at `linear` can be stored, or 0 with a fault recorded. For read-modify-write the
   * old value can be loaded from it.
   */
  @inline static writable<T>(linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + CPU_TLB_WRITE + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry) == (page | (<u64>cpu.asid))) return <usize>linear + load<u32>(entry, 8);
    return writableSlow(linear, <u32>sizeof<T>(), true);
  }

  /** As `writable`, for a plain store: a device register is not read first. */
  @inline static storable<T>(linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + CPU_TLB_WRITE + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry) == (page | (<u64>cpu.asid))) return <usize>linear + load<u32>(entry, 8);
    return writableSlow(linear, <u32>sizeof<T>(), false);
  }

  /** As `readable`, for 32 bytes: no type is as wide. */
  @inline static readable32(linear: u64): usize {
    const page = (linear + 31) & PAGE_MASK;
    const entry = CPU + CPU_TLB_READ + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry) == (page | (<u64>cpu.asid))) return <usize>linear + load<u32>(entry, 8);
    return readableSlow(linear, 32);
  }

  /** As `storable`, for 32 bytes. */
  @inline static storable32(linear: u64): usize {
    const page = (linear + 31) & PAGE_MASK;
    const entry = CPU + CPU_TLB_WRITE + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry) == (page | (<u64>cpu.asid))) return <usize>linear + load<u32>(entry, 8);
    return writableSlow(linear, 32, false);
  }

  /** Wasm offset of `linear` where the TLB has its page for reading, else 0: no look-up, no fault, no effect. */
  @inline static keptForReading(linear: u64): usize {
    return kept(CPU_TLB_READ, linear);
  }

  /** As `keptForReading`, for plain stores. */
  @inline static keptForWriting(linear: u64): usize {
    return kept(CPU_TLB_WRITE, linear);
  }

  /** After the store: brings a slow write to where it belongs. */
  @inline static commit(at: usize): void {
    if (at == CPU + CPU_SCRATCH) commitSlow();
  }

  /** Reads a T; 0 with a fault recorded when it cannot be read. Check `faultPending()`. */
  @inline static read<T>(linear: u64): T {
    const at = Linear.readable<T>(linear);
    if (at == 0) return <T>0;
    return load<T>(at);
  }

  /** Writes a T. False when a fault was recorded. */
  @inline static write<T>(linear: u64, value: T): bool {
    const at = Linear.storable<T>(linear);
    if (at == 0) return false;
    store<T>(at, value);
    Linear.commit(at);
    return true;
  }
}

/**
 * As `Linear`, for a handler's one access: on the way to the slow path, which may need the time, the CPU says which record
 * it is at.
 */
export class Access {
  @inline static readable<T>(record: usize, linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry, CPU_TLB_READ) == (page | (<u64>cpu.asid)))
      return <usize>linear + load<u32>(entry, CPU_TLB_READ + 8);
    cpu.record = <u32>record;
    return readableSlow(linear, <u32>sizeof<T>());
  }
  @inline static writable<T>(record: usize, linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry, CPU_TLB_WRITE) == (page | (<u64>cpu.asid)))
      return <usize>linear + load<u32>(entry, CPU_TLB_WRITE + 8);
    cpu.record = <u32>record;
    return writableSlow(linear, <u32>sizeof<T>(), true);
  }
  @inline static storable<T>(record: usize, linear: u64): usize {
    const page = (linear + (sizeof<T>() - 1)) & PAGE_MASK;
    const entry = CPU + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry, CPU_TLB_WRITE) == (page | (<u64>cpu.asid)))
      return <usize>linear + load<u32>(entry, CPU_TLB_WRITE + 8);
    cpu.record = <u32>record;
    return writableSlow(linear, <u32>sizeof<T>(), false);
  }
  @inline static readable32(record: usize, linear: u64): usize {
    const page = (linear + 31) & PAGE_MASK;
    const entry = CPU + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry, CPU_TLB_READ) == (page | (<u64>cpu.asid)))
      return <usize>linear + load<u32>(entry, CPU_TLB_READ + 8);
    cpu.record = <u32>record;
    return readableSlow(linear, 32);
  }
  @inline static storable32(record: usize, linear: u64): usize {
    const page = (linear + 31) & PAGE_MASK;
    const entry = CPU + (((<usize>(linear >> 12)) & (TLB_ENTRIES - 1)) << 4);
    if (load<u64>(entry, CPU_TLB_WRITE) == (page | (<u64>cpu.asid)))
      return <usize>linear + load<u32>(entry, CPU_TLB_WRITE + 8);
    cpu.record = <u32>record;
    return writableSlow(linear, 32, false);
  }
}

/** Canonical in the paging mode in use: an address that is accessed or branched to. */
export function isCanonical(linear: u64): bool {
  const shift = <i64>cpu.canonicalShift;
  return <u64>(((<i64>linear) << shift) >> shift) == linear;
}

/**
 * Canonical for the widest linear addresses that the processor has, whatever CR4.LA57 is: what MSRs, descriptor-table registers,
 * and bases of segments, LDT and TSS take. SDM Vol. 3A, "Canonicality Checking".
 */
export function isLoadable(linear: u64): bool {
  const shift: i64 = (cpu.cr4Allowed & CR4_LA57) != 0 ? 7 : 16;
  return <u64>(((<i64>linear) << shift) >> shift) == linear;
}

/**
 * Canonical form and alignment, checked where the TLB had no entry. After a failed segment check the address is
 * BAD_LINEAR and its fault must stand.
 */
function isAcceptable(linear: u64, size: u32): bool {
  if (faultPending()) return false;
  if (isLongMode()) {
    if (!isCanonical(linear) || !isCanonical(linear + size - 1)) {
      raise(FAULT_NON_CANONICAL);
      return false;
    }
  }
  if (checksAlignment() && (linear & (size - 1)) != 0 && size <= 8) {
    raiseWithError(VECTOR_AC, 0);
    return false;
  }
  return true;
}

/** SDM Vol. 3A, "Alignment Check Exception". */
function checksAlignment(): bool {
  return (cpu.rflags & FLAG_AC) != 0 && cpu.cpl == 3 && (cpu.cr0 & CR0_AM) != 0;
}

/** Accesses that must each be looked at find no entry in the TLB. */
function keepsTranslations(): bool {
  return !watchesData() && !checksAlignment();
}

function wrapLinear(linear: u64): u64 {
  return isLongMode() ? linear : linear & 0xffffffff;
}

function fill(array: usize, linear: u64, host: usize): void {
  const entry = slot(array, linear);
  store<u64>(entry, (linear & PAGE_MASK) | (<u64>cpu.asid));
  store<u32>(entry, <u32>(host - <usize>linear), 8);
}

/** Copies `size` bytes byte by byte order-independent; ranges never overlap. */
function copy(to: usize, from: usize, size: u32): void {
  for (let i: u32 = 0; i < size; i++) store<u8>(to + i, load<u8>(from + i));
}

export function readableSlow(linear: u64, size: u32): usize {
  if (!isAcceptable(linear, size)) return 0;
  const scratch = CPU + CPU_SCRATCH;
  const inPage: u32 = 4096 - ((<u32>linear) & 0xfff);
  cpu.loadMisses++;
  const flavor = contextFlavor(cpu.cpl == 3);
  const first = translate(linear, ACCESS_READ, flavor);
  if (first == NO_TRANSLATION) return 0;
  if (watchesData()) noteDataAccess(linear, size, false);
  if (size <= inPage) {
    const host = readAddress(first, size);
    if (host != 0) {
      if (keepsTranslations() && readAddress(first & PAGE_MASK, 4096) != 0) fill(CPU_TLB_READ, linear, host);
      return host;
    }
    if (!readBus(first, size, scratch)) return 0;
    return scratch;
  }
  cpu.loadMisses++;
  const second = translate(wrapLinear(linear + inPage), ACCESS_READ, flavor);
  if (second == NO_TRANSLATION) return 0;
  if (!readPart(first, inPage, scratch) || !readPart(second, size - inPage, scratch + inPage)) return 0;
  return scratch;
}

function readPart(physical: u64, size: u32, into: usize): bool {
  const host = readAddress(physical, size);
  if (host != 0) {
    copy(into, host, size);
    return true;
  }
  for (let i: u32 = 0; i < size; i++) if (!readBus(physical + i, 1, into + i)) return false;
  return true;
}

/** `wantOld`: the instruction reads the old value as well. */
export function writableSlow(linear: u64, size: u32, wantOld: bool): usize {
  if (!isAcceptable(linear, size)) return 0;
  const scratch = CPU + CPU_SCRATCH;
  const inPage: u32 = 4096 - ((<u32>linear) & 0xfff);
  cpu.storeMisses++;
  const flavor = contextFlavor(cpu.cpl == 3);
  const first = translate(linear, ACCESS_WRITE, flavor);
  if (first == NO_TRANSLATION) return 0;
  if (watchesData()) noteDataAccess(linear, size, true);
  cpu.slowPhysical = first;
  cpu.slowSize = size;
  cpu.slowSize1 = size <= inPage ? size : inPage;
  if (size <= inPage) {
    const host = writeAddress(first, size);
    const old = readAddress(first, size);
    if (old != 0) {
      // In a ROM's place reads and writes may reach different memory, and writes none.
      if (host == old && !isGuarded(host)) {
        if (keepsTranslations() && writeAddress(first & PAGE_MASK, 4096) != 0)
          fill(CPU_TLB_WRITE, linear, host);
        return host;
      }
      copy(scratch, old, size);
      return scratch;
    }
    if ((first & APIC_ACCESS) != 0 && !canWriteApicAccessPage(first, size)) return 0;
    if (wantOld && !readBus(first, size, scratch)) return 0;
    return scratch;
  }
  cpu.storeMisses++;
  const second = translate(wrapLinear(linear + inPage), ACCESS_WRITE, flavor);
  if (second == NO_TRANSLATION) return 0;
  cpu.slowPhysical2 = second;
  if ((first & APIC_ACCESS) != 0 && !canWriteApicAccessPage(first, 8)) return 0;
  if ((second & APIC_ACCESS) != 0 && !canWriteApicAccessPage(second, 8)) return 0;
  if (wantOld && (!readPart(first, inPage, scratch) || !readPart(second, size - inPage, scratch + inPage)))
    return 0;
  return scratch;
}

export function commitSlow(): void {
  const scratch = CPU + CPU_SCRATCH;
  const size = cpu.slowSize;
  const size1 = cpu.slowSize1;
  writePart(cpu.slowPhysical, size1, scratch);
  if (size1 != size) writePart(cpu.slowPhysical2, size - size1, scratch + size1);
}

function writePart(physical: u64, size: u32, from: usize): void {
  const host = writeAddress(physical, size);
  if (host != 0) {
    // One store where the width allows it: another CPU must not see half of an aligned value.
    if (size == 8) store<u64>(host, load<u64>(from));
    else if (size == 4) store<u32>(host, load<u32>(from));
    else if (size == 2) store<u16>(host, load<u16>(from));
    else copy(host, from, size);
    if (isGuarded(host)) noteWrite(host, size);
    return;
  }
  if ((size & (size - 1)) == 0) {
    writeBus(physical, size, from);
    return;
  }
  for (let i: u32 = 0; i < size; i++) if (!writeBus(physical + i, 1, from + i)) return;
}

/**
 * Wasm offset of the instruction byte at `linear`, or 0 with a fault recorded. The caller reads no further than
 * the end of the page.
 */
export function fetchable(linear: u64): usize {
  const entry = slot(CPU_TLB_EXECUTE, linear);
  if (load<u64>(entry) == ((linear & PAGE_MASK) | (<u64>cpu.asid)))
    return <usize>linear + load<u32>(entry, 8);
  if (isLongMode() && !isCanonical(linear)) {
    raiseWithError(13, 0);
    return 0;
  }
  cpu.fetchMisses++;
  const physical = translate(linear, ACCESS_EXECUTE, contextFlavor(cpu.cpl == 3));
  if (physical == NO_TRANSLATION) return 0;
  const host = readAddress(physical & PAGE_MASK, 4096);
  if ((physical & APIC_ACCESS) != 0) {
    exitOnApicFetch(physical);
    return 0;
  }
  if (host == 0) return fetchFromBus(physical);
  fill(CPU_TLB_EXECUTE, linear, host + ((<usize>physical) & 0xfff));
  return host + ((<usize>physical) & 0xfff);
}

/** Code outside RAM reads as the bus answers; see records/block-cache.ts for how it is run. */
function fetchFromBus(physical: u64): usize {
  cpu.slowPhysical = physical;
  return 1;
}

/**
 * Accesses of the instructions that raise no #AC: masked moves, gathers and conversions of half-precision numbers (SDM Vol. 2, "Exceptions Type
 * 6", "… 11", "… 12"). Between `enter` and `leave` alignment is not checked.
 */
export class Unaligned {
  /** Whether it was checked: for `leave`. */
  static enter(): bool {
    if (!checksAlignment()) return false;
    cpu.rflags &= ~FLAG_AC;
    cpu.asid = contextAsid(contextFlavor(true));
    return true;
  }
  static leave(wasChecked: bool): void {
    if (!wasChecked) return;
    cpu.rflags |= FLAG_AC;
    cpu.asid = contextAsid(contextFlavor(true));
  }
}

/** Accesses that the processor makes as a supervisor whatever the CPL: descriptor tables, TSS. */
export class System {
  static enter(): void {
    cpu.asid = contextAsid(contextFlavor(false));
    cpu.savedCpl = cpu.cpl;
    cpu.cpl = 0;
  }
  static leave(): void {
    cpu.cpl = cpu.savedCpl;
    cpu.asid = contextAsid(contextFlavor(cpu.cpl == 3));
  }
  static read<T>(linear: u64): T {
    if (cpu.cpl != 3) return Linear.read<T>(linear);
    System.enter();
    const value = Linear.read<T>(linear);
    System.leave();
    return value;
  }
  static write<T>(linear: u64, value: T): bool {
    if (cpu.cpl != 3) return Linear.write<T>(linear, value);
    System.enter();
    const done = Linear.write<T>(linear, value);
    System.leave();
    return done;
  }
}

/** Segment descriptors: reading them, and loading segment registers with the manual's checks. */
import {
  AR_ACCESSED,
  AR_CODE,
  AR_DB,
  AR_DC,
  AR_DPL_SHIFT,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
} from "../spec/architecture";
import { CS, LDTR, SS, cpu } from "../state/cpu";
import {
  is64,
  isLongMode,
  isRealOrV86,
  isVirtual8086,
  segBase,
  segLimit,
  segRights,
  setSegment,
  updateMode,
} from "../state/mode";
import { faultPending, raiseWithError } from "../interrupts/raise";
import { System } from "./linear";

/** Rights of a null selector's hidden part. */
export const RIGHTS_NULL: u64 = AR_UNUSABLE;

/** Rights of a real-mode or virtual-8086 data segment: present, read/write, accessed, DPL as given. */
export function realRights(dpl: u64): u64 {
  return AR_P | AR_S | AR_RW | AR_ACCESSED | (dpl << AR_DPL_SHIFT);
}

/** Linear address of a selector's descriptor, or 0 when it lies outside its table. */
export function descriptorAddress(selector: u32): u64 {
  const index = selector & 0xfff8;
  if (selector & 4) {
    if ((segRights(LDTR) & AR_UNUSABLE) != 0 || index + 7 > segLimit(LDTR)) return 0;
    return segBase(LDTR) + index;
  }
  if (index + 7 > <u32>cpu.gdtrLimit) return 0;
  return cpu.gdtrBase + index;
}

/**
 * Reads a descriptor to `cpu.descriptor`. False with a fault recorded: `vector` with the selector as error code
 * when it lies outside its table, or a page fault.
 */
export function readDescriptor(selector: u32, vector: i32): bool {
  const at = descriptorAddress(selector);
  if (at == 0) {
    raiseWithError(vector, selector & 0xfffc);
    return false;
  }
  cpu.descriptor = System.read<u64>(at);
  return !faultPending();
}

export function descriptorBase(descriptor: u64): u64 {
  return ((descriptor >> 16) & 0xffffff) | ((descriptor >> 56) << 24);
}

/** Limit in bytes. */
export function descriptorLimit(descriptor: u64): u32 {
  const raw = ((<u32>descriptor) & 0xffff) | ((<u32>(descriptor >> 32)) & 0xf0000);
  return (descriptor >> 55) & 1 ? (raw << 12) | 0xfff : raw;
}

/** Access rights in the VMCS format. */
export function descriptorRights(descriptor: u64): u64 {
  return (descriptor >> 40) & 0xf0ff;
}

export function dplOf(rights: u64): u32 {
  return (<u32>(rights >> AR_DPL_SHIFT)) & 3;
}

/** Sets a code or data descriptor's accessed bit in its table. False when the write faulted. */
export function setAccessed(selector: u32, descriptor: u64): bool {
  if ((descriptor >> 40) & 1) return true;
  const at = descriptorAddress(selector);
  return System.write<u8>(at + 5, (<u8>(descriptor >> 40)) | 1);
}

/** Loads the hidden part from a descriptor. */
export function setFromDescriptor(index: u32, selector: u32, descriptor: u64): void {
  setSegment(
    index,
    selector,
    descriptorBase(descriptor),
    descriptorLimit(descriptor),
    descriptorRights(descriptor) | AR_ACCESSED,
  );
}

/** A segment register in real-address or virtual-8086 mode. */
export function loadRealSegment(index: u32, selector: u32): void {
  if (isVirtual8086()) {
    setSegment(index, selector, (<u64>selector) << 4, 0xffff, realRights(3));
    return;
  }
  // Real mode leaves limit and attributes as they are ("big real mode" depends on it), but for CS's type.
  const rights = segRights(index);
  if (index == CS)
    setSegment(
      index,
      selector,
      (<u64>selector) << 4,
      segLimit(CS),
      (rights & ~(AR_TYPE | AR_UNUSABLE)) | AR_P | AR_S | AR_CODE | AR_RW | AR_ACCESSED,
    );
  else
    setSegment(
      index,
      selector,
      (<u64>selector) << 4,
      (rights & AR_UNUSABLE) != 0 ? 0xffff : segLimit(index),
      (rights & AR_UNUSABLE) != 0 ? realRights(0) : rights,
    );
}

/**
 * MOV/POP/LxS to a data-segment register, SS included (SDM Vol. 2B, "MOV"). False with a fault recorded and
 * nothing changed.
 */
export function loadSegment(index: u32, selector: u32): bool {
  if (isRealOrV86()) {
    loadRealSegment(index, selector);
    updateMode();
    return true;
  }
  const rpl = selector & 3;
  if ((selector & 0xfffc) == 0) {
    if (index == SS && (!is64() || cpu.cpl == 3 || rpl != cpu.cpl)) {
      raiseWithError(VECTOR_GP, 0);
      return false;
    }
    // A null SS in 64-bit mode keeps its DPL: it holds the CPL.
    setSegment(
      index,
      selector,
      index >= 4 ? 0 : segBase(index),
      0,
      AR_UNUSABLE | (index == SS ? (<u64>cpu.cpl) << AR_DPL_SHIFT : 0),
    );
    if (index != SS) setSegment(index, selector, 0, 0, AR_UNUSABLE);
    updateMode();
    return true;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return false;
  const descriptor = cpu.descriptor;
  const rights = descriptorRights(descriptor);
  const dpl = dplOf(rights);
  if (index == SS) {
    if (rpl != cpu.cpl || (rights & (AR_S | AR_CODE | AR_RW)) != (AR_S | AR_RW) || dpl != cpu.cpl) {
      raiseWithError(VECTOR_GP, selector & 0xfffc);
      return false;
    }
    if ((rights & AR_P) == 0) {
      raiseWithError(VECTOR_SS, selector & 0xfffc);
      return false;
    }
  } else {
    const isData = (rights & AR_CODE) == 0;
    const isReadable = isData || (rights & AR_RW) != 0;
    const isConforming = !isData && (rights & AR_DC) != 0;
    if ((rights & AR_S) == 0 || !isReadable || (!isConforming && (rpl > dpl || cpu.cpl > dpl))) {
      raiseWithError(VECTOR_GP, selector & 0xfffc);
      return false;
    }
    if ((rights & AR_P) == 0) {
      raiseWithError(VECTOR_NP, selector & 0xfffc);
      return false;
    }
  }
  if (!setAccessed(selector, descriptor)) return false;
  setFromDescriptor(index, selector, descriptor);
  updateMode();
  return true;
}

/** LLDT and LTR share this: reads a system descriptor (16 bytes in long mode). High base in `cpu.descriptorHigh`. */
export function readSystemDescriptor(selector: u32): bool {
  if ((selector & 4) != 0) {
    raiseWithError(VECTOR_GP, selector & 0xfffc);
    return false;
  }
  if (!readDescriptor(selector, VECTOR_GP)) return false;
  cpu.descriptorHigh = 0;
  if (isLongMode()) {
    if ((selector & 0xfff8) + 15 > <u32>cpu.gdtrLimit) {
      raiseWithError(VECTOR_GP, selector & 0xfffc);
      return false;
    }
    const high = System.read<u64>(cpu.gdtrBase + (selector & 0xfff8) + 8);
    if (faultPending()) return false;
    if ((high >> 40) & 0x1f) {
      raiseWithError(VECTOR_GP, selector & 0xfffc);
      return false;
    }
    cpu.descriptorHigh = high << 32;
  }
  return true;
}

/** Loads CS from a checked descriptor with the given CPL; the mode follows. */
export function setCodeSegment(selector: u32, descriptor: u64, cpl: u32): void {
  setSegment(
    CS,
    (selector & 0xfffc) | cpl,
    descriptorBase(descriptor),
    descriptorLimit(descriptor),
    descriptorRights(descriptor) | AR_ACCESSED,
  );
  cpu.cpl = cpl;
}

/** True when L and D are not both set (SDM: reserved in IA-32e mode). */
export function isCodeSizeLegal(rights: u64): bool {
  return !isLongMode() || (rights & (AR_L | AR_DB)) != (AR_L | AR_DB);
}

/** True when `offset` lies within a code segment just described (always, in 64-bit code). */
export function isWithinCodeLimit(rights: u64, limit: u32, offset: u64): bool {
  return (isLongMode() && (rights & AR_L) != 0) || offset <= <u64>limit;
}

/** Does a stack segment with these rights and this limit hold everything between two pointers? */
export function isStackLarge(rights: u64, limit: u32, low: u64, high: u64): bool {
  if ((rights & AR_DC) != 0) return low > <u64>limit;
  return low < high && high - 1 <= <u64>limit;
}

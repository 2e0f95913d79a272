/** Segment-register and descriptor instructions. SDM Vol. 2. */
import {
  AR_CODE,
  AR_DC,
  AR_P,
  AR_RW,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  CR4_UMIP,
  TYPE_CALL_GATE,
  TYPE_CALL_GATE16,
  TYPE_LDT,
  TYPE_TASK_GATE,
  TYPE_TSS16_AVAILABLE,
  TYPE_TSS16_BUSY,
  TYPE_TSS_AVAILABLE,
  TYPE_TSS_BUSY,
  VECTOR_NP,
} from "../spec/architecture";
import { DS, ES, FS, GS, LDTR, SS, TR, cpu } from "../state/cpu";
import { Flags, getFlags, setArithmeticFlags } from "../state/flags";
import { is64, isLongMode, isRealOrV86, segSelector, setSegment } from "../state/mode";
import {
  descriptorAddress,
  descriptorBase,
  descriptorLimit,
  descriptorRights,
  dplOf,
  loadSegment,
  readSystemDescriptor,
} from "../mmu/descriptors";
import { Linear, System, isLoadable } from "../mmu/linear";
import { Address } from "../mmu/segmented";
import { faultPending, raiseGp, raiseUd, raiseWithError } from "../interrupts/raise";
import { R_FLAGS, RECORD_REGISTER } from "../records/record";
import { exitOnDescriptorTable } from "../vmx/instruction-exits";
import { readFarPointer } from "./far-transfer";
import { Op } from "./operand";

export function moveToSegment(record: usize, selector: u16): void {
  const index = Op.dstNumber(record);
  if (!loadSegment(index, <u32>selector)) return;
  if (index == SS) {
    // Interrupts and debug traps wait until after the next instruction.
    cpu.interruptibility |= 2;
    cpu.leave = 1;
  }
}

function loadFar<T>(record: usize, index: u32): void {
  const offset = readFarPointer<T>(record);
  if (faultPending() || !loadSegment(index, cpu.farSelector)) return;
  Op.setDst<T>(record, offset);
}

export function les<T>(record: usize): void {
  loadFar<T>(record, ES);
}
export function lds<T>(record: usize): void {
  loadFar<T>(record, DS);
}
export function lss<T>(record: usize): void {
  loadFar<T>(record, SS);
}
export function lfs<T>(record: usize): void {
  loadFar<T>(record, FS);
}
export function lgs<T>(record: usize): void {
  loadFar<T>(record, GS);
}

function isRegister(record: usize): bool {
  return (load<u8>(record, R_FLAGS) & RECORD_REGISTER) != 0;
}

/** Stores a 16-bit system register: zero-extended in a register, 16 bits in memory. */
function storeSystem<T>(record: usize, value: u32): void {
  if (isRegister(record)) {
    Op.setDst<T>(record, <T>value);
    return;
  }
  const at = Linear.storable<u16>(Address.forWrite(record, 2));
  if (at == 0) return;
  store<u16>(at, <u16>value);
  Linear.commit(at);
}

/** UMIP: the reading forms are #GP(0) above ring 0. True when the instruction must stop. */
function isUserStopped(): bool {
  if ((cpu.cr4 & CR4_UMIP) != 0 && cpu.cpl != 0) {
    raiseGp();
    return true;
  }
  return false;
}

export function sldt<T>(record: usize): void {
  if (!requireProtected() || isUserStopped() || exitOnDescriptorTable(record)) return;
  storeSystem<T>(record, segSelector(LDTR));
}

export function str<T>(record: usize): void {
  if (!requireProtected() || isUserStopped() || exitOnDescriptorTable(record)) return;
  storeSystem<T>(record, segSelector(TR));
}

export function smsw<T>(record: usize): void {
  if (isUserStopped()) return;
  // A register gets CR0 at the operand size, memory the low 16 bits.
  const cr0 = guestVisibleCr0();
  if (isRegister(record)) Op.setDst<T>(record, <T>cr0);
  else storeSystem<T>(record, (<u32>cr0) & 0xffff);
}

/** CR0 as the running software reads it. */
export function guestVisibleCr0(): u64 {
  if (cpu.vmxNonRoot == 0) return cpu.cr0;
  return (cpu.cr0 & ~cpu.cr0Mask) | (cpu.cr0Shadow & cpu.cr0Mask);
}

function requireProtected(): bool {
  if (isRealOrV86()) {
    raiseUd();
    return false;
  }
  return true;
}

/** Selector operand of LLDT, LTR, VERR, VERW, LAR, LSL; check `faultPending()`. */
function selectorOperand(record: usize, inSource: bool): u32 {
  if (isRegister(record)) return <u32>(inSource ? Op.src<u16>(record) : Op.dst<u16>(record));
  const at = Linear.readable<u16>(Address.forRead(record, 2));
  return at == 0 ? 0 : <u32>load<u16>(at);
}

/** Base of the system descriptor just read, of 64 bits in long mode; #GP when it is not canonical. */
function systemBase(selector: u32): u64 {
  const base = descriptorBase(cpu.descriptor) | cpu.descriptorHigh;
  if (isLongMode() && !isLoadable(base)) raiseGp(selector & 0xfffc);
  return base;
}

export function lldt(record: usize): void {
  if (!requireProtected()) return;
  if (cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnDescriptorTable(record)) return;
  const selector = selectorOperand(record, false);
  if (faultPending()) return;
  if ((selector & 0xfffc) == 0) {
    setSegment(LDTR, selector, 0, 0, AR_UNUSABLE);
    return;
  }
  if (!readSystemDescriptor(selector)) return;
  const rights = descriptorRights(cpu.descriptor);
  if ((rights & (AR_S | AR_TYPE)) != TYPE_LDT) {
    raiseGp(selector & 0xfffc);
    return;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, selector & 0xfffc);
    return;
  }
  const base = systemBase(selector);
  if (faultPending()) return;
  setSegment(LDTR, selector, base, descriptorLimit(cpu.descriptor), rights);
}

export function ltr(record: usize): void {
  if (!requireProtected()) return;
  if (cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnDescriptorTable(record)) return;
  const selector = selectorOperand(record, false);
  if (faultPending()) return;
  if ((selector & 0xfffc) == 0) {
    raiseGp();
    return;
  }
  if (!readSystemDescriptor(selector)) return;
  const descriptor = cpu.descriptor;
  const rights = descriptorRights(descriptor);
  const type = rights & (AR_S | AR_TYPE);
  if (type != TYPE_TSS_AVAILABLE && (isLongMode() || type != TYPE_TSS16_AVAILABLE)) {
    raiseGp(selector & 0xfffc);
    return;
  }
  if ((rights & AR_P) == 0) {
    raiseWithError(VECTOR_NP, selector & 0xfffc);
    return;
  }
  const base = systemBase(selector);
  if (faultPending()) return;
  if (!System.write<u8>(descriptorAddress(selector) + 5, (<u8>(descriptor >> 40)) | 2)) return;
  setSegment(TR, selector, base, descriptorLimit(descriptor), rights | 2);
}

function setZf(zero: bool): void {
  setArithmeticFlags((getFlags() & ~(<u64>0x40)) | (zero ? 0x40 : 0));
}

/** Reads a selector's descriptor without faulting for VERR and its like: false when it is null or outside its table. */
function tryDescriptor(selector: u32): bool {
  if ((selector & 0xfffc) == 0) return false;
  const at = descriptorAddress(selector);
  if (at == 0) return false;
  cpu.descriptor = System.read<u64>(at);
  return !faultPending();
}

function verify(record: usize, forWrite: bool): void {
  if (!requireProtected()) return;
  const selector = selectorOperand(record, false);
  if (faultPending()) return;
  if (!tryDescriptor(selector)) {
    if (!faultPending()) setZf(false);
    return;
  }
  const rights = descriptorRights(cpu.descriptor);
  const isCode = (rights & AR_CODE) != 0;
  const isConforming = isCode && (rights & AR_DC) != 0;
  let good = (rights & AR_S) == AR_S;
  if (forWrite) good = good && !isCode && (rights & AR_RW) != 0;
  else good = good && (!isCode || (rights & AR_RW) != 0);
  if (!isConforming || forWrite) good = good && dplOf(rights) >= cpu.cpl && dplOf(rights) >= (selector & 3);
  setZf(good);
}

export function verr(record: usize): void {
  verify(record, false);
}
export function verw(record: usize): void {
  verify(record, true);
}

/** Which system types LAR and LSL know (SDM Vol. 2, "LAR", "LSL"). */
function isKnownSystemType(type: u64, forLimit: bool): bool {
  if (type == TYPE_LDT || type == TYPE_TSS_AVAILABLE || type == TYPE_TSS_BUSY) return true;
  if (isLongMode()) return !forLimit && type == TYPE_CALL_GATE;
  if (type == TYPE_TSS16_AVAILABLE || type == TYPE_TSS16_BUSY) return true;
  return !forLimit && (type == TYPE_CALL_GATE || type == TYPE_CALL_GATE16 || type == TYPE_TASK_GATE);
}

/** Common part of LAR and LSL: true when the descriptor may be looked at. */
function isVisible(selector: u32, forLimit: bool): bool {
  if (!tryDescriptor(selector)) return false;
  const rights = descriptorRights(cpu.descriptor);
  const isConforming = (rights & (AR_S | AR_CODE | AR_DC)) == (AR_S | AR_CODE | AR_DC);
  if ((rights & AR_S) == 0 && !isKnownSystemType(rights & AR_TYPE, forLimit)) return false;
  return isConforming || (dplOf(rights) >= cpu.cpl && dplOf(rights) >= (selector & 3));
}

export function lar<T>(record: usize): void {
  if (!requireProtected()) return;
  const selector = selectorOperand(record, true);
  if (faultPending()) return;
  const visible = isVisible(selector, false);
  if (faultPending()) return;
  if (visible) Op.setDst<T>(record, <T>((cpu.descriptor >> 32) & 0x00ffff00));
  setZf(visible);
}

export function lsl<T>(record: usize): void {
  if (!requireProtected()) return;
  const selector = selectorOperand(record, true);
  if (faultPending()) return;
  const visible = isVisible(selector, true);
  if (faultPending()) return;
  if (visible) Op.setDst<T>(record, <T>descriptorLimit(cpu.descriptor));
  setZf(visible);
}

function storeTable(record: usize, base: u64, limit: u64): void {
  if (isUserStopped() || exitOnDescriptorTable(record)) return;
  const size: u32 = is64() ? 10 : 6;
  const linear = Address.forWrite(record, size);
  if (faultPending()) return;
  // The base is checked for writing before the limit is stored, so that a fault changes nothing.
  if (Linear.writable<u8>(linear + size - 1) == 0) return;
  if (!Linear.write<u16>(linear, <u16>limit)) return;
  if (is64()) Linear.write<u64>(linear + 2, base);
  else Linear.write<u32>(linear + 2, <u32>base);
}

export function sgdt(record: usize): void {
  storeTable(record, cpu.gdtrBase, cpu.gdtrLimit);
}
export function sidt(record: usize): void {
  storeTable(record, cpu.idtrBase, cpu.idtrLimit);
}

/** LGDT and LIDT; a 16-bit operand size takes 24 bits of base. */
function loadTable(record: usize, isIdt: bool): void {
  if (cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnDescriptorTable(record)) return;
  const linear = Address.forRead(record, is64() ? 10 : 6);
  if (faultPending()) return;
  const limit = <u64>Linear.read<u16>(linear);
  if (faultPending()) return;
  let base: u64;
  if (is64()) base = Linear.read<u64>(linear + 2);
  else {
    base = <u64>Linear.read<u32>(linear + 2);
    if (Op.size(record) == 2) base &= 0xffffff;
  }
  if (faultPending()) return;
  if (is64() && !isLoadable(base)) {
    raiseGp();
    return;
  }
  cpu.guestStateChanged = 1;
  if (isIdt) {
    cpu.idtrBase = base;
    cpu.idtrLimit = limit;
  } else {
    cpu.gdtrBase = base;
    cpu.gdtrLimit = limit;
  }
}

export function lgdt(record: usize): void {
  loadTable(record, false);
}
export function lidt(record: usize): void {
  loadTable(record, true);
}

/** ARPL r/m16, r16: raises the destination's RPL to the source's. */
export function arpl(record: usize): void {
  if (!requireProtected()) return;
  const source = <u32>Op.src<u16>(record);
  if (isRegister(record)) {
    const destination = <u32>Op.dst<u16>(record);
    const raise = (destination & 3) < (source & 3);
    if (raise) Op.setDst<u16>(record, <u16>((destination & 0xfffc) | (source & 3)));
    setZf(raise);
    return;
  }
  // The manual leaves open whether a destination that does not change must be writable: for Intel's processors it need not be.
  const destination = <u32>Linear.read<u16>(Address.forRead(record, 2));
  if (faultPending()) return;
  const raise = (destination & 3) < (source & 3);
  if (raise) {
    const linear = Address.forWrite(record, 2);
    if (faultPending() || !Linear.write<u16>(linear, <u16>((destination & 0xfffc) | (source & 3)))) return;
  }
  setZf(raise);
}

/** BOUND r, m: #BR when the signed index lies outside the two limits. The upper one is not looked at when the lower decides. */
export function bound<T>(record: usize): void {
  const linear = Address.forRead(record, <u32>sizeof<T>());
  const lower = Linear.read<T>(linear);
  if (faultPending()) return;
  const index = <i64>Flags.extend<T>(Op.dst<T>(record));
  let isOutside = index < <i64>Flags.extend<T>(lower);
  if (!isOutside) {
    Address.forRead(record, <u32>sizeof<T>() * 2);
    if (faultPending()) return;
    const upper = Linear.read<T>(linear + sizeof<T>());
    if (faultPending()) return;
    isOutside = index > <i64>Flags.extend<T>(upper);
  }
  if (isOutside) {
    cpu.faultVector = 5;
    cpu.faultHasError = 0;
    cpu.recordEnd = 0;
  }
}

/** PUSH, POP and their like. SDM Vol. 2. */
import {
  AR_DB,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  FLAG_DF,
  VECTOR_SS,
} from "../spec/architecture";
import { CPU, RBP, RSP, SS, cpu, getGpr, setGpr } from "../state/cpu";
import { getFlags, setArithmeticFlags } from "../state/flags";
import {
  STACK_64,
  STACK_FLAT32,
  is64,
  isProtected,
  isVirtual8086,
  segRights,
  updateContext,
} from "../state/mode";
import { Linear } from "../mmu/linear";
import { Address, segmentLinear } from "../mmu/segmented";
import { loadSegment } from "../mmu/descriptors";
import {
  areVirtualFlagsLegal,
  hasVirtualFlags,
  isIoplBelow3,
  loadVirtualFlags,
  virtualFlags,
} from "../interrupts/virtual-8086";
import { FAULT_NON_CANONICAL, faultPending, raiseGp, raiseWithError } from "../interrupts/raise";
import { R_BASE } from "../records/record";
import { Op } from "./operand";

/** A non-canonical stack address is #SS(0). */
function settleStackFault(): void {
  if (cpu.faultVector == FAULT_NON_CANONICAL) raiseWithError(VECTOR_SS, 0);
}

/** RSP, ESP or SP as the stack's size has it. */
export function stackPointer(): u64 {
  const rsp = getGpr(RSP);
  if (is64()) return rsp;
  return (segRights(SS) & AR_DB) != 0 ? rsp & 0xffffffff : rsp & 0xffff;
}

/** Sets as much of RSP as the stack's size covers. */
export function setStackPointer(value: u64): void {
  if (is64()) setGpr(RSP, value);
  else if ((segRights(SS) & AR_DB) != 0) setGpr(RSP, value & 0xffffffff);
  else setGpr(RSP, (getGpr(RSP) & ~(<u64>0xffff)) | (value & 0xffff));
}

/** Linear address of a stack slot at `pointer` (of the stack's size). Faults are recorded. */
function stackLinear(pointer: u64, size: u32, write: bool): u64 {
  if (cpu.stackKind == STACK_64) return pointer;
  if (cpu.stackKind == STACK_FLAT32) return pointer & 0xffffffff;
  const wide = (segRights(SS) & AR_DB) != 0;
  return segmentLinear(SS, wide ? pointer & 0xffffffff : pointer & 0xffff, size, write);
}

/** Pushes; on a fault RSP is unchanged. */
export function pushValue<T>(value: T): void {
  if (cpu.stackKind == STACK_64) {
    const next = getGpr(RSP) - sizeof<T>();
    const at = Linear.storable<T>(next);
    if (at == 0) {
      settleStackFault();
      return;
    }
    store<T>(at, value);
    Linear.commit(at);
    setGpr(RSP, next);
    return;
  }
  if (cpu.stackKind == STACK_FLAT32) {
    const next = (getGpr(RSP) - sizeof<T>()) & 0xffffffff;
    const at = Linear.storable<T>(next);
    if (at == 0) return;
    store<T>(at, value);
    Linear.commit(at);
    setGpr(RSP, next);
    return;
  }
  const pointer = stackPointer() - sizeof<T>();
  const at = Linear.storable<T>(stackLinear(pointer, <u32>sizeof<T>(), true));
  if (at == 0) return;
  store<T>(at, value);
  Linear.commit(at);
  setStackPointer(pointer);
}

/** Reads the slot `offset` bytes above the top without moving RSP; check `faultPending()`. */
export function peekStack<T>(offset: u64): T {
  const kind = cpu.stackKind;
  const linear =
    kind == STACK_64
      ? getGpr(RSP) + offset
      : kind == STACK_FLAT32
        ? (getGpr(RSP) + offset) & 0xffffffff
        : stackLinear(stackPointer() + offset, <u32>sizeof<T>(), false);
  const at = Linear.readable<T>(linear);
  if (at == 0) {
    settleStackFault();
    return <T>0;
  }
  return load<T>(at);
}

/** Moves RSP up. */
export function dropStack(byteCount: u64): void {
  if (cpu.stackKind == STACK_64) {
    setGpr(RSP, getGpr(RSP) + byteCount);
    return;
  }
  if (cpu.stackKind == STACK_FLAT32) {
    setGpr(RSP, (getGpr(RSP) + byteCount) & 0xffffffff);
    return;
  }
  setStackPointer(stackPointer() + byteCount);
}

export function popRegister<T>(record: usize): void {
  if (cpu.stackKind == STACK_64) {
    const rsp = getGpr(RSP);
    const at = Linear.readable<T>(rsp);
    if (at == 0) {
      settleStackFault();
      return;
    }
    setGpr(RSP, rsp + sizeof<T>());
    Op.setDst<T>(record, load<T>(at));
    return;
  }
  const value = peekStack<T>(0);
  if (faultPending()) return;
  dropStack(sizeof<T>());
  Op.setDst<T>(record, value);
}

/** POP to memory: an address based on rSP uses the value after the increment. */
export function popMemory<T>(record: usize): void {
  const value = peekStack<T>(0);
  if (faultPending()) return;
  const before = getGpr(RSP);
  dropStack(sizeof<T>());
  const at = Linear.storable<T>(Address.forWrite(record, <u32>sizeof<T>()));
  if (at == 0) {
    setGpr(RSP, before);
    return;
  }
  store<T>(at, value);
  Linear.commit(at);
}

export function popSegment<T>(index: u32): void {
  const value = peekStack<T>(0);
  if (faultPending()) return;
  // SS is checked with the CPL as it is; the stack's size may change with the load, the increment does not.
  const before = stackPointer();
  const wide = is64() || (segRights(SS) & AR_DB) != 0;
  if (!loadSegment(index, (<u32>value) & 0xffff)) return;
  const next = before + sizeof<T>();
  if (is64()) setGpr(RSP, next);
  else if (wide) setGpr(RSP, next & 0xffffffff);
  else setGpr(RSP, (getGpr(RSP) & ~(<u64>0xffff)) | (next & 0xffff));
  if (index == SS) {
    cpu.interruptibility |= 2;
    cpu.leave = 1;
  }
}

export function pusha<T>(record: usize): void {
  const size = sizeof<T>();
  const pointer = stackPointer();
  // All eight slots are checked first, from the lowest, so that a fault leaves nothing half done but memory.
  if (Linear.storable<T>(stackLinear(pointer - size * 8, <u32>size, true)) == 0) return;
  for (let i: u32 = 0; i < 8; i++) {
    const at = Linear.storable<T>(stackLinear(pointer - size * (i + 1), <u32>size, true));
    if (at == 0) return;
    store<T>(at, <T>getGpr(i));
    Linear.commit(at);
  }
  setStackPointer(pointer - size * 8);
}

export function popa<T>(record: usize): void {
  const size = sizeof<T>();
  for (let i: u32 = 0; i < 8; i++) {
    peekStack<T>(size * i);
    if (faultPending()) return;
  }
  for (let i: u32 = 0; i < 8; i++) {
    const register = 7 - i;
    if (register == RSP) continue;
    const value = peekStack<T>(size * i);
    const at = CPU + ((<usize>register) << 3);
    if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
    else store<T>(at, value);
  }
  dropStack(size * 8);
}

export function pushf<T>(record: usize): void {
  if (isVirtual8086() && isIoplBelow3()) {
    if (sizeof<T>() == 2 && hasVirtualFlags()) pushValue<u16>(<u16>virtualFlags());
    else raiseGp();
    return;
  }
  pushValue<T>(<T>(getFlags() & ~(FLAG_VM | FLAG_RF)));
}

export function popf<T>(record: usize): void {
  const isVirtual = isVirtual8086() && isIoplBelow3();
  if (isVirtual && (sizeof<T>() != 2 || !hasVirtualFlags())) {
    raiseGp();
    return;
  }
  const image = <u64>peekStack<T>(0);
  if (faultPending()) return;
  if (isVirtual) {
    if (!areVirtualFlagsLegal(image)) return;
    dropStack(sizeof<T>());
    loadVirtualFlags(image);
    return;
  }
  dropStack(sizeof<T>());
  let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
  if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID;
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  if (!isProtected() || cpu.cpl == 0) writable |= FLAG_IOPL | FLAG_IF;
  else if (cpu.cpl <= iopl) writable |= FLAG_IF;
  setFlagsMasked(image, writable);
}

/** Sets the flags that `writable` names; RF is cleared, as POPF and IRET to the same image do. */
export function setFlagsMasked(image: u64, writable: u64): void {
  const before = cpu.rflags;
  setArithmeticFlags(image);
  cpu.rflags = ((before & ~writable) | (image & writable)) & ~FLAGS_ARITHMETIC & ~FLAG_RF;
  cpu.leave = 1;
  if ((before ^ cpu.rflags) & FLAG_AC) updateContext();
}

export function enter<T>(record: usize): void {
  const size = <u32>Op.imm<u16>(record);
  const level = load<u8>(record, R_BASE) & 31;
  const bytes = sizeof<T>();
  const rbp = getGpr(RBP);
  let pointer = stackPointer() - bytes;
  let at = Linear.storable<T>(stackLinear(pointer, <u32>bytes, true));
  if (at == 0) {
    settleStackFault();
    return;
  }
  store<T>(at, <T>rbp);
  Linear.commit(at);
  const frame = pointer;
  if (level > 0) {
    for (let i: u32 = 1; i < level; i++) {
      const from = rbp - bytes * i;
      const source = Linear.readable<T>(stackLinear(is64() ? from : from, <u32>bytes, false));
      if (source == 0) {
        settleStackFault();
        return;
      }
      const value = load<T>(source);
      pointer -= bytes;
      at = Linear.storable<T>(stackLinear(pointer, <u32>bytes, true));
      if (at == 0) {
        settleStackFault();
        return;
      }
      store<T>(at, value);
      Linear.commit(at);
    }
    pointer -= bytes;
    at = Linear.storable<T>(stackLinear(pointer, <u32>bytes, true));
    if (at == 0) {
      settleStackFault();
      return;
    }
    store<T>(at, <T>frame);
    Linear.commit(at);
  }
  pointer -= size;
  // The new top must be writable: the manual's "ENTER" faults here rather than at the next push.
  if (Linear.storable<T>(stackLinear(pointer, <u32>bytes, true)) == 0) {
    settleStackFault();
    return;
  }
  if (sizeof<T>() == 2) setGpr(RBP, (rbp & ~(<u64>0xffff)) | (frame & 0xffff));
  else if (sizeof<T>() == 4) setGpr(RBP, frame & 0xffffffff);
  else setGpr(RBP, frame);
  setStackPointer(pointer);
}

export function leave<T>(record: usize): void {
  const rbp = getGpr(RBP);
  const pointer = is64() ? rbp : (segRights(SS) & AR_DB) != 0 ? rbp & 0xffffffff : rbp & 0xffff;
  const at = Linear.readable<T>(stackLinear(pointer, <u32>sizeof<T>(), false));
  if (at == 0) {
    settleStackFault();
    return;
  }
  const value = load<T>(at);
  setStackPointer(pointer + sizeof<T>());
  if (sizeof<T>() == 2) setGpr(RBP, (rbp & ~(<u64>0xffff)) | (<u64>value));
  else setGpr(RBP, <u64>value);
}

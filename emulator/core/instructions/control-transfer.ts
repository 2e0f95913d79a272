/**
 * Near branches. SDM Vol. 2.
 *
 * The run loop sets RIP to the end of the block before it runs it, and a branch is always the last of its block: so a
 * branch that is not taken has nothing to do, and a return address is RIP itself.
 */
import { CPU, CS, RCX, cpu, getGpr, setGpr } from "../state/cpu";
import { is64, segLimit } from "../state/mode";
import { raiseGp, faultPending } from "../interrupts/raise";
import { isCanonical } from "../mmu/linear";
import { R_ADDRESS_SIZE, R_IMM } from "../records/record";
import { Flags } from "../state/flags";
import { Op } from "./operand";
import { dropStack, peekStack, pushValue } from "./stack";

/** True when RIP may become `target`, as the branch being taken makes it; else #GP(0) is recorded. */
export function isTargetLegal(target: u64): bool {
  if (is64() ? !isCanonical(target) : target > <u64>segLimit(CS)) {
    raiseGp();
    return false;
  }
  cpu.branchTaken = 1;
  return true;
}

export function truncate<T>(target: u64): u64 {
  if (sizeof<T>() == 8) return target;
  return sizeof<T>() == 4 ? target & 0xffffffff : target & 0xffff;
}

/** Takes a branch to an absolute offset. */
export function jumpTo<T>(target: u64): void {
  const to = truncate<T>(target);
  if (isTargetLegal(to)) cpu.rip = to;
}

export function jmpRelative<T>(record: usize): void {
  jumpTo<T>(cpu.rip + load<u64>(record, R_IMM));
}

/**
 * CALL: the return address is written before the target is checked. The manual's Operation has these the other way round; Intel's
 * processors raise the fault of the push first, and leave the return address below the stack pointer when the target is illegal.
 */
export function callTo<T>(record: usize, target: u64): void {
  const to = truncate<T>(target);
  pushValue<T>(<T>cpu.rip);
  if (faultPending()) return;
  if (isTargetLegal(to)) cpu.rip = to;
  else dropStack(sizeof<T>());
}

export function callRelative<T>(record: usize): void {
  callTo<T>(record, cpu.rip + load<u64>(record, R_IMM));
}

export function ret<T>(record: usize): void {
  const target = <u64>peekStack<T>(0);
  if (faultPending() || !isTargetLegal(target)) return;
  dropStack(sizeof<T>());
  cpu.rip = target;
}

export function retPop<T>(record: usize): void {
  const target = <u64>peekStack<T>(0);
  if (faultPending() || !isTargetLegal(target)) return;
  dropStack(sizeof<T>() + <u64>Op.imm<u16>(record));
  cpu.rip = target;
}

/** rCX at the address size, decremented for LOOP. */
function countRegister(record: usize): u64 {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const value = getGpr(RCX);
  return size == 8 ? value : size == 4 ? value & 0xffffffff : value & 0xffff;
}

function setCountRegister(record: usize, value: u64): void {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  if (size == 8) setGpr(RCX, value);
  else if (size == 4) setGpr(RCX, value & 0xffffffff);
  else store<u16>(CPU, <u16>value, 8);
}

function loopWhile<T>(record: usize, condition: bool): void {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const mask: u64 = size == 8 ? 0xffffffffffffffff : size == 4 ? 0xffffffff : 0xffff;
  const count = (countRegister(record) - 1) & mask;
  if (count != 0 && condition) {
    jmpRelative<T>(record);
    if (faultPending()) return;
  }
  setCountRegister(record, count);
}

export function loop<T>(record: usize): void {
  loopWhile<T>(record, true);
}
export function loopz<T>(record: usize): void {
  loopWhile<T>(record, Flags.zf());
}
export function loopnz<T>(record: usize): void {
  loopWhile<T>(record, !Flags.zf());
}
export function jcxz<T>(record: usize): void {
  if (countRegister(record) == 0) jmpRelative<T>(record);
}

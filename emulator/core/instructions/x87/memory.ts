/** Operands in memory that are no single access: 80-bit numbers, and images of x87 state. */
import { CPU_IMAGE } from "../../layout.generated";
import { CPU, cpu } from "../../state/cpu";
import { is64 } from "../../state/mode";
import { Linear } from "../../mmu/linear";
import { Address } from "../../mmu/segmented";
import { faultPending } from "../../interrupts/raise";
import { invalidExtended } from "../../float/extended";
import { Load } from "./transfer";
import { Last, Stack, stackUnderflow } from "./stack";

/** Linear address of byte `offset` of an operand. */
export function linearAt(linear: u64, offset: u64): u64 {
  return is64() ? linear + offset : (linear + offset) & 0xffffffff;
}

/**
 * Reads a record's 80-bit operand into `Cpu.operandSignificand` and `Cpu.operandExponent`: two accesses, each with its checks, as on Intel's
 * processors. False: a fault.
 */
export function readTenBytes(record: usize): bool {
  const linear = Address.forRead(record, 8);
  const low = Linear.read<u64>(linear);
  if (faultPending()) return false;
  Address.forRead(record, 10);
  if (faultPending()) return false;
  cpu.operandLinear = linear;
  const high = Linear.read<u16>(linearAt(linear, 8));
  if (faultPending()) return false;
  cpu.operandSignificand = low;
  cpu.operandExponent = high;
  return true;
}

/**
 * Writes those fields to the operand: significand, then exponent, likewise, so that a fault of the second access leaves the first in memory.
 * False: a fault; the status word is what `status` says then.
 */
export function writeTenBytes(record: usize, status: u32): bool {
  const linear = Address.forWrite(record, 8);
  if (!faultPending() && Linear.write<u64>(linear, cpu.operandSignificand)) {
    Address.forWrite(record, 10);
    if (!faultPending() && Linear.write<u16>(linearAt(linear, 8), <u16>cpu.operandExponent)) {
      Last.instructionAndOperand(record, linear);
      return true;
    }
  }
  cpu.x87Status = status;
  return false;
}

/** FLD m80. */
export function fldExtended(record: usize): void {
  if (!readTenBytes(record)) return;
  Last.instructionAndOperand(record, cpu.operandLinear);
  Load.value(cpu.operandExponent, cpu.operandSignificand);
}

/** FSTP m80: the register as it is. */
export function fstpExtended(record: usize): void {
  const status = cpu.x87Status;
  Stack.begin();
  if (!Stack.isEmpty(0)) {
    cpu.operandExponent = Stack.exponent(0);
    cpu.operandSignificand = Stack.significand(0);
  } else {
    if (!stackUnderflow()) {
      Last.suppressedStore(record);
      return;
    }
    cpu.operandSignificand = invalidExtended();
    cpu.operandExponent = cpu.floatExponent;
  }
  if (!writeTenBytes(record, status)) return;
  Stack.finish();
  Stack.pop();
}

/** Can `size` bytes, at most a page, be written? False with a fault recorded, for the first byte that cannot. */
export function isWritable(linear: u64, size: u32): bool {
  if (Linear.storable<u8>(linear) == 0) return false;
  const inPage: u32 = 4096 - ((<u32>linear) & 0xfff);
  return inPage >= size || Linear.storable<u8>(linearAt(linear, inPage)) != 0;
}

/** Reads an image of `size` bytes, a multiple of sizeof<T>, to the CPU block's image area. False: a fault. */
export function readImage<T>(linear: u64, size: u32): bool {
  for (let i: u32 = 0; i < size; i += sizeof<T>()) {
    const value = Linear.read<T>(linearAt(linear, i));
    if (faultPending()) return false;
    store<T>(CPU + <usize>i, value, CPU_IMAGE);
  }
  return true;
}

/** Writes `size` bytes of the image area from `from` on to their place in an image at `linear`. False: a fault; nothing was written to RAM. */
export function writeImage<T>(linear: u64, from: u32, size: u32): bool {
  if (!isWritable(linearAt(linear, from), size)) return false;
  for (let i = from; i < from + size; i += sizeof<T>())
    if (!Linear.write<T>(linearAt(linear, i), load<T>(CPU + <usize>i, CPU_IMAGE))) return false;
  return true;
}

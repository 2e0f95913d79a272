/** Effective and linear addresses of memory operands, and segment checks outside flat modes. */
import { AR_CODE, AR_DB, AR_DC, AR_RW, AR_UNUSABLE, VECTOR_GP, VECTOR_SS } from "../spec/architecture";
import { CPU_SEG_BASE } from "../layout.generated";
import { CPU, SS } from "../state/cpu";
import { is64, isProtected, isVirtual8086, segBase, segLimit, segRights } from "../state/mode";
import { faultPending, raiseWithError } from "../interrupts/raise";
import {
  EA_64,
  EA_64_SEGMENT,
  EA_SLOW,
  R_ADDRESS_SIZE,
  R_BASE,
  R_DISP,
  R_EA,
  R_INDEX,
} from "../records/record";

/** "Segment check failed": the fault has been recorded. No linear address of a checked access is this one. */
export const BAD_LINEAR: u64 = 0xffffffffffffffff;

export class Address {
  /** Offset part of a record's memory operand, truncated to its address size. */
  @inline static effective(record: usize): u64 {
    const sum = Address.sum(record);
    const size = load<u8>(record, R_ADDRESS_SIZE);
    return size == 8 ? sum : size == 4 ? sum & 0xffffffff : sum & 0xffff;
  }

  /** Linear address without any check: INVLPG. */
  static linearOnly(record: usize): u64 {
    return linearOnly(record);
  }

  @inline static sum(record: usize): u64 {
    const scale = <u64>(load<u8>(record, R_EA) >> 6);
    const index = load<u64>(CPU + <usize>load<u8>(record, R_INDEX)) << scale;
    return load<u64>(CPU + <usize>load<u8>(record, R_BASE)) + index + load<u64>(record, R_DISP);
  }

  /** Linear address of a record's memory operand for a read; BAD_LINEAR with a fault recorded. */
  @inline static forRead(record: usize, size: u32): u64 {
    const kind = (<u32>(load<u8>(record, R_EA) >> 3)) & 7;
    if (kind & EA_SLOW) return addressGeneral(record, kind, size, false);
    const sum = Address.sum(record);
    return select<u64>(sum & 0xffffffff, sum, kind != EA_64);
  }

  @inline static forWrite(record: usize, size: u32): u64 {
    const kind = (<u32>(load<u8>(record, R_EA) >> 3)) & 7;
    if (kind & EA_SLOW) return addressGeneral(record, kind, size, true);
    const sum = Address.sum(record);
    return select<u64>(sum & 0xffffffff, sum, kind != EA_64);
  }

  /** As `forRead`, for an operand that must be aligned to its size: SDM Vol. 1, "Alignment … of Memory Operands". */
  @inline static forReadAligned(record: usize, size: u32): u64 {
    const linear = Address.forRead(record, size);
    return (linear & (size - 1)) == 0 ? linear : misaligned();
  }

  @inline static forWriteAligned(record: usize, size: u32): u64 {
    const linear = Address.forWrite(record, size);
    return (linear & (size - 1)) == 0 ? linear : misaligned();
  }
}

/** The address of an operand that must be aligned and is not: #GP(0), unless a segment check failed before. */
function misaligned(): u64 {
  if (!faultPending()) raiseWithError(VECTOR_GP, 0);
  return BAD_LINEAR;
}

export function linearOnly(record: usize): u64 {
  const segment = (<u32>load<u8>(record, R_EA)) & 7;
  const offset = Address.effective(record);
  if (is64()) return segment >= 4 ? offset + segBase(segment) : offset;
  return (segBase(segment) + offset) & 0xffffffff;
}

export function addressGeneral(record: usize, kind: u32, size: u32, write: bool): u64 {
  const segment = (<u32>load<u8>(record, R_EA)) & 7;
  if (kind == EA_64_SEGMENT)
    return Address.sum(record) + load<u64>(CPU + CPU_SEG_BASE + ((<usize>segment) << 3));
  return segmentLinear(segment, Address.effective(record), size, write);
}

/**
 * Linear address of `size` bytes at `offset` in a segment, with the checks of SDM Vol. 3A, "Limit Checking" and
 * "Type Checking". BAD_LINEAR when #GP or #SS has been recorded.
 */
export function segmentLinear(segment: u32, offset: u64, size: u32, write: bool): u64 {
  if (is64()) return segment >= 4 ? offset + segBase(segment) : offset;
  const rights = segRights(segment);
  if (isProtected()) {
    let bad = (rights & AR_UNUSABLE) != 0;
    if (!isVirtual8086()) {
      if (write) bad = bad || (rights & (AR_CODE | AR_RW)) != AR_RW;
      else bad = bad || (rights & (AR_CODE | AR_RW)) == AR_CODE;
    }
    if (bad) {
      raiseWithError(segment == SS ? VECTOR_SS : 13, 0);
      return BAD_LINEAR;
    }
  }
  if (!isInLimit(segment, rights, offset, size)) {
    raiseWithError(segment == SS ? VECTOR_SS : 13, 0);
    return BAD_LINEAR;
  }
  return (segBase(segment) + offset) & 0xffffffff;
}

function isInLimit(segment: u32, rights: u64, offset: u64, size: u32): bool {
  const limit = <u64>segLimit(segment);
  const last = offset + size - 1;
  if ((rights & (AR_CODE | AR_DC)) == AR_DC) {
    const top: u64 = (rights & AR_DB) != 0 ? 0xffffffff : 0xffff;
    return offset > limit && last <= top;
  }
  // With a 4-GByte limit an access may wrap around, as the processor allows.
  return last <= limit || limit == 0xffffffff;
}

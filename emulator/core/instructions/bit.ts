/** Bit tests, scans and counts. SDM Vol. 2. */
import { CPU_SEG_BASE } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { Flags } from "../state/flags";
import { Address, segmentLinear } from "../mmu/segmented";
import { EA_32, EA_64, EA_64_SEGMENT, R_ADDRESS_SIZE, R_EA } from "../records/record";
import { Op } from "./operand";

/** Linear address of the operand-sized unit that holds the bit of a register bit offset (SDM Vol. 2, "BT"). */
export function bitStringAddress<T extends number>(record: usize, write: bool): u64 {
  const bit = <i64>Flags.extend<T>(Op.src<T>(record));
  const shift: u64 = sizeof<T>() == 8 ? 6 : sizeof<T>() == 4 ? 5 : 4;
  const distance = (bit >> shift) * <i64>sizeof<T>();
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const sum = Address.sum(record) + <u64>distance;
  const offset = size == 8 ? sum : size == 4 ? sum & 0xffffffff : sum & 0xffff;
  const kind = (<u32>(load<u8>(record, R_EA) >> 3)) & 7;
  if (kind == EA_64 || kind == EA_32) return offset;
  const segment = (<u32>load<u8>(record, R_EA)) & 7;
  if (kind == EA_64_SEGMENT) return offset + load<u64>(CPU + CPU_SEG_BASE + ((<usize>segment) << 3));
  return segmentLinear(segment, offset, <u32>sizeof<T>(), write);
}

function bitOf<T extends number>(offset: u32): T {
  return <T>((<u64>1) << (offset & (<u32>sizeof<T>() * 8 - 1)));
}

function testBit<T extends number>(value: T, offset: u32): void {
  Flags.setCf(((<u64>value) >> (offset & (<u32>sizeof<T>() * 8 - 1))) & 1);
}

export function bt<T extends number>(value: T, offset: u32): void {
  testBit<T>(value, offset);
}

export function bts<T extends number>(value: T, offset: u32): T {
  testBit<T>(value, offset);
  return <T>(value | bitOf<T>(offset));
}

export function btr<T extends number>(value: T, offset: u32): T {
  testBit<T>(value, offset);
  return <T>(value & ~bitOf<T>(offset));
}

export function btc<T extends number>(value: T, offset: u32): T {
  testBit<T>(value, offset);
  return <T>(value ^ bitOf<T>(offset));
}

/** BSF and BSR of 0 set ZF and leave the destination as it was, as processors do. */
export function bsf<T extends number>(record: usize, value: T): void {
  if (value == <T>0) {
    Flags.explicit<T>(value, 0, 0, 0);
    return;
  }
  Op.setDst<T>(record, <T>ctz<u64>(<u64>value));
  Flags.explicit<T>(<T>1, 0, 0, 0);
}

export function bsr<T extends number>(record: usize, value: T): void {
  if (value == <T>0) {
    Flags.explicit<T>(value, 0, 0, 0);
    return;
  }
  Op.setDst<T>(record, <T>(63 - clz<u64>(<u64>value)));
  Flags.explicit<T>(<T>1, 0, 0, 0);
}

/** POPCNT: ZF by the source, the other five flags cleared. */
export function popCount<T extends number>(value: T): T {
  setZeroCarry(value == <T>0, 0);
  return <T>popcnt<u64>(<u64>value);
}

export function lzcnt<T extends number>(value: T): T {
  const bits = <u64>sizeof<T>() * 8;
  const count = value == <T>0 ? bits : clz<u64>(<u64>value) - (64 - bits);
  setZeroCarry(count == 0, value == <T>0 ? 1 : 0);
  return <T>count;
}

export function tzcnt<T extends number>(value: T): T {
  const bits = <u64>sizeof<T>() * 8;
  const count = value == <T>0 ? bits : ctz<u64>(<u64>value);
  setZeroCarry(count == 0, value == <T>0 ? 1 : 0);
  return <T>count;
}

/** ZF and CF as given; SF, PF, OF, AF clear. */
function setZeroCarry(zero: bool, cf: u64): void {
  cpu.flagResult = zero ? 0 : 1;
  // A result of 0 has even parity: turn PF off.
  cpu.flagCarries = (cf << 63) | (cf << 62) | (zero ? 1 << 8 : 0);
}

/** CRC-32C (polynomial 11EDC6F41H, reflected), bit by bit over the source. */
export function crc32<T>(record: usize, value: T): void {
  let crc = Op.dst<u32>(record) ^ (sizeof<T>() == 8 ? <u32>value : <u32>value);
  if (sizeof<T>() == 8) {
    crc = crcBits(crc, 32);
    crc = crcBits(crc ^ (<u32>((<u64>value) >> 32)), 32);
  } else crc = crcBits(crc, <u32>sizeof<T>() * 8);
  Op.setDst<u32>(record, crc);
}

function crcBits(crc: u32, count: u32): u32 {
  for (let i: u32 = 0; i < count; i++) crc = (crc >> 1) ^ (0x82f63b78 & (0 - (crc & 1)));
  return crc;
}

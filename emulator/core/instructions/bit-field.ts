/** BMI1 and BMI2. SDM Vol. 2. Flags that are undefined are those of a logical operation. */
import { CPU, RDX } from "../state/cpu";
import { Flags } from "../state/flags";
import { R_EXTRA } from "../records/record";
import { multiplyHigh } from "./multiply-divide";
import { Op } from "./operand";

export function andn<T extends number>(a: T, b: T): T {
  const result = <T>(~a & b);
  Flags.logic<T>(result);
  return result;
}

export function blsr<T extends number>(value: T): T {
  const result = <T>(value & (value - <T>1));
  Flags.explicit<T>(result, value == <T>0 ? 1 : 0, 0, 0);
  return result;
}

export function blsmsk<T extends number>(value: T): T {
  const result = <T>(value ^ (value - <T>1));
  Flags.explicit<T>(result, value == <T>0 ? 1 : 0, 0, 0);
  return result;
}

export function blsi<T extends number>(value: T): T {
  const result = <T>(value & (<T>0 - value));
  Flags.explicit<T>(result, value != <T>0 ? 1 : 0, 0, 0);
  return result;
}

/** Ones below bit `count`; all of them from the operand's width on. */
function lowBits<T extends number>(count: u32): T {
  const width = <u32>sizeof<T>() * 8;
  return count >= width ? <T>-1 : <T>(((<T>1) << (<T>count)) - <T>1);
}

/** `control`: start in bits 7:0, length in bits 15:8. */
export function bextr<T extends number>(value: T, control: u32): T {
  const start = control & 0xff;
  const shifted = start >= <u32>sizeof<T>() * 8 ? <T>0 : <T>(value >> (<T>start));
  const result = <T>(shifted & lowBits<T>((control >> 8) & 0xff));
  Flags.logic<T>(result);
  return result;
}

export function bzhi<T extends number>(value: T, control: u32): T {
  const count = control & 0xff;
  const result = <T>(value & lowBits<T>(count));
  Flags.explicit<T>(result, count >= <u32>sizeof<T>() * 8 ? 1 : 0, 0, 0);
  return result;
}

/** Collects the bits of `value` that `mask` selects at the low end. */
export function pext<T extends number>(value: T, mask: T): T {
  let result: u64 = 0;
  let rest = <u64>mask;
  for (let at: u64 = 0; rest != 0; at++) {
    result |= (((<u64>value) >> ctz<u64>(rest)) & 1) << at;
    rest &= rest - 1;
  }
  return <T>result;
}

/** Spreads the low bits of `value` to the places that `mask` selects. */
export function pdep<T extends number>(value: T, mask: T): T {
  let result: u64 = 0;
  let rest = <u64>mask;
  for (let at: u64 = 0; rest != 0; at++) {
    result |= (((<u64>value) >> at) & 1) << ctz<u64>(rest);
    rest &= rest - 1;
  }
  return <T>result;
}

// Counts are taken modulo the operand's width, as by WebAssembly's own shifts.

export function shlx<T extends number>(value: T, count: T): T {
  return <T>(value << count);
}

export function shrx<T extends number>(value: T, count: T): T {
  return <T>(value >> count);
}

export function rorx<T extends number>(value: T, count: u32): T {
  return rotr<T>(value, <T>count);
}

export function sarx<T extends number>(value: T, count: T): T {
  if (sizeof<T>() == 8) return <T>((<i64>value) >> ((<i64>count) & 63));
  return <T>((<i32>value) >> ((<i32>count) & 31));
}

/** The upper half goes to the destination, the lower to VEX.vvvv; when they are the same, the upper half stays. */
export function mulx<T extends number>(record: usize, value: T): void {
  const other = load<T>(CPU + ((<usize>RDX) << 3));
  const lowAt = CPU + ((<usize>load<u8>(record, R_EXTRA)) << 3);
  if (sizeof<T>() == 8) {
    const high = multiplyHigh(<u64>value, <u64>other);
    store<u64>(lowAt, <u64>value * <u64>other);
    Op.setDst<T>(record, <T>high);
  } else {
    const product = <u64>value * <u64>other;
    store<u64>(lowAt, product & 0xffffffff);
    Op.setDst<T>(record, <T>(product >> 32));
  }
}

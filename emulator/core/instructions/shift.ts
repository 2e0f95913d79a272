/**
 * Shifts and rotates. SDM Vol. 2, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD".
 *
 * A masked count of 0 changes nothing, flags included. OF for counts above 1 and AF are undefined; they get the value
 * that the formula for a count of 1 gives.
 */
import { Flags } from "../state/flags";

function maskCount<T>(count: u32): u32 {
  return sizeof<T>() == 8 ? count & 63 : count & 31;
}

function bitsOf<T>(): u32 {
  return <u32>sizeof<T>() * 8;
}

function msb<T>(value: T): u64 {
  return ((<u64>value) >> (bitsOf<T>() - 1)) & 1;
}

export function shl<T>(a: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const r = c >= bits ? <T>0 : <T>((<u64>a) << c);
  const cf = c > bits ? 0 : ((<u64>a) >> (bits - c)) & 1;
  Flags.explicit<T>(r, cf, cf ^ msb<T>(r), 0);
  return r;
}

export function shr<T>(a: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const r = c >= bits ? <T>0 : <T>((<u64>a) >> c);
  const cf = c > bits ? 0 : ((<u64>a) >> (c - 1)) & 1;
  Flags.explicit<T>(r, cf, msb<T>(a), 0);
  return r;
}

export function sar<T>(a: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const wide = <i64>Flags.extend<T>(a);
  const r = <T>(wide >> c);
  const cf = (<u64>(wide >> (c - 1))) & 1;
  Flags.explicit<T>(r, cf, 0, 0);
  return r;
}

export function rol<T>(a: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const n = c & (bits - 1);
  const r = n == 0 ? a : <T>(((<u64>a) << n) | ((<u64>a) >> (bits - n)));
  const cf = (<u64>r) & 1;
  Flags.setCfOf(cf, cf ^ msb<T>(r));
  return r;
}

export function ror<T>(a: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const n = c & (bits - 1);
  const r = n == 0 ? a : <T>(((<u64>a) >> n) | ((<u64>a) << (bits - n)));
  const cf = msb<T>(r);
  Flags.setCfOf(cf, cf ^ (((<u64>r) >> (bits - 2)) & 1));
  return r;
}

export function rcl<T>(a: T, count: u32): T {
  const c = rotateThroughCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const value = <u64>a;
  const carry = Flags.cf();
  let r: u64 = bits == c ? 0 : value << c;
  r |= carry << (c - 1);
  if (c > 1) r |= value >> (bits + 1 - c);
  const cf = (value >> (bits - c)) & 1;
  Flags.setCfOf(cf, cf ^ msb<T>(<T>r));
  return <T>r;
}

export function rcr<T>(a: T, count: u32): T {
  const c = rotateThroughCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  const value = <u64>a;
  const carry = Flags.cf();
  let r: u64 = bits == c ? 0 : value >> c;
  r |= carry << (bits - c);
  if (c > 1) r |= value << (bits + 1 - c);
  const cf = (value >> (c - 1)) & 1;
  const result = <T>r;
  Flags.setCfOf(cf, msb<T>(result) ^ (((<u64>result) >> (bits - 2)) & 1));
  return result;
}

/** 8- and 16-bit rotates through carry take the count modulo 9 and 17. */
function rotateThroughCount<T>(count: u32): u32 {
  const c = maskCount<T>(count);
  if (sizeof<T>() == 1) return c % 9;
  if (sizeof<T>() == 2) return c % 17;
  return c;
}

export function shld<T>(a: T, b: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  let r: T;
  let cf: u64;
  if (c <= bits) {
    r = c == bits ? b : <T>(((<u64>a) << c) | ((<u64>b) >> (bits - c)));
    cf = ((<u64>a) >> (bits - c)) & 1;
  } else {
    // 16-bit operand and a count above 16: undefined; the processor goes on into the first operand again.
    const n = c - bits;
    r = <T>(((<u64>b) << n) | ((<u64>a) >> (bits - n)));
    cf = ((<u64>b) >> (bits - n)) & 1;
  }
  Flags.explicit<T>(r, cf, msb<T>(r) ^ msb<T>(a), 0);
  return r;
}

export function shrd<T>(a: T, b: T, count: u32): T {
  const c = maskCount<T>(count);
  if (c == 0) return a;
  const bits = bitsOf<T>();
  let r: T;
  let cf: u64;
  if (c <= bits) {
    r = c == bits ? b : <T>(((<u64>a) >> c) | ((<u64>b) << (bits - c)));
    cf = ((<u64>a) >> (c - 1)) & 1;
  } else {
    const n = c - bits;
    r = <T>(((<u64>b) >> n) | ((<u64>a) << (bits - n)));
    cf = ((<u64>b) >> (n - 1)) & 1;
  }
  Flags.explicit<T>(r, cf, msb<T>(r) ^ msb<T>(a), 0);
  return r;
}

/**
 * FMA: a × b + c rounded once, in all its forms. SDM Vol. 2, "VFMADD132PD/VFMADD213PD/VFMADD231PD" and its like.
 *
 * Where MXCSR allows it (float-control.ts), it is made of WebAssembly's operations without error: sums and products whose rounding errors are
 * computed as well.
 */
import { CPU_LANES } from "../layout.generated";
import { F32, F64 } from "../float/ieee";
import { CPU } from "../state/cpu";
import { Float } from "./float-control";

/** Where elements are taken apart. */
const A: usize = CPU_LANES;
const B: usize = CPU_LANES + 32;
const C: usize = CPU_LANES + 64;

/** Bits of an FMA instruction's kind. Even and odd elements differ in VFMADDSUB and VFMSUBADD. */
const NEGATES_PRODUCT: u32 = 1;
const SUBTRACTS_EVEN: u32 = 2;
const SUBTRACTS_ODD: u32 = 4;

function isNan32(bits: u32): bool {
  return bits << 1 > 0xff000000;
}
function isNan64(bits: u64): bool {
  return bits << 1 > 0xffe0000000000000;
}

/** The error of s = a + b, exactly (Knuth, "The Art of Computer Programming", volume 2, section 4.2.2). */
function sumError(a: f64, b: f64, s: f64): f64 {
  const part = s - a;
  return a - (s - part) + (b - part);
}

/**
 * a + b rounded to odd: where it is not exact, to the one of the two neighbours whose last bit is 1. What is rounded again after that, to
 * two bits less or more, is rounded as if it were the first time (Boldo, Melquiond, "Emulation of a FMA and Correctly Rounded
 * Sums: Proved Algorithms Using Rounding to Odd").
 */
function sumToOdd(a: f64, b: f64): f64 {
  const sum = a + b;
  const error = sumError(a, b, sum);
  const bits = reinterpret<u64>(sum);
  if (error == 0 || (bits & 1) != 0) return sum;
  return reinterpret<f64>(error > 0 == sum > 0 ? bits + 1 : bits - 1);
}

/** Doubles hold the product of two singles exactly. Operands are ordinary. */
function multiplyAdd32(a: u32, b: u32, c: u32): u32 {
  const product = <f64>reinterpret<f32>(a) * <f64>reinterpret<f32>(b);
  return reinterpret<u32>(<f32>sumToOdd(product, <f64>reinterpret<f32>(c)));
}

/** Not zero, and so far from the ends of the exponents' range that no part of a product or sum comes near to them. */
function isModerate(bits: u64): bool {
  return ((<u32>(bits >> 52)) & 0x7ff) - 723 <= 600;
}

/** Splits a factor for Dekker's product. */
const SPLITTER: f64 = 134217729;

/** Operands are moderate. The product in two parts, and a sum of three, of which the small ones are rounded to odd. */
function multiplyAdd64(aBits: u64, bBits: u64, cBits: u64): u64 {
  const a = reinterpret<f64>(aBits);
  const b = reinterpret<f64>(bBits);
  const c = reinterpret<f64>(cBits);
  const high = a * b;
  const aTop = a * SPLITTER - (a * SPLITTER - a);
  const bTop = b * SPLITTER - (b * SPLITTER - b);
  const aRest = a - aTop;
  const bRest = b - bTop;
  const low = aRest * bRest - (high - aTop * bTop - aRest * bTop - aTop * bRest);
  const middle = c + low;
  const sum = high + middle;
  const rest = sumToOdd(sumError(c, low, middle), sumError(high, middle, sum));
  return reinterpret<u64>(sum + rest);
}

/** ±(a × b) ± c. NaNs keep their signs. `Float.prepare` has been called. */
function fused32(a: u32, b: u32, c: u32, kind: u32, isOdd: bool): u32 {
  if ((kind & NEGATES_PRODUCT) != 0 && !isNan32(a)) a ^= 0x80000000;
  if ((kind & (isOdd ? SUBTRACTS_ODD : SUBTRACTS_EVEN)) != 0 && !isNan32(c)) c ^= 0x80000000;
  if (Float.isFast() && Float.isOrdinary32(a) && Float.isOrdinary32(b) && Float.isOrdinary32(c)) {
    const result = multiplyAdd32(a, b, c);
    if (Float.isSafe32(result)) return result;
  }
  return F32.fma(a, b, c);
}
function fused64(a: u64, b: u64, c: u64, kind: u32, isOdd: bool): u64 {
  const sign: u64 = 0x8000000000000000;
  if ((kind & NEGATES_PRODUCT) != 0 && !isNan64(a)) a ^= sign;
  if ((kind & (isOdd ? SUBTRACTS_ODD : SUBTRACTS_EVEN)) != 0 && !isNan64(c)) c ^= sign;
  if (Float.isFast() && isModerate(a) && isModerate(b) && isModerate(c)) return multiplyAdd64(a, b, c);
  return F64.fma(a, b, c);
}

/** FMA. */
export class Fused {
  static single(a: u32, b: u32, c: u32, kind: u32): u32 {
    Float.prepare();
    return fused32(a, b, c, kind, false);
  }
  static double(a: u64, b: u64, c: u64, kind: u32): u64 {
    Float.prepare();
    return fused64(a, b, c, kind, false);
  }
  static singles(a: v128, b: v128, c: v128, kind: u32): v128 {
    Float.prepare();
    store<v128>(CPU + A, a);
    store<v128>(CPU + B, b);
    store<v128>(CPU + C, c);
    for (let i: usize = 0; i < 16; i += 4) {
      const isOdd = (i & 4) != 0;
      const result = fused32(
        load<u32>(CPU + A + i),
        load<u32>(CPU + B + i),
        load<u32>(CPU + C + i),
        kind,
        isOdd,
      );
      store<u32>(CPU + A + i, result);
    }
    return load<v128>(CPU + A);
  }
  static doubles(a: v128, b: v128, c: v128, kind: u32): v128 {
    Float.prepare();
    store<v128>(CPU + A, a);
    store<v128>(CPU + B, b);
    store<v128>(CPU + C, c);
    for (let i: usize = 0; i < 16; i += 8) {
      const result = fused64(
        load<u64>(CPU + A + i),
        load<u64>(CPU + B + i),
        load<u64>(CPU + C + i),
        kind,
        i != 0,
      );
      store<u64>(CPU + A + i, result);
    }
    return load<v128>(CPU + A);
  }
}

/** Conversions between integers, singles, doubles and half precision. SDM Vol. 2, "CVT…" and "VCVTPH2PS". */
import { CPU_LANES } from "../layout.generated";
import { ROUND_NEAREST } from "../float/environment";
import { F32, F64 } from "../float/ieee";
import { CPU } from "../state/cpu";
import { Float } from "./float-control";

/** Where elements are taken apart. */
const FROM: usize = CPU_LANES;
const TO: usize = CPU_LANES + 16;

/** Bounds below which every double rounds to an integer of 32 or 64 bits. */
const BOUND_32: f64 = 2147483647;
const BOUND_64: f64 = 9223372036854774784;

/** Truncated or rounded to nearest, where that is the rounding in force and nothing is to be reported; else `isSlow`. */
function isDirect(value: f64, bits: u32, truncates: bool): bool {
  if (!(abs<f64>(value) < (bits == 32 ? BOUND_32 : BOUND_64))) return false;
  if (!truncates && Float.rounding() != ROUND_NEAREST) return false;
  return Float.isInexactQuiet() || trunc<f64>(value) == value;
}

export class Convert {
  /** To an integer of 32 or 64 bits. */
  static singleToInt(a: u32, bits: u32, truncates: bool): i64 {
    const value = <f64>reinterpret<f32>(a);
    if (isDirect(value, bits, truncates)) return <i64>(truncates ? value : nearest<f64>(value));
    Float.prepare();
    return F32.toInt(a, bits, truncates);
  }
  static doubleToInt(a: u64, bits: u32, truncates: bool): i64 {
    const value = reinterpret<f64>(a);
    if (isDirect(value, bits, truncates)) return <i64>(truncates ? value : nearest<f64>(value));
    Float.prepare();
    return F64.toInt(a, bits, truncates);
  }
  static intToSingle(value: i64): u32 {
    if (Float.isFast() || <u64>(value + 0x1000000) <= 0x2000000) return reinterpret<u32>(<f32>value);
    Float.prepare();
    return F32.fromInt(value);
  }
  static intToDouble(value: i64): u64 {
    if (Float.isFast() || <u64>(value + 0x20000000000000) <= 0x40000000000000)
      return reinterpret<u64>(<f64>value);
    Float.prepare();
    return F64.fromInt(value);
  }
  static singleToDouble(a: u32): u64 {
    if (Float.isOrdinary32(a)) return reinterpret<u64>(<f64>reinterpret<f32>(a));
    Float.prepare();
    return F64.fromF32(a);
  }
  static doubleToSingle(a: u64): u32 {
    if (Float.isFast() && Float.isOrdinary64(a)) {
      const result = reinterpret<u32>(<f32>reinterpret<f64>(a));
      if (Float.isSafe32(result) || a << 1 == 0) return result;
    }
    Float.prepare();
    return F32.fromF64(a);
  }

  /** The lower two singles. */
  static singlesToDoubles(a: v128): v128 {
    const low = Convert.singleToDouble(<u32>i32x4.extract_lane(a, 0));
    const high = Convert.singleToDouble(<u32>i32x4.extract_lane(a, 1));
    return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
  }
  /** Two doubles to the lower half; the upper one is 0. */
  static doublesToSingles(a: v128): v128 {
    const low = Convert.doubleToSingle(<u64>i64x2.extract_lane(a, 0));
    const high = Convert.doubleToSingle(<u64>i64x2.extract_lane(a, 1));
    return i64x2.replace_lane(i64x2.splat(0), 0, <i64>((<u64>low) | ((<u64>high) << 32)));
  }
  static intsToSingles(a: v128): v128 {
    if (Float.isFast()) return f32x4.convert_i32x4_s(a);
    store<v128>(CPU + FROM, a);
    for (let i: usize = 0; i < 16; i += 4)
      store<u32>(CPU + FROM + i, Convert.intToSingle(<i64>load<i32>(CPU + FROM + i)));
    return load<v128>(CPU + FROM);
  }
  static singlesToInts(a: v128, truncates: bool): v128 {
    store<v128>(CPU + FROM, a);
    for (let i: usize = 0; i < 16; i += 4)
      store<u32>(CPU + FROM + i, <u32>Convert.singleToInt(load<u32>(CPU + FROM + i), 32, truncates));
    return load<v128>(CPU + FROM);
  }
  /** Two doubles to the lower half; the upper one is 0. */
  static doublesToInts(a: v128, truncates: bool): v128 {
    const low = <u32>Convert.doubleToInt(<u64>i64x2.extract_lane(a, 0), 32, truncates);
    const high = <u32>Convert.doubleToInt(<u64>i64x2.extract_lane(a, 1), 32, truncates);
    return i64x2.replace_lane(i64x2.splat(0), 0, <i64>((<u64>low) | ((<u64>high) << 32)));
  }
  /** CVTPI2PS: the lower two integers. */
  static intPairToSingles(a: u64): u64 {
    const low = Convert.intToSingle(<i64>(<i32>a));
    const high = Convert.intToSingle(<i64>(<i32>(a >> 32)));
    return (<u64>low) | ((<u64>high) << 32);
  }
  /** CVTPS2PI. */
  static singlePairToInts(a: u64, truncates: bool): u64 {
    const low = <u32>Convert.singleToInt(<u32>a, 32, truncates);
    const high = <u32>Convert.singleToInt(<u32>(a >> 32), 32, truncates);
    return (<u64>low) | ((<u64>high) << 32);
  }

  /** Four half-precision numbers in the lower 64 bits. */
  static halvesToSingles(a: u64): v128 {
    Float.prepare();
    for (let i: u64 = 0; i < 4; i++)
      store<u32>(CPU + TO + ((<usize>i) << 2), F32.fromF16(<u16>(a >> (i << 4))));
    return load<v128>(CPU + TO);
  }
  /** Four singles to half precision. Bit 2 of `control`: rounding by MXCSR, else by bits 1:0. */
  static singlesToHalves(a: v128, control: u32): u64 {
    Float.prepare();
    const rounding = control & 4 ? Float.rounding() : control & 3;
    store<v128>(CPU + FROM, a);
    let result: u64 = 0;
    for (let i: u64 = 0; i < 4; i++)
      result |= (<u64>F32.toF16(load<u32>(CPU + FROM + ((<usize>i) << 2)), rounding)) << (i << 4);
    return result;
  }
}

/** Two 64-bit halves as a vector. */
export function joinQuads(low: u64, high: u64): v128 {
  return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
}

/** A general operand of type T as a signed number. */
export function signedInteger<T extends number>(value: T): i64 {
  return sizeof<T>() == 8 ? <i64>value : <i64>(<i32>value);
}

/**
 * Single and double precision as SSE and AVX have them: bit patterns in, bit patterns out.
 *
 *     F32.add(a: u32, b: u32): u32      F64.fma(a: u64, b: u64, c: u64): u64      …
 *
 * Before: `Cpu.floatControl` says masks, rounding, DAZ and FTZ (`controlOfMxcsr`), `Cpu.floatFlags` is 0 or what
 * earlier elements set. After: `Cpu.floatFlags` has the exceptions added, in MXCSR's bit order. Results are the masked
 * responses (SDM Vol. 1, "SIMD Floating-Point Exceptions"); with an unmasked exception they must not be used. Where a flag of
 * FLOAT_PRE_COMPUTATION is unmasked, the processor does not go on to compute: `FLOAT_OE | FLOAT_UE | FLOAT_PE` of the same
 * instruction are then not to be reported.
 *
 * NaNs (SDM Vol. 1, "Rules for Handling NaNs"): of several NaN operands the first gives the result, made quiet; a signaling
 * one anywhere sets IE; an invalid operation gives the indefinite NaN.
 */
import { cpu } from "../state/cpu";
import {
  CONTROL_DAZ,
  CONTROL_FTZ,
  FLOAT_DE,
  FLOAT_IE,
  FLOAT_PE,
  FLOAT_ZE,
  ROUND_ZERO,
  roundingOf,
} from "./environment";
import {
  addNumbers,
  divideNumbers,
  exactZero,
  multiplyAddNumbers,
  multiplyNumbers,
  squareRootNumber,
} from "./arithmetic";
import {
  OUT_OF_RANGE,
  exponentOfInteger,
  integerMagnitude,
  significandOfInteger,
  toInteger,
} from "./integral";
import { packInfinity, packZero, round } from "./round";
import { Fields, unpackExponent, unpackSignificand } from "./unpack";

/** Results of comparisons. */
export const COMPARE_LESS: i32 = -1;
export const COMPARE_EQUAL: i32 = 0;
export const COMPARE_GREATER: i32 = 1;
export const COMPARE_UNORDERED: i32 = 2;

/** A denormal operand: a zero under DAZ, else itself with DE set. All others unchanged. Not for NaN cases. */
function take<T>(bits: T): T {
  if (!Fields.isDenormal<T>(bits)) return bits;
  if ((cpu.floatControl & CONTROL_DAZ) != 0) return <T>((<u64>bits) & Fields.signBit<T>());
  cpu.floatFlags |= FLOAT_DE;
  return bits;
}

/** `take` without the flag: where DE is settled later. */
function takeQuietly<T>(bits: T): T {
  if ((cpu.floatControl & CONTROL_DAZ) == 0 || !Fields.isDenormal<T>(bits)) return bits;
  return <T>((<u64>bits) & Fields.signBit<T>());
}

function invalid<T>(): T {
  cpu.floatFlags |= FLOAT_IE;
  return Fields.indefinite<T>();
}

function quiet<T>(bits: T): T {
  return <T>((<u64>bits) | Fields.quietBit<T>());
}

/** The result for two operands of which one is a NaN. */
function nanOf2<T>(a: T, b: T): T {
  if (Fields.isSignaling<T>(a) || Fields.isSignaling<T>(b)) cpu.floatFlags |= FLOAT_IE;
  return quiet<T>(Fields.isNan<T>(a) ? a : b);
}

function nanOf1<T>(a: T): T {
  if (Fields.isSignaling<T>(a)) cpu.floatFlags |= FLOAT_IE;
  return quiet<T>(a);
}

function add<T>(a: T, b: T): T {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b)) return nanOf2<T>(a, b);
  const isInfiniteA = Fields.magnitude<T>(a) == Fields.infinity<T>();
  const isInfiniteB = Fields.magnitude<T>(b) == Fields.infinity<T>();
  if (isInfiniteA && isInfiniteB && a != b) return invalid<T>();
  a = take<T>(a);
  b = take<T>(b);
  if (isInfiniteA) return a;
  if (isInfiniteB) return b;
  const control = cpu.floatControl;
  const signA = Fields.sign<T>(a);
  const signB = Fields.sign<T>(b);
  if (Fields.magnitude<T>(a) == 0) {
    if (Fields.magnitude<T>(b) == 0) return <T>(signA == signB ? packZero<T>(signA) : exactZero<T>(control));
    return <T>round<T>(control, signB, unpackExponent<T>(b), unpackSignificand<T>(b), 0);
  }
  if (Fields.magnitude<T>(b) == 0)
    return <T>round<T>(control, signA, unpackExponent<T>(a), unpackSignificand<T>(a), 0);
  return <T>(
    addNumbers<T>(
      control,
      signA,
      unpackExponent<T>(a),
      unpackSignificand<T>(a),
      signB,
      unpackExponent<T>(b),
      unpackSignificand<T>(b),
    )
  );
}

/** a - b: a NaN keeps its sign. */
function subtract<T>(a: T, b: T): T {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b)) return nanOf2<T>(a, b);
  return add<T>(a, <T>((<u64>b) ^ Fields.signBit<T>()));
}

function multiply<T>(a: T, b: T): T {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b)) return nanOf2<T>(a, b);
  const sign = Fields.sign<T>(a) ^ Fields.sign<T>(b);
  const isInfinite =
    Fields.magnitude<T>(a) == Fields.infinity<T>() || Fields.magnitude<T>(b) == Fields.infinity<T>();
  const isZero = Fields.magnitude<T>(takeQuietly<T>(a)) == 0 || Fields.magnitude<T>(takeQuietly<T>(b)) == 0;
  if (isInfinite && isZero) return invalid<T>();
  a = take<T>(a);
  b = take<T>(b);
  if (isInfinite) return <T>packInfinity<T>(sign);
  if (isZero) return <T>packZero<T>(sign);
  return <T>(
    multiplyNumbers<T>(
      cpu.floatControl,
      sign,
      unpackExponent<T>(a),
      unpackSignificand<T>(a),
      unpackExponent<T>(b),
      unpackSignificand<T>(b),
    )
  );
}

function divide<T>(a: T, b: T): T {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b)) return nanOf2<T>(a, b);
  const sign = Fields.sign<T>(a) ^ Fields.sign<T>(b);
  const isInfiniteA = Fields.magnitude<T>(a) == Fields.infinity<T>();
  const isInfiniteB = Fields.magnitude<T>(b) == Fields.infinity<T>();
  const isZeroA = Fields.magnitude<T>(takeQuietly<T>(a)) == 0;
  const isZeroB = Fields.magnitude<T>(takeQuietly<T>(b)) == 0;
  if ((isInfiniteA && isInfiniteB) || (isZeroA && isZeroB)) return invalid<T>();
  if (isZeroB && !isInfiniteA) {
    cpu.floatFlags |= FLOAT_ZE;
    return <T>packInfinity<T>(sign);
  }
  a = take<T>(a);
  b = take<T>(b);
  if (isInfiniteA) return <T>packInfinity<T>(sign);
  if (isInfiniteB || isZeroA) return <T>packZero<T>(sign);
  return <T>(
    divideNumbers<T>(
      cpu.floatControl,
      sign,
      unpackExponent<T>(a),
      unpackSignificand<T>(a),
      unpackExponent<T>(b),
      unpackSignificand<T>(b),
    )
  );
}

function squareRoot<T>(a: T): T {
  if (Fields.isNan<T>(a)) return nanOf1<T>(a);
  if (Fields.magnitude<T>(takeQuietly<T>(a)) == 0) return takeQuietly<T>(a);
  if (Fields.sign<T>(a) != 0) return invalid<T>();
  if (Fields.magnitude<T>(a) == Fields.infinity<T>()) return a;
  a = take<T>(a);
  return <T>squareRootNumber<T>(cpu.floatControl, unpackExponent<T>(a), unpackSignificand<T>(a));
}

/** a × b + c. */
function multiplyAdd<T>(a: T, b: T, c: T): T {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b) || Fields.isNan<T>(c)) {
    if (Fields.isSignaling<T>(a) || Fields.isSignaling<T>(b) || Fields.isSignaling<T>(c))
      cpu.floatFlags |= FLOAT_IE;
    return quiet<T>(Fields.isNan<T>(a) ? a : Fields.isNan<T>(b) ? b : c);
  }
  const sign = Fields.sign<T>(a) ^ Fields.sign<T>(b);
  const signC = Fields.sign<T>(c);
  const isInfinite =
    Fields.magnitude<T>(a) == Fields.infinity<T>() || Fields.magnitude<T>(b) == Fields.infinity<T>();
  const isZero = Fields.magnitude<T>(takeQuietly<T>(a)) == 0 || Fields.magnitude<T>(takeQuietly<T>(b)) == 0;
  const isInfiniteC = Fields.magnitude<T>(c) == Fields.infinity<T>();
  if (isInfinite && (isZero || (isInfiniteC && sign != signC))) return invalid<T>();
  a = take<T>(a);
  b = take<T>(b);
  c = take<T>(c);
  if (isInfinite) return <T>packInfinity<T>(sign);
  if (isInfiniteC) return c;
  const control = cpu.floatControl;
  const isZeroC = Fields.magnitude<T>(c) == 0;
  if (isZero) {
    if (isZeroC) return <T>(sign == signC ? packZero<T>(sign) : exactZero<T>(control));
    return <T>round<T>(control, signC, unpackExponent<T>(c), unpackSignificand<T>(c), 0);
  }
  const exponentA = unpackExponent<T>(a);
  const significandA = unpackSignificand<T>(a);
  const exponentB = unpackExponent<T>(b);
  const significandB = unpackSignificand<T>(b);
  if (isZeroC) return <T>multiplyNumbers<T>(control, sign, exponentA, significandA, exponentB, significandB);
  return <T>(
    multiplyAddNumbers<T>(
      control,
      sign,
      exponentA,
      significandA,
      exponentB,
      significandB,
      signC,
      unpackExponent<T>(c),
      unpackSignificand<T>(c),
    )
  );
}

/** COMPARE_*. IE for signaling NaNs, and where `isSignaling` for all NaNs. */
function compare<T>(a: T, b: T, isSignaling: bool): i32 {
  if (Fields.isNan<T>(a) || Fields.isNan<T>(b)) {
    if (isSignaling || Fields.isSignaling<T>(a) || Fields.isSignaling<T>(b)) cpu.floatFlags |= FLOAT_IE;
    return COMPARE_UNORDERED;
  }
  a = take<T>(a);
  b = take<T>(b);
  const magnitudeA = Fields.magnitude<T>(a);
  const magnitudeB = Fields.magnitude<T>(b);
  const signA = Fields.sign<T>(a);
  if (magnitudeA == magnitudeB && (magnitudeA == 0 || signA == Fields.sign<T>(b))) return COMPARE_EQUAL;
  if (signA != Fields.sign<T>(b)) return signA != 0 ? COMPARE_LESS : COMPARE_GREATER;
  return magnitudeA < magnitudeB == (signA == 0) ? COMPARE_LESS : COMPARE_GREATER;
}

/** A signed integer of 32 or 64 bits; its indefinite value (80…0H) with IE where it does not fit. */
function toSigned<T>(a: T, bits: u32, truncates: bool): i64 {
  const rounding = truncates ? ROUND_ZERO : roundingOf(cpu.floatControl);
  // CVT instructions know no denormal exception; denormals are zeros under DAZ.
  a = takeQuietly<T>(a);
  if (Fields.magnitude<T>(a) == 0) return 0;
  if (Fields.magnitude<T>(a) < Fields.infinity<T>()) {
    const value = toInteger(rounding, bits, Fields.sign<T>(a), unpackExponent<T>(a), unpackSignificand<T>(a));
    if (cpu.floatRemainder != OUT_OF_RANGE) return value;
  }
  cpu.floatFlags |= FLOAT_IE;
  return bits == 32 ? <i64>i32.MIN_VALUE : i64.MIN_VALUE;
}

function fromSigned<T>(value: i64): T {
  if (value == 0) return <T>0;
  return <T>(
    round<T>(cpu.floatControl, value < 0 ? 1 : 0, exponentOfInteger(value), significandOfInteger(value), 0)
  );
}

/** ROUNDPS and its like: no DE. `isInexactHidden` suppresses PE. */
function roundToIntegral<T>(a: T, rounding: u32, isInexactHidden: bool): T {
  if (Fields.isNan<T>(a)) return nanOf1<T>(a);
  a = takeQuietly<T>(a);
  // Infinities, zeros, and what has no bits after the point.
  if (
    Fields.magnitude<T>(a) == 0 ||
    Fields.exponent<T>(a) >= <u32>(Fields.bias<T>() + <i32>Fields.fractionBits<T>())
  )
    return a;
  const sign = Fields.sign<T>(a);
  const magnitude = integerMagnitude(rounding, sign, unpackExponent<T>(a), unpackSignificand<T>(a));
  if (cpu.floatRemainder != 0 && !isInexactHidden) cpu.floatFlags |= FLOAT_PE;
  if (magnitude == 0) return <T>packZero<T>(sign);
  // At most 2^fractionBits: exact.
  return <T>(
    round<T>(
      cpu.floatControl,
      sign,
      exponentOfInteger(<i64>magnitude),
      significandOfInteger(<i64>magnitude),
      0,
    )
  );
}

/** From format S to format T: NaNs keep sign and the upper bits of the payload. */
function convert<S, T>(a: S): T {
  const from = Fields.fractionBits<S>();
  const to = Fields.fractionBits<T>();
  const sign = Fields.sign<S>(a);
  if (Fields.isNan<S>(a)) {
    if (Fields.isSignaling<S>(a)) cpu.floatFlags |= FLOAT_IE;
    const payload = (Fields.fraction<S>(a) << (63 - from)) >> (63 - to);
    return <T>(packInfinity<T>(sign) | payload | Fields.quietBit<T>());
  }
  a = take<S>(a);
  if (Fields.magnitude<S>(a) == 0) return <T>packZero<T>(sign);
  if (Fields.magnitude<S>(a) == Fields.infinity<S>()) return <T>packInfinity<T>(sign);
  return <T>round<T>(cpu.floatControl, sign, unpackExponent<S>(a), unpackSignificand<S>(a), 0);
}

export class F32 {
  static add(a: u32, b: u32): u32 {
    return add<u32>(a, b);
  }
  static sub(a: u32, b: u32): u32 {
    return subtract<u32>(a, b);
  }
  static mul(a: u32, b: u32): u32 {
    return multiply<u32>(a, b);
  }
  static div(a: u32, b: u32): u32 {
    return divide<u32>(a, b);
  }
  static sqrt(a: u32): u32 {
    return squareRoot<u32>(a);
  }
  /** a × b + c, rounded once. Of several NaNs a comes first, then b. Negate operands for the other forms, NaNs excepted. */
  static fma(a: u32, b: u32, c: u32): u32 {
    return multiplyAdd<u32>(a, b, c);
  }
  /** COMPARE_*; `isSignaling`: IE for quiet NaNs as well (COMISS against UCOMISS). */
  static compare(a: u32, b: u32, isSignaling: bool): i32 {
    return compare<u32>(a, b, isSignaling);
  }
  /** To an integer of 32 or 64 bits, by rounding control or truncated. 80…0H with IE where it does not fit. */
  static toInt(a: u32, bits: u32, truncates: bool): i64 {
    return toSigned<u32>(a, bits, truncates);
  }
  static fromInt(value: i64): u32 {
    return fromSigned<u32>(value);
  }
  static fromF64(a: u64): u32 {
    return convert<u64, u32>(a);
  }
  /** From half precision: exact, and neither DE nor DAZ applies (VCVTPH2PS). */
  static fromF16(a: u16): u32 {
    return halfToSingle(a);
  }
  /** To half precision in a rounding (ROUND_*); FTZ does not apply (VCVTPS2PH). */
  static toF16(a: u32, rounding: u32): u16 {
    return singleToHalf(a, rounding);
  }
  /** To an integral number in a rounding (ROUND_*); `isInexactHidden` suppresses PE. */
  static roundToIntegral(a: u32, rounding: u32, isInexactHidden: bool): u32 {
    return roundToIntegral<u32>(a, rounding, isInexactHidden);
  }
}

export class F64 {
  static add(a: u64, b: u64): u64 {
    return add<u64>(a, b);
  }
  static sub(a: u64, b: u64): u64 {
    return subtract<u64>(a, b);
  }
  static mul(a: u64, b: u64): u64 {
    return multiply<u64>(a, b);
  }
  static div(a: u64, b: u64): u64 {
    return divide<u64>(a, b);
  }
  static sqrt(a: u64): u64 {
    return squareRoot<u64>(a);
  }
  /** As F32.fma. */
  static fma(a: u64, b: u64, c: u64): u64 {
    return multiplyAdd<u64>(a, b, c);
  }
  /** As F32.compare. */
  static compare(a: u64, b: u64, isSignaling: bool): i32 {
    return compare<u64>(a, b, isSignaling);
  }
  /** As F32.toInt. */
  static toInt(a: u64, bits: u32, truncates: bool): i64 {
    return toSigned<u64>(a, bits, truncates);
  }
  static fromInt(value: i64): u64 {
    return fromSigned<u64>(value);
  }
  static fromF32(a: u32): u64 {
    return convert<u32, u64>(a);
  }
  /** As F32.roundToIntegral. */
  static roundToIntegral(a: u64, rounding: u32, isInexactHidden: bool): u64 {
    return roundToIntegral<u64>(a, rounding, isInexactHidden);
  }
}

function halfToSingle(a: u16): u32 {
  const control = cpu.floatControl;
  const flags = cpu.floatFlags;
  cpu.floatControl = control & ~CONTROL_DAZ;
  const result = convert<u16, u32>(a);
  cpu.floatControl = control;
  // A denormal operand is not reported.
  cpu.floatFlags = (cpu.floatFlags & ~FLOAT_DE) | (flags & FLOAT_DE);
  return result;
}

function singleToHalf(a: u32, rounding: u32): u16 {
  const control = cpu.floatControl;
  const flags = cpu.floatFlags;
  cpu.floatFlags = 0;
  cpu.floatControl = (control & ~(CONTROL_FTZ | 0xc00)) | (rounding << 10);
  const result = convert<u32, u16>(a);
  // A denormal single is far below the smallest half: inexact, even where an unmasked underflow leaves the result out of account.
  if (cpu.floatFlags & FLOAT_DE) cpu.floatFlags |= FLOAT_PE;
  cpu.floatFlags |= flags;
  cpu.floatControl = control;
  return result;
}

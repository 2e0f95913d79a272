/**
 * Classes and NaNs of the x87 registers' double extended format: `exponent` is the upper word of a register, sign in bit 15.
 * SDM Vol. 1, "Unsupported Double Extended-Precision Floating-Point Encodings and Pseudo-Denormals" and "NaNs".
 */
import { cpu } from "../state/cpu";
import { BIAS, EXTENDED_MAX, FLOAT_IE, TOP_BIT } from "./environment";

/** Bit that tells quiet from signaling NaNs. */
const QUIET_BIT: u64 = 0x4000000000000000;
const FRACTION_MASK: u64 = 0x7fffffffffffffff;
const INDEFINITE_SIGNIFICAND: u64 = 0xc000000000000000;
const INDEFINITE_EXPONENT: u32 = 0xffff;

export class Extended {
  /** Neither zero, denormal, infinity, NaN nor unsupported. */
  @inline static isNormal(exponent: u32, significand: u64): bool {
    return (exponent & EXTENDED_MAX) - 1 < EXTENDED_MAX - 1 && significand >= TOP_BIT;
  }
  @inline static isUnsupported(exponent: u32, significand: u64): bool {
    return (exponent & EXTENDED_MAX) != 0 && significand < TOP_BIT;
  }
  @inline static isInfinite(exponent: u32, significand: u64): bool {
    return (exponent & EXTENDED_MAX) == EXTENDED_MAX && significand == TOP_BIT;
  }
  @inline static isNan(exponent: u32, significand: u64): bool {
    return (exponent & EXTENDED_MAX) == EXTENDED_MAX && significand > TOP_BIT;
  }
  @inline static isSignaling(exponent: u32, significand: u64): bool {
    return Extended.isNan(exponent, significand) && (significand & QUIET_BIT) == 0;
  }
  @inline static isZero(exponent: u32, significand: u64): bool {
    return ((exponent & EXTENDED_MAX) | (significand != 0 ? 1 : 0)) == 0;
  }
  /** Denormals and pseudo-denormals. */
  @inline static isDenormal(exponent: u32, significand: u64): bool {
    return (exponent & EXTENDED_MAX) == 0 && significand != 0;
  }
  @inline static sign(exponent: u32): u32 {
    return (exponent >> 15) & 1;
  }
}

/** Exponent of a finite number that is not zero, as in unpacked numbers (round.ts). */
export function normalExponent(exponent: u32, significand: u64): i32 {
  const field = <i32>(exponent & EXTENDED_MAX);
  return field != 0 ? field : 1 - <i32>clz<u64>(significand);
}

/** Significand of a finite number that is not zero, with its top bit at bit 63. */
export function normalSignificand(significand: u64): u64 {
  return significand << clz<u64>(significand);
}

/** An invalid operation's masked result: significand as the result, exponent in `Cpu.floatExponent`. Sets IE alone. */
export function invalidExtended(): u64 {
  cpu.floatFlags = FLOAT_IE;
  cpu.floatExponent = INDEFINITE_EXPONENT;
  return INDEFINITE_SIGNIFICAND;
}

/** A NaN made quiet; IE if it was not. Returns as `invalidExtended`. */
export function quietExtended(exponent: u32, significand: u64): u64 {
  cpu.floatFlags = (significand & QUIET_BIT) != 0 ? 0 : FLOAT_IE;
  cpu.floatExponent = exponent;
  return significand | QUIET_BIT;
}

/**
 * The result of an operation on two operands of which one is a NaN, the other supported. SDM Vol. 1, "Rules for Handling
 * NaNs": a quiet NaN before a signaling one; of two of a kind the one with the larger significand; then the positive one.
 * Returns as `invalidExtended`, with IE where one is signaling and no other flag.
 */
export function nanOfExtended(exponentA: u32, a: u64, exponentB: u32, b: u64): u64 {
  const isNanA = Extended.isNan(exponentA, a);
  const isNanB = Extended.isNan(exponentB, b);
  const isSignalingA = Extended.isSignaling(exponentA, a);
  const isSignalingB = Extended.isSignaling(exponentB, b);
  let takesA = isNanA;
  if (isNanA && isNanB) {
    if (isSignalingA != isSignalingB) takesA = isSignalingB;
    else takesA = a != b ? a > b : Extended.sign(exponentA) == 0;
  }
  cpu.floatFlags = isSignalingA || isSignalingB ? FLOAT_IE : 0;
  cpu.floatExponent = takesA ? exponentA : exponentB;
  return (takesA ? a : b) | QUIET_BIT;
}

/**
 * Single or double precision to double extended, exact: the significand, with the exponent in `Cpu.floatExponent`. NaNs are
 * not made quiet and denormals become normal: the caller sees to their exceptions.
 */
export function widen<T>(bits: T): u64 {
  const fractionBits: u64 = sizeof<T>() == 4 ? 23 : 52;
  const signShift: u64 = sizeof<T>() == 4 ? 16 : 48;
  const maxField: u32 = sizeof<T>() == 4 ? 255 : 2047;
  const bias: u32 = sizeof<T>() == 4 ? 127 : 1023;
  const sign = (<u32>((<u64>bits) >> signShift)) & 0x8000;
  const field = (<u32>((<u64>bits) >> fractionBits)) & maxField;
  const fraction = ((<u64>bits) << (63 - fractionBits)) & FRACTION_MASK;
  if (field - 1 < maxField - 1) {
    cpu.floatExponent = sign | (field - bias + <u32>BIAS);
    return fraction | TOP_BIT;
  }
  if (field != 0) {
    cpu.floatExponent = sign | EXTENDED_MAX;
    return fraction | TOP_BIT;
  }
  if (fraction == 0) {
    cpu.floatExponent = sign;
    return 0;
  }
  const shift = clz<u64>(fraction);
  cpu.floatExponent = sign | (<u32>BIAS - bias + 1 - <u32>shift);
  return fraction << shift;
}

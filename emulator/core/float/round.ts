/**
 * Rounding: from an exact (or sticky) unpacked number to a format, with overflow, underflow and the inexact result.
 * SDM Vol. 1, "Rounding", "Numeric Overflow Exception", "Numeric Underflow Exception".
 *
 * An unpacked number is a sign, an exponent and a significand of 128 bits, high:low, with the top bit set: it stands for
 * ± high.low × 2^(exponent - BIAS - 63), where `low` is the fraction. The last bit of `low` may be sticky: 1 for anything that
 * was there or below. So exponents are those of the double extended format, for all formats.
 *
 * A format is named by the type that holds its bits: u16 half, u32 single, u64 double, v128 the x87 registers' double extended format,
 * whose significand the precision control narrows to 24, 53 or 64 bits.
 */
import { cpu } from "../state/cpu";
import {
  BIAS,
  BIAS_ADJUSTMENT,
  CONTROL_FTZ,
  EXTENDED_MAX,
  FLOAT_OE,
  FLOAT_PE,
  FLOAT_UE,
  ROUND_NEAREST,
  ROUND_ZERO,
  ROUND_DOWN,
  TOP_BIT,
  roundingOf,
} from "./environment";
import { Fields } from "./unpack";

/** Bits of the significand, the leading 1 included. */
function precisionOf<T>(control: u32): u32 {
  if (sizeof<T>() == 2) return 11;
  if (sizeof<T>() == 4) return 24;
  if (sizeof<T>() == 8) return 53;
  const precision = (control >> 8) & 3;
  return precision == 0 ? 24 : precision == 2 ? 53 : 64;
}

/** Smallest exponent of a normal number. */
function minExponent<T>(): i32 {
  if (sizeof<T>() == 2) return BIAS - 14;
  if (sizeof<T>() == 4) return BIAS - 126;
  if (sizeof<T>() == 8) return BIAS - 1022;
  return 1;
}

/** Largest exponent of a finite number. */
function maxExponent<T>(): i32 {
  if (sizeof<T>() == 2) return BIAS + 15;
  if (sizeof<T>() == 4) return BIAS + 127;
  if (sizeof<T>() == 8) return BIAS + 1023;
  return 0x7ffe;
}

/**
 * Puts a number together. `significand` has its leading bit at bit 63 (or below it in a denormal, with `exponent` then that of
 * the smallest normal number).
 * @returns the format's bits; of the double extended format the significand, with sign and exponent in `Cpu.floatExponent`
 */
function pack<T>(sign: u32, exponent: i32, significand: u64): u64 {
  if (sizeof<T>() == 16) {
    cpu.floatExponent = (sign << 15) | ((significand & TOP_BIT) != 0 ? <u32>exponent : 0);
    return significand;
  }
  const fraction = Fields.fractionBits<T>();
  // The leading bit adds 1 to the exponent field.
  return (
    (significand >> (63 - fraction)) +
    ((<u64>(exponent - minExponent<T>())) << fraction) +
    (sign != 0 ? Fields.signBit<T>() : 0)
  );
}

/** A signed zero in a format. Returns as `pack`. */
export function packZero<T>(sign: u32): u64 {
  return pack<T>(sign, minExponent<T>(), 0);
}

/** A signed infinity in a format. Returns as `pack`. */
export function packInfinity<T>(sign: u32): u64 {
  if (sizeof<T>() == 16) {
    cpu.floatExponent = (sign << 15) | EXTENDED_MAX;
    return TOP_BIT;
  }
  return pack<T>(sign, maxExponent<T>() + 1, TOP_BIT);
}

/** Does a significand whose bits below the last one are `rest` (a fraction of 2^64) round away from zero? */
export function roundsAway(rounding: u32, sign: u32, isOdd: bool, rest: u64): bool {
  if (rounding == ROUND_NEAREST) return rest > TOP_BIT || (rest == TOP_BIT && isOdd);
  if (rounding == ROUND_ZERO) return false;
  return rest != 0 && (rounding == ROUND_DOWN) == (sign != 0);
}

/**
 * Rounds an unpacked number to a format. Sets OE, UE and PE in `Cpu.floatFlags` and `Cpu.floatRoundedUp` (1 when the
 * magnitude grew). An unmasked overflow or underflow gives the bias-adjusted result in the double extended format; in the
 * others it gives bits that must not be used.
 *
 * @returns as `pack`
 */
export function round<T>(control: u32, sign: u32, exponent: i32, high: u64, low: u64): u64 {
  if (exponent < minExponent<T>()) return roundSmall<T>(control, sign, exponent, high, low);
  const bits = precisionOf<T>(control);
  const unit: u64 = (<u64>1) << (64 - bits);
  const rest = bits == 64 ? low : (high << bits) | (low != 0 ? 1 : 0);
  let significand = bits == 64 ? high : high & ~(unit - 1);
  if (rest == 0) {
    cpu.floatRoundedUp = 0;
    if (exponent > maxExponent<T>()) return overflow<T>(control, sign, exponent, significand, false);
    return pack<T>(sign, exponent, significand);
  }
  const up = roundsAway(roundingOf(control), sign, (significand & unit) != 0, rest);
  cpu.floatRoundedUp = up ? 1 : 0;
  if (up) {
    significand += unit;
    if (significand == 0) {
      significand = TOP_BIT;
      exponent++;
    }
  }
  if (exponent > maxExponent<T>()) return overflow<T>(control, sign, exponent, significand, true);
  cpu.floatFlags |= FLOAT_PE;
  return pack<T>(sign, exponent, significand);
}

function overflow<T>(control: u32, sign: u32, exponent: i32, significand: u64, isInexact: bool): u64 {
  if ((control & FLOAT_OE) == 0) {
    cpu.floatFlags |= isInexact ? FLOAT_OE | FLOAT_PE : FLOAT_OE;
    if (sizeof<T>() != 16) return 0;
    if (exponent - BIAS_ADJUSTMENT <= maxExponent<T>())
      return pack<T>(sign, exponent - BIAS_ADJUSTMENT, significand);
    // Out of range even so, by FSCALE only: an infinity.
    cpu.floatFlags |= FLOAT_PE;
    cpu.floatRoundedUp = 1;
    return packInfinity<T>(sign);
  }
  cpu.floatFlags |= FLOAT_OE | FLOAT_PE;
  // Away from zero to infinity, or towards it to the largest finite number: the same question as for a large rest.
  const up = roundsAway(roundingOf(control), sign, true, 0xffffffffffffffff);
  cpu.floatRoundedUp = up ? 1 : 0;
  if (up) return packInfinity<T>(sign);
  const unit: u64 = (<u64>1) << (64 - precisionOf<T>(control));
  return pack<T>(sign, maxExponent<T>(), ~(unit - 1));
}

/** `round` for exponents below that of the smallest normal number. Tininess is detected after rounding. */
function roundSmall<T>(control: u32, sign: u32, exponent: i32, high: u64, low: u64): u64 {
  const bits = precisionOf<T>(control);
  const unit: u64 = (<u64>1) << (64 - bits);
  const rounding = roundingOf(control);
  const smallest = minExponent<T>();
  const normalRest = bits == 64 ? low : (high << bits) | (low != 0 ? 1 : 0);
  const normal = high & ~(unit - 1);
  const isNormalUp = roundsAway(rounding, sign, (normal & unit) != 0, normalRest);
  const isTiny = exponent < smallest - 1 || !isNormalUp || normal + unit != 0;
  if (isTiny && (control & FLOAT_UE) == 0) {
    cpu.floatFlags |= normalRest != 0 ? FLOAT_UE | FLOAT_PE : FLOAT_UE;
    cpu.floatRoundedUp = isNormalUp ? 1 : 0;
    if (sizeof<T>() != 16) return 0;
    if (exponent + BIAS_ADJUSTMENT < smallest) {
      // Out of range even so, by FSCALE only: a zero.
      cpu.floatFlags |= FLOAT_PE;
      cpu.floatRoundedUp = 0;
      return packZero<T>(sign);
    }
    const carries = isNormalUp && normal + unit == 0;
    return pack<T>(
      sign,
      exponent + BIAS_ADJUSTMENT + (carries ? 1 : 0),
      carries ? TOP_BIT : isNormalUp ? normal + unit : normal,
    );
  }
  if (isTiny && sizeof<T>() != 16 && (control & CONTROL_FTZ) != 0) {
    cpu.floatFlags |= FLOAT_UE | FLOAT_PE;
    return packZero<T>(sign);
  }
  // Denormalize: shift right, keeping what falls out as sticky.
  const shift = <u32>(smallest - exponent);
  if (shift >= 64) {
    low = shift > 64 ? 1 : high | (low != 0 ? 1 : 0);
    high = 0;
  } else {
    low = (high << (64 - shift)) | (low != 0 ? 1 : 0);
    high >>= shift;
  }
  const rest = bits == 64 ? low : (high << bits) | (low != 0 ? 1 : 0);
  let significand = high & ~(unit - 1);
  const up = roundsAway(rounding, sign, (significand & unit) != 0, rest);
  cpu.floatRoundedUp = up ? 1 : 0;
  if (up) significand += unit;
  if (rest != 0) cpu.floatFlags |= isTiny ? FLOAT_UE | FLOAT_PE : FLOAT_PE;
  return pack<T>(sign, smallest, significand);
}

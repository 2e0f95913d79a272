/** Unpacked numbers (round.ts) and integers. SDM Vol. 1, "Integers" and "Rounding". */
import { cpu } from "../state/cpu";
import { BIAS, FLOAT_PE } from "./environment";
import { roundsAway } from "./round";

/**
 * Magnitude of a number rounded to an integer, for exponents below BIAS + 64; larger ones are not to be passed. Sets
 * `Cpu.floatRoundedUp`, and `Cpu.floatRemainder` to 1 when the number was not an integer, else to 0. Where rounding up
 * reaches 2^64 the result is 0 with `Cpu.floatRoundedUp` set.
 */
export function integerMagnitude(rounding: u32, sign: u32, exponent: i32, significand: u64): u64 {
  const distance = BIAS + 63 - exponent;
  cpu.floatRoundedUp = 0;
  cpu.floatRemainder = 0;
  if (distance <= 0) return significand;
  const whole = distance < 64 ? significand >> distance : 0;
  const rest = distance < 64 ? significand << (64 - distance) : distance == 64 ? significand : 1;
  if (rest == 0) return whole;
  cpu.floatRemainder = 1;
  if (!roundsAway(rounding, sign, (whole & 1) != 0, rest)) return whole;
  cpu.floatRoundedUp = 1;
  return whole + 1;
}

/** What `toInteger` returns in `Cpu.floatRemainder` for numbers that the integer type cannot hold. */
export const OUT_OF_RANGE: u64 = 2;

/**
 * A number as a signed integer of `bits` bits (16, 32 or 64), sign-extended. Sets PE when it is rounded.
 * `Cpu.floatRemainder` is OUT_OF_RANGE, and no flag set, when the rounded number does not fit; then the result is meaningless.
 */
export function toInteger(rounding: u32, bits: u32, sign: u32, exponent: i32, significand: u64): i64 {
  if (exponent >= BIAS + 64) {
    cpu.floatRoundedUp = 0;
    cpu.floatRemainder = OUT_OF_RANGE;
    return 0;
  }
  const magnitude = integerMagnitude(rounding, sign, exponent, significand);
  const limit: u64 = (<u64>1) << (bits - 1);
  if (magnitude > limit || (magnitude == limit && sign == 0) || (magnitude == 0 && cpu.floatRoundedUp != 0)) {
    cpu.floatRoundedUp = 0;
    cpu.floatRemainder = OUT_OF_RANGE;
    return 0;
  }
  if (cpu.floatRemainder != 0) cpu.floatFlags |= FLOAT_PE;
  return sign != 0 ? -(<i64>magnitude) : <i64>magnitude;
}

/** Significand with its top bit at bit 63 of an integer that is not 0. */
export function significandOfInteger(value: i64): u64 {
  const magnitude = value < 0 ? <u64>-value : <u64>value;
  return magnitude << clz<u64>(magnitude);
}

/** Exponent of an integer that is not 0. */
export function exponentOfInteger(value: i64): i32 {
  const magnitude = value < 0 ? <u64>-value : <u64>value;
  return BIAS + 63 - <i32>clz<u64>(magnitude);
}

/**
 * Arithmetic on unpacked numbers that are finite and not zero: the operands' signs, exponents and significands (top bit set), as
 * in round.ts. Each ends by rounding to the format T and returns as `round` does.
 */
import { cpu } from "../state/cpu";
import { BIAS, ROUND_DOWN, TOP_BIT, roundingOf } from "./environment";
import { packZero, round } from "./round";
import { divide, multiplyHigh, restOf, squareRoot } from "./wide";

/** The zero that a difference of equal numbers is. */
export function exactZero<T>(control: u32): u64 {
  cpu.floatRoundedUp = 0;
  return packZero<T>(roundingOf(control) == ROUND_DOWN ? 1 : 0);
}

/** a + b. */
export function addNumbers<T>(
  control: u32,
  signA: u32,
  exponentA: i32,
  a: u64,
  signB: u32,
  exponentB: i32,
  b: u64,
): u64 {
  if (exponentA < exponentB || (exponentA == exponentB && a < b))
    return addSmaller<T>(control, signB, exponentB, b, 0, signA != signB, <u32>(exponentB - exponentA), a, 0);
  return addSmaller<T>(control, signA, exponentA, a, 0, signA != signB, <u32>(exponentA - exponentB), b, 0);
}

/**
 * high:low ± b:bLow × 2^-distance, where the first is not the smaller one. The first number's `low` must be exact or, where it
 * is sticky, the second number at least two places below the first.
 */
function addSmaller<T>(
  control: u32,
  sign: u32,
  exponent: i32,
  high: u64,
  low: u64,
  isDifference: bool,
  distance: u32,
  b: u64,
  bLow: u64,
): u64 {
  if (distance >= 64) {
    bLow = distance < 128 ? shiftSticky(b, bLow, distance - 64) : (b | bLow) != 0 ? 1 : 0;
    b = 0;
  } else if (distance != 0) {
    const lost = bLow << (64 - distance) != 0 ? 1 : 0;
    bLow = (b << (64 - distance)) | (bLow >> distance) | lost;
    b >>= distance;
  }
  if (!isDifference) {
    const sumLow = low + bLow;
    const carryLow: u64 = sumLow < low ? 1 : 0;
    const sum = high + b;
    const total = sum + carryLow;
    if (sum >= high && total >= sum) return round<T>(control, sign, exponent, total, sumLow);
    return round<T>(
      control,
      sign,
      exponent + 1,
      (total >> 1) | TOP_BIT,
      (sumLow >> 1) | (sumLow & 1) | (total << 63),
    );
  }
  const restLow = low - bLow;
  const rest = high - b - (low < bLow ? 1 : 0);
  if (rest == 0) {
    if (restLow == 0) return exactZero<T>(control);
    const shift = <u32>clz<u64>(restLow);
    return round<T>(control, sign, exponent - 64 - <i32>shift, restLow << shift, 0);
  }
  const shift = <u32>clz<u64>(rest);
  if (shift == 0) return round<T>(control, sign, exponent, rest, restLow);
  return round<T>(
    control,
    sign,
    exponent - <i32>shift,
    (rest << shift) | (restLow >> (64 - shift)),
    restLow << shift,
  );
}

/** high:low >> count for count < 64, as the lower word, sticky. */
function shiftSticky(high: u64, low: u64, count: u32): u64 {
  if (count == 0) return high | (low != 0 ? 1 : 0);
  return (high >> count) | (high << (64 - count) != 0 || low != 0 ? 1 : 0);
}

/** a × b. */
export function multiplyNumbers<T>(
  control: u32,
  sign: u32,
  exponentA: i32,
  a: u64,
  exponentB: i32,
  b: u64,
): u64 {
  const high = multiplyHigh(a, b);
  const low = a * b;
  if ((high & TOP_BIT) != 0) return round<T>(control, sign, exponentA + exponentB - BIAS + 1, high, low);
  return round<T>(control, sign, exponentA + exponentB - BIAS, (high << 1) | (low >> 63), low << 1);
}

/** a / b. */
export function divideNumbers<T>(
  control: u32,
  sign: u32,
  exponentA: i32,
  a: u64,
  exponentB: i32,
  b: u64,
): u64 {
  let exponent = exponentA - exponentB + BIAS;
  let quotient: u64;
  if (a < b) {
    exponent--;
    quotient = divide(a, 0, b);
  } else quotient = divide(a >> 1, a << 63, b);
  return round<T>(control, sign, exponent, quotient, restOf(cpu.floatRemainder, b));
}

/** √a of a positive number. */
export function squareRootNumber<T>(control: u32, exponent: i32, a: u64): u64 {
  // An odd power of two gives its factor to the radicand.
  const isOdd = ((exponent - BIAS) & 1) != 0;
  const root = squareRoot(isOdd ? a : a >> 1, isOdd ? 0 : a << 63);
  return round<T>(control, 0, ((exponent - BIAS) >> 1) + BIAS, root, cpu.floatRemainder);
}

/** a × b + c with one rounding, for significands of at most 53 bits. `sign` is that of the product. */
export function multiplyAddNumbers<T>(
  control: u32,
  sign: u32,
  exponentA: i32,
  a: u64,
  exponentB: i32,
  b: u64,
  signC: u32,
  exponentC: i32,
  c: u64,
): u64 {
  let high = multiplyHigh(a, b);
  let low = a * b;
  let exponent = exponentA + exponentB - BIAS + 1;
  if ((high & TOP_BIT) == 0) {
    high = (high << 1) | (low >> 63);
    low <<= 1;
    exponent--;
  }
  const isDifference = sign != signC;
  if (exponent < exponentC || (exponent == exponentC && high < c))
    return addSmaller<T>(
      control,
      signC,
      exponentC,
      c,
      0,
      isDifference,
      <u32>(exponentC - exponent),
      high,
      low,
    );
  return addSmaller<T>(control, sign, exponent, high, low, isDifference, <u32>(exponent - exponentC), c, 0);
}

/**
 * Sine, cosine, tangent and arc tangent with 128 bits. Numbers are as in series.ts: the upper word is returned, the rest is in
 * `Cpu.wideLow` and `Cpu.wideExponent`.
 */
import { cpu } from "../state/cpu";
import { BIAS } from "./environment";
import {
  belowOne,
  divideWide,
  divideWideNumbers,
  fixedWide,
  multiplyWide,
  multiplyWideNumbers,
  normalizeWide,
  series,
} from "./series";
import {
  ATAN_32NDS,
  COS_SERIES,
  COS_SERIES_TERMS,
  ODD_SERIES,
  PI_HIGH,
  PI_LOW,
  SIN_SERIES,
  SIN_SERIES_TERMS,
} from "./tables.generated";

/** Significand of π/4, rounded down. */
const QUARTER_PI: u64 = 0xc90fdaa22168c234;
/** π/2 in units of 2^-65, from π with the 66 bits that the processor uses. SDM Vol. 1, "Approximation of Pi". */
const HALF_PI_HIGH: u64 = 3;
const HALF_PI_LOW: u64 = 0x243f6a8885a308d3;

/**
 * Takes the nearest multiple of π/2 from a positive number below 2^63: the magnitude of the rest, a number of at most π/4, with its
 * sign in `Cpu.restSign` and the multiple modulo 4 in `Cpu.quadrant`.
 */
export function reduceByHalfPi(exponent: i32, significand: u64): u64 {
  cpu.restSign = 0;
  cpu.quadrant = 0;
  cpu.wideLow = 0;
  cpu.wideExponent = exponent;
  if (exponent < BIAS - 1 || (exponent == BIAS - 1 && significand <= QUARTER_PI)) return significand;
  // In units of 2^-65 the number is an integer of at most 128 bits.
  const shift = exponent - BIAS + 2;
  let high = shift == 64 ? significand : significand >> (64 - shift);
  let low = shift == 64 ? 0 : significand << shift;
  // Long division: the divisor begins as far up as the dividend has bits, and moves down.
  let places = exponent - BIAS + 1;
  let divisorHigh = HALF_PI_HIGH;
  let divisorLow = HALF_PI_LOW;
  if (places > 62) places = 62;
  if (places > 0) {
    divisorHigh = (HALF_PI_HIGH << places) | (HALF_PI_LOW >> (64 - places));
    divisorLow = HALF_PI_LOW << places;
  }
  let quotient: u32 = 0;
  for (; places >= 0; places--) {
    quotient <<= 1;
    if (high > divisorHigh || (high == divisorHigh && low >= divisorLow)) {
      high = high - divisorHigh - (low < divisorLow ? 1 : 0);
      low -= divisorLow;
      quotient |= 1;
    }
    divisorLow = (divisorLow >> 1) | (divisorHigh << 63);
    divisorHigh >>= 1;
  }
  // The other side of the next multiple, if that is nearer.
  const otherHigh = HALF_PI_HIGH - high - (HALF_PI_LOW < low ? 1 : 0);
  const otherLow = HALF_PI_LOW - low;
  if (otherHigh < high || (otherHigh == high && otherLow < low)) {
    high = otherHigh;
    low = otherLow;
    quotient++;
    cpu.restSign = 1;
  }
  cpu.quadrant = quotient & 3;
  return normalizeWide(BIAS + 127 - 65, high, low);
}

/** The sine of a number from 0 to π/4. */
export function sine(exponent: i32, high: u64, low: u64): u64 {
  const rHigh = fixedWide(BIAS - 1, exponent, high, low);
  const rLow = cpu.wideLow;
  const zHigh = multiplyWide(rHigh, rLow, rHigh, rLow);
  const sum = belowOne(series(SIN_SERIES, SIN_SERIES_TERMS, zHigh, cpu.wideLow, true));
  const factor = normalizeWide(BIAS, sum, cpu.wideLow);
  return multiplyWideNumbers(exponent, high, low, cpu.wideExponent, factor, cpu.wideLow);
}

/** The cosine of a number from 0 to π/4. */
export function cosine(exponent: i32, high: u64, low: u64): u64 {
  const rHigh = fixedWide(BIAS - 1, exponent, high, low);
  const rLow = cpu.wideLow;
  const zHigh = multiplyWide(rHigh, rLow, rHigh, rLow);
  const sum = belowOne(series(COS_SERIES, COS_SERIES_TERMS, zHigh, cpu.wideLow, true));
  return normalizeWide(BIAS, sum, cpu.wideLow);
}

/** The tangent of a number from 0 to π/4, or its reciprocal. */
export function tangent(exponent: i32, high: u64, low: u64, isReciprocal: bool): u64 {
  if (!isReciprocal && exponent < BIAS - 62) {
    // Above its argument by less than the last bit.
    cpu.wideExponent = exponent;
    cpu.wideLow = low | 1;
    return high;
  }
  const sinHigh = sine(exponent, high, low);
  const sinLow = cpu.wideLow;
  const sinExponent = cpu.wideExponent;
  const cosHigh = cosine(exponent, high, low);
  const cosLow = cpu.wideLow;
  const cosExponent = cpu.wideExponent;
  return isReciprocal
    ? divideWideNumbers(cosExponent, cosHigh, cosLow, sinExponent, sinHigh, sinLow)
    : divideWideNumbers(sinExponent, sinHigh, sinLow, cosExponent, cosHigh, cosLow);
}

/** Terms of the arc tangent's series for arguments of at most 1/64. */
const ATAN_TERMS: u32 = 9;

/** u × Σ (-1)^k u^2k / (2k + 1) / u: the sum, one bit before the point, for u as a fraction of at most 1/64. */
function atanFactor(high: u64, low: u64): u64 {
  const zHigh = multiplyWide(high, low, high, low);
  return belowOne(series(ODD_SERIES, ATAN_TERMS, zHigh, cpu.wideLow, true));
}

/** The arc tangent of t, a number of at most 1. */
function atanOfFraction(exponent: i32, high: u64, low: u64): u64 {
  // So small an arc tangent is its argument, in every rounding, as on Intel's processors.
  if (exponent < BIAS - 40) {
    cpu.wideLow = low;
    cpu.wideExponent = exponent;
    return high;
  }
  if (exponent < BIAS - 6) {
    const fractionHigh = fixedWide(BIAS - 1, exponent, high, low);
    const sum = atanFactor(fractionHigh, cpu.wideLow);
    const factor = normalizeWide(BIAS, sum, cpu.wideLow);
    return multiplyWideNumbers(exponent, high, low, cpu.wideExponent, factor, cpu.wideLow);
  }
  // atan t = atan c + atan((t - c) / (1 + t c)) for c = k / 32 next to t; all with two bits before the point.
  const tHigh = fixedWide(BIAS + 1, exponent, high, low);
  const tLow = cpu.wideLow;
  const k = (tHigh + ((<u64>1) << 56)) >> 57;
  const c = k << 57;
  const isBelow = tHigh < c;
  const numeratorHigh = isBelow ? c - tHigh - (tLow != 0 ? 1 : 0) : tHigh - c;
  const numeratorLow = isBelow ? 0 - tLow : tLow;
  // t c: c as a fraction is k × 2^59, which does not hold 1.
  const productHigh = k == 32 ? tHigh : multiplyWide(tHigh, tLow, k << 59, 0);
  const productLow = k == 32 ? tLow : cpu.wideLow;
  const uHigh = divideWide(numeratorHigh, numeratorLow, productHigh + 0x4000000000000000, productLow);
  const uLow = cpu.wideLow;
  const factor = atanFactor(uHigh, uLow);
  const atanHigh = multiplyWide(uHigh, uLow, factor, cpu.wideLow);
  const atanLow = (cpu.wideLow >> 1) | (atanHigh << 63);
  const entry = ATAN_32NDS + ((<usize>k) << 4);
  return isBelow
    ? subtractFixed(load<u64>(entry), load<u64>(entry, 8), atanHigh >> 1, atanLow)
    : addFixed(load<u64>(entry), load<u64>(entry, 8), atanHigh >> 1, atanLow);
}

/** a + b with two bits before the point, as a number. */
function addFixed(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  const low = aLow + bLow;
  return normalizeWide(BIAS + 1, aHigh + bHigh + (low < aLow ? 1 : 0), low);
}

/** a - b with two bits before the point, as a number. */
function subtractFixed(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  return normalizeWide(BIAS + 1, aHigh - bHigh - (aLow < bLow ? 1 : 0), aLow - bLow);
}

/** π × eighths / 8, for eighths from 1 to 8: a number. */
export function piEighths(eighths: u64): u64 {
  const high = multiplyWide(PI_HIGH, PI_LOW, eighths << 60, 0);
  // eighths / 16 as a fraction: one place more.
  return normalizeWide(BIAS + 2, high, cpu.wideLow);
}

/** The angle from 0 to π of the point (±x, y) for positive x and y: 64-bit significands. */
export function angle(isLeft: bool, exponentX: i32, x: u64, exponentY: i32, y: u64): u64 {
  const isSteep = exponentY > exponentX || (exponentY == exponentX && y > x);
  const t = isSteep
    ? divideWideNumbers(exponentX, x, 0, exponentY, y, 0)
    : divideWideNumbers(exponentY, y, 0, exponentX, x, 0);
  const high = atanOfFraction(cpu.wideExponent, t, cpu.wideLow);
  if (!isSteep && !isLeft) return high;
  const fixedHigh = fixedWide(BIAS + 1, cpu.wideExponent, high, cpu.wideLow);
  const fixedLow = cpu.wideLow;
  if (!isSteep) return subtractFixed(PI_HIGH, PI_LOW, fixedHigh, fixedLow);
  const halfHigh = PI_HIGH >> 1;
  const halfLow = (PI_LOW >> 1) | (PI_HIGH << 63);
  return isLeft
    ? addFixed(halfHigh, halfLow, fixedHigh, fixedLow)
    : subtractFixed(halfHigh, halfLow, fixedHigh, fixedLow);
}

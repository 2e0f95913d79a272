/** 2^x - 1 and base-2 logarithms with 128 bits. Numbers are as in series.ts. */
import { cpu } from "../state/cpu";
import { BIAS, TOP_BIT } from "./environment";
import {
  divideWideNumbers,
  fixedWide,
  multiplyWide,
  multiplyWideNumbers,
  normalizeWide,
  series,
} from "./series";
import {
  EXP_SERIES,
  EXP_SERIES_TERMS,
  LN2_HIGH,
  LN2_LOW,
  ODD_SERIES,
  ODD_SERIES_TERMS,
  TWO_OVER_LN2_HIGH,
  TWO_OVER_LN2_LOW,
} from "./tables.generated";

/** |2^±x - 1| for a number x of at most 1. */
export function powerMinus1(isNegative: bool, exponent: i32, significand: u64): u64 {
  // With y = x ln 2: e^y - 1 = y (1 + y/2! + y²/3! + …).
  const high = multiplyWideNumbers(exponent, significand, 0, BIAS - 1, LN2_HIGH, LN2_LOW);
  const low = cpu.wideLow;
  const yExponent = cpu.wideExponent;
  const fraction = fixedWide(BIAS - 1, yExponent, high, low);
  const sum = series(EXP_SERIES, EXP_SERIES_TERMS, fraction, cpu.wideLow, isNegative);
  const factor = normalizeWide(BIAS, sum, cpu.wideLow);
  return multiplyWideNumbers(yExponent, high, low, cpu.wideExponent, factor, cpu.wideLow);
}

/** 2 artanh(n / d) / ln 2 of two numbers, n/d at most 0.18. */
function log2OfRatio(exponentN: i32, nHigh: u64, nLow: u64, exponentD: i32, dHigh: u64, dLow: u64): u64 {
  const high = divideWideNumbers(exponentN, nHigh, nLow, exponentD, dHigh, dLow);
  const low = cpu.wideLow;
  const exponent = cpu.wideExponent;
  const sHigh = fixedWide(BIAS - 1, exponent, high, low);
  const sLow = cpu.wideLow;
  const zHigh = multiplyWide(sHigh, sLow, sHigh, sLow);
  const sum = series(ODD_SERIES, ODD_SERIES_TERMS, zHigh, cpu.wideLow, false);
  const factor = normalizeWide(BIAS, sum, cpu.wideLow);
  const product = multiplyWideNumbers(exponent, high, low, cpu.wideExponent, factor, cpu.wideLow);
  return multiplyWideNumbers(
    cpu.wideExponent,
    product,
    cpu.wideLow,
    BIAS + 1,
    TWO_OVER_LN2_HIGH,
    TWO_OVER_LN2_LOW,
  );
}

/** Significand of √2, rounded down. */
const SQRT2: u64 = 0xb504f333f9de6484;
/** 1 with two bits before the point. */
const ONE: u64 = 0x4000000000000000;

/**
 * |log2 x| of a positive number other than 1, which near 1 must have at most 126 bits; its sign goes to `Cpu.restSign`.
 */
export function log2(exponent: i32, high: u64, low: u64): u64 {
  // x = 2^power × m, with m from √½ to √2, and log2 m = 2 artanh((m - 1) / (m + 1)) / ln 2.
  const isUpper = high > SQRT2;
  const power = exponent - BIAS + (isUpper ? 1 : 0);
  const shift: u64 = isUpper ? 2 : 1;
  const mHigh = high >> shift;
  const mLow = (low >> shift) | (high << (64 - shift));
  let numeratorHigh = isUpper ? ONE - mHigh - (mLow != 0 ? 1 : 0) : mHigh - ONE;
  const numeratorLow = isUpper ? 0 - mLow : mLow;
  if ((numeratorHigh | numeratorLow) == 0) {
    // A power of two.
    cpu.restSign = power < 0 ? 1 : 0;
    return normalizeInteger(power);
  }
  numeratorHigh = normalizeWide(BIAS + 1, numeratorHigh, numeratorLow);
  const nLow = cpu.wideLow;
  const nExponent = cpu.wideExponent;
  const denominator = normalizeWide(BIAS + 1, mHigh + ONE, mLow);
  const fraction = log2OfRatio(nExponent, numeratorHigh, nLow, cpu.wideExponent, denominator, cpu.wideLow);
  if (power == 0) {
    cpu.restSign = isUpper ? 1 : 0;
    return fraction;
  }
  // power ± fraction, with 16 bits before the point.
  const fHigh = fixedWide(BIAS + 15, cpu.wideExponent, fraction, cpu.wideLow);
  const fLow = cpu.wideLow;
  const isNegative = power < 0;
  const integer = (<u64>(isNegative ? -power : power)) << 48;
  cpu.restSign = isNegative ? 1 : 0;
  if (isNegative == isUpper) {
    const sumLow = fLow;
    return normalizeWide(BIAS + 15, integer + fHigh, sumLow);
  }
  return normalizeWide(BIAS + 15, integer - fHigh - (fLow != 0 ? 1 : 0), 0 - fLow);
}

/** An integer other than 0 as a number: its magnitude. */
function normalizeInteger(value: i32): u64 {
  return normalizeWide(BIAS + 31, (<u64>(value < 0 ? -value : value)) << 32, 0);
}

/** |log2(1 ± x)| of a number x that is below 1 where it is to be taken away; the sign goes to `Cpu.restSign`. */
export function log2Plus1(isNegative: bool, exponent: i32, significand: u64): u64 {
  if (exponent < BIAS - 2) {
    // Below 1/4: log2(1 + x) = 2 artanh(x / (2 + x)) / ln 2.
    const fixedHigh = fixedWide(BIAS + 1, exponent, significand, 0);
    const fixedLow = cpu.wideLow;
    const high = isNegative ? TOP_BIT - fixedHigh - (fixedLow != 0 ? 1 : 0) : TOP_BIT + fixedHigh;
    const denominator = normalizeWide(BIAS + 1, high, isNegative ? 0 - fixedLow : fixedLow);
    cpu.restSign = isNegative ? 1 : 0;
    return log2OfRatio(exponent, significand, 0, cpu.wideExponent, denominator, cpu.wideLow);
  }
  if (exponent >= BIAS + 62) {
    // 1 is at the end of the significand, or below.
    const one = fixedWide(exponent, BIAS, TOP_BIT, 0);
    const sum = significand + one;
    if (sum >= significand) return log2(exponent, sum, cpu.wideLow);
    return log2(exponent + 1, (sum >> 1) | TOP_BIT, cpu.wideLow >> 1);
  }
  const top = exponent > BIAS ? exponent : BIAS;
  const fixedHigh = fixedWide(top + 1, exponent, significand, 0);
  const fixedLow = cpu.wideLow;
  const one = TOP_BIT >> (top + 1 - BIAS);
  const sumHigh = isNegative ? one - fixedHigh - (fixedLow != 0 ? 1 : 0) : one + fixedHigh;
  const sum = normalizeWide(top + 1, sumHigh, isNegative ? 0 - fixedLow : fixedLow);
  return log2(cpu.wideExponent, sum, cpu.wideLow);
}

/**
 * Arithmetic with 128 bits for the transcendental instructions: fixed-point fractions, and numbers with an exponent as in
 * round.ts. A function returns the upper word of its result and leaves the lower one in `Cpu.wideLow`; of a number also
 * the exponent in `Cpu.wideExponent`. Errors are a few units of the last of the 128 bits.
 */
import { cpu } from "../state/cpu";
import { BIAS, TOP_BIT } from "./environment";
import { multiplyHigh } from "./wide";

/** The upper 128 of the 256 bits of a product. */
export function multiplyWide(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  const low = aHigh * bHigh;
  const first = low + multiplyHigh(aHigh, bLow);
  const second = first + multiplyHigh(aLow, bHigh);
  cpu.wideLow = second;
  return multiplyHigh(aHigh, bHigh) + (first < low ? 1 : 0) + (second < first ? 1 : 0);
}

/** 2^128 × a / b for a below b. */
export function divideWide(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  let high: u64 = 0;
  let low: u64 = 0;
  for (let i: u32 = 0; i < 128; i++) {
    const carry = aHigh >> 63;
    aHigh = (aHigh << 1) | (aLow >> 63);
    aLow <<= 1;
    high = (high << 1) | (low >> 63);
    low <<= 1;
    if (carry != 0 || aHigh > bHigh || (aHigh == bHigh && aLow >= bLow)) {
      aHigh = aHigh - bHigh - (aLow < bLow ? 1 : 0);
      aLow -= bLow;
      low |= 1;
    }
  }
  cpu.wideLow = low;
  return high;
}

/**
 * Σ c[k] z^k, or Σ (-1)^k c[k] z^k where `alternates`, for 0 ≤ z < 1 as a fraction. Coefficients and sum have one bit before the point; the sum
 * of what is to be added to any coefficient must be below 2, and the total positive.
 */
export function series(table: usize, terms: u32, zHigh: u64, zLow: u64, alternates: bool): u64 {
  let at = table + ((<usize>terms - 1) << 4);
  let high = load<u64>(at);
  let low = load<u64>(at, 8);
  while (at != table) {
    at -= 16;
    high = multiplyWide(high, low, zHigh, zLow);
    low = cpu.wideLow;
    const c = load<u64>(at, 8);
    if (alternates) {
      high = load<u64>(at) - high - (c < low ? 1 : 0);
      low = c - low;
    } else {
      low += c;
      high += load<u64>(at) + (low < c ? 1 : 0);
    }
  }
  cpu.wideLow = low;
  return high;
}

/** A number from a fixed-point one, not zero, whose bit 127 has the weight of 2^(exponent - BIAS). */
export function normalizeWide(exponent: i32, high: u64, low: u64): u64 {
  if (high == 0) {
    high = low;
    low = 0;
    exponent -= 64;
  }
  const shift = clz<u64>(high);
  if (shift != 0) {
    high = (high << shift) | (low >> (64 - shift));
    low <<= shift;
  }
  cpu.wideExponent = exponent - <i32>shift;
  cpu.wideLow = low;
  return high;
}

/** The fixed-point number, with bit 127 weighing 2^(top - BIAS), of a number that is below 2^(top - BIAS + 1). */
export function fixedWide(top: i32, exponent: i32, high: u64, low: u64): u64 {
  const distance = top - exponent;
  if (distance >= 128) {
    cpu.wideLow = 0;
    return 0;
  }
  if (distance >= 64) {
    cpu.wideLow = high >> (distance - 64);
    return 0;
  }
  if (distance != 0) {
    low = (low >> distance) | (high << (64 - distance));
    high >>= distance;
  }
  cpu.wideLow = low;
  return high;
}

/** The product of two numbers. */
export function multiplyWideNumbers(
  exponentA: i32,
  aHigh: u64,
  aLow: u64,
  exponentB: i32,
  bHigh: u64,
  bLow: u64,
): u64 {
  const high = multiplyWide(aHigh, aLow, bHigh, bLow);
  return normalizeWide(exponentA + exponentB - BIAS + 1, high, cpu.wideLow);
}

/** The quotient of two numbers. */
export function divideWideNumbers(
  exponentA: i32,
  aHigh: u64,
  aLow: u64,
  exponentB: i32,
  bHigh: u64,
  bLow: u64,
): u64 {
  let exponent = exponentA - exponentB + BIAS;
  if (aHigh < bHigh || (aHigh == bHigh && aLow < bLow)) exponent--;
  else {
    aLow = (aLow >> 1) | (aHigh << 63);
    aHigh >>= 1;
  }
  const high = divideWide(aHigh, aLow, bHigh, bLow);
  cpu.wideExponent = exponent;
  return high;
}

/** Keeps a sum that is 1 (bit 127) below it: the functions computed here never reach their limits. */
export function belowOne(high: u64): u64 {
  if (high != TOP_BIT) return high;
  cpu.wideLow = 0xffffffffffffffff;
  return TOP_BIT - 1;
}

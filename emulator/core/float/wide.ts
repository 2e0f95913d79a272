/** 128-bit integer arithmetic of significands, without loops. */
import { cpu } from "../state/cpu";
import { TOP_BIT } from "./environment";

/** Bits 127:64 of a × b. */
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const cross = aHigh * bLow + ((aLow * bLow) >> 32);
  const middle = aLow * bHigh + (cross & 0xffffffff);
  return aHigh * bHigh + (cross >> 32) + (middle >> 32);
}

/** One 32-bit digit of high:low / divisor, where high < divisor and the divisor's top bit is set; see `divide`. */
function digit(high: u64, next: u64, divisor: u64): u64 {
  const top = divisor >> 32;
  const bottom = divisor & 0xffffffff;
  let q = high / top;
  let rest = high - q * top;
  // The estimate is at most 2 too large (Knuth, The Art of Computer Programming, Vol. 2, 4.3.1, algorithm D).
  while (q > 0xffffffff || q * bottom > ((rest << 32) | next)) {
    q--;
    rest += top;
    if (rest > 0xffffffff) break;
  }
  return q;
}

/**
 * high:low / divisor, for high < divisor and a divisor with its top bit set. The remainder goes to `Cpu.floatRemainder`.
 * @returns the 64-bit quotient
 */
export function divide(high: u64, low: u64, divisor: u64): u64 {
  const first = digit(high, low >> 32, divisor);
  const rest = ((high << 32) | (low >> 32)) - first * divisor;
  const second = digit(rest, low & 0xffffffff, divisor);
  cpu.floatRemainder = ((rest << 32) | (low & 0xffffffff)) - second * divisor;
  return (first << 32) | second;
}

/** What lies below a quotient or root in units of 2^-64, from a remainder and what it is a part of: exact, or on the right side of ½. */
export function restOf(remainder: u64, whole: u64): u64 {
  if (remainder == 0) return 0;
  const other = whole - remainder;
  return remainder == other ? TOP_BIT : remainder > other ? TOP_BIT | 1 : 1;
}

/**
 * Integer square root of high:low, for high ≥ 2^62: the 64-bit root, whose top bit is set. `Cpu.floatRemainder` is 0 where it
 * is exact, and else says on which side of root + ½ the true root is: TOP_BIT | 1 above, 1 below (it is never there).
 */
export function squareRoot(high: u64, low: u64): u64 {
  // 53 bits of the root at first; below all ones, so that it fits.
  const estimate = f64.sqrt(<f64>high) * 4294967296.0;
  let root: u64 = estimate >= 18446744073709549568.0 ? 0xfffffffffffff800 : <u64>estimate;
  // One step of Newton's method: root += (N - root²) / 2 root. The difference has less than 80 bits.
  const squareLow = root * root;
  const differenceHigh = high - multiplyHigh(root, root) - (low < squareLow ? 1 : 0);
  const differenceLow = low - squareLow;
  const difference = <i64>((differenceHigh << 44) | (differenceLow >> 20));
  const correction = difference / <i64>(root >> 19);
  const corrected = root + <u64>correction;
  // A correction upwards past all ones wraps.
  root = correction > 0 && corrected < root ? 0xffffffffffffffff : corrected;
  // Off by very little now: down while root² is above, up while (root + 1)² is not.
  let restHigh = high - multiplyHigh(root, root) - (low < root * root ? 1 : 0);
  let restLow = low - root * root;
  while (<i64>restHigh < 0) {
    // root² - (root - 1)² = 2 root - 1.
    root--;
    const step = (root << 1) | 1;
    restLow += step;
    restHigh += (root >> 63) + (restLow < step ? 1 : 0);
  }
  // The remainder is at most 2 root; (root + ½)² is root² + root + ¼.
  while (restHigh > 1 || (restHigh == 1 && restLow > root << 1)) {
    const step = (root << 1) | 1;
    restHigh -= (root >> 63) + (restLow < step ? 1 : 0);
    restLow -= step;
    root++;
  }
  cpu.floatRemainder = (restHigh | restLow) == 0 ? 0 : restHigh != 0 || restLow > root ? TOP_BIT | 1 : 1;
  return root;
}

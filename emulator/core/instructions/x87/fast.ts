/**
 * Addition, multiplication, loads and stores in the usual case: normal numbers in and out, rounding to nearest with 64 bits, the inexact
 * result masked. These say false where the case is not that, with nothing changed; arithmetic.ts and transfer.ts then do it all.
 */
import { cpu } from "../../state/cpu";
import { BIAS, EXTENDED_MAX, FLOAT_PE, TOP_BIT } from "../../float/environment";
import { Extended } from "../../float/extended";
import { multiplyHigh } from "../../float/wide";
import { STATUS_C1 } from "../../spec/x87";
import { Stack } from "./stack";

/** Precision control, rounding control and PM, and what they are usually. */
const CONTROL_FIELDS: u32 = 0xf20;
const CONTROL_USUAL: u32 = 0x320;
/** The same for stores, which the precision control does not concern. */
const STORE_FIELDS: u32 = 0xc20;
const STORE_USUAL: u32 = 0x20;

/** Exponents of the smallest and largest normal numbers in double precision. */
const DOUBLE_MIN: u32 = <u32>BIAS - 1022;
const DOUBLE_RANGE: u32 = 2046;

export class Fast {
  /** Rounds and writes a result. False: out of range. */
  @inline private static conclude(
    destination: u32,
    sign: u32,
    exponent: u32,
    significand: u64,
    rest: u64,
  ): bool {
    const up: u64 = rest > TOP_BIT || (rest == TOP_BIT && (significand & 1) != 0) ? 1 : 0;
    significand += up;
    // All ones that became 2^64.
    const carries = up != 0 && significand == 0;
    if (carries) {
      significand = TOP_BIT;
      exponent++;
    }
    if (exponent - 1 >= EXTENDED_MAX - 1) return false;
    const slot = Stack.slot(destination);
    store<u64>(slot, significand);
    store<u16>(slot, <u16>(sign | exponent), 8);
    cpu.x87Status = (cpu.x87Status & ~STATUS_C1) | ((<u32>up) << 9) | (rest != 0 ? FLOAT_PE : 0);
    return true;
  }

  /** ST(destination) = a + b, of which ST(destination) is one. */
  @inline static add(destination: u32, exponentA: u32, a: u64, exponentB: u32, b: u64): bool {
    if (
      !Extended.isNormal(exponentA, a) ||
      !Extended.isNormal(exponentB, b) ||
      (cpu.x87Control & CONTROL_FIELDS) != CONTROL_USUAL
    )
      return false;
    const fieldA = exponentA & EXTENDED_MAX;
    const fieldB = exponentB & EXTENDED_MAX;
    const isDifference = ((exponentA ^ exponentB) & 0x8000) != 0;
    const swaps = fieldA < fieldB || (fieldA == fieldB && a < b);
    const sign = (swaps ? exponentB : exponentA) & 0x8000;
    let exponent = swaps ? fieldB : fieldA;
    const distance = <u64>(swaps ? fieldB - fieldA : fieldA - fieldB);
    if (distance >= 64) return false;
    const large = swaps ? b : a;
    const small = swaps ? a : b;
    const low = (small << 1) << (63 - distance);
    if (!isDifference) {
      const sum = large + (small >> distance);
      if (sum >= large) return Fast.conclude(destination, sign, exponent, sum, low);
      return Fast.conclude(
        destination,
        sign,
        exponent + 1,
        (sum >> 1) | TOP_BIT,
        (low >> 1) | (low & 1) | (sum << 63),
      );
    }
    const rest = large - (small >> distance) - (low != 0 ? 1 : 0);
    if (rest == 0) return false;
    const restLow = 0 - low;
    const shift = clz<u64>(rest);
    exponent -= <u32>shift;
    return Fast.conclude(
      destination,
      sign,
      exponent,
      (rest << shift) | ((restLow >> 1) >> (63 - shift)),
      restLow << shift,
    );
  }

  /** ST(destination) = a × b, of which ST(destination) is one. */
  @inline static multiply(destination: u32, exponentA: u32, a: u64, exponentB: u32, b: u64): bool {
    if (
      !Extended.isNormal(exponentA, a) ||
      !Extended.isNormal(exponentB, b) ||
      (cpu.x87Control & CONTROL_FIELDS) != CONTROL_USUAL
    )
      return false;
    const high = multiplyHigh(a, b);
    const low = a * b;
    const shift: u64 = (high >> 63) ^ 1;
    const exponent = (exponentA & EXTENDED_MAX) + (exponentB & EXTENDED_MAX) + 1 - <u32>BIAS - <u32>shift;
    return Fast.conclude(
      destination,
      (exponentA ^ exponentB) & 0x8000,
      exponent,
      shift != 0 ? (high << 1) | (low >> 63) : high,
      low << shift,
    );
  }

  /** FLD m64. */
  @inline static loadDouble(bits: u64): bool {
    const field = (<u32>(bits >> 52)) & 0x7ff;
    const isZero = bits << 1 == 0;
    if ((field - 1 >= DOUBLE_RANGE && !isZero) || !Stack.isEmpty(7)) return false;
    const sign = (<u32>(bits >> 48)) & 0x8000;
    Stack.push(isZero ? sign : sign | (field + DOUBLE_MIN - 1), isZero ? 0 : TOP_BIT | (bits << 11));
    cpu.x87Status &= ~STATUS_C1;
    return true;
  }

  /** ST(0) in double precision: `Cpu.operandSignificand`, with flags and C1 for `Result.finish`. */
  @inline static storeDouble(): bool {
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    const field = (exponent & EXTENDED_MAX) - DOUBLE_MIN;
    if (
      Stack.isEmpty(0) ||
      significand < TOP_BIT ||
      field >= DOUBLE_RANGE - 1 ||
      (cpu.x87Control & STORE_FIELDS) != STORE_USUAL
    )
      return false;
    const kept = significand >> 11;
    const rest = significand << 53;
    const up: u64 = rest > TOP_BIT || (rest == TOP_BIT && (kept & 1) != 0) ? 1 : 0;
    // The leading bit adds 1 to the exponent field, and a carry out of the fraction another: it stays below infinity.
    cpu.operandSignificand = kept + up + ((<u64>field) << 52) + ((<u64>(exponent & 0x8000)) << 48);
    cpu.floatRoundedUp = <u32>up;
    cpu.floatFlags = rest != 0 ? FLOAT_PE : 0;
    return true;
  }
}

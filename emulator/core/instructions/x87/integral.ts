/** FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1. SDM Vol. 2. */
import { cpu } from "../../state/cpu";
import {
  BIAS,
  EXTENDED_MAX,
  FLOAT_DE,
  FLOAT_PE,
  FLOAT_ZE,
  roundingOf,
  ROUND_ZERO,
} from "../../float/environment";
import {
  Extended,
  invalidExtended,
  nanOfExtended,
  normalExponent,
  normalSignificand,
  quietExtended,
} from "../../float/extended";
import { exponentOfInteger, integerMagnitude, significandOfInteger } from "../../float/integral";
import { packInfinity, packZero, round } from "../../float/round";
import { divide } from "../../float/wide";
import { CONTROL_PC_64, STATUS_C0, STATUS_C2, STATUS_C3, STATUS_CONDITION } from "../../spec/x87";
import { Stack, setIndefinite, stackOverflow, stackUnderflow } from "./stack";

/** DE for a denormal operand. True: it is unmasked, and there is no result. */
function stopsOnDenormal(isDenormal: bool): bool {
  if (!isDenormal) return false;
  cpu.floatFlags |= FLOAT_DE;
  return (cpu.x87Control & FLOAT_DE) == 0;
}

/** A magnitude that came from rounding to an integer, with a sign. */
function packInteger(sign: u32, magnitude: u64): u64 {
  if (magnitude == 0) return packZero<v128>(sign);
  cpu.floatExponent = (sign << 15) | (<u32>(BIAS + 63 - <i32>clz<u64>(magnitude)));
  return magnitude << clz<u64>(magnitude);
}

function roundToIntegral(exponent: u32, significand: u64): u64 {
  if (Extended.isUnsupported(exponent, significand)) return invalidExtended();
  if (Extended.isNan(exponent, significand)) return quietExtended(exponent, significand);
  cpu.floatExponent = exponent;
  if ((exponent & EXTENDED_MAX) >= <u32>BIAS + 63 || Extended.isZero(exponent, significand))
    return significand;
  if (stopsOnDenormal(Extended.isDenormal(exponent, significand))) return 0;
  const sign = Extended.sign(exponent);
  const magnitude = integerMagnitude(
    roundingOf(cpu.x87Control),
    sign,
    normalExponent(exponent, significand),
    normalSignificand(significand),
  );
  if (cpu.floatRemainder != 0) cpu.floatFlags |= FLOAT_PE;
  return packInteger(sign, magnitude);
}

/** FSCALE moves the exponent by ST(1) truncated; more than this is over- or underflow from anywhere. */
const MAX_SCALE: i32 = 0x10000;

function scale(exponentA: u32, a: u64, exponentB: u32, b: u64): u64 {
  if (Extended.isUnsupported(exponentA, a) || Extended.isUnsupported(exponentB, b)) return invalidExtended();
  if (Extended.isNan(exponentA, a) || Extended.isNan(exponentB, b))
    return nanOfExtended(exponentA, a, exponentB, b);
  const isInfiniteA = Extended.isInfinite(exponentA, a);
  const isZeroA = Extended.isZero(exponentA, a);
  const sign = Extended.sign(exponentA);
  const signB = Extended.sign(exponentB);
  if (Extended.isInfinite(exponentB, b)) {
    if (signB != 0 ? isInfiniteA : isZeroA) return invalidExtended();
    if (stopsOnDenormal(Extended.isDenormal(exponentA, a))) return 0;
    return signB != 0 ? packZero<v128>(sign) : packInfinity<v128>(sign);
  }
  if (stopsOnDenormal(Extended.isDenormal(exponentA, a) || Extended.isDenormal(exponentB, b))) return 0;
  cpu.floatExponent = exponentA;
  if (isInfiniteA || isZeroA) return a;
  let distance: i32 = 0;
  if (!Extended.isZero(exponentB, b)) {
    const exponent = normalExponent(exponentB, b);
    if (exponent > BIAS + 16) distance = MAX_SCALE;
    else distance = <i32>integerMagnitude(ROUND_ZERO, signB, exponent, normalSignificand(b));
    if (distance > MAX_SCALE) distance = MAX_SCALE;
    if (signB != 0) distance = -distance;
  }
  // Precision control does not apply.
  return round<v128>(
    cpu.x87Control | CONTROL_PC_64,
    sign,
    normalExponent(exponentA, a) + distance,
    normalSignificand(a),
    0,
  );
}

/**
 * The remainder for FPREM (quotient truncated) and FPREM1 (to nearest). C0, C3 and C1 get the quotient's low bits, or C2 is set when
 * only a partial remainder has been computed.
 */
function remainder(isNearest: bool, exponentA: u32, a: u64, exponentB: u32, b: u64): u64 {
  if (Extended.isUnsupported(exponentA, a) || Extended.isUnsupported(exponentB, b)) return invalidExtended();
  if (Extended.isNan(exponentA, a) || Extended.isNan(exponentB, b))
    return nanOfExtended(exponentA, a, exponentB, b);
  if (Extended.isInfinite(exponentA, a) || Extended.isZero(exponentB, b)) return invalidExtended();
  if (stopsOnDenormal(Extended.isDenormal(exponentA, a) || Extended.isDenormal(exponentB, b))) return 0;
  const sign = Extended.sign(exponentA);
  cpu.floatExponent = exponentA;
  if (Extended.isZero(exponentA, a)) return complete(a, 0);
  const control = cpu.x87Control | CONTROL_PC_64;
  const first = normalExponent(exponentA, a);
  const dividend = normalSignificand(a);
  if (Extended.isInfinite(exponentB, b)) return complete(round<v128>(control, sign, first, dividend, 0), 0);
  const last = normalExponent(exponentB, b);
  const divisor = normalSignificand(b);
  const distance = first - last;
  if (distance < -1 || (distance < 0 && !isNearest))
    return complete(round<v128>(control, sign, first, dividend, 0), 0);
  if (distance == -1) {
    // |a| is between b/4 and b: half of b decides, with 2a against b.
    if (dividend <= divisor) return complete(round<v128>(control, sign, first, dividend, 0), 0);
    return complete(roundDifference(control, sign ^ 1, last, divisor, dividend), 1);
  }
  if (distance >= 64) return partial(control, sign, first, dividend, distance, divisor);
  let quotient = divideScaled(dividend, divisor, distance);
  const rest = cpu.floatRemainder;
  if (isNearest && rest != 0) {
    const other = divisor - rest;
    if (rest > other || (rest == other && (quotient & 1) != 0)) {
      quotient++;
      return complete(roundInteger(control, sign ^ 1, last, other), quotient);
    }
  }
  return complete(roundInteger(control, sign, last, rest), quotient);
}

/** dividend × 2^distance / divisor for distance below 64: quotient modulo 2^64, and the remainder in `Cpu.floatRemainder`. */
function divideScaled(dividend: u64, divisor: u64, distance: i32): u64 {
  let high = dividend;
  let carry: u64 = 0;
  if (high >= divisor) {
    high -= divisor;
    carry = 1;
  }
  if (distance == 0) {
    cpu.floatRemainder = high;
    return carry;
  }
  const shift = <u64>distance;
  const quotient = divide(high >> (64 - shift), high << shift, divisor);
  return quotient + (carry << shift);
}

/** The remainder in units of the divisor's last place. */
function roundInteger(control: u32, sign: u32, exponent: i32, rest: u64): u64 {
  if (rest == 0) return packZero<v128>(sign);
  const shift = clz<u64>(rest);
  return round<v128>(control, sign, exponent - <i32>shift, rest << shift, 0);
}

/** b - a/2, for the significands b and a with a > b. */
function roundDifference(control: u32, sign: u32, exponent: i32, b: u64, a: u64): u64 {
  // In units of half of b's last place: 2b - a, which is below 2^64.
  const difference = (b << 1) - a;
  const shift = clz<u64>(difference);
  return round<v128>(control, sign, exponent - 1 - <i32>shift, difference << shift, 0);
}

function complete(significand: u64, quotient: u64): u64 {
  const low = (<u32>quotient) & 7;
  let conditions: u32 = 0;
  if (low & 4) conditions |= STATUS_C0;
  if (low & 2) conditions |= STATUS_C3;
  cpu.floatRoundedUp = low & 1;
  cpu.x87Status = (cpu.x87Status & ~STATUS_CONDITION) | conditions;
  return significand;
}

/** Reduces the exponent difference by 32 to 63, as processors do: dividend - divisor × 2^(distance - n) × quotient. */
function partial(control: u32, sign: u32, exponent: i32, dividend: u64, distance: i32, divisor: u64): u64 {
  const n = (distance & 31) | 32;
  divideScaled(dividend, divisor, n);
  const result = roundInteger(control, sign, exponent - n, cpu.floatRemainder);
  cpu.floatRoundedUp = 0;
  cpu.x87Status = (cpu.x87Status & ~STATUS_CONDITION) | STATUS_C2;
  return result;
}

/** Puts the result of a one-result operation on ST(0) and ST(1) into ST(0). */
function conclude(significand: u64): void {
  if (!Stack.isStopped()) Stack.set(0, cpu.floatExponent, significand);
  Stack.finish();
}

/** True when both operands are there. Else the stack fault has been dealt with. */
function haveBoth(): bool {
  if (!Stack.isEmpty(0) && !Stack.isEmpty(1)) return true;
  if (stackUnderflow()) setIndefinite(0);
  return false;
}

export class Integral {
  static roundToInteger(): void {
    if (Stack.isEmpty(0)) {
      if (stackUnderflow()) setIndefinite(0);
      return;
    }
    Stack.begin();
    conclude(roundToIntegral(Stack.exponent(0), Stack.significand(0)));
  }

  static scale(): void {
    if (!haveBoth()) return;
    Stack.begin();
    conclude(scale(Stack.exponent(0), Stack.significand(0), Stack.exponent(1), Stack.significand(1)));
  }

  static remainder(isNearest: bool): void {
    // Outcomes without a quotient leave C0 and C3 alone.
    cpu.x87Status &= ~STATUS_C2;
    if (!haveBoth()) return;
    Stack.begin();
    conclude(
      remainder(isNearest, Stack.exponent(0), Stack.significand(0), Stack.exponent(1), Stack.significand(1)),
    );
  }

  /** FXTRACT: the exponent to ST(0), then the significand pushed. */
  static extract(): void {
    if (Stack.isEmpty(0)) {
      if (!stackUnderflow()) return;
      setIndefinite(0);
      Stack.decrementTop();
      setIndefinite(0);
      return;
    }
    if (!Stack.isEmpty(7)) {
      // Masked: the exponent is no number either.
      if (stackOverflow()) setIndefinite(1);
      return;
    }
    Stack.begin();
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    let first: u64;
    let second: u64;
    let secondExponent: u32;
    if (Extended.isUnsupported(exponent, significand)) {
      first = invalidExtended();
      second = first;
      secondExponent = cpu.floatExponent;
    } else if (Extended.isNan(exponent, significand)) {
      first = quietExtended(exponent, significand);
      second = first;
      secondExponent = exponent;
    } else if (Extended.isInfinite(exponent, significand)) {
      first = packInfinity<v128>(0);
      second = significand;
      secondExponent = exponent;
    } else if (Extended.isZero(exponent, significand)) {
      cpu.floatFlags = FLOAT_ZE;
      first = packInfinity<v128>(1);
      second = significand;
      secondExponent = exponent;
    } else {
      stopsOnDenormal(Extended.isDenormal(exponent, significand));
      const power = normalExponent(exponent, significand) - BIAS;
      if (power == 0) first = packZero<v128>(0);
      else {
        cpu.floatExponent = (<u32>exponentOfInteger(power)) | (power < 0 ? 0x8000 : 0);
        first = significandOfInteger(power);
      }
      second = normalSignificand(significand);
      secondExponent = (exponent & 0x8000) | (<u32>BIAS);
    }
    if (!Stack.isStopped()) {
      Stack.set(0, cpu.floatExponent, first);
      Stack.push(secondExponent, second);
    }
    Stack.finish();
  }
}

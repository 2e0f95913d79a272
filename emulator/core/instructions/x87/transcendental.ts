/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1. SDM Vol. 2, and Vol. 1, "x87 FPU Transcendental Instruction Accuracy".
 *
 * Results are computed with some 120 bits and rounded once, by the rounding control and to 64 bits whatever the precision
 * control: their error is less than one unit of the last place. PE is set with every result that is not a special case.
 */
import { cpu } from "../../state/cpu";
import { BIAS, FLOAT_DE, FLOAT_PE, FLOAT_UE, FLOAT_ZE, TOP_BIT } from "../../float/environment";
import {
  Extended,
  invalidExtended,
  nanOfExtended,
  normalExponent,
  normalSignificand,
  quietExtended,
} from "../../float/extended";
import { log2, log2Plus1, powerMinus1 } from "../../float/logarithm";
import { packInfinity, packZero, round } from "../../float/round";
import { multiplyWideNumbers } from "../../float/series";
import { angle, cosine, piEighths, reduceByHalfPi, sine, tangent } from "../../float/trigonometry";
import { CONTROL_PC_64, STATUS_C2 } from "../../spec/x87";
import { Stack, setIndefinite, stackOverflow, stackUnderflow } from "./stack";

/** Rounds a number (float/series.ts) whose upper word is given. The result counts as inexact even where it is not. */
function conclude(sign: u32, high: u64): u64 {
  const significand = round<v128>(cpu.x87Control | CONTROL_PC_64, sign, cpu.wideExponent, high, cpu.wideLow);
  const isTiny = (cpu.floatExponent & 0x7fff) == 0;
  cpu.floatFlags |= isTiny ? FLOAT_PE | FLOAT_UE : FLOAT_PE;
  return significand;
}

/** DE for a denormal. True: it is unmasked, and there is no result. */
function stopsOnDenormal(isDenormal: bool): bool {
  if (!isDenormal) return false;
  cpu.floatFlags |= FLOAT_DE;
  return (cpu.x87Control & FLOAT_DE) == 0;
}

const SINE: u32 = 0;
const COSINE: u32 = 1;
const TANGENT: u32 = 2;

/** FSIN, FCOS or FPTAN of an operand below 2^63. */
function trigonometric(kind: u32, exponent: u32, significand: u64): u64 {
  if (Extended.isUnsupported(exponent, significand)) return invalidExtended();
  if (Extended.isNan(exponent, significand)) return quietExtended(exponent, significand);
  if (Extended.isInfinite(exponent, significand)) return invalidExtended();
  if (Extended.isZero(exponent, significand)) {
    cpu.floatExponent = kind == COSINE ? <u32>BIAS : exponent;
    return kind == COSINE ? TOP_BIT : 0;
  }
  if (stopsOnDenormal(Extended.isDenormal(exponent, significand))) return 0;
  const restHigh = reduceByHalfPi(normalExponent(exponent, significand), normalSignificand(significand));
  const restLow = cpu.wideLow;
  const restExponent = cpu.wideExponent;
  const sign = Extended.sign(exponent);
  // So small a sine or tangent is the operand, in every rounding, as on Intel's processors: no denormal comes of the smallest normal number.
  if (kind != COSINE && restExponent < BIAS - 68) return conclude(sign, restHigh);
  const quadrant = cpu.quadrant;
  const restSign = cpu.restSign;
  if (kind == TANGENT) {
    const isReciprocal = (quadrant & 1) != 0;
    return conclude(sign ^ restSign ^ (quadrant & 1), tangent(restExponent, restHigh, restLow, isReciprocal));
  }
  // sin(r + q π/2) and cos(r + q π/2) = sin(r + (q + 1) π/2); the cosine does not see the operand's sign.
  const turns = (quadrant + kind) & 3;
  const isNegative = turns >> 1;
  if ((turns & 1) != 0)
    return conclude(isNegative ^ (kind == SINE ? sign : 0), cosine(restExponent, restHigh, restLow));
  return conclude(isNegative ^ restSign ^ (kind == SINE ? sign : 0), sine(restExponent, restHigh, restLow));
}

/** Is the magnitude of a finite operand 2^63 or more? C2 says so then; the operand is left as it is. */
function isOutOfRange(exponent: u32, significand: u64): bool {
  const field = exponent & 0x7fff;
  if (field < <u32>BIAS + 63 || field == 0x7fff || Extended.isUnsupported(exponent, significand))
    return false;
  cpu.x87Status |= STATUS_C2;
  return true;
}

function powerOf2Minus1(exponent: u32, significand: u64): u64 {
  if (Extended.isUnsupported(exponent, significand)) return invalidExtended();
  if (Extended.isNan(exponent, significand)) return quietExtended(exponent, significand);
  cpu.floatExponent = exponent;
  const sign = Extended.sign(exponent);
  if (Extended.isZero(exponent, significand)) return significand;
  if (Extended.isInfinite(exponent, significand)) {
    if (sign != 0) cpu.floatExponent = 0x8000 | (<u32>BIAS);
    return TOP_BIT;
  }
  if (stopsOnDenormal(Extended.isDenormal(exponent, significand))) return 0;
  const power = normalExponent(exponent, significand);
  const isOne = power == BIAS && significand == TOP_BIT;
  if (power >= BIAS) {
    // Beyond ±1 the result is undefined: the operand stays. 2^1 - 1 is 1, and 2^-1 - 1 is -½.
    cpu.floatFlags |= FLOAT_PE;
    if (isOne && sign != 0) cpu.floatExponent = 0x8000 | (<u32>(BIAS - 1));
    return significand;
  }
  return conclude(sign, powerMinus1(sign != 0, power, normalSignificand(significand)));
}

/** y × a logarithm (its upper word, the rest in the CPU block), of which `sign` is the sign. */
function timesLogarithm(sign: u32, high: u64, exponentY: u32, y: u64): u64 {
  const product = multiplyWideNumbers(
    cpu.wideExponent,
    high,
    cpu.wideLow,
    normalExponent(exponentY, y),
    normalSignificand(y),
    0,
  );
  return conclude(sign ^ Extended.sign(exponentY), product);
}

/** y log2 x. */
function yLog2x(exponentX: u32, x: u64, exponentY: u32, y: u64): u64 {
  if (Extended.isUnsupported(exponentX, x) || Extended.isUnsupported(exponentY, y)) return invalidExtended();
  if (Extended.isNan(exponentX, x) || Extended.isNan(exponentY, y))
    return nanOfExtended(exponentX, x, exponentY, y);
  const signY = Extended.sign(exponentY);
  const isZeroX = Extended.isZero(exponentX, x);
  const isZeroY = Extended.isZero(exponentY, y);
  const isInfiniteX = Extended.isInfinite(exponentX, x);
  const isInfiniteY = Extended.isInfinite(exponentY, y);
  if (isZeroX) {
    if (isZeroY) return invalidExtended();
    if (!isInfiniteY) cpu.floatFlags = FLOAT_ZE;
    return packInfinity<v128>(signY ^ 1);
  }
  if (Extended.sign(exponentX) != 0) return invalidExtended();
  const isOne = exponentX == <u32>BIAS && x == TOP_BIT;
  if ((isInfiniteX && isZeroY) || (isOne && isInfiniteY)) return invalidExtended();
  if (stopsOnDenormal(Extended.isDenormal(exponentX, x) || Extended.isDenormal(exponentY, y))) return 0;
  // The sign of the logarithm.
  const sign: u32 = exponentX < <u32>BIAS ? 1 : 0;
  if (isInfiniteX || isInfiniteY) return packInfinity<v128>(signY ^ sign);
  if (isZeroY || isOne) return packZero<v128>(signY ^ sign);
  const high = log2(normalExponent(exponentX, x), normalSignificand(x), 0);
  return timesLogarithm(cpu.restSign, high, exponentY, y);
}

/** y log2(x + 1). */
function yLog2xPlus1(exponentX: u32, x: u64, exponentY: u32, y: u64): u64 {
  if (Extended.isUnsupported(exponentX, x) || Extended.isUnsupported(exponentY, y)) return invalidExtended();
  if (Extended.isNan(exponentX, x) || Extended.isNan(exponentY, y))
    return nanOfExtended(exponentX, x, exponentY, y);
  const sign = Extended.sign(exponentX) ^ Extended.sign(exponentY);
  const isZeroX = Extended.isZero(exponentX, x);
  const isZeroY = Extended.isZero(exponentY, y);
  const isInfiniteX = Extended.isInfinite(exponentX, x);
  const isInfiniteY = Extended.isInfinite(exponentY, y);
  const isNegativeX = Extended.sign(exponentX) != 0;
  if ((isInfiniteX && (isZeroY || isNegativeX)) || (isZeroX && isInfiniteY)) return invalidExtended();
  if (stopsOnDenormal(Extended.isDenormal(exponentX, x) || Extended.isDenormal(exponentY, y))) return 0;
  if (isInfiniteX || isInfiniteY) return packInfinity<v128>(sign);
  if (isZeroX || isZeroY) return packZero<v128>(sign);
  const exponent = normalExponent(exponentX, x);
  if (isNegativeX && exponent >= BIAS) {
    // Undefined from -1 down: x stays.
    cpu.floatFlags |= FLOAT_PE;
    cpu.floatExponent = exponentX;
    return x;
  }
  const high = log2Plus1(isNegativeX, exponent, normalSignificand(x));
  return timesLogarithm(cpu.restSign, high, exponentY, y);
}

/** π × eighths / 8 with a sign. */
function partOfPi(sign: u32, eighths: u64): u64 {
  return conclude(sign, piEighths(eighths));
}

/** The angle of the point (x, y). */
function arcTangent(exponentX: u32, x: u64, exponentY: u32, y: u64): u64 {
  if (Extended.isUnsupported(exponentX, x) || Extended.isUnsupported(exponentY, y)) return invalidExtended();
  if (Extended.isNan(exponentX, x) || Extended.isNan(exponentY, y))
    return nanOfExtended(exponentX, x, exponentY, y);
  if (stopsOnDenormal(Extended.isDenormal(exponentX, x) || Extended.isDenormal(exponentY, y))) return 0;
  const sign = Extended.sign(exponentY);
  const isLeft = Extended.sign(exponentX) != 0;
  const isInfiniteX = Extended.isInfinite(exponentX, x);
  if (Extended.isInfinite(exponentY, y)) return partOfPi(sign, isInfiniteX ? (isLeft ? 6 : 2) : 4);
  if (isInfiniteX || Extended.isZero(exponentY, y)) return isLeft ? partOfPi(sign, 8) : packZero<v128>(sign);
  if (Extended.isZero(exponentX, x)) return partOfPi(sign, 4);
  return conclude(
    sign,
    angle(
      isLeft,
      normalExponent(exponentX, x),
      normalSignificand(x),
      normalExponent(exponentY, y),
      normalSignificand(y),
    ),
  );
}

/** True when ST(0) is there. Else the stack fault has been dealt with. */
function haveOperand(): bool {
  if (!Stack.isEmpty(0)) return true;
  if (stackUnderflow()) setIndefinite(0);
  return false;
}

/** True when ST(0) is there and another number can be pushed. Else the stack fault has been dealt with. */
function havePlace(): bool {
  if (Stack.isEmpty(0)) {
    if (!stackUnderflow()) return false;
    setIndefinite(0);
    Stack.decrementTop();
    setIndefinite(0);
    return false;
  }
  if (Stack.isEmpty(7)) return true;
  if (stackOverflow()) setIndefinite(1);
  return false;
}

/** FYL2X, FYL2XP1 and FPATAN: the result of ST(0) and ST(1) into ST(1), and a pop. */
function concludePair(significand: u64): void {
  const isStopped = Stack.isStopped();
  if (!isStopped) Stack.set(1, cpu.floatExponent, significand);
  Stack.finish();
  if (!isStopped) Stack.pop();
}

/** True when ST(0) and ST(1) are there. Else the stack fault has been dealt with. */
function havePair(): bool {
  if (!Stack.isEmpty(0) && !Stack.isEmpty(1)) return true;
  if (stackUnderflow()) {
    setIndefinite(1);
    Stack.pop();
  }
  return false;
}

function replace(kind: u32): void {
  cpu.x87Status &= ~STATUS_C2;
  if (!haveOperand()) return;
  Stack.begin();
  if (!isOutOfRange(Stack.exponent(0), Stack.significand(0))) {
    const significand = trigonometric(kind, Stack.exponent(0), Stack.significand(0));
    if (!Stack.isStopped()) Stack.set(0, cpu.floatExponent, significand);
  }
  Stack.finish();
}

export class Transcendental {
  static sine(): void {
    replace(SINE);
  }

  static cosine(): void {
    replace(COSINE);
  }

  /** FSINCOS: the sine to ST(0), and the cosine pushed. */
  static sineAndCosine(): void {
    cpu.x87Status &= ~STATUS_C2;
    if (!havePlace()) return;
    Stack.begin();
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    if (!isOutOfRange(exponent, significand)) {
      const cosine = trigonometric(COSINE, exponent, significand);
      const cosineExponent = cpu.floatExponent;
      const sine = trigonometric(SINE, exponent, significand);
      if (!Stack.isStopped()) {
        Stack.set(0, cpu.floatExponent, sine);
        Stack.push(cosineExponent, cosine);
      }
    }
    Stack.finish();
  }

  /** FPTAN: the tangent to ST(0), and 1 pushed; both are NaNs where the operand is one or invalid. */
  static tangent(): void {
    cpu.x87Status &= ~STATUS_C2;
    if (!havePlace()) return;
    Stack.begin();
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    if (!isOutOfRange(exponent, significand)) {
      const result = trigonometric(TANGENT, exponent, significand);
      if (!Stack.isStopped()) {
        Stack.set(0, cpu.floatExponent, result);
        if (Extended.isNan(cpu.floatExponent, result)) Stack.push(cpu.floatExponent, result);
        else Stack.push(<u32>BIAS, TOP_BIT);
      }
    }
    Stack.finish();
  }

  static powerOf2Minus1(): void {
    if (!haveOperand()) return;
    Stack.begin();
    const significand = powerOf2Minus1(Stack.exponent(0), Stack.significand(0));
    if (!Stack.isStopped()) Stack.set(0, cpu.floatExponent, significand);
    Stack.finish();
  }

  static yLog2x(): void {
    if (!havePair()) return;
    Stack.begin();
    concludePair(yLog2x(Stack.exponent(0), Stack.significand(0), Stack.exponent(1), Stack.significand(1)));
  }

  static yLog2xPlus1(): void {
    if (!havePair()) return;
    Stack.begin();
    concludePair(
      yLog2xPlus1(Stack.exponent(0), Stack.significand(0), Stack.exponent(1), Stack.significand(1)),
    );
  }

  static arcTangent(): void {
    if (!havePair()) return;
    Stack.begin();
    concludePair(
      arcTangent(Stack.exponent(0), Stack.significand(0), Stack.exponent(1), Stack.significand(1)),
    );
  }
}

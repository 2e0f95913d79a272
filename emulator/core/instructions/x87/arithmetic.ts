/** FADD, FSUB, FMUL, FDIV in all forms, FSQRT, FABS, FCHS. SDM Vol. 2. */
import { cpu } from "../../state/cpu";
import { EXTENDED_MAX, FLOAT_DE, FLOAT_ZE, TOP_BIT } from "../../float/environment";
import {
  Extended,
  invalidExtended,
  nanOfExtended,
  normalExponent,
  normalSignificand,
  quietExtended,
} from "../../float/extended";
import {
  addNumbers,
  divideNumbers,
  exactZero,
  multiplyNumbers,
  squareRootNumber,
} from "../../float/arithmetic";
import { packInfinity, packZero, round } from "../../float/round";
import { Fast } from "./fast";
import { Stack, setIndefinite, stackUnderflow } from "./stack";

const ADD: u32 = 0;
const SUBTRACT: u32 = 1;
const MULTIPLY: u32 = 2;
const DIVIDE: u32 = 3;

/** a op b for finite numbers other than zero: significand, with sign and exponent in `Cpu.floatExponent`. */
function calculate(
  operation: u32,
  signA: u32,
  exponentA: i32,
  a: u64,
  signB: u32,
  exponentB: i32,
  b: u64,
): u64 {
  const control = cpu.x87Control;
  if (operation <= SUBTRACT)
    return addNumbers<v128>(control, signA, exponentA, a, signB ^ operation, exponentB, b);
  if (operation == MULTIPLY) return multiplyNumbers<v128>(control, signA ^ signB, exponentA, a, exponentB, b);
  return divideNumbers<v128>(control, signA ^ signB, exponentA, a, exponentB, b);
}

/** `calculate` for any operands. With an unmasked exception that leaves no result, what it returns is meaningless. */
function calculateSpecial(operation: u32, exponentA: u32, a: u64, exponentB: u32, b: u64): u64 {
  // A denormal operand from memory has been widened: DE is known already, but is the least of the exceptions before computation.
  const denormal = cpu.floatFlags;
  if (Extended.isUnsupported(exponentA, a) || Extended.isUnsupported(exponentB, b)) return invalidExtended();
  if (Extended.isNan(exponentA, a) || Extended.isNan(exponentB, b))
    return nanOfExtended(exponentA, a, exponentB, b);
  const signA = Extended.sign(exponentA);
  const signB = operation == SUBTRACT ? Extended.sign(exponentB) ^ 1 : Extended.sign(exponentB);
  const isInfiniteA = Extended.isInfinite(exponentA, a);
  const isInfiniteB = Extended.isInfinite(exponentB, b);
  const isZeroA = Extended.isZero(exponentA, a);
  const isZeroB = Extended.isZero(exponentB, b);
  const sign = signA ^ signB;
  if (operation <= SUBTRACT) {
    if (isInfiniteA && isInfiniteB && sign != 0) return invalidExtended();
  } else if (operation == MULTIPLY) {
    if ((isInfiniteA && isZeroB) || (isZeroA && isInfiniteB)) return invalidExtended();
  } else {
    if ((isInfiniteA && isInfiniteB) || (isZeroA && isZeroB)) return invalidExtended();
    if (isZeroB && !isInfiniteA) {
      cpu.floatFlags = FLOAT_ZE;
      return packInfinity<v128>(sign);
    }
  }
  if (denormal != 0 || Extended.isDenormal(exponentA, a) || Extended.isDenormal(exponentB, b)) {
    cpu.floatFlags = FLOAT_DE;
    if ((cpu.x87Control & FLOAT_DE) == 0) return 0;
  }
  if (operation <= SUBTRACT) {
    if (isInfiniteA) return packInfinity<v128>(signA);
    if (isInfiniteB) return packInfinity<v128>(signB);
    if (isZeroA && isZeroB) return sign == 0 ? packZero<v128>(signA) : exactZero<v128>(cpu.x87Control);
    if (isZeroA)
      return round<v128>(cpu.x87Control, signB, normalExponent(exponentB, b), normalSignificand(b), 0);
    if (isZeroB)
      return round<v128>(cpu.x87Control, signA, normalExponent(exponentA, a), normalSignificand(a), 0);
  } else if (operation == MULTIPLY) {
    if (isInfiniteA || isInfiniteB) return packInfinity<v128>(sign);
    if (isZeroA || isZeroB) return packZero<v128>(sign);
  } else {
    if (isInfiniteA) return packInfinity<v128>(sign);
    if (isInfiniteB || isZeroA) return packZero<v128>(sign);
  }
  return calculate(
    operation,
    signA,
    normalExponent(exponentA, a),
    normalSignificand(a),
    operation == SUBTRACT ? signB ^ 1 : signB,
    normalExponent(exponentB, b),
    normalSignificand(b),
  );
}

/** ST(destination) = a op b, with `Cpu.floatFlags` saying whether b was a denormal in memory. False: stopped. */
function operate(operation: u32, destination: u32, exponentA: u32, a: u64, exponentB: u32, b: u64): bool {
  cpu.floatRoundedUp = 0;
  let significand: u64;
  if (Extended.isNormal(exponentA, a) && Extended.isNormal(exponentB, b) && cpu.floatFlags == 0)
    significand = calculate(
      operation,
      Extended.sign(exponentA),
      <i32>(exponentA & EXTENDED_MAX),
      a,
      Extended.sign(exponentB),
      <i32>(exponentB & EXTENDED_MAX),
      b,
    );
  else significand = calculateSpecial(operation, exponentA, a, exponentB, b);
  const isStopped = Stack.isStopped();
  if (!isStopped) Stack.set(destination, cpu.floatExponent, significand);
  Stack.finish();
  return !isStopped;
}

/** ST(destination) = ST(i) op ST(j), where one is empty. */
function operateEmpty(destination: u32): bool {
  if (!stackUnderflow()) return false;
  setIndefinite(destination);
  return true;
}

class Operate {
  /** ST(destination) = ST(i) op ST(j). False: an unmasked exception left everything as it was, and nothing is to be popped. */
  @inline static registers(operation: u32, destination: u32, i: u32, j: u32): bool {
    if (Stack.isEmpty(i) || Stack.isEmpty(j)) return operateEmpty(destination);
    return Operate.values(
      operation,
      destination,
      Stack.exponent(i),
      Stack.significand(i),
      Stack.exponent(j),
      Stack.significand(j),
      0,
    );
  }

  /** ST(0) = ST(0) op operand, or operand op ST(0) where reversed. */
  @inline static operand(operation: u32, isReversed: bool): void {
    if (Stack.isEmpty(0)) {
      operateEmpty(0);
      return;
    }
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    const flags = cpu.floatFlags;
    if (isReversed)
      Operate.values(operation, 0, cpu.operandExponent, cpu.operandSignificand, exponent, significand, flags);
    else
      Operate.values(operation, 0, exponent, significand, cpu.operandExponent, cpu.operandSignificand, flags);
  }

  /** The usual case at once, others by `operate`. `flags`: DE of an operand from memory. */
  @inline static values(
    operation: u32,
    destination: u32,
    exponentA: u32,
    a: u64,
    exponentB: u32,
    b: u64,
    flags: u32,
  ): bool {
    if (flags == 0) {
      if (operation == ADD && Fast.add(destination, exponentA, a, exponentB, b)) return true;
      if (operation == SUBTRACT && Fast.add(destination, exponentA, a, exponentB ^ 0x8000, b)) return true;
      if (operation == MULTIPLY && Fast.multiply(destination, exponentA, a, exponentB, b)) return true;
    }
    cpu.floatFlags = flags;
    return operate(operation, destination, exponentA, a, exponentB, b);
  }
}

export class Arithmetic {
  static add(destination: u32, i: u32, j: u32): bool {
    return Operate.registers(ADD, destination, i, j);
  }
  static subtract(destination: u32, i: u32, j: u32): bool {
    return Operate.registers(SUBTRACT, destination, i, j);
  }
  static multiply(destination: u32, i: u32, j: u32): bool {
    return Operate.registers(MULTIPLY, destination, i, j);
  }
  static divide(destination: u32, i: u32, j: u32): bool {
    return Operate.registers(DIVIDE, destination, i, j);
  }
  static addOperand(): void {
    Operate.operand(ADD, false);
  }
  static subtractOperand(): void {
    Operate.operand(SUBTRACT, false);
  }
  static subtractFromOperand(): void {
    Operate.operand(SUBTRACT, true);
  }
  static multiplyOperand(): void {
    Operate.operand(MULTIPLY, false);
  }
  static divideByOperand(): void {
    Operate.operand(DIVIDE, false);
  }
  static divideOperand(): void {
    Operate.operand(DIVIDE, true);
  }

  static squareRoot(): void {
    if (Stack.isEmpty(0)) {
      if (stackUnderflow()) setIndefinite(0);
      return;
    }
    Stack.begin();
    const significand = squareRootOf(Stack.exponent(0), Stack.significand(0));
    if (!Stack.isStopped()) Stack.set(0, cpu.floatExponent, significand);
    Stack.finish();
  }

  static absolute(): void {
    changeSign(0x7fff, 0);
  }
  static changeSign(): void {
    changeSign(0xffff, 0x8000);
  }
}

function squareRootOf(exponent: u32, significand: u64): u64 {
  if (Extended.isUnsupported(exponent, significand)) return invalidExtended();
  if (Extended.isNan(exponent, significand)) return quietExtended(exponent, significand);
  cpu.floatExponent = exponent;
  if (Extended.isZero(exponent, significand)) return significand;
  if (Extended.sign(exponent) != 0) return invalidExtended();
  if (Extended.isInfinite(exponent, significand)) return TOP_BIT;
  if (Extended.isDenormal(exponent, significand)) {
    cpu.floatFlags = FLOAT_DE;
    if ((cpu.x87Control & FLOAT_DE) == 0) return 0;
  }
  return squareRootNumber<v128>(
    cpu.x87Control,
    normalExponent(exponent, significand),
    normalSignificand(significand),
  );
}

/** FABS and FCHS look at nothing but the sign. */
function changeSign(mask: u32, flip: u32): void {
  if (Stack.isEmpty(0)) {
    if (stackUnderflow()) setIndefinite(0);
    return;
  }
  Stack.begin();
  const slot = Stack.slot(0);
  store<u16>(slot, <u16>((load<u16>(slot, 8) & mask) ^ flip), 8);
  Stack.finish();
}

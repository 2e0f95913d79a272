/** Operands from and to memory, loads, stores, constants, exchanges and conditional moves. SDM Vol. 2. */
import { cpu } from "../../state/cpu";
import {
  EXTENDED_MAX,
  FLOAT_DE,
  FLOAT_IE,
  ROUND_NEAREST,
  ROUND_UP,
  ROUND_ZERO,
  TOP_BIT,
  roundingOf,
} from "../../float/environment";
import { Extended, normalExponent, normalSignificand, widen } from "../../float/extended";
import { OUT_OF_RANGE, exponentOfInteger, significandOfInteger, toInteger } from "../../float/integral";
import { packInfinity, packZero, round } from "../../float/round";
import { STATUS_C1 } from "../../spec/x87";
import { Fast } from "./fast";
import { Stack, setIndefinite, stackOverflow, stackUnderflow } from "./stack";

/** An operand from memory, for an operation that follows: `Cpu.operandSignificand`, `Cpu.operandExponent`, and DE in `Cpu.floatFlags`. */
export class Take {
  @inline static single(bits: u32): void {
    take<u32>(bits);
  }
  @inline static double(bits: u64): void {
    take<u64>(bits);
  }
  static integer(value: i64): void {
    cpu.floatFlags = 0;
    if (value == 0) {
      cpu.operandExponent = 0;
      cpu.operandSignificand = 0;
      return;
    }
    cpu.operandExponent = (<u32>exponentOfInteger(value)) | (value < 0 ? 0x8000 : 0);
    cpu.operandSignificand = significandOfInteger(value);
  }
}

function take<T>(bits: T): void {
  cpu.operandSignificand = widen<T>(bits);
  cpu.operandExponent = cpu.floatExponent;
  const magnitude = sizeof<T>() == 4 ? (<u64>bits) & 0x7fffffff : (<u64>bits) & ~TOP_BIT;
  const smallestNormal: u64 = sizeof<T>() == 4 ? 0x800000 : 0x10000000000000;
  cpu.floatFlags = magnitude - 1 < smallestNormal - 1 ? FLOAT_DE : 0;
}

export class Load {
  /** Pushes the operand taken before (FLD m32, m64, FILD). */
  static operand(): void {
    if (!Stack.isEmpty(7)) {
      stackOverflow();
      return;
    }
    cpu.floatRoundedUp = 0;
    let significand = cpu.operandSignificand;
    if (Extended.isSignaling(cpu.operandExponent, significand)) {
      cpu.floatFlags |= FLOAT_IE;
      significand |= 0x4000000000000000;
    }
    // A denormal is loaded whether its exception is masked or not.
    if ((cpu.floatFlags & ~cpu.x87Control & FLOAT_IE) == 0) Stack.push(cpu.operandExponent, significand);
    Stack.finish();
  }

  /** FLD m64. */
  static double(bits: u64): void {
    if (Fast.loadDouble(bits)) return;
    take<u64>(bits);
    Load.operand();
  }

  /** Pushes a number as it is (FLD m80, FLD ST(i) and exact constants). */
  static value(exponent: u32, significand: u64): void {
    if (!Stack.isEmpty(7)) {
      stackOverflow();
      return;
    }
    Stack.push(exponent, significand);
    cpu.x87Status &= ~STATUS_C1;
  }

  static register(i: u32): void {
    if (Stack.isEmpty(i)) {
      // An underflow even if the stack is full.
      if (stackUnderflow()) {
        Stack.decrementTop();
        setIndefinite(0);
      }
      return;
    }
    Load.value(Stack.exponent(i), Stack.significand(i));
  }

  /**
   * Pushes a constant, of which `nearest` is the significand rounded to nearest and `isRoundedUp` says whether that is above it. "x87 FPU
   * Constants": the rounding control applies.
   */
  static constant(exponent: u32, nearest: u64, isRoundedUp: bool): void {
    const rounding = roundingOf(cpu.x87Control);
    let significand = nearest;
    if (rounding != ROUND_NEAREST) {
      if (rounding == ROUND_UP) significand = isRoundedUp ? nearest : nearest + 1;
      else significand = isRoundedUp ? nearest - 1 : nearest;
    }
    Load.value(exponent, significand);
  }
}

/** Results for memory: the value goes to the CPU block, the caller stores it and then calls `finish` or `finishAndPop`. */
export class Result {
  /** ST(0) in single precision: `Cpu.operandSignificand`. False: nothing is to be stored, and the operation is finished. */
  static single(): bool {
    return narrow<u32>();
  }
  static double(): bool {
    return Fast.storeDouble() || narrow<u64>();
  }
  /** ST(0) as a signed integer of `bits` bits, truncated or by rounding control: `Cpu.operandSignificand`. As `single`. */
  static integer(bits: u32, truncates: bool): bool {
    const indefinite = 0 - ((<u64>1) << (bits - 1));
    if (Stack.isEmpty(0)) {
      cpu.operandSignificand = indefinite;
      // C1 and the flags are in place: nothing to add.
      const goesOn = stackUnderflow();
      Stack.begin();
      return goesOn;
    }
    Stack.begin();
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    if (Extended.isZero(exponent, significand)) {
      cpu.operandSignificand = 0;
      return true;
    }
    if (!Extended.isUnsupported(exponent, significand) && (exponent & EXTENDED_MAX) != EXTENDED_MAX) {
      const value = toInteger(
        truncates ? ROUND_ZERO : roundingOf(cpu.x87Control),
        bits,
        Extended.sign(exponent),
        normalExponent(exponent, significand),
        normalSignificand(significand),
      );
      if (cpu.floatRemainder != OUT_OF_RANGE) {
        cpu.operandSignificand = <u64>value;
        return true;
      }
    }
    cpu.floatFlags = FLOAT_IE;
    cpu.operandSignificand = indefinite;
    return isStorable();
  }

  @inline static finish(): void {
    Stack.finish();
  }
  @inline static finishAndPop(): void {
    Stack.finish();
    Stack.pop();
  }
}

/** False, and finished, when an unmasked exception keeps the result from memory: here overflow and underflow do that too. */
function isStorable(): bool {
  if ((cpu.floatFlags & ~cpu.x87Control & 0x1f) == 0) return true;
  // The rounding has not happened.
  cpu.floatFlags &= 0x1f;
  cpu.floatRoundedUp = 0;
  Stack.finish();
  return false;
}

function narrow<T>(): bool {
  const indefinite: u64 = sizeof<T>() == 4 ? 0xffc00000 : 0xfff8000000000000;
  if (Stack.isEmpty(0)) {
    cpu.operandSignificand = indefinite;
    const goesOn = stackUnderflow();
    Stack.begin();
    return goesOn;
  }
  Stack.begin();
  const exponent = Stack.exponent(0);
  const significand = Stack.significand(0);
  if (Extended.isNormal(exponent, significand)) {
    cpu.operandSignificand = round<T>(
      cpu.x87Control,
      Extended.sign(exponent),
      <i32>(exponent & EXTENDED_MAX),
      significand,
      0,
    );
    return cpu.floatFlags == 0 || isStorable();
  }
  const sign = Extended.sign(exponent);
  if (Extended.isUnsupported(exponent, significand)) {
    cpu.floatFlags = FLOAT_IE;
    cpu.operandSignificand = indefinite;
  } else if (Extended.isNan(exponent, significand)) {
    if (Extended.isSignaling(exponent, significand)) cpu.floatFlags = FLOAT_IE;
    const quietBit: u64 = sizeof<T>() == 4 ? 0x400000 : 0x8000000000000;
    const payload = (significand & ~TOP_BIT) >> (sizeof<T>() == 4 ? 40 : 11);
    cpu.operandSignificand = packInfinity<T>(sign) | quietBit | payload;
  } else if (Extended.isZero(exponent, significand)) cpu.operandSignificand = packZero<T>(sign);
  else if (Extended.isInfinite(exponent, significand)) cpu.operandSignificand = packInfinity<T>(sign);
  else
    cpu.operandSignificand = round<T>(
      cpu.x87Control,
      sign,
      normalExponent(exponent, significand),
      normalSignificand(significand),
      0,
    );
  return isStorable();
}

export class Move {
  /** FST ST(i). False: an unmasked stack fault. */
  static toRegister(i: u32): bool {
    if (Stack.isEmpty(0)) {
      if (!stackUnderflow()) return false;
      setIndefinite(i);
      return true;
    }
    Stack.set(i, Stack.exponent(0), Stack.significand(0));
    cpu.x87Status &= ~STATUS_C1;
    return true;
  }

  /** FSTPNCE, the alias at D9 D8: as FSTP ST(i), but an empty ST(0) is no exception; nothing is stored then. */
  static toRegisterUnchecked(i: u32): void {
    if (!Stack.isEmpty(0)) Stack.set(i, Stack.exponent(0), Stack.significand(0));
    cpu.x87Status &= ~STATUS_C1;
  }

  static exchange(i: u32): void {
    if (Stack.isEmpty(0) || Stack.isEmpty(i)) {
      if (!stackUnderflow()) return;
      if (Stack.isEmpty(0)) setIndefinite(0);
      if (Stack.isEmpty(i)) setIndefinite(i);
    } else cpu.x87Status &= ~STATUS_C1;
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    Stack.set(0, Stack.exponent(i), Stack.significand(i));
    Stack.set(i, exponent, significand);
  }

  /** FCMOVcc: the registers must be there whether the condition holds or not. */
  static ifTrue(condition: bool, i: u32): void {
    if (Stack.isEmpty(0) || Stack.isEmpty(i)) {
      if (stackUnderflow()) setIndefinite(0);
      return;
    }
    if (condition) Stack.set(0, Stack.exponent(i), Stack.significand(i));
  }

  static free(i: u32): void {
    cpu.x87Tag &= ~(1 << Stack.physical(i));
    cpu.x87Status &= ~STATUS_C1;
  }
  static decrementTop(): void {
    Stack.decrementTop();
    cpu.x87Status &= ~STATUS_C1;
  }
  static incrementTop(): void {
    Stack.incrementTop();
    cpu.x87Status &= ~STATUS_C1;
  }
}

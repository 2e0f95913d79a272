/** FCOM, FUCOM, FCOMI, FTST, FXAM. SDM Vol. 2. */
import { cpu } from "../../state/cpu";
import { setArithmeticFlags } from "../../state/flags";
import { EXTENDED_MAX, FLOAT_DE, FLOAT_IE } from "../../float/environment";
import { Extended } from "../../float/extended";
import { STATUS_C0, STATUS_C1, STATUS_C2, STATUS_C3, STATUS_CONDITION } from "../../spec/x87";
import { Stack, stackUnderflow } from "./stack";

/** Outcomes, as CF, PF and ZF in an RFLAGS image, and as C0, C2 and C3 in the byte above. */
const GREATER: u32 = 0;
const LESS: u32 = 1;
const EQUAL: u32 = 0x40;
const UNORDERED: u32 = 0x45;

/** Compares; IE for NaNs, of which quiet ones only where `isSignaling`. */
function compare(exponentA: u32, a: u64, exponentB: u32, b: u64, isSignaling: bool): u32 {
  const denormal = cpu.floatFlags;
  if (denormal == 0 && Extended.isNormal(exponentA, a) && Extended.isNormal(exponentB, b))
    return compareNumbers(exponentA, a, exponentB, b);
  const isUnsupported = Extended.isUnsupported(exponentA, a) || Extended.isUnsupported(exponentB, b);
  if (isUnsupported || Extended.isNan(exponentA, a) || Extended.isNan(exponentB, b)) {
    const isInvalid =
      isSignaling ||
      isUnsupported ||
      Extended.isSignaling(exponentA, a) ||
      Extended.isSignaling(exponentB, b);
    cpu.floatFlags = isInvalid ? FLOAT_IE : 0;
    return UNORDERED;
  }
  if (denormal != 0 || Extended.isDenormal(exponentA, a) || Extended.isDenormal(exponentB, b))
    cpu.floatFlags = FLOAT_DE;
  return (a | b) == 0 ? EQUAL : compareNumbers(exponentA, a, exponentB, b);
}

/** Compares numbers that are not both zero. */
function compareNumbers(exponentA: u32, a: u64, exponentB: u32, b: u64): u32 {
  const signA = Extended.sign(exponentA);
  const signB = Extended.sign(exponentB);
  if (signA != signB) return signA != 0 ? LESS : GREATER;
  // A denormal's exponent is that of the smallest normal number, so a pseudo-denormal equals a normal one.
  const fieldA = a == 0 ? 0 : max<u32>(exponentA & EXTENDED_MAX, 1);
  const fieldB = b == 0 ? 0 : max<u32>(exponentB & EXTENDED_MAX, 1);
  if (fieldA == fieldB && a == b) return EQUAL;
  const isSmaller = fieldA < fieldB || (fieldA == fieldB && a < b);
  return isSmaller == (signA == 0) ? LESS : GREATER;
}

function setConditions(outcome: u32): void {
  cpu.x87Status = (cpu.x87Status & ~STATUS_CONDITION) | (outcome << 8);
}

/** Ends a comparison whose flags are in `Cpu.floatFlags`. The outcome shows even with an unmasked exception; false then. */
function concludeStatus(outcome: u32): bool {
  cpu.floatRoundedUp = 0;
  setConditions(outcome);
  Stack.finish();
  return !Stack.isStopped();
}

/** The outcome where a register is empty. False: unmasked. */
function concludeUnderflow(): bool {
  const goesOn = stackUnderflow();
  setConditions(UNORDERED);
  return goesOn;
}

export class Compare {
  /** ST(0) with ST(i). False: an unmasked exception, nothing is to be popped. */
  static registers(i: u32, isSignaling: bool): bool {
    if (Stack.isEmpty(0) || Stack.isEmpty(i)) return concludeUnderflow();
    cpu.floatFlags = 0;
    return concludeStatus(
      compare(Stack.exponent(0), Stack.significand(0), Stack.exponent(i), Stack.significand(i), isSignaling),
    );
  }

  /** ST(0) with the operand taken before. */
  static operand(): bool {
    if (Stack.isEmpty(0)) return concludeUnderflow();
    return concludeStatus(
      compare(Stack.exponent(0), Stack.significand(0), cpu.operandExponent, cpu.operandSignificand, true),
    );
  }

  /** FTST: with zero. */
  static zero(): void {
    cpu.floatFlags = 0;
    cpu.operandExponent = 0;
    cpu.operandSignificand = 0;
    Compare.operand();
  }

  /**
   * FCOMI and its like: to ZF, PF and CF, with OF, SF and AF cleared. The manual has C1 set to 0; Intel's processors leave it, but for a
   * stack fault.
   */
  static toFlags(i: u32, isSignaling: bool): bool {
    if (Stack.isEmpty(0) || Stack.isEmpty(i)) {
      setArithmeticFlags(UNORDERED);
      return stackUnderflow();
    }
    cpu.floatFlags = 0;
    cpu.floatRoundedUp = (cpu.x87Status & STATUS_C1) >> 9;
    const outcome = compare(
      Stack.exponent(0),
      Stack.significand(0),
      Stack.exponent(i),
      Stack.significand(i),
      isSignaling,
    );
    setArithmeticFlags(outcome);
    Stack.finish();
    return !Stack.isStopped();
  }

  /** FXAM: the class of ST(0) in C3, C2 and C0, its sign in C1. */
  static examine(): void {
    const exponent = Stack.exponent(0);
    const significand = Stack.significand(0);
    let conditions = Extended.sign(exponent) != 0 ? STATUS_C1 : 0;
    if (Stack.isEmpty(0)) conditions |= STATUS_C3 | STATUS_C0;
    else if (Extended.isUnsupported(exponent, significand)) conditions |= 0;
    else if (Extended.isNan(exponent, significand)) conditions |= STATUS_C0;
    else if (Extended.isInfinite(exponent, significand)) conditions |= STATUS_C2 | STATUS_C0;
    else if (Extended.isZero(exponent, significand)) conditions |= STATUS_C3;
    else if (Extended.isDenormal(exponent, significand)) conditions |= STATUS_C3 | STATUS_C2;
    else conditions |= STATUS_C2;
    cpu.x87Status = (cpu.x87Status & ~STATUS_CONDITION) | conditions;
  }
}

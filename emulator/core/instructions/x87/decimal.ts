/** FBLD and FBSTP: packed BCD integers of 18 digits. SDM Vol. 1, "BCD and Packed BCD Integers". */
import { cpu } from "../../state/cpu";
import { EXTENDED_MAX, FLOAT_IE, FLOAT_PE, BIAS, roundingOf } from "../../float/environment";
import { Extended, normalExponent, normalSignificand } from "../../float/extended";
import { exponentOfInteger, integerMagnitude, significandOfInteger } from "../../float/integral";
import { Load, Result } from "./transfer";
import { Last, Stack, stackUnderflow } from "./stack";
import { readTenBytes, writeTenBytes } from "./memory";

const DIGITS: u32 = 18;
const LARGEST: u64 = 999999999999999999;
/** The packed BCD indefinite. */
const INDEFINITE_LOW: u64 = 0xc000000000000000;
const INDEFINITE_HIGH: u32 = 0xffff;

export function fbld(record: usize): void {
  if (!readTenBytes(record)) return;
  const sign = cpu.operandExponent & 0x8000;
  // Digits above 9 are undefined; they count as what they are.
  let value: u64 = 0;
  for (let i = <i32>DIGITS - 1; i >= 0; i--) {
    const word = i >= 16 ? <u64>cpu.operandExponent : cpu.operandSignificand;
    value = value * 10 + ((word >> ((<u64>(i & 15)) << 2)) & 15);
  }
  Last.instructionAndOperand(record, cpu.operandLinear);
  if (value == 0) Load.value(sign, 0);
  else Load.value((<u32>exponentOfInteger(<i64>value)) | sign, significandOfInteger(<i64>value));
}

/** ST(0) as packed BCD in the operand fields, with its flags. False: an unmasked exception, and finished. */
function toDecimal(): bool {
  cpu.operandSignificand = INDEFINITE_LOW;
  cpu.operandExponent = INDEFINITE_HIGH;
  if (Stack.isEmpty(0)) {
    const goesOn = stackUnderflow();
    Stack.begin();
    return goesOn;
  }
  Stack.begin();
  const exponent = Stack.exponent(0);
  const significand = Stack.significand(0);
  const sign = Extended.sign(exponent);
  let value: u64 = 0;
  let isInvalid: bool = false;
  if (!Extended.isZero(exponent, significand)) {
    isInvalid = Extended.isUnsupported(exponent, significand) || (exponent & EXTENDED_MAX) >= <u32>BIAS + 63;
    if (!isInvalid) {
      value = integerMagnitude(
        roundingOf(cpu.x87Control),
        sign,
        normalExponent(exponent, significand),
        normalSignificand(significand),
      );
      isInvalid = value > LARGEST;
    }
  }
  if (isInvalid) {
    cpu.floatRoundedUp = 0;
    cpu.floatFlags = FLOAT_IE;
    if ((cpu.x87Control & FLOAT_IE) != 0) return true;
    Stack.finish();
    return false;
  }
  if (!Extended.isZero(exponent, significand) && cpu.floatRemainder != 0) cpu.floatFlags = FLOAT_PE;
  let low: u64 = 0;
  let high: u32 = sign << 15;
  for (let i: u32 = 0; i < DIGITS; i++) {
    const digit = value % 10;
    value /= 10;
    if (i < 16) low |= digit << ((<u64>i) << 2);
    else high |= (<u32>digit) << ((i - 16) << 2);
  }
  cpu.operandSignificand = low;
  cpu.operandExponent = high;
  return true;
}

export function fbstp(record: usize): void {
  const status = cpu.x87Status;
  if (!toDecimal()) Last.suppressedStore(record);
  else if (writeTenBytes(record, status)) Result.finishAndPop();
}

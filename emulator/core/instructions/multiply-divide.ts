/** MUL, IMUL, DIV, IDIV. SDM Vol. 2. SF, ZF, AF and PF after a multiplication, and all flags after a division, are undefined. */
import { VECTOR_DE } from "../spec/architecture";
import { CPU, RAX, RDX, cpu, getGpr, setGprSized } from "../state/cpu";
import { Flags } from "../state/flags";
import { raise } from "../interrupts/raise";

/** High 64 bits of an unsigned 64 × 64 product: wasm has no such instruction. */
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const middle = aHigh * bLow + ((aLow * bLow) >> 32);
  const cross = aLow * bHigh + (middle & 0xffffffff);
  return aHigh * bHigh + (middle >> 32) + (cross >> 32);
}

export function multiplyHighSigned(a: i64, b: i64): i64 {
  return <i64>multiplyHigh(<u64>a, <u64>b) - ((a >> 63) & b) - ((b >> 63) & a);
}

/** Stores a double-width product in AX, DX:AX, EDX:EAX or RDX:RAX. */
function setProduct<T>(low: u64, high: u64): void {
  if (sizeof<T>() == 1) setGprSized(RAX, 2, low & 0xffff);
  else {
    setGprSized(RAX, <u32>sizeof<T>(), low);
    setGprSized(RDX, <u32>sizeof<T>(), high);
  }
}

export function mul<T>(record: usize, value: T): void {
  const a = load<T>(CPU);
  if (sizeof<T>() == 8) {
    const high = multiplyHigh(<u64>a, <u64>value);
    const low = <u64>a * <u64>value;
    setProduct<T>(low, high);
    const big: u64 = high != 0 ? 1 : 0;
    Flags.explicit<T>(<T>low, big, big, 0);
    return;
  }
  const product = <u64>a * <u64>value;
  const high = product >> (sizeof<T>() * 8);
  setProduct<T>(product, high);
  const big: u64 = high != 0 ? 1 : 0;
  Flags.explicit<T>(<T>product, big, big, 0);
}

export function imul<T>(record: usize, value: T): void {
  const a = load<T>(CPU);
  if (sizeof<T>() == 8) {
    const high = multiplyHighSigned(<i64>a, <i64>value);
    const low = <i64>a * <i64>value;
    setProduct<T>(<u64>low, <u64>high);
    const big: u64 = high != low >> 63 ? 1 : 0;
    Flags.explicit<T>(<T>low, big, big, 0);
    return;
  }
  const product = <i64>Flags.extend<T>(a) * <i64>Flags.extend<T>(value);
  setProduct<T>(<u64>product, <u64>(product >> (sizeof<T>() * 8)));
  const big: u64 = <i64>Flags.extend<T>(<T>product) != product ? 1 : 0;
  Flags.explicit<T>(<T>product, big, big, 0);
}

/** Two- and three-operand IMUL. */
export function imulTruncated<T>(a: T, b: T): T {
  if (sizeof<T>() == 8) {
    const low = <i64>a * <i64>b;
    const big: u64 = multiplyHighSigned(<i64>a, <i64>b) != low >> 63 ? 1 : 0;
    Flags.explicit<T>(<T>low, big, big, 0);
    return <T>low;
  }
  const product = <i64>Flags.extend<T>(a) * <i64>Flags.extend<T>(b);
  const big: u64 = <i64>Flags.extend<T>(<T>product) != product ? 1 : 0;
  Flags.explicit<T>(<T>product, big, big, 0);
  return <T>product;
}

/** Quotient of high:low by a divisor above high, by shift and subtract; the remainder goes to cpu.remainder. */
function divide128(high: u64, low: u64, divisor: u64): u64 {
  let remainder = high;
  let rest = low;
  let quotient: u64 = 0;
  for (let i = 0; i < 64; i++) {
    const carry = remainder >> 63;
    remainder = (remainder << 1) | (rest >> 63);
    rest <<= 1;
    quotient <<= 1;
    if (carry != 0 || remainder >= divisor) {
      remainder -= divisor;
      quotient |= 1;
    }
  }
  cpu.remainder = remainder;
  return quotient;
}

/** The dividend below 64 bits wide: AX, DX:AX or EDX:EAX. */
function dividend<T>(): u64 {
  if (sizeof<T>() == 1) return <u64>load<u16>(CPU);
  const high = load<T>(CPU, 16);
  const low = <u64>load<T>(CPU);
  const wide = <u64>high;
  const bits: u64 = sizeof<T>() * 8;
  return (wide << bits) | low;
}

function setQuotient<T>(quotient: u64, remainder: u64): void {
  if (sizeof<T>() == 1) setGprSized(RAX, 2, (quotient & 0xff) | ((remainder & 0xff) << 8));
  else {
    setGprSized(RAX, <u32>sizeof<T>(), quotient);
    setGprSized(RDX, <u32>sizeof<T>(), remainder);
  }
}

export function div<T>(record: usize, value: T): void {
  const divisor = <u64>value;
  if (divisor == 0) {
    raise(VECTOR_DE);
    return;
  }
  if (sizeof<T>() == 8) {
    const high = getGpr(RDX);
    const low = getGpr(RAX);
    if (high >= divisor) {
      raise(VECTOR_DE);
      return;
    }
    if (high == 0) setQuotient<T>(low / divisor, low % divisor);
    else {
      const quotient = divide128(high, low, divisor);
      setQuotient<T>(quotient, cpu.remainder);
    }
    return;
  }
  const number = dividend<T>();
  const quotient = number / divisor;
  if (quotient >> (sizeof<T>() * 8) != 0) {
    raise(VECTOR_DE);
    return;
  }
  setQuotient<T>(quotient, number % divisor);
}

export function idiv<T>(record: usize, value: T): void {
  if (value == <T>0) {
    raise(VECTOR_DE);
    return;
  }
  if (sizeof<T>() == 8) {
    divideSigned128(<i64>value);
    return;
  }
  const divisor = <i64>Flags.extend<T>(value);
  let number = <i64>dividend<T>();
  if (sizeof<T>() == 1) number = <i64>(<i16>number);
  else if (sizeof<T>() == 2) number = <i64>(<i32>number);
  // The one 64-bit quotient that overflows traps in wasm.
  if (number == i64.MIN_VALUE && divisor == -1) {
    raise(VECTOR_DE);
    return;
  }
  const quotient = number / divisor;
  if (<i64>Flags.extend<T>(<T>quotient) != quotient) {
    raise(VECTOR_DE);
    return;
  }
  setQuotient<T>(<u64>quotient, <u64>(number % divisor));
}

function divideSigned128(divisor: i64): void {
  let high = getGpr(RDX);
  let low = getGpr(RAX);
  const isNegative = <i64>high < 0;
  if (isNegative) {
    low = 0 - low;
    high = ~high + (low == 0 ? 1 : 0);
  }
  const magnitude = divisor < 0 ? 0 - <u64>divisor : <u64>divisor;
  if (high >= magnitude) {
    raise(VECTOR_DE);
    return;
  }
  let quotient: u64;
  let remainder: u64;
  if (high == 0) {
    quotient = low / magnitude;
    remainder = low % magnitude;
  } else {
    quotient = divide128(high, low, magnitude);
    remainder = cpu.remainder;
  }
  const isQuotientNegative = isNegative != divisor < 0;
  if (quotient > (isQuotientNegative ? 0x8000000000000000 : 0x7fffffffffffffff)) {
    raise(VECTOR_DE);
    return;
  }
  setQuotient<u64>(isQuotientNegative ? 0 - quotient : quotient, isNegative ? 0 - remainder : remainder);
}

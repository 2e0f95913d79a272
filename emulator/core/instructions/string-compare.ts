/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. SDM Vol. 1, "Processor-Specific … SSE4.2 String and Text Instructions". */
import { R_IMM } from "../records/record";
import { CPU, RAX, RCX, RDX, getGpr, setGpr } from "../state/cpu";
import { setArithmeticFlags } from "../state/flags";
import { FLAG_CF, FLAG_OF, FLAG_SF, FLAG_ZF } from "../spec/architecture";
import { CPU_VECTOR } from "../layout.generated";
import { Op } from "./operand";

// Fields of the immediate byte.
const WORDS: u32 = 1;
const SIGNED: u32 = 2;
const EQUAL_ANY: u32 = 0;
const RANGES: u32 = 1;
const EQUAL_EACH: u32 = 2;
const NEGATIVE: u32 = 1;
const MASKED: u32 = 2;
const OUTPUT: u32 = 0x40;

/** Element `i` of the string at a wasm offset, extended as the format says. */
function element(at: usize, i: u32, format: u32): i32 {
  if (format & WORDS) {
    const word = at + ((<usize>i) << 1);
    return format & SIGNED ? <i32>load<i16>(word) : <i32>load<u16>(word);
  }
  return format & SIGNED ? <i32>load<i8>(at + i) : <i32>load<u8>(at + i);
}

/** Elements before the first that is zero. */
function implicitLength(at: usize, format: u32, count: u32): u32 {
  let i: u32 = 0;
  while (i < count && element(at, i, format) != 0) i++;
  return i;
}

/** The absolute value of a length register, at most `count`. */
function explicitLength(record: usize, register: u32, count: u32): u32 {
  const value = Op.size(record) == 8 ? <i64>getGpr(register) : <i64>(<i32>getGpr(register));
  // The smallest value has no absolute value: it stays negative, and is beyond every count as an unsigned one.
  return <u32>min<u64>(<u64>(value < 0 ? -value : value), count);
}

/** Bit `j` of IntRes1: the comparison of element `j` of the second operand. */
function compares(
  mode: u32,
  format: u32,
  a: usize,
  b: usize,
  lengthA: u32,
  lengthB: u32,
  j: u32,
  count: u32,
): bool {
  if (mode == EQUAL_EACH) {
    if (j >= lengthA || j >= lengthB) return j >= lengthA && j >= lengthB;
    return element(a, j, format) == element(b, j, format);
  }
  if (mode == EQUAL_ANY || mode == RANGES) {
    if (j >= lengthB) return false;
    const value = element(b, j, format);
    if (mode == EQUAL_ANY) {
      for (let i: u32 = 0; i < lengthA; i++) if (element(a, i, format) == value) return true;
      return false;
    }
    for (let i: u32 = 0; i + 1 < lengthA; i += 2)
      if (element(a, i, format) <= value && value <= element(a, i + 1, format)) return true;
    return false;
  }
  // Equal ordered: the first operand is found at j, as far as the second one goes.
  for (let i: u32 = 0; i < lengthA && j + i < count; i++)
    if (j + i >= lengthB || element(a, i, format) != element(b, j + i, format)) return false;
  return true;
}

/** Sets the flags and returns IntRes2. */
function compare(control: u32, a: usize, b: usize, lengthA: u32, lengthB: u32, count: u32): u32 {
  const format = control & 3;
  const mode = (control >> 2) & 3;
  const polarity = (control >> 4) & 3;
  let result: u32 = 0;
  for (let j: u32 = 0; j < count; j++)
    if (compares(mode, format, a, b, lengthA, lengthB, j, count)) result |= 1 << j;
  if (polarity & NEGATIVE) {
    const all: u32 = (1 << count) - 1;
    result ^= polarity & MASKED ? (1 << lengthB) - 1 : all;
  }
  setArithmeticFlags(
    (result != 0 ? FLAG_CF : 0) |
      (lengthB < count ? FLAG_ZF : 0) |
      (lengthA < count ? FLAG_SF : 0) |
      ((result & 1) != 0 ? FLAG_OF : 0),
  );
  return result;
}

function setIndex(control: u32, result: u32, count: u32): void {
  let index = count;
  if (result != 0) index = control & OUTPUT ? 31 - clz<u32>(result) : ctz<u32>(result);
  setGpr(RCX, <u64>index);
}

/** XMM0: the bits themselves, or lanes of ones. */
function setMask(control: u32, result: u32, count: u32): void {
  const at = CPU + CPU_VECTOR;
  if ((control & OUTPUT) == 0) {
    store<u64>(at, <u64>result);
    store<u64>(at, 0, 8);
    return;
  }
  for (let i: u32 = 0; i < count; i++) {
    const lane: u32 = (result >> i) & 1 ? 0xffff : 0;
    if (count == 8) store<u16>(at + ((<usize>i) << 1), <u16>lane);
    else store<u8>(at + i, <u8>lane);
  }
}

/** `a` and `b` are wasm offsets of the operands' 16 bytes. */
export class Text {
  static explicitIndex(record: usize, a: usize, b: usize): void {
    const control = <u32>load<u8>(record, R_IMM);
    const count: u32 = control & WORDS ? 8 : 16;
    const result = compare(
      control,
      a,
      b,
      explicitLength(record, RAX, count),
      explicitLength(record, RDX, count),
      count,
    );
    setIndex(control, result, count);
  }
  static explicitMask(record: usize, a: usize, b: usize): void {
    const control = <u32>load<u8>(record, R_IMM);
    const count: u32 = control & WORDS ? 8 : 16;
    const result = compare(
      control,
      a,
      b,
      explicitLength(record, RAX, count),
      explicitLength(record, RDX, count),
      count,
    );
    setMask(control, result, count);
  }
  static implicitIndex(record: usize, a: usize, b: usize): void {
    const control = <u32>load<u8>(record, R_IMM);
    const count: u32 = control & WORDS ? 8 : 16;
    const format = control & 3;
    const result = compare(
      control,
      a,
      b,
      implicitLength(a, format, count),
      implicitLength(b, format, count),
      count,
    );
    setIndex(control, result, count);
  }
  static implicitMask(record: usize, a: usize, b: usize): void {
    const control = <u32>load<u8>(record, R_IMM);
    const count: u32 = control & WORDS ? 8 : 16;
    const format = control & 3;
    const result = compare(
      control,
      a,
      b,
      implicitLength(a, format, count),
      implicitLength(b, format, count),
      count,
    );
    setMask(control, result, count);
  }
  /** VEX.128 clears the upper half of YMM0. */
  static clearUpper(): void {
    store<v128>(CPU + CPU_VECTOR, i64x2.splat(0), 16);
  }
}

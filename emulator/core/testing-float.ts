/** Test door of the floating-point room alone. Not part of the product's core. */
import { cpu } from "./state/cpu";
import { F32, F64 } from "./float/ieee";

/** Operations of `calculate`, in the order of the tests' own list. */
const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const DIV: u32 = 3;
const SQRT: u32 = 4;
const FMA: u32 = 5;
const COMPARE: u32 = 6;
const TO_INT32: u32 = 7;
const TO_INT64: u32 = 8;
const FROM_INT: u32 = 9;
const CONVERT: u32 = 10;
const ROUND: u32 = 11;

function single(operation: u32, a: u32, b: u32, c: u32): u64 {
  if (operation == ADD) return F32.add(a, b);
  if (operation == SUB) return F32.sub(a, b);
  if (operation == MUL) return F32.mul(a, b);
  if (operation == DIV) return F32.div(a, b);
  if (operation == SQRT) return F32.sqrt(a);
  if (operation == FMA) return F32.fma(a, b, c);
  if (operation == COMPARE) return <u64>(<i64>F32.compare(a, b, false));
  if (operation == TO_INT32) return <u64>F32.toInt(a, 32, false);
  if (operation == TO_INT64) return <u64>F32.toInt(a, 64, true);
  if (operation == ROUND) return F32.roundToIntegral(a, (cpu.floatControl >> 10) & 3, false);
  return 0;
}

function double(operation: u32, a: u64, b: u64, c: u64): u64 {
  if (operation == ADD) return F64.add(a, b);
  if (operation == SUB) return F64.sub(a, b);
  if (operation == MUL) return F64.mul(a, b);
  if (operation == DIV) return F64.div(a, b);
  if (operation == SQRT) return F64.sqrt(a);
  if (operation == FMA) return F64.fma(a, b, c);
  if (operation == COMPARE) return <u64>(<i64>F64.compare(a, b, false));
  if (operation == TO_INT32) return <u64>F64.toInt(a, 32, false);
  if (operation == TO_INT64) return <u64>F64.toInt(a, 64, true);
  if (operation == FROM_INT) return F64.fromInt(<i64>a);
  if (operation == CONVERT) return F32.fromF64(a);
  if (operation == ROUND) return F64.roundToIntegral(a, (cpu.floatControl >> 10) & 3, false);
  return 0;
}

/**
 * `count` cases of {operation u32, format u32 (0 single, 1 double), control u32, unused u32, a, b, c u64} at `input`; to `output` for
 * each {result u64, flags u64}.
 */
export function calculateMany(input: usize, count: u32, output: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const at = input + <usize>i * 40;
    cpu.floatControl = load<u32>(at, 8);
    cpu.floatFlags = 0;
    const operation = load<u32>(at);
    const a = load<u64>(at, 16);
    const b = load<u64>(at, 24);
    const c = load<u64>(at, 32);
    store<u64>(
      output + (i << 4),
      load<u32>(at, 4) == 0 ? single(operation, <u32>a, <u32>b, <u32>c) : double(operation, a, b, c),
    );
    store<u64>(output + (i << 4), cpu.floatFlags, 8);
  }
}

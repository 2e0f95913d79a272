/** Test door of the floating-point room alone. Not part of the product's core. */
import { cpu } from "./state/cpu";
import { F32, F64 } from "./float/ieee";

/** Operations of `calculateMany`, in the order of the test's own list. */
const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const DIV: u32 = 3;
const SQRT: u32 = 4;

function single(operation: u32, a: u32, b: u32, c: u32): u64 {
  if (operation == ADD) return F32.add(a, b);
  if (operation == SUB) return F32.sub(a, b);
  if (operation == MUL) return F32.mul(a, b);
  if (operation == DIV) return F32.div(a, b);
  if (operation == SQRT) return F32.sqrt(a);
  return F32.fma(a, b, c);
}

function double(operation: u32, a: u64, b: u64, c: u64): u64 {
  if (operation == ADD) return F64.add(a, b);
  if (operation == SUB) return F64.sub(a, b);
  if (operation == MUL) return F64.mul(a, b);
  if (operation == DIV) return F64.div(a, b);
  if (operation == SQRT) return F64.sqrt(a);
  return F64.fma(a, b, c);
}

const CASE_BYTES: usize = 40;
const RESULT_BYTES: usize = 16;

/**
 * `count` cases of {operation u32, format u32 (0 single, 1 double), control u32, unused u32, a, b, c u64} at `input`; to `output` for
 * each {result u64, flags u64}.
 */
export function calculateMany(input: usize, count: u32, output: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const at = input + <usize>i * CASE_BYTES;
    const to = output + <usize>i * RESULT_BYTES;
    cpu.floatControl = load<u32>(at, 8);
    cpu.floatFlags = 0;
    const operation = load<u32>(at);
    const a = load<u64>(at, 16);
    const b = load<u64>(at, 24);
    const c = load<u64>(at, 32);
    const isDouble = load<u32>(at, 4) != 0;
    store<u64>(to, isDouble ? double(operation, a, b, c) : single(operation, <u32>a, <u32>b, <u32>c));
    store<u64>(to, cpu.floatFlags, 8);
  }
}

/**
 * SSE and AVX floating-point arithmetic and comparison: scalar and packed, single and double. SDM Vol. 2.
 *
 * Where all values are normal numbers or zeros and MXCSR allows it, WebAssembly's operations are exactly the processor's
 * (float-control.ts); else every element goes through the software operations of float/.
 */
import { CPU_LANES } from "../layout.generated";
import { COMPARE_LESS, F32, F64 } from "../float/ieee";
import { CONTROL_DAZ } from "../float/environment";
import { CPU, cpu } from "../state/cpu";
import { setArithmeticFlags } from "../state/flags";
import { FLAG_CF, FLAG_PF, FLAG_ZF } from "../spec/architecture";
import { Float } from "./float-control";

/** Where elements are taken apart. */
const A: usize = CPU_LANES;
const B: usize = CPU_LANES + 32;

// Operations, for the ways that take one as a number. SQRT uses the second operand alone.
const ADD: u32 = 0;
const SUB: u32 = 1;
const MUL: u32 = 2;
const DIV: u32 = 3;
const MIN: u32 = 4;
const MAX: u32 = 5;
const SQRT: u32 = 6;
/** Even elements subtract, odd ones add. */
const ADDSUB: u32 = 7;

/** Predicates of CMPPS by bits 3:0: which relations make them true, as bits less, equal, greater, unordered. */
const RELATIONS: usize = memory.data<u8>([2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15]);
const LESS: u32 = 1;
const EQUAL: u32 = 2;
const GREATER: u32 = 4;
/** Predicates of which bits 3:0 are set here signal quiet NaNs; bit 4 of a predicate inverts that. */
const SIGNALING: u32 = 0x6666;

function isSignaling(predicate: u32): bool {
  return (((SIGNALING >> (predicate & 15)) ^ (predicate >> 4)) & 1) != 0;
}

/** Under DAZ a denormal operand is a zero, also where it is handed on. */
function flush32(bits: u32): u32 {
  return (cpu.floatControl & CONTROL_DAZ) != 0 && bits << 1 < 1 << 24 ? bits & 0x80000000 : bits;
}
function flush64(bits: u64): u64 {
  const sign: u64 = 0x8000000000000000;
  return (cpu.floatControl & CONTROL_DAZ) != 0 && bits << 1 < (<u64>1) << 53 ? bits & sign : bits;
}

/** MINSS and MAXSS: the second operand when both are zeros or one is a NaN. */
function extreme32(a: u32, b: u32, wanted: i32): u32 {
  return F32.compare(a, b, true) == wanted ? flush32(a) : flush32(b);
}
function extreme64(a: u64, b: u64, wanted: i32): u64 {
  return F64.compare(a, b, true) == wanted ? flush64(a) : flush64(b);
}

function operate32(operation: u32, a: u32, b: u32): u32 {
  switch (operation) {
    case ADD:
      return F32.add(a, b);
    case SUB:
      return F32.sub(a, b);
    case MUL:
      return F32.mul(a, b);
    case DIV:
      return F32.div(a, b);
    case MIN:
      return extreme32(a, b, COMPARE_LESS);
    case MAX:
      return extreme32(a, b, -COMPARE_LESS);
    default:
      return F32.sqrt(b);
  }
}

function operate64(operation: u32, a: u64, b: u64): u64 {
  switch (operation) {
    case ADD:
      return F64.add(a, b);
    case SUB:
      return F64.sub(a, b);
    case MUL:
      return F64.mul(a, b);
    case DIV:
      return F64.div(a, b);
    case MIN:
      return extreme64(a, b, COMPARE_LESS);
    case MAX:
      return extreme64(a, b, -COMPARE_LESS);
    default:
      return F64.sqrt(b);
  }
}

function slow32(operation: u32, a: u32, b: u32): u32 {
  Float.prepare();
  return operate32(operation, a, b);
}
function slow64(operation: u32, a: u64, b: u64): u64 {
  Float.prepare();
  return operate64(operation, a, b);
}

function slowSingles(operation: u32, a: v128, b: v128): v128 {
  Float.prepare();
  store<v128>(CPU + A, a);
  store<v128>(CPU + B, b);
  for (let i: usize = 0; i < 16; i += 4) {
    const present = operation == ADDSUB ? ((i >> 2) & 1 ? ADD : SUB) : operation;
    store<u32>(CPU + A + i, operate32(present, load<u32>(CPU + A + i), load<u32>(CPU + B + i)));
  }
  return load<v128>(CPU + A);
}

function slowDoubles(operation: u32, a: v128, b: v128): v128 {
  Float.prepare();
  store<v128>(CPU + A, a);
  store<v128>(CPU + B, b);
  for (let i: usize = 0; i < 16; i += 8) {
    const present = operation == ADDSUB ? (i != 0 ? ADD : SUB) : operation;
    store<u64>(CPU + A + i, operate64(present, load<u64>(CPU + A + i), load<u64>(CPU + B + i)));
  }
  return load<v128>(CPU + A);
}

// --- masks of lanes, as in Float.isOrdinary64 and its like

class Lane {
  @inline static ordinary32(x: v128): v128 {
    const magnitude = i32x4.shl(x, 1);
    return v128.or(
      i32x4.lt_u(i32x4.sub(magnitude, i32x4.splat(1 << 24)), i32x4.splat(<i32>0xfe000000)),
      i32x4.eq(magnitude, i32x4.splat(0)),
    );
  }
  @inline static safe32(x: v128): v128 {
    return i32x4.lt_u(i32x4.sub(i32x4.shl(x, 1), i32x4.splat(2 << 24)), i32x4.splat(<i32>0xfd000000));
  }
  @inline static zero32(x: v128): v128 {
    return i32x4.eq(i32x4.shl(x, 1), i32x4.splat(0));
  }
  /** WebAssembly compares 64-bit lanes signed: the offset turns the unsigned order into that. */
  @inline static below64(x: v128, bound: i64): v128 {
    return i64x2.lt_s(v128.xor(x, i64x2.splat(i64.MIN_VALUE)), i64x2.splat(bound ^ i64.MIN_VALUE));
  }
  @inline static ordinary64(x: v128): v128 {
    const magnitude = i64x2.shl(x, 1);
    return v128.or(
      Lane.below64(i64x2.sub(magnitude, i64x2.splat((<i64>1) << 53)), <i64>((<u64>2046) << 53)),
      i64x2.eq(magnitude, i64x2.splat(0)),
    );
  }
  @inline static safe64(x: v128): v128 {
    return Lane.below64(i64x2.sub(i64x2.shl(x, 1), i64x2.splat((<i64>2) << 53)), <i64>((<u64>2045) << 53));
  }
  @inline static zero64(x: v128): v128 {
    return i64x2.eq(i64x2.shl(x, 1), i64x2.splat(0));
  }
}

export class Single {
  static add(a: u32, b: u32): u32 {
    if (Float.isFast() && Float.isOrdinary32(a) && Float.isOrdinary32(b)) {
      const result = reinterpret<u32>(reinterpret<f32>(a) + reinterpret<f32>(b));
      if (Float.isOrdinary32(result)) return result;
    }
    return slow32(ADD, a, b);
  }
  static sub(a: u32, b: u32): u32 {
    if (Float.isFast() && Float.isOrdinary32(a) && Float.isOrdinary32(b)) {
      const result = reinterpret<u32>(reinterpret<f32>(a) - reinterpret<f32>(b));
      if (Float.isOrdinary32(result)) return result;
    }
    return slow32(SUB, a, b);
  }
  static mul(a: u32, b: u32): u32 {
    if (Float.isFast() && Float.isOrdinary32(a) && Float.isOrdinary32(b)) {
      const result = reinterpret<u32>(reinterpret<f32>(a) * reinterpret<f32>(b));
      if (Float.isSafe32(result) || a << 1 == 0 || b << 1 == 0) return result;
    }
    return slow32(MUL, a, b);
  }
  static div(a: u32, b: u32): u32 {
    if (Float.isFast() && Float.isOrdinary32(a) && Float.isOrdinary32(b) && b << 1 != 0) {
      const result = reinterpret<u32>(reinterpret<f32>(a) / reinterpret<f32>(b));
      if (Float.isSafe32(result) || a << 1 == 0) return result;
    }
    return slow32(DIV, a, b);
  }
  static min(a: u32, b: u32): u32 {
    if (Float.isOrdinary32(a) && Float.isOrdinary32(b))
      return reinterpret<f32>(a) < reinterpret<f32>(b) ? a : b;
    return slow32(MIN, a, b);
  }
  static max(a: u32, b: u32): u32 {
    if (Float.isOrdinary32(a) && Float.isOrdinary32(b))
      return reinterpret<f32>(a) > reinterpret<f32>(b) ? a : b;
    return slow32(MAX, a, b);
  }
  static sqrt(_: u32, b: u32): u32 {
    if (Float.isFast() && Float.isOrdinary32(b) && (<i32>b >= 0 || b << 1 == 0))
      return reinterpret<u32>(sqrt<f32>(reinterpret<f32>(b)));
    return slow32(SQRT, 0, b);
  }
  /** One of COMPARE_*. */
  static relation(a: u32, b: u32, signals: bool): i32 {
    if (Float.isOrdinary32(a) && Float.isOrdinary32(b)) {
      const x = reinterpret<f32>(a);
      const y = reinterpret<f32>(b);
      return x > y ? 1 : x < y ? -1 : 0;
    }
    return slowRelation32(a, b, signals);
  }
  /** CMPSS: all ones or 0. */
  static compare(a: u32, b: u32, predicate: u32): u32 {
    const relation = Single.relation(a, b, isSignaling(predicate));
    return ((<u32>load<u8>(RELATIONS + <usize>(predicate & 15))) >> (<u32>(relation + 1))) & 1
      ? 0xffffffff
      : 0;
  }
}

export class Double {
  static add(a: u64, b: u64): u64 {
    if (Float.isFast() && Float.isOrdinary64(a) && Float.isOrdinary64(b)) {
      const result = reinterpret<u64>(reinterpret<f64>(a) + reinterpret<f64>(b));
      if (Float.isOrdinary64(result)) return result;
    }
    return slow64(ADD, a, b);
  }
  static sub(a: u64, b: u64): u64 {
    if (Float.isFast() && Float.isOrdinary64(a) && Float.isOrdinary64(b)) {
      const result = reinterpret<u64>(reinterpret<f64>(a) - reinterpret<f64>(b));
      if (Float.isOrdinary64(result)) return result;
    }
    return slow64(SUB, a, b);
  }
  static mul(a: u64, b: u64): u64 {
    if (Float.isFast() && Float.isOrdinary64(a) && Float.isOrdinary64(b)) {
      const result = reinterpret<u64>(reinterpret<f64>(a) * reinterpret<f64>(b));
      if (Float.isSafe64(result) || a << 1 == 0 || b << 1 == 0) return result;
    }
    return slow64(MUL, a, b);
  }
  static div(a: u64, b: u64): u64 {
    if (Float.isFast() && Float.isOrdinary64(a) && Float.isOrdinary64(b) && b << 1 != 0) {
      const result = reinterpret<u64>(reinterpret<f64>(a) / reinterpret<f64>(b));
      if (Float.isSafe64(result) || a << 1 == 0) return result;
    }
    return slow64(DIV, a, b);
  }
  static min(a: u64, b: u64): u64 {
    if (Float.isOrdinary64(a) && Float.isOrdinary64(b))
      return reinterpret<f64>(a) < reinterpret<f64>(b) ? a : b;
    return slow64(MIN, a, b);
  }
  static max(a: u64, b: u64): u64 {
    if (Float.isOrdinary64(a) && Float.isOrdinary64(b))
      return reinterpret<f64>(a) > reinterpret<f64>(b) ? a : b;
    return slow64(MAX, a, b);
  }
  static sqrt(_: u64, b: u64): u64 {
    if (Float.isFast() && Float.isOrdinary64(b) && (<i64>b >= 0 || b << 1 == 0))
      return reinterpret<u64>(sqrt<f64>(reinterpret<f64>(b)));
    return slow64(SQRT, 0, b);
  }
  static relation(a: u64, b: u64, signals: bool): i32 {
    if (Float.isOrdinary64(a) && Float.isOrdinary64(b)) {
      const x = reinterpret<f64>(a);
      const y = reinterpret<f64>(b);
      return x > y ? 1 : x < y ? -1 : 0;
    }
    return slowRelation64(a, b, signals);
  }
  /** CMPSD: all ones or 0. */
  static compare(a: u64, b: u64, predicate: u32): u64 {
    const relation = Double.relation(a, b, isSignaling(predicate));
    return ((<u32>load<u8>(RELATIONS + <usize>(predicate & 15))) >> (<u32>(relation + 1))) & 1
      ? ~(<u64>0)
      : 0;
  }
}

function slowRelation32(a: u32, b: u32, signals: bool): i32 {
  Float.prepare();
  return F32.compare(a, b, signals);
}
function slowRelation64(a: u64, b: u64, signals: bool): i32 {
  Float.prepare();
  return F64.compare(a, b, signals);
}

/** COMISS and its like: ZF, PF and CF by a relation (COMPARE_*). */
export function setRelation(relation: i32): void {
  // Less: CF. Equal: ZF. Greater: none. Unordered: all three.
  setArithmeticFlags(
    relation < 0 ? FLAG_CF : relation == 0 ? FLAG_ZF : relation == 1 ? 0 : FLAG_CF | FLAG_PF | FLAG_ZF,
  );
}

/** Operands and results in the CPU block, for what works on both halves at once. */
export class Parts {
  @inline static put(a: v128, b: v128): void {
    store<v128>(CPU + A, a);
    store<v128>(CPU + B, b);
  }
  @inline static putHigh(a: v128, b: v128): void {
    store<v128>(CPU + A, a, 16);
    store<v128>(CPU + B, b, 16);
  }
  @inline static low(): v128 {
    return load<v128>(CPU + A);
  }
  @inline static high(): v128 {
    return load<v128>(CPU + A, 16);
  }
}

/** Four singles. */
export class Singles {
  static add(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f32x4.add(a, b);
      const good = v128.and(v128.and(Lane.ordinary32(a), Lane.ordinary32(b)), Lane.ordinary32(result));
      if (i32x4.all_true(good)) return result;
    }
    return slowSingles(ADD, a, b);
  }
  static sub(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f32x4.sub(a, b);
      const good = v128.and(v128.and(Lane.ordinary32(a), Lane.ordinary32(b)), Lane.ordinary32(result));
      if (i32x4.all_true(good)) return result;
    }
    return slowSingles(SUB, a, b);
  }
  static mul(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f32x4.mul(a, b);
      const exact = v128.or(Lane.zero32(a), Lane.zero32(b));
      const good = v128.and(Lane.ordinary32(a), Lane.ordinary32(b));
      if (i32x4.all_true(v128.and(good, v128.or(exact, Lane.safe32(result))))) return result;
    }
    return slowSingles(MUL, a, b);
  }
  static div(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f32x4.div(a, b);
      const good = v128.and(Lane.ordinary32(a), v128.andnot(Lane.ordinary32(b), Lane.zero32(b)));
      if (i32x4.all_true(v128.and(good, v128.or(Lane.zero32(a), Lane.safe32(result))))) return result;
    }
    return slowSingles(DIV, a, b);
  }
  static sqrt(_: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f32x4.sqrt(b);
      if (i32x4.all_true(v128.and(Lane.ordinary32(b), Lane.ordinary32(result)))) return result;
    }
    return slowSingles(SQRT, b, b);
  }
  static min(a: v128, b: v128): v128 {
    if (i32x4.all_true(v128.and(Lane.ordinary32(a), Lane.ordinary32(b)))) return f32x4.pmin(b, a);
    return slowSingles(MIN, a, b);
  }
  static max(a: v128, b: v128): v128 {
    if (i32x4.all_true(v128.and(Lane.ordinary32(a), Lane.ordinary32(b)))) return f32x4.pmax(b, a);
    return slowSingles(MAX, a, b);
  }
  static addSub(a: v128, b: v128): v128 {
    return slowSingles(ADDSUB, a, b);
  }
  static horizontalAdd(a: v128, b: v128): v128 {
    return Singles.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
  }
  static horizontalSub(a: v128, b: v128): v128 {
    return Singles.sub(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
  }
  static compare(a: v128, b: v128, predicate: u32): v128 {
    const relations = <u32>load<u8>(RELATIONS + <usize>(predicate & 15));
    if (i32x4.all_true(v128.and(Lane.ordinary32(a), Lane.ordinary32(b)))) {
      let result = i64x2.splat(0);
      if (relations & LESS) result = f32x4.lt(a, b);
      if (relations & EQUAL) result = v128.or(result, f32x4.eq(a, b));
      if (relations & GREATER) result = v128.or(result, f32x4.gt(a, b));
      return result;
    }
    Float.prepare();
    store<v128>(CPU + A, a);
    store<v128>(CPU + B, b);
    for (let i: usize = 0; i < 16; i += 4) {
      const relation = F32.compare(load<u32>(CPU + A + i), load<u32>(CPU + B + i), isSignaling(predicate));
      store<u32>(CPU + A + i, (relations >> (<u32>(relation + 1))) & 1 ? 0xffffffff : 0);
    }
    return load<v128>(CPU + A);
  }
  /**
   * DPPS: bits 7:4 of `select` choose products, bits 3:0 where their sum goes. Takes `parts` times 128 bits at A and at B, and
   * puts the results at A. Each step is done in all parts before the next. Every lane has a sum of its own: where several terms are NaNs, the
   * lanes of Intel's processors propagate different ones.
   */
  static dotProduct(parts: u32, select: u32): void {
    Float.prepare();
    const end = (<usize>parts) << 4;
    for (let i: usize = 0; i < end; i += 4) {
      const isChosen = ((select >> (4 + (((<u32>i) >> 2) & 3))) & 1) != 0;
      const product = isChosen ? F32.mul(load<u32>(CPU + A + i), load<u32>(CPU + B + i)) : 0;
      store<u32>(CPU + A + i, product);
    }
    if (Float.endStep(0)) return;
    let before = cpu.floatFlags;
    cpu.floatFlags = 0;
    for (let i: usize = 0; i < end; i += 4)
      store<u32>(CPU + B + i, F32.add(load<u32>(CPU + A + (i ^ 4)), load<u32>(CPU + A + i)));
    if (Float.endStep(before)) return;
    before = cpu.floatFlags;
    cpu.floatFlags = 0;
    for (let i: usize = 0; i < end; i += 4) {
      const sum = F32.add(load<u32>(CPU + B + i), load<u32>(CPU + B + (i ^ 8)));
      store<u32>(CPU + A + i, (select >> (((<u32>i) >> 2) & 3)) & 1 ? sum : 0);
    }
    Float.endStep(before);
  }
  /** ROUNDPS. */
  static round(b: v128, control: u32): v128 {
    Float.prepare();
    store<v128>(CPU + B, b);
    for (let i: usize = 0; i < 16; i += 4)
      store<u32>(CPU + B + i, roundSingle(load<u32>(CPU + B + i), control));
    return load<v128>(CPU + B);
  }
}

/** Two doubles. */
export class Doubles {
  static add(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f64x2.add(a, b);
      const good = v128.and(v128.and(Lane.ordinary64(a), Lane.ordinary64(b)), Lane.ordinary64(result));
      if (i64x2.all_true(good)) return result;
    }
    return slowDoubles(ADD, a, b);
  }
  static sub(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f64x2.sub(a, b);
      const good = v128.and(v128.and(Lane.ordinary64(a), Lane.ordinary64(b)), Lane.ordinary64(result));
      if (i64x2.all_true(good)) return result;
    }
    return slowDoubles(SUB, a, b);
  }
  static mul(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f64x2.mul(a, b);
      const exact = v128.or(Lane.zero64(a), Lane.zero64(b));
      const good = v128.and(Lane.ordinary64(a), Lane.ordinary64(b));
      if (i64x2.all_true(v128.and(good, v128.or(exact, Lane.safe64(result))))) return result;
    }
    return slowDoubles(MUL, a, b);
  }
  static div(a: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f64x2.div(a, b);
      const good = v128.and(Lane.ordinary64(a), v128.andnot(Lane.ordinary64(b), Lane.zero64(b)));
      if (i64x2.all_true(v128.and(good, v128.or(Lane.zero64(a), Lane.safe64(result))))) return result;
    }
    return slowDoubles(DIV, a, b);
  }
  static sqrt(_: v128, b: v128): v128 {
    if (Float.isFast()) {
      const result = f64x2.sqrt(b);
      if (i64x2.all_true(v128.and(Lane.ordinary64(b), Lane.ordinary64(result)))) return result;
    }
    return slowDoubles(SQRT, b, b);
  }
  static min(a: v128, b: v128): v128 {
    if (i64x2.all_true(v128.and(Lane.ordinary64(a), Lane.ordinary64(b)))) return f64x2.pmin(b, a);
    return slowDoubles(MIN, a, b);
  }
  static max(a: v128, b: v128): v128 {
    if (i64x2.all_true(v128.and(Lane.ordinary64(a), Lane.ordinary64(b)))) return f64x2.pmax(b, a);
    return slowDoubles(MAX, a, b);
  }
  static addSub(a: v128, b: v128): v128 {
    return slowDoubles(ADDSUB, a, b);
  }
  static horizontalAdd(a: v128, b: v128): v128 {
    return Doubles.add(v128.shuffle<i64>(a, b, 0, 2), v128.shuffle<i64>(a, b, 1, 3));
  }
  static horizontalSub(a: v128, b: v128): v128 {
    return Doubles.sub(v128.shuffle<i64>(a, b, 0, 2), v128.shuffle<i64>(a, b, 1, 3));
  }
  static compare(a: v128, b: v128, predicate: u32): v128 {
    const relations = <u32>load<u8>(RELATIONS + <usize>(predicate & 15));
    if (i64x2.all_true(v128.and(Lane.ordinary64(a), Lane.ordinary64(b)))) {
      let result = i64x2.splat(0);
      if (relations & LESS) result = f64x2.lt(a, b);
      if (relations & EQUAL) result = v128.or(result, f64x2.eq(a, b));
      if (relations & GREATER) result = v128.or(result, f64x2.gt(a, b));
      return result;
    }
    Float.prepare();
    store<v128>(CPU + A, a);
    store<v128>(CPU + B, b);
    for (let i: usize = 0; i < 16; i += 8) {
      const relation = F64.compare(load<u64>(CPU + A + i), load<u64>(CPU + B + i), isSignaling(predicate));
      store<u64>(CPU + A + i, (relations >> (<u32>(relation + 1))) & 1 ? ~(<u64>0) : 0);
    }
    return load<v128>(CPU + A);
  }
  /** DPPD, in the same way on 128 bits. */
  static dotProduct(select: u32): void {
    Float.prepare();
    const low = (select & 0x10) != 0 ? F64.mul(load<u64>(CPU + A), load<u64>(CPU + B)) : 0;
    const high = (select & 0x20) != 0 ? F64.mul(load<u64>(CPU + A, 8), load<u64>(CPU + B, 8)) : 0;
    if (Float.endStep(0)) return;
    const before = cpu.floatFlags;
    cpu.floatFlags = 0;
    const sumLow = F64.add(low, high);
    const sumHigh = F64.add(high, low);
    Float.endStep(before);
    store<u64>(CPU + A, select & 1 ? sumLow : 0);
    store<u64>(CPU + A, select & 2 ? sumHigh : 0, 8);
  }
  /** ROUNDPD. */
  static round(b: v128, control: u32): v128 {
    Float.prepare();
    store<v128>(CPU + B, b);
    store<u64>(CPU + B, roundDouble(load<u64>(CPU + B), control));
    store<u64>(CPU + B, roundDouble(load<u64>(CPU + B, 8), control), 8);
    return load<v128>(CPU + B);
  }
}

// Fields of ROUNDPS's immediate byte.
const ROUND_BY_MXCSR: u32 = 4;
const ROUND_HIDES_INEXACT: u32 = 8;

function roundingOfImmediate(control: u32): u32 {
  return control & ROUND_BY_MXCSR ? Float.rounding() : control & 3;
}

/** ROUNDSS; `Float.prepare` has been called. */
function roundSingle(b: u32, control: u32): u32 {
  return F32.roundToIntegral(b, roundingOfImmediate(control), (control & ROUND_HIDES_INEXACT) != 0);
}
function roundDouble(b: u64, control: u32): u64 {
  return F64.roundToIntegral(b, roundingOfImmediate(control), (control & ROUND_HIDES_INEXACT) != 0);
}

/** ROUNDSS and ROUNDSD. */
export class Round {
  static single(b: u32, control: u32): u32 {
    Float.prepare();
    return roundSingle(b, control);
  }
  static double(b: u64, control: u32): u64 {
    Float.prepare();
    return roundDouble(b, control);
  }
}

/**
 * RCPPS and RSQRTPS: no exceptions, no rounding control. The manual bounds the relative error by 1.5 × 2^-12 and leaves the
 * bits to the implementation; here they are the correctly rounded ones. Denormals count as zeros, and tiny results are zeros.
 */
function approximate(b: u32, isRoot: bool): u32 {
  const sign = b & 0x80000000;
  const magnitude = b & 0x7fffffff;
  if (magnitude > 0x7f800000) return b | 0x00400000;
  if (magnitude < 0x00800000) return sign | 0x7f800000;
  if (isRoot && sign != 0) return 0xffc00000;
  if (magnitude == 0x7f800000) return sign;
  const value = <f64>reinterpret<f32>(b);
  const result = reinterpret<u32>(<f32>(1 / (isRoot ? sqrt<f64>(value) : value)));
  return (result & 0x7fffffff) < 0x00800000 ? sign : result;
}

export class Approximate {
  static reciprocal(b: u32): u32 {
    return approximate(b, false);
  }
  static reciprocalRoot(b: u32): u32 {
    return approximate(b, true);
  }
  private static all(b: v128, isRoot: bool): v128 {
    store<v128>(CPU + B, b);
    for (let i: usize = 0; i < 16; i += 4)
      store<u32>(CPU + B + i, approximate(load<u32>(CPU + B + i), isRoot));
    return load<v128>(CPU + B);
  }
  static reciprocals(b: v128): v128 {
    return Approximate.all(b, false);
  }
  static reciprocalRoots(b: v128): v128 {
    return Approximate.all(b, true);
  }
}

/**
 * The forms that MMX, SSE and AVX instructions share: from an operation on 128-bit values, as text, to the rule of a row.
 *
 * Legacy encodings replace the first operand and leave bits 255:128 alone; VEX encodings have a destination of their own and
 * clear what they do not write; with VEX.L = 1 most instructions do the same in both halves.
 */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";

/** An operation on values: expressions of type v128. */
export type Unary = (b: string) => string;
export type Binary = (a: string, b: string) => string;

export const IMM = "<u32>Op.imm<u8>(record)";
const FIRST_VEX_MAP = 4;

export const isVex = (row: Row): boolean => row.map >= FIRST_VEX_MAP;
export const isMmx = (row: Row): boolean =>
  row.operands.some(({ method }) => method === "P" || method === "N");

const LOADS: Readonly<Record<number, readonly [type: string, value: string]>> = {
  1: ["u8", "i8x16.replace_lane(i64x2.splat(0), 0, load<i8>(at))"],
  2: ["u16", "i16x8.replace_lane(i64x2.splat(0), 0, load<i16>(at))"],
  4: ["u32", "v128.load32_zero(at)"],
  8: ["u64", "v128.load64_zero(at)"],
  16: ["v128", "load<v128>(at)"],
};

/**
 * Makes `at` the place of an operand of `bytes` bytes to be read. By a call: the check of the TLB in place of it would make the
 * hundreds of handlers too large.
 */
export function reads(bytes: number, aligned = false): string {
  return `const at = Memory.read${bytes}${aligned ? "Aligned" : ""}(record); if (at == 0) return;`;
}

/** Makes `at` the place of an operand of `bytes` bytes to be stored to, likewise. */
export function stores(bytes: number, aligned = false): string {
  return `const at = Memory.store${bytes}${aligned ? "Aligned" : ""}(record); if (at == 0) return;`;
}

/** `reads(8)` or `stores(8)` of an instruction that raises no #AC. */
export const unaligned = (access: string): string => access.replace("8(record)", "8Unaligned(record)");

/** The same with the check in place, for what programs do most: moves. */
export const readsInPlace = (bytes: number, aligned: boolean): string => inPlace("read", bytes, aligned);
export const storesInPlace = (bytes: number, aligned: boolean): string => inPlace("write", bytes, aligned);

function inPlace(kind: "read" | "write", bytes: number, aligned: boolean): string {
  const method = kind === "read" ? "readable" : "storable";
  const address = `Address.for${kind === "read" ? "Read" : "Write"}${aligned ? "Aligned" : ""}(record, ${bytes})`;
  const access = bytes === 32 ? `${method}32` : `${method}<${LOADS[bytes]![0]}>`;
  return `const at = Linear.${access}(${address}); if (at == 0) return;`;
}

/** The value at `at`, zero-extended to a vector. */
export const loaded = (bytes: number): string => LOADS[bytes]![1];

const SIZES: Readonly<Record<string, number>> = { b: 1, w: 2, d: 4, q: 8, dq: 16, x: 16, qq: 32 };

/** Bytes of the row's memory operand with VEX.L = 0. */
export function memoryBytes(row: Row): number {
  const operand = row.operands.find(({ method }) => ["W", "M", "Q", "E"].includes(method));
  return SIZES[operand?.memoryType ?? "dq"] ?? 16;
}

const set = (row: Row, value: string): string =>
  isMmx(row)
    ? `Mmx.set(record, ${value});`
    : isVex(row)
      ? `Vec.setVex(record, ${value});`
      : `Vec.set(record, ${value});`;

/** destination = f(second operand), lane by lane. */
export function unary(row: Row, f: Unary): Rule {
  return binary(row, (_, b) => f(b));
}

/** destination = f(first, second), lane by lane: both halves of YMM registers alike. */
export function binary(row: Row, f: Binary): Rule {
  const bytes = Math.min(memoryBytes(row), 16);
  const source = isMmx(row) ? "Mmx.src(record)" : "Vec.src(record)";
  const first = isMmx(row) ? "Mmx.dst(record)" : isVex(row) ? "Vec.h(record)" : "Vec.dst(record)";
  const low: Rule = {
    register: set(row, f(first, source)),
    memory: `${reads(bytes, !isVex(row) && bytes === 16)} ${set(row, f(first, loaded(bytes)))}`,
  };
  if (!isVex(row)) return low;
  return {
    ...low,
    register256: `Vec.setWide(record, ${f("Vec.h(record)", "Vec.src(record)")}, ${f("Vec.hHigh(record)", "Vec.srcHigh(record)")});`,
    memory256: `${reads(32)} Vec.setWide(record, ${f("Vec.h(record)", "load<v128>(at)")}, ${f("Vec.hHigh(record)", "load<v128>(at, 16)")});`,
  };
}

/** As `binary`, with a 128-bit second operand for both halves: shifts by a register. */
export function byCount(row: Row, f: Binary): Rule {
  const rule = binary(row, f);
  if (!isVex(row)) return rule;
  return {
    ...rule,
    register256: `Vec.setWide(record, ${f("Vec.h(record)", "Vec.src(record)")}, ${f("Vec.hHigh(record)", "Vec.src(record)")});`,
    memory256: `${reads(16)} Vec.setWide(record, ${f("Vec.h(record)", "load<v128>(at)")}, ${f("Vec.hHigh(record)", "load<v128>(at)")});`,
  };
}

/** The register operand that is shifted by an immediate: the only one, or with VEX the second. */
export function byImmediate(row: Row, f: Unary): Rule {
  const first = isMmx(row) ? "Mmx.dst(record)" : isVex(row) ? "Vec.src(record)" : "Vec.dst(record)";
  return {
    register: set(row, f(first)),
    register256: `Vec.setWide(record, ${f("Vec.src(record)")}, ${f("Vec.srcHigh(record)")});`,
  };
}

/** destination = f(first, second) on one part of a register; VEX.L is ignored. `f` gives the whole new value. */
export function scalar(row: Row, f: Binary): Rule {
  const rule = binary(row, f);
  if (!isVex(row)) return rule;
  const { register, memory } = rule as Required<Pick<Rule, "register" | "memory">>;
  return { register, memory, register256: register, memory256: memory };
}

/** The same statements for both vector lengths. */
export const anyLength = (rule: Rule): Rule => ({
  ...rule,
  ...(rule.register !== undefined && { register256: rule.register }),
  ...(rule.memory !== undefined && { memory256: rule.memory }),
});

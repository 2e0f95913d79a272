/**
 * Single and double precision against exact rational arithmetic with BigInt: results and exceptions in every rounding, with and without
 * DAZ and FTZ. NaNs, conversions and unmasked exceptions are held to silicon by test/silicon.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { planMemory } from "../../../../../layout/memory-map.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";
import { Random, randomTestSettings } from "../../../../support/random.ts";

const { seed, cases } = randomTestSettings({ seed: 5, cases: 4000 });

/** Numbers of emulator/core/testing-float.ts. */
const OPERATIONS = ["add", "sub", "mul", "div", "sqrt", "fma"] as const;
type Operation = (typeof OPERATIONS)[number];
const CASE_BYTES = 40;
const RESULT_BYTES = 16;

const [DE, ZE, OE, UE, PE] = [2, 4, 8, 16, 32];
const MASKED = 0x3f;
const DAZ = 0x40;
const FTZ = 0x8000;

interface Format {
  readonly name: string;
  readonly number: number;
  readonly bits: bigint;
  readonly fraction: bigint;
  readonly bias: bigint;
}
const FORMATS: readonly Format[] = [
  { name: "single", number: 0, bits: 32n, fraction: 23n, bias: 127n },
  { name: "double", number: 1, bits: 64n, fraction: 52n, bias: 1023n },
];

/** A sign and an exact magnitude, numerator / denominator. */
interface Exact {
  readonly negative: boolean;
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const maxField = (format: Format): bigint => 2n * format.bias + 1n;
const fieldOf = (format: Format, bits: bigint): bigint => (bits >> format.fraction) & maxField(format);
const fractionOf = (format: Format, bits: bigint): bigint => bits & ((1n << format.fraction) - 1n);
const isDenormal = (format: Format, bits: bigint): boolean =>
  fieldOf(format, bits) === 0n && fractionOf(format, bits) !== 0n;

/** The exact value of a finite number. */
function exactOf(format: Format, bits: bigint): Exact {
  const field = fieldOf(format, bits);
  const significand = fractionOf(format, bits) | (field === 0n ? 0n : 1n << format.fraction);
  const shift = (field === 0n ? 1n : field) - format.bias - format.fraction;
  return {
    negative: bits >> (format.bits - 1n) === 1n,
    numerator: shift > 0n ? significand << shift : significand,
    denominator: shift > 0n ? 1n : 1n << -shift,
  };
}

const signed = ({ negative, numerator }: Exact): bigint => (negative ? -numerator : numerator);

/** a + b; the sign of an exact zero follows the rounding. */
function sumOf(a: Exact, b: Exact, rounding: number): Exact {
  const value = signed(a) * b.denominator + signed(b) * a.denominator;
  const zeroSign =
    a.numerator === 0n && b.numerator === 0n && a.negative === b.negative ? a.negative : rounding === 1;
  return {
    negative: value === 0n ? zeroSign : value < 0n,
    numerator: value < 0n ? -value : value,
    denominator: a.denominator * b.denominator,
  };
}

const productOf = (a: Exact, b: Exact): Exact => ({
  negative: a.negative !== b.negative,
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
});

/** ⌊√value⌋. */
function rootOf(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Rounds to a format: the bits and OE, UE, PE. */
function round(
  format: Format,
  rounding: number,
  flushes: boolean,
  exact: Exact,
): { bits: bigint; flags: number } {
  const { negative, numerator, denominator } = exact;
  const signBit = negative ? 1n << (format.bits - 1n) : 0n;
  if (numerator === 0n) return { bits: signBit, flags: 0 };
  let exponent = BigInt(numerator.toString(2).length - denominator.toString(2).length);
  const isBelow = (power: bigint): boolean =>
    power >= 0n ? numerator < denominator << power : numerator << -power < denominator;
  if (isBelow(exponent)) exponent--;
  /** To a multiple of 2^unit: the multiple, and whether it is exact. */
  const toMultiple = (unit: bigint): [multiple: bigint, isExact: boolean] => {
    const top = unit > 0n ? numerator : numerator << -unit;
    const bottom = unit > 0n ? denominator << unit : denominator;
    const whole = top / bottom;
    const twice = 2n * (top - whole * bottom);
    const up = [twice > bottom || (twice === bottom && whole % 2n === 1n), negative, !negative, false][
      rounding
    ]!;
    return [twice !== 0n && up ? whole + 1n : whole, twice === 0n];
  };
  const smallest = 1n - format.bias;
  const [free] = toMultiple(exponent - format.fraction);
  const isTiny =
    exponent < smallest - 1n || (exponent === smallest - 1n && free < 1n << (format.fraction + 1n));
  if (isTiny && flushes) return { bits: signBit, flags: UE | PE };
  const unit = (exponent < smallest ? smallest : exponent) - format.fraction;
  const [multiple, isExact] = toMultiple(unit);
  const magnitude = multiple + ((unit + format.fraction - smallest) << format.fraction);
  const infinity = maxField(format) << format.fraction;
  if (magnitude >= infinity) {
    const isInfinite = [true, negative, !negative, false][rounding]!;
    return { bits: signBit | (isInfinite ? infinity : infinity - 1n), flags: OE | PE };
  }
  return { bits: signBit | magnitude, flags: isExact ? 0 : isTiny ? UE | PE : PE };
}

/** Bits behind the point of a root: enough that truncation is never taken for a tie or an exact result. */
const ROOT_BITS = 2400n;

function expected(
  format: Format,
  operation: Operation,
  control: number,
  operands: readonly bigint[],
): { bits: bigint; flags: number } {
  const rounding = (control >> 10) & 3;
  const used = operands.slice(0, operation === "sqrt" ? 1 : operation === "fma" ? 3 : 2);
  const isZeroed = (bits: bigint): boolean => (control & DAZ) !== 0 && isDenormal(format, bits);
  const taken = used.map((bits) => (isZeroed(bits) ? bits & (1n << (format.bits - 1n)) : bits));
  const denormal = taken.some((bits) => isDenormal(format, bits)) ? DE : 0;
  const [a, b, c] = taken.map((bits) => exactOf(format, bits));
  const finish = (exact: Exact): { bits: bigint; flags: number } => {
    const result = round(format, rounding, (control & FTZ) !== 0, exact);
    return { bits: result.bits, flags: result.flags | denormal };
  };
  switch (operation) {
    case "add":
      return finish(sumOf(a!, b!, rounding));
    case "sub":
      return finish(sumOf(a!, { ...b!, negative: !b!.negative }, rounding));
    case "mul":
      return finish(productOf(a!, b!));
    case "fma":
      return finish(sumOf(productOf(a!, b!), c!, rounding));
    case "div": {
      if (b!.numerator === 0n) {
        const sign = a!.negative !== b!.negative ? 1n << (format.bits - 1n) : 0n;
        return { bits: sign | (maxField(format) << format.fraction), flags: ZE };
      }
      return finish(productOf(a!, { ...b!, numerator: b!.denominator, denominator: b!.numerator }));
    }
    case "sqrt": {
      const scaled = (a!.numerator << (2n * ROOT_BITS)) / a!.denominator;
      const root = rootOf(scaled);
      // A last bit that says "and more" where the root does not end.
      const rest =
        root * root === scaled && (a!.numerator << (2n * ROOT_BITS)) % a!.denominator === 0n ? 0n : 1n;
      return finish({ negative: a!.negative, numerator: 2n * root + rest, denominator: 2n << ROOT_BITS });
    }
  }
}

/** A finite number: edges of exponent and fraction as often as random ones. */
function operand(random: Random, format: Format): bigint {
  const edge = [0n, 0n, 1n, 2n, maxField(format) - 1n, format.bias, format.bias - 1n, format.bias + 1n];
  const field = random.chance(50) ? random.pick(edge) : BigInt(random.below(Number(maxField(format))));
  const bits = (BigInt(random.next()) << 32n) | BigInt(random.next());
  const all = (1n << format.fraction) - 1n;
  const fraction = random.pick([
    0n,
    1n,
    all,
    all - 1n,
    all >> 1n,
    (all >> 1n) + 1n,
    bits & all,
    bits & all,
    (bits & all) >> 20n,
  ]);
  return (BigInt(random.below(2)) << (format.bits - 1n)) | (field << format.fraction) | fraction;
}

let calculate: (
  inputs: readonly { operation: Operation; format: Format; control: number; operands: readonly bigint[] }[],
) => {
  bits: bigint;
  flags: number;
}[];

beforeAll(async () => {
  const plan = planMemory({ cpus: 1, ramBytes: 4 << 20, stateBytes: 65536, recordBytes: 1 << 20 });
  const memory = new WebAssembly.Memory({ initial: 2048, maximum: 65536, shared: true });
  const module = await buildCore("emulator/core/testing-float.ts");
  const env = { memory, CPU: plan.cpuBase, abort: () => undefined };
  const { exports } = await WebAssembly.instantiate(module, { env });
  const run = exports["calculateMany"] as (input: number, count: number, output: number) => void;
  const view = new DataView(memory.buffer);
  calculate = (inputs) => {
    const from = plan.ramBase;
    const to = from + inputs.length * CASE_BYTES;
    inputs.forEach(({ operation, format, control, operands }, i) => {
      const at = from + i * CASE_BYTES;
      view.setUint32(at, OPERATIONS.indexOf(operation), true);
      view.setUint32(at + 4, format.number, true);
      view.setUint32(at + 8, control, true);
      operands.forEach((value, k) => view.setBigUint64(at + 16 + 8 * k, value, true));
    });
    run(from, inputs.length, to);
    return inputs.map((_, i) => ({
      bits: view.getBigUint64(to + i * RESULT_BYTES, true),
      flags: view.getUint32(to + i * RESULT_BYTES + 8, true),
    }));
  };
}, BUILD_TIMEOUT);

const isInvalid = (
  operation: Operation,
  format: Format,
  control: number,
  [a, b]: readonly bigint[],
): boolean => {
  const magnitude = (bits: bigint): bigint => {
    const value = bits & ((1n << (format.bits - 1n)) - 1n);
    return (control & DAZ) !== 0 && isDenormal(format, bits) ? 0n : value;
  };
  if (operation === "div") return magnitude(a!) === 0n && magnitude(b!) === 0n;
  return operation === "sqrt" && a! >> (format.bits - 1n) === 1n && magnitude(a!) !== 0n;
};

describe.each(FORMATS)("$name precision", (format) => {
  test.each(OPERATIONS)("%s", (operation) => {
    const random = new Random(seed);
    const inputs = Array.from({ length: operation === "sqrt" ? cases / 8 : cases }, () => ({
      operation,
      format,
      control:
        MASKED | (random.below(4) << 10) | (random.chance(30) ? DAZ : 0) | (random.chance(30) ? FTZ : 0),
      operands: [operand(random, format), operand(random, format), operand(random, format)],
    })).filter(({ control, operands }) => !isInvalid(operation, format, control, operands));
    expect(inputs.length).toBeGreaterThan(100);
    const wrong: string[] = [];
    calculate(inputs).forEach(({ bits, flags }, i) => {
      const { control, operands } = inputs[i]!;
      const wanted = expected(format, operation, control, operands);
      if (bits !== wanted.bits || flags !== wanted.flags)
        wrong.push(
          `${operands.map((value) => value.toString(16)).join(" ")} control ${control.toString(16)}: ` +
            `${bits.toString(16)} ${flags.toString(16)}, exact ${wanted.bits.toString(16)} ${wanted.flags.toString(16)}`,
        );
    });
    expect(wrong.slice(0, 10)).toEqual([]);
  });
});

/**
 * The transcendental instructions against functions computed with hundreds of bits: half a unit of the last place when rounding to
 * nearest, one unit in the other roundings; on the processor at hand, what its maker's manual promises.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { BUILD_TIMEOUT, buildCore } from "../../support/build-core.ts";
import { Random, randomTestSettings } from "../../support/random.ts";
import { canRunNative } from "../native-core.ts";
import type { Extended, X87Form, X87Input, X87Outcome } from "./case.ts";
import { showExtended } from "./compare.ts";
import { X87Core } from "./core.ts";
import { TRANSCENDENTAL_FORMS } from "./forms.ts";
import { buildX87Harness, runX87Native } from "./native.ts";
import { errorInUlps, exactResults } from "./reference.ts";

const { seed, cases } = randomTestSettings({ seed: 20, cases: 150 });
const BIAS = 16383;
const TOP_BIT = 1n << 63n;
/** ST(0) is R6 and ST(1) is R7. */
const TOP = 6;

const random64 = (random: Random): bigint => (BigInt(random.next()) << 32n) | BigInt(random.next());

/** A number with an exponent from `low` to below `high`, and a significand that is often simple or near a power of two. */
function number(random: Random, low: number, high: number, isSigned = true): Extended {
  const kind = random.below(10);
  const bits = random64(random);
  const fraction =
    kind < 2 ? bits >> 40n : kind < 4 ? bits & ~0xffffffffffn : kind < 5 ? ~(bits >> 30n) : bits;
  return {
    exponent: (isSigned && random.chance(50) ? 0x8000 : 0) | (BIAS + low + random.below(high - low)),
    significand: BigInt.asUintN(64, fraction | TOP_BIT),
  };
}

/** ST(0) and ST(1) in the instruction's domain. */
function operands(random: Random, mnemonic: string): [st0: Extended, st1: Extended] {
  const isWide = random.chance(30);
  const other = number(random, -20, 20);
  if (mnemonic === "F2XM1") return [number(random, isWide ? -70 : -5, 0), other];
  if (mnemonic === "FYL2X") {
    if (isWide) return [number(random, -16000, 16000, false), other];
    return [number(random, -2, 2, false), other];
  }
  if (mnemonic === "FYL2XP1") return [number(random, isWide ? -70 : -6, -2), other];
  if (mnemonic === "FPATAN") {
    const reach = isWide ? 60 : 4;
    return [number(random, -reach, reach), number(random, -reach, reach)];
  }
  return [isWide ? number(random, -70, 63) : number(random, -4, 6), other];
}

function inputOf(form: X87Form, random: Random, rounding: number): X87Input {
  const zero = { exponent: 0, significand: 0n };
  return {
    code: Uint8Array.of(form.row.opcode, form.row.modrm!.value),
    control: 0x37f | (rounding << 10),
    status: TOP << 11,
    tag: 0xc0,
    rflags: 0,
    rax: 0n,
    registers: [zero, zero, zero, zero, zero, zero, ...operands(random, form.row.mnemonic)],
    operand: new Uint8Array(32),
  };
}

/** Registers that hold the results, in the reference's order. */
function resultsOf(mnemonic: string, outcome: X87Outcome): Extended[] {
  const places = mnemonic === "FSINCOS" ? [6, 5] : /^FYL2X|^FPATAN/.test(mnemonic) ? [7] : [6];
  return places.map((place) => outcome.registers[place]!);
}

/** The largest error of `run`, and results whose error is above `limit`, as text. */
function measure(
  form: X87Form,
  rounding: number,
  limit: number,
  run: (inputs: readonly X87Input[]) => readonly X87Outcome[],
): string[] {
  const { mnemonic } = form.row;
  const random = new Random(seed + rounding);
  const inputs = Array.from({ length: cases }, () => inputOf(form, random, rounding));
  const wrong: string[] = [];
  run(inputs).forEach((outcome, i) => {
    const [st0, st1] = [inputs[i]!.registers[TOP]!, inputs[i]!.registers[TOP + 1]!];
    const exact = exactResults(mnemonic, st0, st1);
    resultsOf(mnemonic, outcome).forEach((result, k) => {
      const error = errorInUlps(result, exact[k]!);
      if (!(error <= limit))
        wrong.push(
          `${mnemonic} ${showExtended(st0)} ${showExtended(st1)}: ${showExtended(result)} is off by ${error} ulp`,
        );
    });
  });
  return wrong;
}

test("the reference knows what it computes", () => {
  const one = { exponent: BIAS, significand: TOP_BIT };
  const value = ({ value, bits }: { value: bigint; bits: bigint }): number =>
    Number((value << 60n) >> bits) / 2 ** 60;
  expect(value(exactResults("FSIN", one, one)[0]!)).toBeCloseTo(Math.sin(1), 14);
  expect(value(exactResults("FCOS", one, one)[0]!)).toBeCloseTo(Math.cos(1), 14);
  expect(value(exactResults("FPTAN", one, one)[0]!)).toBeCloseTo(Math.tan(1), 14);
  expect(value(exactResults("FPATAN", one, one)[0]!)).toBeCloseTo(Math.PI / 4, 14);
  expect(value(exactResults("F2XM1", { ...one, exponent: BIAS - 1 }, one)[0]!)).toBeCloseTo(
    Math.SQRT2 - 1,
    14,
  );
  expect(value(exactResults("FYL2X", { ...one, significand: 3n << 62n }, one)[0]!)).toBeCloseTo(
    Math.log2(1.5),
    14,
  );
  expect(value(exactResults("FYL2XP1", { ...one, exponent: BIAS - 1 }, one)[0]!)).toBeCloseTo(
    Math.log2(1.5),
    14,
  );
  expect(errorInUlps({ exponent: BIAS, significand: TOP_BIT + 2n }, { value: 1n, bits: 0n })).toBe(2);
});

describe.each(TRANSCENDENTAL_FORMS)("$row.mnemonic", (form) => {
  let core: X87Core;

  beforeAll(async () => {
    core = new X87Core(await buildCore("emulator/core/index.ts"));
  }, BUILD_TIMEOUT);

  test("to nearest is within half a unit of the last place", () => {
    expect(measure(form, 0, 0.5, (inputs) => inputs.map((input) => core.run(input)))).toEqual([]);
  });

  test("down, up and to zero are within one unit", () => {
    for (const rounding of [1, 2, 3])
      expect(measure(form, rounding, 1, (inputs) => inputs.map((input) => core.run(input)))).toEqual([]);
  });

  test.skipIf(!canRunNative())("on this processor is within one unit", () => {
    const harness = buildX87Harness();
    expect(measure(form, 0, 1, (inputs) => runX87Native(harness, inputs))).toEqual([]);
  });
});

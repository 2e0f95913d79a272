/** x87 instructions against silicon: every recorded case on our core, and on the processor at hand where there is a compiler. */
import { beforeAll, describe, expect, test } from "vitest";
import { X87_ROWS } from "../../../emulator/isa/x87.ts";
import { BUILD_TIMEOUT, buildCore } from "../../support/build-core.ts";
import { canRunNative, thisProcessor } from "../native-core.ts";
import type { X87Form, X87Outcome } from "./case.ts";
import { compareTranscendental, compareX87, describeX87 } from "./compare.ts";
import { X87Core } from "./core.ts";
import { loadX87Corpus } from "./corpus.ts";
import { TRANSCENDENTAL } from "./forms.ts";
import { buildX87Harness, runX87Native } from "./native.ts";

const { header, cases } = loadX87Corpus();

const differences = (form: X87Form, expected: X87Outcome, actual: X87Outcome): string[] =>
  TRANSCENDENTAL.has(form.row.mnemonic)
    ? compareTranscendental(expected, actual)
    : compareX87(expected, actual);

describe("our core", () => {
  let core: X87Core;

  beforeAll(async () => {
    core = new X87Core(await buildCore("emulator/core/index.ts"));
  }, BUILD_TIMEOUT);

  test("does what silicon did, in every case", () => {
    const wrong: string[] = [];
    for (const { form, input, outcome } of cases) {
      const found = differences(form, outcome, core.run(input));
      if (found.length > 0) wrong.push(`${describeX87(form.key, input)}: ${found.join("; ")}`);
    }
    expect(wrong.slice(0, 10)).toEqual([]);
  });
});

describe("the corpus", () => {
  test("has every x87 row but the images, 30,000 cases and more", () => {
    const images = ["FNSTENV", "FLDENV", "FNSAVE", "FRSTOR"];
    const rows = X87_ROWS.filter((row) => !images.includes(row.mnemonic)).map((row) => row.id);
    expect([...header.forms].sort()).toEqual(rows.sort());
    expect(cases.length).toBeGreaterThanOrEqual(30_000);
  });

  test("has every exception, masked and unmasked, every rounding and precision, and pending exceptions", () => {
    for (let bit = 0; bit < 6; bit++)
      for (const isMasked of [true, false])
        expect(
          cases.some(
            ({ input, outcome }) =>
              ((outcome.status & ~input.status) >> bit) % 2 === 1 &&
              ((input.control >> bit) & 1) === (isMasked ? 1 : 0),
          ),
        ).toBe(true);
    for (let field = 0; field < 16; field++)
      expect(cases.some(({ input }) => ((input.control >> 8) & 15) === field)).toBe(true);
    expect(cases.filter(({ outcome }) => outcome.isFaulted).length).toBeGreaterThan(100);
  });

  test("is compared by a comparison that notices errors", () => {
    const { outcome } = cases.find((one) => one.form.row.mnemonic === "FADD" && one.outcome.tag === 0xff)!;
    const changed = (change: Partial<X87Outcome>): string[] => compareX87(outcome, { ...outcome, ...change });
    expect(changed({})).toEqual([]);
    expect(changed({ status: outcome.status ^ 1 })[0]).toMatch(/status/);
    expect(changed({ rflags: outcome.rflags ^ 1 })[0]).toMatch(/rflags/);
    expect(changed({ isFaulted: true })[0]).toMatch(/#MF/);
    const registers = outcome.registers.map((one, i) =>
      i === 3 ? { ...one, significand: one.significand ^ 1n } : one,
    );
    expect(changed({ registers })[0]).toMatch(/R3/);
  });

  test.skipIf(!canRunNative() || thisProcessor().processor.vendor !== header.processor.vendor)(
    "is what this processor does",
    () => {
      const inputs = cases.map(({ input }) => input);
      const wrong: string[] = [];
      runX87Native(buildX87Harness(), inputs).forEach((actual, i) => {
        const { form, input, outcome } = cases[i]!;
        const found = differences(form, outcome, actual);
        if (found.length > 0) wrong.push(`${describeX87(form.key, input)}: ${found.join("; ")}`);
      });
      expect(wrong.slice(0, 10)).toEqual([]);
    },
  );
});

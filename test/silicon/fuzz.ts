/**
 * Random single instructions on the processor at hand and on our core, without end or to a number of cases:
 * `node test/silicon/fuzz.mjs [--cases N] [--seed N] [SUITE…]`. Progress on stderr; mismatches in words, and then a line of JSON
 * with the counts, on stdout. Status 1 when there was a mismatch.
 */
import { parseArgs } from "node:util";
import { buildCore } from "../support/build-core.ts";
import { makeCase } from "./cases.ts";
import { CORPUS_VERSION } from "./corpus.ts";
import { CoreUnderTest } from "./core-under-test.ts";
import { buildHarness, runNative, thisProcessor } from "./native-core.ts";
import { inputsDigest, replay } from "./replay.ts";
import { SUITES } from "./suites.ts";

/** Cases of a form in one round: a harness process's work, some seconds. */
const ROUND = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cases: { type: "string", default: "1000000" }, seed: { type: "string", default: "2" } },
});
const wanted = Number(values.cases);
const firstSeed = Number(values.seed);
if (!(wanted > 0) || !Number.isInteger(firstSeed)) throw new Error("--cases N and --seed N must be numbers");
const suites = SUITES.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
if (suites.length === 0)
  throw new Error(`no such suite; there are ${SUITES.map(({ name }) => name).join(", ")}`);

const module = await buildCore("emulator/core/index.ts");
const harness = buildHarness();
const { processor } = thisProcessor();
const totals = { cases: 0, compared: 0, listed: 0, skipped: 0, mismatches: 0 };
const bySuite: Record<string, number> = {};
for (let seed = firstSeed; totals.cases < wanted; seed++)
  for (const suite of suites) {
    if (totals.cases >= wanted) break;
    const forms = suite.forms();
    const cases = forms.flatMap((form) =>
      Array.from({ length: ROUND }, (_, i) => ({ form, input: makeCase(seed, form, i) })),
    );
    const inputs = cases.map(({ input }) => input);
    const outcomes = runNative(harness, inputs);
    const header = {
      version: CORPUS_VERSION,
      mode: suite.mode,
      seed,
      casesPerForm: ROUND,
      processor,
      inputs: inputsDigest(inputs),
      forms: forms.map(({ key }) => key),
    };
    const corpus = { header, cases: cases.map((one, i) => ({ ...one, outcome: outcomes[i]! })) };
    const result = replay(new CoreUnderTest(module), corpus);
    totals.cases += inputs.length;
    totals.compared += result.compared;
    totals.listed += result.listed;
    totals.skipped += result.skipped;
    totals.mismatches += result.mismatchCount;
    bySuite[suite.name] = (bySuite[suite.name] ?? 0) + inputs.length;
    for (const mismatch of result.mismatches) console.log(`${suite.name}, seed ${seed}: ${mismatch}`);
    process.stderr.write(
      `[${totals.cases}/${wanted}] ${suite.name}, seed ${seed}: ${totals.mismatches} mismatches\n`,
    );
  }
console.log(JSON.stringify({ processor, firstSeed, ...totals, bySuite }));
process.exitCode = totals.mismatches === 0 ? 0 : 1;

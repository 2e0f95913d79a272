/**
 * Random single instructions on the processor at hand and on our core, to a number of cases:
 * `node test/silicon/fuzz.mjs [--cases N] [--seed N] [SUITE…]`. Progress on stderr; mismatches in words, and then a line of JSON
 * with the counts, on stdout. Status 1 when there was a mismatch.
 *
 * The harness works on one batch while this process makes the next one and compares the one before.
 */
import { parseArgs } from "node:util";
import { buildCore } from "../support/build-core.ts";
import type { CaseOutcome } from "./case.ts";
import { makeCase } from "./cases.ts";
import { CoreUnderTest } from "./core-under-test.ts";
import { buildHarness, runNative, startNative, thisProcessor } from "./native-core.ts";
import { replay, type Recording } from "./replay.ts";
import { SUITES, type Suite } from "./suites.ts";

/** Cases of a form in one batch, at least; suites of few forms have more, up to so many cases. */
const CASES_PER_FORM = 30;
const BATCH = 10_000;

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

const core = new CoreUnderTest(await buildCore("emulator/core/index.ts"));
const harness = buildHarness();
const { processor } = thisProcessor();
const totals = { cases: 0, compared: 0, listed: 0, skipped: 0, mismatches: 0 };
const bySuite: Record<string, number> = {};
const start = performance.now();

interface Batch {
  readonly suite: Suite;
  readonly seed: number;
  readonly cases: readonly Omit<Recording["cases"][number], "outcome">[];
  readonly outcomes: Promise<CaseOutcome[]>;
}

const formsOf = new Map(suites.map((suite) => [suite, suite.forms()]));

function startBatch(suite: Suite, seed: number): Batch {
  const forms = formsOf.get(suite)!;
  const count = Math.max(CASES_PER_FORM, Math.ceil(BATCH / forms.length));
  const cases = forms.flatMap((form) =>
    Array.from({ length: count }, (_, i) => ({ form, input: makeCase(seed, form, i) })),
  );
  const inputs = cases.map(({ input }) => input);
  return { suite, seed, cases, outcomes: startNative(harness, inputs) };
}

async function finishBatch({ suite, seed, cases, outcomes }: Batch): Promise<void> {
  const did = await outcomes;
  const recording = {
    header: { mode: suite.mode, processor },
    cases: cases.map(({ form, input }, i) => ({ form, input, outcome: did[i]! })),
  };
  const result = replay(core, recording, { runAgain: (input) => runNative(harness, [input])[0]! });
  totals.cases += cases.length;
  totals.compared += result.compared;
  totals.listed += result.listed;
  totals.skipped += result.skipped;
  totals.mismatches += result.mismatchCount;
  bySuite[suite.name] = (bySuite[suite.name] ?? 0) + cases.length;
  for (const mismatch of result.mismatches) console.log(`${suite.name}, seed ${seed}: ${mismatch}`);
  const rate = Math.round((1000 * totals.cases) / (performance.now() - start));
  process.stderr.write(
    `[${totals.cases}/${wanted}] ${suite.name}, seed ${seed}: ${totals.mismatches} mismatches, ${rate} cases/s\n`,
  );
}

let running: Batch | undefined;
let begun = 0;
for (let seed = firstSeed; begun < wanted; seed++)
  for (const suite of suites) {
    if (begun >= wanted) break;
    const next = startBatch(suite, seed);
    begun += next.cases.length;
    if (running) await finishBatch(running);
    running = next;
  }
if (running) await finishBatch(running);
console.log(JSON.stringify({ processor, firstSeed, ...totals, bySuite }));
process.exitCode = totals.mismatches === 0 ? 0 : 1;

/**
 * Records the corpora on the processor at hand: `node test/silicon/record.mjs [NAME…]`, all of them or those named. Takes some
 * seconds each; overwrites the files.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeCase } from "./cases.ts";
import { CORPUS_VERSION, encodeCorpus } from "./corpus.ts";
import { buildHarness, runNative, thisProcessor } from "./native-core.ts";
import { corpusFile, inputsDigest } from "./replay.ts";
import { SUITES, type Suite } from "./suites.ts";
import { recordX87 } from "./x87/record.ts";

const SEED = 1;

function record(harness: string, suite: Suite): void {
  const forms = suite.forms();
  const inputs = forms.flatMap((form) =>
    Array.from({ length: suite.casesPerForm }, (_, i) => makeCase(SEED, form, i)),
  );
  const outcomes = runNative(harness, inputs);
  const header = {
    version: CORPUS_VERSION,
    mode: suite.mode,
    seed: SEED,
    casesPerForm: suite.casesPerForm,
    processor: thisProcessor().processor,
    inputs: inputsDigest(inputs),
    forms: forms.map((form) => form.key),
  };
  const bytes = encodeCorpus(header, inputs, outcomes);
  mkdirSync(dirname(corpusFile(suite)), { recursive: true });
  writeFileSync(corpusFile(suite), bytes);
  console.error(
    `${corpusFile(suite)}: ${inputs.length} cases of ${forms.length} forms, ${bytes.length} bytes`,
  );
}

const names = new Set(process.argv.slice(2));
const isWanted = (name: string): boolean => names.size === 0 || names.has(name);
const harness = buildHarness();
for (const suite of SUITES) if (isWanted(suite.name)) record(harness, suite);
if (isWanted("x87")) recordX87();

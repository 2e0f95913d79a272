/** Records the corpora on the processor at hand: `node test/silicon/record.mjs`. Takes some seconds; overwrites the files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeCase } from "./cases.ts";
import { CORPUS_VERSION, encodeCorpus } from "./corpus.ts";
import { MODE_16, MODE_64, MODE_COMPATIBILITY, type Mode } from "./environment.ts";
import { formsOf } from "./forms.ts";
import { buildHarness, runNative, thisProcessor } from "./native-core.ts";
import { corpusFile, inputsDigest } from "./replay.ts";
import { recordX87 } from "./x87/record.ts";

const SEED = 1;
const CASES_PER_FORM = 60;

function record(harness: string, mode: Mode): void {
  const forms = formsOf(mode);
  const inputs = forms.flatMap((form) =>
    Array.from({ length: CASES_PER_FORM }, (_, i) => makeCase(SEED, form, i)),
  );
  const outcomes = runNative(harness, inputs);
  const header = {
    version: CORPUS_VERSION,
    mode,
    seed: SEED,
    casesPerForm: CASES_PER_FORM,
    processor: thisProcessor().processor,
    inputs: inputsDigest(inputs),
    forms: forms.map((form) => form.key),
  };
  const bytes = encodeCorpus(header, inputs, outcomes);
  mkdirSync(dirname(corpusFile(mode)), { recursive: true });
  writeFileSync(corpusFile(mode), bytes);
  console.error(
    `${corpusFile(mode)}: ${inputs.length} cases of ${forms.length} forms, ${bytes.length} bytes`,
  );
}

// One corpus alone: node test/silicon/record.mjs x87
if (process.argv[2] === "x87") {
  recordX87();
  process.exit(0);
}
const harness = buildHarness();
record(harness, MODE_64);
record(harness, MODE_COMPATIBILITY);
record(harness, MODE_16);
recordX87();

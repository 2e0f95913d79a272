/** Records the x87 corpus on the processor at hand. */
import { writeFileSync } from "node:fs";
import { thisProcessor } from "../native-core.ts";
import {
  digestOfX87Inputs,
  encodeX87Corpus,
  X87_CORPUS_FILE,
  X87_CORPUS_VERSION,
  X87_FORMS,
  x87Inputs,
} from "./corpus.ts";
import { buildX87Harness, runX87NativeRaw } from "./native.ts";

const SEED = 1;
const CASES_PER_FORM = 240;

/** Overwrites the file. Takes some seconds. */
export function recordX87(): void {
  const inputs = x87Inputs(SEED, CASES_PER_FORM, X87_FORMS);
  const header = {
    version: X87_CORPUS_VERSION,
    seed: SEED,
    casesPerForm: CASES_PER_FORM,
    processor: thisProcessor().processor,
    inputs: digestOfX87Inputs(inputs),
    forms: X87_FORMS.map((form) => form.key),
  };
  const bytes = encodeX87Corpus(header, inputs, runX87NativeRaw(buildX87Harness(), inputs));
  writeFileSync(X87_CORPUS_FILE, bytes);
  console.error(
    `${X87_CORPUS_FILE}: ${inputs.length} cases of ${X87_FORMS.length} forms, ${bytes.length} bytes`,
  );
}

/**
 * The file of recorded x87 outcomes: a line of JSON and a newline, then Brotli-compressed outcomes, all cases of the first form, then of
 * the second, and so on. An outcome is as long as the harness's, with the input's state exclusive-ored in, so that what an instruction
 * leaves alone is zero.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import type { Processor } from "../native-core.ts";
import { type X87Form, type X87Input, type X87Outcome } from "./case.ts";
import { makeX87Case } from "./cases.ts";
import { EXACT_FORMS, TRANSCENDENTAL_FORMS } from "./forms.ts";
import { decodeX87Outcome, encodeX87Inputs, X87_OUTCOME_BYTES } from "./native.ts";

export const X87_CORPUS_FILE = "test/silicon/corpus/x87.bin";
export const X87_CORPUS_VERSION = 1;

export interface X87CorpusHeader {
  readonly version: number;
  /** Seed of the inputs (`cases.ts`). */
  readonly seed: number;
  readonly casesPerForm: number;
  readonly processor: Processor;
  /** SHA-256 of the inputs as the harness reads them: tells when the generator has changed. */
  readonly inputs: string;
  /** Keys of the forms, in the outcomes' order. */
  readonly forms: readonly string[];
}

export interface X87Case {
  readonly form: X87Form;
  readonly input: X87Input;
  readonly outcome: X87Outcome;
}

export const X87_FORMS: readonly X87Form[] = [...EXACT_FORMS, ...TRANSCENDENTAL_FORMS];

/** The inputs of a corpus, in its order. */
export function x87Inputs(seed: number, casesPerForm: number, forms: readonly X87Form[]): X87Input[] {
  return forms.flatMap((form) =>
    Array.from({ length: casesPerForm }, (_, number) => makeX87Case(seed, form, number)),
  );
}

export const digestOfX87Inputs = (inputs: readonly X87Input[]): string =>
  createHash("sha256").update(encodeX87Inputs(inputs)).digest("hex");

/** Offsets at which an outcome has what the input has elsewhere: [outcome, input, bytes]. */
const SHARED: readonly (readonly [outcome: number, input: number, bytes: number])[] = [
  [0, 16, 2],
  [2, 14, 2],
  [16, 20, 4],
  [24, 24, 8],
  [32, 32, 160],
];

/** Exclusive-ors inputs into outcomes of the same cases, and so in and out again. Pointers are left out. */
function mixInputs(outcomes: Uint8Array, inputs: readonly X87Input[]): Uint8Array {
  const encoded = encodeX87Inputs(inputs);
  const mixed = outcomes.slice();
  inputs.forEach((_, i) => {
    const at = i * X87_OUTCOME_BYTES;
    // Where the instruction and its operand were in the harness.
    mixed.fill(0, at + 8, at + 16);
    if (mixed[at + 20] !== 0) return;
    for (const [outcome, input, bytes] of SHARED)
      for (let k = 0; k < bytes; k++) mixed[at + outcome + k]! ^= encoded[i * X87_OUTCOME_BYTES + input + k]!;
  });
  return mixed;
}

/** The file's bytes. `outcomes` as the harness wrote them. */
export function encodeX87Corpus(
  header: X87CorpusHeader,
  inputs: readonly X87Input[],
  outcomes: Uint8Array,
): Uint8Array {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
  const compressed = brotliCompressSync(mixInputs(outcomes, inputs), { params });
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), compressed]);
}

/** Reads the corpus. Throws when it is of another version, or when its inputs are not those that are made now. */
export function loadX87Corpus(): { header: X87CorpusHeader; cases: readonly X87Case[] } {
  const bytes = readFileSync(X87_CORPUS_FILE);
  const end = bytes.indexOf(10);
  const header = JSON.parse(bytes.subarray(0, end).toString()) as X87CorpusHeader;
  if (header.version !== X87_CORPUS_VERSION)
    throw new Error(`x87 corpus: version ${header.version}, expected ${X87_CORPUS_VERSION}`);
  const byKey = new Map(X87_FORMS.map((form) => [form.key, form]));
  const forms = header.forms.map((key) => {
    const form = byKey.get(key);
    if (!form) throw new Error(`x87 corpus: no form ${key}`);
    return form;
  });
  const inputs = x87Inputs(header.seed, header.casesPerForm, forms);
  if (digestOfX87Inputs(inputs) !== header.inputs)
    throw new Error("x87 corpus: the inputs are not those that were recorded; record anew");
  const raw = mixInputs(new Uint8Array(brotliDecompressSync(bytes.subarray(end + 1))), inputs);
  const view = new DataView(raw.buffer);
  const cases = inputs.map((input, i) => ({
    form: forms[Math.floor(i / header.casesPerForm)]!,
    input,
    outcome: decodeX87Outcome(view, i * X87_OUTCOME_BYTES),
  }));
  return { header, cases };
}

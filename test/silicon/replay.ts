/**
 * Replays a silicon corpus against a core.
 *
 * The core's side is `SiliconCore`: load registers and memory, run one instruction, read back. `environment.ts` says
 * what else the core must be set up with (segments, paging, CPL 3).
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { CaseInput, CaseOutcome } from "./case.ts";
import { RSP } from "./encode.ts";
import { makeCase } from "./cases.ts";
import { decodeHeader, decodeOutcomes, type CorpusHeader } from "./corpus.ts";
import {
  CODE,
  COMPARED_RFLAGS,
  MODE_64,
  startRip,
  WINDOW,
  WINDOW_BYTES,
  windowPattern,
  type Mode,
} from "./environment.ts";
import type { Form } from "./forms.ts";
import { mediaParts } from "./media.ts";
import { encodeInputs } from "./native-core.ts";
import type { Suite } from "./suites.ts";
import { undefinedAfter, undefinedAfterFault, UNDEFINED_MEDIA, isMediaEqual } from "./undefined-results.ts";
import { ruleOf } from "../../emulator/isa/handlers.ts";
import { isVendorDifference } from "./vendor-differences.ts";

/** An exception that the core is about to deliver, or has delivered. */
export interface SiliconException {
  readonly vector: number;
  /** 0 for exceptions without an error code. */
  readonly error: number;
  /** CR2; only looked at for vector 14. */
  readonly cr2: bigint;
}

/** What a core under test offers. */
export interface SiliconCore {
  /** Puts the core into 64-bit or compatibility mode with the environment of `environment.ts`. Called once per corpus. */
  enter(mode: Mode): void;
  /** Writes bytes at a linear address of the code page or the window, as a debugger would: code caches must notice. */
  writeMemory(address: number, bytes: Uint8Array): void;
  /** The window's present content: a view or a copy of `WINDOW_BYTES` bytes. */
  window(): Uint8Array;
  setRegisters(gpr: BigUint64Array, rip: bigint, rflags: bigint): void;
  /**
   * Executes one instruction; of a repeated string instruction one iteration or all. On an exception the registers are
   * as the exception's handler would find them saved: RIP of a fault is the instruction's, of a trap the next one's.
   */
  step(): SiliconException | undefined;
  /** Sets x87, MMX, SSE and AVX state; the form is that of `media.ts`. */
  setMedia(image: Uint8Array): void;
  /** Present state. */
  media(): Uint8Array;
  /** Present registers; `gpr` is filled in. */
  registers(gpr: BigUint64Array): { readonly rip: bigint; readonly rflags: bigint };
}

const BEHIND_CODE = [0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b];

export interface Corpus {
  readonly header: CorpusHeader;
  readonly cases: readonly {
    readonly form: Form;
    readonly input: CaseInput;
    readonly outcome: CaseOutcome;
  }[];
}

export interface ReplayResult {
  /** Cases compared. */
  readonly compared: number;
  /** Cases whose row the core does not implement. */
  readonly skipped: number;
  /** Cases in the cited list of vendor differences. */
  readonly listed: number;
  readonly mismatchCount: number;
  /** The first mismatches, in words. */
  readonly mismatches: readonly string[];
}

export const corpusFile = (suite: Suite): string => `test/silicon/corpus/${suite.name}.bin`;

/** SHA-256 of inputs, as the header of a corpus has it. */
export const inputsDigest = (inputs: readonly CaseInput[]): string =>
  createHash("sha256").update(encodeInputs(inputs)).digest("hex");

/** Reads a committed corpus and makes its inputs anew. Throws when the table or the generator no longer gives the same ones. */
export function loadCorpus(suite: Suite): Corpus {
  const bytes = readFileSync(corpusFile(suite));
  const header = decodeHeader(bytes);
  const known = new Map(suite.forms().map((form) => [form.key, form]));
  const owners = header.forms.flatMap((key) => {
    const form = known.get(key);
    if (!form) throw new Error(`silicon corpus: the table has no form "${key}": record again`);
    return Array.from({ length: header.casesPerForm }, () => form);
  });
  const inputs = owners.map((form, i) => makeCase(header.seed, form, i % header.casesPerForm));
  if (inputsDigest(inputs) !== header.inputs)
    throw new Error("silicon corpus: the inputs have changed: record again");
  const outcomes = decodeOutcomes(bytes, inputs);
  return { header, cases: inputs.map((input, i) => ({ form: owners[i]!, input, outcome: outcomes[i]! })) };
}

const MAX_STEPS = 64;
const MAX_REPORTED = 20;
const REGISTER_NAMES = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split(" ");

/** A core with the window's pattern loaded, and the running of one case on it. */
class Runner {
  readonly #core: SiliconCore;
  readonly #pattern = windowPattern();
  readonly #gpr = new BigUint64Array(16);

  constructor(core: SiliconCore) {
    this.#core = core;
    core.writeMemory(WINDOW, this.#pattern);
  }

  run(input: CaseInput): CaseOutcome {
    const core = this.#core;
    core.writeMemory(WINDOW + input.pokeOffset, input.poke);
    if (input.image) core.writeMemory(WINDOW + input.image.offset, input.image.bytes);
    // As the harness does, with UD2 behind the instruction: its own operand may lie there.
    core.writeMemory(CODE, Uint8Array.of(...input.code, ...BEHIND_CODE));
    core.setRegisters(input.gpr, startRip(input.mode), input.rflags);
    if (input.media) core.setMedia(input.media);
    let exception = core.step();
    let after = core.registers(this.#gpr);
    for (
      let i = 1;
      input.isRepeated && !exception && after.rip === startRip(input.mode) && i < MAX_STEPS;
      i++
    ) {
      exception = core.step();
      after = core.registers(this.#gpr);
    }
    const changes = this.#changes(input);
    this.#restore(input, changes);
    return {
      vector: exception?.vector,
      error: exception?.error ?? 0,
      cr2: exception?.vector === 14 ? exception.cr2 : 0n,
      rip: after.rip,
      rflags: after.rflags,
      gpr: this.#gpr.slice(),
      changes,
      ...(input.media && { media: core.media() }),
    };
  }

  #changes(input: CaseInput): [number, number][] {
    const window = this.#core.window();
    const before = this.#pattern.slice();
    before.set(input.poke, input.pokeOffset);
    if (input.image) before.set(input.image.bytes, input.image.offset);
    const changes: [number, number][] = [];
    if (Buffer.compare(before, window) === 0) return changes;
    for (let i = 0; i < WINDOW_BYTES; i++) if (window[i] !== before[i]) changes.push([i, window[i]!]);
    return changes;
  }

  #restore(input: CaseInput, changes: readonly (readonly [number, number])[]): void {
    const { pokeOffset, poke, image } = input;
    if (image)
      this.#core.writeMemory(
        WINDOW + image.offset,
        this.#pattern.subarray(image.offset, image.offset + image.bytes.length),
      );
    this.#core.writeMemory(WINDOW + pokeOffset, this.#pattern.subarray(pokeOffset, pokeOffset + poke.length));
    for (const [offset] of changes)
      this.#core.writeMemory(WINDOW + offset, this.#pattern.subarray(offset, offset + 1));
  }
}

const hex = (value: bigint | number): string => value.toString(16);
const changesText = (changes: CaseOutcome["changes"]): string =>
  changes.map(([at, value]) => `${hex(at)}:${hex(value)}`).join(" ");

/** What differs between expected and actual where the manual defines it; empty when nothing does. */
export function compareOutcomes(
  form: Form,
  input: CaseInput,
  expected: CaseOutcome,
  actual: CaseOutcome,
): string[] {
  const differences: string[] = [];
  const differs = (what: string, wanted: string, got: string): void => {
    if (wanted !== got) differences.push(`${what} ${got}, silicon ${wanted}`);
  };
  const left =
    expected.vector === undefined ? undefinedAfter(form, input, expected) : undefinedAfterFault(form);
  const isAnyException = left.exception === true && actual.vector !== undefined;
  if (!isAnyException) {
    differs("vector", String(expected.vector), String(actual.vector));
    if (differences.length > 0) return differences;
    differs("error code", hex(expected.error), hex(actual.error));
    differs("CR2", hex(expected.cr2), hex(actual.cr2));
  }
  const mask = COMPARED_RFLAGS & ~left.rflags;
  differs("RIP", hex(expected.rip), hex(actual.rip));
  differs("RFLAGS", hex(expected.rflags & mask), hex(actual.rflags & mask));
  for (let i = 0; i < (form.mode === MODE_64 ? 16 : 8); i++) {
    const isDefined = left.registers !== true || i === RSP;
    if (isDefined && !(left.destination && i === input.destination))
      differs(REGISTER_NAMES[i]!, hex(expected.gpr[i]!), hex(actual.gpr[i]!));
  }
  if (left.memory !== true && !(left.destination && input.destination === undefined))
    differs("memory", changesText(expected.changes), changesText(actual.changes));
  if (expected.media && actual.media) {
    const got = mediaParts(actual.media);
    for (const [i, [name, value]] of mediaParts(expected.media).entries())
      if (!UNDEFINED_MEDIA.has(name) && !isMediaEqual(form, name, value, got[i]![1]))
        differs(name, value, got[i]![1]);
  }
  return differences;
}

const mediaText = (image: Uint8Array): string =>
  mediaParts(image)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");

/** A mismatch with everything needed to repeat it by hand. */
function describeMismatch(form: Form, input: CaseInput, differences: readonly string[]): string {
  const code = Buffer.from(input.code).toString("hex");
  const gpr = [...input.gpr].map((value, i) => `${REGISTER_NAMES[i]!}=${hex(value)}`).join(" ");
  const poke = `[${hex(WINDOW + input.pokeOffset)}]=${Buffer.from(input.poke).toString("hex")}`;
  const media = input.media ? ` ${mediaText(input.media)}` : "";
  return `${form.key}: ${code}: ${differences.join("; ")} | ${gpr} RFLAGS=${hex(input.rflags)} ${poke}${media}`;
}

/**
 * Runs every case whose row `isImplemented` and compares it with what silicon did.
 *
 * By default a row is implemented when the interpreter has a rule for it.
 */
export function replay(
  core: SiliconCore,
  corpus: Corpus,
  isImplemented: (form: Form) => boolean = (form) => ruleOf(form.row) !== undefined,
): ReplayResult {
  core.enter(corpus.header.mode);
  const runner = new Runner(core);
  const mismatches: string[] = [];
  let mismatchCount = 0;
  let compared = 0;
  let skipped = 0;
  let listed = 0;
  for (const { form, input, outcome } of corpus.cases) {
    if (!isImplemented(form)) {
      skipped++;
    } else if (isVendorDifference(corpus.header.processor.vendor, form, input, outcome)) {
      listed++;
    } else {
      compared++;
      const differences = compareOutcomes(form, input, outcome, runner.run(input));
      if (differences.length === 0) continue;
      mismatchCount++;
      if (mismatches.length < MAX_REPORTED) mismatches.push(describeMismatch(form, input, differences));
    }
  }
  return { compared, skipped, listed, mismatchCount, mismatches };
}

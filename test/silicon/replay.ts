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
  CODE_PAGE,
  COMPARED_RFLAGS,
  MODE_64,
  startRip,
  WINDOW,
  WINDOW_BYTES,
  windowPattern,
  type Mode,
} from "./environment.ts";
import { isImageRecorded, type Form } from "./forms.ts";
import { isSameMedia, mediaParts, statusOf } from "./media.ts";
import { encodeInputs } from "./native-core.ts";
import type { Suite } from "./suites.ts";
import { undefinedAfter, undefinedAfterFault, isMediaDefined, isMediaEqual } from "./undefined-results.ts";
import type { Row } from "../../emulator/isa/format.ts";
import { ruleOf } from "../../emulator/isa/handlers.ts";
import { isVendorDifference, savesPointers } from "./vendor-differences.ts";

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
  /** The window's present content: a view or a copy of `WINDOW_BYTES` bytes, aligned to four of them. */
  window(): Uint8Array;
  setRegisters(gpr: BigUint64Array, rip: bigint, rflags: bigint): void;
  /**
   * Executes one instruction; of a repeated string instruction one iteration or all. On an exception the registers are
   * as the exception's handler would find them saved: RIP of a fault is the instruction's, of a trap the next one's.
   */
  step(): SiliconException | undefined;
  /** Sets x87, MMX, SSE and AVX state; the form is that of `media.ts`. */
  setMedia(image: Uint8Array): void;
  /** Present state, valid until the next call. */
  media(): Uint8Array;
  /** Present registers; `gpr` is filled in. */
  registers(gpr: BigUint64Array): { readonly rip: bigint; readonly rflags: bigint };
}

const CODE_PAGE_BYTES = 4096;
const INT3 = 0xcc;
const BEHIND_CODE = new Array<number>(8).fill(INT3);

/** Cases with what a processor did in them. */
export interface Recording {
  readonly header: Pick<CorpusHeader, "mode" | "processor">;
  readonly cases: readonly {
    readonly form: Form;
    readonly input: CaseInput;
    readonly outcome: CaseOutcome;
  }[];
}

/** A recording that a file holds. */
export interface Corpus extends Recording {
  readonly header: CorpusHeader;
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
/** Mismatches that are put into words: of one form, so that the frequent ones do not hide the others, and in all. */
const MAX_REPORTED_OF_FORM = 2;
const MAX_REPORTED = 100;
const REGISTER_NAMES = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split(" ");

/** A core with the window's pattern loaded, and the running of one case on it. */
class Runner {
  readonly #core: SiliconCore;
  readonly #pattern = windowPattern();
  /** The window's content before the present case. */
  readonly #before = windowPattern();
  readonly #codePage = new Uint8Array(CODE_PAGE_BYTES);
  readonly #gpr = new BigUint64Array(16);

  constructor(core: SiliconCore) {
    this.#core = core;
    core.writeMemory(WINDOW, this.#pattern);
  }

  /** What the core does; registers and media state are valid until the next case. */
  run(input: CaseInput): CaseOutcome {
    const core = this.#core;
    const gpr = this.#gpr;
    this.#put(input.pokeOffset, input.poke);
    if (input.image) this.#put(input.image.offset, input.image.bytes);
    // As the harness does, with INT3 behind the instruction: its own operand may lie there.
    const { length } = input.code;
    const page = this.#codePage;
    page.set(input.code, CODE - CODE_PAGE);
    page.set(BEHIND_CODE, CODE - CODE_PAGE + length);
    core.writeMemory(CODE_PAGE, page);
    page.fill(0, CODE - CODE_PAGE, CODE - CODE_PAGE + length + BEHIND_CODE.length);
    core.setRegisters(input.gpr, startRip(input.mode), input.rflags);
    if (input.media) core.setMedia(input.media);
    let exception = core.step();
    let after = core.registers(gpr);
    for (
      let i = 1;
      input.isRepeated && !exception && after.rip === startRip(input.mode) && i < MAX_STEPS;
      i++
    ) {
      exception = core.step();
      after = core.registers(gpr);
    }
    const changes = this.#changes();
    this.#restore(input, changes);
    return {
      vector: exception?.vector,
      error: exception?.error ?? 0,
      cr2: exception?.vector === 14 ? exception.cr2 : 0n,
      rip: after.rip,
      rflags: after.rflags,
      gpr,
      changes,
      ...(input.media && { media: core.media() }),
    };
  }

  #put(offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#core.writeMemory(WINDOW + offset, bytes);
    this.#before.set(bytes, offset);
  }

  #changes(): [number, number][] {
    const window = this.#core.window();
    const before = this.#before;
    const changes: [number, number][] = [];
    if (Buffer.compare(before, window) === 0) return changes;
    const words = new Uint32Array(window.buffer, window.byteOffset, WINDOW_BYTES / 4);
    const wordsBefore = new Uint32Array(before.buffer);
    for (let word = 0; word < words.length; word++) {
      if (words[word] === wordsBefore[word]) continue;
      for (let i = 4 * word; i < 4 * word + 4; i++)
        if (window[i] !== before[i]) changes.push([i, window[i]!]);
    }
    return changes;
  }

  /** Puts the pattern back, from the first to the last byte that is not its own. */
  #restore({ pokeOffset, poke, image }: CaseInput, changes: readonly (readonly [number, number])[]): void {
    let start = pokeOffset;
    let end = pokeOffset + poke.length;
    if (image && image.bytes.length > 0) {
      start = Math.min(start, image.offset);
      end = Math.max(end, image.offset + image.bytes.length);
    }
    if (changes.length > 0) {
      start = Math.min(start, changes[0]![0]);
      end = Math.max(end, changes[changes.length - 1]![0] + 1);
    }
    this.#put(start, this.#pattern.subarray(start, end));
  }
}

const hex = (value: bigint | number): string => value.toString(16);
const changesText = (changes: CaseOutcome["changes"]): string =>
  changes.map(([at, value]) => `${hex(at)}:${hex(value)}`).join(" ");

/** Whether two outcomes are equal in everything that may be compared: the usual case, without a word about what is undefined. */
function isSameOutcome(expected: CaseOutcome, actual: CaseOutcome): boolean {
  if (
    expected.vector !== actual.vector ||
    expected.error !== actual.error ||
    expected.cr2 !== actual.cr2 ||
    expected.rip !== actual.rip ||
    ((expected.rflags ^ actual.rflags) & COMPARED_RFLAGS) !== 0n ||
    expected.changes.length !== actual.changes.length
  )
    return false;
  for (let i = 0; i < 16; i++) if (expected.gpr[i] !== actual.gpr[i]) return false;
  for (let i = 0; i < expected.changes.length; i++) {
    const [a, b] = [expected.changes[i]!, actual.changes[i]!];
    if (a[0] !== b[0] || a[1] !== b[1]) return false;
  }
  return !expected.media || !actual.media || isSameMedia(expected.media, actual.media);
}

/**
 * What differs between expected and actual where the manual defines it; empty when nothing does. `savesPointers` as in
 * `vendor-differences.ts`, of both.
 */
export function compareOutcomes(
  form: Form,
  input: CaseInput,
  expected: CaseOutcome,
  actual: CaseOutcome,
  savesPointers = true,
): string[] {
  if (isSameOutcome(expected, actual)) return [];
  const differences: string[] = [];
  const differs = (what: string, wanted: string, got: string): void => {
    if (wanted !== got) differences.push(`${what} ${got}, silicon ${wanted}`);
  };
  const left =
    expected.vector === undefined
      ? undefinedAfter(form, input, expected)
      : undefinedAfterFault(form, expected);
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
  if (expected.media && actual.media && left.media !== true) {
    const got = mediaParts(actual.media);
    const status = statusOf(expected.media);
    for (const [i, [name, value]] of mediaParts(expected.media).entries())
      if (isMediaDefined(name, status, savesPointers) && !isMediaEqual(form, name, value, got[i]![1]))
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

const rules = new WeakMap<Row, boolean>();

function hasRule({ row }: Form): boolean {
  let has = rules.get(row);
  if (has === undefined) {
    has = ruleOf(row) !== undefined;
    rules.set(row, has);
  }
  return has;
}

export interface ReplayOptions {
  /** Forms whose rows the core implements; by default those that the interpreter has a rule for. */
  readonly isImplemented?: (form: Form) => boolean;
  /**
   * What the recorded processor does in a case, where it is at hand: asked before a case with an image counts as a mismatch. Whether a component
   * counts as in use (SDM Vol. 1, "Processor Tracking of XSAVE-Managed State") can change when the operating system switches tasks
   * between the loading of the state and the instruction.
   */
  readonly runAgain?: (input: CaseInput) => CaseOutcome;
}

/** Runs every case whose row is implemented and compares it with what silicon did. */
export function replay(
  core: SiliconCore,
  corpus: Recording,
  { isImplemented = hasRule, runAgain }: ReplayOptions = {},
): ReplayResult {
  const { vendor } = corpus.header.processor;
  const hasPointers = savesPointers(vendor);
  core.enter(corpus.header.mode);
  const runner = new Runner(core);
  const mismatches: string[] = [];
  const mismatchesOf = new Map<Form, number>();
  let mismatchCount = 0;
  let compared = 0;
  let skipped = 0;
  let listed = 0;
  for (const { form, input, outcome } of corpus.cases) {
    if (!isImplemented(form)) {
      skipped++;
    } else if (isVendorDifference(vendor, form, input, outcome)) {
      listed++;
    } else {
      compared++;
      const actual = runner.run(input);
      let differences = compareOutcomes(form, input, outcome, actual, hasPointers);
      if (differences.length > 0 && runAgain && isImageRecorded(form.row))
        differences = compareOutcomes(form, input, runAgain(input), actual, hasPointers);
      if (differences.length === 0) continue;
      mismatchCount++;
      const ofForm = (mismatchesOf.get(form) ?? 0) + 1;
      mismatchesOf.set(form, ofForm);
      if (ofForm <= MAX_REPORTED_OF_FORM && mismatches.length < MAX_REPORTED)
        mismatches.push(describeMismatch(form, input, differences));
    }
  }
  return { compared, skipped, listed, mismatchCount, mismatches };
}

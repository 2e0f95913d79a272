/**
 * The file format of a corpus: outcomes recorded on one processor, in one mode.
 *
 * A line of JSON (the header) and a newline, then Brotli-compressed outcomes, all cases of the first form, then of the second, and
 * so on. An outcome is: a byte of `HAS_` bits; with an exception vector, error code and for page faults CR2; RIP if it is
 * neither the next instruction nor, with an exception, the instruction; changes of RFLAGS; a mask of changed general
 * registers and their values; runs of changed memory; a mask of changed 16-byte parts of the media image, and the parts. Numbers
 * are LEB128. Values are stored as exclusive-or with the input.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import type { CaseInput, CaseOutcome } from "./case.ts";
import { COMPARED_RFLAGS, startRip, type Mode } from "./environment.ts";
import type { Processor } from "./native-core.ts";

export const CORPUS_VERSION = 1;

export interface CorpusHeader {
  readonly version: number;
  readonly mode: Mode;
  /** Seed of the inputs (`cases.ts`). */
  readonly seed: number;
  readonly casesPerForm: number;
  readonly processor: Processor;
  /** SHA-256 of the inputs as the native harness reads them: tells when the generator has changed. */
  readonly inputs: string;
  /** Keys of the forms, in the outcomes' order. */
  readonly forms: readonly string[];
}

const HAS_EXCEPTION = 1;
const HAS_RIP = 2;
const HAS_MEMORY = 4;
const HAS_MEDIA = 8;
/** Bytes of the media image that one bit of the mask stands for. */
const MEDIA_PART = 16;
const PAGE_FAULT = 14;

class ByteWriter {
  readonly #bytes: number[] = [];

  byte(value: number): void {
    this.#bytes.push(value);
  }

  number(value: bigint | number): void {
    let rest = BigInt(value);
    for (; rest >= 0x80n; rest >>= 7n) this.byte(Number(rest & 0x7fn) | 0x80);
    this.byte(Number(rest));
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw new Error("silicon corpus: ends inside an outcome");
    return value;
  }

  number(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error("silicon corpus: number too long");
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
}

/** RIP where nothing needs to be stored. */
const usualRip = (input: CaseInput, hasException: boolean): bigint =>
  startRip(input.mode) + BigInt(hasException ? 0 : input.code.length);

function writeOutcome(out: ByteWriter, input: CaseInput, outcome: CaseOutcome): void {
  const hasException = outcome.vector !== undefined;
  const hasRip = outcome.rip !== usualRip(input, hasException);
  out.byte(
    (hasException ? HAS_EXCEPTION : 0) |
      (hasRip ? HAS_RIP : 0) |
      (outcome.changes.length > 0 ? HAS_MEMORY : 0) |
      (input.media && outcome.media && Buffer.compare(input.media, outcome.media) !== 0 ? HAS_MEDIA : 0),
  );
  if (outcome.vector !== undefined) {
    out.byte(outcome.vector);
    out.number(outcome.error);
    if (outcome.vector === PAGE_FAULT) out.number(outcome.cr2);
  }
  if (hasRip) out.number(outcome.rip);
  out.number((outcome.rflags ^ input.rflags) & COMPARED_RFLAGS);
  let mask = 0;
  outcome.gpr.forEach((value, i) => (mask |= value === input.gpr[i] ? 0 : 1 << i));
  out.number(mask);
  outcome.gpr.forEach((value, i) => {
    if (value !== input.gpr[i]) out.number(value ^ input.gpr[i]!);
  });
  if (outcome.changes.length > 0) writeChanges(out, outcome.changes);
  if (input.media && outcome.media && Buffer.compare(input.media, outcome.media) !== 0)
    writeMedia(out, input.media, outcome.media);
}

const isSame = (a: Uint8Array, b: Uint8Array, at: number): boolean =>
  Buffer.compare(a.subarray(at, at + MEDIA_PART), b.subarray(at, at + MEDIA_PART)) === 0;

function writeMedia(out: ByteWriter, before: Uint8Array, after: Uint8Array): void {
  let mask = 0n;
  for (let at = 0; at < after.length; at += MEDIA_PART)
    if (!isSame(before, after, at)) mask |= 1n << BigInt(at / MEDIA_PART);
  out.number(mask);
  for (let at = 0; at < after.length; at += MEDIA_PART)
    if (!isSame(before, after, at))
      for (let i = at; i < at + MEDIA_PART; i++) out.byte(before[i]! ^ after[i]!);
}

function readMedia(from: ByteReader, before: Uint8Array): Uint8Array {
  const after = before.slice();
  let mask = from.number();
  for (let at = 0; mask !== 0n; at += MEDIA_PART, mask >>= 1n)
    if ((mask & 1n) !== 0n) for (let i = at; i < at + MEDIA_PART; i++) after[i]! ^= from.byte();
  return after;
}

function writeChanges(out: ByteWriter, changes: CaseOutcome["changes"]): void {
  out.number(changes.length);
  let end = 0;
  for (const [offset, value] of changes) {
    out.number(offset - end);
    out.byte(value);
    end = offset + 1;
  }
}

function readOutcome(from: ByteReader, input: CaseInput): CaseOutcome {
  const has = from.byte();
  const vector = has & HAS_EXCEPTION ? from.byte() : undefined;
  const error = vector === undefined ? 0 : Number(from.number());
  const cr2 = vector === PAGE_FAULT ? from.number() : 0n;
  const rip = has & HAS_RIP ? from.number() : usualRip(input, vector !== undefined);
  const rflags = from.number() ^ (input.rflags & COMPARED_RFLAGS);
  const mask = Number(from.number());
  const gpr = input.gpr.map((value, i) => (mask & (1 << i) ? value ^ from.number() : value));
  const changes: [number, number][] = [];
  let end = 0;
  for (let count = has & HAS_MEMORY ? Number(from.number()) : 0; count > 0; count--) {
    const offset = end + Number(from.number());
    changes.push([offset, from.byte()]);
    end = offset + 1;
  }
  const media = input.media && (has & HAS_MEDIA ? readMedia(from, input.media) : input.media);
  return { vector, error, cr2, rip, rflags, gpr, changes, ...(media && { media }) };
}

/** The file's bytes. `inputs` and `outcomes` in the order of the header's forms. */
export function encodeCorpus(
  header: CorpusHeader,
  inputs: readonly CaseInput[],
  outcomes: readonly CaseOutcome[],
): Uint8Array {
  const writer = new ByteWriter();
  inputs.forEach((input, i) => {
    writeOutcome(writer, input, outcomes[i]!);
  });
  const compressed = brotliCompressSync(writer.take(), { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), compressed]);
}

/** The header alone. Throws when the bytes are not a corpus of this version. */
export function decodeHeader(bytes: Uint8Array): CorpusHeader {
  const header = JSON.parse(Buffer.from(bytes.subarray(0, bytes.indexOf(10))).toString()) as CorpusHeader;
  if (header.version !== CORPUS_VERSION)
    throw new Error(`silicon corpus: version ${header.version}, expected ${CORPUS_VERSION}`);
  return header;
}

/** The outcomes of the cases whose inputs are given, in the header's order. Throws on a truncated or longer file. */
export function decodeOutcomes(bytes: Uint8Array, inputs: readonly CaseInput[]): CaseOutcome[] {
  const reader = new ByteReader(brotliDecompressSync(bytes.subarray(bytes.indexOf(10) + 1)));
  const outcomes = inputs.map((input) => readOutcome(reader, input));
  if (!reader.isAtEnd) throw new Error("silicon corpus: more outcomes than cases");
  return outcomes;
}

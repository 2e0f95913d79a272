/** The native harness, from TypeScript: builds it with gcc and runs cases on the processor at hand. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CaseInput, CaseOutcome } from "./case.ts";
import { dataBase, MODE_16, WINDOW, WINDOW_BYTES, windowPattern } from "./environment.ts";

const SOURCE = "test/silicon/native/harness.c";
const DIRECTORY = "build/silicon";

/** Vector that the harness reports for an instruction that completed: its single-step trap, #DB. */
const COMPLETED = 1;

/** `struct input` of the harness. */
const INPUT = {
  codeLength: 16,
  mode: 17,
  flags: 18,
  pokeLength: 19,
  pokeOffset: 20,
  rflags: 24,
  gpr: 32,
  poke: 160,
  size: 224,
};
/** `struct output` of the harness. */
const OUTPUT = {
  vector: 0,
  error: 4,
  cr2: 8,
  rip: 16,
  rflags: 24,
  gpr: 32,
  changeCount: 160,
  /** Offsets of changed bytes, then their values. */
  changes: 168,
};
const BYTES_OF_CHANGE = 3;
/** `struct image` of the harness. */
const IMAGE = { offset: 0, length: 4, bytes: 8, size: 840 };

/** Bits of the input's flags. */
const IS_REPEATED = 1;
const HAS_MEDIA = 2;
const HAS_IMAGE = 4;

/** What the corpus says about the processor it was recorded on. */
export interface Processor {
  readonly vendor: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly name: string;
}

/** The processor at hand and its feature flags, from Linux's /proc/cpuinfo. */
export function thisProcessor(): { processor: Processor; flags: ReadonlySet<string> } {
  const fields = new Map<string, string>();
  for (const line of readFileSync("/proc/cpuinfo", "utf8").split("\n")) {
    const [name, text] = line.split(/\s*:\s*/, 2);
    if (name && text !== undefined && !fields.has(name)) fields.set(name, text);
  }
  const processor = {
    vendor: fields.get("vendor_id") ?? "",
    family: Number(fields.get("cpu family")),
    model: Number(fields.get("model")),
    stepping: Number(fields.get("stepping")),
    name: fields.get("model name") ?? "",
  };
  return { processor, flags: new Set((fields.get("flags") ?? "").split(" ")) };
}

/** Whether the harness can run here: Linux on x86-64 with gcc. */
export function canRunNative(): boolean {
  if (process.platform !== "linux" || process.arch !== "x64") return false;
  return spawnSync("gcc", ["--version"], { stdio: "ignore" }).status === 0;
}

/** Builds the harness; returns its path. Throws with gcc's messages. */
export function buildHarness(): string {
  mkdirSync(DIRECTORY, { recursive: true });
  const output = join(DIRECTORY, "harness");
  execFileSync("gcc", ["-O1", "-Wall", "-Wextra", "-Werror", "-static-pie", "-o", output, SOURCE], {
    stdio: "pipe",
  });
  return output;
}

const inputSize = (input: CaseInput): number =>
  INPUT.size + (input.media?.length ?? 0) + (input.image ? IMAGE.size : 0);

function encodeInput(view: DataView, at: number, input: CaseInput): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, inputSize(input));
  bytes.set(input.code);
  bytes[INPUT.codeLength] = input.code.length;
  bytes[INPUT.mode] = input.mode;
  bytes[INPUT.flags] =
    (input.isRepeated ? IS_REPEATED : 0) | (input.media ? HAS_MEDIA : 0) | (input.image ? HAS_IMAGE : 0);
  bytes[INPUT.pokeLength] = input.poke.length;
  view.setUint32(at + INPUT.pokeOffset, input.pokeOffset, true);
  view.setBigUint64(at + INPUT.rflags, input.rflags, true);
  input.gpr.forEach((value, i) => view.setBigUint64(at + INPUT.gpr + 8 * i, value, true));
  bytes.set(input.poke, INPUT.poke);
  if (input.media) bytes.set(input.media, INPUT.size);
  if (input.image) {
    const start = INPUT.size + (input.media?.length ?? 0);
    view.setUint32(at + start + IMAGE.offset, input.image.offset, true);
    view.setUint32(at + start + IMAGE.length, input.image.bytes.length, true);
    bytes.set(input.image.bytes, start + IMAGE.bytes);
  }
}

/** The bytes that the harness reads for these cases; their digest identifies the inputs of a corpus. */
export function encodeInputs(inputs: readonly CaseInput[]): Uint8Array {
  const bytes = new Uint8Array(inputs.reduce((sum, input) => sum + inputSize(input), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const input of inputs) {
    encodeInput(view, at, input);
    at += inputSize(input);
  }
  return bytes;
}

/**
 * Reads an outcome. With a 16-bit stack segment Linux returns to user code by way of a stack whose upper half of RSP is
 * not the process's ("espfix"); outside 64-bit mode only 32 bits of a register exist.
 */
function decodeOutcome(view: DataView, at: number, { mode, media }: CaseInput): CaseOutcome {
  const registerBits = mode === MODE_16 ? 32 : 64;
  const vector = view.getUint32(at + OUTPUT.vector, true);
  const count = view.getUint32(at + OUTPUT.changeCount, true);
  const cr2 = view.getBigUint64(at + OUTPUT.cr2, true);
  let error = view.getUint32(at + OUTPUT.error, true);
  // Linux tells user code that addresses in the kernel's half are present, mapped or not.
  if (vector === 14 && cr2 >> 47n !== 0n) error &= ~1;
  return {
    vector: vector === COMPLETED ? undefined : vector,
    error,
    cr2,
    rip: view.getBigUint64(at + OUTPUT.rip, true),
    rflags: view.getBigUint64(at + OUTPUT.rflags, true),
    gpr: BigUint64Array.from({ length: 16 }, (_, i) =>
      BigInt.asUintN(registerBits, view.getBigUint64(at + OUTPUT.gpr + 8 * i, true)),
    ),
    changes: Array.from({ length: count }, (_, i) => [
      view.getUint16(at + OUTPUT.changes + 2 * i, true),
      view.getUint8(at + OUTPUT.changes + 2 * count + i),
    ]),
    ...(media && {
      media: new Uint8Array(
        view.buffer,
        view.byteOffset + at + OUTPUT.changes + BYTES_OF_CHANGE * count,
        media.length,
      ).slice(),
    }),
  };
}

const isPrefix = (byte: number): boolean =>
  [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67].includes(byte) || (byte & 0xf0) === 0x40;

/**
 * PUSHF stores the harness's own TF. Gives the outcome as it is without: bit 8 of the image cleared.
 */
function withoutPushedTf(input: CaseInput, outcome: CaseOutcome, before: Uint8Array): CaseOutcome {
  const isPushf = input.code.at(-1) === 0x9c && input.code.slice(0, -1).every(isPrefix);
  if (!isPushf || outcome.vector !== undefined) return outcome;
  const rsp = input.mode === MODE_16 ? Number(outcome.gpr[4]! & 0xffffn) : Number(outcome.gpr[4]!);
  const at = dataBase(input.mode) + rsp + 1 - WINDOW;
  if (at < 0 || at >= WINDOW_BYTES) return outcome;
  const changes = new Map(outcome.changes);
  const image = (changes.get(at) ?? before[at]!) & ~1;
  changes.set(at, image);
  if (image === before[at]) changes.delete(at);
  return { ...outcome, changes: [...changes].sort(([a], [b]) => a - b) };
}

/** Offset of MXCSR_MASK in an FXSAVE image, and its bit 17, AMD's misaligned exception mask, which Intel's processors have not. */
const MXCSR_MASK_OFFSET = 28;
const MISALIGNED_MASK = 2;

/** Gives the outcome of FXSAVE and its like as it is without that bit. Images have 0 there before. */
function withoutMisalignedMask(input: CaseInput, outcome: CaseOutcome): CaseOutcome {
  if (!input.image) return outcome;
  const at = input.image.offset + MXCSR_MASK_OFFSET + 2;
  const changes = outcome.changes.filter(([offset, value]) => offset !== at || value !== MISALIGNED_MASK);
  return { ...outcome, changes };
}

/** Runs the cases in order. Throws when the harness fails. */
export function runNative(harness: string, inputs: readonly CaseInput[]): CaseOutcome[] {
  const pattern = windowPattern();
  const patternFile = join(DIRECTORY, `pattern.${process.pid}`);
  writeFileSync(patternFile, pattern);
  const run = spawnSync(harness, [patternFile], {
    input: encodeInputs(inputs),
    maxBuffer: 2 ** 30,
  });
  if (run.status !== 0)
    throw new Error(`harness: status ${run.status ?? run.signal ?? "?"}: ${run.stderr.toString()}`, {
      cause: run.error,
    });
  const view = new DataView(run.stdout.buffer, run.stdout.byteOffset, run.stdout.byteLength);
  let at = 0;
  const outcomes = inputs.map((input) => {
    const before = pattern.slice();
    before.set(input.poke, input.pokeOffset);
    const outcome = decodeOutcome(view, at, input);
    at += OUTPUT.changes + BYTES_OF_CHANGE * outcome.changes.length + (input.media?.length ?? 0);
    if (input.image) before.set(input.image.bytes, input.image.offset);
    return withoutMisalignedMask(input, withoutPushedTf(input, outcome, before));
  });
  if (at !== view.byteLength)
    throw new Error(`harness: ${view.byteLength} bytes of outcomes, ${at} expected`);
  return outcomes;
}

/** The native harness, from TypeScript: builds it with gcc and runs cases on the processor at hand. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { CaseInput, CaseOutcome } from "./case.ts";
import { dataBase, MODE_16, WINDOW, WINDOW_BYTES, windowPattern } from "./environment.ts";

const SOURCE = "test/silicon/native/harness.c";
const DIRECTORY = "build/silicon";

/** Vector that the harness reports for an instruction that completed: that of a single-step trap, #DB. */
const COMPLETED = 1;
const PAGE_FAULT = 14;

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
const IS_STEPPED = 8;

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

function encodeInput(bytes: Uint8Array, view: DataView, at: number, input: CaseInput): void {
  const { code, gpr, poke, media, image } = input;
  bytes.set(code, at);
  bytes[at + INPUT.codeLength] = code.length;
  bytes[at + INPUT.mode] = input.mode;
  bytes[at + INPUT.flags] =
    (input.isRepeated ? IS_REPEATED : 0) |
    (input.mayLeave ? IS_STEPPED : 0) |
    (media ? HAS_MEDIA : 0) |
    (image ? HAS_IMAGE : 0);
  bytes[at + INPUT.pokeLength] = poke.length;
  view.setUint32(at + INPUT.pokeOffset, input.pokeOffset, true);
  view.setBigUint64(at + INPUT.rflags, input.rflags, true);
  for (let i = 0; i < 16; i++) view.setBigUint64(at + INPUT.gpr + 8 * i, gpr[i]!, true);
  bytes.set(poke, at + INPUT.poke);
  if (media) bytes.set(media, at + INPUT.size);
  if (!image) return;
  const start = at + INPUT.size + (media?.length ?? 0);
  view.setUint32(start + IMAGE.offset, image.offset, true);
  view.setUint32(start + IMAGE.length, image.bytes.length, true);
  bytes.set(image.bytes, start + IMAGE.bytes);
}

/** The bytes that the harness reads for these cases; their digest identifies the inputs of a corpus. */
export function encodeInputs(inputs: readonly CaseInput[]): Uint8Array {
  const bytes = new Uint8Array(inputs.reduce((sum, input) => sum + inputSize(input), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const input of inputs) {
    encodeInput(bytes, view, at, input);
    at += inputSize(input);
  }
  return bytes;
}

/** Bytes of the changes and the padding behind them. */
const changeBytes = (count: number): number => (BYTES_OF_CHANGE * count + 7) & ~7;

/** Bytes of an outcome in the harness's output. */
const outcomeSize = ({ media }: CaseInput, changes: number): number =>
  OUTPUT.changes + changeBytes(changes) + (media?.length ?? 0);

function decodeChanges(view: DataView, at: number, count: number): [number, number][] {
  const changes: [number, number][] = [];
  for (let i = 0; i < count; i++)
    changes.push([view.getUint16(at + 2 * i, true), view.getUint8(at + 2 * count + i)]);
  return changes;
}

/**
 * Reads an outcome; registers and media state stay where they are. With a 16-bit stack segment Linux returns to user code by way of
 * a stack whose upper half of RSP is not the process's ("espfix"); outside 64-bit mode only 32 bits of a register exist.
 */
function decodeOutcome(view: DataView, at: number, { mode, media }: CaseInput): CaseOutcome {
  const vector = view.getUint32(at + OUTPUT.vector, true);
  const count = view.getUint32(at + OUTPUT.changeCount, true);
  let cr2 = 0n;
  let error = view.getUint32(at + OUTPUT.error, true);
  if (vector === PAGE_FAULT) {
    cr2 = view.getBigUint64(at + OUTPUT.cr2, true);
    // Linux tells user code that addresses in the kernel's half are present, mapped or not.
    if (cr2 >> 47n !== 0n) error &= ~1;
  }
  if (mode === MODE_16) for (let i = 0; i < 16; i++) view.setUint32(at + OUTPUT.gpr + 8 * i + 4, 0, true);
  return {
    vector: vector === COMPLETED ? undefined : vector,
    error,
    cr2,
    rip: view.getBigUint64(at + OUTPUT.rip, true),
    rflags: view.getBigUint64(at + OUTPUT.rflags, true),
    gpr: new BigUint64Array(view.buffer, at + OUTPUT.gpr, 16),
    changes: decodeChanges(view, at + OUTPUT.changes, count),
    ...(media && {
      media: new Uint8Array(view.buffer, at + OUTPUT.changes + changeBytes(count), media.length),
    }),
  };
}

const PATTERN = windowPattern();
const PUSHF = 0x9c;

const isPrefix = (byte: number): boolean =>
  [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67].includes(byte) || (byte & 0xf0) === 0x40;

/**
 * PUSHF stores the harness's own TF. Gives the outcome as it is without: bit 8 of the image cleared.
 */
function withoutPushedTf(input: CaseInput, outcome: CaseOutcome): CaseOutcome {
  const { code } = input;
  if (code[code.length - 1] !== PUSHF || outcome.vector !== undefined) return outcome;
  if (!code.subarray(0, -1).every(isPrefix)) return outcome;
  const rsp = input.mode === MODE_16 ? Number(outcome.gpr[4]! & 0xffffn) : Number(outcome.gpr[4]!);
  const at = dataBase(input.mode) + rsp + 1 - WINDOW;
  if (at < 0 || at >= WINDOW_BYTES) return outcome;
  const before = PATTERN.slice();
  before.set(input.poke, input.pokeOffset);
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

/** Files that a run of the harness works on. Not pipes, which this process would have to serve while it does other work. */
class RunFiles {
  static #runs = 0;
  readonly #name = join(DIRECTORY, `run.${process.pid}.${RunFiles.#runs++}`);
  readonly pattern = `${this.#name}.pattern`;
  readonly #input = `${this.#name}.in`;
  readonly #output = `${this.#name}.out`;
  readonly #inputs: readonly CaseInput[];
  readonly #descriptors: readonly number[];

  constructor(inputs: readonly CaseInput[]) {
    this.#inputs = inputs;
    writeFileSync(this.pattern, PATTERN);
    writeFileSync(this.#input, encodeInputs(inputs));
    this.#descriptors = [openSync(this.#input, "r"), openSync(this.#output, "w+")];
  }

  get stdio(): (number | "pipe")[] {
    return [...this.#descriptors, "pipe"];
  }

  /** What the harness wrote. */
  outcomes(): CaseOutcome[] {
    const bytes = new Uint8Array(fstatSync(this.#descriptors[1]!).size);
    readSync(this.#descriptors[1]!, bytes, 0, bytes.length, 0);
    const view = new DataView(bytes.buffer);
    let at = 0;
    const outcomes = this.#inputs.map((input) => {
      const outcome = decodeOutcome(view, at, input);
      at += outcomeSize(input, outcome.changes.length);
      return withoutMisalignedMask(input, withoutPushedTf(input, outcome));
    });
    if (at !== bytes.length) throw new Error(`harness: ${bytes.length} bytes of outcomes, ${at} expected`);
    return outcomes;
  }

  remove(): void {
    this.#descriptors.forEach(closeSync);
    for (const file of [this.pattern, this.#input, this.#output]) rmSync(file);
  }
}

function failure(status: number | string | null, message: string, cause?: unknown): Error {
  return new Error(`harness: status ${status ?? "?"}: ${message}`, { cause });
}

/** Runs the cases in order. Throws when the harness fails. */
export function runNative(harness: string, inputs: readonly CaseInput[]): CaseOutcome[] {
  const files = new RunFiles(inputs);
  try {
    const run = spawnSync(harness, [files.pattern], { stdio: files.stdio });
    if (run.status !== 0) throw failure(run.status ?? run.signal, String(run.stderr), run.error);
    return files.outcomes();
  } finally {
    files.remove();
  }
}

/** As `runNative`, while this process does something else. */
export async function startNative(harness: string, inputs: readonly CaseInput[]): Promise<CaseOutcome[]> {
  const files = new RunFiles(inputs);
  try {
    const run = spawn(harness, [files.pattern], { stdio: files.stdio });
    let message = "";
    run.stderr?.on("data", (data: Buffer) => (message += data.toString()));
    const [status] = (await once(run, "close")) as [number | null];
    if (status !== 0) throw failure(status, message);
    return files.outcomes();
  } finally {
    files.remove();
  }
}

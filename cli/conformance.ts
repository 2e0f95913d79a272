/** `exitless conformance`: runs a folder of built kvm-unit-tests by its unittests.cfg and says what each came to. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CpuSpecError, parseCpuSpec } from "../emulator/host/cpu-spec.ts";
import type { ImageFile } from "../emulator/machine/read-image.ts";
import { Machine, type MachineOptions, type RunResult } from "../hypervisor/machine.ts";
import { ParallelMachine } from "../hypervisor/parallel-machine.ts";
import { parseMachine } from "./arguments.ts";
import { sliceLimits } from "./slice.ts";
import { parseUnitTests, type UnitTest } from "./unittests-cfg.ts";

export type Verdict = "pass" | "fail" | "skip" | "timeout" | "not built" | "unsupported";

export interface ConformanceRow {
  readonly name: string;
  readonly verdict: Verdict;
  /** Lines that begin with PASS, FAIL (unexpectedly) and SKIP. */
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Wall time. */
  readonly seconds: number;
  /** Why it is neither pass nor skip. */
  readonly note: string;
}

export interface ConformanceOptions {
  /** Folder that holds unittests.cfg and the images. */
  readonly folder: string;
  readonly mode: "metal" | "vm";
  /** Wall time: for tests that wait for billions of cycles, or for another CPU's interrupt to come before its next store is seen. */
  readonly clock: "virtual" | "wall";
  /** Names to run; empty: all. */
  readonly names: readonly string[];
  /** Seconds of wall time a test, whatever the file says; undefined: the file's, or 90. */
  readonly timeout: number | undefined;
  /** Where the tests' output goes, a file each. */
  readonly logs: string | undefined;
  readonly progress: (done: number, total: number, what: string) => void;
}

export interface ConformanceResult {
  readonly mode: "metal" | "vm";
  readonly rows: readonly ConformanceRow[];
}

const DEFAULT_TIMEOUT = 90;
const DEFAULT_MEBIBYTES = 256;
/** Between two looks at the wall clock: a fiftieth of a second of a 2.7-GHz machine. */
const SLICE_CYCLES = 50_000_000;
const SLICE_MILLISECONDS = 100;
/** The harness's own statuses (lib/report.c): all passed, and nothing but skipped tests. */
const CODE_PASS = 0;
const CODE_SKIP = 77 >> 1;

interface MachineSetup {
  readonly cpu: string;
  readonly memory: number;
  readonly timers: NonNullable<MachineOptions["timers"]>;
}

/** QEMU's parameters as a machine of ours, or why there is none. */
export function setupOf(test: UnitTest): MachineSetup | { readonly reason: string } {
  let cpu = "max";
  let memory = DEFAULT_MEBIBYTES;
  let timers: NonNullable<MachineOptions["timers"]> = {};
  const words = [...test.parameters];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const value = word === "-enable-kvm" ? "" : (words.shift() ?? "");
    switch (word) {
      case "-cpu":
        cpu = cpuOf(value);
        break;
      case "-m":
        memory = Math.min(2600, /g$/i.test(value) ? 1024 * parseInt(value, 10) : parseInt(value, 10));
        if (!(memory > 0)) return { reason: `-m ${value}` };
        break;
      case "-machine":
        try {
          timers = { ...timers, ...parseMachine(value) };
        } catch {
          return { reason: `-machine ${value}` };
        }
        break;
      case "-enable-kvm":
      case "-overcommit":
        break;
      default:
        return { reason: `${word} ${value}` };
    }
  }
  return { cpu, memory, timers };
}

/** QEMU's CPU as a model of ours: `max` with the features that the test adds or takes away where we know them. */
function cpuOf(text: string): string {
  let cpu = "max";
  for (const part of text.split(",").slice(1)) {
    if (!/^[+-]/.test(part)) continue;
    try {
      parseCpuSpec(`${cpu},${part}`);
      cpu += `,${part}`;
    } catch (error) {
      // A feature that we do not have: the test finds it missing in CPUID.
      if (!(error instanceof CpuSpecError)) throw error;
    }
  }
  return cpu;
}

/**
 * Images that take the test device as a sign of KVM or of an emulator: they then make KVM's hypercalls (apic.c), or ask for
 * what AMD's processors do (syscall.c: SYSCALL in compatibility mode, #UD by Intel SDM Vol. 2B, "SYSCALL").
 */
const WITHOUT_TEST_DEVICE = new Set(["apic.flat", "syscall.flat"]);

/** The environment that the harness reads from a boot module (lib/x86/setup.c). */
function environmentOf(test: UnitTest, mebibytes: number): ImageFile {
  const testDevice = WITHOUT_TEST_DEVICE.has(test.file) ? 0 : 1;
  const text = `NR_CPUS=${test.smp}\nMEMSIZE=${mebibytes}\nTEST_DEVICE=${testDevice}\n`;
  return { path: "environment", name: "environment", bytes: Buffer.from(text) };
}

interface Outcome {
  readonly end: RunResult["end"] | "timeout" | "error";
  readonly code: number;
  readonly text: string;
  readonly error?: string;
}

/** Runs one image to its end or for so many seconds. */
async function runImage(
  image: string,
  test: UnitTest,
  setup: MachineSetup,
  { mode, clock }: Pick<ConformanceOptions, "mode" | "clock">,
  seconds: number,
): Promise<Outcome> {
  const serial: number[] = [];
  const text = (): string => Buffer.from(serial).toString("latin1");
  const started = process.hrtime.bigint();
  let machine: Machine | ParallelMachine | undefined;
  const isTimeUp = (): boolean => Number(process.hrtime.bigint() - started) / 1e9 > seconds;
  try {
    const options: MachineOptions = {
      kernel: image,
      initrd: environmentOf(test, setup.memory),
      append: test.args,
      protocol: "multiboot",
      memory: setup.memory,
      smp: Math.min(8, test.smp),
      cpu: setup.cpu,
      timers: setup.timers,
      mode,
      onSerial: (byte) => serial.push(byte),
    };
    machine = clock === "wall" ? new ParallelMachine(options) : new Machine(options);
    for (;;) {
      const result = await slice(machine, isTimeUp);
      if (result.end === "reset") machine.reset();
      else if (result.end !== "paused") return { end: result.end, code: result.code, text: text() };
      if (isTimeUp()) return { end: "timeout", code: 0, text: text() };
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    return { end: "error", code: 0, text: text(), error: words };
  } finally {
    await machine?.close();
  }
}

/** A slice of virtual time; in wall time the machine runs until it ends, or the time is up. */
async function slice(machine: Machine | ParallelMachine, isTimeUp: () => boolean): Promise<RunResult> {
  if (machine instanceof Machine) return machine.run(sliceLimits(machine, SLICE_CYCLES));
  const look = setInterval(() => {
    if (isTimeUp()) machine.pause();
  }, SLICE_MILLISECONDS);
  try {
    return await machine.run();
  } finally {
    clearInterval(look);
  }
}

/** What a test's end and its report lines come to. */
export function judge(outcome: Outcome, seconds: number): Omit<ConformanceRow, "name" | "seconds"> {
  const lines = outcome.text.split("\n");
  const count = (word: string): number => lines.filter((line) => line.startsWith(`${word}: `)).length;
  const counts = { passed: count("PASS"), failed: count("FAIL"), skipped: count("SKIP") };
  const lastWords = lines.findLast((line) => line.trim() !== "")?.trim() ?? "no output";
  if (outcome.end === "timeout")
    return { ...counts, verdict: "timeout", note: `after ${seconds} s; last: ${lastWords}` };
  if (outcome.end === "error")
    return { ...counts, verdict: "fail", note: `host error: ${outcome.error ?? ""}` };
  if (outcome.end !== "debug-exit")
    return { ...counts, verdict: "fail", note: `${outcome.end}; last: ${lastWords}` };
  if (outcome.code === CODE_PASS) return { ...counts, verdict: "pass", note: "" };
  if (outcome.code === CODE_SKIP) return { ...counts, verdict: "skip", note: lastWords };
  const firstFailure = lines.find((line) => line.startsWith("FAIL: "));
  return { ...counts, verdict: "fail", note: firstFailure?.trim() ?? `status ${outcome.code}: ${lastWords}` };
}

/**
 * Runs the tests one after another.
 * @throws UnitTestsError for a malformed unittests.cfg, Error when there is none
 */
export async function conformance(options: ConformanceOptions): Promise<ConformanceResult> {
  const { folder, mode, names, progress } = options;
  const list = join(folder, "unittests.cfg");
  const all = parseUnitTests(readFileSync(list, "utf8"), list);
  const arch = builtFor(folder);
  const tests = all.filter(
    (test) =>
      (names.length === 0 || names.includes(test.name)) &&
      (arch === undefined || test.arch === undefined || test.arch === arch),
  );
  if (options.logs !== undefined) mkdirSync(options.logs, { recursive: true });
  const rows: ConformanceRow[] = [];
  for (const test of tests) {
    progress(rows.length, tests.length, test.name);
    rows.push(await row(test, options));
  }
  progress(tests.length, tests.length, "done");
  return { mode, rows };
}

async function row(test: UnitTest, options: ConformanceOptions): Promise<ConformanceRow> {
  const empty = { name: test.name, passed: 0, failed: 0, skipped: 0, seconds: 0 };
  const image = join(options.folder, test.file);
  if (!existsSync(image)) return { ...empty, verdict: "not built", note: test.file };
  const setup = setupOf(test);
  if ("reason" in setup) return { ...empty, verdict: "unsupported", note: setup.reason };
  const limit = options.timeout ?? test.timeout ?? DEFAULT_TIMEOUT;
  const started = process.hrtime.bigint();
  const outcome = await runImage(image, test, setup, options, limit);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (options.logs !== undefined) writeFileSync(join(options.logs, `${test.name}.log`), outcome.text);
  return { name: test.name, seconds, ...judge(outcome, limit) };
}

/** i386 or x86_64 by the build's configuration beside the folder; undefined when it cannot be told. */
function builtFor(folder: string): string | undefined {
  for (const file of [join(folder, "config.mak"), join(folder, "..", "config.mak")])
    if (existsSync(file)) return /^ARCH=(\S+)/m.exec(readFileSync(file, "utf8"))?.[1];
  return undefined;
}

interface Colours {
  readonly green: (text: string) => string;
  readonly red: (text: string) => string;
  readonly dim: (text: string) => string;
}

export function formatConformance(result: ConformanceResult, colours: Colours): string {
  const colour = (verdict: Verdict, text: string): string =>
    verdict === "pass"
      ? colours.green(text)
      : verdict === "fail" || verdict === "timeout"
        ? colours.red(text)
        : colours.dim(text);
  const width = Math.max(4, ...result.rows.map((row) => row.name.length));
  const head = `${"test".padEnd(width)}  verdict      pass  fail  skip  seconds`;
  const lines = result.rows.map((row) => {
    const counts = [row.passed, row.failed, row.skipped].map((n) => String(n).padStart(6)).join("");
    const note = row.note === "" ? "" : `  ${row.note.slice(0, 120)}`;
    return `${row.name.padEnd(width)}  ${colour(row.verdict, row.verdict.padEnd(11))}${counts}${row.seconds.toFixed(1).padStart(9)}${note}`;
  });
  const total = (verdict: Verdict): number => result.rows.filter((row) => row.verdict === verdict).length;
  const verdicts: Verdict[] = ["pass", "fail", "skip", "timeout", "not built", "unsupported"];
  const summary = verdicts
    .filter((verdict) => total(verdict) > 0)
    .map((verdict) => `${total(verdict)} ${verdict}`)
    .join(", ");
  return [head, ...lines, "", `mode ${result.mode}: ${summary}`].join("\n");
}

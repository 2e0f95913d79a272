/**
 * All engines on all kernels in one run: rounds interleaved, one process per measurement, checksums compared, medians.
 */
import { spawnSync } from "node:child_process";
import type { Engine, EngineRun } from "./engine.ts";
import { resultOf } from "./kernels.ts";
import type { Kernel } from "./kernels.ts";

/** Our own engine's name: ratios are relative to it. */
export const OURS = "exitless";

export interface CpuRow {
  readonly kernel: string;
  readonly checksum: string;
  /** Guest instructions, as our core counts them. */
  readonly instructions: number;
  /** Median CPU seconds by engine. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  readonly wallSeconds: Readonly<Record<string, number>>;
  /** Million guest instructions per CPU second, by engine. */
  readonly mips: Readonly<Record<string, number>>;
  /** Our speed over the other engine's: above 1, we are faster. */
  readonly speedVersus: Readonly<Record<string, number>>;
}

export interface CpuReport {
  readonly rows: readonly CpuRow[];
  /** Geometric means of `speedVersus` over the kernels. */
  readonly geometricMean: Readonly<Record<string, number>>;
}

export interface CompareOptions {
  readonly kernels: readonly Kernel[];
  readonly engines: readonly Engine[];
  readonly rounds: number;
  /** Called after each measurement. */
  readonly progress: (kernel: Kernel, engine: Engine, run: EngineRun) => void;
  /** Path of the bundle, which runs one measurement with the hidden command `cpu-once`. */
  readonly self: string;
}

/** @throws Error when a run fails or a checksum is wrong */
export function compareEngines(options: CompareOptions): CpuReport {
  const runs = new Map<string, EngineRun[]>();
  const key = (kernel: Kernel, engine: Engine): string => `${kernel.name} ${engine.name}`;
  for (let round = 0; round < options.rounds; round++)
    for (const kernel of options.kernels)
      for (const engine of options.engines) {
        const run = runInProcess(options.self, kernel, engine);
        const result = resultOf(run.output);
        if (result?.name !== kernel.name || result.checksum !== kernel.checksum)
          throw new Error(
            `${engine.name}: ${kernel.name} printed ${JSON.stringify(run.output)}, its checksum is ${kernel.checksum}`,
          );
        runs.set(key(kernel, engine), [...(runs.get(key(kernel, engine)) ?? []), run]);
        options.progress(kernel, engine, run);
      }
  const rows = options.kernels.map((kernel): CpuRow => {
    const by = (pick: (run: EngineRun) => number): Record<string, number> =>
      Object.fromEntries(
        options.engines.map((engine) => [engine.name, median(runs.get(key(kernel, engine))!.map(pick))]),
      );
    const cpuSeconds = by((run) => run.cpuSeconds);
    const instructions = runs.get(`${kernel.name} ${OURS}`)?.[0]?.instructions ?? 0;
    const ours = cpuSeconds[OURS] ?? Number.NaN;
    return {
      kernel: kernel.name,
      checksum: kernel.checksum,
      instructions,
      cpuSeconds,
      wallSeconds: by((run) => run.wallSeconds),
      mips: mapValues(cpuSeconds, (seconds) => instructions / seconds / 1e6),
      speedVersus: mapValues(others(cpuSeconds), (seconds) => seconds / ours),
    };
  });
  const names = Object.keys(rows[0]?.speedVersus ?? {});
  const geometricMean = Object.fromEntries(
    names.map((name) => [name, Math.exp(mean(rows.map((row) => Math.log(row.speedVersus[name]!))))]),
  );
  return { rows, geometricMean };
}

/** One measurement in a process of its own, so that none inherits another's compiled code or heap. */
function runInProcess(self: string, kernel: Kernel, engine: Engine): EngineRun {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [self, "cpu-once", engine.name, kernel.name],
    {
      encoding: "utf8",
    },
  );
  if (status !== 0)
    throw new Error(`${engine.name} on ${kernel.name} ended with ${status}: ${stderr.trim()}`);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as EngineRun;
}

const others = (values: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(values).filter(([name]) => name !== OURS));

const mapValues = (
  values: Readonly<Record<string, number>>,
  f: (value: number) => number,
): Record<string, number> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, f(value)]));

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

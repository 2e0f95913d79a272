/** What an engine of the CPU benchmark is: something that runs one multiboot image and says what that took. */
import type { Kernel } from "./kernels.ts";

export interface EngineRun {
  /** What the kernel printed on COM1. */
  readonly output: string;
  /** Processor time in seconds of all threads, from the guest's first instruction until its last. */
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  /** Guest instructions, where the engine counts them. A REP instruction counts once per iteration. */
  readonly instructions?: number;
}

export interface Engine {
  readonly name: string;
  /** One line for the table's legend. */
  readonly what: string;
  /** Version of the thing measured, or undefined when it is not installed here. */
  version(): string | undefined;
  /** Runs the kernel in this process, which does nothing else. */
  run(kernel: Kernel): Promise<EngineRun>;
}

/** Measures processor and wall time from now on. */
export function startClock(): () => { cpuSeconds: number; wallSeconds: number } {
  const cpu = process.cpuUsage();
  const wall = performance.now();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return { cpuSeconds: (user + system) / 1e6, wallSeconds: (performance.now() - wall) / 1e3 };
  };
}

/**
 * Nanoseconds of processor time that `work` takes, for each of `count` things that it does. Everything measured is one
 * thread's work, so on an idle machine this is wall time; on a busy one it is what wall time would be.
 */
export function nanosecondsEach(count: number, work: () => void): number {
  const elapsed = startClock();
  work();
  return (elapsed().cpuSeconds * 1e9) / count;
}

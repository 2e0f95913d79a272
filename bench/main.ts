/** `npm run bench`: speed of the core, compared with others in one run on this machine. */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { compareEngines } from "./cpu/compare.ts";
import type { Engine } from "./cpu/engine.ts";
import { ExitlessEngine } from "./cpu/exitless-engine.ts";
import { benchKernels } from "./cpu/kernels.ts";
import type { Kernel } from "./cpu/kernels.ts";
import { QemuEngine } from "./cpu/qemu-engine.ts";
import { cpuTable } from "./cpu/table.ts";
import { V86Engine } from "./cpu/v86-engine.ts";
import { environment } from "./environment.ts";
import { exitTripText, measureExitTrip } from "./exits/measure.ts";
import { hotSpotsText, measureHotSpots } from "./linux/hot-spots.ts";
import { linuxText, measureLinux } from "./linux/measure.ts";
import { measureVmx, vmxText } from "./vmx/measure.ts";

const self = fileURLToPath(import.meta.url);
const dist = dirname(self);
const root = join(dist, "..");

interface CpuOptions {
  readonly json?: boolean;
  readonly rounds: number;
  readonly kernel?: readonly string[];
  readonly engine?: readonly string[];
  readonly out?: string;
}

const allEngines = (): Engine[] => [
  new ExitlessEngine(dist),
  new V86Engine(false),
  new V86Engine(true),
  new QemuEngine(),
];

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000)
    throw new InvalidArgumentError("It must be 1 to 1000.");
  return value;
}

/** Those of `all` that are named; all when none is. */
function chosen<T extends { readonly name: string }>(
  kind: string,
  all: readonly T[],
  names?: readonly string[],
): T[] {
  if (names === undefined) return [...all];
  return names.map((name) => {
    const found = all.find((one) => one.name === name);
    if (!found)
      throw new InvalidArgumentError(
        `There is no ${kind} '${name}': ${all.map((one) => one.name).join(", ")}.`,
      );
    return found;
  });
}

function cpu(options: CpuOptions): void {
  const kernels = chosen<Kernel>("kernel", benchKernels(root), options.kernel);
  const wanted = chosen<Engine>("engine", allEngines(), options.engine);
  const engines = wanted.filter((engine) => engine.version() !== undefined);
  for (const { name } of wanted.filter((engine) => !engines.includes(engine)))
    process.stderr.write(`${name} is not installed: left out\n`);
  const compared = compareEngines({
    kernels,
    engines,
    rounds: options.rounds,
    self,
    progress: (kernel, engine, run) => {
      process.stderr.write(
        `${kernel.name.padEnd(8)} ${engine.name.padEnd(16)} ${run.cpuSeconds.toFixed(3)} s\n`,
      );
    },
  });
  const measuredOn = {
    ...environment(root),
    rounds: options.rounds,
    engines: Object.fromEntries(engines.map((engine) => [engine.name, engine.version()])),
  };
  const text = options.json
    ? JSON.stringify({ measuredOn, ...compared })
    : `${JSON.stringify(measuredOn)}\n${cpuTable(compared, engines)}`;
  report(text, options.out);
}

interface ExitsOptions {
  readonly json?: boolean;
  readonly rounds: number;
  readonly out?: string;
}

function exits(options: ExitsOptions): void {
  const trip = measureExitTrip(options.rounds);
  reportMeasured(options, trip, exitTripText(trip));
}

function vmx(options: ExitsOptions): void {
  const cost = measureVmx(options.rounds);
  reportMeasured(options, cost, vmxText(cost));
}

function linux(options: ExitsOptions): void {
  const figures = measureLinux(root, dist, options.rounds);
  reportMeasured(options, figures, linuxText(figures));
}

function hotSpots(options: Omit<ExitsOptions, "rounds">): void {
  const spots = measureHotSpots(root);
  const { exitless, qemu } = spots;
  const asObjects = { exitless: Object.fromEntries(exitless), qemu: Object.fromEntries(qemu) };
  reportMeasured({ ...options, rounds: 1 }, asObjects, hotSpotsText(spots));
}

/** A measurement with what it was made on. */
function reportMeasured(options: ExitsOptions, figures: object, text: string): void {
  const measuredOn = { ...environment(root), rounds: options.rounds };
  report(
    options.json ? JSON.stringify({ measuredOn, ...figures }) : `${JSON.stringify(measuredOn)}\n${text}`,
    options.out,
  );
}

function report(text: string, out: string | undefined): void {
  if (out === undefined) process.stdout.write(`${text}\n`);
  else writeFileSync(out, `${text}\n`);
}

/** One measurement, for the process that `cpu` starts: a line of JSON on stdout. */
async function cpuOnce(engineName: string, kernelName: string): Promise<void> {
  const [engine] = chosen<Engine>("engine", allEngines(), [engineName]);
  const [kernel] = chosen<Kernel>("kernel", benchKernels(root), [kernelName]);
  const run = await engine!.run(kernel!);
  process.stdout.write(`${JSON.stringify(run)}\n`, () => process.exit(0));
}

const program = new Command("bench")
  .description("Measures the core's speed, beside other emulators where they are installed.")
  .addHelpText(
    "after",
    `
Examples:
  npm run bench -- cpu                         all kernels, all engines, 3 rounds
  npm run bench -- cpu --kernel sieve crc --engine exitless v86-interpreter
  npm run bench -- cpu --rounds 5 --json --out results.json
  npm run bench -- exits                       what an exit costs the host
  npm run bench -- vmx                         what one costs inside the machine
  npm run bench -- linux                       Debian's kernel to /init (after npm run guests:debian)
  npm run bench -- hot-spots                   where QEMU executes other numbers of instructions for it`,
  );
program
  .command("cpu")
  .description("the same 32-bit multiboot kernels on our interpreter, v86 with and without JIT, and QEMU TCG")
  .option(
    "--rounds <n>",
    "measurements of each kernel on each engine; medians are reported",
    positiveInteger,
    3,
  )
  .option("--kernel <names...>", "only these kernels")
  .option("--engine <names...>", "only these engines: exitless, v86-interpreter, v86-jit, qemu-tcg")
  .option("--json", "print JSON")
  .option("--out <file>", "write the report to a file instead of stdout")
  .action(cpu);
program
  .command("exits")
  .description(
    "round trip of a CPUID exit: guest, core, hypervisor and back, beside an empty trip to WebAssembly",
  )
  .option("--rounds <n>", "measurements; medians are reported", positiveInteger, 5)
  .option("--json", "print JSON")
  .option("--out <file>", "write the report to a file instead of stdout")
  .action(exits);
program
  .command("vmx")
  .description(
    "round trip of a VM exit to a hypervisor inside the machine, with and without the checks of VM entry",
  )
  .option("--rounds <n>", "measurements; medians are reported", positiveInteger, 5)
  .option("--json", "print JSON")
  .option("--out <file>", "write the report to a file instead of stdout")
  .action(vmx);
program
  .command("linux")
  .description("Debian's cloud kernel to /init and power-off, on metal and as VM, beside QEMU TCG")
  .option("--rounds <n>", "measurements; medians are reported", positiveInteger, 3)
  .option("--json", "print JSON")
  .option("--out <file>", "write the report to a file instead of stdout")
  .action(linux);
program
  .command("hot-spots")
  .description("instructions of the same boot by the kernel's functions, beside QEMU's (needs gcc and QEMU)")
  .option("--json", "print JSON")
  .option("--out <file>", "write the report to a file instead of stdout")
  .action(hotSpots);
program.command("cpu-once <engine> <kernel>", { hidden: true }).action(cpuOnce);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

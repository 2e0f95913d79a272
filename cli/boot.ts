/** `exitless boot` and `exitless screen`: runs a guest with its serial port, or its screen and keyboard, on stdin and stdout. */
import { createWriteStream, writeFileSync, type WriteStream } from "node:fs";
import { traceLine } from "../hypervisor/ledger.ts";
import { Machine, loadCostProfile, type MachineOptions, type RunResult } from "../hypervisor/machine.ts";
import { ParallelMachine } from "../hypervisor/parallel-machine.ts";
import { encodePng } from "../hypervisor/png.ts";
import type { GuestConsole } from "./console.ts";
import { ScreenConsole, linesOf } from "./screen-console.ts";
import { SerialConsole } from "./serial-console.ts";
import { Shown, Typer, type Typing } from "./typing.ts";
import { sliceLimits } from "./slice.ts";
import { Status } from "./status.ts";

export interface BootOptions {
  /** What the terminal shows and its keys go to. */
  readonly console: "serial" | "screen";
  readonly machine: Omit<MachineOptions, "onSerial" | "onExit" | "cost">;
  readonly clock: "virtual" | "wall";
  readonly cost: string;
  readonly timeoutSeconds: number | undefined;
  readonly stats: string | undefined;
  readonly trace: string | undefined;
  /** Files for the screen at the end: as text ("-": stderr), and as a PNG. */
  readonly screen?: string | undefined;
  readonly screenshot?: string | undefined;
  /** The run ends, with status 0, once the guest has shown this on its screen or serial port. */
  readonly until?: string | undefined;
  /** Keys to type. */
  readonly typings?: readonly Typing[];
  readonly reboot: boolean;
}

/** Cycles between two looks at the terminal, the clock and signals in virtual time; milliseconds in wall time. */
const SLICE_CYCLES = 5_000_000;
const SLICE_MILLISECONDS = 10;
/** Fewer instructions than this share of a slice's cycles: the guest is idle. */
const IDLE_SHARE = 0.02;

/** The status that a run's end gives to the shell. */
export function statusOf(result: RunResult): number {
  switch (result.end) {
    case "power-off":
    case "paused":
    case "reset":
      return Status.OK;
    case "debug-exit":
      return ((result.code << 1) | 1) & 0xff;
    case "triple-fault":
      return Status.TRIPLE_FAULT;
    case "idle":
      return Status.HALTED;
  }
}

/** Runs the guest; returns the exit status. Words about the run go to stderr. */
export async function boot(options: BootOptions): Promise<number> {
  const typer = new Typer(options.typings ?? []);
  const shown = new Shown();
  const hasShown = (): boolean => options.until !== undefined && shown.has(options.until, machine);
  const trace: WriteStream | undefined =
    options.trace === undefined ? undefined : createWriteStream(options.trace);
  const machineOptions: MachineOptions = {
    ...options.machine,
    cost: loadCostProfile(options.cost),
    onSerial: (byte) => {
      input.transmit(byte);
      typer.heard(byte);
      if (options.until !== undefined) shown.heard(byte);
    },
    ...(trace ? { onExit: (entry) => trace.write(`${traceLine(entry)}\n`) } : {}),
  };
  const machine =
    options.clock === "wall" ? new ParallelMachine(machineOptions) : new Machine(machineOptions);
  for (const note of machine.bootImage?.notes ?? []) process.stderr.write(`exitless: ${note}\n`);
  try {
    await machine.networkReady();
  } catch (error) {
    await machine.close();
    throw error;
  }
  for (const line of machine.describeNetwork()) process.stderr.write(`exitless: ${line}\n`);
  const input: GuestConsole = options.console === "screen" ? new ScreenConsole() : new SerialConsole();
  /** Words about the end, for when the terminal is as it was. */
  const words: string[] = [];
  const signals = { interrupted: false };
  const onSignal = (): void => void (signals.interrupted = true);
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  const started = process.hrtime.bigint();
  const wallSeconds = (): number => Number(process.hrtime.bigint() - started) / 1e9;
  const isTimeUp = (): boolean =>
    options.timeoutSeconds !== undefined && wallSeconds() > options.timeoutSeconds;
  /** Runs a slice of virtual time; in wall time, until something here needs the machine to stand still. */
  let accepted = 0;
  const slice = async (): Promise<RunResult> => {
    accepted = input.feed(machine);
    if (!typer.isDone) typer.look(machine);
    if (machine instanceof Machine) return machine.run(sliceLimits(machine, SLICE_CYCLES));
    const look = setInterval(() => {
      input.feed(machine);
      if (!typer.isDone) typer.look(machine);
      input.show(machine);
      if (signals.interrupted || input.quit || isTimeUp() || hasShown()) machine.pause();
    }, SLICE_MILLISECONDS);
    try {
      return await machine.run();
    } finally {
      clearInterval(look);
    }
  };
  /**
   * What waits for something outside must not see its virtual time run away: a slice in which hardly anything was executed takes as
   * long outside. Guests with no way out wait for nobody.
   */
  let executed = 0;
  const idleMilliseconds = (): number => {
    if (!(machine instanceof Machine) || !machine.hasOutsideNetwork) return 0;
    const now = machine.board.cores.reduce((sum, core) => sum + core!.state.instructions, 0);
    const isIdle = now - executed < SLICE_CYCLES * IDLE_SHARE;
    executed = now;
    return isIdle ? (SLICE_CYCLES / machine.profile.frequencyHz) * 1000 : 0;
  };
  let status: number = Status.OK;
  try {
    for (;;) {
      const result = await slice();
      input.show(machine);
      // A guest that resets for ever comes to the checks below as well: the timeout and signals still end it.
      const goesOn =
        result.end === "paused" ||
        (result.end === "reset" && options.reboot) ||
        (result.end === "idle" &&
          machine instanceof Machine &&
          !machine.isDead &&
          (input.isOpen || accepted > 0 || machine.hasOutsideNetwork));
      if (result.end === "reset" && goesOn) machine.reset();
      if (!goesOn) {
        if (result.end === "triple-fault") words.push(`triple fault at RIP ${ripOf(machine)}`);
        if (result.end === "idle") words.push("the guest has halted and nothing can wake it");
        status = statusOf(result);
        break;
      }
      if (signals.interrupted || input.quit) {
        status = signals.interrupted ? Status.INTERRUPTED : Status.OK;
        if (input.quit) words.push("terminated by Ctrl-A X");
        break;
      }
      if (hasShown()) break;
      if (isTimeUp()) {
        words.push(
          `timeout: the guest still runs after ${options.timeoutSeconds ?? 0} s, at RIP ${ripOf(machine)}`,
        );
        status = Status.TIMEOUT;
        break;
      }
      // Keys and signals arrive between slices; an idle guest waits for them without using the processor.
      const wait = result.end === "idle" ? 10 : idleMilliseconds();
      await new Promise((resolve) => (wait > 0 ? setTimeout(resolve, wait) : setImmediate(resolve)));
    }
    writeScreen(machine.screen, options);
    if (options.stats !== undefined) {
      const stats = {
        ...machine.stats(),
        wallSeconds: wallSeconds(),
        peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      };
      const text = `${JSON.stringify(stats, null, 2)}\n`;
      if (options.stats === "-") process.stderr.write(text);
      else writeFileSync(options.stats, text);
    }
  } finally {
    input.close(machine);
    // The guest's line may not have ended.
    if (input.quit) process.stderr.write("\r\n");
    for (const text of words) process.stderr.write(`exitless: ${text}\n`);
    process.removeListener("SIGINT", onSignal);
    process.removeListener("SIGTERM", onSignal);
    await machine.close();
    if (trace) await new Promise((resolve) => trace.end(resolve));
  }
  return status;
}

function writeScreen(
  screen: Machine["screen"],
  { screen: textFile, screenshot }: Pick<BootOptions, "screen" | "screenshot">,
): void {
  if (textFile === undefined && screenshot === undefined) return;
  if (screen === undefined) {
    process.stderr.write("exitless: there is no screen to write: the machine has no VGA (-vga std)\n");
    return;
  }
  const text = linesOf(screen);
  if (textFile === "-") process.stderr.write(`${text.join("\n")}\n`);
  else if (textFile !== undefined) writeFileSync(textFile, `${text.join("\n")}\n`);
  if (screenshot !== undefined) writeFileSync(screenshot, encodePng(screen));
}

function ripOf(machine: Machine | ParallelMachine): string {
  return `${machine.board.core(0).state.rip.toString(16).toUpperCase()}H`;
}

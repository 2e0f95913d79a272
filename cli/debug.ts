/** `exitless debug`: the debugger at a terminal, or with commands from a file. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Commands, CommandError } from "../debugger/commands.ts";
import { Session } from "../debugger/session.ts";
import { loadCostProfile, OptionError, type MachineOptions } from "../hypervisor/machine.ts";
import { Status } from "./status.ts";

export interface DebugOptions {
  readonly machine: Omit<MachineOptions, "onSerial" | "onExit" | "cost">;
  readonly cost: string;
  /** File of commands, one a line; lines that begin with # are comments. */
  readonly script: string | undefined;
}

const PROMPT = "(exitless) ";
/** Commands that an empty line repeats. */
const REPEATED = /^(n|next|b|back|x|m|mem)(\s|$)/;

/** The guest's serial output as whole lines among the debugger's own. */
class SerialLines {
  #line = "";

  transmit(byte: number): void {
    if (byte === 10) this.flush();
    else if (byte !== 13) this.#line += String.fromCharCode(byte);
  }

  flush(): void {
    if (this.#line !== "") process.stdout.write(`serial| ${this.#line}\n`);
    this.#line = "";
  }
}

function readScript(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split(/\r?\n/);
  } catch (error) {
    throw new OptionError(`--script ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Debugs a guest. Answers and the guest's serial output go to stdout; the prompt to stderr unless stdout is a terminal.
 * @returns the exit status: usage error when a command of a script fails, which also ends the script
 */
export async function debug(options: DebugOptions): Promise<number> {
  const script = options.script === undefined ? undefined : readScript(options.script);
  const serial = new SerialLines();
  const session = new Session(
    { ...options.machine, cost: loadCostProfile(options.cost) },
    { onSerial: (byte) => serial.transmit(byte) },
  );
  let isInterrupted = false;
  const onSignal = (): void => void (isInterrupted = true);
  process.on("SIGINT", onSignal);
  const print = (lines: readonly string[]): void =>
    void process.stdout.write(lines.map((line) => `${line}\n`).join(""));
  try {
    const commands = new Commands(session, () => isInterrupted);
    print(await commands.start());
    return script === undefined
      ? await converse(commands, print, () => (isInterrupted = false))
      : await follow(script, commands, print);
  } finally {
    serial.flush();
    process.removeListener("SIGINT", onSignal);
    session.close();
  }
}

async function follow(
  script: readonly string[],
  commands: Commands,
  print: (lines: readonly string[]) => void,
): Promise<number> {
  for (const [index, line] of script.entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    print([`${PROMPT}${line}`]);
    try {
      const answer = await commands.execute(line);
      if (answer === undefined) break;
      print(answer);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      process.stderr.write(`exitless: script line ${index + 1}: ${error.message}\n`);
      return Status.USAGE;
    }
  }
  return Status.OK;
}

async function converse(
  commands: Commands,
  print: (lines: readonly string[]) => void,
  begin: () => void,
): Promise<number> {
  const output = process.stdout.isTTY ? process.stdout : process.stderr;
  const lines = createInterface({
    input: process.stdin,
    output,
    terminal: process.stdin.isTTY && output.isTTY,
    prompt: PROMPT,
  });
  // On a terminal readline takes Ctrl-C: it must reach the running guest all the same.
  lines.on("SIGINT", () => process.emit("SIGINT"));
  let last = "";
  lines.prompt();
  for await (const typed of lines) {
    const line = typed.trim() === "" ? last : typed;
    last = REPEATED.test(line.trim()) ? line : "";
    begin();
    try {
      const answer = await commands.execute(line);
      if (answer === undefined) break;
      print(answer);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      process.stderr.write(`${error.message}\n`);
    }
    lines.prompt();
  }
  lines.close();
  return Status.OK;
}

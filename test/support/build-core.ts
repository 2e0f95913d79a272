/**
 * Compiles an AssemblyScript entry for a test, once per content of the core.
 *
 * The module is kept in `build/testing/` under a hash of every AssemblyScript source and the compiler's options, so that a
 * second run, or a second test file, does not compile again.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { insertTailCalls } from "../../scripts/tail-calls.mjs";

const CORE = "emulator/core";
const ASC = "node_modules/assemblyscript/bin/asc.js";
const FINISHER = "scripts/tail-calls.mjs";

function contentHash(entry: string): string {
  const hash = createHash("sha256")
    .update(entry)
    .update(readFileSync("asconfig.json"))
    .update(readFileSync(FINISHER));
  const files = readdirSync(CORE, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .sort();
  for (const file of files) hash.update(file).update(readFileSync(join(CORE, file)));
  return hash.digest("hex").slice(0, 16);
}

/** Milliseconds that a hook which compiles should be given: the whole core takes half a minute on a busy, slow machine. */
export const BUILD_TIMEOUT = 300_000;

/** Exports of a module that a test calls: functions from numbers to a number or nothing. */
export type CoreExports = Readonly<Record<string, (...args: number[]) => number>>;

/**
 * Compiles `entry` (a path in the repository) with the `testing` target; throws with the compiler's messages on an error.
 */
export async function buildCore(entry: string): Promise<WebAssembly.Module> {
  const name = entry.replaceAll("/", "-").replace(/\.ts$/, "");
  const file = join("build/testing", `${name}.${contentHash(entry)}.wasm`);
  try {
    return new WebAssembly.Module(readFileSync(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  mkdirSync("build/testing", { recursive: true });
  // Two test processes may compile at once: each writes its own file and renames it.
  const partial = `${file}.${process.pid}`;
  // As a process of its own: the compiler's type declarations would redeclare globals (console, i32) for all of our code.
  await promisify(execFile)(process.execPath, [ASC, entry, "--target", "testing", "--outFile", partial]);
  writeFileSync(partial, insertTailCalls(readFileSync(partial)).wasm);
  renameSync(partial, file);
  return new WebAssembly.Module(readFileSync(file));
}

/** Instantiates a core module on a memory. */
export async function instantiateCore(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<CoreExports> {
  const abort = (): never => {
    throw new Error("the core aborted");
  };
  const instance = await WebAssembly.instantiate(module, { env: { memory, abort } });
  return instance.exports as CoreExports;
}

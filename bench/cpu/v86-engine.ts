/**
 * v86 (npm package `v86`, a 32-bit PC in WebAssembly), with and without its translator.
 *
 * Its multiboot loader works without firmware, and ends the run by throwing when the guest writes port F4H.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { startClock } from "./engine.ts";
import type { Engine, EngineRun } from "./engine.ts";
import { resultOf } from "./kernels.ts";
import type { Kernel } from "./kernels.ts";

/** The part of v86's interface that is used here. */
interface V86Instance {
  add_listener(event: string, listener: (value: number) => void): void;
  run(): Promise<void> | void;
}
interface V86Module {
  readonly V86: new (options: Readonly<Record<string, unknown>>) => V86Instance;
}

const RAM_BYTES = 64 << 20;

/** Folder of the installed package, or undefined. */
function packageFolder(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("v86")), "..");
  } catch {
    return undefined;
  }
}

export class V86Engine implements Engine {
  readonly name: string;
  readonly what: string;
  readonly #translates: boolean;

  constructor(translates: boolean) {
    this.#translates = translates;
    this.name = translates ? "v86-jit" : "v86-interpreter";
    this.what = translates ? "v86 with its translator to wasm" : "v86 with disable_jit";
  }

  version(): string | undefined {
    const folder = packageFolder();
    if (folder === undefined) return undefined;
    return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string }).version;
  }

  async run(kernel: Kernel): Promise<EngineRun> {
    const folder = packageFolder();
    if (folder === undefined) throw new Error("the package v86 is not installed");
    const { V86 } = (await import("v86")) as unknown as V86Module;
    const image = Uint8Array.from(readFileSync(kernel.path));
    const emulator = new V86({
      wasm_path: join(folder, "build", "v86.wasm"),
      memory_size: RAM_BYTES,
      multiboot: { buffer: image.buffer },
      disable_jit: !this.#translates,
      autostart: false,
    });
    // The exception that ends the run reaches no caller.
    process.on("uncaughtException", (error: unknown) => {
      if (error !== "HALT") throw error;
    });
    return new Promise((resolve) => {
      let output = "";
      let elapsed = startClock();
      emulator.add_listener("emulator-ready", () => {
        elapsed = startClock();
        void emulator.run();
      });
      emulator.add_listener("serial0-output-byte", (byte) => {
        output += String.fromCharCode(byte);
        if (output.endsWith("\n") && resultOf(output)) resolve({ output, ...elapsed() });
      });
    });
  }
}

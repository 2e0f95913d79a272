/** v86 (npm package `v86`) as a machine for the programs of guest-images: what it prints, and memory behind. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** The part of v86's interface that is used here. */
interface V86Instance {
  add_listener(event: string, listener: (value: number) => void): void;
  run(): Promise<void> | void;
  stop(): Promise<void> | void;
  destroy(): Promise<void> | void;
  read_memory(offset: number, length: number): Uint8Array;
}
interface V86Module {
  readonly V86: new (options: Readonly<Record<string, unknown>>) => V86Instance;
}

export interface V86Run {
  readonly text: string;
  readonly memory: Uint8Array;
  /** What stopped it: "HALT" for a write to the debug-exit port; else v86's own panic. */
  readonly end: string;
}

const RAM_BYTES = 16 << 20;
const SLOWEST = 60_000;

/**
 * Runs a multiboot image until it writes the debug-exit port, or v86 gives up.
 *
 * v86 ends such a run, and tells of what it has not implemented, by an exception that reaches no caller: for the time of the run the
 * process's handlers for those are ours.
 *
 * @param from physical address of the memory that is asked for
 */
export async function runV86(path: string, from: number, length: number): Promise<V86Run> {
  const { V86 } = (await import("v86")) as unknown as V86Module;
  const folder = join(dirname(createRequire(import.meta.url).resolve("v86")), "..");
  const image = Uint8Array.from(readFileSync(path));
  const emulator = new V86({
    wasm_path: join(folder, "build", "v86.wasm"),
    memory_size: RAM_BYTES,
    multiboot: { buffer: image.buffer },
    disable_jit: true,
    autostart: false,
  });
  let text = "";
  const handlers = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  try {
    const end = await new Promise<string>((resolve) => {
      const timer = setTimeout(() => resolve("timeout"), SLOWEST);
      process.on("uncaughtException", (error: unknown) => {
        clearTimeout(timer);
        resolve(error instanceof Error ? error.message : String(error));
      });
      emulator.add_listener("serial0-output-byte", (byte) => (text += String.fromCharCode(byte)));
      emulator.add_listener("emulator-ready", () => void emulator.run());
    });
    return { text, memory: emulator.read_memory(from, length).slice(), end };
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const handler of handlers) process.on("uncaughtException", handler);
  }
}

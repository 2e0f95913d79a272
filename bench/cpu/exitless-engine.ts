/**
 * Our interpreter: one core on its own memory, with no more of a machine than the kernels need: COM1 and the port that
 * ends the run.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Core, MachineMemory, Stop, configureCpu } from "../../emulator/host/core.ts";
import type { CoreHost } from "../../emulator/host/core.ts";
import { applyEntryState } from "../../emulator/machine/loaders/entry-state.ts";
import { loadMultiboot } from "../../emulator/machine/loaders/multiboot.ts";
import { readImage } from "../../emulator/machine/read-image.ts";
import { planMemory } from "../../layout/memory-map.ts";
import { startClock } from "./engine.ts";
import type { Engine, EngineRun } from "./engine.ts";
import type { Kernel } from "./kernels.ts";

const RAM_BYTES = 64 << 20;
const RECORD_BYTES = 4 << 20;

const COM1_DATA = 0x3f8;
const COM1_LINE_STATUS = 0x3fd;
/** LSR.THRE and LSR.TEMT: a transmitter that is always empty. */
const LINE_STATUS_EMPTY = 0x60;
const DEBUG_EXIT_PORT = 0xf4;

/** Ports of the smallest machine; everything else reads as all ones. */
class SmallestHost implements CoreHost {
  output = "";
  ended = false;
  core: Core | undefined;

  portAccess(): boolean {
    const { state } = this.core!;
    if (state.ioWrite !== 0) {
      if (state.ioAddress === COM1_DATA) this.output += String.fromCharCode(Number(state.ioValue & 0xffn));
      if (state.ioAddress === DEBUG_EXIT_PORT) {
        this.ended = true;
        state.stopAtInstruction = 0;
      }
    } else state.ioValue = state.ioAddress === COM1_LINE_STATUS ? BigInt(LINE_STATUS_EMPTY) : 0xffffffffn;
    return false;
  }

  memoryAccess(): boolean {
    const { state } = this.core!;
    if (state.ioWrite === 0) state.ioValue = 0xffffffffffffffffn;
    return false;
  }

  wallClock = (): number => 0;
  sendInterrupt = (): void => undefined;
  endOfInterrupt = (): void => undefined;
  floatError = (): void => undefined;
  monitoredLineWritten = (): void => undefined;
  acknowledgeInterrupt = (): number => 0;
}

/** A core that is about to enter a multiboot image, and its host. */
export function prepareRun(module: WebAssembly.Module, path: string): { core: Core; host: SmallestHost } {
  const plan = planMemory({ cpus: 1, ramBytes: RAM_BYTES, stateBytes: 4096, recordBytes: RECORD_BYTES });
  const memory = MachineMemory.create(plan, false);
  const host = new SmallestHost();
  configureCpu(memory, 0, {
    clock: "virtual",
    cyclesPerInstruction: 1,
    tscFrequency: 1e9,
    signature: 0x106a5,
    // OSFXSR and OSXMMEXCPT.
    cr4Allowed: 0x600n,
    instructionSets: new Set(["BASE", "CMOV", "X87", "FXSR", "SSE", "SSE2"]),
    cpuid: [
      [0, undefined, 1, 0, 0, 0],
      [0x80000000, undefined, 0x80000000, 0, 0, 0],
    ],
    recordBytes: RECORD_BYTES,
  });
  const core = new Core(module, memory, 0, host);
  host.core = core;
  core.exports.resetForPowerOn();
  const image = loadMultiboot({
    kernel: readImage(path, "kernel"),
    commandLine: "",
    modules: [],
    ram: { lowRam: RAM_BYTES, highRam: 0 },
    memoryMap: [],
    rsdp: 0,
  });
  const bytes = new Uint8Array(memory.state.buffer);
  for (const segment of image.segments)
    bytes.set(segment.bytes, memory.ramOffset(segment.physical, segment.size));
  applyEntryState(core.state, image.entry);
  core.exports.updateMode();
  core.exports.updateContext();
  return { core, host };
}

export class ExitlessEngine implements Engine {
  readonly name = "exitless";
  readonly what = "our interpreter, one core with COM1 alone";
  readonly #wasm: string;

  constructor(dist: string) {
    this.#wasm = join(dist, "core.wasm");
  }

  version(): string {
    return "this tree";
  }

  run(kernel: Kernel): Promise<EngineRun> {
    const module = new WebAssembly.Module(readFileSync(this.#wasm));
    const { core, host } = prepareRun(module, kernel.path);
    const elapsed = startClock();
    const stop = core.exports.run();
    const times = elapsed();
    if (!host.ended)
      throw new Error(
        `${kernel.name}: the core stopped with ${stop} (${nameOf(stop)}) before the kernel's end`,
      );
    return Promise.resolve({ output: host.output, ...times, instructions: core.state.instructions });
  }
}

function nameOf(stop: number): string {
  return Object.entries(Stop).find(([, value]) => value === stop)?.[0] ?? "unknown";
}

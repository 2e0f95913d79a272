/** What the thread that owns a parallel machine and the machine's worker threads tell each other. */
import type { Epoch } from "../emulator/machine/wall-clock.ts";
import type { MemoryPlan } from "../layout/memory-map.ts";
import type { Hardware, Overlays } from "./assembly.ts";
import type { LedgerEntry } from "./ledger.ts";

/** What a worker thread is. */
export type Role =
  | { readonly kind: "cpu"; readonly index: number }
  /** The main loop or the device-emulation thread. */
  | { readonly kind: "io" }
  | { readonly kind: "poll" }
  /** Fires timers when nobody else does. */
  | { readonly kind: "timekeeper" };

/** `workerData`: everything that a worker builds its view of the machine from. */
export interface WorkerSetup {
  readonly role: Role;
  readonly hardware: Hardware;
  readonly wasm: WebAssembly.Memory;
  readonly plan: MemoryPlan;
  readonly module: WebAssembly.Module;
  readonly overlays: Overlays;
  readonly epoch: Epoch;
  /** Seconds since 1970 at the epoch. */
  readonly epochSeconds: number;
  /** Report every VM exit. */
  readonly traces: boolean;
  /** Labels and offsets of all state: a worker that would place it otherwise refuses to start. */
  readonly places: string;
}

/** To a worker: run until the board stops. */
export type ToWorker = { readonly kind: "run" };

export type FromWorker =
  /** Built; waits for `run`. */
  | { readonly kind: "ready" }
  /** Has left its loop and touches nothing until the next `run`. */
  | { readonly kind: "stopped" }
  | { readonly kind: "exits"; readonly entries: readonly LedgerEntry[] };

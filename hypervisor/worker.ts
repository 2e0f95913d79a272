/**
 * A worker thread of a parallel machine: one physical CPU (with the virtual CPU pinned to it), a host thread, or the
 * timekeeper. It builds its view of the machine on the shared memory and runs when told to.
 */
import { parentPort, workerData } from "node:worker_threads";
import { MachineMemory } from "../emulator/host/core.ts";
import { BoardClock } from "../emulator/machine/clock.ts";
import { runCpuThread, runTimekeeper } from "../emulator/machine/threads.ts";
import { wallClock } from "../emulator/machine/wall-clock.ts";
import { Assembly, openCaptures, openDrives, placesOf } from "./assembly.ts";
import type { LedgerEntry } from "./ledger.ts";
import { ParallelChannels } from "./parallel-channels.ts";
import type { FromWorker, WorkerSetup } from "./worker-protocol.ts";

/** Exits gathered before they are sent. */
const TRACE_BATCH = 256;

const setup = workerData as WorkerSetup;
const { role, hardware } = setup;
const port = parentPort;
if (port === null) throw new Error("this file runs as a worker thread");
const tell = (message: FromWorker): void => port.postMessage(message);

const memory = new MachineMemory(setup.wasm, setup.plan);
const clock = new BoardClock(hardware.profile.frequencyHz, setup.epochSeconds);
clock.source = wallClock(setup.epoch, hardware.profile.frequencyHz);

let exits: LedgerEntry[] = [];
const flushExits = (): void => {
  if (exits.length === 0) return;
  channels.traceSent(() => board.isStopping);
  tell({ kind: "exits", entries: exits });
  exits = [];
};

const assembly = new Assembly(hardware, {
  module: setup.module,
  memory,
  clock,
  localCpus: role.kind === "cpu" ? [role.index] : [],
  drives: openDrives(hardware.drives, setup.overlays),
  transmit: (byte) => channels.serial.push(byte, () => board.isStopping),
  toHost: (netdev, frame, offload) => channels.sendFrame(netdev, frame, offload),
  // In wall time the owner's own timers serve.
  hostTimer: () => undefined,
  captures: openCaptures(hardware.dumps, false),
  ...(setup.traces
    ? {
        onExit: (entry: LedgerEntry) => {
          exits.push(entry);
          if (exits.length >= TRACE_BATCH) flushExits();
        },
      }
    : {}),
});
const { board, vm } = assembly;
const channels = new ParallelChannels(board.allocator, hardware.netdevs.length);
board.stopping = () => assembly.signalHostThreads();
board.kicked = (index) => board.kick(index);
if (placesOf(assembly) !== setup.places)
  throw new Error(
    "the worker places the machine's state otherwise than the main thread: run `npm run build`",
  );

function loop(): void {
  switch (role.kind) {
    case "cpu":
      runCpuThread(board, role.index, assembly.actors[role.index]!);
      return;
    case "io":
      while (!board.isStopping) vm!.ioThread.turn(board.lock!);
      return;
    case "poll":
      while (!board.isStopping) vm!.pollThread!.turn(board.lock!);
      return;
    case "timekeeper":
      runTimekeeper(board, {
        hasHostWork: () => vm !== undefined && !vm.ioThread.isIdle(),
        isDead: () => assembly.isDead,
      });
  }
}

// The one message there is: `ToWorker`.
port.on("message", () => {
  loop();
  flushExits();
  tell({ kind: "stopped" });
});
tell({ kind: "ready" });

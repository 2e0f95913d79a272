/**
 * A machine in parallel mode: wall time, a worker thread per physical CPU, host threads that are threads, and one lock over
 * devices and hypervisor (ARCHITECTURE.md, "Parallel mode"). The thread that owns it only waits, so it stays free for input and
 * signals. Counts of requests, kicks and port accesses are those of virtual time; times are the host's.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Capture } from "../devices/net/capture.ts";
import type { MachineMemory } from "../emulator/host/core.ts";
import { BoardRequest, type Board } from "../emulator/machine/board.ts";
import { BoardClock } from "../emulator/machine/clock.ts";
import type { BootImage } from "../emulator/machine/loaders/boot-image.ts";
import { wallClock, type Epoch } from "../emulator/machine/wall-clock.ts";
import {
  Assembly,
  createMemory,
  openCaptures,
  openDrives,
  placesOf,
  prepareSoftware,
  type Hardware,
  type MemoryReport,
  type OpenDrive,
  type Software,
} from "./assembly.ts";
import { keyEvents } from "../devices/input/scan-codes.ts";
import type { Screen, TextScreen } from "../devices/vga/screen.ts";
import { FirmwareLog } from "./firmware-log.ts";
import { startCharacters } from "./characters.ts";
import { HostNetwork, type FramePort } from "./host-network.ts";
import type { LedgerEntry } from "./ledger.ts";
import { checkOptions, loadCore, type MachineOptions, type RunEnd, type RunResult } from "./machine.ts";
import { ParallelChannels } from "./parallel-channels.ts";
import { collectStats, type MachineStats } from "./stats.ts";
import type { Vm } from "./vm.ts";
import type { FromWorker, Role, WorkerSetup } from "./worker-protocol.ts";

/** How often serial output is looked for, milliseconds. A full ring holds the guest up for so long at most. */
const DRAIN_INTERVAL = 5;

/** The bundled worker: beside the bundle, or in dist/ when run from the sources. */
function workerFile(): URL {
  for (const path of ["./worker.js", "../dist/worker.js"]) {
    const url = new URL(path, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  throw new Error("worker.js is missing: run `npm run build`");
}

export class ParallelMachine {
  readonly memory: MachineMemory;
  readonly board: Board;
  readonly vm: Vm | undefined;
  readonly mode: "metal" | "vm";
  /** Undefined where the machine starts in firmware. */
  readonly bootImage: BootImage | undefined;
  readonly #hardware: Hardware;
  readonly #software: Software;
  readonly #assembly: Assembly;
  readonly #channels: ParallelChannels;
  readonly #drives: readonly OpenDrive[];
  readonly #captures: readonly Capture[];
  readonly #hostNetwork: HostNetwork;
  readonly #networkTimers: (NodeJS.Timeout | undefined)[] = [];
  readonly #clock: BoardClock;
  readonly #onSerial: (byte: number) => void;
  readonly #onExit: ((entry: LedgerEntry) => void) | undefined;
  #workers: Worker[] | undefined;
  #waiting = 0;
  #settle: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;
  #isRunning = false;
  #isPausing = false;

  /** Builds the machine; its threads start with the first `run`. Throws as `Machine` does. */
  constructor(options: MachineOptions) {
    const hardware = checkOptions(options, "wall");
    this.#hardware = hardware;
    this.mode = hardware.mode;
    this.#software = prepareSoftware(options, hardware);
    this.bootImage = this.#software.image;
    this.#onSerial = options.onSerial ?? (() => undefined);
    this.#onExit = options.onExit;
    startCharacters(hardware.characters);
    if (hardware.firmware?.log !== undefined) FirmwareLog.start(hardware.firmware.log);
    this.memory = createMemory(hardware);
    this.#drives = openDrives(hardware.drives);
    this.#captures = openCaptures(hardware.dumps, true);
    this.#hostNetwork = new HostNetwork(options.netdevs ?? [], {
      deliver: (netdev, frame, offload) =>
        this.#hold(() => this.#assembly.network.links[netdev]!.deliver(frame, offload)),
      now: () => this.seconds,
      arm: (netdev, seconds) => this.#armTimer(netdev, seconds),
    });
    try {
      this.#epoch = process.hrtime();
      this.#clock = new BoardClock(hardware.profile.frequencyHz, Math.floor(Date.now() / 1000));
      this.#clock.source = wallClock(this.#epoch, hardware.profile.frequencyHz);
      this.#assembly = new Assembly(hardware, {
        module: loadCore(),
        memory: this.memory,
        clock: this.#clock,
        localCpus: [],
        drives: this.#drives,
        transmit: (byte) => this.#onSerial(byte),
        // No device runs on this thread but where it delivers a frame, and a frame that comes back at once waits for its turn.
        toHost: (netdev, frame, offload) => this.#channels.sendFrame(netdev, frame, offload),
        hostTimer: () => undefined,
        captures: this.#captures,
      });
      const { board, vm } = this.#assembly;
      this.board = board;
      this.vm = vm;
      this.#channels = new ParallelChannels(board.allocator, hardware.netdevs.length);
      board.stopping = () => this.#assembly.signalHostThreads();
      board.kicked = (index) => board.kick(index);
      this.#assembly.clearPlacedState();
      this.#powerOn();
    } catch (error) {
      this.#closeDrives();
      throw error;
    }
  }

  readonly #epoch: Epoch;

  #powerOn(): void {
    this.board.lock!.reset();
    this.#channels.reset();
    this.board.powerOn();
    for (const core of this.board.cores) core!.state.attention = 0;
    this.#assembly.boot(this.#software);
  }

  /** Cycles since the machine was made. */
  get cycles(): number {
    return this.#clock.now();
  }

  /** Seconds since the machine was made. */
  get seconds(): number {
    return this.cycles / this.#hardware.profile.frequencyHz;
  }

  /**
   * Runs until the guest ends, asks for a reset, or `pause` is called. Meanwhile `onSerial` and `onExit` are called on this
   * thread. Rejects with the error of a thread that failed; the machine can then only be closed.
   */
  async run(): Promise<RunResult> {
    if (this.#failure) throw this.#failure;
    if (this.#settle) throw new Error("the machine is running");
    const drain = setInterval(() => this.#drain(), DRAIN_INTERVAL);
    this.#isRunning = true;
    void this.#watchFrames();
    this.#isPausing = false;
    try {
      if (!this.#workers) await this.#start();
      // A pause may have been asked for while the threads were starting.
      if (!this.#hasToPause()) {
        this.board.lock!.state.stop = this.board.state.request === BoardRequest.NONE ? 0 : 1;
        await this.#allWorkers((worker) => worker.postMessage({ kind: "run" }));
      }
    } finally {
      this.#isRunning = false;
      clearInterval(drain);
      this.#drain();
    }
    // Threads that `close` has stopped answer like any others.
    this.#throwFailure();
    return this.#result();
  }

  /** Makes a run in progress end with `paused`; the next one goes on from there. */
  pause(): void {
    if (!this.#isRunning) return;
    this.#isPausing = true;
    if (this.#settle) this.board.stopThreads();
  }

  #hasToPause(): boolean {
    return this.#isPausing;
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Carries out a reset that the guest asked for: devices, CPUs, and the image loaded again. Between two runs. */
  reset(): void {
    if (this.#settle) throw new Error("the machine is running");
    const { resets } = this.board.state;
    this.#powerOn();
    this.board.state.resets = resets + 1;
  }

  /** See `Assembly.setMemoryTarget`. */
  setMemoryTarget(bytes: number): boolean {
    return this.board.lock!.hold(() => this.#assembly.setMemoryTarget(bytes));
  }

  /** See `Assembly.memoryReport`. */
  memoryReport(): MemoryReport | undefined {
    return this.board.lock!.hold(() => this.#assembly.memoryReport());
  }

  /** What is on the guest's screen; undefined without a VGA. */
  get screen(): Screen | undefined {
    return this.#assembly.screen;
  }

  /** Characters with their colours, and the cursor; undefined where the screen shows a picture. */
  get textScreen(): TextScreen | undefined {
    return this.#assembly.textScreen;
  }

  /** The characters on it alone; undefined where it shows a picture. */
  get screenText(): readonly string[] | undefined {
    return this.#assembly.screenText;
  }

  /**
   * Types on the guest's keyboard: characters of the US layout, names of QEMU's `sendkey` in angle brackets. Nothing happens
   * without a keyboard. Throws RangeError where there is no such key.
   */
  type(keys: string): void {
    this.board.lock!.hold(() => this.#assembly.input.keyboard?.type(keyEvents(keys)));
  }

  /** Moves the guest's mouse (right and up are positive) and sets its buttons: 1 left, 2 right, 4 middle. */
  moveMouse(x: number, y: number, wheel = 0, buttons = 0): void {
    this.board.lock!.hold(() => this.#assembly.input.mouse?.move(x, y, wheel, buttons));
  }

  /** Hands keys to the guest: to its console on the terminal, or to the first serial port. Returns how many were accepted. */
  receive(input: Uint8Array): number {
    return this.#hold(() => this.#assembly.receive(input));
  }

  /** The counters; exact between two runs. */
  stats(): MachineStats {
    return collectStats(this.#assembly, this.cycles);
  }

  /** Ends all threads, wherever they are, and closes the image files. */
  async close(): Promise<void> {
    const workers = this.#workers ?? [];
    this.#workers = undefined;
    this.#failure ??= new Error("the machine is closed");
    if (this.#settle) this.board.stopThreads();
    await Promise.all(workers.map((worker) => worker.terminate()));
    this.#settle?.reject(this.#failure);
    this.#closeDrives();
  }

  #closeDrives(): void {
    for (const drive of this.#drives) drive.close();
    for (const capture of this.#captures) capture.close();
    for (const timer of this.#networkTimers) clearTimeout(timer);
    this.#hostNetwork.close();
  }

  #roles(): Role[] {
    const cpus = this.board.cores.map((_, index): Role => ({ kind: "cpu", index }));
    const host: Role[] = this.vm ? [{ kind: "io" }] : [];
    if (this.vm?.pollThread) host.push({ kind: "poll" });
    return [...cpus, ...host, { kind: "timekeeper" }];
  }

  async #start(): Promise<void> {
    const file = workerFile();
    const common: Omit<WorkerSetup, "role"> = {
      hardware: this.#hardware,
      wasm: this.memory.wasm,
      plan: this.memory.plan,
      module: loadCore(),
      overlays: this.#drives.map((drive) => drive.overlay),
      epoch: this.#epoch,
      epochSeconds: this.#clock.epochSeconds,
      traces: this.#onExit !== undefined,
      places: placesOf(this.#assembly),
    };
    await this.#allWorkers(() => {
      this.#workers = this.#roles().map((role) => {
        const worker = new Worker(file, { workerData: { ...common, role } satisfies WorkerSetup });
        worker.on("message", (message: FromWorker) => this.#hear(message));
        worker.on("error", (error: Error) => this.#fail(error));
        worker.on("exit", () => this.#fail(new Error(`the thread ${JSON.stringify(role)} has ended`)));
        return worker;
      });
    });
  }

  /** Does something to all workers (or makes them) and waits until each has answered. */
  async #allWorkers(act: ((worker: Worker) => void) | (() => void)): Promise<void> {
    const workers = this.#workers;
    this.#waiting = this.#roles().length;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = { resolve, reject };
        if (workers) for (const worker of workers) act(worker);
        else (act as () => void)();
      });
    } finally {
      this.#settle = undefined;
    }
  }

  #hear(message: FromWorker): void {
    if (message.kind === "exits") {
      this.#channels.traceTaken();
      for (const entry of message.entries) this.#onExit?.(entry);
    } else if (--this.#waiting === 0) this.#settle?.resolve();
  }

  /** A thread has failed: the others are ended as well, since it may hold the lock. */
  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const worker of this.#workers ?? []) void worker.terminate();
    this.#settle?.reject(error);
  }

  #drain(): void {
    this.#channels.serial.drain(this.#onSerial);
    this.#drainFrames();
  }

  /** Under the board's lock; who has it may be waiting for room in the ring of serial output, which only this thread makes. */
  #hold<T>(act: () => T): T {
    return this.board.lock!.hold(act, () => this.#channels.serial.drain(this.#onSerial));
  }

  /** Hands frames for the host to its side of the network. They are taken under the lock and handed on outside of it. */
  #drainFrames(): void {
    for (let netdev = 0; netdev < this.#hardware.netdevs.length; netdev++) {
      if (!this.#channels.hasFrames(netdev)) continue;
      const frames = this.#hold(() => this.#channels.takeFrames(netdev));
      for (const { bytes, offload } of frames) this.#hostNetwork.frame(netdev, bytes, offload);
    }
  }

  /** While the machine runs: takes frames as soon as a thread says that there are some. */
  async #watchFrames(): Promise<void> {
    if (this.#hardware.netdevs.length === 0) return;
    while (this.#isRunning) {
      await this.#channels.moreFrames(DRAIN_INTERVAL);
      this.#drainFrames();
    }
  }

  #armTimer(netdev: number, seconds: number): void {
    clearTimeout(this.#networkTimers[netdev]);
    const milliseconds = Math.max(1, (seconds - this.seconds) * 1000);
    this.#networkTimers[netdev] = setTimeout(() => this.#hostNetwork.timer(netdev), milliseconds);
  }

  /** Resolves when everything of `netdevs` that listens on the host does; rejects with OptionError. */
  networkReady(): Promise<void> {
    return this.#hostNetwork.ready();
  }

  /** Where the host's side of the netdevs is to be found, one line each. */
  describeNetwork(): string[] {
    return this.#hostNetwork.describe();
  }

  /** The frames of a netdev of kind `host`. */
  network(id: string): FramePort {
    return this.#hostNetwork.port(id);
  }

  /** Plugs a netdev's cable in or pulls it. */
  setLink(id: string, up: boolean): void {
    this.#hold(() => this.#assembly.setLink(id, up));
  }

  #result(): RunResult {
    const { request, exitCode } = this.board.state;
    const ends: Readonly<Record<number, RunEnd>> = {
      [BoardRequest.POWER_OFF]: "power-off",
      [BoardRequest.DEBUG_EXIT]: "debug-exit",
      [BoardRequest.TRIPLE_FAULT]: "triple-fault",
      [BoardRequest.SYSTEM_RESET]: "reset",
      [BoardRequest.CPU_RESET]: "reset",
    };
    const end = ends[request] ?? (this.#isPausing ? "paused" : "idle");
    return { end, code: end === "debug-exit" ? exitCode : 0 };
  }
}

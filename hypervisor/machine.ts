/**
 * A machine as a person asks for it: physical CPUs, RAM, disks, and either a guest on the bare metal or a virtual machine
 * under our hypervisor. Deterministic mode: one thread, virtual time.
 *
 * Everything volatile is in `memory` (and the disks' overlays), so a snapshot is a copy of them.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Capture } from "../devices/net/capture.ts";
import type { MachineMemory } from "../emulator/host/core.ts";
import { parseCpuSpec } from "../emulator/host/cpu-spec.ts";
import { BoardRequest, type Board } from "../emulator/machine/board.ts";
import { BoardClock } from "../emulator/machine/clock.ts";
import { parseCostProfile, type CostProfile } from "../emulator/machine/cost-profile.ts";
import { parseBootOrder, readBios, type BootOrder } from "../emulator/machine/firmware/bios.ts";
import type { BootImage } from "../emulator/machine/loaders/boot-image.ts";
import { readImage, type ImageFile } from "../emulator/machine/read-image.ts";
import { Scheduler } from "../emulator/machine/scheduler.ts";
import { StateAllocator } from "../layout/struct.ts";
import {
  Assembly,
  VIRTUAL_EPOCH,
  createMemory,
  openCaptures,
  openDrives,
  prepareSoftware,
  wallProfile,
  type DriveOptions,
  type FirmwareHardware,
  type Hardware,
  type MemoryReport,
  type OpenDrive,
  type Software,
  type SoftwareOptions,
} from "./assembly.ts";
import { startCharacters, type CharacterOptions } from "./characters.ts";
import { planCards, type DeviceOptions } from "./devices.ts";
import { keyEvents } from "../devices/input/scan-codes.ts";
import type { Screen, TextScreen } from "../devices/vga/screen.ts";
import { FirmwareLog } from "./firmware-log.ts";
import { HostNetwork, cycleAt, type FramePort } from "./host-network.ts";
import type { LedgerEntry } from "./ledger.ts";
import { planDumps, planNetdevs, type FilterDumpOptions, type NetdevOptions } from "./netdevs.ts";
import { OptionError } from "./option-error.ts";
import { stateHash } from "./state-hash.ts";
import { collectStats, type MachineStats } from "./stats.ts";
import type { RequestPath } from "./request-paths.ts";
import type { CompletionPath, Vm } from "./vm.ts";

export type { DriveOptions } from "./assembly.ts";
export type { CharacterOptions } from "./characters.ts";
export type { MemoryReport } from "./assembly.ts";
export type { DeviceOptions } from "./devices.ts";
export type { FilterDumpOptions, HostForward, NetdevOptions, StreamAddress } from "./netdevs.ts";
export { OptionError } from "./option-error.ts";
export type { CpuStats, MachineStats } from "./stats.ts";

const MIB = 1024 * 1024;
/** Scheduler decisions between two looks at whether any CPU can ever run again. */
const LOOKS_PER_DEATH_CHECK = 1024;

export interface MachineOptions extends SoftwareOptions {
  /** Guest RAM in MiB, even. Default 128. */
  readonly memory?: number;
  /** CPUs of the guest, 1 to 8. Default 1. */
  readonly smp?: number;
  /** A model of CPU_MODELS, with `,+feature` and `,-feature` as QEMU spells them. Default `nehalem`. */
  readonly cpu?: string;
  readonly drives?: readonly DriveOptions[];
  /** MiB that a balloon is to leave the guest; needs a `virtio-balloon-pci`. */
  readonly balloon?: number;
  /** Character devices, which consoles name. */
  readonly characters?: readonly CharacterOptions[];
  /** Timers that the board has; by default both. */
  readonly timers?: { readonly hpet?: boolean; readonly pit?: boolean };
  /** Cards, and what is attached to their buses. */
  readonly devices?: readonly DeviceOptions[];
  /** Networks, each for one device or (kind `peer`) as a port of a switch. */
  readonly netdevs?: readonly NetdevOptions[];
  /** Captures of networks' frames. */
  readonly filterDumps?: readonly FilterDumpOptions[];
  /** `metal`: the guest owns the machine; `vm`: it runs under the hypervisor. Default `vm`. */
  readonly mode?: "metal" | "vm";
  readonly path?: RequestPath;
  readonly completion?: CompletionPath;
  readonly cost?: CostProfile;
  /** A raw BIOS image that the machine starts in, instead of a kernel. */
  readonly bios?: string | ImageFile;
  /** Firmware's boot order: letters of c (hard disk), d (CD-ROM), a (floppy), n (network). Default `cd`. */
  readonly bootOrder?: string;
  /** Firmware shows its boot menu. Default false. */
  readonly bootMenu?: boolean;
  /** A file for what firmware writes to its debug port (402H). */
  readonly biosLog?: string;
  /** A VGA. Default: `std` with firmware, else `none`. */
  readonly vga?: "none" | "std";
  /** The VGA's option ROM (SeaVGABIOS). Default: `vgabios-stdvga.bin` beside the BIOS image, if it is there. */
  readonly vgaBios?: string;
  /** A PS/2 keyboard and mouse. Default: with firmware or a VGA. */
  readonly keyboard?: boolean;
  /** Bytes the guest writes to its first serial port. */
  readonly onSerial?: (byte: number) => void;
  /** Every VM exit, as it is entered in the ledger. */
  readonly onExit?: (entry: LedgerEntry) => void;
}

export type RunEnd = "power-off" | "debug-exit" | "triple-fault" | "idle" | "reset" | "paused";

export interface RunResult {
  readonly end: RunEnd;
  /** With `debug-exit`: what the guest wrote. */
  readonly code: number;
}

export interface RunLimits {
  /** Pause when CPU 0 has executed this many instructions in all. */
  readonly untilInstruction?: number;
  /** Pause when the clock of the machine passes this cycle. */
  readonly untilCycle?: number;
  /** Pause when this returns true; asked between turns. */
  readonly until?: () => boolean;
  /**
   * Pause after the exit for which this returns true: it has been handled and is in the ledger, and no virtual CPU has
   * been entered since. The next run goes on as if there had been no pause. Without effect on metal.
   */
  readonly pauseAt?: (entry: LedgerEntry) => boolean;
}

/** A saved machine: equal bytes mean equal futures. */
export interface Snapshot {
  readonly memory: Uint8Array;
  readonly overlays: readonly Uint8Array[];
}

let coreModule: WebAssembly.Module | undefined;

/** The compiled core: beside the bundle, or in build/ when run from the sources. */
export function loadCore(): WebAssembly.Module {
  if (coreModule) return coreModule;
  for (const path of ["./core.wasm", "../build/core.wasm", "../dist/core.wasm"]) {
    try {
      coreModule = new WebAssembly.Module(readFileSync(new URL(path, import.meta.url)));
      return coreModule;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new Error("core.wasm is missing: run `npm run build`");
}

/** The cost profile of a name, or of a file whose path ends in .json. */
export function loadCostProfile(nameOrFile: string): CostProfile {
  if (nameOrFile.endsWith(".json")) return parseCostProfile(readFileSync(nameOrFile, "utf8"), nameOrFile);
  for (const folder of ["../profiles/", "./profiles/"]) {
    const url = new URL(`${folder}${nameOrFile}.json`, import.meta.url);
    try {
      return parseCostProfile(readFileSync(url, "utf8"), nameOrFile);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  throw new OptionError(
    `--cost ${nameOrFile}: there is no such profile; name one of profiles/ or a .json file`,
  );
}

export class Machine {
  readonly memory: MachineMemory;
  readonly board: Board;
  readonly vm: Vm | undefined;
  readonly scheduler: Scheduler;
  readonly profile: CostProfile;
  readonly mode: "metal" | "vm";
  /** Undefined where the machine starts in firmware. */
  readonly bootImage: BootImage | undefined;
  readonly #drives: readonly OpenDrive[];
  readonly #captures: readonly Capture[];
  readonly #hostNetwork: HostNetwork;
  readonly #assembly: Assembly;
  readonly #software: Software;
  readonly #hardware: Hardware;

  constructor(options: MachineOptions) {
    const hardware = checkOptions(options, "virtual");
    const { mode, profile, smp } = hardware;
    this.mode = mode;
    this.profile = profile;
    this.#hardware = hardware;
    this.#software = prepareSoftware(options, hardware);
    this.bootImage = this.#software.image;
    startCharacters(hardware.characters);
    if (hardware.firmware?.log !== undefined) FirmwareLog.start(hardware.firmware.log);
    this.memory = createMemory(hardware);
    this.#drives = openDrives(hardware.drives);
    this.#captures = openCaptures(hardware.dumps, true);
    this.#hostNetwork = new HostNetwork(options.netdevs ?? [], {
      deliver: (netdev, frame, offload) => {
        const hadRoom = this.#assembly.network.links[netdev]!.deliver(frame, offload);
        this.scheduler.interrupt();
        return hadRoom;
      },
      now: () => this.board.clock.now() / profile.frequencyHz,
      arm: (netdev, seconds) =>
        this.#assembly.network.hostTimers[netdev]!.arm(cycleAt(seconds, profile.frequencyHz)),
    });
    try {
      const clock = new BoardClock(profile.frequencyHz, VIRTUAL_EPOCH);
      this.#assembly = new Assembly(hardware, {
        module: loadCore(),
        memory: this.memory,
        clock,
        localCpus: Array.from({ length: smp }, (_, i) => i),
        drives: this.#drives,
        transmit: options.onSerial ?? (() => undefined),
        toHost: (netdev, frame, offload) => this.#hostNetwork.frame(netdev, frame, offload),
        hostTimer: (netdev) => this.#hostNetwork.timer(netdev),
        captures: this.#captures,
        ...(options.onExit ? { onExit: options.onExit } : {}),
      });
      const { board, vm, actors } = this.#assembly;
      this.board = board;
      this.vm = vm;
      this.scheduler = new Scheduler(board.allocator, board.events, actors, profile.lookAhead.cycles);
      clock.source = () => this.scheduler.now();
      board.woken = (time) => this.scheduler.woken(time);
      board.kicked = (index) => this.scheduler.wake(actors[index]!);
      this.#assembly.clearPlacedState();
      board.powerOn();
      this.scheduler.reset();
      this.#assembly.boot(this.#software);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Cycles since power-on of the machine's clock: the furthest CPU's, or the last event's while CPUs wait. */
  get cycles(): number {
    return Math.max(
      ...(this.vm?.vcpus.map((vcpu) => vcpu.clock()) ?? this.#metalClocks()),
      this.scheduler.eventTime,
    );
  }

  /** Seconds since power-on of the machine's clock. */
  get seconds(): number {
    return this.cycles / this.profile.frequencyHz;
  }

  #metalClocks(): number[] {
    return this.board.cores.map(
      (core) => core!.state.instructions * core!.state.cyclesPerInstruction + core!.state.charged,
    );
  }

  /** Instructions that CPU 0 has executed. */
  get instructions(): number {
    return this.board.core(0).state.instructions;
  }

  /** Runs until the guest ends, asks for a reset, nothing can ever happen again, or a limit is met. */
  run(limits: RunLimits = {}): RunResult {
    const cpu = this.board.core(0).state;
    // The core stops at whole instructions: a fraction would never be reached.
    const untilInstruction = Math.ceil(limits.untilInstruction ?? Number.MAX_SAFE_INTEGER);
    const untilCycle = Math.ceil(limits.untilCycle ?? Number.MAX_SAFE_INTEGER);
    const { until } = limits;
    cpu.stopAtInstruction = untilInstruction;
    const { state } = this.board;
    let looks = 0;
    const { vm } = this;
    if (vm) {
      vm.pauseAt = limits.pauseAt;
      vm.isPausing = false;
    }
    const outcome = this.scheduler.run(
      () =>
        (++looks % LOOKS_PER_DEATH_CHECK === 0 && this.#assembly.isDead) ||
        state.request !== BoardRequest.NONE ||
        vm?.isPausing === true ||
        cpu.instructions >= untilInstruction ||
        (untilCycle !== Number.MAX_SAFE_INTEGER && this.cycles >= untilCycle) ||
        until?.() === true,
      untilCycle,
    );
    cpu.stopAtInstruction = Number.MAX_SAFE_INTEGER;
    if (vm) vm.pauseAt = undefined;
    switch (state.request) {
      case BoardRequest.POWER_OFF:
        return { end: "power-off", code: 0 };
      case BoardRequest.DEBUG_EXIT:
        return { end: "debug-exit", code: state.exitCode };
      case BoardRequest.TRIPLE_FAULT:
        return { end: "triple-fault", code: 0 };
      case BoardRequest.SYSTEM_RESET:
      case BoardRequest.CPU_RESET:
        return { end: "reset", code: 0 };
      default:
        return { end: outcome === "idle" || this.#assembly.isDead ? "idle" : "paused", code: 0 };
    }
  }

  /** Every CPU has halted with interrupts off (or was never started), so that neither timers nor input can wake it. */
  get isDead(): boolean {
    return this.#assembly.isDead;
  }

  /** Carries out a reset that the guest asked for: devices, CPUs, and the image loaded again. */
  reset(): void {
    const { resets } = this.board.state;
    const clocks = this.board.cores.map((core) => {
      const { instructions, charged } = core!.state;
      return { instructions, charged };
    });
    this.board.powerOn();
    this.board.cores.forEach((core, i) => Object.assign(core!.state, clocks[i]!));
    this.board.state.resets = resets + 1;
    this.#assembly.boot(this.#software);
  }

  /** See `Assembly.setMemoryTarget`. */
  setMemoryTarget(bytes: number): boolean {
    return this.#assembly.setMemoryTarget(bytes);
  }

  /** See `Assembly.memoryReport`. */
  memoryReport(): MemoryReport | undefined {
    return this.#assembly.memoryReport();
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
    this.#assembly.input.keyboard?.type(keyEvents(keys));
  }

  /** Moves the guest's mouse (right and up are positive) and sets its buttons: 1 left, 2 right, 4 middle. */
  moveMouse(x: number, y: number, wheel = 0, buttons = 0): void {
    this.#assembly.input.mouse?.move(x, y, wheel, buttons);
  }

  /** Hands keys to the guest: to its console on the terminal, or to the first serial port. Returns how many were accepted. */
  receive(input: Uint8Array): number {
    return this.#assembly.receive(input);
  }

  /** Resolves when everything of `netdevs` that listens on the host does; rejects with OptionError. */
  networkReady(): Promise<void> {
    return this.#hostNetwork.ready();
  }

  /** Something outside, behind a netdev, may send at any time: a guest that waits is not the end. */
  get hasOutsideNetwork(): boolean {
    return this.#hostNetwork.reachesOut;
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
    this.#assembly.setLink(id, up);
  }

  stats(): MachineStats {
    return collectStats(this.#assembly, this.cycles);
  }

  // --- snapshots

  /** Copies everything volatile: state, RAM, disk overlays. */
  save(): Snapshot {
    const { bytes } = this.memory.state;
    return {
      memory: bytes.slice(this.memory.plan.cpuBase),
      overlays: this.#drives.map(({ overlay }) =>
        overlay ? new Uint8Array(overlay).slice() : new Uint8Array(0),
      ),
    };
  }

  /** Puts a snapshot of an equally configured machine back. Throws RangeError when the sizes differ. */
  restore(snapshot: Snapshot): void {
    const { bytes } = this.memory.state;
    if (
      snapshot.memory.length !== bytes.length - this.memory.plan.cpuBase ||
      snapshot.overlays.length !== this.#drives.length
    )
      throw new RangeError("this snapshot is of a machine with another configuration");
    bytes.set(snapshot.memory, this.memory.plan.cpuBase);
    if (this.#hardware.firmware && this.mode === "metal") this.board.memoryMapChanged();
    this.#drives.forEach(({ overlay }, i) => {
      if (overlay) new Uint8Array(overlay).set(snapshot.overlays[i]!);
    });
  }

  /**
   * SHA-256 over the guest-visible and device state: CPU blocks without caches, the state area, RAM, overlays. Equal
   * futures follow from equal hashes. Decoded records, TLBs and their counters are left out: a pause in a repeated string
   * instruction can add a look-up (docs/known-gaps.md).
   */
  hash(): string {
    const { bytes } = this.memory.state;
    const { plan } = this.memory;
    const cpus = this.board.cores.map((core, index) => ({
      core: core!,
      block: bytes.subarray(this.memory.cpuOffset(index)),
    }));
    return stateHash(cpus, [
      ...this.board.allocator.blocks.map(({ offset, size }) => bytes.subarray(offset, offset + size)),
      bytes.subarray(plan.ramBase),
      ...this.#drives.flatMap(({ overlay }) => (overlay ? [new Uint8Array(overlay)] : [])),
    ]);
  }

  /**
   * Labels of state blocks before which a byte of the red zone has changed: a stray write. Empty when all is well.
   */
  damagedRedZones(): string[] {
    const { bytes } = this.memory.state;
    const damaged: string[] = [];
    let at = this.memory.plan.stateBase;
    for (const { label, offset, size } of this.board.allocator.blocks) {
      for (let i = at; i < offset; i++)
        if (bytes[i] !== StateAllocator.RED_ZONE_BYTE) {
          damaged.push(label);
          break;
        }
      at = offset + size;
    }
    return damaged;
  }

  /** Bytes of guest RAM. */
  get ramBytes(): number {
    return this.#hardware.ramBytes;
  }

  /** Closes image files, captures and sockets. */
  close(): void {
    for (const drive of this.#drives) drive.close();
    for (const capture of this.#captures) capture.close();
    this.#hostNetwork.close();
  }
}

/**
 * Checks what the types cannot: ranges and combinations, with the option's command-line name. Throws OptionError.
 *
 * @returns the hardware, with its defaults
 */
export function checkOptions(options: MachineOptions, clock: "virtual" | "wall"): Hardware {
  const smp = options.smp ?? 1;
  if (!Number.isInteger(smp) || smp < 1 || smp > 8) throw new OptionError(`-smp ${smp}: must be 1 to 8`);
  const memory = options.memory ?? 128;
  if (!Number.isInteger(memory) || memory < 2 || memory > 2600 || memory % 2 !== 0)
    throw new OptionError(`-m ${memory}: must be an even number of MiB from 2 to 2600`);
  const mode = options.mode ?? "vm";
  if (mode === "metal" && (options.path !== undefined || options.completion !== undefined))
    throw new OptionError("--path and --completion need --mode vm: on metal there is no hypervisor");
  const drives = options.drives ?? [];
  if (drives.filter((drive) => drive.interface === "ide").length > 4)
    throw new OptionError("-drive: at most 4 IDE drives");
  const indices = drives.map((drive) => drive.index).filter((index) => index !== undefined);
  if (new Set(indices).size !== indices.length)
    throw new OptionError("-drive: two drives have the same index=");
  const characters = options.characters ?? [];
  if (
    options.balloon !== undefined &&
    options.devices?.some(({ model }) => model === "virtio-balloon-pci") !== true
  )
    throw new OptionError("--balloon needs -device virtio-balloon-pci");
  const profile = options.cost ?? loadCostProfile("nehalem-2010");
  const firmware = checkFirmware(options);
  const netdevs = options.netdevs ?? [];
  const vga = checkVga(options);
  return {
    mode,
    clock,
    smp,
    ramBytes: memory * MIB,
    cpu: parseCpuSpec(options.cpu ?? "nehalem"),
    profile: clock === "wall" ? wallProfile(profile) : profile,
    path: options.path ?? "user",
    completion: options.completion ?? "inject",
    drives,
    characters,
    ...(options.balloon === undefined ? {} : { balloon: options.balloon * MIB }),
    timers: { hpet: true, pit: true, ...options.timers },
    cards: planCards(drives, options.devices ?? [], { characters, netdevs }),
    ...(firmware && { firmware }),
    netdevs: planNetdevs(netdevs, clock, profile.frequencyHz),
    dumps: planDumps(options.filterDumps ?? [], netdevs),
    ...(vga && { vga }),
    ...((options.keyboard ?? (firmware !== undefined || vga !== undefined)) && { keyboardAndMouse: true }),
  };
}

const VGA_BIOS = "vgabios-stdvga.bin";
const MOST_ROM_BYTES = 256 * 1024;

function checkVga({ bios, vga, vgaBios }: MachineOptions): Hardware["vga"] {
  if ((vga ?? (bios === undefined ? "none" : "std")) === "none") {
    if (vgaBios !== undefined) throw new OptionError("--vga-bios needs -vga std");
    return undefined;
  }
  const beside =
    bios === undefined ? undefined : join(dirname(typeof bios === "string" ? bios : bios.path), VGA_BIOS);
  const path = vgaBios ?? (beside !== undefined && existsSync(beside) ? beside : undefined);
  return path === undefined ? {} : { rom: readImage(path, "VGA option ROM", MOST_ROM_BYTES).bytes };
}

function checkFirmware(options: MachineOptions): FirmwareHardware | undefined {
  const { bios, kernel, biosLog } = options;
  if (bios === undefined) {
    if (kernel === undefined)
      throw new OptionError("-kernel FILE or -bios FILE: one of the two must be given");
    for (const name of ["bootOrder", "bootMenu", "biosLog"] as const)
      if (options[name] !== undefined)
        throw new OptionError(`${FIRMWARE_WORDS[name]} needs -bios: without it no firmware runs`);
    return undefined;
  }
  if (kernel !== undefined)
    throw new OptionError("-bios with -kernel: firmware starts from a disk or CD-ROM; name one of the two");
  let bootOrder: BootOrder;
  try {
    bootOrder = parseBootOrder(options.bootOrder ?? "cd");
  } catch (error) {
    if (error instanceof RangeError) throw new OptionError(`-boot: ${error.message}`);
    throw error;
  }
  return {
    rom: readBios(bios),
    bootOrder,
    bootMenu: options.bootMenu ?? false,
    ...(biosLog === undefined ? {} : { log: biosLog }),
  };
}

/** Options of firmware as the command line spells them. */
const FIRMWARE_WORDS = { bootOrder: "-boot order=", bootMenu: "-boot menu=", biosLog: "--bios-log" } as const;

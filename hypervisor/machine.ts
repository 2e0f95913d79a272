/**
 * A machine as a person asks for it: physical CPUs, RAM, disks, and either a guest on the bare metal or a virtual machine
 * under our hypervisor. Deterministic mode: one thread, virtual time.
 *
 * Everything volatile is in `memory` (and the disks' overlays), so a snapshot is a copy of them.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { DiskServiceTime } from "../devices/storage/disk-timing.ts";
import { OverlayStorage, overlayBytes } from "../devices/storage/overlay.ts";
import { RawFile } from "../devices/storage/raw-file.ts";
import type { DeviceContext, Storage } from "../devices/ports.ts";
import { MachineMemory, configureCpu } from "../emulator/host/core.ts";
import { CPU_MODELS, cpuModel, hypervisorLeaves, type CpuModelName } from "../emulator/host/cpu-models.ts";
import { Board, BoardRequest } from "../emulator/machine/board.ts";
import { BoardClock } from "../emulator/machine/clock.ts";
import { CpuActor } from "../emulator/machine/cpu-actor.ts";
import { parseCostProfile, type CostProfile } from "../emulator/machine/cost-profile.ts";
import { buildFirmware } from "../emulator/machine/firmware/firmware.ts";
import { detectProtocol, loadBootImage } from "../emulator/machine/loaders/detect.ts";
import { applyEntryState } from "../emulator/machine/loaders/entry-state.ts";
import type { BootImage, BootProtocol } from "../emulator/machine/loaders/boot-image.ts";
import { readImage, type ImageFile } from "../emulator/machine/read-image.ts";
import { Scheduler } from "../emulator/machine/scheduler.ts";
import type { PcDisk } from "../emulator/machine/pc.ts";
import { planMemory } from "../layout/memory-map.ts";
import { StateAllocator } from "../layout/struct.ts";
import { exitReasonName, type LedgerEntry, type LedgerRow } from "./ledger.ts";
import { Vm, type CompletionPath, type RequestPath } from "./vm.ts";

const MIB = 1024 * 1024;
const LARGE_PAGE = 2 * MIB;
const STATE_BYTES = 16 * MIB;
const RECORD_BYTES = 4 * MIB;
/** Seconds since 1970 at which virtual time begins: 2026-01-01. */
const EPOCH = 1767225600;

export interface DriveOptions {
  readonly file: string;
  readonly interface: "ide" | "virtio";
  readonly readOnly?: boolean;
  /** Writes go to memory, the file stays as it is. */
  readonly snapshot?: boolean;
  /** virtio request queues. Default 1. */
  readonly queues?: number;
}

export interface MachineOptions {
  /** Image of a multiboot, PVH or Linux kernel. */
  readonly kernel: string | ImageFile;
  readonly initrd?: string;
  /** The kernel's command line. */
  readonly append?: string;
  /** Chooses the boot protocol where an image has several. */
  readonly protocol?: BootProtocol;
  /** Guest RAM in MiB, even. Default 128. */
  readonly memory?: number;
  /** CPUs of the guest, 1 to 8. Default 1. */
  readonly smp?: number;
  readonly cpu?: CpuModelName;
  readonly drives?: readonly DriveOptions[];
  /** `metal`: the guest owns the machine; `vm`: it runs under the hypervisor. Default `vm`. */
  readonly mode?: "metal" | "vm";
  readonly path?: RequestPath;
  readonly completion?: CompletionPath;
  readonly cost?: CostProfile;
  /** Bytes the guest writes to its first serial port. */
  readonly onSerial?: (byte: number) => void;
  /** Every VM exit, as it is entered in the ledger. */
  readonly onExit?: (entry: LedgerEntry) => void;
}

/** An option that cannot be: says which and what it must be. */
export class OptionError extends Error {
  override readonly name = "OptionError";
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
}

export interface CpuStats {
  readonly instructions: number;
  readonly seconds: number;
  readonly interrupts: number;
  readonly tlbMisses: number;
  readonly walkReferences: number;
  /** The core's own counters, by the manual's names. */
  readonly exits: Readonly<Record<string, number>>;
}

export interface MachineStats {
  readonly mode: "metal" | "vm";
  readonly clock: "virtual";
  readonly instructions: number;
  readonly virtualSeconds: number;
  /** Exits by reason, all virtual CPUs. */
  readonly exits: Readonly<Record<string, number>>;
  readonly vcpus: readonly { readonly index: number; readonly pcpu: number; readonly total: number; readonly ledger: readonly LedgerRow[] }[];
  readonly pcpus: readonly CpuStats[];
  /** Sum of ledger entries = the core's counters, for every reason and virtual CPU. */
  readonly ledgerAgrees: boolean;
  readonly hostThreads: readonly { readonly label: string; readonly steps: number; readonly wakeUps: number }[];
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
  throw new OptionError(`--cost ${nameOrFile}: there is no such profile; name one of profiles/ or a .json file`);
}

interface OpenDrive {
  readonly options: DriveOptions;
  readonly storage: Storage;
  readonly overlay: SharedArrayBuffer | undefined;
  readonly close: () => void;
}

export class Machine {
  readonly memory: MachineMemory;
  readonly board: Board;
  readonly vm: Vm | undefined;
  readonly scheduler: Scheduler;
  readonly profile: CostProfile;
  readonly mode: "metal" | "vm";
  readonly bootImage: BootImage;
  readonly #drives: readonly OpenDrive[];
  readonly #boot: () => void;
  readonly #ramBytes: number;

  constructor(options: MachineOptions) {
    const checked = checkOptions(options);
    const { smp, mode, profile, model } = checked;
    this.mode = mode;
    this.profile = profile;
    this.#ramBytes = checked.ramBytes;
    const kernel = typeof options.kernel === "string" ? readImage(options.kernel, "kernel") : options.kernel;
    const initrd = options.initrd === undefined ? undefined : readImage(options.initrd, "initrd");

    const machineBase = LARGE_PAGE;
    const machineRam = mode === "vm" ? machineBase + Vm.machineBytes(this.#ramBytes, smp) : this.#ramBytes;
    const plan = planMemory({ cpus: smp, ramBytes: machineRam, stateBytes: STATE_BYTES, recordBytes: RECORD_BYTES });
    this.memory = MachineMemory.create(plan, false);
    this.memory.state.bytes.fill(StateAllocator.RED_ZONE_BYTE, plan.stateBase, plan.stateEnd);
    const identity = cpuModel({ model, cpus: smp, tscFrequency: profile.frequencyHz });
    for (let index = 0; index < smp; index++)
      configureCpu(this.memory, index, {
        clock: "virtual",
        cyclesPerInstruction: profile.cyclesPerInstruction,
        tscFrequency: profile.frequencyHz,
        recordBytes: RECORD_BYTES,
        ...identity,
      });
    this.#drives = openDrives(options.drives ?? []);
    try {
      const timings: DiskServiceTime[] = [];
      const disks = this.#drives.map((drive, index) => diskOf(drive, index, timings));
      const transmit = options.onSerial ?? (() => undefined);
      const clock = new BoardClock(profile.frequencyHz, EPOCH);
      this.board = new Board({
        memory: this.memory,
        module: loadCore(),
        localCpus: Array.from({ length: smp }, (_, i) => i),
        clock,
        deterministic: true,
        lookAhead: profile.lookAhead.cycles,
        disks: mode === "metal" ? disks : [],
        transmit: mode === "metal" ? transmit : () => undefined,
        processors: smp,
      });
      if (mode === "vm") {
        const guest = cpuModel({ model, cpus: smp, tscFrequency: profile.frequencyHz, hypervisor: true });
        this.vm = new Vm({
          label: "vm0",
          board: this.board,
          profile,
          ramBytes: this.#ramBytes,
          machineBase,
          vcpus: smp,
          path: options.path ?? "user",
          completion: options.completion ?? "inject",
          disks,
          cpuid: [...guest.cpuid, ...hypervisorLeaves(profile.frequencyHz)],
          transmit,
          ...(options.onExit ? { onExit: options.onExit } : {}),
        });
      }
      const actors = this.vm?.actors ?? this.board.cores.map((core) => new CpuActor(core!, { shutdown: () => this.board.request(BoardRequest.TRIPLE_FAULT) }));
      this.scheduler = new Scheduler(this.board.allocator, this.board.events, actors, profile.lookAhead.cycles);
      clock.source = () => this.scheduler.now();
      this.board.woken = (time) => this.scheduler.woken(time);
      this.board.kicked = (index) => this.scheduler.wake(actors[index]!);

      const ram = { lowRam: this.#ramBytes, highRam: 0 };
      const featureFlags = identity.cpuid.find(([leaf]) => leaf === 1)?.[5] ?? 0;
      const firmware = buildFirmware({ ram, cpus: smp, signature: identity.signature, featureFlags });
      const protocol = options.protocol ?? detectProtocol(kernel);
      this.bootImage = loadBootImage(
        {
          kernel,
          commandLine: options.append ?? "",
          modules: initrd === undefined ? [] : [{ file: initrd, commandLine: "" }],
          ram,
          memoryMap: firmware.memoryMap,
          rsdp: firmware.rsdp,
        },
        protocol,
      );
      const segments = [...firmware.segments, ...this.bootImage.segments];
      this.#boot = () => {
        for (const timing of timings) timing.reset();
        if (this.vm) {
          this.vm.reset();
          this.vm.load(segments, this.bootImage.entry);
          return;
        }
        for (const segment of segments) {
          const offset = this.memory.ramOffset(segment.physical, segment.bytes.length);
          if (offset === 0) throw new RangeError(`segment at ${segment.physical.toString(16)}H is outside RAM`);
          this.memory.state.bytes.set(segment.bytes, offset);
        }
        const core = this.board.core(0);
        applyEntryState(core.state, this.bootImage.entry);
        core.exports.updateMode();
        core.exports.updateContext();
      };
      this.#clearPlacedState();
      this.board.powerOn();
      this.scheduler.reset();
      this.#boot();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** State blocks start as zeroes; between them the red zones keep their pattern. */
  #clearPlacedState(): void {
    for (const { offset, size } of this.board.allocator.blocks) this.memory.state.bytes.fill(0, offset, offset + size);
  }

  /** Cycles since power-on of the machine's clock: the furthest CPU's. */
  get cycles(): number {
    return Math.max(...(this.vm?.vcpus.map((vcpu) => vcpu.clock()) ?? this.#metalClocks()), 0);
  }

  #metalClocks(): number[] {
    return this.board.cores.map((core) => core!.state.instructions * core!.state.cyclesPerInstruction + core!.state.charged);
  }

  /** Instructions that CPU 0 has executed. */
  get instructions(): number {
    return this.board.core(0).state.instructions;
  }

  /** Runs until the guest ends, asks for a reset, nothing can ever happen again, or a limit is met. */
  run(limits: RunLimits = {}): RunResult {
    const cpu = this.board.core(0).state;
    const { untilInstruction = Number.MAX_SAFE_INTEGER, untilCycle = Number.MAX_SAFE_INTEGER, until } = limits;
    cpu.stopAtInstruction = untilInstruction;
    const { state } = this.board;
    const outcome = this.scheduler.run(
      () =>
        state.request !== BoardRequest.NONE ||
        cpu.instructions >= untilInstruction ||
        (untilCycle !== Number.MAX_SAFE_INTEGER && this.cycles >= untilCycle) ||
        until?.() === true,
    );
    cpu.stopAtInstruction = Number.MAX_SAFE_INTEGER;
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
        return { end: outcome === "idle" ? "idle" : "paused", code: 0 };
    }
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
    this.#boot();
  }

  /** Hands bytes to the guest's first serial port; returns how many were accepted. */
  receive(input: Uint8Array): number {
    return (this.vm?.pc ?? this.board.pc).uart.receive(input);
  }

  stats(): MachineStats {
    const pcpus = this.board.cores.map((core): CpuStats => {
      const cpu = core!.state;
      const exits: Record<string, number> = {};
      cpu.exits.forEach((count, reason) => {
        if (count !== 0n) exits[exitReasonName(reason)] = Number(count);
      });
      return {
        instructions: cpu.instructions,
        seconds: (cpu.instructions * cpu.cyclesPerInstruction + cpu.charged) / this.profile.frequencyHz,
        interrupts: Number(cpu.interruptsTaken),
        tlbMisses: Number(cpu.tlbMisses),
        walkReferences: Number(cpu.walkReferences),
        exits,
      };
    });
    const exits: Record<string, number> = {};
    for (const cpu of pcpus) for (const [name, count] of Object.entries(cpu.exits)) exits[name] = (exits[name] ?? 0) + count;
    const vcpus = (this.vm?.vcpus ?? []).map((vcpu) => ({
      index: vcpu.index,
      pcpu: vcpu.core.index,
      total: vcpu.ledger.total,
      ledger: vcpu.ledger.rows(),
    }));
    return {
      mode: this.mode,
      clock: "virtual",
      instructions: pcpus.reduce((sum, cpu) => sum + cpu.instructions, 0),
      virtualSeconds: this.cycles / this.profile.frequencyHz,
      exits,
      vcpus,
      pcpus,
      ledgerAgrees: this.#ledgerAgrees(),
      hostThreads: [...(this.vm ? [this.vm.ioThread] : []), ...(this.vm?.pollThread ? [this.vm.pollThread] : [])].map((thread) => ({
        label: thread.label,
        steps: thread.state.steps,
        wakeUps: thread.state.wakeUps,
      })),
    };
  }

  #ledgerAgrees(): boolean {
    return (this.vm?.vcpus ?? []).every((vcpu) => {
      const counters = vcpu.core.state.exits;
      for (let reason = 0; reason < counters.length; reason++)
        if (Number(counters[reason]) !== vcpu.ledger.count(reason)) return false;
      return true;
    });
  }

  // --- snapshots

  /** Copies everything volatile: state, RAM, disk overlays. */
  save(): Snapshot {
    const { bytes } = this.memory.state;
    return {
      memory: bytes.slice(this.memory.plan.cpuBase),
      overlays: this.#drives.map(({ overlay }) => (overlay ? new Uint8Array(overlay).slice() : new Uint8Array(0))),
    };
  }

  /** Puts a snapshot of an equally configured machine back. Throws RangeError when the sizes differ. */
  restore(snapshot: Snapshot): void {
    const { bytes } = this.memory.state;
    if (snapshot.memory.length !== bytes.length - this.memory.plan.cpuBase || snapshot.overlays.length !== this.#drives.length)
      throw new RangeError("this snapshot is of a machine with another configuration");
    bytes.set(snapshot.memory, this.memory.plan.cpuBase);
    this.#drives.forEach(({ overlay }, i) => {
      if (overlay) new Uint8Array(overlay).set(snapshot.overlays[i]!);
    });
  }

  /**
   * SHA-256 over the guest-visible and device state: CPU blocks without caches, the state area, RAM, overlays. Equal
   * futures follow from equal hashes. Decoded records, TLBs and their counters are left out: a pause in the middle of a block
   * adds a look-up (docs/known-gaps.md).
   */
  hash(): string {
    const { bytes } = this.memory.state;
    const { plan } = this.memory;
    const hash = createHash("sha256");
    for (let index = 0; index < plan.cpus; index++) {
      const cpu = this.board.core(index).state;
      const architectural = [cpu.gpr, cpu.segBase, cpu.segLimit, cpu.segRights, cpu.segSelector, cpu.dr, cpu.apicRegister, cpu.exits];
      for (const part of architectural) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength).slice());
      hash.update(
        JSON.stringify([cpu.rip, cpu.rflags, cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.efer, cpu.instructions, cpu.charged, cpu.activity, cpu.interruptibility], (_, value: unknown) =>
          typeof value === "bigint" ? value.toString() : value,
        ),
      );
    }
    for (const { offset, size } of this.board.allocator.blocks) hash.update(bytes.slice(offset, offset + size));
    hash.update(bytes.slice(plan.ramBase));
    for (const { overlay } of this.#drives) if (overlay) hash.update(new Uint8Array(overlay).slice());
    return hash.digest("hex");
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
    return this.#ramBytes;
  }

  /** Closes the image files. */
  close(): void {
    for (const drive of this.#drives) drive.close();
  }
}

/** Checks what the types cannot: ranges and combinations, with the option's command-line name. */
function checkOptions(options: MachineOptions): {
  readonly smp: number;
  readonly mode: "metal" | "vm";
  readonly ramBytes: number;
  readonly profile: CostProfile;
  readonly model: CpuModelName;
} {
  const smp = options.smp ?? 1;
  if (!Number.isInteger(smp) || smp < 1 || smp > 8) throw new OptionError(`-smp ${smp}: must be 1 to 8`);
  const memory = options.memory ?? 128;
  if (!Number.isInteger(memory) || memory < 2 || memory > 2600 || memory % 2 !== 0)
    throw new OptionError(`-m ${memory}: must be an even number of MiB from 2 to 2600`);
  const model = options.cpu ?? "nehalem";
  if (!CPU_MODELS.includes(model)) throw new OptionError(`-cpu ${model}: must be one of ${CPU_MODELS.join(", ")}`);
  const mode = options.mode ?? "vm";
  if (mode === "metal" && (options.path !== undefined || options.completion !== undefined))
    throw new OptionError("--path and --completion need --mode vm: on metal there is no hypervisor");
  const drives = options.drives ?? [];
  if (drives.filter((drive) => drive.interface === "ide").length > 4) throw new OptionError("-drive: at most 4 IDE drives");
  if (drives.filter((drive) => drive.interface === "virtio").length > 8) throw new OptionError("-drive: at most 8 virtio drives");
  return { smp, mode, ramBytes: memory * MIB, profile: options.cost ?? loadCostProfile("nehalem-2010"), model };
}

/** Opens every image; on trouble closes those already open. */
function openDrives(drives: readonly DriveOptions[]): OpenDrive[] {
  const open: OpenDrive[] = [];
  try {
    for (const options of drives) {
      const file = new RawFile(options.file, { readOnly: options.readOnly === true || options.snapshot === true });
      const overlay = options.snapshot === true ? new SharedArrayBuffer(overlayBytes(file.sectors)) : undefined;
      const storage = overlay ? new OverlayStorage(file, overlay) : file;
      open.push({ options, storage, overlay, close: () => file.close() });
    }
  } catch (error) {
    for (const drive of open) drive.close();
    throw error;
  }
  return open;
}

function diskOf(drive: OpenDrive, index: number, timings: DiskServiceTime[]): (context: DeviceContext) => PcDisk {
  return (context) => {
    const timing = new DiskServiceTime(context, { label: `disk ${index} timing` });
    timings.push(timing);
    return {
      interface: drive.options.interface,
      storage: drive.storage,
      timing,
      ...(drive.options.queues === undefined ? {} : { queues: drive.options.queues }),
    };
  };
}

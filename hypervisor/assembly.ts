/**
 * How a machine is put together from its options. Deterministic mode does it once; in parallel mode every thread does it
 * on the same memory, from the same options: construction touches no state, so equal options give the same machine.
 */
import { BALLOON_PAGE } from "../devices/virtio/balloon/device.ts";
import { Capture, type CaptureOptions } from "../devices/net/capture.ts";
import { DiskServiceTime, NoServiceTime } from "../devices/storage/disk-timing.ts";
import { OverlayStorage, overlayBytes } from "../devices/storage/overlay.ts";
import { RawFile } from "../devices/storage/raw-file.ts";
import type { I8042 } from "../devices/input/i8042.ts";
import { screenOf, textOf, textScreenOf, type Screen, type TextScreen } from "../devices/vga/screen.ts";
import { VIDEO_MEMORY_BYTES } from "../devices/vga/spec.ts";
import type { DeviceContext, Storage } from "../devices/ports.ts";
import { Activity, MachineMemory, configureCpu } from "../emulator/host/core.ts";
import { cpuModel, hypervisorLeaves, type CpuIdentity } from "../emulator/host/cpu-models.ts";
import { VMX_TIERS, vmxCapabilities } from "../emulator/host/vmx-features.ts";
import type { CpuSpec } from "../emulator/host/cpu-spec.ts";
import { Board, BoardRequest } from "../emulator/machine/board.ts";
import type { CardOptions } from "../emulator/machine/cards.ts";
import { BoardClock } from "../emulator/machine/clock.ts";
import { CpuActor } from "../emulator/machine/cpu-actor.ts";
import type { CostProfile } from "../emulator/machine/cost-profile.ts";
import type { BootOrder, Firmware } from "../emulator/machine/firmware/bios.ts";
import { firmwareItems } from "../emulator/machine/firmware/firmware-items.ts";
import { buildFirmware } from "../emulator/machine/firmware/firmware.ts";
import { setUpLegacyInterrupts } from "../emulator/machine/firmware/legacy-interrupts.ts";
import { detectProtocol, loadBootImage } from "../emulator/machine/loaders/detect.ts";
import { applyEntryState } from "../emulator/machine/loaders/entry-state.ts";
import type { BootImage, BootProtocol } from "../emulator/machine/loaders/boot-image.ts";
import { readImage, type ImageFile } from "../emulator/machine/read-image.ts";
import type { Actor } from "../emulator/machine/scheduler.ts";
import type { NetdevPlan, Network, NetworkParts } from "../emulator/machine/network.ts";
import { NO_PARTS, type Pc, type PcDisk, type PcParts, type PcTimers } from "../emulator/machine/pc.ts";
import { planMemory, type MemoryPlan } from "../layout/memory-map.ts";
import { Pin } from "../layout/vmx.ts";
import { StateAllocator } from "../layout/struct.ts";
import { openCharacter, type CharacterOptions } from "./characters.ts";
import type { DriveInterface } from "./devices.ts";
import { FirmwareLog } from "./firmware-log.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { RequestPath } from "./request-paths.ts";
import { Vm, type CompletionPath } from "./vm.ts";

const MIB = 1024 * 1024;
/** Where the hypervisor's pages begin: its VM's memory is in large pages. */
const MACHINE_BASE = 2 * MIB;
const STATE_BYTES = 16 * MIB;
/** Frames under way to and from one netdev. */
const NETDEV_BYTES = 3 * MIB;
const RECORD_BYTES = 4 * MIB;
const RFLAGS_IF = 1n << 9n;
const WAKING_PIN_CONTROLS = Pin.PREEMPTION_TIMER | Pin.EXTERNAL_INTERRUPT_EXITING;
/** Seconds since 1970 at which virtual time begins: 2026-01-01. */
export const VIRTUAL_EPOCH = 1767225600;

export interface DriveOptions {
  readonly file: string;
  readonly interface: DriveInterface;
  /** For the device that uses a drive with interface `none`. */
  readonly id?: string;
  readonly readOnly?: boolean;
  /** Writes go to memory, the file stays as it is. */
  readonly snapshot?: boolean;
  /** With interface `virtio`: request queues. Default 1. */
  readonly queues?: number;
  /** IDE. Default "disk"; "cdrom" is never written. */
  readonly media?: "disk" | "cdrom";
  /** IDE: 0 and 1 on the primary channel, 2 and 3 on the secondary one. Default: the first that is free. */
  readonly index?: number;
}

/** What the hardware is: every option checked, every default filled in. Can be sent to another thread. */
export interface Hardware {
  readonly mode: "metal" | "vm";
  readonly clock: "virtual" | "wall";
  /** CPUs, 1 to 8. */
  readonly smp: number;
  /** Guest RAM. */
  readonly ramBytes: number;
  readonly cpu: CpuSpec;
  /** With the wall clock nothing is charged: `wallProfile`. */
  readonly profile: CostProfile;
  readonly path: RequestPath;
  readonly completion: CompletionPath;
  readonly drives: readonly DriveOptions[];
  readonly cards: readonly CardOptions[];
  readonly characters: readonly CharacterOptions[];
  /** What the balloon is to leave the guest, bytes. */
  readonly balloon?: number;
  readonly netdevs: readonly NetdevPlan[];
  readonly dumps: readonly DumpPlan[];
  readonly timers: PcTimers;
  readonly firmware?: FirmwareHardware;
  readonly vga?: { readonly rom?: Uint8Array };
  readonly keyboardAndMouse?: boolean;
}

/** A capture of the frames of a netdev, by its number. */
export interface DumpPlan extends CaptureOptions {
  readonly netdev: number;
}

/** The machine starts in firmware: the ROM, and what is asked of it. */
export interface FirmwareHardware {
  readonly rom: Uint8Array;
  readonly bootOrder: BootOrder;
  readonly bootMenu: boolean;
  /** A file for what it writes to its debug port. */
  readonly log?: string;
}

/** The profile's frequency and none of its charges: in wall time everything takes the time it takes. */
export function wallProfile(profile: CostProfile): CostProfile {
  const none = { cycles: 0, source: "wall time: nothing is charged" };
  const charges = Object.fromEntries(Object.keys(profile.charges).map((name) => [name, none]));
  return { ...profile, lookAhead: none, charges: charges as CostProfile["charges"] };
}

/** Where everything lies in the memory of such a machine. Throws RangeError when it does not fit. */
export function planHardware({ mode, smp, ramBytes, firmware, netdevs, vga }: Hardware): MemoryPlan {
  const romBytes = firmware?.rom.length ?? 0;
  const machineRam = mode === "vm" ? MACHINE_BASE + Vm.machineBytes(ramBytes, smp, romBytes) : ramBytes;
  return planMemory({
    cpus: smp,
    ramBytes: machineRam,
    stateBytes: STATE_BYTES + netdevs.length * NETDEV_BYTES + (vga ? VIDEO_MEMORY_BYTES : 0),
    recordBytes: RECORD_BYTES,
    // A VM's ROM is in its hypervisor's RAM.
    romBytes: mode === "vm" ? 0 : romBytes,
  });
}

/** The physical CPUs. Under the hypervisor their model is the guest's to see; what it needs of VMX does not depend on that. */
const identityOf = ({ cpu, smp, profile, mode }: Hardware): CpuIdentity => ({
  ...cpuModel({ ...cpu, cpus: smp, tscFrequency: profile.frequencyHz }),
  ...(mode === "vm" && { vmx: vmxCapabilities(VMX_TIERS.all) }),
});

/** New memory with red zones and configured CPUs; the rest is zeroes. */
export function createMemory(hardware: Hardware): MachineMemory {
  const { profile, smp, clock } = hardware;
  const plan = planHardware(hardware);
  const memory = MachineMemory.create(plan, clock === "wall");
  memory.state.bytes.fill(StateAllocator.RED_ZONE_BYTE, plan.stateBase, plan.stateEnd);
  const identity = identityOf(hardware);
  for (let index = 0; index < smp; index++)
    configureCpu(memory, index, {
      clock,
      cyclesPerInstruction: profile.cyclesPerInstruction,
      vmxExitCycles: profile.charges.exitAndEntry.cycles,
      tscFrequency: profile.frequencyHz,
      recordBytes: RECORD_BYTES,
      ...identity,
    });
  return memory;
}

/** Memory behind the drives that are snapshots; undefined for the others. Shared by all threads. */
export type Overlays = readonly (SharedArrayBuffer | undefined)[];

/** An image file opened by this thread. */
export interface OpenDrive {
  readonly options: DriveOptions;
  readonly storage: Storage;
  readonly overlay: SharedArrayBuffer | undefined;
  readonly close: () => void;
}

/**
 * Opens every image; on trouble closes those already open.
 *
 * @param overlays those of the thread that opened the drives first; undefined on that thread itself
 */
export function openDrives(drives: readonly DriveOptions[], overlays?: Overlays): OpenDrive[] {
  const open: OpenDrive[] = [];
  try {
    for (const options of drives) {
      const file = new RawFile(options.file, {
        readOnly: options.readOnly === true || options.snapshot === true || options.media === "cdrom",
      });
      const overlay =
        options.snapshot === true && options.media !== "cdrom"
          ? (overlays?.[open.length] ?? new SharedArrayBuffer(overlayBytes(file.sectors)))
          : undefined;
      const storage = overlay ? new OverlayStorage(file, overlay) : file;
      open.push({ options, storage, overlay, close: () => file.close() });
    }
  } catch (error) {
    for (const drive of open) drive.close();
    throw error;
  }
  return open;
}

/** Opens the captures of this thread; `begin` on the one that is first. */
export function openCaptures(dumps: readonly DumpPlan[], begin: boolean): Capture[] {
  return dumps.map((dump) => new Capture(dump, begin));
}

/** What one thread brings to the machine. */
export interface ThreadParts {
  readonly module: WebAssembly.Module;
  readonly memory: MachineMemory;
  readonly clock: BoardClock;
  /** CPUs that this thread runs. */
  readonly localCpus: readonly number[];
  readonly drives: readonly OpenDrive[];
  /** A byte of the guest's first serial port. */
  readonly transmit: (byte: number) => void;
  /** Frames for the host, and its timers: see `NetworkParts`. */
  readonly toHost: NetworkParts["toHost"];
  readonly hostTimer: NetworkParts["hostTimer"];
  /** Captures opened by this thread, as `hardware.dumps` has them. */
  readonly captures: readonly Capture[];
  readonly onExit?: (entry: LedgerEntry) => void;
}

/** What a guest with a balloon says of its memory. Pages are of 4 KiB. */
export interface MemoryReport {
  /** Asked for; given up as the guest says; and named as given up and taken back since its driver started. */
  readonly target: number;
  readonly actual: number;
  readonly inflated: number;
  readonly deflated: number;
  /** By QEMU's names: memory in bytes, faults and swapping. */
  readonly statistics: Readonly<Record<string, number>>;
}

/** One thread's view of the machine: the objects, on the shared state. */
export class Assembly {
  readonly hardware: Hardware;
  readonly memory: MachineMemory;
  readonly board: Board;
  readonly vm: Vm | undefined;
  /** Who acts: physical CPUs on metal; virtual CPUs, then host threads, with a hypervisor. */
  readonly actors: readonly Actor[];
  readonly #timings: DiskServiceTime[] = [];

  constructor(hardware: Hardware, parts: ThreadParts) {
    const { mode, smp, profile, cpu, vga, keyboardAndMouse = false } = hardware;
    this.hardware = hardware;
    this.memory = parts.memory;
    const firmware = this.#firmware();
    const attached = (context: DeviceContext): PcParts => ({
      disks: parts.drives.map((drive, index) => this.#disk(drive, index, context)),
      ...(vga && { vga }),
      keyboardAndMouse,
      cards: hardware.cards,
      network: {
        plans: hardware.netdevs,
        toHost: parts.toHost,
        hostTimer: parts.hostTimer,
        capture: (netdev) => this.#capture(netdev, parts),
      },
      timers: hardware.timers,
      characters: hardware.characters.map((one) => openCharacter(one, parts.transmit)),
      entropy: hardware.clock === "virtual" ? "seeded" : "host",
    });
    this.board = new Board({
      memory: parts.memory,
      module: parts.module,
      localCpus: parts.localCpus,
      clock: parts.clock,
      deterministic: hardware.clock === "virtual",
      lookAhead: profile.lookAhead.cycles,
      parts: mode === "metal" ? attached : () => NO_PARTS,
      transmit: mode === "metal" ? parts.transmit : () => undefined,
      processors: smp,
      ...(firmware && mode === "metal" && { firmware }),
    });
    if (mode === "vm") {
      const guest = cpuModel({ ...cpu, cpus: smp, tscFrequency: profile.frequencyHz, hypervisor: true });
      this.vm = new Vm({
        label: "vm0",
        board: this.board,
        profile,
        ramBytes: hardware.ramBytes,
        machineBase: MACHINE_BASE,
        vcpus: smp,
        path: hardware.path,
        completion: hardware.completion,
        parts: attached,
        cpuid: [...guest.cpuid, ...hypervisorLeaves(profile.frequencyHz)],
        transmit: parts.transmit,
        ...(firmware && { firmware }),
        ...(parts.onExit ? { onExit: parts.onExit } : {}),
      });
    }
    const shutdown = (): void => this.board.request(BoardRequest.TRIPLE_FAULT);
    this.actors = this.vm?.actors ?? this.board.cores.map((core) => new CpuActor(core!, { shutdown }));
  }

  /** The guest's networks. */
  get network(): Network {
    return (this.vm?.pc ?? this.board.pc).network;
  }

  /** Plugs a netdev's cable in or pulls it. Throws RangeError for a netdev that does not exist. */
  setLink(id: string, up: boolean): void {
    const index = this.hardware.netdevs.findIndex((netdev) => netdev.id === id);
    if (index < 0) throw new RangeError(`no netdev has the id ${id}`);
    this.network.links[index]!.setUp(up);
  }

  #capture(netdev: number, { captures, clock }: ThreadParts): ((frame: Uint8Array) => void) | undefined {
    const own = captures.filter((_, index) => this.hardware.dumps[index]!.netdev === netdev);
    if (own.length === 0) return undefined;
    return (frame) => {
      const now = clock.now();
      const seconds = Math.floor(now / clock.frequencyHz);
      const rest = now - seconds * clock.frequencyHz;
      const nanoseconds = Math.floor((rest * 1e9) / clock.frequencyHz);
      for (const capture of own) capture.add(clock.epochSeconds + seconds, nanoseconds, frame);
    };
  }

  #firmware(): Firmware | undefined {
    const { firmware, ramBytes, smp, timers, vga, keyboardAndMouse } = this.hardware;
    if (!firmware) return undefined;
    const { rom, bootOrder, bootMenu } = firmware;
    const log = firmware.log === undefined ? undefined : new FirmwareLog(firmware.log);
    return {
      rom,
      bootOrder,
      items: firmwareItems({
        ram: { lowRam: ramBytes, highRam: 0 },
        cpus: smp,
        vga: vga !== undefined,
        keyboardAndMouse: keyboardAndMouse === true,
        timers,
        bootMenu,
      }),
      ...(log && { log: (byte) => log.transmit(byte) }),
    };
  }

  #disk({ options, storage }: OpenDrive, index: number, context: DeviceContext): PcDisk {
    const { interface: at, media, index: place } = options;
    const disk = {
      isIde: at === "ide",
      storage,
      ...(media !== undefined && { media }),
      ...(place !== undefined && { index: place }),
    };
    if (this.hardware.clock === "wall") return { ...disk, timing: new NoServiceTime(context) };
    const timing = new DiskServiceTime(context, { label: `disk ${index} timing` });
    this.#timings.push(timing);
    return { ...disk, timing };
  }

  /** The guest's PC: the board, or the VM's. */
  get #pc(): Pc {
    return this.vm?.pc ?? this.board.pc;
  }

  /** Hands keys to the console on the terminal, once the guest has opened it, else to the first serial port. */
  receive(input: Uint8Array): number {
    const terminal = this.hardware.characters.findIndex(({ kind }) => kind === "stdio");
    const place = this.#pc.inputs.find(({ character }) => character === terminal);
    if (place?.console.isOpen(place.port) === true) return place.console.receive(place.port, input);
    return this.#pc.uart.receive(input);
  }

  /** Asks the guest to leave itself so many bytes of its memory. False without a balloon. */
  setMemoryTarget(bytes: number): boolean {
    const balloon = this.#pc.balloons[0];
    if (balloon === undefined) return false;
    balloon.setTarget(Math.max(0, Math.floor((this.hardware.ramBytes - bytes) / BALLOON_PAGE)));
    return true;
  }

  /** What the guest reports of its memory; asks for the next report. Undefined without a balloon. */
  memoryReport(): MemoryReport | undefined {
    const balloon = this.#pc.balloons[0];
    return balloon && { ...balloon.pages, statistics: balloon.takeStatistics() };
  }

  /** What is on the guest's screen; undefined without a VGA. */
  get screen(): Screen | undefined {
    const { vga } = (this.vm ?? this.board).pc;
    return vga && screenOf(vga.state);
  }

  /** The same with colours and cursor. */
  get textScreen(): TextScreen | undefined {
    const { vga } = (this.vm ?? this.board).pc;
    return vga && textScreenOf(vga.state);
  }

  /** The characters on the screen; undefined without a VGA, and where it shows a picture. */
  get screenText(): readonly string[] | undefined {
    const { vga } = (this.vm ?? this.board).pc;
    return vga && textOf(vga.state);
  }

  /** The 8042 with the keyboard and mouse behind it, where there are any. */
  get input(): I8042 {
    return (this.vm ?? this.board).pc.keyboard;
  }

  /** Every CPU has halted with interrupts off (or was never started), so that neither timers nor input can wake it. */
  get isDead(): boolean {
    if (this.vm) return this.vm.vcpus.every((vcpu) => vcpu.isDead);
    return this.board.cores.every((_, index) => {
      const cpu = this.memory.cpuState(index);
      if (cpu.attention !== 0 || cpu.nmiPending !== 0 || cpu.activity === Activity.ACTIVE) return false;
      // What MWAIT waits for, a device or host thread may still write.
      if (cpu.activity === Activity.MWAIT) return false;
      // A guest's wait may end by the VMX-preemption timer, or by an interrupt that exits whatever RFLAGS.IF is.
      if (cpu.vmxNonRoot !== 0 && (cpu.pinControls & WAKING_PIN_CONTROLS) !== 0) return false;
      return cpu.activity !== Activity.HALTED || (cpu.rflags & RFLAGS_IF) === 0n;
    });
  }

  /** Parallel mode: wakes the host threads, so that they see that they are to stop. */
  signalHostThreads(): void {
    this.vm?.ioThread.signal();
    this.vm?.pollThread?.signal();
  }

  /** State blocks start as zeroes; between them the red zones keep their pattern. Before the first power-on. */
  clearPlacedState(): void {
    for (const { offset, size } of this.board.allocator.blocks)
      this.memory.state.bytes.fill(0, offset, offset + size);
  }

  /** After the board's power-on: the VM's, and the image in memory with the first CPU at its entry, or at the firmware's. */
  boot(software: Software): void {
    for (const timing of this.#timings) timing.reset();
    this.#bootSoftware(software);
    if (this.hardware.balloon !== undefined) this.setMemoryTarget(this.hardware.balloon);
  }

  #bootSoftware(software: Software): void {
    const { segments, image } = software;
    if (this.vm) {
      this.vm.reset();
      if (image === undefined) return;
      this.vm.load(segments, image.entry);
      setUpLegacyInterrupts(this.vm.pc.ports, this.vm.vcpus[0]!.apic.state.registers);
      return;
    }
    if (image === undefined) return;
    for (const segment of segments) {
      const offset = this.memory.ramOffset(segment.physical, segment.bytes.length);
      if (offset === 0) throw new RangeError(`segment at ${segment.physical.toString(16)}H is outside RAM`);
      this.memory.state.bytes.set(segment.bytes, offset);
    }
    const core = this.board.core(0);
    setUpLegacyInterrupts(this.board.pc.ports, core.state.apicRegister);
    applyEntryState(core.state, image.entry);
    core.exports.updateMode();
    core.exports.updateContext();
  }
}

/** Labels and offsets of all state so far, to compare two threads' views. */
export function placesOf({ board }: Assembly): string {
  return board.allocator.blocks.map(({ label, offset }) => `${label}@${offset}`).join(" ");
}

export interface SoftwareOptions {
  /** Image of a multiboot (1 or 2), PVH or Linux kernel. Left out where the machine has firmware. */
  readonly kernel?: string | ImageFile;
  readonly initrd?: string | ImageFile;
  /** The kernel's command line. */
  readonly append?: string;
  /** Chooses the boot protocol where an image has several. */
  readonly protocol?: BootProtocol;
}

/** What is in memory when the guest starts: firmware tables, kernel, modules. With firmware: nothing. */
export interface Software {
  readonly image: BootImage | undefined;
  readonly segments: readonly { readonly physical: number; readonly bytes: Uint8Array }[];
}

/** Reads and lays out the images. Throws ImageError with the file's name when one is not what it must be. */
export function prepareSoftware(options: SoftwareOptions, hardware: Hardware): Software {
  if (options.kernel === undefined) return { image: undefined, segments: [] };
  const kernel = typeof options.kernel === "string" ? readImage(options.kernel, "kernel") : options.kernel;
  const initrd = typeof options.initrd === "string" ? readImage(options.initrd, "initrd") : options.initrd;
  const identity = identityOf(hardware);
  const ram = { lowRam: hardware.ramBytes, highRam: 0 };
  const featureFlags = identity.cpuid.find(([leaf]) => leaf === 1)?.[5] ?? 0;
  const firmware = buildFirmware({
    ram,
    cpus: hardware.smp,
    timers: hardware.timers,
    signature: identity.signature,
    featureFlags,
    vga: hardware.vga !== undefined,
    keyboardAndMouse: hardware.keyboardAndMouse === true,
  });
  const image = loadBootImage(
    {
      kernel,
      commandLine: options.append ?? "",
      modules: initrd === undefined ? [] : [{ file: initrd, commandLine: "" }],
      ram,
      memoryMap: firmware.memoryMap,
      rsdp: firmware.rsdp,
      rsdpBytes: firmware.rsdpBytes,
    },
    options.protocol ?? detectProtocol(kernel),
  );
  return { image, segments: [...firmware.segments, ...image.segments] };
}

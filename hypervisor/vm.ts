/**
 * A virtual machine: memory, virtual CPUs, its emulated board, and the completion path of its disks: `inject`, or `eli`. Request
 * paths are in request-paths.ts.
 */
import type { Core } from "../emulator/host/core.ts";
import { CpuidTable } from "../emulator/host/cpuid-answer.ts";
import type { CpuidRow } from "../emulator/host/cpu-models.ts";
import { LocalApics, type ApicTarget } from "../emulator/machine/apic-bus.ts";
import {
  readMmio,
  writeMmio,
  ioValueHigh,
  ioValueLow,
  setIoValue,
  type Board,
  BoardRequest,
} from "../emulator/machine/board.ts";
import { cyclesOf, type ChargeName, type CostProfile } from "../emulator/machine/cost-profile.ts";
import { Dma } from "../emulator/machine/dma.ts";
import type { EntryState } from "../emulator/machine/loaders/entry-state.ts";
import type { Firmware } from "../emulator/machine/firmware/bios.ts";
import { Pc, type PcParts } from "../emulator/machine/pc.ts";
import type { Actor } from "../emulator/machine/scheduler.ts";
import type { DeviceContext, MessageSink } from "../devices/ports.ts";
import { interceptAllPorts, interceptMsrs } from "./bitmaps.ts";
import { DeviceOwners } from "./device-owners.ts";
import { EptRights, EptView, ExtendedPageTables } from "./ept.ts";
import { FirmwareRom, type PagePlace } from "./firmware-rom.ts";
import { GuestMemory } from "./guest-memory.ts";
import type { HostThread, PollThread } from "./host-thread.ts";
import type { LedgerEntry } from "./ledger.ts";
import { RequestPaths, type RequestPath } from "./request-paths.ts";
import { Vcpu } from "./vcpu.ts";
import { setEntryState } from "./vcpu-setup.ts";
import { KICK_VECTOR } from "./vcpu-state.ts";

export type CompletionPath = "inject" | "eli";

const PAGE = 4096;
const PAGES_FIXED = 4;
/** Its VMCS, its shadow IDT, and the tables of its view of EPT. */
const PAGES_PER_VCPU = 2 + EptView.PAGES;
const LARGE_PAGE = 0x200000;

export interface VmOptions {
  readonly label: string;
  readonly board: Board;
  readonly profile: CostProfile;
  /** Guest-physical RAM, a multiple of 2 MiB, below the PCI hole. */
  readonly ramBytes: number;
  /** Machine-physical start of the hypervisor's own pages and then the VM's RAM. */
  readonly machineBase: number;
  readonly vcpus: number;
  readonly path: RequestPath;
  readonly completion: CompletionPath;
  readonly parts: (context: DeviceContext) => PcParts;
  readonly cpuid: readonly CpuidRow[];
  readonly transmit: (byte: number) => void;
  readonly firmware?: Firmware;
  readonly onExit?: (entry: LedgerEntry) => void;
}

export class Vm {
  readonly label: string;
  readonly board: Board;
  readonly path: RequestPath;
  readonly completion: CompletionPath;
  readonly ept: ExtendedPageTables;
  readonly pc: Pc;
  readonly vcpus: readonly Vcpu[];
  readonly apics: LocalApics;
  readonly pages: {
    readonly ioBitmapA: number;
    readonly ioBitmapB: number;
    readonly msrBitmap: number;
    readonly msrBitmapExitless: number;
  };
  /** Cycles of everything that is charged. */
  readonly costs: Readonly<Record<ChargeName, number>>;
  readonly onExit: ((entry: LedgerEntry) => void) | undefined;
  readonly memory: GuestMemory;
  /** With firmware. */
  readonly rom: FirmwareRom | undefined;
  readonly owners: DeviceOwners;
  readonly paths: RequestPaths;
  /** The virtual CPU whose instruction the emulator runs now. */
  emulating: Vcpu | undefined;
  /** Asked at every exit, handled and in the ledger: true pauses the run before the next entry (RunLimits.pauseAt). */
  pauseAt: ((entry: LedgerEntry) => boolean) | undefined;
  /** `pauseAt` has answered true in this run. Not part of the machine's state: it ends a run, it changes nothing. */
  isPausing = false;
  /** What its processors answer to CPUID. */
  readonly cpuid: CpuidTable;
  readonly #options: VmOptions;

  /** Machine-physical bytes that a VM with `ramBytes` of RAM takes from the machine. */
  static machineBytes(ramBytes: number, vcpus: number, romBytes: number): number {
    return Vm.#ownBytes(ramBytes, vcpus, romBytes) + ramBytes;
  }

  static #ownBytes(ramBytes: number, vcpus: number, romBytes: number): number {
    const tables = ExtendedPageTables.pagesFor(ramBytes);
    const pages = PAGES_FIXED + PAGES_PER_VCPU * vcpus + tables + romBytes / PAGE;
    return Math.ceil((pages * PAGE) / LARGE_PAGE) * LARGE_PAGE;
  }

  constructor(options: VmOptions) {
    this.#options = options;
    this.label = options.label;
    this.board = options.board;
    this.path = options.path;
    this.completion = options.completion;
    this.onExit = options.onExit;
    this.costs = cyclesOf(options.profile);
    this.cpuid = new CpuidTable(options.cpuid);
    const { board, machineBase, vcpus, ramBytes } = options;
    this.pages = {
      ioBitmapA: machineBase,
      ioBitmapB: machineBase + PAGE,
      msrBitmap: machineBase + 2 * PAGE,
      msrBitmapExitless: machineBase + 3 * PAGE,
    };
    const perVcpu = machineBase + PAGES_FIXED * PAGE;
    const eptStart = perVcpu + vcpus * PAGES_PER_VCPU * PAGE;
    const romBytes = options.firmware?.rom.length ?? 0;
    const ramBase = machineBase + Vm.#ownBytes(ramBytes, vcpus, romBytes);
    const romBase = ramBase - romBytes;
    this.memory = new GuestMemory({ memory: board.memory, ramBase, ramBytes });
    this.ept = new ExtendedPageTables(board.memory, board.allocator, this.label, eptStart, romBase);
    if (options.firmware)
      this.rom = new FirmwareRom({
        memory: board.memory,
        romBase,
        ramBase,
        bytes: romBytes,
        hostBridge: () => this.pc.hostBridge,
      });
    this.vcpus = Array.from(
      { length: vcpus },
      (_, i) =>
        new Vcpu(this, i, board.core(i), {
          vmcs: perVcpu + i * PAGES_PER_VCPU * PAGE,
          shadowIdt: perVcpu + i * PAGES_PER_VCPU * PAGE + PAGE,
          eptView: perVcpu + i * PAGES_PER_VCPU * PAGE + 2 * PAGE,
        }),
    );
    this.apics = new LocalApics(this.vcpus.map((vcpu) => apicTarget(vcpu)));
    this.paths = new RequestPaths({ label: this.label, board, path: this.path, costs: this.costs });
    const memory = new Dma(
      board.memory,
      (address, length) => this.memory.ramOffset(address, length),
      (offset, length) => board.noteWrite(offset, length),
    );
    const messages: MessageSink = { send: (address, data) => this.#message(address, data) };
    this.pc = new Pc({
      label: this.label,
      context: board.context,
      diskContext: this.paths.diskContext,
      memory,
      apicBus: this.apics,
      messages,
      system: {
        requestReset: (scope) =>
          board.request(scope === "system" ? BoardRequest.SYSTEM_RESET : BoardRequest.CPU_RESET),
        requestPowerOff: () => board.request(BoardRequest.POWER_OFF),
        requestExit: (code) => board.request(BoardRequest.DEBUG_EXIT, code),
        setA20: () => undefined,
      },
      // In VMX operation CR0.NE is 1: there is no FERR#.
      ignoreFloatErrors: () => undefined,
      intr: {
        set: (level) => {
          const apic = this.vcpus[0]!.apic;
          apic.setIntr(level);
          if (level) this.vcpus[0]!.notify();
        },
      },
      serial: { transmit: options.transmit },
      parts: options.parts(board.context),
      memoryBelow4G: ramBytes,
      memoryAbove4G: 0,
      processors: vcpus,
      ...(options.firmware && {
        firmware: { ...options.firmware, memoryMapChanged: () => this.#memoryMapChanged() },
      }),
    });
    this.paths.wire(this.pc.served);
    this.owners = new DeviceOwners(this.label, this.pc);
    board.emulatedAccess = (_core, space) => {
      if (space === "port") this.#portAccess(_core);
      else this.emulating?.emulatedAccess();
    };
  }

  /** The user process's main loop, or the hypervisor's device-emulation thread: whoever moves disk data. */
  get ioThread(): HostThread {
    return this.paths.ioThread;
  }

  get pollThread(): PollThread | undefined {
    return this.paths.pollThread;
  }

  /** Actors in the scheduler's order: virtual CPUs, then host threads. */
  get actors(): readonly Actor[] {
    return [...this.vcpus, this.ioThread, ...(this.pollThread ? [this.pollThread] : [])];
  }

  /** Power-on of the VM. The board has been powered on. */
  reset(): void {
    const { bytes } = this.board.memory.state;
    const page = (physical: number): number => this.board.memory.ramOffset(physical, PAGE);
    interceptAllPorts(bytes, page(this.pages.ioBitmapA));
    interceptAllPorts(bytes, page(this.pages.ioBitmapB));
    interceptMsrs(bytes, page(this.pages.msrBitmap), false);
    interceptMsrs(bytes, page(this.pages.msrBitmapExitless), true);
    this.ept.reset();
    this.ioThread.reset();
    this.pollThread?.reset(this.board.clock.now());
    for (const vcpu of this.vcpus) vcpu.reset();
    this.pc.reset();
    if (this.rom) this.rom.load(this.#options.firmware!.rom);
    else this.pc.setUpPci();
  }

  /** The host bridge's attribute map has changed: its pages are mapped anew as they are touched. */
  #memoryMapChanged(): void {
    for (const page of FirmwareRom.SHADOWED_PAGES) this.ept.unmap(page);
    for (const vcpu of this.vcpus) {
      vcpu.state.flush = 1;
      vcpu.notify();
    }
  }

  /** RAM whatever the attribute map says. */
  isPlainRam(guestPhysical: number): boolean {
    return this.memory.isRam(guestPhysical) && this.rom?.covers(guestPhysical) !== true;
  }

  /** Where a guest-physical page lies and what the guest may do there; undefined where a device answers, or nobody. */
  placeOf(page: number): PagePlace | undefined {
    if (this.rom?.covers(page) === true) return this.rom.place(page);
    if (!this.memory.isRam(page)) return undefined;
    return { machineAddress: this.memory.machineAddress(page), rights: EptRights.ALL };
  }

  /** Puts an image in the VM's memory and its first virtual CPU at the entry. */
  load(
    segments: readonly { readonly physical: number; readonly bytes: Uint8Array }[],
    entry: EntryState,
  ): void {
    for (const segment of segments) this.memory.load(segment.physical, segment.bytes);
    setEntryState(this.vcpus[0]!, entry);
  }

  // --- what exits ask

  /** Somebody sees every exit's entry. */
  get isTraced(): boolean {
    return this.onExit !== undefined || this.pauseAt !== undefined;
  }

  /** Shows an entry to whoever wants it. */
  trace(entry: LedgerEntry): void {
    this.onExit?.(entry);
    if (this.pauseAt?.(entry) === true) this.isPausing = true;
  }

  get isStopping(): boolean {
    return this.board.isStopping;
  }

  tripleFault(): void {
    this.board.request(BoardRequest.TRIPLE_FAULT);
  }

  /** A memory access of an emulated instruction to the VM's board. */
  access(core: Core): void {
    const cpu = core.state;
    const address = cpu.ioAddress;
    if (this.rom?.covers(address) === true) {
      this.#romAccess(this.rom, core);
      return;
    }
    if (cpu.ioWrite === 0) {
      readMmio(this.pc.mmio, address, cpu.ioSize, core);
      return;
    }
    // A processor's write to FEExxxxxH is no message: those come from devices.
    writeMmio(this.pc.mmio, address, cpu.ioSize, ioValueLow(core), ioValueHigh(core));
    this.paths.silenceQueues();
  }

  #romAccess(rom: FirmwareRom, core: Core): void {
    const { ioAddress: address, ioSize: size, ioWrite } = core.state;
    if (ioWrite === 0) {
      const low = rom.read(address, Math.min(size, 4) as 1 | 2 | 4);
      setIoValue(core, low, size === 8 ? rom.read(address + 4, 4) : 0);
      return;
    }
    const offset = rom.writeOffset(address, size);
    if (offset === 0) return;
    const { bytes } = this.board.memory.state;
    const [low, high] = [ioValueLow(core), ioValueHigh(core)];
    for (let i = 0; i < size; i++) bytes[offset + i] = (i < 4 ? low : high) >>> (8 * (i & 3));
    this.board.noteWrite(offset, size);
  }

  #portAccess(core: Core): void {
    const cpu = core.state;
    const size = cpu.ioSize as 1 | 2 | 4;
    if (cpu.ioWrite !== 0) this.pc.ports.write(cpu.ioAddress, size, ioValueLow(core));
    else setIoValue(core, this.pc.ports.read(cpu.ioAddress, size), 0);
  }

  // --- completion

  /** A message-signalled interrupt of one of the VM's devices. */
  #message(address: number, data: number): void {
    if (this.completion === "eli" && this.#sendExitless(address, data)) return;
    this.apics.send(address, data);
  }

  /**
   * Exitless: the vector goes to the physical CPU on which the virtual CPU runs, as an interprocessor interrupt. Only
   * fixed, edge-triggered messages to one virtual CPU in x2APIC mode qualify.
   */
  #sendExitless(address: number, data: number): boolean {
    const vector = data & 0xff;
    const isPlain = (data & 0xc700) === 0 && (address & 0xc) === 0 && vector >= 32 && vector !== KICK_VECTOR;
    const vcpu = this.vcpus[(address >>> 12) & 0xff];
    if (!isPlain || vcpu === undefined || !vcpu.apic.isX2apic) return false;
    vcpu.shadowIdt.assign(vector);
    this.paths.chargeActing(this.costs.ipiSend);
    this.board.sendPhysicalIpi(vcpu.core.index, vector);
    return true;
  }

  /** A virtual CPU is about to run. */
  entering(): void {
    this.paths.entering();
  }
}

function apicTarget(vcpu: Vcpu): ApicTarget {
  return {
    registers: vcpu.apic.state.registers,
    base: () => vcpu.apic.base,
    setSipiVector: (vector) => void (vcpu.state.sipiVector = vector),
    notify: (bit) => vcpu.attend(bit),
  };
}

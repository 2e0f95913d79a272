/**
 * A virtual machine: memory, virtual CPUs, its emulated board, and the request and completion paths of its disks.
 *
 * Paths (DESIGN §6): `user` — register accesses on the vCPU's thread after a hop to the user process, virtio data on the
 * main-loop thread; `in-vmm` — a device-emulation thread in the hypervisor; `poll` — as in-vmm, with a polling thread
 * that watches the queues, so that no notification is ever needed. Completion: `inject`, or `eli`.
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
import * as at from "../emulator/machine/layout.ts";
import type { EntryState } from "../emulator/machine/loaders/entry-state.ts";
import { Pc, type PcDisk } from "../emulator/machine/pc.ts";
import type { Actor } from "../emulator/machine/scheduler.ts";
import type { DeviceContext, MessageSink, Timer } from "../devices/ports.ts";
import type { VirtioBlk } from "../devices/virtio/blk/device.ts";
import { ExtendedPageTables } from "./ept.ts";
import { HostThread, PollThread } from "./host-thread.ts";
import { PhaseCode, type LedgerEntry } from "./ledger.ts";
import { Vcpu } from "./vcpu.ts";
import { setEntryState } from "./vcpu-setup.ts";
import { KICK_VECTOR } from "./vcpu-state.ts";

export type RequestPath = "user" | "in-vmm" | "poll";
export type CompletionPath = "inject" | "eli";

const PAGE = 4096;
const PAGES_FIXED = 4;
const PAGES_PER_VCPU = 2;
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
  readonly disks: readonly ((context: DeviceContext) => PcDisk)[];
  readonly cpuid: readonly CpuidRow[];
  readonly transmit: (byte: number) => void;
  readonly onExit?: (entry: LedgerEntry) => void;
}

/** Who owns a port or address, for cost and ledger. */
interface Owner {
  readonly label: string;
  readonly isInKernel: boolean;
  readonly phase: PhaseCode;
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
  /** The user process's main loop, or the hypervisor's device-emulation thread: whoever moves disk data. */
  readonly ioThread: HostThread;
  readonly pollThread: PollThread | undefined;
  /** The virtual CPU whose instruction the emulator runs now. */
  emulating: Vcpu | undefined;
  /** Asked at every exit, handled and in the ledger: true pauses the run before the next entry (RunLimits.pauseAt). */
  pauseAt: ((entry: LedgerEntry) => boolean) | undefined;
  /** `pauseAt` has answered true in this run. Not part of the machine's state: it ends a run, it changes nothing. */
  isPausing = false;
  /** What its processors answer to CPUID. */
  readonly cpuid: CpuidTable;
  readonly #options: VmOptions;
  readonly #ramBase: number;
  readonly #owners = new Map<number, Owner>();
  readonly #diskTimers: Timer[] = [];

  /** Machine-physical bytes that a VM with `ramBytes` of RAM takes from the machine. */
  static machineBytes(ramBytes: number, vcpus: number): number {
    return Vm.#ownBytes(ramBytes, vcpus) + ramBytes;
  }

  static #ownBytes(ramBytes: number, vcpus: number): number {
    const pages = PAGES_FIXED + PAGES_PER_VCPU * vcpus + ExtendedPageTables.pagesFor(ramBytes);
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
    this.#ramBase = machineBase + Vm.#ownBytes(ramBytes, vcpus);
    this.ept = new ExtendedPageTables(board.memory, board.allocator, this.label, eptStart, this.#ramBase);
    this.vcpus = Array.from(
      { length: vcpus },
      (_, i) =>
        new Vcpu(this, i, board.core(i), {
          vmcs: perVcpu + i * PAGES_PER_VCPU * PAGE,
          shadowIdt: perVcpu + i * PAGES_PER_VCPU * PAGE + PAGE,
        }),
    );
    this.apics = new LocalApics(this.vcpus.map((vcpu) => apicTarget(vcpu)));
    this.ioThread = new HostThread(board.allocator, {
      label: `${this.label} ${this.path === "user" ? "main loop" : "device emulation"}`,
      now: () => board.clock.now(),
      woken: (time) => board.woken(time),
      isParallel: board.lock !== undefined,
      wakeCycles: this.path === "poll" ? this.costs.queueHandOff : this.costs.threadWake,
    });
    const memory = new Dma(
      board.memory,
      (address, length) => this.#ramOffset(address, length),
      (offset, length) => board.noteWrite(offset, length),
    );
    const messages: MessageSink = { send: (address, data) => this.#message(address, data) };
    this.pc = new Pc({
      label: this.label,
      context: board.context,
      diskContext: this.#diskContext(),
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
      intr: {
        set: (level) => {
          const apic = this.vcpus[0]!.apic;
          apic.setIntr(level);
          if (level) this.vcpus[0]!.notify();
        },
      },
      serial: { transmit: options.transmit },
      disks: options.disks.map((make) => make(board.context)),
      memoryBelow4G: ramBytes,
      memoryAbove4G: 0,
      processors: vcpus,
    });
    this.pollThread = this.#servicePaths();
    board.emulatedAccess = (_core, space) => {
      if (space === "port") this.#portAccess(_core);
      else this.emulating?.emulatedAccess();
    };
  }

  /** Actors in the scheduler's order: virtual CPUs, then host threads. */
  get actors(): readonly Actor[] {
    return [...this.vcpus, this.ioThread, ...(this.pollThread ? [this.pollThread] : [])];
  }

  /** Power-on of the VM. The board has been powered on. */
  reset(): void {
    const { bytes } = this.board.memory.state;
    const page = (physical: number): number => this.board.memory.ramOffset(physical, PAGE);
    // Every port exits; every MSR exits but those below.
    bytes.fill(0xff, page(this.pages.ioBitmapA), page(this.pages.ioBitmapA) + PAGE);
    bytes.fill(0xff, page(this.pages.ioBitmapB), page(this.pages.ioBitmapB) + PAGE);
    for (const bitmap of [this.pages.msrBitmap, this.pages.msrBitmapExitless])
      this.#fillMsrBitmap(page(bitmap));
    // FACTS §4 (5): only the write bit of the EOI register is cleared.
    const eoi = 2048 + (0x80b >> 3);
    bytes[page(this.pages.msrBitmapExitless) + eoi]! &= ~(1 << (0x80b & 7));
    this.ept.reset();
    this.ioThread.reset();
    this.pollThread?.reset(this.board.clock.now());
    for (const vcpu of this.vcpus) vcpu.reset();
    this.pc.reset();
    this.pc.setUpPci();
  }

  /** MSRs that hold nothing but this virtual CPU's own state, on the CPU to which it is pinned: no exit. */
  #fillMsrBitmap(at: number): void {
    const { bytes } = this.board.memory.state;
    bytes.fill(0xff, at, at + PAGE);
    const own = [
      0x174, 0x175, 0x176, 0x277, 0x2ff, 0xfe, 0x8b, 0x1a0, 0x17, 0x179, 0x17a, 0xc0000080, 0xc0000081,
      0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
    ];
    for (let i = 0; i < 16; i++) own.push(0x200 + i);
    for (const fixed of [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f])
      own.push(fixed);
    for (const msr of own) {
      const bit = msr & 0x1fff;
      const base = msr >= 0xc0000000 ? 1024 : 0;
      bytes[at + base + (bit >> 3)]! &= ~(1 << (bit & 7));
      bytes[at + base + 2048 + (bit >> 3)]! &= ~(1 << (bit & 7));
    }
  }

  /** Puts an image in the VM's memory and its first virtual CPU at the entry. */
  load(
    segments: readonly { readonly physical: number; readonly bytes: Uint8Array }[],
    entry: EntryState,
  ): void {
    for (const segment of segments) {
      const offset = this.#ramOffset(segment.physical, segment.bytes.length);
      if (offset === 0)
        throw new RangeError(`segment at ${segment.physical.toString(16)} is outside the VM's RAM`);
      this.board.memory.state.bytes.set(segment.bytes, offset);
    }
    setEntryState(this.vcpus[0]!, entry);
  }

  // --- memory

  /** True when the page at a guest-physical address is RAM. */
  isRam(guestPhysical: number): boolean {
    return this.#ramOffset(guestPhysical - (guestPhysical % PAGE), PAGE) !== 0;
  }

  machineAddress(guestPhysical: number): number {
    return this.#ramBase + guestPhysical;
  }

  #ramOffset(guestPhysical: number, length: number): number {
    const { ramBytes } = this.#options;
    if (guestPhysical < 0 || guestPhysical >= ramBytes || length > ramBytes - guestPhysical) return 0;
    if (guestPhysical < 0xc0000 && guestPhysical + length > 0xa0000) return 0;
    return this.board.memory.ramOffset(this.#ramBase + guestPhysical, length);
  }

  /** A copy of guest-physical RAM; undefined when the range is not all RAM. Has no effect on the guest. */
  readGuest(guestPhysical: number, length: number): Uint8Array | undefined {
    const offset = this.#ramOffset(guestPhysical, length);
    return offset === 0 ? undefined : this.board.memory.state.bytes.slice(offset, offset + length);
  }

  readGuest64(guestPhysical: number): bigint | undefined {
    const offset = this.#ramOffset(guestPhysical, 8);
    return offset === 0 || offset % 8 !== 0 ? undefined : this.board.memory.state.u64[offset / 8];
  }

  // --- costs

  /** Charges whoever acts now; a cost of the hypervisor's own on that thread. */
  chargeActing(name: ChargeName): void {
    const acting = this.#actingThread;
    acting?.charge(this.costs[name]);
  }

  #actingThread: HostThread | PollThread | undefined;

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

  // --- what exits ask

  /** Device, place and phase of a port, for an access of `size` bytes (CF8H is a register only as a doubleword). */
  portOwner(port: number, size: 1 | 2 | 4): Owner {
    const key = port * 8 + size;
    const known = this.#owners.get(key);
    if (known) return known;
    const label = this.pc.ports.labelAt(port, size) ?? "nobody";
    const name = label.replace(`${this.label} `, "");
    const owner: Owner = {
      label: name,
      // The interrupt controllers and the interval timer are in the kernel, everything else in the user process.
      isInKernel: /^(PIC|ELCR|PIT|port 61H)/.test(name),
      phase: name.startsWith("IDE") ? PhaseCode.REQUEST : PhaseCode.OTHER,
    };
    // Fixed ports only: where a base address register decides, the answer may change.
    if (port < 0x1000) this.#owners.set(key, owner);
    return owner;
  }

  mmioLabel(address: number): string {
    return (this.pc.mmio.find(address)?.label ?? "nobody").replace(`${this.label} `, "");
  }

  isKernelMmio(address: number): boolean {
    return address >= at.IOAPIC_BASE && address < at.IOAPIC_BASE + PAGE;
  }

  /** True for a virtio notification address: registered to signal the serving thread (ioeventfd-like). */
  isKick(address: number): boolean {
    return this.pc.virtio.some((device) => {
      const notify = device.transport.notifyAddress(0);
      return notify !== undefined && address >= notify && address < notify + PAGE;
    });
  }

  /** A memory access of an emulated instruction to the VM's board. */
  access(core: Core): void {
    const cpu = core.state;
    const address = cpu.ioAddress;
    if (cpu.ioWrite === 0) {
      readMmio(this.pc.mmio, address, cpu.ioSize, core);
      return;
    }
    if (address >= at.MSI_BASE && address < at.MSI_END) this.#message(address, ioValueLow(core));
    else writeMmio(this.pc.mmio, address, cpu.ioSize, ioValueLow(core), ioValueHigh(core));
    if (this.path === "poll" && this.board.lock !== undefined) this.#silenceQueues();
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
    this.chargeActing("ipiSend");
    this.board.sendPhysicalIpi(vcpu.core.index, vector);
    return true;
  }

  // --- request paths

  /** Timers of disks are completions of the physical disk: the I/O thread, not the event, does what they ask. */
  #diskContext(): DeviceContext {
    const { context } = this.board;
    return {
      state: context.state,
      clock: context.clock,
      timer: (label, fire) => {
        const bit = this.ioThread.addTask({
          label,
          run: (thread) => {
            this.#onThread(thread, () => {
              thread.charge(this.costs.completionHandling);
              if (this.path === "user") thread.charge(this.costs.userModeHop);
              fire();
            });
          },
        });
        const timer = context.timer(label, () => this.ioThread.post(bit));
        this.#diskTimers.push(timer);
        return timer;
      },
    };
  }

  #onThread(thread: HostThread | PollThread, act: () => void): void {
    const before = this.#actingThread;
    this.#actingThread = thread;
    act();
    this.#actingThread = before;
  }

  /** Wires the virtio devices to who serves them. */
  #servicePaths(): PollThread | undefined {
    const { board } = this;
    const serveBits = this.pc.virtio.map((device, index) => {
      const completions = board.events.timer(`${this.label} virtio ${index} disk`, () =>
        this.ioThread.post(completeBit),
      );
      const serve = (thread: HostThread): void => {
        this.#onThread(thread, () => {
          for (let queue = 0; queue < device.queueCount; queue++) {
            let started = 0;
            while (device.hasWork(queue)) {
              const now = device.serveQueue(queue, 64);
              if (now === 0) break;
              started += now;
            }
            thread.charge(started * this.costs.requestHandling);
          }
          if (this.path === "user") thread.charge(this.costs.userModeHop);
          armFor(device, completions);
        });
      };
      const complete = (thread: HostThread): void => {
        this.#onThread(thread, () => {
          thread.charge(this.costs.completionHandling);
          if (this.path === "user") thread.charge(this.costs.userModeHop);
          device.completeDue(board.clock.now());
          device.signalCompleted();
          // Requests that found the in-flight table full go on now.
          for (let queue = 0; queue < device.queueCount; queue++)
            if (device.hasWork(queue) && this.path !== "poll") serve(thread);
          armFor(device, completions);
        });
      };
      const serveBit = this.ioThread.addTask({ label: `virtio ${index} requests`, run: serve });
      const completeBit: number = this.ioThread.addTask({
        label: `virtio ${index} completions`,
        run: complete,
      });
      device.setService({
        notified: () => {
          if (this.path !== "poll") this.ioThread.post(serveBit);
          else if (device.transport.isQueueLive(0)) this.ioThread.post(serveBit);
        },
      });
      return { device, serveBit };
    });
    if (this.path !== "poll") return undefined;
    return new PollThread(board.allocator, {
      label: `${this.label} polling`,
      iterationCycles: this.costs.pollIteration,
      woken: (time) => board.woken(time),
      poll: (thread) => this.#poll(thread, serveBits),
      peek: () => this.#mayHaveRequests(serveBits),
    });
  }

  /** One look at every queue: hands those with requests to the emulation thread. */
  #poll(
    thread: PollThread,
    devices: readonly { readonly device: VirtioBlk; readonly serveBit: number }[],
  ): boolean {
    let found = false;
    for (const { device, serveBit } of devices)
      for (let queue = 0; queue < device.queueCount; queue++) {
        if (!device.transport.isQueueLive(queue)) continue;
        // No notification, ever: asked for at each look, since the driver may have set the queue up again.
        device.setNotificationsEnabled(queue, false);
        if (!device.hasWork(queue) || (this.ioThread.state.work & serveBit) !== 0) continue;
        thread.charge(this.costs.queueHandOff);
        this.#onThread(thread, () => this.ioThread.post(serveBit));
        found = true;
      }
    return found;
  }

  /** Without a lock: what it reads may be old, which the next look or `#poll` puts right. */
  #mayHaveRequests(devices: readonly { readonly device: VirtioBlk; readonly serveBit: number }[]): boolean {
    for (const { device, serveBit } of devices) {
      if ((this.ioThread.state.work & serveBit) !== 0) continue;
      for (let queue = 0; queue < device.queueCount; queue++) if (device.hasWork(queue)) return true;
    }
    return false;
  }

  /**
   * Parallel mode: a queue that has just become live is polled from then on, so the driver is told at once not to notify;
   * the polling thread's next look might come after the first request.
   */
  #silenceQueues(): void {
    for (const device of this.pc.virtio)
      for (let queue = 0; queue < device.queueCount; queue++) device.setNotificationsEnabled(queue, false);
  }

  /** A virtual CPU is about to run: the polling thread has something to watch again. */
  entering(): void {
    const { pollThread } = this;
    if (pollThread === undefined || this.board.lock !== undefined || !pollThread.isIdle()) return;
    pollThread.unpark(this.board.clock.now());
  }
}

/** Arms a timer for a device's next completion. */
function armFor(device: VirtioBlk, timer: Timer): void {
  const due = device.nextDue;
  if (due === undefined) timer.disarm();
  else timer.arm(due);
}

function apicTarget(vcpu: Vcpu): ApicTarget {
  return {
    id: vcpu.index,
    registers: vcpu.apic.state.registers,
    base: () => vcpu.apic.base,
    setSipiVector: (vector) => void (vcpu.state.sipiVector = vector),
    notify: (bit) => vcpu.attend(bit),
  };
}

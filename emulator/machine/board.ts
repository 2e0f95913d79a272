/**
 * The physical machine: CPUs, RAM, chipset and cards on one clock and one event queue.
 *
 * A `Board` object is one thread's view: all volatile state is in the shared memory, so several threads build equal
 * boards on the same memory, or one board goes on with a restored memory.
 */
import type { DeviceContext, InterruptLine, SystemControl, Timer } from "../../devices/ports.ts";
import { StateAllocator, i32, nestedArray, struct, u32, u53, u8, type ViewOf } from "../../layout/struct.ts";
import { Attention, Core, MachineMemory, type CoreHost } from "../host/core.ts";
import { CpuStruct } from "../../layout/cpu.ts";
import { LocalApics, type ApicTarget } from "./apic-bus.ts";
import { BoardLock } from "./board-lock.ts";
import { BoardClock } from "./clock.ts";
import { leaveSoon } from "./cpu-actor.ts";
import { Dma } from "./dma.ts";
import type { Firmware } from "./firmware/bios.ts";
import { EventQueue, NEVER } from "./events.ts";
import { Pc, type PcParts } from "./pc.ts";

const MOST_IPIS = 64;

const IpiStruct = struct("PendingIpi", { time: u53, order: u53, icrLow: u32, destination: u32, sender: u32 });

export const BoardStruct = struct("Board", {
  /** What the guest asked for: 0 nothing, 1 power-off, 2 debug exit, 3 system reset, 4 CPU reset, 5 triple fault. */
  request: u8,
  exitCode: u32,
  /** INTR, the 8259 pair's output. */
  intr: u8,
  ipiOrder: u53,
  ipiCount: u32,
  resets: u32,
  /** CPU that asked for a retried access, -1 none. */
  retrying: i32,
  ipis: nestedArray(IpiStruct, MOST_IPIS),
});

export const BoardRequest = {
  NONE: 0,
  POWER_OFF: 1,
  DEBUG_EXIT: 2,
  SYSTEM_RESET: 3,
  CPU_RESET: 4,
  TRIPLE_FAULT: 5,
} as const;

export interface BoardOptions {
  readonly memory: MachineMemory;
  readonly module: WebAssembly.Module;
  /** CPUs that this thread runs; the others exist on other threads. All, in deterministic mode. */
  readonly localCpus: readonly number[];
  readonly clock: BoardClock;
  readonly deterministic: boolean;
  /** Latency between two CPUs, cycles. */
  readonly lookAhead: number;
  readonly parts: (context: DeviceContext) => PcParts;
  readonly transmit: (byte: number) => void;
  /** RAM that the machine's firmware reports: less than all when a hypervisor keeps some. */
  readonly processors: number;
  readonly firmware?: Firmware;
}

/** Interrupt command: logical destination mode, or a shorthand. */
const ICR_NOT_PHYSICAL = (1 << 11) | (3 << 18);

export class Board {
  readonly memory: MachineMemory;
  readonly state: ViewOf<typeof BoardStruct>;
  readonly allocator: StateAllocator;
  readonly context: DeviceContext;
  readonly clock: BoardClock;
  readonly events: EventQueue;
  readonly cores: readonly (Core | undefined)[];
  readonly apics: LocalApics;
  readonly pc: Pc;
  readonly dma: Dma;
  /** Parallel mode: covers everything that more than one thread may touch. */
  readonly lock: BoardLock | undefined;
  /** Parallel mode: called on the thread that makes all others stop. */
  stopping: () => void = () => undefined;
  /** Answers the accesses of an instruction that a hypervisor's emulator runs. */
  emulatedAccess: ((core: Core, space: "memory" | "port") => void) | undefined;
  /** A CPU of this thread was given something to look at: it may have been idle. */
  kicked: (index: number) => void = () => undefined;
  /** A host thread has come to have something to do at this time on its own clock. */
  woken: (time: number) => void = () => undefined;
  /** Where `state.request` is: every exit looks at it. */
  readonly #bytes: Uint8Array;
  readonly #requestAt: number;
  readonly #ipiTimer: Timer;
  readonly #options: BoardOptions;

  constructor(options: BoardOptions) {
    this.#options = options;
    const { memory } = options;
    this.memory = memory;
    const { stateBase, stateEnd, cpus } = memory.plan;
    this.allocator = new StateAllocator(memory.state, stateBase, stateEnd);
    const at = this.allocator.take("board", BoardStruct.size, BoardStruct.align);
    this.state = BoardStruct.at(memory.state, at);
    this.#bytes = memory.state.bytes;
    this.#requestAt = at + BoardStruct.offsets.request;
    this.clock = options.clock;
    this.events = new EventQueue(this.allocator);
    this.lock = options.deterministic ? undefined : new BoardLock(this.allocator, this.events, this.clock);
    this.context = {
      state: this.allocator,
      clock: this.clock,
      timer: (label, fire) => this.events.timer(label, fire),
    };
    this.#ipiTimer = this.events.timer("interprocessor interrupts", () => this.#deliverIpis());
    this.cores = Array.from({ length: cpus }, (_, index) =>
      // In parallel mode every thread can look at every CPU; it runs its own only.
      options.localCpus.includes(index) || !options.deterministic
        ? new Core(options.module, memory, index, this.#lockedHostOf(index))
        : undefined,
    );
    this.apics = new LocalApics(Array.from({ length: cpus }, (_, index) => this.#apicTarget(index)));
    this.dma = new Dma(
      memory,
      (address, length) => memory.ramOffset(address, length),
      (offset, length) => this.noteWrite(offset, length),
    );
    this.pc = new Pc({
      label: "board",
      context: this.context,
      memory: this.dma,
      apicBus: this.apics,
      messages: this.apics,
      system: this.#systemControl(),
      intr: this.#intr(),
      ignoreFloatErrors: () => this.#ignoreFloatErrors(),
      serial: { transmit: options.transmit },
      parts: options.parts(this.context),
      memoryBelow4G: memory.plan.lowRam,
      memoryAbove4G: memory.plan.highRam,
      processors: options.processors,
      ...(options.firmware && {
        firmware: { ...options.firmware, memoryMapChanged: () => this.memoryMapChanged() },
      }),
    });
  }

  /** A core of this thread, or a RangeError. */
  core(index: number): Core {
    const core = this.cores[index];
    if (core === undefined) throw new RangeError(`CPU ${index} is not on this thread`);
    return core;
  }

  /** Power-on: CPUs, queue, devices. Only the thread that creates the machine calls it, with all CPUs local. */
  powerOn(): void {
    for (const core of this.cores) core?.exports.resetForPowerOn();
    this.events.reset();
    this.resetDevices();
  }

  /** System reset of everything but the CPUs. */
  resetDevices(): void {
    this.state.request = BoardRequest.NONE;
    this.state.ipiCount = 0;
    this.pc.reset();
    const { firmware } = this.#options;
    if (firmware) this.memory.state.bytes.set(firmware.rom, this.memory.header.romBase);
    else this.pc.setUpPci();
  }

  /** The host bridge's attribute map has changed, or comes from a restored memory: C0000H–FFFFFH is what it says now. */
  memoryMapChanged(): void {
    const { reads, writes } = this.pc.hostBridge.attributeMap;
    Object.assign(this.memory.header, { shadowReads: reads, shadowWrites: writes });
    for (const index of this.cores.keys()) {
      if (this.#options.localCpus.includes(index)) this.core(index).exports.forgetMemoryMap();
      else this.#signal(index, Attention.SHOOTDOWN);
    }
  }

  /** RAM has been written by somebody other than a CPU's fast path. */
  noteWrite(offset: number, length: number): void {
    const own = this.#options.localCpus[0];
    if (own !== undefined) this.cores[own]!.exports.noteWriteRange(offset, length);
    else this.cores[0]?.exports.noteWriteRangeFromOutside(offset, length);
  }

  /** CPU `index` has something to look at. */
  kick(index: number): void {
    if (this.lock !== undefined) {
      this.#signal(index, Attention.INTERRUPT);
      return;
    }
    leaveSoon(this.core(index));
    this.kicked(index);
  }

  /** Parallel mode: sets an attention bit of a CPU, which sees it at its next boundary or is woken by it. */
  #signal(index: number, bit: number): void {
    const { i32 } = this.memory.state;
    const at = this.attentionAt(index);
    Atomics.or(i32, at, bit);
    Atomics.notify(i32, at);
  }

  /** Where a CPU's attention word is: index into the memory's 32-bit words. */
  attentionAt(index: number): number {
    return (this.memory.cpuOffset(index) + CpuStruct.offsets.attention) >>> 2;
  }

  /** The guest has asked for something that ends the run, or (parallel mode) the threads were told to stop. */
  get isStopping(): boolean {
    return (
      this.#bytes[this.#requestAt] !== BoardRequest.NONE ||
      (this.lock !== undefined && this.lock.state.stop !== 0)
    );
  }

  /** Parallel mode: makes every thread leave its loop. Any thread may call it. */
  stopThreads(): void {
    this.lock!.state.stop = 1;
    for (let index = 0; index < this.cores.length; index++) this.#signal(index, Attention.STOP);
    this.lock!.wakeTimekeeper();
    this.stopping();
  }

  /** Notes a request of the guest to the whole machine and stops the CPUs of this thread. */
  request(request: number, code = 0): void {
    if (this.state.request !== BoardRequest.NONE) return;
    this.state.request = request;
    this.state.exitCode = code;
    if (this.lock !== undefined) {
      this.stopThreads();
      return;
    }
    for (const core of this.cores) if (core) stopCore(core);
  }

  #apicTarget(index: number): ApicTarget {
    const cpu = this.cores[index]?.state ?? this.memory.cpuState(index);
    const attention = this.attentionAt(index);
    return {
      registers: cpu.apicRegister,
      base: () => Number(cpu.apicBase),
      setSipiVector: (vector) => void (cpu.sipiVector = vector),
      notify: (bit) => {
        const before = Atomics.or(this.memory.state.u32, attention, bit);
        if ((before & bit & Attention.NMI) !== 0)
          Atomics.or(this.memory.state.u32, attention, Attention.NMI_AGAIN);
        this.kick(index);
      },
    };
  }

  #systemControl(): SystemControl {
    return {
      requestReset: (scope) =>
        this.request(scope === "system" ? BoardRequest.SYSTEM_RESET : BoardRequest.CPU_RESET),
      requestPowerOff: () => this.request(BoardRequest.POWER_OFF),
      requestExit: (code) => this.request(BoardRequest.DEBUG_EXIT, code),
      setA20: () => undefined,
    };
  }

  /** Asserts IGNNE# of the first CPU, which looks at it before its next instruction. */
  #ignoreFloatErrors(): void {
    const bsp = this.cores[0]?.state ?? this.memory.cpuState(0);
    bsp.ignne = 1;
    Atomics.or(this.memory.state.u32, this.attentionAt(0), Attention.FLOAT_ERROR);
    this.kick(0);
  }

  #intr(): InterruptLine {
    return {
      set: (level) => {
        this.state.intr = level ? 1 : 0;
        const bsp = this.cores[0]?.state ?? this.memory.cpuState(0);
        if ((bsp.intrLine !== 0) === level) return;
        bsp.intrLine = level ? 1 : 0;
        this.kick(0);
      },
    };
  }

  // --- what a core asks

  #hostOf(index: number): CoreHost {
    return {
      portAccess: () => this.#portAccess(index),
      memoryAccess: () => this.#memoryAccess(index),
      wallClock: () => this.clock.now(),
      sendInterrupt: (icrLow, destination) => this.#sendIpi(index, icrLow, destination),
      endOfInterrupt: (vector) => this.pc.ioapic.eoi(vector),
      floatError: (level) => {
        // On a PC the first processor's FERR# alone is wired.
        if (index === 0) this.pc.floatError.setError(level);
      },
      monitoredLineWritten: (cpu) => this.kick(cpu),
      acknowledgeInterrupt: () => this.pc.pic.acknowledge(),
    };
  }

  /** Parallel mode: what a core asks is done under the lock, while other CPUs need not wait for this one's answers. */
  #lockedHostOf(index: number): CoreHost {
    const host = this.#hostOf(index);
    const { lock } = this;
    if (lock === undefined) return host;
    const outside = <T>(act: () => T): T => {
      const { state, exports } = this.cores[index]!;
      const wasRunning = state.running !== 0;
      if (wasRunning) exports.stopRunning();
      lock.enter();
      try {
        return act();
      } finally {
        lock.leave();
        if (wasRunning) exports.startRunning();
      }
    };
    return {
      portAccess: () => outside(() => host.portAccess()),
      memoryAccess: () => outside(() => host.memoryAccess()),
      wallClock: () => host.wallClock(),
      sendInterrupt: (icrLow, destination) => outside(() => host.sendInterrupt(icrLow, destination)),
      endOfInterrupt: (vector) => outside(() => host.endOfInterrupt(vector)),
      floatError: (level) => outside(() => host.floatError(level)),
      // By a CPU in the middle of a store, or by a device's thread: no lock is taken.
      monitoredLineWritten: (cpu) => host.monitoredLineWritten(cpu),
      acknowledgeInterrupt: () => outside(() => host.acknowledgeInterrupt()),
    };
  }

  #portAccess(index: number): boolean {
    const core = this.cores[index]!;
    const cpu = core.state;
    if (cpu.emulating !== 0) {
      this.emulatedAccess?.(core, "port");
      return false;
    }
    const port = cpu.ioAddress;
    const size = cpu.ioSize as 1 | 2 | 4;
    if (cpu.ioWrite !== 0) this.pc.ports.write(port, size, ioValueLow(core));
    else setIoValue(core, this.pc.ports.read(port, size), 0);
    return false;
  }

  #memoryAccess(index: number): boolean {
    const core = this.cores[index]!;
    const cpu = core.state;
    if (cpu.ioGuest !== 0) {
      this.emulatedAccess?.(core, "memory");
      return false;
    }
    const address = cpu.ioAddress;
    // A processor's write to FEExxxxxH is no message: those come from devices.
    if (cpu.ioWrite !== 0) writeMmio(this.pc.mmio, address, cpu.ioSize, ioValueLow(core), ioValueHigh(core));
    else readMmio(this.pc.mmio, address, cpu.ioSize, core);
    return false;
  }

  // --- interprocessor interrupts: with the latency between CPUs, in virtual time

  /** An interrupt from another CPU's thread (a host thread's) to CPU `index`, fixed, with the latency between CPUs. */
  sendPhysicalIpi(index: number, vector: number): void {
    this.#queueIpi(0, vector, index, this.clock.now());
  }

  #sendIpi(sender: number, icrLow: number, destination: number): void {
    // Physical destination, no shorthand: to itself alone without any way between CPUs.
    if ((icrLow & ICR_NOT_PHYSICAL) === 0 && this.apics.isAlone(sender, destination)) {
      this.apics.sendIpi(sender, icrLow, destination);
      return;
    }
    this.#queueIpi(
      sender,
      icrLow,
      destination,
      this.#options.deterministic ? this.cores[sender]!.clock() : 0,
    );
  }

  #queueIpi(sender: number, icrLow: number, destination: number, now: number): void {
    const s = this.state;
    if (!this.#options.deterministic || s.ipiCount >= MOST_IPIS) {
      this.apics.sendIpi(sender, icrLow, destination);
      return;
    }
    const entry = s.ipis[s.ipiCount++]!;
    entry.time = now + this.#options.lookAhead;
    entry.order = s.ipiOrder++;
    entry.icrLow = icrLow;
    entry.destination = destination;
    entry.sender = sender;
    const armed = this.#ipiTimer.armedAt;
    if (armed === undefined || entry.time < armed) this.#ipiTimer.arm(entry.time);
  }

  /** Delivers what is due, in order of time and sending; re-arms for the rest. */
  #deliverIpis(): void {
    const s = this.state;
    const now = this.clock.now();
    for (;;) {
      let first = -1;
      for (let i = 0; i < s.ipiCount; i++) {
        const entry = s.ipis[i]!;
        if (entry.time > now) continue;
        if (
          first < 0 ||
          entry.time < s.ipis[first]!.time ||
          (entry.time === s.ipis[first]!.time && entry.order < s.ipis[first]!.order)
        )
          first = i;
      }
      if (first < 0) break;
      const { sender, icrLow, destination } = s.ipis[first]!;
      const last = s.ipis[--s.ipiCount]!;
      Object.assign(s.ipis[first]!, {
        time: last.time,
        order: last.order,
        icrLow: last.icrLow,
        destination: last.destination,
        sender: last.sender,
      });
      this.apics.sendIpi(sender, icrLow, destination);
    }
    let next = NEVER;
    for (let i = 0; i < s.ipiCount; i++) next = Math.min(next, s.ipis[i]!.time);
    if (next !== NEVER) this.#ipiTimer.arm(next);
  }
}

/** Makes `run` return at the next boundary. */
export function stopCore(core: Core): void {
  core.state.attention |= 1 << 5;
  leaveSoon(core);
}

/** The low and high halves of the value exchanged in an access. */
export function ioValueLow(core: Core): number {
  return core.memory.state.u32[core.ioValueAt >>> 2]!;
}
export function ioValueHigh(core: Core): number {
  return core.memory.state.u32[(core.ioValueAt >>> 2) + 1]!;
}
export function setIoValue(core: Core, low: number, high: number): void {
  core.memory.state.u32[core.ioValueAt >>> 2] = low;
  core.memory.state.u32[(core.ioValueAt >>> 2) + 1] = high;
}

/** Reads 1, 2, 4 or 8 bytes from a bus into the exchange field. */
export function readMmio(bus: Pc["mmio"], address: number, size: number, core: Core): void {
  if (size === 8) setIoValue(core, bus.read(address, 4), bus.read(address + 4, 4));
  else setIoValue(core, bus.read(address, size as 1 | 2 | 4), 0);
}

export function writeMmio(bus: Pc["mmio"], address: number, size: number, low: number, high: number): void {
  if (size === 8) {
    bus.write(address, 4, low);
    bus.write(address + 4, 4, high);
  } else bus.write(address, size as 1 | 2 | 4, low);
}

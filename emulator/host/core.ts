/**
 * The door to the core: one `Core` is one physical CPU, an instance of core.wasm on the machine's shared memory.
 *
 * Raw exports take and return 32-bit values; wide values go through the CPU block. Nothing outside `emulator/` sees a
 * wasm offset.
 */
import { CpuStruct } from "../../layout/cpu.ts";
import type { VmxCapabilities } from "./vmx-features.ts";
import { featureBits } from "./instruction-sets.ts";
import { MACHINE, MachineStruct, type MemoryPlan } from "../../layout/memory-map.ts";
import { StateMemory, type ViewOf } from "../../layout/struct.ts";

export type CpuState = ViewOf<typeof CpuStruct>;
export type MachineHeader = ViewOf<typeof MachineStruct>;

/** Why `run` returned. */
export const Stop = {
  BUDGET: 1,
  HALTED: 2,
  VM_EXIT: 3,
  SHUTDOWN: 4,
  REQUESTED: 5,
  WAIT_FOR_SIPI: 6,
  RETRY: 7,
  /** From `enterAndRun` alone: a physical interrupt waits for the host; the guest has not been entered. */
  HOST_INTERRUPT: 8,
  /** And above, from `enterAndRun` alone: this plus what `vmEnter` answered. */
  ENTRY_FAILED: 16,
} as const;

export const Attention = {
  INIT: 1 << 0,
  SIPI: 1 << 1,
  NMI: 1 << 2,
  INTERRUPT: 1 << 3,
  SHOOTDOWN: 1 << 4,
  STOP: 1 << 5,
  /** A second NMI, before the CPU has seen the first. */
  NMI_AGAIN: 1 << 6,
  /** FERR# or IGNNE# has changed. */
  FLOAT_ERROR: 1 << 7,
} as const;

export const Activity = {
  ACTIVE: 1,
  HALTED: 2,
  SHUTDOWN: 3,
  WAIT_FOR_SIPI: 4,
  MWAIT: 5,
  FLOAT_ERROR: 6,
} as const;

/** What the core asks of the board. Port and memory accesses are described in the CPU block (`io…`). */
export interface CoreHost {
  /** Performs the port access in `cpu.io…`; true: not now, make it again. */
  portAccess(): boolean;
  /** Performs the memory access in `cpu.io…`; true: not now, make it again. */
  memoryAccess(): boolean;
  /** Cycles since power-on in wall mode. */
  wallClock(): number;
  /** An interprocessor interrupt for others than the sender alone: ICR low word and destination. */
  sendInterrupt(icrLow: number, destination: number): void;
  /** A level-triggered interrupt has been ended: tell the I/O APICs. */
  endOfInterrupt(vector: number): void;
  /** FERR# has changed: an x87 exception is pending that CR0.NE = 0 keeps from being #MF. */
  floatError(level: boolean): void;
  /** The line that a CPU monitors has been written: it may be waiting for that in MWAIT. */
  monitoredLineWritten(index: number): void;
  /** The 8259 pair's acknowledge cycle. */
  acknowledgeInterrupt(): number;
}

/** The exports of core.wasm (emulator/core/index.ts). */
export interface CoreExports {
  run: () => number;
  isWakeUpPending(): number;
  emulateOne(): number;
  /** The same for the event whose delivery the last exit cut short. */
  emulateEvent(): number;
  /** The rest of that, where the error code met an exit on its way to the new task's stack. */
  emulateTaskError(): number;
  vmEnter(): number;
  /** `vmEnter` and `run` in one trip, unless a physical interrupt waits for the host. */
  enterAndRun: () => number;
  resetForPowerOn(): void;
  resetForInit(): void;
  flushAllContexts(): void;
  /** The attribute map of C0000H–FFFFFH has changed: forgets what was translated by the old one. */
  forgetMemoryMap(): void;
  dropContextsOfEpt(eptp: bigint): void;
  invalidatePage(linear: bigint): void;
  updateContext(): void;
  updateMode(): void;
  /** After a change of XCR0. */
  updateMedia(): void;
  flushBlocks(): void;
  answerShootdown(): void;
  startRunning(): void;
  stopRunning(): void;
  noteWriteRange(offset: number, length: number): void;
  noteWriteRangeFromOutside(offset: number, length: number): void;
  getFlags(): bigint;
  setArithmeticFlags(image: bigint): void;
  acceptVector(vector: number): void;
  apicRead(offset: number): number;
  apicWrite(offset: number, value: number): void;
  pendingVector(): number;
  acknowledgeVector(vector: number): void;
}

/** The shared memory of one machine, with its plan. */
export class MachineMemory {
  readonly wasm: WebAssembly.Memory;
  readonly plan: MemoryPlan;
  readonly state: StateMemory;
  readonly header: MachineHeader;

  /** Attaches to existing memory; `create` makes a new one. */
  constructor(wasm: WebAssembly.Memory, plan: MemoryPlan) {
    this.wasm = wasm;
    this.plan = plan;
    this.state = new StateMemory(wasm.buffer);
    this.header = MachineStruct.at(this.state, MACHINE);
  }

  /** Allocates the memory and writes the machine header. */
  static create(plan: MemoryPlan, parallel: boolean): MachineMemory {
    const wasm = new WebAssembly.Memory({ initial: plan.wasmPages, maximum: 65536, shared: true });
    const memory = new MachineMemory(wasm, plan);
    Object.assign(memory.header, {
      ramBase: plan.ramBase,
      lowRam: plan.lowRam,
      highRam: plan.highRam,
      romBase: plan.ramBase + plan.lowRam + plan.highRam,
      romBytes: plan.romBytes,
      pageInfo: plan.pageInfo,
      cpuCount: plan.cpus,
      cpuBase: plan.cpuBase,
      cpuStride: plan.cpuStride,
      parallel: parallel ? 1 : 0,
      stateBase: plan.stateBase,
      stateEnd: plan.stateEnd,
      memoryEnd: plan.wasmPages * 65536,
    });
    return memory;
  }

  /** Wasm offset of a CPU's block. */
  cpuOffset(index: number): number {
    return this.plan.cpuBase + index * this.plan.cpuStride;
  }

  cpuState(index: number): CpuState {
    return CpuStruct.at(this.state, this.cpuOffset(index));
  }

  /**
   * Wasm offset of `length` bytes of RAM at a machine-physical address, or 0 when they are not all RAM. The same
   * rule as the core's `ramAddress`, which a test compares with this.
   */
  ramOffset(physical: number, length: number): number {
    const { ramBase, lowRam, highRam } = this.plan;
    if (physical < 0 || length < 0) return 0;
    if (physical < lowRam) {
      if (length > lowRam - physical) return 0;
      if (physical < 0xc0000 && physical + length > 0xa0000) return 0;
      return ramBase + physical;
    }
    const above = physical - 0x100000000;
    if (above < 0 || above >= highRam || length > highRam - above) return 0;
    return ramBase + lowRam + above;
  }
}

// Fields of the CPU block that are looked at in every exit, as 32-bit words from its start.
const GPR = CpuStruct.offsets.gpr >>> 2;
const XCR0 = CpuStruct.offsets.xcr0 >>> 2;
const CODE_SIZE = CpuStruct.offsets.codeSize >>> 2;
const RECORD = CpuStruct.offsets.record >>> 2;
const BLOCK_FIRST = CpuStruct.offsets.blockFirst >>> 2;
const INSTRUCTIONS = CpuStruct.offsets.instructions >>> 2;
const CHARGED = CpuStruct.offsets.charged >>> 2;
const STOP_AT = CpuStruct.offsets.stopAt >>> 2;
const STOP_AT_INSTRUCTION = CpuStruct.offsets.stopAtInstruction >>> 2;
const CYCLES_PER_INSTRUCTION = CpuStruct.offsets.cyclesPerInstruction >>> 2;
const VMX_NON_ROOT = CpuStruct.offsets.vmxNonRoot >>> 2;

/** Bytes of a decoded record, as a shift; records of the running block are instructions that are not counted yet. */
const RECORD_SHIFT = 5;
const TWO_TO_32 = 4294967296;

/**
 * One physical CPU on this thread. What happens in every exit has methods here that read the block directly; everything else
 * goes through `state` (docs/performance.md).
 */
export class Core {
  readonly index: number;
  readonly memory: MachineMemory;
  readonly state: CpuState;
  readonly exports: CoreExports;
  /** Two of the exports, for every exit: the engine keeps an instance's exports as a dictionary. */
  readonly run: CoreExports["run"];
  readonly enterAndRun: CoreExports["enterAndRun"];
  /** Wasm offset of the 8-byte value exchanged in port and memory accesses. */
  readonly ioValueAt: number;
  /** The CPU's block. */
  readonly #block: Uint32Array;

  constructor(module: WebAssembly.Module, memory: MachineMemory, index: number, host: CoreHost) {
    this.index = index;
    this.memory = memory;
    this.state = memory.cpuState(index);
    const offset = memory.cpuOffset(index);
    this.ioValueAt = offset + CpuStruct.offsets.ioValue;
    this.#block = memory.state.u32.subarray(offset >>> 2, (offset + CpuStruct.size) >>> 2);
    const instance = new WebAssembly.Instance(module, {
      env: {
        memory: memory.wasm,
        CPU: new WebAssembly.Global({ value: "i32", mutable: false }, offset),
        portAccess: () => (host.portAccess() ? 1 : 0),
        memoryAccess: () => (host.memoryAccess() ? 1 : 0),
        wallClock: () => host.wallClock(),
        sendInterrupt: (icrLow: number, destination: number) =>
          host.sendInterrupt(icrLow >>> 0, destination >>> 0),
        endOfInterrupt: (vector: number) => host.endOfInterrupt(vector),
        floatError: (level: number) => host.floatError(level !== 0),
        monitoredLineWritten: (cpu: number) => host.monitoredLineWritten(cpu),
        acknowledgeInterrupt: () => host.acknowledgeInterrupt(),
        abort: (message: number, file: number, line: number, column: number) => {
          throw new Error(`core: assertion failed at ${file}:${line}:${column} (message at ${message})`);
        },
      },
    });
    this.exports = instance.exports as unknown as CoreExports;
    this.run = this.exports.run;
    this.enterAndRun = this.exports.enterAndRun;
  }

  /** Low 32 bits of a general register. */
  gprLow(register: number): number {
    return this.#block[GPR + register * 2]!;
  }

  /** The high 32 bits. */
  gprHigh(register: number): number {
    return this.#block[GPR + register * 2 + 1]!;
  }

  /** Sets a general register to a 32-bit value, as a 32-bit write does. */
  setGprLow(register: number, value: number): void {
    const at = GPR + register * 2;
    this.#block[at] = value;
    this.#block[at + 1] = 0;
  }

  /** Sets the low 1, 2 or 4 bytes of a general register, as a write of that size does: 4 bytes clear the upper half. */
  setGprSized(register: number, size: 1 | 2 | 4, value: number): void {
    if (size === 4) {
      this.setGprLow(register, value);
      return;
    }
    const at = GPR + register * 2;
    const mask = size === 1 ? 0xff : 0xffff;
    this.#block[at] = (this.#block[at]! & ~mask) | (value & mask);
  }

  /** Low half of XCR0, where all defined bits are. */
  get xcr0(): number {
    return this.#block[XCR0]!;
  }

  /** 64-bit code: RIP is not cut to 32 bits. */
  get is64BitCode(): boolean {
    return this.#block[CODE_SIZE] === 2;
  }

  /** In VMX non-root operation. */
  get isInGuest(): boolean {
    return this.#block[VMX_NON_ROOT] !== 0;
  }

  /** Cycles on this CPU's own clock in virtual time, exact inside a block too. Does not change the CPU's state. */
  clock(): number {
    const block = this.#block;
    const pending = (block[RECORD]! - block[BLOCK_FIRST]!) >>> RECORD_SHIFT;
    const instructions = block[INSTRUCTIONS]! + pending;
    const time = instructions * block[CYCLES_PER_INSTRUCTION]! + block[CHARGED]!;
    const instructionsHigh = block[INSTRUCTIONS + 1]!;
    const chargedHigh = block[CHARGED + 1]!;
    if ((instructionsHigh | chargedHigh) === 0) return time;
    return time + (instructionsHigh * block[CYCLES_PER_INSTRUCTION]! + chargedHigh) * TWO_TO_32;
  }

  /** Adds cycles beside instructions to the clock. */
  charge(cycles: number): void {
    const block = this.#block;
    const low = block[CHARGED]! + cycles;
    block[CHARGED] = low;
    if (low >= TWO_TO_32) block[CHARGED + 1]! += Math.floor(low / TWO_TO_32);
  }

  /** The cycle at which this CPU is to stop. */
  get stopAt(): number {
    return this.#block[STOP_AT + 1]! * TWO_TO_32 + this.#block[STOP_AT]!;
  }

  /** The count of instructions at which it is to stop has been reached. */
  get hasReachedInstruction(): boolean {
    const block = this.#block;
    const high = block[INSTRUCTIONS + 1]!;
    const highest = block[STOP_AT_INSTRUCTION + 1]!;
    return high > highest || (high === highest && block[INSTRUCTIONS]! >= block[STOP_AT_INSTRUCTION]!);
  }
}

/** What identifies and configures a CPU; latched at creation. */
export interface CpuConfiguration {
  readonly clock: "virtual" | "wall";
  readonly cyclesPerInstruction: number;
  /** Charged for a VM exit and entry inside the machine. Default 0. */
  readonly vmxExitCycles?: number;
  readonly tscFrequency: number;
  readonly signature: number;
  /** Revision that IA32_BIOS_SIGN_ID gives. Default 0. */
  readonly microcode?: number;
  /** Paging-structure caches. Default: there are some. */
  readonly walksCached?: boolean;
  /** Performance counters, at most 4. Default 0. */
  readonly counters?: number;
  /** Banks of the machine-check architecture, at most 6. Default 0: there is none. */
  readonly machineCheckBanks?: number;
  /** MSR_PKG_CST_CONFIG_CONTROL and MSR_POWER_CTL exist. Default: they do not. */
  readonly hasPowerMsrs?: boolean;
  /** Bits that IA32_SPEC_CTRL has. Default 0: there is no such register. */
  readonly specCtrl?: number;
  readonly cr4Allowed: bigint;
  /** Features of the instruction table (emulator/isa/features.ts) that execute; all others raise #UD. */
  readonly instructionSets: ReadonlySet<string>;
  /** [leaf, subleaf or undefined for any, eax, ebx, ecx, edx] */
  readonly cpuid: readonly (readonly [number, number | undefined, number, number, number, number])[];
  readonly recordBytes: number;
  /** Undefined: no VMX. */
  readonly vmx?: VmxCapabilities | undefined;
}

/** Writes a CPU's configuration into its block. Done once, by the thread that creates the machine, before reset. */
export function configureCpu(memory: MachineMemory, index: number, configuration: CpuConfiguration): void {
  const cpu = memory.cpuState(index);
  cpu.id = index;
  cpu.clockMode = configuration.clock === "wall" ? 1 : 0;
  cpu.cyclesPerInstruction = configuration.cyclesPerInstruction;
  cpu.vmxExitCycles = configuration.vmxExitCycles ?? 0;
  cpu.tscFrequency = BigInt(configuration.tscFrequency);
  cpu.signature = configuration.signature;
  cpu.microcode = BigInt(configuration.microcode ?? 0) << 32n;
  cpu.walksCached = configuration.walksCached === false ? 0 : 1;
  cpu.counters = configuration.counters ?? 0;
  cpu.machineCheckBanks = configuration.machineCheckBanks ?? 0;
  cpu.hasPowerMsrs = configuration.hasPowerMsrs === true ? 1 : 0;
  cpu.specCtrlMay = configuration.specCtrl ?? 0;
  cpu.cr4Allowed = configuration.cr4Allowed;
  cpu.features.set(featureBits(configuration.instructionSets));
  const { vmx } = configuration;
  if (vmx)
    Object.assign(cpu, {
      vmxPinMay: vmx.pin,
      vmxPrimaryMay: vmx.primary,
      vmxSecondaryMay: vmx.secondary,
      vmxExitMay: vmx.exit,
      vmxEntryMay: vmx.entry,
      vmxEptCapability: vmx.ept,
      vmxVpidCapability: vmx.vpid,
      vmxMisc: vmx.misc,
      vmxFunctions: vmx.functions,
    });
  // The last place of the record area is the transient block's (records/block-cache.ts).
  cpu.recordCacheSize = configuration.recordBytes - 256;
  const table = new DataView(memory.state.buffer, cpu.cpuid.byteOffset, cpu.cpuid.byteLength);
  if (configuration.cpuid.length * 24 > table.byteLength) throw new RangeError("CPUID table too long");
  configuration.cpuid.forEach(([leaf, subleaf, ...registers], entry) => {
    table.setUint32(entry * 24, leaf, true);
    table.setUint32(entry * 24 + 4, subleaf ?? 0xffffffff, true);
    registers.forEach((value, i) => table.setUint32(entry * 24 + 8 + i * 4, value, true));
  });
  cpu.cpuidCount = configuration.cpuid.length;
  const leaves = configuration.cpuid.map(([leaf]) => leaf);
  cpu.cpuidHighest = Math.max(...leaves.filter((leaf) => leaf < 0x40000000));
  cpu.cpuidHighestExtended = Math.max(...leaves.filter((leaf) => leaf >= 0x80000000));
  cpu.stopAt = Number.MAX_SAFE_INTEGER;
  cpu.stopAtInstruction = Number.MAX_SAFE_INTEGER;
  cpu.yieldAbove = Number.MAX_SAFE_INTEGER;
}

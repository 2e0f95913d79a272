/**
 * One CPU with RAM and no board, for tests of what only privileged software sees: modes, paging, control registers, events.
 *
 * Every vector has a handler that halts; `run` tells which one was reached and what its frame says. Memory is mapped
 * one to one; in long mode by 4-KByte pages of which a test can change the entries.
 */
import {
  Activity,
  Core,
  MachineMemory,
  configureCpu,
  type CoreHost,
  type CpuState,
} from "../../emulator/host/core.ts";
import { cpuModel, type CpuModelName } from "../../emulator/host/cpu-models.ts";
import { planMemory } from "../../layout/memory-map.ts";

const RAM_BYTES = 4 << 20;
const PAGE = 4096;
const TSC = 1_000_000_000;

/** Where things are, in physical and linear memory alike. */
export const IDT = 0x1000;
export const GDT = 0x2000;
export const TSS = 0x3000;
export const HANDLERS = 0x4000;
export const STACK_TOP = 0x7000;
/** Code of a test begins here. */
export const CODE = 0x8000;
/** Stack of user code. */
export const USER_STACK_TOP = 0xb000;
/** Free pages. */
export const DATA = 0x10000;
const PML5 = 0x30000;
const PML4 = 0x31000;
const PDPT = 0x32000;
const DIRECTORY = 0x33000;
/** The page table of the first 2 MBytes: entry n maps page n. */
export const PAGE_TABLE = 0x34000;

const HANDLER_BYTES = 16;
const VECTORS = 256;
const HLT = 0xf4;
const VECTORS_WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);

const CS = 1;
const TR = 7;
const KERNEL_CS = 0x08;
const KERNEL_DS = 0x10;
const USER_CS = 0x1b;
const USER_DS = 0x23;
const TSS_SELECTOR = 0x30;

export const CR4_PAE = 0x20n;
export const CR4_LA57 = 0x1000n;

const CR0_PAGING = 0x80050031n; // PG AM WP NE ET PE
const CR0_NO_PAGING = 0x31n;
const EFER_LONG = 0xd01n;

export interface Event {
  readonly vector: number;
  readonly error: number;
  readonly rip: bigint;
  readonly rflags: bigint;
}

export interface BareCoreOptions {
  readonly model?: CpuModelName;
  /** Features that the model is to lack. */
  readonly removed?: readonly string[];
  readonly host?: Partial<CoreHost>;
}

export class BareCore {
  readonly core: Core;
  readonly memory: MachineMemory;
  readonly ram: DataView;
  #is64 = false;

  /** `module` is emulator/core/index.ts, compiled. */
  constructor(module: WebAssembly.Module, { model = "max", removed = [], host = {} }: BareCoreOptions = {}) {
    const plan = planMemory({ cpus: 1, ramBytes: RAM_BYTES, stateBytes: 65536, recordBytes: 1 << 20 });
    this.memory = MachineMemory.create(plan, false);
    configureCpu(this.memory, 0, {
      clock: "virtual",
      cyclesPerInstruction: 1,
      tscFrequency: TSC,
      recordBytes: plan.recordBytes,
      ...cpuModel({ model, removed, cpus: 1, tscFrequency: TSC }),
    });
    this.core = new Core(module, this.memory, 0, {
      portAccess: () => false,
      memoryAccess: () => false,
      wallClock: () => 0,
      sendInterrupt: () => undefined,
      endOfInterrupt: () => undefined,
      floatError: () => undefined,
      monitoredLineWritten: () => undefined,
      acknowledgeInterrupt: () => 0,
      ...host,
    });
    this.ram = new DataView(this.memory.state.buffer, plan.ramBase, RAM_BYTES);
    this.core.exports.resetForPowerOn();
  }

  get state(): CpuState {
    return this.core.state;
  }

  get flags(): bigint {
    return BigInt.asUintN(64, this.core.exports.getFlags());
  }

  /** After a test has written registers that others are derived from. */
  update(): void {
    this.core.exports.updateMode();
    this.core.exports.updateContext();
  }

  /** Writes bytes, given as hexadecimal digits or as an array, to RAM. */
  write(address: number, bytes: string | readonly number[]): void {
    const data =
      typeof bytes === "string" ? Buffer.from(bytes.replaceAll(" ", ""), "hex") : Uint8Array.from(bytes);
    new Uint8Array(this.ram.buffer, this.ram.byteOffset + address, data.length).set(data);
    this.core.exports.noteWriteRange(this.ram.byteOffset + address, data.length);
  }

  /** 32-bit protected mode at CPL 0, flat segments, no paging. */
  enterProtected(): void {
    this.#is64 = false;
    this.#buildTables();
    Object.assign(this.state, { cr0: CR0_NO_PAGING, cr4: 0n, efer: 0n, cr3: 0n });
    this.setRing(0);
  }

  /** 64-bit mode at CPL 0 with 4-level paging, or 5-level with CR4.LA57 in `cr4`. Pages are the supervisor's or the user's. */
  enterLong({ cr4 = 0n, user = false }: { cr4?: bigint; user?: boolean } = {}): void {
    this.#is64 = true;
    this.#buildTables();
    const rights = 7n;
    const is5Level = (cr4 & CR4_LA57) !== 0n;
    this.ram.setBigUint64(PML5, BigInt(PML4) | rights, true);
    this.ram.setBigUint64(PML4, BigInt(PDPT) | rights, true);
    this.ram.setBigUint64(PDPT, BigInt(DIRECTORY) | rights, true);
    this.ram.setBigUint64(DIRECTORY, BigInt(PAGE_TABLE) | rights, true);
    for (let page = 0; page < 512; page++) this.setPage(page * PAGE, user ? 7n : 3n);
    Object.assign(this.state, {
      cr0: CR0_PAGING,
      cr4: CR4_PAE | cr4,
      efer: EFER_LONG,
      cr3: BigInt(is5Level ? PML5 : PML4),
    });
    this.setRing(0);
  }

  /** Sets the entry that maps a linear page of the first 2 MBytes to itself; the TLB is swept. */
  setPage(linear: number, bits: bigint): void {
    this.ram.setBigUint64(PAGE_TABLE + (linear / PAGE) * 8, BigInt(linear) | bits, true);
    this.core.exports.flushAllContexts();
    this.core.exports.updateContext();
  }

  /** Code, stack and data segments of a ring in the mode entered; RSP at the ring's stack, the other general registers 0. */
  setRing(ring: 0 | 3): void {
    const code = this.#is64 ? 0xa09bn : 0xc09bn;
    const dpl = BigInt(ring) << 5n;
    const cpu = this.state;
    for (let slot = 0; slot < 6; slot++)
      this.#setSegment(slot, ring === 0 ? KERNEL_DS : USER_DS, 0xc093n | dpl);
    this.#setSegment(CS, ring === 0 ? KERNEL_CS : USER_CS, code | dpl);
    cpu.segSelector[TR] = BigInt(TSS_SELECTOR);
    cpu.segBase[TR] = BigInt(TSS);
    cpu.segLimit[TR] = 0x1fffn;
    cpu.segRights[TR] = 0x8bn;
    cpu.gpr.fill(0n);
    cpu.gpr[4] = BigInt(ring === 0 ? STACK_TOP : USER_STACK_TOP);
    cpu.rflags = 2n;
    this.core.exports.setArithmeticFlags(0n);
    cpu.cpl = ring;
    cpu.activity = Activity.ACTIVE;
    cpu.interruptibility = 0;
    this.update();
  }

  /**
   * Puts code at CODE, or goes on at the RIP, and executes up to `count` instructions.
   * @returns the event that was delivered, if there was one
   */
  run(code: string | undefined, count = 1): Event | undefined {
    const cpu = this.state;
    if (code !== undefined) {
      this.write(CODE, code);
      cpu.rip = BigInt(CODE) - cpu.segBase[CS]!;
    }
    cpu.activity = Activity.ACTIVE;
    for (let i = 0; i < count; i++) {
      cpu.stopAt = this.core.clock() + 1;
      this.core.exports.run();
      const event = this.#event();
      if (event) return event;
    }
    return undefined;
  }

  /** The event whose handler the CPU is at. */
  #event(): Event | undefined {
    const cpu = this.state;
    const at = Number(cpu.rip) - HANDLERS;
    const isHandler = (cpu.rflags & (1n << 17n)) === 0n && at >= 0 && at < VECTORS * HANDLER_BYTES;
    if (!isHandler) return undefined;
    const vector = Math.floor(at / HANDLER_BYTES);
    let slot = Number(cpu.gpr[4]!);
    const pop = (): bigint => {
      slot += this.#is64 ? 8 : 4;
      return this.#is64 ? this.ram.getBigUint64(slot - 8, true) : BigInt(this.ram.getUint32(slot - 4, true));
    };
    const error = VECTORS_WITH_ERROR.has(vector) ? Number(pop()) : 0;
    const rip = pop();
    pop();
    return { vector, error, rip, rflags: pop() };
  }

  #setSegment(slot: number, selector: number, rights: bigint): void {
    this.state.segSelector[slot] = BigInt(selector);
    this.state.segBase[slot] = 0n;
    this.state.segLimit[slot] = 0xffffffffn;
    this.state.segRights[slot] = rights;
  }

  #buildTables(): void {
    const { ram } = this;
    for (let vector = 0; vector < VECTORS; vector++) {
      const handler = HANDLERS + vector * HANDLER_BYTES;
      this.write(handler, [HLT]);
      const gate = IDT + vector * (this.#is64 ? 16 : 8);
      ram.setUint16(gate, handler & 0xffff, true);
      ram.setUint16(gate + 2, KERNEL_CS, true);
      ram.setUint16(gate + 4, 0xee00, true);
      ram.setUint16(gate + 6, handler >>> 16, true);
      if (this.#is64) ram.setBigUint64(gate + 8, 0n, true);
    }
    const code = this.#is64 ? 0x00af9b000000ffffn : 0x00cf9b000000ffffn;
    const data = 0x00cf93000000ffffn;
    const user = 3n << 45n;
    [0n, code, data, code | user, data | user].forEach((descriptor, i) =>
      ram.setBigUint64(GDT + i * 8, descriptor, true),
    );
    if (this.#is64) ram.setBigUint64(TSS + 4, BigInt(STACK_TOP), true);
    else {
      ram.setUint32(TSS + 4, STACK_TOP, true);
      ram.setUint16(TSS + 8, KERNEL_DS, true);
    }
    // No I/O permission bitmap.
    ram.setUint16(TSS + 102, 0xffff, true);
    Object.assign(this.state, {
      idtrBase: BigInt(IDT),
      idtrLimit: 0xfffn,
      gdtrBase: BigInt(GDT),
      gdtrLimit: 0x3fn,
    });
  }
}

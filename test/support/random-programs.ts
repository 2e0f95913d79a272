/**
 * Random programs on a bare core, in every mode and at CPL 0 and 3, that run on through their faults.
 *
 * Handlers of exceptions and interrupts are HLT. The host then repairs what a program may have broken (control registers,
 * descriptor tables, page tables, segments) and lets it go on: at the next string of code behind a fault, where it was after an
 * interrupt. So even programs at CPL 0 last, and all of this is a function of the machine's state alone.
 */
import {
  Attention,
  Core,
  MachineMemory,
  Stop,
  configureCpu,
  type CoreHost,
} from "../../emulator/host/core.ts";
import { TABLE_FEATURES } from "../../emulator/host/instruction-sets.ts";
import { planMemory } from "../../layout/memory-map.ts";
import { encode } from "../silicon/encode.ts";
import { MODE_16, MODE_64, MODE_COMPATIBILITY } from "../silicon/environment.ts";
import { formsOf, mediaFormsOf, type Form } from "../silicon/forms.ts";
import { STRING_BYTES, writeRandomCode } from "./random-code.ts";
import type { Random } from "./random.ts";

export const MODES = [
  "real",
  "virtual-8086",
  "16-bit 0",
  "16-bit 3",
  "32-bit 0",
  "32-bit 3",
  "compatibility 0",
  "compatibility 3",
  "64-bit 0",
  "64-bit 3",
] as const;
export type ProgramMode = (typeof MODES)[number];

const RAM_BYTES = 0x51000;
const RECORD_BYTES = 64 << 10;

// Physical addresses, which are the linear ones too.
const CODE = 0x10000;
const CODE_STRINGS = 64;
const CODE_BYTES = CODE_STRINGS * STRING_BYTES;
const DATA = 0x20000;
const STACK = 0x30000;
const SEGMENT_BYTES = 0x10000;
/** What the host restores: page tables, descriptor tables, handlers, task-state segment. */
const SYSTEM = 0x40000;
const PAGE_TABLES = SYSTEM;
const GDT = SYSTEM + 0x4000;
const TSS = SYSTEM + 0x4800;
const IDT = SYSTEM + 0x5000;
const HANDLERS = SYSTEM + 0x6000;
const SYSTEM_BYTES = 0x7000;
/** Supervisor stack. */
const KERNEL_STACK_TOP = 0x50000;
const HANDLER_BYTES = 16;
const ACCESSED_DIRTY = 0x60;
const HLT = 0xf4;

const VECTOR_NMI = 2;
const FIRST_EXTERNAL_VECTOR = 32;
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);

const CS = 1;
const SS = 2;
const LDTR = 6;
const TR = 7;
const RSP = 4;
const VM = 1n << 17n;
const KEPT_FLAGS = 0x240cd5n;
const UNUSABLE = 0x10000n;

const CR0_PROTECTED = 0x50033n;
const CR0_PAGING = 0x80050033n;
const CR4_LONG = 0x406b8n;
const CR4_LEGACY = 0x40698n;
const EFER_LONG = 0xd01n;

interface Segment {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  /** In the VMCS's format. */
  readonly rights: number;
}

interface Environment {
  /** Code size as `decode()` takes it. */
  readonly size: CodeSize;
  readonly cr0: bigint;
  readonly cr4: bigint;
  readonly cr3: number;
  readonly efer: bigint;
  readonly cpl: number;
  readonly flags: bigint;
  readonly code: Segment;
  readonly data: Segment;
  readonly stack: Segment;
}

/** Places in the GDT, by privilege level. */
const selectorOf = (index: number, cpl: number): number => (cpl === 0 ? index : index + 6) * 8 + cpl;
const dplBits = (cpl: number): number => cpl << 5;

function environmentOf(mode: ProgramMode): Environment {
  const cpl = mode === "virtual-8086" || mode.endsWith(" 3") ? 3 : 0;
  const real = (base: number): Segment => ({
    selector: base >> 4,
    base,
    limit: 0xffff,
    rights: mode === "real" ? 0x93 : 0xf3,
  });
  const segment = (index: number, base: number, limit: number, rights: number): Segment => ({
    selector: selectorOf(index, cpl),
    base,
    limit,
    rights: rights | dplBits(cpl),
  });
  const flatData = segment(5, 0, 0xffffffff, 0xc093);
  const shared = { cr3: 0, cr4: CR4_LEGACY, efer: 0n, cpl, flags: 0n };
  if (mode === "real" || mode === "virtual-8086") {
    const isReal = mode === "real";
    return {
      ...shared,
      size: 0,
      cr0: isReal ? 0x30n : CR0_PAGING,
      cr3: isReal ? 0 : PAGE_TABLES,
      flags: isReal ? 0n : VM,
      code: real(CODE),
      data: real(DATA),
      stack: real(STACK),
    };
  }
  if (mode.startsWith("16-bit"))
    return {
      ...shared,
      size: 0,
      cr0: CR0_PROTECTED,
      code: segment(1, CODE, 0xffff, 0x9b),
      data: segment(2, DATA, 0xffff, 0x93),
      stack: segment(3, STACK, 0xffff, 0x93),
    };
  if (mode.startsWith("32-bit"))
    return {
      ...shared,
      size: 1,
      cr0: CR0_PAGING,
      cr3: PAGE_TABLES,
      code: segment(4, 0, 0xffffffff, 0xc09b),
      data: flatData,
      stack: flatData,
    };
  const is64 = mode.startsWith("64-bit");
  return {
    ...shared,
    size: is64 ? 2 : 1,
    cr0: CR0_PAGING,
    cr3: PAGE_TABLES + 0x1000,
    cr4: CR4_LONG,
    efer: EFER_LONG,
    code: is64 ? segment(6, 0, 0xffffffff, 0xa09b) : segment(4, 0, 0xffffffff, 0xc09b),
    data: flatData,
    stack: flatData,
  };
}

const FORMS: readonly (readonly Form[])[] = ([MODE_16, MODE_COMPATIBILITY, MODE_64] as const).map((mode) => [
  ...formsOf(mode),
  ...mediaFormsOf(mode),
]);

const NOP = 0x90;

type CodeSize = typeof MODE_16 | typeof MODE_COMPATIBILITY | typeof MODE_64;

/** Code for one program: instructions that are well formed, instructions that nearly are, and noise. */
function writeProgram(random: Random, size: CodeSize, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += STRING_BYTES) {
    const kind = random.below(100);
    if (kind < 55) {
      bytes.fill(NOP, at, at + STRING_BYTES);
      bytes.set(encode(random, random.pick(FORMS[size]!)).bytes.slice(0, STRING_BYTES), at);
    } else if (kind < 85) writeRandomCode(random, size, bytes, at);
    else for (let i = 0; i < STRING_BYTES; i++) bytes[at + i] = random.next() >>> 24;
  }
}

/** How a program is run: the same instructions either way. */
export type Way = "whole" | "in pieces" | "decoded anew";

/** An interrupt that comes at an instruction count. */
interface Injection {
  readonly at: number;
  /** undefined: an NMI. */
  readonly vector: number | undefined;
}

export interface Program {
  readonly mode: ProgramMode;
  readonly code: Uint8Array;
  readonly data: Uint8Array;
  readonly registers: BigUint64Array;
  readonly injections: readonly Injection[];
  /** Counts at which "in pieces" stops. */
  readonly cuts: readonly number[];
}

/** Instructions that a program is given, and host repairs. */
const MOST_INSTRUCTIONS = 400;
const MOST_REPAIRS = 100;

export function makeProgram(random: Random, mode: ProgramMode): Program {
  const { size, code: segment } = environmentOf(mode);
  const code = new Uint8Array(CODE_BYTES);
  writeProgram(random, size, code);
  const counts = (count: number): number[] =>
    Array.from({ length: count }, () => 1 + random.below(MOST_INSTRUCTIONS)).sort((a, b) => a - b);
  return {
    mode,
    code,
    data: Uint8Array.from({ length: 4096 }, () => random.next() >>> 24),
    registers: BigUint64Array.from({ length: 16 }, () =>
      // Mostly addresses that are mapped.
      random.chance(70)
        ? BigInt((segment.base === 0 ? DATA : 0) + random.below(SEGMENT_BYTES))
        : (BigInt(random.next()) << 32n) | BigInt(random.next()),
    ),
    injections: counts(random.below(6)).map((at) => ({
      at,
      vector: random.chance(15) ? undefined : FIRST_EXTERNAL_VECTOR + random.below(224),
    })),
    cuts: counts(20),
  };
}

/** Why two runs are not the same, or undefined. */
export function differenceOf(a: Outcome, b: Outcome): string | undefined {
  if (a.instructions !== b.instructions) return `${a.instructions} and ${b.instructions} instructions`;
  const stop = a.history.findIndex((entry, index) => entry !== b.history[index]);
  if (stop >= 0 || a.history.length !== b.history.length)
    return `stop ${stop}: ${a.history[stop]} and ${b.history[stop]}`;
  if (a.registers !== b.registers) {
    const [first, second] = [a.registers.split(" "), b.registers.split(" ")];
    return first
      .flatMap((text, index) => (text === second[index] ? [] : [`${text} and ${second[index]}`]))
      .join("; ");
  }
  return a.ram.equals(b.ram)
    ? undefined
    : `RAM at ${a.ram.findIndex((byte, at) => byte !== b.ram[at]).toString(16)}`;
}

/** What is left of a run: everything that the next instruction could depend on. */
export interface Outcome {
  readonly instructions: number;
  readonly repairs: number;
  /** Stops and vectors in order, with the counts at which they came. */
  readonly history: readonly string[];
  readonly registers: string;
  readonly ram: Buffer;
  /** TLB misses and references to paging structures: a pause adds none. */
  readonly lookUps: string;
}

const SCALARS = [
  "rip",
  "rflags",
  "cr0",
  "cr2",
  "cr3",
  "cr4",
  "efer",
  "xcr0",
  "gdtrBase",
  "gdtrLimit",
  "idtrBase",
  "idtrLimit",
  "sysenterCs",
  "sysenterEsp",
  "sysenterEip",
  "star",
  "lstar",
  "cstar",
  "fmask",
  "kernelGsBase",
  "tscAux",
  "apicBase",
  "debugCtl",
  "tscAdjust",
  "pat",
  "cpl",
  "activity",
  "interruptibility",
  "instructions",
  "charged",
  "mxcsr",
  "x87Control",
  "x87Status",
  "x87Tag",
  "x87Opcode",
  "x87CodeSelector",
  "x87DataSelector",
  "x87CodeOffset",
  "x87DataOffset",
  "randomCount",
  "interruptsTaken",
  "nmiPending",
  "pauses",
] as const;
const ARRAYS = [
  "gpr",
  "segSelector",
  "segBase",
  "segLimit",
  "segRights",
  "dr",
  "apicRegister",
  "vector",
  "x87",
  "mtrrVariable",
  "mtrrFixed",
  "pdpte",
] as const;

export class ProgramRunner {
  readonly memory: MachineMemory;
  readonly #core: Core;
  readonly #ram: DataView;
  readonly #ramBytes: Uint8Array;
  /** The whole state as it is before any program, and the part of RAM that repairs restore. */
  readonly #pristine: Uint8Array;
  readonly #system: Uint8Array;
  #environment = environmentOf("real");
  #vector = 0;
  #accesses = 0;

  constructor(module: WebAssembly.Module) {
    const plan = planMemory({ cpus: 1, ramBytes: RAM_BYTES, stateBytes: 4096, recordBytes: RECORD_BYTES });
    this.memory = MachineMemory.create(plan, false);
    configureCpu(this.memory, 0, {
      clock: "virtual",
      cyclesPerInstruction: 1,
      tscFrequency: 1_000_000_000,
      signature: 0x606a6,
      cr4Allowed: 0x3707ffn,
      instructionSets: new Set(TABLE_FEATURES),
      cpuid: [
        [0, undefined, 0xd, 0, 0, 0],
        [0xd, 0, 7, 832, 832, 0],
        [0xd, 1, 7, 832, 0, 0],
        [0x80000000, undefined, 0x80000000, 0, 0, 0],
      ],
      recordBytes: plan.recordBytes,
    });
    // Devices answer with what follows from the address and the number of accesses so far.
    const answer = (): boolean => {
      const { state } = this.#core;
      this.#accesses++;
      if (state.ioWrite === 0)
        state.ioValue = BigInt(Math.imul(state.ioAddress + this.#accesses, 0x9e3779b1) >>> 0);
      return false;
    };
    const host: CoreHost = {
      portAccess: answer,
      memoryAccess: answer,
      wallClock: () => 0,
      sendInterrupt: () => undefined,
      endOfInterrupt: () => undefined,
      floatError: () => undefined,
      monitoredLineWritten: () => undefined,
      acknowledgeInterrupt: () => {
        this.#core.state.intrLine = 0;
        return this.#vector;
      },
    };
    this.#core = new Core(module, this.memory, 0, host);
    this.#ramBytes = new Uint8Array(this.memory.state.buffer, plan.ramBase, RAM_BYTES);
    this.#ram = new DataView(this.memory.state.buffer, plan.ramBase, RAM_BYTES);
    this.#core.exports.resetForPowerOn();
    // The 8259's line reaches the processor while the local APIC is off.
    this.#core.state.apicBase = 0xfee00100n;
    this.#pristine = this.memory.state.bytes.slice(plan.cpuBase);
    this.#system = new Uint8Array(SYSTEM_BYTES);
  }

  /** Bytes of wasm memory: must not grow. */
  get memoryBytes(): number {
    return this.memory.wasm.buffer.byteLength;
  }

  run(program: Program, way: Way): Outcome {
    this.#begin(program);
    const { state, exports } = this.#core;
    const history: string[] = [];
    let repairs = 0;
    let injection = 0;
    let cut = 0;
    while (state.instructions < MOST_INSTRUCTIONS && repairs < MOST_REPAIRS) {
      const { injections, cuts } = program;
      for (; injection < injections.length && injections[injection]!.at <= state.instructions; injection++)
        this.#inject(injections[injection]!);
      let target = injections[injection]?.at ?? MOST_INSTRUCTIONS;
      if (way === "in pieces") {
        while (cut < cuts.length && cuts[cut]! <= state.instructions) cut++;
        target = Math.min(target, cuts[cut] ?? MOST_INSTRUCTIONS);
      } else if (way === "decoded anew") {
        exports.flushBlocks();
        target = state.instructions + 1;
      }
      state.stopAtInstruction = target;
      const stop = exports.run();
      if (stop === Stop.BUDGET) continue;
      history.push(`${stop} at ${state.instructions}: ${this.#repair(stop)}`);
      repairs++;
    }
    return {
      instructions: state.instructions,
      repairs,
      history,
      registers: this.#registers(),
      ram: Buffer.from(this.#ramBytes),
      lookUps: `${state.loadMisses + state.storeMisses + state.fetchMisses} misses, ${state.walkReferences} references`,
    };
  }

  #begin({ mode, code, data, registers }: Program): void {
    const { plan } = this.memory;
    this.memory.state.bytes.set(this.#pristine, plan.cpuBase);
    this.#environment = environmentOf(mode);
    this.#accesses = 0;
    this.#buildSystem(mode);
    this.#system.set(this.#ramBytes.subarray(SYSTEM, SYSTEM + SYSTEM_BYTES));
    this.#ramBytes.set(code, CODE);
    for (let at = 0; at < SEGMENT_BYTES; at += data.length) this.#ramBytes.set(data, DATA + at);
    const { state } = this.#core;
    state.gpr.set(registers);
    this.#restore(this.#codeOffset(CODE));
  }

  #inject({ vector }: Injection): void {
    const { state } = this.#core;
    if (vector === undefined) state.attention |= Attention.NMI;
    else {
      this.#vector = vector;
      state.intrLine = 1;
    }
  }

  /** IP of a linear address in the code. */
  #codeOffset(linear: number): number {
    return linear - this.#environment.code.base;
  }

  /** Where the program goes on after it has stopped; says what stopped it. */
  #repair(stop: number): string {
    const { state } = this.#core;
    const linear = (state.rip + state.segBase[CS]!) & 0xffffffffn;
    const inHandlers = Number(linear) - 1 - HANDLERS;
    const isHandler = inHandlers >= 0 && inHandlers < 256 * HANDLER_BYTES;
    const vector = isHandler ? Math.floor(inHandlers / HANDLER_BYTES) : -1;
    let ip = Number(linear & 0xffffffn);
    if (isHandler) ip = this.#pushedIp(vector);
    const resumes = vector === VECTOR_NMI || vector >= FIRST_EXTERNAL_VECTOR;
    let next = resumes || !isHandler ? ip : (ip & ~(STRING_BYTES - 1)) + STRING_BYTES;
    if (next < CODE || next >= CODE + CODE_BYTES)
      next = CODE + (((next >>> 4) + state.instructions) % CODE_STRINGS) * STRING_BYTES;
    this.#restore(this.#codeOffset(next));
    return `${stop === Stop.SHUTDOWN ? "shutdown" : `vector ${vector}`} from ${ip.toString(16)}`;
  }

  /** The linear address in the interrupt frame on the stack, if it is in RAM. */
  #pushedIp(vector: number): number {
    const { state } = this.#core;
    const { size, code } = this.#environment;
    const isLong = (state.efer & 0x400n) !== 0n;
    const isReal = (state.cr0 & 1n) === 0n;
    const pointer = isReal ? state.gpr[RSP]! & 0xffffn : state.gpr[RSP]!;
    const error = WITH_ERROR.has(vector) && !isReal ? (isLong ? 8n : 4n) : 0n;
    const at = Number((pointer + (isLong ? 0n : state.segBase[SS]!) + error) & 0xffffffffn);
    if (at > RAM_BYTES - 8) return 0;
    const offset = isReal ? this.#ram.getUint16(at, true) : this.#ram.getUint32(at, true);
    return ((size === 0 ? offset & 0xffff : offset) + code.base) >>> 0;
  }

  /** Puts everything but the general registers, flags and media state back to the mode's environment. */
  #restore(ip: number): void {
    const { state, exports } = this.#core;
    const { plan } = this.memory;
    if (
      !Buffer.from(this.#ramBytes.buffer, this.#ramBytes.byteOffset + SYSTEM, SYSTEM_BYTES).equals(
        this.#system,
      )
    ) {
      this.#ramBytes.set(this.#system, SYSTEM);
      exports.noteWriteRange(plan.ramBase + SYSTEM, SYSTEM_BYTES);
    }
    const { cr0, cr3, cr4, efer, cpl, flags, code, data, stack } = this.#environment;
    const isReal = (cr0 & 1n) === 0n;
    Object.assign(state, { cr0, cr3: BigInt(cr3), cr4, efer, xcr0: 7n, cpl });
    Object.assign(state, { gdtrBase: BigInt(GDT), gdtrLimit: 0xffn });
    Object.assign(state, { idtrBase: BigInt(isReal ? 0 : IDT), idtrLimit: isReal ? 0x3ffn : 0xfffn });
    state.rip = BigInt(ip);
    const arithmetic = exports.getFlags() & KEPT_FLAGS;
    exports.setArithmeticFlags(arithmetic);
    state.rflags = (arithmetic & ~0x8d5n) | 2n | 0x200n | flags;
    const set = (slot: number, segment: Segment): void => {
      state.segSelector[slot] = BigInt(segment.selector);
      state.segBase[slot] = BigInt(segment.base);
      state.segLimit[slot] = BigInt(segment.limit);
      state.segRights[slot] = BigInt(segment.rights);
    };
    for (const slot of [0, 3, 4, 5]) set(slot, data);
    set(CS, code);
    set(SS, stack);
    set(TR, { selector: 13 * 8, base: TSS, limit: 0x67, rights: 0x8b });
    state.segRights[LDTR] = UNUSABLE;
    state.gpr[RSP] = BigInt(stack.base === 0 ? STACK + 0x8000 : 0x8000);
    state.activity = 1;
    state.interruptibility = 0;
    exports.flushAllContexts();
    exports.updateMode();
    exports.updateContext();
    exports.updateMedia();
  }

  #registers(): string {
    const { state, exports } = this.#core;
    const text = SCALARS.map((name) => `${name}=${state[name].toString(16)}`);
    text.push(`flags=${exports.getFlags().toString(16)}`, `accesses=${this.#accesses}`);
    for (const name of ARRAYS) text.push(`${name}=${state[name].join(",")}`);
    return text.join(" ");
  }

  /** Page tables, descriptor tables, handlers and task-state segment for a mode. */
  #buildSystem(mode: ProgramMode): void {
    const ram = this.#ram;
    const isLong = mode.startsWith("compatibility") || mode.startsWith("64-bit");
    const isUser = (page: number): boolean => page >= CODE && page < SYSTEM;
    // The tables themselves are mapped nowhere, and their accessed and dirty bits are set: where within a block a translation
    // is looked up again is the processor's affair, and must not be seen.
    const entryOf = (page: number): number => {
      if (page >= PAGE_TABLES && page < GDT) return 0;
      return page + ACCESSED_DIRTY + (isUser(page) ? 7 : 3);
    };
    // 32-bit: a directory and a table. Long: PML4, PDPT, directory at 1000H, 2000H, 3000H; the table lies behind the directory of 32-bit paging.
    if (isLong) {
      ram.setBigUint64(PAGE_TABLES + 0x1000, BigInt(PAGE_TABLES + 0x2000 + ACCESSED_DIRTY + 7), true);
      ram.setBigUint64(PAGE_TABLES + 0x2000, BigInt(PAGE_TABLES + 0x3000 + ACCESSED_DIRTY + 7), true);
      ram.setBigUint64(PAGE_TABLES + 0x3000, BigInt(PAGE_TABLES + ACCESSED_DIRTY + 7), true);
      for (let page = 0; page < RAM_BYTES; page += 4096)
        ram.setBigUint64(PAGE_TABLES + (page >> 12) * 8, BigInt(entryOf(page)), true);
    } else {
      ram.setUint32(PAGE_TABLES, PAGE_TABLES + 0x1000 + ACCESSED_DIRTY + 7, true);
      for (let page = 0; page < RAM_BYTES; page += 4096)
        ram.setUint32(PAGE_TABLES + 0x1000 + (page >> 12) * 4, entryOf(page), true);
    }
    const descriptor = (base: number, limit: number, access: number, flags: number): bigint =>
      BigInt(limit & 0xffff) |
      (BigInt(base & 0xffffff) << 16n) |
      (BigInt(access) << 40n) |
      (BigInt(((limit >> 16) & 15) | (flags << 4)) << 48n) |
      (BigInt(base >>> 24) << 56n);
    for (const cpl of [0, 3]) {
      const put = (index: number, value: bigint): void =>
        ram.setBigUint64(GDT + (selectorOf(index, cpl) & ~7), value | (BigInt(dplBits(cpl)) << 40n), true);
      put(1, descriptor(CODE, 0xffff, 0x9b, 0));
      put(2, descriptor(DATA, 0xffff, 0x93, 0));
      put(3, descriptor(STACK, 0xffff, 0x93, 0));
      put(4, descriptor(0, 0xfffff, 0x9b, 0xc));
      put(5, descriptor(0, 0xfffff, 0x93, 0xc));
      put(6, descriptor(0, 0xfffff, 0x9b, 0xa));
    }
    ram.setBigUint64(GDT + 13 * 8, descriptor(TSS, 0x67, 0x8b, 0), true);
    if (isLong) ram.setBigUint64(TSS + 4, BigInt(KERNEL_STACK_TOP), true);
    else {
      ram.setUint32(TSS + 4, KERNEL_STACK_TOP, true);
      ram.setUint32(TSS + 8, selectorOf(5, 0), true);
    }
    ram.setUint16(TSS + 0x66, 0x68, true);
    for (let vector = 0; vector < 256; vector++) {
      const handler = HANDLERS + vector * HANDLER_BYTES;
      ram.setUint8(handler, HLT);
      if (mode === "real") {
        ram.setUint16(vector * 4, handler - HANDLERS, true);
        ram.setUint16(vector * 4 + 2, HANDLERS >> 4, true);
        continue;
      }
      const gate = IDT + vector * (isLong ? 16 : 8);
      ram.setUint16(gate, handler & 0xffff, true);
      ram.setUint16(gate + 2, selectorOf(isLong ? 6 : 4, 0), true);
      ram.setUint16(gate + 4, 0x8e00 | (vector % 3 === 0 ? 0x6000 : 0), true);
      ram.setUint16(gate + 6, handler >>> 16, true);
    }
  }
}

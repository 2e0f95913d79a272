/**
 * Our core as a `SiliconCore`: one CPU in the environment of `environment.ts`, with a kernel made of nothing but
 * exception handlers that halt.
 *
 * Exceptions are really delivered: through the IDT, with a stack switch to ring 0, in long mode. What they pushed is what
 * the replay compares.
 */
import {
  Activity,
  configureCpu,
  Core,
  MachineMemory,
  type CoreHost,
  type CpuState,
} from "../../emulator/host/core.ts";
import { planMemory } from "../../layout/memory-map.ts";
import { TABLE_FEATURES } from "../../emulator/host/instruction-sets.ts";
import {
  CODE_LIMIT_16,
  CODE_PAGE,
  DATA_LIMIT_16,
  MODE_16,
  MODE_64,
  MODE_COMPATIBILITY,
  WINDOW,
  WINDOW_BYTES,
  type Mode,
} from "./environment.ts";
import {
  CODE_OFFSET,
  CONTROL_OFFSET,
  DATA_OFFSET,
  MEDIA_BYTES,
  MXCSR_OFFSET,
  OPCODE_OFFSET,
  STATUS_OFFSET,
  ST_OFFSET,
  TAG_OFFSET,
  UPPER_OFFSET,
  XMM_OFFSET,
} from "./media.ts";
import type { SiliconCore, SiliconException } from "./replay.ts";

/** Registers in a media image, in 32-bit words. */
const ST_WORD = ST_OFFSET / 4;
const XMM_WORD = XMM_OFFSET / 4;
const UPPER_WORD = UPPER_OFFSET / 4;

const RAM_BYTES = 4 << 20;
const PAGE = 4096;

/** Machine-physical pages. Page tables come first, from `TABLES` up. */
const TABLES = 0x1000;
const KERNEL_PHYSICAL = 0x10000;
const CODE_PHYSICAL = 0x20000;
const WINDOW_PHYSICAL = 0x21000;

/** The kernel's four pages, in an upper-half place that no case hits. */
const KERNEL = 0xffff9abcd1230000n;
const IDT = 0;
const GDT = PAGE;
const TSS = PAGE + 0x100;
const STACK_TOP = 3 * PAGE;
const HANDLERS = 3 * PAGE;
const KERNEL_BYTES = 4 * PAGE;
/** Bytes between two vectors' handlers; each is HLT. */
const HANDLER_BYTES = 16;
const HLT = 0xf4;

const VECTORS_WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
const VECTORS = 32;
/** Vectors of INT3 and INTO, whose gates user code may use. */
const USER_VECTORS = new Set([3, 4]);

const PTE_PRESENT = 1n;
const PTE_WRITE = 2n;
const PTE_USER = 4n;

/** TR's slot in the CPU block: ES CS SS DS FS GS LDTR TR. */
const TR = 7;
const KERNEL_CS = 0x10;
const TSS_SELECTOR = 0x40;

interface Segment {
  readonly selector: number;
  readonly base: number | bigint;
  readonly limit: number;
  /** In the VMCS's format. */
  readonly rights: number;
}

const FLAT_DATA: Segment = { selector: 0x2b, base: 0, limit: 0xffffffff, rights: 0xc0f3 };

/** ES CS SS DS as the CPU block has them. */
interface SegmentGroup {
  readonly selector: BigUint64Array;
  readonly base: BigUint64Array;
  readonly limit: BigUint64Array;
  readonly rights: BigUint64Array;
}

function segments(code: Segment, data: Segment): SegmentGroup {
  const group = [data, code, data, data];
  const all = (of: (segment: Segment) => number | bigint): BigUint64Array =>
    BigUint64Array.from(group, (segment) => BigInt(of(segment)));
  return {
    selector: all(({ selector }) => selector),
    base: all(({ base }) => base),
    limit: all(({ limit }) => limit),
    rights: all(({ rights }) => rights),
  };
}

/** What segments are, by mode. */
const SEGMENTS: Readonly<Record<Mode, SegmentGroup>> = {
  [MODE_16]: segments(
    { selector: 0x07, base: CODE_PAGE, limit: CODE_LIMIT_16, rights: 0xfb },
    { selector: 0x0f, base: WINDOW, limit: DATA_LIMIT_16, rights: 0xf3 },
  ),
  [MODE_COMPATIBILITY]: segments({ selector: 0x23, base: 0, limit: 0xffffffff, rights: 0xc0fb }, FLAT_DATA),
  [MODE_64]: segments({ selector: 0x33, base: 0, limit: 0xffffffff, rights: 0xa0fb }, FLAT_DATA),
};

const CR0 = 0x80050033n; // PE MP ET NE WP AM PG
const CR4 = 0x406b8n; // DE PSE PAE PGE OSFXSR OSXMMEXCPT OSXSAVE
const XCR0 = 7n; // x87 SSE AVX
const EFER = 0xd01n; // SCE LME LMA NXE

/** No board: nothing that a case does reaches beyond RAM. */
const noBoard: CoreHost = {
  portAccess: () => {
    throw new Error("port access at CPL 3");
  },
  memoryAccess: () => {
    throw new Error("access beyond RAM");
  },
  wallClock: () => 0,
  sendInterrupt: () => undefined,
  endOfInterrupt: () => undefined,
  floatError: () => undefined,
  monitoredLineWritten: () => undefined,
  acknowledgeInterrupt: () => 0,
};

export class CoreUnderTest implements SiliconCore {
  readonly #memory: MachineMemory;
  readonly #core: Core;
  readonly #cpu: CpuState;
  readonly #ram: DataView;
  readonly #ramBytes: Uint8Array;
  readonly #window: Uint8Array;
  /** 32-bit words of x87 and vector registers. */
  readonly #x87Words: Uint32Array;
  readonly #vectorWords: Uint32Array;
  readonly #media = new Uint8Array(MEDIA_BYTES);
  /** ES CS SS DS of the present mode. */
  #segments: SegmentGroup;
  #nextTable = TABLES;
  /** RIP, RFLAGS and RSP as an exception saved them. */
  #saved: { readonly rip: bigint; readonly rflags: bigint; readonly rsp: bigint } | undefined;

  /** `module` is emulator/core/index.ts, compiled. */
  constructor(module: WebAssembly.Module) {
    const plan = planMemory({ cpus: 1, ramBytes: RAM_BYTES, stateBytes: 65536, recordBytes: 1 << 20 });
    this.#memory = MachineMemory.create(plan, false);
    configureCpu(this.#memory, 0, {
      clock: "virtual",
      cyclesPerInstruction: 1,
      tscFrequency: 1_000_000_000,
      signature: 0x106a5,
      cr4Allowed: CR4,
      instructionSets: new Set(TABLE_FEATURES),
      cpuid: [
        [0, undefined, 1, 0, 0, 0],
        // XSAVE with XSAVEOPT, XSAVEC and XGETBV with ECX = 1.
        [0xd, 0, 7, 832, 832, 0],
        [0xd, 1, 7, 832, 0, 0],
        [0x80000000, undefined, 0x80000000, 0, 0, 0],
      ],
      recordBytes: plan.recordBytes,
    });
    this.#core = new Core(module, this.#memory, 0, noBoard);
    this.#cpu = this.#core.state;
    const { buffer } = this.#memory.state;
    this.#ram = new DataView(buffer, plan.ramBase, RAM_BYTES);
    this.#ramBytes = new Uint8Array(buffer, plan.ramBase, RAM_BYTES);
    this.#window = this.#ramBytes.subarray(WINDOW_PHYSICAL, WINDOW_PHYSICAL + WINDOW_BYTES);
    const { x87, vector } = this.#cpu;
    this.#x87Words = new Uint32Array(x87.buffer, x87.byteOffset, x87.byteLength / 4);
    this.#vectorWords = new Uint32Array(vector.buffer, vector.byteOffset, vector.byteLength / 4);
    this.#segments = SEGMENTS[MODE_64];
    this.#core.exports.resetForPowerOn();
    this.#buildKernel();
    const cr3 = this.#buildPageTables();
    Object.assign(this.#cpu, { cr0: CR0, cr3: BigInt(cr3), cr4: CR4, efer: EFER, xcr0: XCR0 });
    Object.assign(this.#cpu, { idtrBase: KERNEL + BigInt(IDT), idtrLimit: BigInt(VECTORS * 16 - 1) });
    Object.assign(this.#cpu, { gdtrBase: KERNEL + BigInt(GDT), gdtrLimit: 0x4fn });
    this.#setSegment(TR, { selector: TSS_SELECTOR, base: KERNEL + BigInt(TSS), limit: 0x67, rights: 0x8b });
    this.#core.exports.updateMode();
    this.#core.exports.updateContext();
  }

  /** The CPU's state, for what `setRegisters` does not set. Call `updateDerived` after a change of modes or of x87 words. */
  get state(): CpuState {
    return this.#cpu;
  }

  updateDerived(): void {
    this.#core.exports.updateMode();
    this.#core.exports.updateContext();
  }

  enter(mode: Mode): void {
    this.#segments = SEGMENTS[mode];
  }

  writeMemory(address: number, bytes: Uint8Array): void {
    const isWindow = address >= WINDOW;
    const physical = isWindow ? WINDOW_PHYSICAL + address - WINDOW : CODE_PHYSICAL + address - CODE_PAGE;
    this.#ramBytes.set(bytes, physical);
    // Nothing is executed in the window. That the code page holds code stays known: finding that out again is slow.
    if (!isWindow) this.#core.exports.flushBlocks();
  }

  window(): Uint8Array {
    return this.#window;
  }

  setRegisters(gpr: BigUint64Array, rip: bigint, rflags: bigint): void {
    const cpu = this.#cpu;
    cpu.gpr.set(gpr);
    cpu.rip = rip;
    cpu.rflags = rflags;
    this.#core.exports.setArithmeticFlags(rflags);
    cpu.segSelector.set(this.#segments.selector);
    cpu.segBase.set(this.#segments.base);
    cpu.segLimit.set(this.#segments.limit);
    cpu.segRights.set(this.#segments.rights);
    cpu.cpl = 3;
    cpu.activity = Activity.ACTIVE;
    cpu.interruptibility = 0;
    this.#saved = undefined;
    this.#core.exports.updateMode();
    this.#core.exports.updateContext();
  }

  setMedia(image: Uint8Array): void {
    const cpu = this.#cpu;
    const view = new DataView(image.buffer, image.byteOffset);
    cpu.x87Control = view.getUint16(CONTROL_OFFSET, true);
    cpu.x87Status = view.getUint16(STATUS_OFFSET, true);
    cpu.x87Tag = image[TAG_OFFSET]!;
    cpu.x87Opcode = view.getUint16(OPCODE_OFFSET, true);
    cpu.x87CodeSelector = 0;
    cpu.x87DataSelector = 0;
    cpu.x87CodeOffset = view.getBigUint64(CODE_OFFSET, true);
    cpu.x87DataOffset = view.getBigUint64(DATA_OFFSET, true);
    cpu.mxcsr = view.getUint32(MXCSR_OFFSET, true);
    const words = new Uint32Array(image.buffer, image.byteOffset, MEDIA_BYTES / 4);
    const top = (cpu.x87Status >> 11) & 7;
    for (let i = 0; i < 8; i++) {
      const from = ST_WORD + 4 * i;
      const to = 4 * ((top + i) & 7);
      this.#x87Words[to] = words[from]!;
      this.#x87Words[to + 1] = words[from + 1]!;
      this.#x87Words[to + 2] = words[from + 2]! & 0xffff;
    }
    for (let i = 0; i < 64; i++) {
      const to = 8 * (i >> 2) + (i & 3);
      this.#vectorWords[to] = words[XMM_WORD + i]!;
      this.#vectorWords[to + 4] = words[UPPER_WORD + i]!;
    }
    // Derived state: what faults.
    this.#core.exports.updateMode();
  }

  media(): Uint8Array {
    const cpu = this.#cpu;
    const image = this.#media;
    const view = new DataView(image.buffer);
    view.setUint16(CONTROL_OFFSET, cpu.x87Control, true);
    view.setUint16(STATUS_OFFSET, cpu.x87Status, true);
    image[TAG_OFFSET] = cpu.x87Tag;
    view.setUint16(OPCODE_OFFSET, cpu.x87Opcode, true);
    view.setBigUint64(CODE_OFFSET, cpu.x87CodeOffset, true);
    view.setBigUint64(DATA_OFFSET, cpu.x87DataOffset, true);
    view.setUint32(MXCSR_OFFSET, cpu.mxcsr, true);
    const words = new Uint32Array(image.buffer);
    const top = (cpu.x87Status >> 11) & 7;
    for (let i = 0; i < 8; i++) {
      const from = 4 * ((top + i) & 7);
      const to = ST_WORD + 4 * i;
      words[to] = this.#x87Words[from]!;
      words[to + 1] = this.#x87Words[from + 1]!;
      words[to + 2] = this.#x87Words[from + 2]! & 0xffff;
    }
    for (let i = 0; i < 64; i++) {
      const from = 8 * (i >> 2) + (i & 3);
      words[XMM_WORD + i] = this.#vectorWords[from]!;
      words[UPPER_WORD + i] = this.#vectorWords[from + 4]!;
    }
    return image;
  }

  /** Executes one instruction, wherever that leads. */
  runOnce(): void {
    const cpu = this.#cpu;
    cpu.stopAt = cpu.instructions + cpu.charged + 1;
    this.#core.exports.run();
  }

  step(): SiliconException | undefined {
    const cpu = this.#cpu;
    this.runOnce();
    if (cpu.cpl === 3) return undefined;
    const vector = Math.floor(Number(cpu.rip - KERNEL - BigInt(HANDLERS)) / HANDLER_BYTES);
    if (vector < 0 || vector >= VECTORS) throw new Error(`ring 0 at ${cpu.rip.toString(16)}`);
    let at = KERNEL_PHYSICAL + Number(cpu.gpr[4]! - KERNEL);
    const pop = (): bigint => {
      at += 8;
      return this.#ram.getBigUint64(at - 8, true);
    };
    const error = VECTORS_WITH_ERROR.has(vector) ? Number(pop()) : 0;
    const rip = pop();
    pop();
    const rflags = pop();
    this.#saved = { rip, rflags, rsp: pop() };
    return { vector, error, cr2: cpu.cr2 };
  }

  registers(gpr: BigUint64Array): { readonly rip: bigint; readonly rflags: bigint } {
    gpr.set(this.#cpu.gpr);
    if (!this.#saved)
      return { rip: this.#cpu.rip, rflags: BigInt.asUintN(64, this.#core.exports.getFlags()) };
    gpr[4] = this.#saved.rsp;
    return this.#saved;
  }

  #setSegment(slot: number, { selector, base, limit, rights }: Segment): void {
    this.#cpu.segSelector[slot] = BigInt(selector);
    this.#cpu.segBase[slot] = BigInt(base);
    this.#cpu.segLimit[slot] = BigInt(limit);
    this.#cpu.segRights[slot] = BigInt(rights);
  }

  /** Interrupt gates, task-state segment, code segment and halting handlers. */
  #buildKernel(): void {
    const ram = this.#ram;
    for (let vector = 0; vector < VECTORS; vector++) {
      const handler = KERNEL + BigInt(HANDLERS + vector * HANDLER_BYTES);
      const gate = KERNEL_PHYSICAL + IDT + vector * 16;
      ram.setUint16(gate, Number(handler & 0xffffn), true);
      ram.setUint16(gate + 2, KERNEL_CS, true);
      ram.setUint16(gate + 4, USER_VECTORS.has(vector) ? 0xee00 : 0x8e00, true);
      ram.setUint16(gate + 6, Number((handler >> 16n) & 0xffffn), true);
      ram.setUint32(gate + 8, Number(handler >> 32n), true);
      ram.setUint8(KERNEL_PHYSICAL + HANDLERS + vector * HANDLER_BYTES, HLT);
    }
    // 64-bit code, DPL 0: the only descriptor that is loaded.
    ram.setBigUint64(KERNEL_PHYSICAL + GDT + KERNEL_CS, 0x00af9b000000ffffn, true);
    ram.setBigUint64(KERNEL_PHYSICAL + TSS + 4, KERNEL + BigInt(STACK_TOP), true);
    // The I/O permission bitmap begins beyond the segment's limit: no port is allowed.
    ram.setUint16(KERNEL_PHYSICAL + TSS + 102, 0x68, true);
  }

  /** Maps code page, window and kernel; returns the physical address of the PML4. */
  #buildPageTables(): number {
    const pml4 = this.#newTable();
    this.#map(pml4, BigInt(CODE_PAGE), CODE_PHYSICAL, PTE_USER | PTE_WRITE);
    for (let offset = 0; offset < WINDOW_BYTES; offset += PAGE)
      this.#map(pml4, BigInt(WINDOW + offset), WINDOW_PHYSICAL + offset, PTE_USER | PTE_WRITE);
    for (let offset = 0; offset < KERNEL_BYTES; offset += PAGE)
      this.#map(pml4, KERNEL + BigInt(offset), KERNEL_PHYSICAL + offset, PTE_WRITE);
    return pml4;
  }

  #newTable(): number {
    const table = this.#nextTable;
    this.#nextTable += PAGE;
    if (this.#nextTable > KERNEL_PHYSICAL) throw new Error("too many page tables");
    return table;
  }

  #map(pml4: number, linear: bigint, physical: number, rights: bigint): void {
    let table = pml4;
    for (const shift of [39n, 30n, 21n]) {
      const entry = table + Number((linear >> shift) & 511n) * 8;
      if (this.#ram.getBigUint64(entry, true) === 0n)
        this.#ram.setBigUint64(entry, BigInt(this.#newTable()) | PTE_PRESENT | PTE_WRITE | PTE_USER, true);
      table = Number(this.#ram.getBigUint64(entry, true) & ~0xfffn);
    }
    this.#ram.setBigUint64(
      table + Number((linear >> 12n) & 511n) * 8,
      BigInt(physical) | rights | PTE_PRESENT,
      true,
    );
  }
}

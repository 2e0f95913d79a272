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

/** Segment registers by their slot in the CPU block: ES CS SS DS FS GS LDTR TR. */
const CS = 1;
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

/** CS, and what SS, DS and ES are, by mode. */
const SEGMENTS: Readonly<Record<Mode, readonly [code: Segment, data: Segment]>> = {
  [MODE_16]: [
    { selector: 0x07, base: CODE_PAGE, limit: CODE_LIMIT_16, rights: 0xfb },
    { selector: 0x0f, base: WINDOW, limit: DATA_LIMIT_16, rights: 0xf3 },
  ],
  [MODE_COMPATIBILITY]: [{ selector: 0x23, base: 0, limit: 0xffffffff, rights: 0xc0fb }, FLAT_DATA],
  [MODE_64]: [{ selector: 0x33, base: 0, limit: 0xffffffff, rights: 0xa0fb }, FLAT_DATA],
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
  #mode: Mode = MODE_64;
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
    this.#ram = new DataView(this.#memory.state.buffer, plan.ramBase, RAM_BYTES);
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
    this.#mode = mode;
  }

  writeMemory(address: number, bytes: Uint8Array): void {
    const isWindow = address >= WINDOW;
    const physical = isWindow ? WINDOW_PHYSICAL + address - WINDOW : CODE_PHYSICAL + address - CODE_PAGE;
    new Uint8Array(this.#ram.buffer, this.#ram.byteOffset + physical, bytes.length).set(bytes);
    this.#core.exports.noteWriteRange(this.#ram.byteOffset + physical, bytes.length);
  }

  window(): Uint8Array {
    return new Uint8Array(this.#ram.buffer, this.#ram.byteOffset + WINDOW_PHYSICAL, WINDOW_BYTES);
  }

  setRegisters(gpr: BigUint64Array, rip: bigint, rflags: bigint): void {
    const cpu = this.#cpu;
    cpu.gpr.set(gpr);
    cpu.rip = rip;
    cpu.rflags = rflags;
    this.#core.exports.setArithmeticFlags(rflags);
    const [code, data] = SEGMENTS[this.#mode];
    this.#setSegment(CS, code);
    for (const slot of [0, 2, 3]) this.#setSegment(slot, data);
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
    cpu.x87CodeSelector = 0;
    cpu.x87DataSelector = 0;
    cpu.mxcsr = view.getUint32(MXCSR_OFFSET, true);
    const top = (cpu.x87Status >> 11) & 7;
    for (let i = 0; i < 8; i++)
      cpu.x87.set(image.subarray(ST_OFFSET + 16 * i, ST_OFFSET + 16 * i + 10), 16 * ((top + i) & 7));
    for (let i = 0; i < 16; i++) {
      cpu.vector.set(image.subarray(XMM_OFFSET + 16 * i, XMM_OFFSET + 16 * i + 16), 32 * i);
      cpu.vector.set(image.subarray(UPPER_OFFSET + 16 * i, UPPER_OFFSET + 16 * i + 16), 32 * i + 16);
    }
    // Derived state: what faults.
    this.#core.exports.updateMode();
  }

  media(): Uint8Array {
    const cpu = this.#cpu;
    const image = new Uint8Array(MEDIA_BYTES);
    const view = new DataView(image.buffer);
    view.setUint16(CONTROL_OFFSET, cpu.x87Control, true);
    view.setUint16(STATUS_OFFSET, cpu.x87Status, true);
    image[TAG_OFFSET] = cpu.x87Tag;
    view.setUint16(OPCODE_OFFSET, cpu.x87Opcode, true);
    view.setBigUint64(CODE_OFFSET, cpu.x87CodeOffset, true);
    view.setBigUint64(DATA_OFFSET, cpu.x87DataOffset, true);
    view.setUint32(MXCSR_OFFSET, cpu.mxcsr, true);
    const top = (cpu.x87Status >> 11) & 7;
    for (let i = 0; i < 8; i++) {
      const at = 16 * ((top + i) & 7);
      image.set(cpu.x87.subarray(at, at + 10), ST_OFFSET + 16 * i);
    }
    for (let i = 0; i < 16; i++) {
      image.set(cpu.vector.subarray(32 * i, 32 * i + 16), XMM_OFFSET + 16 * i);
      image.set(cpu.vector.subarray(32 * i + 16, 32 * i + 32), UPPER_OFFSET + 16 * i);
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

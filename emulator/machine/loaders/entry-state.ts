/**
 * The processor's state at an image's entry point: plain data, written to a physical CPU after its reset or to the
 * guest-state area of a VMCS.
 */
import type { CpuState } from "../../host/core.ts";

/** Indices of `EntryState.general`: the registers' numbers in instruction encodings. */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** Indices of `EntryState.segments`: the order of the VMCS guest-state area. */
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;

/** A segment register with its hidden part. SDM Vol. 3C, "Guest Register State". */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  /** In bytes: the highest offset, already scaled by the granularity bit. */
  readonly limit: number;
  /** Access rights in the VMCS format. */
  readonly rights: number;
}

export interface TableRegister {
  readonly base: number;
  readonly limit: number;
}

/** All values are unsigned integers below 2^53. */
export interface EntryState {
  /** protected32: paging off, flat 32-bit segments; long64: 4-level paging, 64-bit code. */
  readonly mode: "protected32" | "long64";
  readonly rip: number;
  /** Interrupts are off and the arithmetic flags clear: bit 1 alone. */
  readonly rflags: 2;
  /** 16 general registers by their numbers; RSP among them. */
  readonly general: readonly number[];
  /** ES CS SS DS FS GS LDTR TR. */
  readonly segments: readonly SegmentState[];
  readonly gdtr: TableRegister;
  readonly idtr: TableRegister;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
}

const CR0_PE = 0x1;
const CR0_ET = 0x10;
const CR0_PG = 0x80000000;
const CR4_PAE = 0x20;
const EFER_LME = 0x100;
const EFER_LMA = 0x400;

/** Access rights: type, S, DPL 0, P, and above bit 12 the descriptor's L, D/B and G. */
const RIGHTS_CODE32 = 0xc09b;
const RIGHTS_CODE64 = 0xa09b;
const RIGHTS_DATA = 0xc093;
const RIGHTS_LDT = 0x82;
const RIGHTS_TSS_BUSY = 0x8b;

const flat = (selector: number, rights: number): SegmentState => ({
  selector,
  base: 0,
  limit: 0xffffffff,
  rights,
});

/** The four descriptors that every protocol's GDT of ours has; `codeSelector` and `dataSelector` choose the places. */
export interface BootSelectors {
  readonly code: number;
  readonly data: number;
}

/** Selectors of multiboot and PVH entries, where the protocol leaves them open. */
export const FLAT_SELECTORS: BootSelectors = { code: 0x08, data: 0x10 };

const DESCRIPTOR_CODE32 = 0x00cf9b000000ffffn;
const DESCRIPTOR_CODE64 = 0x00af9b000000ffffn;
const DESCRIPTOR_DATA = 0x00cf93000000ffffn;

/** A GDT that agrees with the segment registers of `entryState` for the same mode and selectors. */
export function bootGdt(mode: EntryState["mode"], selectors: BootSelectors): Uint8Array {
  const bytes = new Uint8Array(Math.max(selectors.code, selectors.data) + 8);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(selectors.code, mode === "long64" ? DESCRIPTOR_CODE64 : DESCRIPTOR_CODE32, true);
  view.setBigUint64(selectors.data, DESCRIPTOR_DATA, true);
  return bytes;
}

/**
 * Builds an entry state.
 *
 * @param registers values of named general registers; the others are 0
 * @param gdt where `bootGdt`'s bytes lie
 * @param cr3 physical address of the PML4 table; long64 only
 */
export function entryState(options: {
  readonly mode: EntryState["mode"];
  readonly rip: number;
  readonly registers: readonly (readonly [register: number, value: number])[];
  readonly selectors: BootSelectors;
  readonly gdt: TableRegister;
  readonly cr3?: number;
}): EntryState {
  const { mode, selectors } = options;
  const long = mode === "long64";
  const general = new Array<number>(16).fill(0);
  for (const [register, value] of options.registers) general[register] = value;
  const data = flat(selectors.data, RIGHTS_DATA);
  const code = flat(selectors.code, long ? RIGHTS_CODE64 : RIGHTS_CODE32);
  return {
    mode,
    rip: options.rip,
    rflags: 2,
    general,
    segments: [
      data,
      code,
      data,
      data,
      data,
      data,
      { selector: 0, base: 0, limit: 0xffff, rights: RIGHTS_LDT },
      // PVH, "x86/HVM direct boot ABI": TR has base 0 and limit 67H; a busy TSS is what VM entry accepts, too.
      { selector: 0, base: 0, limit: 0x67, rights: RIGHTS_TSS_BUSY },
    ],
    gdtr: options.gdt,
    // As the BIOS left it: the real-mode table.
    idtr: { base: 0, limit: 0x3ff },
    cr0: CR0_PE | CR0_ET,
    cr3: 0,
    cr4: 0,
    efer: 0,
    ...(long
      ? { cr0: CR0_PG + CR0_PE + CR0_ET, cr3: options.cr3 ?? 0, cr4: CR4_PAE, efer: EFER_LME | EFER_LMA }
      : {}),
  };
}

/**
 * Writes an entry state into a CPU block. The CPU must have been reset: what the state does not name (debug registers,
 * MSRs, the arithmetic flags) keeps its reset value. Afterwards the caller calls the core's `updateMode` and
 * `updateContext`.
 */
export function applyEntryState(cpu: CpuState, entry: EntryState): void {
  entry.general.forEach((value, register) => (cpu.gpr[register] = BigInt(value)));
  cpu.rip = BigInt(entry.rip);
  cpu.rflags = BigInt(entry.rflags);
  entry.segments.forEach(({ selector, base, limit, rights }, index) => {
    cpu.segSelector[index] = BigInt(selector);
    cpu.segBase[index] = BigInt(base);
    cpu.segLimit[index] = BigInt(limit);
    cpu.segRights[index] = BigInt(rights);
  });
  cpu.gdtrBase = BigInt(entry.gdtr.base);
  cpu.gdtrLimit = BigInt(entry.gdtr.limit);
  cpu.idtrBase = BigInt(entry.idtr.base);
  cpu.idtrLimit = BigInt(entry.idtr.limit);
  cpu.cr0 = BigInt(entry.cr0);
  cpu.cr2 = 0n;
  cpu.cr3 = BigInt(entry.cr3);
  cpu.cr4 = BigInt(entry.cr4);
  cpu.efer = BigInt(entry.efer);
  cpu.cpl = 0;
}

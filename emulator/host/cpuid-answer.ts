/**
 * What CPUID returns, for hypervisors that answer it themselves: the rules of the core's own CPUID (SDM Vol. 2A, "CPUID")
 * on the rows of a CPU model.
 */
import type { CpuidRow } from "./cpu-models.ts";

/** What the answer depends on besides leaf and subleaf. */
export interface CpuidState {
  readonly apicId: number;
  /** The local APIC is enabled in IA32_APIC_BASE. */
  readonly apicEnabled: boolean;
  /** CR4.OSXSAVE of the guest. */
  readonly osxsave: boolean;
  /** CR4.PKE of the guest. */
  readonly ospke?: boolean;
  /** XCR0's low word. */
  readonly xcr0: number;
}

export interface CpuidAnswer {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** What the answer depends on besides, as flags: the APIC is on in IA32_APIC_BASE; CR4.OSXSAVE and CR4.PKE, at their places in CR4. */
export const CPUID_APIC_ON = 1 << 0;
export const CPUID_OSXSAVE = 1 << 18;
export const CPUID_OSPKE = 1 << 22;
/** The flags that are bits of CR4. */
export const CPUID_CR4_FLAGS = CPUID_OSXSAVE | CPUID_OSPKE;

const OSXSAVE = 1 << 27;
const APIC = 1 << 9;
const TOPOLOGY_LEAF = 0xb;
const XSAVE_LEAF = 0xd;
const OSPKE = 1 << 4;
const FEATURES_LEAF = 7;
const XCR0_AVX = 1 << 2;
const XCR0_PKRU = 1 << 9;
/** Bytes of an XSAVE image without and with AVX state, and of PKRU, which lies behind them. */
const XSAVE_BYTES = 576;
const XSAVE_AVX_BYTES = 832;
const PKRU_BYTES = 8;
const isHypervisorLeaf = (leaf: number): boolean => leaf >= 0x40000000 && leaf < 0x50000000;

/** Bytes of an XSAVE image with what XCR0 enables: the standard format keeps a place for AVX state before PKRU. */
function xsaveBytes(xcr0: number, isCompacted: boolean): number {
  const hasPkru = (xcr0 & XCR0_PKRU) !== 0;
  const hasAvxPlace = (xcr0 & XCR0_AVX) !== 0 || (hasPkru && !isCompacted);
  return (hasAvxPlace ? XSAVE_AVX_BYTES : XSAVE_BYTES) + (hasPkru ? PKRU_BYTES : 0);
}

/** Words of a row in the table: leaf, 1 where any subleaf is meant, subleaf, EAX, EBX, ECX, EDX, and one unused. */
const ROW_SHIFT = 3;
const ANY_SUBLEAF = 1;
const SUBLEAF = 2;
const REGISTERS = 3;

/** The rows of a CPU model as a table that is looked up without allocating. */
export class CpuidTable {
  readonly #words: Uint32Array;
  readonly #highest: number;
  readonly #highestExtended: number;

  constructor(rows: readonly CpuidRow[]) {
    this.#words = new Uint32Array(rows.length << ROW_SHIFT);
    rows.forEach(([leaf, subleaf, ...registers], row) => {
      this.#words.set([leaf, subleaf === undefined ? 1 : 0, subleaf ?? 0, ...registers], row << ROW_SHIFT);
    });
    const leaves = rows.map(([leaf]) => leaf);
    this.#highest = Math.max(...leaves.filter((leaf) => leaf < 0x40000000));
    this.#highestExtended = Math.max(...leaves);
  }

  /** Index of a row's first word, or -1. */
  #find(leaf: number, subleaf: number): number {
    const words = this.#words;
    for (let row = 0; row < words.length; row += 1 << ROW_SHIFT)
      if (words[row] === leaf && (words[row + ANY_SUBLEAF] !== 0 || words[row + SUBLEAF] === subleaf))
        return row;
    return -1;
  }

  /**
   * Answers CPUID.
   *
   * @param leaf EAX, `subleaf` ECX, both unsigned
   * @param state CPUID_ flags, where they hold
   * @param xcr0 its low word
   * @param into takes EAX, EBX, ECX, EDX
   */
  answer(
    leaf: number,
    subleaf: number,
    apicId: number,
    state: number,
    xcr0: number,
    into: Uint32Array,
  ): void {
    let effective = leaf;
    let row = this.#find(leaf, subleaf);
    if (row < 0) {
      // Beyond the highest basic or extended leaf: the data of the highest basic one.
      const isExtended = leaf >= 0x80000000 && leaf <= this.#highestExtended;
      if (leaf > this.#highest && !isExtended && !isHypervisorLeaf(leaf)) {
        effective = this.#highest;
        row = this.#find(effective, subleaf);
      }
    }
    if (row < 0) into.fill(0);
    else {
      const words = this.#words;
      into[0] = words[row + REGISTERS]!;
      into[1] = words[row + REGISTERS + 1]!;
      into[2] = words[row + REGISTERS + 2]!;
      into[3] = words[row + REGISTERS + 3]!;
    }
    if (effective === 1) {
      into[1] = (into[1]! & 0x00ffffff) | (apicId << 24);
      if ((state & CPUID_OSXSAVE) !== 0) into[2]! |= OSXSAVE;
      if ((state & CPUID_APIC_ON) === 0) into[3]! &= ~APIC;
    } else if (effective === TOPOLOGY_LEAF) {
      into[3] = apicId;
      // An invalid level: ECX[7:0] is still the subleaf, and EDX the x2APIC ID.
      if (row < 0) into[2] = subleaf & 0xff;
    } else if (effective === XSAVE_LEAF && subleaf <= 1 && into[1] !== 0) {
      into[1] = xsaveBytes(xcr0, subleaf === 1);
    } else if (effective === FEATURES_LEAF && subleaf === 0 && (state & CPUID_OSPKE) !== 0) into[2]! |= OSPKE;
  }
}

/** As `CpuidTable.answer`, for one question. */
export function answerCpuid(
  rows: readonly CpuidRow[],
  leaf: number,
  subleaf: number,
  state: CpuidState,
): CpuidAnswer {
  const into = new Uint32Array(4);
  const flags =
    (state.apicEnabled ? CPUID_APIC_ON : 0) |
    (state.osxsave ? CPUID_OSXSAVE : 0) |
    (state.ospke === true ? CPUID_OSPKE : 0);
  new CpuidTable(rows).answer(leaf, subleaf, state.apicId, flags, state.xcr0, into);
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = into;
  return { eax, ebx, ecx, edx };
}

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
  /** XCR0's low word. */
  readonly xcr0: number;
}

export interface CpuidAnswer {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

const OSXSAVE = 1 << 27;
const APIC = 1 << 9;
const TOPOLOGY_LEAF = 0xb;
const XSAVE_LEAF = 0xd;
const XCR0_AVX = 4;
/** Bytes of an XSAVE image without and with AVX state. */
const XSAVE_BYTES = 576;
const XSAVE_AVX_BYTES = 832;
const isHypervisorLeaf = (leaf: number): boolean => leaf >= 0x40000000 && leaf < 0x50000000;

/** Bytes of an XSAVE image with what XCR0 enables. */
export function xsaveBytes(xcr0: number): number {
  return xcr0 & XCR0_AVX ? XSAVE_AVX_BYTES : XSAVE_BYTES;
}

/** @param leaf EAX, `subleaf` ECX, both unsigned */
export function answerCpuid(
  rows: readonly CpuidRow[],
  leaf: number,
  subleaf: number,
  state: CpuidState,
): CpuidAnswer {
  const find = (wanted: number): CpuidRow | undefined =>
    rows.find(([rowLeaf, rowSubleaf]) => rowLeaf === wanted && (rowSubleaf ?? subleaf) === subleaf);
  let effective = leaf;
  let row = find(leaf);
  if (!row) {
    // Beyond the highest basic or extended leaf: the data of the highest basic one.
    const highest = Math.max(...rows.map(([rowLeaf]) => rowLeaf).filter((rowLeaf) => rowLeaf < 0x40000000));
    const highestExtended = Math.max(...rows.map(([rowLeaf]) => rowLeaf));
    const isExtended = leaf >= 0x80000000 && leaf <= highestExtended;
    if (leaf > highest && !isExtended && !isHypervisorLeaf(leaf)) {
      effective = highest;
      row = find(highest);
    }
  }
  const [, , eax, rowEbx, rowEcx, rowEdx] = row ?? [0, 0, 0, 0, 0, 0];
  let [ebx, ecx, edx] = [rowEbx, rowEcx, rowEdx];
  if (effective === 1) {
    ebx = ((ebx & 0x00ffffff) | (state.apicId << 24)) >>> 0;
    if (state.osxsave) ecx = (ecx | OSXSAVE) >>> 0;
    if (!state.apicEnabled) edx = (edx & ~APIC) >>> 0;
  } else if (effective === TOPOLOGY_LEAF) {
    edx = state.apicId;
    // An invalid level: ECX[7:0] is still the subleaf, and EDX the x2APIC ID.
    if (!row) ecx = subleaf & 0xff;
  } else if (effective === XSAVE_LEAF && subleaf <= 1 && ebx !== 0) {
    ebx = xsaveBytes(state.xcr0);
  }
  return { eax, ebx, ecx, edx };
}

/**
 * XCR0 and the XSAVE family: XGETBV, XSETBV, XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS. SDM Vol. 1, "Managing State Using
 * the XSAVE Feature Set".
 *
 * State components are x87 (bit 0), SSE (1), AVX (2) and PKRU (9). There is no supervisor state component: IA32_XSS is always 0.
 * AVX comes first in the extended region, so that its place is the same in the standard and in the compacted format. XINUSE is
 * exact: a component is in use when it is not in its initial configuration.
 */
import { CPU_IMAGE, CPU_VECTOR, CPU_X87 } from "../layout.generated";
import { CPU, RAX, RCX, RDX, cpu, getGpr, setGpr } from "../state/cpu";
import { updateMedia } from "../state/media";
import {
  CR0_TS,
  CR4_OSXSAVE,
  VECTOR_NM,
  XCR0_AVX,
  XCR0_PKRU,
  XCR0_SSE,
  XCR0_X87,
} from "../spec/architecture";
import { EXIT_REASON_XSETBV } from "../spec/vmx";
import { exitOnInstruction, isXsavesUndefined } from "../vmx/instruction-exits";
import { Linear } from "../mmu/linear";
import { Address } from "../mmu/segmented";
import { faultPending, raise, raiseGp, raiseUd } from "../interrupts/raise";
import { Op } from "./operand";
import { setPkru } from "./protection-keys";
import { cpuidWord } from "./identification";
import {
  MXCSR_MASK,
  getLegacyX87,
  imageAddress,
  putLegacyMxcsr,
  putLegacyX87,
  putLegacyXmm,
  xmmCount,
} from "./fxsave";
import { isWritable, linearAt, writeImage } from "./x87/memory";

// The image: legacy region, header, AVX component, PKRU behind it.
const X87_HEADER_BYTES: u32 = 24;
const MXCSR_OFFSET: u32 = 24;
const MXCSR_BYTES: u32 = 8;
const REGISTERS_OFFSET: u32 = 32;
const REGISTERS_BYTES: u32 = 128;
const XMM_OFFSET: u32 = 160;
const HEADER_OFFSET: u32 = 512;
const HEADER_BYTES: u32 = 64;
const AVX_OFFSET: u32 = 576;
const AVX_BYTES: u32 = 256;
const PKRU_OFFSET: u32 = AVX_OFFSET + AVX_BYTES;
const PKRU_BYTES: u32 = 8;
const ALIGNMENT: u64 = 64;
/** Bit of XCOMP_BV: the image is in the compacted format. */
const COMPACTED: u64 = 0x8000000000000000;
/** MXCSR's initial value. */
const MXCSR_INITIAL: u32 = 0x1f80;
const X87_CONTROL_INITIAL: u32 = 0x37f;

const EAX: u32 = 0;
const XSAVE_LEAF: u32 = 0xd;
/** CPUID.(EAX=0DH,ECX=1):EAX. */
const HAS_XSAVEC: u32 = 1 << 1;
const HAS_XGETBV1: u32 = 1 << 2;

/** Bits of XCR0 that the CPU model has. */
function supportedComponents(): u64 {
  return <u64>cpuidWord(XSAVE_LEAF, 0, EAX);
}

/** Bytes of an image with these components in the standard format. */
export function standardBytes(components: u64): u32 {
  if ((components & XCR0_PKRU) != 0) return PKRU_OFFSET + PKRU_BYTES;
  return compactedBytes(components);
}

/** And in the compacted format. */
export function compactedBytes(components: u64): u32 {
  return compactedPkru(components) + ((components & XCR0_PKRU) != 0 ? PKRU_BYTES : 0);
}

/** Where PKRU is in the compacted format: right behind what comes before it. */
function compactedPkru(components: u64): u32 {
  return (components & XCR0_AVX) != 0 ? AVX_OFFSET + AVX_BYTES : AVX_OFFSET;
}

function isEnabled(): bool {
  if ((cpu.cr4 & CR4_OSXSAVE) != 0) return true;
  raiseUd();
  return false;
}

function edxEax(): u64 {
  return (<u64>(<u32>getGpr(RAX))) | (getGpr(RDX) << 32);
}

export function xgetbv(record: usize): void {
  if (!isEnabled()) return;
  const index = <u32>getGpr(RCX);
  const hasInUse = (cpuidWord(XSAVE_LEAF, 1, EAX) & HAS_XGETBV1) != 0;
  if (index > 1 || (index == 1 && !hasInUse)) {
    raiseGp();
    return;
  }
  const value = index == 0 ? cpu.xcr0 : cpu.xcr0 & inUse();
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

export function xsetbv(record: usize): void {
  if (!isEnabled()) return;
  if (cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnInstruction(record, EXIT_REASON_XSETBV)) return;
  const value = edxEax();
  const lacksSse = (value & XCR0_AVX) != 0 && (value & XCR0_SSE) == 0;
  if (<u32>getGpr(RCX) != 0 || (value & XCR0_X87) == 0 || lacksSse || (value & ~supportedComponents()) != 0) {
    raiseGp();
    return;
  }
  cpu.xcr0 = value;
  updateMedia();
}

function isZero(from: usize, bytes: usize): bool {
  for (let i: usize = 0; i < bytes; i += 8) if (load<u64>(from + i) != 0) return false;
  return true;
}

/** Are these 128-bit halves, one in each register, all 0? */
function areHalvesZero(half: usize): bool {
  for (let i: usize = 0; i < <usize>xmmCount(); i++)
    if (!isZero(CPU + CPU_VECTOR + (i << 5) + half, 16)) return false;
  return true;
}

function isX87Initial(): bool {
  return (
    cpu.x87Control == X87_CONTROL_INITIAL &&
    (cpu.x87Status | cpu.x87Tag | cpu.x87Opcode | cpu.x87CodeSelector | cpu.x87DataSelector) == 0 &&
    (cpu.x87CodeOffset | cpu.x87DataOffset) == 0 &&
    isZero(CPU + CPU_X87, 128)
  );
}

/** XINUSE. MXCSR does not count. */
function inUse(): u64 {
  return (
    (isX87Initial() ? 0 : XCR0_X87) |
    (areHalvesZero(0) ? 0 : XCR0_SSE) |
    (areHalvesZero(16) ? 0 : XCR0_AVX) |
    (cpu.pkru == 0 ? 0 : XCR0_PKRU)
  );
}

/** May the family be used now? False with a fault recorded. */
function isReady(): bool {
  if (!isEnabled()) return false;
  if ((cpu.cr0 & CR0_TS) == 0) return true;
  raise(VECTOR_NM);
  return false;
}

/** Writes components to the image at `linear`, MXCSR by a flag of its own, PKRU to byte `pkruAt`. `isWide`: REX.W. */
function saveComponents(linear: u64, components: u64, withMxcsr: bool, pkruAt: u32, isWide: bool): bool {
  if ((components & XCR0_X87) != 0) {
    putLegacyX87(isWide);
    if (
      !writeImage<u64>(linear, 0, X87_HEADER_BYTES) ||
      !writeImage<u64>(linear, REGISTERS_OFFSET, REGISTERS_BYTES)
    )
      return false;
  }
  if (withMxcsr) {
    putLegacyMxcsr();
    if (!writeImage<u64>(linear, MXCSR_OFFSET, MXCSR_BYTES)) return false;
  }
  if ((components & XCR0_SSE) != 0) {
    putLegacyXmm();
    if (!writeImage<u64>(linear, XMM_OFFSET, xmmCount() << 4)) return false;
  }
  if ((components & XCR0_AVX) != 0) {
    for (let i: usize = 0; i < <usize>xmmCount(); i++)
      memory.copy(CPU + CPU_IMAGE + <usize>AVX_OFFSET + (i << 4), CPU + CPU_VECTOR + (i << 5) + 16, 16);
    if (!writeImage<u64>(linear, AVX_OFFSET, xmmCount() << 4)) return false;
  }
  return (components & XCR0_PKRU) == 0 || Linear.write<u64>(linearAt(linear, pkruAt), <u64>cpu.pkru);
}

/** XSAVE and XSAVEOPT: the standard format. The latter leaves out what is in its initial configuration. */
function saveStandard(record: usize, isOptimized: bool): void {
  if (!isReady()) return;
  const requested = cpu.xcr0 & edxEax();
  const bytes = standardBytes(requested);
  const linear = imageAddress(record, bytes, ALIGNMENT, true);
  if (faultPending() || !isWritable(linear, bytes)) return;
  const used = inUse();
  const header = linearAt(linear, HEADER_OFFSET);
  const before = Linear.read<u64>(header);
  if (faultPending()) return;
  const saved = isOptimized ? requested & used : requested;
  const withMxcsr = (requested & (XCR0_SSE | XCR0_AVX)) != 0;
  if (!saveComponents(linear, saved, withMxcsr, PKRU_OFFSET, Op.size(record) == 8)) return;
  Linear.write<u64>(header, (before & ~requested) | (used & requested));
}

export function xsave(record: usize): void {
  saveStandard(record, false);
}

export function xsaveopt(record: usize): void {
  saveStandard(record, true);
}

/** The compacted format, of which only what is in use is written. */
function saveCompacted(record: usize): void {
  const requested = cpu.xcr0 & edxEax();
  const bytes = compactedBytes(requested);
  const linear = imageAddress(record, bytes, ALIGNMENT, true);
  if (faultPending() || !isWritable(linear, bytes)) return;
  let saved = requested & inUse();
  if (cpu.mxcsr != MXCSR_INITIAL) saved |= requested & XCR0_SSE;
  const withMxcsr = (saved & XCR0_SSE) != 0;
  if (!saveComponents(linear, saved, withMxcsr, compactedPkru(requested), Op.size(record) == 8)) return;
  const header = linearAt(linear, HEADER_OFFSET);
  if (!Linear.write<u64>(header, saved)) return;
  Linear.write<u64>(linearAt(header, 8), requested | COMPACTED);
}

export function xsavec(record: usize): void {
  if (isReady()) saveCompacted(record);
}

/** What XSAVES and XRSTORS want beside `isReady`. Without supervisor state components the XSS-exiting bitmap meets none. */
function isSupervisorReady(): bool {
  if (!isEnabled() || isXsavesUndefined()) return false;
  if (cpu.cpl == 0) return isReady();
  raiseGp();
  return false;
}

export function xsaves(record: usize): void {
  if (isSupervisorReady()) saveCompacted(record);
}

/** Reads a part of an image to its place in the image area. False: a fault. */
function readPart(linear: u64, from: u32, size: u32): bool {
  for (let i = from; i < from + size; i += 8) {
    const value = Linear.read<u64>(linearAt(linear, i));
    if (faultPending()) return false;
    store<u64>(CPU + <usize>i, value, CPU_IMAGE);
  }
  return true;
}

/** Are header bytes from `from` to its end 0? */
function isHeaderZero(from: usize, to: usize): bool {
  return isZero(CPU + CPU_IMAGE + <usize>HEADER_OFFSET + from, to - from);
}

/**
 * Is the header of the image in the image area one that XRSTOR takes? XRSTORS takes the compacted format alone. SDM Vol. 1,
 * "Operation of XRSTOR" and "Operation of XRSTORS".
 */
function isHeaderValid(components: u64, layout: u64, mustBeCompacted: bool): bool {
  if ((layout & COMPACTED) == 0)
    return !mustBeCompacted && (components & ~cpu.xcr0) == 0 && isHeaderZero(8, 24);
  const hasCompaction = mustBeCompacted || (cpuidWord(XSAVE_LEAF, 1, EAX) & HAS_XSAVEC) != 0;
  const saved = layout & ~COMPACTED;
  return (
    hasCompaction && (saved & ~cpu.xcr0) == 0 && (components & ~saved) == 0 && isHeaderZero(16, HEADER_BYTES)
  );
}

function initializeX87(): void {
  cpu.x87Control = X87_CONTROL_INITIAL;
  cpu.x87Status = 0;
  cpu.x87Tag = 0;
  cpu.x87Opcode = 0;
  cpu.x87CodeSelector = 0;
  cpu.x87DataSelector = 0;
  cpu.x87CodeOffset = 0;
  cpu.x87DataOffset = 0;
  memory.fill(CPU + CPU_X87, 0, 128);
  updateMedia();
}

/** Sets one 128-bit half of each register that the mode has, from the image area or to 0. */
function loadHalves(half: usize, from: usize, isInitial: bool): void {
  for (let i: usize = 0; i < <usize>xmmCount(); i++) {
    const register = CPU + CPU_VECTOR + (i << 5) + half;
    if (isInitial) memory.fill(register, 0, 16);
    else memory.copy(register, CPU + CPU_IMAGE + from + (i << 4), 16);
  }
}

export function xrstor(record: usize): void {
  if (isReady()) restore(record, false);
}

export function xrstors(record: usize): void {
  if (isSupervisorReady()) restore(record, true);
}

function restore(record: usize, mustBeCompacted: bool): void {
  const requested = cpu.xcr0 & edxEax();
  const linear = imageAddress(record, HEADER_OFFSET + HEADER_BYTES, ALIGNMENT, false);
  if (faultPending() || !readPart(linear, 0, XMM_OFFSET) || !readPart(linear, HEADER_OFFSET, HEADER_BYTES))
    return;
  const components = load<u64>(CPU + <usize>HEADER_OFFSET, CPU_IMAGE);
  const layout = load<u64>(CPU + <usize>HEADER_OFFSET + 8, CPU_IMAGE);
  if (!isHeaderValid(components, layout, mustBeCompacted)) {
    raiseGp();
    return;
  }
  const isCompacted = (layout & COMPACTED) != 0;
  // Now the size is known: the segment must hold all of it.
  Address.forRead(record, isCompacted ? compactedBytes(requested & layout) : standardBytes(requested));
  if (faultPending()) return;
  const loaded = requested & components;
  // The standard format has MXCSR whether SSE state is in its initial configuration or not.
  const takesMxcsr = isCompacted ? (loaded & XCR0_SSE) != 0 : (requested & (XCR0_SSE | XCR0_AVX)) != 0;
  // Components that the image has a place for are read whether they are in use or not (SDM Vol. 1, "Memory Access by the XSAVE
  // Feature Set", allows either).
  const present = isCompacted ? requested & layout : requested;
  if ((present & XCR0_SSE) != 0 && !readPart(linear, XMM_OFFSET, xmmCount() << 4)) return;
  if ((present & XCR0_AVX) != 0 && !readPart(linear, AVX_OFFSET, xmmCount() << 4)) return;
  let pkru: u32 = 0;
  if ((present & XCR0_PKRU) != 0) {
    const value = Linear.read<u32>(linearAt(linear, isCompacted ? compactedPkru(layout) : PKRU_OFFSET));
    if (faultPending()) return;
    if ((loaded & XCR0_PKRU) != 0) pkru = value;
  }
  const mxcsr = load<u32>(CPU + <usize>MXCSR_OFFSET, CPU_IMAGE);
  if (takesMxcsr && (mxcsr & ~MXCSR_MASK) != 0) {
    raiseGp();
    return;
  }
  if (takesMxcsr) cpu.mxcsr = mxcsr;
  else if (isCompacted && (requested & XCR0_SSE) != 0) cpu.mxcsr = MXCSR_INITIAL;
  if ((requested & XCR0_SSE) != 0) loadHalves(0, XMM_OFFSET, (loaded & XCR0_SSE) == 0);
  if ((requested & XCR0_AVX) != 0) loadHalves(16, AVX_OFFSET, (loaded & XCR0_AVX) == 0);
  if ((loaded & XCR0_X87) != 0) getLegacyX87(Op.size(record) == 8);
  else if ((requested & XCR0_X87) != 0) initializeX87();
  if ((requested & XCR0_PKRU) != 0) setPkru(pkru);
}

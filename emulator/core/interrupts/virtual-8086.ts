/**
 * Virtual-8086 mode's extensions and protected mode's virtual interrupts: the virtual interrupt flag in the place of IF, and
 * software interrupts that stay in the 8086 program. SDM Vol. 3B, "8086 Emulation".
 */
import {
  CR4_PVI,
  CR4_VME,
  FLAGS_ARITHMETIC,
  FLAG_DF,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
} from "../spec/architecture";
import { CS, RSP, TR, cpu, getGpr, setGpr } from "../state/cpu";
import { getFlags } from "../state/flags";
import { isVirtual8086, segBase, segLimit, segRights, segSelector, updateMode } from "../state/mode";
import { loadRealSegment } from "../mmu/descriptors";
import { Linear, System } from "../mmu/linear";
import { faultPending, raiseGp } from "./raise";
import { pushValue, setFlagsMasked } from "../instructions/stack";

/** Place of the I/O map's base in a TSS, and bytes of the redirection map before it. */
const IO_MAP_BASE: u32 = 102;
const REDIRECTION_BYTES: u32 = 32;
/** A 32-bit TSS, by the type in TR's rights. */
const WIDE_TSS: u64 = 8;

/** IOPL is below 3: what depends on IF is the monitor's, or goes to VIF. */
export function isIoplBelow3(): bool {
  return (cpu.rflags & FLAG_IOPL) != FLAG_IOPL;
}

/** In virtual-8086 mode with IOPL below 3: VIF stands for IF. */
export function hasVirtualFlags(): bool {
  return (cpu.cr4 & CR4_VME) != 0;
}

/** CLI and STI at a CPL above IOPL act on VIF. */
export function hasVirtualIf(): bool {
  return isVirtual8086() ? hasVirtualFlags() : cpu.cpl == 3 && (cpu.cr4 & CR4_PVI) != 0;
}

/** FLAGS as the 8086 program sees them: IOPL 3, and VIF as IF. */
export function virtualFlags(): u64 {
  const flags = getFlags();
  return (flags & ~FLAG_IF) | FLAG_IOPL | ((flags & FLAG_VIF) != 0 ? FLAG_IF : 0);
}

/** May the 8086 program load these FLAGS? Neither the trap flag nor, with an interrupt in waiting, IF. False: #GP(0). */
export function areVirtualFlagsLegal(image: u64): bool {
  if ((image & FLAG_TF) == 0 && ((image & FLAG_IF) == 0 || (cpu.rflags & FLAG_VIP) == 0)) return true;
  raiseGp();
  return false;
}

/** Loads FLAGS that are legal: IF goes to VIF, IOPL stays. */
export function loadVirtualFlags(image: u64): void {
  const virtual: u64 = (image & FLAG_IF) != 0 ? FLAG_VIF : 0;
  const writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
  setFlagsMasked((image & writable) | virtual, writable | FLAG_VIF);
}

/**
 * Does INT n in virtual-8086 mode go to the 8086 program's own handler? Check `faultPending()`: the map in the TSS may be
 * out of reach.
 */
export function isRedirected(vector: u32): bool {
  if ((cpu.cr4 & CR4_VME) == 0) return false;
  const limit = segLimit(TR);
  if ((segRights(TR) & WIDE_TSS) == 0 || limit < IO_MAP_BASE + 1) {
    raiseGp();
    return false;
  }
  const base = <u32>System.read<u16>(segBase(TR) + IO_MAP_BASE);
  if (faultPending()) return false;
  const at = base - REDIRECTION_BYTES + (vector >> 3);
  if (at > limit) {
    raiseGp();
    return false;
  }
  const bits = <u32>System.read<u8>(segBase(TR) + at);
  return !faultPending() && ((bits >> (vector & 7)) & 1) == 0;
}

/** Methods 5 and 6 of "Software Interrupt Handling Methods While in Virtual-8086 Mode". */
export function deliverRedirected(vector: u32, nextRip: u64): void {
  const isVirtual = isIoplBelow3();
  const flags = isVirtual ? virtualFlags() : getFlags();
  const entry = Linear.read<u32>((<u64>vector) << 2);
  if (faultPending()) return;
  const rsp = getGpr(RSP);
  pushValue<u16>(<u16>flags);
  if (!faultPending()) pushValue<u16>(<u16>segSelector(CS));
  if (!faultPending()) pushValue<u16>(<u16>nextRip);
  if (faultPending()) {
    setGpr(RSP, rsp);
    return;
  }
  cpu.rflags &= ~(FLAG_TF | (isVirtual ? FLAG_VIF : FLAG_IF));
  loadRealSegment(CS, entry >> 16);
  cpu.rip = <u64>(entry & 0xffff);
  updateMode();
}

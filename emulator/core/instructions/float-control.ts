/**
 * MXCSR around a SIMD floating-point instruction: when the host's own arithmetic may be used, and what follows from the exceptions that
 * an instruction found. SDM Vol. 1, "SIMD Floating-Point Exceptions" and "MXCSR Control and Status Register".
 *
 * An instruction calls `begin`, computes all elements, and writes its destination unless `fails`.
 */
import { CR4_OSXMMEXCPT, VECTOR_UD, VECTOR_XM } from "../spec/architecture";
import {
  FLOAT_ALL,
  FLOAT_OE,
  FLOAT_PE,
  FLOAT_PRE_COMPUTATION,
  FLOAT_UE,
  controlOfMxcsr,
} from "../float/environment";
import { raise, raiseGp } from "../interrupts/raise";
import { cpu } from "../state/cpu";

/** RC, all masks, and the sticky PE. */
const FAST_MASK: u32 = 0x7fa0;
/** To nearest, all exceptions masked, and PE already set: an inexact result changes nothing. */
const FAST: u32 = 0x1fa0;
const MASKS_SHIFT: u32 = 7;
/** Exceptions that only a result shows. */
const POST_COMPUTATION: u32 = FLOAT_OE | FLOAT_UE | FLOAT_PE;
/** Beside the exceptions in `Cpu.floatFlags`: they come from steps that `endStep` has settled. */
const SETTLED: u32 = 1 << 31;

/** Exceptions to report of those that one computation found. With an unmasked one known before, there was no result. */
function reported(flags: u32): u32 {
  const unmasked = flags & ~(cpu.mxcsr >> MASKS_SHIFT) & FLOAT_ALL;
  return (unmasked & FLOAT_PRE_COMPUTATION) != 0 ? flags & ~POST_COMPUTATION : flags;
}

/** Was one of these exceptions unmasked? */
function isStopped(flags: u32): bool {
  return (flags & ~(cpu.mxcsr >> MASKS_SHIFT) & FLOAT_ALL) != 0;
}

export class Float {
  @inline static begin(): void {
    cpu.floatFlags = 0;
  }

  /** Records the exceptions found. True when one is unmasked: its fault is pending and nothing may be written. */
  @inline static fails(record: usize): bool {
    return cpu.floatFlags != 0 && settle(record);
  }

  /**
   * May an operation be left to WebAssembly's, when operands and result are normal numbers or zeros? DAZ and FTZ make no
   * difference then.
   */
  @inline static isFast(): bool {
    return (cpu.mxcsr & FAST_MASK) == FAST;
  }

  /** Before the first call of the software operations. */
  @inline static prepare(): void {
    cpu.floatControl = controlOfMxcsr(cpu.mxcsr);
  }

  /**
   * Ends a step of an instruction whose operations follow each other (DPPS); `Cpu.floatFlags` has been 0 at its begin, and
   * `before` is what it was after the step before. True when an unmasked exception ends the instruction here.
   */
  static endStep(before: u32): bool {
    const flags = reported(cpu.floatFlags);
    cpu.floatFlags = before | flags | SETTLED;
    return isStopped(flags);
  }

  /** Rounding control, one of ROUND_*. */
  @inline static rounding(): u32 {
    return (cpu.mxcsr >> 13) & 3;
  }

  /** Is PE masked and already set, so that nobody notices an inexact result? */
  @inline static isInexactQuiet(): bool {
    return (cpu.mxcsr & 0x1020) == 0x1020;
  }

  /** Normal, or zero. */
  @inline static isOrdinary64(bits: u64): bool {
    const magnitude = bits << 1;
    return magnitude - ((<u64>1) << 53) < (<u64>2046) << 53 || magnitude == 0;
  }
  /** Normal, and above the smallest normal numbers, which rounding may have reached from below. */
  @inline static isSafe64(bits: u64): bool {
    return (bits << 1) - ((<u64>2) << 53) < (<u64>2045) << 53;
  }
  @inline static isOrdinary32(bits: u32): bool {
    const magnitude = bits << 1;
    return magnitude - (1 << 24) < (<u32>254) << 24 || magnitude == 0;
  }
  @inline static isSafe32(bits: u32): bool {
    return (bits << 1) - (2 << 24) < (<u32>253) << 24;
  }
}

function settle(record: usize): bool {
  const found = cpu.floatFlags;
  const flags = (found & SETTLED) != 0 ? found & FLOAT_ALL : reported(found);
  const isFault = isStopped(flags);
  cpu.mxcsr |= flags;
  if (!isFault) return false;
  cpu.record = <u32>record;
  raise((cpu.cr4 & CR4_OSXMMEXCPT) != 0 ? VECTOR_XM : VECTOR_UD);
  return true;
}

/** Bits of MXCSR that exist: flags, DAZ, masks, rounding control, FTZ. */
export const MXCSR_MASK: u32 = 0xffff;

/** LDMXCSR. A flag and its mask do not raise an exception until an instruction finds it again. */
export function loadMxcsr(value: u32): void {
  if ((value & ~MXCSR_MASK) != 0) {
    raiseGp();
    return;
  }
  cpu.mxcsr = value;
}

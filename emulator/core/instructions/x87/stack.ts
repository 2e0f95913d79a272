/**
 * The register stack, status word and exceptions that all x87 instructions share. SDM Vol. 1, "x87 FPU Instruction
 * Operands" to "x87 FPU Exception Handling".
 *
 * An operation runs in steps. `begin` clears what it reports. It finds its flags (`Cpu.floatFlags`, `Cpu.floatRoundedUp`) and its
 * result. When `isStopped` says that an exception known before the computation is unmasked, registers, TOP and memory stay as they
 * are. `finish` puts flags and C1 into the status word in any case. An unmasked exception is only pending then: the
 * next waiting instruction raises #MF (state/media.ts).
 *
 * Nothing here can fault or reach the host, so that handlers that only call this class go on directly (handler-shape.ts).
 */
import { CPU_X87 } from "../../layout.generated";
import { CPU, CS, cpu } from "../../state/cpu";
import { segSelector } from "../../state/mode";
import { updateMedia } from "../../state/media";
import { Address } from "../../mmu/segmented";
import { EA_SLOW, R_EA, R_END, R_IMM, R_LENGTH } from "../../records/record";
import { FLOAT_IE, FLOAT_PRE_COMPUTATION } from "../../float/environment";
import { invalidExtended } from "../../float/extended";
import { STATUS_B, STATUS_C1, STATUS_ES, STATUS_EXCEPTIONS, STATUS_SF, STATUS_TOP } from "../../spec/x87";

export class Stack {
  /** Physical number of ST(i). */
  @inline static physical(i: u32): u32 {
    return ((cpu.x87Status >> 11) + i) & 7;
  }
  /** Wasm offset of ST(i). */
  @inline static slot(i: u32): usize {
    return CPU + CPU_X87 + ((<usize>(cpu.x87Status >> 7) + ((<usize>i) << 4)) & 0x70);
  }
  @inline static isEmpty(i: u32): bool {
    return ((cpu.x87Tag >> Stack.physical(i)) & 1) == 0;
  }
  @inline static exponent(i: u32): u32 {
    return <u32>load<u16>(Stack.slot(i), 8);
  }
  @inline static significand(i: u32): u64 {
    return load<u64>(Stack.slot(i));
  }
  /** Writes ST(i), which is valid then. */
  @inline static set(i: u32, exponent: u32, significand: u64): void {
    const slot = Stack.slot(i);
    store<u64>(slot, significand);
    store<u16>(slot, <u16>exponent, 8);
    cpu.x87Tag |= 1 << Stack.physical(i);
  }
  /** TOP is decremented; the new ST(0) must be written. */
  @inline static decrementTop(): void {
    cpu.x87Status = (cpu.x87Status & ~STATUS_TOP) | ((cpu.x87Status - 0x800) & STATUS_TOP);
  }
  @inline static incrementTop(): void {
    cpu.x87Status = (cpu.x87Status & ~STATUS_TOP) | ((cpu.x87Status + 0x800) & STATUS_TOP);
  }
  @inline static pop(): void {
    cpu.x87Tag &= ~(1 << Stack.physical(0));
    Stack.incrementTop();
  }
  /** Pushes onto an empty register. */
  @inline static push(exponent: u32, significand: u64): void {
    Stack.decrementTop();
    Stack.set(0, exponent, significand);
  }

  @inline static begin(): void {
    cpu.floatFlags = 0;
    cpu.floatRoundedUp = 0;
  }
  /** Is an exception unmasked that leaves no result? */
  @inline static isStopped(): bool {
    return (cpu.floatFlags & ~cpu.x87Control & FLOAT_PRE_COMPUTATION) != 0;
  }
  /** Adds the operation's flags to the status word; C1 says whether the result was rounded up. */
  @inline static finish(): void {
    const flags = cpu.floatFlags;
    cpu.x87Status = (cpu.x87Status & ~STATUS_C1) | (cpu.floatRoundedUp << 9) | flags;
    if ((flags & ~cpu.x87Control & STATUS_EXCEPTIONS) != 0) markPending();
  }
}

/** An unmasked exception is pending from now on. */
function markPending(): void {
  cpu.x87Status |= STATUS_ES | STATUS_B;
  updateMedia();
}

/** After the status or control word was loaded: ES and B follow flags and masks. */
export function updatePending(): void {
  const isPending = (cpu.x87Status & ~cpu.x87Control & STATUS_EXCEPTIONS) != 0;
  cpu.x87Status = isPending ? cpu.x87Status | STATUS_ES | STATUS_B : cpu.x87Status & ~(STATUS_ES | STATUS_B);
  updateMedia();
}

/** An empty register was to be read: IE and SF, C1 clear. True: masked, the result is the indefinite NaN (`setIndefinite`). */
export function stackUnderflow(): bool {
  cpu.x87Status = (cpu.x87Status & ~STATUS_C1) | STATUS_SF | FLOAT_IE;
  if ((cpu.x87Control & FLOAT_IE) != 0) return true;
  markPending();
  return false;
}

/** A register that is not empty was to be pushed onto: IE, SF and C1. True: masked, and the indefinite NaN has been pushed. */
export function stackOverflow(): bool {
  cpu.x87Status |= STATUS_C1 | STATUS_SF | FLOAT_IE;
  if ((cpu.x87Control & FLOAT_IE) != 0) {
    Stack.decrementTop();
    setIndefinite(0);
    return true;
  }
  markPending();
  return false;
}

/** Writes the indefinite NaN to ST(i). */
export function setIndefinite(i: u32): void {
  const significand = invalidExtended();
  Stack.set(i, cpu.floatExponent, significand);
}

/** Instruction pointer and opcode of a non-control instruction, for FNSTENV and its like. */
export class Last {
  @inline static instruction(record: usize): void {
    cpu.x87CodeOffset = cpu.blockRip + <u64>(<u32>load<u16>(record, R_END) - <u32>load<u8>(record, R_LENGTH));
    cpu.x87CodeSelector = segSelector(CS);
    cpu.x87Opcode = <u32>load<u16>(record, R_IMM);
  }
  /** The same for an instruction with an operand in memory, at `linear`. */
  @inline static instructionAndOperand(record: usize, linear: u64): void {
    Last.instruction(record);
    const address = <u32>load<u8>(record, R_EA);
    // In flat segments the offset is the linear address.
    cpu.x87DataOffset = ((address >> 3) & EA_SLOW) == 0 ? linear : Address.effective(record);
    cpu.x87DataSelector = segSelector(address & 7);
  }
  /** The same for a store that an unmasked exception has kept from memory. */
  static suppressedStore(record: usize): void {
    Last.instructionAndOperand(record, Address.linearOnly(record));
  }
}

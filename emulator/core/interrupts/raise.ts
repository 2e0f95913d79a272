/** Faults are data: an instruction records one and returns; the run loop delivers it. */
import { cpu } from "../state/cpu";
import { VECTOR_GP, VECTOR_PF, VECTOR_UD } from "../spec/architecture";

// Values of Cpu.faultVector that are no vector.
export const NO_FAULT: i32 = -1;
/** A non-canonical address: #SS(0) through the stack segment, else #GP(0). Settled by the run loop. */
export const FAULT_NON_CANONICAL: i32 = -2;
/** The host asked for the access to be made again: nothing has been committed. */
export const FAULT_RETRY: i32 = -3;
/** A VM exit has been recorded in the VMCS. */
export const FAULT_VM_EXIT: i32 = -4;

/** An x87 exception is pending, and CR0.NE is 0: the instruction waits (state/media.ts). */
export const FAULT_FLOAT_ERROR: i32 = -5;

export function faultPending(): bool {
  return cpu.faultVector != NO_FAULT;
}

/** Records a fault without error code. */
export function raise(vector: i32): void {
  cpu.faultVector = vector;
  cpu.faultHasError = 0;
  cpu.faultError = 0;
  cpu.recordEnd = 0;
}

/** Records a fault with an error code. */
export function raiseWithError(vector: i32, error: u32): void {
  cpu.faultVector = vector;
  cpu.faultHasError = 1;
  cpu.faultError = error;
  cpu.recordEnd = 0;
}

export function raiseGp(error: u32 = 0): void {
  raiseWithError(VECTOR_GP, error);
}

export function raiseUd(): void {
  raise(VECTOR_UD);
}

export function raisePageFault(linear: u64, error: u32): void {
  cpu.cr2Pending = linear;
  raiseWithError(VECTOR_PF, error);
}

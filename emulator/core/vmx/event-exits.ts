/** Exits on exceptions, interrupts and triple faults. SDM Vol. 3C, "Other Causes of VM Exits". */
import * as X from "../spec/vmx";
import { VECTOR_DB, VECTOR_DF, VECTOR_PF } from "../spec/architecture";
import { cpu } from "../state/cpu";
import { INFO_NMI_UNBLOCKING, interruptionInfo, vmExit } from "./exit";
import { Vmcs } from "./vmcs";

/** Does the exception bitmap, with the page-fault mask and match, ask for an exit? */
function isIntercepted(vector: i32, error: u32): bool {
  const bitSet = (cpu.exceptionBitmap & (1 << vector)) != 0;
  if (vector != VECTOR_PF) return bitSet;
  const matches =
    (error & Vmcs.get32(X.VMCS_PAGE_FAULT_ERROR_MASK)) == Vmcs.get32(X.VMCS_PAGE_FAULT_ERROR_MATCH);
  return bitSet == matches;
}

/** "Exit Qualification for Debug Exceptions": B0 to B3, BD and BS; for #PF the linear address. */
function qualificationOf(vector: i32): u64 {
  if (vector == VECTOR_PF) return cpu.cr2Pending;
  if (vector != VECTOR_DB) return 0;
  const conditions = cpu.debugConditions & 0x600f;
  cpu.debugConditions = 0;
  return conditions;
}

/**
 * An exception, before it is delivered. `previous` is the event whose delivery raised it, or -1.
 * @returns true when it became a VM exit
 */
export function exitOnException(
  vector: i32,
  source: u32,
  hasError: bool,
  error: u32,
  previous: i32,
  previousSource: u32,
  previousHasError: bool,
  previousError: u32,
): bool {
  if (!isIntercepted(vector, error)) return false;
  cpu.deliveringVector = previous;
  cpu.deliveringSource = previousSource;
  cpu.deliveringHasError = previousHasError ? 1 : 0;
  cpu.deliveringError = previousError;
  vmExit(X.EXIT_REASON_EXCEPTION_NMI, qualificationOf(vector));
  cpu.deliveringVector = -1;
  let info = interruptionInfo(<u32>vector, source, hasError);
  // A fault of IRET, unless it is a double fault or was met while another event was delivered.
  if (cpu.iretUnblocked != 0 && vector != VECTOR_DF && previous < 0) info |= INFO_NMI_UNBLOCKING;
  Vmcs.set(X.VMCS_EXIT_INTERRUPTION_INFO, <u64>info);
  if (hasError) Vmcs.set(X.VMCS_EXIT_INTERRUPTION_ERROR_CODE, <u64>error);
  if (source >= 5) Vmcs.set(X.VMCS_EXIT_INSTRUCTION_LENGTH, <u64>cpu.softwareLength);
  return true;
}

export function exitOnTripleFault(): bool {
  vmExit(X.EXIT_REASON_TRIPLE_FAULT, 0);
  return true;
}

/** An external interrupt at a boundary; `vector` is -1 when it has not been acknowledged. */
export function exitOnInterrupt(vector: i32): void {
  vmExit(X.EXIT_REASON_EXTERNAL_INTERRUPT, 0);
  if (vector >= 0) Vmcs.set(X.VMCS_EXIT_INTERRUPTION_INFO, <u64>interruptionInfo(<u32>vector, 0, false));
}

export function exitOnNmi(): void {
  vmExit(X.EXIT_REASON_EXCEPTION_NMI, 0);
  Vmcs.set(X.VMCS_EXIT_INTERRUPTION_INFO, <u64>interruptionInfo(2, 2, false));
}

/**
 * VM exits that are taken behind the instruction, or VM entry, that caused them, before the next one: monitor trap flag, TPR below
 * threshold, APIC write, EOI-induced. SDM Vol. 3C, "APIC-Write VM Exits" and the sections around it, "Monitor Trap Flag".
 */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { vmExit } from "./exit";

/** Bits of Cpu.trapExits, the most urgent lowest. */
export const TRAP_EXIT_APIC_WRITE: u32 = 1 << 0;
export const TRAP_EXIT_EOI: u32 = 1 << 1;
export const TRAP_EXIT_TPR: u32 = 1 << 2;
export const TRAP_EXIT_MTF: u32 = 1 << 3;

/** Asks for one; the running block ends behind the instruction. */
export function requestTrapExit(kind: u32, qualification: u32): void {
  cpu.trapExits |= kind;
  if (kind <= TRAP_EXIT_EOI) cpu.trapQualification = qualification;
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

/** Takes the most urgent one; the others are gone, but for what the next entry finds again. */
export function takeTrapExit(): void {
  const kinds = cpu.trapExits;
  cpu.trapExits = 0;
  if ((kinds & TRAP_EXIT_APIC_WRITE) != 0) vmExit(X.EXIT_REASON_APIC_WRITE, <u64>cpu.trapQualification);
  else if ((kinds & TRAP_EXIT_EOI) != 0) vmExit(X.EXIT_REASON_VIRTUALIZED_EOI, <u64>cpu.trapQualification);
  else if ((kinds & TRAP_EXIT_TPR) != 0) vmExit(X.EXIT_REASON_TPR_BELOW_THRESHOLD, 0);
  else vmExit(X.EXIT_REASON_MONITOR_TRAP_FLAG, 0);
}

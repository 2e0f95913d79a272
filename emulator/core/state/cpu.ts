/** This instance's physical CPU: its block in the shared memory, behind an immutable imported base. */
import { CPU } from "../env";
import { Cpu, MACHINE, Machine } from "../layout.generated";

export { CPU };
export const cpu = changetype<Cpu>(CPU);
export const machine = changetype<Machine>(MACHINE);

/** Register numbers of the general registers. */
export const RAX: u32 = 0;
export const RCX: u32 = 1;
export const RDX: u32 = 2;
export const RBX: u32 = 3;
export const RSP: u32 = 4;
export const RBP: u32 = 5;
export const RSI: u32 = 6;
export const RDI: u32 = 7;

/** Segment registers, in the order of instruction encodings and of the VMCS. */
export const ES: u32 = 0;
export const CS: u32 = 1;
export const SS: u32 = 2;
export const DS: u32 = 3;
export const FS: u32 = 4;
export const GS: u32 = 5;
export const LDTR: u32 = 6;
export const TR: u32 = 7;

export function getGpr(index: u32): u64 {
  return load<u64>(CPU + ((<usize>index) << 3));
}

export function setGpr(index: u32, value: u64): void {
  store<u64>(CPU + ((<usize>index) << 3), value);
}

/** Writes a register at the operand size: 32-bit writes clear the upper half. */
export function setGprSized(index: u32, size: u32, value: u64): void {
  const at = CPU + ((<usize>index) << 3);
  if (size == 4) store<u64>(at, <u64>(<u32>value));
  else if (size == 8) store<u64>(at, value);
  else if (size == 2) store<u16>(at, <u16>value);
  else store<u8>(at, <u8>value);
}

// Values of Cpu.activity.
export const ACTIVE: u32 = 1;
export const HALTED: u32 = 2;
export const SHUTDOWN: u32 = 3;
export const WAIT_FOR_SIPI: u32 = 4;
/** Waiting in MWAIT. A VM exit saves it as active. */
export const MWAITING: u32 = 5;
/** An x87 instruction waits for an interrupt or IGNNE#: see state/media.ts. */
export const FLOAT_ERROR: u32 = 6;

// Bits of Cpu.attention, set atomically by any thread.
export const ATTENTION_INIT: u32 = 1 << 0;
export const ATTENTION_SIPI: u32 = 1 << 1;
export const ATTENTION_NMI: u32 = 1 << 2;
/** The local APIC's request register changed, or an external controller raised or lowered INTR. */
export const ATTENTION_INTERRUPT: u32 = 1 << 3;
/** Another agent changed page flags: drop fast write entries. */
export const ATTENTION_SHOOTDOWN: u32 = 1 << 4;
/** Leave `run` at the next boundary (host side wants the CPU). */
export const ATTENTION_STOP: u32 = 1 << 5;
/** A second NMI, before this CPU has seen the first. */
export const ATTENTION_NMI_AGAIN: u32 = 1 << 6;
/** FERR# or IGNNE# has changed. */
export const ATTENTION_FLOAT_ERROR: u32 = 1 << 7;

/** Stands for the CPU that asks for a shoot-down where a thread without one asks. */
export const NO_CPU: u32 = 0xffffffff;
/** Looks at another CPU's answer before sleeping between two looks, and how long that sleep is, in nanoseconds. */
export const SHOOTDOWN_SPINS: u32 = 64;
export const SHOOTDOWN_SLEEP: i64 = 50000;

// Why `run` returned (Cpu.stopReason).
export const STOP_BUDGET: u32 = 1;
export const STOP_HALTED: u32 = 2;
export const STOP_VM_EXIT: u32 = 3;
export const STOP_SHUTDOWN: u32 = 4;
export const STOP_REQUESTED: u32 = 5;
export const STOP_WAIT_FOR_SIPI: u32 = 6;
/** A host access asked for a retry: the instruction has not been executed. */
export const STOP_RETRY: u32 = 7;
/** From `enterAndRun` alone: a physical interrupt waits for the host; the guest has not been entered. */
export const STOP_HOST_INTERRUPT: u32 = 8;
/** And above, from `enterAndRun` alone: the entry failed. */
export const STOP_ENTRY_FAILED: u32 = 16;

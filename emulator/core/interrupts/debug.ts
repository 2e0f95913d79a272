/**
 * Debug registers: breakpoints on instructions, data and I/O. SDM Vol. 3B, "Debug Registers" and "Debug Exceptions".
 *
 * While any breakpoint is enabled the run loop goes instruction by instruction and the TLB keeps no data translations,
 * so that every access comes by here; `Cpu.breakpoints` says so, and is 0 otherwise.
 */
import { CPU_DR } from "../layout.generated";
import { CR4_DE, FLAG_RF } from "../spec/architecture";
import { CPU, CS, cpu } from "../state/cpu";
import { segBase } from "../state/mode";
import { flushAllContexts } from "../mmu/contexts";

/** Bits of Cpu.breakpoints: kinds that are enabled. */
const ON_INSTRUCTION: u32 = 1 << 0;
const ON_DATA: u32 = 1 << 1;
const ON_PORT: u32 = 1 << 2;

/** DR7's R/W fields. */
const EXECUTE: u32 = 0;
const WRITE: u32 = 1;
const PORT: u32 = 2;

/** Bits of DR6 beside those of the four breakpoints. */
export const DR6_BD: u64 = 1 << 13;
export const DR6_BS: u64 = 1 << 14;
export const DR6_BT: u64 = 1 << 15;

export function debugRegister(number: u32): u64 {
  return load<u64>(CPU + CPU_DR + ((<usize>number) << 3));
}

export function setDebugRegister(number: u32, value: u64): void {
  store<u64>(CPU + CPU_DR + ((<usize>number) << 3), value);
  // DR7 is guest state that exits save.
  cpu.guestStateChanged = 1;
}

const DR7_GD: u64 = 1 << 13;

/** What the #DB about to be delivered tells of: bits as in DR6. DR6 itself changes at delivery, after any exit it causes. */
export function noteDebugCondition(bits: u64): void {
  cpu.debugConditions |= bits;
}

/** #DB is delivered: DR6 tells of it (its bits of breakpoints of this exception alone), and general detect is off. */
export function applyDebugConditions(): void {
  setDebugRegister(6, (debugRegister(6) & ~(<u64>15)) | cpu.debugConditions);
  cpu.debugConditions = 0;
  if ((debugRegister(7) & DR7_GD) != 0) setDebugRegister(7, debugRegister(7) & ~DR7_GD);
}

function isEnabled(number: u32): bool {
  return ((debugRegister(7) >> (number << 1)) & 3) != 0;
}

function kindOf(number: u32): u32 {
  return (<u32>(debugRegister(7) >> (16 + (number << 2)))) & 3;
}

/** Bytes that a breakpoint covers: 1, 2, 8 or 4 by its LEN field. */
function lengthOf(number: u32): u64 {
  const field = (<u32>(debugRegister(7) >> (18 + (number << 2)))) & 3;
  return field == 0 ? 1 : field == 1 ? 2 : field == 2 ? 8 : 4;
}

/** After DR0–DR3, DR7 or CR4.DE changed. */
export function updateBreakpoints(): void {
  let kinds: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (!isEnabled(i)) continue;
    const kind = kindOf(i);
    if (kind == EXECUTE) kinds |= ON_INSTRUCTION;
    else if (kind != PORT) kinds |= ON_DATA;
    else if ((cpu.cr4 & CR4_DE) != 0) kinds |= ON_PORT;
  }
  if ((kinds & ON_DATA & ~cpu.breakpoints) != 0) flushAllContexts();
  cpu.breakpoints = kinds;
  cpu.leave = 1;
}

/** True when data accesses must all be seen. */
export function watchesData(): bool {
  return (cpu.breakpoints & ON_DATA) != 0;
}

/** Is there an instruction breakpoint at the next instruction, not suppressed by RF? Notes it in DR6. */
export function meetsInstructionBreakpoint(): bool {
  if ((cpu.breakpoints & ON_INSTRUCTION) == 0 || (cpu.rflags & FLAG_RF) != 0) return false;
  const linear = cpu.codeSize == 2 ? cpu.rip : (segBase(CS) + cpu.rip) & 0xffffffff;
  let hits: u64 = 0;
  for (let i: u32 = 0; i < 4; i++)
    if (isEnabled(i) && kindOf(i) == EXECUTE && debugRegister(i) == linear) hits |= 1 << i;
  if (hits == 0) return false;
  noteDebugCondition(hits);
  return true;
}

function overlaps(number: u32, address: u64, size: u32): bool {
  const length = lengthOf(number);
  const first = debugRegister(number) & ~(length - 1);
  return address < first + length && first < address + size;
}

/** An access of `size` bytes: data breakpoints trap behind the instruction. */
export function noteDataAccess(linear: u64, size: u32, isWrite: bool): void {
  for (let i: u32 = 0; i < 4; i++) {
    if (!isEnabled(i)) continue;
    const kind = kindOf(i);
    if (kind == EXECUTE || kind == PORT || (kind == WRITE && !isWrite)) continue;
    if (overlaps(i, linear, size)) cpu.debugHits |= 1 << i;
  }
}

/** The same for an I/O port. */
export function notePortAccess(port: u32, size: u32): void {
  if ((cpu.breakpoints & ON_PORT) == 0) return;
  for (let i: u32 = 0; i < 4; i++)
    if (isEnabled(i) && kindOf(i) == PORT && overlaps(i, <u64>port, size)) cpu.debugHits |= 1 << i;
}

/**
 * Performance counters: SDM Vol. 3B, "Architectural Performance Monitoring Version 1". There when the CPU model claims them (CPUID
 * leaf AH).
 *
 * Nothing is counted as it happens: what the core counts anyway is looked at when a counter is read, when the privilege
 * level changes, and, while a counter's overflow is to interrupt, at every boundary.
 *
 * Beside the architectural events (core and reference cycles, which tick alike while the processor is not halted, and
 * instructions) there are those of the page walker, with the numbers that they have on processors of the Haswell and Skylake
 * families: TLB misses of loads, stores and fetches, and the paging-structure entries that walks read.
 */
import { CPU_COUNTER_SEEN, CPU_COUNTER_SELECT, CPU_COUNTER_VALUE } from "../layout.generated";
import { performanceInterrupt } from "../interrupts/local-apic";
import { CPU, cpu } from "./cpu";
import { settleCount } from "./clock";

export const COUNTERS: u32 = 4;
const WIDTH_MASK: u64 = ((<u64>1) << 48) - 1;

/** IA32_PERFEVTSELx. */
const SELECT_USR: u64 = 1 << 16;
const SELECT_OS: u64 = 1 << 17;
const SELECT_INT: u64 = 1 << 20;
const SELECT_EN: u64 = 1 << 22;
const SELECT_WRITABLE: u64 = 0xffffffff & ~((<u64>1) << 21);

/** Event select and unit mask, as in bits 15:0. */
const CORE_CYCLES: u32 = 0x003c;
const REFERENCE_CYCLES: u32 = 0x013c;
const INSTRUCTIONS: u32 = 0x00c0;
const LOAD_WALKS: u32 = 0x0108;
const STORE_WALKS: u32 = 0x0149;
const FETCH_WALKS: u32 = 0x0185;
/** PAGE_WALKER_LOADS: caches have no levels here, so any unit mask stands for all loads. */
const WALKER_LOADS: u32 = 0xbc;

/** While an overflow may interrupt, boundaries are at most so many instructions apart. */
export const ARMED_SLICE: u64 = 1000;

function eventCount(select: u64): u64 {
  const event = (<u32>select) & 0xffff;
  switch (event) {
    case CORE_CYCLES:
    case REFERENCE_CYCLES:
      return cpu.instructions * <u64>cpu.cyclesPerInstruction;
    case INSTRUCTIONS:
      return cpu.instructions;
    case LOAD_WALKS:
      return cpu.loadMisses;
    case STORE_WALKS:
      return cpu.storeMisses;
    case FETCH_WALKS:
      return cpu.fetchMisses;
    default:
      return (event & 0xff) == WALKER_LOADS ? cpu.walkReferences : 0;
  }
}

function field(array: usize, index: u32): usize {
  return CPU + array + ((<usize>index) << 3);
}

/** Between instructions: has what the counters depend on changed, or may one have overflowed? */
export function mustSettleCounters(): bool {
  return cpu.countersArmed != 0 || (cpu.countersUser != 0) != (cpu.cpl == 3);
}

/** Brings the counters up to date. The count of instructions is exact. */
export function settleCounters(): void {
  const counts = cpu.countersUser != 0 ? SELECT_USR : SELECT_OS;
  for (let index: u32 = 0; index < COUNTERS; index++) {
    if ((cpu.countersOn & (1 << index)) == 0) continue;
    const select = load<u64>(field(CPU_COUNTER_SELECT, index));
    const seen = field(CPU_COUNTER_SEEN, index);
    const now = eventCount(select);
    const passed = now - load<u64>(seen);
    store<u64>(seen, now);
    if ((select & counts) == 0) continue;
    const value = field(CPU_COUNTER_VALUE, index);
    const next = load<u64>(value) + passed;
    store<u64>(value, next & WIDTH_MASK);
    if (next > WIDTH_MASK && (select & SELECT_INT) != 0) performanceInterrupt();
  }
  cpu.countersUser = cpu.cpl == 3 ? 1 : 0;
}

export function counterValue(index: u32): u64 {
  settleCount();
  settleCounters();
  return load<u64>(field(CPU_COUNTER_VALUE, index));
}

/** WRMSR to IA32_PMCx: bits 31:0, sign-extended. */
export function setCounterValue(index: u32, value: u64): void {
  settleCount();
  settleCounters();
  store<u64>(field(CPU_COUNTER_VALUE, index), (<u64>(<i64>(<i32>value))) & WIDTH_MASK);
}

export function counterSelect(index: u32): u64 {
  return load<u64>(field(CPU_COUNTER_SELECT, index));
}

/** WRMSR to IA32_PERFEVTSELx. False: a reserved bit is set. */
export function setCounterSelect(index: u32, value: u64): bool {
  if ((value & ~SELECT_WRITABLE) != 0) return false;
  settleCount();
  settleCounters();
  store<u64>(field(CPU_COUNTER_SELECT, index), value);
  store<u64>(field(CPU_COUNTER_SEEN, index), eventCount(value));
  const bit: u32 = 1 << index;
  const isOn = (value & SELECT_EN) != 0;
  cpu.countersOn = isOn ? cpu.countersOn | bit : cpu.countersOn & ~bit;
  const isArmed = isOn && (value & SELECT_INT) != 0;
  cpu.countersArmed = isArmed ? cpu.countersArmed | bit : cpu.countersArmed & ~bit;
  cpu.leave = 1;
  cpu.recordEnd = 0;
  return true;
}

/** Power-on alone: SDM Vol. 3A, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
export function resetCounters(): void {
  for (let index: u32 = 0; index < COUNTERS; index++) {
    store<u64>(field(CPU_COUNTER_SELECT, index), 0);
    store<u64>(field(CPU_COUNTER_VALUE, index), 0);
  }
  cpu.countersOn = 0;
  cpu.countersArmed = 0;
  cpu.countersUser = 0;
}

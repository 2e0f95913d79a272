/**
 * Where everything lies in the one shared memory.
 *
 *   0            unused (a null address faults in tests), then the core's constant data
 *   MACHINE      machine header: sizes and offsets that every CPU reads
 *   CPU 0 …      per CPU: state block, TLBs, jump cache, block index, record cache
 *   page info    16 bytes per page of RAM: which parts hold decoded code, who wants to know of writes
 *   state        devices, hypervisor, event queue (StateAllocator)
 *   RAM          at the very top: an overrun traps. Behind it the firmware's ROM, where the machine has one
 */
import { CpuStruct } from "./cpu.ts";
import { struct, u32, u64 } from "./struct.ts";

export const PAGE = 4096;
export const WASM_PAGE = 65536;

/** First byte after the core's constant data. `asc` must stay below it; a test holds that. */
export const MACHINE = 0x100000;

/** {codeMask u64: one bit per 64 bytes that hold decoded code; flags u32: PAGE_*; reserved u32} */
export const PAGE_INFO_SIZE = 16;

/** What every CPU of the machine reads; written once at creation, except the lock words and the attribute map. */
export const MachineStruct = struct("Machine", {
  /** Wasm offset of machine-physical address 0. */
  ramBase: u32,
  /** Bytes of RAM below the PCI hole. */
  lowRam: u32,
  /** Bytes of RAM from 4 GiB upwards. */
  highRam: u32,
  /** Wasm offset and size of the firmware's ROM, which ends at 4 GiB; 0 bytes: there is none. */
  romBase: u32,
  romBytes: u32,
  /**
   * Where there is a ROM: bit n says that reads of the n-th 16 KiB from C0000H reach RAM, not ROM. What follows from the host
   * bridge's registers, as the bits of `shadowWrites` do.
   */
  shadowReads: u32,
  /** Bit n: writes reach RAM, and are not lost. */
  shadowWrites: u32,
  pageInfo: u32,
  cpuCount: u32,
  cpuBase: u32,
  cpuStride: u32,
  /** 1: a worker per CPU, wall time. */
  parallel: u32,
  stateBase: u32,
  stateEnd: u32,
  memoryEnd: u32,
  /** Lock of LOCKed accesses that cross an alignment boundary. */
  splitLock: u32,
  /** Bumped whenever a page's flags change, for diagnostics. */
  flagChanges: u64,
});

/** Entries of each of the three TLB arrays, and of the jump cache and block index. */
export const TLB_ENTRIES = 4096;
export const TLB_ENTRY_SIZE = 16;
export const JUMP_ENTRIES = 4096;
export const JUMP_ENTRY_SIZE = 16;
export const BLOCK_INDEX_ENTRIES = 16384;

const align = (value: number, to: number): number => Math.ceil(value / to) * to;

const tlbBytes = TLB_ENTRIES * TLB_ENTRY_SIZE;
export const CPU_TLB_READ = align(CpuStruct.size, PAGE);
export const CPU_TLB_WRITE = CPU_TLB_READ + tlbBytes;
export const CPU_TLB_EXECUTE = CPU_TLB_WRITE + tlbBytes;
export const CPU_JUMP_CACHE = CPU_TLB_EXECUTE + tlbBytes;
export const CPU_BLOCK_INDEX = CPU_JUMP_CACHE + JUMP_ENTRIES * JUMP_ENTRY_SIZE;
export const CPU_RECORDS = CPU_BLOCK_INDEX + BLOCK_INDEX_ENTRIES * 4;

/** The plan of one machine's memory; all offsets in bytes. */
export interface MemoryPlan {
  readonly cpus: number;
  readonly cpuBase: number;
  readonly cpuStride: number;
  readonly recordBytes: number;
  readonly pageInfo: number;
  readonly stateBase: number;
  readonly stateEnd: number;
  readonly ramBase: number;
  readonly lowRam: number;
  readonly highRam: number;
  /** The firmware's ROM; 0 without one. */
  readonly romBytes: number;
  readonly wasmPages: number;
}

/** RAM below 4 GiB ends here at the latest: above lie ECAM, BARs, IOAPIC, local APIC, HPET, firmware. */
export const LOW_RAM_LIMIT = 0xb0000000;

/**
 * Plans the memory of a machine.
 *
 * @param ramBytes machine-physical RAM, a multiple of 4 KiB
 * @param romBytes the firmware's ROM, a multiple of 4 KiB
 * @throws RangeError when the whole does not fit in 4 GiB less one wasm page
 */
export function planMemory(options: {
  cpus: number;
  ramBytes: number;
  stateBytes: number;
  recordBytes: number;
  romBytes?: number;
}): MemoryPlan {
  const { cpus, ramBytes, stateBytes, recordBytes, romBytes = 0 } = options;
  const cpuBase = align(MACHINE + MachineStruct.size, WASM_PAGE);
  const cpuStride = align(CPU_RECORDS + recordBytes, WASM_PAGE);
  const pageInfo = cpuBase + cpus * cpuStride;
  const stateBase = align(pageInfo + ((ramBytes + romBytes) / PAGE) * PAGE_INFO_SIZE, PAGE);
  const stateEnd = stateBase + align(stateBytes, PAGE);
  const memoryBytes = ramBytes + romBytes;
  const ramBase = align(stateEnd + memoryBytes, WASM_PAGE) - memoryBytes;
  const wasmPages = (ramBase + memoryBytes) / WASM_PAGE;
  if (wasmPages > 65535)
    throw new RangeError(
      `-m ${Math.floor(ramBytes / 1048576)}: RAM and state together must stay below 4096 MiB; ` +
        `state needs ${Math.ceil(ramBase / 1048576)} MiB`,
    );
  const lowRam = Math.min(ramBytes, LOW_RAM_LIMIT);
  return {
    cpus,
    cpuBase,
    cpuStride,
    recordBytes,
    pageInfo,
    stateBase,
    stateEnd: Math.max(stateEnd, stateBase),
    ramBase,
    lowRam,
    highRam: ramBytes - lowRam,
    romBytes,
    wasmPages,
  };
}

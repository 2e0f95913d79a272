/**
 * The fixed places of the physical address space that firmware tells the operating system about, and the memory map
 * made of them.
 */
import { ECAM_SIZE } from "../layout.ts";

/** RAM as the machine has it: `MemoryPlan` has these fields. */
export interface RamSize {
  /** Bytes of RAM from address 0; the area A0000H–FFFFFH has its PC meaning. */
  readonly lowRam: number;
  /** Bytes of RAM from 4 GiB upwards. */
  readonly highRam: number;
}

export const MIB = 0x100000;
export const FOUR_GIB = 0x100000000;

/** The extended BIOS data area: the last KiB of conventional memory. */
export const EBDA = 0x9fc00;
export const CONVENTIONAL_END = 0xa0000;
/** Firmware tables; scanned for the RSDP and the MP floating pointer. */
export const BIOS_AREA = 0xe0000;
export const BIOS_AREA_BYTES = 0x20000;

/** Buses that memory-mapped configuration space covers: 1 MiB each. */
export const ECAM_BUSES = ECAM_SIZE / MIB;
/** Memory that the host bridge forwards to PCI, up to the I/O APIC. */
export const PCI_WINDOW_BASE = 0xc0000000;

/** ACPI Specification, "Address Range Types". */
export const AddressRangeMemory = 1;
export const AddressRangeReserved = 2;

export interface MemoryRange {
  readonly base: number;
  readonly length: number;
  /** AddressRangeMemory or AddressRangeReserved. */
  readonly type: number;
}

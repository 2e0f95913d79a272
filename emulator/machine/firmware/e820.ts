/** The memory map as the BIOS function E820H reports it: ACPI Specification, "System Address Map Interfaces". */
import { ECAM_BASE, ECAM_SIZE, IOAPIC_BASE, LOCAL_APIC_BASE } from "../layout.ts";
import {
  AddressRangeMemory,
  AddressRangeReserved,
  BIOS_AREA,
  BIOS_AREA_BYTES,
  CONVENTIONAL_END,
  EBDA,
  FOUR_GIB,
  MIB,
} from "./memory-ranges.ts";
import type { MemoryRange, RamSize } from "./memory-ranges.ts";

/**
 * The map of a machine with this RAM: ascending, no two ranges overlapping. Linux uses ECAM only where the map or ACPI
 * reserves it.
 */
export function e820Map(ram: RamSize): MemoryRange[] {
  const memory = (base: number, end: number): MemoryRange => ({
    base,
    length: end - base,
    type: AddressRangeMemory,
  });
  const reserved = (base: number, length: number): MemoryRange => ({
    base,
    length,
    type: AddressRangeReserved,
  });
  const ranges = [memory(0, Math.min(ram.lowRam, EBDA))];
  if (ram.lowRam > EBDA) ranges.push(reserved(EBDA, CONVENTIONAL_END - EBDA));
  ranges.push(reserved(BIOS_AREA, BIOS_AREA_BYTES));
  if (ram.lowRam > MIB) ranges.push(memory(MIB, ram.lowRam));
  ranges.push(
    reserved(ECAM_BASE, ECAM_SIZE),
    reserved(IOAPIC_BASE, 0x1000),
    reserved(LOCAL_APIC_BASE, 0x1000),
  );
  if (ram.highRam > 0) ranges.push(memory(FOUR_GIB, FOUR_GIB + ram.highRam));
  return ranges;
}

/** mem_lower of multiboot and CMOS: KiB of conventional memory. */
export const conventionalKib = (ram: RamSize): number => Math.floor(Math.min(ram.lowRam, EBDA) / 1024);

/** mem_upper of multiboot: KiB of contiguous RAM from 1 MiB. */
export const extendedKib = (ram: RamSize): number => Math.max(0, Math.floor((ram.lowRam - MIB) / 1024));

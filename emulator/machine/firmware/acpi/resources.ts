/** Resource descriptors: ACPI Specification, "Resource Data Types for ACPI". */
import { TableWriter, concatenate } from "../../table-writer.ts";
import { buffer } from "./aml.ts";
import type { Aml } from "./aml.ts";

/** A resource template: descriptors, then the end tag with its checksum byte 0 ("treated as if it is correct"). */
export const resourceTemplate = (...descriptors: Uint8Array[]): Aml =>
  buffer(concatenate([...descriptors, Uint8Array.of(0x79, 0)]));

/** "IRQ Descriptor", two-byte form: ISA interrupts, edge-triggered, active high, not shared. */
export function irq(mask: number): Uint8Array {
  return Uint8Array.of(0x22, mask & 0xff, mask >> 8);
}

/** Byte offset of the mask in an IRQ descriptor. */
export const IRQ_MASK_OFFSET = 1;

/** "IRQ Descriptor", three-byte form: level-triggered, active low, shared: what a PIRQ is at the 8259 pair. */
export function irqLevelShared(mask: number): Uint8Array {
  return Uint8Array.of(0x23, mask & 0xff, mask >> 8, 0x18);
}

/** "I/O Port Descriptor", 16-bit decode, at a fixed place. */
export function ioPorts(base: number, count: number, alignment = 1): Uint8Array {
  return new TableWriter(8).u8(0, 0x47).u8(1, 1).u16(2, base).u16(4, base).u8(6, alignment).u8(7, count)
    .bytes;
}

/** "32-Bit Fixed Memory Range Descriptor", writable. */
export function memory32Fixed(base: number, length: number): Uint8Array {
  return new TableWriter(12).u8(0, 0x86).u16(1, 9).u8(3, 1).u32(4, base).u32(8, length).bytes;
}

/** "Extended Interrupt Descriptor" of one interrupt: consumer, level-triggered, active high, shared. */
export function interruptLevelHighShared(gsi: number): Uint8Array {
  return new TableWriter(9).u8(0, 0x89).u16(1, 6).u8(3, 0x09).u8(4, 1).u32(5, gsi).bytes;
}

const RESOURCE_MEMORY = 0;
const RESOURCE_IO = 1;
const RESOURCE_BUS_NUMBER = 2;
/** General flags: producer, positive decode, minimum and maximum fixed. */
const PRODUCER_FIXED = 0x0c;

/** "Word Address Space Descriptor" of bus numbers that a bridge produces. */
export function busNumbers(first: number, last: number): Uint8Array {
  return addressSpace16(RESOURCE_BUS_NUMBER, 0, first, last);
}

/** "Word Address Space Descriptor" of I/O ports that a bridge forwards, ISA and non-ISA ranges. */
export function ioWindow(first: number, last: number): Uint8Array {
  return addressSpace16(RESOURCE_IO, 3, first, last);
}

function addressSpace16(type: number, typeFlags: number, first: number, last: number): Uint8Array {
  return new TableWriter(16)
    .u8(0, 0x88)
    .u16(1, 13)
    .u8(3, type)
    .u8(4, PRODUCER_FIXED)
    .u8(5, typeFlags)
    .u16(8, first)
    .u16(10, last)
    .u16(14, last - first + 1).bytes;
}

/** "DWord Address Space Descriptor" of memory that a bridge forwards: read-write, not cacheable. */
export function memoryWindow(first: number, last: number): Uint8Array {
  return new TableWriter(26)
    .u8(0, 0x87)
    .u16(1, 23)
    .u8(3, RESOURCE_MEMORY)
    .u8(4, PRODUCER_FIXED)
    .u8(5, 1)
    .u32(10, first)
    .u32(14, last)
    .u32(22, last - first + 1).bytes;
}

/**
 * What firmware leaves in memory, for boots without firmware: BIOS data area, the real-mode interrupt table,
 * ACPI tables, MP table, and the memory map. No BIOS service is provided.
 */
import type { BootSegment } from "../loaders/boot-memory.ts";
import type { PcTimers } from "../pc.ts";
import { COM1_PORT } from "../layout.ts";
import { TableWriter } from "../table-writer.ts";
import { RSDP_BYTES, buildAcpiTables } from "./acpi/tables.ts";
import { conventionalKib, e820Map } from "./e820.ts";
import { BIOS_AREA, BIOS_AREA_BYTES, EBDA, MIB } from "./memory-ranges.ts";
import type { MemoryRange, RamSize } from "./memory-ranges.ts";
import { INTERRUPT_HANDLERS, interruptTable } from "./interrupt-table.ts";
import { MP_MAX_CPUS, buildMpTable } from "./mptable.ts";

export interface FirmwareOptions {
  readonly ram: RamSize;
  readonly cpus: number;
  /** Timers that a PC may be without; by default both. */
  readonly timers?: PcTimers;
  /** CPUID.1:EAX and EDX, for the MP table. */
  readonly signature: number;
  readonly featureFlags: number;
  readonly pmBase?: number;
  readonly isaBridgeDevice?: number;
  readonly vga?: boolean;
  readonly keyboardAndMouse?: boolean;
}

export interface Firmware {
  /** To be written to RAM before the boot image; apart from it, since images may not lie where these do. */
  readonly segments: readonly BootSegment[];
  readonly memoryMap: readonly MemoryRange[];
  /** Physical address of the RSDP, and what is there. */
  readonly rsdp: number;
  readonly rsdpBytes: Uint8Array;
}

/** IBM PC/AT BIOS data area, at 400H. */
const BDA = 0x400;
const BDA_BYTES = 0x100;
const BDA_COM1 = 0x00;
const BDA_EBDA_SEGMENT = 0x0e;
const BDA_EQUIPMENT = 0x10;
const BDA_MEMORY_KIB = 0x13;
/** Equipment word: bits 11:9 are the number of serial ports. */
const EQUIPMENT_ONE_SERIAL_PORT = 1 << 9;

/** F000:FFF0, where a processor starts after reset: CLI; HLT; JMP to the HLT. */
const RESET_CODE = Uint8Array.of(0xfa, 0xf4, 0xeb, 0xfd);
const RESET_VECTOR = 0xffff0;

/**
 * Builds everything.
 * @throws RangeError when RAM does not reach to 1 MiB, or the tables do not fit
 */
export function buildFirmware(options: FirmwareOptions): Firmware {
  const { ram, cpus, signature, featureFlags } = options;
  if (ram.lowRam < MIB) throw new RangeError(`RAM of ${ram.lowRam} bytes: firmware tables need 1 MiB`);
  const bda = new TableWriter(BDA_BYTES)
    .u16(BDA_COM1, COM1_PORT)
    .u16(BDA_EBDA_SEGMENT, EBDA >> 4)
    .u16(BDA_EQUIPMENT, EQUIPMENT_ONE_SERIAL_PORT)
    .u16(BDA_MEMORY_KIB, conventionalKib(ram));
  const acpi = buildAcpiTables(options);
  const segments = [
    segment(0, interruptTable()),
    segment(BDA, bda.bytes),
    // The first byte is the area's size in KiB.
    segment(EBDA, Uint8Array.of(1)),
    segment(acpi.rsdp, acpi.bytes),
    ...INTERRUPT_HANDLERS.map(([physical, code]) => segment(physical, code)),
    segment(RESET_VECTOR, RESET_CODE),
  ];
  if (cpus <= MP_MAX_CPUS) {
    // The second half of the BIOS area is where the MP specification lets systems look.
    const at = BIOS_AREA + BIOS_AREA_BYTES / 2;
    segments.push(segment(at, buildMpTable({ cpus, signature, featureFlags }, at)));
  }
  return {
    segments,
    memoryMap: e820Map(ram),
    rsdp: acpi.rsdp,
    rsdpBytes: acpi.bytes.subarray(0, RSDP_BYTES),
  };
}

const segment = (physical: number, bytes: Uint8Array): BootSegment => ({
  physical,
  bytes,
  size: bytes.length,
});

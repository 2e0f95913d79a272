/**
 * The ACPI tables of the board: ACPI Specification 6.x, chapter "ACPI Software Programming Model". FADT in the form of
 * ACPI 2.0 (revision 3), MADT, MCFG ("PCI Firmware Specification", "MCFG Table"), DSDT, FACS.
 */
import {
  APMC_ACPI_DISABLE,
  APMC_ACPI_ENABLE,
  GP_STS,
  PM1_CNT,
  PM1_STS,
  PM_TMR,
  RCR_RCPU,
  RCR_SRST,
} from "../../../../devices/acpi/pm-spec.ts";
import { PIRQ_IRQ } from "../../../../devices/pci/firmware-setup.ts";
import {
  CAPABILITIES as HPET_CAPABILITIES,
  COUNTER_HZ as HPET_HZ,
} from "../../../../devices/timer/hpet-spec.ts";
import type { PcTimers } from "../../pc.ts";
import { TableWriter, concatenate } from "../../table-writer.ts";
import {
  ECAM_BASE,
  HPET_BASE,
  IOAPIC_BASE,
  LOCAL_APIC_BASE,
  PIT_GSI,
  PIT_IRQ,
  PM_BASE,
  SCI_IRQ,
  SLOT_PIIX,
} from "../../layout.ts";
import { BIOS_AREA, BIOS_AREA_BYTES, ECAM_BUSES } from "../memory-ranges.ts";
import { buildDsdtAml } from "./dsdt.ts";

export interface AcpiOptions {
  /** CPUs; their APIC IDs are 0 to `cpus` - 1. */
  readonly cpus: number;
  /** First port of the PM block; the board's by default. */
  readonly pmBase?: number;
  /** Device number of the PIIX3 on bus 0; the board's by default. */
  readonly isaBridgeDevice?: number;
  /** The board has a VGA, and a keyboard and a mouse. */
  readonly vga?: boolean;
  readonly keyboardAndMouse?: boolean;
  /** Timers that a PC may be without; by default both. */
  readonly timers?: PcTimers;
}

export interface AcpiTables {
  /** Physical address of the RSDP. */
  readonly rsdp: number;
  /** Where each table lies. */
  readonly addresses: Readonly<Record<string, number>>;
  /** Contents of RAM from `rsdp` on. */
  readonly bytes: Uint8Array;
}

/** Where a pointer lies that has been written as an absolute address, and how many bytes it has. */
export interface AcpiPointer {
  readonly at: number;
  readonly size: 4 | 8;
}

/** The tables at a base that may still move. */
export interface AcpiLayout {
  /** Contents from the base on; the RSDP comes first. */
  readonly area: Uint8Array;
  readonly rsdpBytes: number;
  readonly addresses: Readonly<Record<string, number>>;
  /** Offsets of all pointers to tables. */
  readonly pointers: readonly AcpiPointer[];
  /** The tables that hold pointers: their checksums depend on where they lie. */
  readonly tables: readonly { readonly at: number; readonly length: number }[];
}

/** Offset of a table's checksum. */
export const ACPI_CHECKSUM_AT = 9;
const HEADER_BYTES = 36;
const OEM_ID = "EXITLS";
const OEM_TABLE_ID = "EXITLESS";
const CREATOR_ID = "EXTL";
const OEM_REVISION = 1;

const RSDP_V1_BYTES = 20;
export const RSDP_BYTES = 36;
const FADT_BYTES = 244;
const FACS_BYTES = 64;

const SMI_CMD = 0xb2;
const RESET_PORT = 0xcf9;
const CMOS_CENTURY = 0x32;
/** A latency that says "there is no such C state". */
const NO_C2 = 0xfff;
const NO_C3 = 0xfff;

/** IAPC_BOOT_ARCH: legacy devices, an 8042 (with what is behind it); no VGA. */
const LEGACY_DEVICES = 1 << 0;
const HAS_8042 = 1 << 1;
const VGA_NOT_PRESENT = 1 << 2;

/** Fixed feature flags. */
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
const SLP_BUTTON_NOT_FIXED = 1 << 5;
const RESET_REG_SUP = 1 << 10;

const SYSTEM_MEMORY = 0;
const SYSTEM_IO = 1;

const BOTH_TIMERS: PcTimers = { hpet: true, pit: true };
/** The least period of a periodic timer in ticks: 10 microseconds. */
const HPET_LEAST_TICKS = Math.ceil(HPET_HZ / 100_000);

/** MADT flags and entry types. */
const PCAT_COMPAT = 1;
const LOCAL_APIC = 0;
const IO_APIC = 1;
const INTERRUPT_SOURCE_OVERRIDE = 2;
const LOCAL_APIC_NMI = 4;
const LOCAL_X2APIC = 9;
const LOCAL_X2APIC_NMI = 0x0a;
const CPU_ENABLED = 1;
/** The I/O APIC's ID register after reset. */
export const IOAPIC_ID = 0;
/** MPS INTI flags: active high, level-triggered. */
const LEVEL_ACTIVE_HIGH = 0xd;
/** ISA IRQs that the board makes level-triggered: the SCI, and those of the PIRQs. */
export const LEVEL_ISA_IRQS: readonly number[] = [...new Set([SCI_IRQ, ...PIRQ_IRQ])];
/** xAPIC IDs are 0–254; larger ones need x2APIC entries. */
const MAX_XAPIC_ID = 254;

/** A table with header and checksum around `body`. */
function systemTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  return new TableWriter(HEADER_BYTES + body.length)
    .text(0, signature)
    .u32(4, HEADER_BYTES + body.length)
    .u8(8, revision)
    .text(10, OEM_ID)
    .text(16, OEM_TABLE_ID)
    .u32(24, OEM_REVISION)
    .text(28, CREATOR_ID)
    .u32(32, OEM_REVISION)
    .put(HEADER_BYTES, body)
    .checksum(ACPI_CHECKSUM_AT).bytes;
}

/** Generic Address Structure of an I/O port. */
function putPort(table: TableWriter, offset: number, port: number, bytes: number, accessBytes = bytes): void {
  const accessSize = { 1: 1, 2: 2, 4: 3 }[accessBytes] ?? 0;
  table
    .u8(offset, SYSTEM_IO)
    .u8(offset + 1, bytes * 8)
    .u8(offset + 3, accessSize)
    .u64(offset + 4, port);
}

/** Pointers in the FADT: FIRMWARE_CTRL, DSDT, X_FIRMWARE_CTRL, X_DSDT. */
const FADT_POINTERS: readonly AcpiPointer[] = [
  { at: 36, size: 4 },
  { at: 40, size: 4 },
  { at: 132, size: 8 },
  { at: 140, size: 8 },
];
/** Pointers in the RSDP: to RSDT and XSDT. */
const RSDP_POINTERS: readonly AcpiPointer[] = [
  { at: 16, size: 4 },
  { at: 24, size: 8 },
];

function fadt(
  facs: number,
  dsdt: number,
  pmBase: number,
  { vga, keyboardAndMouse }: { readonly vga: boolean; readonly keyboardAndMouse: boolean },
): Uint8Array {
  // Offsets are those of the table, header included.
  const table = new TableWriter(FADT_BYTES);
  table.u32(36, facs).u32(40, dsdt);
  table.u8(45, 0); // Preferred_PM_Profile: unspecified
  table.u16(46, SCI_IRQ).u32(48, SMI_CMD).u8(52, APMC_ACPI_ENABLE).u8(53, APMC_ACPI_DISABLE);
  table
    .u32(56, pmBase + PM1_STS)
    .u32(64, pmBase + PM1_CNT)
    .u32(76, pmBase + PM_TMR)
    .u32(80, pmBase + GP_STS);
  table.u8(88, 4).u8(89, 2).u8(91, 4).u8(92, 4); // lengths: PM1_EVT, PM1_CNT, PM_TMR, GPE0
  table.u16(96, NO_C2).u16(98, NO_C3);
  table.u8(108, CMOS_CENTURY);
  table.u16(109, LEGACY_DEVICES | (keyboardAndMouse ? HAS_8042 : 0) | (vga ? 0 : VGA_NOT_PRESENT));
  table.u32(112, WBINVD | PROC_C1 | SLP_BUTTON_NOT_FIXED | RESET_REG_SUP);
  putPort(table, 116, RESET_PORT, 1);
  table.u8(128, RCR_RCPU | RCR_SRST);
  table.u64(132, facs).u64(140, dsdt);
  putPort(table, 148, pmBase + PM1_STS, 4, 2);
  putPort(table, 172, pmBase + PM1_CNT, 2);
  putPort(table, 208, pmBase + PM_TMR, 4);
  putPort(table, 220, pmBase + GP_STS, 4, 1);
  return systemTable("FACP", 3, table.bytes.subarray(HEADER_BYTES));
}

/** "Firmware ACPI Control Structure": the global lock, and a waking vector that nothing uses. */
function facs(): Uint8Array {
  return new TableWriter(FACS_BYTES).text(0, "FACS").u32(4, FACS_BYTES).u8(32, 1).bytes;
}

function madt(cpus: number): Uint8Array {
  const entries: Uint8Array[] = [new TableWriter(8).u32(0, LOCAL_APIC_BASE).u32(4, PCAT_COMPAT).bytes];
  const entry = (type: number, bytes: number): TableWriter => {
    const table = new TableWriter(bytes).u8(0, type).u8(1, bytes);
    entries.push(table.bytes);
    return table;
  };
  for (let id = 0; id < cpus; id++)
    if (id <= MAX_XAPIC_ID) entry(LOCAL_APIC, 8).u8(2, id).u8(3, id).u32(4, CPU_ENABLED);
    else entry(LOCAL_X2APIC, 16).u32(4, id).u32(8, CPU_ENABLED).u32(12, id);
  entry(IO_APIC, 12).u8(2, IOAPIC_ID).u32(4, IOAPIC_BASE);
  // The PIT's output is wired to input 2, where the 8259 pair has its cascade.
  entry(INTERRUPT_SOURCE_OVERRIDE, 10).u8(3, PIT_IRQ).u32(4, PIT_GSI);
  for (const irq of LEVEL_ISA_IRQS)
    entry(INTERRUPT_SOURCE_OVERRIDE, 10).u8(3, irq).u32(4, irq).u16(8, LEVEL_ACTIVE_HIGH);
  // NMI is LINT1 of every CPU: processor UID FFH (FFFFFFFFH) means all.
  entry(LOCAL_APIC_NMI, 6).u8(2, 0xff).u8(5, 1);
  if (cpus - 1 > MAX_XAPIC_ID) entry(LOCAL_X2APIC_NMI, 12).u32(4, 0xffffffff).u8(8, 1);
  return systemTable("APIC", 3, concatenate(entries));
}

/** IA-PC HPET Specification, "The ACPI 2.0 HPET Description Table". */
function hpet(): Uint8Array {
  // Block ID; base address with its address space; number 0, least ticks, no page protection.
  const table = new TableWriter(20).u32(0, HPET_CAPABILITIES).u8(4, SYSTEM_MEMORY).u64(8, HPET_BASE);
  return systemTable("HPET", 1, table.u16(17, HPET_LEAST_TICKS).bytes);
}

function mcfg(): Uint8Array {
  // Eight reserved bytes; then base, segment group 0, first and last bus, four reserved bytes.
  return systemTable("MCFG", 1, new TableWriter(24).u64(8, ECAM_BASE).u8(19, ECAM_BUSES - 1).bytes);
}

/** Lays out all tables from `base` on. */
export function layOutAcpiTables(options: AcpiOptions, base: number): AcpiLayout {
  const { cpus, pmBase = PM_BASE, isaBridgeDevice = SLOT_PIIX, timers = BOTH_TIMERS } = options;
  const { vga = false, keyboardAndMouse = false } = options;
  const addresses: Record<string, number> = { RSDP: base };
  const pieces: { at: number; bytes: Uint8Array }[] = [];
  let end = base + RSDP_BYTES;
  const place = (name: string, bytes: Uint8Array, align = 16): number => {
    const at = Math.ceil(end / align) * align;
    pieces.push({ at, bytes });
    addresses[name] = at;
    end = at + bytes.length;
    return at;
  };
  const facsAt = place("FACS", facs(), 64);
  const aml = buildDsdtAml({ pmBase, isaBridgeDevice, keyboardAndMouse, timers });
  const dsdtAt = place("DSDT", systemTable("DSDT", 2, aml));
  const roots = [
    place("FACP", fadt(facsAt, dsdtAt, pmBase, { vga, keyboardAndMouse })),
    place("APIC", madt(cpus)),
    place("MCFG", mcfg()),
    ...(timers.hpet ? [place("HPET", hpet())] : []),
  ];
  const rsdt = new TableWriter(4 * roots.length);
  const xsdt = new TableWriter(8 * roots.length);
  roots.forEach((address, i) => {
    rsdt.u32(4 * i, address);
    xsdt.u64(8 * i, address);
  });
  const rsdtAt = place("RSDT", systemTable("RSDT", 1, rsdt.bytes));
  const xsdtAt = place("XSDT", systemTable("XSDT", 1, xsdt.bytes));

  const rsdp = new TableWriter(RSDP_BYTES)
    .text(0, "RSD PTR ")
    .text(9, OEM_ID)
    .u8(15, 2)
    .u32(16, rsdtAt)
    .u32(20, RSDP_BYTES)
    .u64(24, xsdtAt)
    .checksum(8, RSDP_V1_BYTES)
    .checksum(32);
  const area = new TableWriter(end - base).put(0, rsdp.bytes);
  for (const { at, bytes } of pieces) area.put(at - base, bytes);
  const inTable = (table: number, pointers: readonly AcpiPointer[]): AcpiPointer[] =>
    pointers.map(({ at, size }) => ({ at: table - base + at, size }));
  const entries = (size: 4 | 8): AcpiPointer[] =>
    roots.map((_, i) => ({ at: HEADER_BYTES + size * i, size }));
  return {
    area: area.bytes,
    rsdpBytes: RSDP_BYTES,
    addresses,
    pointers: [
      ...inTable(roots[0]!, FADT_POINTERS),
      ...inTable(rsdtAt, entries(4)),
      ...inTable(xsdtAt, entries(8)),
      ...RSDP_POINTERS,
    ],
    tables: [roots[0]!, rsdtAt, xsdtAt].map((table) => ({
      at: table - base,
      length: pieces.find(({ at }) => at === table)!.bytes.length,
    })),
  };
}

/**
 * Builds all tables for the area from `base` (at the start of the BIOS area, so that a scan finds the RSDP first).
 * @throws RangeError when they do not fit below 1 MiB
 */
export function buildAcpiTables(options: AcpiOptions, base = BIOS_AREA): AcpiTables {
  const { area, addresses } = layOutAcpiTables(options, base);
  const end = base + area.length;
  if (end > BIOS_AREA + BIOS_AREA_BYTES)
    throw new RangeError(`ACPI tables end at ${end.toString(16)}H, beyond 1 MiB`);
  return { rsdp: base, addresses, bytes: area };
}

/**
 * The MP floating pointer structure and MP configuration table: Intel, "MultiProcessor Specification, version 1.4". For
 * systems that do not read ACPI; it says what the MADT and the DSDT's routing tables say.
 */
import { IsaBridge } from "../../../devices/pci/chipset.ts";
import { TableWriter, concatenate } from "../table-writer.ts";
import { FIRST_PIRQ_GSI } from "./acpi/dsdt.ts";
import { IOAPIC_ID, LEVEL_ISA_IRQS } from "./acpi/tables.ts";
import { IOAPIC_BASE, LOCAL_APIC_BASE } from "../layout.ts";

export interface MpTableOptions {
  /** CPUs; their APIC IDs are 0 to `cpus` - 1, CPU 0 is the bootstrap processor. At most 254. */
  readonly cpus: number;
  /** CPUID.1:EAX and EDX. */
  readonly signature: number;
  readonly featureFlags: number;
  /** Device numbers on PCI bus 0 that may interrupt; 1–31 by default. */
  readonly pciDevices?: readonly number[];
}

const FLOATING_BYTES = 16;
const HEADER_BYTES = 44;
const SPECIFICATION_1_4 = 4;
/** Feature byte 2 bit 7: the PIC mode register (IMCR) is there; it is not. */
const FEATURE_2 = 0;

const PROCESSOR = 0;
const BUS = 1;
const IO_APIC = 2;
const IO_INTERRUPT = 3;
const LOCAL_INTERRUPT = 4;

const PCI_BUS = 0;
const ISA_BUS = 1;

const CPU_ENABLED = 1 << 0;
const CPU_BOOTSTRAP = 1 << 1;
const IOAPIC_ENABLED = 1;
/** Version registers. */
const LOCAL_APIC_VERSION = 0x14;
const IOAPIC_VERSION = 0x20;

/** Interrupt types. */
const INT = 0;
const NMI = 1;
const EXT_INT = 3;
/** I/O interrupt flags: polarity in bits 1:0, trigger mode in bits 3:2; 0 is the bus's own. */
const CONFORMS = 0;
const ACTIVE_HIGH_LEVEL = 0xd;
const ALL_APICS = 0xff;

const PIT_INPUT = 2;
const PINS = 4;

/** CPUs that fit in the table: APIC IDs are a byte, and FFH means all. */
export const MP_MAX_CPUS = 254;

/**
 * Builds both structures for physical address `base`, a multiple of 16; the floating pointer comes first.
 * @throws RangeError for more CPUs than APIC IDs
 */
export function buildMpTable(options: MpTableOptions, base: number): Uint8Array {
  const { cpus, signature, featureFlags } = options;
  if (cpus > MP_MAX_CPUS) throw new RangeError(`MP table: ${cpus} CPUs, at most ${MP_MAX_CPUS}`);
  const entries: Uint8Array[] = [];
  const entry = (type: number, bytes: number): TableWriter => {
    const table = new TableWriter(bytes).u8(0, type);
    entries.push(table.bytes);
    return table;
  };
  for (let id = 0; id < cpus; id++)
    entry(PROCESSOR, 20)
      .u8(1, id)
      .u8(2, LOCAL_APIC_VERSION)
      .u8(3, CPU_ENABLED | (id === 0 ? CPU_BOOTSTRAP : 0))
      .u32(4, signature)
      .u32(8, featureFlags);
  entry(BUS, 8).u8(1, PCI_BUS).text(2, "PCI   ");
  entry(BUS, 8).u8(1, ISA_BUS).text(2, "ISA   ");
  entry(IO_APIC, 8).u8(1, IOAPIC_ID).u8(2, IOAPIC_VERSION).u8(3, IOAPIC_ENABLED).u32(4, IOAPIC_BASE);

  const interrupt = (
    kind: number,
    flags: number,
    bus: number,
    source: number,
    apic: number,
    input: number,
  ): void => {
    const type = apic === ALL_APICS ? LOCAL_INTERRUPT : IO_INTERRUPT;
    entry(type, 8).u8(1, kind).u16(2, flags).u8(4, bus).u8(5, source).u8(6, apic).u8(7, input);
  };
  for (let irq = 0; irq < 16; irq++) {
    // Input 2 is the PIT's, and the cascade IRQ 2 has no device.
    if (irq === PIT_INPUT) continue;
    const level = LEVEL_ISA_IRQS.includes(irq);
    interrupt(
      INT,
      level ? ACTIVE_HIGH_LEVEL : CONFORMS,
      ISA_BUS,
      irq,
      IOAPIC_ID,
      irq === 0 ? PIT_INPUT : irq,
    );
  }
  for (const device of options.pciDevices ?? Array.from({ length: 31 }, (_, i) => i + 1))
    for (let pin = 0; pin < PINS; pin++) {
      const input = FIRST_PIRQ_GSI + IsaBridge.pirqOf(device, pin + 1);
      interrupt(INT, ACTIVE_HIGH_LEVEL, PCI_BUS, (device << 2) | pin, IOAPIC_ID, input);
    }
  interrupt(EXT_INT, CONFORMS, ISA_BUS, 0, ALL_APICS, 0);
  interrupt(NMI, CONFORMS, ISA_BUS, 0, ALL_APICS, 1);

  const body = concatenate(entries);
  const table = new TableWriter(HEADER_BYTES + body.length)
    .text(0, "PCMP")
    .u16(4, HEADER_BYTES + body.length)
    .u8(6, SPECIFICATION_1_4)
    .text(8, "EXITLESS")
    .text(16, "PC          ")
    .u16(34, entries.length)
    .u32(36, LOCAL_APIC_BASE)
    .put(HEADER_BYTES, body)
    .checksum(7);
  const floating = new TableWriter(FLOATING_BYTES)
    .text(0, "_MP_")
    .u32(4, base + FLOATING_BYTES)
    .u8(8, 1)
    .u8(9, SPECIFICATION_1_4)
    .u8(12, FEATURE_2)
    .checksum(10);
  return concatenate([floating.bytes, table.bytes]);
}

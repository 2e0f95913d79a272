/**
 * The DSDT's definition block: soft off, the PCI host bridge with its windows, interrupt routing, and the ISA devices.
 *
 * Interrupts of PCI slots are named through link devices in both interrupt models. With the 8259 pair they are the
 * PIIX3's PIRQ registers (LNKA–LNKD). With the I/O APIC they are fixed inputs 16–19 (GSIA–GSID), again link devices,
 * because a bare number in _PRT means active low, while the board's wires are active high.
 */
import { PIRQRCA } from "../../../../devices/pci/chipset-spec.ts";
import { IsaBridge } from "../../../../devices/pci/chipset.ts";
import { PM_PORTS, SUS_TYP_SOFT_OFF } from "../../../../devices/acpi/pm-spec.ts";
import { HPET_BYTES } from "../../../../devices/timer/hpet-spec.ts";
import type { PcTimers } from "../../pc.ts";
import { concatenate } from "../../table-writer.ts";
import {
  COM1_IRQ,
  COM1_PORT,
  ECAM_BASE,
  ECAM_SIZE,
  HPET_BASE,
  IOAPIC_BASE,
  KEYBOARD_IRQ,
  MOUSE_IRQ,
  PIT_IRQ,
  RTC_IRQ,
} from "../../layout.ts";
import { ECAM_BUSES, PCI_WINDOW_BASE } from "../memory-ranges.ts";
import * as aml from "./aml.ts";
import type { Aml } from "./aml.ts";
import * as resources from "./resources.ts";

export interface DsdtOptions {
  /** First port of the ACPI PM block. */
  readonly pmBase: number;
  /** Device number of the PIIX3 on bus 0; its function 0 is the ISA bridge. */
  readonly isaBridgeDevice: number;
  /** There are a keyboard and a mouse behind the 8042. */
  readonly keyboardAndMouse?: boolean;
  readonly timers: PcTimers;
}

/** I/O APIC input of PIRQA#; the others follow. */
export const FIRST_PIRQ_GSI = 16;
const PIRQ_LETTERS = ["A", "B", "C", "D"] as const;
const PINS = 4;
/** Device 0 is the host bridge, without interrupts. */
const FIRST_SLOT = 1;
const LAST_SLOT = 31;
/** IRQs that a PIRQ may be given: free of ISA devices. */
const LINK_IRQS = (1 << 5) | (1 << 10) | (1 << 11);
/** Device identification of an ISA interrupt link, system board resources and so on: "ACPI Device IDs". */
const LINK_DEVICE = "PNP0C0F";
const SYSTEM_BOARD = "PNP0C02";

const STA_PRESENT_DISABLED = 0x09;
const STA_PRESENT_ENABLED = 0x0b;
const PIRQ_DISABLED = 0x80;

/** The AML of the definition block, without the table's header. */
export function buildDsdtAml(options: DsdtOptions): Aml {
  const softOff = aml.integer(SUS_TYP_SOFT_OFF);
  const zero = aml.integer(0);
  return concatenate([
    aml.define("\\_S5", aml.packageOf([softOff, softOff, zero, zero])),
    aml.define("\\PICF", zero),
    // The operating system says which interrupt model it uses: 0 8259 pair, 1 I/O APIC.
    aml.method("\\_PIC", 1, aml.store(aml.argument(0), aml.name("\\PICF"))),
    aml.scope(
      "\\_SB",
      ...PIRQ_LETTERS.map((letter, pirq) => pirqLink(letter, pirq)),
      ...PIRQ_LETTERS.map((letter, pirq) => ioApicLink(letter, pirq)),
      hostBridge(options),
      systemBoard(options),
      ...(options.timers.hpet ? [highPrecisionTimers()] : []),
    ),
  ]);
}

const identify = (id: string, uid?: number): Aml =>
  concatenate([
    aml.define("_HID", aml.eisaId(id)),
    ...(uid === undefined ? [] : [aml.define("_UID", aml.integer(uid))]),
  ]);

const currentResources = (...descriptors: Uint8Array[]): Aml =>
  aml.define("_CRS", resources.resourceTemplate(...descriptors));

/** A PIRQ as the 8259 pair sees it: routed by the PIIX3's PIRQRC register. */
function pirqLink(letter: string, pirq: number): Aml {
  const route = aml.name(`\\_SB.PCI0.ISA.PRQ${pirq}`);
  const word = aml.name("IRQW");
  const template = resources.resourceTemplate(resources.irqLevelShared(0));
  const isDisabled = aml.and(route, aml.integer(PIRQ_DISABLED));
  return aml.device(
    `LNK${letter}`,
    identify(LINK_DEVICE, 1 + pirq),
    aml.define("_PRS", resources.resourceTemplate(resources.irqLevelShared(LINK_IRQS))),
    aml.method(
      "_STA",
      0,
      aml.ifElse(isDisabled, [aml.returns(aml.integer(STA_PRESENT_DISABLED))]),
      aml.returns(aml.integer(STA_PRESENT_ENABLED)),
    ),
    aml.method("_DIS", 0, aml.or(route, aml.integer(PIRQ_DISABLED), route)),
    aml.method(
      "_CRS",
      0,
      aml.store(template, aml.local(0)),
      aml.createWordField(aml.local(0), resources.IRQ_MASK_OFFSET, "IRQW"),
      aml.ifElse(
        isDisabled,
        [aml.store(aml.integer(0), word)],
        [aml.shiftLeft(aml.integer(1), aml.and(route, aml.integer(15)), word)],
      ),
      aml.returns(aml.local(0)),
    ),
    aml.method(
      "_SRS",
      1,
      aml.createWordField(aml.argument(0), resources.IRQ_MASK_OFFSET, "IRQW"),
      aml.ifElse(
        aml.findSetRightBit(word, aml.local(0)),
        [aml.subtract(aml.local(0), aml.integer(1), route)],
        [aml.store(aml.integer(PIRQ_DISABLED), route)],
      ),
    ),
  );
}

/** A PIRQ as the I/O APIC sees it: one input, fixed. */
function ioApicLink(letter: string, pirq: number): Aml {
  const template = resources.resourceTemplate(resources.interruptLevelHighShared(FIRST_PIRQ_GSI + pirq));
  return aml.device(
    `GSI${letter}`,
    identify(LINK_DEVICE, 1 + PIRQ_LETTERS.length + pirq),
    aml.define("_PRS", template),
    aml.define("_CRS", template),
    aml.method("_SRS", 1),
  );
}

/** "_PRT (PCI Routing Table)": one package a slot and pin. */
function routingTable(links: string): Aml {
  const entries: Aml[] = [];
  for (let slot = FIRST_SLOT; slot <= LAST_SLOT; slot++)
    for (let pin = 0; pin < PINS; pin++) {
      const link = `${links}${PIRQ_LETTERS[IsaBridge.pirqOf(slot, pin + 1)]!}`;
      const address = aml.integer(((slot << 16) | 0xffff) >>> 0);
      entries.push(aml.packageOf([address, aml.integer(pin), aml.name(link), aml.integer(0)]));
    }
  return aml.packageOf(entries);
}

function hostBridge(options: DsdtOptions): Aml {
  return aml.device(
    "PCI0",
    identify("PNP0A03", 0),
    aml.define("_BBN", aml.integer(0)),
    currentResources(
      resources.busNumbers(0, ECAM_BUSES - 1),
      resources.ioPorts(0xcf8, 8),
      resources.ioWindow(0x0000, 0x0cf7),
      resources.ioWindow(0x0d00, 0xffff),
      resources.memoryWindow(0xa0000, 0xbffff),
      resources.memoryWindow(PCI_WINDOW_BASE, IOAPIC_BASE - 1),
    ),
    aml.define("PRTP", routingTable("LNK")),
    aml.define("PRTA", routingTable("GSI")),
    aml.method(
      "_PRT",
      0,
      aml.ifElse(aml.name("\\PICF"), [aml.returns(aml.name("PRTA"))]),
      aml.returns(aml.name("PRTP")),
    ),
    isaBridge(options),
  );
}

function isaBridge({ isaBridgeDevice, keyboardAndMouse, timers }: DsdtOptions): Aml {
  return aml.device(
    "ISA",
    aml.define("_ADR", aml.integer((isaBridgeDevice << 16) >>> 0)),
    aml.operationRegion("PIRQ", aml.REGION_PCI_CONFIG, PIRQRCA, PIRQ_LETTERS.length),
    aml.byteFields("PIRQ", ["PRQ0", "PRQ1", "PRQ2", "PRQ3"]),
    aml.device(
      "PIC",
      identify("PNP0000"),
      currentResources(
        resources.ioPorts(0x20, 2),
        resources.ioPorts(0xa0, 2),
        resources.ioPorts(0x4d0, 2),
        resources.irq(1 << 2),
      ),
    ),
    ...(timers.pit ? [intervalTimer()] : []),
    aml.device(
      "RTC",
      identify("PNP0B00"),
      currentResources(resources.ioPorts(0x70, 2), resources.irq(1 << RTC_IRQ)),
    ),
    aml.device("SPKR", identify("PNP0800"), currentResources(resources.ioPorts(0x61, 1))),
    ...(keyboardAndMouse === true
      ? [
          aml.device(
            "KBD",
            identify("PNP0303"),
            currentResources(
              resources.ioPorts(0x60, 1),
              resources.ioPorts(0x64, 1),
              resources.irq(1 << KEYBOARD_IRQ),
            ),
          ),
          aml.device("MOUS", identify("PNP0F13"), currentResources(resources.irq(1 << MOUSE_IRQ))),
        ]
      : []),
    aml.device(
      "COM1",
      identify("PNP0501", 1),
      currentResources(resources.ioPorts(COM1_PORT, 8), resources.irq(1 << COM1_IRQ)),
    ),
  );
}

function intervalTimer(): Aml {
  return aml.device(
    "TIMR",
    identify("PNP0100"),
    currentResources(resources.ioPorts(0x40, 4), resources.irq(1 << PIT_IRQ)),
  );
}

/** No interrupt is named: legacy replacement takes IRQ 0 and IRQ 8 from PIT and RTC. */
function highPrecisionTimers(): Aml {
  return aml.device(
    "HPET",
    identify("PNP0103", 0),
    currentResources(resources.memory32Fixed(HPET_BASE, HPET_BYTES)),
  );
}

/** What nobody else claims: ECAM (Linux uses it only if it is reserved here), the PM block, SMI and reset ports. */
function systemBoard({ pmBase }: DsdtOptions): Aml {
  return aml.device(
    "MBRD",
    identify(SYSTEM_BOARD, 0),
    currentResources(
      resources.memory32Fixed(ECAM_BASE, ECAM_SIZE),
      resources.ioPorts(pmBase, PM_PORTS),
      resources.ioPorts(0x80, 1),
      resources.ioPorts(0x92, 1),
      resources.ioPorts(0xb2, 2),
    ),
  );
}

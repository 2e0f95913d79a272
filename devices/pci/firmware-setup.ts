/**
 * What firmware does to PCI before it starts a system: gives every base address register a place, routes
 * interrupts, and switches decoding on. For boots without firmware; uses only what a program on the machine
 * could use (configuration space and ports), so a guest that sets everything up again finds nothing unusual.
 */
import type { PortBus } from "../bus/port-bus.ts";
import { PMBA, PMREGMISC, PMREGMISC_PMIOSE, PIRQRCA } from "./chipset-spec.ts";
import {
  DEVICE_PIIX3_IDE,
  DEVICE_PIIX3_ISA,
  DEVICE_PIIX4_PM,
  IDETIM,
  IDETIM_DECODE_ENABLE,
} from "./chipset-spec.ts";
import { VENDOR_INTEL } from "./chipset-spec.ts";
import { IsaBridge } from "./chipset.ts";
import type { PciBus } from "./pci-bus.ts";
import * as spec from "./spec.ts";

export interface PciWindows {
  /** First I/O port for base address registers, e.g. C000H. */
  readonly ioBase: number;
  /** First physical address for memory base address registers, below 4 GiB, e.g. E0000000H. */
  readonly memoryBase: number;
  /** Where the ACPI PM block goes, e.g. 600H. */
  readonly pmBase: number;
}

/** The IRQ to which PIRQA#–PIRQD# are routed. */
export const PIRQ_IRQ = [10, 10, 11, 11] as const;

/** Assigns resources to every function on the bus. `ports` is used to make the routed IRQs level-triggered. */
export function setUpPci(bus: PciBus, ports: PortBus, windows: PciWindows): void {
  let nextPort = windows.ioBase;
  let nextMemory = windows.memoryBase;
  for (const slot of bus.slots) {
    const at = (slot.device << 3) | slot.function;
    const write = (offset: number, size: 1 | 2 | 4, value: number): void =>
      bus.writeConfig(at, offset, size, value);
    for (const bar of slot.pci.bars) {
      const register = spec.BASE_ADDRESS_0 + 4 * bar.index;
      if (bar.kind === "io") {
        nextPort = Math.ceil(nextPort / bar.size) * bar.size;
        write(register, 4, nextPort);
        nextPort += bar.size;
      } else {
        nextMemory = Math.ceil(nextMemory / bar.size) * bar.size;
        write(register, 4, nextMemory);
        if (bar.kind === "memory64") write(register + 4, 4, 0);
        nextMemory += bar.size;
      }
    }
    if (nextPort > 0x10000 || nextMemory > 2 ** 32)
      throw new RangeError(`${slot.pci.label}: PCI windows are full`);
    const pin = slot.pci.interruptPin;
    if (pin !== 0) write(spec.INTERRUPT_LINE, 1, PIRQ_IRQ[IsaBridge.pirqOf(slot.device, pin)]!);
    setUpChipsetFunction(bus, at, windows);
    write(
      spec.COMMAND,
      2,
      bus.readConfig(at, spec.COMMAND, 2) | spec.COMMAND_IO_SPACE | spec.COMMAND_MEMORY_SPACE,
    );
  }
  for (const irq of PIRQ_IRQ) {
    const elcr = irq >= 8 ? 0x4d1 : 0x4d0;
    ports.write(elcr, 1, ports.read(elcr, 1) | (1 << (irq & 7)));
  }
}

/** Registers of the chipset's own functions that are not base address registers. */
function setUpChipsetFunction(bus: PciBus, at: number, windows: PciWindows): void {
  if (bus.readConfig(at, spec.VENDOR_ID, 2) !== VENDOR_INTEL) return;
  switch (bus.readConfig(at, spec.DEVICE_ID, 2)) {
    case DEVICE_PIIX3_ISA:
      PIRQ_IRQ.forEach((irq, pirq) => bus.writeConfig(at, PIRQRCA + pirq, 1, irq));
      break;
    case DEVICE_PIIX3_IDE:
      bus.writeConfig(at, IDETIM, 2, IDETIM_DECODE_ENABLE);
      bus.writeConfig(at, IDETIM + 2, 2, IDETIM_DECODE_ENABLE);
      break;
    case DEVICE_PIIX4_PM:
      // The PIIX4's SCI is IRQ 9, whatever the interrupt pin says.
      bus.writeConfig(at, spec.INTERRUPT_LINE, 1, 9);
      bus.writeConfig(at, PMBA, 4, windows.pmBase | 1);
      bus.writeConfig(at, PMREGMISC, 1, PMREGMISC_PMIOSE);
      break;
  }
}

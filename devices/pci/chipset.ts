/**
 * The chipset's PCI functions that are not devices of their own: the host bridge (Intel, "440FX PCIset", data
 * sheet), the PCI-to-ISA bridge with its interrupt router (Intel, "PIIX3", data sheet), and the power-management
 * function that places the ACPI block (Intel, "82371AB (PIIX4)", data sheet).
 */
import { array, struct } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { PortBus } from "../bus/port-bus.ts";
import type { DeviceContext, InterruptLine, PortDevice, Resettable } from "../ports.ts";
import { PM_PORTS } from "../acpi/pm-spec.ts";
import * as chipset from "./chipset-spec.ts";
import { PciFunction } from "./config-space.ts";

export interface HostBridgeOptions {
  readonly label: string;
  /** Subsystem vendor and device, by which firmware knows a virtual board. Default: none. */
  readonly subsystem?: { readonly vendorId: number; readonly id: number };
  /** The attribute map (PAM) changed: the board re-reads `HostBridge.pam` and remaps C0000H–FFFFFH. */
  readonly memoryMapChanged?: () => void;
}

/** 82441FX, device 0. */
export class HostBridge implements Resettable {
  readonly pci: PciFunction;
  readonly #options: HostBridgeOptions;

  constructor(context: DeviceContext, options: HostBridgeOptions) {
    this.#options = options;
    const { subsystem } = options;
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: chipset.VENDOR_INTEL,
      deviceId: chipset.DEVICE_82441FX,
      revisionId: 2,
      classCode: 0x060000,
      ...(subsystem && { subsystemVendorId: subsystem.vendorId, subsystemId: subsystem.id }),
      registers: [
        {
          offset: chipset.PAM0,
          value: new Array<number>(chipset.PAM_REGISTERS).fill(0),
          writable: [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33],
        },
        { offset: chipset.SMRAM, value: [0x02], writable: [0x78] },
      ],
      written: (offset, size) => {
        if (offset < chipset.PAM0 + chipset.PAM_REGISTERS && offset + size > chipset.PAM0)
          options.memoryMapChanged?.();
      },
    });
  }

  reset(): void {
    this.pci.reset();
    this.#options.memoryMapChanged?.();
  }

  /** The attribute map by 16-KiB parts from C0000H: bit n of `reads` (`writes`) sends part n's reads (writes) to RAM. */
  get attributeMap(): { readonly reads: number; readonly writes: number } {
    let reads = 0;
    let writes = 0;
    for (let part = 0; part < chipset.PAM_PARTS; part++) {
      // Region 0 is the last four parts, F0000H–FFFFFH.
      const { read, write } = this.pam(part < 12 ? part + 1 : 0);
      if (read) reads |= 1 << part;
      if (write) writes |= 1 << part;
    }
    return { reads, writes };
  }

  /**
   * Read and write enables (1 = RAM, 0 = ROM or nothing) of the 13 regions of the attribute map: region 0 is
   * F0000H–FFFFFH, regions 1–12 are 16 KiB each from C0000H.
   */
  pam(region: number): { readonly read: boolean; readonly write: boolean } {
    if (!Number.isInteger(region) || region < 0 || region > 12) throw new RangeError(`PAM region ${region}`);
    // PAM0's high nibble is region 0; PAMn's low and high nibbles are regions 2n - 1 and 2n.
    const register = this.pci.read(chipset.PAM0 + ((region + 1) >> 1), 1);
    const nibble = region === 0 || region % 2 === 0 ? register >> 4 : register & 15;
    return { read: (nibble & 1) !== 0, write: (nibble & 2) !== 0 };
  }
}

export const PirqRouterStruct = struct("PirqRouter", {
  /** Sources asserting each PIRQ, one bit a source. */
  asserted: array("u32", chipset.PIRQS),
});

export interface IsaBridgeOptions {
  readonly label: string;
  /** The wire of an ISA IRQ (3–7, 9–12, 14, 15) that the router may drive: the board joins it to PIC and I/O APIC. */
  readonly irq: (irq: number) => InterruptLine;
  /** Direct wires of PIRQA#–PIRQD# to I/O APIC pins (usually 16–19), if the board has them. */
  readonly pirq?: readonly [InterruptLine, InterruptLine, InterruptLine, InterruptLine];
}

/** PIIX3 function 0, with the PIRQ router. */
export class IsaBridge implements Resettable {
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof PirqRouterStruct>;
  readonly #irqs: readonly (InterruptLine | undefined)[];
  readonly #pirqLines: readonly InterruptLine[];
  readonly #sources = [0, 0, 0, 0];

  constructor(context: DeviceContext, options: IsaBridgeOptions) {
    this.#state = context.state.place(`${options.label} PIRQ router`, PirqRouterStruct);
    this.#irqs = Array.from({ length: 16 }, (_, irq) =>
      chipset.PIRQ_ROUTABLE & (1 << irq) ? options.irq(irq) : undefined,
    );
    this.#pirqLines = options.pirq ?? [];
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: chipset.VENDOR_INTEL,
      deviceId: chipset.DEVICE_PIIX3_ISA,
      classCode: 0x060100,
      multiFunction: true,
      registers: [
        { offset: 0x4c, value: [0x4d, 0, 0x03, 0], writable: [0xff, 0, 0xff, 0x01] }, // IORT, XBCS
        { offset: chipset.PIRQRCA, value: [0x80, 0x80, 0x80, 0x80], writable: [0x8f, 0x8f, 0x8f, 0x8f] },
        { offset: 0x69, value: [0x02], writable: [0xfe] }, // TOM
        { offset: 0x70, value: [0x80, 0x80], writable: [0xef, 0xef] }, // MBIRQ
        { offset: 0x76, value: [0x0c, 0x0c], writable: [0x8f, 0x8f] }, // MBDMA
        { offset: 0xa0, value: [0x08, 0], writable: [0x1f, 0] }, // SMICNTL
      ],
      written: (offset, size) => {
        if (offset < chipset.PIRQRCA + chipset.PIRQS && offset + size > chipset.PIRQRCA) this.syncOutputs();
      },
    });
  }

  reset(): void {
    this.pci.reset();
    this.#state.asserted.fill(0);
    this.syncOutputs();
  }

  /**
   * INTx# of a slot as a wire. Slots take turns at the PIRQs: pin A of device 1 is PIRQA#, of device 2 PIRQB#.
   * @param pin 1 INTA# … 4 INTD#
   */
  intx(device: number, pin: number): InterruptLine {
    const pirq = IsaBridge.pirqOf(device, pin);
    const bit = 1 << this.#sources[pirq]!++;
    return {
      set: (level) => {
        const asserted = this.#state.asserted;
        asserted[pirq] = level ? asserted[pirq]! | bit : asserted[pirq]! & ~bit;
        this.syncOutputs();
      },
    };
  }

  /** Which PIRQ (0 = A) a slot's pin is wired to; ACPI and MP tables must say the same. */
  static pirqOf(device: number, pin: number): number {
    return (device - 1 + pin - 1) & 3;
  }

  /** Recomputes every IRQ that a PIRQ can reach, and the direct wires. */
  syncOutputs(): void {
    let irqs = 0;
    for (let pirq = 0; pirq < chipset.PIRQS; pirq++) {
      const asserted = this.#state.asserted[pirq] !== 0;
      this.#pirqLines[pirq]?.set(asserted);
      const route = this.pci.read(chipset.PIRQRCA + pirq, 1);
      if (asserted && !(route & chipset.PIRQRC_DISABLED)) irqs |= 1 << (route & 15);
    }
    for (let irq = 0; irq < 16; irq++) this.#irqs[irq]?.set((irqs & (1 << irq)) !== 0);
  }
}

export interface PmFunctionOptions {
  readonly label: string;
  /** The ACPI block that PMBA places. */
  readonly pm: PortDevice;
  readonly ports: PortBus;
}

/** PIIX4 function 3. */
export class PmFunction implements Resettable {
  readonly pci: PciFunction;

  constructor(context: DeviceContext, options: PmFunctionOptions) {
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: chipset.VENDOR_INTEL,
      deviceId: chipset.DEVICE_PIIX4_PM,
      revisionId: 3,
      classCode: 0x068000,
      interruptPin: 1,
      registers: [
        { offset: chipset.PMBA, value: [0x01, 0, 0, 0], writable: [0xc0, 0xff, 0, 0] },
        // APMC_EN reads as set: there is no SMM to set up, which is how firmware recognizes it.
        {
          offset: chipset.DEVACTB,
          value: [0, 0, 0, chipset.DEVACTB_APMC_EN],
          writable: [0xff, 0xff, 0xff, 0x03],
        },
        { offset: chipset.PMREGMISC, value: [0], writable: [0x01] },
        { offset: 0x90, value: [0x01, 0, 0, 0], writable: [0xf0, 0xff, 0, 0] }, // SMBBA
        { offset: 0xd2, value: [0], writable: [0x0f] }, // SMBHSTCFG
      ],
    });
    options.ports.addProgrammable({
      label: `${options.label} PM registers`,
      size: PM_PORTS,
      base: () => this.base,
      device: options.pm,
    });
  }

  reset(): void {
    this.pci.reset();
  }

  /** Where the PM block answers now. */
  get base(): number | undefined {
    if (!(this.pci.read(chipset.PMREGMISC, 1) & chipset.PMREGMISC_PMIOSE)) return undefined;
    const base = this.pci.read(chipset.PMBA, 2) & 0xffc0;
    return base === 0 ? undefined : base;
  }
}

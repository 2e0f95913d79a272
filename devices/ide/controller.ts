/**
 * The PIIX3 IDE function: two channels at their legacy ports and a bus master behind BAR 4. Intel, "82371FB (PIIX)
 * and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data sheet.
 */
import type { PortBus } from "../bus/port-bus.ts";
import { DEVICE_PIIX3_IDE, IDETIM, IDETIM_DECODE_ENABLE, VENDOR_INTEL } from "../pci/chipset-spec.ts";
import { PciFunction } from "../pci/config-space.ts";
import { COMMAND_IO_SPACE } from "../pci/spec.ts";
import type { DeviceContext, DmaMemory, InterruptLine, PortDevice, Resettable } from "../ports.ts";
import { IdeChannel } from "./channel.ts";
import type { IdeDriveOptions } from "./device.ts";
import * as spec from "./spec.ts";

export interface IdeControllerOptions {
  readonly label: string;
  readonly memory: DmaMemory;
  readonly ports: PortBus;
  /** IRQ 14 and IRQ 15. */
  readonly irqs: readonly [InterruptLine, InterruptLine];
  /** Primary 0 and 1, secondary 0 and 1. */
  readonly drives: readonly (IdeDriveOptions | undefined)[];
}

const BUS_MASTER_BAR = 4;

export class IdeController implements Resettable {
  readonly pci: PciFunction;
  readonly channels: readonly [IdeChannel, IdeChannel];

  constructor(context: DeviceContext, options: IdeControllerOptions) {
    if (options.drives.length > 4) throw new RangeError(`${options.label}: at most 4 drives`);
    const channel = (number: 0 | 1): IdeChannel =>
      new IdeChannel(context, {
        label: `${options.label} channel ${number}`,
        irq: options.irqs[number],
        memory: options.memory,
        drives: [options.drives[2 * number], options.drives[2 * number + 1]],
        mayMaster: () => this.pci.isBusMaster,
      });
    this.channels = [channel(0), channel(1)];
    const busMaster: PortDevice = {
      readPort: (offset, size) => {
        let value = 0;
        for (let i = 0; i < size; i++)
          value += this.#channelAt(offset + i).readBusMaster((offset + i) & 7) * 256 ** i;
        return value;
      },
      writePort: (offset, size, value) => {
        for (let i = 0; i < size; i++)
          this.#channelAt(offset + i).writeBusMaster((offset + i) & 7, (value >>> (8 * i)) & 0xff);
      },
    };
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: VENDOR_INTEL,
      deviceId: DEVICE_PIIX3_IDE,
      role: "storage",
      classCode: 0x010180,
      bars: [
        { kind: "io", index: BUS_MASTER_BAR, size: 2 * spec.BUS_MASTER_CHANNEL_PORTS, device: busMaster },
      ],
      registers: [
        { offset: IDETIM, value: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff] },
        { offset: 0x44, value: [0], writable: [0xff] }, // SIDETIM
      ],
    });
    this.#registerLegacyPorts(options);
  }

  reset(): void {
    this.pci.reset();
    for (const channel of this.channels) channel.reset();
  }

  #channelAt(offset: number): IdeChannel {
    return this.channels[offset < spec.BUS_MASTER_CHANNEL_PORTS ? 0 : 1];
  }

  /** The legacy ports answer while IDETIM's decode enable and the command register's I/O enable are set. */
  #registerLegacyPorts(options: IdeControllerOptions): void {
    const add = (number: 0 | 1, name: string, base: number, size: number, device: PortDevice): void =>
      options.ports.addProgrammable({
        label: `${options.label} channel ${number} ${name}`,
        size,
        device,
        role: "storage",
        base: () => (this.#isDecoded(number) ? base : undefined),
      });
    const [primary, secondary] = this.channels;
    add(0, "command block", spec.PRIMARY_COMMAND_BLOCK, spec.COMMAND_BLOCK_PORTS, primary.commandBlock);
    add(0, "control block", spec.PRIMARY_CONTROL, 1, primary.controlBlock);
    add(1, "command block", spec.SECONDARY_COMMAND_BLOCK, spec.COMMAND_BLOCK_PORTS, secondary.commandBlock);
    add(1, "control block", spec.SECONDARY_CONTROL, 1, secondary.controlBlock);
  }

  #isDecoded(channel: number): boolean {
    return (
      (this.pci.peek(IDETIM + 2 * channel, 2) & IDETIM_DECODE_ENABLE) !== 0 &&
      (this.pci.command & COMMAND_IO_SPACE) !== 0
    );
  }
}

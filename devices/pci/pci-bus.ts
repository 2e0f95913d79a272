/**
 * PCI bus 0 and the two ways to its configuration space: Configuration Mechanism #1 (ports CF8H and CFCH; PCI-SIG,
 * "PCI Local Bus Specification 3.0") and the memory-mapped one ("PCI Express Base Specification", "Enhanced
 * Configuration Access Mechanism"). There are no bridges to further buses.
 */
import { struct, u32 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { MmioBus } from "../bus/mmio-bus.ts";
import type { PortBus } from "../bus/port-bus.ts";
import type { DeviceContext, MmioDevice, PortDevice, Resettable } from "../ports.ts";
import type { PciFunction } from "./config-space.ts";
import * as spec from "./spec.ts";

export const PciBusStruct = struct("PciBus", { configAddress: u32 });

export interface PciSlot {
  readonly device: number;
  readonly function: number;
  readonly pci: PciFunction;
}

export class PciBus implements Resettable {
  readonly #state: ViewOf<typeof PciBusStruct>;
  readonly #functions: (PciFunction | undefined)[] = new Array<undefined>(256).fill(undefined);
  readonly #ports: PortBus;
  readonly #memory: MmioBus;

  /** Ports CF8H (dword accesses only) and CFCH–CFFH. */
  readonly addressPort: PortDevice;
  readonly dataPorts: PortDevice;
  /** One megabyte a bus, from bus 0; the board places it. */
  readonly ecam: MmioDevice;

  constructor(
    context: DeviceContext,
    options: { readonly label: string; readonly ports: PortBus; readonly memory: MmioBus },
  ) {
    this.#state = context.state.place(options.label, PciBusStruct);
    this.#ports = options.ports;
    this.#memory = options.memory;
    this.addressPort = {
      readPort: () => this.#state.configAddress,
      writePort: (_offset, _size, value) =>
        void (this.#state.configAddress = (value & spec.CONFIG_ADDRESS_WRITABLE) >>> 0),
    };
    this.dataPorts = {
      readPort: (offset, size) => this.#readData(offset, size),
      writePort: (offset, size, value) => this.#writeData(offset, size, value),
    };
    this.ecam = {
      readMmio: (offset, size) =>
        this.#isBus0(offset) ? this.readConfig((offset >> 12) & 0xff, offset & 0xfff, size) : ones(size),
      writeMmio: (offset, size, value) => {
        if (this.#isBus0(offset)) this.writeConfig((offset >> 12) & 0xff, offset & 0xfff, size, value);
      },
    };
  }

  reset(): void {
    this.#state.configAddress = 0;
  }

  /** Puts a function in a slot and its base address registers on the buses. Configuration: once, while building. */
  add(device: number, fn: number, pci: PciFunction): void {
    if (device < 0 || device > 31 || fn < 0 || fn > 7) throw new RangeError(`PCI slot ${device}.${fn}`);
    const at = (device << 3) | fn;
    if (this.#functions[at] !== undefined) throw new RangeError(`PCI slot ${device}.${fn} is taken`);
    this.#functions[at] = pci;
    pci.registerRanges(this.#ports, this.#memory);
  }

  /** The occupied slots in order. */
  get slots(): readonly PciSlot[] {
    const slots: PciSlot[] = [];
    this.#functions.forEach((pci, at) => {
      if (pci !== undefined) slots.push({ device: at >> 3, function: at & 7, pci });
    });
    return slots;
  }

  /** `deviceFunction` is device × 8 + function. Absent functions, and what lies beyond 256 bytes, read as ones. */
  readConfig(deviceFunction: number, offset: number, size: 1 | 2 | 4): number {
    const pci = this.#functions[deviceFunction];
    if (pci === undefined || offset >= spec.CONFIG_BYTES) return ones(size);
    return pci.read(offset, size);
  }

  writeConfig(deviceFunction: number, offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset < spec.CONFIG_BYTES) this.#functions[deviceFunction]?.write(offset, size, value);
  }

  #isBus0(offset: number): boolean {
    return offset < spec.ECAM_BUS_BYTES;
  }

  #readData(offset: number, size: 1 | 2 | 4): number {
    const address = this.#state.configAddress;
    if (!isBus0Enabled(address)) return ones(size);
    return this.readConfig((address >>> 8) & 0xff, (address & 0xfc) + offset, size);
  }

  #writeData(offset: number, size: 1 | 2 | 4, value: number): void {
    const address = this.#state.configAddress;
    if (isBus0Enabled(address))
      this.writeConfig((address >>> 8) & 0xff, (address & 0xfc) + offset, size, value);
  }
}

function isBus0Enabled(address: number): boolean {
  return (address & spec.CONFIG_ADDRESS_ENABLE) !== 0 && (address & 0x00ff0000) === 0;
}

function ones(size: number): number {
  return 2 ** (8 * size) - 1;
}

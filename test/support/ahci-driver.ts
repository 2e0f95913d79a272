/** An AHCI controller on buses, and the driver's side of it: registers, command list, received frames. */
import { Ahci } from "../../devices/ahci/controller.ts";
import type { AhciDisk } from "../../devices/ahci/port.ts";
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../devices/bus/port-bus.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import type { Storage } from "../../devices/ports.ts";
import { MemoryStorage } from "../../devices/storage/memory.ts";
import { FakeContext, FakeMemory, LineRecorder, MessageRecorder } from "./device-context.ts";

export const PORT0 = 0x100;
/** The driver's structures in RAM. */
export const LIST = 0x1000;
export const RECEIVED = 0x1400;
export const TABLES = 0x2000;
const TABLE_BYTES = 0x400;
const RAM = 1024 * 1024;

export interface Command {
  readonly command: number;
  readonly feature?: number;
  readonly count?: number;
  readonly lba?: number;
  readonly device?: number;
  readonly control?: number;
  /** Regions of memory for data: address and bytes. */
  readonly regions?: readonly (readonly [number, number])[];
  /** Flags of the command header beside its length. */
  readonly flags?: number;
  /** False: a frame that changes the control register alone. */
  readonly isCommand?: boolean;
}

export class AhciMachine {
  readonly context: FakeContext;
  readonly memory = new FakeMemory(RAM);
  readonly line = new LineRecorder();
  readonly messages = new MessageRecorder();
  readonly contents: Uint8Array;
  readonly ahci: Ahci;
  readonly #mmio = new MmioBus();
  readonly #base: number;
  readonly #view = new DataView(this.memory.bytes.buffer);

  constructor(
    options: {
      readonly sectors?: number;
      readonly storage?: Storage;
      readonly service?: (operation: string, sector: number) => number;
    } = {},
  ) {
    this.context = new FakeContext();
    const { clock } = this.context;
    this.contents = Uint8Array.from({ length: (options.sectors ?? 512) * 512 }, (_, i) => (i >> 9) + i * 7);
    const disk: AhciDisk = {
      storage: options.storage ?? new MemoryStorage(this.contents, { serial: "SSD-1" }),
      timing: {
        complete: (operation, sector) => clock.now() + (options.service?.(operation, sector) ?? 1000),
      },
    };
    const ports = new PortBus();
    const bus = new PciBus(this.context, { label: "pci", ports, memory: this.#mmio });
    this.ahci = new Ahci(this.context, {
      label: "ahci",
      memory: this.memory,
      messages: this.messages,
      intx: this.line,
      disks: [disk],
    });
    bus.add(4, 0, this.ahci.pci);
    this.context.powerOn(bus, this.ahci);
    setUpPci(bus, ports, { ioBase: 0xc000, memoryBase: 0xe0000000, pmBase: 0x600 });
    this.ahci.pci.write(4, 2, 6);
    this.#base = this.ahci.pci.barBase(5)!;
  }

  read(offset: number, size: 1 | 2 | 4 = 4): number {
    return this.#mmio.read(this.#base + offset, size);
  }
  write(offset: number, value: number, size: 1 | 2 | 4 = 4): void {
    this.#mmio.write(this.#base + offset, size, value >>> 0);
  }
  port(register: number): number {
    return this.read(PORT0 + register);
  }
  setPort(register: number, value: number): void {
    this.write(PORT0 + register, value);
  }

  /** What a driver does first: memory for port 0, interrupts, the drive's signature awaited, the list started. */
  start(): void {
    this.write(0x04, 0x80000002);
    this.setPort(0x00, LIST);
    this.setPort(0x08, RECEIVED);
    this.setPort(0x18, 0x10); // FRE
    this.context.settle();
    this.setPort(0x30, 0xffffffff);
    this.setPort(0x10, 0xffffffff);
    this.setPort(0x14, 0x7dc000ff);
    this.setPort(0x18, 0x11); // ST
  }

  /** Message-signalled interrupts: data 55H to FEE00000H. */
  enableMsi(): void {
    this.ahci.pci.write(0x84, 4, 0xfee00000);
    this.ahci.pci.write(0x8c, 2, 0x55);
    this.ahci.pci.write(0x82, 2, 1);
  }

  /** Writes a command to a slot; `issue` starts it. */
  put(slot: number, c: Command): void {
    const table = TABLES + slot * TABLE_BYTES;
    const regions = c.regions ?? [];
    this.memory.bytes.fill(0, table, table + TABLE_BYTES);
    this.#view.setUint16(LIST + 32 * slot, 5 | (c.flags ?? 0), true);
    this.#view.setUint16(LIST + 32 * slot + 2, regions.length, true);
    this.#view.setUint32(LIST + 32 * slot + 4, 0, true);
    this.#view.setUint32(LIST + 32 * slot + 8, table, true);
    this.#view.setUint32(LIST + 32 * slot + 12, 0, true);
    this.memory.bytes.set(frame(c), table);
    regions.forEach(([address, length], i) => {
      this.#view.setUint32(table + 0x80 + 16 * i, address, true);
      this.#view.setUint32(table + 0x80 + 16 * i + 12, length - 1, true);
    });
  }

  issue(...slots: readonly number[]): void {
    this.setPort(0x38, slots.reduce((bits, slot) => bits | (1 << slot), 0) >>> 0);
  }

  /** Queued commands: PxSACT before PxCI. */
  issueQueued(...slots: readonly number[]): void {
    this.setPort(0x34, slots.reduce((bits, slot) => bits | (1 << slot), 0) >>> 0);
    this.issue(...slots);
  }

  /** Runs a command to its end and clears its interrupt. Returns PxIS, and PxTFD. */
  run(c: Command, slot = 0): { readonly is: number; readonly tfd: number } {
    this.put(slot, c);
    this.issue(slot);
    this.context.settle();
    const is = this.port(0x10);
    this.setPort(0x10, is);
    this.write(0x08, 1);
    return { is, tfd: this.port(0x20) };
  }

  bytes(address: number, length: number): Buffer {
    return Buffer.from(this.memory.bytes.slice(address, address + length));
  }
  prdbc(slot: number): number {
    return this.#view.getUint32(LIST + 32 * slot + 4, true);
  }
}

/** A host-to-device register frame. */
export function frame(c: Command): Uint8Array {
  const f = new Uint8Array(20);
  const lba = c.lba ?? 0;
  f[0] = 0x27;
  f[1] = c.isCommand === false ? 0 : 0x80;
  f[2] = c.command;
  f[3] = (c.feature ?? 0) & 0xff;
  f[11] = (c.feature ?? 0) >> 8;
  for (let i = 0; i < 6; i++) f[(i < 3 ? 4 : 5) + i] = Math.floor(lba / 256 ** i) & 0xff;
  f[7] = c.device ?? 0x40;
  f[12] = (c.count ?? 0) & 0xff;
  f[13] = (c.count ?? 0) >> 8;
  f[15] = c.control ?? 0;
  return f;
}

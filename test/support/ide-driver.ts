/**
 * An IDE controller on buses with a driver that issues commands as libata's BMDMA driver and xv6 do.
 */
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../devices/bus/port-bus.ts";
import { IdeController } from "../../devices/ide/controller.ts";
import type { IdeDriveOptions } from "../../devices/ide/device.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import type { DiskTiming, Storage } from "../../devices/ports.ts";
import { MemoryStorage } from "../../devices/storage/memory.ts";
import { FakeContext, FakeMemory, LineRecorder } from "./device-context.ts";

export interface IdeOptions {
  readonly sectors?: number;
  readonly storage?: Storage;
  readonly second?: Storage;
  readonly secondary?: Storage;
  readonly empty?: boolean;
  /** The first drive is a CD-ROM drive with that disc. */
  readonly cdrom?: boolean;
  readonly context?: FakeContext;
  readonly memory?: FakeMemory;
}

export class IdeMachine {
  readonly context: FakeContext;
  readonly memory: FakeMemory;
  readonly ports = new PortBus();
  readonly irq14 = new LineRecorder();
  readonly irq15 = new LineRecorder();
  readonly contents: Uint8Array;
  readonly storage: Storage;
  readonly ide: IdeController;
  readonly bus: PciBus;
  /** Base of the bus-master registers. */
  readonly bm = 0xc000;

  constructor(options: IdeOptions = {}) {
    this.context = options.context ?? new FakeContext();
    this.memory = options.memory ?? new FakeMemory(1024 * 1024);
    this.contents = Uint8Array.from({ length: (options.sectors ?? 2048) * 512 }, (_, i) => (i >> 9) + i * 11);
    this.storage = options.storage ?? new MemoryStorage(this.contents, { serial: "IDE-1" });
    const clock = this.context.clock;
    const timing: DiskTiming = { complete: () => clock.now() + 1000 };
    const drive = (storage: Storage | undefined): IdeDriveOptions | undefined =>
      storage === undefined ? undefined : { storage, timing };
    this.bus = new PciBus(this.context, { label: "pci", ports: this.ports, memory: new MmioBus() });
    this.ide = new IdeController(this.context, {
      label: "ide",
      memory: this.memory,
      ports: this.ports,
      irqs: [this.irq14, this.irq15],
      drives: [
        options.empty === true
          ? undefined
          : options.cdrom === true
            ? { storage: this.storage, timing, media: "cdrom" }
            : drive(this.storage),
        drive(options.second),
        drive(options.secondary),
        undefined,
      ],
    });
    this.bus.add(1, 1, this.ide.pci);
    if (options.context !== undefined) return;
    this.context.powerOn(this.bus, this.ide);
    setUpPci(this.bus, this.ports, { ioBase: this.bm, memoryBase: 0xe0000000, pmBase: 0x600 });
    this.ide.pci.write(4, 2, 5);
  }

  in(port: number, size: 1 | 2 | 4 = 1): number {
    return this.ports.read(port, size);
  }
  out(port: number, value: number, size: 1 | 2 | 4 = 1): void {
    this.ports.write(port, size, value);
  }
  get status(): number {
    return this.in(0x3f6);
  }

  /** Loads a 28-bit address and issues a command. */
  command28(command: number, lba: number, count: number, device = 0, features = 0): void {
    this.out(0x1f6, 0xe0 | (device << 4) | ((lba >>> 24) & 15));
    this.out(0x1f1, features);
    this.out(0x1f2, count);
    this.out(0x1f3, lba & 0xff);
    this.out(0x1f4, (lba >>> 8) & 0xff);
    this.out(0x1f5, (lba >>> 16) & 0xff);
    this.out(0x1f7, command);
  }

  /** Loads a 48-bit address: previous contents first. */
  command48(command: number, lba: number, count: number): void {
    const high = Math.floor(lba / 2 ** 24);
    this.out(0x1f6, 0x40);
    for (const [count8, low, mid, top] of [
      [count >> 8, high & 0xff, (high >> 8) & 0xff, (high >> 16) & 0xff],
      [count & 0xff, lba & 0xff, (lba >>> 8) & 0xff, (lba >>> 16) & 0xff],
    ] as const) {
      this.out(0x1f2, count8);
      this.out(0x1f3, low);
      this.out(0x1f4, mid);
      this.out(0x1f5, top);
    }
    this.out(0x1f7, command);
  }

  /** Waits for INTRQ (time passes), reads Status, returns it. */
  waitInterrupt(): number {
    for (let i = 0; i < 10_000 && !this.irq14.level; i++) this.context.advance(100);
    if (!this.irq14.level) throw new Error("no interrupt");
    return this.in(0x1f7);
  }

  readWords(count: number): Uint8Array {
    const bytes = new Uint8Array(2 * count);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) view.setUint16(2 * i, this.in(0x1f0, 2), true);
    return bytes;
  }
  writeWords(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let i = 0; i < bytes.length; i += 2) this.out(0x1f0, view.getUint16(i, true), 2);
  }

  /** Issues a command packet, as a driver without DMA does, and gives the status with which it asks for data or ends. */
  packet(bytes: readonly number[], byteCount = 0xfffe, features = 0): number {
    this.out(0x1f6, 0xa0);
    this.out(0x1f1, features);
    this.out(0x1f4, byteCount & 0xff);
    this.out(0x1f5, byteCount >> 8);
    this.out(0x1f7, 0xa0);
    if ((this.status & 0x88) !== 0x08 || this.in(0x1f2) !== 1) throw new Error("no packet is asked for");
    this.writeWords(Uint8Array.from({ length: 12 }, (_, i) => bytes[i] ?? 0));
    return features & 1 ? this.status : this.waitInterrupt();
  }

  /** The data of a packet command by PIO, block by block; the last status. */
  packetData(
    bytes: readonly number[],
    byteCount = 0xfffe,
  ): { data: Uint8Array; status: number; blocks: number[] } {
    let status = this.packet(bytes, byteCount);
    const data: number[] = [];
    const blocks: number[] = [];
    while ((status & 0x08) !== 0) {
      const length = this.in(0x1f4) | (this.in(0x1f5) << 8);
      blocks.push(length);
      data.push(...this.readWords(Math.ceil(length / 2)).subarray(0, length));
      status = this.waitInterrupt();
    }
    return { data: Uint8Array.from(data), status, blocks };
  }

  /** Writes a PRD table. */
  prd(at: number, regions: readonly (readonly [number, number])[], eot = true): void {
    const view = new DataView(this.memory.bytes.buffer);
    regions.forEach(([address, length], i) => {
      view.setUint32(at + 8 * i, address, true);
      view.setUint32(
        at + 8 * i + 4,
        (length & 0xffff) + (eot && i === regions.length - 1 ? 0x80000000 : 0),
        true,
      );
    });
  }

  /** A DMA command in libata's order: table, direction, command, start. */
  dma(command: number, lba: number, count: number, table: number, toMemory: boolean): void {
    this.out(this.bm + 4, table, 4);
    this.out(this.bm, toMemory ? 8 : 0);
    this.out(this.bm + 2, 0x66);
    this.command28(command, lba, count);
    this.out(this.bm, toMemory ? 9 : 1);
  }

  disk(sector: number, sectors: number): Uint8Array {
    return this.contents.slice(sector * 512, (sector + sectors) * 512);
  }
  ram(address: number, length: number): Uint8Array {
    return this.memory.bytes.slice(address, address + length);
  }
}

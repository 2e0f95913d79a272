/**
 * A virtio block device on buses, with a driver: what the tests of the queue, the transport and the block device
 * share.
 */
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../devices/bus/port-bus.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import type { DiskTiming, Storage } from "../../devices/ports.ts";
import { MemoryStorage } from "../../devices/storage/memory.ts";
import { VirtioBlk } from "../../devices/virtio/blk/device.ts";
import { FakeContext, FakeMemory, LineRecorder, MessageRecorder } from "./device-context.ts";
import { VirtioDriver } from "./virtio-driver.ts";
import type { DriverQueue } from "./virtio-driver.ts";

export const INDIRECT = 1n << 28n;
export const EVENT_IDX = 1n << 29n;
const RAM = 1024 * 1024;

export interface MachineOptions {
  readonly storage?: Storage;
  readonly sectors?: number;
  readonly queues?: number;
  readonly queueSize?: number;
  readonly packed?: boolean;
  /** Cycles that each request takes; default 1000. */
  readonly service?: (operation: string, sector: number, bytes: number) => number;
  readonly context?: FakeContext;
  readonly memory?: FakeMemory;
}

export class BlkMachine {
  readonly context: FakeContext;
  readonly memory: FakeMemory;
  readonly line = new LineRecorder();
  readonly messages = new MessageRecorder();
  readonly contents: Uint8Array;
  readonly storage: Storage;
  readonly disk: VirtioBlk;
  readonly mmio = new MmioBus();
  readonly bus: PciBus;
  #driver: VirtioDriver | undefined;

  constructor(options: MachineOptions = {}) {
    this.context = options.context ?? new FakeContext();
    this.memory = options.memory ?? new FakeMemory(RAM);
    this.contents = Uint8Array.from({ length: (options.sectors ?? 256) * 512 }, (_, i) => (i >> 9) + i * 5);
    this.storage = options.storage ?? new MemoryStorage(this.contents, { serial: "SERIAL-42" });
    const service = options.service ?? (() => 1000);
    const clock = this.context.clock;
    const timing: DiskTiming = {
      complete: (operation, sector, bytes) => clock.now() + service(operation, sector, bytes),
    };
    const ports = new PortBus();
    this.bus = new PciBus(this.context, { label: "pci", ports, memory: this.mmio });
    this.disk = new VirtioBlk(this.context, {
      label: "blk",
      memory: this.memory,
      messages: this.messages,
      intx: this.line,
      storage: this.storage,
      timing,
      queues: options.queues ?? 1,
      queueSize: options.queueSize ?? 16,
      packed: options.packed ?? false,
    });
    this.bus.add(4, 0, this.disk.pci);
    if (options.context !== undefined) return;
    this.context.powerOn(this.bus, this.disk);
    setUpPci(this.bus, ports, { ioBase: 0xc000, memoryBase: 0xe0000000, pmBase: 0x600 });
    this.disk.pci.write(4, 2, 6);
  }

  get driver(): VirtioDriver {
    this.#driver ??= new VirtioDriver(this.disk.pci, this.mmio);
    return this.#driver;
  }

  /** Negotiates, sets up `queues` queues from 1000H on, and starts the device. */
  start(features = 0n, size = 16, msix = true, queues = 1): DriverQueue[] {
    const inForce = this.driver.negotiate(features);
    if (msix) this.driver.enableMsix(queues + 1);
    const list: DriverQueue[] = [];
    let base = 0x1000;
    for (let i = 0; i < queues; i++) {
      const queue = this.driver.setUpQueue(this.memory, i, size, base, (inForce & EVENT_IDX) !== 0n);
      list.push(queue);
      base = Math.ceil(queue.end / 4096) * 4096;
    }
    this.driver.status = 0xf;
    return list;
  }

  /** Writes a request header. */
  header(address: number, type: number, sector: bigint | number = 0): void {
    const view = new DataView(this.memory.bytes.buffer, address, 16);
    view.setUint32(0, type, true);
    view.setUint32(4, 0, true);
    view.setBigUint64(8, BigInt(sector), true);
  }

  byte(address: number): number {
    return this.memory.bytes[address]!;
  }
}

/** Any virtio device on buses, with a driver: what the tests of the device types share. */
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../devices/bus/port-bus.ts";
import type { PciFunction } from "../../devices/pci/config-space.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import type { DmaMemory, InterruptLine, MessageSink, Resettable } from "../../devices/ports.ts";
import { FakeContext, FakeMemory, LineRecorder, MessageRecorder } from "./device-context.ts";
import { VirtioDriver, type DriverQueue } from "./virtio-driver.ts";

const EVENT_IDX = 1n << 29n;
const RAM = 1024 * 1024;

/** What every virtio device is made with. */
export interface VirtioParts {
  readonly label: string;
  readonly memory: DmaMemory;
  readonly messages: MessageSink;
  readonly intx: InterruptLine;
}

export class VirtioMachine<D extends Resettable & { readonly pci: PciFunction }> {
  readonly context: FakeContext;
  readonly memory = new FakeMemory(RAM);
  readonly line = new LineRecorder();
  readonly messages = new MessageRecorder();
  readonly mmio = new MmioBus();
  readonly device: D;
  readonly driver: VirtioDriver;

  /** @param others what must be reset before the device */
  constructor(
    make: (context: FakeContext, parts: VirtioParts) => D,
    options: { readonly stateBytes?: number; readonly others?: () => readonly Resettable[] } = {},
  ) {
    this.context = new FakeContext({ stateBytes: options.stateBytes ?? 1024 * 1024 });
    const ports = new PortBus();
    const bus = new PciBus(this.context, { label: "pci", ports, memory: this.mmio });
    this.device = make(this.context, {
      label: "card",
      memory: this.memory,
      messages: this.messages,
      intx: this.line,
    });
    bus.add(4, 0, this.device.pci);
    this.context.powerOn(bus, ...(options.others?.() ?? []), this.device);
    setUpPci(bus, ports, { ioBase: 0xc000, memoryBase: 0xe0000000, pmBase: 0x600 });
    this.device.pci.write(4, 2, 6);
    this.driver = new VirtioDriver(this.device.pci, this.mmio);
  }

  /** Negotiates, sets up queues of these sizes from 1000H on, and starts the device. */
  start(sizes: readonly number[], features = 0n, msix = true): DriverQueue[] {
    const inForce = this.driver.negotiate(features);
    if (msix) this.driver.enableMsix(sizes.length + 1);
    let base = 0x1000;
    const queues = sizes.map((size, index) => {
      const queue = this.driver.setUpQueue(this.memory, index, size, base, (inForce & EVENT_IDX) !== 0n);
      base = Math.ceil(queue.end / 4096) * 4096;
      return queue;
    });
    this.driver.status = 0xf;
    return queues;
  }
}

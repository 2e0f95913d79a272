/**
 * A virtio console: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Console Device". With one port alone it is the simple device
 * of two queues; with more it has the control queues of MULTIPORT. What the guest sends goes to a port's sink at once; what comes
 * from outside waits in a ring in shared state until the guest has buffers.
 */
import { bytes, nestedArray, struct, u16, u8, type ViewOf } from "../../../layout/struct.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import type { CharacterSink, DeviceContext, DmaMemory, Resettable } from "../../ports.ts";
import { readChain, writeChain } from "../chain-data.ts";
import { DescriptorChain } from "../queue.ts";
import { VirtioPci, type VirtioDeviceType, type VirtioWiring } from "../transport-pci.ts";
import * as spec from "./spec.ts";

/** Ports of one device at most. */
export const MOST_PORTS = 8;
const RING_BYTES = 4096;
const QUEUE_SIZE = 64;
const COPY_BYTES = 4096;
/** Longest buffer that a driver may send: so that one is bounded work. Drivers stay far below. */
const MOST_BUFFER_BYTES = 1024 * 1024;

/** Control messages that wait for a buffer, as bits of `pending`, in the order in which they are sent. */
const MESSAGES = [
  spec.VIRTIO_CONSOLE_DEVICE_ADD,
  spec.VIRTIO_CONSOLE_CONSOLE_PORT,
  spec.VIRTIO_CONSOLE_PORT_NAME,
  spec.VIRTIO_CONSOLE_PORT_OPEN,
] as const;

const PortStruct = struct("VirtioConsolePort", {
  /** The guest has opened the port. */
  isOpen: u8,
  /** Messages of `MESSAGES` to be sent. */
  pending: u8,
  ringHead: u16,
  ringCount: u16,
  ring: bytes(RING_BYTES),
});

const VirtioConsoleStruct = struct("VirtioConsole", { ports: nestedArray(PortStruct, MOST_PORTS) });

export interface ConsolePort {
  /** A console (hvc), or else a serial port with a name. */
  readonly isConsole: boolean;
  readonly name?: string;
  readonly sink: CharacterSink;
}

export interface VirtioConsoleOptions extends VirtioWiring {
  readonly ports: readonly ConsolePort[];
  /** Control queues and several ports. Without, there is port 0 alone. */
  readonly multiport: boolean;
}

export class VirtioConsole implements VirtioDeviceType, Resettable {
  readonly features: bigint;
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof VirtioConsoleStruct>;
  readonly #ports: readonly ConsolePort[];
  readonly #memory: DmaMemory;
  readonly #multiport: boolean;
  /** Scratch, valid inside one call only. */
  readonly #chain = new DescriptorChain();
  readonly #copy = new Uint8Array(COPY_BYTES);

  constructor(context: DeviceContext, options: VirtioConsoleOptions) {
    const { ports, multiport } = options;
    if (ports.length < 1 || ports.length > (multiport ? MOST_PORTS : 1))
      throw new RangeError(
        `${options.label}: ${ports.length} ports, must be 1 to ${multiport ? MOST_PORTS : 1}`,
      );
    this.#ports = ports;
    this.#memory = options.memory;
    this.#multiport = multiport;
    this.features =
      (1n << spec.VIRTIO_CONSOLE_F_EMERG_WRITE) | (multiport ? 1n << spec.VIRTIO_CONSOLE_F_MULTIPORT : 0n);
    this.#state = context.state.place(`${options.label} ports`, VirtioConsoleStruct);
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: spec.VIRTIO_ID_CONSOLE,
        classCode: 0x078000,
        queueSizes: new Array<number>(multiport ? 2 * (ports.length + 1) : 2).fill(QUEUE_SIZE),
      },
      this,
    );
    this.pci = this.transport.pci;
  }

  reset(): void {
    for (const port of this.#state.ports) port.ringHead = port.ringCount = 0;
    this.transport.reset();
  }

  /** Can the guest get what is sent to this port now? */
  isOpen(port: number): boolean {
    if (this.#hasControl) return this.#state.ports[port]!.isOpen !== 0;
    return port === 0 && this.transport.isQueueLive(0);
  }

  /**
   * Hands bytes from outside to a port.
   * @returns how many were accepted: fewer than given when its ring is full; the caller keeps the rest
   */
  receive(port: number, input: Uint8Array): number {
    const s = this.#state.ports[port]!;
    const accepted = Math.min(input.length, RING_BYTES - s.ringCount);
    for (let i = 0; i < accepted; i++) s.ring[(s.ringHead + s.ringCount + i) % RING_BYTES] = input[i]!;
    s.ringCount += accepted;
    this.#fill(port);
    return accepted;
  }

  // What the transport asks.

  notified(queue: number): void {
    if (this.#multiport && queue === spec.CONTROL_RECEIVE_QUEUE) this.#sendControl();
    else if (this.#multiport && queue === spec.CONTROL_TRANSMIT_QUEUE) this.#takeControl();
    else if (queue % 2 === 0) this.#fill(portOf(queue));
    else this.#drain(queue, portOf(queue));
  }

  /** What waits from outside stays: a driver that comes back finds it. */
  resetDevice(): void {
    for (const port of this.#state.ports) port.isOpen = port.pending = 0;
  }

  /** No buffer is kept. */
  resetQueue(): void {
    return;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    const config = new DataView(new ArrayBuffer(spec.CONFIG_BYTES + 4));
    if (this.#multiport) config.setUint32(spec.CONFIG_MAX_NR_PORTS, this.#ports.length, true);
    if (offset >= spec.CONFIG_BYTES) return 0;
    return size === 4
      ? config.getUint32(offset, true)
      : size === 2
        ? config.getUint16(offset, true)
        : config.getUint8(offset);
  }

  /** Emergency write: a byte to port 0, at any time. */
  writeConfig(offset: number, _size: 1 | 2 | 4, value: number): void {
    if (offset === spec.CONFIG_EMERG_WR) this.#ports[0]!.sink.write(Uint8Array.of(value & 0xff));
  }

  /** MULTIPORT is in force. */
  get #hasControl(): boolean {
    return this.#multiport && this.transport.hasFeature(spec.VIRTIO_CONSOLE_F_MULTIPORT);
  }

  /** Guest to sink. */
  #drain(queue: number, port: number): void {
    const sink = this.#ports[port]?.sink;
    this.#chains(queue, (chain) => {
      if (chain.readableBytes > MOST_BUFFER_BYTES) return undefined;
      for (let at = 0; at < chain.readableBytes; at += COPY_BYTES) {
        const part = this.#copy.subarray(0, Math.min(COPY_BYTES, chain.readableBytes - at));
        if (!readChain(chain, this.#memory, at, part)) return undefined;
        sink?.write(part);
      }
      return 0;
    });
  }

  /** Ring to guest, as far as it has buffers. */
  #fill(port: number): void {
    const s = this.#state.ports[port];
    const queue = port === 0 ? 0 : 2 + 2 * port;
    if (s === undefined || !this.isOpen(port) || !this.transport.isQueueLive(queue)) return;
    this.#chains(
      queue,
      (chain) => {
        const length = Math.min(s.ringCount, chain.writableBytes);
        const part = this.#copy.subarray(0, length);
        for (let i = 0; i < length; i++) part[i] = s.ring[(s.ringHead + i) % RING_BYTES]!;
        if (!writeChain(chain, this.#memory, 0, part)) return undefined;
        s.ringHead = (s.ringHead + length) % RING_BYTES;
        s.ringCount -= length;
        return length;
      },
      () => s.ringCount > 0,
    );
  }

  /** Control messages to the guest, as far as it has buffers. */
  #sendControl(): void {
    if (!this.#hasControl || !this.transport.isQueueLive(spec.CONTROL_RECEIVE_QUEUE)) return;
    const next = (): number => this.#state.ports.findIndex(({ pending }) => pending !== 0);
    this.#chains(
      spec.CONTROL_RECEIVE_QUEUE,
      (chain) => {
        const port = next();
        const s = this.#state.ports[port]!;
        const index = 31 - Math.clz32(s.pending & -s.pending);
        const message = this.#message(port, MESSAGES[index]!);
        if (!writeChain(chain, this.#memory, 0, message)) return undefined;
        s.pending &= ~(1 << index);
        return message.length;
      },
      () => next() >= 0,
    );
  }

  #message(port: number, event: (typeof MESSAGES)[number]): Uint8Array {
    const name =
      event === spec.VIRTIO_CONSOLE_PORT_NAME
        ? new TextEncoder().encode(`${this.#ports[port]!.name ?? ""}\0`)
        : [];
    const message = new Uint8Array(spec.CONTROL_BYTES + name.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, 1, true);
    message.set(name, spec.CONTROL_BYTES);
    return message;
  }

  #takeControl(): void {
    this.#chains(spec.CONTROL_TRANSMIT_QUEUE, (chain) => {
      const message = this.#copy.subarray(0, spec.CONTROL_BYTES);
      if (!readChain(chain, this.#memory, 0, message)) return undefined;
      const view = new DataView(message.buffer, message.byteOffset, spec.CONTROL_BYTES);
      this.#control(view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true));
      return 0;
    });
    this.#sendControl();
  }

  #control(id: number, event: number, value: number): void {
    if (event === spec.VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1) this.#ports.forEach((_, port) => this.#ask(port, spec.VIRTIO_CONSOLE_DEVICE_ADD));
      return;
    }
    const port = this.#ports[id];
    const s = this.#state.ports[id];
    if (port === undefined || s === undefined) return;
    if (event === spec.VIRTIO_CONSOLE_PORT_READY && value === 1) {
      if (port.isConsole) this.#ask(id, spec.VIRTIO_CONSOLE_CONSOLE_PORT);
      if (port.name !== undefined) this.#ask(id, spec.VIRTIO_CONSOLE_PORT_NAME);
      this.#ask(id, spec.VIRTIO_CONSOLE_PORT_OPEN);
    } else if (event === spec.VIRTIO_CONSOLE_PORT_OPEN) {
      s.isOpen = value === 0 ? 0 : 1;
      this.#fill(id);
    }
  }

  #ask(port: number, message: (typeof MESSAGES)[number]): void {
    this.#state.ports[port]!.pending |= 1 << MESSAGES.indexOf(message);
  }

  /**
   * Serves chains of a queue, at most as many as it holds: `each` returns the bytes written, or `undefined` for one that breaks
   * the rules. `isWanted`: whether one more would be of use.
   */
  #chains(
    index: number,
    each: (chain: DescriptorChain) => number | undefined,
    isWanted: () => boolean = () => true,
  ): void {
    const queue = this.transport.queues[index]!;
    for (let served = 0; served < queue.state.size && isWanted(); served++) {
      const found = queue.peek(this.#chain);
      if (found === "empty") break;
      const written = found === "ok" ? each(this.#chain) : undefined;
      if (written === undefined) {
        this.transport.needsReset();
        return;
      }
      queue.take();
      queue.pushUsed(this.#chain.head, written);
    }
    if (queue.state.signalPending !== 0) this.transport.signalQueue(index);
  }
}

/** The port whose data a queue carries: 0 and 1 are port 0's, 4 and 5 port 1's, and so on. */
function portOf(queue: number): number {
  return queue < 2 ? 0 : (queue >> 1) - 1;
}

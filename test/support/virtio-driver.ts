/**
 * The driver's side of virtio over PCI, for tests: finds the structures through the capability list, negotiates,
 * lays out split virtqueues in RAM, and adds descriptor chains, well-formed or not.
 */
import type { MmioBus } from "../../devices/bus/mmio-bus.ts";
import type { PciFunction } from "../../devices/pci/config-space.ts";
import type { FakeMemory } from "./device-context.ts";

export interface Buffer {
  readonly address: number;
  readonly length: number;
  readonly write?: boolean;
}

/** One descriptor as it stands in a table. */
export interface RawDescriptor {
  readonly address: bigint | number;
  readonly length: number;
  readonly flags: number;
  readonly next: number;
}

export class DriverQueue {
  readonly index: number;
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly end: number;
  availIndex = 0;
  usedSeen = 0;
  #nextFree = 0;
  readonly #memory: FakeMemory;
  readonly #view: DataView;
  readonly #kick: () => void;
  readonly #eventIdx: boolean;
  kicks = 0;
  /** Available index at the last look at whether to notify. */
  #kickedAt = 0;

  constructor(
    memory: FakeMemory,
    index: number,
    size: number,
    base: number,
    kick: () => void,
    eventIdx: boolean,
  ) {
    this.#memory = memory;
    this.#view = new DataView(memory.bytes.buffer);
    this.index = index;
    this.size = size;
    this.desc = base;
    this.avail = base + 16 * size;
    this.used = Math.ceil((this.avail + 6 + 2 * size) / 4) * 4;
    this.end = this.used + 6 + 8 * size;
    this.#kick = kick;
    this.#eventIdx = eventIdx;
  }

  writeDescriptor(table: number, at: number, d: RawDescriptor): void {
    const to = table + 16 * at;
    this.#view.setBigUint64(to, BigInt(d.address), true);
    this.#view.setUint32(to + 8, d.length, true);
    this.#view.setUint16(to + 12, d.flags, true);
    this.#view.setUint16(to + 14, d.next, true);
  }

  /** Writes a chain into the table (or an indirect table at `indirect`) and makes it available. Returns its head. */
  add(buffers: readonly Buffer[], indirect?: number): number {
    const descriptors = buffers.map((b, i) => ({ ...b, last: i === buffers.length - 1 }));
    if (indirect !== undefined) {
      descriptors.forEach((b, i) =>
        this.writeDescriptor(indirect, i, {
          address: b.address,
          length: b.length,
          flags: (b.write === true ? 2 : 0) | (b.last ? 0 : 1),
          next: i + 1,
        }),
      );
      const head = this.#take();
      this.writeDescriptor(this.desc, head, {
        address: indirect,
        length: 16 * buffers.length,
        flags: 4,
        next: 0,
      });
      this.offer(head);
      return head;
    }
    const at = descriptors.map(() => this.#take());
    descriptors.forEach((b, i) =>
      this.writeDescriptor(this.desc, at[i]!, {
        address: b.address,
        length: b.length,
        flags: (b.write === true ? 2 : 0) | (b.last ? 0 : 1),
        next: at[i + 1] ?? 0,
      }),
    );
    this.offer(at[0]!);
    return at[0]!;
  }

  /** Makes a head available, whatever it is. */
  offer(head: number): void {
    this.#view.setUint16(this.avail + 4 + 2 * (this.availIndex % this.size), head, true);
    this.setAvailIndex(this.availIndex + 1);
  }

  setAvailIndex(index: number): void {
    this.availIndex = index & 0xffff;
    this.#view.setUint16(this.avail + 2, this.availIndex, true);
  }

  /** Notifies as a driver does: only if the device wants it. */
  notify(): void {
    if (this.wantsNotification()) this.kick();
    this.#kickedAt = this.availIndex;
  }

  wantsNotification(): boolean {
    if (!this.#eventIdx) return (this.#view.getUint16(this.used, true) & 1) === 0;
    const event = this.#view.getUint16(this.used + 4 + 8 * this.size, true);
    return ((this.availIndex - event - 1) & 0xffff) < ((this.availIndex - this.#kickedAt) & 0xffff);
  }

  kick(): void {
    this.kicks++;
    this.#kick();
  }

  /** Asks for an interrupt at the used index `event` (EVENT_IDX). */
  setUsedEvent(event: number): void {
    this.#view.setUint16(this.avail + 4 + 2 * this.size, event & 0xffff, true);
  }

  setNoInterrupt(on: boolean): void {
    this.#view.setUint16(this.avail, on ? 1 : 0, true);
  }

  /** Used elements not yet seen, oldest first. */
  collect(): { id: number; length: number }[] {
    const index = this.#view.getUint16(this.used + 2, true);
    const seen: { id: number; length: number }[] = [];
    for (; this.usedSeen !== index; this.usedSeen = (this.usedSeen + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.usedSeen % this.size);
      seen.push({ id: this.#view.getUint32(at, true), length: this.#view.getUint32(at + 4, true) });
    }
    return seen;
  }

  #take(): number {
    const at = this.#nextFree;
    this.#nextFree = (this.#nextFree + 1) % this.size;
    return at;
  }

  get memory(): FakeMemory {
    return this.#memory;
  }
}

const COMMON = 1;
const NOTIFY = 2;
const ISR = 3;
const DEVICE = 4;

export class VirtioDriver {
  readonly #pci: PciFunction;
  readonly #bus: MmioBus;
  readonly #structures = new Map<number, number>();
  readonly #notifyMultiplier: number;
  readonly msixTable: number;

  /** The function's base address registers are assigned and decoding is on. */
  constructor(pci: PciFunction, bus: MmioBus) {
    this.#pci = pci;
    this.#bus = bus;
    let multiplier = 0;
    let table = 0;
    for (let at = pci.read(0x34, 1); at !== 0; at = pci.read(at + 1, 1)) {
      if (pci.read(at, 1) === 0x11)
        table = pci.barBase(pci.read(at + 4, 4) & 7)! + (pci.read(at + 4, 4) & ~7);
      if (pci.read(at, 1) !== 9) continue;
      const type = pci.read(at + 3, 1);
      if (type > DEVICE) continue;
      this.#structures.set(type, pci.barBase(pci.read(at + 4, 1))! + pci.read(at + 8, 4));
      if (type === NOTIFY) multiplier = pci.read(at + 16, 4);
    }
    this.#notifyMultiplier = multiplier;
    this.msixTable = table;
  }

  common(offset: number, size: 1 | 2 | 4): number {
    return this.#bus.read(this.#structures.get(COMMON)! + offset, size);
  }
  setCommon(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#bus.write(this.#structures.get(COMMON)! + offset, size, value);
  }
  config(offset: number, size: 1 | 2 | 4): number {
    return this.#bus.read(this.#structures.get(DEVICE)! + offset, size);
  }
  setConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.#bus.write(this.#structures.get(DEVICE)! + offset, size, value);
  }
  isr(): number {
    return this.#bus.read(this.#structures.get(ISR)!, 1);
  }
  get status(): number {
    return this.common(20, 1);
  }
  set status(value: number) {
    this.setCommon(20, 1, value);
  }
  kick(queue: number): void {
    this.#bus.write(this.#structures.get(NOTIFY)! + queue * this.#notifyMultiplier, 2, queue);
  }

  deviceFeatures(): bigint {
    this.setCommon(0, 4, 0);
    const low = BigInt(this.common(4, 4));
    this.setCommon(0, 4, 1);
    return low | (BigInt(this.common(4, 4)) << 32n);
  }

  setDriverFeatures(features: bigint): void {
    this.setCommon(8, 4, 0);
    this.setCommon(12, 4, Number(features & 0xffffffffn));
    this.setCommon(8, 4, 1);
    this.setCommon(12, 4, Number(features >> 32n));
  }

  /** Resets and negotiates up to FEATURES_OK. Returns the features in force. */
  negotiate(wanted: bigint): bigint {
    this.status = 0;
    this.status = 1;
    this.status = 3;
    const features = (wanted | (1n << 32n)) & this.deviceFeatures();
    this.setDriverFeatures(features);
    this.status = 0xb;
    return features;
  }

  /** Sets up one queue with its rings at `base`. */
  setUpQueue(memory: FakeMemory, index: number, size: number, base: number, eventIdx: boolean): DriverQueue {
    const queue = new DriverQueue(memory, index, size, base, () => this.kick(index), eventIdx);
    memory.bytes.fill(0, base, queue.end);
    this.setCommon(22, 2, index);
    this.setCommon(24, 2, size);
    if (this.msixTable !== 0) this.setCommon(26, 2, index + 1);
    [queue.desc, queue.avail, queue.used].forEach((address, i) => {
      this.setCommon(32 + 8 * i, 4, address);
      this.setCommon(36 + 8 * i, 4, 0);
    });
    this.setCommon(28, 2, 1);
    return queue;
  }

  /** Resets one queue (VIRTIO_F_RING_RESET); as the specification asks, looks whether it is over. */
  resetQueue(index: number): void {
    this.setCommon(22, 2, index);
    this.setCommon(58, 2, 1);
    if (this.common(58, 2) !== 0 || this.common(28, 2) !== 0) throw new Error(`queue ${index} is not reset`);
  }

  /** Turns MSI-X on: vector v sends data 40H + v to FEE00000H. */
  enableMsix(vectors: number): void {
    for (let v = 0; v < vectors; v++) {
      this.#bus.write(this.msixTable + 16 * v, 4, 0xfee00000);
      this.#bus.write(this.msixTable + 16 * v + 4, 4, 0);
      this.#bus.write(this.msixTable + 16 * v + 8, 4, 0x40 + v);
      this.#bus.write(this.msixTable + 16 * v + 12, 4, 0);
    }
    for (let at = this.#pci.read(0x34, 1); at !== 0; at = this.#pci.read(at + 1, 1))
      if (this.#pci.read(at, 1) === 0x11) this.#pci.write(at + 2, 2, 0x8000);
    this.setCommon(16, 2, 0);
  }
}

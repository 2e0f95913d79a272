/**
 * The device's side of a split virtqueue: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Split Virtqueues".
 *
 * The driver is not trusted. Each descriptor is copied once, then checked, then used; a chain is bounded, so a loop
 * ends; addresses must be RAM; ring indices are free-running 16-bit counters and a jump of more than the queue's
 * size is an error. What breaks a rule makes the queue report "broken", and the device then asks for a reset.
 */
import { i32, struct, u16, u32, u8 } from "../../layout/struct.ts";
import type { StateMemory, ViewOf } from "../../layout/struct.ts";
import type { BusAddress, DmaMemory } from "../ports.ts";
import * as spec from "./spec.ts";

/** The largest queue size a device here offers. */
export const MOST_QUEUE_SIZE = 1024;
/**
 * Descriptors in one chain, indirect ones counted. Linux puts more than a queue's size into an indirect table, so
 * the bound is this and not the queue's size.
 */
export const MOST_DESCRIPTORS = 1024;

/** Volatile state of one queue. */
export const VirtqueueStruct = struct("Virtqueue", {
  size: u16,
  msixVector: u16,
  enabled: u8,
  /** Features as latched when the queue was enabled. */
  eventIdx: u8,
  indirect: u8,
  /** The device does not want to be notified (it polls). */
  notificationsOff: u8,
  /** `signalledUsed` is meaningful. */
  signalledValid: u8,
  /** Chains are waiting that a bounded pass, or lack of room, left behind. */
  servePending: u8,
  /** Requests were completed since the queue was last signalled. */
  signalPending: u8,
  /** Next available-ring entry to take, and next used-ring index, both free-running. */
  lastAvail: u16,
  usedIndex: u16,
  signalledUsed: u16,
  descLow: u32,
  descHigh: u32,
  driverLow: u32,
  driverHigh: u32,
  deviceLow: u32,
  deviceHigh: u32,
  /** Target of the read-modify-write that serves as a memory fence. */
  fence: i32,
});

export type VirtqueueState = ViewOf<typeof VirtqueueStruct>;

/** One parsed chain. Filled by `Virtqueue.peek`; owned and reused by the caller. */
export class DescriptorChain {
  head = 0;
  /** Descriptors; the first `readable` of them are device-readable, the rest device-writable. */
  count = 0;
  readable = 0;
  readableBytes = 0;
  writableBytes = 0;
  readonly addresses = new Float64Array(MOST_DESCRIPTORS);
  readonly lengths = new Uint32Array(MOST_DESCRIPTORS);

  clear(head: number): void {
    this.head = head;
    this.count = 0;
    this.readable = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
  }
}

export class Virtqueue {
  readonly state: VirtqueueState;
  readonly #memory: DmaMemory;
  readonly #fence: Int32Array;
  readonly #fenceIndex: number;
  readonly #bytes = new Uint8Array(spec.VIRTQ_DESC_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  /** `offset` is where the queue's struct lies in the state memory. */
  constructor(state: StateMemory, offset: number, memory: DmaMemory) {
    this.state = VirtqueueStruct.at(state, offset);
    this.#memory = memory;
    this.#fence = state.i32;
    this.#fenceIndex = (offset + VirtqueueStruct.offsets.fence) >>> 2;
  }

  reset(maximumSize: number): void {
    const s = this.state;
    s.size = maximumSize;
    s.msixVector = spec.VIRTIO_MSI_NO_VECTOR;
    s.enabled = 0;
    s.eventIdx = 0;
    s.indirect = 0;
    s.notificationsOff = 0;
    s.signalledValid = 0;
    s.servePending = 0;
    s.signalPending = 0;
    s.lastAvail = 0;
    s.usedIndex = 0;
    s.signalledUsed = 0;
    s.descLow = s.descHigh = 0;
    s.driverLow = s.driverHigh = 0;
    s.deviceLow = s.deviceHigh = 0;
  }

  /** Latches the configuration. False when an area is misaligned or not in RAM. */
  enable(features: { readonly eventIdx: boolean; readonly indirect: boolean }): boolean {
    const s = this.state;
    const size = s.size;
    const inRam =
      this.#desc % 16 === 0 &&
      this.#driver % 2 === 0 &&
      this.#device % 4 === 0 &&
      this.#memory.contains(this.#desc, spec.VIRTQ_DESC_BYTES * size) &&
      this.#memory.contains(this.#driver, spec.RING_ENTRIES + 2 * size + 2) &&
      this.#memory.contains(this.#device, spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * size + 2);
    if (!inRam) return false;
    s.eventIdx = features.eventIdx ? 1 : 0;
    s.indirect = features.indirect ? 1 : 0;
    s.enabled = 1;
    return true;
  }

  /** Chains that the driver made available and nobody took; more than `size` means that the ring is broken. */
  get waiting(): number {
    const index = this.#memory.read16(this.#driver + spec.RING_IDX);
    return index === undefined ? 0 : (index - this.state.lastAvail) & 0xffff;
  }

  /** Parses the next available chain into `chain`, without taking it. */
  peek(chain: DescriptorChain): "ok" | "empty" | "broken" {
    const s = this.state;
    const waiting = this.waiting;
    if (waiting === 0) return "empty";
    if (waiting > s.size) return "broken";
    const head = this.#memory.read16(this.#driver + spec.RING_ENTRIES + 2 * (s.lastAvail % s.size));
    if (head === undefined || head >= s.size) return "broken";
    chain.clear(head);
    return this.#walk(chain, this.#desc, s.size, head, s.indirect !== 0) ? "ok" : "broken";
  }

  /** Takes the chain that `peek` returned. */
  take(): void {
    const s = this.state;
    s.lastAvail = (s.lastAvail + 1) & 0xffff;
    this.#publishAvailEvent();
  }

  /** Where the next chain is taken; `rewind` gives back the chains that were taken since. */
  get position(): number {
    return this.state.lastAvail;
  }

  rewind(position: number): void {
    this.state.lastAvail = position;
    this.#publishAvailEvent();
  }

  /** Puts a finished chain on the used ring: the element first, then the index. */
  pushUsed(head: number, length: number): void {
    this.stageUsed(head, length);
    this.publishUsed();
  }

  /** As `pushUsed`, but the driver sees it only after `publishUsed`: for several chains that belong together. */
  stageUsed(head: number, length: number): void {
    const s = this.state;
    const element = this.#device + spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * (s.usedIndex % s.size);
    this.#memory.write32(element, head);
    this.#memory.write32(element + 4, length);
    s.usedIndex = (s.usedIndex + 1) & 0xffff;
  }

  publishUsed(): void {
    const s = this.state;
    s.signalPending = 1;
    this.#memory.write16(this.#device + spec.RING_IDX, s.usedIndex);
  }

  /**
   * Does the driver want an interrupt for what was put on the used ring since the last call?
   * "Used Buffer Notification Suppression".
   */
  shouldSignal(): boolean {
    const s = this.state;
    s.signalPending = 0;
    // The used index must be visible before the driver's wish is read.
    this.#storeLoadFence();
    if (!s.eventIdx) {
      const flags = this.#memory.read16(this.#driver + spec.RING_FLAGS) ?? 0;
      return (flags & spec.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = this.#memory.read16(this.#driver + spec.RING_ENTRIES + 2 * s.size) ?? 0;
    const old = s.signalledUsed;
    const wasValid = s.signalledValid !== 0;
    s.signalledUsed = s.usedIndex;
    s.signalledValid = 1;
    // The driver is told when the index passes usedEvent.
    return !wasValid || ((s.usedIndex - usedEvent - 1) & 0xffff) < ((s.usedIndex - old) & 0xffff);
  }

  /**
   * Asks the driver for notifications, or asks it to leave them out.
   * @returns true when chains are waiting after switching on: the driver may have added them unnoticed, so the
   * caller must serve once more.
   */
  setNotificationsEnabled(on: boolean): boolean {
    const s = this.state;
    if (!s.enabled) return false;
    s.notificationsOff = on ? 0 : 1;
    if (s.eventIdx) this.#publishAvailEvent();
    else this.#memory.write16(this.#device + spec.RING_FLAGS, on ? 0 : spec.VIRTQ_USED_F_NO_NOTIFY);
    if (!on) return false;
    this.#storeLoadFence();
    return this.waiting !== 0;
  }

  get #desc(): BusAddress {
    return this.state.descHigh * 2 ** 32 + this.state.descLow;
  }
  get #driver(): BusAddress {
    return this.state.driverHigh * 2 ** 32 + this.state.driverLow;
  }
  get #device(): BusAddress {
    return this.state.deviceHigh * 2 ** 32 + this.state.deviceLow;
  }

  /**
   * avail_event: the driver notifies when its index passes it. While notifications are off it is kept half the
   * number circle ahead, where no index of a queue of at most 1,024 entries comes.
   */
  #publishAvailEvent(): void {
    const s = this.state;
    if (!s.eventIdx) return;
    const event = (s.lastAvail + (s.notificationsOff ? 0x7fff : 0)) & 0xffff;
    this.#memory.write16(this.#device + spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * s.size, event);
  }

  /** x86 (and wasm) order all but a store before a later load; an atomic read-modify-write orders that too. */
  #storeLoadFence(): void {
    Atomics.add(this.#fence, this.#fenceIndex, 0);
  }

  /** Follows a chain through a table of `tableSize` descriptors, into at most one indirect table. */
  #walk(
    chain: DescriptorChain,
    table: BusAddress,
    tableSize: number,
    first: number,
    indirect: boolean,
  ): boolean {
    let index = first;
    // A chain visits each descriptor of a table at most once: more steps than entries is a loop.
    for (let steps = 0; steps < tableSize; steps++) {
      if (index >= tableSize || !this.#memory.read(table + spec.VIRTQ_DESC_BYTES * index, this.#bytes))
        return false;
      const address = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
      const length = this.#view.getUint32(8, true);
      const flags = this.#view.getUint16(12, true);
      const next = this.#view.getUint16(14, true);
      if (flags & spec.VIRTQ_DESC_F_INDIRECT) {
        // "A driver MUST NOT set both VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT"; tables do not nest.
        if (!indirect || flags & spec.VIRTQ_DESC_F_NEXT) return false;
        const entries = length / spec.VIRTQ_DESC_BYTES;
        if (!Number.isInteger(entries) || entries < 1 || entries > MOST_DESCRIPTORS) return false;
        return this.#walk(chain, address, entries, 0, false);
      }
      if (!this.#append(chain, address, length, (flags & spec.VIRTQ_DESC_F_WRITE) !== 0)) return false;
      if (!(flags & spec.VIRTQ_DESC_F_NEXT)) return true;
      index = next;
    }
    return false;
  }

  #append(chain: DescriptorChain, address: BusAddress, length: number, writable: boolean): boolean {
    if (chain.count === MOST_DESCRIPTORS || length === 0 || !this.#memory.contains(address, length))
      return false;
    if (writable) chain.writableBytes += length;
    else {
      // "The driver MUST place any device-writable descriptors after any device-readable ones."
      if (chain.writableBytes > 0) return false;
      chain.readable++;
      chain.readableBytes += length;
    }
    chain.addresses[chain.count] = address;
    chain.lengths[chain.count] = length;
    chain.count++;
    // "a descriptor chain [must not be] more than 2^32 bytes long in total"
    return chain.readableBytes + chain.writableBytes <= 2 ** 32;
  }
}

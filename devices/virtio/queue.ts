/**
 * The device's side of a virtqueue, in the split or the packed format (split-ring.ts, packed-ring.ts).
 *
 * The driver is not trusted. Each descriptor is copied once, then checked, then used; a chain is bounded, so a loop
 * ends; addresses must be RAM; what breaks a rule makes the queue report "broken", and the device then asks for a
 * reset.
 */
import { array, i32, struct, u16, u32, u8 } from "../../layout/struct.ts";
import type { StateMemory, ViewOf } from "../../layout/struct.ts";
import type { BusAddress, DmaMemory } from "../ports.ts";
import { PackedRing } from "./packed-ring.ts";
import { MOST_CHAIN, type Ring } from "./ring.ts";
import { SplitRing } from "./split-ring.ts";
import * as spec from "./spec.ts";

/** The largest queue size a device here offers. */
export const MOST_QUEUE_SIZE = 1024;
/**
 * Descriptors in one chain, indirect ones counted. Linux puts more than a queue's size into an indirect table, so
 * the bound is this and not the queue's size.
 */
export const MOST_DESCRIPTORS = MOST_CHAIN;

/** Volatile state of one queue. */
export const VirtqueueStruct = struct("Virtqueue", {
  size: u16,
  msixVector: u16,
  enabled: u8,
  /** Features as latched when the queue was enabled. */
  eventIdx: u8,
  indirect: u8,
  packed: u8,
  /** The device does not want to be notified (it polls). */
  notificationsOff: u8,
  /** `signalledUsed` is meaningful. */
  signalledValid: u8,
  /** Chains are waiting that a bounded pass, or lack of room, left behind. */
  servePending: u8,
  /** Requests were completed since the queue was last signalled. */
  signalPending: u8,
  /** Next entry to take and next used one: free-running in a split ring, indices with wrap counters in a packed one. */
  lastAvail: u16,
  usedIndex: u16,
  availWrap: u8,
  usedWrap: u8,
  signalledUsed: u16,
  descLow: u32,
  descHigh: u32,
  driverLow: u32,
  driverHigh: u32,
  deviceLow: u32,
  deviceHigh: u32,
  /** Target of the read-modify-write that serves as a memory fence. */
  fence: i32,
  /** Packed: by ID, the descriptors that a chain under way takes in the ring. */
  slots: array("u16", MOST_QUEUE_SIZE),
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

  /** Adds a descriptor, after checking it. */
  append(memory: DmaMemory, address: BusAddress, length: number, writable: boolean): boolean {
    if (this.count === MOST_DESCRIPTORS || length === 0 || !memory.contains(address, length)) return false;
    if (writable) this.writableBytes += length;
    else {
      // "The driver MUST place any device-writable descriptors after any device-readable ones."
      if (this.writableBytes > 0) return false;
      this.readable++;
      this.readableBytes += length;
    }
    this.addresses[this.count] = address;
    this.lengths[this.count] = length;
    this.count++;
    // "a descriptor chain [must not be] more than 2^32 bytes long in total"
    return this.readableBytes + this.writableBytes <= 2 ** 32;
  }
}

export class Virtqueue {
  readonly state: VirtqueueState;
  readonly #split: SplitRing;
  readonly #packed: PackedRing;

  /** `offset` is where the queue's struct lies in the state memory. */
  constructor(state: StateMemory, offset: number, memory: DmaMemory) {
    this.state = VirtqueueStruct.at(state, offset);
    const fence = (offset + VirtqueueStruct.offsets.fence) >>> 2;
    this.#split = new SplitRing(this.state, memory, state.i32, fence);
    this.#packed = new PackedRing(this.state, memory, state.i32, fence);
  }

  get #ring(): Ring {
    return this.state.packed !== 0 ? this.#packed : this.#split;
  }

  reset(maximumSize: number): void {
    const s = this.state;
    s.size = maximumSize;
    s.msixVector = spec.VIRTIO_MSI_NO_VECTOR;
    s.enabled = 0;
    s.eventIdx = 0;
    s.indirect = 0;
    s.packed = 0;
    s.notificationsOff = 0;
    s.signalledValid = 0;
    s.servePending = 0;
    s.signalPending = 0;
    s.lastAvail = 0;
    s.usedIndex = 0;
    // "the wrap counters … MUST be initialized to 1".
    s.availWrap = s.usedWrap = 1;
    s.signalledUsed = 0;
    s.descLow = s.descHigh = 0;
    s.driverLow = s.driverHigh = 0;
    s.deviceLow = s.deviceHigh = 0;
    s.slots.fill(0);
  }

  /** Latches the configuration. False when an area is misaligned or not in RAM. */
  enable(features: {
    readonly eventIdx: boolean;
    readonly indirect: boolean;
    readonly packed?: boolean;
  }): boolean {
    const s = this.state;
    s.packed = features.packed === true ? 1 : 0;
    if (!this.#ring.areBytesInRam) return false;
    s.eventIdx = features.eventIdx ? 1 : 0;
    s.indirect = features.indirect ? 1 : 0;
    s.enabled = 1;
    return true;
  }

  /**
   * Chains that the driver made available and nobody took; of a packed ring only whether there are any. More than `size` means that the
   * ring is broken.
   */
  get waiting(): number {
    return this.#ring.waiting;
  }

  /** Parses the next available chain into `chain`, without taking it. */
  peek(chain: DescriptorChain): "ok" | "empty" | "broken" {
    return this.#ring.peek(chain);
  }

  /** Takes the chain that `peek` returned. */
  take(): void {
    this.#ring.take();
    this.#publishEvent();
  }

  /** Where the next chain is taken; `rewind` gives back the chains that were taken since. */
  get position(): number {
    return this.#ring.position;
  }

  rewind(position: number): void {
    this.#ring.position = position;
    this.#publishEvent();
  }

  /** Has the driver made a chain available at a position where there was none? */
  isAvailableAt(position: number): boolean {
    return this.#ring.isAvailableAt(position);
  }

  /** Gives a finished chain back, which the driver may see at once. */
  pushUsed(id: number, length: number): void {
    this.stageUsed(id, length);
    this.publishUsed();
  }

  /** As `pushUsed`, but the driver sees it only after `publishUsed`: for several chains that belong together. */
  stageUsed(id: number, length: number): void {
    this.#ring.stageUsed(id, length);
  }

  publishUsed(): void {
    this.state.signalPending = 1;
    this.#ring.publishUsed();
  }

  /** Does the driver want an interrupt for what was given back since the last call? */
  shouldSignal(): boolean {
    this.state.signalPending = 0;
    return this.#ring.shouldSignal();
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
    this.#ring.publishNotifications();
    return on && this.waiting !== 0;
  }

  /** With EVENT_IDX the driver is told from where on to notify whenever that moves. */
  #publishEvent(): void {
    if (this.state.eventIdx && !(this.state.packed && this.state.notificationsOff))
      this.#ring.publishNotifications();
  }
}

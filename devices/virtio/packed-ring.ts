/**
 * The packed format: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Packed Virtqueues". One ring of descriptors goes to and fro; two
 * flags of each, against a wrap counter of each side, say whose it is.
 *
 * A position is an index with the wrap counter in bit 15, as in the event suppression structures.
 */
import type { DescriptorChain } from "./queue.ts";
import { RingAreas, type Ring } from "./ring.ts";
import * as spec from "./spec.ts";

const WRAP = 1 << 15;

export class PackedRing extends RingAreas implements Ring {
  /** Of the chain that `peek` returned: its descriptors in the ring. Valid until `take`. */
  #peekedSlots = 0;
  #peekedId = 0;
  /** The first element that was staged: the driver sees none before its flags. */
  #stagedAt = -1;
  #stagedFlags = 0;

  get areBytesInRam(): boolean {
    return (
      this.desc % 16 === 0 &&
      this.driver % 4 === 0 &&
      this.device % 4 === 0 &&
      this.memory.contains(this.desc, spec.VIRTQ_DESC_BYTES * this.state.size) &&
      this.memory.contains(this.driver, spec.EVENT_SUPPRESSION_BYTES) &&
      this.memory.contains(this.device, spec.EVENT_SUPPRESSION_BYTES)
    );
  }

  /** Only whether there is a chain can be told: 0 or 1. */
  get waiting(): number {
    return this.isAvailableAt(this.position) ? 1 : 0;
  }

  get position(): number {
    return this.state.lastAvail | (this.state.availWrap << 15);
  }

  set position(position: number) {
    this.state.lastAvail = position & (WRAP - 1);
    this.state.availWrap = position >>> 15;
  }

  /** "available: the AVAIL flag equals the wrap counter, and the USED flag does not". */
  isAvailableAt(position: number): boolean {
    const at = this.desc + spec.VIRTQ_DESC_BYTES * (position & (WRAP - 1));
    const flags = this.memory.read16(at + spec.PACKED_FLAGS) ?? 0;
    const wrap = position >>> 15 !== 0;
    return (
      ((flags & spec.VIRTQ_DESC_F_AVAIL) !== 0) === wrap && ((flags & spec.VIRTQ_DESC_F_USED) !== 0) !== wrap
    );
  }

  /** A chain lies in descriptors next to each other; its ID is in the last. The flags of the first make all of them available. */
  peek(chain: DescriptorChain): "ok" | "empty" | "broken" {
    const s = this.state;
    if (!this.isAvailableAt(this.position)) return "empty";
    chain.clear(0);
    let index = s.lastAvail;
    for (let slots = 1; slots <= s.size; slots++) {
      const descriptor = this.descriptor(this.desc, index);
      if (descriptor === undefined) return "broken";
      const { address, length, third: id, fourth: flags } = descriptor;
      if (flags & spec.VIRTQ_DESC_F_INDIRECT) {
        // An indirect descriptor stands alone.
        if (slots > 1 || flags & spec.VIRTQ_DESC_F_NEXT || !s.indirect) return "broken";
        if (!this.#walkIndirect(chain, address, length)) return "broken";
      } else if (!chain.append(this.memory, address, length, (flags & spec.VIRTQ_DESC_F_WRITE) !== 0))
        return "broken";
      if (!(flags & spec.VIRTQ_DESC_F_NEXT)) {
        if (id >= s.size) return "broken";
        chain.head = id;
        this.#peekedId = id;
        this.#peekedSlots = slots;
        return "ok";
      }
      index = index + 1 === s.size ? 0 : index + 1;
    }
    return "broken";
  }

  take(): void {
    const s = this.state;
    s.slots[this.#peekedId] = this.#peekedSlots;
    s.lastAvail += this.#peekedSlots;
    if (s.lastAvail >= s.size) {
      s.lastAvail -= s.size;
      s.availWrap ^= 1;
    }
  }

  /** One descriptor for the whole chain, over its first; the others are passed over. */
  stageUsed(id: number, length: number): void {
    const s = this.state;
    const at = this.desc + spec.VIRTQ_DESC_BYTES * s.usedIndex;
    this.memory.write32(at + 8, length);
    this.memory.write16(at + spec.PACKED_ID, id);
    const flags =
      (s.usedWrap ? spec.VIRTQ_DESC_F_AVAIL | spec.VIRTQ_DESC_F_USED : 0) |
      (length > 0 ? spec.VIRTQ_DESC_F_WRITE : 0);
    if (this.#stagedAt < 0) {
      this.#stagedAt = at;
      this.#stagedFlags = flags;
    } else this.memory.write16(at + spec.PACKED_FLAGS, flags);
    s.usedIndex += s.slots[id % s.size]!;
    if (s.usedIndex < s.size) return;
    s.usedIndex -= s.size;
    s.usedWrap ^= 1;
    // Where the last signal was is told by an index alone: after a wrap it says nothing.
    s.signalledValid = 0;
  }

  publishUsed(): void {
    if (this.#stagedAt >= 0) this.memory.write16(this.#stagedAt + spec.PACKED_FLAGS, this.#stagedFlags);
    this.#stagedAt = -1;
  }

  /** "Driver and Device Event Suppression". */
  shouldSignal(): boolean {
    const s = this.state;
    this.storeLoadFence();
    const flags = (this.memory.read16(this.driver + 2) ?? 0) & 3;
    const old = s.signalledUsed;
    const wasValid = s.signalledValid !== 0;
    s.signalledUsed = s.usedIndex;
    s.signalledValid = 1;
    if (flags === spec.RING_EVENT_FLAGS_DISABLE) return false;
    if (flags !== spec.RING_EVENT_FLAGS_DESC || !s.eventIdx || !wasValid) return true;
    const wanted = this.memory.read16(this.driver) ?? 0;
    // Of the other lap: before or behind the ring.
    const event = (wanted & (WRAP - 1)) - (wanted >>> 15 === s.usedWrap ? 0 : s.size);
    return ((s.usedIndex - event - 1) & 0xffff) < ((s.usedIndex - old) & 0xffff);
  }

  publishNotifications(): void {
    const s = this.state;
    if (s.notificationsOff) this.memory.write16(this.device + 2, spec.RING_EVENT_FLAGS_DISABLE);
    else if (s.eventIdx) {
      // The offset first: the flags say that it counts.
      this.memory.write16(this.device, this.position);
      this.memory.write16(this.device + 2, spec.RING_EVENT_FLAGS_DESC);
    } else this.memory.write16(this.device + 2, spec.RING_EVENT_FLAGS_ENABLE);
    this.storeLoadFence();
  }

  /** Its descriptors stand one after another; of their flags only WRITE counts. */
  #walkIndirect(chain: DescriptorChain, table: number, length: number): boolean {
    const entries = this.entriesOf(length);
    if (entries === undefined) return false;
    for (let i = 0; i < entries; i++) {
      const descriptor = this.descriptor(table, i);
      if (descriptor === undefined || descriptor.fourth & spec.VIRTQ_DESC_F_INDIRECT) return false;
      const isWritable = (descriptor.fourth & spec.VIRTQ_DESC_F_WRITE) !== 0;
      if (!chain.append(this.memory, descriptor.address, descriptor.length, isWritable)) return false;
    }
    return true;
  }
}

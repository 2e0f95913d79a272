/** The split format: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Split Virtqueues". */
import type { BusAddress } from "../ports.ts";
import type { DescriptorChain } from "./queue.ts";
import { RingAreas, type Ring } from "./ring.ts";
import * as spec from "./spec.ts";

export class SplitRing extends RingAreas implements Ring {
  get areBytesInRam(): boolean {
    const { size } = this.state;
    return (
      this.desc % 16 === 0 &&
      this.driver % 2 === 0 &&
      this.device % 4 === 0 &&
      this.memory.contains(this.desc, spec.VIRTQ_DESC_BYTES * size) &&
      this.memory.contains(this.driver, spec.RING_ENTRIES + 2 * size + 2) &&
      this.memory.contains(this.device, spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * size + 2)
    );
  }

  get waiting(): number {
    const index = this.memory.read16(this.driver + spec.RING_IDX);
    return index === undefined ? 0 : (index - this.state.lastAvail) & 0xffff;
  }

  get position(): number {
    return this.state.lastAvail;
  }

  set position(position: number) {
    this.state.lastAvail = position;
  }

  isAvailableAt(position: number): boolean {
    return this.memory.read16(this.driver + spec.RING_IDX) !== position;
  }

  peek(chain: DescriptorChain): "ok" | "empty" | "broken" {
    const s = this.state;
    const { waiting } = this;
    if (waiting === 0) return "empty";
    if (waiting > s.size) return "broken";
    const head = this.memory.read16(this.driver + spec.RING_ENTRIES + 2 * (s.lastAvail % s.size));
    if (head === undefined || head >= s.size) return "broken";
    chain.clear(head);
    return this.#walk(chain, this.desc, s.size, head, s.indirect !== 0) ? "ok" : "broken";
  }

  take(): void {
    this.state.lastAvail = (this.state.lastAvail + 1) & 0xffff;
  }

  /** The element; the index that makes it seen comes with `publishUsed`. */
  stageUsed(id: number, length: number): void {
    const s = this.state;
    const element = this.device + spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * (s.usedIndex % s.size);
    this.memory.write32(element, id);
    this.memory.write32(element + 4, length);
    s.usedIndex = (s.usedIndex + 1) & 0xffff;
  }

  publishUsed(): void {
    this.memory.write16(this.device + spec.RING_IDX, this.state.usedIndex);
  }

  /** "Used Buffer Notification Suppression". */
  shouldSignal(): boolean {
    const s = this.state;
    // The used index must be visible before the driver's wish is read.
    this.storeLoadFence();
    if (!s.eventIdx) {
      const flags = this.memory.read16(this.driver + spec.RING_FLAGS) ?? 0;
      return (flags & spec.VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = this.memory.read16(this.driver + spec.RING_ENTRIES + 2 * s.size) ?? 0;
    const old = s.signalledUsed;
    const wasValid = s.signalledValid !== 0;
    s.signalledUsed = s.usedIndex;
    s.signalledValid = 1;
    // The driver is told when the index passes usedEvent.
    return !wasValid || ((s.usedIndex - usedEvent - 1) & 0xffff) < ((s.usedIndex - old) & 0xffff);
  }

  /**
   * avail_event: the driver notifies when its index passes it. While notifications are off it is kept half the
   * number circle ahead, where no index of a queue of at most 1,024 entries comes.
   */
  publishNotifications(): void {
    const s = this.state;
    if (s.eventIdx) {
      const event = (s.lastAvail + (s.notificationsOff ? 0x7fff : 0)) & 0xffff;
      this.memory.write16(this.device + spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * s.size, event);
    } else {
      const flags = s.notificationsOff ? spec.VIRTQ_USED_F_NO_NOTIFY : 0;
      this.memory.write16(this.device + spec.RING_FLAGS, flags);
    }
    this.storeLoadFence();
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
      const descriptor = index >= tableSize ? undefined : this.descriptor(table, index);
      if (descriptor === undefined) return false;
      const { address, length, third: flags, fourth: next } = descriptor;
      if (flags & spec.VIRTQ_DESC_F_INDIRECT) {
        // "A driver MUST NOT set both VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT"; tables do not nest.
        const entries = this.entriesOf(length);
        if (!indirect || flags & spec.VIRTQ_DESC_F_NEXT || entries === undefined) return false;
        return this.#walk(chain, address, entries, 0, false);
      }
      if (!chain.append(this.memory, address, length, (flags & spec.VIRTQ_DESC_F_WRITE) !== 0)) return false;
      if (!(flags & spec.VIRTQ_DESC_F_NEXT)) return true;
      index = next;
    }
    return false;
  }
}

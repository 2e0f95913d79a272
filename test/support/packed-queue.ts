/** The driver's side of a packed virtqueue, for tests. */
import type { FakeMemory } from "./device-context.ts";
import type { Buffer, RawDescriptor } from "./virtio-driver.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 1 << 7;
const USED = 1 << 15;

export class PackedQueue {
  readonly size: number;
  readonly ring: number;
  /** Event suppression: the driver's, the device's. */
  readonly driverEvent: number;
  readonly deviceEvent: number;
  readonly end: number;
  kicks = 0;
  readonly #view: DataView;
  readonly #kick: () => void;
  #next = 0;
  #wrap = true;
  #used = 0;
  #usedWrap = true;
  #id = 0;
  readonly #slots = new Map<number, number>();

  constructor(memory: FakeMemory, size: number, base: number, kick: () => void) {
    this.size = size;
    this.ring = base;
    this.driverEvent = base + 16 * size;
    this.deviceEvent = this.driverEvent + 4;
    this.end = this.deviceEvent + 4;
    this.#view = new DataView(memory.bytes.buffer);
    this.#kick = kick;
    memory.bytes.fill(0, base, this.end);
  }

  /** Makes a chain available; its first descriptor's flags come last. Returns its ID. */
  add(buffers: readonly Buffer[], indirect?: number): number {
    const id = this.#id;
    this.#id = (id + 1) % this.size;
    const list: RawDescriptor[] =
      indirect === undefined
        ? buffers.map((b, i) => ({
            address: b.address,
            length: b.length,
            flags: (b.write === true ? WRITE : 0) | (i === buffers.length - 1 ? 0 : NEXT),
            next: id,
          }))
        : [{ address: indirect, length: 16 * buffers.length, flags: INDIRECT, next: id }];
    if (indirect !== undefined)
      buffers.forEach((b, i) =>
        this.#put(indirect + 16 * i, b.address, b.length, 0, b.write === true ? WRITE : 0),
      );
    this.addRaw(list);
    return id;
  }

  /** As `add`, with descriptors that may be anything; `next` is the ID. */
  addRaw(list: readonly RawDescriptor[]): void {
    let first: (() => void) | undefined;
    list.forEach((d) => {
      const at = this.ring + 16 * this.#next;
      const flags = d.flags | (this.#wrap ? AVAIL : USED);
      this.#put(
        at,
        d.address,
        d.length,
        d.next,
        first === undefined ? this.#view.getUint16(at + 14, true) : flags,
      );
      first ??= () => this.#view.setUint16(at + 14, flags, true);
      this.#next++;
      if (this.#next === this.size) {
        this.#next = 0;
        this.#wrap = !this.#wrap;
      }
    });
    this.#slots.set(list[list.length - 1]!.next, list.length);
    first?.();
  }

  #put(at: number, address: bigint | number, length: number, id: number, flags: number): void {
    this.#view.setBigUint64(at, BigInt(address), true);
    this.#view.setUint32(at + 8, length, true);
    this.#view.setUint16(at + 12, id, true);
    this.#view.setUint16(at + 14, flags, true);
  }

  kick(): void {
    this.kicks++;
    this.#kick();
  }

  /** Used elements not yet seen. */
  collect(): { id: number; length: number }[] {
    const seen: { id: number; length: number }[] = [];
    for (;;) {
      const at = this.ring + 16 * this.#used;
      const flags = this.#view.getUint16(at + 14, true);
      if (((flags & AVAIL) !== 0) !== this.#usedWrap || ((flags & USED) !== 0) !== this.#usedWrap)
        return seen;
      const id = this.#view.getUint16(at + 12, true);
      seen.push({ id, length: this.#view.getUint32(at + 8, true) });
      this.#used += this.#slots.get(id) ?? 1;
      if (this.#used >= this.size) {
        this.#used -= this.size;
        this.#usedWrap = !this.#usedWrap;
      }
    }
  }

  /** Where the next used element will be, as in an event suppression structure. */
  get usedPosition(): number {
    return this.#used | (this.#usedWrap ? USED : 0);
  }

  setDriverEvent(offsetAndWrap: number, flags: number): void {
    this.#view.setUint16(this.driverEvent, offsetAndWrap, true);
    this.#view.setUint16(this.driverEvent + 2, flags, true);
  }

  get deviceFlags(): number {
    return this.#view.getUint16(this.deviceEvent + 2, true);
  }
  get deviceOffset(): number {
    return this.#view.getUint16(this.deviceEvent, true);
  }
}

/** What both formats of a virtqueue have in common: where its areas are, and the copy of one descriptor. */
import type { BusAddress, DmaMemory } from "../ports.ts";
import type { DescriptorChain, VirtqueueState } from "./queue.ts";
import * as spec from "./spec.ts";

/** The device's side of a ring; see `Virtqueue`, whose methods these are. */
export interface Ring {
  readonly areBytesInRam: boolean;
  readonly waiting: number;
  position: number;
  isAvailableAt(position: number): boolean;
  peek(chain: DescriptorChain): "ok" | "empty" | "broken";
  take(): void;
  stageUsed(id: number, length: number): void;
  publishUsed(): void;
  shouldSignal(): boolean;
  publishNotifications(): void;
}

/** Descriptors in one chain, indirect ones counted. */
export const MOST_CHAIN = 1024;

/** One descriptor, copied. */
export interface Descriptor {
  readonly address: BusAddress;
  readonly length: number;
  /** The last two fields: flags and next in a split ring, ID and flags in a packed one. */
  readonly third: number;
  readonly fourth: number;
}

export class RingAreas {
  protected readonly state: VirtqueueState;
  protected readonly memory: DmaMemory;
  readonly #fence: Int32Array;
  readonly #fenceIndex: number;
  readonly #bytes = new Uint8Array(spec.VIRTQ_DESC_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  /** @param fence the word, in 32-bit words, that serves for fences */
  constructor(state: VirtqueueState, memory: DmaMemory, fence: Int32Array, fenceIndex: number) {
    this.state = state;
    this.memory = memory;
    this.#fence = fence;
    this.#fenceIndex = fenceIndex;
  }

  protected get desc(): BusAddress {
    return this.state.descHigh * 2 ** 32 + this.state.descLow;
  }
  protected get driver(): BusAddress {
    return this.state.driverHigh * 2 ** 32 + this.state.driverLow;
  }
  protected get device(): BusAddress {
    return this.state.deviceHigh * 2 ** 32 + this.state.deviceLow;
  }

  /** x86 (and wasm) order all but a store before a later load; an atomic read-modify-write orders that too. */
  protected storeLoadFence(): void {
    Atomics.add(this.#fence, this.#fenceIndex, 0);
  }

  /** Copies descriptor `index` of a table; undefined when it is not in RAM. */
  protected descriptor(table: BusAddress, index: number): Descriptor | undefined {
    if (!this.memory.read(table + spec.VIRTQ_DESC_BYTES * index, this.#bytes)) return undefined;
    return {
      address: this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32,
      length: this.#view.getUint32(8, true),
      third: this.#view.getUint16(12, true),
      fourth: this.#view.getUint16(14, true),
    };
  }

  /** Entries of an indirect table of `length` bytes; undefined when it is none. */
  protected entriesOf(length: number): number | undefined {
    const entries = length / spec.VIRTQ_DESC_BYTES;
    return Number.isInteger(entries) && entries >= 1 && entries <= MOST_CHAIN ? entries : undefined;
  }
}

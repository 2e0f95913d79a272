/**
 * The bus-master half of an IDE channel: registers, and the walk through the physical region descriptor table.
 * Intel, "Programming Interface for Bus Master IDE Controller", and the PIIX data sheet.
 */
import type { DmaMemory } from "../ports.ts";
import * as spec from "./spec.ts";
import type { ChannelState } from "./state.ts";

export type DmaOutcome =
  /** The drive's data are through, and the table ends there too. */
  | "done"
  /** The drive's data are through; the table would go on (the controller stays active). */
  | "table-longer"
  /** The table ended before the drive's data. */
  | "table-shorter"
  /** Memory could not be reached. */
  | "memory-error";

/** One region to transfer; owned by the walker and reused. */
export interface Region {
  address: number;
  length: number;
}

export class BusMaster {
  readonly #state: ChannelState;
  readonly #memory: DmaMemory;
  readonly #region: Region = { address: 0, length: 0 };

  constructor(state: ChannelState, memory: DmaMemory) {
    this.#state = state;
    this.#memory = memory;
  }

  reset(): void {
    const s = this.#state;
    s.bmicom = 0;
    s.bmista = 0;
    s.bmActive = 0;
    s.bmidtp = 0;
    s.prdNext = 0;
    s.prdEntries = 0;
    s.prdAddress = 0;
    s.prdLeft = 0;
    s.prdLast = 0;
  }

  readByte(offset: number): number {
    const s = this.#state;
    switch (offset) {
      case spec.BMICOM:
        return s.bmicom;
      case spec.BMISTA:
        return s.bmista | (s.bmActive ? spec.BMISTA_ACTIVE : 0);
      case spec.BMIDTP:
      case spec.BMIDTP + 1:
      case spec.BMIDTP + 2:
      case spec.BMIDTP + 3:
        return (s.bmidtp >>> (8 * (offset - spec.BMIDTP))) & 0xff;
      default:
        return 0;
    }
  }

  /** @returns true when this write started the bus master. */
  writeByte(offset: number, value: number): boolean {
    const s = this.#state;
    switch (offset) {
      case spec.BMICOM: {
        const starts = (value & ~s.bmicom & spec.BMICOM_SSBM) !== 0;
        // The direction "must not be changed when the bus master function is active".
        const writable = s.bmActive ? spec.BMICOM_SSBM : spec.BMICOM_SSBM | spec.BMICOM_RWCON;
        s.bmicom = (s.bmicom & ~writable) | (value & writable);
        if (!(value & spec.BMICOM_SSBM)) s.bmActive = 0;
        if (starts) this.#start();
        return starts;
      }
      case spec.BMISTA: {
        const cleared = value & (spec.BMISTA_ERROR | spec.BMISTA_INTERRUPT);
        const capable = spec.BMISTA_DRIVE0_DMA | spec.BMISTA_DRIVE1_DMA;
        s.bmista = (s.bmista & ~cleared & ~capable) | (value & capable);
        return false;
      }
      case spec.BMIDTP:
      case spec.BMIDTP + 1:
      case spec.BMIDTP + 2:
      case spec.BMIDTP + 3: {
        const shift = 8 * (offset - spec.BMIDTP);
        const merged = (s.bmidtp & ~(0xff << shift)) | (value << shift);
        s.bmidtp = (merged & ~3) >>> 0;
        return false;
      }
      default:
        return false;
    }
  }

  get active(): boolean {
    return this.#state.bmActive !== 0;
  }

  /** True when the bus master moves data from the drive to memory. */
  get readsDrive(): boolean {
    return (this.#state.bmicom & spec.BMICOM_RWCON) !== 0;
  }

  /**
   * The next piece of memory, of at most `most` bytes; `undefined` when the table has ended, "error" when it
   * cannot be read. Each entry is copied once. Whether the piece is RAM shows when it is read or written.
   */
  nextRegion(most: number): Region | "error" | undefined {
    const s = this.#state;
    while (s.prdLeft === 0) {
      if (s.prdLast || s.prdEntries === spec.PRD_ENTRIES_AT_MOST) return undefined;
      if (!this.#fetch()) return "error";
    }
    const length = Math.min(most, s.prdLeft);
    this.#region.address = s.prdAddress;
    this.#region.length = length;
    s.prdAddress = (s.prdAddress + length) >>> 0;
    s.prdLeft -= length;
    return this.#region;
  }

  /** Ends a transfer and sets the status that the data sheet's table gives for the outcome. */
  finish(outcome: DmaOutcome): void {
    const s = this.#state;
    // Active stays set while the table has more: "the controller is still expecting data".
    if (outcome !== "table-longer") s.bmActive = 0;
    if (outcome === "memory-error") s.bmista |= spec.BMISTA_ERROR;
  }

  /** Is the table used up? */
  get exhausted(): boolean {
    return this.#state.prdLeft === 0 && this.#state.prdLast !== 0;
  }

  #start(): void {
    const s = this.#state;
    s.bmActive = 1;
    s.prdNext = s.bmidtp;
    s.prdEntries = 0;
    s.prdLeft = 0;
    s.prdLast = 0;
  }

  /** Copies the next table entry. The table wraps inside its 64 KiB window, as the counter of the chip does. */
  #fetch(): boolean {
    const s = this.#state;
    const address = this.#memory.read32(s.prdNext);
    const control = this.#memory.read32(s.prdNext + 4);
    if (address === undefined || control === undefined) return false;
    const window = s.prdNext - (s.prdNext % spec.PRD_TABLE_WINDOW);
    s.prdNext = window + ((s.prdNext + spec.PRD_BYTES) % spec.PRD_TABLE_WINDOW);
    s.prdEntries++;
    s.prdAddress = (address & ~1) >>> 0;
    // A byte count of 0 means 64 KiB; counts are even.
    s.prdLeft = control & 0xfffe || 0x10000;
    s.prdLast = (control & spec.PRD_EOT) !== 0 ? 1 : 0;
    return true;
  }
}

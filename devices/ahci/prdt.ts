/** The walk through a command's physical region descriptor table: AHCI 1.3.1, "Physical Region Descriptor Table". */
import type { DmaMemory } from "../ports.ts";
import * as spec from "./spec.ts";

/** What came of moving data. */
export type Moved =
  | "ok"
  /** The table ended before the data. */
  | "short"
  /** The table, or what it names, is not RAM. */
  | "memory-error";

/** Moves one command's data in order. Reused; each entry is copied once. */
export class RegionTable {
  readonly #memory: DmaMemory;
  readonly #entry = new Uint8Array(spec.PRD_BYTES);
  readonly #view = new DataView(this.#entry.buffer);
  #next = 0;
  #entries = 0;
  #address = 0;
  #left = 0;
  /** Bytes moved since `begin`. */
  moved = 0;

  readonly #mayMaster: () => boolean;

  /** @param mayMaster may the function reach memory? */
  constructor(memory: DmaMemory, mayMaster: () => boolean) {
    this.#memory = memory;
    this.#mayMaster = mayMaster;
  }

  /** @param table physical address of the first entry */
  begin(table: number, entries: number): void {
    this.#next = table;
    this.#entries = entries;
    this.#left = 0;
    this.moved = 0;
  }

  /** `from` to memory. */
  write(from: Uint8Array): Moved {
    return this.#move(from, (address, part) => this.#memory.write(address, part));
  }

  /** Memory to `into`. */
  read(into: Uint8Array): Moved {
    return this.#move(into, (address, part) => this.#memory.read(address, part));
  }

  #move(data: Uint8Array, each: (address: number, part: Uint8Array) => boolean): Moved {
    if (!this.#mayMaster()) return "memory-error";
    let at = 0;
    while (at < data.length) {
      while (this.#left === 0) {
        if (this.#entries === 0) return "short";
        if (!this.#fetch()) return "memory-error";
      }
      const part = Math.min(this.#left, data.length - at);
      if (!each(this.#address, data.subarray(at, at + part))) return "memory-error";
      this.#address += part;
      this.#left -= part;
      this.moved += part;
      at += part;
    }
    return "ok";
  }

  #fetch(): boolean {
    if (!this.#memory.read(this.#next, this.#entry)) return false;
    this.#next += spec.PRD_BYTES;
    this.#entries--;
    this.#address = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
    // Zero-based, and "bit 0 must always be 1": regions have even lengths and begin at even addresses.
    this.#address -= this.#address % 2;
    this.#left = ((this.#view.getUint32(12, true) & spec.PRD_DBC) | 1) + 1;
    return true;
  }
}

/**
 * A VM's firmware ROM in its guest-physical address space: at the top below 4 GiB, and in C0000H–FFFFFH where the VM's host
 * bridge does not send accesses to RAM. Pages of ROM, and of RAM that may not be written, are mapped without write access:
 * writes to them exit, and are made, or lost, here.
 */
import type { HostBridge } from "../devices/pci/chipset.ts";
import type { MachineMemory } from "../emulator/host/core.ts";
import { EptRights } from "./ept.ts";

const PAGE = 4096;
const PART = 0x4000;
const SHADOWED = 0xc0000;
const SHADOWED_END = 0x100000;
const LOW_ROM_BYTES = 0x20000;
const FOUR_GIB = 0x100000000;

export interface FirmwareRomOptions {
  readonly memory: MachineMemory;
  /** Machine-physical address of the ROM's bytes, and of guest-physical address 0. */
  readonly romBase: number;
  readonly ramBase: number;
  readonly bytes: number;
  readonly hostBridge: () => HostBridge;
}

/** Where a guest-physical page lies and what may be done there without an exit. */
export interface PagePlace {
  readonly machineAddress: number;
  readonly rights: number;
}

export class FirmwareRom {
  readonly #o: FirmwareRomOptions;

  constructor(options: FirmwareRomOptions) {
    this.#o = options;
  }

  /** Pages of the attribute map's area: what `place` says of them changes with the map. */
  static readonly SHADOWED_PAGES: readonly number[] = Array.from(
    { length: (SHADOWED_END - SHADOWED) / PAGE },
    (_, i) => SHADOWED + i * PAGE,
  );

  /** Puts the image where the VM's ROM lies. */
  load(image: Uint8Array): void {
    const { memory, romBase, bytes } = this.#o;
    memory.state.bytes.set(image, memory.ramOffset(romBase, bytes));
  }

  /** Is the page in the area, or in the ROM below 4 GiB? */
  covers(page: number): boolean {
    return (page >= SHADOWED && page < SHADOWED_END) || (page >= FOUR_GIB - this.#o.bytes && page < FOUR_GIB);
  }

  /** The place of a page that it covers; undefined where nothing answers reads. */
  place(page: number): PagePlace | undefined {
    const { romBase, ramBase, bytes } = this.#o;
    const readOnly = EptRights.READ | EptRights.EXECUTE;
    if (page >= SHADOWED_END)
      return { machineAddress: romBase + page - (FOUR_GIB - bytes), rights: readOnly };
    const { reads, writes } = this.#mapOf(page);
    if (reads) return { machineAddress: ramBase + page, rights: writes ? EptRights.ALL : readOnly };
    if (page < SHADOWED_END - Math.min(bytes, LOW_ROM_BYTES)) return undefined;
    return { machineAddress: romBase + bytes - (SHADOWED_END - page), rights: readOnly };
  }

  /** Reads for the instruction emulator. */
  read(address: number, size: 1 | 2 | 4): number {
    const place = this.place(address - (address % PAGE));
    let value = 0;
    for (let i = 0; i < size; i++) {
      const at = place && this.#o.memory.ramOffset(place.machineAddress + (address % PAGE) + i, 1);
      value += (at ? this.#o.memory.state.bytes[at]! : 0xff) * 256 ** i;
    }
    return value;
  }

  /** Wasm offset of the RAM that a write reaches, or 0: it is lost. */
  writeOffset(address: number, size: number): number {
    if (address >= SHADOWED_END || !this.#mapOf(address).writes) return 0;
    return this.#o.memory.ramOffset(this.#o.ramBase + address, size);
  }

  #mapOf(address: number): { readonly reads: boolean; readonly writes: boolean } {
    const { reads, writes } = this.#o.hostBridge().attributeMap;
    const bit = 1 << Math.floor((address - SHADOWED) / PART);
    return { reads: (reads & bit) !== 0, writes: (writes & bit) !== 0 };
  }
}

/** DMA: how devices reach RAM, through the one door for writes. */
import type { BusAddress, DmaMemory } from "../../devices/ports.ts";
import type { MachineMemory } from "../host/core.ts";

/** Tells the cores that RAM has been written (decoded code, dirty log). Offsets are of the wasm memory. */
export type WriteNotice = (offset: number, length: number) => void;

/** Where a device's address lies in the wasm memory: 0 when not all of it is RAM. */
export type Translate = (address: BusAddress, length: number) => number;

/**
 * DMA in one address space. On metal `translate` is the machine-physical map; for a VM's devices it is the VM's
 * memory slots. Ranges that are contiguous for the device are contiguous in the wasm memory.
 */
export class Dma implements DmaMemory {
  readonly #memory: MachineMemory;
  readonly #translate: Translate;
  readonly #written: WriteNotice;

  constructor(memory: MachineMemory, translate: Translate, written: WriteNotice) {
    this.#memory = memory;
    this.#translate = translate;
    this.#written = written;
  }

  contains(address: BusAddress, length: number): boolean {
    return length === 0 || this.#translate(address, length) !== 0;
  }

  read(address: BusAddress, into: Uint8Array): boolean {
    if (into.length === 0) return true;
    const offset = this.#translate(address, into.length);
    if (offset === 0) return false;
    into.set(this.#memory.state.bytes.subarray(offset, offset + into.length));
    return true;
  }

  write(address: BusAddress, from: Uint8Array): boolean {
    if (from.length === 0) return true;
    const offset = this.#translate(address, from.length);
    if (offset === 0) return false;
    this.#memory.state.bytes.set(from, offset);
    this.#written(offset, from.length);
    return true;
  }

  read16(address: BusAddress): number | undefined {
    const offset = this.#translate(address, 2);
    if (offset === 0) return undefined;
    const { bytes, u16 } = this.#memory.state;
    return offset & 1 ? bytes[offset]! | (bytes[offset + 1]! << 8) : u16[offset >>> 1]!;
  }

  read32(address: BusAddress): number | undefined {
    const offset = this.#translate(address, 4);
    if (offset === 0) return undefined;
    const { bytes, u32 } = this.#memory.state;
    if ((offset & 3) === 0) return u32[offset >>> 2]!;
    return (
      (bytes[offset]! |
        (bytes[offset + 1]! << 8) |
        (bytes[offset + 2]! << 16) |
        (bytes[offset + 3]! << 24)) >>>
      0
    );
  }

  write16(address: BusAddress, value: number): boolean {
    const offset = this.#translate(address, 2);
    if (offset === 0) return false;
    const { bytes, u16 } = this.#memory.state;
    if (offset & 1) {
      bytes[offset] = value;
      bytes[offset + 1] = value >>> 8;
    } else u16[offset >>> 1] = value;
    this.#written(offset, 2);
    return true;
  }

  write32(address: BusAddress, value: number): boolean {
    const offset = this.#translate(address, 4);
    if (offset === 0) return false;
    const { bytes, u32 } = this.#memory.state;
    if ((offset & 3) === 0) u32[offset >>> 2] = value;
    else for (let i = 0; i < 4; i++) bytes[offset + i] = value >>> (8 * i);
    this.#written(offset, 4);
    return true;
  }
}

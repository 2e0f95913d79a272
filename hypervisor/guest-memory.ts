/** A VM's RAM: where guest-physical addresses lie in the machine. */
import type { MachineMemory } from "../emulator/host/core.ts";

const PAGE = 4096;

export interface GuestMemoryOptions {
  readonly memory: MachineMemory;
  /** Machine-physical address of guest-physical 0. */
  readonly ramBase: number;
  /** Guest-physical RAM, below the PCI hole. */
  readonly ramBytes: number;
}

export class GuestMemory {
  readonly #memory: MachineMemory;
  readonly #ramBase: number;
  readonly #ramBytes: number;

  constructor({ memory, ramBase, ramBytes }: GuestMemoryOptions) {
    this.#memory = memory;
    this.#ramBase = ramBase;
    this.#ramBytes = ramBytes;
  }

  /** True when the page at a guest-physical address is RAM. */
  isRam(guestPhysical: number): boolean {
    return this.ramOffset(guestPhysical - (guestPhysical % PAGE), PAGE) !== 0;
  }

  /** Machine-physical address of a guest-physical one. */
  machineAddress(guestPhysical: number): number {
    return this.#ramBase + guestPhysical;
  }

  /** Wasm offset of `length` bytes at a guest-physical address; 0 when they are not all RAM. */
  ramOffset(guestPhysical: number, length: number): number {
    if (guestPhysical < 0 || guestPhysical >= this.#ramBytes || length > this.#ramBytes - guestPhysical)
      return 0;
    if (guestPhysical < 0xc0000 && guestPhysical + length > 0xa0000) return 0;
    return this.#memory.ramOffset(this.#ramBase + guestPhysical, length);
  }

  /** A copy of guest-physical RAM; undefined when the range is not all RAM. Has no effect on the guest. */
  read(guestPhysical: number, length: number): Uint8Array | undefined {
    const offset = this.ramOffset(guestPhysical, length);
    return offset === 0 ? undefined : this.#memory.state.bytes.slice(offset, offset + length);
  }

  /** Eight aligned bytes of guest-physical RAM; undefined when they are not. */
  read64(guestPhysical: number): bigint | undefined {
    const offset = this.ramOffset(guestPhysical, 8);
    return offset === 0 || offset % 8 !== 0 ? undefined : this.#memory.state.u64[offset / 8];
  }

  /** Puts bytes into guest-physical RAM before the guest runs. Throws RangeError when they do not fit. */
  load(guestPhysical: number, bytes: Uint8Array): void {
    const offset = this.ramOffset(guestPhysical, bytes.length);
    if (offset === 0)
      throw new RangeError(`segment at ${guestPhysical.toString(16).toUpperCase()}H is outside the VM's RAM`);
    this.#memory.state.bytes.set(bytes, offset);
  }
}

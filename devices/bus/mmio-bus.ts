/**
 * The memory bus above RAM: who answers which physical address. Rules are those of the port bus: fixed ranges
 * before programmable ones, then the earlier registered; nothing is cached; unclaimed reads are all ones.
 *
 * RAM and ROM are not here: the board asks this bus only for addresses that are neither.
 */
import type { BusAddress, DeviceRole, MmioDevice } from "../ports.ts";

export interface MmioRange {
  readonly label: string;
  readonly size: number;
  readonly device: MmioDevice;
  /** Default "other". */
  readonly role?: DeviceRole;
}

export interface FixedMmioRange extends MmioRange {
  readonly base: BusAddress;
}

export interface ProgrammableMmioRange extends MmioRange {
  /** The base now, or `undefined` while decoding is off. Called at every look-up: must be cheap and pure. */
  base(): BusAddress | undefined;
}

/** A range and where it is now. */
export interface MmioTarget {
  readonly range: MmioRange;
  readonly base: BusAddress;
}

export class MmioBus {
  readonly #fixed: FixedMmioRange[] = [];
  readonly #programmable: ProgrammableMmioRange[] = [];

  addFixed(range: FixedMmioRange): void {
    this.#fixed.push(range);
  }

  addProgrammable(range: ProgrammableMmioRange): void {
    this.#programmable.push(range);
  }

  /** The range that answers at `address`, if any: for the board's memory map and for tools. */
  find(address: BusAddress): MmioTarget | undefined {
    for (const range of this.#fixed)
      if (address >= range.base && address < range.base + range.size) return { range, base: range.base };
    for (const range of this.#programmable) {
      const base = range.base();
      if (base !== undefined && address >= base && address < base + range.size) return { range, base };
    }
    return undefined;
  }

  /** Reads 1, 2 or 4 bytes. An access that leaves its 4-byte word is split, low part first. */
  read(address: BusAddress, size: 1 | 2 | 4): number {
    if ((address % 4) + size > 4) {
      let value = 0;
      for (let i = 0; i < size; i++) value += this.read(address + i, 1) * 256 ** i;
      return value;
    }
    const target = this.find(address);
    if (target === undefined) return size === 4 ? 0xffffffff : 2 ** (8 * size) - 1;
    const value = target.range.device.readMmio(address - target.base, size);
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  write(address: BusAddress, size: 1 | 2 | 4, value: number): void {
    if ((address % 4) + size > 4) {
      for (let i = 0; i < size; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    const target = this.find(address);
    target?.range.device.writeMmio(
      address - target.base,
      size,
      size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1),
    );
  }

  /** 8-byte accesses are two 4-byte ones, low half first. */
  read64(address: BusAddress): bigint {
    const low = BigInt(this.read(address, 4));
    return low | (BigInt(this.read(address + 4, 4)) << 32n);
  }

  write64(address: BusAddress, value: bigint): void {
    this.write(address, 4, Number(value & 0xffffffffn));
    this.write(address + 4, 4, Number((value >> 32n) & 0xffffffffn));
  }
}

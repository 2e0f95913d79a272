/**
 * The I/O-port bus: who answers which port.
 *
 * Two kinds of range. *Fixed* ranges belong to the board and never move. *Programmable* ranges are where a
 * guest-written register (a BAR) says; their base is asked for at every look-up, from the device's state in shared
 * memory, so nothing is cached: a range moved by another thread, or by restoring a snapshot, is right at once.
 *
 * Winner where ranges overlap: fixed before programmable, then the earlier registered. Ports that nobody claims
 * read as all ones and ignore writes.
 */
import type { DeviceRole, PortDevice } from "../ports.ts";

export interface PortRange {
  readonly label: string;
  readonly size: number;
  readonly device: PortDevice;
  /** Default "other". */
  readonly role?: DeviceRole;
  /** The widest access the device takes in one piece; the bus splits wider ones. Default 4. */
  readonly maxAccess?: 1 | 2 | 4;
}

export interface FixedPortRange extends PortRange {
  readonly base: number;
  /** The range answers only accesses of exactly this size at `base`; others pass on (PCI's CF8H). */
  readonly exactly?: 1 | 2 | 4;
}

export interface ProgrammablePortRange extends PortRange {
  /** The base now, or `undefined` while decoding is off. Called at every look-up: must be cheap and pure. */
  base(): number | undefined;
}

export class PortBus {
  readonly #fixed = new Map<number, FixedPortRange[]>();
  readonly #programmable: ProgrammablePortRange[] = [];

  /** Adds a range; configuration, done while the machine is built. */
  addFixed(range: FixedPortRange): void {
    if (range.base < 0 || range.size < 1 || range.base + range.size > 0x10000)
      throw new RangeError(`${range.label}: ports ${range.base}+${range.size} are not in 0-FFFFH`);
    for (let port = range.base; port < range.base + range.size; port++) {
      const claims = this.#fixed.get(port);
      if (claims) claims.push(range);
      else this.#fixed.set(port, [range]);
    }
  }

  addProgrammable(range: ProgrammablePortRange): void {
    this.#programmable.push(range);
  }

  read(port: number, size: 1 | 2 | 4): number {
    const found = this.#find(port, size);
    if (found !== undefined) {
      const value = found.range.device.readPort(port - found.base, size);
      return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
    }
    if (size === 1) return 0xff;
    const half = size === 4 ? 2 : 1;
    const low = this.read(port, half);
    return low + this.read((port + half) & 0xffff, half) * 2 ** (8 * half);
  }

  write(port: number, size: 1 | 2 | 4, value: number): void {
    const found = this.#find(port, size);
    if (found !== undefined) {
      found.range.device.writePort(port - found.base, size, value >>> 0);
      return;
    }
    if (size === 1) return;
    const half = size === 4 ? 2 : 1;
    this.write(port, half, value & (half === 2 ? 0xffff : 0xff));
    this.write((port + half) & 0xffff, half, value >>> (8 * half));
  }

  /** The range that an access of `size` bytes reaches, or else its first byte; for traces and tools. */
  rangeAt(port: number, size = 1): PortRange | undefined {
    return (this.#find(port, size) ?? this.#find(port, 1))?.range;
  }

  /** The range that takes the whole access in one piece, if there is one. */
  #find(port: number, size: number): { readonly range: PortRange; readonly base: number } | undefined {
    const claims = this.#fixed.get(port);
    if (claims !== undefined)
      for (const range of claims) {
        if (range.exactly !== undefined && (range.exactly !== size || port !== range.base)) continue;
        return fits(range, range.base, port, size) ? { range, base: range.base } : undefined;
      }
    for (const range of this.#programmable) {
      const base = range.base();
      if (base === undefined || port < base || port >= base + range.size) continue;
      return fits(range, base, port, size) ? { range, base } : undefined;
    }
    return undefined;
  }
}

function fits(range: PortRange, base: number, port: number, size: number): boolean {
  return size <= (range.maxAccess ?? 4) && port + size <= base + range.size;
}

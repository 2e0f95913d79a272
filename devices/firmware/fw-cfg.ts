/**
 * The firmware configuration device: what the machine tells its firmware, read byte by byte from a port or by DMA. QEMU, "QEMU
 * Firmware Configuration (fw_cfg) Device".
 *
 * Items are configuration and read-only; the guest's state is the selected key, the offset in it, and half of an address.
 */
import { struct, u16, u32 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, DmaMemory, PortDevice, Resettable } from "../ports.ts";
import * as spec from "./fw-cfg-spec.ts";

export const FwCfgStruct = struct("FwCfg", { key: u16, offset: u32, dmaHigh: u32 });

export interface FwCfgItems {
  /** Items by key. */
  readonly keys: ReadonlyMap<number, Uint8Array>;
  /** Items by file name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export interface FwCfgOptions {
  readonly label: string;
  readonly memory: DmaMemory;
  readonly items: FwCfgItems;
}

/** Bytes copied or zeroed at a time. */
const CHUNK = 64 * 1024;
const NOTHING = new Uint8Array(0);

export class FwCfg implements Resettable {
  readonly #state: ViewOf<typeof FwCfgStruct>;
  readonly #memory: DmaMemory;
  readonly #items: ReadonlyMap<number, Uint8Array>;

  /** Ports 510H and 511H. */
  readonly ports: PortDevice;
  /** Ports 514H–51BH. */
  readonly dmaPorts: PortDevice;

  constructor(context: DeviceContext, { label, memory, items }: FwCfgOptions) {
    this.#state = context.state.place(label, FwCfgStruct);
    this.#memory = memory;
    this.#items = layOutItems(items);
    this.ports = {
      readPort: (offset, size) => {
        if (offset === 0 && size === 2) return this.#readByte() | (this.#readByte() << 8);
        return offset === 1 ? this.#readByte() : 0;
      },
      writePort: (offset, size, value) => {
        // Writing data has been without effect since QEMU 2.4.
        if (offset === 0 && size === 2) this.#select(value & 0xffff);
      },
    };
    this.dmaPorts = {
      readPort: (offset, size) => {
        const register = offset < 4 ? spec.DMA_SIGNATURE_HIGH : spec.DMA_SIGNATURE_LOW;
        return littleEndian(register, offset & 3, size);
      },
      writePort: (offset, size, value) => {
        if (size !== 4) return;
        if (offset === 0) this.#state.dmaHigh = swap32(value);
        else if (offset === 4) this.#startDma(swap32(value));
      },
    };
  }

  reset(): void {
    this.#select(0);
    this.#state.dmaHigh = 0;
  }

  #select(key: number): void {
    this.#state.key = key & spec.KEY_MASK;
    this.#state.offset = 0;
  }

  get #item(): Uint8Array {
    return this.#items.get(this.#state.key) ?? NOTHING;
  }

  /** Beyond an item's end there are zeroes. */
  #readByte(): number {
    const s = this.#state;
    const item = this.#item;
    return s.offset < item.length ? item[s.offset++]! : 0;
  }

  /** "Guest-side DMA Interface": one access, done before the register write returns. */
  #startDma(low: number): void {
    const at = this.#state.dmaHigh * 2 ** 32 + low;
    this.#state.dmaHigh = 0;
    const access = new Uint8Array(spec.DMA_ACCESS_BYTES);
    if (!this.#memory.read(at, access)) return;
    const view = new DataView(access.buffer);
    const control = view.getUint32(0);
    if (control & spec.DMA_SELECT) this.#select(control >>> 16);
    const address = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    const done = this.#perform(control, view.getUint32(4), address);
    view.setUint32(0, done ? 0 : spec.DMA_ERROR);
    this.#memory.write(at, access.subarray(0, 4));
  }

  #perform(control: number, length: number, address: number): boolean {
    const s = this.#state;
    if (control & spec.DMA_READ) {
      if (!this.#memory.contains(address, length)) return false;
      return this.#copy(length, address);
    }
    // No item can be written.
    if (control & spec.DMA_WRITE) return length === 0;
    if (control & spec.DMA_SKIP) s.offset = Math.min(this.#item.length, s.offset + length);
    return true;
  }

  #copy(length: number, address: number): boolean {
    const s = this.#state;
    const item = this.#item;
    const zeroes = new Uint8Array(Math.min(length, CHUNK));
    for (let done = 0; done < length;) {
      const left = item.length - s.offset;
      const size = Math.min(length - done, CHUNK, left > 0 ? left : CHUNK);
      const from = left > 0 ? item.subarray(s.offset, s.offset + size) : zeroes.subarray(0, size);
      if (!this.#memory.write(address + done, from)) return false;
      if (left > 0) s.offset += size;
      done += size;
    }
    return true;
  }
}

/** Every key's bytes, with the directory of the files, which are in the order of their names. */
function layOutItems({ keys, files }: FwCfgItems): ReadonlyMap<number, Uint8Array> {
  const all = new Map(keys);
  all.set(
    spec.KEY_SIGNATURE,
    Uint8Array.from("QEMU", (letter) => letter.charCodeAt(0)),
  );
  all.set(spec.KEY_ID, Uint8Array.of(spec.ID_TRADITIONAL | spec.ID_DMA, 0, 0, 0));
  const names = [...files.keys()].sort();
  const directory = new DataView(new ArrayBuffer(4 + names.length * spec.FILE_BYTES));
  directory.setUint32(0, names.length);
  names.forEach((name, index) => {
    if (name.length >= spec.FILE_NAME_BYTES) throw new RangeError(`fw_cfg: the name ${name} is too long`);
    const at = 4 + index * spec.FILE_BYTES;
    const bytes = files.get(name)!;
    directory.setUint32(at, bytes.length);
    directory.setUint16(at + 4, spec.KEY_FILE_FIRST + index);
    for (let i = 0; i < name.length; i++)
      directory.setUint8(at + spec.FILE_NAME_AT + i, name.charCodeAt(i) & 0x7f);
    all.set(spec.KEY_FILE_FIRST + index, bytes);
  });
  all.set(spec.KEY_FILE_DIR, new Uint8Array(directory.buffer));
  return all;
}

function swap32(value: number): number {
  return (
    ((value >>> 24) | ((value >>> 8) & 0xff00) | ((value << 8) & 0xff0000) | ((value << 24) >>> 0)) >>> 0
  );
}

/** `size` bytes from `offset` on of a big-endian register, as a little-endian access reads them. */
function littleEndian(register: number, offset: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size && offset + i < 4; i++)
    value += ((register >>> (8 * (3 - offset - i))) & 0xff) * 256 ** i;
  return value;
}

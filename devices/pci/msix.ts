/**
 * MSI-X table and pending bits of one function: PCI-SIG, "PCI Local Bus Specification 3.0", "MSI-X Capability and
 * Table Structures". Table and pending-bit array share one memory region.
 */
import { array, struct } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, MessageSink, MmioDevice, Resettable } from "../ports.ts";
import type { PciFunction, RegisterBytes } from "./config-space.ts";
import * as spec from "./spec.ts";

/** Where the pending-bit array lies in the region. */
export const MSIX_PBA_AT = 0x800;
/** Size of the region. */
export const MSIX_REGION_BYTES = 0x1000;
const MOST_VECTORS = MSIX_PBA_AT / spec.MSIX_ENTRY_BYTES;

function msixStruct(vectors: number) {
  return struct("Msix", {
    /** Four words an entry: message address low and high, message data, vector control. */
    table: array("u32", 4 * vectors),
    pending: array("u32", Math.ceil(vectors / 32)),
  });
}

/** The capability's bytes, for a table and pending bits in base address register `bar`. */
export function msixCapability(offset: number, vectors: number, bar: number): RegisterBytes {
  const value = new Array<number>(spec.MSIX_CAPABILITY_BYTES).fill(0);
  value[0] = spec.CAPABILITY_MSIX;
  value[spec.MSIX_MESSAGE_CONTROL] = (vectors - 1) & 0xff;
  value[spec.MSIX_MESSAGE_CONTROL + 1] = (vectors - 1) >> 8;
  value[spec.MSIX_TABLE_OFFSET] = bar;
  value[spec.MSIX_PBA_OFFSET] = bar;
  value[spec.MSIX_PBA_OFFSET + 1] = MSIX_PBA_AT >> 8;
  const writable = new Array<number>(spec.MSIX_CAPABILITY_BYTES).fill(0);
  writable[spec.MSIX_MESSAGE_CONTROL + 1] = (spec.MSIX_ENABLE | spec.MSIX_FUNCTION_MASK) >> 8;
  return { offset, value, writable };
}

export interface MsixOptions {
  readonly label: string;
  readonly vectors: number;
  readonly sink: MessageSink;
}

export class Msix implements MmioDevice, Resettable {
  readonly vectors: number;
  readonly #state: ViewOf<ReturnType<typeof msixStruct>>;
  readonly #sink: MessageSink;
  #pci: PciFunction | undefined;
  #control = 0;

  constructor(context: DeviceContext, options: MsixOptions) {
    if (options.vectors < 1 || options.vectors > MOST_VECTORS)
      throw new RangeError(`${options.label}: ${options.vectors} vectors, must be 1-${MOST_VECTORS}`);
    this.vectors = options.vectors;
    this.#state = context.state.place(options.label, msixStruct(options.vectors));
    this.#sink = options.sink;
  }

  /** Ties the table to its function, whose capability holds the enable and mask bits. Configuration. */
  attach(pci: PciFunction): void {
    this.#pci = pci;
    this.#control = pci.capabilityOffset(spec.CAPABILITY_MSIX) + spec.MSIX_MESSAGE_CONTROL;
  }

  reset(): void {
    this.#state.table.fill(0);
    for (let vector = 0; vector < this.vectors; vector++)
      this.#state.table[4 * vector + 3] = spec.MSIX_VECTOR_MASKED;
    this.#state.pending.fill(0);
  }

  /** While enabled, the function must not use INTx#. */
  get enabled(): boolean {
    return (this.#messageControl() & spec.MSIX_ENABLE) !== 0;
  }

  /** Requests `vector`: sends the message, or leaves it pending while masked. Out-of-range vectors are ignored. */
  request(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return;
    this.#state.pending[vector >> 5]! |= 1 << (vector & 31);
    this.#service(vector);
  }

  /** Call after the capability was written: unmasking the function sends what is pending. */
  controlWritten(): void {
    for (let vector = 0; vector < this.vectors; vector++) this.#service(vector);
  }

  readMmio(offset: number, size: 1 | 2 | 4): number {
    let word = 0;
    if (offset < spec.MSIX_ENTRY_BYTES * this.vectors) word = this.#state.table[offset >> 2]!;
    else if (offset >= MSIX_PBA_AT) {
      const at = (offset - MSIX_PBA_AT) >> 2;
      word = at < this.#state.pending.length ? this.#state.pending[at]! : 0;
    }
    word = word >>> (8 * (offset & 3));
    return size === 4 ? word : word & (2 ** (8 * size) - 1);
  }

  /** Software must use aligned dwords ("results are undefined otherwise": they are ignored). The PBA is read-only. */
  writeMmio(offset: number, size: 1 | 2 | 4, value: number): void {
    if (size !== 4 || offset % 4 !== 0 || offset >= spec.MSIX_ENTRY_BYTES * this.vectors) return;
    const field = (offset >> 2) & 3;
    this.#state.table[offset >> 2] =
      field === 3 ? value & spec.MSIX_VECTOR_MASKED : field === 0 ? value & ~3 : value;
    if (field === 3) this.#service(offset >> 4);
  }

  #messageControl(): number {
    return this.#pci === undefined ? 0 : this.#pci.peek(this.#control, 2);
  }

  /** Sends a pending vector if nothing masks it. A message is a memory write, so it needs bus mastering. */
  #service(vector: number): void {
    const s = this.#state;
    const bit = 1 << (vector & 31);
    if (!(s.pending[vector >> 5]! & bit)) return;
    const control = this.#messageControl();
    if (!(control & spec.MSIX_ENABLE) || control & spec.MSIX_FUNCTION_MASK) return;
    if (s.table[4 * vector + 3]! & spec.MSIX_VECTOR_MASKED || this.#pci?.isBusMaster !== true) return;
    s.pending[vector >> 5]! &= ~bit;
    this.#sink.send(s.table[4 * vector]! + s.table[4 * vector + 1]! * 2 ** 32, s.table[4 * vector + 2]!);
  }
}

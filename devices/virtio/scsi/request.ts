/** From an untrusted descriptor chain to a SCSI request: VIRTIO 1.2, "SCSI Host Device", "Device Operation: Request Queues". */
import type { DmaMemory } from "../../ports.ts";
import { readChain } from "../chain-data.ts";
import type { DescriptorChain } from "../queue.ts";
import * as spec from "./spec.ts";

/** Longest CDB that is looked at; a longer cdb_size is filled up with zeroes by drivers. */
export const MOST_CDB_BYTES = 32;

/** A logical unit's place, or `undefined` for a LUN that is not of the form that the device knows. */
export interface UnitAddress {
  readonly target: number;
  readonly lun: number;
}

/** The 8 bytes of a LUN: 1, the target, and a single-level LUN; the rest is zero. */
export function unitAddress(bytes: Uint8Array, at: number): UnitAddress | undefined {
  if (bytes[at] !== 1) return undefined;
  for (let i = 4; i < spec.LUN_BYTES; i++) if (bytes[at + i] !== 0) return undefined;
  // Peripheral device (00) or flat space (01) addressing.
  const method = bytes[at + 2]! >> 6;
  if (method > 1) return undefined;
  return { target: bytes[at + 1]!, lun: ((bytes[at + 2]! & 0x3f) << 8) | bytes[at + 3]! };
}

/** A parsed request; reused. */
export class ScsiRequest {
  readonly #header = new Uint8Array(spec.REQUEST_CDB + MOST_CDB_BYTES);
  readonly cdb = this.#header.subarray(spec.REQUEST_CDB);
  /** Task tag, halves. */
  idLow = 0;
  idHigh = 0;
  unit: UnitAddress | undefined;
  /** Where data begin in the readable and the writable part, and how many bytes there are. */
  outOffset = 0;
  outBytes = 0;
  inOffset = 0;
  inBytes = 0;

  /** False when the chain has no room for header or answer: the driver then cannot be answered. */
  parse(chain: DescriptorChain, memory: DmaMemory, cdbSize: number, senseSize: number): boolean {
    this.outOffset = spec.REQUEST_CDB + cdbSize;
    this.inOffset = spec.ANSWER_SENSE + senseSize;
    this.outBytes = chain.readableBytes - this.outOffset;
    this.inBytes = chain.writableBytes - this.inOffset;
    if (this.outBytes < 0 || this.inBytes < 0) return false;
    this.#header.fill(0);
    const known = Math.min(this.#header.length, this.outOffset);
    if (!readChain(chain, memory, 0, this.#header.subarray(0, known))) return false;
    const view = new DataView(this.#header.buffer);
    this.idLow = view.getUint32(spec.REQUEST_ID, true);
    this.idHigh = view.getUint32(spec.REQUEST_ID + 4, true);
    this.unit = unitAddress(this.#header, spec.REQUEST_LUN);
    return true;
  }
}

/**
 * The receive side of the 82540EM: address and VLAN filters, descriptors, checksums. Manual, "Packet Reception", "Receive Descriptor
 * Format", "Receive Packet Checksum Offloading".
 *
 * Frames wait on the link while there are no descriptors, as they would in the packet buffer.
 */
import type { DmaMemory } from "../../ports.ts";
import { addBytes, checksum, fold, pseudoHeader } from "../checksum.ts";
import { crc32 } from "../crc32.ts";
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  LEAST_FRAME_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  be16,
  isBroadcast,
  isGroupAddress,
} from "../ethernet.ts";
import type { Interrupts } from "./interrupts.ts";
import * as spec from "./spec.ts";

const BUFFER_BYTES = [2048, 1024, 512, 256] as const;
const MOST_BYTES = spec.MOST_LONG_BYTES + spec.FCS_BYTES;

export interface ReceiveHost {
  readonly registers: Uint32Array;
  readonly memory: DmaMemory;
  readonly interrupts: Interrupts;
}

export class Receive {
  readonly #host: ReceiveHost;
  readonly #descriptor = new Uint8Array(spec.DESCRIPTOR_BYTES);
  readonly #view = new DataView(this.#descriptor.buffer);
  readonly #bytes = new Uint8Array(MOST_BYTES);

  constructor(host: ReceiveHost) {
    this.#host = host;
  }

  #at(offset: number): number {
    return this.#host.registers[offset >> 2]!;
  }

  #count(offset: number, by = 1): void {
    this.#host.registers[offset >> 2]! += by;
  }

  get isOn(): boolean {
    return (this.#at(spec.RCTL) & spec.RCTL_EN) !== 0;
  }

  /**
   * Receives a frame, or drops it as a filter or its length says.
   * @returns false when there are too few descriptors now: to be tried again
   */
  frame(frame: Uint8Array, isChecked: boolean): boolean {
    const rctl = this.#at(spec.RCTL);
    const most = rctl & spec.RCTL_LPE ? spec.MOST_LONG_BYTES : spec.MOST_USUAL_BYTES;
    if (frame.length > most) {
      this.#count(spec.ROC);
      return true;
    }
    const match = this.#filter(frame, rctl);
    if (match === undefined) return true;
    return this.#store(frame, match === "inexact", isChecked);
  }

  // --- filters

  /** Undefined: not for this station. Inexact: by the multicast table or promiscuously. */
  #filter(frame: Uint8Array, rctl: number): "exact" | "inexact" | undefined {
    if (rctl & spec.RCTL_VFE && be16(frame, 12) === (this.#at(spec.VET) & 0xffff)) {
      const vlan = frame.length >= 16 ? be16(frame, 14) & 0xfff : 0;
      if (!(this.#at(spec.VFTA + 4 * (vlan >> 5)) & (1 << (vlan & 31)))) return undefined;
    }
    if (isBroadcast(frame)) {
      if (rctl & spec.RCTL_BAM) return "exact";
    } else if (this.#isOwnAddress(frame)) return "exact";
    if (!isGroupAddress(frame)) return rctl & spec.RCTL_UPE ? "inexact" : undefined;
    if (rctl & spec.RCTL_MPE) return "inexact";
    const shift = [4, 3, 2, 0][(rctl >>> spec.RCTL_MO_SHIFT) & 3]!;
    const hash = (((frame[5]! << 8) | frame[4]!) >> shift) & 0xfff;
    return this.#at(spec.MTA + 4 * (hash >> 5)) & (1 << (hash & 31)) ? "inexact" : undefined;
  }

  #isOwnAddress(frame: Uint8Array): boolean {
    const low = (frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24)) >>> 0;
    const high = frame[4]! | (frame[5]! << 8);
    for (let i = 0; i < spec.RECEIVE_ADDRESSES; i++) {
      const rah = this.#at(spec.RAL0 + 8 * i + 4);
      if (rah & spec.RAH_AV && (rah & 0xffff) === high && this.#at(spec.RAL0 + 8 * i) === low) return true;
    }
    return false;
  }

  // --- descriptors

  #store(frame: Uint8Array, isInexact: boolean, isChecked: boolean): boolean {
    const { registers, memory, interrupts } = this.#host;
    const entries = this.#at(spec.RDLEN) / spec.DESCRIPTOR_BYTES;
    let head = this.#at(spec.RDH);
    const tail = this.#at(spec.RDT);
    if (head >= entries || tail >= entries) return false;
    const { data, status, errors, tag, sum } = this.#prepare(frame, isChecked);
    const size = this.#bufferBytes();
    const needed = Math.ceil(data.length / size);
    if (needed >= entries) {
      this.#count(spec.MPC);
      return true;
    }
    if ((tail - head + entries) % entries < needed) {
      this.#count(spec.RNBC);
      return false;
    }
    const base = this.#at(spec.RDBAH) * 2 ** 32 + this.#at(spec.RDBAL);
    for (let i = 0; i < needed; i++) {
      const place = base + head * spec.DESCRIPTOR_BYTES;
      const isLast = i === needed - 1;
      const part = data.subarray(i * size, (i + 1) * size);
      if (!memory.read(place, this.#descriptor)) return true;
      const buffer = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
      memory.write(buffer, part);
      this.#view.setUint16(8, part.length, true);
      this.#view.setUint16(10, sum, true);
      this.#descriptor[12] =
        spec.RXD_DD | (isLast ? spec.RXD_EOP | status : 0) | (isInexact ? spec.RXD_PIF : 0);
      this.#descriptor[13] = isLast ? errors : 0;
      this.#view.setUint16(14, isLast ? tag : 0, true);
      memory.write(place + 8, this.#descriptor.subarray(8));
      head = (head + 1) % entries;
    }
    registers[spec.RDH >> 2] = head;
    this.#countReceived(frame);
    const free = (tail - head + entries) % entries;
    if (free <= entries >> (((this.#at(spec.RCTL) >>> spec.RCTL_RDMTS_SHIFT) & 3) + 1))
      interrupts.raise(spec.ICR_RXDMT0);
    interrupts.received();
    return true;
  }

  #bufferBytes(): number {
    const rctl = this.#at(spec.RCTL);
    const size = BUFFER_BYTES[(rctl >>> spec.RCTL_BSIZE_SHIFT) & 3]!;
    // With BSEX 16 times as much; 0 there is reserved.
    return rctl & spec.RCTL_BSEX && size !== 2048 ? size * 16 : size;
  }

  /** What goes into memory: tag taken out, padded, with its check sequence; and what the descriptor says. */
  #prepare(
    frame: Uint8Array,
    isChecked: boolean,
  ): { data: Uint8Array; status: number; errors: number; tag: number; sum: number } {
    let status = 0;
    let errors = 0;
    let tag = 0;
    let kept = frame;
    const strips = this.#at(spec.CTRL) & spec.CTRL_VME && be16(frame, 12) === (this.#at(spec.VET) & 0xffff);
    if (strips && frame.length >= 18) {
      tag = be16(frame, 14);
      status |= spec.RXD_VP;
      kept = new Uint8Array(frame.length - 4);
      kept.set(frame.subarray(0, 12));
      kept.set(frame.subarray(16), 12);
    }
    const length = Math.max(kept.length, LEAST_FRAME_BYTES);
    this.#bytes.set(kept);
    this.#bytes.fill(0, kept.length, length);
    const padded = this.#bytes.subarray(0, length);
    const found = this.#checkSums(padded, isChecked);
    status |= found.status;
    errors |= found.errors;
    const start = this.#at(spec.RXCSUM) & spec.RXCSUM_PCSS;
    const sum = start < length ? fold(addBytes(0, padded, start, length)) : 0;
    let end = length;
    if (!(this.#at(spec.RCTL) & spec.RCTL_SECRC)) {
      new DataView(this.#bytes.buffer).setUint32(length, crc32(padded), true);
      end += spec.FCS_BYTES;
    }
    return { data: this.#bytes.subarray(0, end), status, errors, tag, sum };
  }

  /** IPv4's header checksum, and TCP's or UDP's behind it: "IXSM" where the hardware did not look. */
  #checkSums(frame: Uint8Array, isChecked: boolean): { status: number; errors: number } {
    const rxcsum = this.#at(spec.RXCSUM);
    const ip = ETHERNET_HEADER_BYTES;
    const headerBytes = (frame[ip]! & 15) * 4;
    const length = be16(frame, ip + 2);
    const isIp =
      be16(frame, 12) === ETHERTYPE_IPV4 &&
      frame[ip]! >> 4 === 4 &&
      headerBytes >= 20 &&
      length >= headerBytes &&
      ip + length <= frame.length;
    if (!isIp || !(rxcsum & (spec.RXCSUM_IPOFL | spec.RXCSUM_TUOFL)))
      return { status: spec.RXD_IXSM, errors: 0 };
    let status = 0;
    let errors = 0;
    if (rxcsum & spec.RXCSUM_IPOFL) {
      status |= spec.RXD_IPCS;
      if (checksum(frame, ip, ip + headerBytes) !== 0) errors |= spec.RXD_IPE;
    }
    const protocol = frame[ip + 9]!;
    const transport = ip + headerBytes;
    const isWhole = (be16(frame, ip + 6) & 0x3fff) === 0;
    const isTcp = protocol === PROTOCOL_TCP && length >= headerBytes + 20;
    const isUdp = protocol === PROTOCOL_UDP && length >= headerBytes + 8 && be16(frame, transport + 6) !== 0;
    if (rxcsum & spec.RXCSUM_TUOFL && isWhole && (isTcp || isUdp)) {
      status |= spec.RXD_TCPCS;
      const end = ip + length;
      const pseudo = isChecked ? 0 : pseudoHeader(frame, ip + 12, 8, protocol, end - transport);
      if (!isChecked && checksum(frame, transport, end, pseudo) !== 0) errors |= spec.RXD_TCPE;
    }
    return { status, errors };
  }

  #countReceived(frame: Uint8Array): void {
    const length = Math.max(frame.length, LEAST_FRAME_BYTES) + spec.FCS_BYTES;
    this.#count(spec.TPR);
    this.#count(spec.GPRC);
    this.#count(sizeClass(spec.PRC64, length));
    if (isBroadcast(frame)) this.#count(spec.BPRC);
    else if (isGroupAddress(frame)) this.#count(spec.MPRC);
    countWide(this.#host.registers, spec.TORL, length);
    countWide(this.#host.registers, spec.GORCL, length);
  }
}

/** The counter of frames of a size: 64, 65–127, 128–255, 256–511, 512–1023, and longer. */
export function sizeClass(first: number, length: number): number {
  const limits = [64, 127, 255, 511, 1023];
  const index = limits.findIndex((limit) => length <= limit);
  return first + 4 * (index < 0 ? limits.length : index);
}

/** Adds to a counter of 64 bits. */
export function countWide(registers: Uint32Array, low: number, by: number): void {
  const sum = registers[low >> 2]! + by;
  registers[low >> 2] = sum;
  if (sum > 0xffffffff) registers[(low >> 2) + 1]!++;
}

/**
 * The transmit side of the 82540EM: legacy, context and data descriptors, checksum insertion and TCP segmentation. Manual, "Packet
 * Transmission", "Transmit Descriptor Ring Structure", "TCP Segmentation".
 *
 * A packet is gathered until its last descriptor; one that is longer than any can be is dropped.
 */
import { bytes, struct, u16, u32, u8, type ViewOf } from "../../../layout/struct.ts";
import type { DeviceContext, DmaMemory } from "../../ports.ts";
import { checksum } from "../checksum.ts";
import { LEAST_FRAME_BYTES, be16, be32, putBe16, putBe32 } from "../ethernet.ts";
import type { Interrupts } from "./interrupts.ts";
import * as spec from "./spec.ts";

/** Headers and 64 KiB of data. */
const MOST_PACKET_BYTES = 0x10000 + 256;
/** Segments of less would be headers: a packet that asks for them is dropped, so that its work is bounded. */
const LEAST_SEGMENT_BYTES = 32;
const FLAGS_FIN_PSH = 0x09;

export const TransmitStruct = struct("E1000Transmit", {
  /** The context descriptors last seen: for checksums alone, and for segmentation. */
  checksumContext: bytes(spec.DESCRIPTOR_BYTES, 8),
  segmentContext: bytes(spec.DESCRIPTOR_BYTES, 8),
  /** Of the packet being gathered: from its first descriptor. */
  isStarted: u8,
  isLegacy: u8,
  segments: u8,
  options: u8,
  isTooLong: u8,
  hasVlanTag: u8,
  vlanTag: u16,
  length: u32,
  packet: bytes(MOST_PACKET_BYTES, 8),
});

export interface TransmitHost {
  readonly registers: Uint32Array;
  readonly memory: DmaMemory;
  readonly interrupts: Interrupts;
  /** A frame is on the wire. */
  send(frame: Uint8Array): void;
}

/** A context's fields, by their place. */
class Context {
  readonly #view: DataView;

  constructor(place: Uint8Array) {
    this.#view = new DataView(place.buffer, place.byteOffset, place.length);
  }
  get ipStart(): number {
    return this.#view.getUint8(0);
  }
  get ipOffset(): number {
    return this.#view.getUint8(1);
  }
  get ipEnd(): number {
    return this.#view.getUint16(2, true);
  }
  get transportStart(): number {
    return this.#view.getUint8(4);
  }
  get transportOffset(): number {
    return this.#view.getUint8(5);
  }
  get transportEnd(): number {
    return this.#view.getUint16(6, true);
  }
  get payloadBytes(): number {
    return this.#view.getUint32(8, true) & 0xfffff;
  }
  get command(): number {
    return this.#view.getUint8(11);
  }
  get headerBytes(): number {
    return this.#view.getUint8(13);
  }
  get segmentBytes(): number {
    return this.#view.getUint16(14, true);
  }
}

export class Transmit {
  readonly #state: ViewOf<typeof TransmitStruct>;
  readonly #host: TransmitHost;
  readonly #checksumContext: Context;
  readonly #segmentContext: Context;
  readonly #descriptor = new Uint8Array(spec.DESCRIPTOR_BYTES);
  readonly #view = new DataView(this.#descriptor.buffer);
  /** Scratch: a frame being finished, with room for a tag. */
  readonly #frame = new Uint8Array(MOST_PACKET_BYTES + 4);

  constructor(context: DeviceContext, label: string, host: TransmitHost) {
    this.#state = context.state.place(`${label} transmit`, TransmitStruct);
    this.#host = host;
    this.#checksumContext = new Context(this.#state.checksumContext);
    this.#segmentContext = new Context(this.#state.segmentContext);
  }

  reset(): void {
    const s = this.#state;
    s.checksumContext.fill(0);
    s.segmentContext.fill(0);
    this.#forgetPacket();
  }

  #forgetPacket(): void {
    const s = this.#state;
    s.isStarted = s.isLegacy = s.segments = s.options = s.isTooLong = s.hasVlanTag = 0;
    s.vlanTag = 0;
    s.length = 0;
  }

  /** Takes descriptors from the head to the tail, at most once around the ring. */
  run(): void {
    const { registers, memory, interrupts } = this.#host;
    const at = (offset: number): number => registers[offset >> 2]!;
    const entries = at(spec.TDLEN) / spec.DESCRIPTOR_BYTES;
    const base = at(spec.TDBAH) * 2 ** 32 + at(spec.TDBAL);
    if (!(at(spec.TCTL) & spec.TCTL_EN) || at(spec.TDH) >= entries || at(spec.TDT) >= entries) return;
    let head = at(spec.TDH);
    const tail = at(spec.TDT);
    if (head === tail) return;
    for (let taken = 0; taken < entries && head !== tail; taken++) {
      const place = base + head * spec.DESCRIPTOR_BYTES;
      // Memory that is not there ends it, as a master abort would.
      if (!memory.read(place, this.#descriptor)) break;
      this.#take();
      this.#writeBack(place);
      head = (head + 1) % entries;
    }
    registers[spec.TDH >> 2] = head;
    if (head === tail) interrupts.raise(spec.ICR_TXQE);
    const threshold = (at(spec.TXDCTL) >>> 25) * 8;
    const waiting = (tail - head + entries) % entries;
    if (threshold !== 0 && waiting <= threshold) interrupts.raise(spec.ICR_TXD_LOW);
  }

  #writeBack(place: number): void {
    const command = this.#descriptor[11]!;
    if (!(command & spec.TXD_RS)) return;
    this.#host.memory.write(place + 12, Uint8Array.of(this.#descriptor[12]! | spec.TXD_DD));
    this.#host.interrupts.transmitted((command & spec.TXD_IDE) !== 0);
  }

  #take(): void {
    const s = this.#state;
    const command = this.#descriptor[11]!;
    const isExtended = (command & spec.TXD_DEXT) !== 0;
    const type = this.#descriptor[10]! >> 4;
    if (isExtended && type === spec.DTYP_CONTEXT) {
      (command & spec.TXD_TSE ? s.segmentContext : s.checksumContext).set(this.#descriptor);
      return;
    }
    if (isExtended && type !== spec.DTYP_DATA) return;
    if (s.isStarted === 0) {
      s.isStarted = 1;
      s.isLegacy = isExtended ? 0 : 1;
      s.segments = isExtended && command & spec.TXD_TSE ? 1 : 0;
      s.options = isExtended ? this.#descriptor[13]! : 0;
    }
    const address = this.#view.getUint32(0, true) + this.#view.getUint32(4, true) * 2 ** 32;
    const length = this.#view.getUint32(8, true) & (isExtended ? 0xfffff : 0xffff);
    this.#gather(address, length);
    if (!(command & spec.TXD_EOP)) return;
    // "VLE … valid only in the last descriptor".
    s.hasVlanTag = command & spec.TXD_VLE ? 1 : 0;
    s.vlanTag = this.#view.getUint16(14, true);
    if (s.isTooLong === 0) this.#finish(command);
    this.#forgetPacket();
  }

  #gather(address: number, length: number): void {
    const s = this.#state;
    if (s.isTooLong || s.length + length > MOST_PACKET_BYTES) {
      s.isTooLong = 1;
      return;
    }
    if (length === 0) return;
    if (!this.#host.memory.read(address, s.packet.subarray(s.length, s.length + length))) s.isTooLong = 1;
    s.length += length;
  }

  #finish(command: number): void {
    const s = this.#state;
    const packet = s.packet.subarray(0, s.length);
    if (s.segments) this.#segment(packet);
    else if (s.isLegacy) {
      // Offset of the sum and start of what is summed, in the last descriptor.
      if (command & spec.TXD_IC) insertSum(packet, this.#descriptor[13]!, 0, this.#descriptor[10]!);
      this.#send(packet);
    } else {
      const c = this.#checksumContext;
      if (s.options & spec.POPTS_IXSM) insertSum(packet, c.ipStart, c.ipEnd, c.ipOffset);
      if (s.options & spec.POPTS_TXSM) insertSum(packet, c.transportStart, c.transportEnd, c.transportOffset);
      this.#send(packet);
    }
  }

  /** One frame for each `segmentBytes` of the payload, with the headers adjusted. */
  #segment(packet: Uint8Array): void {
    const s = this.#state;
    const c = this.#segmentContext;
    const { headerBytes, segmentBytes, ipStart, transportStart, command } = c;
    const isTcp = (command & spec.TUCMD_TCP) !== 0;
    const isIp4 = (command & spec.TUCMD_IP) !== 0;
    const fits =
      ipStart + (isIp4 ? 20 : 40) <= headerBytes && transportStart + (isTcp ? 20 : 8) <= headerBytes;
    if (segmentBytes < LEAST_SEGMENT_BYTES || !fits || packet.length <= headerBytes) return;
    const end = Math.min(packet.length, headerBytes + c.payloadBytes);
    const identification = be16(packet, ipStart + 4);
    const sequence = be32(packet, transportStart + 4);
    const flags = packet[transportStart + 13]!;
    const { registers } = this.#host;
    registers[spec.TSCTC >> 2]!++;
    for (let at = headerBytes, index = 0; at < end; at += segmentBytes, index++) {
      const part = packet.subarray(at, Math.min(at + segmentBytes, end));
      const length = headerBytes + part.length;
      const frame = this.#frame.subarray(0, length);
      frame.set(packet.subarray(0, headerBytes));
      frame.set(part, headerBytes);
      if (isIp4) {
        putBe16(frame, ipStart + 2, length - ipStart);
        putBe16(frame, ipStart + 4, (identification + index) & 0xffff);
      } else putBe16(frame, ipStart + 4, length - ipStart - 40);
      if (isTcp) {
        putBe32(frame, transportStart + 4, (sequence + at - headerBytes) >>> 0);
        frame[transportStart + 13] = at + segmentBytes < end ? flags & ~FLAGS_FIN_PSH : flags;
      } else putBe16(frame, transportStart + 4, length - transportStart);
      if (s.options & spec.POPTS_IXSM) insertSum(frame, ipStart, c.ipEnd, c.ipOffset);
      // The pseudo-header's sum that software left lacks the length, which is each segment's own.
      if (s.options & spec.POPTS_TXSM)
        insertSum(frame, transportStart, c.transportEnd, c.transportOffset, length - transportStart);
      this.#send(frame);
    }
  }

  /** Tag, padding, statistics, wire. */
  #send(frame: Uint8Array): void {
    const { registers } = this.#host;
    const s = this.#state;
    let sent = frame;
    if (s.hasVlanTag && registers[spec.CTRL >> 2]! & spec.CTRL_VME && frame.length >= 14) {
      // `frame` may lie in the same place.
      sent = this.#frame.subarray(0, frame.length + 4);
      sent.set(frame);
      sent.copyWithin(16, 12, frame.length);
      putBe16(sent, 12, registers[spec.VET >> 2]! & 0xffff);
      putBe16(sent, 14, s.vlanTag);
    }
    if (registers[spec.TCTL >> 2]! & spec.TCTL_PSP && sent.length < LEAST_FRAME_BYTES) {
      const padded = new Uint8Array(LEAST_FRAME_BYTES);
      padded.set(sent);
      sent = padded;
    }
    this.#host.send(sent);
  }
}

/**
 * Puts the sum of bytes `start` to `end` (inclusive; 0: the frame's) at `offset`. What stands there is part of the sum. Where a
 * driver asks for what is not in the frame, nothing happens.
 */
function insertSum(frame: Uint8Array, start: number, end: number, offset: number, more = 0): void {
  const last = end === 0 || end >= frame.length ? frame.length : end + 1;
  if (start >= last || offset + 2 > frame.length) return;
  putBe16(frame, offset, checksum(frame, start, last, more));
}

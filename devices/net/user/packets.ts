/** Packets of the user network: IPv4 addresses as numbers, headers read with every length checked, and headers written. */
import { addBytes, checksum, pseudoHeader } from "../checksum.ts";
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  MAC_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  be16,
  be32,
  putBe16,
  putBe32,
} from "../ethernet.ts";
import type { FrameOffload } from "../../ports.ts";

export const IP_HEADER_BYTES = 20;
export const UDP_HEADER_BYTES = 8;
export const TCP_HEADER_BYTES = 20;
export const BROADCAST_IP = 0xffffffff;
const BROADCAST_MAC = new Uint8Array(MAC_BYTES).fill(0xff);
const DEFAULT_TTL = 64;
const FLAG_MORE_FRAGMENTS = 0x2000;

/** `10.0.2.15` as a number; undefined when it is no IPv4 address. */
export function parseIp(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255))
    return undefined;
  return parts.reduce((ip, part) => ip * 256 + Number(part), 0);
}

export function formatIp(ip: number): string {
  return [24, 16, 8, 0].map((shift) => (ip >>> shift) & 0xff).join(".");
}

/** An IPv4 packet in a frame. */
export interface IpPacket {
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly isFragment: boolean;
  /** The transport's header and data, as long as the IP header says. */
  readonly payload: Uint8Array;
  /** From the IP header's start: for messages that quote it. */
  readonly whole: Uint8Array;
}

/**
 * Reads the IPv4 packet in a frame. Undefined when it is malformed, or when a checksum is wrong that was not left to be completed.
 */
export function readIp(frame: Uint8Array, offload: FrameOffload): IpPacket | undefined {
  const at = ETHERNET_HEADER_BYTES;
  if (frame.length < at + IP_HEADER_BYTES || frame[at]! >> 4 !== 4) return undefined;
  const headerBytes = (frame[at]! & 15) * 4;
  const length = be16(frame, at + 2);
  if (headerBytes < IP_HEADER_BYTES || length < headerBytes || at + length > frame.length) return undefined;
  if (checksum(frame, at, at + headerBytes) !== 0) return undefined;
  const payload = frame.subarray(at + headerBytes, at + length);
  const protocol = frame[at + 9]!;
  const fragment = be16(frame, at + 6) & 0x3fff;
  const packet = {
    source: be32(frame, at + 12),
    destination: be32(frame, at + 16),
    protocol,
    isFragment: fragment !== 0,
    payload,
    whole: frame.subarray(at, at + length),
  };
  if (offload.checksumStart !== 0 || offload.checked || packet.isFragment) return packet;
  if (protocol === PROTOCOL_UDP && payload.length >= UDP_HEADER_BYTES && be16(payload, 6) === 0)
    return packet;
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return packet;
  const pseudo = pseudoHeader(frame, at + 12, 8, protocol, payload.length);
  return checksum(payload, 0, payload.length, pseudo) === 0 ? packet : undefined;
}

/** A frame with an IPv4 header, `payloadBytes` of room behind it, and the IP checksum done. */
export function ipFrame(options: {
  readonly fromMac: Uint8Array;
  readonly toMac: Uint8Array | undefined;
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly identification: number;
  readonly payloadBytes: number;
  /** Offset of this piece of a datagram, bytes, and whether more follow. */
  readonly fragment?: { readonly offset: number; readonly more: boolean };
}): Uint8Array {
  const { payloadBytes, fragment } = options;
  const at = ETHERNET_HEADER_BYTES;
  const frame = new Uint8Array(at + IP_HEADER_BYTES + payloadBytes);
  frame.set(options.toMac ?? BROADCAST_MAC);
  frame.set(options.fromMac, MAC_BYTES);
  putBe16(frame, 12, ETHERTYPE_IPV4);
  frame[at] = 0x45;
  putBe16(frame, at + 2, IP_HEADER_BYTES + payloadBytes);
  putBe16(frame, at + 4, options.identification);
  if (fragment) putBe16(frame, at + 6, (fragment.more ? FLAG_MORE_FRAGMENTS : 0) | (fragment.offset >> 3));
  frame[at + 8] = DEFAULT_TTL;
  frame[at + 9] = options.protocol;
  putBe32(frame, at + 12, options.source);
  putBe32(frame, at + 16, options.destination);
  putBe16(frame, at + 10, checksum(frame, at, at + IP_HEADER_BYTES));
  return frame;
}

/** Where the transport's header begins in a frame of `ipFrame`. */
export const PAYLOAD_AT = ETHERNET_HEADER_BYTES + IP_HEADER_BYTES;

/** Writes the pseudo-header's sum where a checksum belongs, for who completes it. */
export function leaveChecksum(frame: Uint8Array, protocol: number, offset: number): void {
  const length = frame.length - PAYLOAD_AT;
  putBe16(frame, PAYLOAD_AT + offset, pseudoHeader(frame, ETHERNET_HEADER_BYTES + 12, 8, protocol, length));
}

/** A UDP datagram, with its checksum, to be put into one or more frames. */
export function udpDatagram(
  source: number,
  sourcePort: number,
  destination: number,
  destinationPort: number,
  data: Uint8Array,
): Uint8Array {
  const datagram = new Uint8Array(UDP_HEADER_BYTES + data.length);
  putBe16(datagram, 0, sourcePort);
  putBe16(datagram, 2, destinationPort);
  putBe16(datagram, 4, datagram.length);
  datagram.set(data, UDP_HEADER_BYTES);
  const addresses = new Uint8Array(8);
  putBe32(addresses, 0, source);
  putBe32(addresses, 4, destination);
  const pseudo = addBytes(0, addresses, 0, 8) + PROTOCOL_UDP + datagram.length;
  putBe16(datagram, 6, checksum(datagram, 0, datagram.length, pseudo) || 0xffff);
  return datagram;
}

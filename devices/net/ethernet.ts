/** Ethernet frames, and the headers of IP that a network looks at without being asked. */
import type { FrameOffload } from "../ports.ts";

export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;
/** The largest frame on a link: 64 KiB of IP, an Ethernet header and a VLAN tag. */
export const MOST_FRAME_BYTES = 65535 + ETHERNET_HEADER_BYTES + 4;
/** The shortest frame on a wire, without its check sequence. */
export const LEAST_FRAME_BYTES = 60;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

export const NO_OFFLOAD: FrameOffload = {
  checksumStart: 0,
  checksumOffset: 0,
  segmentBytes: 0,
  segmentation: 0,
  ecn: false,
  checked: false,
};

export function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function be32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function putBe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putBe32(bytes: Uint8Array, at: number, value: number): void {
  putBe16(bytes, at, value >>> 16);
  putBe16(bytes, at + 2, value);
}

/** A group address: broadcast or multicast. */
export function isGroupAddress(frame: Uint8Array, at = 0): boolean {
  return (frame[at]! & 1) !== 0;
}

export function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (frame[i] !== 0xff) return false;
  return true;
}

export function sameMac(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}

/** `52:54:00:12:34:56`; undefined when it is not one address of a station. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const mac = Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
  return isGroupAddress(mac) ? undefined : mac;
}

export function formatMac(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

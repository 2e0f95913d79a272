/** Which flow a frame belongs to, for spreading frames over receive queues: frames of one connection stay in order. */
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  be16,
  be32,
} from "../../net/ethernet.ts";

/** A number that is the same for all frames of a TCP or UDP flow, and for all between two addresses otherwise. */
export function flowOf(frame: Uint8Array): number {
  const ip = ETHERNET_HEADER_BYTES;
  const type = be16(frame, ip - 2);
  let hash = 0;
  let protocol = 0;
  let transport = 0;
  if (type === ETHERTYPE_IPV4 && frame.length >= ip + 20) {
    hash = be32(frame, ip + 12) ^ be32(frame, ip + 16);
    protocol = frame[ip + 9]!;
    // Of a fragmented datagram only the first piece has ports.
    transport = be16(frame, ip + 6) & 0x3fff ? frame.length : ip + (frame[ip]! & 15) * 4;
  } else if (type === ETHERTYPE_IPV6 && frame.length >= ip + 40) {
    for (let at = ip + 8; at < ip + 40; at += 4) hash ^= be32(frame, at);
    protocol = frame[ip + 6]!;
    transport = ip + 40;
  }
  if ((protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && transport + 4 <= frame.length)
    hash ^= be16(frame, transport) ^ be16(frame, transport + 2);
  return Math.imul(hash, 0x9e3779b1) >>> 16;
}

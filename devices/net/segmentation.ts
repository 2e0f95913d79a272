/**
 * Segmentation in software: one large TCP frame becomes those that go over a wire, for a receiver that does not take it
 * whole. Each has its own lengths, sequence number, flags, identification and checksums (RFC 9293; virtio 1.2, "Packet Transmission").
 */
import type { FrameOffload } from "../ports.ts";
import { checksum, pseudoHeader } from "./checksum.ts";
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_VLAN,
  PROTOCOL_TCP,
  be16,
  be32,
  putBe16,
  putBe32,
} from "./ethernet.ts";

/** Segments smaller than this would be mostly headers, and their number is our work: such a frame is dropped. */
const LEAST_SEGMENT_BYTES = 32;
const IPV6_HEADER_BYTES = 40;
const FIN_PSH = 0x09;
const CWR = 0x80;

/** Scratch: what `emit` gets is valid during the call. */
const scratch = new Uint8Array(65536 + 256);

/**
 * Cuts `frame` up. False, with nothing emitted, when it is not TCP over the IP that `offload` says.
 * Their number is bounded by the frame's length / 32.
 */
export function segment(
  frame: Uint8Array,
  offload: FrameOffload,
  emit: (frame: Uint8Array) => void,
): boolean {
  const { segmentBytes, checksumStart: tcp } = offload;
  let ip = ETHERNET_HEADER_BYTES;
  if (frame.length < ip + 4) return false;
  let type = be16(frame, ip - 2);
  if (type === ETHERTYPE_VLAN) {
    ip += 4;
    type = be16(frame, ip - 2);
  }
  const is4 = offload.segmentation === 4;
  const least = ip + (is4 ? 20 : IPV6_HEADER_BYTES);
  if (segmentBytes < LEAST_SEGMENT_BYTES || tcp < least || tcp + 20 > frame.length) return false;
  if (is4 ? type !== ETHERTYPE_IPV4 || ip + (frame[ip]! & 15) * 4 !== tcp : type !== ETHERTYPE_IPV6)
    return false;
  if (is4 && frame[ip + 9] !== PROTOCOL_TCP) return false;
  const headers = tcp + (frame[tcp + 12]! >> 4) * 4;
  if (headers < tcp + 20 || headers > frame.length || headers > 256) return false;
  const sequence = be32(frame, tcp + 4);
  const flags = frame[tcp + 13]!;
  const identification = be16(frame, ip + 4);
  for (let at = headers, index = 0; at < frame.length || index === 0; at += segmentBytes, index++) {
    const part = frame.subarray(at, Math.min(at + segmentBytes, frame.length));
    const length = headers + part.length;
    scratch.set(frame.subarray(0, headers));
    scratch.set(part, headers);
    let kept = flags;
    if (at + segmentBytes < frame.length) kept &= ~FIN_PSH;
    if (index > 0) kept &= ~CWR;
    scratch[tcp + 13] = kept;
    putBe32(scratch, tcp + 4, (sequence + at - headers) >>> 0);
    if (is4) {
      putBe16(scratch, ip + 2, length - ip);
      putBe16(scratch, ip + 4, (identification + index) & 0xffff);
      putBe16(scratch, ip + 10, 0);
      putBe16(scratch, ip + 10, checksum(scratch, ip, tcp));
    } else putBe16(scratch, ip + 4, length - ip - IPV6_HEADER_BYTES);
    const pseudo = is4
      ? pseudoHeader(scratch, ip + 12, 8, PROTOCOL_TCP, length - tcp)
      : pseudoHeader(scratch, ip + 8, 32, PROTOCOL_TCP, length - tcp);
    putBe16(scratch, tcp + 16, 0);
    putBe16(scratch, tcp + 16, checksum(scratch, tcp, length, pseudo));
    emit(scratch.subarray(0, length));
  }
  return true;
}

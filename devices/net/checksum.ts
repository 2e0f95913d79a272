/** The Internet checksum (RFC 1071), and frames whose checksum was left to be completed. */

/** Adds bytes as 16-bit big-endian words, an odd last one padded with zero, to a running sum. */
export function addBytes(sum: number, bytes: Uint8Array, from: number, to: number): number {
  let high = 0;
  let low = 0;
  let at = from;
  for (; at + 1 < to; at += 2) {
    high += bytes[at]!;
    low += bytes[at + 1]!;
  }
  if (at < to) high += bytes[at]!;
  // 64 KiB at a time cannot overflow 32 bits, and numbers have 53.
  return fold(sum + high * 256 + low);
}

/** Brings a sum into 16 bits, carries added at the end. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/** The checksum of a header in which the checksum's own field counts as it is. */
export function checksum(bytes: Uint8Array, from: number, to: number, initial = 0): number {
  return ~addBytes(initial, bytes, from, to) & 0xffff;
}

/** Sum of the pseudo-header of TCP and UDP: addresses (of IPv4 or IPv6), protocol and length. */
export function pseudoHeader(
  bytes: Uint8Array,
  addressesAt: number,
  addressesBytes: number,
  protocol: number,
  length: number,
): number {
  const addresses = addBytes(0, bytes, addressesAt, addressesAt + addressesBytes);
  return fold(addresses + protocol + (length >>> 16) + (length & 0xffff));
}

/**
 * Completes a checksum in place: the sum from `start` to the frame's end goes to `start + offset`, whose present value (the
 * pseudo-header's sum) is part of it. False, with nothing changed, when that is not in the frame.
 */
export function completeChecksum(frame: Uint8Array, start: number, offset: number): boolean {
  const at = start + offset;
  if (at + 2 > frame.length) return false;
  // 0 means "no checksum" to UDP; FFFFH is the same number.
  const value = checksum(frame, start, frame.length) || 0xffff;
  frame[at] = value >>> 8;
  frame[at + 1] = value;
  return true;
}

/** Numbers as the manual writes them: hexadecimal digits in capitals, then H. */

/** @param digits least number of digits */
export function hex(value: number | bigint, digits = 1): string {
  return `${value.toString(16).toUpperCase().padStart(digits, "0")}H`;
}

/** Bytes as pairs of digits with spaces between. */
export function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
}

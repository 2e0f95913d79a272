/**
 * Checks that every storage back end makes, once, in one place.
 */
import type { StorageResult } from "../ports.ts";

export const SECTOR_BYTES = 512;

/** "ok" when `[sector, sector + byteLength / 512)` lies on the disk; transfers are of whole sectors. */
export function checkRange(sectors: number, sector: number, byteLength: number): StorageResult {
  if (byteLength % SECTOR_BYTES !== 0) return "unsupported";
  if (!Number.isSafeInteger(sector) || sector < 0) return "out-of-range";
  return sector + byteLength / SECTOR_BYTES <= sectors ? "ok" : "out-of-range";
}

/** A serial number as devices report it: printable ASCII, at most 20 characters. */
export function normalizeSerial(serial: string): string {
  return serial.replace(/[^\x20-\x7e]/g, "?").slice(0, 20);
}

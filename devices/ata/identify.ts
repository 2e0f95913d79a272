/**
 * The data of IDENTIFY DEVICE: ANSI INCITS T13, "ATA/ATAPI-6", "IDENTIFY DEVICE".
 */
import * as spec from "./spec.ts";

export interface IdentifyInput {
  readonly sectors: number;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly multipleSectors: number;
  /** Value of the last SET FEATURES transfer mode. */
  readonly transferMode: number;
  readonly writeCache: boolean;
  readonly lookAhead: boolean;
  readonly currentHeads: number;
  readonly currentSectorsPerTrack: number;
  /** A solid-state drive on Serial ATA, with native command queuing and TRIM. */
  readonly serialAta?: boolean;
}

/** Default geometry: 16 heads of 63 sectors, up to the 16,383 cylinders at which CHS addressing ends. */
export const DEFAULT_HEADS = 16;
export const DEFAULT_SECTORS_PER_TRACK = 63;
export function defaultCylinders(sectors: number): number {
  return Math.min(16383, Math.floor(sectors / (DEFAULT_HEADS * DEFAULT_SECTORS_PER_TRACK)));
}

/** Fills 512 bytes. */
export function identifyDevice(into: Uint8Array, o: IdentifyInput): void {
  const view = new DataView(into.buffer, into.byteOffset, 2 * spec.WORDS_IDENTIFY);
  into.fill(0, 0, 2 * spec.WORDS_IDENTIFY);
  const put = (word: number, value: number): void => view.setUint16(2 * word, value, true);
  const put32 = (word: number, value: number): void => view.setUint32(2 * word, value, true);
  put(0, 0x0040); // ATA device, not removable
  put(1, defaultCylinders(o.sectors));
  put(3, DEFAULT_HEADS);
  put(6, DEFAULT_SECTORS_PER_TRACK);
  putString(into, 10, 10, o.serial);
  putString(into, 23, 4, o.firmware);
  putString(into, 27, 20, o.model);
  put(47, 0x8000 | spec.MOST_MULTIPLE_SECTORS);
  put(49, 0x0f00); // IORDY and its disabling, LBA, DMA
  put(50, 0x4000);
  put(53, 0x0007); // words 54-58, 64-70 and 88 are valid
  const cylinders = Math.min(65535, Math.floor(o.sectors / (o.currentHeads * o.currentSectorsPerTrack)));
  put(54, cylinders);
  put(55, o.currentHeads);
  put(56, o.currentSectorsPerTrack);
  put32(57, cylinders * o.currentHeads * o.currentSectorsPerTrack);
  put(59, o.multipleSectors === 0 ? 0 : 0x0100 | o.multipleSectors);
  put32(60, Math.min(spec.MOST_LBA28, o.sectors));
  const selected = (mode: number): number =>
    (o.transferMode & 0xf8) === mode ? 1 << (8 + (o.transferMode & 7)) : 0;
  put(63, 0x0007 | selected(spec.MODE_MULTIWORD_DMA));
  put(64, 0x0003); // PIO modes 3 and 4
  for (const word of [65, 66, 67, 68]) put(word, 120); // cycle times in nanoseconds
  put(80, 0x0070); // ATA/ATAPI-4, -5 and -6
  put(81, 0x0019);
  // Supported: NOP, look-ahead, write cache, power management; FLUSH CACHE (EXT), 48-bit addresses.
  put(82, 0x4068);
  put(83, 0x7400);
  put(84, 0x4000);
  put(85, 0x4008 | (o.writeCache ? 0x20 : 0) | (o.lookAhead ? 0x40 : 0));
  put(86, 0x3400);
  put(87, 0x4000);
  put(88, 0x003f | selected(spec.MODE_ULTRA_DMA));
  put(93, 0x6001); // passed the hardware reset, 80-conductor cable
  put32(100, o.sectors % 2 ** 32);
  put32(102, Math.floor(o.sectors / 2 ** 32));
  if (o.serialAta === true) putSerialAta(put);
  // Integrity word: the sum of all 512 bytes is zero.
  into[510] = 0xa5;
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += into[i]!;
  into[511] = -sum & 0xff;
}

/** What differs for a drive on Serial ATA: ATA8-ACS, "IDENTIFY DEVICE". */
function putSerialAta(put: (word: number, value: number) => void): void {
  put(75, spec.NCQ_DEPTH - 1);
  put(76, 0x0106); // generations 1 and 2, native command queuing
  put(80, 0x01f0); // ATA/ATAPI-4 to ATA8-ACS
  put(81, 0); // no minor version is reported
  // General purpose logging, and WRITE DMA FUA EXT.
  put(84, 0x4060);
  put(87, 0x4060);
  put(93, 0); // there is no cable to detect
  put(105, 1); // blocks of ranges in one DATA SET MANAGEMENT
  put(169, 0x0001); // TRIM
  put(217, 0x0001); // not a rotating medium
  put(222, 0x101f); // Serial ATA up to revision 2.6
}

/** Fills 512 bytes: "IDENTIFY PACKET DEVICE", of a CD-ROM drive. */
export function identifyPacketDevice(
  into: Uint8Array,
  o: Pick<IdentifyInput, "serial" | "model" | "firmware" | "transferMode">,
): void {
  const view = new DataView(into.buffer, into.byteOffset, 2 * spec.WORDS_IDENTIFY);
  into.fill(0, 0, 2 * spec.WORDS_IDENTIFY);
  const put = (word: number, value: number): void => view.setUint16(2 * word, value, true);
  // Packet device, CD-ROM, removable, DRQ within 50 microseconds of PACKET, packets of 12 bytes.
  put(0, 0x85c0);
  putString(into, 10, 10, o.serial);
  putString(into, 23, 4, o.firmware);
  putString(into, 27, 20, o.model);
  put(49, 0x0f00); // IORDY and its disabling, LBA, DMA
  put(50, 0x4000);
  put(53, 0x0006); // words 64-70 and 88 are valid
  const selected = (mode: number): number =>
    (o.transferMode & 0xf8) === mode ? 1 << (8 + (o.transferMode & 7)) : 0;
  put(63, 0x0007 | selected(spec.MODE_MULTIWORD_DMA));
  put(64, 0x0003); // PIO modes 3 and 4
  for (const word of [65, 66, 67, 68]) put(word, 120); // cycle times in nanoseconds
  put(80, 0x0070); // ATA/ATAPI-4, -5 and -6
  put(81, 0x0019);
  put(82, 0x0210); // DEVICE RESET, PACKET
  put(83, 0x4000);
  put(84, 0x4000);
  put(85, 0x0210);
  put(87, 0x4000);
  put(88, 0x003f | selected(spec.MODE_ULTRA_DMA));
  put(93, 0x6001);
}

/** "ATA strings": blank-padded, each word's first character in its upper byte. */
function putString(into: Uint8Array, word: number, words: number, text: string): void {
  const padded = text.padEnd(2 * words, " ");
  for (let i = 0; i < 2 * words; i++) into[2 * word + (i ^ 1)] = padded.charCodeAt(i) & 0x7f;
}

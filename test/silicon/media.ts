/**
 * x87, MMX, SSE and AVX state of a case: its form, and random content.
 *
 * A media image is what FXSAVE64 writes (Intel SDM Vol. 1, "Non-64-Bit Mode Format / 64-Bit Mode Format of the FXSAVE Map",
 * reserved bytes 0) and behind it the upper halves of YMM0 to YMM15. `lanes.ts` draws what the registers hold.
 */
import type { Random } from "../support/random.ts";
import type { Form } from "./forms.ts";
import { isFloat, putExtended, type LaneSource } from "./lanes.ts";
import { smallArray, viewOf } from "./slab.ts";

export const MEDIA_BYTES = 768;
/** Offsets in the image. */
export const CONTROL_OFFSET = 0;
export const STATUS_OFFSET = 2;
export const TAG_OFFSET = 4;
export const OPCODE_OFFSET = 6;
export const CODE_OFFSET = 8;
export const DATA_OFFSET = 16;
export const MXCSR_OFFSET = 24;
export const ST_OFFSET = 32;
export const XMM_OFFSET = 160;
export const UPPER_OFFSET = 512;

/** An MXCSR without reserved bits: for computing forms every rounding mode, FTZ, DAZ and masks; flags at random. */
function mxcsr(random: Random, form: Form): number {
  if (!isFloat(form)) return 0x1f80 | (random.chance(20) ? random.below(64) : 0);
  let value = random.chance(85) ? 0x1f80 : random.below(64) << 7;
  if (random.chance(50)) value |= random.below(4) << 13;
  if (random.chance(20)) value |= 0x8000;
  if (random.chance(20)) value |= 0x40;
  if (random.chance(60)) value |= random.below(64);
  return value;
}

/** Random media state for a case of the form. */
export function makeMedia(random: Random, form: Form, source: LaneSource): Uint8Array {
  const image = smallArray(MEDIA_BYTES);
  const view = viewOf(image);
  const isX87 = form.row.feature === "X87";
  let control = 0x37f;
  if (isX87) {
    if (random.chance(20)) control = (control & ~0x3f) | random.below(64);
    if (random.chance(50))
      control = (control & ~0xf00) | (random.pick([0, 2, 3]) << 8) | (random.below(4) << 10);
  }
  view.setUint16(CONTROL_OFFSET, control, true);
  // Exception flags that are unmasked would be pending; x87 forms get masked ones, the condition code and TOP.
  const flags = isX87 ? random.below(64) & control & 0x3f : 0;
  const status = (random.below(8) << 11) | (random.next() & 0x4700) | flags;
  view.setUint16(STATUS_OFFSET, status, true);
  image[TAG_OFFSET] = random.chance(isX87 ? 70 : 30) ? 0xff : random.below(256);
  view.setUint32(MXCSR_OFFSET, mxcsr(random, form), true);
  const words = new Uint32Array(image.buffer, image.byteOffset, image.length / 4);
  for (let at = ST_OFFSET / 4; at < XMM_OFFSET / 4; at += 4) {
    if (isX87) putExtended(random, words, at);
    else {
      source.put(words, at);
      words[at + 2] = random.next() & 0xffff;
    }
  }
  for (let at = XMM_OFFSET / 4; at < XMM_OFFSET / 4 + 64; at += 2) source.put(words, at);
  for (let at = UPPER_OFFSET / 4; at < MEDIA_BYTES / 4; at += 2) source.put(words, at);
  return image;
}

/** As `makeMedia`, for what saves and restores it: components in their initial configuration now and then. */
export function makeImageMedia(random: Random, form: Form, source: LaneSource): Uint8Array {
  const image = makeMedia(random, form, source);
  if (random.chance(30)) {
    image.fill(0, 0, MXCSR_OFFSET);
    image.fill(0, ST_OFFSET, XMM_OFFSET);
    viewOf(image).setUint16(CONTROL_OFFSET, 0x37f, true);
  }
  if (random.chance(30)) image.fill(0, XMM_OFFSET, XMM_OFFSET + 256);
  if (random.chance(30)) image.fill(0, UPPER_OFFSET);
  if (random.chance(50)) viewOf(image).setUint32(MXCSR_OFFSET, 0x1f80, true);
  return image;
}

/** Header and AVX component in an image in memory, and its size. */
const HEADER_OFFSET = 512;
const AVX_OFFSET = 576;
export const IMAGE_BYTES = 832;
/** Components that no processor has had so far. */
const UNKNOWN_COMPONENTS = [3n, 4n, 10n, 30n, 40n, 61n];

/** An image for XRSTOR, in either format, mostly without an error. */
export function makeImage(random: Random, source: LaneSource): Uint8Array {
  const image = smallArray(IMAGE_BYTES);
  const view = viewOf(image);
  view.setUint16(CONTROL_OFFSET, random.chance(70) ? 0x37f : random.next() & 0x1f3f, true);
  view.setUint16(STATUS_OFFSET, random.next() & 0x7f00, true);
  image[TAG_OFFSET] = random.next() >>> 24;
  view.setUint32(MXCSR_OFFSET, random.chance(85) ? random.next() & 0xffff : random.next(), true);
  const words = new Uint32Array(image.buffer, image.byteOffset, image.length / 4);
  for (let at = ST_OFFSET / 4; at < XMM_OFFSET / 4; at += 4) {
    source.put(words, at);
    words[at + 2] = random.next() & 0xffff;
  }
  for (let at = XMM_OFFSET / 4; at < XMM_OFFSET / 4 + 64; at += 2) source.put(words, at);
  for (let at = AVX_OFFSET / 4; at < IMAGE_BYTES / 4; at += 2) source.put(words, at);
  let components = BigInt(random.below(8));
  let layout = random.chance(50) ? 0n : (1n << 63n) | components | BigInt(random.below(8));
  if (random.chance(6)) components |= 1n << random.pick(UNKNOWN_COMPONENTS);
  if (random.chance(6)) layout ^= 1n << random.pick([0n, 1n, 2n, ...UNKNOWN_COMPONENTS]);
  view.setBigUint64(HEADER_OFFSET, components, true);
  view.setBigUint64(HEADER_OFFSET + 8, layout, true);
  if (random.chance(10)) image[HEADER_OFFSET + 16 + random.below(48)] = 1;
  return image;
}

/** Sets one register of an image: 16 or 32 bytes. */
export function setVector(image: Uint8Array, register: number, bytes: Uint8Array): void {
  image.set(bytes.subarray(0, 16), XMM_OFFSET + 16 * register);
  if (bytes.length > 16) image.set(bytes.subarray(16, 32), UPPER_OFFSET + 16 * register);
}

const NAMES: readonly (readonly [name: string, at: number, size: number])[] = [
  ["FCW", CONTROL_OFFSET, 2],
  ["FSW", STATUS_OFFSET, 2],
  ["FTW", TAG_OFFSET, 1],
  ["FOP", OPCODE_OFFSET, 2],
  ["FIP", CODE_OFFSET, 8],
  ["FDP", DATA_OFFSET, 8],
  ["MXCSR", MXCSR_OFFSET, 4],
  ...Array.from({ length: 8 }, (_, i) => [`ST${i}`, ST_OFFSET + 16 * i, 10] as const),
  ...Array.from({ length: 16 }, (_, i) => [`XMM${i}`, XMM_OFFSET + 16 * i, 16] as const),
  ...Array.from({ length: 16 }, (_, i) => [`YMM${i}[255:128]`, UPPER_OFFSET + 16 * i, 16] as const),
];

/** The highest byte first. */
function hexOf(image: Uint8Array, at: number, size: number): string {
  return Buffer.from(image.slice(at, at + size).reverse()).toString("hex");
}

/** What an image consists of: name and value in hexadecimal, in the order of `NAMES`. */
export function mediaParts(image: Uint8Array): (readonly [name: string, value: string])[] {
  return NAMES.map(([name, at, size]) => [name, hexOf(image, at, size)] as const);
}

export const statusOf = (image: Uint8Array): number =>
  image[STATUS_OFFSET]! | (image[STATUS_OFFSET + 1]! << 8);

/** FSW.ES: an unmasked exception is pending. */
export const STATUS_ES = 0x80;

/** Whether two images are the same, but for the opcode and the operand's address where they are not defined (`isMediaDefined`). */
export function isSameMedia(a: Uint8Array, b: Uint8Array): boolean {
  const left = new Uint32Array(a.buffer, a.byteOffset, MEDIA_BYTES / 4);
  const right = new Uint32Array(b.buffer, b.byteOffset, MEDIA_BYTES / 4);
  if (left[0] !== right[0] || left[2] !== right[2] || left[3] !== right[3]) return false;
  if ((a[STATUS_OFFSET]! & STATUS_ES) !== 0) {
    if (left[1] !== right[1] || left[4] !== right[4] || left[5] !== right[5]) return false;
  } else if (a[TAG_OFFSET] !== b[TAG_OFFSET]) return false;
  for (let i = MXCSR_OFFSET / 4; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}

/**
 * x87, MMX, SSE and AVX state of a case: its form, and random content.
 *
 * A media image is what FXSAVE64 writes (Intel SDM Vol. 1, "Non-64-Bit Mode Format / 64-Bit Mode Format of the FXSAVE Map",
 * reserved bytes 0) and behind it the upper halves of YMM0 to YMM15. Values are edges of the types that the instruction works
 * on as often as random ones, and registers repeat each other's lanes, so that compares, cancellation and ties occur.
 */
import type { Random } from "../support/random.ts";
import type { Form } from "./forms.ts";

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

/** What a lane holds. */
type LaneType = "int" | "half" | "single" | "double" | "text";

const SINGLE = /(?:[PS]S)$|^CVTT?[PS]S2|2[PS]S$/;
const DOUBLE = /(?:[PS]D)$|^CVTT?[PS]D2|2[PS]D$/;
/** Mnemonics that end like floating-point ones. */
const INTEGER = /^V?(?:PADD|PSUB|PHADD|PHSUB|PACK|PABS|PSIGN|MOVS|UNPCK|BLEND)/;
/** Floating-point computation: what depends on MXCSR. */
const COMPUTES =
  /^V?(?:ADD|SUB|MUL|DIV|SQRT|MIN|MAX|CMP|U?COMI|CVT|ROUND|DP|HADD|HSUB|ADDSUB|RCP|RSQRT|FN?M(?:ADD|SUB))/;

const bare = (mnemonic: string): string => mnemonic.replace(/^V/, "").replace(/(?:132|213|231)/, "");

/** Rows whose results depend on rounding, denormals and exceptions. */
export function isFloat(form: Form): boolean {
  const { mnemonic, feature } = form.row;
  return (
    feature === "F16C" ||
    (COMPUTES.test(mnemonic) && (SINGLE.test(bare(mnemonic)) || DOUBLE.test(bare(mnemonic))))
  );
}

/** Types of lanes that suit an instruction. */
function laneTypes(form: Form): readonly LaneType[] {
  const mnemonic = bare(form.row.mnemonic);
  if (/^PCMP[EI]STR/.test(mnemonic)) return ["text"];
  if (form.row.feature === "F16C") return mnemonic === "CVTPH2PS" ? ["half"] : ["single"];
  if (INTEGER.test(form.row.mnemonic)) return ["int"];
  if (/^CVT(?:DQ|PI|SI)2/.test(mnemonic)) return ["int", "int", "int", "single"];
  if (/^CVTT?[PS]S2/.test(mnemonic)) return ["single"];
  if (/^CVTT?[PS]D2/.test(mnemonic)) return ["double"];
  if (SINGLE.test(mnemonic)) return ["single"];
  if (DOUBLE.test(mnemonic)) return ["double"];
  return ["int"];
}

const SINGLES = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fc12345,
  0x7f800001, 0xff812345, 0x7fbfffff, 0x00000001, 0x807fffff, 0x00800000, 0x00800001, 0x80ffffff, 0x7f7fffff,
  0xff7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0xbf000000, 0x3effffff, 0x4b000001, 0x4f000000, 0xcf000000,
  0x4effffff, 0x5f000000, 0xdf000000, 0x3f7fffff, 0x3f800001, 0x00400000, 0x34000000, 0x33800000, 0x4f7fffff,
];
const DOUBLES = [
  0n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0xfff8000000000000n,
  0x7ff8000012345678n,
  0x7ff0000000000001n,
  0xfff4000000000000n,
  0x0000000000000001n,
  0x800fffffffffffffn,
  0x0010000000000000n,
  0x0010000000000001n,
  0x801fffffffffffffn,
  0x7fefffffffffffffn,
  0xffefffffffffffffn,
  0x3fe0000000000000n,
  0x3ff8000000000000n,
  0x4004000000000000n,
  0xbfe0000000000000n,
  0x3fdfffffffffffffn,
  0x41dfffffffc00000n,
  0x41e0000000000000n,
  0xc1e0000000000000n,
  0xc1e0000000200000n,
  0x43e0000000000000n,
  0xc3e0000000000000n,
  0x43dfffffffffffffn,
  0x3fefffffffffffffn,
  0x3ff0000000000001n,
  0x36a0000000000000n,
  0x3690000000000000n,
  0x380fffffe0000000n,
  0x47efffffe0000000n,
  0x47effffff0000000n,
  0x3810000000000000n,
  0x0008000000000000n,
  0x3cb0000000000000n,
  0x4330000000000001n,
];
const HALVES = [
  0x0000, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfd55, 0x0001, 0x83ff, 0x0400, 0x7bff,
  0x3bff,
];

const random64 = (random: Random): bigint => (BigInt(random.next()) << 32n) | BigInt(random.next());

function single(random: Random): number {
  const kind = random.below(10);
  if (kind < 3) return random.pick(SINGLES);
  if (kind < 4) return random.next();
  const exponent =
    kind < 8
      ? 118 + random.below(20)
      : kind < 9
        ? random.pick([1, 2, 12, 23, 24, 25, 26])
        : 127 + random.below(40);
  // Short significands make exact results and ties.
  const fraction = random.next() & (random.chance(40) ? 0x700000 : random.chance(30) ? 0x7ffc00 : 0x7fffff);
  return ((random.below(2) << 31) | (exponent << 23) | fraction) >>> 0;
}

function double(random: Random): bigint {
  const kind = random.below(10);
  if (kind < 3) return random.pick(DOUBLES);
  if (kind < 4) return random64(random);
  const exponent =
    kind < 7
      ? 1014 + random.below(20)
      : kind < 8
        ? random.pick([1, 2, 20, 52, 53, 54, 55, 56, 1022 - 149, 1022 - 126, 1023 - 126, 1023 + 127])
        : 1023 + random.below(80);
  const keep = random.chance(40) ? 0xe000000000000n : random.chance(40) ? 0xffffffff00000n : 0xfffffffffffffn;
  return (BigInt(random.below(2)) << 63n) | (BigInt(exponent) << 52n) | (random64(random) & keep);
}

/** A 64-bit integer made of edges of a random width, repeated over the lanes of that width or not. */
function integer(random: Random): bigint {
  const kind = random.below(10);
  if (kind < 3) return random64(random);
  if (kind < 4) return BigInt(random.below(72));
  const width = BigInt(random.pick([8, 16, 32, 64]));
  const top = 1n << (width - 1n);
  const lane = (): bigint =>
    BigInt.asUintN(
      Number(width),
      random.chance(30)
        ? random64(random)
        : random.pick([0n, 1n, -1n, top, top - 1n, top + 1n, 2n, top >> 1n]),
    );
  let value = 0n;
  for (let at = 0n; at < 64n; at += width) value |= lane() << at;
  return value;
}

/** A few characters of a small alphabet, with an end now and then. */
function text(random: Random): bigint {
  let value = 0n;
  for (let i = 0n; i < 64n; i += 8n) {
    const character = random.chance(8) ? 0 : random.chance(20) ? random.below(256) : 0x41 + random.below(4);
    value |= BigInt(character) << i;
  }
  return value;
}

/** 64 bits of lanes. */
function lanes(random: Random, type: LaneType): bigint {
  switch (type) {
    case "int":
      return integer(random);
    case "text":
      return text(random);
    case "double":
      return double(random);
    case "single":
      return BigInt(single(random)) | (BigInt(single(random)) << 32n);
    case "half": {
      let value = 0n;
      for (let i = 0n; i < 64n; i += 16n)
        value |= BigInt(random.chance(50) ? random.pick(HALVES) : random.next() & 0xffff) << i;
      return value;
    }
  }
}

/** The lanes of one case: some come more than once. */
export class LaneSource {
  readonly #random: Random;
  readonly #types: readonly LaneType[];
  readonly #pool: bigint[] = [];

  constructor(random: Random, form: Form) {
    this.#random = random;
    this.#types = laneTypes(form);
  }

  next(): bigint {
    const random = this.#random;
    if (this.#pool.length > 0 && random.chance(25)) return random.pick(this.#pool);
    const value = lanes(random, random.pick(this.#types));
    if (this.#pool.length < 4) this.#pool.push(value);
    return value;
  }
}

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

/** Exponents of x87 values that are edges: zero or denormal, smallest, around 1, largest, infinity or NaN. */
const X87_EXPONENTS = [
  0,
  0,
  1,
  0x3ffe,
  0x3fff,
  0x4000,
  0x7ffe,
  0x7fff,
  0x7fff,
  0x3fff + 63,
  0x3fff + 31,
  0x3fff - 63,
];
const X87_SIGNIFICANDS = [
  0n,
  0x8000000000000000n,
  0xc000000000000000n,
  0xffffffffffffffffn,
  0x8000000000000001n,
  0x4000000000000000n,
  0xa000000000000000n,
  1n,
  0xbfffffffffffffffn,
];

function x87Register(
  random: Random,
  source: LaneSource,
  isX87: boolean,
): { significand: bigint; exponent: number } {
  if (!isX87) return { significand: source.next(), exponent: random.next() & 0xffff };
  const sign = random.below(2) << 15;
  const kind = random.below(10);
  if (kind < 4)
    return { significand: random.pick(X87_SIGNIFICANDS), exponent: sign | random.pick(X87_EXPONENTS) };
  const short = random.chance(40) ? 0xfff0000000000000n : 0xffffffffffffffffn;
  const normal = (random64(random) & short) | 0x8000000000000000n;
  if (kind < 9) return { significand: normal, exponent: sign | (0x3fff - 12 + random.below(24)) };
  return { significand: random64(random), exponent: random.next() & 0xffff };
}

/** Random media state for a case of the form. */
export function makeMedia(random: Random, form: Form, source: LaneSource): Uint8Array {
  const image = new Uint8Array(MEDIA_BYTES);
  const view = new DataView(image.buffer);
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
  for (let i = 0; i < 8; i++) {
    const { significand, exponent } = x87Register(random, source, isX87);
    view.setBigUint64(ST_OFFSET + 16 * i, significand, true);
    view.setUint16(ST_OFFSET + 16 * i + 8, exponent, true);
  }
  for (let i = 0; i < 16; i++) {
    view.setBigUint64(XMM_OFFSET + 16 * i, source.next(), true);
    view.setBigUint64(XMM_OFFSET + 16 * i + 8, source.next(), true);
    view.setBigUint64(UPPER_OFFSET + 16 * i, source.next(), true);
    view.setBigUint64(UPPER_OFFSET + 16 * i + 8, source.next(), true);
  }
  return image;
}

/** As `makeMedia`, for what saves and restores it: components in their initial configuration now and then. */
export function makeImageMedia(random: Random, form: Form, source: LaneSource): Uint8Array {
  const image = makeMedia(random, form, source);
  if (random.chance(30)) {
    image.fill(0, 0, MXCSR_OFFSET);
    image.fill(0, ST_OFFSET, XMM_OFFSET);
    new DataView(image.buffer).setUint16(CONTROL_OFFSET, 0x37f, true);
  }
  if (random.chance(30)) image.fill(0, XMM_OFFSET, XMM_OFFSET + 256);
  if (random.chance(30)) image.fill(0, UPPER_OFFSET);
  if (random.chance(50)) new DataView(image.buffer).setUint32(MXCSR_OFFSET, 0x1f80, true);
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
  const image = new Uint8Array(IMAGE_BYTES);
  const view = new DataView(image.buffer);
  view.setUint16(CONTROL_OFFSET, random.chance(70) ? 0x37f : random.next() & 0x1f3f, true);
  view.setUint16(STATUS_OFFSET, random.next() & 0x7f00, true);
  image[TAG_OFFSET] = random.next() >>> 24;
  view.setUint32(MXCSR_OFFSET, random.chance(85) ? random.next() & 0xffff : random.next(), true);
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(ST_OFFSET + 16 * i, source.next(), true);
    view.setUint16(ST_OFFSET + 16 * i + 8, random.next() & 0xffff, true);
  }
  for (let at = XMM_OFFSET; at < XMM_OFFSET + 256; at += 8) view.setBigUint64(at, source.next(), true);
  for (let at = AVX_OFFSET; at < IMAGE_BYTES; at += 8) view.setBigUint64(at, source.next(), true);
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

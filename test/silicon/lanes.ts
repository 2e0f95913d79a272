/**
 * Random content of vector lanes, x87 registers and their operands in memory: edges of the types that an instruction works on as
 * often as random values, repeated now and then so that compares, cancellation and ties occur.
 *
 * Everything is made of 32-bit halves: a fuzzer draws tens of millions of these, and BigInt arithmetic costs ten times as much.
 */
import { fnv1a, Random } from "../support/random.ts";
import type { Form } from "./forms.ts";

/** What a lane holds. `real` is the 80-bit format, of which 64 bits are the significand. */
type LaneType = "int" | "half" | "single" | "double" | "real" | "decimal" | "text";

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

/** Types of an x87 instruction's operand in memory. */
function x87OperandTypes(form: Form): readonly LaneType[] {
  const { mnemonic, operands } = form.row;
  if (/^FI/.test(mnemonic)) return ["int"];
  const type = operands[0]?.memoryType;
  if (type === "d") return ["single"];
  if (type === "q") return ["double"];
  if (type === "t") return [/^FB/.test(mnemonic) ? "decimal" : "real"];
  return ["int"];
}

/** Types of lanes that suit an instruction. */
function laneTypes(form: Form): readonly LaneType[] {
  const mnemonic = bare(form.row.mnemonic);
  if (form.row.feature === "X87") return x87OperandTypes(form);
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

/** 64-bit values as halves, the lower first. */
const halves = (values: readonly bigint[]): Uint32Array =>
  new Uint32Array(BigUint64Array.from(values).buffer);

const SINGLES = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fc12345,
  0x7f800001, 0xff812345, 0x7fbfffff, 0x00000001, 0x807fffff, 0x00800000, 0x00800001, 0x80ffffff, 0x7f7fffff,
  0xff7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0xbf000000, 0x3effffff, 0x4b000001, 0x4f000000, 0xcf000000,
  0x4effffff, 0x5f000000, 0xdf000000, 0x3f7fffff, 0x3f800001, 0x00400000, 0x34000000, 0x33800000, 0x4f7fffff,
];
const DOUBLES = halves([
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
]);
const HALVES = [
  0x0000, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfd55, 0x0001, 0x83ff, 0x0400, 0x7bff,
  0x3bff,
];
/** 0, 1, -1, the largest and smallest signed integers and their neighbours, 2, a quarter of the range. */
const QUADS = halves([
  0n,
  1n,
  0xffffffffffffffffn,
  1n << 63n,
  (1n << 63n) - 1n,
  (1n << 63n) + 1n,
  2n,
  1n << 62n,
]);
/** Exponents of doubles that are edges: of denormals, of singles and of their denormals. */
const DOUBLE_EXPONENTS = [1, 2, 20, 52, 53, 54, 55, 56, 1022 - 149, 1022 - 126, 1023 - 126, 1023 + 127];
const SINGLE_EXPONENTS = [1, 2, 12, 23, 24, 25, 26];
const WIDTHS = [8, 16, 32, 64];

function single(random: Random): number {
  const kind = random.below(10);
  if (kind < 3) return random.pick(SINGLES);
  if (kind < 4) return random.next();
  const exponent =
    kind < 8 ? 118 + random.below(20) : kind < 9 ? random.pick(SINGLE_EXPONENTS) : 127 + random.below(40);
  // Short significands make exact results and ties.
  const fraction = random.next() & (random.chance(40) ? 0x700000 : random.chance(30) ? 0x7ffc00 : 0x7fffff);
  return (random.below(2) << 31) | (exponent << 23) | fraction;
}

function pickPair(random: Random, pairs: Uint32Array, words: Uint32Array, at: number): void {
  const i = 2 * random.below(pairs.length >> 1);
  words[at] = pairs[i]!;
  words[at + 1] = pairs[i + 1]!;
}

function double(random: Random, words: Uint32Array, at: number): void {
  const kind = random.below(10);
  if (kind < 3) {
    pickPair(random, DOUBLES, words, at);
    return;
  }
  words[at] = random.next();
  words[at + 1] = random.next();
  if (kind < 4) return;
  const exponent =
    kind < 7 ? 1014 + random.below(20) : kind < 8 ? random.pick(DOUBLE_EXPONENTS) : 1023 + random.below(80);
  let fraction = words[at + 1]! & 0xfffff;
  // Short significands make exact results and ties.
  const length = random.below(10);
  if (length < 4) fraction &= 0xe0000;
  if (length < 4) words[at] = 0;
  else if (length < 6) words[at] &= 0xfff00000;
  words[at + 1] = (random.below(2) << 31) | (exponent << 20) | fraction;
}

/** An integer of `width` bits, at most 32. */
function narrow(random: Random, width: number): number {
  if (random.chance(30)) return random.next() >>> (32 - width);
  const top = 2 ** (width - 1);
  switch (random.below(8)) {
    case 0:
      return 0;
    case 1:
      return 1;
    case 2:
      return 2 * top - 1;
    case 3:
      return top;
    case 4:
      return top - 1;
    case 5:
      return top + 1;
    case 6:
      return 2;
    default:
      return top / 2;
  }
}

/** A 64-bit integer made of edges of a random width. */
function integer(random: Random, words: Uint32Array, at: number): void {
  const kind = random.below(10);
  if (kind < 3) {
    words[at] = random.next();
    words[at + 1] = random.next();
    return;
  }
  if (kind < 4) {
    words[at] = random.below(72);
    words[at + 1] = 0;
    return;
  }
  const width = random.pick(WIDTHS);
  if (width === 64) {
    pickPair(random, QUADS, words, at);
    return;
  }
  for (let half = 0; half < 2; half++) {
    let word = 0;
    for (let shift = 0; shift < 32; shift += width) word |= narrow(random, width) << shift;
    words[at + half] = word;
  }
}

/** Four characters of a small alphabet, with an end now and then. */
function text(random: Random): number {
  let word = 0;
  for (let shift = 0; shift < 32; shift += 8)
    word |= (random.chance(8) ? 0 : random.chance(20) ? random.below(256) : 0x41 + random.below(4)) << shift;
  return word;
}

function half(random: Random): number {
  return random.chance(50) ? random.pick(HALVES) : random.next() & 0xffff;
}

/** Eight decimal digits, seldom one that is none. */
function digits(random: Random): number {
  let word = 0;
  for (let shift = 0; shift < 32; shift += 4) word |= random.below(10) << shift;
  return random.chance(5) ? random.next() : word;
}

function drawLane(random: Random, type: LaneType, words: Uint32Array, at: number): void {
  switch (type) {
    case "int":
      integer(random, words, at);
      break;
    case "double":
      double(random, words, at);
      break;
    case "real":
      significand(random, words, at);
      break;
    case "single":
      words[at] = single(random);
      words[at + 1] = single(random);
      break;
    case "text":
      words[at] = text(random);
      words[at + 1] = text(random);
      break;
    case "decimal":
      words[at] = digits(random);
      words[at + 1] = digits(random);
      break;
    case "half":
      words[at] = half(random) | (half(random) << 16);
      words[at + 1] = half(random) | (half(random) << 16);
  }
}

/** Lanes of a type to choose from, under a seed. */
const TABLE_LANES = 1 << 14;

/** Lanes of all types under the seed that was asked for last, as far as they were. */
const tables = new Map<LaneType, Uint32Array>();
let tablesSeed: number | undefined;

function laneTable(seed: number, type: LaneType): Uint32Array {
  if (seed !== tablesSeed) tables.clear();
  tablesSeed = seed;
  let table = tables.get(type);
  if (!table) {
    const random = new Random(fnv1a(`${seed}/${type}`));
    table = new Uint32Array(2 * TABLE_LANES);
    for (let at = 0; at < table.length; at += 2) drawLane(random, type, table, at);
    tables.set(type, table);
  }
  return table;
}

/** Lanes of which a case repeats one now and then. */
const POOL = 4;

/**
 * The lanes of one case, out of the table of its seed: some come more than once. One random number decides on a lane, of which there
 * are seventy in a case.
 */
export class LaneSource {
  readonly #random: Random;
  readonly #tables: readonly Uint32Array[];
  readonly #isReal: boolean;
  readonly #pool = new Uint32Array(2 * POOL);
  #pooled = 0;

  constructor(seed: number, random: Random, form: Form) {
    this.#random = random;
    const types = laneTypesOf(form);
    this.#tables = types.map((type) => laneTable(seed, type));
    this.#isReal = types[0] === "real";
  }

  /** Writes 64 bits of lanes to two words. */
  put(words: Uint32Array, at: number): void {
    const draw = this.#random.next();
    const pool = this.#pool;
    if ((draw & 3) === 0 && this.#pooled === POOL) {
      const i = 2 * ((draw >>> 2) & (POOL - 1));
      words[at] = pool[i]!;
      words[at + 1] = pool[i + 1]!;
      return;
    }
    const table = this.#tables[((draw >>> 4) & 3) % this.#tables.length]!;
    const i = 2 * (draw >>> 18);
    words[at] = table[i]!;
    words[at + 1] = table[i + 1]!;
    if (this.#pooled === POOL) return;
    pool[2 * this.#pooled] = words[at]!;
    pool[2 * this.#pooled++ + 1] = words[at + 1]!;
  }

  /** Writes an operand in memory: lanes, or a number of 80 bits. */
  putOperand(words: Uint32Array): void {
    for (let at = 0; at < words.length; at += 2) this.put(words, at);
    if (this.#isReal) words[2] = exponent(this.#random);
  }
}

const typesByForm = new WeakMap<Form, readonly LaneType[]>();

function laneTypesOf(form: Form): readonly LaneType[] {
  let types = typesByForm.get(form);
  if (!types) {
    types = laneTypes(form);
    typesByForm.set(form, types);
  }
  return types;
}

/** Exponents of x87 values that are edges: zero or denormal, smallest, around 1, largest, infinity or NaN, beyond integers. */
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
const X87_SIGNIFICANDS = halves([
  0n,
  0x8000000000000000n,
  0xc000000000000000n,
  0xffffffffffffffffn,
  0x8000000000000001n,
  0x4000000000000000n,
  0xa000000000000000n,
  1n,
  0xbfffffffffffffffn,
]);

/** Sign and exponent of an 80-bit number. */
function exponent(random: Random): number {
  const sign = random.below(2) << 15;
  const kind = random.below(10);
  if (kind < 4) return sign | random.pick(X87_EXPONENTS);
  if (kind < 9) return sign | (0x3fff - 12 + random.below(24));
  return random.next() & 0xffff;
}

function significand(random: Random, words: Uint32Array, at: number): void {
  const kind = random.below(10);
  if (kind < 4) {
    pickPair(random, X87_SIGNIFICANDS, words, at);
    return;
  }
  words[at] = random.next();
  words[at + 1] = random.next();
  if (kind === 9) return;
  words[at + 1]! |= 0x80000000;
  if (!random.chance(40)) return;
  words[at] = 0;
  words[at + 1]! &= 0xfff00000;
}

/** Writes an x87 register: significand, and sign and exponent in the third word. */
export function putExtended(random: Random, words: Uint32Array, at: number): void {
  significand(random, words, at);
  words[at + 2] = exponent(random);
}

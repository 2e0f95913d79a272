/**
 * Random inputs of a form's cases, as a function of seed, form and number, so that the corpus stores only outcomes.
 *
 * Numbers are edges of all formats as often as random ones; ST(0) and ST(1) are often related, so that sums cancel, quotients are exact
 * and comparisons equal.
 */
import { fnv1a, Random } from "../../support/random.ts";
import { OPERAND_BYTES, physical, REGISTERS, type Extended, type X87Form, type X87Input } from "./case.ts";

const TOP_BIT = 1n << 63n;
const BIAS = 0x3fff;
const RFLAGS_ARITHMETIC = 0x8d5;

const random64 = (random: Random): bigint => (BigInt(random.next()) << 32n) | BigInt(random.next());

/** Exponents at which something happens in one of the formats, or any. */
function exponentField(random: Random): number {
  const kind = random.below(10);
  if (kind < 4) return BIAS + random.below(140) - 70;
  if (kind < 5) return random.pick([0, 0, 1, 2, 0x7ffe, 0x7ffd, 0x7fff, 0x7fff]);
  if (kind < 6) return random.pick([BIAS + 127, BIAS + 128, BIAS - 126, BIAS - 127, BIAS - 149, BIAS - 150]);
  if (kind < 7)
    return random.pick([BIAS + 1023, BIAS + 1024, BIAS - 1022, BIAS - 1023, BIAS - 1074, BIAS - 1075]);
  if (kind < 8) return random.pick([14, 15, 16, 30, 31, 32, 58, 59, 60, 62, 63, 64]) + BIAS;
  return random.below(0x8000);
}

/** A significand that is often near a rounding boundary of 24, 53 or 64 bits. */
function significandBits(random: Random): bigint {
  const kind = random.below(8);
  if (kind < 1) return TOP_BIT;
  if (kind < 2) return 2n * TOP_BIT - 1n;
  if (kind < 5) {
    const drop = BigInt(random.pick([40, 11, 32, 1, 48]));
    const half = 1n << (drop - 1n);
    const kept = (random64(random) >> drop) << drop;
    return BigInt.asUintN(64, TOP_BIT | (kept + random.pick([0n, half, half - 1n, half + 1n, 1n, -1n])));
  }
  return TOP_BIT | random64(random);
}

function sign(random: Random): number {
  return random.chance(50) ? 0x8000 : 0;
}

/** Any bit pattern of interest. */
export function randomExtended(random: Random): Extended {
  const kind = random.below(100);
  if (kind < 6) return { exponent: sign(random), significand: 0n };
  if (kind < 10) return { exponent: sign(random) | 0x7fff, significand: TOP_BIT };
  if (kind < 14) return { exponent: sign(random) | 0x7fff, significand: TOP_BIT | random64(random) };
  if (kind < 17) return { exponent: sign(random) | 0x7fff, significand: TOP_BIT | BigInt(random.below(4)) };
  // Denormals, pseudo-denormals and unsupported encodings.
  if (kind < 22) return { exponent: sign(random), significand: random64(random) >> BigInt(random.below(64)) };
  if (kind < 24) return { exponent: sign(random), significand: TOP_BIT | random64(random) };
  if (kind < 26)
    return { exponent: sign(random) | random.below(0x8000), significand: random64(random) & ~TOP_BIT };
  // Small integers and halves.
  if (kind < 40) {
    const value = BigInt(1 + random.below(64));
    const shift = 64 - value.toString(2).length;
    return {
      exponent: sign(random) | (BIAS + 63 - shift - random.below(2)),
      significand: value << BigInt(shift),
    };
  }
  return { exponent: sign(random) | exponentField(random), significand: significandBits(random) };
}

/** A second operand that has something to do with the first. */
function related(random: Random, other: Extended): Extended {
  const kind = random.below(6);
  const flipped = random.chance(50) ? other.exponent ^ 0x8000 : other.exponent;
  if (kind < 1) return { ...other, exponent: flipped };
  if (kind < 3)
    return {
      exponent: flipped,
      significand: BigInt.asUintN(64, other.significand + BigInt(random.below(5) - 2)),
    };
  const distance = random.below(140) - 70;
  const exponent = Math.max(0, Math.min(0x7fff, (flipped & 0x7fff) + distance));
  return {
    exponent: (flipped & 0x8000) | exponent,
    significand: random.chance(50) ? other.significand : significandBits(random),
  };
}

/** A control word: all exceptions masked in most cases. */
function controlWord(random: Random): number {
  const masks = random.chance(65) ? 0x3f : random.below(64);
  const precision = random.chance(50) ? 3 : random.pick([0, 2, 1]);
  return 0x40 | masks | (precision << 8) | (random.below(4) << 10);
}

/** Encodes the row with its operand at (%rdi), or with a random ST(i). */
function encode(random: Random, form: X87Form): Uint8Array {
  const { row } = form;
  const modrm = row.modrm!;
  // mod 0, r/m 7: (%rdi).
  if (modrm.memoryOnly) return Uint8Array.of(row.opcode, modrm.value | 7);
  return Uint8Array.of(row.opcode, modrm.value | (random.below(8) & ~modrm.mask));
}

/** A memory operand: integers, BCD and numbers of all formats. */
function operandBytes(random: Random, form: X87Form, near: Extended): Uint8Array {
  const bytes = new Uint8Array(OPERAND_BYTES);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < OPERAND_BYTES; i += 4) view.setUint32(i, random.next(), true);
  const type = form.row.operands[0]?.memoryType;
  const { mnemonic } = form.row;
  if (mnemonic === "FBLD" || mnemonic === "FBSTP") {
    if (random.chance(70)) for (let i = 0; i < 9; i++) bytes[i] = random.below(10) | (random.below(10) << 4);
    if (random.chance(30)) bytes.fill(0, random.below(9), 9);
    if (random.chance(80)) bytes[9] = random.pick([0, 0x80]);
  } else if (mnemonic.startsWith("FI")) {
    if (random.chance(50)) view.setBigInt64(0, BigInt(random.below(200) - 100), true);
    if (random.chance(20))
      view.setBigUint64(0, random.pick([0n, 1n << 15n, 1n << 31n, 1n << 63n, (1n << 63n) - 1n]), true);
  } else if (mnemonic === "FLDCW")
    view.setUint16(0, random.chance(50) ? controlWord(random) : random.below(65536), true);
  else {
    const number = random.chance(30) ? related(random, near) : randomExtended(random);
    const top = number.exponent & 0x8000 ? 1n : 0n;
    const field = number.exponent & 0x7fff;
    const isLarge = field === 0x7fff;
    if (type === "d" && random.chance(85)) {
      const exponent = isLarge ? 255 : Math.max(0, Math.min(255, field - BIAS + 127));
      view.setUint32(
        0,
        Number((top << 31n) | (BigInt(exponent) << 23n) | ((number.significand & ~TOP_BIT) >> 40n)),
        true,
      );
    } else if (type === "q" && random.chance(85)) {
      const exponent = isLarge ? 2047 : Math.max(0, Math.min(2047, field - BIAS + 1023));
      view.setBigUint64(
        0,
        (top << 63n) | (BigInt(exponent) << 52n) | ((number.significand & ~TOP_BIT) >> 11n),
        true,
      );
    } else if (type === "t") {
      view.setBigUint64(0, number.significand, true);
      view.setUint16(8, number.exponent, true);
    }
  }
  return bytes;
}

/** Case number `number` of a form under a corpus seed. */
export function makeX87Case(seed: number, form: X87Form, number: number): X87Input {
  const random = new Random(fnv1a(`x87/${seed}/${form.key}/${number}`));
  const code = encode(random, form);
  const control = controlWord(random);
  // Flags that are set already are masked, but for a few cases with a pending exception.
  const flags = random.below(64) & (random.chance(96) ? control : 0x3f);
  const status = (random.below(8) << 11) | (random.next() & 0x4700) | flags;
  const registers = Array.from({ length: REGISTERS }, () => randomExtended(random));
  const i = code[1]! & 7;
  if (random.chance(45)) {
    const st0 = registers[physical(status, 0)]!;
    registers[physical(status, 1)] = related(random, st0);
    registers[physical(status, i)] = i === 0 ? st0 : related(random, st0);
  }
  const used = (1 << physical(status, 0)) | (1 << physical(status, 1)) | (1 << physical(status, i));
  const isPush = /^(FI?LD|FBLD|FXTRACT|FPTAN|FSINCOS)/.test(form.row.mnemonic);
  let tag = random.below(256);
  if (random.chance(88)) tag |= used;
  if (isPush && random.chance(88)) tag &= ~(1 << physical(status, 7));
  return {
    code,
    control,
    status,
    tag,
    rflags: random.next() & RFLAGS_ARITHMETIC,
    rax: random64(random),
    registers,
    operand: operandBytes(random, form, registers[physical(status, 0)]!),
  };
}

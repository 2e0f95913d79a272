/** Rules of the instructions that compute on integer vectors. Names without the V of VEX encodings. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";
import {
  IMM,
  binary,
  byCount,
  byImmediate,
  isMmx,
  isVex,
  loaded,
  memoryBytes,
  reads,
  unary,
  type Binary,
} from "./vector-forms.ts";

const builtin =
  (name: string): Binary =>
  (a, b) =>
    `${name}(${a}, ${b})`;

/** Two-operand instructions that are the same on any width: lanes do not meet, or only within 64 bits. */
const LANEWISE: Readonly<Record<string, Binary>> = {
  PADDB: builtin("i8x16.add"),
  PADDW: builtin("i16x8.add"),
  PADDD: builtin("i32x4.add"),
  PADDQ: builtin("i64x2.add"),
  PSUBB: builtin("i8x16.sub"),
  PSUBW: builtin("i16x8.sub"),
  PSUBD: builtin("i32x4.sub"),
  PSUBQ: builtin("i64x2.sub"),
  PADDSB: builtin("i8x16.add_sat_s"),
  PADDSW: builtin("i16x8.add_sat_s"),
  PADDUSB: builtin("i8x16.add_sat_u"),
  PADDUSW: builtin("i16x8.add_sat_u"),
  PSUBSB: builtin("i8x16.sub_sat_s"),
  PSUBSW: builtin("i16x8.sub_sat_s"),
  PSUBUSB: builtin("i8x16.sub_sat_u"),
  PSUBUSW: builtin("i16x8.sub_sat_u"),
  PAND: builtin("v128.and"),
  POR: builtin("v128.or"),
  PXOR: builtin("v128.xor"),
  PANDN: (a, b) => `v128.andnot(${b}, ${a})`,
  PCMPEQB: builtin("i8x16.eq"),
  PCMPEQW: builtin("i16x8.eq"),
  PCMPEQD: builtin("i32x4.eq"),
  PCMPEQQ: builtin("i64x2.eq"),
  PCMPGTB: builtin("i8x16.gt_s"),
  PCMPGTW: builtin("i16x8.gt_s"),
  PCMPGTD: builtin("i32x4.gt_s"),
  PCMPGTQ: builtin("i64x2.gt_s"),
  PMINUB: builtin("i8x16.min_u"),
  PMINSB: builtin("i8x16.min_s"),
  PMINUW: builtin("i16x8.min_u"),
  PMINSW: builtin("i16x8.min_s"),
  PMINUD: builtin("i32x4.min_u"),
  PMINSD: builtin("i32x4.min_s"),
  PMAXUB: builtin("i8x16.max_u"),
  PMAXSB: builtin("i8x16.max_s"),
  PMAXUW: builtin("i16x8.max_u"),
  PMAXSW: builtin("i16x8.max_s"),
  PMAXUD: builtin("i32x4.max_u"),
  PMAXSD: builtin("i32x4.max_s"),
  PAVGB: builtin("i8x16.avgr_u"),
  PAVGW: builtin("i16x8.avgr_u"),
  PMULLW: builtin("i16x8.mul"),
  PMULLD: builtin("i32x4.mul"),
  PMULHW: builtin("Lanes.mulHighSigned"),
  PMULHUW: builtin("Lanes.mulHighUnsigned"),
  PMULHRSW: builtin("Lanes.mulRoundScale"),
  PMADDWD: builtin("i32x4.dot_i16x8_s"),
  PMADDUBSW: builtin("Lanes.mulAddBytes"),
  PMULUDQ: builtin("Lanes.mulUnsignedQuad"),
  PMULDQ: builtin("Lanes.mulSignedQuad"),
  PSADBW: builtin("Lanes.sumDifferences"),
  PSIGNB: builtin("Lanes.signBytes"),
  PSIGNW: builtin("Lanes.signWords"),
  PSIGND: builtin("Lanes.signDwords"),
  PUNPCKLBW: builtin("Shuffle.lowBytes"),
  PUNPCKLWD: builtin("Shuffle.lowWordPairs"),
  PUNPCKLDQ: builtin("Shuffle.lowDwordPairs"),
  PUNPCKLQDQ: builtin("Shuffle.lowQuads"),
  PUNPCKHQDQ: builtin("Shuffle.highQuads"),
  PSLLVD: builtin("Shift.eachLeftDword"),
  PSLLVQ: builtin("Shift.eachLeftQuad"),
  PSRLVD: builtin("Shift.eachRightDword"),
  PSRLVQ: builtin("Shift.eachRightQuad"),
  PSRAVD: builtin("Shift.eachSignedDword"),
  PBLENDW: (a, b) => `Shuffle.blendWords(${a}, ${b}, ${IMM})`,
  AESENC: builtin("Aes.encrypt"),
  AESENCLAST: builtin("Aes.encryptLast"),
  AESDEC: builtin("Aes.decrypt"),
  AESDECLAST: builtin("Aes.decryptLast"),
  PCLMULQDQ: (a, b) => `Carryless.multiply(${a}, ${b}, ${IMM})`,
  SHA1RNDS4: (a, b) => `Sha.rounds1(${a}, ${b}, ${IMM})`,
  SHA1NEXTE: builtin("Sha.nextE1"),
  SHA1MSG1: builtin("Sha.message1First"),
  SHA1MSG2: builtin("Sha.message1Second"),
  SHA256RNDS2: (a, b) => `Sha.rounds256(${a}, ${b}, load<v128>(CPU + CPU_VECTOR))`,
  SHA256MSG1: builtin("Sha.message256First"),
  SHA256MSG2: builtin("Sha.message256Second"),
};

const UNARY: Readonly<Record<string, (b: string) => string>> = {
  PABSB: (b) => `i8x16.abs(${b})`,
  PABSW: (b) => `i16x8.abs(${b})`,
  PABSD: (b) => `i32x4.abs(${b})`,
  PSHUFD: (b) => `Shuffle.dwords(${b}, ${IMM})`,
  PSHUFLW: (b) => `Shuffle.lowWords(${b}, ${IMM})`,
  PSHUFHW: (b) => `Shuffle.highWords(${b}, ${IMM})`,
  PSHUFW: (b) => `Shuffle.lowWords(${b}, ${IMM})`,
  PHMINPOSUW: (b) => `Lanes.minimumPosition(${b})`,
  AESIMC: (b) => `Aes.inverseMix(${b})`,
  AESKEYGENASSIST: (b) => `Aes.keyAssist(${b}, ${IMM})`,
};

/** Instructions whose MMX form puts both operands side by side: the result is in the lower half. */
const PAIRED: Readonly<Record<string, Binary>> = {
  PACKSSWB: builtin("i8x16.narrow_i16x8_s"),
  PACKUSWB: builtin("i8x16.narrow_i16x8_u"),
  PACKSSDW: builtin("i16x8.narrow_i32x4_s"),
  PACKUSDW: builtin("i16x8.narrow_i32x4_u"),
  PHADDW: builtin("Lanes.addWords"),
  PHADDD: builtin("Lanes.addDwords"),
  PHADDSW: builtin("Lanes.addWordsSaturated"),
  PHSUBW: builtin("Lanes.subWords"),
  PHSUBD: builtin("Lanes.subDwords"),
  PHSUBSW: builtin("Lanes.subWordsSaturated"),
};

/** Interleaving of upper halves; in MMX registers that is the upper half of interleaving the lower ones. */
const HIGH: Readonly<Record<string, readonly [wide: string, mmx: string]>> = {
  PUNPCKHBW: ["Shuffle.highBytes", "Shuffle.lowBytes"],
  PUNPCKHWD: ["Shuffle.highWordPairs", "Shuffle.lowWordPairs"],
  PUNPCKHDQ: ["Shuffle.highDwordPairs", "Shuffle.lowDwordPairs"],
};

const SHIFTS: Readonly<Record<string, string>> = {
  PSLLW: "Shift.leftWords",
  PSLLD: "Shift.leftDwords",
  PSLLQ: "Shift.leftQuads",
  PSRLW: "Shift.rightWords",
  PSRLD: "Shift.rightDwords",
  PSRLQ: "Shift.rightQuads",
  PSRAW: "Shift.signedWords",
  PSRAD: "Shift.signedDwords",
  PSLLDQ: "Shift.leftBytes",
  PSRLDQ: "Shift.rightBytes",
};

/** PMOVSX and PMOVZX: steps of widening, each from the lower half. The last one from the upper half for bits 255:128. */
const WIDENINGS: Readonly<Record<string, readonly string[]>> = {
  BW: ["i16x8.extend_low_i8x16"],
  BD: ["i16x8.extend_low_i8x16", "i32x4.extend_low_i16x8"],
  BQ: ["i16x8.extend_low_i8x16", "i32x4.extend_low_i16x8", "i64x2.extend_low_i32x4"],
  WD: ["i32x4.extend_low_i16x8"],
  WQ: ["i32x4.extend_low_i16x8", "i64x2.extend_low_i32x4"],
  DQ: ["i64x2.extend_low_i32x4"],
};

function widen(row: Row, steps: readonly string[], sign: string): Rule {
  const low = (value: string): string => steps.reduce((inner, step) => `${step}_${sign}(${inner})`, value);
  const high = (value: string): string =>
    steps.reduce(
      (inner, step, i) => `${i === steps.length - 1 ? step.replace("low", "high") : step}_${sign}(${inner})`,
      value,
    );
  const bytes = memoryBytes(row);
  const assign = isVex(row) ? "Vec.setVex" : "Vec.set";
  const wide = (value: string): string => `Vec.setWide(record, ${low(value)}, ${high(value)});`;
  return {
    register: `${assign}(record, ${low("Vec.src(record)")});`,
    memory: `${reads(bytes)} ${assign}(record, ${low(loaded(bytes))});`,
    register256: `const source = Vec.src(record); ${wide("source")}`,
    memory256: `${reads(bytes)} const source = ${loaded(bytes)}; ${wide("source")}`,
  };
}

const TEXT: Readonly<Record<string, string>> = {
  PCMPESTRI: "explicitIndex",
  PCMPESTRM: "explicitMask",
  PCMPISTRI: "implicitIndex",
  PCMPISTRM: "implicitMask",
};

function textCompare(row: Row, name: string): Rule {
  const clear = isVex(row) && name.endsWith("Mask") ? " Text.clearUpper();" : "";
  return {
    register: `Text.${name}(record, Vec.dstAt(record), Vec.srcAt(record));${clear}`,
    // Their memory operand need not be aligned.
    memory: `${reads(16)} Text.${name}(record, Vec.dstAt(record), at);${clear}`,
  };
}

/** The rule of a row by its mnemonic without V, or undefined. */
export function integerVectorRule(row: Row, name: string): Rule | undefined {
  const lanewise = LANEWISE[name];
  if (lanewise) return binary(row, lanewise);
  const single = UNARY[name];
  if (single) return unary(row, single);
  const paired = PAIRED[name];
  if (paired)
    return binary(row, isMmx(row) ? (a, b) => paired(`Mmx.pair(${a}, ${b})`, "i64x2.splat(0)") : paired);
  const high = HIGH[name];
  if (high) {
    if (!isMmx(row)) return binary(row, builtin(high[0]));
    const { register, memory } = binary(row, builtin(high[1]));
    return {
      register: register!.replace("Mmx.set(", "Mmx.setHigh("),
      memory: memory!.replace("Mmx.set(", "Mmx.setHigh("),
    };
  }
  const shift = SHIFTS[name];
  if (shift)
    return row.operands.at(-1)!.method === "I"
      ? byImmediate(row, (a) => `${shift}(${a}, ${IMM})`)
      : byCount(row, (a, b) => `${shift}(${a}, Shift.count(${b}))`);
  const text = TEXT[name];
  if (text) return textCompare(row, text);
  const widening = /^PMOV([SZ])X(..)$/.exec(name);
  if (widening) return widen(row, WIDENINGS[widening[2]!]!, widening[1] === "S" ? "s" : "u");
  if (name === "PSHUFB") return binary(row, builtin(isMmx(row) ? "Shuffle.bytes8" : "Shuffle.bytes"));
  if (name === "PALIGNR")
    return binary(row, (a, b) =>
      isMmx(row) ? `Shift.rightBytes(Mmx.pair(${b}, ${a}), ${IMM})` : `Shuffle.align(${a}, ${b}, ${IMM})`,
    );
  if (name === "PTEST")
    return {
      register: "ptest(Vec.dst(record), Vec.src(record));",
      memory: `${reads(16, !isVex(row))} ptest(Vec.dst(record), load<v128>(at));`,
      register256: "ptestWide(Vec.dst(record), Vec.src(record), Vec.dstHigh(record), Vec.srcHigh(record));",
      memory256: `${reads(32)} ptestWide(Vec.dst(record), load<v128>(at), Vec.dstHigh(record), load<v128>(at, 16));`,
    };
  return undefined;
}

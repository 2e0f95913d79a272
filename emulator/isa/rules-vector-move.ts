/** Rules of the instructions that move, shuffle, insert and extract. Names without the V of VEX encodings. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";
import {
  IMM,
  anyLength,
  binary,
  isMmx,
  isVex,
  reads,
  readsInPlace,
  stores,
  storesInPlace,
  type Binary,
} from "./vector-forms.ts";

const isStore = (row: Row): boolean => ["W", "M", "E", "Q"].includes(row.operands[0]!.method);
const ZERO = "i64x2.splat(0)";

const set = (row: Row, value: string): string =>
  isVex(row) ? `Vec.setVex(record, ${value});` : `Vec.set(record, ${value});`;

/** Whole registers, to and from memory. `aligned`: the operand must be, whatever the encoding. */
function moveWhole(row: Row, aligned: boolean): Rule {
  const register = set(row, "Vec.src(record)");
  const register256 = "Vec.setWide(record, Vec.src(record), Vec.srcHigh(record));";
  if (!isStore(row))
    return {
      register,
      register256,
      memory: `${readsInPlace(16, aligned)} ${set(row, "load<v128>(at)")}`,
      memory256: `${readsInPlace(32, aligned)} Vec.setWide(record, load<v128>(at), load<v128>(at, 16));`,
    };
  return {
    register,
    register256,
    memory: `${storesInPlace(16, aligned)} store<v128>(at, Vec.src(record)); Linear.commit(at);`,
    memory256: `${storesInPlace(32, aligned)} store<v128>(at, Vec.src(record)); store<v128>(at, Vec.srcHigh(record), 16); Linear.commit(at);`,
  };
}

const WHOLE: Readonly<Record<string, boolean>> = {
  MOVUPS: false,
  MOVUPD: false,
  MOVDQU: false,
  LDDQU: false,
  MOVAPS: true,
  MOVAPD: true,
  MOVDQA: true,
  MOVNTPS: true,
  MOVNTPD: true,
  MOVNTDQ: true,
  MOVNTDQA: true,
};

/** MOVSS, MOVSD: from memory with zeros above, between registers the lowest lane alone. */
function moveScalar(row: Row, lane: "i32" | "i64"): Rule {
  const bits = lane === "i32" ? 32 : 64;
  const bytes = bits / 8;
  const shape = lane === "i32" ? "v128.shuffle<i32>(RESULT, 4, 1, 2, 3)" : "v128.shuffle<i64>(RESULT, 2, 1)";
  const merge = (a: string, b: string): string => shape.replace("RESULT", `${a}, ${b}`);
  const register = set(row, merge(isVex(row) ? "Vec.h(record)" : "Vec.dst(record)", "Vec.src(record)"));
  if (isStore(row))
    return anyLength({
      register,
      memory: `${storesInPlace(bytes, false)} store<u${bits}>(at, load<u${bits}>(Vec.srcAt(record))); Linear.commit(at);`,
    });
  return anyLength({
    register,
    memory: `${readsInPlace(bytes, false)} ${set(row, `v128.load${bits}_zero(at)`)}`,
  });
}

/** MOVLPS, MOVHPS and their like: 64 bits between memory and one half. */
function moveHalf(row: Row, half: 0 | 1): Rule {
  if (isStore(row))
    return {
      memory: `${stores(8)} store<u64>(at, load<u64>(Vec.srcAt(record), ${half * 8})); Linear.commit(at);`,
    };
  const first = isVex(row) ? "Vec.h(record)" : "Vec.dst(record)";
  return { memory: `${reads(8)} ${set(row, `i64x2.replace_lane(${first}, ${half}, load<i64>(at))`)}` };
}

/** MOVD and MOVQ between general and MMX or XMM registers; T is the general operand's type. */
function moveGeneral(row: Row): Rule {
  const toVector = row.operands[0]!.method === "V" || row.operands[0]!.method === "P";
  const readT = "const at = Linear.readable<T>(Address.forRead(record, sizeof<T>())); if (at == 0) return;";
  const storeT = "const at = Linear.storable<T>(Address.forWrite(record, sizeof<T>())); if (at == 0) return;";
  if (isMmx(row))
    return toVector
      ? {
          register: "Mmx.setQuad(record, <u64>Op.src<T>(record));",
          memory: `${readT} Mmx.setQuad(record, <u64>load<T>(at));`,
        }
      : {
          register: "Op.setDst<T>(record, <T>Mmx.srcQuad(record)); Mmx.enter();",
          memory: `Mmx.beginStore(); ${storeT} store<T>(at, <T>Mmx.srcQuad(record)); Mmx.enter(); Linear.commit(at);`,
        };
  if (toVector)
    return {
      register: set(row, `i64x2.replace_lane(${ZERO}, 0, <i64>(<u64>Op.src<T>(record)))`),
      memory: `${readT} ${set(row, `i64x2.replace_lane(${ZERO}, 0, <i64>(<u64>load<T>(at)))`)}`,
    };
  return {
    register: "Op.setDst<T>(record, load<T>(Vec.srcAt(record)));",
    memory: `${storeT} store<T>(at, load<T>(Vec.srcAt(record))); Linear.commit(at);`,
  };
}

/** MOVQ between MMX registers, XMM registers and memory. */
function moveQuad(row: Row): Rule {
  if (isMmx(row))
    return isStore(row)
      ? {
          register: "Mmx.setQuad(record, Mmx.srcQuad(record));",
          memory: `Mmx.beginStore(); ${storesInPlace(8, false)} store<u64>(at, Mmx.srcQuad(record)); Mmx.enter(); Linear.commit(at);`,
        }
      : {
          register: "Mmx.setQuad(record, Mmx.srcQuad(record));",
          memory: `${readsInPlace(8, false)} Mmx.setQuad(record, load<u64>(at));`,
        };
  const register = set(row, "v128.load64_zero(Vec.srcAt(record))");
  return isStore(row)
    ? {
        register,
        memory: `${storesInPlace(8, false)} store<u64>(at, load<u64>(Vec.srcAt(record))); Linear.commit(at);`,
      }
    : { register, memory: `${readsInPlace(8, false)} ${set(row, "v128.load64_zero(at)")}` };
}

/** PINSRB … PINSRQ: a lane from a general register or memory. */
function insert(row: Row, name: string): Rule {
  const type = { PINSRB: "u8", PINSRW: "u16" }[name] ?? "T";
  const mask = { PINSRB: 15, PINSRW: 7 }[name];
  const lane =
    mask === undefined ? "(<u32>Op.imm<u8>(record) & (16 / sizeof<T>() - 1))" : `(${IMM} & ${mask})`;
  const read = `const at = Linear.readable<${type}>(Address.forRead(record, sizeof<${type}>())); if (at == 0) return;`;
  // In memory form the operand is read before the destination changes.
  const put = (value: string): string =>
    isMmx(row)
      ? `Insert.word(record, ${value});`
      : `${isVex(row) ? "Vec.setVex(record, Vec.h(record)); " : ""}store<${type}>(Vec.dstAt(record) + <usize>${lane} * sizeof<${type}>(), ${value});`;
  return {
    register: `const value = Op.src<${type}>(record); ${put("value")}`,
    memory: `${read} const value = load<${type}>(at); ${put("value")}`,
  };
}

/** PEXTRB … PEXTRQ, EXTRACTPS: a lane to a general register, zero-extended, or to memory. */
function extract(row: Row, name: string): Rule {
  const type = { PEXTRB: "u8", PEXTRW: "u16", EXTRACTPS: "u32" }[name] ?? "T";
  const mask = { PEXTRB: 15, PEXTRW: 7, EXTRACTPS: 3 }[name];
  if (isMmx(row)) return { register: "Op.setDst<u32>(record, Insert.extractWord(record));" };
  const lane =
    mask === undefined ? "(<u32>Op.imm<u8>(record) & (16 / sizeof<T>() - 1))" : `(${IMM} & ${mask})`;
  const value = `load<${type}>(Vec.srcAt(record) + <usize>${lane} * sizeof<${type}>())`;
  const wide = type === "T" ? "T" : "u32";
  return {
    register: `Op.setDst<${wide}>(record, <${wide}>${value});`,
    memory: `const at = Linear.storable<${type}>(Address.forWrite(record, sizeof<${type}>())); if (at == 0) return; store<${type}>(at, ${value}); Linear.commit(at);`,
  };
}

/** Bits from lanes' signs. */
function signs(shape: string, row: Row): Rule {
  if (isMmx(row))
    return { register: "Op.setDst<u32>(record, <u32>(i8x16.bitmask(Mmx.src(record)) & 255)); Mmx.enter();" };
  const lanes = { i8x16: 16, i32x4: 4, i64x2: 2 }[shape]!;
  return {
    register: `Op.setDst<u32>(record, <u32>${shape}.bitmask(Vec.src(record)));`,
    register256: `Op.setDst<u32>(record, <u32>(${shape}.bitmask(Vec.src(record)) | (${shape}.bitmask(Vec.srcHigh(record)) << ${lanes})));`,
  };
}

const FLOAT_BITS: Readonly<Record<string, Binary>> = {
  AND: (a, b) => `v128.and(${a}, ${b})`,
  ANDN: (a, b) => `v128.andnot(${b}, ${a})`,
  OR: (a, b) => `v128.or(${a}, ${b})`,
  XOR: (a, b) => `v128.xor(${a}, ${b})`,
};

/** Instructions that shuffle lanes within 128 bits. */
const SHUFFLES: Readonly<Record<string, Binary>> = {
  UNPCKLPS: (a, b) => `Shuffle.lowDwordPairs(${a}, ${b})`,
  UNPCKHPS: (a, b) => `Shuffle.highDwordPairs(${a}, ${b})`,
  UNPCKLPD: (a, b) => `Shuffle.lowQuads(${a}, ${b})`,
  UNPCKHPD: (a, b) => `Shuffle.highQuads(${a}, ${b})`,
  SHUFPS: (a, b) => `Shuffle.singles(${a}, ${b}, ${IMM})`,
  MOVSLDUP: (_, b) => `v128.shuffle<i32>(${b}, ${b}, 0, 0, 2, 2)`,
  MOVSHDUP: (_, b) => `v128.shuffle<i32>(${b}, ${b}, 1, 1, 3, 3)`,
};

/** Blends and their like by an immediate: with YMM registers the upper half goes by the higher bits of the byte. */
const BLENDS: Readonly<Record<string, readonly [f: string, bits: number]>> = {
  BLENDPS: ["Shuffle.blendDwords", 4],
  BLENDPD: ["Shuffle.blendQuads", 2],
  PBLENDD: ["Shuffle.blendDwords", 4],
  SHUFPD: ["Shuffle.doubles", 2],
  MPSADBW: ["Lanes.multipleSums", 3],
};

function blend(row: Row, f: string, bits: number): Rule {
  const low = binary(row, (a, b) => `${f}(${a}, ${b}, ${IMM})`);
  const wide = (b: string, bHigh: string): string =>
    `Vec.setWide(record, ${f}(Vec.h(record), ${b}, ${IMM}), ${f}(Vec.hHigh(record), ${bHigh}, ${IMM} >> ${bits}));`;
  return {
    register: low.register!,
    memory: low.memory!,
    register256: wide("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${wide("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

const VARIABLE_BLENDS: Readonly<Record<string, (mask: string) => string>> = {
  PBLENDVB: (mask) => `i8x16.shr_s(${mask}, 7)`,
  BLENDVPS: (mask) => `i32x4.shr_s(${mask}, 31)`,
  BLENDVPD: (mask) => `i64x2.shr_s(${mask}, 63)`,
};

function variableBlend(row: Row, signsOf: (mask: string) => string): Rule {
  const choose = (a: string, b: string, mask: string): string =>
    `v128.bitselect(${b}, ${a}, ${signsOf(mask)})`;
  if (!isVex(row)) return binary(row, (a, b) => choose(a, b, "load<v128>(CPU + CPU_VECTOR)"));
  const low = binary(row, (a, b) => choose(a, b, "Vec.load(Vec.immAt(record))"));
  const wide = (b: string, bHigh: string): string =>
    `Vec.setWide(record, ${choose("Vec.h(record)", b, "Vec.load(Vec.immAt(record))")}, ${choose("Vec.hHigh(record)", bHigh, "Vec.loadHigh(Vec.immAt(record))")});`;
  return {
    register: low.register!,
    memory: low.memory!,
    register256: wide("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${wide("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

/** One lane in all lanes. */
function broadcast(lane: "i8" | "i16" | "i32" | "i64"): Rule {
  const splat = { i8: "i8x16.splat", i16: "i16x8.splat", i32: "i32x4.splat", i64: "i64x2.splat" }[lane];
  const read = `const at = Linear.readable<${lane}>(Address.forRead(record, sizeof<${lane}>())); if (at == 0) return;`;
  const value = `${splat}(load<${lane}>(Vec.srcAt(record)))`;
  return {
    register: `Vec.setVex(record, ${value});`,
    register256: `const value = ${value}; Vec.setWide(record, value, value);`,
    memory: `${read} Vec.setVex(record, ${splat}(load<${lane}>(at)));`,
    memory256: `${read} const value = ${splat}(load<${lane}>(at)); Vec.setWide(record, value, value);`,
  };
}

/** Masked moves; the type is that of the lanes. */
function maskedMove(row: Row, type: "u32" | "u64"): Rule {
  const f = row.operands[0]!.method === "M" ? "maskedStore" : "maskedLoad";
  return { memory: `${f}<${type}>(record, 16);`, memory256: `${f}<${type}>(record, 32);` };
}

/** Gathers by name: bytes of the indices and of the elements. */
function gatherRule(name: string): Rule | undefined {
  const match = /^(?:P?)GATHER([DQ])([DQ]|PS|PD)$/.exec(name);
  if (!match) return undefined;
  const index = match[1] === "D" ? "i32" : "i64";
  const element = match[2] === "D" || match[2] === "PS" ? "u32" : "u64";
  const widest = index === "i64" || element === "u64" ? 8 : 4;
  return {
    memory: `gather<${element}, ${index}>(record, ${16 / widest});`,
    memory256: `gather<${element}, ${index}>(record, ${32 / widest});`,
  };
}

/** VTESTPS, VTESTPD: PTEST on the signs. */
function signTest(shape: "i32x4" | "i64x2"): Rule {
  const sign = (value: string): string => `${shape}.shr_s(${value}, ${shape === "i32x4" ? 31 : 63})`;
  const f = (a: string, b: string, c: string, d: string): string =>
    `ptestWide(${sign(a)}, ${sign(b)}, ${sign(c)}, ${sign(d)});`;
  return {
    register: f("Vec.dst(record)", "Vec.src(record)", ZERO, ZERO),
    memory: `${reads(16)} ${f("Vec.dst(record)", "load<v128>(at)", ZERO, ZERO)}`,
    register256: f("Vec.dst(record)", "Vec.src(record)", "Vec.dstHigh(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${f("Vec.dst(record)", "load<v128>(at)", "Vec.dstHigh(record)", "load<v128>(at, 16)")}`,
  };
}

/** What moves 128-bit halves, or lanes across them. */
const ACROSS: Readonly<Record<string, Rule>> = {
  PERMD: {
    register256: "Across.dwords(record, Vec.srcAt(record));",
    memory256: `${reads(32)} Across.dwords(record, at);`,
  },
  PERMQ: {
    register256: "Across.quads(record, Vec.srcAt(record));",
    memory256: `${reads(32)} Across.quads(record, at);`,
  },
  PERM2F128: {
    register256: "Across.halves(record, Vec.srcAt(record));",
    memory256: `${reads(32)} Across.halves(record, at);`,
  },
  INSERTF128: {
    register256: "Across.insert(record, Vec.src(record));",
    memory256: `${reads(16)} Across.insert(record, load<v128>(at));`,
  },
  EXTRACTF128: {
    register256: "Vec.setVex(record, Vec.load(Vec.srcAt(record) + ((<usize>Op.imm<u8>(record) & 1) << 4)));",
    memory256: `${stores(16)} store<v128>(at, Vec.load(Vec.srcAt(record) + ((<usize>Op.imm<u8>(record) & 1) << 4))); Linear.commit(at);`,
  },
  BROADCASTF128: {
    memory256: `${reads(16)} const value = load<v128>(at); Vec.setWide(record, value, value);`,
  },
};
const ACROSS_NAMES: Readonly<Record<string, string>> = {
  PERMPS: "PERMD",
  PERMPD: "PERMQ",
  PERM2I128: "PERM2F128",
  INSERTI128: "INSERTF128",
  EXTRACTI128: "EXTRACTF128",
  BROADCASTI128: "BROADCASTF128",
};

const OTHERS: Readonly<Record<string, (row: Row) => Rule | undefined>> = {
  MOVSS: (row) => moveScalar(row, "i32"),
  // The string instruction of this name has another rule.
  MOVSD: (row) => moveScalar(row, "i64"),
  MOVLPS: (row) => moveHalf(row, 0),
  MOVLPD: (row) => moveHalf(row, 0),
  MOVHPS: (row) => moveHalf(row, 1),
  MOVHPD: (row) => moveHalf(row, 1),
  MOVHLPS: (row) => ({
    register: set(
      row,
      `v128.shuffle<i64>(${isVex(row) ? "Vec.h(record)" : "Vec.dst(record)"}, Vec.src(record), 3, 1)`,
    ),
  }),
  MOVLHPS: (row) => ({
    register: set(
      row,
      `v128.shuffle<i64>(${isVex(row) ? "Vec.h(record)" : "Vec.dst(record)"}, Vec.src(record), 0, 2)`,
    ),
  }),
  MOVDDUP: (row) => ({
    register: set(row, "i64x2.splat(load<i64>(Vec.srcAt(record)))"),
    memory: `${reads(8)} ${set(row, "i64x2.splat(load<i64>(at))")}`,
    register256:
      "Vec.setWide(record, Shuffle.lowQuads(Vec.src(record), Vec.src(record)), Shuffle.lowQuads(Vec.srcHigh(record), Vec.srcHigh(record)));",
    memory256: `${reads(32)} Vec.setWide(record, i64x2.splat(load<i64>(at)), i64x2.splat(load<i64>(at, 16)));`,
  }),
  MOVD: moveGeneral,
  MOVQ: moveQuad,
  MOVQ2DQ: () => ({ register: "Vec.set(record, Mmx.src(record)); Mmx.enter();" }),
  MOVDQ2Q: () => ({ register: "Mmx.setQuad(record, load<u64>(Vec.srcAt(record)));" }),
  MOVNTQ: () => ({
    memory: `Mmx.beginStore(); ${stores(8)} store<u64>(at, Mmx.srcQuad(record)); Mmx.enter(); Linear.commit(at);`,
  }),
  MOVNTI: () => ({
    memory:
      "const at = Linear.storable<T>(Address.forWrite(record, sizeof<T>())); if (at == 0) return; store<T>(at, Op.src<T>(record)); Linear.commit(at);",
  }),
  MASKMOVQ: () => ({ register: "maskmovq(record);" }),
  MASKMOVDQU: () => ({ register: "maskmovdqu(record);" }),
  PINSRB: (row) => insert(row, "PINSRB"),
  PINSRW: (row) => insert(row, "PINSRW"),
  PINSRD: (row) => insert(row, "PINSRD"),
  PEXTRB: (row) => extract(row, "PEXTRB"),
  PEXTRW: (row) => extract(row, "PEXTRW"),
  PEXTRD: (row) => extract(row, "PEXTRD"),
  EXTRACTPS: (row) => extract(row, "EXTRACTPS"),
  INSERTPS: (row) => {
    const first = isVex(row) ? "Vec.h(record)" : "Vec.dst(record)";
    return {
      register: set(
        row,
        `Shuffle.insertSingle(${first}, load<u32>(Vec.srcAt(record) + <usize>(((${IMM} >> 6) & 3) << 2)), ${IMM})`,
      ),
      // From memory the selector of the source is ignored.
      memory: `${reads(4)} ${set(row, `Shuffle.insertSingle(${first}, load<u32>(at), ${IMM})`)}`,
    };
  },
  PMOVMSKB: (row) => signs("i8x16", row),
  MOVMSKPS: (row) => signs("i32x4", row),
  MOVMSKPD: (row) => signs("i64x2", row),
  EMMS: () => ({ register: "emms(record);" }),
  ZEROUPPER: () => ({ register: "clearUpperHalves(cpu.codeSize == 2 ? 16 : 8);" }),
  ZEROALL: () => ({ register256: "clearVectors(cpu.codeSize == 2 ? 16 : 8);" }),
  PERMILPS: (row) =>
    row.operands.at(-1)!.method === "I"
      ? binary(row, (_, b) => `Shuffle.dwords(${b}, ${IMM})`)
      : binary(row, (a, b) => `Shuffle.eachDword(${a}, ${b})`),
  PERMILPD: (row) =>
    row.operands.at(-1)!.method === "I"
      ? {
          register: `const b = Vec.src(record); Vec.setVex(record, Shuffle.doubles(b, b, ${IMM}));`,
          memory: `${reads(16)} const b = load<v128>(at); Vec.setVex(record, Shuffle.doubles(b, b, ${IMM}));`,
          register256: `const b = Vec.src(record); const c = Vec.srcHigh(record); Vec.setWide(record, Shuffle.doubles(b, b, ${IMM}), Shuffle.doubles(c, c, ${IMM} >> 2));`,
          memory256: `${reads(32)} const b = load<v128>(at); const c = load<v128>(at, 16); Vec.setWide(record, Shuffle.doubles(b, b, ${IMM}), Shuffle.doubles(c, c, ${IMM} >> 2));`,
        }
      : binary(row, (a, b) => `Shuffle.eachQuad(${a}, ${b})`),
  TESTPS: () => signTest("i32x4"),
  TESTPD: () => signTest("i64x2"),
  BROADCASTSS: () => broadcast("i32"),
  BROADCASTSD: () => broadcast("i64"),
  PBROADCASTB: () => broadcast("i8"),
  PBROADCASTW: () => broadcast("i16"),
  PBROADCASTD: () => broadcast("i32"),
  PBROADCASTQ: () => broadcast("i64"),
  MASKMOVPS: (row) => maskedMove(row, "u32"),
  MASKMOVPD: (row) => maskedMove(row, "u64"),
  PMASKMOVD: (row) => maskedMove(row, "u32"),
  PMASKMOVQ: (row) => maskedMove(row, "u64"),
};

/** The rule of a row by its mnemonic without V, or undefined. */
export function vectorMoveRule(row: Row, name: string): Rule | undefined {
  const isAligned = WHOLE[name];
  if (isAligned !== undefined) return moveWhole(row, isAligned);
  const bits = /^(ANDN|AND|OR|XOR)P[SD]$/.exec(name);
  if (bits) return binary(row, FLOAT_BITS[bits[1]!]!);
  const shuffle = SHUFFLES[name];
  if (shuffle) return binary(row, shuffle);
  const blended = BLENDS[name];
  if (blended) return blend(row, ...blended);
  const variable = VARIABLE_BLENDS[name];
  if (variable) return variableBlend(row, variable);
  return ACROSS[ACROSS_NAMES[name] ?? name] ?? gatherRule(name) ?? OTHERS[name]?.(row);
}

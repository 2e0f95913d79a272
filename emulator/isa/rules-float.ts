/**
 * Rules of SSE and AVX floating-point instructions: what depends on MXCSR. Names without the V of VEX encodings.
 *
 * Every body computes all elements, lets `Float.fails` settle the exceptions, and only then writes.
 */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";
import {
  IMM,
  anyLength,
  isMmx,
  isVex,
  loaded,
  memoryBytes,
  reads,
  stores,
  unaligned,
  type Binary,
} from "./vector-forms.ts";

const CHECK = "if (Float.fails(record)) return;";

const computed = (value: string, write: string): string =>
  `Float.begin(); const result = ${value}; ${CHECK} ${write}`;

/** Packed: destination = f(first, second), all halves before anything is written. */
function packed(row: Row, f: Binary): Rule {
  const first = isVex(row) ? "Vec.h(record)" : "Vec.dst(record)";
  const write = isVex(row) ? "Vec.setVex(record, result);" : "Vec.set(record, result);";
  const wide = (b: string, bHigh: string): string =>
    `Float.begin(); const result = ${f("Vec.h(record)", b)}; const high = ${f("Vec.hHigh(record)", bHigh)}; ${CHECK} Vec.setWide(record, result, high);`;
  return {
    register: computed(f(first, "Vec.src(record)"), write),
    memory: `${reads(16, !isVex(row))} ${computed(f(first, "load<v128>(at)"), write)}`,
    register256: wide("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${wide("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

/** Writes `result` to the lowest element; with VEX the others come from VEX.vvvv. */
function writeScalar(row: Row, bits: 32 | 64): string {
  if (!isVex(row)) return `store<u${bits}>(Vec.dstAt(record), result);`;
  const lanes = bits === 32 ? "i32x4" : "i64x2";
  return `Vec.setVex(record, ${lanes}.replace_lane(Vec.h(record), 0, <i${bits}>result));`;
}

/** Scalar: f on the lowest elements, as integers. */
function scalar(row: Row, bits: 32 | 64, f: Binary): Rule {
  const first = `load<u${bits}>(${isVex(row) ? "Vec.hAt(record)" : "Vec.dstAt(record)"})`;
  const write = writeScalar(row, bits);
  return anyLength({
    register: computed(f(first, `load<u${bits}>(Vec.srcAt(record))`), write),
    memory: `${reads(bits / 8)} ${computed(f(first, `load<u${bits}>(at)`), write)}`,
  });
}

/** PS, PD, SS and SD forms of one operation, by the suffix of the mnemonic. */
function allFormats(row: Row, suffix: string, f: string, immediate = ""): Rule {
  const call =
    (type: string): Binary =>
    (a, b) =>
      `${type}.${f}(${a}, ${b}${immediate})`;
  switch (suffix) {
    case "PS":
      return packed(row, call("Singles"));
    case "PD":
      return packed(row, call("Doubles"));
    case "SS":
      return scalar(row, 32, call("Single"));
    default:
      return scalar(row, 64, call("Double"));
  }
}

const ARITHMETIC: Readonly<Record<string, string>> = {
  ADD: "add",
  SUB: "sub",
  MUL: "mul",
  DIV: "div",
  MIN: "min",
  MAX: "max",
  SQRT: "sqrt",
  ADDSUB: "addSub",
  HADD: "horizontalAdd",
  HSUB: "horizontalSub",
};

/** COMISS and its like. */
function flagsCompare(row: Row, bits: 32 | 64, signals: boolean): Rule {
  const type = bits === 32 ? "Single" : "Double";
  const body = (b: string): string =>
    `Float.begin(); const relation = ${type}.relation(load<u${bits}>(Vec.dstAt(record)), ${b}, ${signals}); ${CHECK} setRelation(relation);`;
  return anyLength({
    register: body(`load<u${bits}>(Vec.srcAt(record))`),
    memory: `${reads(bits / 8)} ${body(`load<u${bits}>(at)`)}`,
  });
}

function round(row: Row, suffix: string): Rule {
  if (suffix === "PS") return packed(row, (_, b) => `Singles.round(${b}, ${IMM})`);
  if (suffix === "PD") return packed(row, (_, b) => `Doubles.round(${b}, ${IMM})`);
  return suffix === "SS"
    ? scalar(row, 32, (_, b) => `Round.single(${b}, ${IMM})`)
    : scalar(row, 64, (_, b) => `Round.double(${b}, ${IMM})`);
}

/** DPPS and DPPD: both halves of a YMM register go step by step together. */
function dotProduct(row: Row, suffix: string): Rule {
  const first = isVex(row) ? "Vec.h(record)" : "Vec.dst(record)";
  const call = (parts: number): string =>
    suffix === "PS" ? `Singles.dotProduct(${parts}, ${IMM});` : `Doubles.dotProduct(${IMM});`;
  const body = (b: string): string =>
    `Float.begin(); Parts.put(${first}, ${b}); ${call(1)} ${CHECK} ${isVex(row) ? "Vec.setVex" : "Vec.set"}(record, Parts.low());`;
  const wide = (b: string, bHigh: string): string =>
    `Float.begin(); Parts.put(Vec.h(record), ${b}); Parts.putHigh(Vec.hHigh(record), ${bHigh}); ${call(2)} ${CHECK} Vec.setWide(record, Parts.low(), Parts.high());`;
  return {
    register: body("Vec.src(record)"),
    memory: `${reads(16, !isVex(row))} ${body("load<v128>(at)")}`,
    register256: wide("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${wide("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

/** RCPPS and its like know no exceptions. */
function approximation(row: Row, name: string, suffix: string): Rule {
  const f = name === "RCP" ? "reciprocal" : "reciprocalRoot";
  return suffix === "PS"
    ? packed(row, (_, b) => `Approximate.${f}s(${b})`)
    : scalar(row, 32, (_, b) => `Approximate.${f}(${b})`);
}

const KINDS: Readonly<Record<string, number>> = {
  MADD: 0,
  NMADD: 1,
  MSUB: 6,
  NMSUB: 7,
  MADDSUB: 2,
  MSUBADD: 4,
};

/**
 * FMA: the digits say which operands are multiplied and which is added; 1 is the destination, 2 VEX.vvvv, 3 the last one.
 */
function fused(row: Row, kindName: string, order: string, suffix: string): Rule {
  const kind = KINDS[kindName]!;
  const isScalar = suffix.startsWith("S");
  const bits = suffix.endsWith("S") ? 32 : 64;
  const type = { PS: "singles", PD: "doubles", SS: "single", SD: "double" }[suffix]!;
  const operands = (high: boolean, third: string): string => {
    const of: Readonly<Record<string, string>> = isScalar
      ? { 1: `load<u${bits}>(Vec.dstAt(record))`, 2: `load<u${bits}>(Vec.hAt(record))`, 3: third }
      : {
          1: high ? "Vec.dstHigh(record)" : "Vec.dst(record)",
          2: high ? "Vec.hHigh(record)" : "Vec.h(record)",
          3: third,
        };
    return Array.from(order)
      .map((digit) => of[digit]!)
      .join(", ");
  };
  const call = (high: boolean, third: string): string => `Fused.${type}(${operands(high, third)}, ${kind})`;
  if (isScalar) {
    const lanes = bits === 32 ? "i32x4" : "i64x2";
    const write = `Vec.setVex(record, ${lanes}.replace_lane(Vec.dst(record), 0, <i${bits}>result));`;
    return anyLength({
      register: computed(call(false, `load<u${bits}>(Vec.srcAt(record))`), write),
      memory: `${reads(bits / 8)} ${computed(call(false, `load<u${bits}>(at)`), write)}`,
    });
  }
  const wide = (b: string, bHigh: string): string =>
    `Float.begin(); const result = ${call(false, b)}; const high = ${call(true, bHigh)}; ${CHECK} Vec.setWide(record, result, high);`;
  const write = "Vec.setVex(record, result);";
  return {
    register: computed(call(false, "Vec.src(record)"), write),
    memory: `${reads(16)} ${computed(call(false, "load<v128>(at)"), write)}`,
    register256: wide("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(32)} ${wide("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

/** Packed conversions to elements as wide or half as wide; `f` gives a half's result in its lower 64 bits where it narrows. */
function convertPacked(row: Row, f: (b: string) => string, narrows: boolean): Rule {
  const bytes = Math.min(memoryBytes(row), 16);
  const rule = packed(row, (_, b) => f(b));
  const low: Rule = { register: rule.register!, memory: rule.memory! };
  if (!isVex(row)) return low;
  if (!narrows) return rule;
  const join = (b: string, bHigh: string): string =>
    `Float.begin(); const result = ${f(b)}; const high = ${f(bHigh)}; ${CHECK} Vec.setVex(record, Shuffle.joinLow(result, high));`;
  return {
    ...low,
    register256: join("Vec.src(record)", "Vec.srcHigh(record)"),
    memory256: `${reads(2 * bytes)} ${join("load<v128>(at)", "load<v128>(at, 16)")}`,
  };
}

/** Conversions to elements twice as wide, of the lower half; with VEX.L = 1 of all 128 bits. */
function convertWidening(row: Row, f: (b: string) => string): Rule {
  const bytes = memoryBytes(row);
  const write = isVex(row) ? "Vec.setVex(record, result);" : "Vec.set(record, result);";
  const upper = (b: string): string => `v128.shuffle<i64>(${b}, ${b}, 1, 1)`;
  const wide = (b: string): string =>
    `const source = ${b}; Float.begin(); const result = ${f("source")}; const high = ${f(upper("source"))}; ${CHECK} Vec.setWide(record, result, high);`;
  return {
    register: computed(f("Vec.src(record)"), write),
    memory: `${reads(bytes)} ${computed(f(loaded(bytes)), write)}`,
    register256: wide("Vec.src(record)"),
    memory256: `${reads(16)} ${wide("load<v128>(at)")}`,
  };
}

/** To a general register of type T. */
function toGeneral(bits: 32 | 64, truncates: boolean): Rule {
  const f = bits === 32 ? "singleToInt" : "doubleToInt";
  const body = (value: string): string =>
    `Float.begin(); const result = Convert.${f}(${value}, sizeof<T>() * 8, ${truncates}); ${CHECK} Op.setDst<T>(record, <T>result);`;
  return anyLength({
    register: body(`load<u${bits}>(Vec.srcAt(record))`),
    memory: `${reads(bits / 8)} ${body(`load<u${bits}>(at)`)}`,
  });
}

/** From a general register or memory of type T. */
function fromGeneral(row: Row, bits: 32 | 64): Rule {
  const f = bits === 32 ? "intToSingle" : "intToDouble";
  const signed = (value: string): string => `signedInteger<T>(${value})`;
  const write = writeScalar(row, bits);
  return anyLength({
    register: computed(`Convert.${f}(${signed("Op.src<T>(record)")})`, write),
    memory: `const at = Linear.readable<T>(Address.forRead(record, sizeof<T>())); if (at == 0) return; ${computed(`Convert.${f}(${signed("load<T>(at)")})`, write)}`,
  });
}

/** As `computed`, with an MMX register: the transition to MMX is made even if the exceptions are unmasked. */
const computedMmx = (value: string, write: string): string => `Mmx.enter(); ${computed(value, write)}`;

/** Conversions with an MMX operand. */
function convertMmx(row: Row, name: string): Rule {
  const truncates = name.startsWith("CVTT");
  switch (name) {
    case "CVTPI2PS": {
      const write = "store<u64>(Vec.dstAt(record), result);";
      return {
        register: computedMmx("Convert.intPairToSingles(Mmx.srcQuad(record))", write),
        memory: `${reads(8)} ${computed("Convert.intPairToSingles(load<u64>(at))", write)}`,
      };
    }
    case "CVTPI2PD":
      return {
        register: "Vec.set(record, f64x2.convert_low_i32x4_s(Mmx.src(record))); Mmx.enter();",
        memory: `${reads(8)} Vec.set(record, f64x2.convert_low_i32x4_s(v128.load64_zero(at)));`,
      };
    case "CVTPS2PI":
    case "CVTTPS2PI": {
      const value = (b: string): string => `Convert.singlePairToInts(${b}, ${truncates})`;
      return {
        register: computedMmx(value("load<u64>(Vec.srcAt(record))"), "Mmx.setQuad(record, result);"),
        memory: `${reads(8)} ${computedMmx(value("load<u64>(at)"), "Mmx.setQuad(record, result);")}`,
      };
    }
    default: {
      const value = (b: string): string => `Convert.doublesToInts(${b}, ${truncates})`;
      return {
        register: computedMmx(value("Vec.src(record)"), "Mmx.set(record, result);"),
        memory: `${reads(16, true)} ${computedMmx(value("load<v128>(at)"), "Mmx.set(record, result);")}`,
      };
    }
  }
}

const CONVERSIONS: Readonly<Record<string, (row: Row) => Rule>> = {
  CVTPS2PD: (row) => convertWidening(row, (b) => `Convert.singlesToDoubles(${b})`),
  CVTDQ2PD: (row) => convertWidening(row, (b) => `f64x2.convert_low_i32x4_s(${b})`),
  CVTPD2PS: (row) => convertPacked(row, (b) => `Convert.doublesToSingles(${b})`, true),
  CVTPD2DQ: (row) => convertPacked(row, (b) => `Convert.doublesToInts(${b}, false)`, true),
  CVTTPD2DQ: (row) => convertPacked(row, (b) => `Convert.doublesToInts(${b}, true)`, true),
  CVTDQ2PS: (row) => convertPacked(row, (b) => `Convert.intsToSingles(${b})`, false),
  CVTPS2DQ: (row) => convertPacked(row, (b) => `Convert.singlesToInts(${b}, false)`, false),
  CVTTPS2DQ: (row) => convertPacked(row, (b) => `Convert.singlesToInts(${b}, true)`, false),
  CVTSS2SI: () => toGeneral(32, false),
  CVTTSS2SI: () => toGeneral(32, true),
  CVTSD2SI: () => toGeneral(64, false),
  CVTTSD2SI: () => toGeneral(64, true),
  CVTSI2SS: (row) => fromGeneral(row, 32),
  CVTSI2SD: (row) => fromGeneral(row, 64),
  CVTSS2SD: (row) => {
    const write = writeScalar(row, 64);
    return anyLength({
      register: computed("Convert.singleToDouble(load<u32>(Vec.srcAt(record)))", write),
      memory: `${reads(4)} ${computed("Convert.singleToDouble(load<u32>(at))", write)}`,
    });
  },
  CVTSD2SS: (row) => {
    const write = writeScalar(row, 32);
    return anyLength({
      register: computed("Convert.doubleToSingle(load<u64>(Vec.srcAt(record)))", write),
      memory: `${reads(8)} ${computed("Convert.doubleToSingle(load<u64>(at))", write)}`,
    });
  },
  CVTPH2PS: () => {
    const wide = (low: string, high: string): string =>
      `Float.begin(); const result = Convert.halvesToSingles(${low}); const high = Convert.halvesToSingles(${high}); ${CHECK} Vec.setWide(record, result, high);`;
    return {
      register: computed(
        "Convert.halvesToSingles(load<u64>(Vec.srcAt(record)))",
        "Vec.setVex(record, result);",
      ),
      memory: `${unaligned(reads(8))} ${computed("Convert.halvesToSingles(load<u64>(at))", "Vec.setVex(record, result);")}`,
      register256: wide("load<u64>(Vec.srcAt(record))", "load<u64>(Vec.srcAt(record), 8)"),
      memory256: `${reads(16)} ${wide("load<u64>(at)", "load<u64>(at, 8)")}`,
    };
  },
  CVTPS2PH: () => {
    const low = `Convert.singlesToHalves(Vec.src(record), ${IMM})`;
    const both = `Float.begin(); const result = ${low}; const high = Convert.singlesToHalves(Vec.srcHigh(record), ${IMM}); ${CHECK}`;
    // The exceptions of the conversion come before those of the store, and stay in MXCSR when that faults.
    return {
      register: computed(low, "Vec.setVex(record, joinQuads(result, 0));"),
      memory: computed(low, `${unaligned(stores(8))} store<u64>(at, result); Linear.commit(at);`),
      register256: `${both} Vec.setVex(record, joinQuads(result, high));`,
      memory256: `${both} ${stores(16)} store<u64>(at, result); store<u64>(at, high, 8); Linear.commit(at);`,
    };
  },
};

/** The rule of a row by its mnemonic without V, or undefined. */
export function floatRule(row: Row, name: string): Rule | undefined {
  if (/^CVT/.test(name))
    return isMmx(row) || /^CVTPI/.test(name) ? convertMmx(row, name) : CONVERSIONS[name]?.(row);
  const fma = /^F(N?MADD|N?MSUB|MADDSUB|MSUBADD)(132|213|231)(PS|PD|SS|SD)$/.exec(name);
  if (fma) return fused(row, fma[1]!, fma[2]!, fma[3]!);
  const parts = /^(.*)(PS|PD|SS|SD)$/.exec(name);
  if (!parts) return loadStoreMxcsr(name);
  const [, operation, suffix] = parts as unknown as [string, string, string];
  const arithmetic = ARITHMETIC[operation];
  if (arithmetic !== undefined) return allFormats(row, suffix, arithmetic);
  switch (operation) {
    case "CMP":
      // Legacy encodings have eight predicates.
      return allFormats(row, suffix, "compare", `, ${IMM} & ${isVex(row) ? 31 : 7}`);
    case "DP":
      return dotProduct(row, suffix);
    case "COMI":
    case "UCOMI":
      return flagsCompare(row, suffix === "SS" ? 32 : 64, operation === "COMI");
    case "ROUND":
      return round(row, suffix);
    case "RCP":
    case "RSQRT":
      return approximation(row, operation, suffix);
    default:
      return undefined;
  }
}

function loadStoreMxcsr(name: string): Rule | undefined {
  if (name === "LDMXCSR") return { memory: `${reads(4)} loadMxcsr(load<u32>(at));` };
  if (name === "STMXCSR") return { memory: `${stores(4)} store<u32>(at, cpu.mxcsr); Linear.commit(at);` };
  return undefined;
}

/**
 * Rules of the x87 rows. The classes that they name (emulator/core/instructions/x87) only compute, so that handlers which call
 * nothing else go on directly.
 */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";

const D = "Op.dstNumber(record)";
const S = "Op.srcNumber(record)";
const NOTE = "Last.instruction(record);";
const NOTE_OPERAND = "Last.instructionAndOperand(record, linear);";

/** The rule of a row of feature X87, or undefined: the row raises #UD. */
export function x87Rule(row: Row): Rule | undefined {
  return RULES[row.mnemonic]?.(row);
}

/** An instruction that takes no operand but registers. */
const simple = (statements: string) => (): Rule => ({ register: `${NOTE} ${statements}` });

/** A control instruction: it does not count as the last instruction. */
const control = (register: string) => (): Rule => ({ register });

/** Takes a memory operand, then does `statements`. */
function operand(take: string, type: string, statements: string): string {
  return `const linear = Address.forRead(record, sizeof<${type}>()); const at = Linear.readable<${type}>(linear); if (at == 0) return; ${NOTE_OPERAND} ${take}; ${statements}`;
}

const isInteger = (row: Row): boolean => row.mnemonic.startsWith("FI");

/** `statements` with the row's memory operand taken: single or double precision, or an integer. */
function withOperand(row: Row, statements: string): string {
  const type = row.operands[0]!.memoryType;
  if (!isInteger(row))
    return type === "d"
      ? operand("Take.single(load<u32>(at))", "u32", statements)
      : operand("Take.double(load<u64>(at))", "u64", statements);
  const width = type === "w" ? "i16" : type === "d" ? "i32" : "i64";
  return operand(`Take.integer(<i64>load<${width}>(at))`, width, statements);
}

const isMemory = (row: Row): boolean => row.operands[0]?.method === "M";

/** FADD and its like: registers, registers with a pop, or a memory operand. `f` names the operation; reversed, the operands change places. */
function arithmetic(f: string, onOperand: string, isReversed = false): (row: Row) => Rule {
  return (row) => {
    if (isMemory(row)) return { memory: withOperand(row, `Arithmetic.${onOperand}();`) };
    const operation = isReversed ? `Arithmetic.${f}(${D}, ${S}, ${D})` : `Arithmetic.${f}(${D}, ${D}, ${S})`;
    const pops = row.mnemonic.endsWith("P");
    return { register: `${NOTE} ${pops ? `if (${operation}) Stack.pop();` : `${operation};`}` };
  };
}

function compare(row: Row): Rule {
  const pops = row.mnemonic.endsWith("P");
  if (isMemory(row))
    return { memory: withOperand(row, pops ? "if (Compare.operand()) Stack.pop();" : "Compare.operand();") };
  const isSignaling = !row.mnemonic.startsWith("FU");
  const toFlags = /COMIP?$/.test(row.mnemonic);
  const isBoth = row.mnemonic.endsWith("PP");
  const outcome = `Compare.${toFlags ? "toFlags" : "registers"}(${isBoth ? "1" : S}, ${isSignaling})`;
  if (isBoth) return { register: `${NOTE} if (${outcome}) { Stack.pop(); Stack.pop(); }` };
  return { register: `${NOTE} ${pops ? `if (${outcome}) Stack.pop();` : `${outcome};`}` };
}

/**
 * A store of a result that is computed first and must reach memory before the stack changes. Where an unmasked exception keeps it from
 * memory, that is not accessed: the store completes even if its address is a bad one.
 */
function storing(type: string, compute: string, pops: boolean): string {
  return (
    `const status = cpu.x87Status; if (!${compute}) { Last.suppressedStore(record); return; } ` +
    `const linear = Address.forWrite(record, sizeof<${type}>()); const at = Linear.storable<${type}>(linear); if (at == 0) { cpu.x87Status = status; return; } ${NOTE_OPERAND} ` +
    `store<${type}>(at, <${type}>cpu.operandSignificand); Linear.commit(at); ` +
    (pops ? "Result.finishAndPop();" : "Result.finish();")
  );
}

function load(row: Row): Rule {
  if (row.operands[0]!.method === "STi") return { register: `${NOTE} Load.register(${D});` };
  if (row.operands[0]!.memoryType === "t") return { memory: "fldExtended(record);" };
  if (row.mnemonic === "FLD" && row.operands[0]!.memoryType === "q")
    return { memory: operand("Load.double(load<u64>(at))", "u64", "") };
  return { memory: withOperand(row, "Load.operand();") };
}

function store(row: Row): Rule {
  const pops = row.mnemonic === "FSTP";
  if (!isMemory(row)) {
    const move = `Move.toRegister(${D})`;
    return { register: `${NOTE} ${pops ? `if (${move}) Stack.pop();` : `${move};`}` };
  }
  const type = row.operands[0]!.memoryType;
  if (type === "t") return { memory: "fstpExtended(record);" };
  return {
    memory: type === "d" ? storing("u32", "Result.single()", pops) : storing("u64", "Result.double()", pops),
  };
}

function storeInteger(row: Row): Rule {
  const type = row.operands[0]!.memoryType;
  const bits = type === "w" ? 16 : type === "d" ? 32 : 64;
  const truncates = row.mnemonic === "FISTTP";
  return { memory: storing(`u${bits}`, `Result.integer(${bits}, ${truncates})`, row.mnemonic !== "FIST") };
}

/** Stores a word of state. */
const storeWord = (value: string): string =>
  `const at = Linear.storable<u16>(Address.forWrite(record, 2)); if (at == 0) return; store<u16>(at, <u16>${value}); Linear.commit(at);`;

const conditionalMove = (condition: string) => simple(`Move.ifTrue(${condition}, ${S});`);

/** Exponent, significand to nearest, and whether that is above the constant. */
const constant = (exponent: string, significand: string, isRoundedUp: boolean) =>
  simple(`Load.constant(${exponent}, ${significand}, ${isRoundedUp});`);

const RULES: Readonly<Record<string, (row: Row) => Rule>> = {
  FADD: arithmetic("add", "addOperand"),
  FADDP: arithmetic("add", "addOperand"),
  FIADD: arithmetic("add", "addOperand"),
  FMUL: arithmetic("multiply", "multiplyOperand"),
  FMULP: arithmetic("multiply", "multiplyOperand"),
  FIMUL: arithmetic("multiply", "multiplyOperand"),
  FSUB: arithmetic("subtract", "subtractOperand"),
  FSUBP: arithmetic("subtract", "subtractOperand"),
  FISUB: arithmetic("subtract", "subtractOperand"),
  FSUBR: arithmetic("subtract", "subtractFromOperand", true),
  FSUBRP: arithmetic("subtract", "subtractFromOperand", true),
  FISUBR: arithmetic("subtract", "subtractFromOperand", true),
  FDIV: arithmetic("divide", "divideByOperand"),
  FDIVP: arithmetic("divide", "divideByOperand"),
  FIDIV: arithmetic("divide", "divideByOperand"),
  FDIVR: arithmetic("divide", "divideOperand", true),
  FDIVRP: arithmetic("divide", "divideOperand", true),
  FIDIVR: arithmetic("divide", "divideOperand", true),
  FCOM: compare,
  FCOMP: compare,
  FCOMPP: compare,
  FUCOM: compare,
  FUCOMP: compare,
  FUCOMPP: compare,
  FICOM: compare,
  FICOMP: compare,
  FCOMI: compare,
  FCOMIP: compare,
  FUCOMI: compare,
  FUCOMIP: compare,
  FTST: simple("Compare.zero();"),
  FXAM: simple("Compare.examine();"),
  FLD: load,
  FILD: load,
  FST: store,
  FSTP: store,
  FSTPNCE: simple(`Move.toRegisterUnchecked(${D}); Stack.pop();`),
  FIST: storeInteger,
  FISTP: storeInteger,
  FISTTP: storeInteger,
  FBLD: () => ({ memory: "fbld(record);" }),
  FBSTP: () => ({ memory: "fbstp(record);" }),
  FXCH: simple(`Move.exchange(${S});`),
  FCMOVB: conditionalMove("Condition.c2()"),
  FCMOVE: conditionalMove("Condition.c4()"),
  FCMOVBE: conditionalMove("Condition.c6()"),
  FCMOVU: conditionalMove("Condition.c10()"),
  FCMOVNB: conditionalMove("Condition.c3()"),
  FCMOVNE: conditionalMove("Condition.c5()"),
  FCMOVNBE: conditionalMove("Condition.c7()"),
  FCMOVNU: conditionalMove("Condition.c11()"),
  FLD1: simple("Load.value(0x3fff, 0x8000000000000000);"),
  FLDZ: simple("Load.value(0, 0);"),
  FLDL2T: constant("0x4000", "0xd49a784bcd1b8afe", false),
  FLDL2E: constant("0x3fff", "0xb8aa3b295c17f0bc", true),
  FLDPI: constant("0x4000", "0xc90fdaa22168c235", true),
  FLDLG2: constant("0x3ffd", "0x9a209a84fbcff799", true),
  FLDLN2: constant("0x3ffe", "0xb17217f7d1cf79ac", true),
  FCHS: simple("Arithmetic.changeSign();"),
  FABS: simple("Arithmetic.absolute();"),
  FSQRT: simple("Arithmetic.squareRoot();"),
  FRNDINT: simple("Integral.roundToInteger();"),
  FSCALE: simple("Integral.scale();"),
  FXTRACT: simple("Integral.extract();"),
  FPREM: simple("Integral.remainder(false);"),
  FPREM1: simple("Integral.remainder(true);"),
  FSIN: simple("Transcendental.sine();"),
  FCOS: simple("Transcendental.cosine();"),
  FSINCOS: simple("Transcendental.sineAndCosine();"),
  FPTAN: simple("Transcendental.tangent();"),
  FPATAN: simple("Transcendental.arcTangent();"),
  F2XM1: simple("Transcendental.powerOf2Minus1();"),
  FYL2X: simple("Transcendental.yLog2x();"),
  FYL2XP1: simple("Transcendental.yLog2xPlus1();"),
  FFREE: simple(`Move.free(${D});`),
  FFREEP: simple(`Move.free(${D}); Stack.pop();`),
  FINCSTP: simple("Move.incrementTop();"),
  FDECSTP: simple("Move.decrementTop();"),
  FNOP: simple(""),
  FNINIT: control("Control.initialize();"),
  FNCLEX: control("Control.clear();"),
  // No operation since the 80387.
  FNENI: control(""),
  FNDISI: control(""),
  FNSETPM: control(""),
  FLDCW: () => ({
    memory:
      "const at = Linear.readable<u16>(Address.forRead(record, 2)); if (at == 0) return; Control.load(<u32>load<u16>(at));",
  }),
  FNSTCW: () => ({ memory: storeWord("cpu.x87Control") }),
  FNSTSW: () => ({ register: "store<u16>(CPU, <u16>cpu.x87Status);", memory: storeWord("cpu.x87Status") }),
  FNSTENV: () => ({ memory: "fnstenv(record);" }),
  FLDENV: () => ({ memory: "fldenv(record);" }),
  FNSAVE: () => ({ memory: "fnsave(record);" }),
  FRSTOR: () => ({ memory: "frstor(record);" }),
};

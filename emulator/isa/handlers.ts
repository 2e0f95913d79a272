/**
 * What the interpreter does for each row of the instruction table: one rule per mnemonic.
 *
 * A rule gives the body of a handler for a row at an operand type (`u8` … `u64`), by form of the operands. The
 * generator makes one function per distinct body and a table (row, operand size, memory?, LOCK?) → function. Rows
 * without a rule raise #UD.
 */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";
import { vectorRule } from "./rules-vector.ts";
import { x87Rule } from "./rules-x87.ts";

const D = "Op.dst<T>(record)";
const S = "Op.src<T>(record)";
const I = "Op.imm<T>(record)";

const readable = "const at = Linear.readable<T>(Address.forRead(record, sizeof<T>())); if (at == 0) return;";
const writable = "const at = Linear.writable<T>(Address.forWrite(record, sizeof<T>())); if (at == 0) return;";
const storable = "const at = Linear.storable<T>(Address.forWrite(record, sizeof<T>())); if (at == 0) return;";

const modify = (value: string): string => `${writable} store<T>(at, ${value}); Linear.commit(at);`;

/**
 * LOCKed read-modify-write: a compare-exchange loop where the address allows it. The flags that the operation
 * reads are put back before each try.
 */
const modifyLocked = (operation: (old: string) => string): string =>
  `${writable} if (!Locked.isAtomic<T>(at)) { Locked.acquireSplit(); store<T>(at, ${operation("load<T>(at)")}); Locked.releaseSplit(); Linear.commit(at); return; } ` +
  `const carries = cpu.flagCarries; const result = cpu.flagResult; ` +
  `for (;;) { const old = <T>atomic.load<T>(at); const next = ${operation("old")}; if (<T>atomic.cmpxchg<T>(at, old, next) == old) return; cpu.flagCarries = carries; cpu.flagResult = result; }`;

/** A binary operation that writes operand 0. */
function binary(row: Row, f: string): Rule {
  const [first, second] = row.operands;
  const other = second!.method === "I" || second!.method === "1" ? I : S;
  if (first!.method === "G" || first!.method === "rAX")
    return {
      register: `Op.setDst<T>(record, ${f}<T>(${D}, ${other}));`,
      memory: `${readable} Op.setDst<T>(record, ${f}<T>(${D}, load<T>(at)));`,
    };
  return {
    register: `Op.setDst<T>(record, ${f}<T>(${D}, ${other}));`,
    memory: modify(`${f}<T>(load<T>(at), ${other})`),
    locked: modifyLocked((old) => `${f}<T>(${old}, ${other})`),
  };
}

/** A binary operation that only sets flags. */
function compare(row: Row, f: string): Rule {
  const [first, second] = row.operands;
  const other = second!.method === "I" ? I : S;
  if (first!.method === "G")
    return { register: `${f}<T>(${D}, ${other});`, memory: `${readable} ${f}<T>(${D}, load<T>(at));` };
  return { register: `${f}<T>(${D}, ${other});`, memory: `${readable} ${f}<T>(load<T>(at), ${other});` };
}

const unary = (f: string): Rule => ({
  register: `Op.setDst<T>(record, ${f}<T>(${D}));`,
  memory: modify(`${f}<T>(load<T>(at))`),
  locked: modifyLocked((old) => `${f}<T>(${old})`),
});

/** Shift and rotate by CL, an immediate or 1. */
function shift(row: Row, f: string): Rule {
  const count =
    row.operands[1]!.method === "rCX"
      ? "<u32>Op.src<u8>(record)"
      : row.operands[1]!.method === "1"
        ? "1"
        : "<u32>Op.imm<u8>(record)";
  return {
    register: `Op.setDst<T>(record, ${f}<T>(${D}, ${count}));`,
    memory: modify(`${f}<T>(load<T>(at), ${count})`),
  };
}

function move(row: Row): Rule {
  const [first, second] = row.operands;
  if (second!.method === "S")
    return {
      register: "moveFromSegment<T>(record);",
      memory:
        "const at = Linear.storable<u16>(Address.forWrite(record, 2)); if (at == 0) return; store<u16>(at, <u16>segSelector(Op.srcNumber(record))); Linear.commit(at);",
    };
  if (first!.method === "S")
    return {
      register: "moveToSegment(record, Op.src<u16>(record));",
      memory:
        "const at = Linear.readable<u16>(Address.forRead(record, 2)); if (at == 0) return; moveToSegment(record, load<u16>(at));",
      ends: true,
    };
  if (first!.method === "C") return { register: "moveToControl(record);", ends: true };
  if (second!.method === "C") return { register: "moveFromControl(record);", ends: true };
  if (first!.method === "D") return { register: "moveToDebug(record);", ends: true };
  if (second!.method === "D") return { register: "moveFromDebug(record);", ends: true };
  if (second!.method === "I")
    return {
      register: `Op.setDst<T>(record, ${I});`,
      memory: `${storable} store<T>(at, ${I}); Linear.commit(at);`,
    };
  if (first!.method === "G" || first!.method === "rAX")
    return {
      register: `Op.setDst<T>(record, ${S});`,
      memory: `${readable} Op.setDst<T>(record, load<T>(at));`,
    };
  return {
    register: `Op.setDst<T>(record, ${S});`,
    memory: `${storable} store<T>(at, ${S}); Linear.commit(at);`,
  };
}

/** Widening moves: T is the destination's type, `from` the source's. */
const widen = (from: string, cast: string): Rule => ({
  register: `Op.setDst<T>(record, <T>(${cast}Op.src<${from}>(record)));`,
  memory: `const at = Linear.readable<${from}>(Address.forRead(record, sizeof<${from}>())); if (at == 0) return; Op.setDst<T>(record, <T>(${cast}load<${from}>(at)));`,
});

const CONDITIONS = [
  "O",
  "NO",
  "B",
  "NB",
  "Z",
  "NZ",
  "BE",
  "NBE",
  "S",
  "NS",
  "P",
  "NP",
  "L",
  "NL",
  "LE",
  "NLE",
];

/** A bit-string instruction: the register form of the offset reaches beyond the operand. */
function bitTest(row: Row, f: string): Rule {
  const isImmediate = row.operands[1]!.method === "I";
  const offset = isImmediate ? "<u32>Op.imm<u8>(record)" : "<u32>Op.src<T>(record)";
  const linear = isImmediate ? "Address.forWrite(record, sizeof<T>())" : "bitStringAddress<T>(record, true)";
  const readLinear = isImmediate
    ? "Address.forRead(record, sizeof<T>())"
    : "bitStringAddress<T>(record, false)";
  if (f === "bt")
    return {
      register: `bt<T>(${D}, ${offset});`,
      memory: `const at = Linear.readable<T>(${readLinear}); if (at == 0) return; bt<T>(load<T>(at), ${offset});`,
    };
  const begin = `const at = Linear.writable<T>(${linear}); if (at == 0) return;`;
  return {
    register: `Op.setDst<T>(record, ${f}<T>(${D}, ${offset}));`,
    memory: `${begin} store<T>(at, ${f}<T>(load<T>(at), ${offset})); Linear.commit(at);`,
    locked: modifyLocked((old) => `${f}<T>(${old}, ${offset})`).replace(writable, begin),
  };
}

/** G from E, unary: POPCNT and its like. */
const scan = (f: string): Rule => ({
  register: `Op.setDst<T>(record, ${f}<T>(${S}));`,
  memory: `${readable} Op.setDst<T>(record, ${f}<T>(load<T>(at)));`,
});

const call = (f: string, ends = false): Rule => ({
  register: `${f}(record);`,
  memory: `${f}(record);`,
  ends,
});
const callTyped = (f: string, ends = false): Rule => ({
  register: `${f}<T>(record);`,
  memory: `${f}<T>(record);`,
  ends,
});

/** One operand of either kind, as a value: `f(record, value)`. */
const take = (f: string, ends = false): Rule => ({
  register: `${f}<T>(record, ${D});`,
  memory: `${readable} ${f}<T>(record, load<T>(at));`,
  ends,
});

const SIMPLE: Readonly<Record<string, (row: Row) => Rule>> = {
  ADD: (row) => binary(row, "add"),
  ADC: (row) => binary(row, "adc"),
  SUB: (row) => binary(row, "sub"),
  SBB: (row) => binary(row, "sbb"),
  AND: (row) => binary(row, "and"),
  OR: (row) => binary(row, "or"),
  XOR: (row) => binary(row, "xor"),
  CMP: (row) => compare(row, "sub"),
  TEST: (row) => compare(row, "and"),
  INC: () => unary("inc"),
  DEC: () => unary("dec"),
  NEG: () => unary("neg"),
  NOT: () => unary("not"),
  ROL: (row) => shift(row, "rol"),
  ROR: (row) => shift(row, "ror"),
  RCL: (row) => shift(row, "rcl"),
  RCR: (row) => shift(row, "rcr"),
  SHL: (row) => shift(row, "shl"),
  SAL: (row) => shift(row, "shl"),
  SHR: (row) => shift(row, "shr"),
  SAR: (row) => shift(row, "sar"),
  SHLD: (row) => doubleShift(row, "shld"),
  SHRD: (row) => doubleShift(row, "shrd"),
  MUL: () => take("mul"),
  IMUL: (row) =>
    row.operands.length === 1
      ? take("imul")
      : row.operands.length === 3
        ? {
            register: `Op.setDst<T>(record, imulTruncated<T>(${S}, ${I}));`,
            memory: `${readable} Op.setDst<T>(record, imulTruncated<T>(load<T>(at), ${I}));`,
          }
        : {
            register: `Op.setDst<T>(record, imulTruncated<T>(${D}, ${S}));`,
            memory: `${readable} Op.setDst<T>(record, imulTruncated<T>(${D}, load<T>(at)));`,
          },
  DIV: () => take("div"),
  IDIV: () => take("idiv"),
  MOV: move,
  MOVZX: (row) => widen(row.operands[1]!.registerType === "b" ? "u8" : "u16", ""),
  MOVSX: (row) => (row.operands[1]!.registerType === "b" ? widen("i8", "<i64>") : widen("i16", "<i64>")),
  MOVSXD: () => callTyped("movsxd"),
  LEA: () => ({ memory: "Op.setDst<T>(record, <T>Address.effective(record));" }),
  XCHG: () => ({
    register: `const a = ${D}; Op.setDst<T>(record, ${S}); Op.setSrc<T>(record, a);`,
    memory: `${writable} exchangeMemory<T>(record, at);`,
  }),
  XADD: () => callTyped("xadd"),
  CMPXCHG: () => callTyped("cmpxchg"),
  CMPXCHG8B: () => call("cmpxchg8b"),
  CMPXCHG16B: () => call("cmpxchg16b"),
  BSWAP: () => ({ register: "Op.setDst<T>(record, byteSwap<T>(Op.dst<T>(record)));" }),
  MOVBE: (row) =>
    row.operands[0]!.method === "G"
      ? { memory: `${readable} Op.setDst<T>(record, byteSwap<T>(load<T>(at)));` }
      : { memory: `${storable} store<T>(at, byteSwap<T>(${S})); Linear.commit(at);` },
  CBW: () => callTyped("cbw"),
  CWD: () => callTyped("cwd"),
  SAHF: () => call("sahf"),
  LAHF: () => call("lahf"),
  XLAT: () => call("xlat"),
  SALC: () => call("salc"),
  CLC: () => ({ register: "Flags.setCf(0);" }),
  STC: () => ({ register: "Flags.setCf(1);" }),
  CMC: () => ({ register: "Flags.setCf(Flags.cf() ^ 1);" }),
  CLD: () => ({ register: "cpu.rflags &= ~FLAG_DF;" }),
  STD: () => ({ register: "cpu.rflags |= FLAG_DF;" }),
  CLI: () => call("cli", true),
  STI: () => call("sti", true),
  NOP: () => ({ register: "", memory: "" }),
  PAUSE: () => call("pause", true),
  ENDBR64: () => ({ register: "" }),
  ENDBR32: () => ({ register: "" }),
  PREFETCH: () => ({ memory: "" }),
  PREFETCHW: () => ({ memory: "" }),
  PREFETCHWT1: () => ({ memory: "" }),
  PREFETCHNTA: () => ({ memory: "" }),
  PREFETCHT0: () => ({ memory: "" }),
  PREFETCHT1: () => ({ memory: "" }),
  PREFETCHT2: () => ({ memory: "" }),
  LFENCE: () => ({ register: "" }),
  MFENCE: () => call("fence"),
  SFENCE: () => ({ register: "" }),
  CLFLUSH: () => call("clflush"),
  CLFLUSHOPT: () => call("clflush"),
  CLWB: () => call("clflush"),
  BT: (row) => bitTest(row, "bt"),
  BTS: (row) => bitTest(row, "bts"),
  BTR: (row) => bitTest(row, "btr"),
  BTC: (row) => bitTest(row, "btc"),
  BSF: () => ({ register: `bsf<T>(record, ${S});`, memory: `${readable} bsf<T>(record, load<T>(at));` }),
  BSR: () => ({ register: `bsr<T>(record, ${S});`, memory: `${readable} bsr<T>(record, load<T>(at));` }),
  POPCNT: () => scan("popCount"),
  LZCNT: () => scan("lzcnt"),
  TZCNT: () => scan("tzcnt"),
  CRC32: (row) => crc32(row),
  ADCX: () => binaryFromE("adcx"),
  ADOX: () => binaryFromE("adox"),
  DAA: () => call("daa"),
  DAS: () => call("das"),
  AAA: () => call("aaa"),
  AAS: () => call("aas"),
  AAM: () => call("aam"),
  AAD: () => call("aad"),
  PUSH: (row) => {
    const method = row.operands[0]!.method;
    if (["ES", "CS", "SS", "DS", "FS", "GS"].includes(method))
      return { register: `pushValue<T>(<T>segSelector(${method}));` };
    if (method === "I") return { register: `pushValue<T>(${I});` };
    return { register: `pushValue<T>(${D});`, memory: `${readable} pushValue<T>(load<T>(at));` };
  },
  POP: (row) => {
    const method = row.operands[0]!.method;
    if (["ES", "SS", "DS", "FS", "GS"].includes(method))
      return { register: `popSegment<T>(${method});`, ends: true };
    return { register: "popRegister<T>(record);", memory: "popMemory<T>(record);" };
  },
  PUSHA: () => callTyped("pusha"),
  POPA: () => callTyped("popa"),
  PUSHF: () => callTyped("pushf"),
  POPF: () => callTyped("popf", true),
  ENTER: () => callTyped("enter"),
  LEAVE: () => callTyped("leave"),
  BOUND: () => callTyped("bound"),
  ARPL: () => call("arpl"),
  JMP: (row) =>
    row.operands[0]!.method === "J"
      ? { register: "Chain.branch<T>(record, true);", ends: true }
      : { register: `jumpTo<T>(<u64>${D});`, memory: `${readable} jumpTo<T>(<u64>load<T>(at));`, ends: true },
  CALL: (row) =>
    row.operands[0]!.method === "J"
      ? callTyped("callRelative", true)
      : {
          register: `callTo<T>(record, <u64>${D});`,
          memory: `${readable} callTo<T>(record, <u64>load<T>(at));`,
          ends: true,
        },
  RET: (row) => callTyped(row.operands.length > 0 ? "retPop" : "ret", true),
  JMPF: (row) => callTyped(row.operands[0]!.method === "A" ? "jmpFarDirect" : "jmpFarMemory", true),
  CALLF: (row) => callTyped(row.operands[0]!.method === "A" ? "callFarDirect" : "callFarMemory", true),
  RETF: (row) => callTyped(row.operands.length > 0 ? "retFarPop" : "retFar", true),
  IRET: () => callTyped("iret", true),
  INT3: () => call("int3", true),
  INT: () => call("intN", true),
  INTO: () => call("into", true),
  INT1: () => call("int1", true),
  LOOP: () => callTyped("loop", true),
  LOOPE: () => callTyped("loopz", true),
  LOOPNE: () => callTyped("loopnz", true),
  JCXZ: () => callTyped("jcxz", true),
  SYSCALL: () => call("syscall", true),
  SYSRET: () => callTyped("sysret", true),
  SYSENTER: () => call("sysenter", true),
  SYSEXIT: () => callTyped("sysexit", true),
  MOVS: () => callTyped("movs", true),
  CMPS: () => callTyped("cmps", true),
  STOS: () => callTyped("stos", true),
  LODS: () => callTyped("lods", true),
  SCAS: () => callTyped("scas", true),
  INS: () => callTyped("ins", true),
  OUTS: () => callTyped("outs", true),
  IN: (row) => ({
    register: `portIn<T>(record, ${row.operands[1]!.method === "I" ? "<u32>Op.imm<u8>(record)" : "<u32>getGpr(RDX) & 0xffff"}, ${row.operands[1]!.method === "I"});`,
    ends: true,
  }),
  OUT: (row) => ({
    register: `portOut<T>(record, ${row.operands[0]!.method === "I" ? "<u32>Op.imm<u8>(record)" : "<u32>getGpr(RDX) & 0xffff"}, ${row.operands[0]!.method === "I"});`,
    ends: true,
  }),
  LES: () => callTyped("les", true),
  LDS: () => callTyped("lds", true),
  LSS: () => callTyped("lss", true),
  LFS: () => callTyped("lfs", true),
  LGS: () => callTyped("lgs", true),
  SLDT: () => callTyped("sldt"),
  STR: () => callTyped("str"),
  SMSW: () => callTyped("smsw"),
  LLDT: () => call("lldt", true),
  LTR: () => call("ltr", true),
  VERR: () => call("verr"),
  VERW: () => call("verw"),
  LAR: () => callTyped("lar"),
  LSL: () => callTyped("lsl"),
  SGDT: () => call("sgdt"),
  SIDT: () => call("sidt"),
  LGDT: () => call("lgdt", true),
  LIDT: () => call("lidt", true),
  LMSW: () => call("lmsw", true),
  INVLPG: () => call("invlpg", true),
  INVPCID: () => call("invpcid", true),
  SWAPGS: () => call("swapgs", true),
  CLTS: () => call("clts", true),
  INVD: () => call("invd", true),
  WBINVD: () => call("wbinvd", true),
  WRMSR: () => call("wrmsr", true),
  RDMSR: () => call("rdmsr", true),
  RDTSC: () => call("rdtsc", true),
  RDTSCP: () => call("rdtscp", true),
  RDPMC: () => call("rdpmc", true),
  RDPID: () => call("rdpid"),
  CPUID: () => call("cpuid", true),
  HLT: () => call("hlt", true),
  CLAC: () => call("clac", true),
  STAC: () => call("stac", true),
  UD2: () => call("ud", true),
  UD1: () => call("ud", true),
  UD0: () => call("ud", true),
  RDFSBASE: () => callTyped("rdfsbase"),
  RDGSBASE: () => callTyped("rdgsbase"),
  WRFSBASE: () => callTyped("wrfsbase", true),
  WRGSBASE: () => callTyped("wrgsbase", true),
  // A pending exception is found by the check before it (media-kinds.ts).
  FWAIT: () => ({ register: "" }),
  XGETBV: () => call("xgetbv"),
  XSETBV: () => call("xsetbv", true),
  XSAVE: () => call("xsave"),
  XSAVEOPT: () => call("xsaveopt"),
  XSAVEC: () => call("xsavec"),
  XRSTOR: () => call("xrstor"),
  XSAVES: () => call("xsaves"),
  XRSTORS: () => call("xrstors"),
  MONITOR: () => call("monitor"),
  MWAIT: () => call("mwait", true),
  RDPKRU: () => call("rdpkru"),
  WRPKRU: () => call("wrpkru"),
  RDRAND: () => callTyped("rdrand"),
  RDSEED: () => callTyped("rdseed"),
  FXSAVE: () => call("fxsave"),
  FXRSTOR: () => call("fxrstor"),
  VMCALL: () => call("vmcall", true),
  VMLAUNCH: () => call("vmlaunch", true),
  VMRESUME: () => call("vmresume", true),
  VMXON: () => call("vmxon", true),
  VMXOFF: () => call("vmxoff", true),
  VMFUNC: () => call("vmfunc", true),
  VMREAD: () => call("vmread"),
  VMWRITE: () => call("vmwrite"),
  VMPTRLD: () => call("vmptrld", true),
  VMPTRST: () => call("vmptrst", true),
  VMCLEAR: () => call("vmclear", true),
  INVEPT: () => call("invept", true),
  INVVPID: () => call("invvpid", true),
};

function doubleShift(row: Row, f: string): Rule {
  const count = row.operands[2]!.method === "I" ? "<u32>Op.imm<u8>(record)" : "<u32>load<u8>(CPU, 8)";
  return {
    register: `Op.setDst<T>(record, ${f}<T>(${D}, ${S}, ${count}));`,
    memory: modify(`${f}<T>(load<T>(at), ${S}, ${count})`),
  };
}

const binaryFromE = (f: string): Rule => ({
  register: `Op.setDst<T>(record, ${f}<T>(${D}, ${S}));`,
  memory: `${readable} Op.setDst<T>(record, ${f}<T>(${D}, load<T>(at)));`,
});

function crc32(row: Row): Rule {
  const from = row.operands[1]!.registerType === "b" ? "u8" : "T";
  return {
    register: `crc32<${from}>(record, Op.src<${from}>(record));`,
    memory: `const at = Linear.readable<${from}>(Address.forRead(record, sizeof<${from}>())); if (at == 0) return; crc32<${from}>(record, load<${from}>(at));`,
  };
}

/** The rule of a row, or undefined: the row raises #UD. */
export function ruleOf(row: Row): Rule | undefined {
  if (row.feature === "X87") return x87Rule(row);
  return generalRule(row) ?? vectorRule(row);
}

function generalRule(row: Row): Rule | undefined {
  if (row.map >= 4) return undefined;
  const simple = SIMPLE[row.mnemonic];
  if (simple && row.operands.every((operand) => GENERAL.has(operand.method))) return simple(row);
  for (const [code, name] of CONDITIONS.entries()) {
    if (row.mnemonic === `J${name}`)
      return { register: `Chain.branch<T>(record, Condition.c${code}());`, ends: true };
    if (row.mnemonic === `SET${name}`)
      return {
        register: `Op.setDst<u8>(record, <u8>Condition.c${code}());`,
        memory: `const at = Linear.storable<u8>(Address.forWrite(record, 1)); if (at == 0) return; store<u8>(at, <u8>Condition.c${code}()); Linear.commit(at);`,
      };
    if (row.mnemonic === `CMOV${name}`)
      return {
        register: `Op.setDst<T>(record, Condition.c${code}() ? ${S} : ${D});`,
        memory: `${readable} Op.setDst<T>(record, Condition.c${code}() ? load<T>(at) : ${D});`,
      };
  }
  return undefined;
}

/** Addressing methods of the general-register instructions; media rows that share a mnemonic (MOV…) are not meant. */
const GENERAL = new Set([
  "none",
  "E",
  "G",
  "Z",
  "R",
  "B",
  "M",
  "S",
  "C",
  "D",
  "I",
  "J",
  "A",
  "O",
  "X",
  "Y",
  "BXAL",
  "1",
  "rAX",
  "rCX",
  "rDX",
  "ES",
  "CS",
  "SS",
  "DS",
  "FS",
  "GS",
]);

/** Operands that do not decide the handler's type. */
const UNTYPED = new Set(["rDX", "1", "I", "J", "A", "ES", "CS", "SS", "DS", "FS", "GS"]);

/** The handler's operand type at an operand size: that of the row's first typed operand. */
export function typeAt(row: Row, operandSize: 2 | 4 | 8): "u8" | "u16" | "u32" | "u64" {
  const typed = row.operands.filter((operand) => !UNTYPED.has(operand.method));
  const general = typed.filter((operand) => GENERAL.has(operand.method));
  const operands = general.length > 0 ? general : typed;
  const type = (row.mnemonic === "CRC32" ? operands[1] : operands[0])?.registerType;
  if (type === "b") return "u8";
  if (type === "w") return "u16";
  // Port data is at most 32 bits wide.
  if (type === "z") return operandSize === 2 ? "u16" : "u32";
  if (type === "y") return operandSize === 8 ? "u64" : "u32";
  return operandSize === 2 ? "u16" : operandSize === 4 ? "u32" : "u64";
}

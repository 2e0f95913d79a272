/**
 * The instruction forms that are run on silicon: every row of the instruction table, by operand size, register or
 * memory operand, vector length, and LOCK or repeat prefix, but for the rows that depend on more than registers and memory.
 */
import { PREFIX_66, PREFIX_NP } from "../../emulator/isa/format.ts";
import type { Method, OperandType } from "../../emulator/isa/operands.ts";
import { ROWS, type Row } from "../../emulator/isa/table.ts";
import { MODE_16, MODE_64, type Mode } from "./environment.ts";

export type SizePrefix = "" | "66" | "W";
export type GroupPrefix = "" | "LOCK" | "REP" | "REPNE";

export interface Form {
  /** Stable name; the corpus and the random sequence of the form's cases go by it. */
  readonly key: string;
  readonly row: Row;
  readonly mode: Mode;
  readonly size: SizePrefix;
  readonly operand: "" | "reg" | "mem";
  readonly group: GroupPrefix;
  /** VEX.L = 1. */
  readonly is256: boolean;
}

/** CPUID features whose rows are integer instructions (SSE and SSE2 bring fences, prefetches and MOVNTI). */
const FEATURES = new Set(
  "BASE CMOV CX8 CX16 PREFETCHW LZCNT BMI1 BMI2 POPCNT MOVBE ADX SSE4_2 CLFLUSH CLFLUSHOPT CLWB SSE SSE2 INVPCID".split(
    " ",
  ),
);
const METHODS = new Set<Method>([
  "E",
  "G",
  "Z",
  "B",
  "M",
  "I",
  "J",
  "O",
  "X",
  "Y",
  "BXAL",
  "1",
  "rAX",
  "rCX",
  "rDX",
  "R",
  "C",
  "D",
] satisfies Method[]);

/** Rows left out, by mnemonic, and why. */
const EXCLUDED: ReadonlyMap<string, string> = new Map(
  (
    [
      ["depends on the processor or the moment", "CPUID RDTSC RDPMC XGETBV"],
      [
        "depends on descriptor tables or selectors",
        "LAR LSL VERR VERW SLDT STR SMSW SGDT SIDT LES LDS LSS LFS LGS",
      ],
      [
        "leaves the code segment or enters the kernel",
        "CALLF JMPF RETF IRET INT SYSCALL SYSENTER SYSEXIT SYSRET",
      ],
      ["raises the same vector as the harness's single step", "INT1"],
      ["accesses vector or x87 state: a media form", "LDMXCSR STMXCSR FWAIT"],
      ["undefined outside system-management mode", "RSM"],
      ["privileged", "XSAVES XRSTORS MONITOR MWAIT"],
      ["needs an operating system that uses protection keys", "RDPKRU WRPKRU"],
    ] as const
  ).flatMap(([reason, names]) => names.split(" ").map((name) => [name, reason] as const)),
);

/** Features of the rows that work on x87, MMX, SSE or AVX state. */
const MEDIA_FEATURES = new Set(
  "X87 MMX SSE SSE2 SSE3 SSSE3 SSE4_1 SSE4_2 AES PCLMULQDQ SHA AVX AVX2 FMA F16C AVX+AES AVX+PCLMULQDQ".split(
    " ",
  ),
);
/** Media rows left out, by mnemonic, and why. */
const MEDIA_EXCLUDED: ReadonlyMap<string, string> = new Map(
  ([["raises the pending exceptions of the instruction before", "FWAIT"]] as const).flatMap(
    ([reason, names]) => names.split(" ").map((name) => [name, reason] as const),
  ),
);

/** Why a row is not run on silicon; for rows that are neither recorded as integer nor as media rows. */
export function reasonNotRecorded(row: Row): string {
  const listed = EXCLUDED.get(row.mnemonic) ?? MEDIA_EXCLUDED.get(row.mnemonic);
  if (listed !== undefined) return listed;
  if (row.attributes.has("priv")) return "privileged";
  if (row.operands.some(({ method }) => ["S", "ES", "CS", "SS", "DS", "FS", "GS"].includes(method)))
    return "loads or stores a segment register";
  return "acts on the system or the moment, not on registers and memory alone";
}

/** Whether the row is a media row that is run on silicon. */
export function isMediaRecorded(row: Row): boolean {
  return MEDIA_FEATURES.has(row.feature) && !isRecorded(row) && !MEDIA_EXCLUDED.has(row.mnemonic);
}

/** Types whose size follows the operand size. */
const SIZED_TYPES = new Set<OperandType>(["v", "z", "y", "a"]);
/** Instructions without such an operand whose effect follows the operand size. */
const SIZED_MNEMONICS = new Set(
  "CBW CWD PUSHA POPA PUSHF POPF LEAVE ENTER RET CALL JMP FXSAVE FXRSTOR XSAVE XSAVEOPT XSAVEC XRSTOR".split(
    " ",
  ),
);

const isSized = (row: Row): boolean =>
  SIZED_MNEMONICS.has(row.mnemonic) ||
  row.operands.some(
    ({ registerType, memoryType }) => SIZED_TYPES.has(registerType) || SIZED_TYPES.has(memoryType),
  );

/** Whether the row is run on silicon at all. */
export function isRecorded(row: Row): boolean {
  return (
    FEATURES.has(row.feature) &&
    !EXCLUDED.has(row.mnemonic) &&
    row.operands.every(({ method }) => METHODS.has(method))
  );
}

function sizes(row: Row, mode: Mode): SizePrefix[] {
  if (!isSized(row)) return [""];
  // SDM Vol. 2, "BSWAP": undefined for a 16-bit operand.
  if (row.mnemonic === "BSWAP" && mode === MODE_16) return ["66"];
  const result: SizePrefix[] = [""];
  const isFixed64 = mode === MODE_64 && row.attributes.has("f64");
  const takes66 =
    !row.hasPrefixColumn || row.prefixes === (PREFIX_NP | PREFIX_66) || (row.prefixes & PREFIX_66) === 0;
  const isVex = row.map >= 4;
  const isNpOnly = row.hasPrefixColumn && row.prefixes === PREFIX_NP;
  if (takes66 && !isVex && !isNpOnly && !isFixed64 && row.mnemonic !== "BSWAP") result.push("66");
  if (mode === MODE_64 && !isFixed64 && !row.attributes.has("d64")) result.push("W");
  // A row that asks for REX.W has no other form.
  return row.w === 2 ? ["W"] : result;
}

function operands(row: Row): Form["operand"][] {
  if (!row.modrm) return [""];
  // MOV to and from control and debug registers takes any mod as a register.
  if ((row.modrm.mask & 0xc0) !== 0 || row.operands.some(({ method }) => method === "R")) return ["reg"];
  return row.modrm.memoryOnly ? ["mem"] : ["reg", "mem"];
}

function groups(row: Row, operand: Form["operand"]): GroupPrefix[] {
  if (row.attributes.has("lock") && operand === "mem") return ["", "LOCK"];
  if (/^(MOVS|STOS|LODS)$/.test(row.mnemonic)) return ["", "REP"];
  if (/^(CMPS|SCAS)$/.test(row.mnemonic)) return ["", "REP", "REPNE"];
  return [""];
}

const IMAGE_MNEMONICS = new Set("FXSAVE FXRSTOR XSAVE XSAVEOPT XSAVEC XRSTOR".split(" "));

/** Whether the row saves or restores an image of media state. */
export function isImageRecorded(row: Row): boolean {
  return IMAGE_MNEMONICS.has(row.mnemonic);
}

/** All forms of these rows; with REX.W the x87 pointers are 64 bits wide. */
export function imageFormsOf(mode: Mode): Form[] {
  return makeForms(mode, ROWS.filter(isImageRecorded), () => [false]);
}

/** Vector lengths of a media row: both where it takes both. */
function lengths(row: Row): boolean[] {
  if (row.map < 4) return [false];
  return row.l === 3 ? [false, true] : [row.l === 2];
}

/** All integer forms of a mode, in the table's order. */
export function formsOf(mode: Mode): Form[] {
  return makeForms(mode, ROWS.filter(isRecorded), () => [false]);
}

/** All media forms of a mode, in the table's order. */
export function mediaFormsOf(mode: Mode): Form[] {
  return makeForms(mode, ROWS.filter(isMediaRecorded), lengths);
}

function makeForms(mode: Mode, rows: readonly Row[], lengthsOf: (row: Row) => boolean[]): Form[] {
  const forms: Form[] = [];
  for (const row of rows) {
    if (row.attributes.has(mode === MODE_64 ? "i64" : "o64")) continue;
    if (mode !== MODE_64 && row.w === 2 && row.map < 4) continue;
    for (const size of sizes(row, mode))
      for (const operand of operands(row))
        for (const group of groups(row, operand))
          for (const is256 of lengthsOf(row)) {
            const key = [row.id, size, operand, group, is256 && row.l === 3 ? "L1" : ""]
              .filter(Boolean)
              .join(" ");
            forms.push({ key, row, mode, size, operand, group, is256 });
          }
  }
  return forms;
}

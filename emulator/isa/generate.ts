/**
 * Generates the decoder's AssemblyScript tables from the instruction table.
 *
 * Lookup goes opcode -> list of candidates (-> for opcodes that depend on ModR/M, one of sixteen lists, chosen by the reg
 * field and by register or memory form) -> first candidate whose conditions hold.
 */
import { MAPS, PREFIX_66, PREFIX_NP, type Attribute, type Row } from "./format.ts";
import { METHODS, TYPES, type OperandCode } from "./operands.ts";
import { ROWS } from "./table.ts";

/** Static properties of a row, in its first word. The low bits are for the decoder alone. */
const ROW_FLAGS = [
  "D64",
  "F64",
  "LOCK",
  "PREFIX", // has mandatory prefixes
  "VVVV", // uses VEX.vvvv
  "NO_MEMORY", // mod is ignored: r/m always names a register
  "SIZE_66", // 66H is allowed beside NP and still means operand size: MOVBE, RDRAND
  "BRANCH",
  "PRIVILEGED",
  "PROTECTED",
  "STRING",
] as const;

function rowFlags(row: Row): number {
  const methods = row.operands.map((operand) => operand.method);
  const has = (attribute: Attribute): boolean => row.attributes.has(attribute);
  const on: Record<(typeof ROW_FLAGS)[number], boolean> = {
    D64: has("d64"),
    F64: has("f64"),
    LOCK: has("lock"),
    PREFIX: row.hasPrefixColumn,
    VVVV: methods.includes("H") || methods.includes("B"),
    NO_MEMORY: methods.includes("R") && (methods.includes("C") || methods.includes("D")),
    SIZE_66: row.hasPrefixColumn && row.prefixes === (PREFIX_NP | PREFIX_66),
    BRANCH: has("branch"),
    PRIVILEGED: has("priv"),
    PROTECTED: has("prot"),
    STRING: methods.includes("X") || methods.includes("Y"),
  };
  return ROW_FLAGS.reduce((bits, name, index) => bits | (on[name] ? 1 << index : 0), 0);
}

/** An operand code in one word: method, type in a register, type in memory. */
function operandWord(code: OperandCode | undefined): number {
  if (!code) return 0;
  return (
    METHODS.indexOf(code.method) |
    (TYPES.indexOf(code.registerType) << 8) |
    (TYPES.indexOf(code.memoryType) << 16)
  );
}

/** Candidate flags beside the three mode bits. */
const MEMORY_ONLY = 8;
const NO_REX_B = 16;
const LAST = 32;

/** Two words: row number, encoding conditions, flags; ModR/M mask and value. */
function candidateWords(row: Row, last: boolean): [number, number] {
  const modes = row.attributes.has("i64") ? 3 : row.attributes.has("o64") ? 4 : 7;
  const encoding = row.prefixes | (row.w << 4) | (row.l << 6);
  const flags =
    modes |
    (row.modrm?.memoryOnly === true ? MEMORY_ONLY : 0) |
    (row.attributes.has("nob") ? NO_REX_B : 0) |
    (last ? LAST : 0);
  return [
    (ROWS.indexOf(row) | (encoding << 16) | (flags << 24)) >>> 0,
    (row.modrm?.mask ?? 0) | ((row.modrm?.value ?? 0) << 8),
  ];
}

const bitCount = (value: number): number => value.toString(2).replaceAll("0", "").length;

/** More conditions first, so that `F3 0F BC` is tried before `0F BC`, and an exact ModR/M byte before `/r`. */
function specificity(row: Row): number {
  const conditions = bitCount(row.modrm?.mask ?? 0) + (row.modrm?.memoryOnly === true ? 1 : 0);
  return (
    conditions +
    8 -
    bitCount(row.prefixes) -
    bitCount(row.w) -
    bitCount(row.l) +
    (row.attributes.has("nob") ? 1 : 0)
  );
}

/** Entry of the opcode index: number of a list or group, and these bits. 0: undefined opcode. */
const ENTRY_MODRM = 0x4000;
const ENTRY_GROUP = 0x8000;

interface LookupTables {
  readonly index: number[];
  readonly groups: number[];
  readonly candidates: number[];
}

function lookupTables(): LookupTables {
  const index: number[] = [];
  const groups: number[] = Array.from({ length: 16 }, () => 0);
  // List 0 is "nothing matches": row number FFFFH cannot match as its conditions allow no prefix.
  const candidates: number[] = [(0xffff | (LAST << 24)) >>> 0, 0];
  const lists = new Map<string, number>();
  const listOf = (members: Row[]): number => {
    if (members.length === 0) return 0;
    const key = members.map((row) => row.id).join();
    const known = lists.get(key);
    if (known !== undefined) return known;
    const start = candidates.length / 2;
    members.forEach((row, i) => candidates.push(...candidateWords(row, i === members.length - 1)));
    lists.set(key, start);
    return start;
  };
  for (const [map, name] of MAPS.entries()) {
    for (let opcode = 0; opcode < 256; opcode++) {
      const members = ROWS.filter(
        (row) => row.map === map && opcode >= row.opcode && opcode < row.opcode + row.opcodeCount,
      ).sort((a, b) => specificity(b) - specificity(a));
      if (members.length === 0) {
        index.push(0);
        continue;
      }
      const hasModrm = members[0]!.modrm !== undefined;
      if (members.some((row) => (row.modrm !== undefined) !== hasModrm))
        throw new Error(`${name} ${opcode.toString(16)}: rows disagree on ModR/M`);
      if (members.every((row) => row.modrm === undefined || row.modrm.mask === 0)) {
        index.push(listOf(members) | (hasModrm ? ENTRY_MODRM : 0));
        continue;
      }
      const group = groups.length / 16;
      for (let cell = 0; cell < 16; cell++) groups.push(listOf(members.filter((row) => mayMatch(row, cell))));
      index.push(group | ENTRY_MODRM | ENTRY_GROUP);
    }
  }
  if (candidates.length / 2 >= ENTRY_MODRM) throw new Error("too many candidates for the opcode index");
  return { index, groups, candidates };
}

/** Whether a row can match in a cell: reg field in bits 2:0, register form in bit 3. */
function mayMatch(row: Row, cell: number): boolean {
  const { mask, value, memoryOnly } = row.modrm!;
  const registerForm = cell >= 8;
  if (registerForm && memoryOnly) return false;
  // A mask that covers mod asks for mod = 3.
  if (!registerForm && (mask & 0xc0) !== 0) return false;
  return (mask & 0x38) === 0 || (value & 0x38) >> 3 === (cell & 7);
}

function data(name: string, type: "u16" | "u32", comment: string, values: readonly number[]): string {
  const lines: string[] = [];
  for (let i = 0; i < values.length; i += 12)
    lines.push(
      "  " +
        values
          .slice(i, i + 12)
          .map((value) => `0x${value.toString(16)}`)
          .join(", ") +
        ",",
    );
  return `/** ${comment} */\nexport const ${name}: usize = memory.data<${type}>([\n${lines.join("\n")}\n]);\n`;
}

/** The text of `emulator/core/decode/tables.generated.ts`, without its first line. */
export function decoderTables(): string {
  const { index, groups, candidates } = lookupTables();
  const rowWords = ROWS.flatMap((row) => [
    rowFlags(row),
    ...[0, 1, 2, 3].map((i) => operandWord(row.operands[i])),
  ]);
  for (const row of ROWS) if (row.operands.length > 4) throw new Error(`${row.id}: more than four operands`);
  const constants = [
    `export const ROW_COUNT: u32 = ${ROWS.length};`,
    ...ROW_FLAGS.map((name, i) => `export const ROW_${name}: u32 = ${1 << i};`),
    `export const CANDIDATE_MEMORY_ONLY: u32 = ${MEMORY_ONLY};`,
    `export const CANDIDATE_NO_REX_B: u32 = ${NO_REX_B};`,
    `export const CANDIDATE_LAST: u32 = ${LAST};`,
    `export const ENTRY_MODRM: u32 = ${ENTRY_MODRM};`,
    `export const ENTRY_GROUP: u32 = ${ENTRY_GROUP};`,
    ...METHODS.map((name, i) => `export const METHOD_${name.toUpperCase()}: u32 = ${i};`),
    ...TYPES.map((name, i) => `export const TYPE_${name.toUpperCase()}: u32 = ${i};`),
  ];
  return [
    "// Opcode maps, rows and operand codes of the instruction table, as static data.\n",
    constants.join("\n") + "\n",
    data(
      "OPCODE_INDEX",
      "u16",
      "By map * 256 + opcode: a candidate list, or with ENTRY_GROUP a group.",
      index,
    ),
    data("GROUPS", "u16", "Sixteen candidate lists a group: reg field, plus 8 for register forms.", groups),
    data(
      "CANDIDATES",
      "u32",
      "Two words a candidate: row | prefixes, W, L << 16 | flags << 24; ModR/M mask | value << 8.",
      candidates,
    ),
    data("ROW_DATA", "u32", "Five words a row: ROW_ flags, four operand codes.", rowWords),
  ].join("\n");
}

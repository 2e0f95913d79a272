/**
 * The textual form of the instruction table, and its parser.
 *
 * One line is one opcode form, written close to the opcode maps and the notation of the Intel SDM Vol. 2, Appendix A
 * and "Interpreting the Instruction Reference Pages":
 *
 *     opcode | mnemonic operands | attributes
 *
 * **opcode**: `[prefix] [REX.W] [0F [38|3A]] XX[+r] [modrm]`, or `VEX[.128|.256|.L0|.L1][.NP|.66|.F3|.F2].0F[38|3A][.W0|.W1]
 * XX [modrm]`.
 * - prefix: `NP` none of 66, F3, F2; `66`, `F3`, `F2` that mandatory prefix; several joined by `/`. No prefix column:
 *   any prefix is taken (66H then means operand size, F3H/F2H repeat or nothing). F3H and F2H outrank 66H, and of
 *   those two the last one in the instruction counts.
 * - `XX+r`: the low three bits of the opcode are a register.
 * - modrm: `/r` any; `/0`-`/7` that reg field; `:m` memory forms only, `:r` register forms only; `XX` exactly that byte;
 *   `XX+i` the eight bytes from XX.
 * - A VEX row without a length takes both, without W ignores W.
 *
 * **operands**: `operands.ts`.
 *
 * **attributes**: `i64` undefined in 64-bit mode; `o64` only in 64-bit mode; `d64` operand size defaults to 64 bits in 64-bit
 * mode and cannot be 32; `f64` operand size is 64 bits in 64-bit mode whatever the prefixes; `lock` LOCK is allowed
 * when operand 1 is in memory; `prot` #UD in real-address and virtual-8086 mode; `priv` #GP(0)
 * above CPL 0 before any other check but `prot` and the CPUID feature;
 * `branch` may change the instruction pointer; `nob` does not match with REX.B.
 *
 * What the interpreter does for a row is said in `handlers.ts`.
 */
import { operandCode, type OperandCode } from "./operands.ts";

/** Opcode maps in decoder order. The VEX maps are separate: no legacy row is ever reached through VEX. */
export const MAPS = ["", "0F", "0F38", "0F3A", "VEX.0F", "VEX.0F38", "VEX.0F3A"] as const;

/** Bits of `Row.prefixes`. */
export const PREFIX_NP = 1;
export const PREFIX_66 = 2;
export const PREFIX_F3 = 4;
export const PREFIX_F2 = 8;
const PREFIX_ANY = 15;

/** Bits of `Row.w` and `Row.l`: which values of REX.W/VEX.W and VEX.L the row takes. */
const TAKES_0 = 1;
const TAKES_1 = 2;
const TAKES_ANY = 3;

const ATTRIBUTES = ["i64", "o64", "d64", "f64", "lock", "prot", "priv", "branch", "nob"] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

/** A condition on the ModR/M byte: `(modrm & mask) === value`, and memory forms only if `memoryOnly`. */
export interface ModrmCondition {
  readonly mask: number;
  readonly value: number;
  readonly memoryOnly: boolean;
}

/** One opcode form. */
export interface Row {
  /** Stable name: normalized opcode column and mnemonic. Unique. */
  readonly id: string;
  /** Index into `MAPS`. */
  readonly map: number;
  /** First opcode byte of the row; `opcodeCount` (1 or 8) opcodes from there belong to it. */
  readonly opcode: number;
  readonly opcodeCount: 1 | 8;
  readonly prefixes: number;
  /** True when the row names mandatory prefixes, so that they do not act as repeat or operand-size prefixes. */
  readonly hasPrefixColumn: boolean;
  readonly w: number;
  readonly l: number;
  readonly modrm: ModrmCondition | undefined;
  readonly mnemonic: string;
  readonly operands: readonly OperandCode[];
  readonly attributes: ReadonlySet<Attribute>;
  /** The CPUID feature that brings the instruction; "BASE" for what every x86-64 processor has. */
  readonly feature: string;
}

/** Parses a block of the table whose rows all belong to one CPUID feature. Throws on a malformed line. */
export function rows(feature: string, text: string): Row[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      try {
        return parseRow(feature, line);
      } catch (error) {
        throw new Error(`instruction table, "${line.trim()}"`, { cause: error });
      }
    });
}

function parseRow(feature: string, line: string): Row {
  const columns = line.split("|").map((column) => column.trim());
  const [opcodeText, instruction, attributeText = ""] = columns;
  if (columns.length > 3 || !opcodeText || !instruction) throw new Error("expected two or three columns");
  const [mnemonic, operandText = ""] = instruction.split(/\s+/, 2);
  const opcode = parseOpcode(opcodeText.split(/\s+/));
  return {
    ...opcode,
    id: `${opcodeText.replace(/\s+/g, " ")} ${mnemonic!}`,
    mnemonic: mnemonic!,
    operands: operandText === "" ? [] : operandText.split(",").map(operandCode),
    attributes: new Set(attributeText.split(/\s+/).filter(Boolean).map(parseAttribute)),
    feature,
  };
}

function parseAttribute(text: string): Attribute {
  const attribute = ATTRIBUTES.find((known) => known === text);
  if (attribute === undefined) throw new Error(`unknown attribute ${text}`);
  return attribute;
}

type OpcodePart = Pick<
  Row,
  "map" | "opcode" | "opcodeCount" | "prefixes" | "hasPrefixColumn" | "w" | "l" | "modrm"
>;

function parseOpcode(tokens: string[]): OpcodePart {
  const rest = [...tokens];
  const part = rest[0]!.startsWith("VEX") ? parseVex(rest.shift()!) : parseLegacy(rest);
  const opcode = /^([0-9A-F]{2})(\+r)?$/.exec(rest.shift() ?? "");
  if (!opcode) throw new Error("no opcode byte");
  const modrm = rest.length > 0 ? parseModrm(rest.shift()!) : undefined;
  if (rest.length > 0) throw new Error(`unexpected ${rest.join(" ")}`);
  return { ...part, opcode: parseInt(opcode[1]!, 16), opcodeCount: opcode[2] ? 8 : 1, modrm };
}

type EncodingPart = Omit<OpcodePart, "opcode" | "opcodeCount" | "modrm">;

const PREFIX_BITS: Readonly<Record<string, number>> = {
  NP: PREFIX_NP,
  "66": PREFIX_66,
  F3: PREFIX_F3,
  F2: PREFIX_F2,
};

function parseLegacy(tokens: string[]): EncodingPart {
  let prefixes = 0;
  if (tokens[0]!.split("/").every((name) => name in PREFIX_BITS)) {
    for (const name of tokens.shift()!.split("/")) prefixes |= PREFIX_BITS[name]!;
  }
  const takes = (token: string): boolean => tokens[0] === token && tokens.shift() !== undefined;
  const rexW = takes("REX.W");
  let map = 0;
  if (takes("0F")) map = takes("38") ? 2 : takes("3A") ? 3 : 1;
  return {
    map,
    prefixes: prefixes === 0 ? PREFIX_ANY : prefixes,
    hasPrefixColumn: prefixes !== 0,
    w: rexW ? TAKES_1 : TAKES_ANY,
    l: TAKES_ANY,
  };
}

function parseVex(text: string): EncodingPart {
  let prefixes = PREFIX_NP;
  let l = TAKES_ANY;
  let w = TAKES_ANY;
  let map = -1;
  for (const item of text.split(".").slice(1)) {
    if (item in PREFIX_BITS) prefixes = PREFIX_BITS[item]!;
    else if (item === "128" || item === "L0") l = TAKES_0;
    else if (item === "256" || item === "L1") l = TAKES_1;
    else if (item === "W0") w = TAKES_0;
    else if (item === "W1") w = TAKES_1;
    else if (MAPS.indexOf(`VEX.${item}` as (typeof MAPS)[number]) >= 0)
      map = MAPS.indexOf(`VEX.${item}` as (typeof MAPS)[number]);
    else throw new Error(`unknown VEX item ${item}`);
  }
  if (map < 0) throw new Error("VEX row without a map");
  return { map, prefixes, hasPrefixColumn: true, w, l };
}

function parseModrm(text: string): ModrmCondition {
  const form = /^\/([r0-7])(:[mr])?$/.exec(text);
  if (form) {
    const digit = form[1] === "r" ? undefined : Number(form[1]);
    const registerOnly = form[2] === ":r";
    return {
      mask: (digit === undefined ? 0 : 0x38) | (registerOnly ? 0xc0 : 0),
      value: ((digit ?? 0) << 3) | (registerOnly ? 0xc0 : 0),
      memoryOnly: form[2] === ":m",
    };
  }
  const exact = /^([0-9A-F]{2})(\+i)?$/.exec(text);
  if (!exact) throw new Error(`unknown ModR/M condition ${text}`);
  return { mask: exact[2] ? 0xf8 : 0xff, value: parseInt(exact[1]!, 16), memoryOnly: false };
}

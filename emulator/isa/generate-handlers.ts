/** Generates the interpreter's handler functions and the table that binds rows to them. */
import { handlerBody } from "./handler-shape.ts";
import { ruleOf, typeAt } from "./handlers.ts";
import type { Rule } from "./rule.ts";
import { TABLE_FEATURES, fallbackRow } from "./features.ts";
import { mediaKinds } from "./media-kinds.ts";
import type { Row } from "./format.ts";
import { ROWS } from "./table.ts";

/** Imports of the generated file, by module. */
const IMPORTS: Readonly<Record<string, string>> = {
  "../state/cpu": "CPU, CS, DS, ES, FS, GS, RDX, SS, cpu, getGpr",
  "../state/flags": "Flags",
  "../state/mode": "segSelector",
  "../spec/architecture": "FLAG_DF",
  "../mmu/linear": "Access, Linear, commitSlow",
  "../mmu/segmented": "Address",
  "../interrupts/raise": "faultPending",
  "../records/chain": "Chain",
  "../env": "next",
  "../records/record": "RECORD_SIZE, R_EXTRA",
  "../layout.generated": "CPU_SCRATCH, CPU_VECTOR",
};

const FIRST_VEX_MAP = 4;

/** The body for a form. The variant is LOCK in legacy rows, VEX.L = 1 in VEX rows that take both lengths. */
function bodyOf(row: Row, rule: Rule | undefined, isMemory: boolean, isVariant: boolean): string | undefined {
  if (row.map >= FIRST_VEX_MAP && isVariant) return isMemory ? rule?.memory256 : rule?.register256;
  if (isVariant && isMemory) return rule?.locked ?? rule?.memory;
  return isMemory ? rule?.memory : rule?.register;
}

/** Media instructions fault when their state is not enabled, before anything else. */
function gate(kinds: number): string {
  return kinds === 0
    ? ""
    : `if ((cpu.mediaFaults & ${kinds}) != 0) { cpu.record = record; mediaFault(${kinds}); return record; } `;
}

const NO_ROW = 0xffff;

function fallbackNumber(row: Row): number {
  const older = fallbackRow(row);
  return older === undefined ? NO_ROW : ROWS.indexOf(older);
}

/** Operand that a record's source field shows when it is a register: the first but for VEX.vvvv, which has its own field. */
function sourceOperand(row: Row): number {
  if (row.map < FIRST_VEX_MAP) return 1;
  const at = row.operands.findIndex(
    (operand, i) => i > 0 && operand.method !== "H" && operand.method !== "B",
  );
  return at < 0 ? 1 : at;
}

/** The text of `emulator/core/instructions/handlers.generated.ts`, without its first line. */
export function handlerFunctions(): string {
  const bodies = new Map<string, number>();
  const names: string[] = ["undefinedInstruction", "blockEnd"];
  const functions: string[] = [];
  const table: number[] = [];
  const ends: number[] = [];
  const handler = (label: string, body: string, type: string, ends: boolean, media: number): number => {
    // With the type fixed, equal bodies are one function.
    const text = gate(media) + handlerBody(body, ends).replaceAll(/\bT\b/g, type);
    const known = bodies.get(text);
    if (known !== undefined) return known;
    const name = `h${names.length}_${label}_${type}`;
    names.push(name);
    bodies.set(text, names.length - 1);
    functions.push(`function ${name}(record: usize): usize { ${text} }`);
    return names.length - 1;
  };
  for (const row of ROWS) {
    const rule = ruleOf(row);
    ends.push(rule === undefined || rule.ends === true ? 1 : 0);
    const label = row.mnemonic.toLowerCase();
    const media = mediaKinds(row);
    for (const isVariant of [false, true])
      for (const isMemory of [false, true])
        for (const size of [2, 4, 8] as const) {
          const body = bodyOf(row, rule, isMemory, isVariant);
          const type = typeAt(row, size);
          table.push(
            body === undefined
              ? 0
              : handler(
                  `${label}_${isMemory ? "m" : "r"}${isVariant ? (row.map >= FIRST_VEX_MAP ? "_256" : "_lock") : ""}`,
                  body,
                  type,
                  rule?.ends === true,
                  media,
                ),
          );
        }
  }
  const lines = (values: readonly number[]): string => {
    const out: string[] = [];
    for (let i = 0; i < values.length; i += 24) out.push(`  ${values.slice(i, i + 24).join(", ")},`);
    return out.join("\n");
  };
  return [
    "// The interpreter's handlers, one function per distinct body of the rules in emulator/isa/handlers.ts.",
    ...Object.entries(IMPORTS).map(([from, what]) => `import { ${what} } from "${from}";`),
    `import { ${importedNames(functions).join(", ")} } from "./all";`,
    "",
    "/** Rows without a rule, and forms that a rule does not have. */",
    "function undefinedInstruction(record: usize): usize { ud(record); return record; }",
    "",
    "/** Stands behind a block's last record: the one before it was the last to be executed. */",
    "function blockEnd(record: usize): usize { return record - RECORD_SIZE; }",
    ...functions,
    "",
    `export const HANDLER_FUNCTIONS: StaticArray<(record: usize) => usize> = [${names.join(", ")}];`,
    "",
    "/** Place of `blockEnd` in HANDLER_FUNCTIONS. */",
    "export const HANDLER_BLOCK_END: usize = 1;",
    "",
    "/** By row × 12 + (LOCK or VEX.L) × 6 + memory × 3 + size (2, 4, 8 → 0, 1, 2): index into HANDLER_FUNCTIONS. */",
    `export const ROW_HANDLERS: usize = memory.data<u16>([\n${lines(table)}\n]);`,
    "",
    "/** By row: number of the operand that a record's source field shows. */",
    `export const ROW_SOURCES: usize = memory.data<u8>([\n${lines(ROWS.map(sourceOperand))}\n]);`,
    "",
    "/** By row: bit of `Cpu.features`. */",
    `export const ROW_FEATURES: usize = memory.data<u8>([\n${lines(ROWS.map((row) => TABLE_FEATURES.indexOf(row.feature)))}\n]);`,
    "",
    "/** By row: the row that its encoding is without that feature, or NO_ROW. */",
    `export const NO_ROW: u32 = ${NO_ROW};`,
    `export const ROW_FALLBACKS: usize = memory.data<u16>([\n${lines(ROWS.map(fallbackNumber))}\n]);`,
    "",
    "/** By row: 1 when the instruction ends its block. */",
    `export const ROW_ENDS: usize = memory.data<u8>([\n${lines(ends)}\n]);`,
    "",
  ].join("\n");
}

/** Function and class names that the bodies use beyond IMPORTS and AssemblyScript's builtins. */
function importedNames(functions: readonly string[]): string[] {
  const known = new Set([
    ...Object.values(IMPORTS).join(", ").split(", "),
    "load",
    "store",
    "sizeof",
    "atomic",
    "usize",
    "function",
    "if",
    "for",
    "return",
    "v128",
    "i8x16",
    "i16x8",
    "i32x4",
    "i64x2",
    "f32x4",
    "f64x2",
  ]);
  const names = new Set<string>(["ud"]);
  for (const text of functions) {
    const body = text.slice(text.indexOf("{"));
    for (const match of body.matchAll(/(?<![.\w])([A-Za-z_]\w*)(?=(?:<[a-z0-9, ]+>)?[(.])/g))
      if (!known.has(match[1]!)) names.add(match[1]!);
  }
  return [...names].sort();
}

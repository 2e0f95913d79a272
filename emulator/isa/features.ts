/** The instruction table's features in a fixed order, and what an encoding is on a processor without its feature. */
import type { Row } from "./format.ts";
import { ROWS } from "./table.ts";

/** The order is the numbering of the bits in `Cpu.features`. */
export const TABLE_FEATURES: readonly string[] = [...new Set(ROWS.map((row) => row.feature))].sort();

/** What a row's encoding does on a processor without the row's feature: another row, or undefined for #UD. */
export function fallbackRow(row: Row): Row | undefined {
  const older = { LZCNT: "BSR", TZCNT: "BSF" }[row.mnemonic];
  return older === undefined ? undefined : ROWS.find((candidate) => candidate.mnemonic === older);
}

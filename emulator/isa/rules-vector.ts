/** Rules of the MMX, SSE and AVX rows. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";

/** The rule of a media row, or undefined: the row raises #UD. */
export function vectorRule(row: Row): Rule | undefined {
  return RULES[row.mnemonic]?.(row);
}

const RULES: Readonly<Record<string, (row: Row) => Rule>> = {};

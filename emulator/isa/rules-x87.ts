/** Rules of the x87 rows. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";

/** The rule of a row of feature X87, or undefined: the row raises #UD. */
export function x87Rule(row: Row): Rule | undefined {
  return RULES[row.mnemonic]?.(row);
}

const RULES: Readonly<Record<string, (row: Row) => Rule>> = {};

/** Rules of the MMX, SSE, AVX and BMI rows. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";
import { bmiRule } from "./rules-bmi.ts";
import { floatRule } from "./rules-float.ts";
import { integerVectorRule } from "./rules-integer-vector.ts";
import { vectorMoveRule } from "./rules-vector-move.ts";
import { isVex } from "./vector-forms.ts";

/** The rule of a media row, or undefined: the row raises #UD. */
export function vectorRule(row: Row): Rule | undefined {
  const bmi = bmiRule(row);
  if (bmi) return bmi;
  const name = isVex(row) ? row.mnemonic.replace(/^V/, "") : row.mnemonic;
  return integerVectorRule(row, name) ?? vectorMoveRule(row, name) ?? floatRule(row, name);
}

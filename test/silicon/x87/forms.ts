/** Which x87 rows are recorded: all whose results are numbers, flags or words, and not images with addresses in them. */
import type { Row } from "../../../emulator/isa/format.ts";
import { X87_ROWS } from "../../../emulator/isa/x87.ts";
import type { X87Form } from "./case.ts";

/** Images; their formats have tests of their own. */
const IMAGES = new Set(["FNSTENV", "FLDENV", "FNSAVE", "FRSTOR"]);

/** Results within an error bound, where processors differ. */
export const TRANSCENDENTAL: ReadonlySet<string> = new Set([
  "F2XM1",
  "FYL2X",
  "FYL2XP1",
  "FPTAN",
  "FPATAN",
  "FSIN",
  "FCOS",
  "FSINCOS",
]);

const isExact = (row: Row): boolean => !IMAGES.has(row.mnemonic) && !TRANSCENDENTAL.has(row.mnemonic);

const form = (row: Row): X87Form => ({ row, key: row.id });

/** Forms with exactly one right outcome. */
export const EXACT_FORMS: readonly X87Form[] = X87_ROWS.filter(isExact).map(form);

/** Forms whose results are approximations. */
export const TRANSCENDENTAL_FORMS: readonly X87Form[] = X87_ROWS.filter((row) =>
  TRANSCENDENTAL.has(row.mnemonic),
).map(form);

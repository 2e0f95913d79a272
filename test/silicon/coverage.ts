/** The table of docs/coverage.md: opcode forms by mode, with their recorded silicon cases, and the CPU models that have them. */
import { readFileSync } from "node:fs";
import { CPU_MODELS, claimedFeatures } from "../../emulator/host/cpu-models.ts";
import { tableFeatures } from "../../emulator/host/instruction-sets.ts";
import { ruleOf } from "../../emulator/isa/handlers.ts";
import { ROWS, type Row } from "../../emulator/isa/table.ts";
import { decodeHeader } from "./corpus.ts";
import { MODE_16, MODE_64, MODE_COMPATIBILITY, type Mode } from "./environment.ts";
import { reasonNotRecorded } from "./forms.ts";
import { corpusFile } from "./replay.ts";
import { SUITES } from "./suites.ts";
import { loadX87Corpus } from "./x87/corpus.ts";

const MODES: readonly Mode[] = [MODE_64, MODE_COMPATIBILITY, MODE_16];

/** Cases of every row, by mode. */
function countCases(): Map<string, Map<Mode, number>> {
  const counts = new Map<string, Map<Mode, number>>();
  const add = (id: string, mode: Mode, cases: number): void => {
    const row = counts.get(id) ?? new Map<Mode, number>();
    counts.set(id, row.set(mode, (row.get(mode) ?? 0) + cases));
  };
  for (const suite of SUITES) {
    const header = decodeHeader(readFileSync(corpusFile(suite)));
    const rowOf = new Map(suite.forms().map((form) => [form.key, form.row]));
    for (const key of header.forms) add(rowOf.get(key)!.id, suite.mode, header.casesPerForm);
  }
  for (const { form } of loadX87Corpus().cases) add(form.row.id, MODE_64, 1);
  return counts;
}

/** A row of the table, or what is missing in it. */
export interface Coverage {
  readonly row: Row;
  readonly isImplemented: boolean;
  /** Cases in 64-bit, compatibility and 16-bit protected mode. */
  readonly cases: readonly number[];
  /** Why there are none. */
  readonly reason: string;
  readonly models: readonly string[];
}

export function coverage(): Coverage[] {
  const counts = countCases();
  const sets = CPU_MODELS.map((model) => tableFeatures(claimedFeatures({ model, cpus: 1 })));
  return ROWS.map((row) => {
    const cases = MODES.map((mode) => counts.get(row.id)?.get(mode) ?? 0);
    const isImplemented = ruleOf(row) !== undefined;
    return {
      row,
      isImplemented,
      cases,
      reason: !isImplemented
        ? "not implemented: #UD"
        : cases.some((count) => count > 0)
          ? ""
          : reasonNotRecorded(row),
      models: isImplemented ? CPU_MODELS.filter((_, i) => sets[i]!.has(row.feature)) : [],
    };
  });
}

/** The text of docs/coverage.md. */
export function coverageText(): string {
  const rows = coverage();
  const implemented = rows.filter(({ isImplemented }) => isImplemented);
  const covered = implemented.filter(({ reason }) => reason === "");
  const total = rows.flatMap(({ cases }) => cases).reduce((sum, count) => sum + count, 0);
  const all = CPU_MODELS.join(" ");
  const lines = rows.map(({ row, cases, reason, models }) => {
    const counts = cases.map((count) => String(count || "-").padStart(7)).join("");
    const names = models.join(" ");
    const who = reason === "" ? (names === all ? "all" : names) : reason;
    return `${row.id.padEnd(44)}${row.feature.padEnd(14)}${counts}  ${who}`.trimEnd();
  });
  return [
    "# Coverage",
    "",
    "Every opcode form of the instruction table, the recorded cases of a real processor with which ours is compared in `npm test`",
    "(64-bit, compatibility, 16-bit protected mode; test/silicon/README.md), and the CPU models that execute it, or why there are no cases.",
    "`EXITLESS_UPDATE_GOLDEN=1 npx vitest run test/silicon/coverage.test.ts` writes this file.",
    "",
    `${rows.length} forms, ${implemented.length} implemented, ${covered.length} of them with cases on silicon, ${total} cases.`,
    "",
    "```",
    `${"form".padEnd(44)}${"feature".padEnd(14)}     64 compat     16  models, or why there are no cases`,
    ...lines,
    "```",
    "",
  ].join("\n");
}

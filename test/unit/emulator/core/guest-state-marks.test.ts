/**
 * Exits save guest state that is marked as changed (`Cpu.guestStateChanged`, vmx/exit.ts): every function of the core that writes
 * some of it must mark it, or call one that does.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const CORE = fileURLToPath(new URL("../../../../emulator/core", import.meta.url));

/** Assignments to what `saveChangedState` saves. */
const FIELDS =
  "cr0|cr3|cr4|efer|pat|debugCtl|sysenterCs|sysenterEsp|sysenterEip|gdtrBase|gdtrLimit|idtrBase|idtrLimit";
const WRITES = new RegExp(
  `cpu\\.(?:${FIELDS}) [|&]?= |(?:store<u\\d+>|v128\\.store|memory\\.copy)\\(\\s*CPU \\+ CPU_(?:SEG_\\w+|PDPTE|DR)\\b`,
);
const MARKS = /cpu\.guestStateChanged = 1|\b(?:setSegment|setSegBase|resetForInit)\(/;
/** Entry and exit copy the state themselves, and say so to the mark. */
const isEntryOrExit = (file: string): boolean => file.startsWith("vmx/");
/** Called only by `setMsr`, which marks for all MSRs. */
const MARKED_BY_CALLER = new Set(["writeEfer"]);

/** Top-level functions of a file: name and text. */
function functionsOf(text: string): { readonly name: string; readonly body: string }[] {
  return text
    .split(/^(?=(?:export )?function )/m)
    .filter((part) => /^(?:export )?function /.test(part))
    .map((body) => ({ name: /function (\w+)/.exec(body)![1]!, body }));
}

test("every writer of guest state that exits save marks it", () => {
  const files = readdirSync(CORE, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !file.endsWith(".generated.ts") && !isEntryOrExit(file),
  );
  const writers = files.flatMap((file) =>
    functionsOf(readFileSync(join(CORE, file), "utf8"))
      .filter(({ body }) => WRITES.test(body))
      .map(({ name, body }) => ({
        where: `${file} ${name}`,
        isMarked: MARKS.test(body) || MARKED_BY_CALLER.has(name),
      })),
  );
  expect(writers.map(({ where }) => where)).toEqual(
    expect.arrayContaining([
      "instructions/control-registers.ts writeCr0",
      "instructions/segment.ts loadTable",
    ]),
  );
  expect(writers.filter(({ isMarked }) => !isMarked).map(({ where }) => where)).toEqual([]);
});

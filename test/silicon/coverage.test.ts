import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { coverage, coverageText } from "./coverage.ts";

const FILE = "docs/coverage.md";

test("docs/coverage.md is what table, corpora and models give", () => {
  const text = coverageText();
  if (process.env.EXITLESS_UPDATE_GOLDEN === "1") writeFileSync(FILE, text);
  expect(readFileSync(FILE, "utf8")).toBe(text);
});

test("a form that user code can run and we execute has been recorded, unless a reason is listed", () => {
  const uncovered = coverage().filter(
    ({ isImplemented, reason, row }) =>
      isImplemented &&
      reason.startsWith("acts on the system") &&
      row.feature !== "VMX" &&
      !SYSTEM.has(row.mnemonic),
  );
  expect(uncovered.map(({ row }) => row.id)).toEqual([]);
});

/** The time, a random number, bases that the kernel may forbid user code to touch, and what traps by its nature; VMX is tried in VMX operation. */
const SYSTEM = new Set(
  "RDTSCP RDRAND RDSEED RDPID RDFSBASE RDGSBASE WRFSBASE WRGSBASE XSETBV CLAC STAC".split(" "),
);

import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("the committed generated files are what their sources generate", () => {
  const run = spawnSync(process.execPath, ["scripts/generate.mjs", "--check"], { encoding: "utf8" });
  expect(run.stderr).toBe("");
  expect(run.status).toBe(0);
});

/** The committed guest images are what the manifest says their sources made (CI rebuilds them and compares bytes). */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("guest images match their sources", () => {
  const script = fileURLToPath(new URL("../guest-images/check.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: "utf8" });
  expect(`${stdout}${stderr}`).not.toMatch(/mismatch|differs/i);
  expect(status).toBe(0);
});

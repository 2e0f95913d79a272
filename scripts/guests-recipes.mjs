/**
 * Runs the recipes of docs/guests.md as they stand: every block marked `sh recipe`, with bash, in the project's folder. A `text` block
 * behind one has lines that must be in its output.
 *
 *   npm run guests:recipes               all of them
 *   npm run guests:recipes -- WORD       those under headings that contain a word
 *
 * Needs `npm run guests:debian` and a built `dist/`. Ends with status 1 if a recipe fails.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const SECONDS = 400;

/** {heading, script, wanted} of every recipe, in order. */
function recipesOf(text) {
  const recipes = [];
  let heading = "";
  let block;
  for (const line of text.split("\n")) {
    if (block) {
      if (line === "```") {
        if (block.kind === "sh recipe") recipes.push({ heading, script: block.lines.join("\n"), wanted: [] });
        else if (block.kind === "text") recipes.at(-1)?.wanted.push(...block.lines);
        block = undefined;
      } else block.lines.push(line);
    } else if (line.startsWith("```")) block = { kind: line.slice(3), lines: [] };
    else if (line.startsWith("## ")) heading = line.slice(3);
  }
  return recipes;
}

const recipes = recipesOf(readFileSync(join(root, "docs", "guests.md"), "utf8"));
const words = process.argv.slice(2);
const chosen = recipes.filter(
  ({ heading }) => words.length === 0 || words.some((word) => heading.includes(word)),
);
let failed = 0;
for (const { heading, script, wanted } of chosen) {
  const started = process.hrtime.bigint();
  const result = spawnSync("bash", ["-euo", "pipefail", "-c", script], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: SECONDS * 1000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines = new Set(result.stdout.split("\n").map((line) => line.trimEnd()));
  const missing = wanted.filter((line) => !lines.has(line));
  const isRight = result.status === 0 && missing.length === 0;
  if (!isRight) failed++;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  console.log(`${isRight ? "pass" : "FAIL"}  ${heading}: ${script.split("\n")[0]} (${seconds.toFixed(0)} s)`);
  if (isRight) continue;
  console.log(`status ${result.status ?? result.signal}; lines that are missing: ${JSON.stringify(missing)}`);
  console.log(result.stdout.split("\n").slice(-20).join("\n"), result.stderr);
}
console.log(`${chosen.length - failed} of ${chosen.length} recipes pass`);
process.exitCode = failed === 0 && chosen.length > 0 ? 0 : 1;

// Writes (or with --check verifies) the generated sources. Each generator is TypeScript, bundled by esbuild.
import { build } from "esbuild";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** [source module, exported function, output file] */
const generators = [
  ["layout/generate.ts", "layoutAssemblyScript", "emulator/core/layout.generated.ts"],
  ["emulator/isa/generate.ts", "decodeTables", "emulator/core/decode/tables.generated.ts"],
  ["emulator/isa/generate-handlers.ts", "handlerTables", "emulator/core/instructions/handlers.generated.ts"],
];

/** Returns the files that differ from what their generator makes; writes them unless `check`. */
export async function generate({ check = false } = {}) {
  const stale = [];
  mkdirSync(join(root, "build"), { recursive: true });
  for (const [source, name, output] of generators) {
    if (!existsSync(join(root, source))) continue;
    const outfile = join(root, "build", `${name}.mjs`);
    await build({
      entryPoints: [join(root, source)],
      bundle: true,
      platform: "node",
      format: "esm",
      outfile,
      logLevel: "warning",
    });
    const text = (await import(`${pathToFileURL(outfile)}?${Date.now()}`))[name]();
    const path = join(root, output);
    if (existsSync(path) && readFileSync(path, "utf8") === text) continue;
    stale.push(output);
    if (!check) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }
  return stale;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes("--check");
  const stale = await generate({ check });
  for (const file of stale) console.error(check ? `${file} is not what its generator makes` : `wrote ${file}`);
  process.exitCode = check && stale.length > 0 ? 1 : 0;
}

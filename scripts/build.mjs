// Builds everything into dist/ when its sources have changed: generated sources, the core (asc), the bundles (esbuild).
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { insertTailCalls } from "./tail-calls.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Hash of all files below `folders` that end in .ts, .mjs or .json. */
function hashOf(folders, files) {
  const hash = createHash("sha256");
  const visit = (path) => {
    if (statSync(path).isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
    else if (/\.(ts|mjs|json)$/.test(path)) hash.update(relative(root, path)).update(readFileSync(path));
  };
  for (const folder of folders) if (existsSync(join(root, folder))) visit(join(root, folder));
  for (const file of files) hash.update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

/** Runs `make` unless the stamp says that nothing has changed since it last succeeded. */
async function once(name, key, outputs, make) {
  const stamp = join(root, "build", `${name}.stamp`);
  const fresh = outputs.every((path) => existsSync(join(root, path)));
  if (fresh && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return;
  await make();
  writeFileSync(stamp, key);
}

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}`);
}

mkdirSync(join(root, "build"), { recursive: true });
mkdirSync(join(root, "dist"), { recursive: true });

run(process.execPath, [join(root, "scripts/generate.mjs")]);
await once(
  "core",
  hashOf(["emulator/core"], ["asconfig.json", "package.json"]),
  ["build/core.wasm"],
  async () => {
    const started = Date.now();
    run(process.execPath, [
      join(root, "node_modules/assemblyscript/bin/asc.js"),
      "emulator/core/index.ts",
      "--target",
      "release",
    ]);
    const { wasm, tailCalls, handlers } = insertTailCalls(readFileSync(join(root, "build/core.wasm")));
    if (!WebAssembly.validate(wasm)) throw new Error("core: not valid after tail calls");
    writeFileSync(join(root, "build/core.wasm"), wasm);
    console.error(`core: ${tailCalls} tail calls in ${handlers} handlers`);
    console.error(`core: compiled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  },
);
copyFileSync(join(root, "build/core.wasm"), join(root, "dist/core.wasm"));

const entries = {
  index: "index.ts",
  cli: "cli/main.ts",
  worker: "hypervisor/worker.ts",
  bench: "bench/main.ts",
};
await build({
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, path]) => existsSync(join(root, path)))),
  outdir: join(root, "dist"),
  bundle: true,
  splitting: true,
  platform: "node",
  target: "node20",
  format: "esm",
  packages: "external",
  sourcemap: true,
  logLevel: "warning",
});
if (existsSync(join(root, "dist/cli.js"))) chmodSync(join(root, "dist/cli.js"), 0o755);

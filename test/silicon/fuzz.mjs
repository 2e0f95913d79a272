// Bundles and runs fuzz.ts: node test/silicon/fuzz.mjs, from the repository's root.
import { build } from "esbuild";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

const outfile = join(process.cwd(), "build/silicon/fuzz.mjs");
await build({
  entryPoints: ["test/silicon/fuzz.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
// A batch's cases live as long as the batch: a young generation that holds one is not copied over and over.
const worker = new Worker(outfile, {
  argv: process.argv.slice(2),
  resourceLimits: { maxYoungGenerationSizeMb: 256 },
});
worker.on("exit", (status) => (process.exitCode = status));

// Bundles and runs run.ts: node test/second-opinion/run.mjs [--peer qemu|bochs] [--check], from the repository's root.
import { build } from "esbuild";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const outfile = join(process.cwd(), "build/second-opinion.mjs");
await build({
  entryPoints: ["test/second-opinion/run.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
await import(pathToFileURL(outfile).href);

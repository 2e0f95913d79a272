// Bundles and runs fuzz.ts: node test/silicon/fuzz.mjs, from the repository's root.
import { build } from "esbuild";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const outfile = join(process.cwd(), "build/silicon/fuzz.mjs");
await build({
  entryPoints: ["test/silicon/fuzz.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
await import(pathToFileURL(outfile).href);

// Bundles and runs record.ts: node test/silicon/record.mjs, from the repository's root.
import { build } from "esbuild";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const outfile = join(process.cwd(), "build/silicon/record.mjs");
await build({
  entryPoints: ["test/silicon/record.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
await import(pathToFileURL(outfile).href);

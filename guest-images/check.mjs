/**
 * Shows that the committed images are what the committed sources build.
 *
 *   node guest-images/check.mjs             compares SHA-256 of every source and image with images/manifest.json
 *   node guest-images/check.mjs --rebuild   also builds into a temporary directory and compares the bytes (needs gcc)
 *   node guest-images/check.mjs --update    builds the images with build.sh and rewrites the manifest (needs gcc)
 *
 * Ends with status 0 if all is well, 1 if something differs, 2 if it could not be run.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const manifestPath = join(here, "images", "manifest.json");

/** What goes into each image: whole directories of sources, so that a new file is noticed. */
const RECIPES = [
  {
    file: "kernel.elf",
    description: "the 64-bit guest kernel as a 32-bit ELF file with multiboot 1 header and PVH note",
    directories: ["lib", "kernel"],
  },
  {
    file: "kernel.bzimage",
    description: "the same kernel as a Linux bzImage (boot protocol 2.15, 16-bit, 32-bit and 64-bit entry)",
    directories: ["lib", "kernel"],
  },
  ...["sieve", "sha256", "qsort", "crc", "interp"].map((name) => ({
    file: `bench32-${name}.elf`,
    description: `32-bit multiboot benchmark kernel: ${name}`,
    directories: ["bench32"],
    only: (source) => source.endsWith(`/${name}.c`) || !BENCHMARK_SOURCES.test(source),
  })),
  ...["x87", "sse2"].map((name) => ({
    file: `bench32-${name}.elf`,
    description: `32-bit multiboot benchmark kernel: double precision by ${name}`,
    directories: ["bench32"],
    only: (source) => source.endsWith("/double.c") || !BENCHMARK_SOURCES.test(source),
  })),
  {
    file: "loader64.elf",
    description: "multiboot kernel that boots a bzImage (its module) by the Linux 64-bit protocol",
    directories: ["loader64"],
  },
  ...["arithmetic", "instructions", "segments", "gates", "tasks", "paging", "debug", "modes", "triple", "x87", "sse", "algorithms"].map(
    (name) => ({
      file: `opinion-${name}.elf`,
      description: `32-bit multiboot program for second opinions: ${name}`,
      directories: ["opinions"],
      only: (source) =>
        source.endsWith(`/${name}.c`) || !OPINION_SOURCES.test(source),
    }),
  ),
  {
    file: "opinion-long.elf",
    description: "64-bit multiboot program for second opinions: IA-32e mode",
    directories: ["opinions"],
    only: (source) => /build\.sh$|\/(start64\.S|layout64\.h|layout\.h|report\.[ch]|long\.c|opinions\.ld)$/.test(source),
  },
  {
    file: "tiny-hypervisor.elf",
    description: "a hypervisor of four hundred lines with one guest, as teaching material",
    directories: ["opinions", "tiny-hypervisor"],
    only: (source) => /build\.sh$|tiny-hypervisor|\/(start64\.S|layout64\.h|report\.[ch]|opinions\.ld)$/.test(source),
  },
  {
    file: "disk-boot.bin",
    description: "boot sector that enters an ELF file on the disk as a multiboot loader would",
    directories: ["opinions"],
    only: (source) => /build\.sh$|\/disk-boot\.S$/.test(source),
  },
  ...[
    ["flow", "static Linux program that moves bytes over TCP and datagrams over UDP"],
    ["kvm-guest", "static Linux program that runs a guest by the KVM interface"],
    ["tsc", "static Linux program that prints the time-stamp counter"],
  ].map(([file, description]) => ({
    file,
    description,
    directories: ["linux/programs"],
    only: (source) => /(build\.sh|\.h)$/.test(source) || source.endsWith(`/${file}.c`),
  })),
];
/** What is one program's alone, or the boot sector's. */
const OPINION_SOURCES =
  /\/(arithmetic|instructions|segments|gates|tasks|paging|debug|modes|triple|x87|sse|algorithms|long)\.c$|\/(start64|layout64|disk-boot)\.\w$/;
const BENCHMARK_SOURCES = /\/(sieve|sha256|qsort|crc|interp|double)\.c$/;
const SOURCE_NAMES = /\.(c|h|S|ld|in)$/;

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

function sourcesOf(recipe) {
  const sources = ["build.sh"];
  for (const directory of recipe.directories)
    for (const name of readdirSync(join(here, directory)).sort())
      if (SOURCE_NAMES.test(name)) sources.push(`${directory}/${name}`);
  return recipe.only ? sources.filter(recipe.only) : sources;
}

/** First line of a tool's --version, or undefined if the tool is absent. */
function versionOf(tool) {
  const result = spawnSync(tool, ["--version"], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.split("\n")[0] : undefined;
}

const toolVersions = () => ({ gcc: versionOf("gcc"), ld: versionOf("ld") });

function describeImages() {
  return RECIPES.map((recipe) => ({
    file: recipe.file,
    description: recipe.description,
    sha256: sha256(join(here, "images", recipe.file)),
    sources: Object.fromEntries(sourcesOf(recipe).map((source) => [source, sha256(join(here, source))])),
  }));
}

function update() {
  const build = spawnSync("sh", [join(here, "build.sh")], { stdio: ["ignore", "ignore", "inherit"] });
  if (build.status !== 0) {
    console.error("build.sh failed; the manifest is as it was");
    process.exit(2);
  }
  const manifest = {
    generatedBy: "guest-images/check.mjs --update",
    builtWith: toolVersions(),
    images: describeImages(),
  };
  writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`);
  console.log(`wrote ${manifest.images.length} images to images/manifest.json`);
}

/** Every difference between the manifest and what lies here, as sentences. */
function differences(manifest) {
  const problems = [];
  const recorded = new Map(manifest.images.map((image) => [image.file, image]));
  for (const image of describeImages()) {
    const expected = recorded.get(image.file);
    recorded.delete(image.file);
    if (!expected) {
      problems.push(`${image.file} is not in the manifest`);
      continue;
    }
    if (expected.sha256 !== image.sha256) problems.push(`${image.file} is not the image that was recorded`);
    for (const source of new Set([...Object.keys(expected.sources), ...Object.keys(image.sources)]))
      if (!(source in image.sources)) problems.push(`${image.file}: source ${source} is missing`);
      else if (!(source in expected.sources))
        problems.push(`${image.file}: source ${source} is new since the build`);
      else if (expected.sources[source] !== image.sources[source])
        problems.push(`${image.file}: source ${source} has changed since the build`);
  }
  for (const file of recorded.keys()) problems.push(`${file} is in the manifest, but nothing builds it`);
  return problems;
}

/** Builds anew and compares. Another compiler may rightly produce other bytes: then that is said, and is no failure. */
function rebuild(manifest) {
  const tools = toolVersions();
  if (tools.gcc === undefined || tools.ld === undefined) {
    console.error("--rebuild needs gcc and GNU binutils");
    process.exit(2);
  }
  const directory = mkdtempSync(join(tmpdir(), "guest-images-"));
  try {
    const build = spawnSync("sh", [join(here, "build.sh"), directory], { encoding: "utf8" });
    if (build.status !== 0) return [`build.sh failed:\n${build.stderr}`];
    const different = RECIPES.filter(
      ({ file }) => !readFileSync(join(directory, file)).equals(readFileSync(join(here, "images", file))),
    ).map(({ file }) => `${file} differs from its rebuild`);
    const sameTools = tools.gcc === manifest.builtWith.gcc && tools.ld === manifest.builtWith.ld;
    if (different.length === 0) console.log(`rebuilt: ${RECIPES.length} images are equal to the byte`);
    if (different.length > 0 && !sameTools) {
      console.warn(`built here with ${tools.gcc} and ${tools.ld},`);
      console.warn(
        `recorded were ${manifest.builtWith.gcc} and ${manifest.builtWith.ld}; so no failure, but:`,
      );
      for (const line of different) console.warn(`  ${line}`);
      return [];
    }
    return different;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const options = process.argv.slice(2);
const unknown = options.find((option) => !["--update", "--rebuild"].includes(option));
if (unknown !== undefined) {
  console.error(`unknown option ${unknown}; there are --rebuild and --update`);
  process.exit(2);
}
if (options.includes("--update")) update();
if (!existsSync(manifestPath)) {
  console.error("there is no images/manifest.json; run build.sh, then check.mjs --update");
  process.exit(2);
}
const manifest = JSON.parse(readFileSync(manifestPath, "utf8"));
const problems = differences(manifest);
if (options.includes("--rebuild")) problems.push(...rebuild(manifest));
for (const problem of problems) console.error(problem);
if (problems.length === 0) console.log(`${manifest.images.length} images belong to their sources`);
process.exit(problems.length === 0 ? 0 : 1);

/**
 * Hostile input: damaged disks, discs, kernels, initramfs and option ROMs by the hundred, in one process. Each has to end with an error that
 * the guest shows or with a message of ours; what never may happen is an exception of ours, a write outside a device's state, or a
 * process that grows.
 *
 *   npm run guests:hostile                         1,000 disk images, and in proportion the other kinds
 *   npm run guests:hostile -- --count 50           so many disk images
 *   npm run guests:hostile -- --seed 7             other damage (default: 1)
 *   npm run guests:hostile -- --kinds iso,bzimage  some kinds alone
 *   npm run guests:hostile -- --only grub-vm:17    one case, with what the guest said
 *   npm run guests:hostile -- --json               prints JSON; --list every case as it ends
 *
 * Needs `npm run guests:debian`, a built `dist/`, e2fsprogs and xorriso. Ends with status 1 if anything is not as it should be.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { KINDS, OUTCOMES } from "./guests/hostile-kinds.mjs";
import { Random } from "./guests/mutations.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const guests = join(root, "guests", "debian");
const { ImageError, OptionError, StorageError } = await import(join(root, "dist", "index.js"));

/**
 * Bytes that the process, and its heap, may grow by over a third of a kind's cases, and the heap from the first kind to the last.
 * A machine that the collector has not come to is a hundred mebibytes.
 */
const RESIDENT_LIMIT = 128 << 20;
const HEAP_LIMIT = 8 << 20;
/** Cases between two looks at them. */
const CASES_A_SAMPLE = 5;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

/** Memory of the process once garbage is gone. Buffers go behind the collector's back, so it is waited for until no more go. */
async function memory() {
  let now = { resident: Infinity, heap: Infinity };
  for (let turn = 0; turn < 20; turn++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const { rss: resident, heapUsed, arrayBuffers } = process.memoryUsage();
    const before = now.heap;
    now = { resident, heap: heapUsed + arrayBuffers };
    if (turn > 1 && now.heap > before - 65536) break;
  }
  return now;
}

/** By how much the least of the last third exceeds the least of the middle: what grows does so in the least, too. */
function growth(samples, name) {
  const third = Math.floor(samples.length / 3);
  const least = (part) => Math.min(...part.map((sample) => sample[name]));
  return third === 0 ? 0 : least(samples.slice(-third)) - least(samples.slice(-2 * third, -third));
}

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1000" },
    kinds: { type: "string" },
    only: { type: "string" },
    json: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});
const seed = Number(flags.seed);
const count = Number(flags.count);

/** The kinds to run, each with the numbers of its cases. */
function chosenKinds() {
  const [onlyKind, onlyCase] = flags.only?.split(":") ?? [];
  const names = onlyKind ? [onlyKind] : (flags.kinds?.split(",") ?? KINDS.map(({ name }) => name));
  const unknown = names.find((name) => KINDS.every((kind) => kind.name !== name));
  if (unknown !== undefined)
    throw new RangeError(`there is no kind ${unknown}: ${KINDS.map(({ name }) => name).join(", ")}`);
  const cases = (share) =>
    Array.from({ length: Math.max(1, Math.round((count * share) / 1000)) }, (_, index) => index);
  return KINDS.filter(({ name }) => names.includes(name)).map((kind) => ({
    ...kind,
    cases: onlyKind ? [Number(onlyCase ?? 0)] : cases(kind.share),
  }));
}

async function runKind(kind, kit, report) {
  const started = performance.now();
  const prepared = kind.prepare(kit);
  const samples = [];
  const results = [];
  try {
    for (const index of kind.cases) {
      const random = new Random(seed + KINDS.findIndex(({ name }) => name === kind.name) * 1000003, index);
      const mutation = prepared.mutate(random);
      const began = performance.now();
      let result;
      try {
        result = prepared.attempt(mutation, index);
        if (result.damaged.length > 0)
          result.failure = `red zones before ${result.damaged.join(", ")} have changed`;
      } catch (error) {
        const failure = error instanceof Error ? error.stack : String(error);
        result = { outcome: "failed", detail: "", failure };
      }
      const { text, ...rest } = result;
      const seconds = (performance.now() - began) / 1000;
      const one = { kind: kind.name, index, mutation: mutation.text, ...rest, seconds };
      results.push(one);
      report(one, text);
      if (results.length % CASES_A_SAMPLE === 0) samples.push(await memory());
    }
  } finally {
    prepared.close();
  }
  const grown = { resident: growth(samples, "resident"), heap: growth(samples, "heap") };
  return { name: kind.name, results, grown, seconds: (performance.now() - started) / 1000 };
}

function table(runs) {
  const columns = Object.keys(OUTCOMES);
  const tally = (results) =>
    columns.map((outcome) => results.filter((one) => one.outcome === outcome).length);
  const mebibytes = (bytes) => (bytes / 1048576).toFixed(1);
  const rows = [
    ["kind", "cases", ...columns, "failed", "grown MiB (heap)", "s"],
    ...runs.map(({ name, results, grown, seconds }) => [
      name,
      results.length,
      ...tally(results),
      results.filter(({ failure }) => failure).length,
      `${mebibytes(grown.resident)} (${mebibytes(grown.heap)})`,
      seconds.toFixed(0),
    ]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => String(cell).padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    );
  console.log(
    Object.entries(OUTCOMES)
      .map(([name, meaning]) => `${name}: ${meaning}`)
      .join("\n"),
  );
}

async function main() {
  if (!existsSync(join(guests, "cloud.bzimage"))) {
    console.error("guests-hostile: there are no guests: run npm run guests:debian");
    return 2;
  }
  const scratch = mkdtempSync(join(tmpdir(), "exitless-hostile-"));
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const made = new Map();
  const kit = {
    guests,
    scratch,
    grub: ["grub-common", "grub-pc-bin"].map((name) => join(guests, "packages", name)),
    isRefusal: (error) => [ImageError, OptionError, StorageError].some((type) => error instanceof type),
    /** Makes something that several kinds use. */
    once(what, make) {
      if (!made.has(what)) made.set(what, make());
      return made.get(what);
    },
  };
  const report = (one, text) => {
    const { kind, index, mutation, outcome, detail, failure, seconds } = one;
    if (flags.only && text !== undefined) console.error(text.trim());
    if (flags.list || flags.only || failure)
      console.error(`${kind}:${index} ${mutation}: ${outcome} ${detail} (${seconds.toFixed(1)} s)`);
    if (failure)
      console.error(
        `FAIL ${failure}\nagain: npm run guests:hostile -- --seed ${seed} --only ${kind}:${index}`,
      );
  };
  const wrong = [];
  const runs = [];
  let first;
  console.error(`hostile: seed ${seed}, ${count} disk images`);
  for (const kind of chosenKinds()) {
    const run = await runKind(kind, kit, report);
    runs.push(run);
    const failed = run.results.filter(({ failure }) => failure).length;
    if (failed > 0) wrong.push(`${run.name}: ${failed} cases failed`);
    if (run.grown.resident > RESIDENT_LIMIT || run.grown.heap > HEAP_LIMIT)
      wrong.push(
        `${run.name}: the process grew by ${run.grown.resident} bytes, its heap by ${run.grown.heap}`,
      );
    // Images that later kinds use again are no growth.
    const kept = [...made.values()].reduce((sum, bytes) => sum + bytes.length, 0);
    const heap = (await memory()).heap - kept;
    first ??= heap;
    if (heap - first > HEAP_LIMIT)
      wrong.push(`after ${run.name} the heap is ${heap - first} bytes larger than after ${runs[0].name}`);
    console.error(`hostile: ${run.name}: ${run.results.length} cases in ${run.seconds.toFixed(0)} s`);
  }
  if (flags.json) console.log(JSON.stringify({ seed, count, wrong, runs }, null, 2));
  else table(runs);
  for (const text of wrong) console.log(`FAIL ${text}`);
  if (!flags.json) console.log(wrong.length === 0 ? "hostile: PASS" : "hostile: FAIL");
  return wrong.length === 0 ? 0 : 1;
}

process.exitCode = await main();

/** `exitless compare disk`: the same reads over every path, on one image, in one run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createHash } from "node:crypto";
import { expectedChecksum } from "../guest-images/expected-io.mjs";
import { Machine, loadCostProfile } from "../hypervisor/machine.ts";
import type { LedgerEntry } from "../hypervisor/ledger.ts";
import type { CompletionPath, RequestPath } from "../hypervisor/vm.ts";

const MIB = 1024 * 1024;
const IMAGE_BYTES = 64 * MIB;
/** Requests before the counted ones: what only the first requests cost (pages touched, vectors learned) is not counted. */
const WARM_UP = 16;
const RANDOM_SEED = 1;

export interface CompareOptions {
  readonly requests: number | undefined;
  readonly image: string | undefined;
  readonly cost: string;
  /** Which rows to run; all when absent. */
  readonly only?: (row: { readonly name: string; readonly pattern: "sequential" | "random" }) => boolean;
  /** Called before each row with what is about to run. */
  readonly progress: (done: number, total: number, what: string) => void;
}

export interface CompareRow {
  readonly name: string;
  readonly mode: "metal" | "vm";
  readonly device: "ide" | "virtio";
  readonly path: RequestPath | "-";
  readonly completion: CompletionPath | "-";
  /** How the guest waits: `halt` (HLT), or `busy` (it computes, as another task would). */
  readonly wait: "halt" | "busy";
  readonly pattern: "sequential" | "random";
  readonly requestBytes: number;
  readonly queueDepth: number;
  readonly requests: number;
  /** Exits of the counted requests, without those of the serial console. */
  readonly exits: { readonly total: number; readonly byReason: Readonly<Record<string, number>> };
  /** Exits of the serial port in the same stretch: the two runs print lines of different length. */
  readonly consoleExits: number;
  readonly exitsPerRequest: number;
  /** Port accesses that the guest counted itself, for the same requests. */
  readonly guestPortAccesses: number;
  readonly guestInterrupts: number;
  readonly guestKicks: number;
  readonly megabytesPerSecond: number;
  readonly iops: number;
  readonly seconds: number;
  /** Checksum computed by the guest = checksum computed by the host from the image. */
  readonly verified: boolean;
  /** Sum of ledger entries = the core's counters, in every run of the row. */
  readonly ledgerAgrees: boolean;
  /** SHA-256 of the trace: every exit and the guest's serial output. */
  readonly traceHash: string;
}

export interface CompareResult {
  readonly clock: "virtual";
  readonly profile: string;
  readonly imageBytes: number;
  readonly rows: readonly CompareRow[];
}

interface Configuration {
  readonly name: string;
  readonly mode: "metal" | "vm";
  readonly device: "ide" | "virtio";
  readonly path?: RequestPath;
  readonly completion?: CompletionPath;
  readonly wait: "halt" | "busy";
}

const CONFIGURATIONS: readonly Configuration[] = [
  { name: "metal IDE", mode: "metal", device: "ide", wait: "halt" },
  { name: "IDE user", mode: "vm", device: "ide", path: "user", completion: "inject", wait: "halt" },
  { name: "virtio user", mode: "vm", device: "virtio", path: "user", completion: "inject", wait: "halt" },
  { name: "virtio in-vmm", mode: "vm", device: "virtio", path: "in-vmm", completion: "inject", wait: "halt" },
  { name: "virtio poll", mode: "vm", device: "virtio", path: "poll", completion: "inject", wait: "halt" },
  { name: "virtio poll + eli", mode: "vm", device: "virtio", path: "poll", completion: "eli", wait: "halt" },
  { name: "virtio poll, busy", mode: "vm", device: "virtio", path: "poll", completion: "inject", wait: "busy" },
  { name: "virtio poll + eli, busy", mode: "vm", device: "virtio", path: "poll", completion: "eli", wait: "busy" },
];

interface Pattern {
  readonly pattern: "sequential" | "random";
  readonly verb: "seq" | "rand";
  readonly requestBytes: number;
  readonly requests: number;
}

/** One run of the guest. */
interface Run {
  readonly fields: ReadonlyMap<string, string>;
  readonly exits: Readonly<Record<string, number>>;
  readonly consoleExits: number;
  readonly ledgerAgrees: boolean;
  readonly traceHash: string;
}

/** The kernel image, beside the bundle or the sources. */
export function kernelPath(name = "kernel.elf"): string {
  return fileURLToPath(new URL(`../guest-images/images/${name}`, import.meta.url));
}

/** A disk image of pseudo-random contents, the same every time. */
export function makeImage(bytes = IMAGE_BYTES): Uint8Array {
  const words = new Uint32Array(bytes / 4);
  let x = 0x2545f491;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer);
}

/** Runs a script in the guest; throws with the guest's last words when it does not power off. */
function runScript(configuration: Configuration, image: string, script: string, cost: string): Run {
  const hash = createHash("sha256");
  const serial: number[] = [];
  let pending: string[] = [];
  let consoleExits = 0;
  const flushTrace = (): void => {
    hash.update(pending.join("\n"));
    pending = [];
  };
  const machine = new Machine({
    kernel: kernelPath(),
    append: `apic=x2apic tsc=${loadCostProfile(cost).frequencyHz} script=${script}`,
    memory: 64,
    drives: [{ file: image, interface: configuration.device, readOnly: true }],
    mode: configuration.mode,
    cost: loadCostProfile(cost),
    ...(configuration.path ? { path: configuration.path } : {}),
    ...(configuration.completion ? { completion: configuration.completion } : {}),
    onSerial: (byte) => serial.push(byte),
    onExit: (entry: LedgerEntry) => {
      pending.push(`${entry.time} ${entry.instructions} ${entry.reason} ${entry.qualification} ${entry.rip} ${entry.phase}`);
      if (entry.handler === "COM1") consoleExits++;
      if (pending.length >= 4096) flushTrace();
    },
  });
  try {
    const result = machine.run();
    const text = Buffer.from(serial).toString("latin1");
    if (result.end !== "power-off")
      throw new Error(`${configuration.name}: the guest ended with ${result.end} ${result.code}; its last words:\n${text.slice(-500)}`);
    flushTrace();
    hash.update(text);
    const line = text.split(/\r?\n/).find((candidate) => candidate.startsWith("IO "));
    if (line === undefined) throw new Error(`${configuration.name}: the guest printed no IO line`);
    const fields = new Map(line.split(" ").slice(1).map((field): [string, string] => [field.slice(0, field.indexOf("=")), field.slice(field.indexOf("=") + 1)]));
    const stats = machine.stats();
    return { fields, exits: stats.exits, consoleExits, ledgerAgrees: stats.ledgerAgrees, traceHash: hash.digest("hex") };
  } finally {
    machine.close();
  }
}

const number = (run: Run, field: string): number => Number(run.fields.get(field) ?? "0");

/** One row: a short run and a long one; what is reported is the difference, so boot and set-up cancel out. */
function compareRow(configuration: Configuration, pattern: Pattern, image: string, contents: Uint8Array, cost: string): CompareRow {
  const frequencyHz = loadCostProfile(cost).frequencyHz;
  const scriptOf = (count: number): string => {
    const common = `dev=${configuration.device},size=${pattern.requestBytes},count=${count},qd=1,seed=${RANDOM_SEED}`;
    return configuration.wait === "busy" ? `busy:pattern=${pattern.verb},${common}` : `${pattern.verb}:${common}`;
  };
  const long = WARM_UP + pattern.requests;
  const first = runScript(configuration, image, scriptOf(WARM_UP), cost);
  const second = runScript(configuration, image, scriptOf(long), cost);
  const byReason: Record<string, number> = {};
  for (const reason of Object.keys(second.exits)) {
    const difference = (second.exits[reason] ?? 0) - (first.exits[reason] ?? 0);
    if (difference !== 0) byReason[reason] = difference;
  }
  // The console is not part of the comparison: its exits are all port accesses.
  const consoleExits = second.consoleExits - first.consoleExits;
  if (consoleExits !== 0) {
    byReason.IO_INSTRUCTION = (byReason.IO_INSTRUCTION ?? 0) - consoleExits;
    if (byReason.IO_INSTRUCTION === 0) delete byReason.IO_INSTRUCTION;
  }
  const total = Object.values(byReason).reduce((sum, count) => sum + count, 0);
  const seconds = (number(second, "cycles") - number(first, "cycles")) / frequencyHz;
  const bytes = pattern.requests * pattern.requestBytes;
  const difference = (field: string): number => number(second, field) - number(first, field);
  const expected = expectedChecksum(contents, { pattern: pattern.verb, size: pattern.requestBytes, count: long, seed: RANDOM_SEED });
  return {
    name: configuration.name,
    mode: configuration.mode,
    device: configuration.device,
    path: configuration.path ?? "-",
    completion: configuration.completion ?? "-",
    wait: configuration.wait,
    pattern: pattern.pattern,
    requestBytes: pattern.requestBytes,
    queueDepth: 1,
    requests: pattern.requests,
    exits: { total, byReason },
    consoleExits,
    exitsPerRequest: total / pattern.requests,
    guestPortAccesses: difference("ports_in") + difference("ports_out"),
    guestInterrupts: difference("irqs"),
    guestKicks: difference("kicks"),
    megabytesPerSecond: bytes / seconds / 1e6,
    iops: pattern.requests / seconds,
    seconds,
    verified: second.fields.get("checksum") === expected && number(second, "errors") === 0,
    ledgerAgrees: first.ledgerAgrees && second.ledgerAgrees,
    traceHash: createHash("sha256").update(first.traceHash).update(second.traceHash).digest("hex"),
  };
}

/** Runs all rows. */
export function compareDisk(options: CompareOptions): CompareResult {
  const folder = options.image === undefined ? mkdtempSync(join(tmpdir(), "exitless-")) : undefined;
  try {
    let image = options.image;
    let contents: Uint8Array;
    if (folder !== undefined) {
      image = join(folder, "disk.img");
      contents = makeImage();
      writeFileSync(image, contents);
    } else contents = new Uint8Array(readFileSync(image!));
    const sequentialMost = Math.floor(contents.length / 65536);
    const patterns: readonly Pattern[] = [
      // All of the image but the warm-up's part, which the long run reads as well.
      { pattern: "sequential", verb: "seq", requestBytes: 65536, requests: Math.max(1, Math.min(options.requests ?? 1008, sequentialMost - WARM_UP)) },
      { pattern: "random", verb: "rand", requestBytes: 4096, requests: options.requests ?? 2000 },
    ];
    const rows: CompareRow[] = [];
    const planned = patterns
      .flatMap((pattern) => CONFIGURATIONS.map((configuration) => ({ pattern, configuration })))
      .filter(({ pattern, configuration }) => options.only?.({ name: configuration.name, pattern: pattern.pattern }) ?? true);
    for (const { pattern, configuration } of planned) {
      options.progress(rows.length, planned.length, `${configuration.name}, ${pattern.pattern}`);
      rows.push(compareRow(configuration, pattern, image!, contents, options.cost));
    }
    options.progress(rows.length, planned.length, "done");
    return { clock: "virtual", profile: options.cost, imageBytes: contents.length, rows };
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** The table for people. `paint` marks what a person should see first. */
export function formatCompare(result: CompareResult, paint: { readonly bold: (text: string) => string; readonly dim: (text: string) => string }): string {
  const lines: string[] = [];
  for (const pattern of ["sequential", "random"] as const) {
    const rows = result.rows.filter((row) => row.pattern === pattern);
    const metal = rows.find((row) => row.mode === "metal");
    const { requestBytes, requests } = rows[0]!;
    lines.push(paint.bold(`${pattern} reads, ${requestBytes / 1024} KiB, queue depth 1, ${requests} requests`), "");
    lines.push(paint.dim(`${"path".padEnd(26)}${"MB/s".padStart(8)}${"IOPS".padStart(8)}  ${"of metal".padEnd(28)}${"exits/request".padStart(14)}  by reason`));
    for (const row of rows) {
      const share = metal ? row.iops / metal.iops : 0;
      const bar = "█".repeat(Math.max(0, Math.min(20, Math.round(share * 20))));
      const reasons = Object.entries(row.exits.byReason)
        .sort(([, a], [, b]) => b - a)
        .map(([reason, count]) => `${reason} ${(count / row.requests).toFixed(2)}`)
        .join("  ");
      const good = row.verified && row.ledgerAgrees ? "" : paint.bold("  NOT VERIFIED");
      lines.push(
        `${row.name.padEnd(26)}${row.megabytesPerSecond.toFixed(1).padStart(8)}${row.iops.toFixed(0).padStart(8)}  ${`${bar.padEnd(20)} ${(share * 100).toFixed(1)} %`.padEnd(28)}${row.exitsPerRequest.toFixed(2).padStart(14)}  ${reasons}${good}`,
      );
    }
    lines.push("");
  }
  lines.push(paint.dim(`virtual time, cost profile ${result.profile}; every figure measured in this run; exits by the manual's names, counted by the core and checked against the ledger`));
  return lines.join("\n");
}

/** `exitless compare disk`: the same reads over every path, on one image, in one run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createHash } from "node:crypto";
import { RawFile } from "../devices/storage/raw-file.ts";
import { expectedChecksum } from "../guest-images/expected-io.mjs";
import { Machine, loadCostProfile, type MachineOptions } from "../hypervisor/machine.ts";
import { ParallelMachine } from "../hypervisor/parallel-machine.ts";
import type { LedgerEntry } from "../hypervisor/ledger.ts";
import type { RequestPath } from "../hypervisor/request-paths.ts";
import type { CompletionPath } from "../hypervisor/vm.ts";

const MIB = 1024 * 1024;
const IMAGE_BYTES = 64 * MIB;
/** Requests before the counted ones: what only the first requests cost (pages touched, vectors learned) is not counted. */
const WARM_UP = 16;
const SEQUENTIAL_BYTES = 65536;
/** An image must have the warm-up's sequential requests and one more. */
const LEAST_SECTORS = ((WARM_UP + 1) * SEQUENTIAL_BYTES) / 512;
const RANDOM_SEED = 1;

export interface CompareOptions {
  /** Default virtual. */
  readonly clock?: "virtual" | "wall";
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
  readonly clock: "virtual" | "wall";
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
  {
    name: "virtio poll, busy",
    mode: "vm",
    device: "virtio",
    path: "poll",
    completion: "inject",
    wait: "busy",
  },
  {
    name: "virtio poll + eli, busy",
    mode: "vm",
    device: "virtio",
    path: "poll",
    completion: "eli",
    wait: "busy",
  },
];

interface Pattern {
  readonly pattern: "sequential" | "random";
  readonly verb: "seq" | "rand";
  readonly requestBytes: number;
  readonly requests: number;
}

/** Which clock, and the profile that says what things cost in virtual time and how fast the time-stamp counter is. */
interface Time {
  readonly clock: "virtual" | "wall";
  readonly cost: string;
}

/** One run of the guest. */
interface Run {
  readonly fields: ReadonlyMap<string, string>;
  readonly exits: Readonly<Record<string, number>>;
  readonly consoleExits: number;
  /**
   * IDE exits before the first access to the bus master, that is before the first request has begun: how often the driver
   * looks at BSY after IDENTIFY depends, in wall time, on the host.
   */
  readonly probeExits: number;
  readonly ledgerAgrees: boolean;
  readonly traceHash: string;
}

/** What the ledger calls the IDE function's bus-master registers. */
const IDE_BUS_MASTER = "IDE BAR 4";

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
async function runScript(
  configuration: Configuration,
  image: string,
  script: string,
  time: Time,
): Promise<Run> {
  const cost = loadCostProfile(time.cost);
  const hash = createHash("sha256");
  const serial: number[] = [];
  let pending: string[] = [];
  let consoleExits = 0;
  let probeExits = 0;
  let isProbing = true;
  const flushTrace = (): void => {
    hash.update(pending.join("\n"));
    pending = [];
  };
  const options: MachineOptions = {
    kernel: kernelPath(),
    append: `apic=x2apic tsc=${cost.frequencyHz} script=${script}`,
    memory: 64,
    drives: [{ file: image, interface: configuration.device, readOnly: true }],
    mode: configuration.mode,
    cost,
    ...(configuration.path ? { path: configuration.path } : {}),
    ...(configuration.completion ? { completion: configuration.completion } : {}),
    onSerial: (byte) => serial.push(byte),
    onExit: (entry: LedgerEntry) => {
      pending.push(
        `${entry.time} ${entry.instructions} ${entry.reason} ${entry.qualification} ${entry.rip} ${entry.phase}`,
      );
      if (entry.handler === "COM1") consoleExits++;
      else if (entry.handler === IDE_BUS_MASTER) isProbing = false;
      else if (isProbing && entry.handler.startsWith("IDE")) probeExits++;
      if (pending.length >= 4096) flushTrace();
    },
  };
  const machine = time.clock === "wall" ? new ParallelMachine(options) : new Machine(options);
  try {
    const result = await machine.run();
    const text = Buffer.from(serial).toString("latin1");
    if (result.end !== "power-off")
      throw new Error(
        `${configuration.name}: the guest ended with ${result.end} ${result.code}; its last words:\n${text.slice(-500)}`,
      );
    flushTrace();
    hash.update(text);
    const line = text.split(/\r?\n/).find((candidate) => candidate.startsWith("IO "));
    if (line === undefined) throw new Error(`${configuration.name}: the guest printed no IO line`);
    const fields = new Map(
      line
        .split(" ")
        .slice(1)
        .map((field): [string, string] => [
          field.slice(0, field.indexOf("=")),
          field.slice(field.indexOf("=") + 1),
        ]),
    );
    const stats = machine.stats();
    return {
      fields,
      exits: stats.exits,
      consoleExits,
      probeExits,
      ledgerAgrees: stats.ledgerAgrees,
      traceHash: hash.digest("hex"),
    };
  } finally {
    await machine.close();
  }
}

const number = (run: Run, field: string): number => Number(run.fields.get(field) ?? "0");

/** One row: a short run and a long one; what is reported is the difference, so boot and set-up cancel out. */
async function compareRow(
  configuration: Configuration,
  pattern: Pattern,
  image: string,
  contents: Uint8Array,
  time: Time,
): Promise<CompareRow> {
  const frequencyHz = loadCostProfile(time.cost).frequencyHz;
  const scriptOf = (count: number): string => {
    const common = `dev=${configuration.device},size=${pattern.requestBytes},count=${count},qd=1,seed=${RANDOM_SEED}`;
    return configuration.wait === "busy"
      ? `busy:pattern=${pattern.verb},${common}`
      : `${pattern.verb}:${common}`;
  };
  const long = WARM_UP + pattern.requests;
  const first = await runScript(configuration, image, scriptOf(WARM_UP), time);
  const second = await runScript(configuration, image, scriptOf(long), time);
  const byReason: Record<string, number> = {};
  for (const reason of Object.keys(second.exits)) {
    const difference = (second.exits[reason] ?? 0) - (first.exits[reason] ?? 0);
    if (difference !== 0) byReason[reason] = difference;
  }
  // The console and the search for disks are not part of the comparison: their exits are all port accesses.
  const consoleExits = second.consoleExits - first.consoleExits;
  const otherExits = consoleExits + second.probeExits - first.probeExits;
  if (otherExits !== 0) {
    byReason.IO_INSTRUCTION = (byReason.IO_INSTRUCTION ?? 0) - otherExits;
    if (byReason.IO_INSTRUCTION === 0) delete byReason.IO_INSTRUCTION;
  }
  const total = Object.values(byReason).reduce((sum, count) => sum + count, 0);
  // Two runs take different wall times for the same requests, so in wall time the long run alone is timed.
  const cycles =
    time.clock === "wall"
      ? number(second, "cycles") * (pattern.requests / long)
      : number(second, "cycles") - number(first, "cycles");
  const seconds = cycles / frequencyHz;
  const bytes = pattern.requests * pattern.requestBytes;
  const difference = (field: string): number => number(second, field) - number(first, field);
  const expected = expectedChecksum(contents, {
    pattern: pattern.verb,
    size: pattern.requestBytes,
    count: long,
    seed: RANDOM_SEED,
  });
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

/**
 * Runs all rows.
 * @throws StorageError when the image cannot be read, or is shorter than the least that the rows read
 */
export async function compareDisk(options: CompareOptions): Promise<CompareResult> {
  const { clock = "virtual", cost } = options;
  const folder = options.image === undefined ? mkdtempSync(join(tmpdir(), "exitless-")) : undefined;
  try {
    let image = options.image;
    let contents: Uint8Array;
    if (folder !== undefined) {
      image = join(folder, "disk.img");
      contents = makeImage();
      writeFileSync(image, contents);
    } else {
      new RawFile(image!, { readOnly: true, minimumSectors: LEAST_SECTORS }).close();
      contents = new Uint8Array(readFileSync(image!));
    }
    const sequentialMost = Math.floor(contents.length / SEQUENTIAL_BYTES);
    const patterns: readonly Pattern[] = [
      // All of the image but the warm-up's part, which the long run reads as well.
      {
        pattern: "sequential",
        verb: "seq",
        requestBytes: SEQUENTIAL_BYTES,
        requests: Math.min(options.requests ?? 1008, sequentialMost - WARM_UP),
      },
      { pattern: "random", verb: "rand", requestBytes: 4096, requests: options.requests ?? 2000 },
    ];
    const rows: CompareRow[] = [];
    const planned = patterns
      .flatMap((pattern) => CONFIGURATIONS.map((configuration) => ({ pattern, configuration })))
      .filter(
        ({ pattern, configuration }) =>
          options.only?.({ name: configuration.name, pattern: pattern.pattern }) ?? true,
      );
    for (const { pattern, configuration } of planned) {
      options.progress(rows.length, planned.length, `${configuration.name}, ${pattern.pattern}`);
      rows.push(await compareRow(configuration, pattern, image!, contents, { clock, cost }));
    }
    options.progress(rows.length, planned.length, "done");
    return { clock, profile: cost, imageBytes: contents.length, rows };
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

const perRequest = (row: CompareRow, count: number): string => (count / row.requests).toFixed(2).padStart(7);

/** The table for people. `paint` marks what a person should see first. */
export function formatCompare(
  result: CompareResult,
  paint: { readonly bold: (text: string) => string; readonly dim: (text: string) => string },
): string {
  const lines: string[] = [];
  for (const pattern of ["sequential", "random"] as const) {
    const rows = result.rows.filter((row) => row.pattern === pattern);
    const metal = rows.find((row) => row.mode === "metal");
    const { requestBytes, requests } = rows[0]!;
    lines.push(
      paint.bold(`${pattern} reads, ${requestBytes / 1024} KiB, queue depth 1, ${requests} requests`),
      "",
    );
    lines.push(
      paint.dim(
        `${"path".padEnd(26)}${"MB/s".padStart(8)}${"IOPS".padStart(8)}  ${"of metal".padEnd(28)}${"exits/request".padStart(14)}${"kicks".padStart(7)}${"ports".padStart(7)}  by reason`,
      ),
    );
    for (const row of rows) {
      const share = metal ? row.iops / metal.iops : 0;
      const bar = "█".repeat(Math.max(0, Math.min(20, Math.round(share * 20))));
      const reasons = Object.entries(row.exits.byReason)
        .sort(([, a], [, b]) => b - a)
        .map(([reason, count]) => `${reason} ${(count / row.requests).toFixed(2)}`)
        .join("  ");
      const good = row.verified && row.ledgerAgrees ? "" : paint.bold("  NOT VERIFIED");
      lines.push(
        `${row.name.padEnd(26)}${row.megabytesPerSecond.toFixed(1).padStart(8)}${row.iops.toFixed(0).padStart(8)}  ${`${bar.padEnd(20)} ${(share * 100).toFixed(1)} %`.padEnd(28)}${row.exitsPerRequest.toFixed(2).padStart(14)}${perRequest(row, row.guestKicks)}${perRequest(row, row.guestPortAccesses)}  ${reasons}${good}`,
      );
    }
    lines.push("");
  }
  const time =
    result.clock === "wall"
      ? "wall time on this host: a thread per CPU, no cost charged, no disk time"
      : `virtual time, cost profile ${result.profile}`;
  lines.push(
    paint.dim(
      `${time}; every figure measured in this run; kicks and port accesses a request as the guest counts them; exits by the manual's names, counted by the core and checked against the ledger`,
    ),
  );
  return lines.join("\n");
}

/**
 * Long runs of Debian's cloud kernel in virtual time, each made twice: the same hash of the whole machine, the guest's clock beside the
 * machine's, and the host's memory.
 *
 *   npm run guests:soak                  an hour idle at the prompt, and 20 seconds of mixed load
 *   npm run guests:soak -- idle 3600     one of them, with so many seconds of virtual time
 *   npm run guests:soak -- load 20
 *
 * Needs `npm run guests:debian` and a built `dist/`. Ends with status 1 if something is not as it should be.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { complaints } from "./guests/boot.mjs";
import { writeDisk } from "./guests/disk.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const guests = join(root, "guests", "debian");
const { Machine, loadCostProfile } = await import(join(root, "dist", "index.js"));

/** The guest's clocks may differ from the machine's by the seconds that reading and printing them takes. */
const CLOCK_TOLERANCE = 1;
/** Bytes that the process may grow by between the middle of a run and its end. */
const GROWTH_LIMIT = 64 << 20;

const KINDS = {
  idle: { seconds: 3600, options: () => ({ mode: "metal", smp: 1 }) },
  load: {
    seconds: 20,
    // Ten cycles an instruction, so that 20 s of a 2.67-GHz processor are no more than 5,340 million instructions a CPU.
    options: (disk) => ({
      cost: { ...loadCostProfile("nehalem-2010"), cyclesPerInstruction: 10 },
      mode: "vm",
      smp: 2,
      path: "poll",
      drives: [{ file: disk, interface: "virtio", snapshot: true }],
      netdevs: ["a", "b"].map((id) => ({ kind: "peer", id, link: "lan" })),
      devices: ["a", "b"].map((netdev) => ({ model: "virtio-net-pci", netdev })),
    }),
  },
};

/** Runs a job to power-off; what the machine and the guest say of it. */
function run(kind, seconds, disk) {
  let output = "";
  const marks = [];
  const machine = new Machine({
    kernel: join(guests, "cloud.bzimage"),
    protocol: "pvh",
    initrd: join(guests, "cloud.initramfs.gz"),
    cpu: "skylake",
    memory: 256,
    append: `console=ttyS0 cryptomgr.notests quiet modules=virtio_pci,virtio_blk,virtio_net job=${kind} seconds=${seconds} disk=vda`,
    onSerial: (byte) => {
      output += String.fromCharCode(byte);
      if (byte === 10) marks.push(machine.cycles);
    },
    ...KINDS[kind].options(disk),
  });
  try {
    const { frequencyHz } = machine.profile;
    const sizes = [];
    for (;;) {
      const result = machine.run({ untilCycle: machine.cycles + frequencyHz });
      sizes.push(process.memoryUsage().rss);
      if (result.end === "power-off") break;
      if (result.end !== "paused")
        throw new Error(`${kind} ended with ${result.end}:\n${output.slice(-1000)}`);
    }
    const timeOf = (text) =>
      marks[output.slice(0, output.indexOf(text)).split("\n").length - 1] / frequencyHz;
    return {
      output,
      hash: machine.hash(),
      seconds: machine.cycles / frequencyHz,
      growth: Math.max(...sizes.slice(sizes.length >> 1)) - sizes[sizes.length >> 1],
      timeOf,
    };
  } finally {
    machine.close();
  }
}

function soak(kind, seconds, disk) {
  const wrong = [];
  const first = run(kind, seconds, disk);
  const second = run(kind, seconds, disk);
  if (first.hash !== second.hash) wrong.push(`two runs, two hashes: ${first.hash}, ${second.hash}`);
  if (first.output !== second.output) wrong.push("two runs, two outputs");
  for (const { growth } of [first, second])
    if (growth > GROWTH_LIMIT) wrong.push(`the process grew by ${(growth / 1048576).toFixed(0)} MiB`);
  wrong.push(...complaints(first.output));
  if (/(MIS|ERR): +[1-9]/.test(first.output)) wrong.push("interrupts were lost or wrong");
  if (!first.output.includes(`init: job ${kind} ended with status 0`)) wrong.push("the job failed");
  if (kind === "load" && !/load: [1-9]\d* sums agree/.test(first.output))
    wrong.push("no transfer over the network, or sums that differ");
  if (kind === "idle") {
    const [, from, upFrom] = /idle: begins (\d+) ([\d.]+)/.exec(first.output) ?? [];
    const [, to, upTo] = /idle: ends (\d+) ([\d.]+)/.exec(first.output) ?? [];
    const passed = first.timeOf("idle: ends") - first.timeOf("idle: begins");
    console.log(
      `idle: machine ${passed.toFixed(3)} s, guest's wall clock ${to - from} s, its uptime ${(upTo - upFrom).toFixed(2)} s`,
    );
    for (const guest of [to - from, upTo - upFrom])
      if (Math.abs(guest - passed) > CLOCK_TOLERANCE) wrong.push(`clocks differ: ${guest} and ${passed}`);
  }
  for (const line of first.output.split("\n").filter((text) => /^(load|idle): /.test(text)))
    console.log(line.trim());
  console.log(
    `${kind}: ${first.seconds.toFixed(1)} s of virtual time, twice, hash ${first.hash.slice(0, 16)}`,
  );
  for (const text of wrong) console.log(`${kind}: FAIL ${text}`);
  return wrong.length === 0;
}

if (!existsSync(join(guests, "cloud.bzimage"))) {
  console.error("guests-soak: there are no guests: run npm run guests:debian");
  process.exit(2);
}
const scratch = mkdtempSync(join(tmpdir(), "exitless-soak-"));
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
const disk = join(scratch, "disk.img");
writeDisk(disk);
const [only, count] = process.argv.slice(2);
const kinds = Object.keys(KINDS).filter((kind) => only === undefined || kind === only);
let isRight = kinds.length > 0;
for (const kind of kinds) isRight = soak(kind, Number(count ?? KINDS[kind].seconds), disk) && isRight;
console.log(isRight ? "soak: PASS" : "soak: FAIL");
process.exitCode = isRight ? 0 : 1;

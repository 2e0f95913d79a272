/**
 * What Linux's `kvm_intel` counts of one guest (guest-images/linux/programs/kvm-guest.c) on three processors: one without EPT, one with
 * EPT and VPID, and one with everything; here and under Bochs, which has VT-x too. Their counts must agree.
 *
 *   npm run guests:kvm               all three processors
 *   npm run guests:kvm -- skylake    one of them
 *
 * Needs `npm run guests:debian`, a built `dist/`, and Debian's bochs, bochsbios and vgabios. Ends with status 1 when a guest fails or a
 * count differs that nothing below explains.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HEADS, SECTORS_A_TRACK, prepareBochs } from "../bochs.mjs";
import { complaints, exitless } from "./boot.mjs";
import { buildDiskImage } from "./disk-image.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const guests = join(root, "guests", "debian");
const grub = ["grub-common", "grub-pc-bin"].map((name) => join(guests, "packages", name));
const SECONDS = 900;
const DISK_MIB = 63;
const APPEND = "console=ttyS0 cryptomgr.notests quiet modules=kvm_intel job=kvm";
const ENDED = /init: job kvm ended with status (\d+)/;

/** Our CPU model beside Bochs's. */
const PROCESSORS = {
  penryn: { bochs: "core2_penryn_t9600", what: "no EPT" },
  nehalem: { bochs: "corei5_lynnfield_750", what: "EPT, VPID" },
  skylake: { bochs: "corei7_skylake_x", what: "everything" },
};

/** Counts of what the host's own timer and scheduler do while the guest runs: as many as ticks fall into that time. */
const TIMED = new Set([
  "irq_exits",
  "host_state_reload",
  "preemption_reported",
  "preemption_other",
  "req_event",
]);
/** Counts of which each exit for an interrupt of the host's is one: compared without those. */
const WITH_INTERRUPTS = new Set(["exits", "l1d_flush"]);

/**
 * Runs the guest under Bochs, from a disk with GRUB; what it sent by its serial port. The guest stays when it is done, because what its
 * slow serial port had not sent would be lost with the power.
 */
async function bochs(model) {
  const folder = mkdtempSync(join(tmpdir(), "exitless-kvm-"));
  try {
    const config = `serial
terminal_output serial
set timeout=0
menuentry Debian {
  linux /vmlinuz ${APPEND} after=stay
  initrd /initramfs.gz
}
`;
    const files = {
      vmlinuz: join(guests, "cloud.bzimage"),
      "initramfs.gz": join(guests, "cloud.initramfs.gz"),
    };
    buildDiskImage({ grub, output: join(folder, "disk.img"), sizeMib: DISK_MIB, files, config });
    const [command, words] = prepareBochs(folder, {
      model,
      mebibytes: 256,
      cylinders: (DISK_MIB * 2048) / (HEADS * SECTORS_A_TRACK),
      instructionsPerSecond: 100_000_000,
      // It lacks MSRs that its own models have (IA32_MISC_ENABLE): Linux begins only where those read as 0.
      ignoresBadMsrs: true,
    });
    const serial = () =>
      existsSync(join(folder, "serial")) ? readFileSync(join(folder, "serial"), "latin1") : "";
    const child = spawn(command, words, { stdio: "ignore" });
    let isOver = false;
    child.on("close", () => (isOver = true));
    child.on("error", () => (isOver = true));
    const deadline = Date.now() + SECONDS * 1000;
    while (!isOver && !ENDED.test(serial()) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill("SIGKILL");
    return serial();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function ours(model) {
  const args = [
    ...["boot", "-kernel", join(guests, "cloud.bzimage"), "--protocol", "pvh", "-m", "256"],
    ...["-initrd", join(guests, "cloud.initramfs.gz"), "-cpu", model, "--mode", "metal"],
    ...["--timeout", String(SECONDS), "-append", APPEND],
  ];
  const { output, errors } = await exitless(args);
  return output + errors;
}

/** Name → count, of the lines `kvm: NAME COUNT`. */
function countsOf(output) {
  return new Map(
    [...output.matchAll(/^kvm: (.+) (\d+)\r?$/gm)].map(([, name, count]) => [name, Number(count)]),
  );
}

async function compare(model) {
  const { bochs: peer, what } = PROCESSORS[model];
  console.log(`${model} (${what}), and Bochs's ${peer}:`);
  const outputs = [await ours(model), await bochs(peer)];
  const problems = [];
  for (const [index, output] of outputs.entries()) {
    const who = index === 0 ? "exitless" : "Bochs";
    if (!/^kvm: PASS/m.test(output)) problems.push(`${who}: the guest did not pass:\n${output.slice(-2000)}`);
    if (index === 0) problems.push(...complaints(output));
  }
  const [mine, theirs] = outputs.map(countsOf);
  for (const name of new Set([...mine.keys(), ...theirs.keys()])) {
    const pair = [mine, theirs].map((counts) => counts.get(name) ?? 0);
    const timed = (counts) => (WITH_INTERRUPTS.has(name) ? (counts.get("irq_exits") ?? 0) : 0);
    const differs = !TIMED.has(name) && pair[0] - timed(mine) !== pair[1] - timed(theirs);
    const remark = differs ? "  DIFFERS" : pair[0] !== pair[1] ? "  (interrupts of the host's timer)" : "";
    console.log(
      `  ${name.padEnd(28)} ${String(pair[0]).padStart(12)} ${String(pair[1]).padStart(12)}${remark}`,
    );
    if (differs) problems.push(`${name} differs`);
  }
  for (const problem of problems) console.log(`  FAIL ${problem}`);
  return problems.length === 0;
}

const words = process.argv.slice(2);
const chosen = words.length > 0 ? words : Object.keys(PROCESSORS);
const unknown = chosen.find((model) => !(model in PROCESSORS));
if (unknown !== undefined) {
  console.error(`kvm-exits: there is no processor ${unknown} here: ${Object.keys(PROCESSORS).join(", ")}`);
  process.exitCode = 2;
} else for (const model of chosen) if (!(await compare(model))) process.exitCode = 1;

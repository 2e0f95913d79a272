/**
 * Boots Debian's cloud kernel in many configurations and checks each:
 *
 *   npm run guests:matrix                a selection in which every pair of choices occurs
 *   npm run guests:matrix -- all         all of them
 *   npm run guests:matrix -- --list      prints what would run
 *   npm run guests:matrix -- --json      prints JSON
 *   npm run guests:matrix -- --jobs 2    so many at once (default: 2)
 *   npm run guests:matrix -- --only vm   rows whose description contains a word
 *
 * In each the guest reaches /init on as many CPUs as asked for, reads the disk (the host compares its MD5), writes a file system that the
 * host's e2fsck finds clean and whose files the host reads, and powers off with status 0. Rows that end with `reboot` reset
 * the machine and come up a second time. Needs `npm run guests:debian`, a built `dist/`, and e2fsprogs. Ends with status 1 if a row fails.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { complaints, diskFaults, exitless } from "./guests/boot.mjs";
import { writeDisk } from "./guests/disk.mjs";
import { pairwise, product } from "./guests/pairwise.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const guests = join(root, "guests", "debian");
const SECONDS = 400;

/** Where the disk is, and what serves it. */
const MACHINES = {
  "metal ide": { mode: "metal", disk: "ide" },
  "metal virtio": { mode: "metal", disk: "virtio" },
  "metal ahci": { mode: "metal", disk: "ahci", kernel: "generic" },
  "vm ide": { mode: "vm", disk: "ide" },
  "vm virtio user": { mode: "vm", disk: "virtio", path: "user" },
  "vm virtio in-vmm": { mode: "vm", disk: "virtio", path: "in-vmm" },
  "vm virtio poll": { mode: "vm", disk: "virtio", path: "poll" },
  "vm virtio poll eli": { mode: "vm", disk: "virtio", path: "poll", completion: "eli" },
};

const FACTORS = {
  machine: Object.keys(MACHINES),
  protocol: ["linux", "pvh"],
  smp: [1, 2, 4],
  clock: ["virtual", "wall"],
  end: ["poweroff", "reboot"],
};

const MODULES = {
  ide: { modules: "ata_piix,sd_mod", device: "sda" },
  // The generic kernel's ext4 is a module too.
  ahci: { modules: "ahci,sd_mod,crc32c_generic,ext4", device: "sda" },
  virtio: { modules: "virtio_pci,virtio_blk", device: "vda" },
};

/** The generic kernel's bzImage unpacks itself in six thousand million instructions: by PVH only. */
const isPossible = ({ machine, protocol }) => MACHINES[machine].kernel !== "generic" || protocol === "pvh";

const describe = ({ machine, protocol, smp, clock, end }) =>
  `${machine}, ${protocol}, ${smp} CPU${smp > 1 ? "s" : ""}, ${clock}, ${end}`;

function commandLine(row, disk) {
  const machine = MACHINES[row.machine];
  const kernel = machine.kernel ?? "cloud";
  const { modules, device } = MODULES[machine.disk];
  const image = kernel === "generic" ? "generic.elf" : "cloud.bzimage";
  const job = row.end === "reboot" ? "reboot" : "disk";
  return [
    ["boot", "-kernel", join(guests, image), "--protocol", row.protocol],
    ["-initrd", join(guests, `${kernel}.initramfs.gz`), "-cpu", "skylake", "-m", "256"],
    ["-smp", String(row.smp), "--mode", machine.mode, "--clock", row.clock],
    ["-drive", `file=${disk},if=${machine.disk}`, "--timeout", String(SECONDS)],
    machine.path ? ["--path", machine.path] : [],
    machine.completion ? ["--completion", machine.completion] : [],
    ["-append", `console=ttyS0 cryptomgr.notests quiet modules=${modules} job=${job} disk=${device}`],
  ].flat();
}

/** What is wrong with a run; empty when nothing is. */
function faults(row, { status, output, errors }, disk) {
  const wrong = [];
  if (status !== 0) wrong.push(`status ${status}: ${errors.trim().split("\n").at(-1) ?? ""}`);
  const reached = [...output.matchAll(/^init: reached on (\d+) CPUs/gm)];
  if (reached.length !== (row.end === "reboot" ? 2 : 1)) wrong.push(`/init reached ${reached.length} times`);
  if (reached.some(([, cpus]) => Number(cpus) !== row.smp)) wrong.push(`${reached[0]?.[1]} CPUs`);
  wrong.push(...complaints(output));
  if (row.end === "reboot") {
    if (!output.includes("reboot: here again")) wrong.push("the mark was not found after the reset");
    return wrong;
  }
  wrong.push(...diskFaults(output, disk));
  return wrong;
}

async function main() {
  const words = process.argv.slice(2);
  const option = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
  const only = option("--only");
  const possible = product(FACTORS).filter(isPossible);
  const chosen = words.includes("all") ? possible : pairwise(possible);
  const rows = chosen.filter((row) => only === undefined || describe(row).includes(only));
  if (words.includes("--list")) {
    for (const row of rows) console.log(describe(row));
    return 0;
  }
  if (!existsSync(join(guests, "cloud.bzimage"))) {
    console.error("guests-matrix: there are no guests: run npm run guests:debian");
    return 2;
  }
  const scratch = mkdtempSync(join(tmpdir(), "exitless-matrix-"));
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const results = new Array(rows.length);
  let next = 0;
  const worker = async () => {
    while (next < rows.length) {
      const index = next++;
      const row = rows[index];
      const disk = join(scratch, `${index}.img`);
      writeDisk(disk);
      const started = process.hrtime.bigint();
      const run = await exitless(commandLine(row, disk));
      const wrong = faults(row, run, disk);
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      results[index] = { ...row, seconds, wrong };
      rmSync(disk);
      const verdict = wrong.length === 0 ? "pass" : `FAIL ${wrong.join("; ")}`;
      process.stderr.write(
        `[${index + 1}/${rows.length}] ${describe(row)}: ${verdict} (${seconds.toFixed(0)} s)\n`,
      );
      if (wrong.length > 0) process.stderr.write(`${run.output.split("\n").slice(-15).join("\n")}\n`);
    }
  };
  await Promise.all(Array.from({ length: Number(option("--jobs") ?? 2) }, worker));
  const failed = results.filter(({ wrong }) => wrong.length > 0).length;
  if (words.includes("--json")) console.log(JSON.stringify(results, null, 2));
  else {
    const lines = results.map((row) => [
      row.machine,
      row.protocol,
      row.smp,
      row.clock,
      row.end,
      row.wrong.length ? "FAIL" : "pass",
    ]);
    const table = [["machine", "protocol", "CPUs", "clock", "end", "verdict"], ...lines];
    const widths = table[0].map((_, column) => Math.max(...table.map((line) => String(line[column]).length)));
    for (const line of table)
      console.log(
        line
          .map((cell, column) => String(cell).padEnd(widths[column]))
          .join("  ")
          .trimEnd(),
      );
    console.log(`${rows.length - failed} of ${rows.length} pass`);
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();

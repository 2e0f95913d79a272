/** Boots a guest by the built command line, and what is looked at afterwards in every run. */
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { examineFileSystem, firstPartitionMd5, numbersMd5 } from "./disk.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Runs `exitless` with these arguments; resolves to its status and output. */
export function exitless(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, "dist", "cli.js"), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (errors += data));
    child.on("close", (status) => resolve({ status, output, errors }));
  });
}

/** Warnings of Linux's that are as they should be; docs/guests.md explains each. */
const EXPLAINED = [
  /kvm: VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL does not work properly/,
  /sd \S+: Power-on or device reset occurred/,
  /kvm: no hardware support for 'kvm_intel'/,
  /ext4 filesystem being mounted at \/mnt supports timestamps until 2038/,
];

/**
 * What Linux complains of that it must not: all that /init says the kernel said with the priority of a warning, and what says more than
 * its priority.
 */
export function complaints(output) {
  const warnings = output.match(/^complaint: .*$/gm) ?? [];
  const words =
    output.match(
      /^.*(WARNING: CPU|BUG:|unexpected|Kernel panic|lost timer|clocksource: .*unstable|hung_task).*$/gm,
    ) ?? [];
  const lines = [...warnings, ...words].filter((line) => !EXPLAINED.some((pattern) => pattern.test(line)));
  return [...new Set(lines.map((line) => line.trim()))];
}

/** What is wrong after the guest's job `disk`; empty when nothing is. */
export function diskFaults(output, disk) {
  const wrong = [];
  const sum = (name) => new RegExp(`^disk: ${name} ([0-9a-f]{32})`, "m").exec(output)?.[1];
  if (sum("md5") !== firstPartitionMd5) wrong.push(`read ${sum("md5") ?? "nothing"}`);
  const found = examineFileSystem(disk, `${disk}.partition`);
  if (!found.clean) wrong.push("e2fsck finds faults");
  if (found.numbers !== numbersMd5 || sum("numbers") !== numbersMd5) wrong.push("a file differs");
  if (found.moved !== sum("moved")) wrong.push("a moved file differs");
  return wrong;
}

/**
 * Runs tests.json under QEMU, so that the images are tested against a PC that we did not write.
 *
 *   node guest-images/test-qemu.mjs [NAME …]      (names or beginnings of names; default all)
 *
 * Needs qemu-system-x86_64. Prints one line a test and `N passed, N failed`; status 1 if any failed, 2 without QEMU.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expectedChecksum } from "./expected-io.mjs";

const QEMU = "qemu-system-x86_64";
const DISK_BYTES = 16 << 20;
const MULTIBOOT_MAGIC = Buffer.from([0x02, 0xb0, 0xad, 0x1b]);

const here = dirname(fileURLToPath(import.meta.url));
const image = (name) => join(here, "images", name);

/** A disk whose every word differs, from a fixed generator. */
function makeDisk() {
  const words = new Uint32Array(DISK_BYTES / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
}

/** The kernel without its multiboot header: QEMU then takes the PVH note, which it would use second. */
function makePvhImage() {
  const bytes = readFileSync(image("kernel.elf"));
  bytes.fill(0, bytes.indexOf(MULTIBOOT_MAGIC), bytes.indexOf(MULTIBOOT_MAGIC) + 4);
  return bytes;
}

function bootArguments(test, directory) {
  switch (test.boot ?? "multiboot") {
    case "multiboot":
      return ["-kernel", image(test.image ?? "kernel.elf")];
    case "pvh":
      return ["-kernel", join(directory, "pvh.elf")];
    case "bzimage":
      return ["-kernel", image("kernel.bzimage")];
    case "linux64":
      return ["-kernel", image("loader64.elf"), "-initrd", image("kernel.bzimage")];
    default:
      throw new Error(`${test.name}: unknown boot ${test.boot}`);
  }
}

function diskArguments(test, directory) {
  const drive = `file=${join(directory, "disk.img")},format=raw,snapshot=on`;
  const ide = ["-drive", `${drive},if=ide`];
  const virtio = [
    ...["-drive", `${drive},if=none,id=virtio0,discard=unmap`],
    ...["-device", "virtio-blk-pci,drive=virtio0,disable-legacy=on,num-queues=2,serial=VIRTIO-SERIAL"],
  ];
  return test.disks === "virtio" ? virtio : test.disks ? [...ide, ...virtio] : [];
}

/** Resolves to { stdout, status, timedOut }. What the test types is sent when the output asks for it. */
function runQemu(test, directory) {
  const qemu = spawn(
    QEMU,
    [
      ...["-M", "pc", "-cpu", "max", "-m", "256", "-smp", String(test.cpus ?? 1), "-net", "none"],
      ...["-nographic", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"],
      ...bootArguments(test, directory),
      ...["-append", test.append ?? ""],
      ...diskArguments(test, directory),
      ...(test.qemu ?? []),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const result = { stdout: "", status: null, timedOut: false };
  let toType = test.stdin;
  qemu.stdin.on("error", () => {}); // QEMU may end before it has read everything
  qemu.stdout.setEncoding("latin1").on("data", (text) => {
    result.stdout += text;
    if (toType !== undefined && result.stdout.includes(test.stdinAfter)) {
      qemu.stdin.write(toType);
      toType = undefined;
    }
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => {
        result.timedOut = true;
        qemu.kill();
      },
      (test.seconds ?? 30) * 1000,
    );
    qemu.on("error", reject);
    qemu.on("close", (status) => {
      clearTimeout(timer);
      resolve({ ...result, status });
    });
  });
}

function checkIoLine(line, expected, disk) {
  const fields = Object.fromEntries(
    [...line.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
  );
  const checksum = expectedChecksum(disk, expected);
  const problems =
    fields.checksum === checksum ? [] : [`checksum: expected ${checksum}, got ${fields.checksum}`];
  for (const [name, value] of Object.entries(expected.fields ?? {}))
    if (fields[name] !== String(value)) problems.push(`${name}: expected ${value}, got ${fields[name]}`);
  return problems;
}

function check(test, result, disk) {
  if (result.timedOut) return [`still running after ${test.seconds ?? 30} s`];
  const lines = result.stdout.split(/[\r\n]+/);
  const problems = [];
  const status = test.status ?? 0;
  if (result.status !== status) problems.push(`status: expected ${status}, got ${result.status}`);
  for (const pattern of test.expect ?? [])
    if (!lines.some((line) => new RegExp(pattern).test(line))) problems.push(`no line matches ${pattern}`);
  for (const pattern of test.reject ?? ["^FAIL", "^PANIC"])
    for (const line of lines) if (new RegExp(pattern).test(line)) problems.push(line);
  const ioLines = lines.filter((line) => line.startsWith("IO "));
  if (ioLines.length !== (test.io ?? []).length) problems.push(`${ioLines.length} IO lines`);
  else ioLines.forEach((line, i) => problems.push(...checkIoLine(line, test.io[i], disk)));
  return problems;
}

if (spawnSync(QEMU, ["--version"]).status !== 0) {
  console.error(`${QEMU} is not installed`);
  process.exit(2);
}
const wanted = process.argv.slice(2);
const { tests } = JSON.parse(readFileSync(join(here, "tests.json"), "utf8"));
const directory = mkdtempSync(join(tmpdir(), "guest-tests-"));
const disk = makeDisk();
let passed = 0;
let failed = 0;
try {
  writeFileSync(join(directory, "disk.img"), disk);
  writeFileSync(join(directory, "pvh.elf"), makePvhImage());
  for (const test of tests) {
    if (wanted.length > 0 && !wanted.some((name) => test.name.startsWith(name))) continue;
    const result = await runQemu(test, directory);
    const problems = check(test, result, disk);
    if (problems.length === 0) passed++;
    else failed++;
    console.log(`${problems.length === 0 ? "PASS" : "FAIL"} ${test.name}`);
    for (const problem of problems) console.log(`     ${problem}`);
    if (problems.length > 0 && wanted.length > 0) console.log(result.stdout);
  }
} finally {
  rmSync(directory, { recursive: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/**
 * Where the same boot takes other numbers of instructions here and under QEMU: the kernel's functions by instructions, side by side.
 *
 * Both boot the kernel unpacked (PVH), without address-space randomization, to power-off. QEMU's blocks are counted exactly by a plugin
 * (block-counts.c); ours are samples, one every `STEP` instructions. A guest says which function lies where.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Machine } from "../../hypervisor/machine.ts";
import { unpackLinuxPayload } from "../../emulator/machine/loaders/linux-payload.ts";
import { readImage } from "../../emulator/machine/read-image.ts";

const MEBIBYTES = 128;
const APPEND = "console=ttyS0 cryptomgr.notests quiet nokaslr";
/** A prime number, so that samples do not fall in step with a loop. */
const STEP = 5003;
const SYMBOL_BYTES = 16 << 20;

/** Instructions of a boot, by what they belong to: a kernel's function, or one of the other regions. */
export type Profile = ReadonlyMap<string, number>;

export interface HotSpots {
  readonly exitless: Profile;
  readonly qemu: Profile;
}

/** The kernel's functions by address. */
class Symbols {
  readonly #addresses: bigint[] = [];
  readonly #names: string[] = [];

  /** @param text lines `ADDRESS TYPE NAME`, as /proc/kallsyms has them */
  constructor(text: string) {
    const found = [...text.matchAll(/^([0-9a-f]{16}) [tTwW] (\S+)/gm)]
      .map(([, address, name]) => ({ address: BigInt(`0x${address!}`), name: name! }))
      .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    for (const { address, name } of found) {
      this.#addresses.push(address);
      this.#names.push(name);
    }
  }

  get count(): number {
    return this.#names.length;
  }

  nameOf(address: bigint): string {
    if (address < 1n << 32n) return "(firmware and start-up below 4 GiB)";
    if (address < 1n << 63n) return "(user programs)";
    let low = 0;
    let high = this.#addresses.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return this.#names[low - 1] ?? "(unknown)";
  }
}

function add(profile: Map<string, number>, name: string, count: number): void {
  profile.set(name, (profile.get(name) ?? 0) + count);
}

interface Guest {
  readonly kernel: string;
  readonly initrd: string;
}

function boot(guest: Guest, more: string, drive?: string): Machine {
  return new Machine({
    ...guest,
    append: `${APPEND} ${more}`,
    memory: MEBIBYTES,
    mode: "metal",
    cpu: "skylake",
    ...(drive === undefined ? {} : { drives: [{ file: drive, interface: "virtio" as const }] }),
  });
}

function finish(machine: Machine): void {
  const { end } = machine.run();
  machine.close();
  if (end !== "power-off") throw new Error(`the guest ended with ${end}`);
}

function readSymbols(guest: Guest, scratch: string): Symbols {
  const file = join(scratch, "symbols");
  writeFileSync(file, "");
  truncateSync(file, SYMBOL_BYTES);
  finish(boot(guest, "modules=virtio_pci,virtio_blk job=symbols disk=vda", file));
  const symbols = new Symbols(readFileSync(file, "latin1"));
  if (symbols.count === 0) throw new Error("the guest told no symbols: run npm run guests:debian again");
  return symbols;
}

function profileOurs(guest: Guest, symbols: Symbols): Profile {
  const profile = new Map<string, number>();
  const machine = boot(guest, "job=tsc");
  try {
    const cpu = machine.board.core(0).state;
    for (let at = STEP; ; at += STEP) {
      const { end } = machine.run({ untilInstruction: at });
      if (end === "power-off") return profile;
      if (end !== "paused") throw new Error(`the guest ended with ${end}`);
      add(profile, symbols.nameOf(BigInt.asUintN(64, cpu.rip)), STEP);
    }
  } finally {
    machine.close();
  }
}

/** Runs a command; throws with what it said when it fails. */
function must(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ended with status ${status}: ${stderr.slice(-500)}`);
  return stdout;
}

function profileQemu(guest: Guest, symbols: Symbols, root: string, scratch: string): Profile {
  const plugin = join(scratch, "block-counts.so");
  const counts = join(scratch, "counts");
  must("gcc", ["-shared", "-fPIC", "-O2", "-o", plugin, join(root, "bench", "linux", "block-counts.c")]);
  must("qemu-system-x86_64", [
    ...["-accel", "tcg,thread=single", "-cpu", "Skylake-Client", "-m", String(MEBIBYTES), "-display", "none"],
    ...["-nodefaults", "-no-reboot", "-serial", "stdio", "-icount", "shift=0,sleep=off"],
    ...["-kernel", guest.kernel, "-initrd", guest.initrd, "-append", `${APPEND} job=tsc`],
    ...["-plugin", `file=${plugin},out=${counts}`],
  ]);
  const profile = new Map<string, number>();
  for (const line of readFileSync(counts, "latin1").trim().split("\n")) {
    const [address, count] = line.split(" ");
    add(profile, symbols.nameOf(BigInt(`0x${address!}`)), Number(count));
  }
  return profile;
}

/**
 * Measures both.
 *
 * @param root the project's folder, with guests/debian
 * @throws Error when there are no guests, no gcc or no QEMU, or a guest does not come up
 */
export function measureHotSpots(root: string): HotSpots {
  const guests = join(root, "guests", "debian");
  const packed = join(guests, "cloud.bzimage");
  if (!existsSync(packed)) throw new Error("there are no guests: run npm run guests:debian");
  const scratch = mkdtempSync(join(tmpdir(), "exitless-bench-"));
  try {
    const kernel = join(scratch, "vmlinux");
    writeFileSync(kernel, unpackLinuxPayload(readImage(packed, "kernel")).bytes);
    const symbols = readSymbols({ kernel, initrd: join(guests, "cloud.initramfs.gz") }, scratch);
    const guest = { kernel, initrd: join(guests, "cloud.tiny.gz") };
    return { exitless: profileOurs(guest, symbols), qemu: profileQemu(guest, symbols, root, scratch) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The functions that differ most, and both sums. */
export function hotSpotsText({ exitless, qemu }: HotSpots, lines = 30): string {
  const millions = (count: number): string => (count / 1e6).toFixed(1).padStart(10);
  const row = (name: string, ours: number, theirs: number): string =>
    `${name.padEnd(40)}${millions(ours)}${millions(theirs)}${millions(ours - theirs)}`;
  const sum = (profile: Profile): number => [...profile.values()].reduce((total, count) => total + count, 0);
  const rows = [...new Set([...exitless.keys(), ...qemu.keys()])]
    .map((name) => ({ name, ours: exitless.get(name) ?? 0, theirs: qemu.get(name) ?? 0 }))
    .sort((a, b) => Math.abs(b.ours - b.theirs) - Math.abs(a.ours - a.theirs));
  return [
    `${"million instructions to power-off".padEnd(40)}${"exitless".padStart(10)}${"QEMU".padStart(10)}${"more".padStart(10)}`,
    row("all", sum(exitless), sum(qemu)),
    ...rows.slice(0, lines).map(({ name, ours, theirs }) => row(name, ours, theirs)),
    row("the others", ...rest(rows.slice(lines))),
  ].join("\n");
}

function rest(rows: readonly { readonly ours: number; readonly theirs: number }[]): [number, number] {
  return [rows.reduce((sum, { ours }) => sum + ours, 0), rows.reduce((sum, { theirs }) => sum + theirs, 0)];
}

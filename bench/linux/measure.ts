/**
 * Debian's cloud kernel by PVH with a tiny initramfs, to /init and power-off: our interpreter on metal and under the hypervisor, beside
 * QEMU's translator, in one run.
 *
 * Processor time is that of the whole command, start-up included. How many instructions it takes to /init comes from the
 * time-stamp counter there: ours counts a cycle an instruction, and so does QEMU's with `-icount shift=0`, firmware included.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unpackLinuxPayload } from "../../emulator/machine/loaders/linux-payload.ts";
import { readImage } from "../../emulator/machine/read-image.ts";

const MEBIBYTES = 128;
const APPEND = "console=ttyS0 cryptomgr.notests quiet job=tsc";
const QEMU = "qemu-system-x86_64";

export interface LinuxRun {
  readonly name: string;
  /** Seconds of user and system time, medians. */
  readonly cpuSeconds: number;
  /** Instructions since power-on when /init had been reached; undefined where nothing counts them. */
  readonly instructions: number | undefined;
  /** Of a virtual machine, by reason. */
  readonly exits?: Readonly<Record<string, number>>;
}

export interface LinuxFigures {
  readonly runs: readonly LinuxRun[];
}

interface Outcome {
  readonly cpuSeconds: number;
  readonly output: string;
}

/** Runs a command with the processor time of ended children, which Node does not tell, but POSIX `times` does. */
function timed(command: readonly string[]): Outcome {
  const script = '"$@" </dev/null; status=$?; times >&2; exit $status';
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script, "sh", ...command], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`${command[0]!} ended with status ${status}: ${stderr.slice(-500)}`);
  const ofChildren = stderr.trim().split("\n").at(-1) ?? "";
  const cpuSeconds = [...ofChildren.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
  return { cpuSeconds, output: stdout };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

function stampIn(output: string): number {
  const stamp = /^tsc: (\d+)/m.exec(output)?.[1];
  if (stamp === undefined) throw new Error(`the guest did not reach /init:\n${output.slice(-500)}`);
  return Number(stamp);
}

/**
 * Measures all engines in turn, so many rounds.
 *
 * @param root the project's folder, with guests/debian
 * @throws Error when there are no guests, or a guest does not come up
 */
export function measureLinux(root: string, dist: string, rounds: number): LinuxFigures {
  const guests = join(root, "guests", "debian");
  const kernel = join(guests, "cloud.bzimage");
  if (!existsSync(kernel)) throw new Error("there are no guests: run npm run guests:debian");
  const initrd = join(guests, "cloud.tiny.gz");
  const scratch = mkdtempSync(join(tmpdir(), "exitless-bench-"));
  try {
    const stats = join(scratch, "stats.json");
    const elf = join(scratch, "vmlinux");
    writeFileSync(elf, unpackLinuxPayload(readImage(kernel, "kernel")).bytes);
    const exitless = (...more: string[]): string[] => [
      ...[process.execPath, join(dist, "cli.js"), "boot", "-kernel", kernel, "--protocol", "pvh"],
      ...["-initrd", initrd, "-append", APPEND, "-m", String(MEBIBYTES), "-cpu", "skylake"],
      ...["--stats", stats, ...more],
    ];
    const qemu = (...more: string[]): string[] => [
      ...[QEMU, "-accel", "tcg,thread=single", "-m", String(MEBIBYTES), "-display", "none", "-nodefaults"],
      ...["-no-reboot", "-serial", "stdio", "-kernel", elf, "-initrd", initrd, "-append", APPEND, ...more],
    ];
    const hasQemu = spawnSync(QEMU, ["--version"]).status === 0;
    const seconds = { metal: [] as number[], vm: [] as number[], qemu: [] as number[] };
    let metalStamp = 0;
    let vmExits: Record<string, number> = {};
    for (let round = 0; round < rounds; round++) {
      const metal = timed(exitless("--mode", "metal"));
      seconds.metal.push(metal.cpuSeconds);
      metalStamp = stampIn(metal.output);
      const vm = timed(exitless("--mode", "vm", "--path", "in-vmm"));
      seconds.vm.push(vm.cpuSeconds);
      stampIn(vm.output);
      vmExits = (JSON.parse(readFileSync(stats, "utf8")) as { exits: Record<string, number> }).exits;
      if (!hasQemu) continue;
      const outcome = timed(qemu());
      stampIn(outcome.output);
      seconds.qemu.push(outcome.cpuSeconds);
    }
    const runs: LinuxRun[] = [
      { name: "exitless, metal", cpuSeconds: median(seconds.metal), instructions: metalStamp },
      {
        name: "exitless, VM, in-vmm",
        cpuSeconds: median(seconds.vm),
        instructions: undefined,
        exits: vmExits,
      },
    ];
    if (hasQemu)
      runs.push({
        name: "QEMU TCG",
        cpuSeconds: median(seconds.qemu),
        instructions: stampIn(timed(qemu("-icount", "shift=0,sleep=off")).output),
      });
    return { runs };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The figures as a table, with ratios to metal and to QEMU. */
export function linuxText({ runs }: LinuxFigures): string {
  const [metal] = runs;
  const qemu = runs.find(({ name }) => name === "QEMU TCG");
  const lines = runs.map(({ name, cpuSeconds, instructions }) =>
    [
      name.padEnd(22),
      `${cpuSeconds.toFixed(2)} s`.padStart(9),
      `${(cpuSeconds / metal!.cpuSeconds).toFixed(2)} × metal`.padStart(14),
      (qemu ? `${(cpuSeconds / qemu.cpuSeconds).toFixed(2)} × TCG` : "").padStart(12),
      instructions === undefined ? "" : `  ${(instructions / 1e6).toFixed(1)} M instructions to /init`,
    ].join(""),
  );
  const exits = Object.entries(runs.find((run) => run.exits)?.exits ?? {});
  return [
    ...lines,
    "",
    "exits of the virtual machine by reason:",
    ...exits.map(([reason, count]) => `  ${reason.padEnd(22)}${String(count).padStart(8)}`),
  ].join("\n");
}

/**
 * QEMU's translator, TCG, in one thread. Its start-up (firmware included) is measured with the same image and `n=0`
 * rounds, and taken off.
 */
import { spawnSync } from "node:child_process";
import type { Engine, EngineRun } from "./engine.ts";
import type { Kernel } from "./kernels.ts";

const PROGRAM = "qemu-system-x86_64";

/** Exit status of isa-debug-exit for the value 0: (value << 1) | 1. */
const STATUS_OF_ZERO = 1;

export class QemuEngine implements Engine {
  readonly name = "qemu-tcg";
  readonly what = "QEMU with -accel tcg,thread=single, less its start-up";

  version(): string | undefined {
    const { status, stdout } = spawnSync(PROGRAM, ["--version"], { encoding: "utf8" });
    return status === 0 ? /version (\S+)/.exec(stdout)?.[1] : undefined;
  }

  run(kernel: Kernel): Promise<EngineRun> {
    const baseline = runOnce(kernel, "n=0");
    const full = runOnce(kernel, "");
    return Promise.resolve({
      output: full.output,
      cpuSeconds: full.cpuSeconds - baseline.cpuSeconds,
      wallSeconds: full.wallSeconds - baseline.wallSeconds,
    });
  }
}

function runOnce(kernel: Kernel, append: string): EngineRun {
  const qemu = [
    PROGRAM,
    "-accel",
    "tcg,thread=single",
    "-m",
    "64",
    "-display",
    "none",
    "-nodefaults",
    "-no-reboot",
  ];
  qemu.push("-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4");
  qemu.push("-kernel", kernel.path, "-append", append);
  const started = performance.now();
  // POSIX `times` tells the processor time of ended children, which Node does not.
  const script = '"$@" </dev/null; status=$?; times >&2; exit $status';
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script, "sh", ...qemu], { encoding: "utf8" });
  const wallSeconds = (performance.now() - started) / 1e3;
  if (status !== STATUS_OF_ZERO) throw new Error(`${PROGRAM} ended with status ${status}: ${stderr.trim()}`);
  const ofChildren = stderr.trim().split("\n").at(-1) ?? "";
  const times = [...ofChildren.matchAll(/(\d+)m([\d.]+)s/g)];
  if (times.length !== 2) throw new Error(`no processor times in ${JSON.stringify(stderr)}`);
  const cpuSeconds = times.reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
  return { output: stdout, cpuSeconds, wallSeconds };
}

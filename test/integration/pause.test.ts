/** A run that is paused at exits goes on as if it had not been: same trace, same final state. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Machine, traceLine, type LedgerEntry, type RunLimits } from "../../index.ts";
import { KERNEL, temporaryDisk } from "../support/cli.ts";

interface Outcome {
  readonly runs: number;
  readonly exits: number;
  readonly trace: string;
  readonly state: string;
}

type Configuration = Pick<ConstructorParameters<typeof Machine>[0], "smp" | "mode" | "path" | "completion">;

function outcome(
  configuration: Configuration,
  limits: (entries: readonly LedgerEntry[], cycles: number) => RunLimits,
): Outcome {
  const disk = temporaryDisk(1);
  const entries: LedgerEntry[] = [];
  const machine = new Machine({
    kernel: KERNEL,
    append: `script=smp:count=200;rand:dev=virtio,count=20${configuration.mode === "metal" ? "" : ";timer"}`,
    memory: 32,
    ...configuration,
    drives: [{ file: disk.path, interface: "virtio", snapshot: true }],
    onExit: (entry) => entries.push(entry),
  });
  try {
    let runs = 1;
    let result = machine.run(limits(entries, machine.cycles));
    for (; result.end === "paused"; runs++) result = machine.run(limits(entries, machine.cycles));
    expect(result.end).toBe("power-off");
    const trace = createHash("sha256").update(entries.map(traceLine).join("\n")).digest("hex");
    return { runs, exits: entries.length, trace, state: machine.hash() };
  } finally {
    machine.close();
    disk.remove();
  }
}

describe("pauses", () => {
  test.each<Configuration>([
    { smp: 1, path: "user", completion: "inject" },
    { smp: 4, path: "user", completion: "inject" },
    { smp: 4, path: "in-vmm", completion: "inject" },
    { smp: 4, path: "poll", completion: "eli" },
  ])("a pause at every exit changes neither trace nor state: %j", (configuration) => {
    const through = outcome(configuration, () => ({}));
    const paused = outcome(configuration, () => ({ pauseAt: () => true }));
    expect(through.runs).toBe(1);
    // An exit met inside the emulation of another is entered before it and pauses with it.
    expect(paused.runs).toBeGreaterThan(through.exits * 0.99);
    expect(paused).toEqual({ ...through, runs: paused.runs });
  });

  test.each<Configuration>([
    { smp: 1, mode: "metal" },
    { smp: 4, mode: "metal" },
    { smp: 4, path: "user", completion: "inject" },
    { smp: 4, path: "poll", completion: "eli" },
  ])("a pause every 2,003 cycles changes neither trace nor state: %j", (configuration) => {
    const through = outcome(configuration, () => ({}));
    const paused = outcome(configuration, (_, cycles) => ({ untilCycle: cycles + 2_003 }));
    expect(paused.runs).toBeGreaterThan(100);
    expect(paused).toEqual({ ...through, runs: paused.runs });
  });

  test("a run of a guest that only computes ends at the cycle that was asked for", () => {
    const machine = new Machine({ kernel: KERNEL, append: "script=spin:loops=4000000000", memory: 32 });
    try {
      expect(machine.run({ untilCycle: 50_000_000 }).end).toBe("paused");
      expect(machine.cycles).toBeGreaterThanOrEqual(50_000_000);
      expect(machine.cycles).toBeLessThan(50_100_000);
    } finally {
      machine.close();
    }
  });

  test("the run pauses right after the exit that was asked for", () => {
    const seen: string[] = [];
    const machine = new Machine({
      kernel: KERNEL,
      append: "script=hello",
      memory: 32,
      onExit: (entry) => seen.push(entry.reason),
    });
    try {
      expect(machine.run({ pauseAt: (entry) => entry.reason === "CPUID" }).end).toBe("paused");
      expect(seen.at(-1)).toBe("CPUID");
      expect(seen.indexOf("CPUID")).toBe(seen.length - 1);
      expect(machine.stats().vcpus[0]!.total).toBe(seen.length);
      expect(machine.vm!.vcpus[0]!.isInGuest).toBe(false);
      expect(machine.run().end).toBe("power-off");
    } finally {
      machine.close();
    }
  });
});

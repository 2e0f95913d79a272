/** `exitless exits`: what each kind of exit costs, measured by the guest itself, on metal and as a VM. */
import { Machine, loadCostProfile } from "../hypervisor/machine.ts";
import { kernelPath } from "./compare.ts";

export interface ExitCost {
  readonly name: string;
  /** Cycles an operation, on the bare machine and in a VM; null where the guest could not run it. */
  readonly metalCycles: number | null;
  readonly vmCycles: number | null;
  readonly iterations: number;
}

export interface ExitsResult {
  readonly clock: "virtual";
  readonly profile: string;
  readonly rows: readonly ExitCost[];
}

function measure(mode: "metal" | "vm", cost: string): Map<string, { iterations: number; cycles: number }> {
  const serial: number[] = [];
  const profile = loadCostProfile(cost);
  const machine = new Machine({
    kernel: kernelPath(),
    append: `apic=x2apic tsc=${profile.frequencyHz} hypercall=${mode === "vm" ? 1 : 0} script=exits:min=2000000`,
    memory: 64,
    smp: 2,
    mode,
    cost: profile,
    onSerial: (byte) => serial.push(byte),
  });
  try {
    const result = machine.run();
    const text = Buffer.from(serial).toString("latin1");
    if (result.end !== "power-off")
      throw new Error(
        `exits on ${mode}: the guest ended with ${result.end}; its last words:\n${text.slice(-500)}`,
      );
    const results = new Map<string, { iterations: number; cycles: number }>();
    for (const match of text.matchAll(/^BENCH (\S+) (\d+) (\d+)/gm))
      results.set(match[1]!, { iterations: Number(match[2]), cycles: Number(match[3]) });
    return results;
  } finally {
    machine.close();
  }
}

/** Runs the guest's micro-benchmarks in both modes. */
export function measureExits(cost: string): ExitsResult {
  const metal = measure("metal", cost);
  const vm = measure("vm", cost);
  const names = [...new Set([...metal.keys(), ...vm.keys()])];
  const perOperation = (result: { iterations: number; cycles: number } | undefined): number | null =>
    result === undefined ? null : result.cycles / result.iterations;
  return {
    clock: "virtual",
    profile: cost,
    rows: names.map((name) => ({
      name,
      metalCycles: perOperation(metal.get(name)),
      vmCycles: perOperation(vm.get(name)),
      iterations: vm.get(name)?.iterations ?? metal.get(name)?.iterations ?? 0,
    })),
  };
}

export function formatExits(result: ExitsResult): string {
  const cell = (value: number | null): string => (value === null ? "–" : value.toFixed(0)).padStart(12);
  return [
    `${"operation".padEnd(24)}${"metal".padStart(12)}${"vm".padStart(12)}${"iterations".padStart(12)}   cycles each`,
    ...result.rows.map(
      (row) =>
        `${row.name.padEnd(24)}${cell(row.metalCycles)}${cell(row.vmCycles)}${String(row.iterations).padStart(12)}`,
    ),
    "",
    `virtual time, cost profile ${result.profile}`,
  ].join("\n");
}

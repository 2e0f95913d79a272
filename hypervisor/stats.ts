/** What a run has counted, read from the machine's shared state. */
import type { Assembly } from "./assembly.ts";
import { exitReasonName, type LedgerRow } from "./ledger.ts";

export interface CpuStats {
  readonly instructions: number;
  /** Seconds on this CPU's own clock; with the wall clock, of the run. */
  readonly seconds: number;
  readonly interrupts: number;
  readonly tlbMisses: number;
  readonly walkReferences: number;
  /** The core's own counters, by the manual's names. */
  readonly exits: Readonly<Record<string, number>>;
}

export interface MachineStats {
  readonly mode: "metal" | "vm";
  readonly clock: "virtual" | "wall";
  readonly instructions: number;
  /** 0 with the wall clock. */
  readonly virtualSeconds: number;
  /** Exits by reason, all virtual CPUs. */
  readonly exits: Readonly<Record<string, number>>;
  readonly vcpus: readonly {
    readonly index: number;
    readonly pcpu: number;
    readonly total: number;
    readonly ledger: readonly LedgerRow[];
  }[];
  readonly pcpus: readonly CpuStats[];
  /** Sum of ledger entries = the core's counters, for every reason and virtual CPU. */
  readonly ledgerAgrees: boolean;
  readonly hostThreads: readonly {
    readonly label: string;
    readonly steps: number;
    readonly wakeUps: number;
  }[];
}

/** Reads all counters. In parallel mode: while the threads stand still. `cycles`: the machine's clock now. */
export function collectStats(assembly: Assembly, cycles: number): MachineStats {
  const { board, vm, hardware } = assembly;
  const { frequencyHz } = hardware.profile;
  const isWall = hardware.clock === "wall";
  const pcpus = board.cores.map((core): CpuStats => {
    const cpu = core!.state;
    const exits: Record<string, number> = {};
    cpu.exits.forEach((count, reason) => {
      if (count !== 0n) exits[exitReasonName(reason)] = Number(count);
    });
    const own = isWall ? cycles : cpu.instructions * cpu.cyclesPerInstruction + cpu.charged;
    return {
      instructions: cpu.instructions,
      seconds: own / frequencyHz,
      interrupts: Number(cpu.interruptsTaken),
      tlbMisses: Number(cpu.loadMisses + cpu.storeMisses + cpu.fetchMisses),
      walkReferences: Number(cpu.walkReferences),
      exits,
    };
  });
  const exits: Record<string, number> = {};
  for (const cpu of pcpus)
    for (const [name, count] of Object.entries(cpu.exits)) exits[name] = (exits[name] ?? 0) + count;
  const vcpus = (vm?.vcpus ?? []).map((vcpu) => ({
    index: vcpu.index,
    pcpu: vcpu.core.index,
    total: vcpu.ledger.total,
    ledger: vcpu.ledger.rows(),
  }));
  const threads = vm ? [vm.ioThread, ...(vm.pollThread ? [vm.pollThread] : [])] : [];
  return {
    mode: hardware.mode,
    clock: hardware.clock,
    instructions: pcpus.reduce((sum, cpu) => sum + cpu.instructions, 0),
    virtualSeconds: isWall ? 0 : cycles / frequencyHz,
    exits,
    vcpus,
    pcpus,
    ledgerAgrees: ledgerAgrees(assembly),
    hostThreads: threads.map(({ label, state: { steps, wakeUps } }) => ({ label, steps, wakeUps })),
  };
}

function ledgerAgrees({ vm }: Assembly): boolean {
  return (vm?.vcpus ?? []).every((vcpu) => {
    const counters = vcpu.core.state.exits;
    for (let reason = 0; reason < counters.length; reason++)
      if (Number(counters[reason]) !== vcpu.ledger.count(reason)) return false;
    return true;
  });
}

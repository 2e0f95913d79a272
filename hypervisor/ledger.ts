/**
 * The ledger: every exit is one entry. Sums over it equal the core's own counters, which a check compares.
 *
 * Entries are aggregated in shared memory by virtual CPU, reason and phase; the physical CPU is the virtual CPU's own
 * (each is pinned). A trace sees every entry as it is made.
 */
import { array, struct, type StateAllocator } from "../layout/struct.ts";
import { ExitReason } from "../layout/vmx.ts";

/** What part of an I/O an exit belongs to (S1's table): asking, emulating, completing, or none. */
export const PHASES = ["request", "emulation", "completion", "other"] as const;
export type Phase = (typeof PHASES)[number];
/** Their places in PHASES, which the ledger counts by. */
export const PhaseCode = { REQUEST: 0, EMULATION: 1, COMPLETION: 2, OTHER: 3 } as const;
export type PhaseCode = (typeof PhaseCode)[keyof typeof PhaseCode];

const REASONS = 72;

/** By (phase × 72 + reason). Cycles are sums of integers below 2^53, which a double holds exactly. */
export const LedgerStruct = struct("Ledger", {
  counts: array("u32", PHASES.length * REASONS),
  /** Direct cost: the switches themselves. */
  direct: array("f64", PHASES.length * REASONS),
  /** Synchronization cost: the time the virtual CPU stood still for the work done on its own thread. */
  synchronous: array("f64", PHASES.length * REASONS),
  /** Of one element. */
  entries: array("f64", 1),
});

const REASON_NAMES = new Map<number, string>(
  Object.entries(ExitReason).map(([name, value]) => [value, name]),
);

/** The manual's name of a basic exit reason. */
export function exitReasonName(reason: number): string {
  return REASON_NAMES.get(reason & 0xffff) ?? `REASON_${reason & 0xffff}`;
}

/** One exit, as a trace sees it. */
export interface LedgerEntry {
  readonly sequence: number;
  /** Cycle of the exit on the physical CPU's clock. */
  readonly time: number;
  readonly instructions: number;
  readonly vcpu: number;
  readonly pcpu: number;
  readonly reason: string;
  /** The exit qualification, all 64 bits: for some reasons it is a linear address. */
  readonly qualification: bigint;
  /** Guest RIP of the exit, all 64 bits. */
  readonly rip: bigint;
  readonly phase: Phase;
  readonly handler: string;
  readonly directCycles: number;
  /** Cache pollution and the like: not modelled by the profile, always 0 (docs/known-gaps.md). */
  readonly indirectCycles: number;
  readonly synchronousCycles: number;
}

/**
 * One line of a trace: the entry as JSON. The two fields of 64 bits are strings in hexadecimal ("0xffffffff81000000"), since
 * JSON's readers take numbers as doubles, which cannot hold them.
 */
export function traceLine(entry: LedgerEntry): string {
  const hexadecimal = (value: bigint): string => `0x${value.toString(16)}`;
  return JSON.stringify({
    ...entry,
    qualification: hexadecimal(entry.qualification),
    rip: hexadecimal(entry.rip),
  });
}

export interface LedgerRow {
  readonly reason: string;
  readonly phase: Phase;
  readonly count: number;
  readonly directCycles: number;
  readonly synchronousCycles: number;
}

export class Ledger {
  readonly #counts: Uint32Array;
  readonly #direct: Float64Array;
  readonly #synchronous: Float64Array;
  readonly #entries: Float64Array;

  constructor(state: StateAllocator, label: string) {
    const { counts, direct, synchronous, entries } = state.place(`${label} ledger`, LedgerStruct);
    this.#counts = counts;
    this.#direct = direct;
    this.#synchronous = synchronous;
    this.#entries = entries;
  }

  reset(): void {
    for (const sums of [this.#counts, this.#direct, this.#synchronous, this.#entries]) sums.fill(0);
  }

  /** Enters one exit; returns its sequence number on this virtual CPU. */
  enter(reason: number, phase: PhaseCode, directCycles: number, synchronousCycles: number): number {
    const index = phase * REASONS + (reason & 0xffff);
    this.#counts[index]!++;
    this.#direct[index]! += directCycles;
    this.#synchronous[index]! += synchronousCycles;
    return this.#entries[0]!++;
  }

  get total(): number {
    return this.#entries[0]!;
  }

  /** Exits of one reason over all phases. */
  count(reason: number): number {
    let sum = 0;
    for (let phase = 0; phase < PHASES.length; phase++) sum += this.#counts[phase * REASONS + reason]!;
    return sum;
  }

  /** All rows with exits, by reason and phase. */
  rows(): LedgerRow[] {
    const rows: LedgerRow[] = [];
    PHASES.forEach((phase, p) => {
      for (let reason = 0; reason < REASONS; reason++) {
        const index = p * REASONS + reason;
        const count = this.#counts[index]!;
        if (count === 0) continue;
        rows.push({
          reason: exitReasonName(reason),
          phase,
          count,
          directCycles: this.#direct[index]!,
          synchronousCycles: this.#synchronous[index]!,
        });
      }
    });
    return rows;
  }
}

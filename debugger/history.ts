/**
 * Checkpoints of a run, by number of exits: what `back` starts from. The first is kept whole; of the others only the
 * pages that differ from it. There is a most number of them: when it is reached, every second goes and the distance
 * doubles, so that any exit can be reached again by replaying a bounded part of the run.
 */
import type { Machine, Snapshot } from "../hypervisor/machine.ts";

const PAGE = 4096;

/** Pages of a buffer that differ from the first checkpoint's: page numbers and their bytes one after another. */
interface Difference {
  readonly pages: Uint32Array;
  readonly bytes: Uint8Array;
}

export interface Checkpoint {
  /** Exits in the ledger when it was taken. */
  readonly exits: number;
  /** Bytes that the guest had written to its serial port. */
  readonly serialBytes: number;
  readonly differences: readonly Difference[];
}

export interface HistoryOptions {
  /** Exits between two checkpoints, at first. */
  readonly interval: number;
  /** Most checkpoints, the first not counted. At least 2. */
  readonly most: number;
}

export class History {
  readonly #first: Snapshot;
  readonly #most: number;
  #interval: number;
  #checkpoints: Checkpoint[] = [];

  /** Takes the first checkpoint: the machine as it is, which must be before its first exit. */
  constructor(machine: Machine, options: HistoryOptions) {
    if (options.most < 2) throw new RangeError(`a history needs room for 2 checkpoints, not ${options.most}`);
    this.#first = machine.save();
    this.#most = options.most;
    this.#interval = options.interval;
  }

  /** Number of exits at which the next checkpoint is due. */
  get nextDue(): number {
    return (this.#checkpoints.at(-1)?.exits ?? 0) + this.#interval;
  }

  get checkpoints(): readonly Checkpoint[] {
    return this.#checkpoints;
  }

  /** Takes a checkpoint when one is due. */
  record(machine: Machine, exits: number, serialBytes: number): void {
    if (exits < this.nextDue) return;
    const snapshot = machine.save();
    const differences = buffersOf(snapshot).map((bytes, i) =>
      differenceOf(buffersOf(this.#first)[i]!, bytes),
    );
    this.#checkpoints.push({ exits, serialBytes, differences });
    if (this.#checkpoints.length <= this.#most) return;
    this.#checkpoints = this.#checkpoints.filter((_, i) => i % 2 === 1);
    this.#interval *= 2;
  }

  /**
   * Puts the machine back to the last checkpoint before exit number `exits`.
   * @returns how many exits and serial bytes lie before it
   */
  restoreBefore(machine: Machine, exits: number): { readonly exits: number; readonly serialBytes: number } {
    const checkpoint = this.#checkpoints.findLast((candidate) => candidate.exits < exits);
    if (checkpoint === undefined) {
      machine.restore(this.#first);
      return { exits: 0, serialBytes: 0 };
    }
    const [memory, ...overlays] = buffersOf(this.#first).map((bytes, i) =>
      apply(bytes, checkpoint.differences[i]!),
    );
    machine.restore({ memory: memory!, overlays });
    return checkpoint;
  }
}

const buffersOf = (snapshot: Snapshot): readonly Uint8Array[] => [snapshot.memory, ...snapshot.overlays];

function differenceOf(first: Uint8Array, now: Uint8Array): Difference {
  const a = Buffer.from(first.buffer, first.byteOffset, first.length);
  const b = Buffer.from(now.buffer, now.byteOffset, now.length);
  const pages: number[] = [];
  for (let at = 0; at < a.length; at += PAGE) {
    const end = Math.min(at + PAGE, a.length);
    if (a.compare(b, at, end, at, end) !== 0) pages.push(at / PAGE);
  }
  const bytes = new Uint8Array(pages.length * PAGE);
  pages.forEach((page, i) => bytes.set(now.subarray(page * PAGE, (page + 1) * PAGE), i * PAGE));
  return { pages: Uint32Array.from(pages), bytes };
}

function apply(first: Uint8Array, difference: Difference): Uint8Array {
  const whole = first.slice();
  difference.pages.forEach((page, i) => {
    // The last page of an odd-sized buffer is shorter.
    const length = Math.min(PAGE, whole.length - page * PAGE);
    whole.set(difference.bytes.subarray(i * PAGE, i * PAGE + length), page * PAGE);
  });
  return whole;
}

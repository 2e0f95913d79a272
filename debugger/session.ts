/**
 * A debugging session: a machine in virtual time that is moved from VM exit to VM exit, forwards by running and backwards
 * by restoring a checkpoint and replaying, which deterministic mode makes exact.
 */
import { Machine, OptionError, type MachineOptions, type RunResult } from "../hypervisor/machine.ts";
import type { LedgerEntry } from "../hypervisor/ledger.ts";
import { disassemble, type DisassembledInstruction } from "./disassemble.ts";
import { exitWords } from "./exit-words.ts";
import { GuestView } from "./guest-view.ts";
import { History } from "./history.ts";

/** Where the machine stands: right after an exit was handled. */
export interface Stop {
  /** Exits in the ledgers of all virtual CPUs, this one included: the first exit is 1. */
  readonly number: number;
  readonly entry: LedgerEntry;
  /** Exits met while the hypervisor's emulator ran the instruction of this one; numbered before it. */
  readonly nested: readonly LedgerEntry[];
  /** The exit's information in words. */
  readonly words: readonly string[];
  /** The instruction at the RIP of the exit, where its page is mapped. */
  readonly instruction: DisassembledInstruction | undefined;
  readonly mode: string;
}

export interface SessionOptions {
  /** A byte that the guest writes to its serial port; not again when a part of the run is replayed. */
  readonly onSerial: (byte: number) => void;
  /** Exits between checkpoints. Default 1,000. */
  readonly checkpointInterval?: number;
  /** Most checkpoints kept. Default 16. */
  readonly mostCheckpoints?: number;
}

/** Cycles between two looks at whether somebody interrupts. */
const SLICE_CYCLES = 50_000_000;
/** More exits than can nest in the emulation of one instruction. */
const RECENT = 16;

export class Session {
  readonly machine: Machine;
  readonly #history: History;
  readonly #onSerial: (byte: number) => void;
  #serialBytes = 0;
  #serialShown = 0;
  #recent: LedgerEntry[] = [];
  #stop: Stop | undefined;
  #ended: RunResult | undefined;

  /**
   * Powers the machine on; it has made no exit yet. Writes to drives stay in memory, since what has been written to a file
   * cannot be taken back.
   * @throws OptionError for a machine without VM exits, and what `Machine` throws
   */
  constructor(options: Omit<MachineOptions, "onSerial" | "onExit">, session: SessionOptions) {
    if (options.mode === "metal")
      throw new OptionError(
        "debug --mode metal: on the bare machine there are no VM exits to stop at; use --mode vm",
      );
    this.#onSerial = session.onSerial;
    this.machine = new Machine({
      ...options,
      drives: (options.drives ?? []).map((drive) =>
        drive.readOnly === true ? drive : { ...drive, snapshot: true },
      ),
      onSerial: (byte) => this.#serial(byte),
    });
    this.#history = new History(this.machine, {
      interval: session.checkpointInterval ?? 1000,
      most: session.mostCheckpoints ?? 16,
    });
  }

  #serial(byte: number): void {
    this.#serialBytes++;
    if (this.#serialBytes <= this.#serialShown) return;
    this.#serialShown = this.#serialBytes;
    this.#onSerial(byte);
  }

  /** The exit at which the machine stands; undefined before the first. */
  get stop(): Stop | undefined {
    return this.#stop;
  }

  /** How the run ended, if it has. */
  get ended(): RunResult | undefined {
    return this.#ended;
  }

  /** Exits so far. */
  get exits(): number {
    return this.machine.vm!.vcpus.reduce((sum, vcpu) => sum + vcpu.ledger.total, 0);
  }

  /** The virtual CPU of the last exit, else the first. */
  get vcpu(): GuestView {
    return this.view(this.#stop?.entry.vcpu ?? 0)!;
  }

  /** Virtual CPU `index`, if there is one. */
  view(index: number): GuestView | undefined {
    const vcpu = this.machine.vm!.vcpus[index];
    return vcpu === undefined ? undefined : new GuestView(vcpu);
  }

  /**
   * Runs to the next exit that `wanted` accepts. Stops early when the guest ends or `interrupted()`, asked now and then;
   * the session then stands at the last exit made.
   * @returns true when such an exit was found
   */
  async runTo(wanted: (entry: LedgerEntry) => boolean, interrupted = (): boolean => false): Promise<boolean> {
    return this.#advance((entry) => wanted(entry), interrupted);
  }

  /**
   * Goes `count` exits back: to that exit, or the nearest before it at which the machine can stand.
   * @returns false when there is no earlier one
   */
  async back(count: number): Promise<boolean> {
    const from = this.exits;
    // The run may stand beyond its last exit: ended, or interrupted. One back is still the exit before that.
    if (from <= 1) return false;
    for (let target = Math.max(1, from - count); ; target--) {
      const start = this.#history.restoreBefore(this.machine, target);
      this.#serialBytes = start.serialBytes;
      await this.#advance(
        (_, number) => number >= target,
        () => false,
      );
      if (this.exits < from || target === 1) return this.exits < from;
    }
  }

  async #advance(
    wanted: (entry: LedgerEntry, number: number) => boolean,
    interrupted: () => boolean,
  ): Promise<boolean> {
    this.#ended = undefined;
    this.#recent = [];
    const search = { isFound: false };
    const pauseAt = (entry: LedgerEntry): boolean => {
      if (this.#recent.push(entry) > RECENT) this.#recent.shift();
      const number = this.exits;
      if (wanted(entry, number)) search.isFound = true;
      return search.isFound || number >= this.#history.nextDue;
    };
    for (;;) {
      const result = this.machine.run({ pauseAt, untilCycle: this.machine.cycles + SLICE_CYCLES });
      if (result.end !== "paused") this.#ended = result;
      else this.#history.record(this.machine, this.exits, this.#serialBytes);
      if (search.isFound || result.end !== "paused" || interrupted()) break;
      // Lets a signal be noticed.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const last = this.#recent.at(-1);
    if (last !== undefined) this.#stop = this.#describe(last);
    return search.isFound;
  }

  #describe(entry: LedgerEntry): Stop {
    const view = this.view(entry.vcpu)!;
    // An exit inside another's emulation began after it on the same virtual CPU, and was entered before it.
    const nested: LedgerEntry[] = [];
    for (const earlier of this.#recent.slice(0, -1).reverse()) {
      if (earlier.vcpu !== entry.vcpu || earlier.time < entry.time) break;
      nested.unshift(earlier);
    }
    return {
      number: this.exits,
      entry,
      nested,
      // The fields are those of the last exit made: with nested ones, not this one's.
      words: nested.length === 0 ? exitWords(entry, view.vcpu) : [],
      instruction: disassemble(view, entry.rip, 1)[0],
      mode: view.mode(),
    };
  }

  /** Closes the image files. */
  close(): void {
    this.machine.close();
  }
}

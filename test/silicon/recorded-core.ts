/**
 * A `SiliconCore` that plays a corpus's own outcomes back, optionally with a planted error. With it the replay itself is
 * tested: it must accept every recorded outcome and notice every kind of wrong one.
 */
import type { CaseOutcome } from "./case.ts";
import { WINDOW, WINDOW_BYTES } from "./environment.ts";
import type { Corpus, SiliconCore, SiliconException } from "./replay.ts";

export class RecordedCore implements SiliconCore {
  readonly #outcomes: readonly CaseOutcome[];
  readonly #window = new Uint8Array(WINDOW_BYTES);
  readonly #alter: (outcome: CaseOutcome, index: number) => CaseOutcome;
  #next = 0;
  #present: CaseOutcome | undefined;

  /** `alter` may replace the outcome of any case, numbered from 0. */
  constructor(
    corpus: Corpus,
    alter: (outcome: CaseOutcome, index: number) => CaseOutcome = (outcome) => outcome,
  ) {
    this.#outcomes = corpus.cases.map(({ outcome }) => outcome);
    this.#alter = alter;
  }

  enter(): void {
    this.#next = 0;
  }

  writeMemory(address: number, bytes: Uint8Array): void {
    if (address >= WINDOW) this.#window.set(bytes, address - WINDOW);
  }

  window(): Uint8Array {
    return this.#window;
  }

  setRegisters(): void {
    this.#present = undefined;
  }

  setMedia(): void {
    this.#present = undefined;
  }

  media(): Uint8Array {
    return this.#present!.media!;
  }

  step(): SiliconException | undefined {
    const outcome = this.#alter(this.#outcomes[this.#next]!, this.#next);
    this.#next++;
    this.#present = outcome;
    for (const [offset, value] of outcome.changes) this.#window[offset] = value;
    return outcome.vector === undefined
      ? undefined
      : { vector: outcome.vector, error: outcome.error, cr2: outcome.cr2 };
  }

  registers(gpr: BigUint64Array): { readonly rip: bigint; readonly rflags: bigint } {
    const outcome = this.#present!;
    gpr.set(outcome.gpr);
    return { rip: outcome.rip, rflags: outcome.rflags };
  }
}

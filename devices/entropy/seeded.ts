/** Random numbers that a run can repeat: the generator sfc32 (C. Doty-Humphrey), its state with the machine's. Not for secrets. */
import { array, struct, type ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, EntropySource, Resettable } from "../ports.ts";

export const SeededEntropyStruct = struct("SeededEntropy", { words: array("u32", 4) });

/** Outputs that are dropped first, so that a seed's few bits reach all of the state. */
const WARM_UP = 12;

export class SeededEntropy implements EntropySource, Resettable {
  readonly #state: ViewOf<typeof SeededEntropyStruct>;
  readonly #seed: number;

  constructor(context: DeviceContext, options: { readonly label: string; readonly seed: number }) {
    this.#state = context.state.place(options.label, SeededEntropyStruct);
    this.#seed = options.seed;
  }

  reset(): void {
    this.#state.words.set([this.#seed, 0, 0, 1]);
    for (let i = 0; i < WARM_UP; i++) this.#next();
  }

  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; at += 4) {
      const word = this.#next();
      for (let i = 0; i < 4 && at + i < into.length; i++) into[at + i] = word >>> (8 * i);
    }
  }

  #next(): number {
    const s = this.#state.words;
    const [a, b, c, counter] = [s[0]!, s[1]!, s[2]!, s[3]!];
    const result = (a + b + counter) >>> 0;
    s[0] = b ^ (b >>> 9);
    s[1] = c + (c << 3);
    s[2] = ((c << 21) | (c >>> 11)) + result;
    s[3] = counter + 1;
    return result;
  }
}

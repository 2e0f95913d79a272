/**
 * Several sources on one interrupt wire: the wire is asserted while any source asserts it.
 */
import { struct, u32 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, Resettable } from "../ports.ts";

export const WiredOrStruct = struct("WiredOr", {
  /** One bit a source. */
  asserted: u32,
});

/** A wired-OR of up to 32 sources. Which source has which bit is the order of `source()` calls: configuration. */
export class WiredOr implements Resettable {
  readonly #state: ViewOf<typeof WiredOrStruct>;
  readonly #output: InterruptLine;
  #sources = 0;

  constructor(context: DeviceContext, label: string, output: InterruptLine) {
    this.#state = context.state.place(label, WiredOrStruct);
    this.#output = output;
  }

  /** Makes one more source. */
  source(): InterruptLine {
    if (this.#sources === 32) throw new RangeError("a wired-OR has at most 32 sources");
    const bit = 1 << this.#sources++;
    return {
      set: (level) => {
        const s = this.#state;
        s.asserted = level ? s.asserted | bit : s.asserted & ~bit;
        this.#output.set(s.asserted !== 0);
      },
    };
  }

  reset(): void {
    this.#state.asserted = 0;
    this.#output.set(false);
  }
}

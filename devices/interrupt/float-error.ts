/**
 * How a PC hears of floating-point errors from a processor with CR0.NE = 0: FERR# sets a latch that is IRQ 13; a write to port
 * F0H clears it and asserts IGNNE# until FERR# goes away. SDM Vol. 1, "MS-DOS* Compatibility Sub-mode".
 */
import { struct, u8, type ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, PortDevice, Resettable } from "../ports.ts";

export const FLOAT_ERROR_PORT = 0xf0;

const FloatErrorStruct = struct("FloatErrorLatch", {
  /** FERR# is asserted. */
  error: u8,
});

export interface FloatErrorOptions {
  readonly label: string;
  readonly irq: InterruptLine;
  /** Asserts IGNNE#, which the processor drops with FERR#. */
  readonly ignore: () => void;
}

export class FloatErrorLatch implements PortDevice, Resettable {
  readonly #state: ViewOf<typeof FloatErrorStruct>;
  readonly #irq: InterruptLine;
  readonly #ignore: () => void;

  constructor(context: DeviceContext, { label, irq, ignore }: FloatErrorOptions) {
    this.#state = context.state.place(label, FloatErrorStruct);
    this.#irq = irq;
    this.#ignore = ignore;
  }

  /** FERR# of the processor. */
  setError(level: boolean): void {
    if (level && this.#state.error === 0) this.#irq.set(true);
    this.#state.error = level ? 1 : 0;
  }

  readPort(): number {
    return 0xff;
  }

  writePort(): void {
    this.#irq.set(false);
    if (this.#state.error !== 0) this.#ignore();
  }

  reset(): void {
    this.#state.error = 0;
    this.#irq.set(false);
  }
}

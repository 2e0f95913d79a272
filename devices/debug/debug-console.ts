/** The port to which firmware writes its log, as QEMU's `isa-debugcon` has it: a read tells that somebody listens. */
import type { PortDevice } from "../ports.ts";

export const DEBUG_CONSOLE_PORT = 0x402;
const LISTENING = 0xe9;

export class DebugConsole implements PortDevice {
  readonly #transmit: (byte: number) => void;

  constructor(transmit: (byte: number) => void) {
    this.#transmit = transmit;
  }

  readPort(): number {
    return LISTENING;
  }

  writePort(_offset: number, _size: 1 | 2 | 4, value: number): void {
    this.#transmit(value & 0xff);
  }
}

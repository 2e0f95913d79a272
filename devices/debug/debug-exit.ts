/**
 * The debug-exit port, as QEMU's "isa-debug-exit" documents it: a write ends the machine, and the process's exit
 * status is `(value << 1) | 1`. It has no state. Reads give zero.
 */
import type { PortDevice, SystemControl } from "../ports.ts";

/** Usual place of the port. */
export const DEBUG_EXIT_PORT = 0xf4;
export const DEBUG_EXIT_PORTS = 4;

export class DebugExit implements PortDevice {
  readonly #system: SystemControl;

  constructor(system: SystemControl) {
    this.#system = system;
  }

  readPort(): number {
    return 0;
  }

  writePort(_offset: number, _size: 1 | 2 | 4, value: number): void {
    this.#system.requestExit(value >>> 0);
  }
}

/** The serial port on stdin and stdout. */
import { writeSync } from "node:fs";
import type { Machine } from "../hypervisor/machine.ts";
import type { ParallelMachine } from "../hypervisor/parallel-machine.ts";
import { TerminalInput, type GuestConsole } from "./console.ts";

/** Writes all of it to stdout, now; a closed pipe ends it. */
export function writeAll(bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(1, bytes, at, bytes.length - at);
    } catch (error) {
      // A full pipe: try again; a closed one: nobody listens.
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") continue;
      return;
    }
  }
}

/** Output is gathered and written in pieces; none is lost, whatever ends the process. */
export class SerialConsole implements GuestConsole {
  readonly #output = Buffer.alloc(4096);
  #length = 0;
  #waiting = Buffer.alloc(0);
  readonly #input = new TerminalInput((data) => (this.#waiting = Buffer.concat([this.#waiting, data])));

  get quit(): boolean {
    return this.#input.quit;
  }

  get isOpen(): boolean {
    return this.#input.isOpen;
  }

  transmit(byte: number): void {
    this.#output[this.#length++] = byte;
    if (this.#length === this.#output.length || byte === 10) this.show();
  }

  feed(machine: Machine | ParallelMachine): number {
    if (this.#waiting.length === 0) return 0;
    const accepted = machine.receive(this.#waiting);
    this.#waiting = this.#waiting.subarray(accepted);
    return accepted;
  }

  show(): void {
    const length = this.#length;
    this.#length = 0;
    writeAll(this.#output.subarray(0, length));
  }

  close(): void {
    this.show();
    this.#input.close();
  }
}

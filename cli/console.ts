/** Where a guest's serial output goes and its input comes from while the command line runs it. */
import type { Machine } from "../hypervisor/machine.ts";
import type { ParallelMachine } from "../hypervisor/parallel-machine.ts";

export interface GuestConsole {
  /** The user wants to end the run. */
  readonly quit: boolean;
  /** Something may still come that wakes a halted guest. */
  readonly isOpen: boolean;
  /** A byte of the serial port. */
  transmit(byte: number): void;
  /** Gives the machine what it takes of what has come; returns how much that was. */
  feed(machine: Machine | ParallelMachine): number;
  /** Shows what is to be shown; called between slices of the run. */
  show(machine: Machine | ParallelMachine): void;
  /** At the end of the run, or when it fails: leaves the terminal as it was, and on it what is to be read afterwards. */
  close(machine: Machine | ParallelMachine): void;
}

const CTRL_A = 1;

/** What is typed on a terminal: Ctrl-A X quits, Ctrl-A Ctrl-A is Ctrl-A. Of other input every byte is the guest's. */
export class TerminalInput {
  quit = false;
  #hasEnded = false;
  #afterCtrlA = false;

  /** @param take gets what is the guest's, as it comes */
  constructor(take: (data: Buffer) => void) {
    const { stdin } = process;
    if (stdin.isTTY) stdin.setRawMode(true);
    stdin.on("data", (data: Buffer) => take(stdin.isTTY ? this.#filter(data) : data));
    stdin.on("end", () => (this.#hasEnded = true));
    stdin.on("error", () => (this.#hasEnded = true));
  }

  get isOpen(): boolean {
    return !this.#hasEnded;
  }

  #filter(data: Buffer): Buffer {
    const kept: number[] = [];
    for (const byte of data) {
      if (this.#afterCtrlA) {
        this.#afterCtrlA = false;
        if (byte === 0x78 || byte === 0x58) this.quit = true;
        else if (byte === CTRL_A) kept.push(CTRL_A);
      } else if (byte === CTRL_A) this.#afterCtrlA = true;
      else kept.push(byte);
    }
    return Buffer.from(kept);
  }

  close(): void {
    const { stdin } = process;
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
    for (const event of ["data", "end", "error"]) stdin.removeAllListeners(event);
  }
}

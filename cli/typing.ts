/** Keys that a script types: `--keys TEXT`, each after the `--keys-at SECONDS` or `--keys-after TEXT` that stands before it. */
import { keyEvents } from "../devices/input/scan-codes.ts";
import type { Screen } from "../devices/vga/screen.ts";

/** When keys are typed: at a time of the machine's clock, or once the guest has shown a text on screen or serial port. */
export type TypingMoment = { readonly seconds: number } | { readonly text: string };

export interface Typing {
  readonly moment: TypingMoment;
  readonly keys: string;
}

/** What the options say, in the order in which they stand. */
export class TypingOptions {
  readonly typings: Typing[] = [];
  #moment: TypingMoment | undefined;

  at(seconds: string): void {
    const value = Number(seconds);
    if (seconds === "" || !Number.isFinite(value) || value < 0)
      throw new Error(`${seconds}: must be a number of seconds, 0 or more`);
    this.#moment = { seconds: value };
  }

  after(text: string): void {
    if (text === "") throw new Error("the text to wait for is empty");
    this.#moment = { text };
  }

  /** Throws where there is no such key. */
  type(keys: string): void {
    keyEvents(keys);
    this.typings.push({ moment: this.#moment ?? { seconds: 0 }, keys });
    this.#moment = undefined;
  }
}

interface Typist {
  readonly seconds: number;
  readonly screen: Screen | undefined;
  type(keys: string): void;
}

const SERIAL_KEPT = 65536;

/** Types what is due. Looked at between slices of the run: in virtual time these are the same in every run. */
export class Typer {
  #waiting: readonly Typing[];
  /** What the guest has sent since the last typing. */
  #serial = "";

  constructor(typings: readonly Typing[]) {
    this.#waiting = typings;
  }

  get isDone(): boolean {
    return this.#waiting.length === 0;
  }

  /** A byte of the serial port. */
  heard(byte: number): void {
    if (this.isDone) return;
    this.#serial += String.fromCharCode(byte);
    if (this.#serial.length > 2 * SERIAL_KEPT) this.#serial = this.#serial.slice(-SERIAL_KEPT);
  }

  look(machine: Typist): void {
    const [next] = this.#waiting;
    if (next === undefined || !this.#isDue(next.moment, machine)) return;
    this.#waiting = this.#waiting.slice(1);
    this.#serial = "";
    machine.type(next.keys);
  }

  #isDue(moment: TypingMoment, machine: Typist): boolean {
    if ("seconds" in moment) return machine.seconds >= moment.seconds;
    if (this.#serial.includes(moment.text)) return true;
    return machine.screen?.text?.join("\n").includes(moment.text) === true;
  }
}

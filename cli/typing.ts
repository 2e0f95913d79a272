/** Keys that a script types: `--keys TEXT`, each after the `--keys-at SECONDS` or `--keys-after TEXT` that stands before it. */
import { keyEvents } from "../devices/input/scan-codes.ts";

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

interface Shower {
  readonly screenText: readonly string[] | undefined;
}

interface Typist extends Shower {
  readonly seconds: number;
  type(keys: string): void;
}

const SERIAL_KEPT = 65536;

/** What a guest has shown: on its screen now, and on its serial port since a moment. */
export class Shown {
  #serial = "";

  /** A byte of the serial port. */
  heard(byte: number): void {
    this.#serial += String.fromCharCode(byte);
    if (this.#serial.length > 2 * SERIAL_KEPT) this.#serial = this.#serial.slice(-SERIAL_KEPT);
  }

  forgetSerial(): void {
    this.#serial = "";
  }

  has(text: string, machine: Shower): boolean {
    return this.#serial.includes(text) || machine.screenText?.join("\n").includes(text) === true;
  }
}

/** Types what is due. Looked at between slices of the run: in virtual time these are the same in every run. */
export class Typer {
  #waiting: readonly Typing[];
  /** The serial port counts from the last typing on. */
  readonly #shown = new Shown();

  constructor(typings: readonly Typing[]) {
    this.#waiting = typings;
  }

  get isDone(): boolean {
    return this.#waiting.length === 0;
  }

  /** A byte of the serial port. */
  heard(byte: number): void {
    if (!this.isDone) this.#shown.heard(byte);
  }

  look(machine: Typist): void {
    const [next] = this.#waiting;
    if (next === undefined || !this.#isDue(next.moment, machine)) return;
    this.#waiting = this.#waiting.slice(1);
    this.#shown.forgetSerial();
    machine.type(next.keys);
  }

  #isDue(moment: TypingMoment, machine: Typist): boolean {
    return "seconds" in moment ? machine.seconds >= moment.seconds : this.#shown.has(moment.text, machine);
  }
}

/**
 * The guest's screen in the terminal, and the terminal's keys on the guest's keyboard: `exitless screen`. Pictures are drawn as two pixels a
 * character (upper half block). Without a terminal the screen is printed once, at the end.
 */
import type { Machine } from "../hypervisor/machine.ts";
import type { ParallelMachine } from "../hypervisor/parallel-machine.ts";
import type { Screen, TextScreen } from "../devices/vga/screen.ts";
import { TerminalInput, type GuestConsole } from "./console.ts";
import { writeAll } from "./serial-console.ts";
import { keysOf } from "./terminal-keys.ts";

/** Milliseconds between two drawings. */
const FRAME = 100;
const ENTER = "\x1b[?1049h\x1b[2J";
const LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l";
const UPPER_HALF = "▀";

const colour = (layer: 38 | 48, rgb: number): string =>
  `\x1b[${layer};2;${rgb >> 16};${(rgb >> 8) & 255};${rgb & 255}m`;

interface Cell {
  readonly character: string;
  readonly foreground: number;
  readonly background: number;
}

/** One line, with a change of colour only where colours change. */
function line(cells: readonly Cell[]): string {
  let text = "";
  let before: Cell | undefined;
  for (const cell of cells) {
    if (cell.foreground !== before?.foreground) text += colour(38, cell.foreground);
    if (cell.background !== before?.background) text += colour(48, cell.background);
    text += cell.character;
    before = cell;
  }
  return `${text}\x1b[0m`;
}

/** A picture as cells, no wider and higher than the terminal, in its own proportions. */
function cellsOf({ width, height, rgb }: Screen, columns: number, rows: number): Cell[][] {
  const scale = Math.max(width / columns, height / (2 * rows), 1);
  const pixel = (x: number, y: number): number => {
    const at =
      3 * (Math.min(height - 1, Math.floor(y * scale)) * width + Math.min(width - 1, Math.floor(x * scale)));
    return (rgb[at]! << 16) | (rgb[at + 1]! << 8) | rgb[at + 2]!;
  };
  return Array.from({ length: Math.floor(height / scale / 2) }, (_, row) =>
    Array.from({ length: Math.floor(width / scale) }, (__, column) => ({
      character: UPPER_HALF,
      foreground: pixel(column, 2 * row),
      background: pixel(column, 2 * row + 1),
    })),
  );
}

/** A screen as lines of text: what it shows, or what kind of picture. */
export function linesOf({ text, width, height }: Screen): readonly string[] {
  return text ?? [`(a picture of ${width} x ${height} pixels)`];
}

/** What the terminal must be told to show a screen, when it shows `before`. Line by line; what is equal is left out. */
export function drawing(
  before: readonly string[],
  lines: readonly string[],
  cursor: TextScreen["cursor"],
): string {
  let text = "\x1b[?25l";
  for (let row = 0; row < Math.max(before.length, lines.length); row++)
    if (lines[row] !== before[row]) text += `\x1b[${row + 1};1H${lines[row] ?? ""}\x1b[K`;
  return cursor ? `${text}\x1b[${cursor.row + 1};${cursor.column + 1}H\x1b[?25h` : text;
}

export class ScreenConsole implements GuestConsole {
  #keys = "";
  #shown: readonly string[] = [];
  #last = 0;
  #isEntered = false;
  readonly #input = new TerminalInput((data) => (this.#keys += keysOf(data.toString("latin1"))));
  readonly #isTerminal = process.stdout.isTTY;
  readonly #resized = (): void => void (this.#shown = []);

  constructor() {
    if (this.#isTerminal) process.stdout.on("resize", this.#resized);
  }

  get quit(): boolean {
    return this.#input.quit;
  }

  get isOpen(): boolean {
    return this.#input.isOpen;
  }

  /** The serial port leads nowhere. */
  transmit(): void {}

  feed(machine: Machine | ParallelMachine): number {
    const { length } = this.#keys;
    if (length > 0) machine.type(this.#keys);
    this.#keys = "";
    return length;
  }

  show(machine: Machine | ParallelMachine): void {
    if (!this.#isTerminal || performance.now() - this.#last < FRAME) return;
    this.#last = performance.now();
    const { columns, rows } = process.stdout;
    const text = machine.textScreen;
    const picture = text === undefined ? machine.screen : undefined;
    const cells = text?.rows ?? (picture && cellsOf(picture, columns, rows)) ?? [];
    const lines = cells.slice(0, rows).map((row) => line(row.slice(0, columns)));
    const start = this.#isEntered ? "" : ENTER;
    this.#isEntered = true;
    writeAll(Buffer.from(start + drawing(this.#shown, lines, text?.cursor)));
    this.#shown = lines;
  }

  /** Leaves the last screen on stdout. */
  close({ screen }: Machine | ParallelMachine): void {
    this.#input.close();
    process.stdout.removeListener("resize", this.#resized);
    if (this.#isEntered) writeAll(Buffer.from(LEAVE));
    if (screen) writeAll(Buffer.from(`${linesOf(screen).join("\n")}\n`));
  }
}

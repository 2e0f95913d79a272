/** What firmware writes to its debug port, line by line into a file: any thread may be the one to write. */
import { appendFileSync, writeFileSync } from "node:fs";

const LINE_END = 10;
const MOST_BYTES_A_LINE = 4096;

export class FirmwareLog {
  readonly #file: string;
  readonly #line = Buffer.alloc(MOST_BYTES_A_LINE);
  #length = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Makes the file anew. Throws what the host's file system throws. */
  static start(file: string): void {
    writeFileSync(file, "");
  }

  transmit(byte: number): void {
    this.#line[this.#length++] = byte;
    if (byte !== LINE_END && this.#length < MOST_BYTES_A_LINE) return;
    try {
      appendFileSync(this.#file, this.#line.subarray(0, this.#length));
    } catch {
      // The machine goes on without its log: a full disk is no fault of the guest's.
    }
    this.#length = 0;
  }
}

/**
 * Captures in the format of libpcap (draft-ietf-opsawg-pcap, "PCAP Capture File Format"), with nanoseconds. Records are appended in one write each,
 * so that threads which take turns can share a file.
 */
import { closeSync, openSync, writeSync } from "node:fs";

const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

export interface CaptureOptions {
  readonly file: string;
  /** Bytes of each frame that are kept. */
  readonly mostBytes: number;
}

function fileHeader(mostBytes: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANOSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, mostBytes, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

export class Capture {
  readonly #fd: number;
  readonly #mostBytes: number;
  #failed = false;

  /** @param begin empties the file and writes its header; false on threads that join in */
  constructor({ file, mostBytes }: CaptureOptions, begin: boolean) {
    this.#mostBytes = mostBytes;
    if (begin) {
      const fd = openSync(file, "w");
      writeSync(fd, fileHeader(mostBytes));
      closeSync(fd);
    }
    this.#fd = openSync(file, "a");
  }

  /** Appends a frame. A disk that is full ends the capture, not the machine. */
  add(seconds: number, nanoseconds: number, frame: Uint8Array): void {
    if (this.#failed) return;
    const kept = Math.min(frame.length, this.#mostBytes);
    const record = new Uint8Array(RECORD_HEADER_BYTES + kept);
    const view = new DataView(record.buffer);
    view.setUint32(0, seconds, true);
    view.setUint32(4, nanoseconds, true);
    view.setUint32(8, kept, true);
    view.setUint32(12, frame.length, true);
    record.set(frame.subarray(0, kept), RECORD_HEADER_BYTES);
    try {
      writeSync(this.#fd, record);
    } catch {
      this.#failed = true;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

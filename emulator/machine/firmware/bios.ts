/** Firmware that runs on the machine: a raw BIOS image, and what the board tells it. */
import type { FwCfgItems } from "../../../devices/firmware/fw-cfg.ts";
import { ImageError } from "../loaders/image-error.ts";
import { readImage, type ImageFile } from "../read-image.ts";

const KIB = 1024;
const LEAST_BYTES = 64 * KIB;
const MOST_BYTES = 16 * 1024 * KIB;

/** Boot devices in the order to try them, as CMOS has them: 1 floppy, 2 hard disk, 3 CD-ROM, 4 network, 0 none. */
export type BootOrder = readonly [number, number, number];

/** What a board with firmware consists of beside its devices. */
export interface Firmware {
  /** The ROM's contents. */
  readonly rom: Uint8Array;
  readonly bootOrder: BootOrder;
  readonly items: FwCfgItems;
  /** Takes what the firmware writes to its debug port. */
  readonly log?: (byte: number) => void;
}

/** Reads a BIOS image. Throws ImageError where it cannot be one. */
export function readBios(file: string | ImageFile): Uint8Array {
  const { path, bytes } = typeof file === "string" ? readImage(file, "BIOS", MOST_BYTES) : file;
  const refuse = (where: string, why: string): ImageError =>
    new ImageError({
      file: path,
      what: "BIOS",
      where,
      why,
      hint: "name a raw BIOS image, such as SeaBIOS's bios-256k.bin",
    });
  if (bytes.length < LEAST_BYTES || bytes.length % LEAST_BYTES !== 0)
    throw refuse("size", `it has ${bytes.length} bytes, which is not a multiple of 64 KiB`);
  const resetVector = bytes.subarray(bytes.length - 16);
  if (resetVector.every((byte) => byte === 0) || resetVector.every((byte) => byte === 0xff))
    throw refuse("last 16 bytes", "there is no code at the reset vector FFFFFFF0H");
  return bytes;
}

const BOOT_LETTERS: Readonly<Record<string, number>> = { a: 1, c: 2, d: 3, n: 4 };

/** `cd` to a boot order. Throws RangeError with the rule where a letter is none, comes twice, or is one too many. */
export function parseBootOrder(letters: string): BootOrder {
  const codes = Array.from(letters, (letter) => BOOT_LETTERS[letter]);
  const isValid = codes.length >= 1 && codes.length <= 3 && new Set(codes).size === codes.length;
  if (!isValid || codes.includes(undefined))
    throw new RangeError(
      `boot order "${letters}": must be one to three different letters of a (floppy), c (hard disk), d (CD-ROM), n (network)`,
    );
  return [codes[0] ?? 0, codes[1] ?? 0, codes[2] ?? 0];
}

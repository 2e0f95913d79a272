/** Reading boot images from the host's file system: host trouble becomes an `ImageError`. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import { ImageError, hex } from "./loaders/image-error.ts";

/** A file's contents with the name by which errors and command lines speak of it. */
export interface ImageFile {
  /** As the person named it; errors say it. */
  readonly path: string;
  /** Last component of the path: what a kernel sees as argument 0, so that a run does not depend on the folder. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** No image that fits in the machine's memory is larger: RAM and state together stay below 4 GiB. */
export const MAX_IMAGE_BYTES = 0xf0000000;

const REASONS: Readonly<Record<string, readonly [why: string, hint: string]>> = {
  ENOENT: ["there is no such file", "check the path"],
  ENOTDIR: ["a folder on the way is a file", "check the path"],
  EACCES: ["the file may not be read", "change its permissions"],
  EPERM: ["the file may not be read", "change its permissions"],
  EISDIR: ["it is a directory", "name a file"],
  ELOOP: ["its symbolic links form a loop", "name the file itself"],
  EMFILE: ["the process has too many open files", "close some or raise the limit"],
};

function hostTrouble(path: string, what: string, error: unknown): ImageError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
  const [why, hint] = REASONS[code] ?? [`the host reports ${code}`, "check the file and its disk"];
  return new ImageError({ file: path, what, where: "host file system", why, hint }, { cause: error });
}

/**
 * Reads a whole boot image.
 *
 * @param what the image's role, for errors: "kernel", "initrd"
 * @param limitBytes largest size accepted
 * @throws ImageError when it is missing, not a regular file, empty, too large, or the host cannot read it
 */
export function readImage(path: string, what: string, limitBytes = MAX_IMAGE_BYTES): ImageFile {
  const refuse = (why: string, hint: string): ImageError =>
    new ImageError({ file: path, what, where: "host file system", why, hint });
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    throw hostTrouble(path, what, error);
  }
  try {
    const status = fstatSync(file);
    if (status.isDirectory()) throw refuse("it is a directory", "name a file");
    if (!status.isFile()) throw refuse("it is not a regular file", "copy its contents to a file");
    if (status.size === 0) throw refuse("it is empty", "name an image with contents");
    if (status.size > limitBytes)
      throw refuse(`it has ${status.size} bytes, more than ${hex(limitBytes)}`, "name a smaller image");
    const bytes = new Uint8Array(status.size);
    let filled = 0;
    while (filled < bytes.length) {
      const count = readSync(file, bytes, filled, bytes.length - filled, filled);
      if (count === 0) throw refuse(`it shrank to ${filled} bytes while being read`, "try again");
      filled += count;
    }
    return { path, name: basename(path), bytes };
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw hostTrouble(path, what, error);
  } finally {
    closeSync(file);
  }
}

/**
 * Archives for the kernel's initramfs: Linux kernel documentation, "initramfs buffer format" ("newc" cpio).
 */
const TRAILER = "TRAILER!!!";
const DIRECTORY = 0o040755;
const FILE = 0o100644;
const PROGRAM = 0o100755;
const CHARACTER_DEVICE = 0o020600;

/** An archive to which entries are added in order; all times are 0 and all owners root, so that equal inputs give equal bytes. */
export class CpioArchive {
  #parts = [];
  #inode = 1;

  directory(path) {
    this.#add(path, DIRECTORY, Buffer.alloc(0));
  }

  /** @param {string} path without a leading slash; its directory must have been added */
  file(path, bytes, { isProgram = false } = {}) {
    this.#add(path, isProgram ? PROGRAM : FILE, Buffer.from(bytes));
  }

  characterDevice(path, major, minor) {
    this.#add(path, CHARACTER_DEVICE, Buffer.alloc(0), [major, minor]);
  }

  /** The whole archive. */
  bytes() {
    return Buffer.concat([...this.#parts, this.#entry(TRAILER, 0, Buffer.alloc(0), [0, 0], 0)]);
  }

  #add(path, mode, bytes, device = [0, 0]) {
    this.#parts.push(this.#entry(path, mode, bytes, device, this.#inode++));
  }

  #entry(path, mode, bytes, [major, minor], inode) {
    const name = Buffer.from(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, major, minor, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
    const padded = (buffer) => Buffer.concat([buffer, Buffer.alloc(-buffer.length & 3)]);
    return Buffer.concat([padded(Buffer.concat([Buffer.from(header, "ascii"), name])), padded(bytes)]);
  }
}

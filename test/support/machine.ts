/** Machines for tests: our guest kernel with a script, on a small disk. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kernelPath, makeImage } from "../../cli/compare.ts";
import { Machine, type MachineOptions, type RunResult } from "../../hypervisor/machine.ts";

/** A folder that goes away with the test file. */
export class TemporaryFolder {
  readonly path = mkdtempSync(join(tmpdir(), "exitless-test-"));
  /** Writes a disk image of pseudo-random contents and returns its path. */
  disk(bytes = 4 * 1024 * 1024, name = "disk.img"): string {
    const file = join(this.path, name);
    writeFileSync(file, makeImage(bytes));
    return file;
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface GuestRun {
  readonly machine: Machine;
  /** What the guest has printed so far. */
  readonly text: () => string;
}

/** A machine about to run a script of our guest kernel. The TSC's frequency is given, so nothing is calibrated. */
export function guestMachine(
  script: string,
  options: Partial<MachineOptions> & { append?: string } = {},
): GuestRun {
  const serial: number[] = [];
  const { append = "", ...rest } = options;
  const machine = new Machine({
    kernel: kernelPath(),
    append: `${append} tsc=2670000000 script=${script}`.trim(),
    memory: 16,
    onSerial: (byte) => serial.push(byte),
    ...rest,
  });
  return { machine, text: () => Buffer.from(serial).toString("latin1") };
}

/** Runs a script to its end. */
export function runGuest(
  script: string,
  options: Partial<MachineOptions> = {},
): { readonly result: RunResult; readonly text: string; readonly machine: Machine } {
  const { machine, text } = guestMachine(script, options);
  const result = machine.run();
  machine.close();
  return { result, text: text(), machine };
}

/** A multiboot 1 image that gives its addresses in its header; `code` is entered in 32-bit mode, at 100040H, up to 4032 bytes. */
export function multiboot(code: readonly number[]): NonNullable<MachineOptions["kernel"]> {
  const load = 0x100000;
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const flags = 1 << 16;
  const magic = 0x1badb002;
  const end = load + bytes.length;
  [magic, flags, -(magic + flags), load, load, end, end, load + 64].forEach((value, index) =>
    view.setUint32(index * 4, value >>> 0, true),
  );
  bytes.set(code, 64);
  return { path: "code", name: "code", bytes };
}

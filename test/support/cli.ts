/** Runs the built command line as a child process, and makes the files that it is given. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);
const CLI = fileURLToPath(new URL("dist/cli.js", root));

/** The guest kernel as ELF (multiboot and PVH) and as bzImage. */
export const KERNEL = fileURLToPath(new URL("guest-images/images/kernel.elf", root));
export const KERNEL_BZIMAGE = fileURLToPath(new URL("guest-images/images/kernel.bzimage", root));

export interface CliResult {
  /** Exit status; -1 when a signal ended the process. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that hangs is killed after this long; a test then sees status -1. */
const HANG_MS = 60_000;

/**
 * Runs `exitless …`.
 * @param input bytes on stdin, which is closed after them
 */
export function exitless(args: readonly string[], input = ""): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      timeout: HANG_MS,
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => stdout.push(data));
    child.stderr.on("data", (data: Buffer) => stderr.push(data));
    // A process that ends before it has read everything closes the pipe: not the test's concern.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({
        status: code ?? -1,
        stdout: Buffer.concat(stdout).toString("latin1"),
        stderr: Buffer.concat(stderr).toString("utf8"),
      }),
    );
  });
}

/** `exitless boot` of our kernel with a script and 32 MiB; more arguments after. */
export function bootScript(script: string, args: readonly string[] = [], input = ""): Promise<CliResult> {
  return exitless(["boot", "-kernel", KERNEL, "-m", "32", "-append", `script=${script}`, ...args], input);
}

/** A directory of a test's own. */
export class Workspace {
  readonly path = mkdtempSync(join(tmpdir(), "exitless-test-"));

  /** Writes a file and returns its path. */
  file(name: string, contents: Uint8Array | string): string {
    const path = join(this.path, name);
    writeFileSync(path, contents);
    return path;
  }

  read(name: string): Buffer {
    return readFileSync(join(this.path, name));
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Bytes that differ in every sector and are the same in every run. */
export function diskContents(mebibytes: number): Buffer {
  const contents = Buffer.alloc(mebibytes * 1024 * 1024);
  for (let at = 0; at < contents.length; at += 4)
    contents.writeUInt32LE(Math.imul(at + 1, 0x9e3779b1) >>> 0, at);
  return contents;
}

/** A disk image in a directory of its own. */
export function temporaryDisk(mebibytes: number): { readonly path: string; remove(): void } {
  const workspace = new Workspace();
  return { path: workspace.file("disk.img", diskContents(mebibytes)), remove: () => workspace.remove() };
}

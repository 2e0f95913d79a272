/** The command line as QEMU spells it: single-dash words become the double-dash ones that the parser knows. */

import type { DriveOptions } from "../hypervisor/assembly.ts";
import { DRIVE_INTERFACES } from "../hypervisor/devices.ts";
import { Properties } from "./properties.ts";

const QEMU_WORDS = new Set([
  "kernel",
  "initrd",
  "append",
  "m",
  "smp",
  "cpu",
  "drive",
  "device",
  "netdev",
  "object",
  "no-reboot",
  "help",
  "version",
]);

/** `-kernel FILE` to `--kernel FILE`; everything else as it is. */
export function normalizeArguments(argv: readonly string[]): string[] {
  let literal = false;
  return argv.map((word) => {
    if (literal) return word;
    if (word === "--") literal = true;
    const match = /^-([a-z][a-z-]*)$/.exec(word);
    return match && QEMU_WORDS.has(match[1]!) ? `--${match[1]!}` : word;
  });
}

/** `file=F,if=ide|virtio|none[,id=D]…`. Throws an Error that names the wrong part. */
export function parseDrive(text: string): DriveOptions {
  const p = new Properties(`-drive ${text}`, text);
  const file = p.required("file");
  const wanted = p.oneOf("if", DRIVE_INTERFACES) ?? "ide";
  const format = p.take("format") ?? "raw";
  if (format !== "raw") p.fail(`format=${format}: only raw images are supported`);
  const id = p.take("id");
  const readOnly = p.isOn("readonly");
  const snapshot = p.isOn("snapshot");
  const queues = p.integer("queues", 1, 16);
  p.end();
  return {
    file,
    interface: wanted,
    readOnly,
    snapshot,
    ...(id === undefined ? {} : { id }),
    ...(queues === undefined ? {} : { queues }),
  };
}

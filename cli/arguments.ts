/** The command line as QEMU spells it: single-dash words become the double-dash ones that the parser knows. */

import type { DriveOptions } from "../hypervisor/assembly.ts";
import { DRIVE_INTERFACES } from "../hypervisor/devices.ts";
import { Properties } from "./properties.ts";

const QEMU_WORDS = new Set([
  "kernel",
  "bios",
  "boot",
  "initrd",
  "append",
  "m",
  "smp",
  "cpu",
  "drive",
  "machine",
  "device",
  "chardev",
  "netdev",
  "object",
  "cdrom",
  "vga",
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

/** `[pc][,hpet=on|off][,pit=on|off]`. Throws an Error that names the wrong part. */
export function parseMachine(text: string): { hpet?: boolean; pit?: boolean } {
  const p = new Properties(`-machine ${text}`, text, "type");
  const type = p.take("type") ?? "pc";
  if (type !== "pc") p.fail(`type=${type}: the only one is pc`);
  const [hpet, pit] = ["hpet", "pit"].map((name) => p.oneOf(name, ["on", "off"] as const));
  p.end();
  return { ...(hpet && { hpet: hpet === "on" }), ...(pit && { pit: pit === "on" }) };
}

/** `order=LETTERS,menu=on|off`, or letters alone. Throws an Error that names the wrong part. */
export function parseBoot(text: string): { order?: string; menu?: boolean } {
  if (!text.includes("=")) return { order: text };
  let order: string | undefined;
  let menu: boolean | undefined;
  for (const part of text.split(",")) {
    const [name, value = ""] = part.split("=", 2);
    if (name === "order") order = value;
    else if (name === "menu" && (value === "on" || value === "off")) menu = value === "on";
    else throw new Error(`-boot ${text}: "${part}" must be order=LETTERS or menu=on|off`);
  }
  return { ...(order !== undefined && { order }), ...(menu !== undefined && { menu }) };
}

/**
 * `file=F,if=ide|virtio|ahci|none[,id=D][,media=disk|cdrom][,index=N][,readonly=on][,snapshot=on][,queues=N]`. Throws an Error that
 * names the wrong part.
 */
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
  const media = p.oneOf("media", ["disk", "cdrom"] as const);
  if (media === "cdrom" && wanted !== "ide") p.fail("media=cdrom needs if=ide");
  const index = p.integer("index", 0, 3);
  if (index !== undefined && wanted !== "ide") p.fail(`index=${index} needs if=ide`);
  p.end();
  return {
    file,
    interface: wanted,
    readOnly,
    snapshot,
    ...(id === undefined ? {} : { id }),
    ...(queues === undefined ? {} : { queues }),
    ...(media === "cdrom" ? { media } : {}),
    ...(index === undefined ? {} : { index }),
  };
}

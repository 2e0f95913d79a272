/** The command line as QEMU spells it: single-dash words become the double-dash ones that the parser knows. */

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
 * `file=F,if=ide|virtio[,media=disk|cdrom][,index=N][,readonly=on][,snapshot=on][,queues=N]`. Throws an Error that names the wrong
 * part.
 */
export function parseDrive(text: string): {
  file: string;
  interface: "ide" | "virtio";
  readOnly: boolean;
  snapshot: boolean;
  queues?: number;
  media?: "cdrom";
  index?: number;
} {
  const values = new Map<string, string>();
  // As QEMU: a doubled comma stands for a comma in a file name.
  for (const part of text.replaceAll(",,", "\0").split(",")) {
    const equals = part.indexOf("=");
    if (equals < 1) throw new Error(`-drive ${text}: "${part}" is not of the form name=value`);
    values.set(part.slice(0, equals), part.slice(equals + 1).replaceAll("\0", ","));
  }
  const take = (name: string): string | undefined => {
    const value = values.get(name);
    values.delete(name);
    return value;
  };
  const file = take("file");
  if (file === undefined || file === "") throw new Error(`-drive ${text}: file= is missing`);
  const iface = take("if") ?? "ide";
  if (iface !== "ide" && iface !== "virtio")
    throw new Error(`-drive ${text}: if=${iface} must be ide or virtio`);
  const format = take("format") ?? "raw";
  if (format !== "raw") throw new Error(`-drive ${text}: format=${format}: only raw images are supported`);
  const onOff = (name: string): boolean => {
    const value = take(name) ?? "off";
    if (value !== "on" && value !== "off")
      throw new Error(`-drive ${text}: ${name}=${value} must be on or off`);
    return value === "on";
  };
  const readOnly = onOff("readonly");
  const snapshot = onOff("snapshot");
  const queuesText = take("queues");
  const queues = queuesText === undefined ? undefined : Number(queuesText);
  if (queues !== undefined && (!Number.isInteger(queues) || queues < 1 || queues > 16))
    throw new Error(`-drive ${text}: queues=${queuesText ?? ""} must be 1 to 16`);
  const media = take("media") ?? "disk";
  if (media !== "disk" && media !== "cdrom")
    throw new Error(`-drive ${text}: media=${media} must be disk or cdrom`);
  if (media === "cdrom" && iface !== "ide") throw new Error(`-drive ${text}: media=cdrom needs if=ide`);
  const indexText = take("index");
  const index = indexText === undefined ? undefined : Number(indexText);
  if (index !== undefined && (iface !== "ide" || !Number.isInteger(index) || index < 0 || index > 3))
    throw new Error(`-drive ${text}: index=${indexText ?? ""} must be 0 to 3, with if=ide`);
  const [unknown] = values.keys();
  if (unknown !== undefined) throw new Error(`-drive ${text}: ${unknown}= is not known`);
  return {
    file,
    interface: iface,
    readOnly,
    snapshot,
    ...(queues === undefined ? {} : { queues }),
    ...(media === "cdrom" ? { media } : {}),
    ...(index === undefined ? {} : { index }),
  };
}

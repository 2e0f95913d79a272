/** Which rooms may import from which: the arrows of ARCHITECTURE.md, in both languages. */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** A room may always import from itself. `layout` is the schema of state, below everything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  layout: [],
  "emulator/isa": [],
  "emulator/core": [],
  "emulator/host": ["layout"],
  devices: ["layout"],
  "emulator/machine": ["layout", "devices", "emulator/host"],
  hypervisor: ["layout", "devices", "emulator/host", "emulator/machine"],
  debugger: ["layout", "devices", "emulator/host", "emulator/machine", "hypervisor"],
  bench: ["layout", "devices", "emulator/host", "emulator/machine", "hypervisor", "guest-images"],
  cli: ["layout", "devices", "emulator/host", "emulator/machine", "hypervisor", "debugger", "guest-images"],
};

function filesOf(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return filesOf(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

/** The longest room name that a path begins with. */
function roomOf(path: string): string {
  const rooms = [...Object.keys(MAY_IMPORT), "guest-images"].filter(
    (room) => path === room || path.startsWith(`${room}/`),
  );
  return rooms.sort((a, b) => b.length - a.length)[0] ?? path;
}

interface Import {
  readonly from: string;
  readonly to: string;
}

function importsOf(text: string, file: string): Import[] {
  return [...text.matchAll(/(?:from|import)\s+"(\.[^"]+)"/g)].map((match) => ({
    from: relative(ROOT, file),
    to: roomOf(normalize(relative(ROOT, join(dirname(file), match[1]!)))),
  }));
}

function violations(room: string, files: readonly string[], read: (file: string) => string): string[] {
  return files
    .filter((file) => roomOf(relative(ROOT, file)) === room)
    .flatMap((file) => importsOf(read(file), file))
    .filter(({ to }) => to !== room && !MAY_IMPORT[room]!.includes(to))
    .map(({ from, to }) => `${from} imports from ${to}`);
}

describe("rooms", () => {
  test.each(Object.keys(MAY_IMPORT))("%s imports only from the rooms it may", (room) => {
    const files = filesOf(join(ROOT, room));
    expect(violations(room, files, (file) => readFileSync(file, "utf8"))).toEqual([]);
  });

  test("a device imports no other device: only its own folder, the buses, PCI, ATA's and SCSI's command sets and the ports", () => {
    const shared = new Set(["ata", "bus", "pci", "ports.ts", "scsi"]);
    const sharedFiles = new Set(["storage/sectors.ts", "net/ethernet.ts"]);
    const found = filesOf(join(ROOT, "devices")).flatMap((file) => {
      const family = relative(join(ROOT, "devices"), file).split("/")[0]!;
      return [...readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)]
        .map((match) => normalize(relative(join(ROOT, "devices"), join(dirname(file), match[1]!))))
        .filter(
          (to) =>
            !to.startsWith("..") &&
            to.split("/")[0] !== family &&
            !shared.has(to.split("/")[0]!) &&
            !sharedFiles.has(to),
        )
        .map((to) => `devices/${family}: ${to}`);
    });
    // The chipset's PM function places the ACPI block: it needs that block's size.
    expect(found).toEqual(["devices/pci: acpi/pm-spec.ts"]);
  });

  test("a planted violation is found", () => {
    const file = join(ROOT, "devices/serial/uart16550.ts");
    expect(
      violations("devices", [file], () => 'import { x } from "../../emulator/host/core.ts";'),
    ).toHaveLength(1);
  });
});

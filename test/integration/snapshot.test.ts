/** Saving anywhere, restoring, and running on to the same end. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MachineOptions } from "../../hypervisor/machine.ts";
import { TemporaryFolder, guestMachine } from "../support/machine.ts";
import { Random } from "../support/random.ts";

/** How many instants: 1,000 by hand (EXITLESS_SNAPSHOTS=1000), fewer in the ordinary run. */
const INSTANTS = Number(process.env.EXITLESS_SNAPSHOTS ?? "60");
const FRESH_PROCESSES = INSTANTS >= 1000 ? 20 : 3;

const folder = new TemporaryFolder();
let disk = "";
beforeAll(() => {
  disk = folder.disk(1024 * 1024);
});
afterAll(() => folder.remove());

const SCRIPT =
  "rand:dev=ide,size=4096,count=4,qd=1;rand:dev=virtio,size=4096,count=6,qd=3;write:dev=virtio,size=4096,count=2,qd=1;busy:dev=virtio,size=4096,count=3,qd=1";

const CONFIGURATIONS: readonly { readonly name: string; readonly options: Partial<MachineOptions> }[] = [
  { name: "metal", options: { mode: "metal" } },
  { name: "vm, user", options: { mode: "vm", path: "user" } },
  { name: "vm, poll + eli", options: { mode: "vm", path: "poll", completion: "eli" } },
];

const drives = (): NonNullable<MachineOptions["drives"]> => [
  { file: disk, interface: "ide", snapshot: true },
  { file: disk, interface: "virtio", snapshot: true },
];

describe.each(CONFIGURATIONS)("$name", ({ options }) => {
  test(`saved at random instants (boot and I/O in flight), restored, it comes to the same end`, () => {
    const whole = guestMachine(SCRIPT, { ...options, drives: drives() });
    const end = whole.machine.run();
    expect(end).toEqual({ end: "power-off", code: 0 });
    const hash = whole.machine.hash();
    const total = whole.machine.instructions;
    expect(whole.machine.damagedRedZones()).toEqual([]);
    whole.machine.close();

    const random = new Random(0x5eed);
    const instants = Array.from({ length: Math.ceil(INSTANTS / CONFIGURATIONS.length) }, () =>
      random.below(total),
    ).sort((a, b) => a - b);
    const first = guestMachine(SCRIPT, { ...options, drives: drives() });
    const second = guestMachine(SCRIPT, { ...options, drives: drives() });
    for (const [index, instant] of instants.entries()) {
      const paused = first.machine.run({ untilInstruction: instant });
      expect(paused.end).toBe("paused");
      const snapshot = first.machine.save();
      second.machine.restore(snapshot);
      expect(second.machine.run(), `from instruction ${instant}`).toEqual(end);
      expect(second.machine.hash(), `from instruction ${instant}`).toBe(hash);
      if (index < Math.ceil(FRESH_PROCESSES / CONFIGURATIONS.length))
        expect(inFreshProcess(options, snapshot)).toBe(hash);
    }
    // The machine that was stopped so often comes to the same end as the one that never was.
    expect(first.machine.run()).toEqual(end);
    expect(first.machine.hash()).toBe(hash);
    first.machine.close();
    second.machine.close();
  }, 1_800_000);
});

test("every part of a CPU's state counts in the hash, and nothing that is derived", () => {
  const { machine } = guestMachine("hello", { mode: "metal" });
  machine.run({ untilInstruction: 20_000 });
  const cpu = machine.board.core(0).state;
  const hash = machine.hash();
  expect(machine.hash()).toBe(hash);
  for (const field of [
    "lstar",
    "kernelGsBase",
    "specCtrl",
    "pat",
    "cr2",
    "rip",
    "x87DataOffset",
    "tscDeadline",
  ] as const) {
    cpu[field] += 1n;
    expect(machine.hash(), field).not.toBe(hash);
    cpu[field] -= 1n;
  }
  for (const field of [
    "pkru",
    "mxcsr",
    "nmiPending",
    "x87Tag",
    "charged",
    "apicTimerStart",
    "sipiVector",
  ] as const) {
    cpu[field] += 1;
    expect(machine.hash(), field).not.toBe(hash);
    cpu[field] -= 1;
  }
  for (const field of ["gpr", "segBase", "dr", "mtrrFixed"] as const) {
    cpu[field][3]! += 1n;
    expect(machine.hash(), field).not.toBe(hash);
    cpu[field][3]! -= 1n;
  }
  // A trip of the flag CF, which is lazy.
  cpu.flagCarries ^= 0xffffffffffffffffn;
  expect(machine.hash()).not.toBe(hash);
  cpu.flagCarries ^= 0xffffffffffffffffn;
  for (const field of ["asid", "jumpKey", "recordEnd", "stopAtInstruction"] as const) cpu[field] += 1;
  expect(machine.hash()).toBe(hash);
  machine.close();
});

/** Restores a snapshot in a process of its own, runs on, and returns the final hash. */
function inFreshProcess(
  options: Partial<MachineOptions>,
  snapshot: { readonly memory: Uint8Array; readonly overlays: readonly Uint8Array[] },
): string {
  const files = [snapshot.memory, ...snapshot.overlays].map((bytes, i) => {
    const file = join(folder.path, `snapshot-${i}`);
    writeFileSync(file, bytes);
    return file;
  });
  const program = `
    import { readFileSync } from "node:fs";
    import { Machine } from ${JSON.stringify(new URL("../../dist/index.js", import.meta.url).href)};
    const [memory, ...overlays] = ${JSON.stringify(files)}.map((file) => new Uint8Array(readFileSync(file)));
    const machine = new Machine(${JSON.stringify({ ...options, memory: 16, kernel: fileURLToPath(new URL("../../guest-images/images/kernel.elf", import.meta.url)), append: `tsc=2670000000 script=${SCRIPT}`, drives: drives() })});
    machine.restore({ memory, overlays });
    const result = machine.run();
    process.stdout.write(result.end === "power-off" ? machine.hash() : JSON.stringify(result));
  `;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  return child.status === 0 ? child.stdout : child.stderr;
}

/** The typed API as a program uses it, and the example that shows it. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { ImageError, Machine, OptionError, StorageError, type LedgerEntry } from "../../index.ts";
import { diskContents, KERNEL, Workspace } from "../support/cli.ts";

const workspace = new Workspace();
afterAll(() => workspace.remove());

describe("Machine", () => {
  test("runs a guest, hands over its serial output and every exit, and counts the same", () => {
    const serial: number[] = [];
    const entries: LedgerEntry[] = [];
    const machine = new Machine({
      kernel: KERNEL,
      append: "script=write:dev=virtio,count=4;exit:code=7",
      memory: 32,
      drives: [{ file: workspace.file("disk.img", diskContents(1)), interface: "virtio", snapshot: true }],
      path: "in-vmm",
      onSerial: (byte) => serial.push(byte),
      onExit: (entry) => entries.push(entry),
    });
    try {
      expect(machine.run()).toEqual({ end: "debug-exit", code: 7 });
      expect(Buffer.from(serial).toString("latin1")).toContain("PASS write");
      const { exits, ledgerAgrees, vcpus } = machine.stats();
      expect(Object.values(exits).reduce((sum, count) => sum + count, 0)).toBe(entries.length);
      expect(vcpus[0]!.total).toBe(entries.length);
      expect(ledgerAgrees).toBe(true);
    } finally {
      machine.close();
    }
    expect(workspace.read("disk.img").equals(diskContents(1))).toBe(true);
  });

  test("limits between two instructions or cycles are those after them", () => {
    for (const mode of ["metal", "vm"] as const) {
      const machine = new Machine({ kernel: KERNEL, append: "script=hello", memory: 32, mode });
      try {
        expect(machine.run({ untilInstruction: 1000.5 }).end).toBe("paused");
        expect(machine.instructions).toBe(1001);
        const { cycles } = machine;
        expect(machine.run({ untilCycle: cycles + 100.25 }).end).toBe("paused");
        expect(machine.cycles).toBeGreaterThanOrEqual(cycles + 101);
      } finally {
        machine.close();
      }
    }
  });

  test("what is asked for wrongly is an error of its own class, with the option's name", () => {
    expect(() => new Machine({ kernel: KERNEL, smp: 9 })).toThrow(OptionError);
    expect(() => new Machine({ kernel: KERNEL, smp: 9 })).toThrow(/-smp 9: must be 1 to 8/);
    expect(() => new Machine({ kernel: `${workspace.path}/none` })).toThrow(ImageError);
    const drives = [{ file: `${workspace.path}/none`, interface: "ide" as const }];
    expect(() => new Machine({ kernel: KERNEL, drives })).toThrow(StorageError);
  });
});

test("examples/boot.mjs runs with the built package", () => {
  const example = fileURLToPath(new URL("../../examples/boot.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [example], {
    encoding: "utf8",
    timeout: 30_000,
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  expect(stdout).toContain("exitless guest kernel, booted by pvh");
  expect(stdout).toMatch(/first CPUID after \d+ instructions/);
  expect(stdout).toMatch(/power-off after [\d.]+ ms of virtual time, \d+ exits/);
  expect(stdout).toContain("ledger agrees");
});

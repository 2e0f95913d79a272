/**
 * The teaching hypervisor of guest-images/tiny-hypervisor: the same on our bare machine, by CPU model, and where it is installed on
 * Bochs, the only other open machine that has VT-x. CI has it.
 */
import { expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { bochs } from "./peers.ts";
import { parseVerdict, type Verdict } from "./verdict.ts";

const IMAGE = "guest-images/images/tiny-hypervisor.elf";
const GROUPS = ["vmxon", "vmcs", "guest", "exits", "vmxoff"];

function run(cpu: string): { verdict: Verdict; text: string; exits: Readonly<Record<string, number>> } {
  const serial: number[] = [];
  const machine = new Machine({
    kernel: IMAGE,
    cpu,
    memory: 32,
    mode: "metal",
    onSerial: (byte) => serial.push(byte),
  });
  try {
    const { end } = machine.run({ untilInstruction: 10_000_000 });
    const text = Buffer.from(serial).toString("latin1");
    return { verdict: parseVerdict(text, end === "triple-fault"), text, exits: machine.stats().exits };
  } finally {
    machine.close();
  }
}

test.each(["nehalem", "sandybridge", "skylake", "max"])("runs its guest on %s", (cpu) => {
  const { verdict, exits } = run(cpu);
  expect(verdict.failed).toEqual({});
  expect(verdict.passed).toEqual(GROUPS);
  expect(verdict.ended).toBe(true);
  // The machine's own counters, with the entry that failed on purpose.
  expect(exits).toEqual({
    CPUID: 1,
    EPT_VIOLATION: 1,
    HLT: 1,
    INVALID_GUEST_STATE: 1,
    IO_INSTRUCTION: 1,
    MSR_READ: 1,
    VMCALL: 101,
  });
});

test("finds no EPT on penryn, and no VMX without it", () => {
  expect(run("penryn").text).toContain("SKIP no VT-x with EPT here");
  expect(run("skylake,-vmx").text).toContain("SKIP no VT-x with EPT here");
  expect(run("skylake,-vmx-ept").text).toContain("SKIP no VT-x with EPT here");
});

test.skipIf(bochs.version() === undefined)("does the same on Bochs", () => {
  expect(bochs.run(IMAGE)).toEqual(run("skylake").verdict);
});

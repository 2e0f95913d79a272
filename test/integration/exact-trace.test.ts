/** The 64-bit fields of an exit are exact in the API and in the trace: kernels live above 2^53. */
import { afterEach, expect, test } from "vitest";
import { cpuidGuest } from "../../bench/exits/cpuid-guest.ts";
import { Machine, traceLine, type LedgerEntry } from "../../index.ts";
import { setLongModeControl } from "../../hypervisor/vcpu-setup.ts";
import { VmcsField as F } from "../../layout/vmx.ts";

/** Where Linux has its kernel text. */
const KERNEL_TEXT = 0xffffffff81000000n;
/** The guest's code lies here in its RAM; its CPUID is 11 bytes on (MOV AL, imm8; OUT; MOV ESI, imm32; XOR EAX, EAX). */
const CODE = 0x100020;
const CPUID_AT = 11n;

let machine: Machine | undefined;
afterEach(() => machine?.close());

/** The CPUID guest, but entered in 64-bit mode with the first 2 MiB of its RAM mapped at KERNEL_TEXT alone. DEC ESI is a REX prefix there: one round. */
function highHalfMachine(onExit: (entry: LedgerEntry) => void): Machine {
  const made = new Machine({ kernel: cpuidGuest(1, true), memory: 16, onExit });
  const vcpu = made.vm!.vcpus[0]!;
  const { state, ramOffset } = {
    state: made.memory.state,
    ramOffset: made.memory.ramOffset.bind(made.memory),
  };
  const entry = (table: number, index: number, value: bigint): void => {
    state.u64[ramOffset(vcpu.vm.memory.machineAddress(table), 4096) / 8 + index] = value;
  };
  const [pml4, pointers, directory] = [0x200000, 0x201000, 0x202000];
  entry(pml4, 511, BigInt(pointers) | 3n);
  entry(pointers, 510, BigInt(directory) | 3n);
  entry(directory, 8, 0x83n);
  const { vmcs } = vcpu;
  vmcs.write(F.GUEST_CR3, pml4);
  vmcs.write(F.GUEST_CR4, 0x2020);
  vmcs.write(F.GUEST_CR0, 0x80000031);
  vmcs.write(F.GUEST_EFER, 0x500);
  vmcs.write(F.GUEST_CS_ACCESS_RIGHTS, 0xa09b);
  vmcs.writeBig(F.GUEST_RIP, KERNEL_TEXT + BigInt(CODE));
  setLongModeControl(vmcs, true);
  return made;
}

test("RIP of an exit in a kernel's half of the address space is exact", () => {
  const entries: LedgerEntry[] = [];
  machine = highHalfMachine((entry) => entries.push(entry));
  expect(machine.run().end).toBe("debug-exit");
  const exits = entries.filter(({ reason }) => reason === "CPUID");
  const rip = KERNEL_TEXT + BigInt(CODE) + CPUID_AT;
  expect(exits.map((entry) => entry.rip)).toEqual([rip]);
  expect(JSON.parse(traceLine(exits[0]!))).toMatchObject({ rip: "0xffffffff8110002b", reason: "CPUID" });
});

test("RIP carries from its low to its high half where an instruction ends at 2^32", () => {
  machine = highHalfMachine(() => undefined);
  const { vmcs } = machine.vm!.vcpus[0]!;
  vmcs.writeBig(F.GUEST_RIP, 0xffffff80fffffffen);
  vmcs.write(F.EXIT_INSTRUCTION_LENGTH, 2);
  vmcs.skipInstruction(true);
  expect(vmcs.readBig(F.GUEST_RIP)).toBe(0xffffff8100000000n);
  vmcs.writeBig(F.GUEST_RIP, 0xfffffffen);
  vmcs.skipInstruction(false);
  expect(vmcs.readBig(F.GUEST_RIP)).toBe(0n);
});

test("a trace's line has the 64-bit fields as strings that BigInt reads", () => {
  const entry: LedgerEntry = {
    sequence: 1,
    time: 2,
    instructions: 3,
    vcpu: 0,
    pcpu: 0,
    reason: "INVLPG",
    qualification: 0xffff800000001001n,
    rip: 0xffffffff81000001n,
    phase: "other",
    handler: "",
    directCycles: 0,
    indirectCycles: 0,
    synchronousCycles: 0,
  };
  const read = JSON.parse(traceLine(entry)) as Record<string, string>;
  expect([BigInt(read.qualification!), BigInt(read.rip!)]).toEqual([entry.qualification, entry.rip]);
});

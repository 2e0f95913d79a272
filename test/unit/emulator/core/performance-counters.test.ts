/** Performance counters: SDM Vol. 3B, "Architectural Performance Monitoring Version 1". */
import { expect, test } from "vitest";
import { PAGE, VmxCpu } from "../../../../bench/vmx/vmx-cpu.ts";

const EVENT_INSTRUCTIONS = 0xc0;
const USR = 1 << 16;
const OS = 1 << 17;
const INT = 1 << 20;
const ENABLE = 1 << 22;
const NOPS = 10;
const LVT_PERFORMANCE = 0x34;
const IRR = 0x20;
const VECTOR = 0x40;

const u32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  value >>> 24,
];
/** mov ecx, msr; mov eax, value; xor edx, edx; wrmsr */
const wrmsr = (msr: number, value: number): number[] => [
  ...[0xb9, ...u32(msr)],
  ...[0xb8, ...u32(value)],
  ...[0x31, 0xd2],
  ...[0x0f, 0x30],
];
const nops = Array<number>(NOPS).fill(0x90);
/** xor ecx, ecx; rdpmc */
const rdpmc = [0x31, 0xc9, 0x0f, 0x33];

/** A CPU in 64-bit code at CPL 0. */
function cpuWith(code: readonly number[], added: readonly string[]): VmxCpu {
  const cpu = new VmxCpu({ added });
  const { state, exports } = cpu.core;
  cpu.memory.state.bytes.set(code, cpu.offset(PAGE.CODE));
  state.segRights[1] = 0xa09bn;
  exports.updateMode();
  exports.updateContext();
  state.rip = BigInt(PAGE.CODE);
  return cpu;
}

/** Runs code at CPL 0 until it has executed so many instructions. */
function run(
  code: readonly number[],
  instructions: number,
  prepare: (cpu: VmxCpu) => void = () => undefined,
): VmxCpu {
  const cpu = cpuWith(code, ["PMU"]);
  prepare(cpu);
  const { state, exports } = cpu.core;
  state.stopAtInstruction = state.instructions + instructions;
  exports.run();
  return cpu;
}

test("instructions at the privilege level asked for", () => {
  // WRMSR itself, the NOPs, and XOR.
  const counts = run([...wrmsr(0x186, EVENT_INSTRUCTIONS | OS | ENABLE), ...nops, ...rdpmc], 4 + NOPS + 2);
  expect(counts.core.state.gpr[0]).toBe(BigInt(NOPS + 2));
  const user = run([...wrmsr(0x186, EVENT_INSTRUCTIONS | USR | ENABLE), ...nops, ...rdpmc], 4 + NOPS + 2);
  expect(user.core.state.gpr[0]).toBe(0n);
});

test("a counter is 48 bits, written with 32 that are sign-extended", () => {
  const cpu = run([...wrmsr(0xc1, 0xfffffffe), ...rdpmc], 6);
  expect([cpu.core.state.gpr[2], cpu.core.state.gpr[0]]).toEqual([0xffffn, 0xfffffffen]);
});

test("an overflow interrupts once, and masks the APIC's entry", () => {
  const code = [
    ...wrmsr(0xc1, 0xfffffffb),
    ...wrmsr(0x186, EVENT_INSTRUCTIONS | OS | INT | ENABLE),
    ...Array<number>(64).fill(0x90),
  ];
  const cpu = run(code, 40, ({ core }) => {
    core.state.apicRegister[LVT_PERFORMANCE] = VECTOR;
    core.state.apicRegister[0x0f] = 0x1ff;
  });
  const { apicRegister } = cpu.core.state;
  expect(apicRegister[IRR + (VECTOR >> 5)]! & (1 << (VECTOR & 31))).toBe(1 << (VECTOR & 31));
  expect(apicRegister[LVT_PERFORMANCE]).toBe(VECTOR | (1 << 16));
});

test.each([
  ["a model without counters", [], 0xc1],
  ["behind the last counter", ["PMU"], 0xc5],
] as const)("%s: #GP", (_, added, msr) => {
  // rdmsr, with nowhere to deliver the fault: shutdown.
  const cpu = cpuWith([0xb9, ...u32(msr), 0x0f, 0x32], added);
  const { state, exports } = cpu.core;
  state.stopAtInstruction = state.instructions + 2;
  exports.run();
  expect(state.activity).toBe(3);
});

/** XCR0 and what hangs on it, as a guest sees them on the bare machine and in a virtual machine. */
import { describe, expect, test } from "vitest";
import { biosImage, step } from "../support/bios-image.ts";
import { Machine, type RunResult } from "../../hypervisor/machine.ts";
import { multiboot } from "../support/machine.ts";

const long = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
const OSFXSR = 1 << 9;
const OSXSAVE = 1 << 18;
// mov eax, cr4; or eax, bits; mov cr4, eax
const setCr4 = (bits: number): number[] => [0x0f, 0x20, 0xe0, 0x0d, ...long(bits), 0x0f, 0x22, 0xe0];
// mov eax, value; xor edx, edx; xor ecx, ecx; xsetbv
const setXcr0 = (value: number): number[] => [0xb8, ...long(value), 0x31, 0xd2, 0x31, 0xc9, 0x0f, 0x01, 0xd1];
// mov eax, leaf; mov ecx, subleaf; cpuid
const cpuid = (leaf: number, subleaf = 0): number[] => [
  0xb8,
  ...long(leaf),
  0xb9,
  ...long(subleaf),
  0x0f,
  0xa2,
];
const XGETBV = [0x31, 0xc9, 0x0f, 0x01, 0xd0]; // xor ecx, ecx; xgetbv
const EXIT_AL = [0xe6, 0xf4]; // out 0f4h, al

function run(mode: "metal" | "vm", code: readonly number[], cpu = "max"): RunResult {
  const machine = new Machine({ kernel: multiboot(code), mode, memory: 16, cpu });
  try {
    return machine.run({ untilInstruction: 1_000_000 });
  } finally {
    machine.close();
  }
}

const ended = (code: number): RunResult => ({ end: "debug-exit", code });

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test("XSETBV sets what XGETBV gives", () => {
    expect(run(mode, [...setCr4(OSXSAVE), ...setXcr0(7), ...XGETBV, ...EXIT_AL])).toEqual(ended(7));
    expect(run(mode, [...setCr4(OSXSAVE), ...setXcr0(3), ...XGETBV, ...EXIT_AL])).toEqual(ended(3));
    expect(run(mode, [...setCr4(OSXSAVE), ...XGETBV, ...EXIT_AL])).toEqual(ended(1));
  });

  // Without an IDT an exception ends in a triple fault.
  test.each([
    ["no x87", 6],
    ["AVX without SSE", 5],
    ["a component that does not exist", 0x107],
  ])("XSETBV refuses a value with %s", (_, value) => {
    expect(run(mode, [...setCr4(OSXSAVE), ...setXcr0(value), ...EXIT_AL]).end).toBe("triple-fault");
  });

  test("XSETBV and XGETBV are undefined while CR4.OSXSAVE is 0, and nehalem cannot set it", () => {
    expect(run(mode, [...setXcr0(7), ...EXIT_AL]).end).toBe("triple-fault");
    expect(run(mode, [...XGETBV, ...EXIT_AL]).end).toBe("triple-fault");
    expect(run(mode, [...setCr4(OSXSAVE), ...EXIT_AL], "nehalem").end).toBe("triple-fault");
  });

  test("CPUID's size of the XSAVE area follows XCR0, and OSXSAVE follows CR4", () => {
    // 576 and 832 bytes differ in the second byte: mov al, bh.
    const size = [...cpuid(0xd), 0x88, 0xf8, ...EXIT_AL];
    expect(run(mode, [...setCr4(OSXSAVE), ...size])).toEqual(ended(576 >> 8));
    expect(run(mode, [...setCr4(OSXSAVE), ...setXcr0(7), ...size])).toEqual(ended(832 >> 8));
    // shr ecx, 27; mov al, cl; and al, 1
    const osxsave = [...cpuid(1), 0xc1, 0xe9, 27, 0x88, 0xc8, 0x24, 1, ...EXIT_AL];
    expect(run(mode, osxsave)).toEqual(ended(0));
    expect(run(mode, [...setCr4(OSXSAVE), ...osxsave])).toEqual(ended(1));
  });

  test("VEX instructions need XCR0's SSE and AVX bits, and their registers outlive exits", () => {
    const sum = [
      ...[0xb8, ...long(21)], // mov eax, 21
      ...[0xc5, 0xf9, 0x6e, 0xc0], // vmovd xmm0, eax
      ...[0xc5, 0xf9, 0xfe, 0xc8], // vpaddd xmm1, xmm0, xmm0
      ...cpuid(0),
      ...[0xc5, 0xf9, 0x7e, 0xc8], // vmovd eax, xmm1
      ...EXIT_AL,
    ];
    expect(run(mode, [...setCr4(OSXSAVE | OSFXSR), ...setXcr0(3), ...sum]).end).toBe("triple-fault");
    expect(run(mode, [...setCr4(OSXSAVE | OSFXSR), ...setXcr0(7), ...sum])).toEqual(ended(42));
    expect(run(mode, [...setCr4(OSXSAVE | OSFXSR), ...setXcr0(7), ...sum], "skylake")).toEqual(ended(42));
  });

  test("RDRAND gives other numbers each time, and the same ones in the next run", () => {
    // rdrand eax; rdrand ebx; xor al, bl
    const code = [0x0f, 0xc7, 0xf0, 0x0f, 0xc7, 0xf3, 0x30, 0xd8, ...EXIT_AL];
    const first = run(mode, code);
    expect(first).toEqual({ end: "debug-exit", code: expect.any(Number) as number });
    expect(first).not.toEqual(ended(0));
    expect(run(mode, code)).toEqual(first);
  });
});

test.each(["metal", "vm"] as const)("%s: IA32_XSS is there where XSAVES is, and takes 0", (mode) => {
  const rdmsr = [0x66, 0xb9, 0xa0, 0x0d, 0, 0, 0x0f, 0x32];
  const wrmsr = [0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30];
  const bytes = biosImage([rdmsr, wrmsr, step.exit(5)]);
  const machine = new Machine({
    bios: { path: "x.bin", name: "x.bin", bytes },
    mode,
    cpu: "skylake",
    memory: 4,
  });
  expect(machine.run()).toEqual({ end: "debug-exit", code: 5 });
  machine.close();
});

import { describe, expect, test } from "vitest";
import { claimedFeatures, cpuModel } from "../../../emulator/host/cpu-models.ts";
import { CpuSpecError, parseCpuSpec } from "../../../emulator/host/cpu-spec.ts";
import { Machine } from "../../../hypervisor/machine.ts";
import { multiboot } from "../../support/machine.ts";

describe("-cpu", () => {
  test("a model, and features by QEMU's names; the last word counts", () => {
    expect(parseCpuSpec("nehalem")).toEqual({ model: "nehalem", added: [], removed: [] });
    expect(parseCpuSpec("skylake,-x2apic,+tsc-deadline,-aes,+aes,+pni")).toEqual({
      model: "skylake",
      added: ["TSC-Deadline", "AESNI", "SSE3"],
      removed: ["x2APIC"],
    });
  });

  test("features reach CPUID and what executes", () => {
    const spec = parseCpuSpec("nehalem,-popcnt,+movbe");
    const claimed = claimedFeatures({ ...spec, cpus: 1 });
    expect([claimed.has("POPCNT"), claimed.has("MOVBE")]).toEqual([false, true]);
    const { instructionSets } = cpuModel({ ...spec, cpus: 1, tscFrequency: 2_670_000_000 });
    expect([instructionSets.has("POPCNT"), instructionSets.has("MOVBE")]).toEqual([false, true]);
  });

  test.each([
    ["pentium", /must be one of/],
    ["max,x2apic", /must be \+ or - and a CPUID feature/],
    ["max,+avx1024", /must be \+ or - and a CPUID feature/],
    ["max,+avx512f", /AVX512F is not implemented/],
  ])("%s is refused", (text, message) => {
    expect(() => parseCpuSpec(text)).toThrow(CpuSpecError);
    expect(() => parseCpuSpec(text)).toThrow(message);
  });
});

describe("an instruction of a feature that the model lacks", () => {
  /** Runs code that ends with AL in the debug-exit port; without an IDT a fault is a triple fault. */
  const run = (cpu: string, code: readonly number[]): unknown => {
    const machine = new Machine({
      kernel: multiboot([...code, 0xe6, 0xf4]),
      mode: "metal",
      memory: 16,
      cpu,
    });
    const result = machine.run();
    machine.close();
    return result;
  };
  // mov eax, 0f0h; popcnt eax, eax
  const POPCNT = [0xb8, 0xf0, 0, 0, 0, 0xf3, 0x0f, 0xb8, 0xc0];
  // mov eax, 8; lzcnt eax, eax
  const LZCNT = [0xb8, 8, 0, 0, 0, 0xf3, 0x0f, 0xbd, 0xc0];

  test("is undefined", () => {
    expect(run("nehalem", POPCNT)).toEqual({ end: "debug-exit", code: 4 });
    expect(run("nehalem,-popcnt", POPCNT)).toMatchObject({ end: "triple-fault" });
  });

  test("or is what it was before", () => {
    expect(run("max", LZCNT)).toEqual({ end: "debug-exit", code: 28 });
    // BSR
    expect(run("max,-lzcnt", LZCNT)).toEqual({ end: "debug-exit", code: 3 });
  });
});

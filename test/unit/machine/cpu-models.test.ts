import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { FEATURES } from "../../../emulator/host/cpu-features.ts";
import {
  CPU_MODELS,
  CYCLES_PER_TIMER_TICK,
  IMPLEMENTED_FEATURES,
  PHYSICAL_BITS,
  claimedFeatures,
  cpuModel,
  hypervisorLeaves,
} from "../../../emulator/host/cpu-models.ts";
import type { CpuModelName, CpuidRow } from "../../../emulator/host/cpu-models.ts";
import { answerCpuid } from "../../../emulator/host/cpuid-answer.ts";
import { ruleOf } from "../../../emulator/isa/handlers.ts";
import { cpuidNames } from "../../../emulator/host/instruction-sets.ts";
import { VMX_ROWS } from "../../../emulator/isa/vmx.ts";
import { ROWS } from "../../../emulator/isa/table.ts";
import { CpuStruct } from "../../../layout/cpu.ts";
import { Secondary } from "../../../layout/vmx.ts";

const TSC = 2_670_000_000;
const identity = (model: CpuModelName, cpus = 4) => cpuModel({ model, cpus, tscFrequency: TSC });
const row = (rows: readonly CpuidRow[], leaf: number, subleaf?: number): CpuidRow =>
  rows.find((candidate) => candidate[0] === leaf && candidate[1] === subleaf)!;
const text = (...registers: number[]): string =>
  Buffer.from(new Uint32Array(registers).buffer).toString("latin1");

/** Features that are single mnemonics of the table's BASE. */
const MNEMONICS: Readonly<Record<string, readonly string[]>> = {
  TSC: ["RDTSC"],
  MSR: ["RDMSR", "WRMSR"],
  "LAHF-SAHF": ["LAHF", "SAHF"],
  // Bound whatever CPUID says: in VMX non-root operation they exit.
  VMX: VMX_ROWS.map(({ mnemonic }) => mnemonic),
};
/** Features that bring state and behaviour but no instruction. */
const NO_INSTRUCTIONS = new Set(
  (
    "VME DE PSE PAE APIC MTRR PGE PAT PSE-36 HTT PCID x2APIC TSC-Deadline HYPERVISOR ARAT IA32_TSC_ADJUST SMEP ERMS UMIP XD " +
    "1GB-PAGES INTEL64 INVARIANT-TSC XGETBV_ECX_1 LA57 MCE MCA IBRS-IBPB STIBP SSBD"
  ).split(" "),
);

describe.each([...IMPLEMENTED_FEATURES])("claimed feature %s", (feature) => {
  test("has every one of its instructions, or is not about instructions", () => {
    const mnemonics = MNEMONICS[feature];
    const rows = ROWS.filter((candidate) =>
      mnemonics ? mnemonics.includes(candidate.mnemonic) : cpuidNames(candidate.feature).includes(feature),
    );
    if (NO_INSTRUCTIONS.has(feature)) expect(rows).toEqual([]);
    else expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter((candidate) => ruleOf(candidate) === undefined).map(({ id }) => id)).toEqual([]);
  });
});

test("a row without a rule would be found by the test above", () => {
  const unknown = { ...ROWS[0]!, mnemonic: "NOT-AN-INSTRUCTION" };
  expect(ruleOf(unknown)).toBeUndefined();
});

describe.each(CPU_MODELS)("%s", (name) => {
  const { cpuid, signature, cr4Allowed } = identity(name);

  test("the rows fit in the CPU block, none twice, all values 32-bit", () => {
    expect(cpuid.length * 24).toBeLessThanOrEqual(CpuStruct.fields.cpuid.size);
    const keys = cpuid.map(([leaf, subleaf]) => `${leaf}.${subleaf}`);
    expect(new Set(keys).size).toBe(keys.length);
    for (const values of cpuid)
      for (const value of values.slice(2)) expect(value === value! >>> 0).toBe(true);
  });

  test("leaf 0 has the vendor and the highest leaf, leaf 1 the signature", () => {
    const [, , highest, ebx, ecx, edx] = row(cpuid, 0);
    expect(text(ebx, edx, ecx)).toBe("GenuineIntel");
    expect(highest).toBe(Math.max(...cpuid.map(([leaf]) => leaf).filter((leaf) => leaf < 0x40000000)));
    expect(row(cpuid, 1)[2]).toBe(signature);
  });

  test("the feature words are the claimed features, bit for bit, and no other bit", () => {
    const claimed = claimedFeatures({ model: name, cpus: 4 });
    const words = new Map<string, number>();
    const registers = ["eax", "ebx", "ecx", "edx"];
    for (const [leaf, subleaf, ...values] of cpuid)
      registers.forEach((register, i) => words.set(`${leaf}.${subleaf ?? 0}.${register}`, values[i]!));
    for (const [feature, { leaf, register, bit, subleaf = 0 }] of FEATURES)
      expect([feature, ((words.get(`${leaf}.${subleaf}.${register}`) ?? 0) >>> bit) & 1]).toEqual([
        feature,
        claimed.has(feature) ? 1 : 0,
      ]);
    for (const key of [
      "1.0.ecx",
      "1.0.edx",
      "6.0.eax",
      "7.0.ebx",
      "7.0.ecx",
      "13.1.eax",
      "2147483649.0.ecx",
      "2147483649.0.edx",
    ]) {
      const known = [...FEATURES.values()].filter(
        ({ leaf, register, subleaf = 0 }) => key === `${leaf}.${subleaf}.${register}`,
      );
      const mask = known.reduce((sum, { bit }) => sum | (1 << bit), 0);
      expect(((words.get(key) ?? 0) & ~mask) >>> 0).toBe(0);
    }
  });

  test("nothing is claimed that the core does not execute", () => {
    const claimed = claimedFeatures({ model: name, cpus: 4 });
    for (const feature of claimed) expect(IMPLEMENTED_FEATURES.has(feature)).toBe(true);
    for (const feature of ["AVX512F", "MPX"]) expect(claimed.has(feature)).toBe(false);
    for (const feature of ["FPU", "FXSR", "CMOV", "CX8", "PAE", "APIC", "INTEL64", "SYSCALL", "XD"])
      expect(claimed.has(feature)).toBe(true);
  });

  test("CR4 has a bit exactly where the feature is claimed", () => {
    const claimed = claimedFeatures({ model: name, cpus: 1 });
    const has = (bit: number): boolean => (cr4Allowed & (1n << BigInt(bit))) !== 0n;
    for (const [feature, bit] of [
      ["VME", 0],
      ["VME", 1],
      ["TSC", 2],
      ["PSE", 4],
      ["PAE", 5],
      ["PGE", 7],
      ["UMIP", 11],
      ["FSGSBASE", 16],
      ["PCID", 17],
      ["SMEP", 20],
      ["SMAP", 21],
      ["FXSR", 9],
      ["VMX", 13],
      ["XSAVE", 18],
      ["DE", 3],
      ["MCE", 6],
      ["LA57", 12],
      ["PKU", 22],
    ] as const)
      expect([feature, has(bit)]).toEqual([feature, claimed.has(feature)]);
    expect(cr4Allowed >> 23n).toBe(0n);
  });

  test("the brand string names the model", () => {
    const brand = [2, 3, 4]
      .map((n) =>
        text(
          ...row(cpuid, 0x80000000 + n)
            .slice(2)
            .map(Number),
        ),
      )
      .join("");
    expect(brand).toHaveLength(48);
    expect(brand.replace(/\0+$/, "")).toBe(
      `exitless virtual CPU, model ${{ penryn: "Penryn", nehalem: "Nehalem", sandybridge: "Sandy Bridge", skylake: "Skylake", max: "max" }[name]}`,
    );
  });

  test("leaf 4's caches have the sizes they say: ways × line × sets", () => {
    const sizes = [0, 1, 2, 3].map((subleaf) => {
      const [, , eax, ebx, ecx] = row(cpuid, 4, subleaf);
      expect((eax >>> 26) + 1).toBe(4);
      return [
        (eax >> 5) & 7,
        ((ebx >>> 22) + 1) * ((ebx & 0xfff) + 1) * (ecx + 1),
        ((eax >>> 14) & 0xfff) + 1,
      ];
    });
    expect(sizes).toEqual([
      [1, 32768, 1],
      [1, 32768, 1],
      [2, { penryn: 6291456, skylake: 1048576 }[name as string] ?? 262144, 1],
      [3, 8388608, 4],
    ]);
  });
});

test("signatures are family 6 with the namesakes' model numbers", () => {
  expect(CPU_MODELS.map((name) => identity(name).signature)).toEqual([
    0x1067a, 0x106a5, 0x206a7, 0x50654, 0x606a6,
  ]);
});

test("models grow: each claims all that its predecessor claims, and the newest of each generation is new", () => {
  const claims = CPU_MODELS.map((model) => claimedFeatures({ model, cpus: 2 }));
  for (let i = 1; i < claims.length; i++)
    expect([...claims[i - 1]!].filter((feature) => !claims[i]!.has(feature))).toEqual([]);
  const has = (feature: string): boolean[] => claims.slice(1).map((claim) => claim.has(feature));
  expect(has("TSC-Deadline")).toEqual([false, true, true, true]);
  expect(has("SMAP")).toEqual([false, false, true, true]);
  expect(has("RDPID")).toEqual([false, false, false, true]);
  expect(has("UMIP")).toEqual([false, false, false, true]);
  expect(has("PKU")).toEqual([false, false, true, true]);
  expect(has("LA57")).toEqual([false, false, false, true]);
});

test("VMX: no EPT, EPT and VPID, unrestricted guests, everything", () => {
  const has = (bits: number): boolean[] =>
    CPU_MODELS.map((name) => ((identity(name).vmx?.secondary ?? 0) & bits) !== 0);
  expect(has(Secondary.ENABLE_EPT)).toEqual([false, true, true, true, true]);
  expect(has(Secondary.ENABLE_VPID)).toEqual([false, true, true, true, true]);
  expect(has(Secondary.UNRESTRICTED_GUEST)).toEqual([false, false, true, true, true]);
  expect(has(Secondary.VIRTUAL_INTERRUPT_DELIVERY)).toEqual([false, false, false, true, true]);
  const without = cpuModel({ model: "max", removed: ["vmx-ept"], cpus: 1, tscFrequency: TSC }).vmx!;
  // What builds on EPT goes with it.
  expect(
    without.secondary & (Secondary.ENABLE_EPT | Secondary.UNRESTRICTED_GUEST | Secondary.ENABLE_PML),
  ).toBe(0);
  expect(cpuModel({ model: "max", removed: ["VMX"], cpus: 1, tscFrequency: TSC }).vmx).toBeUndefined();
  expect(cpuModel({ model: "max", hypervisor: true, cpus: 1, tscFrequency: TSC }).vmx).toBeUndefined();
});

test("leaf BH numbers one thread a core, all cores in one package", () => {
  for (const [cpus, shift] of [
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 2],
    [5, 3],
    [16, 4],
  ] as const) {
    const { cpuid } = identity("max", cpus);
    expect([row(cpuid, 0xb, 0)[2], row(cpuid, 0xb, 0)[3], row(cpuid, 0xb, 0)[4]]).toEqual([0, 1, 0x100]);
    expect([row(cpuid, 0xb, 1)[2], row(cpuid, 0xb, 1)[3], row(cpuid, 0xb, 1)[4]]).toEqual([
      shift,
      cpus,
      0x201,
    ]);
    expect((row(cpuid, 1)[3] >> 16) & 0xff).toBe(cpus);
    expect((row(cpuid, 1)[5] >>> 28) & 1).toBe(cpus > 1 ? 1 : 0);
  }
});

test("leaf 15H gives the TSC's frequency exactly, from the clock that the core's APIC timer counts", () => {
  const [, , denominator, numerator, crystal] = row(identity("skylake").cpuid, 0x15);
  expect((crystal * numerator) / denominator).toBe(TSC);
  const apic = readFileSync(
    new URL("../../../emulator/core/interrupts/local-apic.ts", import.meta.url),
    "utf8",
  );
  expect(/CYCLES_PER_TIMER_TICK: u64 = (\d+);/.exec(apic)![1]).toBe(String(CYCLES_PER_TIMER_TICK));
  expect(crystal).toBe(TSC / CYCLES_PER_TIMER_TICK);
  expect(row(identity("skylake").cpuid, 0x16)[2]).toBe(2670);
  expect(() => cpuModel({ model: "max", cpus: 1, tscFrequency: TSC + 1 })).toThrow(RangeError);
});

test("leaf DH has the components of XCR0, their sizes and places, and what XSAVE can do", () => {
  const zero = [0, 0, 0, 0];
  expect(row(identity("nehalem").cpuid, 0xd)).toBeUndefined();
  const sandybridge = identity("sandybridge").cpuid;
  expect(row(sandybridge, 0xd, 0).slice(2)).toEqual([7, 576, 832, 0]);
  // XSAVEOPT alone: no compacted format, whose size EBX would say.
  expect(row(sandybridge, 0xd, 1).slice(2)).toEqual([1, 0, 0, 0]);
  expect(row(sandybridge, 0xd, 2).slice(2)).toEqual([256, 576, 0, 0]);
  const skylake = identity("skylake").cpuid;
  expect(row(skylake, 0xd, 0).slice(2)).toEqual([0x207, 576, 840, 0]);
  expect(row(skylake, 0xd, 1).slice(2)).toEqual([15, 576, 0, 0]);
  expect(row(skylake, 0xd, 9).slice(2)).toEqual([8, 832, 0, 0]);
  const state = { apicId: 0, apicEnabled: true, osxsave: true };
  const answer = (subleaf: number, xcr0: number) =>
    answerCpuid(identity("max").cpuid, 0xd, subleaf, { ...state, xcr0 });
  expect([answer(0, 1).ebx, answer(0, 3).ebx, answer(0, 7).ebx, answer(1, 7).ebx]).toEqual([
    576, 576, 832, 832,
  ]);
  // PKRU keeps its place in the standard format, and follows what is there in the compacted one.
  expect([0x201, 0x207].map((xcr0) => [answer(0, xcr0).ebx, answer(1, xcr0).ebx])).toEqual([
    [840, 584],
    [840, 840],
  ]);
  expect(Object.values(answer(3, 7))).toEqual(zero);
});

test("leaf 80000008H has the core's physical-address width, and 57 linear bits with LA57", () => {
  const spec = readFileSync(new URL("../../../emulator/core/spec/architecture.ts", import.meta.url), "utf8");
  expect(/PHYSICAL_BITS: u32 = (\d+);/.exec(spec)![1]).toBe(String(PHYSICAL_BITS));
  expect(row(identity("skylake").cpuid, 0x80000008)[2]).toBe(0x3028);
  expect(row(identity("max").cpuid, 0x80000008)[2]).toBe(0x3928);
});

test("a virtual CPU shows the HYPERVISOR bit and KVM's signature with no features", () => {
  const { cpuid } = cpuModel({ model: "max", cpus: 1, tscFrequency: TSC, hypervisor: true });
  expect(row(cpuid, 1)[4] >>> 31).toBe(1);
  expect(row(identity("max").cpuid, 1)[4] >>> 31).toBe(0);
  const leaves = hypervisorLeaves(TSC);
  const [, , highest, ebx, ecx, edx] = row(leaves, 0x40000000);
  expect([highest, text(ebx, ecx, edx)]).toEqual([0x40000010, "KVMKVMKVM\0\0\0"]);
  expect(row(leaves, 0x40000001).slice(2)).toEqual([0, 0, 0, 0]);
  expect(row(leaves, 0x40000010)[2]).toBe(2_670_000);
  // It has no MONITOR: the hypervisor makes it #UD.
  expect((row(cpuid, 1)[4] >>> 3) & 1).toBe(0);
  expect(row(cpuid, 5).slice(2)).toEqual([0, 0, 0, 0]);
  expect((row(identity("max").cpuid, 1)[4] >>> 3) & 1).toBe(1);
  expect(row(identity("max").cpuid, 5).slice(2)).toEqual([64, 64, 3, 16]);
  expect((cpuid.length + leaves.length) * 24).toBeLessThanOrEqual(CpuStruct.fields.cpuid.size);
});

test("options out of range are refused", () => {
  for (const cpus of [0, 256, 1.5]) expect(() => identity("max", cpus)).toThrow(RangeError);
  for (const tscFrequency of [0, -16, 8.5, NaN])
    expect(() => cpuModel({ model: "max", cpus: 1, tscFrequency })).toThrow(RangeError);
});

describe("answerCpuid", () => {
  const { cpuid } = identity("skylake");
  const rows = [...cpuid, ...hypervisorLeaves(TSC)];
  const state = { apicId: 3, apicEnabled: true, osxsave: false, xcr0: 1 };
  const answer = (leaf: number, subleaf = 0, more = {}) =>
    answerCpuid(rows, leaf, subleaf, { ...state, ...more });

  test("leaf 1 has APIC ID, OSXSAVE and APIC as the CPU stands", () => {
    expect(answer(1).ebx >>> 24).toBe(3);
    expect([answer(1).ecx & (1 << 27), answer(1, 0, { osxsave: true }).ecx & (1 << 27)]).toEqual([
      0,
      1 << 27,
    ]);
    expect([answer(1).edx & 0x200, answer(1, 0, { apicEnabled: false }).edx & 0x200]).toEqual([0x200, 0]);
  });

  test("beyond the highest leaf the highest one answers; gaps below it and unknown subleaves are zero", () => {
    expect(answer(0x17)).toEqual(answer(0x16));
    expect(answer(0x3fffffff)).toEqual(answer(0x16));
    expect(answer(0x80000009)).toEqual(answer(0x16));
    const zero = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    expect([answer(3), answer(7, 1), answer(4, 4), answer(0x40000005)]).toEqual([zero, zero, zero, zero]);
    expect(answer(0xb, 7)).toEqual({ ...zero, ecx: 7, edx: 3 });
    expect(answer(0xb, 1)).toEqual({ eax: 2, ebx: 4, ecx: 0x201, edx: 3 });
  });
});

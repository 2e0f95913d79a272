/**
 * CPU models: what CPUID says and which CR4 bits exist.
 *
 * A model claims the features that its namesake has *and* the core executes: `claimedFeatures` is the intersection of two
 * lists below, both in the manual's names. Completing an instruction set in the core means adding its name to
 * `IMPLEMENTED_FEATURES`; a test holds that the instruction table then has all of its rows.
 */
import type { CpuConfiguration } from "./core.ts";
import { tableFeatures } from "./instruction-sets.ts";
import { FEATURES, featureNames } from "./cpu-features.ts";
import type { CpuidRegister } from "./cpu-features.ts";
import { VMX_TIERS, vmxCapabilities } from "./vmx-features.ts";

export const CPU_MODELS = ["penryn", "nehalem", "sandybridge", "skylake", "max"] as const;
export type CpuModelName = (typeof CPU_MODELS)[number];

/** [leaf, subleaf or undefined for any, EAX, EBX, ECX, EDX] */
export type CpuidRow = CpuConfiguration["cpuid"][number];

/** What the core executes, or has as state and behaviour. */
export const IMPLEMENTED_FEATURES: ReadonlySet<string> = new Set(
  featureNames(`
    FPU FXSR VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH HTT
    CMPXCHG16B MONITOR PCID x2APIC MOVBE POPCNT TSC-Deadline HYPERVISOR
    ARAT VMX
    FSGSBASE IA32_TSC_ADJUST SMEP ERMS INVPCID ADX SMAP CLFLUSHOPT CLWB UMIP PKU LA57 RDPID IBRS-IBPB STIBP SSBD
    MMX SSE SSE2 SSE3 SSSE3 SSE4_1 SSE4_2 AESNI PCLMULQDQ SHA XSAVE XSAVEOPT XSAVEC XSAVES XGETBV_ECX_1 AVX AVX2 FMA F16C BMI1 BMI2
    RDRAND RDSEED
    LAHF-SAHF LZCNT PREFETCHW SYSCALL XD 1GB-PAGES RDTSCP INTEL64 INVARIANT-TSC
  `),
);

const PENRYN = featureNames(`
  FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH DS ACPI MMX FXSR SSE SSE2 SS HTT TM PBE
  SSE3 DTES64 MONITOR DS-CPL VMX EIST TM2 SSSE3 CMPXCHG16B xTPR PDCM SSE4_1
  LAHF-SAHF SYSCALL XD INTEL64
`);
const NEHALEM = [...PENRYN, ...featureNames("DCA SSE4_2 x2APIC POPCNT RDTSCP INVARIANT-TSC")];
const SANDY_BRIDGE = [
  ...NEHALEM,
  ...featureNames("PCLMULQDQ PCID TSC-Deadline AESNI XSAVE XSAVEOPT AVX ARAT 1GB-PAGES"),
];
const SKYLAKE = [
  ...SANDY_BRIDGE,
  ...featureNames(`
    SDBG FMA MOVBE F16C RDRAND FSGSBASE IA32_TSC_ADJUST BMI1 AVX2 SMEP BMI2 ERMS INVPCID FCS_FDS_DEPRECATED RDSEED ADX SMAP
    CLFLUSHOPT CLWB LZCNT PREFETCHW XSAVEC XGETBV_ECX_1 XSAVES PKU IBRS-IBPB STIBP SSBD
  `),
];

interface CpuModel {
  /** For the brand string. */
  readonly title: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** Revision in IA32_BIOS_SIGN_ID: a late one, so that software misses no correction of errata that are not here. */
  readonly microcode: number;
  readonly features: readonly string[];
  /** Highest basic leaf. */
  readonly highestLeaf: number;
  /** Ways of the 32-KiB instruction cache; bytes and ways of level 2. */
  readonly instructionWays: number;
  readonly level2: { readonly kib: number; readonly ways: number };
  /** MSR_PKG_CST_CONFIG_CONTROL and MSR_POWER_CTL, which came with Nehalem. */
  readonly hasPowerMsrs: boolean;
  /** Features of VMX: vmx-features.ts. */
  readonly vmx: readonly string[];
}

const MODELS: Readonly<Record<CpuModelName, CpuModel>> = {
  // 06_17H: Core 2 of 45 nm, whose VMX has no EPT.
  penryn: {
    title: "Penryn",
    family: 6,
    model: 0x17,
    stepping: 10,
    microcode: 0xa0b,
    features: PENRYN,
    highestLeaf: 0x0a,
    instructionWays: 8,
    level2: { kib: 6144, ways: 24 },
    hasPowerMsrs: false,
    vmx: VMX_TIERS.penryn,
  },
  // 06_1AH: Xeon 5500 series.
  nehalem: {
    title: "Nehalem",
    family: 6,
    model: 0x1a,
    stepping: 5,
    microcode: 0x1d,
    features: NEHALEM,
    highestLeaf: 0x0b,
    instructionWays: 4,
    level2: { kib: 256, ways: 8 },
    hasPowerMsrs: true,
    vmx: VMX_TIERS.nehalem,
  },
  // 06_2AH: second generation Core.
  sandybridge: {
    title: "Sandy Bridge",
    family: 6,
    model: 0x2a,
    stepping: 7,
    microcode: 0x2f,
    features: SANDY_BRIDGE,
    highestLeaf: 0x0d,
    instructionWays: 8,
    level2: { kib: 256, ways: 8 },
    hasPowerMsrs: true,
    vmx: VMX_TIERS.sandybridge,
  },
  // 06_55H: first generation Xeon Scalable.
  skylake: {
    title: "Skylake",
    family: 6,
    model: 0x55,
    stepping: 4,
    microcode: 0x2007006,
    features: SKYLAKE,
    highestLeaf: 0x16,
    instructionWays: 8,
    level2: { kib: 1024, ways: 16 },
    hasPowerMsrs: true,
    vmx: VMX_TIERS.all,
  },
  // Everything that is implemented, with the signature of a processor that has it all: 06_6AH, Ice Lake server.
  max: {
    title: "max",
    family: 6,
    model: 0x6a,
    stepping: 6,
    microcode: 0xd0003d1,
    features: [...IMPLEMENTED_FEATURES],
    highestLeaf: 0x16,
    instructionWays: 8,
    level2: { kib: 256, ways: 4 },
    hasPowerMsrs: true,
    vmx: VMX_TIERS.all,
  },
};

/** CR4 bits by the feature that brings them; SDM Vol. 3A, "Control Registers". */
const CR4_OF_FEATURE: readonly (readonly [feature: string, bit: number])[] = [
  ["VME", 0],
  ["VME", 1],
  ["TSC", 2],
  ["DE", 3],
  ["PSE", 4],
  ["PAE", 5],
  ["MCE", 6],
  ["PGE", 7],
  // CR4.PCE: RDPMC exists in every model, with counters to read or without.
  ["MSR", 8],
  ["FXSR", 9],
  ["SSE", 10],
  ["UMIP", 11],
  ["LA57", 12],
  ["VMX", 13],
  ["FSGSBASE", 16],
  ["PCID", 17],
  ["XSAVE", 18],
  ["SMEP", 20],
  ["SMAP", 21],
  ["PKU", 22],
];

/**
 * Cycles of the time-stamp counter in one tick of the local APIC's timer, as in the core's local-apic.ts. Leaf 15H calls
 * the APIC timer's clock the core crystal clock, and Linux takes its word for it.
 */
export const CYCLES_PER_TIMER_TICK = 16;

/** Physical-address bits, as in the core's architecture.ts, and linear-address bits without and with LA57. */
export const PHYSICAL_BITS = 40;
const LINEAR_BITS = 48;
const LINEAR_BITS_LA57 = 57;

/** Leaf 5: lines of 64 bytes; extensions, of which masked interrupts can end MWAIT; one C1 state, no deeper ones. */
const MONITOR_ROW: CpuidRow = [0x5, undefined, 64, 64, 3, 1 << 4];

const HIGHEST_EXTENDED = 0x80000008;
const LINE_BYTES = 64;

export interface CpuModelOptions {
  readonly model: CpuModelName;
  /** Features beyond the model's, and those that it is to lack. */
  readonly added?: readonly string[];
  readonly removed?: readonly string[];
  /** CPUs of the machine, all in one package, one thread a core. */
  readonly cpus: number;
  /** Hz; a multiple of CYCLES_PER_TIMER_TICK, so that leaf 15H is exact. */
  readonly tscFrequency: number;
  /** Sets CPUID.1:ECX.HYPERVISOR[31]: for virtual CPUs, together with `hypervisorLeaves`. */
  readonly hypervisor?: boolean;
}

export type CpuIdentity = Pick<
  CpuConfiguration,
  | "signature"
  | "microcode"
  | "cr4Allowed"
  | "cpuid"
  | "instructionSets"
  | "vmx"
  | "walksCached"
  | "counters"
  | "machineCheckBanks"
  | "hasPowerMsrs"
  | "specCtrl"
>;

/** What `-cpu` can turn on and off beside CPUID bits: performance counters (QEMU's name) and paging-structure caches. */
export const MODEL_OPTIONS: ReadonlySet<string> = new Set(["PMU", "WALK-CACHES"]);

/** Performance counters of a model that has them (emulator/core/state/performance.ts), and their bits. */
const COUNTERS = 4;
const COUNTER_BITS = 48;
/** Leaf AH, EBX: architectural events that cannot be counted: of the last-level cache (3, 4) and of branches (5, 6). */
const MISSING_EVENTS = 0b1111000;
const ARCHITECTURAL_EVENTS = 7;

/** Banks in IA32_MCG_CAP (emulator/core/state/machine-check.ts). */
const MACHINE_CHECK_BANKS = 6;
/** What brings each bit of IA32_SPEC_CTRL, from bit 0. */
const SPEC_CTRL_OF_FEATURE = ["IBRS-IBPB", "STIBP", "SSBD"];

/** Leaf AH, "Architectural Performance Monitoring": version 1, or nothing. */
const performanceRow = (hasCounters: boolean): CpuidRow =>
  hasCounters
    ? [
        0xa,
        undefined,
        1 | (COUNTERS << 8) | (COUNTER_BITS << 16) | (ARCHITECTURAL_EVENTS << 24),
        MISSING_EVENTS,
        0,
        0,
      ]
    : [0xa, undefined, 0, 0, 0, 0];

/** CPUID.1:EAX: SDM Vol. 2A, "CPUID", "Version Information Returned by CPUID in EAX". Family 6 only. */
function signatureOf({ family, model, stepping }: CpuModel): number {
  return ((model >> 4) << 16) | (family << 8) | ((model & 15) << 4) | stepping;
}

/** The features that a model claims: what its namesake has and the core executes. */
export function claimedFeatures(
  options: Pick<CpuModelOptions, "model" | "added" | "removed" | "cpus" | "hypervisor">,
): ReadonlySet<string> {
  const wanted = [...MODELS[options.model].features, ...(options.added ?? [])];
  const claimed = new Set(wanted.filter((name) => IMPLEMENTED_FEATURES.has(name)));
  for (const name of options.removed ?? []) claimed.delete(name);
  // HTT: CPUID.1:EBX[23:16] is valid, that is, the package has more than one logical processor.
  if (options.cpus === 1) claimed.delete("HTT");
  if (options.hypervisor) {
    claimed.add("HYPERVISOR");
    // Nested VMX is not offered to virtual machines.
    claimed.delete("VMX");
    // A virtual CPU that waits should give its processor away: HLT does.
    claimed.delete("MONITOR");
  } else claimed.delete("HYPERVISOR");
  return claimed;
}

/**
 * What identifies a CPU of a model, for `configureCpu`. The core itself fills in what depends on the CPU and its state:
 * the APIC ID, OSXSAVE, and APIC while the local APIC is disabled.
 * @throws RangeError for options out of range
 */
export function cpuModel(options: CpuModelOptions): CpuIdentity {
  const { cpus, tscFrequency } = options;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > 255)
    throw new RangeError(`${cpus} CPUs: 1 to 255 are possible`);
  if (!Number.isInteger(tscFrequency) || tscFrequency <= 0 || tscFrequency % CYCLES_PER_TIMER_TICK !== 0)
    throw new RangeError(
      `TSC frequency ${tscFrequency} Hz: must be a multiple of ${CYCLES_PER_TIMER_TICK} Hz`,
    );
  const model = MODELS[options.model];
  const features = claimedFeatures(options);
  const word = (leaf: number, register: CpuidRegister, subleaf = 0): number =>
    featureWord(features, leaf, register, subleaf);
  const signature = signatureOf(model);
  const hasCounters = options.added?.includes("PMU") ?? false;
  const linearBits = features.has("LA57") ? LINEAR_BITS_LA57 : LINEAR_BITS;
  const rows: CpuidRow[] = [
    [0x0, undefined, model.highestLeaf, ...vendor("GenuineIntel")],
    [0x1, undefined, signature, (cpus << 16) | ((LINE_BYTES / 8) << 8), word(1, "ecx"), word(1, "edx")],
    // 01H: one call is enough; FFH: caches are described by leaf 4.
    [0x2, undefined, 0xff01, 0, 0, 0],
    ...cacheRows(model, cpus),
    features.has("MONITOR") ? MONITOR_ROW : [0x5, undefined, 0, 0, 0, 0],
    [0x6, undefined, word(6, "eax"), 0, 0, 0],
    [0x7, 0, 0, word(7, "ebx"), word(7, "ecx"), word(7, "edx")],
    performanceRow(hasCounters),
    ...topologyRows(cpus),
    ...xsaveRows(features, word(0xd, "eax", 1)),
    ...timeRows(tscFrequency),
    [0x80000000, undefined, HIGHEST_EXTENDED, 0, 0, 0],
    [0x80000001, undefined, 0, 0, word(0x80000001, "ecx"), word(0x80000001, "edx")],
    ...brandRows(`exitless virtual CPU, model ${model.title}`),
    [0x80000005, undefined, 0, 0, 0, 0],
    [
      0x80000006,
      undefined,
      0,
      0,
      (model.level2.kib << 16) | (level2Associativity(model) << 12) | LINE_BYTES,
      0,
    ],
    [0x80000007, undefined, 0, 0, 0, word(0x80000007, "edx")],
    [HIGHEST_EXTENDED, undefined, (linearBits << 8) | PHYSICAL_BITS, 0, 0, 0],
  ];
  let cr4Allowed = 0n;
  for (const [feature, bit] of CR4_OF_FEATURE) if (features.has(feature)) cr4Allowed |= 1n << BigInt(bit);
  const cpuid = rows.filter(([leaf]) => leaf <= model.highestLeaf || leaf >= 0x80000000);
  const removed = new Set(options.removed ?? []);
  const vmx = [...model.vmx, ...(options.added ?? [])].filter((name) => !removed.has(name));
  return {
    signature,
    microcode: model.microcode,
    cr4Allowed,
    walksCached: !removed.has("WALK-CACHES"),
    counters: hasCounters ? COUNTERS : 0,
    machineCheckBanks: features.has("MCA") ? MACHINE_CHECK_BANKS : 0,
    hasPowerMsrs: model.hasPowerMsrs,
    specCtrl: SPEC_CTRL_OF_FEATURE.reduce((may, name, bit) => may | (features.has(name) ? 1 << bit : 0), 0),
    cpuid,
    instructionSets: tableFeatures(features),
    vmx: features.has("VMX") ? vmxCapabilities(vmx) : undefined,
  };
}

/** Sizes of an XSAVE image: legacy region and header, and behind them, in this order, AVX state and PKRU. */
const XSAVE_BYTES = 576;
const AVX_STATE_BYTES = 256;
const PKRU_BYTES = 8;
/** XCR0's bits of x87 and SSE, and the numbers of the other state components. */
const XCR0_X87_SSE = 3;
const AVX_COMPONENT = 2;
const PKRU_COMPONENT = 9;

/** Leaf DH, "Processor Extended State Enumeration". The core makes the size in EBX that of what XCR0 enables. */
function xsaveRows(features: ReadonlySet<string>, extensions: number): CpuidRow[] {
  if (!features.has("XSAVE")) return [[0xd, undefined, 0, 0, 0, 0]];
  // Places in the standard format do not depend on which of them a model has.
  const components = [
    ...(features.has("AVX") ? [{ number: AVX_COMPONENT, at: XSAVE_BYTES, bytes: AVX_STATE_BYTES }] : []),
    ...(features.has("PKU")
      ? [{ number: PKRU_COMPONENT, at: XSAVE_BYTES + AVX_STATE_BYTES, bytes: PKRU_BYTES }]
      : []),
  ];
  const xcr0 = components.reduce((bits, { number }) => bits | (1 << number), XCR0_X87_SSE);
  const end = components.reduce((_, { at, bytes }) => at + bytes, XSAVE_BYTES);
  const isCompacting = features.has("XSAVEC") || features.has("XSAVES");
  return [
    [0xd, 0, xcr0, XSAVE_BYTES, end, 0],
    [0xd, 1, extensions, isCompacting ? XSAVE_BYTES : 0, 0, 0],
    ...components.map(({ number, at, bytes }): CpuidRow => [0xd, number, bytes, at, 0, 0]),
  ];
}

function featureWord(
  features: ReadonlySet<string>,
  leaf: number,
  register: CpuidRegister,
  subleaf: number,
): number {
  let word = 0;
  for (const name of features) {
    const feature = FEATURES.get(name);
    if (feature?.leaf === leaf && feature.register === register && (feature.subleaf ?? 0) === subleaf)
      word |= 1 << feature.bit;
  }
  return word >>> 0;
}

/** Four characters as a register holds them. */
function characters(text: string, at: number): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = value * 256 + (at + i < text.length ? text.charCodeAt(at + i) : 0);
  return value;
}

/** EBX, ECX, EDX of leaf 0: the vendor's name goes into EBX, EDX, ECX. */
const vendor = (name: string): [ebx: number, ecx: number, edx: number] => [
  characters(name, 0),
  characters(name, 8),
  characters(name, 4),
];

const PROCESSOR_BRAND_BYTES = 48;

function brandRows(text: string): CpuidRow[] {
  if (text.length >= PROCESSOR_BRAND_BYTES) throw new RangeError(`brand string "${text}" is too long`);
  return [0, 1, 2].map((part): CpuidRow => {
    const [eax, ebx, ecx, edx] = [0, 4, 8, 12].map((at) => characters(text, 16 * part + at));
    return [0x80000002 + part, undefined, eax!, ebx!, ecx!, edx!];
  });
}

/** Bits that number `count` things: the shift that leaf BH reports. */
const bitsFor = (count: number): number => Math.ceil(Math.log2(count));

/** Leaf 4, "Deterministic Cache Parameters". Caches have no timing here; programs size their blocks by them. */
function cacheRows(model: CpuModel, cpus: number): CpuidRow[] {
  const DATA = 1;
  const INSTRUCTION = 2;
  const UNIFIED = 3;
  const SELF_INITIALIZING = 1 << 8;
  const INCLUSIVE = 1 << 1;
  // IDs, not things: both fields count the IDs that the topology leaves room for. The second has six bits.
  const ids = 2 ** bitsFor(cpus);
  const cores = Math.min(ids, 64);
  const cache = (
    subleaf: number,
    type: number,
    level: number,
    kib: number,
    ways: number,
    sharing: number,
  ): CpuidRow => {
    const sets = (kib * 1024) / (ways * LINE_BYTES);
    const eax = type | (level << 5) | SELF_INITIALIZING | ((sharing - 1) << 14) | ((cores - 1) << 26);
    return [
      4,
      subleaf,
      eax >>> 0,
      ((ways - 1) << 22) | (LINE_BYTES - 1),
      sets - 1,
      level === 3 ? INCLUSIVE : 0,
    ];
  };
  return [
    cache(0, DATA, 1, 32, 8, 1),
    cache(1, INSTRUCTION, 1, 32, model.instructionWays, 1),
    cache(2, UNIFIED, 2, model.level2.kib, model.level2.ways, 1),
    cache(3, UNIFIED, 3, 8192, 16, ids),
  ];
}

/** Leaf 80000006H's code of level 2's associativity: 4 ways, 8, or with 24 "16 ways", the nearest below. */
function level2Associativity({ level2 }: CpuModel): number {
  return { 4: 4, 8: 6, 16: 8, 24: 8 }[level2.ways] ?? 0;
}

/** Leaf BH, "Extended Topology Enumeration": one thread a core, all cores in one package. */
function topologyRows(cpus: number): CpuidRow[] {
  const SMT = 1;
  const CORE = 2;
  return [
    [0xb, 0, 0, 1, SMT << 8, 0],
    [0xb, 1, bitsFor(cpus), cpus, (CORE << 8) | 1, 0],
  ];
}

/** Leaves 15H and 16H: TSC frequency = crystal × EBX / EAX; base, maximum and bus frequency in MHz. */
function timeRows(tscFrequency: number): CpuidRow[] {
  const megahertz = Math.floor(tscFrequency / 1e6);
  return [
    [0x15, undefined, 1, CYCLES_PER_TIMER_TICK, tscFrequency / CYCLES_PER_TIMER_TICK, 0],
    [0x16, undefined, megahertz, megahertz, 100, 0],
  ];
}

/** Where a hypervisor's leaves begin. */
const HYPERVISOR_LEAF = 0x40000000;
/** Leaf that gives frequencies in kHz: TSC in EAX, APIC timer in EBX. */
const HYPERVISOR_TIMING_LEAF = 0x40000010;

/**
 * Leaves 40000000H and up for virtual machines: KVM's signature without any of its features, by which Linux knows that
 * x2APIC may be used without interrupt remapping (Linux, Documentation/virt/kvm/x86/cpuid.rst), and the TSC's frequency.
 */
export function hypervisorLeaves(tscFrequency: number): CpuidRow[] {
  const [ebx, ecx, edx] = [0, 4, 8].map((at) => characters("KVMKVMKVM", at));
  return [
    [HYPERVISOR_LEAF, undefined, HYPERVISOR_TIMING_LEAF, ebx!, ecx!, edx!],
    [HYPERVISOR_LEAF + 1, undefined, 0, 0, 0, 0],
    [
      HYPERVISOR_TIMING_LEAF,
      undefined,
      Math.round(tscFrequency / 1000),
      Math.round(tscFrequency / CYCLES_PER_TIMER_TICK / 1000),
      0,
      0,
    ],
  ];
}

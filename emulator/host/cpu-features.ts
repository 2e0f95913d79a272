/**
 * CPUID feature bits by the manual's names: SDM Vol. 2A, "CPUID—CPU Identification", the tables of feature information
 * returned. Data only; which of them a model has and which of them the core executes is in `cpu-models.ts`.
 */

export type CpuidRegister = "eax" | "ebx" | "ecx" | "edx";

export interface FeatureBit {
  readonly leaf: number;
  readonly register: CpuidRegister;
  readonly bit: number;
  /** 0 where it is not said. */
  readonly subleaf?: number;
}

/** Names of consecutive bits from bit 0; an empty name is a reserved bit or one that no model here has. */
function bits(leaf: number, register: CpuidRegister, names: string, subleaf = 0): [string, FeatureBit][] {
  return names
    .split(" ")
    .map((name, bit): [string, FeatureBit] => [
      name,
      { leaf, register, bit, ...(subleaf !== 0 && { subleaf }) },
    ])
    .filter(([name]) => name !== "-");
}

const LEAF_1_ECX =
  "SSE3 PCLMULQDQ DTES64 MONITOR DS-CPL VMX SMX EIST TM2 SSSE3 CNXT-ID SDBG FMA CMPXCHG16B xTPR PDCM - PCID DCA SSE4_1 " +
  "SSE4_2 x2APIC MOVBE POPCNT TSC-Deadline AESNI XSAVE - AVX F16C RDRAND HYPERVISOR";
const LEAF_1_EDX =
  "FPU VME DE PSE TSC MSR PAE MCE CX8 APIC - SEP MTRR PGE MCA CMOV PAT PSE-36 PSN CLFSH - DS ACPI MMX FXSR SSE SSE2 SS " +
  "HTT TM - PBE";
const LEAF_6_EAX = "DTS TURBO ARAT";
const LEAF_7_EBX =
  "FSGSBASE IA32_TSC_ADJUST SGX BMI1 HLE AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID RTM RDT-M FCS_FDS_DEPRECATED MPX RDT-A " +
  "AVX512F AVX512DQ RDSEED ADX SMAP AVX512_IFMA - CLFLUSHOPT CLWB PT - - AVX512CD SHA AVX512BW AVX512VL";
const LEAF_7_ECX =
  "PREFETCHWT1 AVX512_VBMI UMIP PKU - - AVX512_VBMI2 - GFNI VAES VPCLMULQDQ AVX512_VNNI AVX512_BITALG - " +
  "AVX512_VPOPCNTDQ - LA57 - - - - - RDPID";
const LEAF_7_EDX = "- - - - - - - - - - - - - - - - - - - - - - - - - - IBRS-IBPB STIBP - - - SSBD";
const LEAF_D_1_EAX = "XSAVEOPT XSAVEC XGETBV_ECX_1 XSAVES";
const EXTENDED_1_ECX = "LAHF-SAHF - - - - LZCNT - - PREFETCHW";
const EXTENDED_1_EDX =
  "- - - - - - - - - - - SYSCALL - - - - - - - - XD - - - - - 1GB-PAGES RDTSCP - INTEL64";
const EXTENDED_7_EDX = "- - - - - - - - INVARIANT-TSC";

/** Every feature by name. */
export const FEATURES: ReadonlyMap<string, FeatureBit> = new Map([
  ...bits(0x1, "ecx", LEAF_1_ECX),
  ...bits(0x1, "edx", LEAF_1_EDX),
  ...bits(0x6, "eax", LEAF_6_EAX),
  ...bits(0x7, "ebx", LEAF_7_EBX),
  ...bits(0x7, "ecx", LEAF_7_ECX),
  ...bits(0x7, "edx", LEAF_7_EDX),
  ...bits(0xd, "eax", LEAF_D_1_EAX, 1),
  ...bits(0x80000001, "ecx", EXTENDED_1_ECX),
  ...bits(0x80000001, "edx", EXTENDED_1_EDX),
  ...bits(0x80000007, "edx", EXTENDED_7_EDX),
]);

/** A list of names in one string; throws for a name that is not in `FEATURES`. */
export function featureNames(text: string): readonly string[] {
  const names = text.split(/\s+/).filter((name) => name !== "");
  for (const name of names) if (!FEATURES.has(name)) throw new Error(`unknown CPUID feature ${name}`);
  return names;
}

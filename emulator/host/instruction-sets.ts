/**
 * Which of the instruction table's features a CPU model executes: the bits of `Cpu.features`, by which the core binds
 * instructions of a missing feature to #UD, or to what they are without it.
 */
import { TABLE_FEATURES } from "./instruction-sets.generated.ts";

export { TABLE_FEATURES };

/** Where the manual's name for CPUID and the table's differ. */
const CPUID_NAME: Readonly<Record<string, string>> = {
  CX16: "CMPXCHG16B",
  CLFLUSH: "CLFSH",
  X87: "FPU",
  AES: "AESNI",
};

/** CPUID features that bring the instructions of a feature of the table. Empty for what every processor has. */
export function cpuidNames(tableFeature: string): readonly string[] {
  // In VMX non-root operation VMX instructions exit whatever CPUID says; elsewhere their handlers know what they are.
  if (tableFeature === "BASE" || tableFeature === "VMX") return [];
  return tableFeature.split("+").map((name) => CPUID_NAME[name] ?? name);
}

/** The table's features that a processor with these CPUID features has. */
export function tableFeatures(claimed: ReadonlySet<string>): ReadonlySet<string> {
  return new Set(TABLE_FEATURES.filter((feature) => cpuidNames(feature).every((name) => claimed.has(name))));
}

/** `Cpu.features` for a set of the table's features. */
export function featureBits(present: ReadonlySet<string>): Uint8Array {
  const bits = new Uint8Array(16);
  TABLE_FEATURES.forEach((feature, at) => {
    if (present.has(feature)) bits[at >> 3]! |= 1 << (at & 7);
  });
  return bits;
}

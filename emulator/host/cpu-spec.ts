/** CPU models with single features added or taken away, as QEMU's `-cpu` spells them. */
import { FEATURES } from "./cpu-features.ts";
import { VMX_FEATURES } from "./vmx-features.ts";
import { CPU_MODELS, IMPLEMENTED_FEATURES, MODEL_OPTIONS, type CpuModelName } from "./cpu-models.ts";

export interface CpuSpec {
  readonly model: CpuModelName;
  /** Feature names (cpu-features.ts) beyond the model's, and those that the model is to lack. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** A `-cpu` value that cannot be: says which part and what it must be. */
export class CpuSpecError extends Error {
  override readonly name = "CpuSpecError";
}

/** QEMU's names are the manual's in lower case, with `-`, `_` or nothing between words. */
const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "");
const NAMES = new Map(
  [...FEATURES.keys(), ...Object.keys(VMX_FEATURES), ...MODEL_OPTIONS].map((name) => [plain(name), name]),
);
/** Where they differ by more. */
const QEMU_NAMES: Readonly<Record<string, string>> = {
  aes: "AESNI",
  cx16: "CMPXCHG16B",
  pni: "SSE3",
  nx: "XD",
  lm: "INTEL64",
  pdpe1gb: "1GB-PAGES",
  lahflm: "LAHF-SAHF",
  abm: "LZCNT",
  "3dnowprefetch": "PREFETCHW",
  tscadjust: "IA32_TSC_ADJUST",
  invtsc: "INVARIANT-TSC",
  clflush: "CLFSH",
};

/**
 * Parses `MODEL[,+FEATURE|,-FEATURE]…`.
 * @throws CpuSpecError for an unknown model or feature, and for one that the core does not have
 */
export function parseCpuSpec(text: string): CpuSpec {
  const [modelText = "", ...parts] = text.split(",");
  const model = CPU_MODELS.find((name) => name === modelText);
  if (model === undefined)
    throw new CpuSpecError(`-cpu ${text}: "${modelText}" must be one of ${CPU_MODELS.join(", ")}`);
  const added = new Set<string>();
  const removed = new Set<string>();
  for (const part of parts) {
    const sign = part.charAt(0);
    const key = plain(part.slice(1));
    const feature = QEMU_NAMES[key] ?? NAMES.get(key);
    if ((sign !== "+" && sign !== "-") || feature === undefined)
      throw new CpuSpecError(`-cpu ${text}: "${part}" must be + or - and a CPUID feature, as in +x2apic`);
    if (
      sign === "+" &&
      !IMPLEMENTED_FEATURES.has(feature) &&
      !(feature in VMX_FEATURES) &&
      !MODEL_OPTIONS.has(feature)
    )
      throw new CpuSpecError(`-cpu ${text}: ${feature} is not implemented`);
    (sign === "+" ? added : removed).add(feature);
    (sign === "+" ? removed : added).delete(feature);
  }
  return { model, added: [...added], removed: [...removed] };
}

/** Names of model-specific registers. SDM Vol. 4, "Architectural MSRs"; Vol. 3A, "x2APIC Register Address Space". */

const NAMES: ReadonlyMap<number, string> = new Map([
  [0x10, "IA32_TIME_STAMP_COUNTER"],
  [0x17, "IA32_PLATFORM_ID"],
  [0x1b, "IA32_APIC_BASE"],
  [0x3a, "IA32_FEATURE_CONTROL"],
  [0x3b, "IA32_TSC_ADJUST"],
  [0x79, "IA32_BIOS_UPDT_TRIG"],
  [0x8b, "IA32_BIOS_SIGN_ID"],
  [0xce, "MSR_PLATFORM_INFO"],
  [0xe7, "IA32_MPERF"],
  [0xe8, "IA32_APERF"],
  [0xfe, "IA32_MTRRCAP"],
  [0x174, "IA32_SYSENTER_CS"],
  [0x175, "IA32_SYSENTER_ESP"],
  [0x176, "IA32_SYSENTER_EIP"],
  [0x179, "IA32_MCG_CAP"],
  [0x17a, "IA32_MCG_STATUS"],
  [0x199, "IA32_PERF_CTL"],
  [0x1a0, "IA32_MISC_ENABLE"],
  [0x1d9, "IA32_DEBUGCTL"],
  [0x277, "IA32_PAT"],
  [0x2ff, "IA32_MTRR_DEF_TYPE"],
  [0x480, "IA32_VMX_BASIC"],
  [0x6e0, "IA32_TSC_DEADLINE"],
  [0xda0, "IA32_XSS"],
  [0xc0000080, "IA32_EFER"],
  [0xc0000081, "IA32_STAR"],
  [0xc0000082, "IA32_LSTAR"],
  [0xc0000083, "IA32_CSTAR"],
  [0xc0000084, "IA32_FMASK"],
  [0xc0000100, "IA32_FS_BASE"],
  [0xc0000101, "IA32_GS_BASE"],
  [0xc0000102, "IA32_KERNEL_GS_BASE"],
  [0xc0000103, "IA32_TSC_AUX"],
]);

/** x2APIC registers that stand alone, by MSR address. */
const X2APIC: ReadonlyMap<number, string> = new Map([
  [0x802, "APICID"],
  [0x803, "VERSION"],
  [0x808, "TPR"],
  [0x80a, "PPR"],
  [0x80b, "EOI"],
  [0x80d, "LDR"],
  [0x80f, "SIVR"],
  [0x828, "ESR"],
  [0x82f, "LVT_CMCI"],
  [0x830, "ICR"],
  [0x832, "LVT_TIMER"],
  [0x833, "LVT_THERMAL"],
  [0x834, "LVT_PMI"],
  [0x835, "LVT_LINT0"],
  [0x836, "LVT_LINT1"],
  [0x837, "LVT_ERROR"],
  [0x838, "INIT_COUNT"],
  [0x839, "CUR_COUNT"],
  [0x83e, "DIV_CONF"],
  [0x83f, "SELF_IPI"],
]);

/** The manual's name of an MSR, or words that say that it has none here. */
export function msrName(index: number): string {
  const name = NAMES.get(index);
  if (name !== undefined) return name;
  if (index >= 0x200 && index < 0x220)
    return `IA32_MTRR_PHYS${index % 2 === 0 ? "BASE" : "MASK"}${(index - 0x200) >>> 1}`;
  if (index >= 0x810 && index < 0x828) {
    const bank = ["ISR", "TMR", "IRR"][(index - 0x810) >>> 3]!;
    return `IA32_X2APIC_${bank}${(index - 0x810) & 7}`;
  }
  const apic = X2APIC.get(index);
  return apic === undefined ? "no name" : `IA32_X2APIC_${apic}`;
}

/** Addresses of model-specific registers, with the manual's names less IA32_. SDM Vol. 4. No logic. */
export const TSC: u32 = 0x10;
export const PLATFORM_ID: u32 = 0x17;
export const APIC_BASE: u32 = 0x1b;
export const FEATURE_CONTROL: u32 = 0x3a;
export const TSC_ADJUST: u32 = 0x3b;
export const SPEC_CTRL: u32 = 0x48;
export const PRED_CMD: u32 = 0x49;
/** Indirect-branch prediction barrier. */
export const PRED_CMD_IBPB: u64 = 1 << 0;
export const BIOS_UPDATE_TRIGGER: u32 = 0x79;
export const BIOS_SIGN_ID: u32 = 0x8b;
export const PMC0: u32 = 0xc1;
/** MSR_PKG_CST_CONFIG_CONTROL, and its bit that makes it read-only. */
export const PKG_CST_CONFIG_CONTROL: u32 = 0xe2;
export const CFG_LOCK: u64 = 1 << 15;
export const PERFEVTSEL0: u32 = 0x186;
export const MTRRCAP: u32 = 0xfe;
export const SYSENTER_CS: u32 = 0x174;
export const SYSENTER_ESP: u32 = 0x175;
export const SYSENTER_EIP: u32 = 0x176;
export const MCG_CAP: u32 = 0x179;
export const MCG_STATUS: u32 = 0x17a;
export const MISC_ENABLE: u32 = 0x1a0;
/** Fast-strings enable. */
export const MISC_ENABLE_FAST_STRINGS: u64 = 1 << 0;
/** ENABLE MONITOR FSM. */
export const MISC_ENABLE_MONITOR: u64 = 1 << 18;
export const DEBUGCTL: u32 = 0x1d9;
/** Last-branch records; single-step on branches. */
export const DEBUGCTL_LBR: u64 = 1 << 0;
export const DEBUGCTL_BTF: u64 = 1 << 1;
/** MSR_POWER_CTL. */
export const POWER_CTL: u32 = 0x1fc;
export const MTRR_PHYSBASE0: u32 = 0x200;
export const PAT: u32 = 0x277;
export const MTRR_DEF_TYPE: u32 = 0x2ff;
/** Of each machine-check bank four: CTL, STATUS, ADDR, MISC. */
export const MC0_CTL: u32 = 0x400;
export const TSC_DEADLINE: u32 = 0x6e0;
export const XSS: u32 = 0xda0;
export const X2APIC_FIRST: u32 = 0x800;
export const X2APIC_LAST: u32 = 0x83f;
export const EFER: u32 = 0xc0000080;
export const STAR: u32 = 0xc0000081;
export const LSTAR: u32 = 0xc0000082;
export const CSTAR: u32 = 0xc0000083;
export const FMASK: u32 = 0xc0000084;
export const FS_BASE: u32 = 0xc0000100;
export const GS_BASE: u32 = 0xc0000101;
export const KERNEL_GS_BASE: u32 = 0xc0000102;
export const TSC_AUX: u32 = 0xc0000103;

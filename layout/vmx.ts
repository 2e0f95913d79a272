/**
 * The VMX encodings that both languages use: fields, exit reasons, control bits. SDM Vol. 3C/3D, Appendix A to C.
 * No logic but the place of a field in our VMCS region.
 */

/** Field encodings (Appendix B, "Field Encoding in VMCS"). */
export const VmcsField = {
  VIRTUAL_PROCESSOR_ID: 0x0000,
  POSTED_INTERRUPT_VECTOR: 0x0002,
  EPTP_INDEX: 0x0004,
  GUEST_ES_SELECTOR: 0x0800,
  GUEST_CS_SELECTOR: 0x0802,
  GUEST_SS_SELECTOR: 0x0804,
  GUEST_DS_SELECTOR: 0x0806,
  GUEST_FS_SELECTOR: 0x0808,
  GUEST_GS_SELECTOR: 0x080a,
  GUEST_LDTR_SELECTOR: 0x080c,
  GUEST_TR_SELECTOR: 0x080e,
  GUEST_INTERRUPT_STATUS: 0x0810,
  PML_INDEX: 0x0812,
  HOST_ES_SELECTOR: 0x0c00,
  HOST_CS_SELECTOR: 0x0c02,
  HOST_SS_SELECTOR: 0x0c04,
  HOST_DS_SELECTOR: 0x0c06,
  HOST_FS_SELECTOR: 0x0c08,
  HOST_GS_SELECTOR: 0x0c0a,
  HOST_TR_SELECTOR: 0x0c0c,
  IO_BITMAP_A: 0x2000,
  IO_BITMAP_B: 0x2002,
  MSR_BITMAP: 0x2004,
  EXIT_MSR_STORE_ADDRESS: 0x2006,
  EXIT_MSR_LOAD_ADDRESS: 0x2008,
  ENTRY_MSR_LOAD_ADDRESS: 0x200a,
  EXECUTIVE_VMCS_POINTER: 0x200c,
  PML_ADDRESS: 0x200e,
  TSC_OFFSET: 0x2010,
  VIRTUAL_APIC_ADDRESS: 0x2012,
  APIC_ACCESS_ADDRESS: 0x2014,
  POSTED_INTERRUPT_DESCRIPTOR: 0x2016,
  VM_FUNCTION_CONTROLS: 0x2018,
  EPT_POINTER: 0x201a,
  EOI_EXIT_BITMAP_0: 0x201c,
  EOI_EXIT_BITMAP_1: 0x201e,
  EOI_EXIT_BITMAP_2: 0x2020,
  EOI_EXIT_BITMAP_3: 0x2022,
  EPTP_LIST_ADDRESS: 0x2024,
  VMREAD_BITMAP: 0x2026,
  VMWRITE_BITMAP: 0x2028,
  VIRTUALIZATION_EXCEPTION_INFO: 0x202a,
  XSS_EXITING_BITMAP: 0x202c,
  TSC_MULTIPLIER: 0x2032,
  GUEST_PHYSICAL_ADDRESS: 0x2400,
  VMCS_LINK_POINTER: 0x2800,
  GUEST_DEBUGCTL: 0x2802,
  GUEST_PAT: 0x2804,
  GUEST_EFER: 0x2806,
  GUEST_PDPTE0: 0x280a,
  GUEST_PDPTE1: 0x280c,
  GUEST_PDPTE2: 0x280e,
  GUEST_PDPTE3: 0x2810,
  HOST_PAT: 0x2c00,
  HOST_EFER: 0x2c02,
  PIN_BASED_CONTROLS: 0x4000,
  PRIMARY_CONTROLS: 0x4002,
  EXCEPTION_BITMAP: 0x4004,
  PAGE_FAULT_ERROR_MASK: 0x4006,
  PAGE_FAULT_ERROR_MATCH: 0x4008,
  CR3_TARGET_COUNT: 0x400a,
  EXIT_CONTROLS: 0x400c,
  EXIT_MSR_STORE_COUNT: 0x400e,
  EXIT_MSR_LOAD_COUNT: 0x4010,
  ENTRY_CONTROLS: 0x4012,
  ENTRY_MSR_LOAD_COUNT: 0x4014,
  ENTRY_INTERRUPTION_INFO: 0x4016,
  ENTRY_EXCEPTION_ERROR_CODE: 0x4018,
  ENTRY_INSTRUCTION_LENGTH: 0x401a,
  TPR_THRESHOLD: 0x401c,
  SECONDARY_CONTROLS: 0x401e,
  PLE_GAP: 0x4020,
  PLE_WINDOW: 0x4022,
  VM_INSTRUCTION_ERROR: 0x4400,
  EXIT_REASON: 0x4402,
  EXIT_INTERRUPTION_INFO: 0x4404,
  EXIT_INTERRUPTION_ERROR_CODE: 0x4406,
  IDT_VECTORING_INFO: 0x4408,
  IDT_VECTORING_ERROR_CODE: 0x440a,
  EXIT_INSTRUCTION_LENGTH: 0x440c,
  EXIT_INSTRUCTION_INFO: 0x440e,
  GUEST_ES_LIMIT: 0x4800,
  GUEST_CS_LIMIT: 0x4802,
  GUEST_SS_LIMIT: 0x4804,
  GUEST_DS_LIMIT: 0x4806,
  GUEST_FS_LIMIT: 0x4808,
  GUEST_GS_LIMIT: 0x480a,
  GUEST_LDTR_LIMIT: 0x480c,
  GUEST_TR_LIMIT: 0x480e,
  GUEST_GDTR_LIMIT: 0x4810,
  GUEST_IDTR_LIMIT: 0x4812,
  GUEST_ES_ACCESS_RIGHTS: 0x4814,
  GUEST_CS_ACCESS_RIGHTS: 0x4816,
  GUEST_SS_ACCESS_RIGHTS: 0x4818,
  GUEST_DS_ACCESS_RIGHTS: 0x481a,
  GUEST_FS_ACCESS_RIGHTS: 0x481c,
  GUEST_GS_ACCESS_RIGHTS: 0x481e,
  GUEST_LDTR_ACCESS_RIGHTS: 0x4820,
  GUEST_TR_ACCESS_RIGHTS: 0x4822,
  GUEST_INTERRUPTIBILITY: 0x4824,
  GUEST_ACTIVITY_STATE: 0x4826,
  GUEST_SMBASE: 0x4828,
  GUEST_SYSENTER_CS: 0x482a,
  PREEMPTION_TIMER_VALUE: 0x482e,
  HOST_SYSENTER_CS: 0x4c00,
  CR0_MASK: 0x6000,
  CR4_MASK: 0x6002,
  CR0_READ_SHADOW: 0x6004,
  CR4_READ_SHADOW: 0x6006,
  CR3_TARGET_0: 0x6008,
  CR3_TARGET_1: 0x600a,
  CR3_TARGET_2: 0x600c,
  CR3_TARGET_3: 0x600e,
  EXIT_QUALIFICATION: 0x6400,
  IO_RCX: 0x6402,
  IO_RSI: 0x6404,
  IO_RDI: 0x6406,
  IO_RIP: 0x6408,
  GUEST_LINEAR_ADDRESS: 0x640a,
  GUEST_CR0: 0x6800,
  GUEST_CR3: 0x6802,
  GUEST_CR4: 0x6804,
  GUEST_ES_BASE: 0x6806,
  GUEST_CS_BASE: 0x6808,
  GUEST_SS_BASE: 0x680a,
  GUEST_DS_BASE: 0x680c,
  GUEST_FS_BASE: 0x680e,
  GUEST_GS_BASE: 0x6810,
  GUEST_LDTR_BASE: 0x6812,
  GUEST_TR_BASE: 0x6814,
  GUEST_GDTR_BASE: 0x6816,
  GUEST_IDTR_BASE: 0x6818,
  GUEST_DR7: 0x681a,
  GUEST_RSP: 0x681c,
  GUEST_RIP: 0x681e,
  GUEST_RFLAGS: 0x6820,
  GUEST_PENDING_DEBUG: 0x6822,
  GUEST_SYSENTER_ESP: 0x6824,
  GUEST_SYSENTER_EIP: 0x6826,
  HOST_CR0: 0x6c00,
  HOST_CR3: 0x6c02,
  HOST_CR4: 0x6c04,
  HOST_FS_BASE: 0x6c06,
  HOST_GS_BASE: 0x6c08,
  HOST_TR_BASE: 0x6c0a,
  HOST_GDTR_BASE: 0x6c0c,
  HOST_IDTR_BASE: 0x6c0e,
  HOST_SYSENTER_ESP: 0x6c10,
  HOST_SYSENTER_EIP: 0x6c12,
  HOST_RSP: 0x6c14,
  HOST_RIP: 0x6c16,
} as const;
export type VmcsFieldName = keyof typeof VmcsField;

/** Basic exit reasons (Appendix C, "VMX Basic Exit Reasons"), by the names that tables print. */
export const ExitReason = {
  EXCEPTION_NMI: 0,
  EXTERNAL_INTERRUPT: 1,
  TRIPLE_FAULT: 2,
  INIT_SIGNAL: 3,
  SIPI: 4,
  INTERRUPT_WINDOW: 7,
  NMI_WINDOW: 8,
  TASK_SWITCH: 9,
  CPUID: 10,
  HLT: 12,
  INVD: 13,
  INVLPG: 14,
  RDPMC: 15,
  RDTSC: 16,
  RSM: 17,
  VMCALL: 18,
  VMCLEAR: 19,
  VMLAUNCH: 20,
  VMPTRLD: 21,
  VMPTRST: 22,
  VMREAD: 23,
  VMRESUME: 24,
  VMWRITE: 25,
  VMXOFF: 26,
  VMXON: 27,
  CR_ACCESS: 28,
  DR_ACCESS: 29,
  IO_INSTRUCTION: 30,
  MSR_READ: 31,
  MSR_WRITE: 32,
  INVALID_GUEST_STATE: 33,
  MSR_LOAD_FAIL: 34,
  MWAIT: 36,
  MONITOR_TRAP_FLAG: 37,
  MONITOR: 39,
  PAUSE: 40,
  TPR_BELOW_THRESHOLD: 43,
  APIC_ACCESS: 44,
  VIRTUALIZED_EOI: 45,
  GDTR_IDTR_ACCESS: 46,
  LDTR_TR_ACCESS: 47,
  EPT_VIOLATION: 48,
  EPT_MISCONFIGURATION: 49,
  INVEPT: 50,
  RDTSCP: 51,
  PREEMPTION_TIMER: 52,
  INVVPID: 53,
  WBINVD: 54,
  XSETBV: 55,
  APIC_WRITE: 56,
  RDRAND: 57,
  INVPCID: 58,
  VMFUNC: 59,
  RDSEED: 61,
  PML_FULL: 62,
  XSAVES: 63,
  XRSTORS: 64,
} as const;
export type ExitReasonName = keyof typeof ExitReason;

export const Pin = {
  EXTERNAL_INTERRUPT_EXITING: 1 << 0,
  NMI_EXITING: 1 << 3,
  VIRTUAL_NMIS: 1 << 5,
  PREEMPTION_TIMER: 1 << 6,
  PROCESS_POSTED_INTERRUPTS: 1 << 7,
} as const;

export const Primary = {
  INTERRUPT_WINDOW_EXITING: 1 << 2,
  TSC_OFFSETTING: 1 << 3,
  HLT_EXITING: 1 << 7,
  INVLPG_EXITING: 1 << 9,
  MWAIT_EXITING: 1 << 10,
  RDPMC_EXITING: 1 << 11,
  RDTSC_EXITING: 1 << 12,
  CR3_LOAD_EXITING: 1 << 15,
  CR3_STORE_EXITING: 1 << 16,
  CR8_LOAD_EXITING: 1 << 19,
  CR8_STORE_EXITING: 1 << 20,
  USE_TPR_SHADOW: 1 << 21,
  NMI_WINDOW_EXITING: 1 << 22,
  MOV_DR_EXITING: 1 << 23,
  UNCONDITIONAL_IO_EXITING: 1 << 24,
  USE_IO_BITMAPS: 1 << 25,
  MONITOR_TRAP_FLAG: 1 << 27,
  USE_MSR_BITMAPS: 1 << 28,
  MONITOR_EXITING: 1 << 29,
  PAUSE_EXITING: 1 << 30,
  SECONDARY_CONTROLS: 0x80000000,
} as const;

export const Secondary = {
  VIRTUALIZE_APIC_ACCESSES: 1 << 0,
  ENABLE_EPT: 1 << 1,
  DESCRIPTOR_TABLE_EXITING: 1 << 2,
  ENABLE_RDTSCP: 1 << 3,
  VIRTUALIZE_X2APIC_MODE: 1 << 4,
  ENABLE_VPID: 1 << 5,
  WBINVD_EXITING: 1 << 6,
  UNRESTRICTED_GUEST: 1 << 7,
  APIC_REGISTER_VIRTUALIZATION: 1 << 8,
  VIRTUAL_INTERRUPT_DELIVERY: 1 << 9,
  PAUSE_LOOP_EXITING: 1 << 10,
  RDRAND_EXITING: 1 << 11,
  ENABLE_INVPCID: 1 << 12,
  ENABLE_VM_FUNCTIONS: 1 << 13,
  VMCS_SHADOWING: 1 << 14,
  RDSEED_EXITING: 1 << 16,
  ENABLE_PML: 1 << 17,
  EPT_VIOLATION_VE: 1 << 18,
  ENABLE_XSAVES: 1 << 20,
  MODE_BASED_EXECUTE: 1 << 22,
  USE_TSC_SCALING: 1 << 25,
} as const;

export const ExitControl = {
  SAVE_DEBUG_CONTROLS: 1 << 2,
  HOST_ADDRESS_SPACE_SIZE: 1 << 9,
  ACKNOWLEDGE_INTERRUPT: 1 << 15,
  SAVE_PAT: 1 << 18,
  LOAD_PAT: 1 << 19,
  SAVE_EFER: 1 << 20,
  LOAD_EFER: 1 << 21,
  SAVE_PREEMPTION_TIMER: 1 << 22,
} as const;

export const EntryControl = {
  LOAD_DEBUG_CONTROLS: 1 << 2,
  IA32E_MODE_GUEST: 1 << 9,
  LOAD_PAT: 1 << 14,
  LOAD_EFER: 1 << 15,
} as const;

/**
 * Controls that every processor with VMX sets to 1: SDM Vol. 3D, "Reserved Controls and Default Settings", with the default1
 * controls that may be 0 taken off (the TRUE capability MSRs), and the bits that those add.
 */
export const MustBe1 = { PIN: 0x16, PRIMARY: 0x04006172, EXIT: 0x36dfb, ENTRY: 0x11fb } as const;
export const Default1 = { PIN: 0, PRIMARY: 0x00018000, EXIT: 4, ENTRY: 4 } as const;

/** IA32_VMX_EPT_VPID_CAP, by words. */
export const EptCapability = {
  EXECUTE_ONLY: 1 << 0,
  FOUR_LEVELS: 1 << 6,
  UNCACHEABLE: 1 << 8,
  WRITE_BACK: 1 << 14,
  PAGES_2M: 1 << 16,
  PAGES_1G: 1 << 17,
  INVEPT: 1 << 20,
  ACCESSED_AND_DIRTY: 1 << 21,
  INVEPT_SINGLE: 1 << 25,
  INVEPT_ALL: 1 << 26,
} as const;
/** The upper word. */
export const VpidCapability = {
  INVVPID: 1 << 0,
  INDIVIDUAL_ADDRESS: 1 << 8,
  SINGLE_CONTEXT: 1 << 9,
  ALL_CONTEXTS: 1 << 10,
  SINGLE_RETAINING_GLOBALS: 1 << 11,
} as const;

/** IA32_VMX_MISC: what every model has (the preemption timer's rate, activity states, CR3 targets), and what later ones add. */
export const MISC_BASE = 5 | (7 << 6) | (4 << 16);
export const Misc = { STORE_LMA: 1 << 5, WRITE_ANY_FIELD: 1 << 29, ZERO_LENGTH_INJECTION: 1 << 30 } as const;

/** Revision identifier in the first word of a VMXON region or VMCS. */
export const VMCS_REVISION = 0x45584c31;

/** Our VMCS region: header words, then an 8-byte slot per field: 31 of each of the 16 (width, type) groups. */
export const VMCS_REVISION_AT = 0;
export const VMCS_ABORT_AT = 4;
/** 0 clear, 1 launched. */
export const VMCS_LAUNCH_STATE_AT = 8;
/** Non-zero: a field that entry checks look at has been written since they last passed. */
export const VMCS_DIRTY_AT = 12;
export const VMCS_FIELDS_AT = 128;
export const VMCS_FIELDS_PER_GROUP = 31;
/** First byte behind the fields. */
export const VMCS_FIELDS_END = VMCS_FIELDS_AT + 16 * VMCS_FIELDS_PER_GROUP * 8;

/** Offset of a field's slot in the region. */
export function vmcsFieldOffset(encoding: number): number {
  const group = (((encoding >> 13) & 3) << 2) | ((encoding >> 10) & 3);
  return VMCS_FIELDS_AT + (group * VMCS_FIELDS_PER_GROUP + ((encoding >> 1) & 0x1ff)) * 8;
}

/** For each of the 16 groups of fields by width and type, a bit for each field among `fields`. */
export function vmcsGroupMasks(fields: Iterable<number> = Object.values(VmcsField)): number[] {
  const masks = Array.from({ length: 16 }, () => 0);
  for (const encoding of fields) {
    const slot = (vmcsFieldOffset(encoding) - VMCS_FIELDS_AT) / 8;
    masks[Math.floor(slot / VMCS_FIELDS_PER_GROUP)]! |= 1 << (slot % VMCS_FIELDS_PER_GROUP);
  }
  return masks.map((mask) => mask >>> 0);
}

/** Fields that software writes at every exit and that are checked at every entry, so that they do not make the VMCS dirty. */
export const ALWAYS_CHECKED: ReadonlySet<number> = new Set([
  VmcsField.GUEST_RIP,
  VmcsField.GUEST_RSP,
  VmcsField.GUEST_RFLAGS,
  VmcsField.GUEST_INTERRUPTIBILITY,
  VmcsField.GUEST_ACTIVITY_STATE,
  VmcsField.ENTRY_INTERRUPTION_INFO,
  VmcsField.ENTRY_EXCEPTION_ERROR_CODE,
  VmcsField.ENTRY_INSTRUCTION_LENGTH,
  VmcsField.TSC_OFFSET,
  VmcsField.PREEMPTION_TIMER_VALUE,
  VmcsField.EXCEPTION_BITMAP,
  VmcsField.GUEST_PENDING_DEBUG,
]);

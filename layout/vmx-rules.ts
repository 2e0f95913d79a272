/**
 * The rules that VM entry checks, in the manual's order: SDM Vol. 3C, "VM Entries". A rule's number is its place here plus one; the
 * core names it `RULE_…` where it checks it, and a failed entry leaves the number in `Cpu.entryRule`.
 *
 * `test/unit/vmx/entry-rules.test.ts` holds that every rule is checked by the core exactly once, fails for a value that breaks it,
 * and passes for the nearest legal one.
 */

/** Sections of "Checks on VMX Controls and Host-State Area" (VMfailValid) and "Checking … Guest State" (a failed entry). */
export type RuleSection = "control" | "host" | "guest" | "msr";

export interface EntryRule {
  readonly name: string;
  readonly section: RuleSection;
  /** The rule in short, in the manual's words. */
  readonly text: string;
}

const rules = (section: RuleSection, lines: string): EntryRule[] =>
  lines
    .trim()
    .split("\n")
    .map((line) => {
      const [name, text] = line.split(" | ");
      return { name: name!.trim(), section, text: text! };
    });

export const ENTRY_RULES: readonly EntryRule[] = [
  ...rules(
    "control",
    `
PIN_RESERVED | reserved bits of the pin-based controls as IA32_VMX_PINBASED_CTLS says
PRIMARY_RESERVED | reserved bits of the primary processor-based controls
SECONDARY_RESERVED | reserved bits of the secondary processor-based controls
CR3_TARGET_COUNT | the CR3-target count is at most 4
IO_BITMAP_ADDRESS | "use I/O bitmaps": bits 11:0 of each address are 0, none beyond the physical-address width
MSR_BITMAP_ADDRESS | "use MSR bitmaps": the same of the MSR-bitmap address
VIRTUAL_APIC_ADDRESS | "use TPR shadow": the same of the virtual-APIC address
TPR_THRESHOLD_RESERVED | "use TPR shadow" without virtual-interrupt delivery: bits 31:4 of the TPR threshold are 0
TPR_THRESHOLD_VTPR | "use TPR shadow" without virtualized APIC accesses and virtual-interrupt delivery: TPR threshold not above VTPR[7:4]
VIRTUAL_NMIS | "virtual NMIs" needs "NMI exiting"
NMI_WINDOW | "NMI-window exiting" needs "virtual NMIs"
APIC_ACCESS_ADDRESS | "virtualize APIC accesses": bits 11:0 of the address are 0, none beyond the physical-address width
APIC_NEEDS_TPR_SHADOW | "virtualize x2APIC mode", "APIC-register virtualization", "virtual-interrupt delivery" need "use TPR shadow"
X2APIC_EXCLUDES_APIC_ACCESS | "virtualize x2APIC mode" excludes "virtualize APIC accesses"
VID_NEEDS_EXTERNAL | "virtual-interrupt delivery" needs "external-interrupt exiting"
POSTED_NEEDS_VID | "process posted interrupts" needs "virtual-interrupt delivery"
POSTED_NEEDS_ACKNOWLEDGE | "process posted interrupts" needs "acknowledge interrupt on exit"
POSTED_VECTOR | the posted-interrupt notification vector is 0 to 255
POSTED_DESCRIPTOR | bits 5:0 of the posted-interrupt descriptor address are 0, none beyond the physical-address width
VPID_ZERO | "enable VPID": the VPID is not 0000H
EPTP_MEMORY_TYPE | "enable EPT": the EPT memory type is one that IA32_VMX_EPT_VPID_CAP reports
EPTP_WALK_LENGTH | "enable EPT": bits 5:3 of the EPTP are 3, one less than the walk length
EPTP_ACCESSED_DIRTY | "enable EPT": bit 6 of the EPTP is 0 where accessed and dirty flags are not supported
EPTP_RESERVED | "enable EPT": bits 11:7 of the EPTP and those beyond the physical-address width are 0
PML_NEEDS_EPT | "enable PML" needs "enable EPT"
PML_ADDRESS | "enable PML": bits 11:0 of the PML address are 0, none beyond the physical-address width
UNRESTRICTED_NEEDS_EPT | "unrestricted guest" and "mode-based execute control for EPT" need "enable EPT"
VM_FUNCTIONS_RESERVED | "enable VM functions": reserved bits of the VM-function controls are 0
EPTP_SWITCHING_NEEDS_EPT | "EPTP switching" needs "enable EPT"
EPTP_LIST_ADDRESS | "EPTP switching": bits 11:0 of the EPTP-list address are 0, none beyond the physical-address width
SHADOWING_BITMAPS | "VMCS shadowing": the same of the VMREAD- and VMWRITE-bitmap addresses
VE_INFO_ADDRESS | "EPT-violation #VE": the same of the virtualization-exception information address
EXIT_RESERVED | reserved bits of the VM-exit controls
SAVE_PREEMPTION_TIMER | "save VMX-preemption timer value" needs "activate VMX-preemption timer"
EXIT_MSR_STORE_ADDRESS | VM-exit MSR-store area: bits 3:0 of the address are 0, no byte beyond the physical-address width
EXIT_MSR_LOAD_ADDRESS | VM-exit MSR-load area: the same
ENTRY_RESERVED | reserved bits of the VM-entry controls
INJECTION_TYPE | interruption type: not reserved
INJECTION_VECTOR | vector: 2 for an NMI, at most 31 for a hardware exception, 0 for "other event"
INJECTION_ERROR_CODE | deliver-error-code bit: 1 only for hardware exceptions that deliver one, in protected mode
INJECTION_RESERVED | bits 30:12 of the interruption information are 0
INJECTION_ERROR_RESERVED | bits 31:16 of the exception error code are 0
INJECTION_LENGTH | instruction length: 1 to 15 for software interrupts and exceptions (0 where IA32_VMX_MISC allows)
ENTRY_MSR_LOAD_ADDRESS | VM-entry MSR-load area: bits 3:0 of the address are 0, no byte beyond the physical-address width
`,
  ),
  ...rules(
    "host",
    `
HOST_CR0 | bits of CR0 that VMX operation fixes
HOST_CR4 | bits of CR4 that VMX operation fixes
HOST_CR3 | no bits of CR3 beyond the physical-address width
HOST_SYSENTER | IA32_SYSENTER_ESP and IA32_SYSENTER_EIP are canonical
HOST_PAT | "load IA32_PAT": each byte is a memory type
HOST_EFER_RESERVED | "load IA32_EFER": reserved bits are 0
HOST_EFER_LMA | "load IA32_EFER": LMA and LME equal "host address-space size"
HOST_SELECTOR_RPL_TI | RPL and TI of each selector are 0
HOST_CS_TR | CS and TR are not 0000H
HOST_SS | SS is not 0000H unless "host address-space size"
HOST_BASES | bases of FS, GS, TR, GDTR and IDTR are canonical
HOST_ADDRESS_SPACE_SIZE | "host address-space size" equals IA32_EFER.LMA at the time of VM entry
HOST_GUEST_ADDRESS_SPACE | "IA-32e mode guest" needs "host address-space size"
HOST_PCIDE | CR4.PCIDE needs "host address-space size"
HOST_PAE | "host address-space size": CR4.PAE is 1
HOST_RIP | RIP is canonical, and below 2^32 without "host address-space size"
`,
  ),
  ...rules(
    "guest",
    `
GUEST_CR0 | bits of CR0 that VMX operation fixes
GUEST_CR0_PG_PE | CR0.PG needs CR0.PE
GUEST_CR4 | bits of CR4 that VMX operation fixes
GUEST_DEBUGCTL | "load debug controls": reserved bits of IA32_DEBUGCTL are 0
GUEST_IA32E_PAGING | "IA-32e mode guest" needs CR0.PG and CR4.PAE
GUEST_PCIDE | CR4.PCIDE needs "IA-32e mode guest"
GUEST_CR3 | no bits of CR3 beyond the physical-address width
GUEST_DR7 | "load debug controls": bits 63:32 of DR7 are 0
GUEST_SYSENTER | IA32_SYSENTER_ESP and IA32_SYSENTER_EIP are canonical
GUEST_PAT | "load IA32_PAT": each byte is a memory type
GUEST_EFER_RESERVED | "load IA32_EFER": reserved bits are 0
GUEST_EFER_LMA | "load IA32_EFER": LMA equals "IA-32e mode guest"
GUEST_EFER_LME | "load IA32_EFER" with CR0.PG: LME equals LMA
GUEST_TR_TI | TR: TI is 0
GUEST_LDTR_TI | usable LDTR: TI is 0
GUEST_SS_RPL | SS.RPL equals CS.RPL, but for virtual-8086 mode and unrestricted guests
GUEST_V86_BASE | virtual-8086 mode: bases are selectors × 16
GUEST_V86_LIMIT | virtual-8086 mode: limits are FFFFH
GUEST_V86_RIGHTS | virtual-8086 mode: access rights are F3H
GUEST_BASE_CANONICAL | bases of TR, FS, GS and a usable LDTR are canonical
GUEST_BASE_HIGH | bits 63:32 of the bases of CS and of usable SS, DS and ES are 0
GUEST_CS_TYPE | CS is an accessed code segment (for unrestricted guests also an accessed read/write data segment)
GUEST_SS_TYPE | usable SS is an accessed read/write data segment
GUEST_DATA_TYPE | usable DS, ES, FS, GS are accessed, and readable if they are code
GUEST_SEGMENT_S | CS and usable SS, DS, ES, FS, GS: S is 1
GUEST_CS_DPL | CS.DPL by its type and SS.DPL
GUEST_SS_DPL | SS.DPL equals SS.RPL unless unrestricted
GUEST_SS_DPL_REAL | SS.DPL is 0 in real-address mode and with a data segment in CS
GUEST_DATA_DPL | usable DS, ES, FS, GS that are not conforming code: DPL at least RPL, unless unrestricted
GUEST_SEGMENT_P | CS and usable SS, DS, ES, FS, GS: P is 1
GUEST_SEGMENT_RESERVED | CS and usable SS, DS, ES, FS, GS: reserved bits of the access rights are 0
GUEST_CS_D_L | "IA-32e mode guest" with CS.L: CS.D is 0
GUEST_SEGMENT_G | CS and usable SS, DS, ES, FS, GS: G fits the limit
GUEST_TR_TYPE | TR is a busy TSS, 16-bit only outside IA-32e mode
GUEST_TR_RIGHTS | TR: S 0, P 1, usable, reserved bits 0
GUEST_TR_G | TR: G fits the limit
GUEST_LDTR_RIGHTS | usable LDTR: type 2, S 0, P 1, reserved bits 0
GUEST_LDTR_G | usable LDTR: G fits the limit
GUEST_TABLE_BASE | bases of GDTR and IDTR are canonical
GUEST_TABLE_LIMIT | bits 31:16 of their limits are 0
GUEST_RIP | bits 63:32 of RIP are 0 outside 64-bit mode; there the bits beyond the linear-address width are alike
GUEST_RFLAGS_RESERVED | reserved bits of RFLAGS
GUEST_RFLAGS_VM | RFLAGS.VM is 0 in IA-32e mode and in real-address mode
GUEST_RFLAGS_IF | RFLAGS.IF is 1 when an external interrupt is injected
GUEST_ACTIVITY | the activity state is one that IA32_VMX_MISC reports
GUEST_ACTIVITY_DPL | HLT needs SS.DPL 0
GUEST_ACTIVITY_BLOCKING | blocking by STI or MOV SS needs the active state
GUEST_ACTIVITY_EVENT | the injected event is one that the activity state allows
GUEST_BLOCKING_RESERVED | reserved bits of the interruptibility state
GUEST_BLOCKING_BOTH | blocking by STI and by MOV SS exclude each other
GUEST_BLOCKING_STI_IF | blocking by STI needs RFLAGS.IF
GUEST_BLOCKING_EXTERNAL | no blocking by STI or MOV SS when an external interrupt is injected
GUEST_BLOCKING_NMI_EVENT | no blocking by MOV SS when an NMI is injected
GUEST_BLOCKING_SMI | no blocking by SMI outside SMM
GUEST_BLOCKING_VIRTUAL_NMI | "virtual NMIs": no blocking by NMI when an NMI is injected
GUEST_PENDING_DEBUG_RESERVED | reserved bits of the pending debug exceptions
GUEST_PENDING_DEBUG_BS | under blocking or HLT, BS is pending exactly with RFLAGS.TF and without IA32_DEBUGCTL.BTF
GUEST_LINK_ADDRESS | VMCS link pointer other than all ones: bits 11:0 are 0, none beyond the physical-address width
GUEST_LINK_REVISION | it names a VMCS of this revision
GUEST_LINK_SHADOW | that is a shadow VMCS exactly with "VMCS shadowing"
GUEST_LINK_CURRENT | and not the current VMCS
GUEST_PDPTE | PAE paging: reserved bits of present PDPTEs are 0
`,
  ),
  ...rules(
    "msr",
    `
ENTRY_MSR_COUNT | VM-entry MSR-load area: no more entries than IA32_VMX_MISC recommends
ENTRY_MSR_RESERVED | bits 63:32 of an entry's first half are 0
ENTRY_MSR_INDEX | not FS or GS base, not an x2APIC register, not one for SMM alone
ENTRY_MSR_VALUE | WRMSR of the value would not fault
`,
  ),
];

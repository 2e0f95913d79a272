/**
 * For each rule of VM entry (layout/vmx-rules.ts): a value that breaks it, and the nearest that does not, from a VMCS that passes
 * (test/support/vmx-cpu.ts).
 */
import * as X from "../../../layout/vmx.ts";
import { PAGE, type VmxCpu } from "../../support/vmx-cpu.ts";

const F = X.VmcsField;
const { Pin, Primary, Secondary, ExitControl, EntryControl } = X;

export interface RuleCase {
  readonly rule: string;
  /** Makes the rule's condition hold with a legal value. */
  readonly legal: (cpu: VmxCpu) => void;
  /** The same with the nearest illegal value. */
  readonly illegal: (cpu: VmxCpu) => void;
  readonly qualification?: bigint;
  readonly removed?: readonly string[];
}

const ABOVE_WIDTH = 2 ** 40;
const NON_CANONICAL = 0x0200000000000000n;
const CANONICAL = 0x00ffffffffffffffn;
const VALID = 0x80000000;
const write =
  (field: number, value: number | bigint) =>
  (cpu: VmxCpu): void =>
    cpu.vmcs.writeBig(field, BigInt(value));
const set =
  (field: number, bits: number) =>
  (cpu: VmxCpu): void =>
    cpu.set(field, bits);
const clear =
  (field: number, bits: number) =>
  (cpu: VmxCpu): void =>
    cpu.clear(field, bits);
const all =
  (...steps: ((cpu: VmxCpu) => void)[]) =>
  (cpu: VmxCpu): void =>
    steps.forEach((step) => step(cpu));
const nothing = (): void => undefined;

const pin = (bits: number) => set(F.PIN_BASED_CONTROLS, bits);
const primary = (bits: number) => set(F.PRIMARY_CONTROLS, bits);
const secondary = (bits: number) => set(F.SECONDARY_CONTROLS, bits);
const exit = (bits: number) => set(F.EXIT_CONTROLS, bits);
const entry = (bits: number) => set(F.ENTRY_CONTROLS, bits);

/** An EPT that maps the first GByte to itself. */
const ept = (cpu: VmxCpu): void => {
  cpu.write64(PAGE.EPT, BigInt(PAGE.EPT + 0x1000) | 7n);
  cpu.write64(PAGE.EPT + 0x1000, 0xb7n);
  cpu.set(F.SECONDARY_CONTROLS, Secondary.ENABLE_EPT);
};
const unrestricted = all(ept, secondary(Secondary.UNRESTRICTED_GUEST));
const tprShadow = primary(Primary.USE_TPR_SHADOW);
const vid = all(
  tprShadow,
  secondary(Secondary.VIRTUAL_INTERRUPT_DELIVERY),
  pin(Pin.EXTERNAL_INTERRUPT_EXITING),
);
const posted = all(vid, pin(Pin.PROCESS_POSTED_INTERRUPTS), exit(ExitControl.ACKNOWLEDGE_INTERRUPT));
const inject = (type: number, vector: number, more = 0) =>
  write(F.ENTRY_INTERRUPTION_INFO, (VALID | (type << 8) | vector | more) >>> 0);
const nmiControls = pin(Pin.NMI_EXITING | Pin.VIRTUAL_NMIS);

/** Real-address mode of an unrestricted guest. */
const realMode = all(
  unrestricted,
  clear(F.ENTRY_CONTROLS, EntryControl.IA32E_MODE_GUEST),
  write(F.GUEST_CR0, 0x30),
  write(F.GUEST_CS_ACCESS_RIGHTS, 0x9b),
  write(F.GUEST_CS_LIMIT, 0xffff),
);
/** 32-bit protected mode with PAE paging; the PDPTEs are not present. */
const paeMode = all(
  clear(F.ENTRY_CONTROLS, EntryControl.IA32E_MODE_GUEST),
  write(F.GUEST_CS_ACCESS_RIGHTS, 0xc09b),
  write(F.GUEST_EFER, 0),
  write(F.GUEST_CR3, PAGE.MSRS),
);
const segments = [0, 1, 2, 3, 4, 5];
const v86 = all(
  paeMode,
  write(F.GUEST_RFLAGS, 0x20002),
  write(F.GUEST_RIP, 0),
  ...segments.flatMap((i) => [
    write(F.GUEST_ES_SELECTOR + 2 * i, 0x400),
    write(F.GUEST_ES_BASE + 2 * i, 0x4000),
    write(F.GUEST_ES_LIMIT + 2 * i, 0xffff),
    write(F.GUEST_ES_ACCESS_RIGHTS + 2 * i, 0xf3),
  ]),
);
const usableLdtr = all(write(F.GUEST_LDTR_ACCESS_RIGHTS, 0x82), write(F.GUEST_LDTR_LIMIT, 0xffff));
const address = (rule: string, field: number, needs: (cpu: VmxCpu) => void, alignment = 4096): RuleCase[] => [
  { rule, legal: needs, illegal: all(needs, set(field, alignment / 2)) },
  { rule, legal: needs, illegal: all(needs, set(field, ABOVE_WIDTH)) },
];
/** One of a control word: the lowest bit that may not be 1, and a bit that must not be 0. */
const reserved = (rule: string, field: number, must: number, bad: number): RuleCase[] => [
  { rule, legal: nothing, illegal: set(field, bad) },
  ...(must === 0 ? [] : [{ rule, legal: nothing, illegal: clear(field, must) }]),
];

const CONTROLS: readonly RuleCase[] = [
  ...reserved("PIN_RESERVED", F.PIN_BASED_CONTROLS, 1 << 1, 1 << 8),
  ...reserved("PRIMARY_RESERVED", F.PRIMARY_CONTROLS, 1 << 1, 1 << 0),
  ...reserved("SECONDARY_RESERVED", F.SECONDARY_CONTROLS, 0, 1 << 31),
  { rule: "CR3_TARGET_COUNT", legal: write(F.CR3_TARGET_COUNT, 4), illegal: write(F.CR3_TARGET_COUNT, 5) },
  ...address("IO_BITMAP_ADDRESS", F.IO_BITMAP_A, primary(Primary.USE_IO_BITMAPS)),
  ...address("IO_BITMAP_ADDRESS", F.IO_BITMAP_B, primary(Primary.USE_IO_BITMAPS)),
  ...address("MSR_BITMAP_ADDRESS", F.MSR_BITMAP, primary(Primary.USE_MSR_BITMAPS)),
  ...address("VIRTUAL_APIC_ADDRESS", F.VIRTUAL_APIC_ADDRESS, tprShadow),
  {
    rule: "TPR_THRESHOLD_RESERVED",
    legal: all(tprShadow, secondary(Secondary.VIRTUALIZE_APIC_ACCESSES), write(F.TPR_THRESHOLD, 15)),
    illegal: all(tprShadow, secondary(Secondary.VIRTUALIZE_APIC_ACCESSES), write(F.TPR_THRESHOLD, 16)),
  },
  {
    rule: "TPR_THRESHOLD_VTPR",
    legal: all(tprShadow, (cpu) => cpu.write32(PAGE.VIRTUAL_APIC + 0x80, 0x50), write(F.TPR_THRESHOLD, 5)),
    illegal: all(tprShadow, (cpu) => cpu.write32(PAGE.VIRTUAL_APIC + 0x80, 0x50), write(F.TPR_THRESHOLD, 6)),
  },
  { rule: "VIRTUAL_NMIS", legal: nmiControls, illegal: pin(Pin.VIRTUAL_NMIS) },
  {
    rule: "NMI_WINDOW",
    legal: all(nmiControls, primary(Primary.NMI_WINDOW_EXITING)),
    illegal: all(pin(Pin.NMI_EXITING), primary(Primary.NMI_WINDOW_EXITING)),
  },
  ...address("APIC_ACCESS_ADDRESS", F.APIC_ACCESS_ADDRESS, secondary(Secondary.VIRTUALIZE_APIC_ACCESSES)),
  ...[Secondary.VIRTUALIZE_X2APIC_MODE, Secondary.APIC_REGISTER_VIRTUALIZATION].map((bit) => ({
    rule: "APIC_NEEDS_TPR_SHADOW",
    legal: all(tprShadow, secondary(bit)),
    illegal: secondary(bit),
  })),
  {
    rule: "APIC_NEEDS_TPR_SHADOW",
    legal: vid,
    illegal: all(vid, clear(F.PRIMARY_CONTROLS, Primary.USE_TPR_SHADOW)),
  },
  {
    rule: "X2APIC_EXCLUDES_APIC_ACCESS",
    legal: all(tprShadow, secondary(Secondary.VIRTUALIZE_X2APIC_MODE)),
    illegal: all(tprShadow, secondary(Secondary.VIRTUALIZE_X2APIC_MODE | Secondary.VIRTUALIZE_APIC_ACCESSES)),
  },
  {
    rule: "VID_NEEDS_EXTERNAL",
    legal: vid,
    illegal: all(vid, clear(F.PIN_BASED_CONTROLS, Pin.EXTERNAL_INTERRUPT_EXITING)),
  },
  {
    rule: "POSTED_NEEDS_VID",
    legal: posted,
    illegal: all(posted, clear(F.SECONDARY_CONTROLS, Secondary.VIRTUAL_INTERRUPT_DELIVERY)),
  },
  {
    rule: "POSTED_NEEDS_ACKNOWLEDGE",
    legal: posted,
    illegal: all(posted, clear(F.EXIT_CONTROLS, ExitControl.ACKNOWLEDGE_INTERRUPT)),
  },
  {
    rule: "POSTED_VECTOR",
    legal: all(posted, write(F.POSTED_INTERRUPT_VECTOR, 255)),
    illegal: all(posted, write(F.POSTED_INTERRUPT_VECTOR, 256)),
  },
  ...address("POSTED_DESCRIPTOR", F.POSTED_INTERRUPT_DESCRIPTOR, posted, 64),
  {
    rule: "VPID_ZERO",
    legal: secondary(Secondary.ENABLE_VPID),
    illegal: all(secondary(Secondary.ENABLE_VPID), write(F.VIRTUAL_PROCESSOR_ID, 0)),
  },
  {
    rule: "EPTP_MEMORY_TYPE",
    legal: all(ept, write(F.EPT_POINTER, PAGE.EPT | 0x18)),
    illegal: all(ept, write(F.EPT_POINTER, PAGE.EPT | 0x19)),
  },
  { rule: "EPTP_WALK_LENGTH", legal: ept, illegal: all(ept, write(F.EPT_POINTER, PAGE.EPT | 0x16)) },
  {
    rule: "EPTP_ACCESSED_DIRTY",
    legal: ept,
    illegal: all(ept, set(F.EPT_POINTER, 0x40)),
    removed: ["vmx-eptad"],
  },
  {
    rule: "EPTP_RESERVED",
    legal: all(ept, set(F.EPT_POINTER, 0x40)),
    illegal: all(ept, set(F.EPT_POINTER, 0x80)),
  },
  { rule: "EPTP_RESERVED", legal: ept, illegal: all(ept, set(F.EPT_POINTER, ABOVE_WIDTH)) },
  {
    rule: "PML_NEEDS_EPT",
    legal: all(ept, secondary(Secondary.ENABLE_PML)),
    illegal: secondary(Secondary.ENABLE_PML),
  },
  ...address("PML_ADDRESS", F.PML_ADDRESS, all(ept, secondary(Secondary.ENABLE_PML))),
  {
    rule: "UNRESTRICTED_NEEDS_EPT",
    legal: unrestricted,
    illegal: secondary(Secondary.UNRESTRICTED_GUEST),
  },
  {
    rule: "UNRESTRICTED_NEEDS_EPT",
    legal: all(ept, secondary(Secondary.MODE_BASED_EXECUTE), (cpu) => cpu.write64(PAGE.EPT + 0x1000, 0x4b7n)),
    illegal: secondary(Secondary.MODE_BASED_EXECUTE),
  },
  {
    rule: "VM_FUNCTIONS_RESERVED",
    legal: all(ept, secondary(Secondary.ENABLE_VM_FUNCTIONS), write(F.VM_FUNCTION_CONTROLS, 1)),
    illegal: all(ept, secondary(Secondary.ENABLE_VM_FUNCTIONS), write(F.VM_FUNCTION_CONTROLS, 2)),
  },
  {
    rule: "EPTP_SWITCHING_NEEDS_EPT",
    legal: all(ept, secondary(Secondary.ENABLE_VM_FUNCTIONS), write(F.VM_FUNCTION_CONTROLS, 1)),
    illegal: all(secondary(Secondary.ENABLE_VM_FUNCTIONS), write(F.VM_FUNCTION_CONTROLS, 1)),
  },
  ...address(
    "EPTP_LIST_ADDRESS",
    F.EPTP_LIST_ADDRESS,
    all(ept, secondary(Secondary.ENABLE_VM_FUNCTIONS), write(F.VM_FUNCTION_CONTROLS, 1)),
  ),
  ...address("SHADOWING_BITMAPS", F.VMREAD_BITMAP, secondary(Secondary.VMCS_SHADOWING)),
  ...address("SHADOWING_BITMAPS", F.VMWRITE_BITMAP, secondary(Secondary.VMCS_SHADOWING)),
  ...address("VE_INFO_ADDRESS", F.VIRTUALIZATION_EXCEPTION_INFO, secondary(Secondary.EPT_VIOLATION_VE)),
  ...reserved("EXIT_RESERVED", F.EXIT_CONTROLS, 1 << 1, 1 << 12),
  {
    rule: "SAVE_PREEMPTION_TIMER",
    legal: all(pin(Pin.PREEMPTION_TIMER), exit(ExitControl.SAVE_PREEMPTION_TIMER)),
    illegal: exit(ExitControl.SAVE_PREEMPTION_TIMER),
  },
  ...(
    [
      ["EXIT_MSR_STORE_ADDRESS", F.EXIT_MSR_STORE_COUNT, F.EXIT_MSR_STORE_ADDRESS],
      ["EXIT_MSR_LOAD_ADDRESS", F.EXIT_MSR_LOAD_COUNT, F.EXIT_MSR_LOAD_ADDRESS],
      ["ENTRY_MSR_LOAD_ADDRESS", F.ENTRY_MSR_LOAD_COUNT, F.ENTRY_MSR_LOAD_ADDRESS],
    ] as const
  ).flatMap(([rule, count, at]) => {
    // An entry that loads the microcode signature, which ignores it.
    const one = all(write(count, 1), write(at, PAGE.MSRS), (cpu) => cpu.write32(PAGE.MSRS, 0x8b));
    return [
      ...address(rule, at, one, 16),
      { rule, legal: one, illegal: all(write(count, 2), write(at, ABOVE_WIDTH - 16)) },
    ];
  }),
  ...reserved("ENTRY_RESERVED", F.ENTRY_CONTROLS, 1 << 1, 1 << 10),
  { rule: "INJECTION_TYPE", legal: inject(4, 0x80), illegal: inject(1, 0x80) },
  { rule: "INJECTION_TYPE", legal: inject(7, 0), illegal: inject(7, 0), removed: ["vmx-mtf"] },
  { rule: "INJECTION_VECTOR", legal: inject(2, 2), illegal: inject(2, 3) },
  { rule: "INJECTION_VECTOR", legal: inject(3, 31), illegal: inject(3, 32) },
  { rule: "INJECTION_VECTOR", legal: inject(7, 0), illegal: inject(7, 1) },
  { rule: "INJECTION_ERROR_CODE", legal: inject(3, 13, 1 << 11), illegal: inject(3, 13) },
  { rule: "INJECTION_ERROR_CODE", legal: inject(3, 6), illegal: inject(3, 6, 1 << 11) },
  {
    rule: "INJECTION_ERROR_CODE",
    legal: all(realMode, inject(3, 13)),
    illegal: all(realMode, inject(3, 13, 1 << 11)),
  },
  { rule: "INJECTION_RESERVED", legal: inject(3, 6), illegal: inject(3, 6, 1 << 12) },
  {
    rule: "INJECTION_ERROR_RESERVED",
    legal: all(inject(3, 13, 1 << 11), write(F.ENTRY_EXCEPTION_ERROR_CODE, 0xffff)),
    illegal: all(inject(3, 13, 1 << 11), write(F.ENTRY_EXCEPTION_ERROR_CODE, 0x10000)),
  },
  {
    rule: "INJECTION_LENGTH",
    legal: all(inject(4, 0x80), write(F.ENTRY_INSTRUCTION_LENGTH, 15)),
    illegal: all(inject(4, 0x80), write(F.ENTRY_INSTRUCTION_LENGTH, 16)),
  },
  {
    rule: "INJECTION_LENGTH",
    legal: all(inject(4, 0x80), write(F.ENTRY_INSTRUCTION_LENGTH, 1)),
    illegal: inject(4, 0x80),
    removed: ["vmx-zero-len-inject"],
  },
];

const HOST: readonly RuleCase[] = [
  { rule: "HOST_CR0", legal: nothing, illegal: clear(F.HOST_CR0, 0x20) },
  { rule: "HOST_CR0", legal: nothing, illegal: set(F.HOST_CR0, 2 ** 32) },
  { rule: "HOST_CR4", legal: nothing, illegal: clear(F.HOST_CR4, 0x2000) },
  { rule: "HOST_CR4", legal: nothing, illegal: set(F.HOST_CR4, 1 << 15) },
  { rule: "HOST_CR3", legal: set(F.HOST_CR3, ABOVE_WIDTH / 2), illegal: set(F.HOST_CR3, ABOVE_WIDTH) },
  ...[F.HOST_SYSENTER_ESP, F.HOST_SYSENTER_EIP].map((field) => ({
    rule: "HOST_SYSENTER",
    legal: write(field, CANONICAL),
    illegal: write(field, NON_CANONICAL),
  })),
  {
    rule: "HOST_PAT",
    legal: all(exit(ExitControl.LOAD_PAT), write(F.HOST_PAT, 7)),
    illegal: all(exit(ExitControl.LOAD_PAT), write(F.HOST_PAT, 2)),
  },
  {
    rule: "HOST_EFER_RESERVED",
    legal: all(exit(ExitControl.LOAD_EFER), write(F.HOST_EFER, 0xd01)),
    illegal: all(exit(ExitControl.LOAD_EFER), write(F.HOST_EFER, 0xd03)),
  },
  {
    rule: "HOST_EFER_LMA",
    legal: exit(ExitControl.LOAD_EFER),
    illegal: all(exit(ExitControl.LOAD_EFER), write(F.HOST_EFER, 0x100)),
  },
  { rule: "HOST_SELECTOR_RPL_TI", legal: nothing, illegal: set(F.HOST_FS_SELECTOR, 1) },
  { rule: "HOST_SELECTOR_RPL_TI", legal: nothing, illegal: set(F.HOST_TR_SELECTOR, 4) },
  { rule: "HOST_CS_TR", legal: nothing, illegal: write(F.HOST_CS_SELECTOR, 0) },
  { rule: "HOST_CS_TR", legal: nothing, illegal: write(F.HOST_TR_SELECTOR, 0) },
  {
    rule: "HOST_SS",
    legal: all(write(F.HOST_SS_SELECTOR, 0)),
    illegal: all(clear(F.EXIT_CONTROLS, ExitControl.HOST_ADDRESS_SPACE_SIZE), write(F.HOST_SS_SELECTOR, 0)),
  },
  ...[F.HOST_FS_BASE, F.HOST_GS_BASE, F.HOST_TR_BASE, F.HOST_GDTR_BASE, F.HOST_IDTR_BASE].map((field) => ({
    rule: "HOST_BASES",
    legal: write(field, CANONICAL),
    illegal: write(field, NON_CANONICAL),
  })),
  {
    rule: "HOST_ADDRESS_SPACE_SIZE",
    legal: nothing,
    illegal: all(paeMode, clear(F.EXIT_CONTROLS, ExitControl.HOST_ADDRESS_SPACE_SIZE)),
  },
  {
    rule: "HOST_GUEST_ADDRESS_SPACE",
    legal: nothing,
    illegal: clear(F.EXIT_CONTROLS, ExitControl.HOST_ADDRESS_SPACE_SIZE),
  },
  {
    rule: "HOST_PCIDE",
    legal: set(F.HOST_CR4, 1 << 17),
    illegal: all(
      paeMode,
      set(F.HOST_CR4, 1 << 17),
      clear(F.EXIT_CONTROLS, ExitControl.HOST_ADDRESS_SPACE_SIZE),
    ),
  },
  { rule: "HOST_PAE", legal: nothing, illegal: clear(F.HOST_CR4, 0x20) },
  { rule: "HOST_RIP", legal: write(F.HOST_RIP, CANONICAL), illegal: write(F.HOST_RIP, NON_CANONICAL) },
];

const rights = (index: number): number => F.GUEST_ES_ACCESS_RIGHTS + 2 * index;
const GUEST: readonly RuleCase[] = [
  { rule: "GUEST_CR0", legal: nothing, illegal: clear(F.GUEST_CR0, 0x20) },
  { rule: "GUEST_CR0", legal: realMode, illegal: all(realMode, clear(F.GUEST_CR0, 0x20)) },
  {
    rule: "GUEST_CR0_PG_PE",
    legal: realMode,
    illegal: all(realMode, set(F.GUEST_CR0, 0x80000000)),
  },
  { rule: "GUEST_CR4", legal: nothing, illegal: set(F.GUEST_CR4, 1 << 15) },
  {
    rule: "GUEST_DEBUGCTL",
    legal: all(entry(EntryControl.LOAD_DEBUG_CONTROLS), write(F.GUEST_DEBUGCTL, 3)),
    illegal: all(entry(EntryControl.LOAD_DEBUG_CONTROLS), write(F.GUEST_DEBUGCTL, 4)),
  },
  { rule: "GUEST_IA32E_PAGING", legal: nothing, illegal: clear(F.GUEST_CR4, 0x20) },
  {
    rule: "GUEST_PCIDE",
    legal: set(F.GUEST_CR4, 1 << 17),
    illegal: all(paeMode, set(F.GUEST_CR4, 1 << 17)),
  },
  { rule: "GUEST_CR3", legal: set(F.GUEST_CR3, ABOVE_WIDTH / 2), illegal: set(F.GUEST_CR3, ABOVE_WIDTH) },
  {
    rule: "GUEST_DR7",
    legal: entry(EntryControl.LOAD_DEBUG_CONTROLS),
    illegal: all(entry(EntryControl.LOAD_DEBUG_CONTROLS), set(F.GUEST_DR7, 2 ** 32)),
  },
  ...[F.GUEST_SYSENTER_ESP, F.GUEST_SYSENTER_EIP].map((field) => ({
    rule: "GUEST_SYSENTER",
    legal: write(field, CANONICAL),
    illegal: write(field, NON_CANONICAL),
  })),
  {
    rule: "GUEST_PAT",
    legal: all(entry(EntryControl.LOAD_PAT), write(F.GUEST_PAT, 1)),
    illegal: all(entry(EntryControl.LOAD_PAT), write(F.GUEST_PAT, 3)),
  },
  {
    rule: "GUEST_EFER_RESERVED",
    legal: all(entry(EntryControl.LOAD_EFER), write(F.GUEST_EFER, 0xd01)),
    illegal: all(entry(EntryControl.LOAD_EFER), write(F.GUEST_EFER, 0x1d01)),
  },
  {
    rule: "GUEST_EFER_LMA",
    legal: entry(EntryControl.LOAD_EFER),
    illegal: all(entry(EntryControl.LOAD_EFER), write(F.GUEST_EFER, 0x100)),
  },
  {
    rule: "GUEST_EFER_LME",
    legal: entry(EntryControl.LOAD_EFER),
    illegal: all(entry(EntryControl.LOAD_EFER), write(F.GUEST_EFER, 0x400)),
  },
  { rule: "GUEST_TR_TI", legal: nothing, illegal: set(F.GUEST_TR_SELECTOR, 4) },
  { rule: "GUEST_LDTR_TI", legal: usableLdtr, illegal: all(usableLdtr, set(F.GUEST_LDTR_SELECTOR, 4)) },
  { rule: "GUEST_SS_RPL", legal: nothing, illegal: set(F.GUEST_CS_SELECTOR, 3) },
  { rule: "GUEST_V86_BASE", legal: v86, illegal: all(v86, write(F.GUEST_FS_BASE, 0x4001)) },
  { rule: "GUEST_V86_LIMIT", legal: v86, illegal: all(v86, write(F.GUEST_SS_LIMIT, 0xfffe)) },
  { rule: "GUEST_V86_RIGHTS", legal: v86, illegal: all(v86, write(F.GUEST_DS_ACCESS_RIGHTS, 0x93)) },
  ...[F.GUEST_TR_BASE, F.GUEST_FS_BASE, F.GUEST_GS_BASE].map((field) => ({
    rule: "GUEST_BASE_CANONICAL",
    legal: write(field, CANONICAL),
    illegal: write(field, NON_CANONICAL),
  })),
  {
    rule: "GUEST_BASE_CANONICAL",
    legal: all(usableLdtr, write(F.GUEST_LDTR_BASE, CANONICAL)),
    illegal: all(usableLdtr, write(F.GUEST_LDTR_BASE, NON_CANONICAL)),
  },
  ...[F.GUEST_CS_BASE, F.GUEST_SS_BASE, F.GUEST_DS_BASE, F.GUEST_ES_BASE].map((field) => ({
    rule: "GUEST_BASE_HIGH",
    legal: write(field, 0xffffffff),
    illegal: write(field, 2 ** 32),
  })),
  { rule: "GUEST_CS_TYPE", legal: nothing, illegal: clear(F.GUEST_CS_ACCESS_RIGHTS, 1) },
  {
    rule: "GUEST_CS_TYPE",
    legal: all(realMode, write(rights(1), 0x93)),
    illegal: all(paeMode, write(rights(1), 0xc093)),
  },
  { rule: "GUEST_SS_TYPE", legal: write(rights(2), 0xc097), illegal: write(rights(2), 0xc091) },
  ...[0, 3, 4, 5].flatMap((index) => [
    { rule: "GUEST_DATA_TYPE", legal: write(rights(index), 0xc091), illegal: write(rights(index), 0xc092) },
    { rule: "GUEST_DATA_TYPE", legal: write(rights(index), 0xc09b), illegal: write(rights(index), 0xc099) },
  ]),
  ...segments.map((index) => ({
    rule: "GUEST_SEGMENT_S",
    legal: nothing,
    illegal: clear(rights(index), 0x10),
  })),
  { rule: "GUEST_CS_DPL", legal: nothing, illegal: set(rights(1), 0x60) },
  // Conforming code may be of an outer ring's privilege or less.
  { rule: "GUEST_CS_DPL", legal: write(rights(1), 0xa09f), illegal: write(rights(1), 0xa0ff) },
  {
    rule: "GUEST_CS_DPL",
    legal: all(realMode, write(rights(1), 0x93)),
    illegal: all(realMode, write(rights(1), 0xf3)),
  },
  {
    rule: "GUEST_SS_DPL",
    legal: nothing,
    illegal: all(write(rights(1), 0xa09f), write(rights(2), 0xc0f3)),
  },
  {
    rule: "GUEST_SS_DPL_REAL",
    legal: realMode,
    illegal: all(realMode, write(rights(1), 0xfb), write(rights(2), 0xc0f3)),
  },
  {
    rule: "GUEST_DATA_DPL",
    legal: all(write(F.GUEST_DS_SELECTOR, 0x13), write(rights(3), 0xc0f3)),
    illegal: write(F.GUEST_DS_SELECTOR, 0x13),
  },
  ...segments.map((index) => ({
    rule: "GUEST_SEGMENT_P",
    legal: nothing,
    illegal: clear(rights(index), 0x80),
  })),
  ...segments.map((index) => ({
    rule: "GUEST_SEGMENT_RESERVED",
    legal: nothing,
    illegal: set(rights(index), 0x20000),
  })),
  { rule: "GUEST_CS_D_L", legal: nothing, illegal: set(rights(1), 0x4000) },
  { rule: "GUEST_SEGMENT_G", legal: nothing, illegal: write(F.GUEST_ES_LIMIT, 0xffff0000) },
  {
    rule: "GUEST_SEGMENT_G",
    legal: all(write(F.GUEST_GS_LIMIT, 0xfffff), write(rights(5), 0x4093)),
    illegal: all(write(F.GUEST_GS_LIMIT, 0x100000 | 0xfff), write(rights(5), 0x4093)),
  },
  { rule: "GUEST_TR_TYPE", legal: nothing, illegal: write(rights(7), 0x83) },
  {
    rule: "GUEST_TR_TYPE",
    legal: all(paeMode, write(rights(7), 0x83)),
    illegal: all(paeMode, write(rights(7), 0x89)),
  },
  ...[0x9b, 0x0b, 0x1008b, 0x18b].map((bad) => ({
    rule: "GUEST_TR_RIGHTS",
    legal: nothing,
    illegal: write(rights(7), bad),
  })),
  { rule: "GUEST_TR_G", legal: nothing, illegal: set(rights(7), 0x8000) },
  ...[0x83, 0x92, 0x02, 0x182].map((bad) => ({
    rule: "GUEST_LDTR_RIGHTS",
    legal: usableLdtr,
    illegal: all(usableLdtr, write(rights(6), bad)),
  })),
  { rule: "GUEST_LDTR_G", legal: usableLdtr, illegal: all(usableLdtr, write(F.GUEST_LDTR_LIMIT, 0x100fff)) },
  ...[F.GUEST_GDTR_BASE, F.GUEST_IDTR_BASE].map((field) => ({
    rule: "GUEST_TABLE_BASE",
    legal: write(field, CANONICAL),
    illegal: write(field, NON_CANONICAL),
  })),
  ...[F.GUEST_GDTR_LIMIT, F.GUEST_IDTR_LIMIT].map((field) => ({
    rule: "GUEST_TABLE_LIMIT",
    legal: write(field, 0xffff),
    illegal: write(field, 0x10000),
  })),
  {
    rule: "GUEST_RIP",
    legal: write(F.GUEST_RIP, 0x01ffffffffffffffn),
    illegal: write(F.GUEST_RIP, NON_CANONICAL),
  },
  {
    rule: "GUEST_RIP",
    legal: all(write(rights(1), 0xc09b), write(F.GUEST_RIP, 0xffffffff)),
    illegal: all(write(rights(1), 0xc09b), write(F.GUEST_RIP, 2 ** 32)),
  },
  ...[3, 5, 15, 22, 63].map((bit) => ({
    rule: "GUEST_RFLAGS_RESERVED",
    legal: nothing,
    illegal: set(F.GUEST_RFLAGS, 2 ** bit),
  })),
  { rule: "GUEST_RFLAGS_RESERVED", legal: nothing, illegal: write(F.GUEST_RFLAGS, 0) },
  { rule: "GUEST_RFLAGS_VM", legal: v86, illegal: set(F.GUEST_RFLAGS, 0x20000) },
  { rule: "GUEST_RFLAGS_VM", legal: realMode, illegal: all(realMode, set(F.GUEST_RFLAGS, 0x20000)) },
  {
    rule: "GUEST_RFLAGS_IF",
    legal: all(inject(0, 0x80), set(F.GUEST_RFLAGS, 0x200)),
    illegal: inject(0, 0x80),
  },
  {
    rule: "GUEST_ACTIVITY",
    legal: write(F.GUEST_ACTIVITY_STATE, 3),
    illegal: write(F.GUEST_ACTIVITY_STATE, 4),
  },
  {
    rule: "GUEST_ACTIVITY_DPL",
    legal: write(F.GUEST_ACTIVITY_STATE, 1),
    illegal: all(
      write(F.GUEST_ACTIVITY_STATE, 1),
      write(F.GUEST_CS_SELECTOR, 0xb),
      write(rights(1), 0xa0fb),
      write(F.GUEST_SS_SELECTOR, 0x13),
      write(rights(2), 0xc0f3),
    ),
  },
  {
    rule: "GUEST_ACTIVITY_BLOCKING",
    legal: all(set(F.GUEST_RFLAGS, 0x200), write(F.GUEST_INTERRUPTIBILITY, 1)),
    illegal: all(
      set(F.GUEST_RFLAGS, 0x200),
      write(F.GUEST_INTERRUPTIBILITY, 1),
      write(F.GUEST_ACTIVITY_STATE, 1),
    ),
  },
  {
    rule: "GUEST_ACTIVITY_EVENT",
    legal: all(write(F.GUEST_ACTIVITY_STATE, 1), inject(3, 1)),
    illegal: all(write(F.GUEST_ACTIVITY_STATE, 1), inject(3, 6)),
  },
  {
    rule: "GUEST_ACTIVITY_EVENT",
    legal: all(write(F.GUEST_ACTIVITY_STATE, 2), inject(3, 18)),
    illegal: all(write(F.GUEST_ACTIVITY_STATE, 2), inject(7, 0)),
  },
  {
    rule: "GUEST_ACTIVITY_EVENT",
    legal: write(F.GUEST_ACTIVITY_STATE, 3),
    illegal: all(write(F.GUEST_ACTIVITY_STATE, 3), inject(2, 2)),
  },
  {
    rule: "GUEST_BLOCKING_RESERVED",
    legal: write(F.GUEST_INTERRUPTIBILITY, 8),
    illegal: write(F.GUEST_INTERRUPTIBILITY, 0x10),
  },
  {
    rule: "GUEST_BLOCKING_BOTH",
    legal: write(F.GUEST_INTERRUPTIBILITY, 2),
    illegal: write(F.GUEST_INTERRUPTIBILITY, 3),
  },
  {
    rule: "GUEST_BLOCKING_STI_IF",
    legal: all(write(F.GUEST_INTERRUPTIBILITY, 1), set(F.GUEST_RFLAGS, 0x200)),
    illegal: write(F.GUEST_INTERRUPTIBILITY, 1),
  },
  {
    rule: "GUEST_BLOCKING_EXTERNAL",
    legal: all(inject(0, 0x80), set(F.GUEST_RFLAGS, 0x200)),
    illegal: all(inject(0, 0x80), set(F.GUEST_RFLAGS, 0x200), write(F.GUEST_INTERRUPTIBILITY, 2)),
  },
  {
    rule: "GUEST_BLOCKING_NMI_EVENT",
    legal: inject(2, 2),
    illegal: all(inject(2, 2), write(F.GUEST_INTERRUPTIBILITY, 2)),
  },
  { rule: "GUEST_BLOCKING_SMI", legal: nothing, illegal: write(F.GUEST_INTERRUPTIBILITY, 4) },
  {
    rule: "GUEST_BLOCKING_VIRTUAL_NMI",
    legal: all(inject(2, 2), write(F.GUEST_INTERRUPTIBILITY, 8)),
    illegal: all(nmiControls, inject(2, 2), write(F.GUEST_INTERRUPTIBILITY, 8)),
  },
  ...[4, 11, 13, 15, 63].map((bit) => ({
    rule: "GUEST_PENDING_DEBUG_RESERVED",
    legal: write(F.GUEST_PENDING_DEBUG, 0x500f),
    illegal: write(F.GUEST_PENDING_DEBUG, 2 ** bit),
  })),
  {
    rule: "GUEST_PENDING_DEBUG_BS",
    legal: all(
      write(F.GUEST_INTERRUPTIBILITY, 2),
      set(F.GUEST_RFLAGS, 0x100),
      write(F.GUEST_PENDING_DEBUG, 0x4000),
    ),
    illegal: all(write(F.GUEST_INTERRUPTIBILITY, 2), set(F.GUEST_RFLAGS, 0x100)),
  },
  {
    rule: "GUEST_PENDING_DEBUG_BS",
    legal: write(F.GUEST_INTERRUPTIBILITY, 2),
    illegal: all(write(F.GUEST_INTERRUPTIBILITY, 2), write(F.GUEST_PENDING_DEBUG, 0x4000)),
  },
  ...[PAGE.SHADOW | 0x800, PAGE.SHADOW + ABOVE_WIDTH].map((bad) => ({
    rule: "GUEST_LINK_ADDRESS",
    legal: all(secondary(Secondary.VMCS_SHADOWING), write(F.VMCS_LINK_POINTER, PAGE.SHADOW)),
    illegal: all(secondary(Secondary.VMCS_SHADOWING), write(F.VMCS_LINK_POINTER, bad)),
    qualification: 4n,
  })),
  {
    rule: "GUEST_LINK_REVISION",
    legal: all(secondary(Secondary.VMCS_SHADOWING), write(F.VMCS_LINK_POINTER, PAGE.SHADOW)),
    illegal: all(secondary(Secondary.VMCS_SHADOWING), write(F.VMCS_LINK_POINTER, PAGE.MSRS)),
    qualification: 4n,
  },
  {
    rule: "GUEST_LINK_SHADOW",
    legal: all(secondary(Secondary.VMCS_SHADOWING), write(F.VMCS_LINK_POINTER, PAGE.SHADOW)),
    illegal: write(F.VMCS_LINK_POINTER, PAGE.SHADOW),
    qualification: 4n,
  },
  {
    rule: "GUEST_LINK_CURRENT",
    legal: nothing,
    illegal: write(F.VMCS_LINK_POINTER, PAGE.VMCS),
    qualification: 4n,
  },
  {
    rule: "GUEST_PDPTE",
    legal: all(paeMode, (cpu) => cpu.write64(PAGE.MSRS, BigInt(PAGE.PD) | 1n)),
    illegal: all(paeMode, (cpu) => cpu.write64(PAGE.MSRS, BigInt(PAGE.PD) | 3n)),
    qualification: 2n,
  },
  {
    rule: "GUEST_PDPTE",
    legal: all(paeMode, ept, write(F.GUEST_PDPTE3, PAGE.PD | 1)),
    illegal: all(paeMode, ept, write(F.GUEST_PDPTE3, PAGE.PD | 5)),
    qualification: 2n,
  },
];

/** An MSR-load area of one entry. */
const msrs = (index: number, value: bigint, high = 0) =>
  all(write(F.ENTRY_MSR_LOAD_COUNT, 1), write(F.ENTRY_MSR_LOAD_ADDRESS, PAGE.MSRS), (cpu) => {
    cpu.write32(PAGE.MSRS, index);
    cpu.write32(PAGE.MSRS + 4, high);
    cpu.write64(PAGE.MSRS + 8, value);
  });
const MSR_KERNEL_GS_BASE = 0xc0000102;
const many = (count: number) =>
  all(write(F.ENTRY_MSR_LOAD_COUNT, count), write(F.ENTRY_MSR_LOAD_ADDRESS, 0x30000), (cpu) => {
    for (let i = 0; i < count; i++) cpu.write32(0x30000 + 16 * i, MSR_KERNEL_GS_BASE);
  });
const MSRS: readonly RuleCase[] = [
  { rule: "ENTRY_MSR_COUNT", legal: many(512), illegal: many(513), qualification: 513n },
  {
    rule: "ENTRY_MSR_RESERVED",
    legal: msrs(MSR_KERNEL_GS_BASE, 1n),
    illegal: msrs(MSR_KERNEL_GS_BASE, 1n, 1),
    qualification: 1n,
  },
  ...[0xc0000100, 0xc0000101, 0x808, 0x9b].map((index) => ({
    rule: "ENTRY_MSR_INDEX",
    legal: msrs(MSR_KERNEL_GS_BASE, 1n),
    illegal: msrs(index, 0n),
    qualification: 1n,
  })),
  {
    rule: "ENTRY_MSR_VALUE",
    legal: msrs(MSR_KERNEL_GS_BASE, CANONICAL),
    illegal: msrs(MSR_KERNEL_GS_BASE, NON_CANONICAL),
    qualification: 1n,
  },
  { rule: "ENTRY_MSR_VALUE", legal: msrs(0x174, 8n), illegal: msrs(0x12345, 0n), qualification: 1n },
];

export const RULE_CASES: readonly RuleCase[] = [...CONTROLS, ...HOST, ...GUEST, ...MSRS];

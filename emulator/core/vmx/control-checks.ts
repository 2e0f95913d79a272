/** SDM Vol. 3C, "Checks on VMX Controls": VM-execution, VM-exit and VM-entry control fields, in the manual's order. */
import * as X from "../spec/vmx";
import { CR0_PE, PHYSICAL_MASK } from "../spec/architecture";
import { cpu } from "../state/cpu";
import { ramAddress } from "../mmu/physical";
import { ERROR_NONE, controlError, isPageAddress, isPhysicalAddress } from "./rule";
import { Vmcs } from "./vmcs";

/** Offset of VTPR in the virtual-APIC page. */
const VTPR: u64 = 0x80;

/** Bits that must be 1 are 1, and only bits that may be 1 are 1. */
function isAllowed(value: u32, must: u32, may: u32): bool {
  return (value & must) == must && (value & ~may) == 0;
}

/** The secondary controls, or 0 while they are not activated. */
export function secondaryControls(primary: u32): u32 {
  return (primary & X.PRIMARY_SECONDARY_CONTROLS) != 0 ? Vmcs.get32(X.VMCS_SECONDARY_CONTROLS) : 0;
}

/** An EPTP that VM entry and EPTP switching accept ("Extended-Page-Table Pointer"); else the rule that it breaks. */
export function eptpRule(eptp: u64): u32 {
  const capability = cpu.vmxEptCapability;
  const memoryType = (<u32>eptp) & 7;
  const isTypeSupported =
    (memoryType == 0 && (capability & X.EPT_CAPABILITY_UNCACHEABLE) != 0) ||
    (memoryType == 6 && (capability & X.EPT_CAPABILITY_WRITE_BACK) != 0);
  if (!isTypeSupported) return X.RULE_EPTP_MEMORY_TYPE;
  if (((eptp >> 3) & 7) != 3) return X.RULE_EPTP_WALK_LENGTH;
  if ((eptp & 0x40) != 0 && (capability & X.EPT_CAPABILITY_ACCESSED_AND_DIRTY) == 0)
    return X.RULE_EPTP_ACCESSED_DIRTY;
  return (eptp & (0xf80 | ~PHYSICAL_MASK)) != 0 ? X.RULE_EPTP_RESERVED : 0;
}

/** All that VMWRITE alone can change; fields that software writes at most entries are in `checkVolatileControls`. */
export function checkControls(): u32 {
  const error = checkExecutionControls();
  if (error != ERROR_NONE) return error;
  const exitError = checkExitControls();
  return exitError != ERROR_NONE ? exitError : checkEntryControls();
}

/** "VM-Execution Control Fields". */
function checkExecutionControls(): u32 {
  const pin = Vmcs.get32(X.VMCS_PIN_BASED_CONTROLS);
  const primary = Vmcs.get32(X.VMCS_PRIMARY_CONTROLS);
  const secondary = secondaryControls(primary);
  if (!isAllowed(pin, X.MUST_BE_1_PIN, cpu.vmxPinMay)) return controlError(X.RULE_PIN_RESERVED);
  if (!isAllowed(primary, X.MUST_BE_1_PRIMARY, cpu.vmxPrimaryMay))
    return controlError(X.RULE_PRIMARY_RESERVED);
  if (!isAllowed(secondary, 0, cpu.vmxSecondaryMay)) return controlError(X.RULE_SECONDARY_RESERVED);
  if (Vmcs.get32(X.VMCS_CR3_TARGET_COUNT) > 4) return controlError(X.RULE_CR3_TARGET_COUNT);
  if (
    (primary & X.PRIMARY_USE_IO_BITMAPS) != 0 &&
    (!isPageAddress(Vmcs.get(X.VMCS_IO_BITMAP_A)) || !isPageAddress(Vmcs.get(X.VMCS_IO_BITMAP_B)))
  )
    return controlError(X.RULE_IO_BITMAP_ADDRESS);
  if ((primary & X.PRIMARY_USE_MSR_BITMAPS) != 0 && !isPageAddress(Vmcs.get(X.VMCS_MSR_BITMAP)))
    return controlError(X.RULE_MSR_BITMAP_ADDRESS);
  const apicError = checkApicControls(pin, primary, secondary);
  if (apicError != ERROR_NONE) return apicError;
  if ((pin & X.PIN_NMI_EXITING) == 0 && (pin & X.PIN_VIRTUAL_NMIS) != 0)
    return controlError(X.RULE_VIRTUAL_NMIS);
  if ((pin & X.PIN_VIRTUAL_NMIS) == 0 && (primary & X.PRIMARY_NMI_WINDOW_EXITING) != 0)
    return controlError(X.RULE_NMI_WINDOW);
  if ((secondary & X.SECONDARY_ENABLE_VPID) != 0 && <u16>Vmcs.get(X.VMCS_VIRTUAL_PROCESSOR_ID) == 0)
    return controlError(X.RULE_VPID_ZERO);
  return checkEptControls(secondary);
}

/** TPR shadow, APIC virtualization and posted interrupts. */
function checkApicControls(pin: u32, primary: u32, secondary: u32): u32 {
  const hasVid = (secondary & X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY) != 0;
  if ((primary & X.PRIMARY_USE_TPR_SHADOW) != 0) {
    if (!isPageAddress(Vmcs.get(X.VMCS_VIRTUAL_APIC_ADDRESS)))
      return controlError(X.RULE_VIRTUAL_APIC_ADDRESS);
    if (!hasVid && Vmcs.get32(X.VMCS_TPR_THRESHOLD) >> 4 != 0)
      return controlError(X.RULE_TPR_THRESHOLD_RESERVED);
  } else if (
    (secondary &
      (X.SECONDARY_VIRTUALIZE_X2APIC_MODE |
        X.SECONDARY_APIC_REGISTER_VIRTUALIZATION |
        X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY)) !=
    0
  )
    return controlError(X.RULE_APIC_NEEDS_TPR_SHADOW);
  if ((secondary & X.SECONDARY_VIRTUALIZE_APIC_ACCESSES) != 0) {
    if (!isPageAddress(Vmcs.get(X.VMCS_APIC_ACCESS_ADDRESS))) return controlError(X.RULE_APIC_ACCESS_ADDRESS);
    if ((secondary & X.SECONDARY_VIRTUALIZE_X2APIC_MODE) != 0)
      return controlError(X.RULE_X2APIC_EXCLUDES_APIC_ACCESS);
  }
  if (hasVid && (pin & X.PIN_EXTERNAL_INTERRUPT_EXITING) == 0) return controlError(X.RULE_VID_NEEDS_EXTERNAL);
  if ((pin & X.PIN_PROCESS_POSTED_INTERRUPTS) == 0) return ERROR_NONE;
  if (!hasVid) return controlError(X.RULE_POSTED_NEEDS_VID);
  if ((Vmcs.get32(X.VMCS_EXIT_CONTROLS) & X.EXIT_ACKNOWLEDGE_INTERRUPT) == 0)
    return controlError(X.RULE_POSTED_NEEDS_ACKNOWLEDGE);
  if (<u16>Vmcs.get(X.VMCS_POSTED_INTERRUPT_VECTOR) > 255) return controlError(X.RULE_POSTED_VECTOR);
  return isPhysicalAddress(Vmcs.get(X.VMCS_POSTED_INTERRUPT_DESCRIPTOR), 64)
    ? ERROR_NONE
    : controlError(X.RULE_POSTED_DESCRIPTOR);
}

/** EPT and what builds on it, VM functions, shadowing. */
function checkEptControls(secondary: u32): u32 {
  const hasEpt = (secondary & X.SECONDARY_ENABLE_EPT) != 0;
  if (hasEpt) {
    const rule = eptpRule(Vmcs.get(X.VMCS_EPT_POINTER));
    if (rule != 0) return controlError(rule);
  }
  if ((secondary & X.SECONDARY_ENABLE_PML) != 0) {
    if (!hasEpt) return controlError(X.RULE_PML_NEEDS_EPT);
    if (!isPageAddress(Vmcs.get(X.VMCS_PML_ADDRESS))) return controlError(X.RULE_PML_ADDRESS);
  }
  if ((secondary & (X.SECONDARY_UNRESTRICTED_GUEST | X.SECONDARY_MODE_BASED_EXECUTE)) != 0 && !hasEpt)
    return controlError(X.RULE_UNRESTRICTED_NEEDS_EPT);
  if ((secondary & X.SECONDARY_ENABLE_VM_FUNCTIONS) != 0) {
    const functions = Vmcs.get(X.VMCS_VM_FUNCTION_CONTROLS);
    if ((functions & ~(<u64>cpu.vmxFunctions)) != 0) return controlError(X.RULE_VM_FUNCTIONS_RESERVED);
    if ((functions & 1) != 0) {
      if (!hasEpt) return controlError(X.RULE_EPTP_SWITCHING_NEEDS_EPT);
      if (!isPageAddress(Vmcs.get(X.VMCS_EPTP_LIST_ADDRESS))) return controlError(X.RULE_EPTP_LIST_ADDRESS);
    }
  }
  if (
    (secondary & X.SECONDARY_VMCS_SHADOWING) != 0 &&
    (!isPageAddress(Vmcs.get(X.VMCS_VMREAD_BITMAP)) || !isPageAddress(Vmcs.get(X.VMCS_VMWRITE_BITMAP)))
  )
    return controlError(X.RULE_SHADOWING_BITMAPS);
  if (
    (secondary & X.SECONDARY_EPT_VIOLATION_VE) != 0 &&
    !isPageAddress(Vmcs.get(X.VMCS_VIRTUALIZATION_EXCEPTION_INFO))
  )
    return controlError(X.RULE_VE_INFO_ADDRESS);
  return ERROR_NONE;
}

/** An MSR area: 16-byte entries at a 16-byte boundary, within the physical-address width. */
function isMsrArea(count: u32, address: u64): bool {
  if (count == 0) return true;
  return isPhysicalAddress(address, 16) && ((address + ((<u64>count) << 4) - 1) & ~PHYSICAL_MASK) == 0;
}

/** "VM-Exit Control Fields". */
function checkExitControls(): u32 {
  const exit = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  if (!isAllowed(exit, X.MUST_BE_1_EXIT, cpu.vmxExitMay)) return controlError(X.RULE_EXIT_RESERVED);
  if (
    (Vmcs.get32(X.VMCS_PIN_BASED_CONTROLS) & X.PIN_PREEMPTION_TIMER) == 0 &&
    (exit & X.EXIT_SAVE_PREEMPTION_TIMER) != 0
  )
    return controlError(X.RULE_SAVE_PREEMPTION_TIMER);
  if (!isMsrArea(Vmcs.get32(X.VMCS_EXIT_MSR_STORE_COUNT), Vmcs.get(X.VMCS_EXIT_MSR_STORE_ADDRESS)))
    return controlError(X.RULE_EXIT_MSR_STORE_ADDRESS);
  if (!isMsrArea(Vmcs.get32(X.VMCS_EXIT_MSR_LOAD_COUNT), Vmcs.get(X.VMCS_EXIT_MSR_LOAD_ADDRESS)))
    return controlError(X.RULE_EXIT_MSR_LOAD_ADDRESS);
  return ERROR_NONE;
}

/** "VM-Entry Control Fields". */
function checkEntryControls(): u32 {
  if (!isAllowed(Vmcs.get32(X.VMCS_ENTRY_CONTROLS), X.MUST_BE_1_ENTRY, cpu.vmxEntryMay))
    return controlError(X.RULE_ENTRY_RESERVED);
  if (!isMsrArea(Vmcs.get32(X.VMCS_ENTRY_MSR_LOAD_COUNT), Vmcs.get(X.VMCS_ENTRY_MSR_LOAD_ADDRESS)))
    return controlError(X.RULE_ENTRY_MSR_LOAD_ADDRESS);
  return ERROR_NONE;
}

/** Checked at every entry: the event to inject, and what depends on memory. */
export function checkVolatileControls(): u32 {
  const primary = Vmcs.get32(X.VMCS_PRIMARY_CONTROLS);
  if ((primary & X.PRIMARY_USE_TPR_SHADOW) != 0 && isThresholdAboveVtpr(secondaryControls(primary)))
    return controlError(X.RULE_TPR_THRESHOLD_VTPR);
  return checkInjection();
}

function isThresholdAboveVtpr(secondary: u32): bool {
  if ((secondary & (X.SECONDARY_VIRTUALIZE_APIC_ACCESSES | X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY)) != 0)
    return false;
  const at = ramAddress(Vmcs.get(X.VMCS_VIRTUAL_APIC_ADDRESS) + VTPR, 1);
  const vtpr: u32 = at == 0 ? 0xff : <u32>load<u8>(at);
  return (Vmcs.get32(X.VMCS_TPR_THRESHOLD) & 15) > vtpr >> 4;
}

/** The VM-entry interruption-information field and what goes with it. */
export function checkInjection(): u32 {
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  if ((info & 0x80000000) == 0) return ERROR_NONE;
  const vector = info & 0xff;
  const type = (info >> 8) & 7;
  if (type == 1 || (type == 7 && (cpu.vmxPrimaryMay & X.PRIMARY_MONITOR_TRAP_FLAG) == 0))
    return controlError(X.RULE_INJECTION_TYPE);
  if ((type == 2 && vector != 2) || (type == 3 && vector > 31) || (type == 7 && vector != 0))
    return controlError(X.RULE_INJECTION_VECTOR);
  const isUnrestricted =
    (secondaryControls(Vmcs.get32(X.VMCS_PRIMARY_CONTROLS)) & X.SECONDARY_UNRESTRICTED_GUEST) != 0;
  const hasCode =
    type == 3 &&
    (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17) &&
    (!isUnrestricted || (Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PE) != 0);
  const hasError = (info & (1 << 11)) != 0;
  if (hasError != hasCode) return controlError(X.RULE_INJECTION_ERROR_CODE);
  if ((info & 0x7ffff000) != 0) return controlError(X.RULE_INJECTION_RESERVED);
  if (hasError && Vmcs.get32(X.VMCS_ENTRY_EXCEPTION_ERROR_CODE) >> 16 != 0)
    return controlError(X.RULE_INJECTION_ERROR_RESERVED);
  if (type >= 4 && type <= 6) {
    const length = Vmcs.get32(X.VMCS_ENTRY_INSTRUCTION_LENGTH);
    const isZeroAllowed = (cpu.vmxMisc & X.MISC_ZERO_LENGTH_INJECTION) != 0;
    if (length > 15 || (length == 0 && !isZeroAllowed)) return controlError(X.RULE_INJECTION_LENGTH);
  }
  return ERROR_NONE;
}

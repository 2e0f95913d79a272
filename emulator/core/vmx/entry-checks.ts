/**
 * The checks of VM entry, in the manual's order: SDM Vol. 3C, "Checks on VMX Controls", "Checks on Host Control Registers,
 * MSRs, and SSP" …, "Checks on the Guest State Area". The whole list belongs to "VT-x in full"; what is not checked yet
 * is in docs/known-gaps.md.
 */
import * as X from "../spec/vmx";
import {
  AR_DB,
  AR_L,
  AR_P,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  CR0_PE,
  CR0_PG,
  CR4_LA57,
  CR4_PAE,
  EFER_LMA,
  EFER_LME,
  FLAG_IF,
  FLAG_VM,
  PHYSICAL_MASK,
} from "../spec/architecture";
import { cpu } from "../state/cpu";
import { isLoadable } from "../mmu/linear";
import { Vmcs } from "./vmcs";

/** VM-instruction errors (SDM Vol. 3C, "VM Instruction Error Numbers"). */
export const ERROR_NONE: u32 = 0;
export const ERROR_INVALID_CONTROLS: u32 = 7;
export const ERROR_INVALID_HOST_STATE: u32 = 8;

/** Bits that must be 1 are 1, and only bits that may be 1 are 1. */
function isAllowed(value: u32, must: u32, may: u32): bool {
  return (value & must) == must && (value & ~may) == 0;
}

function isPageAddress(value: u64): bool {
  return (value & 0xfff) == 0 && (value & ~PHYSICAL_MASK) == 0;
}

/** "Checks on VMX Controls". */
export function checkControls(): u32 {
  const pin = Vmcs.get32(X.VMCS_PIN_BASED_CONTROLS);
  const primary = Vmcs.get32(X.VMCS_PRIMARY_CONTROLS);
  const secondary = (primary & X.PRIMARY_SECONDARY_CONTROLS) != 0 ? Vmcs.get32(X.VMCS_SECONDARY_CONTROLS) : 0;
  if (!isAllowed(pin, X.ALLOWED_PIN_MUST, X.ALLOWED_PIN_MAY)) return ERROR_INVALID_CONTROLS;
  if (!isAllowed(primary, X.ALLOWED_PRIMARY_MUST, X.ALLOWED_PRIMARY_MAY)) return ERROR_INVALID_CONTROLS;
  if (!isAllowed(secondary, X.ALLOWED_SECONDARY_MUST, X.ALLOWED_SECONDARY_MAY)) return ERROR_INVALID_CONTROLS;
  if (Vmcs.get32(X.VMCS_CR3_TARGET_COUNT) > 4) return ERROR_INVALID_CONTROLS;
  if (
    (primary & X.PRIMARY_USE_IO_BITMAPS) != 0 &&
    (!isPageAddress(Vmcs.get(X.VMCS_IO_BITMAP_A)) || !isPageAddress(Vmcs.get(X.VMCS_IO_BITMAP_B)))
  )
    return ERROR_INVALID_CONTROLS;
  if ((primary & X.PRIMARY_USE_MSR_BITMAPS) != 0 && !isPageAddress(Vmcs.get(X.VMCS_MSR_BITMAP)))
    return ERROR_INVALID_CONTROLS;
  // Virtual NMIs need NMI exiting; NMI-window exiting needs virtual NMIs.
  if ((pin & X.PIN_NMI_EXITING) == 0 && (pin & X.PIN_VIRTUAL_NMIS) != 0) return ERROR_INVALID_CONTROLS;
  if ((pin & X.PIN_VIRTUAL_NMIS) == 0 && (primary & X.PRIMARY_NMI_WINDOW_EXITING) != 0)
    return ERROR_INVALID_CONTROLS;
  if ((secondary & X.SECONDARY_ENABLE_VPID) != 0 && <u16>Vmcs.get(X.VMCS_VIRTUAL_PROCESSOR_ID) == 0)
    return ERROR_INVALID_CONTROLS;
  if ((secondary & X.SECONDARY_ENABLE_EPT) != 0) {
    const eptp = Vmcs.get(X.VMCS_EPT_POINTER);
    const memoryType = eptp & 7;
    // Uncacheable or write-back, four levels, no reserved bits; A/D flags (bit 6) are supported.
    if (
      (memoryType != 0 && memoryType != 6) ||
      ((eptp >> 3) & 7) != 3 ||
      (eptp & 0xf80) != 0 ||
      (eptp & ~PHYSICAL_MASK) != 0
    )
      return ERROR_INVALID_CONTROLS;
  } else if ((secondary & X.SECONDARY_UNRESTRICTED_GUEST) != 0) return ERROR_INVALID_CONTROLS;
  const exit = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  if (!isAllowed(exit, X.ALLOWED_EXIT_MUST, X.ALLOWED_EXIT_MAY)) return ERROR_INVALID_CONTROLS;
  if ((pin & X.PIN_PREEMPTION_TIMER) == 0 && (exit & X.EXIT_SAVE_PREEMPTION_TIMER) != 0)
    return ERROR_INVALID_CONTROLS;
  // MSR areas are not there yet: a count other than 0 is refused rather than ignored.
  if (
    Vmcs.get32(X.VMCS_EXIT_MSR_STORE_COUNT) != 0 ||
    Vmcs.get32(X.VMCS_EXIT_MSR_LOAD_COUNT) != 0 ||
    Vmcs.get32(X.VMCS_ENTRY_MSR_LOAD_COUNT) != 0
  )
    return ERROR_INVALID_CONTROLS;
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  if (!isAllowed(entry, X.ALLOWED_ENTRY_MUST, X.ALLOWED_ENTRY_MAY)) return ERROR_INVALID_CONTROLS;
  return ERROR_NONE;
}

/** The VM-entry interruption-information field: checked at every entry, since it is written at most of them. */
export function checkInjection(): u32 {
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  if ((info & 0x80000000) == 0) return ERROR_NONE;
  const vector = info & 0xff;
  const type = (info >> 8) & 7;
  const hasError = (info & (1 << 11)) != 0;
  if (type == 1 || type == 7 || (info & 0x7ffff000) != 0) return ERROR_INVALID_CONTROLS;
  if ((type == 2 && vector != 2) || (type == 3 && vector > 31)) return ERROR_INVALID_CONTROLS;
  const hasCode =
    type == 3 &&
    (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17) &&
    (Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PE) != 0;
  if (hasError != hasCode) return ERROR_INVALID_CONTROLS;
  if (hasError && (Vmcs.get32(X.VMCS_ENTRY_EXCEPTION_ERROR_CODE) & 0xffff8000) != 0)
    return ERROR_INVALID_CONTROLS;
  if (type >= 4) {
    const length = Vmcs.get32(X.VMCS_ENTRY_INSTRUCTION_LENGTH);
    if (length == 0 || length > 15) return ERROR_INVALID_CONTROLS;
  }
  return ERROR_NONE;
}

/** "Checks on Host Control Registers, MSRs, and SSP" and the two sections after it. */
export function checkHostState(): u32 {
  const is64 = (Vmcs.get32(X.VMCS_EXIT_CONTROLS) & X.EXIT_HOST_ADDRESS_SPACE_SIZE) != 0;
  const cr0 = Vmcs.get(X.VMCS_HOST_CR0);
  // CR0: PE, NE and PG fixed to 1. CR4: VMXE fixed to 1.
  if ((cr0 & 0x80000021) != 0x80000021 || cr0 >> 32 != 0) return ERROR_INVALID_HOST_STATE;
  const cr4 = Vmcs.get(X.VMCS_HOST_CR4);
  if ((cr4 & (1 << 13)) == 0 || (is64 && (cr4 & CR4_PAE) == 0)) return ERROR_INVALID_HOST_STATE;
  if ((Vmcs.get(X.VMCS_HOST_CR3) & ~PHYSICAL_MASK) != 0) return ERROR_INVALID_HOST_STATE;
  if (!isLoadable(Vmcs.get(X.VMCS_HOST_SYSENTER_ESP)) || !isLoadable(Vmcs.get(X.VMCS_HOST_SYSENTER_EIP)))
    return ERROR_INVALID_HOST_STATE;
  // Each selector: RPL and TI must be 0; CS and TR cannot be 0.
  for (let slot = X.VMCS_HOST_ES_SELECTOR; slot <= X.VMCS_HOST_TR_SELECTOR; slot += 8)
    if ((Vmcs.get32(slot) & 7) != 0) return ERROR_INVALID_HOST_STATE;
  if (Vmcs.get32(X.VMCS_HOST_CS_SELECTOR) == 0 || Vmcs.get32(X.VMCS_HOST_TR_SELECTOR) == 0)
    return ERROR_INVALID_HOST_STATE;
  if (!is64 && Vmcs.get32(X.VMCS_HOST_SS_SELECTOR) == 0) return ERROR_INVALID_HOST_STATE;
  for (let slot = X.VMCS_HOST_FS_BASE; slot <= X.VMCS_HOST_IDTR_BASE; slot += 8)
    if (!isLoadable(Vmcs.get(slot))) return ERROR_INVALID_HOST_STATE;
  if (is64 ? !isLoadable(Vmcs.get(X.VMCS_HOST_RIP)) : Vmcs.get(X.VMCS_HOST_RIP) >> 32 != 0)
    return ERROR_INVALID_HOST_STATE;
  return ERROR_NONE;
}

/**
 * True where `isVolatileGuestStateValid` need not look: no event, no blocking, active, RFLAGS as the last exit saved them with
 * the mode unchanged since, and RIP one that every mode takes.
 */
export function isVolatileGuestStatePlain(): bool {
  const vmcs = <usize>cpu.vmcs;
  return (
    cpu.vmcsKept == cpu.vmcs &&
    load<u64>(vmcs, X.VMCS_GUEST_RFLAGS) == cpu.flagsSaved &&
    ((load<u32>(vmcs, X.VMCS_ENTRY_INTERRUPTION_INFO) & 0x80000000) |
      load<u32>(vmcs, X.VMCS_GUEST_ACTIVITY_STATE) |
      load<u32>(vmcs, X.VMCS_GUEST_INTERRUPTIBILITY) |
      load<u32>(vmcs, X.VMCS_GUEST_RIP + 4)) ==
      0
  );
}

/** "Checks on Guest RIP, RFLAGS, and SSP" and "Checks on Guest Non-Register State": at every entry. */
export function isVolatileGuestStateValid(): bool {
  const flags = Vmcs.get(X.VMCS_GUEST_RFLAGS);
  if ((flags & 0xffffffffffc08028) != 0 || (flags & 2) == 0) return false;
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  const long = (entry & X.ENTRY_IA32E_MODE_GUEST) != 0;
  const cr0 = Vmcs.get(X.VMCS_GUEST_CR0);
  if ((flags & FLAG_VM) != 0 && (long || (cr0 & CR0_PE) == 0)) return false;
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  const isExternal = (info & 0x80000700) == 0x80000000;
  if (isExternal && (flags & FLAG_IF) == 0) return false;
  const rip = Vmcs.get(X.VMCS_GUEST_RIP);
  if (long && (Vmcs.get(X.VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L) != 0) {
    // Bits beyond the processor's linear-address width alike: the bit below them is not looked at here, and the fetch faults.
    const width: u64 = (cpu.cr4Allowed & CR4_LA57) != 0 ? 57 : 48;
    if (rip >> width != 0 && rip >> width != 0xffffffffffffffff >> width) return false;
  } else if (rip >> 32 != 0) return false;
  const activity = Vmcs.get32(X.VMCS_GUEST_ACTIVITY_STATE);
  if (activity > 3) return false;
  const blocking = Vmcs.get32(X.VMCS_GUEST_INTERRUPTIBILITY);
  if ((blocking & 0xffffffe0) != 0 || (blocking & 3) == 3) return false;
  if ((blocking & 1) != 0 && (flags & FLAG_IF) == 0) return false;
  if (activity != 0 && (blocking & 3) != 0) return false;
  if (isExternal && (blocking & 3) != 0) return false;
  return true;
}

/** "Checks on Guest Control Registers, Debug Registers, and MSRs" and "Checks on Guest Segment Registers". */
export function isGuestStateValid(): bool {
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  const primary = Vmcs.get32(X.VMCS_PRIMARY_CONTROLS);
  const secondary = (primary & X.PRIMARY_SECONDARY_CONTROLS) != 0 ? Vmcs.get32(X.VMCS_SECONDARY_CONTROLS) : 0;
  const isUnrestricted = (secondary & X.SECONDARY_UNRESTRICTED_GUEST) != 0;
  const long = (entry & X.ENTRY_IA32E_MODE_GUEST) != 0;
  const cr0 = Vmcs.get(X.VMCS_GUEST_CR0);
  const cr4 = Vmcs.get(X.VMCS_GUEST_CR4);
  const fixed: u64 = isUnrestricted ? 0x20 : 0x80000021;
  if ((cr0 & fixed) != fixed || cr0 >> 32 != 0) return false;
  if ((cr0 & CR0_PG) != 0 && (cr0 & CR0_PE) == 0) return false;
  if ((cr4 & (1 << 13)) == 0 || (cr4 & ~(cpu.cr4Allowed | (1 << 13))) != 0) return false;
  if (long && ((cr0 & CR0_PG) == 0 || (cr4 & CR4_PAE) == 0)) return false;
  if ((Vmcs.get(X.VMCS_GUEST_CR3) & ~PHYSICAL_MASK) != 0) return false;
  if (!isLoadable(Vmcs.get(X.VMCS_GUEST_SYSENTER_ESP)) || !isLoadable(Vmcs.get(X.VMCS_GUEST_SYSENTER_EIP)))
    return false;
  if ((entry & X.ENTRY_LOAD_EFER) != 0) {
    const efer = Vmcs.get(X.VMCS_GUEST_EFER);
    if ((efer & ~(<u64>0xd01)) != 0 || ((efer & EFER_LMA) != 0) != long) return false;
    if ((cr0 & CR0_PG) != 0 && ((efer & EFER_LME) != 0) != long) return false;
  }
  if ((Vmcs.get32(X.VMCS_GUEST_TR_SELECTOR) & 4) != 0) return false;
  const flags = Vmcs.get(X.VMCS_GUEST_RFLAGS);
  if ((flags & FLAG_VM) == 0 && !areSegmentsValid(long, isUnrestricted)) return false;
  if (!isLoadable(Vmcs.get(X.VMCS_GUEST_GDTR_BASE)) || !isLoadable(Vmcs.get(X.VMCS_GUEST_IDTR_BASE)))
    return false;
  if (Vmcs.get(X.VMCS_GUEST_GDTR_LIMIT) >> 16 != 0 || Vmcs.get(X.VMCS_GUEST_IDTR_LIMIT) >> 16 != 0)
    return false;
  return Vmcs.get(X.VMCS_VMCS_LINK_POINTER) == 0xffffffffffffffff;
}

function areSegmentsValid(long: bool, isUnrestricted: bool): bool {
  const cs = Vmcs.get(X.VMCS_GUEST_CS_ACCESS_RIGHTS);
  const ss = Vmcs.get(X.VMCS_GUEST_SS_ACCESS_RIGHTS);
  const type = cs & AR_TYPE;
  const isCodeType = type == 9 || type == 11 || type == 13 || type == 15 || (isUnrestricted && type == 3);
  if (!isCodeType || (cs & (AR_S | AR_P)) != (AR_S | AR_P)) return false;
  if (long && (cs & (AR_L | AR_DB)) == (AR_L | AR_DB)) return false;
  if ((ss & AR_UNUSABLE) == 0) {
    const ssType = ss & AR_TYPE;
    if ((ssType != 3 && ssType != 7) || (ss & (AR_S | AR_P)) != (AR_S | AR_P)) return false;
  }
  // TR is busy; LDTR is an LDT or unusable.
  const tr = Vmcs.get(X.VMCS_GUEST_TR_ACCESS_RIGHTS);
  const trType = tr & AR_TYPE;
  if (
    (tr & AR_UNUSABLE) != 0 ||
    (tr & AR_S) != 0 ||
    (tr & AR_P) == 0 ||
    (trType != 11 && (long || trType != 3))
  )
    return false;
  const ldtr = Vmcs.get(X.VMCS_GUEST_LDTR_ACCESS_RIGHTS);
  return (ldtr & AR_UNUSABLE) != 0 || (ldtr & (AR_TYPE | AR_S | AR_P)) == (2 | AR_P);
}

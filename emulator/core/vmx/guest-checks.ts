/**
 * SDM Vol. 3C, "Checks on the Guest State Area", but for segment registers. Rules about fields that software writes at most
 * entries, or about memory, are in `isVolatileGuestStateValid`.
 */
import * as X from "../spec/vmx";
import {
  AR_DPL_SHIFT,
  AR_L,
  CR0_PE,
  CR0_PG,
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  EFER_LMA,
  EFER_LME,
  FLAG_IF,
  FLAG_TF,
  FLAG_VM,
  PHYSICAL_MASK,
  PTE_P,
} from "../spec/architecture";
import { DEBUGCTL_BTF, DEBUGCTL_LBR } from "../spec/msr";
import { cpu } from "../state/cpu";
import { isLoadable } from "../mmu/linear";
import { ramAddress } from "../mmu/physical";
import { secondaryControls } from "./control-checks";
import { cr0FixedInGuest, cr4MayIn, cr4MustIn } from "./fixed-bits";
import { areSegmentsValid } from "./guest-segment-checks";
import { EFER_RESERVED } from "./host-checks";
import { broken, isPageAddress, isPatValid } from "./rule";
import { Vmcs } from "./vmcs";

/** Exit qualifications of VM-entry failures: SDM Vol. 3C, "VM-Entry Failures During or After Loading Guest State". */
export const FAILURE_PDPTE: u64 = 2;
export const FAILURE_NMI: u64 = 3;
export const FAILURE_LINK: u64 = 4;

const DEBUGCTL_RESERVED: u64 = ~(DEBUGCTL_LBR | DEBUGCTL_BTF);
/** A VMCS's first word: revision identifier, and bit 31 of a shadow VMCS. */
const SHADOW_INDICATOR: u32 = 0x80000000;

function isLongGuest(): bool {
  return (Vmcs.get32(X.VMCS_ENTRY_CONTROLS) & X.ENTRY_IA32E_MODE_GUEST) != 0;
}

/** Everything but the volatile rules. */
export function isGuestStateValid(): bool {
  const secondary = secondaryControls(Vmcs.get32(X.VMCS_PRIMARY_CONTROLS));
  const isUnrestricted = (secondary & X.SECONDARY_UNRESTRICTED_GUEST) != 0;
  return (
    areControlRegistersValid(secondary) &&
    areMsrsValid() &&
    areSegmentsValid(isLongGuest(), isUnrestricted) &&
    areTablesValid()
  );
}

/** "Checks on Guest Control Registers, Debug Registers, and MSRs". */
function areControlRegistersValid(secondary: u32): bool {
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  const long = isLongGuest();
  const cr0 = Vmcs.get(X.VMCS_GUEST_CR0);
  const cr4 = Vmcs.get(X.VMCS_GUEST_CR4);
  const fixed = cr0FixedInGuest(secondary);
  if ((cr0 & fixed) != fixed || cr0 >> 32 != 0) return broken(X.RULE_GUEST_CR0);
  if ((cr0 & CR0_PG) != 0 && (cr0 & CR0_PE) == 0) return broken(X.RULE_GUEST_CR0_PG_PE);
  if ((cr4 & cr4MustIn()) != cr4MustIn() || (cr4 & ~cr4MayIn()) != 0) return broken(X.RULE_GUEST_CR4);
  if (
    (entry & X.ENTRY_LOAD_DEBUG_CONTROLS) != 0 &&
    (Vmcs.get(X.VMCS_GUEST_DEBUGCTL) & DEBUGCTL_RESERVED) != 0
  )
    return broken(X.RULE_GUEST_DEBUGCTL);
  if (long && ((cr0 & CR0_PG) == 0 || (cr4 & CR4_PAE) == 0)) return broken(X.RULE_GUEST_IA32E_PAGING);
  if (!long && (cr4 & CR4_PCIDE) != 0) return broken(X.RULE_GUEST_PCIDE);
  if ((Vmcs.get(X.VMCS_GUEST_CR3) & ~PHYSICAL_MASK) != 0) return broken(X.RULE_GUEST_CR3);
  if ((entry & X.ENTRY_LOAD_DEBUG_CONTROLS) != 0 && Vmcs.get(X.VMCS_GUEST_DR7) >> 32 != 0)
    return broken(X.RULE_GUEST_DR7);
  return true;
}

function areMsrsValid(): bool {
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  if (!isLoadable(Vmcs.get(X.VMCS_GUEST_SYSENTER_ESP)) || !isLoadable(Vmcs.get(X.VMCS_GUEST_SYSENTER_EIP)))
    return broken(X.RULE_GUEST_SYSENTER);
  if ((entry & X.ENTRY_LOAD_PAT) != 0 && !isPatValid(Vmcs.get(X.VMCS_GUEST_PAT)))
    return broken(X.RULE_GUEST_PAT);
  if ((entry & X.ENTRY_LOAD_EFER) != 0) {
    const efer = Vmcs.get(X.VMCS_GUEST_EFER);
    const isLma = (efer & EFER_LMA) != 0;
    if ((efer & EFER_RESERVED) != 0) return broken(X.RULE_GUEST_EFER_RESERVED);
    if (isLma != isLongGuest()) return broken(X.RULE_GUEST_EFER_LMA);
    if ((Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PG) != 0 && ((efer & EFER_LME) != 0) != isLma)
      return broken(X.RULE_GUEST_EFER_LME);
  }
  return true;
}

/** "Checks on Guest Descriptor-Table Registers". */
function areTablesValid(): bool {
  if (!isLoadable(Vmcs.get(X.VMCS_GUEST_GDTR_BASE)) || !isLoadable(Vmcs.get(X.VMCS_GUEST_IDTR_BASE)))
    return broken(X.RULE_GUEST_TABLE_BASE);
  if (Vmcs.get(X.VMCS_GUEST_GDTR_LIMIT) >> 16 != 0 || Vmcs.get(X.VMCS_GUEST_IDTR_LIMIT) >> 16 != 0)
    return broken(X.RULE_GUEST_TABLE_LIMIT);
  return true;
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
      load<u32>(vmcs, X.VMCS_GUEST_PENDING_DEBUG) |
      load<u32>(vmcs, X.VMCS_GUEST_RIP + 4)) ==
      0
  );
}

/** At every entry: "Checks on Guest RIP, RFLAGS, and SSP" and "Checks on Guest Non-Register State". */
export function isVolatileGuestStateValid(): bool {
  return areRipAndFlagsValid() && isActivityValid() && isInterruptibilityValid() && arePendingDebugValid();
}

function areRipAndFlagsValid(): bool {
  const long = isLongGuest();
  const rip = Vmcs.get(X.VMCS_GUEST_RIP);
  if (long && (Vmcs.get(X.VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L) != 0) {
    // "Bits 63:N must be identical", N the processor's linear-address width: the bit below is not looked at, and the fetch faults.
    const width: u64 = (cpu.cr4Allowed & CR4_LA57) != 0 ? 57 : 48;
    if (rip >> width != 0 && rip >> width != 0xffffffffffffffff >> width) return broken(X.RULE_GUEST_RIP);
  } else if (rip >> 32 != 0) return broken(X.RULE_GUEST_RIP);
  const flags = Vmcs.get(X.VMCS_GUEST_RFLAGS);
  if ((flags & 0xffffffffffc08028) != 0 || (flags & 2) == 0) return broken(X.RULE_GUEST_RFLAGS_RESERVED);
  if ((flags & FLAG_VM) != 0 && (long || (Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PE) == 0))
    return broken(X.RULE_GUEST_RFLAGS_VM);
  const isExternal = (Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO) & 0x80000700) == 0x80000000;
  if (isExternal && (flags & FLAG_IF) == 0) return broken(X.RULE_GUEST_RFLAGS_IF);
  return true;
}

function isActivityValid(): bool {
  const activity = Vmcs.get32(X.VMCS_GUEST_ACTIVITY_STATE);
  if (activity == 0) return true;
  if (activity > 3 || ((cpu.vmxMisc >> (5 + activity)) & 1) == 0) return broken(X.RULE_GUEST_ACTIVITY);
  if (activity == 1 && ((Vmcs.get(X.VMCS_GUEST_SS_ACCESS_RIGHTS) >> AR_DPL_SHIFT) & 3) != 0)
    return broken(X.RULE_GUEST_ACTIVITY_DPL);
  if ((Vmcs.get32(X.VMCS_GUEST_INTERRUPTIBILITY) & 3) != 0) return broken(X.RULE_GUEST_ACTIVITY_BLOCKING);
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  if ((info & 0x80000000) == 0) return true;
  return isEventAllowedIn(activity, (info >> 8) & 7, info & 0xff)
    ? true
    : broken(X.RULE_GUEST_ACTIVITY_EVENT);
}

/** May this event be injected into HLT (1), shutdown (2) or wait-for-SIPI (3)? */
function isEventAllowedIn(activity: u32, type: u32, vector: u32): bool {
  const isMachineCheck = type == 3 && vector == 18;
  if (activity == 1)
    return type == 0 || type == 2 || isMachineCheck || (type == 3 && vector == 1) || type == 7;
  return activity == 2 && (type == 2 || isMachineCheck);
}

function isInterruptibilityValid(): bool {
  const blocking = Vmcs.get32(X.VMCS_GUEST_INTERRUPTIBILITY);
  if ((blocking & 0xfffffff0) != 0) return broken(X.RULE_GUEST_BLOCKING_RESERVED);
  if ((blocking & 3) == 3) return broken(X.RULE_GUEST_BLOCKING_BOTH);
  if ((blocking & 1) != 0 && (Vmcs.get(X.VMCS_GUEST_RFLAGS) & FLAG_IF) == 0)
    return broken(X.RULE_GUEST_BLOCKING_STI_IF);
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  const isValid = (info & 0x80000000) != 0;
  const type = (info >> 8) & 7;
  if (isValid && type == 0 && (blocking & 3) != 0) return broken(X.RULE_GUEST_BLOCKING_EXTERNAL);
  if (isValid && type == 2 && (blocking & 2) != 0) return broken(X.RULE_GUEST_BLOCKING_NMI_EVENT);
  if ((blocking & 4) != 0) return broken(X.RULE_GUEST_BLOCKING_SMI);
  if (
    isValid &&
    type == 2 &&
    (blocking & 8) != 0 &&
    (Vmcs.get32(X.VMCS_PIN_BASED_CONTROLS) & X.PIN_VIRTUAL_NMIS) != 0
  )
    return broken(X.RULE_GUEST_BLOCKING_VIRTUAL_NMI);
  return true;
}

function arePendingDebugValid(): bool {
  const pending = Vmcs.get(X.VMCS_GUEST_PENDING_DEBUG);
  // B3 to B0, enabled breakpoint, BS.
  if ((pending & ~(<u64>0x500f)) != 0) return broken(X.RULE_GUEST_PENDING_DEBUG_RESERVED);
  const isHeldBack =
    (Vmcs.get32(X.VMCS_GUEST_INTERRUPTIBILITY) & 3) != 0 || Vmcs.get32(X.VMCS_GUEST_ACTIVITY_STATE) == 1;
  if (!isHeldBack) return true;
  const steps =
    (Vmcs.get(X.VMCS_GUEST_RFLAGS) & FLAG_TF) != 0 && (Vmcs.get(X.VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF) == 0;
  return ((pending & 0x4000) != 0) == steps ? true : broken(X.RULE_GUEST_PENDING_DEBUG_BS);
}

/** "VMCS link pointer". A breach has an exit qualification of its own. */
export function isLinkPointerValid(): bool {
  const link = Vmcs.get(X.VMCS_VMCS_LINK_POINTER);
  if (link == 0xffffffffffffffff) return true;
  if (!isPageAddress(link)) return broken(X.RULE_GUEST_LINK_ADDRESS);
  const at = ramAddress(link, 4096);
  const word: u32 = at == 0 ? 0 : load<u32>(at);
  if ((word & ~SHADOW_INDICATOR) != X.VMCS_REVISION) return broken(X.RULE_GUEST_LINK_REVISION);
  const isShadowing =
    (secondaryControls(Vmcs.get32(X.VMCS_PRIMARY_CONTROLS)) & X.SECONDARY_VMCS_SHADOWING) != 0;
  if (((word & SHADOW_INDICATOR) != 0) != isShadowing) return broken(X.RULE_GUEST_LINK_SHADOW);
  return link == cpu.vmcsPointer ? broken(X.RULE_GUEST_LINK_CURRENT) : true;
}

/** Does the guest use PAE paging, whose PDPTEs are registers? */
export function usesPaePaging(): bool {
  return (
    !isLongGuest() &&
    (Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PG) != 0 &&
    (Vmcs.get(X.VMCS_GUEST_CR4) & CR4_PAE) != 0
  );
}

/** "Checks on Guest Page-Directory-Pointer-Table Entries": with EPT the fields, else the entries in memory. */
export function arePdptesValid(): bool {
  if (!usesPaePaging()) return true;
  const hasEpt = (secondaryControls(Vmcs.get32(X.VMCS_PRIMARY_CONTROLS)) & X.SECONDARY_ENABLE_EPT) != 0;
  for (let i: usize = 0; i < 4; i++) {
    const entry = hasEpt ? Vmcs.get(X.VMCS_GUEST_PDPTE0 + (i << 3)) : pdpteInMemory(i);
    if ((entry & PTE_P) != 0 && (entry & (0x1e6 | ~PHYSICAL_MASK)) != 0) return broken(X.RULE_GUEST_PDPTE);
  }
  return true;
}

/** A PDPTE of the guest's CR3, without EPT. */
export function pdpteInMemory(index: usize): u64 {
  const at = ramAddress((Vmcs.get(X.VMCS_GUEST_CR3) & 0xffffffe0) + ((<u64>index) << 3), 8);
  return at == 0 ? 0 : load<u64>(at);
}

/** SDM Vol. 3C, "Checks on Host Control Registers, MSRs, and SSP" and the sections after it, up to the host's address-space size. */
import * as X from "../spec/vmx";
import { CR4_PAE, CR4_PCIDE, EFER_LMA, EFER_LME, PHYSICAL_MASK } from "../spec/architecture";
import { cpu } from "../state/cpu";
import { isLoadable } from "../mmu/linear";
import { isLongMode } from "../state/mode";
import { CR0_FIXED, cr4MayIn, cr4MustIn } from "./fixed-bits";
import { ERROR_NONE, hostError, isPatValid } from "./rule";
import { Vmcs } from "./vmcs";

/** Reserved bits of IA32_EFER: all but SCE, LME, LMA, NXE. */
export const EFER_RESERVED: u64 = ~(<u64>0xd01);

export function checkHostState(): u32 {
  const exit = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  const is64 = (exit & X.EXIT_HOST_ADDRESS_SPACE_SIZE) != 0;
  const cr0 = Vmcs.get(X.VMCS_HOST_CR0);
  if ((cr0 & CR0_FIXED) != CR0_FIXED || cr0 >> 32 != 0) return hostError(X.RULE_HOST_CR0);
  const cr4 = Vmcs.get(X.VMCS_HOST_CR4);
  if ((cr4 & cr4MustIn()) != cr4MustIn() || (cr4 & ~cr4MayIn()) != 0) return hostError(X.RULE_HOST_CR4);
  if ((Vmcs.get(X.VMCS_HOST_CR3) & ~PHYSICAL_MASK) != 0) return hostError(X.RULE_HOST_CR3);
  if (!isLoadable(Vmcs.get(X.VMCS_HOST_SYSENTER_ESP)) || !isLoadable(Vmcs.get(X.VMCS_HOST_SYSENTER_EIP)))
    return hostError(X.RULE_HOST_SYSENTER);
  if ((exit & X.EXIT_LOAD_PAT) != 0 && !isPatValid(Vmcs.get(X.VMCS_HOST_PAT)))
    return hostError(X.RULE_HOST_PAT);
  if ((exit & X.EXIT_LOAD_EFER) != 0) {
    const efer = Vmcs.get(X.VMCS_HOST_EFER);
    if ((efer & EFER_RESERVED) != 0) return hostError(X.RULE_HOST_EFER_RESERVED);
    if (((efer & EFER_LMA) != 0) != is64 || ((efer & EFER_LME) != 0) != is64)
      return hostError(X.RULE_HOST_EFER_LMA);
  }
  const error = checkSegmentsAndTables(is64);
  return error != ERROR_NONE ? error : checkAddressSpaceSize(is64);
}

/** "Checks on Host Segment and Descriptor-Table Registers". */
function checkSegmentsAndTables(is64: bool): u32 {
  for (let slot = X.VMCS_HOST_ES_SELECTOR; slot <= X.VMCS_HOST_TR_SELECTOR; slot += 8)
    if ((Vmcs.get32(slot) & 7) != 0) return hostError(X.RULE_HOST_SELECTOR_RPL_TI);
  if (Vmcs.get32(X.VMCS_HOST_CS_SELECTOR) == 0 || Vmcs.get32(X.VMCS_HOST_TR_SELECTOR) == 0)
    return hostError(X.RULE_HOST_CS_TR);
  if (!is64 && Vmcs.get32(X.VMCS_HOST_SS_SELECTOR) == 0) return hostError(X.RULE_HOST_SS);
  for (let slot = X.VMCS_HOST_FS_BASE; slot <= X.VMCS_HOST_IDTR_BASE; slot += 8)
    if (!isLoadable(Vmcs.get(slot))) return hostError(X.RULE_HOST_BASES);
  return ERROR_NONE;
}

/** "Checks Related to Address-Space Size". */
function checkAddressSpaceSize(is64: bool): u32 {
  if ((Vmcs.get32(X.VMCS_ENTRY_CONTROLS) & X.ENTRY_IA32E_MODE_GUEST) != 0 && !is64)
    return hostError(X.RULE_HOST_GUEST_ADDRESS_SPACE);
  const cr4 = Vmcs.get(X.VMCS_HOST_CR4);
  const rip = Vmcs.get(X.VMCS_HOST_RIP);
  if (!is64 && (cr4 & CR4_PCIDE) != 0) return hostError(X.RULE_HOST_PCIDE);
  if (is64 && (cr4 & CR4_PAE) == 0) return hostError(X.RULE_HOST_PAE);
  if (is64 ? !isLoadable(rip) : rip >> 32 != 0) return hostError(X.RULE_HOST_RIP);
  return ERROR_NONE;
}

/** What depends on the mode that VM entry is made in: with the hypervisor outside the machine there is none. */
export function checkVolatileHostState(): u32 {
  if (cpu.hypervisorOutside != 0) return ERROR_NONE;
  const is64 = (Vmcs.get32(X.VMCS_EXIT_CONTROLS) & X.EXIT_HOST_ADDRESS_SPACE_SIZE) != 0;
  return is64 == isLongMode() ? ERROR_NONE : hostError(X.RULE_HOST_ADDRESS_SPACE_SIZE);
}

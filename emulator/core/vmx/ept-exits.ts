/**
 * What EPT does beside translating: violations as VM exits or virtualization exceptions, misconfigurations, page-modification
 * logging. SDM Vol. 3C, "EPT-Induced VM Exits", "Virtualization Exceptions", "Page-Modification Logging".
 */
import * as X from "../spec/vmx";
import { CR0_PE } from "../spec/architecture";
import { cpu } from "../state/cpu";
import { ACCESS_READ, ACCESS_WRITE } from "../mmu/walk";
import { FOR_DATA, FOR_PDPTES, FOR_WALK } from "../mmu/ept-walk";
import { forgetFaulting } from "../mmu/contexts";
import { forgetEptTables } from "../mmu/structure-cache";
import { isGuarded, noteWrite, ramAddress } from "../mmu/physical";
import { raise } from "../interrupts/raise";
import { vmExit } from "./exit";
import { Vmcs } from "./vmcs";

const VECTOR_VE: i32 = 20;
const LINEAR_VALID: u64 = 1 << 7;
const IS_TRANSLATION: u64 = 1 << 8;
/** Bit 12 of exit qualifications of this file's exits: blocking by NMI ended by an IRET that met them. */
const NMI_UNBLOCKING: u64 = 1 << 12;
const PML_ENTRIES: u32 = 512;

/** With virtual NMIs off or on alike: an IRET that ends blocking by NMI tells so, unless it is part of delivering an event. */
function nmiUnblocking(): u64 {
  return cpu.iretUnblocked != 0 && cpu.deliveringVector < 0 ? NMI_UNBLOCKING : 0;
}

/**
 * @param rights bits of the EPT entries, anded; 0 when one was not present
 * @param suppressesVe bit 63 of the entry that decided
 */
export function eptViolation(
  guestPhysical: u64,
  linear: u64,
  access: u32,
  rights: u64,
  use: u32,
  suppressesVe: bool,
): void {
  // SDM Vol. 3C, "Operations that Invalidate Cached Mappings".
  forgetEptTables(guestPhysical);
  if (use != FOR_PDPTES) forgetFaulting(linear);
  let qualification: u64 = access == ACCESS_READ ? 1 : access == ACCESS_WRITE ? 2 : 4;
  // A walk that updates accessed and dirty flags is both a read and a write.
  if (use == FOR_WALK && access == ACCESS_WRITE) qualification = 3;
  qualification |= (rights & 7) << 3;
  if ((cpu.proc2Controls & X.SECONDARY_MODE_BASED_EXECUTE) != 0) qualification |= ((rights >> 10) & 1) << 6;
  if (use != FOR_PDPTES) qualification |= LINEAR_VALID;
  if (use == FOR_DATA) qualification |= IS_TRANSLATION;
  qualification |= nmiUnblocking();
  if (!suppressesVe && raiseVirtualizationException(qualification, linear, guestPhysical)) return;
  vmExit(X.EXIT_REASON_EPT_VIOLATION, qualification);
  Vmcs.set(X.VMCS_GUEST_PHYSICAL_ADDRESS, guestPhysical);
  if (use != FOR_PDPTES) Vmcs.set(X.VMCS_GUEST_LINEAR_ADDRESS, linear);
}

/** "Convertible EPT Violations": false when this one is not. */
function raiseVirtualizationException(qualification: u64, linear: u64, guestPhysical: u64): bool {
  if (
    (cpu.proc2Controls & X.SECONDARY_EPT_VIOLATION_VE) == 0 ||
    (cpu.cr0 & CR0_PE) == 0 ||
    cpu.deliveringVector >= 0
  )
    return false;
  const at = ramAddress(Vmcs.get(X.VMCS_VIRTUALIZATION_EXCEPTION_INFO), 4096);
  if (at == 0 || load<u32>(at, 4) != 0) return false;
  store<u32>(at, X.EXIT_REASON_EPT_VIOLATION);
  store<u32>(at, 0xffffffff, 4);
  store<u64>(at, qualification, 8);
  store<u64>(at, linear, 16);
  store<u64>(at, guestPhysical, 24);
  store<u16>(at, <u16>Vmcs.get(X.VMCS_EPTP_INDEX), 32);
  if (isGuarded(at)) noteWrite(at, 34);
  raise(VECTOR_VE);
  return true;
}

export function exitEptMisconfiguration(guestPhysical: u64): void {
  vmExit(X.EXIT_REASON_EPT_MISCONFIGURATION, 0);
  Vmcs.set(X.VMCS_GUEST_PHYSICAL_ADDRESS, guestPhysical);
}

/** Before the dirty flag of a page is set: logs it. False: the log is full, and the exit has been recorded. */
export function logModifiedPage(guestPhysical: u64): bool {
  if ((cpu.proc2Controls & X.SECONDARY_ENABLE_PML) == 0) return true;
  const index = Vmcs.get32(X.VMCS_PML_INDEX) & 0xffff;
  if (index >= PML_ENTRIES) {
    vmExit(X.EXIT_REASON_PML_FULL, nmiUnblocking());
    return false;
  }
  const at = ramAddress(Vmcs.get(X.VMCS_PML_ADDRESS) + ((<u64>index) << 3), 8);
  if (at != 0) {
    store<u64>(at, guestPhysical & ~(<u64>0xfff));
    if (isGuarded(at)) noteWrite(at, 8);
  }
  Vmcs.set(X.VMCS_PML_INDEX, <u64>((index - 1) & 0xffff));
  return true;
}

/** EPT violations and misconfigurations. SDM Vol. 3C, "EPT-Induced VM Exits". */
import * as X from "../spec/vmx";
import { ACCESS_READ, ACCESS_WRITE } from "../mmu/walk";
import { vmExit } from "./exit";
import { Vmcs } from "./vmcs";

/** In the place of a linear address: PDPTEs are loaded, which has none. Not canonical, so no access has it. */
export const NO_LINEAR_ADDRESS: u64 = (<u64>1) << 63;

/** @param rights the EPT rights found (bits 2:0 of the entries, anded), 0 when an entry was not present */
export function exitEptViolation(
  guestPhysical: u64,
  linear: u64,
  access: u32,
  rights: u32,
  isWalk: bool,
): void {
  let qualification: u64 = access == ACCESS_READ ? 1 : access == ACCESS_WRITE ? 2 : 4;
  // A walk that updates accessed and dirty flags is both a read and a write.
  if (isWalk && access == ACCESS_WRITE) qualification = 3;
  qualification |= (<u64>(rights & 7)) << 3;
  if (linear != NO_LINEAR_ADDRESS) {
    qualification |= 1 << 7;
    if (!isWalk) qualification |= 1 << 8;
  }
  vmExit(X.EXIT_REASON_EPT_VIOLATION, qualification);
  Vmcs.set(X.VMCS_GUEST_PHYSICAL_ADDRESS, guestPhysical);
  Vmcs.set(X.VMCS_GUEST_LINEAR_ADDRESS, linear);
}

export function exitEptMisconfiguration(guestPhysical: u64): void {
  vmExit(X.EXIT_REASON_EPT_MISCONFIGURATION, 0);
  Vmcs.set(X.VMCS_GUEST_PHYSICAL_ADDRESS, guestPhysical);
}

/** Bits of CR0 and CR4 that VMX operation fixes. SDM Vol. 3D, "VMX-Fixed Bits in CR0", "VMX-Fixed Bits in CR4". */
import { CR0_CD, CR0_ET, CR0_NW, CR0_PE, CR0_PG, CR4_VMXE } from "../spec/architecture";
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";

/** IA32_VMX_CR0_FIXED0: PE, NE and PG. No bit of the lower half is fixed to 0. */
export const CR0_FIXED: u64 = 0x80000021;

/** The bits of CR0 that must be 1 in a guest: an unrestricted one may clear PE and PG. */
export function cr0FixedInGuest(secondary: u32): u64 {
  return (secondary & X.SECONDARY_UNRESTRICTED_GUEST) != 0 ? CR0_FIXED & ~(CR0_PE | CR0_PG) : CR0_FIXED;
}

/** IA32_VMX_CR4_FIXED0. */
export function cr4MustIn(): u64 {
  return CR4_VMXE;
}

/** IA32_VMX_CR4_FIXED1: what the CPU model has. */
export function cr4MayIn(): u64 {
  return cpu.cr4Allowed | CR4_VMXE;
}

/** Bits of CR0 that VM entry and VM exit leave as they are ("Loading Guest Control Registers …", "Loading Host Control Registers …"). */
export const CR0_KEPT: u64 = CR0_ET | CR0_NW | CR0_CD;

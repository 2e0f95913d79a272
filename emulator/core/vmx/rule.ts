/** What the checks of VM entry share: how a broken rule is told, and addresses. */
import { PHYSICAL_MASK } from "../spec/architecture";
import { cpu } from "../state/cpu";

/** VM-instruction errors: SDM Vol. 3C, "VM-Instruction Error Numbers". */
export const ERROR_NONE: u32 = 0;
export const ERROR_INVALID_CONTROLS: u32 = 7;
export const ERROR_INVALID_HOST_STATE: u32 = 8;

/** Notes the rule (layout/vmx-rules.ts) that is broken. */
export function broken(rule: u32): bool {
  cpu.entryRule = rule;
  return false;
}

/** As `broken`, for rules whose breach is VMfailValid. */
export function controlError(rule: u32): u32 {
  cpu.entryRule = rule;
  return ERROR_INVALID_CONTROLS;
}

export function hostError(rule: u32): u32 {
  cpu.entryRule = rule;
  return ERROR_INVALID_HOST_STATE;
}

/** An address that is a multiple of `alignment` (a power of 2), within the physical-address width. */
export function isPhysicalAddress(value: u64, alignment: u64): bool {
  return (value & (alignment - 1)) == 0 && (value & ~PHYSICAL_MASK) == 0;
}

export function isPageAddress(value: u64): bool {
  return isPhysicalAddress(value, 4096);
}

/** Each byte of a PAT is a memory type (UC, WC, WT, WP, WB, UC-). */
export function isPatValid(value: u64): bool {
  for (let i: u64 = 0; i < 64; i += 8) {
    const type = (value >> i) & 0xff;
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

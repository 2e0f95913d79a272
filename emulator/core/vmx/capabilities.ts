/** IA32_VMX_BASIC to IA32_VMX_VMFUNC: what the CPU model has. SDM Vol. 3D, "VMX Capability Reporting Facility". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { raiseGp } from "../interrupts/raise";
import { CR0_FIXED, cr4MayIn, cr4MustIn } from "./fixed-bits";

export const VMX_BASIC: u32 = 0x480;
export const VMX_VMFUNC: u32 = 0x491;

/** Region size 4096; write-back; bit 54: INS and OUTS information; bit 55: the TRUE capability MSRs exist. */
const BASIC_HIGH: u64 = (4096 << 32) | (6 << 50) | (1 << 54) | (1 << 55);
/** Highest index of a field encoding, in bits 9:1. */
const VMCS_ENUM: u64 = 25 << 1;

export function hasVmx(): bool {
  return cpu.vmxPrimaryMay != 0;
}

function hasSecondary(bit: u32): bool {
  return (cpu.vmxSecondaryMay & bit) != 0;
}

/** Allowed 0-settings in the lower word, allowed 1-settings in the upper one. */
function settings(must: u32, may: u32): u64 {
  return (<u64>must) | ((<u64>may) << 32);
}

/** The MSR `index` of 480H to 491H; #GP(0) is recorded when this model has it not. */
export function vmxCapability(index: u32): u64 {
  if (!hasVmx()) {
    raiseGp();
    return 0;
  }
  switch (index) {
    case 0x480:
      return BASIC_HIGH | (<u64>X.VMCS_REVISION);
    case 0x481:
      return settings(X.MUST_BE_1_PIN | X.DEFAULT1_PIN, cpu.vmxPinMay);
    case 0x482:
      return settings(X.MUST_BE_1_PRIMARY | X.DEFAULT1_PRIMARY, cpu.vmxPrimaryMay);
    case 0x483:
      return settings(X.MUST_BE_1_EXIT | X.DEFAULT1_EXIT, cpu.vmxExitMay);
    case 0x484:
      return settings(X.MUST_BE_1_ENTRY | X.DEFAULT1_ENTRY, cpu.vmxEntryMay);
    case 0x485:
      return <u64>cpu.vmxMisc;
    case 0x486:
      return CR0_FIXED;
    case 0x487:
      return 0xffffffff;
    case 0x488:
      return cr4MustIn();
    case 0x489:
      return cr4MayIn();
    case 0x48a:
      return VMCS_ENUM;
    case 0x48d:
      return settings(X.MUST_BE_1_PIN, cpu.vmxPinMay);
    case 0x48e:
      return settings(X.MUST_BE_1_PRIMARY, cpu.vmxPrimaryMay);
    case 0x48f:
      return settings(X.MUST_BE_1_EXIT, cpu.vmxExitMay);
    case 0x490:
      return settings(X.MUST_BE_1_ENTRY, cpu.vmxEntryMay);
    default:
      return secondaryCapability(index);
  }
}

/** MSRs that exist only with secondary controls. */
function secondaryCapability(index: u32): u64 {
  if (index == 0x48b && cpu.vmxSecondaryMay != 0) return settings(0, cpu.vmxSecondaryMay);
  if (index == 0x48c && hasSecondary(X.SECONDARY_ENABLE_EPT | X.SECONDARY_ENABLE_VPID))
    return settings(cpu.vmxEptCapability, cpu.vmxVpidCapability);
  if (index == VMX_VMFUNC && hasSecondary(X.SECONDARY_ENABLE_VM_FUNCTIONS)) return <u64>cpu.vmxFunctions;
  raiseGp();
  return 0;
}

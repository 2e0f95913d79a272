/** VMCS fields by encoding: which exist on this CPU model, and where they are. SDM Vol. 3D, "Field Encoding in VMCS". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";

export const NO_FIELD: u32 = 0;

/** Bits of an encoding: 0 access type, 9:1 index, 11:10 type, 14:13 width; the others are reserved. */
const ENCODING: u64 = 0x6fff;
const TYPE_READ_ONLY: u32 = 1;
const WIDTH_16: u32 = 0;
const WIDTH_64: u32 = 1;
const WIDTH_32: u32 = 2;

function widthOf(encoding: u32): u32 {
  return (encoding >> 13) & 3;
}

function groupOf(encoding: u32): u32 {
  return (widthOf(encoding) << 2) | ((encoding >> 10) & 3);
}

/** Offset of a field's slot in the region, or NO_FIELD when the encoding names no field that this processor has. */
export function fieldSlot(encoding: u64): u32 {
  if ((encoding & ~ENCODING) != 0) return NO_FIELD;
  const code = <u32>encoding;
  const index = (code >> 1) & 0x1ff;
  if (index >= 32 || ((code & 1) != 0 && widthOf(code) != WIDTH_64)) return NO_FIELD;
  if (((X.vmcsGroupFields(groupOf(code)) >> index) & 1) == 0 || !exists(code & ~(<u32>1))) return NO_FIELD;
  return <u32>X.VMCS_FIELDS_AT + ((groupOf(code) * <u32>X.VMCS_FIELDS_PER_GROUP + index) << 3);
}

export function isReadOnlyField(encoding: u32): bool {
  return ((encoding >> 10) & 3) == TYPE_READ_ONLY;
}

function hasPin(bit: u32): bool {
  return (cpu.vmxPinMay & bit) != 0;
}
function hasPrimary(bit: u32): bool {
  return (cpu.vmxPrimaryMay & bit) != 0;
}
function hasSecondary(bit: u32): bool {
  return (cpu.vmxSecondaryMay & bit) != 0;
}

/** Fields that exist "only on processors that support the 1-setting of" a control. */
function exists(encoding: u32): bool {
  switch (encoding) {
    case 0x0000: // VPID
      return hasSecondary(X.SECONDARY_ENABLE_VPID);
    case 0x0002: // posted-interrupt notification vector
    case 0x2016: // posted-interrupt descriptor address
      return hasPin(X.PIN_PROCESS_POSTED_INTERRUPTS);
    case 0x0004: // EPTP index
    case 0x202a: // virtualization-exception information address
      return hasSecondary(X.SECONDARY_EPT_VIOLATION_VE);
    case 0x0810: // guest interrupt status
    case 0x201c: // EOI-exit bitmaps
    case 0x201e:
    case 0x2020:
    case 0x2022:
      return hasSecondary(X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
    case 0x0812: // PML index and address
    case 0x200e:
      return hasSecondary(X.SECONDARY_ENABLE_PML);
    case 0x2012: // virtual-APIC address, TPR threshold
    case 0x401c:
      return hasPrimary(X.PRIMARY_USE_TPR_SHADOW);
    case 0x2014: // APIC-access address
      return hasSecondary(X.SECONDARY_VIRTUALIZE_APIC_ACCESSES);
    case 0x2018: // VM-function controls, EPTP-list address
      return hasSecondary(X.SECONDARY_ENABLE_VM_FUNCTIONS);
    case 0x2024:
      return (cpu.vmxFunctions & 1) != 0;
    case 0x201a: // EPTP, guest-physical address, PDPTEs
    case 0x2400:
    case 0x280a:
    case 0x280c:
    case 0x280e:
    case 0x2810:
      return hasSecondary(X.SECONDARY_ENABLE_EPT);
    case 0x2026: // VMREAD and VMWRITE bitmaps
    case 0x2028:
      return hasSecondary(X.SECONDARY_VMCS_SHADOWING);
    case 0x202c: // XSS-exiting bitmap
      return hasSecondary(X.SECONDARY_ENABLE_XSAVES);
    case 0x2032: // TSC multiplier
      return hasSecondary(X.SECONDARY_USE_TSC_SCALING);
    case 0x401e: // secondary controls
      return hasPrimary(X.PRIMARY_SECONDARY_CONTROLS);
    case 0x4020: // PLE gap and window
    case 0x4022:
      return hasSecondary(X.SECONDARY_PAUSE_LOOP_EXITING);
    case 0x482e: // VMX-preemption timer value
      return hasPin(X.PIN_PREEMPTION_TIMER);
    default:
      return true;
  }
}

/** Reads a field of the region at `vmcs`: its width, or the upper half of a 64-bit field. */
export function readField(vmcs: usize, slot: u32, encoding: u32): u64 {
  const value = load<u64>(vmcs + slot);
  if ((encoding & 1) != 0) return value >> 32;
  const width = widthOf(encoding);
  return width == WIDTH_16 ? value & 0xffff : width == WIDTH_32 ? value & 0xffffffff : value;
}

/** Writes likewise; entry checks are due again where the field asks for that. */
export function writeField(vmcs: usize, slot: u32, encoding: u32, value: u64): void {
  const at = vmcs + slot;
  if ((encoding & 1) != 0) store<u32>(at, <u32>value, 4);
  else {
    const width = widthOf(encoding);
    store<u64>(at, width == WIDTH_16 ? value & 0xffff : width == WIDTH_32 ? value & 0xffffffff : value);
  }
  const index = (encoding >> 1) & 0x1ff;
  if (((X.vmcsGroupClean(groupOf(encoding)) >> index) & 1) == 0) store<u32>(vmcs, 1, X.VMCS_DIRTY_AT);
}

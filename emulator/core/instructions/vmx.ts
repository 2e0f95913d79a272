/**
 * The VMX instructions of root-mode software. SDM Vol. 3C, "VMX Instruction Reference".
 *
 * In VMX non-root operation they exit, whatever their operands; VMREAD and VMWRITE may be answered by a shadow VMCS.
 */
import * as X from "../spec/vmx";
import { AR_L, CR4_VMXE, FLAG_CF, FLAG_ZF } from "../spec/architecture";
import { CPU_ATTENTION } from "../layout.generated";
import { ATTENTION_INIT, CPU, CS, RAX, RCX, cpu, getGpr } from "../state/cpu";
import { setArithmeticFlags } from "../state/flags";
import { is64, isLongMode, isProtected, isVirtual8086, segRights, updateContext } from "../state/mode";
import { isGuarded, noteWrite, ramAddress } from "../mmu/physical";
import { Linear, isLoadable } from "../mmu/linear";
import { requireRing0 } from "./privilege";
import { Address } from "../mmu/segmented";
import { dropContexts, dropContextsOfEpt, dropContextsOfVpids } from "../mmu/contexts";
import { bumpJumpGeneration } from "../records/block-cache";
import { faultPending, raiseGp, raiseUd } from "../interrupts/raise";
import { R_FLAGS, RECORD_REGISTER } from "../records/record";
import { hasVmx } from "../vmx/capabilities";
import { NO_FIELD, fieldSlot, isReadOnlyField, readField, writeField } from "../vmx/fields";
import { CR0_FIXED, cr4MayIn, cr4MustIn } from "../vmx/fixed-bits";
import { checkForVmFail } from "../vmx/entry";
import { eptpRule } from "../vmx/control-checks";
import { exitOnVmcall, exitOnVmxMemory, exitOnVmxRegisters, vmExitPlain } from "../vmx/instruction-exits";
import { isPageAddress } from "../vmx/rule";
import { switchEptp } from "../vmx/vm-functions";
import { Vmcs } from "../vmx/vmcs";
import { Op } from "./operand";

/** "No current VMCS". */
const NONE: u64 = 0xffffffffffffffff;
const SHADOW_INDICATOR: u32 = 0x80000000;

// VM-instruction error numbers.
const VMCALL_IN_ROOT: u32 = 1;
const VMCLEAR_BAD_ADDRESS: u32 = 2;
const VMCLEAR_VMXON_POINTER: u32 = 3;
const VMLAUNCH_NOT_CLEAR: u32 = 4;
const VMRESUME_NOT_LAUNCHED: u32 = 5;
const VMPTRLD_BAD_ADDRESS: u32 = 9;
const VMPTRLD_VMXON_POINTER: u32 = 10;
const VMPTRLD_REVISION: u32 = 11;
const UNSUPPORTED_COMPONENT: u32 = 12;
const VMWRITE_READ_ONLY: u32 = 13;
const VMXON_IN_ROOT: u32 = 15;
const ENTRY_BLOCKED_BY_MOV_SS: u32 = 26;
const INVALIDATE_BAD_OPERAND: u32 = 28;

const FEATURE_LOCKED: u64 = 1 << 0;
const FEATURE_VMX_OUTSIDE_SMX: u64 = 1 << 2;

function succeed(): void {
  setArithmeticFlags(0);
}
function failInvalid(): void {
  setArithmeticFlags(FLAG_CF);
}
/** VMfail: VMfailValid with the number where there is a current VMCS. */
function fail(error: u32): void {
  if (cpu.vmcs == 0) {
    failInvalid();
    return;
  }
  Vmcs.set(X.VMCS_VM_INSTRUCTION_ERROR, <u64>error);
  setArithmeticFlags(FLAG_ZF);
}

/** The modes in which VMX instructions exist, and VMX operation. False: #UD is recorded. */
function isInVmxOperation(): bool {
  if (cpu.vmxOn != 0 && hasModeForVmx()) return true;
  raiseUd();
  return false;
}

function hasModeForVmx(): bool {
  return isProtected() && !isVirtual8086() && !(isLongMode() && (segRights(CS) & AR_L) == 0);
}

/** The 64-bit pointer operand; check `faultPending()`. */
function readPointer(record: usize): u64 {
  const linear = Address.forRead(record, 8);
  if (faultPending()) return 0;
  return Linear.read<u64>(linear);
}

/** First word of a region, 0 outside RAM. */
function revisionAt(pointer: u64): u32 {
  const at = ramAddress(pointer, 4096);
  return at == 0 ? 0 : load<u32>(at);
}

function setCurrent(pointer: u64): void {
  cpu.vmcsPointer = pointer;
  cpu.vmcs = pointer == NONE ? 0 : <u32>ramAddress(pointer, 4096);
  cpu.vmcsKept = 0;
}

export function vmxon(record: usize): void {
  if (!hasVmx() || (cpu.cr4 & CR4_VMXE) == 0 || !hasModeForVmx()) {
    raiseUd();
    return;
  }
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxMemory(record, X.EXIT_REASON_VMXON);
    return;
  }
  if (!requireRing0()) return;
  if (cpu.vmxOn != 0) {
    fail(VMXON_IN_ROOT);
    return;
  }
  const enabled = FEATURE_LOCKED | FEATURE_VMX_OUTSIDE_SMX;
  if (
    (cpu.cr0 & CR0_FIXED) != CR0_FIXED ||
    (cpu.cr4 & cr4MustIn()) != cr4MustIn() ||
    (cpu.cr4 & ~cr4MayIn()) != 0 ||
    (cpu.featureControl & enabled) != enabled
  ) {
    raiseGp();
    return;
  }
  const pointer = readPointer(record);
  if (faultPending()) return;
  if (!isPageAddress(pointer) || revisionAt(pointer) != X.VMCS_REVISION) {
    failInvalid();
    return;
  }
  cpu.vmxonPointer = pointer;
  setCurrent(NONE);
  cpu.vmxOn = 1;
  succeed();
}

export function vmxoff(record: usize): void {
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    vmExitPlain(record, X.EXIT_REASON_VMXOFF);
    return;
  }
  if (!requireRing0()) return;
  cpu.vmxOn = 0;
  setCurrent(NONE);
  succeed();
  if (cpu.initBlocked != 0) {
    cpu.initBlocked = 0;
    atomic.or<u32>(CPU + CPU_ATTENTION, ATTENTION_INIT);
  }
}

export function vmclear(record: usize): void {
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxMemory(record, X.EXIT_REASON_VMCLEAR);
    return;
  }
  if (!requireRing0()) return;
  const pointer = readPointer(record);
  if (faultPending()) return;
  if (!isPageAddress(pointer)) {
    fail(VMCLEAR_BAD_ADDRESS);
    return;
  }
  if (pointer == cpu.vmxonPointer) {
    fail(VMCLEAR_VMXON_POINTER);
    return;
  }
  const at = ramAddress(pointer, 4096);
  if (at != 0) {
    store<u32>(at, 0, X.VMCS_LAUNCH_STATE_AT);
    // What the region holds may be anything: all checks are due.
    store<u32>(at, 1, X.VMCS_DIRTY_AT);
    if (isGuarded(at)) noteWrite(at, 16);
  }
  if (pointer == cpu.vmcsPointer) setCurrent(NONE);
  succeed();
}

export function vmptrld(record: usize): void {
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxMemory(record, X.EXIT_REASON_VMPTRLD);
    return;
  }
  if (!requireRing0()) return;
  const pointer = readPointer(record);
  if (faultPending()) return;
  if (!isPageAddress(pointer)) {
    fail(VMPTRLD_BAD_ADDRESS);
    return;
  }
  if (pointer == cpu.vmxonPointer) {
    fail(VMPTRLD_VMXON_POINTER);
    return;
  }
  const word = revisionAt(pointer);
  const canShadow = (cpu.vmxSecondaryMay & X.SECONDARY_VMCS_SHADOWING) != 0;
  if ((word & ~SHADOW_INDICATOR) != X.VMCS_REVISION || ((word & SHADOW_INDICATOR) != 0 && !canShadow)) {
    fail(VMPTRLD_REVISION);
    return;
  }
  setCurrent(pointer);
  succeed();
}

export function vmptrst(record: usize): void {
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxMemory(record, X.EXIT_REASON_VMPTRST);
    return;
  }
  if (!requireRing0()) return;
  const linear = Address.forWrite(record, 8);
  if (faultPending() || !Linear.write<u64>(linear, cpu.vmcsPointer)) return;
  succeed();
}

/** The VMCS that VMREAD and VMWRITE work on: the current one, or in non-root operation the shadow. 0 with VMfailInvalid. */
function accessedVmcs(): usize {
  if (cpu.vmxNonRoot == 0) {
    if (cpu.vmcs == 0) failInvalid();
    return <usize>cpu.vmcs;
  }
  const link = Vmcs.get(X.VMCS_VMCS_LINK_POINTER);
  const at = link == NONE ? 0 : ramAddress(link, 4096);
  if (at == 0) failInvalid();
  return at;
}

/** In non-root operation: VMREAD and VMWRITE exit unless "VMCS shadowing" and the bitmap let them through. */
function isShadowed(encoding: u64, bitmapSlot: usize): bool {
  if ((cpu.proc2Controls & X.SECONDARY_VMCS_SHADOWING) == 0 || encoding >> 15 != 0) return false;
  const at = ramAddress(Vmcs.get(bitmapSlot) + (encoding >> 3), 1);
  return at != 0 && ((load<u8>(at) >> ((<u8>encoding) & 7)) & 1) == 0;
}

function operand(record: usize, isDestination: bool): u64 {
  if (is64()) return isDestination ? Op.dst<u64>(record) : Op.src<u64>(record);
  return isDestination ? <u64>Op.dst<u32>(record) : <u64>Op.src<u32>(record);
}

export function vmread(record: usize): void {
  if (!isInVmxOperation()) return;
  const encoding = operand(record, false);
  if (cpu.vmxNonRoot != 0 && !isShadowed(encoding, X.VMCS_VMREAD_BITMAP)) {
    exitOnVmxRegisters(record, X.EXIT_REASON_VMREAD);
    return;
  }
  if (!requireRing0()) return;
  const vmcs = accessedVmcs();
  if (vmcs == 0) return;
  const slot = fieldSlot(encoding);
  if (slot == NO_FIELD) {
    fail(UNSUPPORTED_COMPONENT);
    return;
  }
  const value = readField(vmcs, slot, <u32>encoding);
  if ((load<u8>(record, R_FLAGS) & RECORD_REGISTER) != 0) {
    if (is64()) Op.setDst<u64>(record, value);
    else Op.setDst<u32>(record, <u32>value);
  } else {
    const linear = Address.forWrite(record, is64() ? 8 : 4);
    if (faultPending()) return;
    if (is64() ? !Linear.write<u64>(linear, value) : !Linear.write<u32>(linear, <u32>value)) return;
  }
  succeed();
}

export function vmwrite(record: usize): void {
  if (!isInVmxOperation()) return;
  const encoding = operand(record, true);
  if (cpu.vmxNonRoot != 0 && !isShadowed(encoding, X.VMCS_VMWRITE_BITMAP)) {
    exitOnVmxRegisters(record, X.EXIT_REASON_VMWRITE);
    return;
  }
  if (!requireRing0()) return;
  const vmcs = accessedVmcs();
  if (vmcs == 0) return;
  let value: u64;
  if ((load<u8>(record, R_FLAGS) & RECORD_REGISTER) != 0) value = operand(record, false);
  else {
    const linear = Address.forRead(record, is64() ? 8 : 4);
    if (faultPending()) return;
    value = is64() ? Linear.read<u64>(linear) : <u64>Linear.read<u32>(linear);
    if (faultPending()) return;
  }
  const slot = fieldSlot(encoding);
  if (slot == NO_FIELD) {
    fail(UNSUPPORTED_COMPONENT);
    return;
  }
  if (isReadOnlyField(<u32>encoding) && (cpu.vmxMisc & X.MISC_WRITE_ANY_FIELD) == 0) {
    fail(VMWRITE_READ_ONLY);
    return;
  }
  writeField(vmcs, slot, <u32>encoding, value);
  if (isGuarded(vmcs)) noteWrite(vmcs, 4096);
  succeed();
}

export function vmlaunch(record: usize): void {
  enter(record, X.EXIT_REASON_VMLAUNCH, true);
}
export function vmresume(record: usize): void {
  enter(record, X.EXIT_REASON_VMRESUME, false);
}

/** The first half of a VM entry: what fails here is VMfail; the boundary does the rest (run-loop.ts, `enterPendingGuest`). */
function enter(record: usize, reason: u32, isLaunch: bool): void {
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    vmExitPlain(record, reason);
    return;
  }
  if (!requireRing0()) return;
  if (cpu.vmcs == 0 || (load<u32>(<usize>cpu.vmcs) & SHADOW_INDICATOR) != 0) {
    failInvalid();
    return;
  }
  if ((cpu.shadowBefore & 2) != 0) {
    fail(ENTRY_BLOCKED_BY_MOV_SS);
    return;
  }
  const isLaunched = load<u32>(<usize>cpu.vmcs, X.VMCS_LAUNCH_STATE_AT) != 0;
  if (isLaunch == isLaunched) {
    fail(isLaunch ? VMLAUNCH_NOT_CLEAR : VMRESUME_NOT_LAUNCHED);
    return;
  }
  const error = checkForVmFail();
  if (error != 0) {
    fail(error);
    return;
  }
  cpu.entryPending = 1;
  cpu.leave = 1;
}

export function vmcall(record: usize): void {
  if (cpu.vmxOn == 0) {
    raiseUd();
    return;
  }
  if (cpu.vmxNonRoot != 0) {
    exitOnVmcall(record);
    return;
  }
  if (!hasModeForVmx()) {
    raiseUd();
    return;
  }
  // The dual-monitor treatment of SMIs is not there.
  if (requireRing0()) fail(VMCALL_IN_ROOT);
}

/** EPTP switching is the only function. */
export function vmfunc(record: usize): void {
  const number = <u32>getGpr(RAX);
  if (cpu.vmxNonRoot == 0 || (cpu.proc2Controls & X.SECONDARY_ENABLE_VM_FUNCTIONS) == 0 || number > 63) {
    raiseUd();
    return;
  }
  const isEnabled = ((Vmcs.get(X.VMCS_VM_FUNCTION_CONTROLS) >> number) & 1) != 0;
  if (!isEnabled || !switchEptp(<u32>getGpr(RCX))) vmExitPlain(record, X.EXIT_REASON_VMFUNC);
}

/** The 128-bit descriptor of INVEPT and INVVPID: its low half; the high one goes to `cpu.descriptorHigh`. */
function readDescriptor128(record: usize): u64 {
  const linear = Address.forRead(record, 16);
  if (faultPending()) return 0;
  const low = Linear.read<u64>(linear);
  if (faultPending()) return 0;
  cpu.descriptorHigh = Linear.read<u64>(linear + 8);
  return low;
}

export function invept(record: usize): void {
  if ((cpu.vmxEptCapability & X.EPT_CAPABILITY_INVEPT) == 0) {
    raiseUd();
    return;
  }
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxRegisters(record, X.EXIT_REASON_INVEPT);
    return;
  }
  if (!requireRing0()) return;
  const type = operand(record, true);
  const eptp = readDescriptor128(record);
  if (faultPending()) return;
  const isSupported =
    (type == 1 && (cpu.vmxEptCapability & X.EPT_CAPABILITY_INVEPT_SINGLE) != 0) ||
    (type == 2 && (cpu.vmxEptCapability & X.EPT_CAPABILITY_INVEPT_ALL) != 0);
  if (!isSupported || (type == 1 && eptpRule(eptp) != 0) || cpu.descriptorHigh != 0) {
    fail(INVALIDATE_BAD_OPERAND);
    return;
  }
  dropContextsOfEpt(type == 1 ? eptp : 0);
  bumpJumpGeneration();
  updateContext();
  succeed();
}

export function invvpid(record: usize): void {
  if ((cpu.vmxVpidCapability & X.VPID_CAPABILITY_INVVPID) == 0) {
    raiseUd();
    return;
  }
  if (!isInVmxOperation()) return;
  if (cpu.vmxNonRoot != 0) {
    exitOnVmxRegisters(record, X.EXIT_REASON_INVVPID);
    return;
  }
  if (!requireRing0()) return;
  const type = operand(record, true);
  const low = readDescriptor128(record);
  if (faultPending()) return;
  const isSupported = type < 4 && ((cpu.vmxVpidCapability >> (8 + <u32>type)) & 1) != 0;
  const vpid = (<u32>low) & 0xffff;
  if (
    !isSupported ||
    low >> 16 != 0 ||
    (type != 2 && vpid == 0) ||
    (type == 0 && !isLoadable(cpu.descriptorHigh))
  ) {
    fail(INVALIDATE_BAD_OPERAND);
    return;
  }
  // Dropping more than asked for is allowed: all of a VPID for one address, global translations too.
  if (type == 2) dropContextsOfVpids();
  else dropContexts(vpid, -1);
  bumpJumpGeneration();
  updateContext();
  succeed();
}

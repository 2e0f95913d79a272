/** VM entry (SDM Vol. 3C, "VM Entries"): checks, loading the guest state, injecting an event. */
import * as X from "../spec/vmx";
import {
  CPU_DR,
  CPU_PDPTE,
  CPU_SEG_BASE,
  CPU_SEG_LIMIT,
  CPU_SEG_RIGHTS,
  CPU_SEG_SELECTOR,
} from "../layout.generated";
import {
  AR_DPL_SHIFT,
  CR0_PE,
  CR0_PG,
  EFER_LMA,
  EFER_LME,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_VM,
} from "../spec/architecture";
import { ACTIVE, CPU, HALTED, RSP, SHUTDOWN, SS, cpu, setGpr } from "../state/cpu";
import { NEVER, now } from "../state/clock";
import { setArithmeticFlags } from "../state/flags";
import { segRights, updateContext, updateMode } from "../state/mode";
import { dropContexts } from "../mmu/contexts";
import { deliver } from "../interrupts/deliver";
import {
  checkControls,
  checkHostState,
  checkInjection,
  isGuestStateValid,
  isVolatileGuestStatePlain,
  isVolatileGuestStateValid,
} from "./entry-checks";
import { ENTRY_FAILURE, INFO_VALID, PREEMPTION_SHIFT, vmExit } from "./exit";
import { updateBreakpoints } from "../interrupts/debug";
import { Vmcs } from "./vmcs";

/** Pending debug exceptions: B0 to B3 and BS, where DR6 has them. */
const PENDING_DEBUG_BITS: u32 = 0x400f;

/** What `vmEnter` answers. */
export const ENTERED: u32 = 0;
/** VMfailValid: the VM-instruction error field holds the number. */
export const FAILED_VALID: u32 = 1;
/** The entry failed after the host checks: an exit with bit 31 of the reason set. */
export const FAILED_EXIT: u32 = 2;

function failValid(error: u32): u32 {
  Vmcs.set(X.VMCS_VM_INSTRUCTION_ERROR, <u64>error);
  return FAILED_VALID;
}

/**
 * Enters the guest of the current VMCS. After ENTERED the CPU is in VMX non-root operation and `run` runs the guest.
 *
 * Checks of fields that have not been written since they last passed are skipped, and so is loading them where the block
 * still holds them; the CPU's own saving of guest state leaves a state that passes.
 */
export function vmEnter(): u32 {
  const region = <usize>cpu.vmcs;
  const dirty = load<u32>(region, X.VMCS_DIRTY_AT) != 0;
  if (dirty) {
    const error = checkControls();
    if (error != 0) return failValid(error);
    const hostError = checkHostState();
    if (hostError != 0) return failValid(hostError);
    cpu.vmxEntryChecksDone++;
  } else cpu.vmxEntryChecksSkipped++;
  if (!dirty && isVolatileGuestStatePlain()) {
    loadWritable();
    return ENTERED;
  }
  const injection = checkInjection();
  if (injection != 0) return failValid(injection);
  if (!isVolatileGuestStateValid() || (dirty && !isGuestStateValid())) {
    vmExit(X.EXIT_REASON_INVALID_GUEST_STATE | ENTRY_FAILURE, 0);
    cpu.faultVector = -1;
    return FAILED_EXIT;
  }
  store<u32>(region, 1, X.VMCS_LAUNCH_STATE_AT);
  loadState(dirty);
  store<u32>(region, 0, X.VMCS_DIRTY_AT);
  injectEvent();
  return ENTERED;
}

/** Loads controls and guest state: all of them, or what can differ from what the block has kept since the last exit. */
function loadState(dirty: bool): void {
  if (!dirty && cpu.vmcsKept == cpu.vmcs) {
    loadWritable();
    return;
  }
  cpu.vmcsSavesAll = savesAllThatIsLoaded() ? 1 : 0;
  cpu.guestStateChanged = 1;
  loadControls();
  loadWritableControls();
  loadGuestState();
}

function loadControls(): void {
  cpu.pinControls = Vmcs.get32(X.VMCS_PIN_BASED_CONTROLS);
  cpu.procControls = Vmcs.get32(X.VMCS_PRIMARY_CONTROLS);
  cpu.proc2Controls =
    (cpu.procControls & X.PRIMARY_SECONDARY_CONTROLS) != 0 ? Vmcs.get32(X.VMCS_SECONDARY_CONTROLS) : 0;
  cpu.cr0Mask = Vmcs.get(X.VMCS_CR0_MASK);
  cpu.cr0Shadow = Vmcs.get(X.VMCS_CR0_READ_SHADOW);
  cpu.cr4Mask = Vmcs.get(X.VMCS_CR4_MASK);
  cpu.cr4Shadow = Vmcs.get(X.VMCS_CR4_READ_SHADOW);
  cpu.eptp = (cpu.proc2Controls & X.SECONDARY_ENABLE_EPT) != 0 ? Vmcs.get(X.VMCS_EPT_POINTER) : 0;
  cpu.vpid =
    (cpu.proc2Controls & X.SECONDARY_ENABLE_VPID) != 0
      ? (<u32>Vmcs.get(X.VMCS_VIRTUAL_PROCESSOR_ID)) & 0xffff
      : 0;
}

/** Controls that do not make the VMCS dirty: loaded at every entry. */
function loadWritableControls(): void {
  cpu.exceptionBitmap = Vmcs.get32(X.VMCS_EXCEPTION_BITMAP);
  cpu.tscOffset = (cpu.procControls & X.PRIMARY_TSC_OFFSETTING) != 0 ? Vmcs.get(X.VMCS_TSC_OFFSET) : 0;
  cpu.preemptionDeadline =
    (cpu.pinControls & X.PIN_PREEMPTION_TIMER) != 0
      ? now() + (Vmcs.get(X.VMCS_PREEMPTION_TIMER_VALUE) << PREEMPTION_SHIFT)
      : NEVER;
}

/** Loads controls and guest state for one instruction of the hypervisor's emulator: no checks, no event. */
export function loadForEmulation(): void {
  loadState(load<u32>(<usize>cpu.vmcs, X.VMCS_DIRTY_AT) != 0);
  cpu.activity = ACTIVE;
}

/** Fields that do not make the VMCS dirty, where all others are as the last exit left them. */
function loadWritable(): void {
  loadWritableControls();
  loadWritableState();
  cpu.vmxNonRoot = 1;
  const flags = Vmcs.get(X.VMCS_GUEST_RFLAGS);
  if (flags != cpu.flagsSaved) {
    loadFlags(flags);
    // RFLAGS.VM and AC decide on mode, privilege and translation context.
    if (((flags ^ cpu.flagsSaved) & (FLAG_VM | FLAG_AC)) != 0) derive();
  }
  // Without VPID, entry and exit flush linear and combined mappings.
  if (cpu.vpid == 0) dropContexts(0, -1);
  if (cpu.contextStale != 0) updateContext();
}

function loadWritableState(): void {
  setGpr(RSP, Vmcs.get(X.VMCS_GUEST_RSP));
  cpu.rip = Vmcs.get(X.VMCS_GUEST_RIP);
  cpu.interruptibility = Vmcs.get32(X.VMCS_GUEST_INTERRUPTIBILITY);
  const activity = Vmcs.get32(X.VMCS_GUEST_ACTIVITY_STATE);
  cpu.activity = activity == 1 ? HALTED : activity == 2 ? SHUTDOWN : ACTIVE;
  cpu.debugHits = Vmcs.get32(X.VMCS_GUEST_PENDING_DEBUG) & PENDING_DEBUG_BITS;
}

function loadFlags(image: u64): void {
  setArithmeticFlags(image);
  cpu.rflags = image & ~FLAGS_ARITHMETIC;
}

/** What follows from the guest state that has been loaded. */
function derive(): void {
  cpu.cpl =
    (cpu.cr0 & CR0_PE) == 0
      ? 0
      : (cpu.rflags & FLAG_VM) != 0
        ? 3
        : (<u32>(segRights(SS) >> AR_DPL_SHIFT)) & 3;
  updateMode();
  updateContext();
}

/** Each optional group that entries load is one that exits save: so the block and the VMCS agree after an exit. */
function savesAllThatIsLoaded(): bool {
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  const exit = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  return (
    ((entry & X.ENTRY_LOAD_DEBUG_CONTROLS) == 0 || (exit & X.EXIT_SAVE_DEBUG_CONTROLS) != 0) &&
    ((entry & X.ENTRY_LOAD_PAT) == 0 || (exit & X.EXIT_SAVE_PAT) != 0) &&
    ((entry & X.ENTRY_LOAD_EFER) == 0 || (exit & X.EXIT_SAVE_EFER) != 0)
  );
}

function restore(slot: usize, at: usize): void {
  store<u64>(CPU + at, load<u64>(<usize>cpu.vmcs + slot));
}

/** Loads the guest-state area. */
function loadGuestState(): void {
  const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
  cpu.cr0 = Vmcs.get(X.VMCS_GUEST_CR0);
  cpu.cr3 = Vmcs.get(X.VMCS_GUEST_CR3);
  cpu.cr4 = Vmcs.get(X.VMCS_GUEST_CR4);
  const vmcs = <usize>cpu.vmcs;
  for (let i: usize = 0; i < 64; i += 16) {
    v128.store(CPU + CPU_SEG_SELECTOR + i, v128.load(vmcs + X.VMCS_GUEST_ES_SELECTOR + i));
    v128.store(CPU + CPU_SEG_RIGHTS + i, v128.load(vmcs + X.VMCS_GUEST_ES_ACCESS_RIGHTS + i));
  }
  for (let i: usize = 0; i < 80; i += 16) {
    v128.store(CPU + CPU_SEG_BASE + i, v128.load(vmcs + X.VMCS_GUEST_ES_BASE + i));
    v128.store(CPU + CPU_SEG_LIMIT + i, v128.load(vmcs + X.VMCS_GUEST_ES_LIMIT + i));
  }
  cpu.sysenterCs = Vmcs.get(X.VMCS_GUEST_SYSENTER_CS);
  cpu.sysenterEsp = Vmcs.get(X.VMCS_GUEST_SYSENTER_ESP);
  cpu.sysenterEip = Vmcs.get(X.VMCS_GUEST_SYSENTER_EIP);
  if (entry & X.ENTRY_LOAD_DEBUG_CONTROLS) {
    restore(X.VMCS_GUEST_DR7, CPU_DR + 56);
    updateBreakpoints();
    cpu.debugCtl = Vmcs.get(X.VMCS_GUEST_DEBUGCTL);
  }
  if (entry & X.ENTRY_LOAD_PAT) cpu.pat = Vmcs.get(X.VMCS_GUEST_PAT);
  if (entry & X.ENTRY_LOAD_EFER) cpu.efer = Vmcs.get(X.VMCS_GUEST_EFER);
  else {
    const long = (entry & X.ENTRY_IA32E_MODE_GUEST) != 0;
    cpu.efer = (cpu.efer & ~EFER_LMA) | (long ? EFER_LMA : 0);
    if (cpu.cr0 & CR0_PG) cpu.efer = (cpu.efer & ~EFER_LME) | (long ? EFER_LME : 0);
  }
  if ((cpu.proc2Controls & X.SECONDARY_ENABLE_EPT) != 0)
    for (let i: usize = 0; i < 4; i++) restore(X.VMCS_GUEST_PDPTE0 + (i << 3), CPU_PDPTE + (i << 3));
  loadWritableState();
  loadFlags(Vmcs.get(X.VMCS_GUEST_RFLAGS));
  cpu.vmxNonRoot = 1;
  if (cpu.vpid == 0) dropContexts(0, -1);
  derive();
}

/** Delivers the event that the VM-entry interruption information names. False when it names none. */
export function injectEvent(): bool {
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  if ((info & INFO_VALID) == 0) return false;
  Vmcs.set(X.VMCS_ENTRY_INTERRUPTION_INFO, <u64>(info & 0x7fffffff));
  const source = (info >> 8) & 7;
  const vector = <i32>(info & 0xff);
  cpu.activity = ACTIVE;
  let rip = cpu.rip;
  if (source >= 4) {
    cpu.softwareLength = Vmcs.get32(X.VMCS_ENTRY_INSTRUCTION_LENGTH);
    rip += <u64>cpu.softwareLength;
  }
  if (source == 2) cpu.interruptibility |= 8;
  // An injected event is not intercepted; faults on its way are.
  cpu.injecting = 1;
  deliver(vector, source, (info & (1 << 11)) != 0, Vmcs.get32(X.VMCS_ENTRY_EXCEPTION_ERROR_CODE), rip);
  cpu.injecting = 0;
  return true;
}

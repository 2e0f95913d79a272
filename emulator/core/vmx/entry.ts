/** VM entry (SDM Vol. 3C, "VM Entries"): checks, loading the guest state, injecting an event. */
import * as X from "../spec/vmx";
import {
  CPU_ATTENTION,
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
import {
  ACTIVE,
  ATTENTION_INIT,
  CPU,
  HALTED,
  RSP,
  SHUTDOWN,
  SS,
  WAIT_FOR_SIPI,
  cpu,
  setGpr,
} from "../state/cpu";
import { NEVER, now, timeStamp } from "../state/clock";
import { setArithmeticFlags } from "../state/flags";
import { segRights, updateContext, updateMode } from "../state/mode";
import { dropContexts } from "../mmu/contexts";
import { deliver } from "../interrupts/deliver";
import { ramAddress } from "../mmu/physical";
import { checkControls, checkVolatileControls } from "./control-checks";
import { checkHostState, checkVolatileHostState } from "./host-checks";
import {
  FAILURE_LINK,
  FAILURE_PDPTE,
  arePdptesValid,
  isGuestStateValid,
  isLinkPointerValid,
  isVolatileGuestStatePlain,
  isVolatileGuestStateValid,
  pdpteInMemory,
  usesPaePaging,
} from "./guest-checks";
import { loadEntryMsrs } from "./msr-areas";
import { CR0_KEPT } from "./fixed-bits";
import { ENTRY_FAILURE, INFO_VALID, PREEMPTION_SHIFT, countExit } from "./exit";
import { TRAP_EXIT_MTF, requestTrapExit } from "./trap-exits";
import { NO_PAGE, startVirtualApic } from "./virtual-apic";
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

/**
 * The checks whose breach is VMfailValid: controls and host state. Fields that have not been written since they last passed are
 * not looked at again.
 * @returns VM-instruction error, 0 for none
 */
export function checkForVmFail(): u32 {
  cpu.entryRule = 0;
  if (isDirty()) {
    const error = checkControls();
    if (error != 0) return error;
    const hostError = checkHostState();
    if (hostError != 0) return hostError;
    cpu.vmxEntryChecksDone++;
  } else cpu.vmxEntryChecksSkipped++;
  const error = checkVolatileControls();
  return error != 0 ? error : checkVolatileHostState();
}

function isDirty(): bool {
  return load<u32>(<usize>cpu.vmcs, X.VMCS_DIRTY_AT) != 0;
}

/**
 * The second half of a VM entry: checks and loads the guest state, loads MSRs, injects the event.
 *
 * Checks of fields that have not been written since they last passed are skipped, and so is loading them where the block
 * still holds them; the CPU's own saving of guest state leaves a state that passes.
 * @returns ENTERED, or FAILED_EXIT with exit reason and qualification in the VMCS
 */
export function enterGuest(): u32 {
  const dirty = isDirty();
  if (!isLinkPointerValid()) return failEntry(X.EXIT_REASON_INVALID_GUEST_STATE, FAILURE_LINK);
  if (!isVolatileGuestStateValid() || (dirty && !isGuestStateValid()))
    return failEntry(X.EXIT_REASON_INVALID_GUEST_STATE, 0);
  if (!arePdptesValid()) return failEntry(X.EXIT_REASON_INVALID_GUEST_STATE, FAILURE_PDPTE);
  loadState(dirty);
  const badMsr = loadEntryMsrs();
  if (badMsr != 0) {
    cpu.vmxNonRoot = 0;
    return failEntry(X.EXIT_REASON_MSR_LOAD_FAIL, <u64>badMsr);
  }
  store<u32>(<usize>cpu.vmcs, 1, X.VMCS_LAUNCH_STATE_AT);
  store<u32>(<usize>cpu.vmcs, 0, X.VMCS_DIRTY_AT);
  startVirtualApic();
  const info = Vmcs.get32(X.VMCS_ENTRY_INTERRUPTION_INFO);
  if ((info & INFO_VALID) != 0) {
    injectEvent(info);
    // "An MTF VM exit is pending on the instruction boundary following the VM entry", whatever was injected.
    if ((cpu.procControls & X.PRIMARY_MONITOR_TRAP_FLAG) != 0 && cpu.vmxNonRoot != 0)
      requestTrapExit(TRAP_EXIT_MTF, 0);
  }
  if (cpu.initBlocked != 0) {
    cpu.initBlocked = 0;
    atomic.or<u32>(CPU + CPU_ATTENTION, ATTENTION_INIT);
  }
  return ENTERED;
}

/** Reason and qualification of a failed entry; nothing else of the VMCS changes. */
function failEntry(reason: u32, qualification: u64): u32 {
  Vmcs.set(X.VMCS_EXIT_REASON, <u64>(reason | ENTRY_FAILURE));
  Vmcs.set(X.VMCS_EXIT_QUALIFICATION, qualification);
  countExit(reason);
  cpu.vmcsKept = 0;
  return FAILED_EXIT;
}

/** For the hypervisor outside the machine: VMRESUME of the current VMCS. After ENTERED `run` runs the guest. */
export function vmEnter(): u32 {
  if (!isDirty() && isVolatileGuestStatePlain()) {
    cpu.vmxEntryChecksSkipped++;
    loadWritable();
    return ENTERED;
  }
  const error = checkForVmFail();
  if (error != 0) {
    Vmcs.set(X.VMCS_VM_INSTRUCTION_ERROR, <u64>error);
    return FAILED_VALID;
  }
  return enterGuest();
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
  cpu.tscMultiplier =
    (cpu.procControls & X.PRIMARY_TSC_OFFSETTING) != 0 &&
    (cpu.proc2Controls & X.SECONDARY_USE_TSC_SCALING) != 0
      ? Vmcs.get(X.VMCS_TSC_MULTIPLIER)
      : 0;
  cpu.apicAccessPage =
    (cpu.proc2Controls & X.SECONDARY_VIRTUALIZE_APIC_ACCESSES) != 0
      ? Vmcs.get(X.VMCS_APIC_ACCESS_ADDRESS)
      : NO_PAGE;
  cpu.virtualApic =
    (cpu.procControls & X.PRIMARY_USE_TPR_SHADOW) != 0
      ? <u32>ramAddress(Vmcs.get(X.VMCS_VIRTUAL_APIC_ADDRESS), 4096)
      : 0;
}

/** Controls that do not make the VMCS dirty: loaded at every entry. */
function loadWritableControls(): void {
  cpu.exceptionBitmap = Vmcs.get32(X.VMCS_EXCEPTION_BITMAP);
  cpu.tscOffset = (cpu.procControls & X.PRIMARY_TSC_OFFSETTING) != 0 ? Vmcs.get(X.VMCS_TSC_OFFSET) : 0;
  cpu.preemptionDeadline =
    (cpu.pinControls & X.PIN_PREEMPTION_TIMER) != 0
      ? preemptionDeadline(Vmcs.get(X.VMCS_PREEMPTION_TIMER_VALUE) & 0xffffffff)
      : NEVER;
}

/** When the time-stamp counter has had `value` more changes of its bit PREEMPTION_SHIFT. */
function preemptionDeadline(value: u64): u64 {
  const stamp = timeStamp();
  return now() + ((((stamp >> PREEMPTION_SHIFT) + value) << PREEMPTION_SHIFT) - stamp);
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
  cpu.activity = activity == 0 ? ACTIVE : activity == 1 ? HALTED : activity == 2 ? SHUTDOWN : WAIT_FOR_SIPI;
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
  cpu.cr0 = (Vmcs.get(X.VMCS_GUEST_CR0) & ~CR0_KEPT) | (cpu.cr0 & CR0_KEPT);
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
  if (usesPaePaging())
    for (let i: usize = 0; i < 4; i++)
      store<u64>(
        CPU + CPU_PDPTE + (i << 3),
        cpu.eptp != 0 ? Vmcs.get(X.VMCS_GUEST_PDPTE0 + (i << 3)) : pdpteInMemory(i),
      );
  loadWritableState();
  loadFlags(Vmcs.get(X.VMCS_GUEST_RFLAGS));
  cpu.vmxNonRoot = 1;
  if (cpu.vpid == 0) dropContexts(0, -1);
  derive();
}

/** "Event Injection". Nothing can read the field before the exit that is to clear its valid bit: it is cleared here. */
function injectEvent(info: u32): void {
  Vmcs.set(X.VMCS_ENTRY_INTERRUPTION_INFO, <u64>(info & 0x7fffffff));
  const source = (info >> 8) & 7;
  const vector = <i32>(info & 0xff);
  // "Other event", vector 0: a pending MTF VM exit.
  if (source == 7) {
    requestTrapExit(TRAP_EXIT_MTF, 0);
    return;
  }
  cpu.activity = ACTIVE;
  // Debug exceptions that were pending are lost behind the event ("Delivery of Pending Debug Exceptions after VM Entry").
  cpu.debugHits = 0;
  cpu.interruptibility &= ~(<u32>3);
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
}

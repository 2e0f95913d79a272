/**
 * VM exits (SDM Vol. 3C, "VM Exits"): recording why, saving the guest state, and loading the host state or returning to
 * the hypervisor outside the machine.
 */
import {
  CPU_DR,
  CPU_EXITS,
  CPU_PDPTE,
  CPU_SEG_BASE,
  CPU_SEG_LIMIT,
  CPU_SEG_RIGHTS,
  CPU_SEG_SELECTOR,
} from "../layout.generated";
import * as X from "../spec/vmx";
import {
  ACTIVE,
  CPU,
  CS,
  DS,
  ES,
  FS,
  GS,
  HALTED,
  LDTR,
  RSP,
  SHUTDOWN,
  SS,
  TR,
  WAIT_FOR_SIPI,
  cpu,
  getGpr,
  setGpr,
} from "../state/cpu";
import { getFlags, setArithmeticFlags } from "../state/flags";
import { now, NEVER, timeStamp } from "../state/clock";
import { setSegment, updateContext, updateMode } from "../state/mode";
import { dropContexts } from "../mmu/contexts";
import { disarmMonitor } from "../mmu/monitor";
import { updateMedia } from "../state/media";
import { setDebugRegister, updateBreakpoints } from "../interrupts/debug";
import { loadPdptes } from "../instructions/control-registers";
import { FAULT_VM_EXIT, NO_FAULT } from "../interrupts/raise";
import { R_LENGTH } from "../records/record";
import {
  AR_CODE,
  AR_DB,
  AR_G,
  AR_L,
  AR_P,
  AR_RW,
  AR_S,
  AR_ACCESSED,
  AR_UNUSABLE,
  CR4_PAE,
  CR4_PCIDE,
  EFER_LMA,
  EFER_LME,
} from "../spec/architecture";
import { CR0_KEPT } from "./fixed-bits";
import { loadExitMsrs, storeExitMsrs } from "./msr-areas";
import { NO_PAGE, saveInterruptStatus } from "./virtual-apic";
import { Vmcs } from "./vmcs";

export const ENTRY_FAILURE: u32 = 0x80000000;

/** Valid bit of the interruption-information fields. */
export const INFO_VALID: u32 = 0x80000000;
export const INFO_ERROR_VALID: u32 = 1 << 11;
export const INFO_NMI_UNBLOCKING: u32 = 1 << 12;

/**
 * Records an exit in the VMCS and stops the instruction. The guest state is saved when the run loop has put RIP
 * back (`completeExit`).
 */
export function vmExit(reason: u32, qualification: u64): void {
  const vmcs = <usize>cpu.vmcs;
  store<u64>(vmcs, <u64>reason, X.VMCS_EXIT_REASON);
  store<u64>(vmcs, qualification, X.VMCS_EXIT_QUALIFICATION);
  store<u64>(vmcs, 0, X.VMCS_EXIT_INTERRUPTION_INFO);
  store<u64>(vmcs, 0, X.VMCS_EXIT_INSTRUCTION_LENGTH);
  store<u64>(vmcs, 0, X.VMCS_EXIT_INSTRUCTION_INFO);
  let vectoring: u32 = 0;
  if (cpu.deliveringVector >= 0) {
    vectoring = interruptionInfo(
      <u32>cpu.deliveringVector,
      cpu.deliveringSource,
      cpu.deliveringHasError != 0,
    );
    if (cpu.deliveringHasError != 0) Vmcs.set(X.VMCS_IDT_VECTORING_ERROR_CODE, <u64>cpu.deliveringError);
    if (cpu.deliveringSource >= 4) Vmcs.set(X.VMCS_EXIT_INSTRUCTION_LENGTH, <u64>cpu.softwareLength);
  }
  store<u64>(vmcs, <u64>vectoring, X.VMCS_IDT_VECTORING_INFO);
  countExit(reason);
  cpu.faultVector = FAULT_VM_EXIT;
  cpu.recordEnd = 0;
  cpu.leave = 1;
}

export function countExit(reason: u32): void {
  const counter = CPU + CPU_EXITS + ((<usize>(reason & 0xffff)) << 3);
  store<u64>(counter, load<u64>(counter) + 1);
}

/** An exit because of the instruction that `record` describes: with its length. */
export function vmExitInstruction(record: usize, reason: u32, qualification: u64): void {
  vmExit(reason, qualification);
  Vmcs.set(X.VMCS_EXIT_INSTRUCTION_LENGTH, <u64>load<u8>(record, R_LENGTH));
}

/** Interruption-information word: vector, type, error-code bit, valid. */
export function interruptionInfo(vector: u32, source: u32, hasError: bool): u32 {
  return vector | (source << 8) | (hasError ? INFO_ERROR_VALID : 0) | INFO_VALID;
}

function save(slot: usize, at: usize): void {
  store<u64>(<usize>cpu.vmcs + slot, load<u64>(CPU + at));
}

/**
 * Saves the guest state (SDM, "Saving Guest State"). RIP and RFLAGS are those that the run loop left. What has not changed
 * since it was last saved is in the VMCS already.
 */
export function saveGuestState(): void {
  const vmcs = <usize>cpu.vmcs;
  const flags = getFlags();
  cpu.flagsSaved = flags;
  store<u64>(vmcs, getGpr(RSP), X.VMCS_GUEST_RSP);
  store<u64>(vmcs, cpu.rip, X.VMCS_GUEST_RIP);
  store<u64>(vmcs, flags, X.VMCS_GUEST_RFLAGS);
  store<u64>(vmcs, <u64>cpu.interruptibility, X.VMCS_GUEST_INTERRUPTIBILITY);
  const activity = cpu.activity;
  store<u64>(
    vmcs,
    activity == HALTED ? 1 : activity == SHUTDOWN ? 2 : activity == WAIT_FOR_SIPI ? 3 : 0,
    X.VMCS_GUEST_ACTIVITY_STATE,
  );
  if (cpu.virtualApic != 0) saveInterruptStatus();
  store<u64>(vmcs, <u64>cpu.debugHits, X.VMCS_GUEST_PENDING_DEBUG);
  cpu.debugHits = 0;
  if (cpu.preemptionDeadline != NEVER) savePreemptionTimer();
  if (cpu.guestStateChanged != 0) saveChangedState();
}

function savePreemptionTimer(): void {
  if ((Vmcs.get32(X.VMCS_EXIT_CONTROLS) & X.EXIT_SAVE_PREEMPTION_TIMER) == 0) return;
  const at = now();
  const stamp = timeStamp();
  const left =
    cpu.preemptionDeadline <= at
      ? 0
      : ((stamp + cpu.preemptionDeadline - at) >> PREEMPTION_SHIFT) - (stamp >> PREEMPTION_SHIFT);
  Vmcs.set(X.VMCS_PREEMPTION_TIMER_VALUE, left);
}

/** The rest of the guest state: what `Cpu.guestStateChanged` stands for. */
function saveChangedState(): void {
  cpu.guestStateChanged = 0;
  const exitControls = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  Vmcs.set(X.VMCS_GUEST_CR0, cpu.cr0);
  Vmcs.set(X.VMCS_GUEST_CR3, cpu.cr3);
  Vmcs.set(X.VMCS_GUEST_CR4, cpu.cr4);
  // Segment registers are kept in the order of the guest-state area: whole groups.
  const vmcs = <usize>cpu.vmcs;
  for (let i: usize = 0; i < 64; i += 16) {
    v128.store(vmcs + X.VMCS_GUEST_ES_SELECTOR + i, v128.load(CPU + CPU_SEG_SELECTOR + i));
    v128.store(vmcs + X.VMCS_GUEST_ES_ACCESS_RIGHTS + i, v128.load(CPU + CPU_SEG_RIGHTS + i));
  }
  for (let i: usize = 0; i < 80; i += 16) {
    v128.store(vmcs + X.VMCS_GUEST_ES_BASE + i, v128.load(CPU + CPU_SEG_BASE + i));
    v128.store(vmcs + X.VMCS_GUEST_ES_LIMIT + i, v128.load(CPU + CPU_SEG_LIMIT + i));
  }
  Vmcs.set(X.VMCS_GUEST_SYSENTER_CS, cpu.sysenterCs);
  Vmcs.set(X.VMCS_GUEST_SYSENTER_ESP, cpu.sysenterEsp);
  Vmcs.set(X.VMCS_GUEST_SYSENTER_EIP, cpu.sysenterEip);
  // The entry control follows the guest's mode (IA32_VMX_MISC[5]), as with unrestricted guest it must.
  if ((cpu.vmxMisc & X.MISC_STORE_LMA) != 0) {
    const entry = Vmcs.get32(X.VMCS_ENTRY_CONTROLS);
    const mode: u32 = (cpu.efer & EFER_LMA) != 0 ? X.ENTRY_IA32E_MODE_GUEST : 0;
    Vmcs.set(X.VMCS_ENTRY_CONTROLS, <u64>((entry & ~X.ENTRY_IA32E_MODE_GUEST) | mode));
  }
  if (exitControls & X.EXIT_SAVE_DEBUG_CONTROLS) {
    save(X.VMCS_GUEST_DR7, CPU_DR + 56);
    Vmcs.set(X.VMCS_GUEST_DEBUGCTL, cpu.debugCtl);
  }
  if (exitControls & X.EXIT_SAVE_PAT) Vmcs.set(X.VMCS_GUEST_PAT, cpu.pat);
  if (exitControls & X.EXIT_SAVE_EFER) Vmcs.set(X.VMCS_GUEST_EFER, cpu.efer);
  if (cpu.proc2Controls & X.SECONDARY_ENABLE_EPT)
    for (let i: usize = 0; i < 4; i++) save(X.VMCS_GUEST_PDPTE0 + (i << 3), CPU_PDPTE + (i << 3));
}

/** The VMX-preemption timer counts down whenever bit 5 of the time-stamp counter changes (IA32_VMX_MISC). */
export const PREEMPTION_SHIFT: u64 = 5;

/**
 * Second half of an exit, at the instruction boundary. With the hypervisor outside the machine the CPU then waits for
 * it, and nothing else uses the block's guest state meanwhile: it stays, for the next entry. Else the host-state area is
 * loaded.
 */
export function completeExit(): void {
  // A hypervisor outside the machine charges for what it does itself. Within it a quarter passes before the guest's time
  // is taken (exit and entry are half each, saving half of an exit): what a guest reads and what the MSR-store area then
  // holds must lie close together, yet the VMX-preemption timer must see that an exit takes time.
  const cycles = cpu.hypervisorOutside == 0 ? cpu.vmxExitCycles : 0;
  cpu.charged += cycles >> 2;
  saveGuestState();
  leaveGuest();
  const stored = storeExitMsrs();
  cpu.charged += cycles - (cycles >> 2);
  if (cpu.hypervisorOutside != 0) {
    cpu.vmcsKept = cpu.vmcsSavesAll != 0 ? cpu.vmcs : 0;
    return;
  }
  if (!stored) abort(ABORT_SAVING_MSRS);
  else loadHostState();
}

/** After a failed VM entry: the host state, as an exit loads it. */
export function completeFailedEntry(): void {
  leaveGuest();
  loadHostState();
}

/** Root operation: no timer, no blocking by STI or MOV SS; blocking by NMI as "Loading Host State" and its last section have it. */
function leaveGuest(): void {
  const isNmi =
    (Vmcs.get32(X.VMCS_EXIT_REASON) & 0xffff) == X.EXIT_REASON_EXCEPTION_NMI &&
    (Vmcs.get32(X.VMCS_EXIT_INTERRUPTION_INFO) & 0x700) == 0x200;
  const hasVirtualNmis = (cpu.pinControls & X.PIN_VIRTUAL_NMIS) != 0;
  cpu.interruptibility = isNmi ? 8 : hasVirtualNmis ? 0 : cpu.interruptibility & 8;
  cpu.vmxNonRoot = 0;
  cpu.preemptionDeadline = NEVER;
  cpu.activity = ACTIVE;
  cpu.trapExits = 0;
  cpu.virtualApic = 0;
  cpu.apicAccessPage = NO_PAGE;
  // Neither exits nor entries leave a line monitored.
  if (cpu.monitored != 0) disarmMonitor();
}

/** VMX-abort indicators: SDM Vol. 3C, "VMX Aborts". */
const ABORT_SAVING_MSRS: u32 = 1;
const ABORT_HOST_PDPTE: u32 = 2;
const ABORT_LOADING_MSRS: u32 = 4;

function abort(indicator: u32): void {
  store<u32>(<usize>cpu.vmcs, indicator, X.VMCS_ABORT_AT);
  cpu.activity = SHUTDOWN;
}

/** SDM Vol. 3C, "Loading Host State". */
function loadHostState(): void {
  const controls = Vmcs.get32(X.VMCS_EXIT_CONTROLS);
  const is64Bit = (controls & X.EXIT_HOST_ADDRESS_SPACE_SIZE) != 0;
  cpu.vmcsKept = 0;
  cpu.eptp = 0;
  cpu.vpid = 0;
  cpu.cr0 = (Vmcs.get(X.VMCS_HOST_CR0) & ~CR0_KEPT) | (cpu.cr0 & CR0_KEPT);
  cpu.cr3 = Vmcs.get(X.VMCS_HOST_CR3);
  const cr4 = Vmcs.get(X.VMCS_HOST_CR4);
  cpu.cr4 = is64Bit ? cr4 | CR4_PAE : cr4 & ~CR4_PCIDE;
  setDebugRegister(7, 0x400);
  updateBreakpoints();
  cpu.debugCtl = 0;
  cpu.sysenterCs = Vmcs.get(X.VMCS_HOST_SYSENTER_CS);
  cpu.sysenterEsp = Vmcs.get(X.VMCS_HOST_SYSENTER_ESP);
  cpu.sysenterEip = Vmcs.get(X.VMCS_HOST_SYSENTER_EIP);
  if (controls & X.EXIT_LOAD_EFER) cpu.efer = Vmcs.get(X.VMCS_HOST_EFER);
  else cpu.efer = (cpu.efer & ~(EFER_LMA | EFER_LME)) | (is64Bit ? EFER_LMA | EFER_LME : 0);
  if (controls & X.EXIT_LOAD_PAT) cpu.pat = Vmcs.get(X.VMCS_HOST_PAT);
  loadHostSegments(is64Bit);
  setGpr(RSP, Vmcs.get(X.VMCS_HOST_RSP));
  cpu.rip = Vmcs.get(X.VMCS_HOST_RIP);
  cpu.rflags = 2;
  setArithmeticFlags(0);
  cpu.cpl = 0;
  cpu.debugHits = 0;
  cpu.leave = 1;
  dropContexts(0, -1);
  updateMode();
  updateContext();
  updateMedia();
  // "Loading Host Page-Directory-Pointer-Table Entries": PAE paging without IA-32e mode.
  if (!is64Bit && (cpu.cr4 & CR4_PAE) != 0 && !loadPdptes(cpu.cr3)) {
    cpu.faultVector = NO_FAULT;
    abort(ABORT_HOST_PDPTE);
    return;
  }
  if (!loadExitMsrs()) abort(ABORT_LOADING_MSRS);
}

/** "Loading Host Segment and Descriptor-Table Registers". */
function loadHostSegments(is64Bit: bool): void {
  const data = AR_P | AR_S | AR_RW | AR_ACCESSED | AR_DB | AR_G;
  loadHostSegment(ES, X.VMCS_HOST_ES_SELECTOR, 0, data);
  setSegment(
    CS,
    <u32>Vmcs.get(X.VMCS_HOST_CS_SELECTOR),
    0,
    0xffffffff,
    AR_P | AR_S | AR_CODE | AR_RW | AR_ACCESSED | AR_G | (is64Bit ? AR_L : AR_DB),
  );
  loadHostSegment(SS, X.VMCS_HOST_SS_SELECTOR, 0, data);
  loadHostSegment(DS, X.VMCS_HOST_DS_SELECTOR, 0, data);
  loadHostSegment(FS, X.VMCS_HOST_FS_SELECTOR, Vmcs.get(X.VMCS_HOST_FS_BASE), data);
  loadHostSegment(GS, X.VMCS_HOST_GS_SELECTOR, Vmcs.get(X.VMCS_HOST_GS_BASE), data);
  setSegment(TR, <u32>Vmcs.get(X.VMCS_HOST_TR_SELECTOR), Vmcs.get(X.VMCS_HOST_TR_BASE), 0x67, AR_P | 11);
  setSegment(LDTR, 0, 0, 0, AR_UNUSABLE);
  cpu.gdtrBase = Vmcs.get(X.VMCS_HOST_GDTR_BASE);
  cpu.idtrBase = Vmcs.get(X.VMCS_HOST_IDTR_BASE);
  cpu.gdtrLimit = 0xffff;
  cpu.idtrLimit = 0xffff;
}

function loadHostSegment(index: u32, slot: usize, base: u64, rights: u64): void {
  const selector = <u32>Vmcs.get(slot);
  setSegment(index, selector, base, 0xffffffff, selector == 0 ? AR_UNUSABLE : rights);
}

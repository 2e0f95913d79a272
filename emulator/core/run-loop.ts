/**
 * The run loop: blocks of records until the budget is used up, and the boundary between instructions where faults,
 * interrupts, VM exits and requests of other threads are looked at.
 */
import { acknowledgeInterrupt, floatError } from "./env";
import { updateMedia } from "./state/media";
import { CPU_ATTENTION, CPU_MONITORED } from "./layout.generated";
import {
  ACTIVE,
  ATTENTION_FLOAT_ERROR,
  ATTENTION_INIT,
  ATTENTION_NMI,
  ATTENTION_NMI_AGAIN,
  ATTENTION_SHOOTDOWN,
  ATTENTION_SIPI,
  ATTENTION_STOP,
  CPU,
  CS,
  FLOAT_ERROR,
  MWAITING,
  SHUTDOWN,
  STOP_BUDGET,
  STOP_ENTRY_FAILED,
  STOP_HALTED,
  STOP_HOST_INTERRUPT,
  STOP_REQUESTED,
  STOP_RETRY,
  STOP_SHUTDOWN,
  STOP_VM_EXIT,
  STOP_WAIT_FOR_SIPI,
  WAIT_FOR_SIPI,
  cpu,
  machine,
} from "./state/cpu";
import { CLOCK_VIRTUAL, boundaryTime, now } from "./state/clock";
import { ARMED_SLICE, mustSettleCounters, settleCounters } from "./state/performance";
import { FLAG_IF, FLAG_RF, FLAG_TF, VECTOR_DB, VECTOR_GP, VECTOR_SS } from "./spec/architecture";
import * as X from "./spec/vmx";
import { segBase, setSegment, updateMode } from "./state/mode";
import { answerShootdown, blockAtRip, startRunning, stopRunning } from "./records/block-cache";
import { bindBlockEnd, isBlockEnd } from "./records/bind";
import { Chain } from "./records/chain";
import {
  B_BYTES,
  B_COUNT,
  B_PAGE,
  BLOCK_HEADER,
  R_END,
  R_FLAGS,
  R_HANDLER,
  R_LENGTH,
  RECORD_SIZE,
  RECORD_STACK,
} from "./records/record";
import {
  FAULT_FLOAT_ERROR,
  FAULT_NON_CANONICAL,
  FAULT_RETRY,
  FAULT_VM_EXIT,
  NO_FAULT,
  raise,
} from "./interrupts/raise";
import {
  SOURCE_EXCEPTION,
  SOURCE_EXTERNAL,
  SOURCE_NMI,
  SOURCE_PRIVILEGED,
  SOURCE_SOFTWARE,
  deliver,
} from "./interrupts/deliver";
import {
  acknowledgeVector,
  apicEoi,
  fireTimer,
  isExternalIntPending,
  pendingVector,
} from "./interrupts/local-apic";
import { exitOnInterrupt, exitOnNmi } from "./vmx/event-exits";
import { INFO_ERROR_VALID, completeExit, completeFailedEntry, vmExit } from "./vmx/exit";
import { ENTERED, enterGuest, loadForEmulation, vmEnter } from "./vmx/entry";
import { TRAP_EXIT_MTF, requestTrapExit, takeTrapExit } from "./vmx/trap-exits";
import {
  isPostedNotification,
  processPostedInterrupts,
  recognizesVirtualInterrupt,
  takeVirtualInterrupt,
  wakesForVirtualInterrupt,
} from "./vmx/virtual-apic";
import { Vmcs } from "./vmx/vmcs";
import { DEBUGCTL_BTF } from "./spec/msr";
import { DR6_BS, DR6_BT, meetsInstructionBreakpoint, noteDebugCondition } from "./interrupts/debug";
import { pushTaskError } from "./instructions/task-switch";
import { disarmMonitor } from "./mmu/monitor";
import { resetForInit } from "./state/reset";

/** In wall mode the clock is looked at after so many instructions. */
const WALL_SLICE: u64 = 20000;

/**
 * Runs blocks until the instruction count reaches `target`, something asks to leave, or a fault is pending. RIP and the
 * count are exact on return.
 */
function execute(target: u64): void {
  cpu.targetInstructions = target;
  cpu.leave = 0;
  do {
    const resumed = resumedRecord();
    const block = resumed != 0 ? <usize>cpu.resumeBlock : blockAtRip();
    if (block == 0) return;
    const left = target - cpu.instructions;
    const first = resumed != 0 ? resumed : block + BLOCK_HEADER;
    const full = block + BLOCK_HEADER + ((<usize>load<u32>(block, B_COUNT)) << 5);
    const count = <u64>((full - first) >> 5);
    const end = count <= left ? full : first + ((<usize>left) << 5);
    cpu.recordEnd = <u32>end;
    // Records run on by themselves to the block's end; a smaller budget is such an end for this once.
    const cut = end != full ? bindBlockEnd(end) : 0;
    cpu.blockRip = resumed != 0 ? blockStart(block, first) : cpu.rip;
    cpu.rip = advanceRip(cpu.blockRip, load<u32>(block, B_BYTES));
    cpu.blockFirst = first;
    const key = cpu.jumpKey;
    const start = cpu.blockRip;
    let record = first;
    do {
      record = call_indirect<usize>(load<u16>(record, R_HANDLER), record) + RECORD_SIZE;
    } while (record < <usize>cpu.recordEnd);
    if (end != full) store<u16>(end, cut, R_HANDLER);
    if (cpu.faultVector != NO_FAULT || cpu.repeatPending != 0) {
      // A repeated instruction stops in the block begun with, or in one entered from there by way of the jump cache.
      const own = cpu.blockRip == start ? block : Chain.blockAt(cpu.blockRip);
      const isRepeated = cpu.faultVector == NO_FAULT;
      stopInBlock(cpu.blockRip, record - RECORD_SIZE);
      if (isRepeated && cpu.jumpKey == key) noteResume(own, record - RECORD_SIZE);
      return;
    }
    // The block that has ended may be another than the one begun with: see records/chain.ts.
    if (!isBlockEnd(record)) cpu.rip = advanceRip(cpu.blockRip, <u32>load<u16>(record - RECORD_SIZE, R_END));
    cpu.instructions += <u64>((record - <usize>cpu.blockFirst) >> 5);
    cpu.record = 0;
    cpu.blockFirst = 0;
    if (end != full && <usize>cpu.recordEnd == end && cpu.jumpKey == key) noteResume(block, end);
  } while (cpu.leave == 0 && cpu.instructions < target && load<u32>(CPU + CPU_ATTENTION) == 0);
}

/** The linear address of the next instruction, as far as it tells one from another. */
function linearRip(): u64 {
  return cpu.codeSize == 2 ? cpu.rip : cpu.rip + segBase(CS);
}

/**
 * A budget has ended in the middle of a block (which has not been dropped), before `record`: the next run goes on there. So a
 * pause makes no look-up that the run without it would not have made, and TLBs, accessed bits and the record cache are the same.
 */
function noteResume(block: usize, record: usize): void {
  // Not a block that is kept: it crosses a page.
  if (load<u32>(block, B_PAGE) == 0) return;
  cpu.resumeBlock = <u32>block;
  cpu.resumeRecord = <u32>record;
  cpu.resumeKey = cpu.jumpKey;
  cpu.resumeLinear = linearRip();
}

/** The record noted by `noteResume`, if the CPU still is there; 0 if not. */
function resumedRecord(): usize {
  const record = <usize>cpu.resumeRecord;
  if (record == 0) return 0;
  cpu.resumeRecord = 0;
  return cpu.resumeKey == cpu.jumpKey && cpu.resumeLinear == linearRip() ? record : 0;
}

/** RIP of a block's first instruction, with RIP at that of `record`. */
function blockStart(block: usize, record: usize): u64 {
  if (record == block + BLOCK_HEADER) return cpu.rip;
  const start = cpu.rip - <u64>load<u16>(record - RECORD_SIZE, R_END);
  return cpu.codeSize == 2 ? start : start & 0xffffffff;
}

function advanceRip(start: u64, bytes: u32): u64 {
  const next = start + <u64>bytes;
  return cpu.codeSize == 2 ? next : next & 0xffffffff;
}

/** The instruction of `record` has not finished: RIP goes back to it, and it is not counted. */
function stopInBlock(start: u64, record: usize): void {
  cpu.rip = advanceRip(start, <u32>load<u16>(record, R_END) - <u32>load<u8>(record, R_LENGTH));
  cpu.instructions += <u64>((record - <usize>cpu.blockFirst) >> 5);
  cpu.repeatPending = 0;
  if (cpu.faultVector == FAULT_NON_CANONICAL) {
    cpu.faultVector = (load<u8>(record, R_FLAGS) & RECORD_STACK) != 0 ? VECTOR_SS : VECTOR_GP;
    cpu.faultHasError = 1;
    cpu.faultError = 0;
  }
  cpu.record = 0;
  cpu.blockFirst = 0;
}

/**
 * Runs this CPU until its clock reaches `Cpu.stopAt` or something needs the host.
 * @returns STOP_*
 */
export function run(): u32 {
  let stop: u32 = 0;
  const isParallel = machine.parallel != 0;
  if (isParallel) startRunning();
  // The event that a VM entry injects may have met an exit on its way.
  if (settle()) stop = STOP_VM_EXIT;
  while (stop == 0) stop = turn();
  if (isParallel) stopRunning();
  return stop;
}

/**
 * VM entry and the guest in one trip from the host, unless a physical interrupt waits for the host.
 * @returns STOP_*, or STOP_ENTRY_FAILED + what `vmEnter` answered
 */
export function enterAndRun(): u32 {
  if (pendingVector() >= 0) return STOP_HOST_INTERRUPT;
  const status = vmEnter();
  return status == ENTERED ? run() : STOP_ENTRY_FAILED + status;
}

/** One turn: from a boundary through a run of blocks to the next. Returns STOP_* or 0. */
function turn(): u32 {
  if (load<u32>(CPU + CPU_ATTENTION) != 0) {
    const stop = answerAttention();
    if (stop != 0) return stop;
  }
  const time = boundaryTime();
  if (cpu.countersOn != 0 && mustSettleCounters()) settleCounters();
  if (time >= cpu.timerDeadline) fireTimer();
  if (cpu.entryPending != 0) return enterPendingGuest();
  if (cpu.trapExits != 0) {
    takeTrapExit();
    return settle() ? STOP_VM_EXIT : 0;
  }
  if (cpu.activity != ACTIVE) {
    const stop = stayInactive();
    if (stop != 0) return stop;
  }
  if (time >= cpu.stopAt || cpu.instructions >= cpu.stopAtInstruction) return STOP_BUDGET;
  const shadow = cpu.interruptibility & 3;
  cpu.shadowBefore = shadow;
  const traps = cpu.vmxNonRoot != 0 && (cpu.procControls & X.PRIMARY_MONITOR_TRAP_FLAG) != 0;
  const event = recognizeEvent(time, shadow);
  if (event != NO_EVENT) {
    // Behind an event that was delivered before an instruction comes the trap-flag exit.
    if (traps && event == EVENT_DELIVERED && cpu.faultVector == NO_FAULT) requestTrapExit(TRAP_EXIT_MTF, 0);
    return settleEvent();
  }
  cpu.iretUnblocked = 0;
  const before = cpu.instructions;
  if (shadow != 0) {
    // Blocking by STI or MOV SS lasts for one instruction.
    cpu.interruptibility &= ~(<u32>3);
    step((shadow & 2) != 0);
  } else if (traps || (cpu.rflags & (FLAG_TF | FLAG_RF)) != 0 || (cpu.breakpoints | cpu.debugHits) != 0)
    step(false);
  else execute(budgetEnd(time));
  if (traps && cpu.faultVector != FAULT_VM_EXIT && cpu.faultVector != FAULT_RETRY)
    requestTrapExit(TRAP_EXIT_MTF, 0);
  if (cpu.softwareVector >= 0) takeSoftwareInterrupt();
  const fault = cpu.faultVector;
  if (fault == NO_FAULT) return cpu.taskFault >= 0 ? settleEvent() : 0;
  if (fault == FAULT_RETRY) {
    cpu.faultVector = NO_FAULT;
    // The instruction is made again with the shadow that it had.
    cpu.interruptibility |= shadow;
    return STOP_RETRY;
  }
  // An instruction that exits is still to be executed, under the blocking that it had; not so one that has trapped.
  if (fault == FAULT_VM_EXIT && cpu.instructions == before) cpu.interruptibility |= shadow;
  if (fault == FAULT_FLOAT_ERROR) {
    // The processor stops before the instruction, until an interrupt or IGNNE#.
    cpu.faultVector = NO_FAULT;
    cpu.activity = FLOAT_ERROR;
    return 0;
  }
  if (fault != FAULT_VM_EXIT) {
    cpu.faultVector = NO_FAULT;
    deliver(fault, SOURCE_EXCEPTION, cpu.faultHasError != 0, cpu.faultError, cpu.rip);
  }
  return settleEvent();
}

/** What is wrong with the state of a task just switched to: a fault of its first instruction. */
function deliverTaskFault(): void {
  const vector = cpu.taskFault;
  cpu.taskFault = -1;
  deliver(vector, SOURCE_EXCEPTION, true, cpu.taskFaultError, cpu.rip);
}

/** After an event, or an instruction that has switched tasks. Returns STOP_VM_EXIT or 0. */
function settleEvent(): u32 {
  if (cpu.taskFault >= 0 && cpu.faultVector == NO_FAULT) deliverTaskFault();
  return settle() ? STOP_VM_EXIT : 0;
}

/** After something that may have recorded an exit: completes it. True: the host must act. */
export function settle(): bool {
  if (cpu.faultVector != FAULT_VM_EXIT) return false;
  cpu.faultVector = NO_FAULT;
  completeExit();
  return cpu.hypervisorOutside != 0;
}

/**
 * One instruction with everything about it that can trap: an instruction breakpoint before it, data and I/O breakpoints and
 * the trap flag (as it was before) after it.
 *
 * @param isBehindMovSs traps of the instruction before, which loaded SS, have been held back
 */
function step(isBehindMovSs: bool): void {
  // Blocking by MOV SS inhibits instruction breakpoints.
  if (!isBehindMovSs && meetsInstructionBreakpoint()) {
    raise(VECTOR_DB);
    return;
  }
  let traps = (cpu.rflags & FLAG_TF) != 0;
  cpu.branchTaken = 0;
  // RF holds for one instruction; one that does not finish keeps it.
  const resume = cpu.rflags & FLAG_RF;
  cpu.rflags &= ~FLAG_RF;
  const before = cpu.instructions;
  execute(cpu.instructions + 1);
  if (cpu.faultVector != NO_FAULT || cpu.instructions == before) {
    cpu.rflags |= resume;
    cpu.debugHits = 0;
    return;
  }
  if (cpu.softwareVector >= 0) {
    // INT1 is #DB itself, and tells of everything.
    if (cpu.softwareSource == SOURCE_PRIVILEGED && cpu.debugHits != 0) {
      noteDebugCondition(<u64>cpu.debugHits);
      cpu.debugHits = 0;
    }
    return;
  }
  if (!endsSingleStep()) traps = false;
  // Blocking by MOV SS holds debug traps back, for the next instruction to deliver.
  if ((cpu.interruptibility & 2) != 0) return;
  if (traps && isExitDue()) {
    // It comes first, and finds the trap among the pending debug exceptions.
    cpu.debugHits |= <u32>DR6_BS;
    return;
  }
  if (isExitDue()) return;
  if (traps || cpu.debugHits != 0) trap(traps ? DR6_BS : 0);
}

/** An exit that goes before debug traps waits for the boundary: the monitor trap flag's, or that of an APIC write. */
function isExitDue(): bool {
  return cpu.trapExits != 0 || (cpu.vmxNonRoot != 0 && (cpu.procControls & X.PRIMARY_MONITOR_TRAP_FLAG) != 0);
}

/** Does the trap flag trap behind the instruction just executed? Under IA32_DEBUGCTL.BTF only behind a taken branch. */
function endsSingleStep(): bool {
  return (cpu.debugCtl & DEBUGCTL_BTF) == 0 || cpu.branchTaken != 0;
}

/** #DB behind an instruction: for breakpoints that it met, and `conditions`. */
function trap(conditions: u64): void {
  noteDebugCondition((<u64>cpu.debugHits) | conditions);
  cpu.debugHits = 0;
  cpu.activity = ACTIVE;
  deliver(VECTOR_DB, SOURCE_EXCEPTION, false, 0, cpu.rip);
}

/** The count at which the next deadline of this CPU falls. */
function budgetEnd(time: u64): u64 {
  let limit = cpu.stopAtInstruction;
  if (cpu.countersArmed != 0) limit = min<u64>(limit, cpu.instructions + ARMED_SLICE);
  if (cpu.clockMode != CLOCK_VIRTUAL) return min<u64>(cpu.instructions + WALL_SLICE, limit);
  let deadline = cpu.stopAt;
  if (cpu.timerDeadline < deadline) deadline = cpu.timerDeadline;
  if (cpu.preemptionDeadline < deadline) deadline = cpu.preemptionDeadline;
  const cycles = deadline - time;
  const perInstruction = <u64>cpu.cyclesPerInstruction;
  // A division of this width costs as much as several instructions of the guest.
  const left = perInstruction == 1 ? cycles : (cycles + perInstruction - 1) / perInstruction;
  return min<u64>(cpu.instructions + left, limit);
}

function takeSoftwareInterrupt(): void {
  const vector = cpu.softwareVector;
  cpu.softwareVector = -1;
  if (cpu.faultVector != NO_FAULT) return;
  // A fault on the way finds RIP at the instruction, not after it.
  const next = cpu.rip;
  cpu.rip = next - <u64>cpu.softwareLength;
  deliver(vector, cpu.softwareSource, false, 0, next);
}

/** Requests of other threads. Returns STOP_* or 0. */
function answerAttention(): u32 {
  const bits = atomic.xchg<u32>(CPU + CPU_ATTENTION, 0);
  if (bits & ATTENTION_SHOOTDOWN) answerShootdown();
  if (bits & ATTENTION_NMI) noteNmi();
  if (bits & ATTENTION_NMI_AGAIN) noteNmi();
  if (bits & ATTENTION_FLOAT_ERROR) answerFloatError();
  if (bits & ATTENTION_INIT) {
    if (cpu.vmxNonRoot != 0) {
      // In wait-for-SIPI INIT is blocked.
      if (cpu.activity != WAIT_FOR_SIPI) vmExit(X.EXIT_REASON_INIT_SIGNAL, 0);
    } else if (cpu.vmxOn != 0 && cpu.hypervisorOutside == 0) cpu.initBlocked = 1;
    else {
      resetForInit();
      cpu.activity = (cpu.apicBase & 0x100) != 0 ? ACTIVE : WAIT_FOR_SIPI;
    }
  }
  if (bits & ATTENTION_SIPI && cpu.activity == WAIT_FOR_SIPI) {
    if (cpu.vmxNonRoot != 0) vmExit(X.EXIT_REASON_SIPI, <u64>cpu.sipiVector);
    else startAt(cpu.sipiVector);
  }
  if (settle()) return STOP_VM_EXIT;
  return bits & ATTENTION_STOP ? STOP_REQUESTED : 0;
}

/** FERR# or IGNNE# has changed: the board is told of the one, the other decides what x87 instructions do. */
function answerFloatError(): void {
  updateMedia();
  if (cpu.activity == FLOAT_ERROR && cpu.ignne != 0) cpu.activity = ACTIVE;
  if (cpu.ferr == cpu.ferrTold) return;
  cpu.ferrTold = cpu.ferr;
  floatError(cpu.ferr);
}

/** One NMI is kept while NMIs are blocked; else one is about to be taken, and another kept behind it. */
function noteNmi(): void {
  const most: u32 = (cpu.interruptibility & 8) != 0 ? 1 : 2;
  if (cpu.nmiPending < most) cpu.nmiPending++;
}

/** SIPI: real mode at vector × 1000H. */
function startAt(vector: u32): void {
  setSegment(CS, vector << 8, (<u64>vector) << 12, 0xffff, 0x9b);
  cpu.rip = 0;
  cpu.activity = ACTIVE;
  updateMode();
}

/** HLT, MWAIT, a wait for FERR# to be answered, shutdown, wait-for-SIPI: is there something that ends it? Returns STOP_* or 0. */
function stayInactive(): u32 {
  if (cpu.activity == WAIT_FOR_SIPI) {
    if (cpu.vmxNonRoot != 0 && now() >= cpu.preemptionDeadline) return 0;
    return STOP_WAIT_FOR_SIPI;
  }
  if (cpu.activity == SHUTDOWN && cpu.vmxNonRoot == 0) return STOP_SHUTDOWN;
  if (isWakeUpPending()) {
    if (cpu.activity == MWAITING) {
      cpu.activity = ACTIVE;
      disarmMonitor();
    }
    return 0;
  }
  return now() >= cpu.stopAt ? STOP_BUDGET : STOP_HALTED;
}

/**
 * HLT or MWAIT would end now: an NMI, an interrupt that can be taken or exits, or the preemption timer; MWAIT by a write to
 * the monitored line too, and if it asked for that by a masked interrupt.
 */
export function isWakeUpPending(): bool {
  if (cpu.activity == MWAITING && atomic.load<u32>(CPU + CPU_MONITORED) == 0) return true;
  if (now() >= cpu.timerDeadline || cpu.debugHits != 0) return true;
  if (cpu.nmiPending != 0 && (cpu.interruptibility & 8) == 0) return true;
  if (cpu.vmxNonRoot != 0) {
    if (now() >= cpu.preemptionDeadline) return true;
    if (wakesForVirtualInterrupt() || isWindowOpen()) return true;
    if ((cpu.pinControls & X.PIN_EXTERNAL_INTERRUPT_EXITING) != 0)
      return pendingVector() >= 0 || isExternalIntPending();
  }
  if (cpu.activity == SHUTDOWN) return false;
  const breaks = cpu.activity == MWAITING && cpu.mwaitBreaksOnMasked != 0;
  return ((cpu.rflags & FLAG_IF) != 0 || breaks) && (pendingVector() >= 0 || isExternalIntPending());
}

/** "Interrupt-window exiting" finds interrupts enabled, or "NMI-window exiting" no blocking by NMI. */
function isWindowOpen(): bool {
  if ((cpu.procControls & X.PRIMARY_NMI_WINDOW_EXITING) != 0 && (cpu.interruptibility & 8) == 0) return true;
  return (cpu.procControls & X.PRIMARY_INTERRUPT_WINDOW_EXITING) != 0 && (cpu.rflags & FLAG_IF) != 0;
}

/** The boundary behind VMLAUNCH or VMRESUME. */
function enterPendingGuest(): u32 {
  cpu.entryPending = 0;
  if (enterGuest() != ENTERED) completeFailedEntry();
  return settle() ? STOP_VM_EXIT : 0;
}

// What `recognizeEvent` answers.
const NO_EVENT: u32 = 0;
const EVENT_DELIVERED: u32 = 1;
/** An exit has been recorded, or posted interrupts have been taken in: the boundary is to be looked at again. */
const EVENT_HANDLED: u32 = 2;

/**
 * Looks at timers of VMX, NMIs and interrupts in the order of their priority, and takes the first.
 *
 * @param shadow blocking by STI (1) or MOV SS (2), under which the preemption timer alone is looked at
 */
function recognizeEvent(time: u64, shadow: u32): u32 {
  const isGuest = cpu.vmxNonRoot != 0;
  // Debug exceptions that are pending from before, or from VM entry; blocking by MOV SS holds them back.
  if (cpu.debugHits != 0 && (shadow & 2) == 0) {
    trap(0);
    return EVENT_DELIVERED;
  }
  if (isGuest && time >= cpu.preemptionDeadline) {
    vmExit(X.EXIT_REASON_PREEMPTION_TIMER, 0);
    return EVENT_HANDLED;
  }
  if (shadow != 0) return NO_EVENT;
  if (isGuest && (cpu.procControls & X.PRIMARY_NMI_WINDOW_EXITING) != 0 && (cpu.interruptibility & 8) == 0) {
    vmExit(X.EXIT_REASON_NMI_WINDOW, 0);
    return EVENT_HANDLED;
  }
  if (cpu.nmiPending != 0) {
    if (isGuest && (cpu.pinControls & X.PIN_NMI_EXITING) != 0) {
      if (cpu.activity == WAIT_FOR_SIPI) return NO_EVENT;
      cpu.nmiPending--;
      exitOnNmi();
      return EVENT_HANDLED;
    }
    if ((cpu.interruptibility & 8) == 0) {
      cpu.nmiPending--;
      cpu.interruptibility |= 8;
      cpu.activity = ACTIVE;
      deliver(2, SOURCE_NMI, false, 0, cpu.rip);
      return EVENT_DELIVERED;
    }
  }
  const isEnabled = (cpu.rflags & FLAG_IF) != 0;
  if (isGuest && isEnabled && (cpu.procControls & X.PRIMARY_INTERRUPT_WINDOW_EXITING) != 0) {
    vmExit(X.EXIT_REASON_INTERRUPT_WINDOW, 0);
    return EVENT_HANDLED;
  }
  if (isGuest && isEnabled && recognizesVirtualInterrupt()) {
    cpu.activity = ACTIVE;
    deliver(takeVirtualInterrupt(), SOURCE_EXTERNAL, false, 0, cpu.rip);
    return EVENT_DELIVERED;
  }
  const exits = isGuest && (cpu.pinControls & X.PIN_EXTERNAL_INTERRUPT_EXITING) != 0;
  if (!isEnabled && !exits) return NO_EVENT;
  let vector = pendingVector();
  const isExternal = isExternalIntPending();
  if (vector < 0 && !isExternal) return NO_EVENT;
  if (exits) {
    const acknowledges =
      (load<u32>(<usize>cpu.vmcs + X.VMCS_EXIT_CONTROLS) & X.EXIT_ACKNOWLEDGE_INTERRUPT) != 0;
    if (acknowledges) vector = acknowledge(vector, isExternal);
    if (acknowledges && isPostedNotification(vector)) {
      apicEoi();
      processPostedInterrupts();
      return EVENT_HANDLED;
    }
    exitOnInterrupt(acknowledges ? vector : -1);
    return EVENT_HANDLED;
  }
  vector = acknowledge(vector, isExternal);
  cpu.activity = ACTIVE;
  cpu.interruptsTaken++;
  deliver(vector, SOURCE_EXTERNAL, false, 0, cpu.rip);
  return EVENT_DELIVERED;
}

/** The 8259's vector comes first when it is wired through: it is the older protocol's priority. */
function acknowledge(vector: i32, isExternal: bool): i32 {
  if (isExternal) return acknowledgeInterrupt();
  acknowledgeVector(<u32>vector);
  return vector;
}

/**
 * Runs exactly one instruction of the guest whose state is in the current VMCS, or delivers the event that the VM-entry
 * interruption information names, for the hypervisor's emulator: accesses to the guest-physical pages in
 * `Cpu.emulatedPages` reach the host's `memoryAccess` import instead of causing an EPT violation, and a task switch is
 * made. The state is saved back.
 * @returns 0 done (the instruction or event, or the delivery of its fault); 1 a VM exit is recorded in the VMCS
 */
export function emulateOne(): u32 {
  beginEmulation();
  const traps = (cpu.rflags & FLAG_TF) != 0;
  cpu.branchTaken = 0;
  execute(cpu.instructions + 1);
  if (cpu.softwareVector >= 0) takeSoftwareInterrupt();
  if (traps && cpu.faultVector == NO_FAULT && endsSingleStep()) cpu.debugHits |= <u32>DR6_BS;
  deliverPendingFault();
  return endEmulation();
}

/**
 * As `emulateOne`, for the event whose delivery the last exit has cut short (its IDT-vectoring fields): delivers it, with the task
 * switch that may be part of that.
 */
export function emulateEvent(): u32 {
  const info = Vmcs.get32(X.VMCS_IDT_VECTORING_INFO);
  const error = Vmcs.get32(X.VMCS_IDT_VECTORING_ERROR_CODE);
  const length = Vmcs.get32(X.VMCS_EXIT_INSTRUCTION_LENGTH);
  beginEmulation();
  const source = (info >> 8) & 7;
  let next = cpu.rip;
  if (source >= SOURCE_SOFTWARE) {
    cpu.softwareLength = length;
    next += <u64>length;
  }
  cpu.injecting = 1;
  deliver(<i32>(info & 0xff), source, (info & INFO_ERROR_VALID) != 0, error, next);
  cpu.injecting = 0;
  return endEmulation();
}

/**
 * The rest of what `emulateEvent` has begun, where an exit met the error code on its way to the new task's stack: the switch itself
 * is done.
 */
export function emulateTaskError(): u32 {
  const error = Vmcs.get32(X.VMCS_IDT_VECTORING_ERROR_CODE);
  beginEmulation();
  pushTaskError(error);
  deliverPendingFault();
  return endEmulation();
}

/** Delivers the fault that an emulated step has met. */
function deliverPendingFault(): void {
  const fault = cpu.faultVector;
  if (fault < 0) return;
  cpu.faultVector = NO_FAULT;
  deliver(fault, SOURCE_EXCEPTION, cpu.faultHasError != 0, cpu.faultError, cpu.rip);
}

function beginEmulation(): void {
  startRunning();
  loadForEmulation();
  cpu.emulating = 1;
}

/** Saves the guest state. Returns what `emulateOne` does. */
function endEmulation(): u32 {
  if (cpu.faultVector == NO_FAULT) {
    if (cpu.taskFault >= 0) deliverTaskFault();
    // The VMCS has no place for the debug trap of a task that is switched to.
    else if ((cpu.debugHits & (<u32>DR6_BT)) != 0) trap(0);
  }
  cpu.emulating = 0;
  const exited = cpu.faultVector == FAULT_VM_EXIT;
  cpu.faultVector = NO_FAULT;
  completeExit();
  stopRunning();
  return exited ? 1 : 0;
}

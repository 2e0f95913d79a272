/**
 * APIC virtualization and virtual interrupts on the virtual-APIC page. SDM Vol. 3C, "APIC Virtualization and Virtual Interrupts";
 * function and section names are the manual's.
 */
import * as X from "../spec/vmx";
import { FLAG_IF } from "../spec/architecture";
import { cpu } from "../state/cpu";
import { isGuarded, noteWrite, ramAddress } from "../mmu/physical";
import { raiseGp } from "../interrupts/raise";
import {
  APIC_DFR,
  APIC_EOI,
  APIC_ESR,
  APIC_ICR_HIGH,
  APIC_ICR_LOW,
  APIC_ID,
  APIC_IRR,
  APIC_ISR,
  APIC_LDR,
  APIC_LVT_ERROR,
  APIC_LVT_TIMER,
  APIC_PPR,
  APIC_SELF_IPI,
  APIC_SVR,
  APIC_TIMER_DIVIDE,
  APIC_TIMER_INITIAL,
  APIC_TPR,
  APIC_VERSION,
} from "../interrupts/local-apic";
import { TRAP_EXIT_APIC_WRITE, TRAP_EXIT_EOI, TRAP_EXIT_TPR, requestTrapExit } from "./trap-exits";
import { vmExit } from "./exit";
import { R_LENGTH } from "../records/record";
import { Vmcs } from "./vmcs";

/** No page has this address. */
export const NO_PAGE: u64 = 0xffffffffffffffff;
/** Marks a machine-physical address on the APIC-access page; above every physical address. */
export const APIC_ACCESS: u64 = 1 << 53;

/** Access types of the exit qualification ("Exit Qualification for APIC-Access VM Exits"). */
export const APIC_LINEAR_READ: u32 = 0;
export const APIC_LINEAR_WRITE: u32 = 1;
export const APIC_LINEAR_FETCH: u32 = 2;
const APIC_LINEAR_EVENT: u32 = 3;
const APIC_PHYSICAL_EVENT: u32 = 10;
const APIC_PHYSICAL_INSTRUCTION: u32 = 15;

function has(bit: u32): bool {
  return (cpu.proc2Controls & bit) != 0;
}

export function deliversVirtualInterrupts(): bool {
  return cpu.virtualApic != 0 && has(X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
}

function get(offset: u32): u32 {
  return load<u32>(<usize>cpu.virtualApic + offset);
}
function set(offset: u32, value: u32): void {
  const at = <usize>cpu.virtualApic + offset;
  store<u32>(at, value);
  if (isGuarded(at)) noteWrite(at, 4);
}

function bitWord(offset: u32, vector: u32): u32 {
  return offset + ((vector >> 5) << 4);
}
/** Highest vector of VISR or VIRR, or 0. */
function highest(offset: u32): u32 {
  for (let word: i32 = 7; word >= 0; word--) {
    const bits = get(offset + ((<u32>word) << 4));
    if (bits != 0) return ((<u32>word) << 5) + 31 - clz<u32>(bits);
  }
  return 0;
}

// --- VM entry and exit

/** At the end of a VM entry: guest interrupt status, PPR virtualization, TPR threshold. */
export function startVirtualApic(): void {
  cpu.rvi = 0;
  cpu.svi = 0;
  if (cpu.virtualApic == 0) return;
  if (deliversVirtualInterrupts()) {
    const status = Vmcs.get32(X.VMCS_GUEST_INTERRUPT_STATUS);
    cpu.rvi = status & 0xff;
    cpu.svi = (status >> 8) & 0xff;
    virtualizePpr();
  } else if (isBelowThreshold()) requestTrapExit(TRAP_EXIT_TPR, 0);
}

export function saveInterruptStatus(): void {
  if (deliversVirtualInterrupts()) Vmcs.set(X.VMCS_GUEST_INTERRUPT_STATUS, <u64>(cpu.rvi | (cpu.svi << 8)));
}

// --- "TPR Virtualization", "PPR Virtualization", "EOI Virtualization", "Self-IPI Virtualization"

function isBelowThreshold(): bool {
  return ((get(APIC_TPR) >> 4) & 15) < (Vmcs.get32(X.VMCS_TPR_THRESHOLD) & 15);
}

function virtualizeTpr(): void {
  if (deliversVirtualInterrupts()) {
    virtualizePpr();
    lookAtBoundary();
  } else if (isBelowThreshold()) requestTrapExit(TRAP_EXIT_TPR, 0);
}

function virtualizePpr(): void {
  const vtpr = get(APIC_TPR) & 0xff;
  set(APIC_PPR, vtpr >> 4 >= cpu.svi >> 4 ? vtpr : cpu.svi & 0xf0);
}

function virtualizeEoi(): void {
  const vector = cpu.svi;
  const word = bitWord(APIC_ISR, vector);
  set(word, get(word) & ~((<u32>1) << (vector & 31)));
  cpu.svi = highest(APIC_ISR);
  virtualizePpr();
  const bitmap = Vmcs.get(X.VMCS_EOI_EXIT_BITMAP_0 + ((<usize>(vector >> 6)) << 3));
  if (((bitmap >> (vector & 63)) & 1) != 0) requestTrapExit(TRAP_EXIT_EOI, vector);
  else lookAtBoundary();
}

function virtualizeSelfIpi(vector: u32): void {
  const word = bitWord(APIC_IRR, vector);
  set(word, get(word) | (1 << (vector & 31)));
  if (vector > cpu.rvi) cpu.rvi = vector;
  lookAtBoundary();
}

/** Pending virtual interrupts are evaluated at the next boundary. */
function lookAtBoundary(): void {
  cpu.leave = 1;
  cpu.recordEnd = 0;
}

// --- "Evaluation of Pending Virtual Interrupts", "Virtual-Interrupt Delivery", "Posted-Interrupt Processing"

/** A pending virtual interrupt is recognized (it may still be blocked by RFLAGS.IF, STI or MOV SS). */
export function recognizesVirtualInterrupt(): bool {
  if (cpu.rvi == 0 || !deliversVirtualInterrupts()) return false;
  return (
    (cpu.procControls & X.PRIMARY_INTERRUPT_WINDOW_EXITING) == 0 && cpu.rvi >> 4 > (get(APIC_PPR) & 0xff) >> 4
  );
}

/** Moves the requesting virtual interrupt into service and returns its vector. */
export function takeVirtualInterrupt(): i32 {
  const vector = cpu.rvi;
  const inService = bitWord(APIC_ISR, vector);
  set(inService, get(inService) | (1 << (vector & 31)));
  cpu.svi = vector;
  set(APIC_PPR, vector & 0xf0);
  const requested = bitWord(APIC_IRR, vector);
  set(requested, get(requested) & ~((<u32>1) << (vector & 31)));
  cpu.rvi = highest(APIC_IRR);
  return <i32>vector;
}

/** Would a virtual interrupt end HLT now? */
export function wakesForVirtualInterrupt(): bool {
  return (cpu.rflags & FLAG_IF) != 0 && recognizesVirtualInterrupt();
}

/** Is an acknowledged external interrupt the notification of posted ones? */
export function isPostedNotification(vector: i32): bool {
  return (
    (cpu.pinControls & X.PIN_PROCESS_POSTED_INTERRUPTS) != 0 &&
    <u32>vector == (Vmcs.get32(X.VMCS_POSTED_INTERRUPT_VECTOR) & 0xff)
  );
}

/** Takes what the posted-interrupt descriptor holds into VIRR. The caller has acknowledged the notification and ends it. */
export function processPostedInterrupts(): void {
  const descriptor = ramAddress(Vmcs.get(X.VMCS_POSTED_INTERRUPT_DESCRIPTOR), 64);
  if (descriptor == 0) return;
  // Outstanding notification, bit 256.
  atomic.and<u32>(descriptor + 32, ~(<u32>1));
  for (let word: u32 = 0; word < 8; word++) {
    const bits = atomic.xchg<u32>(descriptor + (word << 2), 0);
    if (bits == 0) continue;
    const at = APIC_IRR + (word << 4);
    set(at, get(at) | bits);
    const vector = (word << 5) + 31 - clz<u32>(bits);
    if (vector > cpu.rvi) cpu.rvi = vector;
  }
  if (isGuarded(descriptor)) noteWrite(descriptor, 64);
}

// --- CR8: "Virtualizing CR8-Based TPR Accesses"

export function usesTprShadow(): bool {
  return cpu.vmxNonRoot != 0 && (cpu.procControls & X.PRIMARY_USE_TPR_SHADOW) != 0;
}

export function readVirtualTpr(): u32 {
  return cpu.virtualApic == 0 ? 0 : (get(APIC_TPR) >> 4) & 15;
}

export function writeVirtualTpr(value: u32): void {
  if (cpu.virtualApic == 0) return;
  set(APIC_TPR, value << 4);
  virtualizeTpr();
}

// --- "Virtualizing Memory-Mapped APIC Accesses"

/** Registers whose reads APIC-register virtualization answers from the page. */
function isReadVirtualized(offset: u32): bool {
  if (!has(X.SECONDARY_APIC_REGISTER_VIRTUALIZATION)) return offset == APIC_TPR;
  if (offset >= APIC_ISR && offset <= APIC_ESR) return true;
  if (offset >= APIC_LVT_TIMER && offset <= APIC_TIMER_INITIAL) return true;
  switch (offset) {
    case APIC_ID:
    case APIC_VERSION:
    case APIC_TPR:
    case APIC_EOI:
    case APIC_LDR:
    case APIC_DFR:
    case APIC_SVR:
    case APIC_ICR_LOW:
    case APIC_ICR_HIGH:
    case APIC_TIMER_DIVIDE:
      return true;
    default:
      return false;
  }
}

function isWriteVirtualized(offset: u32): bool {
  if (offset == APIC_TPR) return true;
  if (has(X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY) && (offset == APIC_EOI || offset == APIC_ICR_LOW))
    return true;
  if (!has(X.SECONDARY_APIC_REGISTER_VIRTUALIZATION)) return false;
  if (offset >= APIC_LVT_TIMER && offset <= APIC_LVT_ERROR) return true;
  switch (offset) {
    case APIC_ID:
    case APIC_EOI:
    case APIC_LDR:
    case APIC_DFR:
    case APIC_SVR:
    case APIC_ESR:
    case APIC_ICR_LOW:
    case APIC_ICR_HIGH:
    case APIC_TIMER_INITIAL:
    case APIC_TIMER_DIVIDE:
      return true;
    default:
      return false;
  }
}

/** Within the low 4 bytes of a naturally aligned 16-byte region, with the TPR shadow in use. */
function isSimpleAccess(offset: u32, size: u32): bool {
  return cpu.virtualApic != 0 && size <= 4 && (offset & 15) + size <= 4;
}

function exitApicAccess(offset: u32, type: u32): void {
  vmExit(X.EXIT_REASON_APIC_ACCESS, <u64>(offset | (type << 12)));
  // Fault-like exits of an instruction have its length.
  if (cpu.deliveringVector < 0 && cpu.record != 0)
    Vmcs.set(X.VMCS_EXIT_INSTRUCTION_LENGTH, <u64>load<u8>(<usize>cpu.record, R_LENGTH));
}

function linearType(type: u32): u32 {
  return cpu.deliveringVector >= 0 ? APIC_LINEAR_EVENT : type;
}

/** An instruction fetch from the page. */
export function exitOnApicFetch(physical: u64): void {
  exitApicAccess((<u32>physical) & 0xfff, APIC_LINEAR_FETCH);
}

/** A paging-structure entry of the guest lies on the page. */
export function exitOnApicWalk(physical: u64): void {
  exitApicAccess(
    (<u32>physical) & 0xfff,
    cpu.deliveringVector >= 0 ? APIC_PHYSICAL_EVENT : APIC_PHYSICAL_INSTRUCTION,
  );
}

/** Reads from the page. False: an APIC-access exit has been recorded. */
export function readApicAccessPage(physical: u64, size: u32, into: usize): bool {
  const offset = (<u32>physical) & 0xfff;
  if (!isSimpleAccess(offset, size) || !isReadVirtualized(offset & 0xff0)) {
    exitApicAccess(offset, linearType(APIC_LINEAR_READ));
    return false;
  }
  const value = get(offset & 0xffc) >> ((offset & 3) << 3);
  if (size == 4) store<u32>(into, value);
  else if (size == 2) store<u16>(into, <u16>value);
  else store<u8>(into, <u8>value);
  return true;
}

/** Before an instruction commits to writing: false with the exit recorded when the write is not virtualized. */
export function canWriteApicAccessPage(physical: u64, size: u32): bool {
  const offset = (<u32>physical) & 0xfff;
  if (isSimpleAccess(offset, size) && isWriteVirtualized(offset & 0xff0)) return true;
  exitApicAccess(offset, linearType(APIC_LINEAR_WRITE));
  return false;
}

/** A write for which `canWriteApicAccessPage` was true. */
export function writeApicAccessPage(physical: u64, size: u32, value: u64): void {
  const offset = (<u32>physical) & 0xfff;
  const shift = (offset & 3) << 3;
  const mask: u32 = (size == 4 ? 0xffffffff : ((<u32>1) << (size << 3)) - 1) << shift;
  const at = offset & 0xffc;
  set(at, (get(at) & ~mask) | (((<u32>value) << shift) & mask));
  emulateApicWrite(offset & 0xff0);
}

/** "APIC-Write Emulation". */
function emulateApicWrite(offset: u32): void {
  const hasVid = has(X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY);
  if (offset == APIC_TPR) {
    set(APIC_TPR, get(APIC_TPR) & 0xff);
    virtualizeTpr();
  } else if (offset == APIC_EOI && hasVid) {
    set(APIC_EOI, 0);
    virtualizeEoi();
  } else if (offset == APIC_ICR_LOW && hasVid && isSelfIpi(get(APIC_ICR_LOW)))
    virtualizeSelfIpi(get(APIC_ICR_LOW) & 0xff);
  else if (offset == APIC_ICR_HIGH) set(APIC_ICR_HIGH, get(APIC_ICR_HIGH) & 0xff000000);
  else requestTrapExit(TRAP_EXIT_APIC_WRITE, offset);
}

/** A fixed, edge-triggered IPI to itself by shorthand, with a legal vector and no reserved bit. */
function isSelfIpi(icr: u32): bool {
  // Reserved 31:20, 17:16 and 13; shorthand 19:18 = 01B; level-triggered 15; delivery status 12; delivery mode 10:8.
  return (icr & 0xffffb700) == 0x00040000 && (icr & 0xf0) != 0;
}

// --- "Virtualizing MSR-Based APIC Accesses"; `index` is the MSR's address less 800H

export function virtualizesX2apic(): bool {
  return cpu.vmxNonRoot != 0 && has(X.SECONDARY_VIRTUALIZE_X2APIC_MODE) && cpu.virtualApic != 0;
}

/** Is RDMSR of this register answered from the page? */
export function isMsrReadVirtualized(index: u32): bool {
  if (!virtualizesX2apic()) return false;
  return index << 4 == APIC_TPR || has(X.SECONDARY_APIC_REGISTER_VIRTUALIZATION);
}

export function readVirtualMsr(index: u32): u64 {
  return load<u64>(<usize>cpu.virtualApic + (index << 4));
}

/** WRMSR: true when it was virtualized (or faulted). */
export function writeVirtualMsr(index: u32, value: u64): bool {
  if (!virtualizesX2apic()) return false;
  const offset = index << 4;
  if (offset == APIC_TPR) {
    if (value > 0xff) raiseGp();
    else {
      set(APIC_TPR, <u32>value);
      virtualizeTpr();
    }
    return true;
  }
  if (!has(X.SECONDARY_VIRTUAL_INTERRUPT_DELIVERY)) return false;
  if (offset == APIC_EOI) {
    if (value != 0) raiseGp();
    else {
      set(APIC_EOI, 0);
      virtualizeEoi();
    }
    return true;
  }
  if (offset != APIC_SELF_IPI) return false;
  if (value > 0xff) raiseGp();
  else {
    set(APIC_SELF_IPI, <u32>value);
    if ((value & 0xf0) != 0) virtualizeSelfIpi(<u32>value);
    else requestTrapExit(TRAP_EXIT_APIC_WRITE, APIC_SELF_IPI);
  }
  return true;
}

/** System instructions: control and debug registers, HLT, CPUID, time-stamp counter, TLB, and what only changes RFLAGS.IF or AC. SDM Vol. 2. */
import {
  DR6_BD,
  debugRegister,
  noteDebugCondition,
  setDebugRegister,
  updateBreakpoints,
} from "../interrupts/debug";
import { updateMedia } from "../state/media";
import {
  CR0_CD,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR0_ET,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_LA57,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_VMXE,
  EFER_LMA,
  EFER_LME,
  FLAG_AC,
  FLAG_IF,
  FLAG_VIF,
  FLAG_VIP,
  PHYSICAL_MASK,
  PTE_P,
  VECTOR_DB,
} from "../spec/architecture";
import { CPU_ATTENTION, CPU_CPUID, CPU_PDPTE, CPU_PDPTE_SCRATCH } from "../layout.generated";
import { CPU, CS, FS, GS, HALTED, RAX, RBX, RCX, RDX, cpu, getGpr, machine, setGpr } from "../state/cpu";
import { guestTimeStamp, mustWait } from "../state/clock";
import {
  is64,
  isLongMode,
  isProtected,
  segBase,
  segRights,
  setSegBase,
  updateContext,
  updateMode,
  currentPcid,
} from "../state/mode";
import { AR_L } from "../spec/architecture";
import { ramAddress } from "../mmu/physical";
import { ACCESS_READ, NO_TRANSLATION, machinePhysical } from "../mmu/walk";
import { FOR_PDPTES } from "../mmu/ept-walk";
import { counterValue } from "../state/performance";
import { dropContexts, invalidatePage } from "../mmu/contexts";
import { Address } from "../mmu/segmented";
import { Linear, isCanonical, isLoadable } from "../mmu/linear";
import { faultPending, raise, raiseGp, raiseUd } from "../interrupts/raise";
import { APIC_BASE_ENABLE, APIC_TPR, apicRead, apicWrite } from "../interrupts/local-apic";
import { bumpJumpGeneration } from "../records/block-cache";
import { hasVirtualIf } from "../interrupts/virtual-8086";
import { R_FLAGS, RECORD_REGISTER } from "../records/record";
import {
  exitOnClts,
  exitOnControlRead,
  exitOnControlWrite,
  exitOnDebugAccess,
  exitOnInstruction,
  exitOnInvlpg,
  exitOnInvpcid,
  exitOnLmsw,
  exitOnPause,
} from "../vmx/instruction-exits";
import { readVirtualTpr, usesTprShadow, writeVirtualTpr } from "../vmx/virtual-apic";
import { CR0_FIXED, cr0FixedInGuest } from "../vmx/fixed-bits";
import { guestVisibleCr0 } from "./segment";
import { Op } from "./operand";
import { compactedBytes, standardBytes } from "./xsave";
import { CPUID_MONITOR, readMsr, writeMsr } from "./msr";
import { MISC_ENABLE_MONITOR } from "../spec/msr";
import {
  EXIT_REASON_CPUID,
  EXIT_REASON_HLT,
  EXIT_REASON_INVD,
  EXIT_REASON_RDPMC,
  EXIT_REASON_RDTSC,
  EXIT_REASON_RDTSCP,
  EXIT_REASON_WBINVD,
  SECONDARY_ENABLE_RDTSCP,
} from "../spec/vmx";

export function ud(record: usize): void {
  raiseUd();
}

/** True when CPL is 0; else #GP(0) is recorded. */
function requireRing0(): bool {
  if (cpu.cpl != 0) {
    raiseGp();
    return false;
  }
  return true;
}

// --- interrupt flag

export function cli(record: usize): void {
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  if (isProtected() && cpu.cpl > iopl) {
    if (hasVirtualIf()) cpu.rflags &= ~FLAG_VIF;
    else raiseGp();
    return;
  }
  cpu.rflags &= ~FLAG_IF;
}

/** STI delays interrupts by one instruction when it sets IF from 0. */
export function sti(record: usize): void {
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  if (isProtected() && cpu.cpl > iopl) {
    if (hasVirtualIf() && (cpu.rflags & FLAG_VIP) == 0) cpu.rflags |= FLAG_VIF;
    else raiseGp();
    return;
  }
  if ((cpu.rflags & FLAG_IF) == 0) {
    cpu.rflags |= FLAG_IF;
    cpu.interruptibility |= 1;
  }
  cpu.leave = 1;
}

export function hlt(record: usize): void {
  if (!requireRing0() || exitOnInstruction(record, EXIT_REASON_HLT)) return;
  cpu.activity = HALTED;
  cpu.leave = 1;
}

export function pause(record: usize): void {
  // In virtual time others get the turn here, where a spin-wait loop expects them to go on: two CPUs with loops of equal length could
  // meet for ever at its other instructions.
  if (mustWait() || exitOnPause(record)) return;
  cpu.pauses++;
  // A spin-wait loop. In parallel mode the thread that it waits for may need this host processor: now and then it is
  // given away for a moment, or until this CPU has something to look at.
  if (machine.parallel != 0 && (cpu.pauses & 63) == 0) atomic.wait<i32>(CPU + CPU_ATTENTION, 0, 20000);
}

/** Full barrier: a read-modify-write, since the optimizer drops AssemblyScript's fence. */
export function fence(record: usize): void {
  atomic.add<u32>(CPU + CPU_CPUID, 0);
}

/** Caches are not modelled; the address is still checked as a read. */
export function clflush(record: usize): void {
  Linear.readable<u8>(Address.forRead(record, 1));
}

export function wbinvd(record: usize): void {
  if (requireRing0()) exitOnInstruction(record, EXIT_REASON_WBINVD);
}

export function invd(record: usize): void {
  if (requireRing0()) exitOnInstruction(record, EXIT_REASON_INVD);
}

// --- control registers

/** Bits of CR0 that exist; the others must be 0 (upper half) or are ignored. */
const CR0_DEFINED: u64 = 0xe005003f;

/** CR4 bits that this processor has; in VMX operation VMXE, which is fixed to 1 there, is one. */
export function cr4Supported(): u64 {
  return cpu.vmxOn != 0 ? cpu.cr4Allowed | CR4_VMXE : cpu.cr4Allowed;
}

/** Loads the PDPTEs for PAE paging. False with #GP when one has reserved bits set, or with an EPT-induced exit. */
export function loadPdptes(cr3: u64): bool {
  // All four lie in one page.
  const from = machinePhysical(cr3 & 0xffffffe0, 0, ACCESS_READ, FOR_PDPTES);
  if (from == NO_TRANSLATION) return false;
  let good = true;
  for (let i: usize = 0; i < 4; i++) {
    const at = ramAddress(from + (i << 3), 8);
    const entry = at == 0 ? 0 : load<u64>(at);
    if ((entry & PTE_P) != 0 && (entry & (0x1e6 | ~PHYSICAL_MASK)) != 0) good = false;
    store<u64>(CPU + CPU_PDPTE_SCRATCH + (i << 3), entry);
  }
  if (!good) {
    raiseGp();
    return false;
  }
  memory.copy(CPU + CPU_PDPTE, CPU + CPU_PDPTE_SCRATCH, 32);
  cpu.guestStateChanged = 1;
  return true;
}

function usesPdptes(cr0: u64, cr4: u64): bool {
  return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (cpu.efer & EFER_LME) == 0;
}

/** Bits of CR0 that must stay 1 in VMX operation. */
function fixedCr0(): u64 {
  return cpu.vmxNonRoot != 0 ? cr0FixedInGuest(cpu.proc2Controls) : CR0_FIXED;
}

/** MOV to CR0 and LMSW, after interception. */
export function writeCr0(value: u64): void {
  if (
    value >> 32 != 0 ||
    ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) ||
    ((value & CR0_NW) != 0 && (value & CR0_CD) == 0)
  ) {
    raiseGp();
    return;
  }
  if (cpu.vmxOn != 0 && (value & fixedCr0()) != fixedCr0()) {
    raiseGp();
    return;
  }
  const before = cpu.cr0;
  const next = (value & CR0_DEFINED) | CR0_ET;
  const pagingOn = (next & CR0_PG) != 0 && (before & CR0_PG) == 0;
  const pagingOff = (next & CR0_PG) == 0 && (before & CR0_PG) != 0;
  if (pagingOn && (cpu.efer & EFER_LME) != 0 && ((cpu.cr4 & CR4_PAE) == 0 || (segRights(CS) & AR_L) != 0)) {
    raiseGp();
    return;
  }
  if (pagingOff && (is64() || (cpu.cr4 & CR4_PCIDE) != 0)) {
    raiseGp();
    return;
  }
  if (
    usesPdptes(next, cpu.cr4) &&
    (pagingOn || ((before ^ next) & (CR0_CD | CR0_NW)) != 0) &&
    !loadPdptes(cpu.cr3)
  )
    return;
  cpu.cr0 = next;
  cpu.guestStateChanged = 1;
  if (pagingOn && (cpu.efer & EFER_LME) != 0) cpu.efer |= EFER_LMA;
  if (pagingOff) cpu.efer &= ~EFER_LMA;
  if ((before ^ next) & (CR0_PE | CR0_PG | CR0_WP)) {
    if ((before ^ next) & CR0_PG) dropContexts(cpu.vpid, -1);
    if ((before ^ next) & CR0_PE && (next & CR0_PE) == 0) cpu.cpl = 0;
    updateMode();
    updateContext();
  }
  updateMedia();
  cpu.leave = 1;
}

export function writeCr3(value: u64): void {
  const keep = (cpu.cr4 & CR4_PCIDE) != 0 && value >> 63 != 0;
  const next = (cpu.cr4 & CR4_PCIDE) != 0 ? value & 0x7fffffffffffffff : value;
  if ((next & ~PHYSICAL_MASK) != 0 && isLongMode()) {
    raiseGp();
    return;
  }
  if (usesPdptes(cpu.cr0, cpu.cr4) && !loadPdptes(next)) return;
  cpu.cr3 = next;
  cpu.guestStateChanged = 1;
  if (!keep) dropContexts(cpu.vpid, <i32>currentPcid());
  updateContext();
}

export function writeCr4(value: u64): void {
  const before = cpu.cr4;
  // In IA-32e mode PAE stays on, and the number of levels as it is; in VMX operation VMXE.
  const isFixed =
    (isLongMode() && ((value & CR4_PAE) == 0 || ((value ^ before) & CR4_LA57) != 0)) ||
    (cpu.vmxOn != 0 && (value & CR4_VMXE) == 0);
  if ((value & ~cr4Supported()) != 0 || isFixed) {
    raiseGp();
    return;
  }
  if ((value & CR4_PCIDE) != 0 && (before & CR4_PCIDE) == 0 && (!isLongMode() || (cpu.cr3 & 0xfff) != 0)) {
    raiseGp();
    return;
  }
  if (
    usesPdptes(cpu.cr0, value) &&
    ((before ^ value) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) != 0 &&
    !loadPdptes(cpu.cr3)
  )
    return;
  cpu.cr4 = value;
  cpu.guestStateChanged = 1;
  if ((before ^ value) & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_PKE))
    dropContexts(cpu.vpid, -1);
  updateContext();
  updateMedia();
  if ((before ^ value) & CR4_DE) updateBreakpoints();
  cpu.leave = 1;
}

function operandValue(record: usize): u64 {
  return is64() ? Op.src<u64>(record) : <u64>Op.src<u32>(record);
}

export function moveToControl(record: usize): void {
  if (!requireRing0()) return;
  const number = Op.dstNumber(record);
  const value = operandValue(record);
  if (cpu.vmxNonRoot != 0 && exitOnControlWrite(record, number, value)) return;
  switch (number) {
    case 0:
      writeCr0(cpu.vmxNonRoot != 0 ? (cpu.cr0 & cpu.cr0Mask) | (value & ~cpu.cr0Mask) : value);
      return;
    case 2:
      cpu.cr2 = value;
      return;
    case 3:
      writeCr3(value);
      return;
    case 4:
      writeCr4(cpu.vmxNonRoot != 0 ? (cpu.cr4 & cpu.cr4Mask) | (value & ~cpu.cr4Mask) : value);
      return;
    case 8:
      if (value > 15) {
        raiseGp();
        return;
      }
      if (usesTprShadow()) writeVirtualTpr(<u32>value);
      else apicWrite(APIC_TPR, (<u32>value) << 4);
      return;
    default:
      raiseUd();
  }
}

export function moveFromControl(record: usize): void {
  if (!requireRing0()) return;
  const number = Op.srcNumber(record);
  if (cpu.vmxNonRoot != 0 && exitOnControlRead(record, number)) return;
  let value: u64 = 0;
  switch (number) {
    case 0:
      value = guestVisibleCr0();
      break;
    case 2:
      value = cpu.cr2;
      break;
    case 3:
      value = cpu.cr3;
      break;
    case 4:
      value = cpu.vmxNonRoot != 0 ? (cpu.cr4 & ~cpu.cr4Mask) | (cpu.cr4Shadow & cpu.cr4Mask) : cpu.cr4;
      break;
    case 8:
      value = <u64>(usesTprShadow() ? readVirtualTpr() : apicRead(APIC_TPR) >> 4);
      break;
    default:
      raiseUd();
      return;
  }
  if (is64()) Op.setDst<u64>(record, value);
  else Op.setDst<u32>(record, <u32>value);
}

export function lmsw(record: usize): void {
  if (!requireRing0()) return;
  let source: u32;
  if (load<u8>(record, R_FLAGS) & RECORD_REGISTER) source = <u32>Op.dst<u16>(record);
  else {
    const at = Linear.readable<u16>(Address.forRead(record, 2));
    if (at == 0) return;
    source = <u32>load<u16>(at);
  }
  if (cpu.vmxNonRoot != 0 && exitOnLmsw(record, source)) return;
  // LMSW changes PE, MP, EM and TS, and cannot clear PE.
  const writable = cpu.vmxNonRoot != 0 ? 15 & ~cpu.cr0Mask : 15;
  const value = ((<u64>source) & 15) | (cpu.cr0 & CR0_PE);
  writeCr0((cpu.cr0 & ~writable) | (value & writable));
}

export function clts(record: usize): void {
  if (!requireRing0() || (cpu.vmxNonRoot != 0 && exitOnClts(record))) return;
  if (cpu.vmxNonRoot != 0 && (cpu.cr0Mask & CR0_TS) != 0) return;
  cpu.cr0 &= ~CR0_TS;
  cpu.guestStateChanged = 1;
  updateMedia();
}

// --- debug registers

/** DR4 and DR5 are aliases of DR6 and DR7 unless CR4.DE is set. */
function debugNumber(number: u32): u32 {
  if (number == 4 || number == 5) {
    if (cpu.cr4 & CR4_DE) {
      raiseUd();
      return 0xff;
    }
    return number + 2;
  }
  return number;
}

const DR7_GD: u64 = 1 << 13;

/** General detect: any access is #DB. */
function isDetected(): bool {
  if ((debugRegister(7) & DR7_GD) == 0) return false;
  noteDebugCondition(DR6_BD);
  raise(VECTOR_DB);
  return true;
}

export function moveToDebug(record: usize): void {
  const number = debugNumber(Op.dstNumber(record));
  if (
    number == 0xff ||
    !requireRing0() ||
    exitOnDebugAccess(record, Op.dstNumber(record), false) ||
    isDetected()
  )
    return;
  let value = operandValue(record);
  if (number >= 6) {
    if (value >> 32 != 0) {
      raiseGp();
      return;
    }
    value = number == 6 ? (value & 0xe00f) | 0xffff0ff0 : (value & 0xffff2bff) | 0x400;
  }
  setDebugRegister(number, value);
  if (number != 6) updateBreakpoints();
}

export function moveFromDebug(record: usize): void {
  const number = debugNumber(Op.srcNumber(record));
  if (
    number == 0xff ||
    !requireRing0() ||
    exitOnDebugAccess(record, Op.srcNumber(record), true) ||
    isDetected()
  )
    return;
  const value = debugRegister(number);
  if (is64()) Op.setDst<u64>(record, value);
  else Op.setDst<u32>(record, <u32>value);
}

// --- TLB

export function invlpg(record: usize): void {
  if (!requireRing0()) return;
  // The operand's linear address, without the checks of an access.
  const linear = Address.linearOnly(record);
  if (cpu.vmxNonRoot != 0 && exitOnInvlpg(record, linear)) return;
  if (is64() && !isCanonical(linear)) return;
  invalidatePage(linear);
  bumpJumpGeneration();
  updateContext();
}

export function invpcid(record: usize): void {
  if (exitOnInvpcid(record)) return;
  if (cpu.cpl != 0) {
    raiseGp();
    return;
  }
  const linear = Address.forRead(record, 16);
  if (faultPending()) return;
  const pcid = Linear.read<u64>(linear);
  if (faultPending()) return;
  const address = Linear.read<u64>(linear + 8);
  if (faultPending()) return;
  const type = is64() ? Op.dst<u64>(record) : <u64>Op.dst<u32>(record);
  if (
    type > 3 ||
    (type < 2 && (pcid & ~(<u64>0xfff)) != 0) ||
    (type == 0 && is64() && !isLoadable(address)) ||
    (type < 2 && (cpu.cr4 & CR4_PCIDE) == 0 && pcid != 0)
  ) {
    raiseGp();
    return;
  }
  if (type == 0) {
    // Entries of other PCIDs share the slot and are dropped as well, which is always allowed.
    if (pcid == <u64>currentPcid()) invalidatePage(address);
    else dropContexts(cpu.vpid, <i32>pcid);
  } else if (type == 1) dropContexts(cpu.vpid, <i32>pcid);
  else dropContexts(cpu.vpid, -1);
  bumpJumpGeneration();
  updateContext();
}

// --- time, identification

export function rdtsc(record: usize): void {
  if (cpu.cr4 & CR4_TSD && cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnInstruction(record, EXIT_REASON_RDTSC) || mustWait()) return;
  const value = guestTimeStamp();
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

export function rdtscp(record: usize): void {
  if (cpu.cr4 & CR4_TSD && cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnInstruction(record, EXIT_REASON_RDTSCP) || faultPending() || mustWait()) return;
  const value = guestTimeStamp();
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
  setGpr(RCX, cpu.tscAux & 0xffffffff);
}

export function rdpid(record: usize): void {
  // SDM Vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation".
  if (cpu.vmxNonRoot != 0 && (cpu.proc2Controls & SECONDARY_ENABLE_RDTSCP) == 0) {
    raiseUd();
    return;
  }
  Op.setDst<u64>(record, cpu.tscAux & 0xffffffff);
}

/** Counters exist where CPUID leaf AH claims them (-cpu +pmu); every other index is out of range. */
export function rdpmc(record: usize): void {
  if ((cpu.cr4 & CR4_PCE) == 0 && cpu.cpl != 0) {
    raiseGp();
    return;
  }
  if (exitOnInstruction(record, EXIT_REASON_RDPMC)) return;
  const index = <u32>getGpr(RCX);
  if (index >= cpu.counters) {
    raiseGp();
    return;
  }
  const value = counterValue(index);
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

/** Entries of the CPUID table: {leaf, subleaf or ANY, eax, ebx, ecx, edx}, written once by the host from the CPU model. */
const CPUID_ENTRY: usize = 24;
const ANY_SUBLEAF: u32 = 0xffffffff;

export function cpuid(record: usize): void {
  if (cpu.vmxNonRoot != 0 && exitOnInstruction(record, EXIT_REASON_CPUID)) return;
  let leaf = <u32>getGpr(RAX);
  const subleaf = <u32>getGpr(RCX);
  let at = findLeaf(leaf, subleaf);
  if (at == 0) {
    // Beyond the highest basic leaf: the data of the highest one (SDM Vol. 2, "CPUID").
    const highest = cpu.cpuidHighest;
    const isExtended = leaf >= 0x80000000 && leaf <= cpu.cpuidHighestExtended;
    const isHypervisor = leaf >= 0x40000000 && leaf < 0x50000000;
    if (leaf > highest && !isExtended && !isHypervisor) {
      leaf = highest;
      at = findLeaf(leaf, subleaf);
    }
  }
  let eax: u32 = 0;
  let ebx: u32 = 0;
  let ecx: u32 = 0;
  let edx: u32 = 0;
  if (at != 0) {
    eax = load<u32>(at, 8);
    ebx = load<u32>(at, 12);
    ecx = load<u32>(at, 16);
    edx = load<u32>(at, 20);
    if (leaf == 1) {
      ebx = (ebx & 0x00ffffff) | (cpu.id << 24);
      if (cpu.cr4 & CR4_OSXSAVE) ecx |= 1 << 27;
      if ((cpu.miscEnable & MISC_ENABLE_MONITOR) == 0) ecx &= ~CPUID_MONITOR;
      if ((cpu.apicBase & APIC_BASE_ENABLE) == 0) edx &= ~((<u32>1) << 9);
    } else if (leaf == 0xb) edx = cpu.id;
    // OSPKE.
    else if (leaf == 7 && subleaf == 0) ecx |= (cpu.cr4 & CR4_PKE) != 0 ? 1 << 4 : 0;
    // Bytes of an XSAVE image with what XCR0 enables, in the standard and in the compacted format.
    else if (leaf == 0xd && subleaf == 0 && ebx != 0) ebx = standardBytes(cpu.xcr0);
    else if (leaf == 0xd && subleaf == 1 && ebx != 0) ebx = compactedBytes(cpu.xcr0);
  } else if (leaf == 0xb) {
    ecx = subleaf & 0xff;
    edx = cpu.id;
  }
  setGpr(RAX, <u64>eax);
  setGpr(RBX, <u64>ebx);
  setGpr(RCX, <u64>ecx);
  setGpr(RDX, <u64>edx);
}

/** One register (0 EAX to 3 EDX) of a CPUID leaf as the CPU model has it, without what depends on state; 0 without such a leaf. */
export function cpuidWord(leaf: u32, subleaf: u32, register: u32): u32 {
  const at = findLeaf(leaf, subleaf);
  return at == 0 ? 0 : load<u32>(at + ((<usize>register) << 2), 8);
}

function findLeaf(leaf: u32, subleaf: u32): usize {
  const count = cpu.cpuidCount;
  for (let i: u32 = 0; i < count; i++) {
    const at = CPU + CPU_CPUID + <usize>i * CPUID_ENTRY;
    if (load<u32>(at) != leaf) continue;
    const wanted = load<u32>(at, 4);
    if (wanted == ANY_SUBLEAF || wanted == subleaf) return at;
  }
  return 0;
}

// --- model-specific registers

export function rdmsr(record: usize): void {
  if (!requireRing0()) return;
  readMsr(record, <u32>getGpr(RCX));
}

export function wrmsr(record: usize): void {
  if (!requireRing0()) return;
  writeMsr(record, <u32>getGpr(RCX), (<u64>(<u32>getGpr(RAX))) | (getGpr(RDX) << 32));
}

// --- small ones

export function swapgs(record: usize): void {
  if (!requireRing0()) return;
  const base = segBase(GS);
  setSegBase(GS, cpu.kernelGsBase);
  cpu.kernelGsBase = base;
}

export function clac(record: usize): void {
  if (cpu.cpl != 0) {
    raiseUd();
    return;
  }
  cpu.rflags &= ~FLAG_AC;
  updateContext();
}

export function stac(record: usize): void {
  if (cpu.cpl != 0) {
    raiseUd();
    return;
  }
  cpu.rflags |= FLAG_AC;
  updateContext();
}

function fsGsAllowed(): bool {
  if ((cpu.cr4 & CR4_FSGSBASE) == 0) {
    raiseUd();
    return false;
  }
  return true;
}

export function rdfsbase<T>(record: usize): void {
  if (fsGsAllowed()) Op.setDst<T>(record, <T>segBase(FS));
}
export function rdgsbase<T>(record: usize): void {
  if (fsGsAllowed()) Op.setDst<T>(record, <T>segBase(GS));
}
function writeBase<T>(record: usize, index: u32): void {
  if (!fsGsAllowed()) return;
  const value = <u64>Op.dst<T>(record);
  if (!isLoadable(value)) {
    raiseGp();
    return;
  }
  setSegBase(index, value);
}
export function wrfsbase<T>(record: usize): void {
  writeBase<T>(record, FS);
}
export function wrgsbase<T>(record: usize): void {
  writeBase<T>(record, GS);
}

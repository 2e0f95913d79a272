/** System instructions that only change RFLAGS, wait, look after caches and TLB, or reach MSRs and segment bases. SDM Vol. 2. */
import { CR4_FSGSBASE, CR4_PCIDE, FLAG_AC, FLAG_IF, FLAG_VIF, FLAG_VIP } from "../spec/architecture";
import { CPU_ATTENTION, CPU_CPUID } from "../layout.generated";
import { CPU, FS, GS, HALTED, RAX, RCX, RDX, cpu, getGpr, machine } from "../state/cpu";
import { mustWait } from "../state/clock";
import { is64, isProtected, segBase, setSegBase, updateContext, currentPcid } from "../state/mode";
import { dropContexts, invalidatePage } from "../mmu/contexts";
import { Address } from "../mmu/segmented";
import { Linear, isCanonical, isLoadable } from "../mmu/linear";
import { faultPending, raiseGp, raiseUd } from "../interrupts/raise";
import { bumpJumpGeneration } from "../records/block-cache";
import { hasVirtualIf } from "../interrupts/virtual-8086";
import { exitOnInstruction, exitOnInvlpg, exitOnInvpcid, exitOnPause } from "../vmx/instruction-exits";
import { Op } from "./operand";
import { readMsr, writeMsr } from "./msr";
import { EXIT_REASON_HLT, EXIT_REASON_INVD, EXIT_REASON_WBINVD } from "../spec/vmx";
import { requireRing0 } from "./privilege";

export function ud(record: usize): void {
  raiseUd();
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

/** CPUID, and what reads the clock and the counters. SDM Vol. 2. */
import { CR4_OSXSAVE, CR4_PCE, CR4_PKE, CR4_TSD } from "../spec/architecture";
import { CPU_CPUID } from "../layout.generated";
import { CPU, RAX, RBX, RCX, RDX, cpu, getGpr, setGpr } from "../state/cpu";
import { guestTimeStamp, mustWait } from "../state/clock";
import { counterValue } from "../state/performance";
import { faultPending, raiseGp, raiseUd } from "../interrupts/raise";
import { APIC_BASE_ENABLE } from "../interrupts/local-apic";
import { exitOnInstruction } from "../vmx/instruction-exits";
import { Op } from "./operand";
import { compactedBytes, standardBytes } from "./xsave";
import { CPUID_MONITOR } from "./msr";
import { MISC_ENABLE_MONITOR } from "../spec/msr";
import {
  EXIT_REASON_CPUID,
  EXIT_REASON_RDPMC,
  EXIT_REASON_RDTSC,
  EXIT_REASON_RDTSCP,
  SECONDARY_ENABLE_RDTSCP,
} from "../spec/vmx";

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

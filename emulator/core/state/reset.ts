/** Power-on and INIT states. SDM Vol. 3A, "Processor State After Reset". */
import { CPU_DR, CPU_MTRR_FIXED, CPU_MTRR_VARIABLE, CPU_VECTOR, CPU_X87 } from "../layout.generated";
import { ACTIVE, CPU, CS, DS, ES, FS, GS, LDTR, RDX, SS, TR, WAIT_FOR_SIPI, cpu, setGpr } from "./cpu";
import { setArithmeticFlags } from "./flags";
import { setSegment, updateContext, updateMode } from "./mode";
import { NEVER } from "./clock";
import { flushAllContexts } from "../mmu/contexts";
import { disarmMonitor } from "../mmu/monitor";
import { MISC_ENABLE_FAST_STRINGS, MISC_ENABLE_MONITOR } from "../spec/msr";
import { hasMonitor } from "../instructions/msr";
import { flushBlocks } from "../records/block-cache";
import { APIC_BASE_BSP, APIC_BASE_ENABLE, initApic, resetApic } from "../interrupts/local-apic";

/** What INIT and reset share: everything but caches, MSRs of memory types, counters and the clock. */
export function resetForInit(): void {
  for (let i: u32 = 0; i < 16; i++) setGpr(i, 0);
  // Family 6, model 1AH, stepping 5: what CPUID.1:EAX says, by the host's choice of model.
  setGpr(RDX, <u64>cpu.signature);
  cpu.rip = 0xfff0;
  cpu.rflags = 2;
  setArithmeticFlags(0);
  cpu.cr0 = 0x60000010;
  cpu.cr2 = 0;
  cpu.cr3 = 0;
  cpu.cr4 = 0;
  cpu.efer = 0;
  setSegment(CS, 0xf000, 0xffff0000, 0xffff, 0x9b);
  setSegment(ES, 0, 0, 0xffff, 0x93);
  setSegment(SS, 0, 0, 0xffff, 0x93);
  setSegment(DS, 0, 0, 0xffff, 0x93);
  setSegment(FS, 0, 0, 0xffff, 0x93);
  setSegment(GS, 0, 0, 0xffff, 0x93);
  setSegment(LDTR, 0, 0, 0xffff, 0x82);
  setSegment(TR, 0, 0, 0xffff, 0x8b);
  cpu.gdtrBase = 0;
  cpu.gdtrLimit = 0xffff;
  cpu.idtrBase = 0;
  cpu.idtrLimit = 0xffff;
  for (let i: usize = 0; i < 8; i++) store<u64>(CPU + CPU_DR + (i << 3), 0);
  store<u64>(CPU + CPU_DR + 48, 0xffff0ff0);
  store<u64>(CPU + CPU_DR + 56, 0x400);
  cpu.breakpoints = 0;
  cpu.taskFault = -1;
  cpu.debugHits = 0;
  cpu.cpl = 0;
  cpu.interruptibility = 0;
  cpu.faultVector = -1;
  cpu.softwareVector = -1;
  cpu.deliveringVector = -1;
  cpu.nmiPending = 0;
  cpu.vmxNonRoot = 0;
  cpu.vmcsKept = 0;
  cpu.eptp = 0;
  cpu.vpid = 0;
  cpu.preemptionDeadline = NEVER;
  disarmMonitor();
  cpu.record = 0;
  cpu.blockFirst = 0;
  const keepBase = cpu.apicBase;
  initApic();
  cpu.apicBase = keepBase;
  flushAllContexts();
  updateMode();
  updateContext();
}

/** Power-on: the whole CPU. Configuration fields (id, clock, cache sizes, CPUID table) must have been set. */
export function resetForPowerOn(): void {
  memory.fill(CPU + CPU_VECTOR, 0, 512);
  memory.fill(CPU + CPU_X87, 0, 128);
  cpu.mxcsr = 0x1f80;
  cpu.x87Control = 0x40;
  cpu.x87Status = 0;
  // All registers valid (and zero).
  cpu.x87Tag = 0xff;
  cpu.x87Opcode = 0;
  cpu.x87CodeSelector = 0;
  cpu.x87DataSelector = 0;
  cpu.x87CodeOffset = 0;
  cpu.x87DataOffset = 0;
  cpu.xcr0 = 1;
  cpu.ferr = 0;
  cpu.ferrTold = 0;
  cpu.ignne = 0;
  cpu.pkru = 0;
  cpu.randomCount = 0;
  cpu.apicBase = 0xfee00000 | APIC_BASE_ENABLE | (cpu.id == 0 ? APIC_BASE_BSP : 0);
  cpu.sysenterCs = 0;
  cpu.sysenterEsp = 0;
  cpu.sysenterEip = 0;
  cpu.star = 0;
  cpu.lstar = 0;
  cpu.cstar = 0;
  cpu.fmask = 0;
  cpu.kernelGsBase = 0;
  cpu.tscAux = 0;
  cpu.featureControl = 0;
  cpu.miscEnable = MISC_ENABLE_FAST_STRINGS | (hasMonitor() ? MISC_ENABLE_MONITOR : 0);
  cpu.debugCtl = 0;
  cpu.tscAdjust = 0;
  cpu.pat = 0x0007040600070406;
  cpu.mtrrDefType = 0;
  for (let i: usize = 0; i < 16; i++) store<u64>(CPU + CPU_MTRR_VARIABLE + (i << 3), 0);
  for (let i: usize = 0; i < 11; i++) store<u64>(CPU + CPU_MTRR_FIXED + (i << 3), 0);
  cpu.activity = cpu.id == 0 ? ACTIVE : WAIT_FOR_SIPI;
  const activity = cpu.activity;
  resetForInit();
  resetApic();
  cpu.activity = activity;
  flushBlocks();
}

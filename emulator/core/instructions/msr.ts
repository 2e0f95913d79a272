/** Model-specific registers. SDM Vol. 4. Addresses that are not listed here do not exist: #GP(0). */
import { CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, PHYSICAL_MASK } from "../spec/architecture";
import * as MSR from "../spec/msr";
import { CPU_MTRR_FIXED, CPU_MTRR_VARIABLE } from "../layout.generated";
import { CPU, FS, GS, RAX, RDX, cpu, setGpr } from "../state/cpu";
import { guestTimeStamp, timeStamp } from "../state/clock";
import { counterSelect, counterValue, setCounterSelect, setCounterValue } from "../state/performance";
import { isMachineCheckBank, machineCheckValue, setMachineCheckValue } from "../state/machine-check";
import { segBase, setSegBase, updateContext } from "../state/mode";
import { faultPending, raiseGp } from "../interrupts/raise";
import {
  APIC_BASE_BSP,
  APIC_BASE_ENABLE,
  APIC_BASE_X2APIC,
  APIC_ICR_LOW,
  APIC_SELF_IPI,
  acceptVector,
  apicBaseChanged,
  apicEoi,
  apicRead,
  apicWrite,
  getTscDeadline,
  isImplemented,
  isX2apic,
  readIcr64,
  setTscDeadline,
  writeIcr64,
} from "../interrupts/local-apic";
import { isLoadable } from "../mmu/linear";
import { cpuidWord } from "./identification";
import { exitOnMsr } from "../vmx/msr-exits";
import { VMX_BASIC, VMX_VMFUNC, hasVmx, vmxCapability } from "../vmx/capabilities";
import { isMsrReadVirtualized, readVirtualMsr, writeVirtualMsr } from "../vmx/virtual-apic";

/** CPUID.1:ECX.MONITOR. */
export const CPUID_MONITOR: u32 = 1 << 3;

function answer(value: u64): void {
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

/** 800H to 8FFH, the range that "virtualize x2APIC mode" is about. */
function isX2apicMsr(index: u32): bool {
  return index >> 8 == 8;
}

export function readMsr(record: usize, index: u32): void {
  if (cpu.vmxNonRoot != 0) {
    if (exitOnMsr(record, index, false)) return;
    if (isX2apicMsr(index) && isMsrReadVirtualized(index - MSR.X2APIC_FIRST)) {
      answer(readVirtualMsr(index - MSR.X2APIC_FIRST));
      return;
    }
  }
  const value = msrValue(index);
  if (!faultPending()) answer(value);
}

/** Value of an MSR; #GP(0) is recorded when it does not exist or cannot be read. */
export function msrValue(index: u32): u64 {
  if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) return readX2apic(index);
  if (index >= MSR.MTRR_PHYSBASE0 && index < MSR.MTRR_PHYSBASE0 + 16)
    return load<u64>(CPU + CPU_MTRR_VARIABLE + ((<usize>(index - MSR.MTRR_PHYSBASE0)) << 3));
  if (isCounter(index, MSR.PMC0)) return counterValue(index - MSR.PMC0);
  if (isCounter(index, MSR.PERFEVTSEL0)) return counterSelect(index - MSR.PERFEVTSEL0);
  if (isMachineCheckBank(index)) return machineCheckValue(index);
  const fixed = fixedMtrrIndex(index);
  if (fixed >= 0) return load<u64>(CPU + CPU_MTRR_FIXED + ((<usize>fixed) << 3));
  switch (index) {
    case MSR.TSC:
      return guestTimeStamp();
    case MSR.PLATFORM_ID:
      return 0;
    case MSR.APIC_BASE:
      return cpu.apicBase;
    case MSR.FEATURE_CONTROL:
      return cpu.featureControl;
    case MSR.TSC_ADJUST:
      return cpu.tscAdjust;
    case MSR.SPEC_CTRL:
      if (cpu.specCtrlMay == 0) raiseGp();
      return cpu.specCtrl;
    case MSR.BIOS_SIGN_ID:
      return cpu.microcode;
    case MSR.PKG_CST_CONFIG_CONTROL:
      if (cpu.hasPowerMsrs == 0) raiseGp();
      return cpu.packageCStates;
    case MSR.MTRRCAP:
      // Eight variable ranges, fixed ranges, write-combining.
      return 0x508;
    case MSR.SYSENTER_CS:
      return cpu.sysenterCs;
    case MSR.SYSENTER_ESP:
      return cpu.sysenterEsp;
    case MSR.SYSENTER_EIP:
      return cpu.sysenterEip;
    case MSR.MCG_CAP:
      return cpu.machineCheckBanks;
    case MSR.MCG_STATUS:
      return 0;
    case MSR.MISC_ENABLE:
      return cpu.miscEnable;
    case MSR.DEBUGCTL:
      return cpu.debugCtl;
    case MSR.POWER_CTL:
      if (cpu.hasPowerMsrs == 0) raiseGp();
      return cpu.powerCtl;
    case MSR.PAT:
      return cpu.pat;
    case MSR.MTRR_DEF_TYPE:
      return cpu.mtrrDefType;
    case MSR.TSC_DEADLINE:
      return getTscDeadline();
    case MSR.XSS:
      if (!hasXss()) raiseGp();
      return 0;
    case MSR.EFER:
      return cpu.efer;
    case MSR.STAR:
      return cpu.star;
    case MSR.LSTAR:
      return cpu.lstar;
    case MSR.CSTAR:
      return cpu.cstar;
    case MSR.FMASK:
      return cpu.fmask;
    case MSR.FS_BASE:
      return segBase(FS);
    case MSR.GS_BASE:
      return segBase(GS);
    case MSR.KERNEL_GS_BASE:
      return cpu.kernelGsBase;
    case MSR.TSC_AUX:
      return cpu.tscAux;
    default:
      if (index >= VMX_BASIC && index <= VMX_VMFUNC) return vmxCapability(index);
      raiseGp();
      return 0;
  }
}

/** One of the registers, a counter each, that begin at `first`? */
function isCounter(index: u32, first: u32): bool {
  return index >= first && index < first + cpu.counters;
}

/** 250H, 258H, 259H, 268H–26FH as 0–10; -1 for others. */
function fixedMtrrIndex(index: u32): i32 {
  if (index == 0x250) return 0;
  if (index == 0x258 || index == 0x259) return <i32>index - 0x257;
  if (index >= 0x268 && index <= 0x26f) return <i32>index - 0x265;
  return -1;
}

export function writeMsr(record: usize, index: u32, value: u64): void {
  if (cpu.vmxNonRoot != 0) {
    if (exitOnMsr(record, index, true)) return;
    if (isX2apicMsr(index) && writeVirtualMsr(index - MSR.X2APIC_FIRST, value)) return;
  }
  setMsr(index, value);
}

function setCanonical(value: u64): bool {
  if (isLoadable(value)) return true;
  raiseGp();
  return false;
}

function areMemoryTypesValid(value: u64, allowUncachedMinus: bool): bool {
  for (let i: u64 = 0; i < 64; i += 8) {
    const type = (value >> i) & 0xff;
    if (!(type == 0 || type == 1 || (type >= 4 && type <= 6) || (allowUncachedMinus && type == 7))) {
      raiseGp();
      return false;
    }
  }
  return true;
}

/** Writes an MSR; #GP(0) is recorded when it does not exist, cannot be written, or the value is reserved. */
export function setMsr(index: u32, value: u64): void {
  if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST) {
    writeX2apic(index, value);
    return;
  }
  if (index >= MSR.MTRR_PHYSBASE0 && index < MSR.MTRR_PHYSBASE0 + 16) {
    store<u64>(CPU + CPU_MTRR_VARIABLE + ((<usize>(index - MSR.MTRR_PHYSBASE0)) << 3), value);
    return;
  }
  if (isCounter(index, MSR.PMC0)) {
    setCounterValue(index - MSR.PMC0, value);
    return;
  }
  if (isCounter(index, MSR.PERFEVTSEL0)) {
    if (!setCounterSelect(index - MSR.PERFEVTSEL0, value)) raiseGp();
    return;
  }
  if (isMachineCheckBank(index)) {
    if (!setMachineCheckValue(index, value)) raiseGp();
    return;
  }
  const fixed = fixedMtrrIndex(index);
  if (fixed >= 0) {
    if (areMemoryTypesValid(value, false)) store<u64>(CPU + CPU_MTRR_FIXED + ((<usize>fixed) << 3), value);
    return;
  }
  // Some of those below are guest state that exits save.
  cpu.guestStateChanged = 1;
  switch (index) {
    case MSR.TSC:
      cpu.tscAdjust += value - timeStamp();
      return;
    case MSR.APIC_BASE:
      writeApicBase(value);
      return;
    case MSR.FEATURE_CONTROL:
      if ((cpu.featureControl & 1) != 0 || (value & ~(hasVmx() ? <u64>0xff05 : 1)) != 0) raiseGp();
      else cpu.featureControl = value;
      return;
    case MSR.TSC_ADJUST:
      cpu.tscAdjust = value;
      return;
    case MSR.SPEC_CTRL:
      // What it forbids to predict is not predicted here.
      if (cpu.specCtrlMay == 0 || (value & ~(<u64>cpu.specCtrlMay)) != 0) raiseGp();
      else cpu.specCtrl = value;
      return;
    case MSR.PRED_CMD:
      if (cpu.specCtrlMay == 0 || (value & ~MSR.PRED_CMD_IBPB) != 0) raiseGp();
      return;
    case MSR.PKG_CST_CONFIG_CONTROL:
      if (cpu.hasPowerMsrs == 0 || value >> 32 != 0 || (cpu.packageCStates & MSR.CFG_LOCK) != 0) raiseGp();
      else cpu.packageCStates = value;
      return;
    case MSR.BIOS_UPDATE_TRIGGER:
    case MSR.BIOS_SIGN_ID:
      return;
    case MSR.SYSENTER_CS:
      cpu.sysenterCs = value;
      return;
    case MSR.SYSENTER_ESP:
      if (setCanonical(value)) cpu.sysenterEsp = value;
      return;
    case MSR.SYSENTER_EIP:
      if (setCanonical(value)) cpu.sysenterEip = value;
      return;
    case MSR.MCG_STATUS:
      if (value != 0) raiseGp();
      return;
    case MSR.MISC_ENABLE:
      // MONITOR and MWAIT can be turned off, but not brought to a processor without them.
      cpu.miscEnable = hasMonitor() ? value : value & ~MSR.MISC_ENABLE_MONITOR;
      return;
    case MSR.DEBUGCTL:
      if ((value & ~(<u64>3)) != 0) raiseGp();
      else cpu.debugCtl = value;
      return;
    case MSR.POWER_CTL:
      if (cpu.hasPowerMsrs == 0 || value >> 32 != 0) raiseGp();
      else cpu.powerCtl = value;
      return;
    case MSR.PAT:
      if (areMemoryTypesValid(value, true)) cpu.pat = value;
      return;
    case MSR.MTRR_DEF_TYPE:
      if ((value & ~(<u64>0xcff)) != 0) raiseGp();
      else cpu.mtrrDefType = value;
      return;
    case MSR.TSC_DEADLINE:
      setTscDeadline(value);
      return;
    case MSR.XSS:
      // No supervisor state component exists.
      if (!hasXss() || value != 0) raiseGp();
      return;
    case MSR.EFER:
      writeEfer(value);
      return;
    case MSR.STAR:
      cpu.star = value;
      return;
    case MSR.LSTAR:
      if (setCanonical(value)) cpu.lstar = value;
      return;
    case MSR.CSTAR:
      if (setCanonical(value)) cpu.cstar = value;
      return;
    case MSR.FMASK:
      if (value >> 32 != 0) raiseGp();
      else cpu.fmask = value;
      return;
    case MSR.FS_BASE:
      if (setCanonical(value)) setSegBase(FS, value);
      return;
    case MSR.GS_BASE:
      if (setCanonical(value)) setSegBase(GS, value);
      return;
    case MSR.KERNEL_GS_BASE:
      if (setCanonical(value)) cpu.kernelGsBase = value;
      return;
    case MSR.TSC_AUX:
      if (value >> 32 != 0) raiseGp();
      else cpu.tscAux = value;
      return;
    default:
      raiseGp();
  }
}

/** Does the CPU model have MONITOR and MWAIT? */
export function hasMonitor(): bool {
  return (cpuidWord(1, 0, 2) & CPUID_MONITOR) != 0;
}

/** IA32_XSS exists where XSAVES does: CPUID.(EAX=0DH,ECX=1):EAX[3]. */
function hasXss(): bool {
  return (cpuidWord(0xd, 1, 0) & (1 << 3)) != 0;
}

function writeEfer(value: u64): void {
  const defined = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
  if ((value & ~defined) != 0 || (((value ^ cpu.efer) & EFER_LME) != 0 && (cpu.cr0 & CR0_PG) != 0)) {
    raiseGp();
    return;
  }
  // LMA is the processor's own.
  cpu.efer = (value & ~EFER_LMA) | (cpu.efer & EFER_LMA);
  updateContext();
}

/** SDM Vol. 3A, "x2APIC State Transitions". */
function writeApicBase(value: u64): void {
  const before = cpu.apicBase;
  const enabled = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
  const reserved = ~(PHYSICAL_MASK & 0xffffff000) & ~(enabled | APIC_BASE_BSP);
  const from = before & enabled;
  const to = value & enabled;
  const isBadTransition =
    to == APIC_BASE_X2APIC || (from == enabled && to == APIC_BASE_ENABLE) || (from == 0 && to == enabled);
  if ((value & reserved) != 0 || isBadTransition || ((value ^ before) & APIC_BASE_BSP) != 0) {
    raiseGp();
    return;
  }
  cpu.apicBase = value;
  apicBaseChanged(before);
}

function readX2apic(index: u32): u64 {
  const offset = (index - MSR.X2APIC_FIRST) << 4;
  // Write-only, or not there in x2APIC mode: EOI, DFR, ICR's high half, self IPI.
  const isReadable =
    isImplemented(offset) && offset != 0xb0 && offset != 0xe0 && offset != 0x310 && offset != APIC_SELF_IPI;
  if (!isX2apic() || !isReadable) {
    raiseGp();
    return 0;
  }
  if (offset == APIC_ICR_LOW) return readIcr64();
  return <u64>apicRead(offset);
}

function writeX2apic(index: u32, value: u64): void {
  const offset = (index - MSR.X2APIC_FIRST) << 4;
  if (!isX2apic()) {
    raiseGp();
    return;
  }
  if (offset == APIC_ICR_LOW) {
    writeIcr64(value);
    return;
  }
  if (value >> 32 != 0) {
    raiseGp();
    return;
  }
  switch (offset) {
    case 0xb0:
      if (value != 0) raiseGp();
      else apicEoi();
      return;
    case APIC_SELF_IPI:
      if (value > 0xff) raiseGp();
      else acceptVector(<u32>value);
      return;
    case 0x280:
      if (value != 0) raiseGp();
      else apicWrite(offset, 0);
      return;
    case 0x80:
      if (value > 0xff) raiseGp();
      else apicWrite(offset, <u32>value);
      return;
    case 0xf0:
    case 0x320:
    case 0x330:
    case 0x340:
    case 0x350:
    case 0x360:
    case 0x370:
    case 0x380:
    case 0x3e0:
      apicWrite(offset, <u32>value);
      return;
    default:
      // ID, version, LDR, PPR, ISR, TMR, IRR and the current count are read-only; DFR does not exist.
      raiseGp();
  }
}

/** Control and debug registers: moves to and from them, CLTS, LMSW, and what a change of them brings about. SDM Vol. 3A, "Control Registers", Vol. 3B, "Debug Registers". */
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
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_VMXE,
  EFER_LMA,
  EFER_LME,
  PHYSICAL_MASK,
  PTE_P,
  VECTOR_DB,
  AR_L,
} from "../spec/architecture";
import { CPU_PDPTE, CPU_PDPTE_SCRATCH } from "../layout.generated";
import { CPU, CS, cpu } from "../state/cpu";
import { is64, isLongMode, segRights, updateContext, updateMode, currentPcid } from "../state/mode";
import { ramAddress } from "../mmu/physical";
import { ACCESS_READ, NO_TRANSLATION, machinePhysical } from "../mmu/walk";
import { FOR_PDPTES } from "../mmu/ept-walk";
import { dropContexts } from "../mmu/contexts";
import { Address } from "../mmu/segmented";
import { Linear } from "../mmu/linear";
import { raise, raiseGp, raiseUd } from "../interrupts/raise";
import { APIC_TPR, apicRead, apicWrite } from "../interrupts/local-apic";
import { R_FLAGS, RECORD_REGISTER } from "../records/record";
import {
  exitOnClts,
  exitOnControlRead,
  exitOnControlWrite,
  exitOnDebugAccess,
  exitOnLmsw,
} from "../vmx/instruction-exits";
import { readVirtualTpr, usesTprShadow, writeVirtualTpr } from "../vmx/virtual-apic";
import { CR0_FIXED, cr0FixedInGuest } from "../vmx/fixed-bits";
import { guestVisibleCr0 } from "./segment";
import { Op } from "./operand";
import { requireRing0 } from "./privilege";

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

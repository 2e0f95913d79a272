/** Instructions that exit, always or by a control. SDM Vol. 3C, "Instructions That Cause VM Exits". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { CR0_TS, CR0_PE } from "../spec/architecture";
import { raiseUd } from "../interrupts/raise";
import { CPU_BLOCK_RIP } from "../layout.generated";
import { now } from "../state/clock";
import {
  R_DISP,
  R_DST,
  R_FLAGS,
  R_SRC,
  R_EA,
  R_BASE,
  R_INDEX,
  R_ADDRESS_SIZE,
  R_OPSIZE,
  RECORD_REGISTER,
} from "../records/record";
import { Address } from "../mmu/segmented";
import { vmExitInstruction } from "./exit";
import { Vmcs } from "./vmcs";

/** HLT, RDTSC, RDTSCP, RDPMC, INVD, WBINVD, CPUID, XSETBV. True when the instruction stops here. */
export function exitOnInstruction(record: usize, reason: u32): bool {
  if (cpu.vmxNonRoot == 0) return false;
  let exits = false;
  switch (reason) {
    case X.EXIT_REASON_CPUID:
    case X.EXIT_REASON_INVD:
    case X.EXIT_REASON_XSETBV:
      exits = true;
      break;
    case X.EXIT_REASON_HLT:
      exits = (cpu.procControls & X.PRIMARY_HLT_EXITING) != 0;
      break;
    case X.EXIT_REASON_RDTSC:
      exits = (cpu.procControls & X.PRIMARY_RDTSC_EXITING) != 0;
      break;
    case X.EXIT_REASON_RDTSCP:
      if ((cpu.proc2Controls & X.SECONDARY_ENABLE_RDTSCP) == 0) {
        raiseUd();
        return true;
      }
      exits = (cpu.procControls & X.PRIMARY_RDTSC_EXITING) != 0;
      break;
    case X.EXIT_REASON_RDPMC:
      exits = (cpu.procControls & X.PRIMARY_RDPMC_EXITING) != 0;
      break;
    case X.EXIT_REASON_WBINVD:
      exits = (cpu.proc2Controls & X.SECONDARY_WBINVD_EXITING) != 0;
      break;
    default:
      break;
  }
  if (exits) vmExitInstruction(record, reason, 0);
  return exits;
}

export function exitOnMonitor(record: usize): bool {
  if (cpu.vmxNonRoot == 0 || (cpu.procControls & X.PRIMARY_MONITOR_EXITING) == 0) return false;
  vmExitInstruction(record, X.EXIT_REASON_MONITOR, 0);
  return true;
}

/** The qualification says whether a line is monitored. */
export function exitOnMwait(record: usize): bool {
  if (cpu.vmxNonRoot == 0 || (cpu.procControls & X.PRIMARY_MWAIT_EXITING) == 0) return false;
  vmExitInstruction(record, X.EXIT_REASON_MWAIT, cpu.monitored != 0 ? 1 : 0);
  return true;
}

/** XSAVES and XRSTORS in a guest that has not been given them: #UD. */
export function isXsavesUndefined(): bool {
  if (cpu.vmxNonRoot == 0 || (cpu.proc2Controls & X.SECONDARY_ENABLE_XSAVES) != 0) return false;
  raiseUd();
  return true;
}

export function exitOnVmcall(record: usize): void {
  vmExitInstruction(record, X.EXIT_REASON_VMCALL, 0);
}

export function exitOnInvlpg(record: usize, linear: u64): bool {
  if ((cpu.procControls & X.PRIMARY_INVLPG_EXITING) == 0) return false;
  vmExitInstruction(record, X.EXIT_REASON_INVLPG, linear);
  return true;
}

/** SGDT … LTR under descriptor-table exiting; the qualification is the displacement. */
export function exitOnDescriptorTable(record: usize): bool {
  if (
    cpu.vmxNonRoot == 0 ||
    cpu.emulating != 0 ||
    (cpu.proc2Controls & X.SECONDARY_DESCRIPTOR_TABLE_EXITING) == 0
  )
    return false;
  const kind = load<u8>(record, R_KIND);
  // Bits 29:28 of the instruction information: which of the four of its group.
  const isLdtOrTr = kind >= 4;
  vmExitInstruction(
    record,
    isLdtOrTr ? X.EXIT_REASON_LDTR_TR_ACCESS : X.EXIT_REASON_GDTR_IDTR_ACCESS,
    displacement(record),
  );
  let info = memoryInformation(record, <u32>load<u8>(record, R_DST));
  if (isLdtOrTr) info &= ~INFO_OPERAND_SIZE;
  Vmcs.set(X.VMCS_EXIT_INSTRUCTION_INFO, <u64>(info | ((<u32>(kind & 3)) << 28)));
  return true;
}

/** Opcode extension of group 6 and 7 rows, kept in the record: 0–3 SGDT SIDT LGDT LIDT, 4–7 SLDT STR LLDT LTR. */
const R_KIND: usize = 15;

/**
 * The displacement of a memory operand, as exit qualifications have it; with RIP-relative addressing the whole address, without
 * memory operand 0 (SDM Vol. 3C, "Basic VM-Exit Information").
 */
function displacement(record: usize): u64 {
  if ((load<u8>(record, R_FLAGS) & RECORD_REGISTER) != 0) return 0;
  const value = load<u64>(record, R_DISP);
  return load<u8>(record, R_BASE) == <u8>CPU_BLOCK_RIP ? value + cpu.blockRip : value;
}

/**
 * Scaling, address size, segment, index and base of the instruction-information field, or a register operand.
 *
 * @param register the record's operand byte of a register operand that memory could be in place of
 */
function memoryInformation(record: usize, register: u32): u32 {
  const isRegister = (load<u8>(record, R_FLAGS) & RECORD_REGISTER) != 0;
  const addressSize = load<u8>(record, R_ADDRESS_SIZE);
  let info: u32 = (addressSize == 2 ? 0 : addressSize == 4 ? 1 : 2) << 7;
  if (load<u8>(record, R_OPSIZE) == 4) info |= 1 << 11;
  if (isRegister) return info | (1 << 10) | ((register >> 3) << 3);
  const ea = <u32>load<u8>(record, R_EA);
  info |= ea >> 6;
  info |= (ea & 7) << 15;
  const base = (<u32>load<u8>(record, R_BASE)) >> 3;
  const index = (<u32>load<u8>(record, R_INDEX)) >> 3;
  info |= index < 16 ? index << 18 : 1 << 22;
  info |= base < 16 ? base << 23 : 1 << 27;
  return info;
}

/** Bit 11 of `memoryInformation`, which only descriptor-table instructions have. */
const INFO_OPERAND_SIZE: u32 = 1 << 11;

/** VMXON, VMPTRLD and their like, XSAVES, XRSTORS: one memory operand. */
export function exitOnVmxMemory(record: usize, reason: u32): void {
  vmExitInstruction(record, reason, displacement(record));
  Vmcs.set(X.VMCS_EXIT_INSTRUCTION_INFO, <u64>(memoryInformation(record, 0) & ~INFO_OPERAND_SIZE));
}

/** VMREAD, VMWRITE, INVEPT, INVVPID, INVPCID: memory or a register, and a second register in bits 31:28. */
export function exitOnVmxRegisters(record: usize, reason: u32): void {
  vmExitInstruction(record, reason, displacement(record));
  const destination = <u32>load<u8>(record, R_DST);
  const source = <u32>load<u8>(record, R_SRC);
  // VMREAD's register-or-memory operand is its destination.
  const isRead = reason == X.EXIT_REASON_VMREAD;
  const info = memoryInformation(record, isRead ? destination : source) & ~INFO_OPERAND_SIZE;
  const second = (isRead ? source : destination) >> 3;
  Vmcs.set(X.VMCS_EXIT_INSTRUCTION_INFO, <u64>(info | (second << 28)));
}

/** An instruction without operands that exits. */
export function vmExitPlain(record: usize, reason: u32): void {
  vmExitInstruction(record, reason, 0);
}

/** RDRAND and RDSEED: destination register and operand size. True when the instruction stops here. */
export function exitOnRandom(record: usize, reason: u32): bool {
  if (cpu.vmxNonRoot == 0) return false;
  const control: u32 =
    reason == X.EXIT_REASON_RDRAND ? X.SECONDARY_RDRAND_EXITING : X.SECONDARY_RDSEED_EXITING;
  if ((cpu.proc2Controls & control) == 0) return false;
  vmExitInstruction(record, reason, 0);
  const size = load<u8>(record, R_OPSIZE);
  const sizeField: u32 = size == 2 ? 0 : size == 4 ? 1 : 2;
  Vmcs.set(
    X.VMCS_EXIT_INSTRUCTION_INFO,
    <u64>((((<u32>load<u8>(record, R_DST)) >> 3) << 3) | (sizeField << 11)),
  );
  return true;
}

/** INVPCID: #UD without "enable INVPCID"; exits under "INVLPG exiting". True when the instruction stops here. */
export function exitOnInvpcid(record: usize): bool {
  if (cpu.vmxNonRoot == 0) return false;
  if ((cpu.proc2Controls & X.SECONDARY_ENABLE_INVPCID) == 0) {
    raiseUd();
    return true;
  }
  if (cpu.cpl != 0 || (cpu.procControls & X.PRIMARY_INVLPG_EXITING) == 0) return false;
  exitOnVmxRegisters(record, X.EXIT_REASON_INVPCID);
  return true;
}

/**
 * PAUSE: "PAUSE exiting", else at CPL 0 "PAUSE-loop exiting" (SDM Vol. 3C, "Instructions That Cause VM Exits Conditionally"): a
 * PAUSE more than PLE_Gap cycles behind the last one begins a loop; one more than PLE_Window behind the loop's first exits.
 */
export function exitOnPause(record: usize): bool {
  if (cpu.vmxNonRoot == 0) return false;
  if ((cpu.procControls & X.PRIMARY_PAUSE_EXITING) != 0) {
    vmExitInstruction(record, X.EXIT_REASON_PAUSE, 0);
    return true;
  }
  if ((cpu.proc2Controls & X.SECONDARY_PAUSE_LOOP_EXITING) == 0 || cpu.cpl != 0) return false;
  const time = now();
  const isNew = time - cpu.pauseLast > <u64>Vmcs.get32(X.VMCS_PLE_GAP);
  cpu.pauseLast = time;
  if (isNew) cpu.pauseFirst = time;
  if (time - cpu.pauseFirst <= <u64>Vmcs.get32(X.VMCS_PLE_WINDOW)) return false;
  cpu.pauseFirst = time;
  vmExitInstruction(record, X.EXIT_REASON_PAUSE, 0);
  return true;
}

// Qualification of control-register accesses: bits 3:0 register, 5:4 type, 6 LMSW memory, 11:8 GPR, 31:16 LMSW source.
const CR_MOV_TO: u64 = 0 << 4;
const CR_MOV_FROM: u64 = 1 << 4;
const CR_CLTS: u64 = 2 << 4;
const CR_LMSW: u64 = 3 << 4;

export function exitOnControlWrite(record: usize, number: u32, value: u64): bool {
  let exits = false;
  switch (number) {
    case 0:
      exits = ((value ^ cpu.cr0Shadow) & cpu.cr0Mask) != 0;
      break;
    case 3:
      exits = (cpu.procControls & X.PRIMARY_CR3_LOAD_EXITING) != 0 && !isCr3Target(value);
      break;
    case 4:
      exits = ((value ^ cpu.cr4Shadow) & cpu.cr4Mask) != 0;
      break;
    case 8:
      exits = (cpu.procControls & X.PRIMARY_CR8_LOAD_EXITING) != 0;
      break;
    default:
      break;
  }
  if (exits)
    vmExitInstruction(
      record,
      X.EXIT_REASON_CR_ACCESS,
      (<u64>number) | CR_MOV_TO | ((<u64>(load<u8>(record, R_SRC) >> 3)) << 8),
    );
  return exits;
}

function isCr3Target(value: u64): bool {
  const count = Vmcs.get32(X.VMCS_CR3_TARGET_COUNT);
  for (let i: u32 = 0; i < count && i < 4; i++)
    if (Vmcs.get(X.VMCS_CR3_TARGET_0 + ((<usize>i) << 3)) == value) return true;
  return false;
}

export function exitOnControlRead(record: usize, number: u32): bool {
  const exits =
    (number == 3 && (cpu.procControls & X.PRIMARY_CR3_STORE_EXITING) != 0) ||
    (number == 8 && (cpu.procControls & X.PRIMARY_CR8_STORE_EXITING) != 0);
  if (exits)
    vmExitInstruction(
      record,
      X.EXIT_REASON_CR_ACCESS,
      (<u64>number) | CR_MOV_FROM | ((<u64>(load<u8>(record, R_DST) >> 3)) << 8),
    );
  return exits;
}

export function exitOnClts(record: usize): bool {
  if ((cpu.cr0Mask & cpu.cr0Shadow & CR0_TS) == 0) return false;
  vmExitInstruction(record, X.EXIT_REASON_CR_ACCESS, CR_CLTS);
  return true;
}

/** LMSW exits when it would change a masked bit of CR0[3:0] from the shadow; it cannot clear PE. */
export function exitOnLmsw(record: usize, source: u32): bool {
  const mask = cpu.cr0Mask;
  const differs = ((<u64>source) ^ cpu.cr0Shadow) & mask & 0xe;
  const setsPe = (mask & CR0_PE) != 0 && (source & 1) != 0 && (cpu.cr0Shadow & CR0_PE) == 0;
  if (differs == 0 && !setsPe) return false;
  const isMemory = (load<u8>(record, R_FLAGS) & RECORD_REGISTER) == 0;
  vmExitInstruction(
    record,
    X.EXIT_REASON_CR_ACCESS,
    CR_LMSW | (isMemory ? 1 << 6 : 0) | ((<u64>source) << 16),
  );
  if (isMemory) Vmcs.set(X.VMCS_GUEST_LINEAR_ADDRESS, Address.linearOnly(record));
  return true;
}

export function exitOnDebugAccess(record: usize, number: u32, isRead: bool): bool {
  if (cpu.vmxNonRoot == 0 || (cpu.procControls & X.PRIMARY_MOV_DR_EXITING) == 0) return false;
  const register = <u64>((isRead ? load<u8>(record, R_DST) : load<u8>(record, R_SRC)) >> 3);
  vmExitInstruction(record, X.EXIT_REASON_DR_ACCESS, (<u64>number) | (isRead ? 1 << 4 : 0) | (register << 8));
  return true;
}

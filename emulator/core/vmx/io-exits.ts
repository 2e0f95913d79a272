/** I/O instructions: bitmaps and exit information. SDM Vol. 3C, "I/O-Bitmap Addresses", "Exit Qualification for I/O Instructions". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { ramAddress } from "../mmu/physical";
import { R_ADDRESS_SIZE, R_EA, R_FLAGS, RECORD_REP, RECORD_REPNE } from "../records/record";
import { StringPort } from "../instructions/string";
import { vmExitInstruction } from "./exit";
import { Vmcs } from "./vmcs";

function bitSet(bitmap: u64, bit: u32): bool {
  const at = ramAddress(bitmap + (bit >> 3), 1);
  return at == 0 || (((<u32>load<u8>(at)) >> (bit & 7)) & 1) != 0;
}

function isIntercepted(port: u32, size: u32): bool {
  if ((cpu.procControls & X.PRIMARY_USE_IO_BITMAPS) == 0)
    return (cpu.procControls & X.PRIMARY_UNCONDITIONAL_IO_EXITING) != 0;
  // An access that wraps around the port space exits.
  if (port + size > 0x10000) return true;
  for (let i: u32 = 0; i < size; i++) {
    const p = port + i;
    if (
      p < 0x8000 ? bitSet(Vmcs.get(X.VMCS_IO_BITMAP_A), p) : bitSet(Vmcs.get(X.VMCS_IO_BITMAP_B), p - 0x8000)
    )
      return true;
  }
  return false;
}

/** True when the access exits. */
export function exitOnPort(
  record: usize,
  port: u32,
  size: u32,
  isIn: bool,
  isString: bool,
  isImmediate: bool,
): bool {
  if (cpu.vmxNonRoot == 0 || cpu.emulating != 0 || !isIntercepted(port, size)) return false;
  let qualification = (<u64>(size - 1)) | ((<u64>port) << 16);
  if (isIn) qualification |= 1 << 3;
  if (isString) qualification |= 1 << 4;
  if (isString && (load<u8>(record, R_FLAGS) & (RECORD_REP | RECORD_REPNE)) != 0) qualification |= 1 << 5;
  if (isImmediate) qualification |= 1 << 6;
  vmExitInstruction(record, X.EXIT_REASON_IO_INSTRUCTION, qualification);
  if (isString) {
    const linear = isIn ? StringPort.destination(record, size) : StringPort.source(record, size);
    Vmcs.set(X.VMCS_GUEST_LINEAR_ADDRESS, linear);
    const addressSize = load<u8>(record, R_ADDRESS_SIZE);
    const info: u32 =
      ((addressSize == 2 ? 0 : addressSize == 4 ? 1 : 2) << 7) |
      (isIn ? 0 : ((<u32>load<u8>(record, R_EA)) & 7) << 15);
    Vmcs.set(X.VMCS_EXIT_INSTRUCTION_INFO, <u64>info);
  }
  return true;
}

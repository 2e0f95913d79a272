/** RDMSR and WRMSR: the MSR bitmaps. SDM Vol. 3C, "MSR-Bitmap Address". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { ramAddress } from "../mmu/physical";
import { vmExitInstruction } from "./exit";
import { Vmcs } from "./vmcs";

/** True when the access exits. */
export function exitOnMsr(record: usize, index: u32, isWrite: bool): bool {
  let exits = true;
  if (cpu.procControls & X.PRIMARY_USE_MSR_BITMAPS) {
    let at: i32 = -1;
    if (index < 0x2000) at = 0;
    else if (index >= 0xc0000000 && index < 0xc0002000) at = 1024;
    if (at >= 0) {
      const byte = ramAddress(
        Vmcs.get(X.VMCS_MSR_BITMAP) + <u64>(at + (isWrite ? 2048 : 0)) + ((index & 0x1fff) >> 3),
        1,
      );
      exits = byte == 0 || (((<u32>load<u8>(byte)) >> (index & 7)) & 1) != 0;
    }
  }
  if (exits) vmExitInstruction(record, isWrite ? X.EXIT_REASON_MSR_WRITE : X.EXIT_REASON_MSR_READ, 0);
  return exits;
}

/**
 * The machine-check architecture, SDM Vol. 3B, "Machine-Check Architecture": its registers. No error is ever found, so that the banks'
 * status, address and other information read as 0; only what software enables is state.
 */
import { CPU_MACHINE_CHECK_CTL } from "../layout.generated";
import { MC0_CTL } from "../spec/msr";
import { CPU, cpu } from "./cpu";

const REGISTERS_PER_BANK: u32 = 4;
const CTL: u32 = 0;

/** Is it a register of a bank that the model has? */
export function isMachineCheckBank(index: u32): bool {
  return index >= MC0_CTL && index - MC0_CTL < cpu.machineCheckBanks * REGISTERS_PER_BANK;
}

function ctlOf(index: u32): usize {
  return CPU + CPU_MACHINE_CHECK_CTL + ((<usize>((index - MC0_CTL) / REGISTERS_PER_BANK)) << 3);
}

export function machineCheckValue(index: u32): u64 {
  return (index - MC0_CTL) % REGISTERS_PER_BANK == CTL ? load<u64>(ctlOf(index)) : 0;
}

/** Writes a bank's register. False, and nothing is written, where the value must be 0 and is not: #GP(0). */
export function setMachineCheckValue(index: u32, value: u64): bool {
  if ((index - MC0_CTL) % REGISTERS_PER_BANK != CTL) return value == 0;
  store<u64>(ctlOf(index), value);
  return true;
}

/** At power-on. */
export function resetMachineCheck(): void {
  for (let bank: u32 = 0; bank < cpu.machineCheckBanks; bank++)
    store<u64>(ctlOf(MC0_CTL + bank * REGISTERS_PER_BANK), 0);
}

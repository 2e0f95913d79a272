/** RDPKRU and WRPKRU. SDM Vol. 2; SDM Vol. 3A, "Protection Keys". */
import { CR4_PKE } from "../spec/architecture";
import { RAX, RCX, RDX, cpu, getGpr, setGpr } from "../state/cpu";
import { updateContext } from "../state/mode";
import { raiseGp, raiseUd } from "../interrupts/raise";

/** Sets PKRU; from the next access on it decides. */
export function setPkru(value: u32): void {
  if (value == cpu.pkru) return;
  cpu.pkru = value;
  updateContext();
}

/** #UD without CR4.PKE, #GP(0) unless ECX is 0. True when the instruction stops. */
function isStopped(): bool {
  if ((cpu.cr4 & CR4_PKE) == 0) {
    raiseUd();
    return true;
  }
  if (<u32>getGpr(RCX) == 0) return false;
  raiseGp();
  return true;
}

export function rdpkru(record: usize): void {
  if (isStopped()) return;
  setGpr(RAX, <u64>cpu.pkru);
  setGpr(RDX, 0);
}

export function wrpkru(record: usize): void {
  if (isStopped()) return;
  if (<u32>getGpr(RDX) != 0) raiseGp();
  else setPkru(<u32>getGpr(RAX));
}

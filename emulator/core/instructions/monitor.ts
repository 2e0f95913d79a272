/** MONITOR and MWAIT. SDM Vol. 2, "MONITOR", "MWAIT"; SDM Vol. 3A, "MONITOR/MWAIT Instruction". */
import { MISC_ENABLE_MONITOR } from "../spec/msr";
import { MWAITING, RAX, RCX, cpu, getGpr } from "../state/cpu";
import { is64 } from "../state/mode";
import { faultPending, raiseGp, raiseUd } from "../interrupts/raise";
import { Linear } from "../mmu/linear";
import { armMonitor, disarmMonitor } from "../mmu/monitor";
import { isRam } from "../mmu/physical";
import { segmentLinear } from "../mmu/segmented";
import { R_ADDRESS_SIZE, R_EA } from "../records/record";
import { exitOnMonitor, exitOnMwait } from "../vmx/instruction-exits";

/** MWAIT's extension in ECX: interrupts end the wait even while they are masked. */
const BREAK_ON_MASKED: u64 = 1;

/** #UD above CPL 0, and where IA32_MISC_ENABLE has taken the instructions away. */
function isUndefined(): bool {
  if (cpu.cpl == 0 && (cpu.miscEnable & MISC_ENABLE_MONITOR) != 0) return false;
  raiseUd();
  return true;
}

/** The extensions in rCX. */
function extensions(): u64 {
  const value = getGpr(RCX);
  return is64() ? value : value & 0xffffffff;
}

/** Of lines outside RAM nothing is monitored: MWAIT then does not wait. */
export function monitor(record: usize): void {
  if (isUndefined() || exitOnMonitor(record)) return;
  if (extensions() != 0) {
    raiseGp();
    return;
  }
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const rax = getGpr(RAX);
  const offset = size == 8 ? rax : size == 4 ? rax & 0xffffffff : rax & 0xffff;
  const at = Linear.readable<u8>(segmentLinear((<u32>load<u8>(record, R_EA)) & 7, offset, 1, false));
  if (faultPending()) return;
  if (isRam(at)) armMonitor(at);
  else disarmMonitor();
}

export function mwait(record: usize): void {
  if (isUndefined() || exitOnMwait(record)) return;
  const wanted = extensions();
  if ((wanted & ~BREAK_ON_MASKED) != 0) {
    raiseGp();
    return;
  }
  // Not armed, or written to since.
  if (cpu.monitored == 0) return;
  cpu.mwaitBreaksOnMasked = <u32>(wanted & BREAK_ON_MASKED);
  cpu.activity = MWAITING;
  cpu.leave = 1;
}

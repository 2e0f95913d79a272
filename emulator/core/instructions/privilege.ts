/** What most system instructions ask first. */
import { raiseGp } from "../interrupts/raise";
import { cpu } from "../state/cpu";

/** True when CPL is 0; else #GP(0) is recorded. */
export function requireRing0(): bool {
  if (cpu.cpl != 0) {
    raiseGp();
    return false;
  }
  return true;
}

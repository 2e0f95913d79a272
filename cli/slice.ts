/** How much of a machine in virtual time is run before the command line looks at keys, signals and the clock again. */
import type { Machine, RunLimits } from "../hypervisor/machine.ts";

/** Milliseconds after which a slice ends, however few cycles it has come on. */
const LONGEST = 200;

/**
 * Limits of one slice: so many cycles of the machine, and no more than a moment of the host's time, which a CPU that is far behind
 * the others could take alone. Where a slice ends does not change what the guest does.
 */
export function sliceLimits(machine: Machine, cycles: number): RunLimits {
  const end = performance.now() + LONGEST;
  return {
    untilCycle: machine.cycles + cycles,
    until: () => performance.now() > end,
  };
}

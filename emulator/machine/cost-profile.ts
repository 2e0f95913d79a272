/**
 * Cost profiles: what things cost in cycles, in virtual time. Data files in `profiles/`; every figure carries its source,
 * and a figure without one is named free.
 */

export interface Cost {
  readonly cycles: number;
  /** Where the figure is from, or "free": chosen, not sourced. */
  readonly source: string;
}

/** Names of everything that is charged. */
export const CHARGES = [
  "exitAndEntry",
  "exitDispatch",
  "userModeHop",
  "instructionEmulation",
  "interruptInjection",
  "msrEmulation",
  "hypercall",
  "eptFault",
  "kickSignal",
  "threadWake",
  "haltWake",
  "ipiSend",
  "deviceRegister",
  "requestHandling",
  "completionHandling",
  "pollIteration",
  "queueHandOff",
] as const;
export type ChargeName = (typeof CHARGES)[number];

export interface CostProfile {
  readonly name: string;
  readonly version: number;
  readonly description: string;
  /** Frequency of the time-stamp counter, Hz. */
  readonly frequencyHz: number;
  readonly cyclesPerInstruction: number;
  /** Latency between two CPUs, cycles: also the scheduler's look-ahead. */
  readonly lookAhead: Cost;
  readonly charges: Readonly<Record<ChargeName, Cost>>;
}

/** What everything costs in a profile, as plain numbers of cycles. */
export function cyclesOf({ charges }: CostProfile): Readonly<Record<ChargeName, number>> {
  return {
    exitAndEntry: charges.exitAndEntry.cycles,
    exitDispatch: charges.exitDispatch.cycles,
    userModeHop: charges.userModeHop.cycles,
    instructionEmulation: charges.instructionEmulation.cycles,
    interruptInjection: charges.interruptInjection.cycles,
    msrEmulation: charges.msrEmulation.cycles,
    hypercall: charges.hypercall.cycles,
    eptFault: charges.eptFault.cycles,
    kickSignal: charges.kickSignal.cycles,
    threadWake: charges.threadWake.cycles,
    haltWake: charges.haltWake.cycles,
    ipiSend: charges.ipiSend.cycles,
    deviceRegister: charges.deviceRegister.cycles,
    requestHandling: charges.requestHandling.cycles,
    completionHandling: charges.completionHandling.cycles,
    pollIteration: charges.pollIteration.cycles,
    queueHandOff: charges.queueHandOff.cycles,
  };
}

/** A profile file that is not what it must be. */
export class CostProfileError extends Error {
  override readonly name = "CostProfileError";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Checks a parsed profile file. Throws CostProfileError saying which entry is wrong. */
export function parseCostProfile(text: string, file: string): CostProfile {
  const fail = (what: string): never => {
    throw new CostProfileError(`${file}: ${what}`);
  };
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new CostProfileError(`${file}: not JSON`, { cause: error });
  }
  if (!isRecord(data)) return fail("must be an object");
  const integer = (value: unknown, name: string, least: number): number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= least
      ? value
      : fail(`${name} must be an integer of at least ${least}`);
  const string = (value: unknown, name: string): string =>
    typeof value === "string" && value !== "" ? value : fail(`${name} must be a non-empty string`);
  const cost = (value: unknown, name: string): Cost =>
    isRecord(value)
      ? { cycles: integer(value.cycles, `${name}.cycles`, 0), source: string(value.source, `${name}.source`) }
      : fail(`${name} must be {cycles, source}`);
  const charges = isRecord(data.charges) ? data.charges : fail("charges must be an object");
  for (const name of Object.keys(charges))
    if (!(CHARGES as readonly string[]).includes(name)) fail(`charges.${name} is not a known charge`);
  return {
    name: string(data.name, "name"),
    version: integer(data.version, "version", 1),
    description: string(data.description, "description"),
    frequencyHz: integer(data.frequencyHz, "frequencyHz", 1_000_000),
    cyclesPerInstruction: integer(data.cyclesPerInstruction, "cyclesPerInstruction", 1),
    lookAhead: cost(data.lookAhead, "lookAhead"),
    charges: Object.fromEntries(
      CHARGES.map((name) => [name, cost(charges[name], `charges.${name}`)]),
    ) as unknown as Record<ChargeName, Cost>,
  };
}

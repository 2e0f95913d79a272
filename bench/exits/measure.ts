/**
 * Round trip of an exit, in time of the host: guest executes CPUID → core → TypeScript → core → guest, as a multiple of an empty
 * trip from JavaScript to WebAssembly and back, measured in the same process.
 */
import { Stop } from "../../emulator/host/core.ts";
import { Machine } from "../../hypervisor/machine.ts";
import { ExitDispatch } from "../../hypervisor/exit-dispatch.ts";
import { PhaseCode } from "../../hypervisor/ledger.ts";
import type { Vcpu } from "../../hypervisor/vcpu.ts";
import { median } from "../cpu/compare.ts";
import { nanosecondsEach } from "../cpu/engine.ts";
import { cpuidGuest } from "./cpuid-guest.ts";

const EXIT_REASON_CPUID = 10;

const EMPTY_TRIPS = 5_000_000;
const EXITS = 400_000;
/** Rounds of the guest's loop without exits. */
const LOOPS = 2_000_000;
/** Before each measurement, for the engine to compile what will be measured. */
const WARM_UP_EXITS = 100_000;

/** Nanoseconds of processor time; everything but `empty` and `loop` is for one CPUID exit, without the guest's loop around it. */
export interface ExitTrip {
  /** JavaScript → an empty exported function → JavaScript. */
  readonly empty: number;
  /** One round of the guest's loop with NOPs in the place of CPUID: what the others do not contain. */
  readonly loop: number;
  /** VM entry, CPUID's exit, and RIP moved on by TypeScript: without our hypervisor's own work. */
  readonly core: number;
  /** The same with the exit handler: CPUID's answer in the guest's registers. */
  readonly handled: number;
  /** As the product does it: clock, charges, ledger, what to inject, limits and requests, too. */
  readonly hypervisor: number;
  /** Of `core`: moving RIP on. */
  readonly skip: number;
  /** Of `hypervisor`: one entry in the ledger. */
  readonly ledger: number;
  readonly coreMultiple: number;
  readonly hypervisorMultiple: number;
}

/** (module (func (export "empty") (param i32) (result i32) (local.get 0))) */
const EMPTY_MODULE = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 9, 1, 5, 0x65, 0x6d, 0x70,
  0x74, 0x79, 0, 0, 10, 6, 1, 4, 0, 0x20, 0, 0x0b,
]);

function emptyTrip(): number {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(EMPTY_MODULE));
  const empty = exports["empty"] as (value: number) => number;
  let sum = 0;
  const loop = (): void => {
    for (let i = 0; i < EMPTY_TRIPS; i++) sum = (sum + empty(i)) | 0;
  };
  loop();
  const each = nanosecondsEach(EMPTY_TRIPS, loop);
  // The sum is used, so that the loop cannot be left out.
  if (Number.isNaN(sum)) throw new Error("not a number");
  return each;
}

/** Runs the whole guest under the hypervisor: nanoseconds for each round of its loop. */
function perRound(rounds: number, exits: boolean): number {
  const machine = new Machine({ kernel: cpuidGuest(rounds, exits), memory: 16, mode: "vm" });
  try {
    const each = nanosecondsEach(rounds, () => {
      const { end } = machine.run();
      if (end !== "debug-exit") throw new Error(`the CPUID guest ended with ${end}`);
    });
    const counted = Number(machine.vm!.vcpus[0]!.core.state.exits[EXIT_REASON_CPUID]!);
    if (counted !== (exits ? rounds : 0))
      throw new Error(`${counted} CPUID exits, not ${exits ? rounds : 0}`);
    return each;
  } finally {
    machine.close();
  }
}

/** One entry and the exit after it. */
function trip({ core, vmcs }: Vcpu): void {
  const stop = core.isInGuest ? core.run() : core.enterAndRun();
  const reason = vmcs.exitReason;
  if (stop !== Stop.VM_EXIT || reason !== EXIT_REASON_CPUID)
    throw new Error(`stopped with ${stop}, exit reason ${reason}`);
}

/** Exits of a guest in a loop of CPUID, with as much of what happens at each as `act` says. */
function tripsWith(act: (vcpu: Vcpu, count: number) => void): number {
  const machine = new Machine({ kernel: cpuidGuest(0xffffffff, true), memory: 16, mode: "vm" });
  try {
    machine.run({ untilInstruction: 1000 });
    const vcpu = machine.vm!.vcpus[0]!;
    const { state } = vcpu.core;
    state.stopAt = state.stopAtInstruction = state.yieldAbove = Number.MAX_SAFE_INTEGER;
    act(vcpu, WARM_UP_EXITS);
    return nanosecondsEach(EXITS, () => act(vcpu, EXITS));
  } finally {
    machine.close();
  }
}

function coreTrips(vcpu: Vcpu, count: number): void {
  for (let i = 0; i < count; i++) {
    trip(vcpu);
    vcpu.vmcs.skipInstruction(false);
  }
}

function handledTrips(vcpu: Vcpu, count: number): void {
  const dispatch = new ExitDispatch(vcpu);
  for (let i = 0; i < count; i++) {
    trip(vcpu);
    dispatch.handle(EXIT_REASON_CPUID);
  }
}

function skips({ vmcs }: Vcpu, count: number): void {
  for (let i = 0; i < count; i++) vmcs.skipInstruction(false);
}

function ledgerEntries({ ledger }: Vcpu, count: number): void {
  for (let i = 0; i < count; i++) ledger.enter(EXIT_REASON_CPUID, PhaseCode.OTHER, 2000, i & 0xff);
}

const PARTS = ["empty", "loop", "core", "handled", "hypervisor", "skip", "ledger"] as const;

/** Measures everything `rounds` times, interleaved, and takes medians. */
export function measureExitTrip(rounds: number): ExitTrip {
  perRound(WARM_UP_EXITS, true);
  const all = Array.from({ length: rounds }, () => {
    const loop = perRound(LOOPS, false);
    return {
      empty: emptyTrip(),
      loop,
      core: tripsWith(coreTrips) - loop,
      handled: tripsWith(handledTrips) - loop,
      hypervisor: perRound(EXITS, true) - loop,
      skip: tripsWith(skips),
      ledger: tripsWith(ledgerEntries),
    };
  });
  const medians = Object.fromEntries(
    PARTS.map((part) => [part, median(all.map((one) => one[part]))]),
  ) as Record<(typeof PARTS)[number], number>;
  return {
    ...medians,
    coreMultiple: medians.core / medians.empty,
    hypervisorMultiple: medians.hypervisor / medians.empty,
  };
}

/** The result as text for a person. */
export function exitTripText(trip: ExitTrip): string {
  const line = (what: string, nanoseconds: number): string =>
    `${what.padEnd(72)}${nanoseconds.toFixed(1).padStart(9)} ns${(nanoseconds / trip.empty).toFixed(1).padStart(8)} x`;
  return [
    line("empty trip: JavaScript → WebAssembly → JavaScript", trip.empty),
    line("the guest's loop around CPUID, not contained below", trip.loop),
    "",
    line("CPUID exit, core alone: VM entry, exit, RIP moved on", trip.core),
    line("  of that, moving RIP on in TypeScript", trip.skip),
    line("+ its handler: CPUID's answer", trip.handled - trip.core),
    line("+ clock, charges, ledger, injection, limits", trip.hypervisor - trip.handled),
    line("  of that, one entry in the ledger", trip.ledger),
    line("= CPUID exit through the hypervisor", trip.hypervisor),
    "",
    "Processor time of the host, medians; x: as a multiple of the empty trip.",
  ].join("\n");
}

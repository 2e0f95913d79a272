/**
 * What VM exits cost inside the machine: a hypervisor in VMX root operation whose loop is VMWRITE and VMRESUME, and whose guest is CPUID.
 * Each round is a VM exit, the loading of the host-state area, and a VM entry; nothing leaves WebAssembly.
 *
 * The share of the entry's checks is the difference between a loop that writes a field whose checks are due at every entry anyway, and
 * one that writes a field which makes all others due again (Cpu.vmxEntryChecksDone counts them).
 */
import * as X from "../../layout/vmx.ts";
import { median } from "../cpu/compare.ts";
import { nanosecondsEach } from "../cpu/engine.ts";
import { PAGE, VmxCpu } from "./vmx-cpu.ts";

const F = X.VmcsField;
const ROUNDS = 300_000;
const WARM_UP = 50_000;
/** Instructions of the loop without exits. */
const PLAIN = 20_000_000;

/** Nanoseconds of processor time. */
export interface VmxCost {
  /** One instruction of a loop of ADD and JMP, for comparison. */
  readonly instruction: number;
  /** One round: CPUID's exit, host state, VMWRITE, VMRESUME, with the checks of what has not changed skipped. */
  readonly cached: number;
  /** The same with all checks. */
  readonly full: number;
  /** Rounds a second, cached. */
  readonly exitsPerSecond: number;
  /** Part of a round that the checks are, with all of them made. */
  readonly checksShare: number;
}

const CPUID = [0x0f, 0xa2];
// vmwrite rax, rbx; vmresume; hlt
const HOST = [0x0f, 0x79, 0xc3, 0x0f, 0x01, 0xc3, 0xf4];
// add rax, rax; jmp back
const LOOP = [0x48, 0x01, 0xc0, 0xeb, 0xfb];
const HOST_AT = 0x100;

/** A CPU in its guest, which has been launched. */
function guestOf(field: number, value: bigint): VmxCpu {
  const cpu = new VmxCpu();
  cpu.memory.state.bytes.set(CPUID, cpu.offset(PAGE.CODE));
  cpu.memory.state.bytes.set(HOST, cpu.offset(PAGE.CODE + HOST_AT));
  cpu.vmcs.write(F.HOST_RIP, PAGE.CODE + HOST_AT);
  // CPUID writes RAX and RBX, but it exits before it does.
  cpu.core.state.gpr[0] = BigInt(field);
  cpu.core.state.gpr[3] = value;
  const outcome = cpu.enter();
  if (outcome.kind !== "entered") throw new Error(`the guest is not entered: ${outcome.kind}`);
  return cpu;
}

/** Nanoseconds a round; `checks` is how often all checks are to have been made. */
function perRound(field: number, value: bigint, checks: "once" | "always"): number {
  const cpu = guestOf(field, value);
  const { state, exports } = cpu.core;
  // Two instructions a round are counted; CPUID, which does not finish, is not.
  const run = (rounds: number): void => {
    state.stopAtInstruction = state.instructions + 2 * rounds;
    exports.run();
  };
  run(WARM_UP);
  const exitsBefore = state.exits[X.ExitReason.CPUID]!;
  const checksBefore = state.vmxEntryChecksDone;
  const each = nanosecondsEach(ROUNDS, () => run(ROUNDS));
  const exits = Number(state.exits[X.ExitReason.CPUID]! - exitsBefore);
  const made = Number(state.vmxEntryChecksDone - checksBefore);
  const wanted = checks === "always" ? ROUNDS : 0;
  if (Math.abs(exits - ROUNDS) > 1 || Math.abs(made - wanted) > 1)
    throw new Error(`${exits} exits and ${made} full checks in ${ROUNDS} rounds`);
  return each;
}

function perInstruction(): number {
  const cpu = new VmxCpu();
  cpu.memory.state.bytes.set(LOOP, cpu.offset(PAGE.CODE));
  cpu.enter();
  const { state, exports } = cpu.core;
  const run = (count: number): void => {
    state.stopAtInstruction = state.instructions + count;
    exports.run();
  };
  run(PLAIN / 4);
  return nanosecondsEach(PLAIN, () => run(PLAIN));
}

/** Measures everything `rounds` times, interleaved, and takes medians. */
export function measureVmx(rounds: number): VmxCost {
  const all = Array.from({ length: rounds }, () => ({
    instruction: perInstruction(),
    cached: perRound(F.GUEST_RIP, BigInt(PAGE.CODE), "once"),
    full: perRound(F.GUEST_CR3, BigInt(PAGE.PML4), "always"),
  }));
  const of = (part: "instruction" | "cached" | "full"): number => median(all.map((one) => one[part]));
  const [instruction, cached, full] = [of("instruction"), of("cached"), of("full")];
  return {
    instruction,
    cached,
    full,
    exitsPerSecond: 1e9 / cached,
    checksShare: (full - cached) / full,
  };
}

export function vmxText(cost: VmxCost): string {
  const line = (what: string, nanoseconds: number): string =>
    `${what.padEnd(64)}${nanoseconds.toFixed(1).padStart(9)} ns${(nanoseconds / cost.instruction).toFixed(1).padStart(8)} x`;
  return [
    line("one instruction of a loop", cost.instruction),
    line("VM exit, host state, VMWRITE, VMRESUME", cost.cached),
    line("the same with all checks of VM entry made anew", cost.full),
    "",
    `${Math.round(cost.exitsPerSecond / 1000)} thousand exits a second; all checks are ${(100 * cost.checksShare).toFixed(0)} % of a round that makes them.`,
    "Processor time of the host, medians; x: as a multiple of one instruction.",
  ].join("\n");
}

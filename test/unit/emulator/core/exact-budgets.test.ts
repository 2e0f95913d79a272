/**
 * However a run is cut into budgets, the same instructions are executed: every stop is at the exact count asked for, with
 * the state that stepping instruction by instruction has there.
 *
 * The three ways through the interpreter are compared: one instruction at a time, random budgets that end inside blocks,
 * and one budget for all, where blocks run on from one to the next.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { prepareRun } from "../../../../bench/cpu/exitless-engine.ts";
import { Stop } from "../../../../emulator/host/core.ts";
import type { Core } from "../../../../emulator/host/core.ts";

const module = new WebAssembly.Module(readFileSync("dist/core.wasm"));
const KERNELS = ["sieve", "sha256", "qsort", "crc", "interp"];
const path = (kernel: string): string => `guest-images/images/bench32-${kernel}.elf`;

/** Everything an instruction may change in registers, as text. */
function registers(core: Core): string {
  const { state } = core;
  return [...state.gpr, state.rip, core.exports.getFlags()].map((value) => value.toString(16)).join(" ");
}

function runTo(core: Core, count: number): void {
  core.state.stopAtInstruction = count;
  expect(core.exports.run()).toBe(Stop.BUDGET);
  expect(core.state.instructions).toBe(count);
}

function ramHash(core: Core): string {
  const { ramBase, lowRam } = core.memory.plan;
  return createHash("sha256")
    .update(new Uint8Array(core.memory.state.buffer, ramBase, lowRam))
    .digest("hex");
}

/** A linear congruential generator: the same budgets in every run. */
function* budgets(seed: number, most: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield 1 + ((state >>> 8) % most);
  }
}

/** Past the clearing of BSS (REP STOSB), so that the kernel's own code is reached. */
const WARM_UP = 1_100_000;
const STEPS = 30_000;

test.each(KERNELS)("%s: every stop inside a block has the state that single steps have there", (kernel) => {
  const { core: stepped } = prepareRun(module, path(kernel));
  runTo(stepped, WARM_UP);
  const trace: string[] = [];
  for (let step = 0; step <= STEPS; step++) {
    if (step > 0) runTo(stepped, WARM_UP + step);
    trace.push(registers(stepped));
  }
  for (const most of [3, 17, 150]) {
    const { core } = prepareRun(module, path(kernel));
    runTo(core, WARM_UP);
    let at = 0;
    for (const budget of budgets(most, most)) {
      at = Math.min(at + budget, STEPS);
      runTo(core, WARM_UP + at);
      expect(`${at}: ${registers(core)}`).toBe(`${at}: ${trace[at]!}`);
      if (at === STEPS) break;
    }
    expect(ramHash(core)).toBe(ramHash(stepped));
  }
});

test.each(KERNELS)("%s: one budget and many give the same memory and registers", (kernel) => {
  const end = 6_000_000;
  const { core: whole } = prepareRun(module, path(kernel));
  runTo(whole, end);
  const { core: sliced } = prepareRun(module, path(kernel));
  for (const budget of budgets(7, 5000)) {
    runTo(sliced, Math.min(sliced.state.instructions + budget, end));
    if (sliced.state.instructions === end) break;
  }
  expect(registers(sliced)).toBe(registers(whole));
  expect(ramHash(sliced)).toBe(ramHash(whole));
});

/**
 * Random programs in every mode: the host sees no exception, memory does not grow, and the result (registers, memory, stops,
 * instruction count) is the same when the program runs on decoded blocks, when it is interrupted and resumed at random counts, and
 * when every instruction is decoded anew. EXITLESS_CASES=10000 runs the long version.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MODES, ProgramRunner, differenceOf, makeProgram } from "../../../support/random-programs.ts";
import { Random, randomTestSettings } from "../../../support/random.ts";

const { seed, cases } = randomTestSettings({ seed: 20261128, cases: 250 });
const module = new WebAssembly.Module(readFileSync("dist/core.wasm"));
const runner = new ProgramRunner(module);
/** Milliseconds for one program in its three ways, on a slow machine. */
const MOST_MILLISECONDS = 60;
/** What a run may leave on the JavaScript heap: bounded, whatever the number of programs. */
const MOST_HEAP_GROWTH = 96 << 20;

test.each(MODES)(
  "%s",
  (mode) => {
    const random = new Random(seed + MODES.indexOf(mode));
    const { memoryBytes } = runner;
    const heap = process.memoryUsage().heapUsed;
    let instructions = 0;
    let repairs = 0;
    for (let number = 0; number < cases; number++) {
      const program = makeProgram(random, mode);
      const whole = runner.run(program, "whole");
      for (const way of ["in pieces", "decoded anew"] as const) {
        const other = runner.run(program, way);
        const difference = differenceOf(other, whole);
        if (difference !== undefined) expect.fail(`program ${number} of seed ${seed}, ${way}: ${difference}`);
        if (way === "in pieces" && other.lookUps !== whole.lookUps)
          expect.fail(`program ${number} of seed ${seed}: ${other.lookUps}, as a whole ${whole.lookUps}`);
      }
      instructions += whole.instructions;
      repairs += whole.repairs;
    }
    expect(runner.memoryBytes).toBe(memoryBytes);
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(MOST_HEAP_GROWTH);
    // The programs are not over at once: on the average more than a hundred instructions, and several from fault to fault.
    expect(instructions / cases).toBeGreaterThan(100);
    expect(instructions / repairs).toBeGreaterThan(2);
  },
  10_000 + cases * MOST_MILLISECONDS,
);

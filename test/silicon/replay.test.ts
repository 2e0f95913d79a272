/** Our core against silicon: every recorded case of every instruction that the interpreter has. */
import { beforeAll, describe, expect, test } from "vitest";
import { ruleOf } from "../../emulator/isa/handlers.ts";
import { ROWS } from "../../emulator/isa/table.ts";
import { BUILD_TIMEOUT, buildCore } from "../support/build-core.ts";
import { CoreUnderTest } from "./core-under-test.ts";
import { isRecorded } from "./forms.ts";
import { loadCorpus, replay } from "./replay.ts";
import { INTEGER_SUITES, SUITES } from "./suites.ts";

let module: WebAssembly.Module;

beforeAll(async () => {
  module = await buildCore("emulator/core/index.ts");
}, BUILD_TIMEOUT);

describe.each(SUITES)("$name", (suite) => {
  test("registers, flags, memory, media state and exceptions are those of silicon", () => {
    const corpus = loadCorpus(suite);
    const result = replay(new CoreUnderTest(module), corpus);
    expect(result.mismatches).toEqual([]);
    expect(result.mismatchCount).toBe(0);
    // The list of vendor differences is short.
    expect(result.listed).toBeLessThan(0.01 * corpus.cases.length);
    // The interpreter has nearly all of the integer rows.
    if (INTEGER_SUITES.includes(suite)) expect(result.compared).toBeGreaterThan(0.9 * corpus.cases.length);
  });
});

test("the interpreter has a rule for every recorded integer row", () => {
  const missing = ROWS.filter((row) => isRecorded(row) && ruleOf(row) === undefined);
  expect(missing.map((row) => row.id)).toEqual([]);
});

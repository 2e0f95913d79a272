import { describe, expect, test } from "vitest";
import { judge, setupOf } from "../../../cli/conformance.ts";
import { parseUnitTests, shellWords, UnitTestsError } from "../../../cli/unittests-cfg.ts";

const CFG = `
# a comment
[first]
file = first.flat
smp = 3
qemu_params = -cpu max,-x2apic,+no-such-feature -m 512
test_args = 'one two'
arch = x86_64
timeout = 30
groups = apic slow

[old]
file = old.flat
smp = $MAX_SMP
extra_params = -cpu qemu64 -append "a 'b c'" -overcommit cpu-pm=on
`;

describe("unittests.cfg", () => {
  const [first, old] = parseUnitTests(CFG, "cfg");

  test("sections with all that a run needs", () => {
    expect(first).toEqual({
      name: "first",
      file: "first.flat",
      smp: 3,
      args: "one two",
      parameters: ["-cpu", "max,-x2apic,+no-such-feature", "-m", "512"],
      arch: "x86_64",
      groups: ["apic", "slow"],
      timeout: 30,
    });
    expect(old).toMatchObject({ smp: 4, args: "a 'b c'", timeout: undefined, arch: undefined });
  });

  test("QEMU's parameters become a machine; unknown features are left to the test to miss", () => {
    expect(setupOf(first!)).toEqual({ cpu: "max,-x2apic", memory: 512, timers: {} });
    expect(setupOf(old!)).toEqual({ cpu: "max", memory: 256, timers: {} });
    expect(setupOf({ ...old!, parameters: ["-device", "intel-iommu"] })).toEqual({
      reason: "-device intel-iommu",
    });
  });

  test("words as a shell splits them", () => {
    expect(shellWords(`a "b c" 'd'"e" `)).toEqual(["a", "b c", "de"]);
  });

  test.each([
    ["file = x.flat", /line 1: neither/],
    ["[x]\nsmp = 2", /\[x\] has no file/],
    ["[x]\nnonsense", /line 2: neither/],
  ])("%j is refused", (text, message) => {
    expect(() => parseUnitTests(text, "cfg")).toThrow(UnitTestsError);
    expect(() => parseUnitTests(text, "cfg")).toThrow(message);
  });
});

describe("verdicts", () => {
  const text = "PASS: one\nFAIL: two\nSKIP: three\nPASSING by\nSUMMARY: 3 tests\n";
  test.each([
    [{ end: "debug-exit", code: 0 }, "pass", ""],
    [{ end: "debug-exit", code: 38 }, "skip", "SUMMARY: 3 tests"],
    [{ end: "debug-exit", code: 1 }, "fail", "FAIL: two"],
    [{ end: "triple-fault", code: 0 }, "fail", "triple-fault; last: SUMMARY: 3 tests"],
    [{ end: "timeout", code: 0 }, "timeout", "after 5 s; last: SUMMARY: 3 tests"],
    [{ end: "error", code: 0, error: "why" }, "fail", "host error: why"],
  ] as const)("%j is %s", (end, verdict, note) => {
    expect(judge({ ...end, text }, 5)).toEqual({ verdict, note, passed: 1, failed: 1, skipped: 1 });
  });
});

/** The rules of VM entry: SDM Vol. 3C, "VM Entries". The list, the core and the cases agree one to one. */
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ENTRY_RULES } from "../../../layout/vmx-rules.ts";
import { VmxCpu } from "../../support/vmx-cpu.ts";
import { RULE_CASES } from "./entry-rule-cases.ts";

const DIRECTORY = "emulator/core/vmx";
const source = readdirSync(DIRECTORY)
  .map((file) => readFileSync(`${DIRECTORY}/${file}`, "utf8"))
  .join("\n");

test("each rule of the list is checked by the core, and the core checks no other", () => {
  const checked = new Set([...source.matchAll(/X\.RULE_(\w+)/g)].map((match) => match[1]));
  expect([...checked].sort()).toEqual(ENTRY_RULES.map(({ name }) => name).sort());
});

test("each rule of the list has a case", () => {
  const tried = new Set(RULE_CASES.map(({ rule }) => rule));
  expect(ENTRY_RULES.map(({ name }) => name).filter((name) => !tried.has(name))).toEqual([]);
});

test("the VMCS that all cases start from enters", () => {
  expect(new VmxCpu().enter()).toEqual({ kind: "entered" });
});

const INVALID_GUEST_STATE = 0x80000021;
const MSR_LOAD_FAIL = 0x80000022;
const cpus = new Map<string, VmxCpu>();
/** A CPU of this kind, as new. */
function fresh(removed: readonly string[] = []): VmxCpu {
  const key = removed.join();
  const known = cpus.get(key);
  if (known) known.reset();
  const cpu = known ?? new VmxCpu({ removed });
  cpus.set(key, cpu);
  return cpu;
}

describe.each(ENTRY_RULES)("$name: $text", ({ name, section }) => {
  const cases = RULE_CASES.filter(({ rule }) => rule === name);
  test.each(cases.map((one, i) => [i + 1, one] as const))("case %i", (_, one) => {
    // A rule about a feature that the model lacks has its legal value on a model that has it.
    const legal = fresh();
    one.legal(legal);
    expect(legal.enter()).toEqual({ kind: "entered" });
    const illegal = fresh(one.removed);
    one.illegal(illegal);
    const outcome = illegal.enter();
    if (section === "control") expect(outcome).toEqual({ kind: "fail-valid", error: 7, rule: name });
    else if (section === "host") expect(outcome).toEqual({ kind: "fail-valid", error: 8, rule: name });
    else
      expect(outcome).toEqual({
        kind: "failed-entry",
        reason: section === "msr" ? MSR_LOAD_FAIL : INVALID_GUEST_STATE,
        qualification: one.qualification ?? 0n,
        rule: name,
      });
  });
});

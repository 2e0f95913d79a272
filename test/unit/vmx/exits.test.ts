/** What VM exits record, by reason: cases in exit-cases.ts. */
import { describe, expect, test } from "vitest";
import * as X from "../../../layout/vmx.ts";
import { PAGE, VmxCpu } from "../../support/vmx-cpu.ts";
import { EXIT_CASES } from "./exit-cases.ts";

const F = X.VmcsField;
const cpu = new VmxCpu();
const HLT = 0xf4;

describe.each(EXIT_CASES)("$name", (one) => {
  test("exits with what the manual says", () => {
    cpu.reset();
    const at = cpu.offset(PAGE.CODE);
    cpu.memory.state.bytes.set([...one.code, HLT], at);
    one.setup?.(cpu);
    expect(cpu.enter()).toEqual({ kind: "entered" });
    cpu.core.state.stopAtInstruction = cpu.core.state.instructions + 20;
    cpu.core.exports.run();
    expect(cpu.core.state.vmxNonRoot).toBe(0);
    const v = cpu.vmcs;
    const got: Record<string, unknown> = { reason: v.read32(F.EXIT_REASON) };
    const wanted: Record<string, unknown> = { reason: one.reason };
    const compare = (name: string, value: number | bigint | undefined, actual: number | bigint): void => {
      if (value === undefined) return;
      wanted[name] = BigInt(value).toString(16);
      got[name] = BigInt(actual).toString(16);
    };
    compare("qualification", one.qualification, v.readBig(F.EXIT_QUALIFICATION));
    compare("length", one.length, v.read32(F.EXIT_INSTRUCTION_LENGTH));
    compare(
      "instructionInfo",
      one.instructionInfo === undefined ? undefined : one.instructionInfo >>> 0,
      v.read32(F.EXIT_INSTRUCTION_INFO),
    );
    compare("info", one.info, v.read32(F.EXIT_INTERRUPTION_INFO));
    compare("error", one.error, v.read32(F.EXIT_INTERRUPTION_ERROR_CODE));
    compare("vectoring", one.vectoring ?? 0, v.read32(F.IDT_VECTORING_INFO));
    compare("vectoringError", one.vectoringError, v.read32(F.IDT_VECTORING_ERROR_CODE));
    compare("linear", one.linear, v.readBig(F.GUEST_LINEAR_ADDRESS));
    compare("physical", one.physical, v.readBig(F.GUEST_PHYSICAL_ADDRESS));
    compare("rip", one.rip === undefined ? undefined : PAGE.CODE + one.rip, v.readBig(F.GUEST_RIP));
    compare("pendingDebug", one.pendingDebug ?? 0, v.readBig(F.GUEST_PENDING_DEBUG));
    compare("interruptibility", one.interruptibility ?? 0, v.read32(F.GUEST_INTERRUPTIBILITY));
    expect(got).toEqual(wanted);
  });
});

test("every exit reason that the core has is met, but for task switches", () => {
  const met = new Set(EXIT_CASES.map(({ reason }) => reason));
  // Failed entries: entry-rules.test.ts. No SMM. XSAVES and XRSTORS exit for supervisor state alone, of which there is none.
  const elsewhere = new Set([
    "TASK_SWITCH",
    "INVALID_GUEST_STATE",
    "MSR_LOAD_FAIL",
    "RSM",
    "XSAVES",
    "XRSTORS",
  ]);
  const missing = Object.entries(X.ExitReason).filter(
    ([name, reason]) => !met.has(reason) && !elsewhere.has(name),
  );
  expect(missing).toEqual([]);
});

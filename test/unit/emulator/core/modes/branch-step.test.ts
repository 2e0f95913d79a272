/** IA32_DEBUGCTL.BTF with RFLAGS.TF. SDM Vol. 3B, "Single-Stepping on Branches". */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { BareCore, CODE, DATA, STACK_TOP } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const DB = 1;
const TF = 0x100n;
const BTF = 2n;
const DR6_BS = 1n << 14n;

let module: WebAssembly.Module;
let core: BareCore;

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  core = new BareCore(module);
  core.enterLong();
});

/** Runs up to `count` instructions under TF and BTF; the return address of #DB relative to the code. */
function run(code: string, count: number, prepare: () => void = () => undefined): number | undefined {
  core.setRing(0);
  core.state.rflags |= TF;
  core.state.debugCtl = BTF;
  core.state.dr[6] = 0xffff0ff0n;
  prepare();
  const event = core.run(code, count);
  if (event === undefined) return undefined;
  expect(event.vector).toBe(DB);
  expect(core.state.dr[6] & DR6_BS).toBe(DR6_BS);
  // The exception has cleared it.
  expect(core.state.debugCtl & BTF).toBe(0n);
  return Number(event.rip) - CODE;
}

test("straight code does not trap, nor does a branch that is not taken", () => {
  // nop; stc; jnc +2; nop; nop
  expect(run("90 f9 7302 90 90", 5)).toBeUndefined();
  expect(core.state.debugCtl & BTF).toBe(BTF);
});

test.each([
  ["JMP rel8", "90 eb10", 0x13],
  ["JMP to the next instruction", "90 eb00", 3],
  ["Jcc, taken", "f8 7310", 0x13],
  ["Jcc to the next instruction, taken", "f8 7300", 3],
  ["LOOP", "b102 e2fc", 0],
  ["CALL rel32", "90 e810000000", 0x16],
  ["CALL to the next instruction", "90 e800000000", 6],
  ["JMP r64", "90 ffe7", DATA - CODE],
])("a taken branch traps behind it: %s", (_, code, target) => {
  expect(run(code, 2, () => (core.state.gpr[7] = BigInt(DATA)))).toBe(target);
});

test("returns, near and far, and IRET trap", () => {
  const push = (...values: readonly number[]): void => {
    core.state.gpr[4] = BigInt(STACK_TOP - 8 * values.length);
    values.forEach((value, i) =>
      core.ram.setBigUint64(STACK_TOP - 8 * (values.length - i), BigInt(value), true),
    );
  };
  expect(run("c3", 1, () => push(DATA))).toBe(DATA - CODE);
  expect(run("48cb", 1, () => push(DATA, 8))).toBe(DATA - CODE);
  // IRETQ with TF in the image.
  expect(run("48cf", 1, () => push(DATA, 8, 0x102, STACK_TOP, 0x10))).toBe(DATA - CODE);
});

test("without BTF every instruction traps", () => {
  core.state.rflags |= TF;
  expect(core.run("90", 1)).toMatchObject({ vector: DB, rip: BigInt(CODE + 1) });
});

test("any debug exception clears BTF and LBR", () => {
  core.state.debugCtl = 3n;
  expect(core.run("f1", 1)?.vector).toBe(DB);
  expect(core.state.debugCtl).toBe(0n);
});

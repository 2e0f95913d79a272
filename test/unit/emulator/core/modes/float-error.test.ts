/** x87 exceptions with CR0.NE = 0: FERR# and IGNNE#. SDM Vol. 1, "MS-DOS* Compatibility Sub-mode". */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Activity, Attention, Stop } from "../../../../../emulator/host/core.ts";
import { Machine } from "../../../../../hypervisor/machine.ts";
import { BareCore, CODE } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";
import { multiboot } from "../../../../support/machine.ts";

const CR0_NE = 0x20n;
const MF = 16;
const FLD1 = "d9e8";
const FWAIT = "9b";
const FNCLEX = "dbe2";
const FNINIT = "dbe3";
const NOP = "90";

let module: WebAssembly.Module;
let core: BareCore;
let line: boolean[];

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  line = [];
  core = new BareCore(module, { host: { floatError: (level) => line.push(level) } });
  core.enterProtected();
  core.state.cr0 &= ~CR0_NE;
  core.state.xcr0 = 1n;
  core.update();
  // Invalid operations unmasked, then FADD ST, ST of an empty stack.
  core.write(0x9000, "7e03");
  expect(core.run(`${FNINIT} d92d00900000 d8c0`, 3)).toBeUndefined();
  expect(core.state.x87Status & 0x80).toBe(0x80);
});

/** Runs until the CPU waits or `instructions` have gone by. */
function go(code: string, instructions = 100): number {
  core.write(CODE, code);
  core.state.rip = BigInt(CODE);
  core.state.stopAt = core.core.clock() + instructions;
  return core.core.exports.run();
}

test("the exception asserts FERR#, and no waiting instruction raises #MF: it waits before it", () => {
  expect(core.run(NOP)).toBeUndefined();
  expect(line).toEqual([true]);
  for (const code of [FLD1, FWAIT, "0fefc0"]) {
    expect(go(NOP + code)).toBe(Stop.HALTED);
    expect(core.state.activity).toBe(Activity.FLOAT_ERROR);
    expect(core.state.rip).toBe(BigInt(CODE + 1));
    core.state.activity = Activity.ACTIVE;
  }
  expect(line).toEqual([true]);
});

test("an interrupt is taken in the wait, with the instruction to come back to", () => {
  expect(go(FLD1)).toBe(Stop.HALTED);
  core.state.rflags |= 0x200n;
  core.state.apicRegister[0xf] = 0x1ff;
  core.core.exports.acceptVector(0x45);
  core.state.stopAt = core.core.clock() + 1;
  core.core.exports.run();
  const frame = Number(core.state.gpr[4]!);
  expect(core.ram.getUint32(frame, true)).toBe(CODE);
});

test("IGNNE# ends the wait and lets instructions go on, until the exception is cleared", () => {
  expect(go(FLD1 + FWAIT + NOP)).toBe(Stop.HALTED);
  core.state.ignne = 1;
  core.state.attention |= Attention.FLOAT_ERROR;
  core.state.stopAt = core.core.clock() + 3;
  expect(core.core.exports.run()).toBe(Stop.BUDGET);
  expect(core.state.rip).toBe(BigInt(CODE + 4));
  expect(core.run(FNCLEX + NOP, 2)).toBeUndefined();
  expect(line).toEqual([true, false]);
  expect(core.state.ignne).toBe(0);
});

test("instructions that do not wait execute, and FNINIT and FNCLEX deassert FERR#", () => {
  expect(core.run(FNCLEX + NOP, 2)).toBeUndefined();
  expect(line.at(-1)).toBe(false);
  expect(core.run(FLD1)).toBeUndefined();
});

test("CR0.NE decides when the next instruction comes", () => {
  expect(core.run(NOP)).toBeUndefined();
  // mov cr0, eax
  core.state.gpr[0] = core.state.cr0 | CR0_NE;
  expect(core.run("0f22c0")).toBeUndefined();
  expect(core.run(NOP)).toBeUndefined();
  expect(line).toEqual([true, false]);
  expect(core.run(FLD1)?.vector).toBe(MF);
});

describe("on the board", () => {
  const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(" ", ""), "hex")];
  const IDT = 0x8000;
  const PIDT = 0x9000;
  const HANDLER = 0x100140;
  /**
   * IRQ 13 at vector 75H: its handler counts, writes port F0H, clears the exception, ends the interrupt at both 8259s and
   * returns to the instruction that waits.
   */
  const handler = hex(
    "ff0500a00000" + // inc dword [a000h]
      "30c0 e6f0 dbe2" + // xor al, al; out f0h, al; fnclex
      "b020 e6a0 e620 cf", // mov al, 20h; out a0h, al; out 20h, al; iret
  );
  const program = (): number[] => {
    const code = hex(
      // 8259s: vectors 70H and 08H, all masked but 2 and 13
      "b011 e620 e6a0 b008 e621 b070 e6a1 b004 e621 b002 e6a1 b001 e621 e6a1 b0fb e621 b0df e6a1" +
        // gate 75H
        `c705${le(IDT + 0x75 * 8)}${le((0x8 << 16) | (HANDLER & 0xffff))}` +
        `c705${le(IDT + 0x75 * 8 + 4)}${le((HANDLER & 0xffff0000) | 0x8e00)}` +
        `66c705${le(PIDT)}ff07 c705${le(PIDT + 2)}${le(IDT)} 0f011d${le(PIDT)}` +
        // gdt of our own: flat code at 8
        `c705${le(0xb008)}ffff0000 c705${le(0xb00c)}009bcf00 c705${le(0xb010)}ffff0000 c705${le(0xb014)}0093cf00` +
        `66c705${le(0xb100)}1700 c705${le(0xb102)}${le(0xb000)} 0f0115${le(0xb100)}` +
        `ea${le(0x1001f0)}0800`,
    );
    while (code.length < HANDLER - 0x100040) code.push(0x90);
    code.push(...handler);
    while (code.length < 0x1001f0 - 0x100040) code.push(0x90);
    code.push(
      ...hex(
        "66b81000 8ed8 8ec0 8ed0 bc00700000" + // data segments, stack
          "0f20c0 25ffffffdf 83e0df 0f22c0" + // CR0.NE = 0
          `dbe3 66c705${le(0xa010)}7e03 d92d${le(0xa010)}` + // fninit; fldcw: invalid unmasked
          "fb d8c0 d9e8" + // sti; fadd st, st; fld1: waits, and is executed once the handler has returned
          "dfe0 c1e80b 0441" + // fnstsw ax; shr eax, 11 … TOP
          `0205${le(0xa000)} e6f4`, // add al, [a000h]; out f4h, al
      ),
    );
    return code;
  };
  const le = (value: number): string =>
    [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, "0")).join("");

  test("IRQ 13 comes by the 8259 pair; port F0H clears it", () => {
    const machine = new Machine({ kernel: multiboot(program()), mode: "metal", memory: 16 });
    try {
      // One interrupt; TOP is 7 after FLD1: 41H + 7 + 1 (bits 4:0 of the shifted status word are TOP alone).
      expect(machine.run({ untilInstruction: 100_000 })).toEqual({ end: "debug-exit", code: 0x41 + 7 + 1 });
    } finally {
      machine.close();
    }
  });
});

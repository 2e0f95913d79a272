/**
 * x87 state in memory, what stops x87 instructions, and what silicon cannot show at user level: real-address mode and control
 * registers.
 */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";
import { CoreUnderTest } from "../../../../silicon/core-under-test.ts";
import {
  CODE,
  INITIAL_RFLAGS,
  MODE_64,
  MODE_COMPATIBILITY,
  WINDOW,
  type Mode,
} from "../../../../silicon/environment.ts";

const UD = 6;
const NM = 7;
const GP = 13;
const PF = 14;
const MF = 16;
const CR0_MP = 1n << 1n;
const CR0_EM = 1n << 2n;
const CR0_TS = 1n << 3n;

const ONE = { exponent: 0x3fff, significand: 1n << 63n };
const SIGNALING = { exponent: 0x7fff, significand: (1n << 63n) | 1n };

let module: WebAssembly.Module;
let core: CoreUnderTest;

beforeAll(async () => {
  module = await buildCore("emulator/core/index.ts");
}, BUILD_TIMEOUT);

beforeEach(() => {
  core = new CoreUnderTest(module);
});

const RDI = 7;
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

/** Runs `count` instructions with RDI at `operand`; the vector of the last one's exception, if there was one. */
function run(hex: string, count = 1, operand = WINDOW, mode: Mode = MODE_64): number | undefined {
  core.enter(mode);
  core.writeMemory(CODE, bytesOf(hex));
  const gpr = new BigUint64Array(16);
  gpr[RDI] = BigInt(operand);
  core.setRegisters(gpr, BigInt(CODE), INITIAL_RFLAGS);
  let vector: number | undefined;
  for (let i = 0; i < count && vector === undefined; i++) vector = core.step()?.vector;
  return vector;
}

function setRegister(
  physical: number,
  { exponent, significand }: { exponent: number; significand: bigint },
): void {
  const { x87 } = core.state;
  const view = new DataView(x87.buffer, x87.byteOffset, x87.byteLength);
  view.setBigUint64(16 * physical, significand, true);
  view.setUint16(16 * physical + 8, exponent, true);
}

/** Two numbers on the stack: ST(0) is R6. */
function setStack(control = 0x37f): void {
  Object.assign(core.state, { x87Control: control, x87Status: 6 << 11, x87Tag: 0xc0 });
  setRegister(6, ONE);
  setRegister(7, SIGNALING);
}

const memory = (offset: number, length: number): string =>
  Buffer.from(core.window().slice(offset, offset + length)).toString("hex");

describe("a pending exception", () => {
  beforeEach(() => {
    setStack(0x37e);
    // FADD ST(0), ST(1) with a signaling NaN.
    expect(run("d8c1")).toBeUndefined();
    expect(core.state.x87Status & 0x8081).toBe(0x8081);
  });

  test("stops the next waiting instruction, FWAIT and MMX instructions by #MF", () => {
    expect(run("d9e8")).toBe(MF);
    expect(run("9b")).toBe(MF);
    expect(run("0fefc0")).toBe(MF);
    expect(run("d92f")).toBe(MF);
  });

  test("does not stop instructions that do not wait, nor SSE, nor FXSAVE", () => {
    expect(run("dfe0")).toBeUndefined();
    expect(run("dd3f")).toBeUndefined();
    expect(run("d97f10")).toBeUndefined();
    expect(run("0f57c0")).toBeUndefined();
    expect(run("0fae07")).toBeUndefined();
    expect(run("dbe2")).toBeUndefined();
    expect(core.state.x87Status & 0x80ff).toBe(0);
    expect(run("d9e8")).toBeUndefined();
  });

  test("comes back with the state that has it, and goes when it is masked", () => {
    expect(run("dd37")).toBeUndefined();
    expect(core.state.x87Control).toBe(0x37f);
    expect(core.state.x87Tag).toBe(0);
    expect(run("dd27")).toBeUndefined();
    expect(core.state.x87Status & 0x80).toBe(0x80);
    expect(run("d9e8")).toBe(MF);
    // FNSTENV masks all exceptions.
    expect(run("d937")).toBeUndefined();
    expect(core.state.x87Status & 0x8080).toBe(0);
    expect(core.state.x87Control & 0x3f).toBe(0x3f);
  });
});

describe("CR0", () => {
  const withCr0 = (bits: bigint, hex: string): number | undefined => {
    const { cr0 } = core.state;
    core.state.cr0 = (cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | bits;
    const vector = run(hex);
    core.state.cr0 = cr0;
    return vector;
  };

  test.each([
    ["FLD1", "d9e8", NM, NM, NM],
    ["FNSTSW AX", "dfe0", NM, NM, NM],
    ["FXSAVE", "0fae07", NM, NM, NM],
    ["FXRSTOR", "0fae0f", NM, NM, NM],
    ["FWAIT", "9b", undefined, NM, undefined],
    ["PXOR", "0fefc0", NM, NM, UD],
    ["XORPS", "0f57c0", NM, NM, UD],
  ])("%s with TS, with TS and MP, with EM", (_, hex, ts, tsMp, em) => {
    core.writeMemory(WINDOW, new Uint8Array(512));
    expect([withCr0(CR0_TS, hex), withCr0(CR0_TS | CR0_MP, hex), withCr0(CR0_EM, hex)]).toEqual([
      ts,
      tsMp,
      em,
    ]);
    expect(withCr0(CR0_MP, hex)).toBeUndefined();
  });
});

describe("FXSAVE and FXRSTOR", () => {
  test("save and restore x87, XMM registers and MXCSR, and leave the reserved end alone", () => {
    setStack();
    const { state } = core;
    state.mxcsr = 0x1fa0;
    for (let i = 0; i < 512; i++) state.vector[i] = i % 251;
    const xmm = (): Uint8Array[] =>
      Array.from({ length: 16 }, (_, i) => state.vector.slice(32 * i, 32 * i + 16));
    const before = xmm();
    core.writeMemory(WINDOW, new Uint8Array(512).fill(0xcc));
    expect(run("480fae07")).toBeUndefined();
    expect(memory(0, 6)).toBe("7f030030c000");
    expect(memory(24, 8)).toBe("a01f0000ffff0000");
    expect(memory(32, 10)).toBe("0000000000000080ff3f");
    expect(memory(48, 10)).toBe("0100000000000080ff7f");
    expect(memory(416, 96)).toBe("cc".repeat(96));
    Object.assign(state, { x87Control: 0x40, x87Status: 0, x87Tag: 0, mxcsr: 0x1f80 });
    state.vector.fill(0);
    state.x87.fill(0);
    expect(run("480fae0f")).toBeUndefined();
    expect([state.x87Control, state.x87Status, state.x87Tag, state.mxcsr]).toEqual([
      0x37f, 0x3000, 0xc0, 0x1fa0,
    ]);
    expect(xmm()).toEqual(before);
    expect(state.x87[16 * 7]).toBe(1);
  });

  test("in compatibility mode have eight XMM registers", () => {
    core.writeMemory(WINDOW, new Uint8Array(512).fill(0xcc));
    expect(run("0fae07", 1, WINDOW, MODE_COMPATIBILITY)).toBeUndefined();
    expect(memory(160 + 8 * 16, 16)).toBe("cc".repeat(16));
    expect(memory(160 + 7 * 16, 16)).toBe("00".repeat(16));
  });

  test("need an address that is a multiple of 16, and only MXCSR bits that exist", () => {
    expect(run("0fae07", 1, WINDOW + 8)).toBe(GP);
    expect(run("0fae0f", 1, WINDOW + 8)).toBe(GP);
    const image = new Uint8Array(512);
    image[26] = 1;
    core.writeMemory(WINDOW, image);
    const { x87Control } = core.state;
    expect(run("0fae0f")).toBe(GP);
    expect(core.state.x87Control).toBe(x87Control);
  });

  test("that fault on their second page change nothing", () => {
    setStack();
    const before = memory(0x1f00, 256);
    expect(run("0fae07", 1, WINDOW + 0x1f00)).toBe(PF);
    expect(core.state.cr2).toBe(BigInt(WINDOW + 0x2000));
    expect(memory(0x1f00, 256)).toBe(before);
    expect(run("0fae0f", 1, WINDOW + 0x1f00)).toBe(PF);
    expect(core.state.x87Tag).toBe(0xc0);
  });
});

describe("a page fault", () => {
  test("leaves stack, status and pointers as they were", () => {
    for (const hex of ["db3f", "dd1f", "df37", "db1f", "dd07", "db2f", "df27", "dd37", "d937"]) {
      setStack();
      core.state.x87CodeOffset = 5n;
      expect([hex, run(hex, 1, WINDOW + 0x1fff)]).toEqual([hex, PF]);
      const { x87Status, x87Tag, x87Control, x87CodeOffset } = core.state;
      expect([x87Status, x87Tag, x87Control, x87CodeOffset]).toEqual([6 << 11, 0xc0, 0x37f, 5n]);
    }
  });
});

describe("the last instruction and operand", () => {
  test("are those of FNSTENV in 64-bit mode", () => {
    setStack();
    // FLD DWORD [RDI + 4], FNSTENV [RDI + 32].
    expect(run("d94704 d97720", 2)).toBeUndefined();
    const view = new DataView(core.window().slice(32, 60).buffer);
    expect(view.getUint32(12, true)).toBe(CODE);
    expect(view.getUint32(16, true)).toBe(0x33 | (0x147 << 16));
    expect(view.getUint32(20, true)).toBe(WINDOW + 4);
  });

  test("are not changed by control instructions", () => {
    setStack();
    expect(run("d9e8 d93f d92f dfe0 dbe2", 5)).toBeUndefined();
    expect(core.state.x87CodeOffset).toBe(BigInt(CODE));
    expect(core.state.x87Opcode).toBe(0x1e8);
    expect(run("dbe3")).toBeUndefined();
    expect([core.state.x87CodeOffset, core.state.x87Opcode, core.state.x87Tag]).toEqual([0n, 0, 0]);
  });

  test("are linear addresses in real-address mode, in both sizes of the image", () => {
    core.enter(MODE_64);
    core.setRegisters(new BigUint64Array(16), BigInt(CODE), INITIAL_RFLAGS);
    const { state } = core;
    // Machine-physical pages of code and window (core-under-test.ts) as segments 2000H and 2100H.
    Object.assign(state, { cr0: 0x10n, cr3: 0n, efer: 0n, cpl: 0 });
    for (const slot of [0, 1, 2, 3]) {
      state.segSelector[slot] = slot === 1 ? 0x2000n : 0x2100n;
      state.segBase[slot] = slot === 1 ? 0x20000n : 0x21000n;
      state.segLimit[slot] = 0xffffn;
      state.segRights[slot] = slot === 1 ? 0x9bn : 0x93n;
    }
    state.gpr[RDI] = 0x100n;
    state.rip = 0x800n;
    core.updateDerived();
    Object.assign(state, { x87Control: 0x37f, x87Status: 0, x87Tag: 0 });
    // FLD DWORD [DI], FNSTENV [DI + 40H], 32-bit FNSTENV [DI + 60H].
    core.writeMemory(CODE, bytesOf("d905 d97540 66d97560"));
    for (let i = 0; i < 3; i++) {
      core.runOnce();
    }
    expect(memory(0x140 + 6, 8)).toBe("0008" + "0521" + "0011" + "0020");
    const image = new DataView(core.window().slice(0x160, 0x160 + 28).buffer);
    expect(image.getUint32(12, true)).toBe(0xffff0800);
    expect(image.getUint32(16, true)).toBe(0x2105);
    expect(image.getUint32(20, true)).toBe(0xffff1100);
    expect(image.getUint32(24, true)).toBe(0x2000);
  });
});

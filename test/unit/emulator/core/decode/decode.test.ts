/** What a second decoder cannot tell: kinds of failure, flags, segments, and the rules where Intel and AMD differ. */
import { beforeAll, describe, expect, test } from "vitest";
import { ROWS } from "../../../../../emulator/isa/table.ts";
import {
  BASE_RIP,
  DecodedFlag,
  DecodedStruct,
  DecodeResult,
  NO_REGISTER,
  NO_SEGMENT,
  OperandKind,
} from "../../../../../layout/decoded.ts";
import { StateMemory, type ViewOf } from "../../../../../layout/struct.ts";
import {
  BUILD_TIMEOUT,
  buildCore,
  instantiateCore,
  type CoreExports,
} from "../../../../support/build-core.ts";

const MODE_16 = 0;
const MODE_32 = 1;
const MODE_64 = 2;
const CODE = 0x100000;
const RECORD = 0x101000;

const memory = new WebAssembly.Memory({ initial: 32, maximum: 65536, shared: true });
const decoded = DecodedStruct.at(new StateMemory(memory.buffer), RECORD);
let core: CoreExports;

beforeAll(async () => {
  core = await instantiateCore(await buildCore("emulator/core/testing-decode.ts"), memory);
}, BUILD_TIMEOUT);

/** Decodes bytes given in hexadecimal; the record is in `decoded`. */
function decode(mode: number, hex: string): number {
  const code = Buffer.from(hex.replaceAll(" ", ""), "hex");
  new Uint8Array(memory.buffer).set(code, CODE);
  return core["decode"]!(CODE, Math.min(code.length, 15), mode, RECORD);
}

/** As `decode`, for bytes that are an instruction. */
function decodeDefined(mode: number, hex: string): ViewOf<typeof DecodedStruct> {
  expect(decode(mode, hex)).toBe(hex.replaceAll(" ", "").length / 2);
  return decoded;
}

const prefixes = (count: number, byte = "26"): string => byte.repeat(count);

describe("what decode() returns", () => {
  test.each([
    ["an instruction of 15 bytes", MODE_32, `${prefixes(14)} 90`, 15],
    ["an instruction of 16 bytes", MODE_32, `${prefixes(15)} 90`, DecodeResult.TOO_LONG],
    ["15 prefixes alone", MODE_32, prefixes(15), DecodeResult.TOO_LONG],
    [
      "an immediate that ends beyond 15 bytes",
      MODE_32,
      `${prefixes(11)} b8 01 02 03 04`,
      DecodeResult.TOO_LONG,
    ],
    ["14 prefixes alone", MODE_32, prefixes(14), DecodeResult.NEED_BYTES],
    ["a missing ModR/M byte", MODE_64, "48 01", DecodeResult.NEED_BYTES],
    ["a missing displacement byte", MODE_64, "8b 84 24 00 00 00", DecodeResult.NEED_BYTES],
    ["an opcode that no processor has", MODE_64, "0f 04", DecodeResult.UNDEFINED],
    ["LOCK with a register destination", MODE_64, "f0 01 c0", DecodeResult.UNDEFINED],
    ["LOCK with a memory source", MODE_64, "f0 03 00", DecodeResult.UNDEFINED],
    ["LOCK with an instruction that does not write", MODE_64, "f0 39 00", DecodeResult.UNDEFINED],
    ["LOCK with a memory destination", MODE_64, "f0 01 00", 3],
    ["PUSH ES in 64-bit mode", MODE_64, "06", DecodeResult.UNDEFINED],
    ["SYSCALL outside 64-bit mode", MODE_32, "0f 05", DecodeResult.UNDEFINED],
    ["MOV to CS", MODE_32, "8e c8", DecodeResult.UNDEFINED],
    ["MOV from CS", MODE_32, "8c c8", 2],
    ["MOV to CR1", MODE_64, "0f 22 c8", DecodeResult.UNDEFINED],
    ["MOV to CR8", MODE_64, "44 0f 22 c0", 4],
    ["MOV to DR8", MODE_64, "44 0f 23 c0", DecodeResult.UNDEFINED],
    ["66H before VEX", MODE_64, "66 c5 f8 10 00", DecodeResult.UNDEFINED],
    ["REX directly before VEX", MODE_64, "48 c5 f8 10 00", DecodeResult.UNDEFINED],
    ["REX before a prefix before VEX", MODE_64, "48 3e c5 f8 10 00", 6],
    ["a gather whose mask is its index", MODE_64, "c4 e2 71 90 04 08", DecodeResult.UNDEFINED],
    ["a gather with three registers", MODE_64, "c4 e2 69 90 04 08", 6],
    ["EVEX", MODE_64, "62 f1 7c 48 58 c0", DecodeResult.UNDEFINED],
  ])("%s", (_, mode, hex, result) => {
    expect(decode(mode, hex)).toBe(result);
  });
});

describe("sizes", () => {
  // SDM Vol. 2, "Jcc", "CALL": in 64-bit mode the operand size of near branches is 64 bits, 66H or not (AMD: 16).
  test.each(["66 e8 01 02 03 04", "66 e9 01 02 03 04", "66 0f 84 01 02 03 04"])(
    "%s: 66H is ignored in 64-bit mode",
    (hex) => {
      const d = decodeDefined(MODE_64, hex);
      expect([d.operandSize, d.operand0Kind, d.imm]).toEqual([8, OperandKind.RELATIVE, 0x04030201n]);
    },
  );

  test.each([
    ["PUSH rAX", MODE_64, "50", 8],
    ["PUSH AX", MODE_64, "66 50", 2],
    ["PUSH with REX.W and 66H", MODE_64, "66 48 50", 8],
    ["ADD with REX.W and 66H", MODE_64, "66 48 01 c0", 8],
    ["MOV from CR0 with 66H", MODE_64, "66 0f 20 c0", 8],
    ["16-bit code", MODE_16, "01 c0", 2],
    ["16-bit code with 66H", MODE_16, "66 01 c0", 4],
    ["32-bit code with 66H", MODE_32, "66 01 c0", 2],
  ])("%s", (_, mode, hex, size) => {
    expect(decodeDefined(mode, hex).operandSize).toBe(size);
  });
});

describe("prefixes", () => {
  test.each([
    ["the last segment prefix counts", MODE_32, "26 65 8b 00", 5, 5],
    ["SS for a base of rBP", MODE_32, "8b 45 00", NO_SEGMENT, 2],
    ["DS for a base of R13", MODE_64, "41 8b 45 00", NO_SEGMENT, 3],
    ["DS is a null prefix in 64-bit mode, and FS before it counts", MODE_64, "64 3e 8b 00", 4, 4],
    ["CS is a null prefix in 64-bit mode", MODE_64, "2e 8b 04 24", NO_SEGMENT, 2],
  ])("%s", (_, mode, hex, override, segment) => {
    const d = decodeDefined(mode, hex);
    expect([d.segmentOverride, d.segment]).toEqual([override, segment]);
  });

  test.each([
    ["REP MOVS", "f3 a4", DecodedFlag.REP],
    ["the last of F2H and F3H", "f3 f2 a4", DecodedFlag.REPNE],
    ["a mandatory F3H is not a repeat prefix", "f3 0f 6f 00", 0],
    ["F3H of POPCNT is not a repeat prefix", "f3 0f b8 c0", 0],
  ])("%s", (_, hex, flags) => {
    expect(decodeDefined(MODE_64, hex).flags & (DecodedFlag.REP | DecodedFlag.REPNE)).toBe(flags);
  });

  test("REX not directly before the opcode is ignored", () => {
    expect(decodeDefined(MODE_64, "48 66 01 c0").operandSize).toBe(2);
  });
});

describe("operands", () => {
  test("AH without REX, SPL with", () => {
    const high = decodeDefined(MODE_64, "88 e0");
    expect([high.operand1Kind, high.operand1Reg, high.operand1Size]).toEqual([OperandKind.GPR_HIGH, 0, 1]);
    const low = decodeDefined(MODE_64, "40 88 e0");
    expect([low.operand1Kind, low.operand1Reg, low.operand1Size]).toEqual([OperandKind.GPR, 4, 1]);
  });

  test("RIP-relative, and the same bytes as an absolute address in 32-bit code", () => {
    expect(decodeDefined(MODE_64, "8b 05 f0 ff ff ff").base).toBe(BASE_RIP);
    expect(decoded.disp).toBe(0xfffffffffffffff0n);
    expect(decodeDefined(MODE_32, "8b 05 f0 ff ff ff").base).toBe(NO_REGISTER);
  });

  test("ENTER has two immediates, a far pointer a selector", () => {
    const enter = decodeDefined(MODE_64, "c8 34 12 05");
    expect([enter.imm, enter.imm2]).toEqual([0x1234n, 5]);
    const far = decodeDefined(MODE_32, "ea 78 56 34 12 10 00");
    expect([far.imm, far.imm2, far.operand0Kind]).toEqual([0x12345678n, 0x10, OperandKind.FAR_POINTER]);
  });

  test("the byte of 83 is sign-extended to 64 bits", () => {
    expect(decodeDefined(MODE_64, "48 83 c0 80").imm).toBe(0xffffffffffffff80n);
  });

  test("MOV to a control register ignores mod", () => {
    const d = decodeDefined(MODE_64, "0f 22 04");
    expect([d.length, d.operand1Kind, d.operand1Reg]).toEqual([3, OperandKind.GPR, 4]);
  });
});

test("static flags come from the row", () => {
  expect(decodeDefined(MODE_64, "f4").flags & DecodedFlag.PRIVILEGED).not.toBe(0);
  expect(decodeDefined(MODE_64, "c3").flags & DecodedFlag.BRANCH).not.toBe(0);
  expect(decodeDefined(MODE_64, "0f 00 d8").flags & DecodedFlag.PROTECTED).not.toBe(0);
  expect(decodeDefined(MODE_64, "a4").flags & DecodedFlag.STRING).not.toBe(0);
});

test("the row number leads to the row", () => {
  decodeDefined(MODE_64, "0f 01 c1");
  expect(ROWS[decoded.row]?.id).toBe("NP 0F 01 C1 VMCALL");
});

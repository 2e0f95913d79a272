/**
 * The decoder against iced-x86: validity, length and operands of a million random byte strings per code size.
 *
 * EXITLESS_SEED and EXITLESS_CASES change seed and number of strings per code size.
 */
import { Code, CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic } from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import { ROWS, type Row } from "../../emulator/isa/table.ts";
import { DecodedStruct } from "../../layout/decoded.ts";
import { BUILD_TIMEOUT, buildCore, instantiateCore, type CoreExports } from "../support/build-core.ts";
import { Random, randomTestSettings } from "../support/random.ts";
import { STRING_BYTES, writeRandomCode } from "../support/random-code.ts";
import { compareInstruction, type DecodedView } from "./iced-view.ts";

const { seed, cases } = randomTestSettings({ seed: 20, cases: 1_000_000 });
const BATCH = 10_000;
const MODES = [
  { mode: 0, bits: 16 },
  { mode: 1, bits: 32 },
  { mode: 2, bits: 64 },
] as const;

/** Places in the module's memory, above its static data. */
const INPUT = 0x100000;
const RESULTS = 0x200000;
const RECORDS = 0x400000;

/**
 * iced's names of what CPU model `max` claims. Whatever iced decodes and needs anything else must be undefined here.
 * Not claimed, yet defined: CET_IBT, whose ENDBR32 and ENDBR64 are hint NOPs (SDM Vol. 2, "ENDBR64"), and WBNOINVD, which a
 * processor without it executes as WBINVD (SDM Vol. 2, "WBNOINVD").
 */
const CLAIMED = new Set(
  (
    "INTEL8086 INTEL186 INTEL286 INTEL386 INTEL486 X64 FPU FPU287 FPU387 CPUID TSC MSR RDPMC CX8 CMPXCHG16B CMOV SEP SYSCALL " +
    "MMX SSE SSE2 SSE3 SSSE3 SSE4_1 SSE4_2 AES PCLMULQDQ SHA F16C AVX AVX2 FMA BMI1 BMI2 ADX MOVBE LZCNT POPCNT RDRAND RDSEED RDPID " +
    "RDTSCP FSGSBASE FXSR XSAVE XSAVEOPT XSAVEC XSAVES INVPCID PKU SMAP MONITOR PAUSE CLFSH CLFLUSHOPT CLWB PREFETCHW PREFETCHWT1 " +
    "VMX INVEPT INVVPID SMM CET_IBT WBNOINVD"
  ).split(" "),
);

/**
 * Where we differ from iced's default on purpose. `ours` is undefined where we raise #UD; `theirs` where iced finds no
 * instruction.
 */
function isAllowedDifference(ours: Row | undefined, theirs: string | undefined, mode: number): boolean {
  // SDM Vol. 2, "SYSCALL", "SYSRET": not valid in compatibility or legacy mode on Intel processors.
  if (!ours) return mode !== 2 && (theirs === "Syscall" || theirs === "Sysret");
  // SDM Vol. 2, "Two-byte Opcode Map": 0F 0D and 0F 18 to 0F 1F are hints; what a processor does not implement
  // (CET, MPX, CLDEMOTE, PREFETCHIT) is a NOP of the same length, and its operands are not used.
  return ours.mnemonic === "NOP" && ours.map === 1 && theirs !== undefined;
}

/** SDM Vol. 2: these take r/m16 (or r16); iced names the register by operand size, of which 16 bits are used. */
const WORD_OPERANDS = new Set(["ARPL", "LAR", "LSL", "LLDT", "LTR", "VERR", "VERW", "LMSW"]);

function isWordOperand(row: Row, difference: string): boolean {
  return WORD_OPERANDS.has(row.mnemonic) && /^operand [12]: size 2, iced [48]$/.test(difference);
}

/** Our mnemonic for iced's where the spelling differs: condition codes by synonym, one name for all operand sizes. */
// prettier-ignore
const SYNONYMS: Readonly<Record<string, string>> = {
  AE: "NB", E: "Z", NE: "NZ", A: "NBE", GE: "NL", G: "NLE",
};
// prettier-ignore
const RENAMED: Readonly<Record<string, string>> = {
  CWDE: "CBW", CDQE: "CBW", CDQ: "CWD", CQO: "CWD", PUSHAD: "PUSHA", POPAD: "POPA", PUSHFD: "PUSHF", PUSHFQ: "PUSHF",
  POPFD: "POPF", POPFQ: "POPF", IRETD: "IRET", IRETQ: "IRET", JECXZ: "JCXZ", JRCXZ: "JCXZ", WAIT: "FWAIT", XLATB: "XLAT",
  WBNOINVD: "WBINVD", SYSEXITQ: "SYSEXIT", SYSRETQ: "SYSRET",
};

function isSameMnemonic(row: Row, theirs: string): boolean {
  const name = RENAMED[theirs] ?? theirs;
  const ours = row.mnemonic;
  if (name === ours) return true;
  const condition = /^(J|SET|CMOV)(.+)$/.exec(name);
  if (condition && ours === condition[1]! + (SYNONYMS[condition[2]!] ?? "")) return true;
  // String instructions carry their size, far transfers are CALL and JMP, and W = 1 forms have a name of their own.
  if (/^(MOVS|CMPS|STOS|LODS|SCAS|INS|OUTS)$/.test(ours)) return name.slice(0, -1) === ours;
  if (ours === "CALLF" || ours === "JMPF") return name === ours.slice(0, -1);
  if (/(MOV|PINSR|PEXTR)D$/.test(ours)) return name === ours.slice(0, -1) + "Q";
  return name === `${ours}64`;
}

const offsets = DecodedStruct.offsets;

/** The records of one module's memory. */
class Records {
  readonly #view: DataView;

  constructor(memory: WebAssembly.Memory) {
    this.#view = new DataView(memory.buffer);
  }

  result(i: number): number {
    return this.#view.getInt32(RESULTS + 4 * i, true);
  }

  row(i: number): Row {
    return ROWS[this.#view.getUint16(RECORDS + DecodedStruct.size * i + offsets.row, true)]!;
  }

  decoded(i: number): DecodedView {
    const view = this.#view;
    const at = RECORDS + DecodedStruct.size * i;
    const byte = (offset: number): number => view.getUint8(at + offset);
    const operand = (size: number, kind: number, reg: number): DecodedView["operands"][number] => ({
      kind: byte(kind),
      reg: byte(reg),
      size: view.getUint16(at + size, true),
    });
    return {
      flags: view.getUint32(at + offsets.flags, true),
      disp: view.getBigUint64(at + offsets.disp, true),
      imm: view.getBigUint64(at + offsets.imm, true),
      imm2: view.getUint16(at + offsets.imm2, true),
      length: byte(offsets.length),
      base: byte(offsets.base),
      index: byte(offsets.index),
      scale: byte(offsets.scale),
      segment: byte(offsets.segment),
      addressSize: byte(offsets.addressSize),
      operandCount: byte(offsets.operandCount),
      operands: [
        operand(offsets.operand0Size, offsets.operand0Kind, offsets.operand0Reg),
        operand(offsets.operand1Size, offsets.operand1Kind, offsets.operand1Reg),
        operand(offsets.operand2Size, offsets.operand2Kind, offsets.operand2Reg),
        operand(offsets.operand3Size, offsets.operand3Kind, offsets.operand3Reg),
      ],
    };
  }
}

/** By iced code: whether CPU model `max` claims everything the instruction needs. Filled in as codes are met. */
const claimedCodes = new Map<Code, boolean>();

function isClaimed(instruction: Instruction): boolean {
  const known = claimedCodes.get(instruction.code);
  if (known !== undefined) return known;
  const claimed = Array.from(instruction.cpuidFeatures()).every((feature) =>
    CLAIMED.has(CpuidFeature[feature]!),
  );
  claimedCodes.set(instruction.code, claimed);
  return claimed;
}

/** A disagreement in words, or undefined. `row` is undefined where we raise #UD. */
function disagreement(
  row: Row | undefined,
  decoded: () => DecodedView,
  instruction: Instruction,
  mode: number,
): string | undefined {
  const isValid = instruction.code !== Code.INVALID;
  const theirs = isValid ? Mnemonic[instruction.mnemonic] : undefined;
  if (!row && !isValid) return undefined;
  if (isAllowedDifference(row, theirs, mode))
    return row && decoded().length !== instruction.length ? `length ${decoded().length}` : undefined;
  if (theirs === undefined) return `${row!.id}, iced: invalid`;
  if (!row) return isClaimed(instruction) ? `undefined, iced: ${Code[instruction.code]}` : undefined;
  if (!isClaimed(instruction)) return `${row.id}, iced: unclaimed ${theirs}`;
  if (!isSameMnemonic(row, theirs.toUpperCase())) return `${row.id}, iced: ${theirs}`;
  const difference = compareInstruction(decoded(), instruction, mode);
  return difference === undefined || isWordOperand(row, difference) ? undefined : `${row.id}: ${difference}`;
}

describe("decoder against iced-x86", () => {
  const memory = new WebAssembly.Memory({ initial: 128, maximum: 65536, shared: true });
  const records = new Records(memory);
  const bytes = new Uint8Array(memory.buffer);
  const input = bytes.subarray(INPUT, INPUT + BATCH * STRING_BYTES);
  const rowsHit = new Set<Row>();
  let core: CoreExports;

  beforeAll(async () => {
    core = await instantiateCore(await buildCore("emulator/core/testing-decode.ts"), memory);
  }, BUILD_TIMEOUT);

  const fill = (random: Random, mode: number): void => {
    for (let i = 0; i < BATCH; i++) writeRandomCode(random, mode, input, i * STRING_BYTES);
  };
  const describeCase = (i: number): string =>
    Buffer.from(input.subarray(i * STRING_BYTES, i * STRING_BYTES + 15)).toString("hex");

  test.each(MODES)("$bits-bit code: validity, length, mnemonic and operands agree", ({ mode, bits }) => {
    const random = new Random(seed * 3 + mode);
    const instruction = new Instruction();
    const differences: string[] = [];
    let compared = 0;
    for (let done = 0; done < cases; done += BATCH) {
      fill(random, mode);
      core["decodeMany"]!(INPUT, BATCH, 15, mode, RESULTS, RECORDS);
      const decoder = new Decoder(bits, input, DecoderOptions.None);
      for (let i = 0; i < BATCH; i++) {
        decoder.position = i * STRING_BYTES;
        decoder.ip = 0n;
        decoder.decodeOut(instruction);
        const row = records.result(i) > 0 ? records.row(i) : undefined;
        const difference = disagreement(row, () => records.decoded(i), instruction, mode);
        if (difference !== undefined && differences.length < 20)
          differences.push(`${describeCase(i)} ${difference}`);
        if (row) {
          compared++;
          rowsHit.add(row);
        }
      }
      decoder.free();
    }
    instruction.free();
    expect(differences).toEqual([]);
    // The generator must not decay into noise: most strings are instructions.
    expect(compared).toBeGreaterThan(cases / 2);
  });

  test("every row of the table was met", () => {
    // Only meaningful after a full run: a few thousand strings cannot meet every row.
    expect(cases).toBeGreaterThanOrEqual(100_000);
    expect(ROWS.filter((row) => !rowsHit.has(row)).map((row) => row.id)).toEqual([]);
  });

  test.each(MODES)(
    "$bits-bit code: with fewer bytes readable it asks for more, or concludes the same",
    ({ mode }) => {
      const random = new Random(seed * 7 + mode);
      fill(random, mode);
      core["decodeMany"]!(INPUT, BATCH, 15, mode, RESULTS, RECORDS);
      const full = Array.from({ length: BATCH }, (_, i) => records.result(i));
      const wrong: string[] = [];
      for (let available = 1; available < 15; available++) {
        core["decodeMany"]!(INPUT, BATCH, available, mode, RESULTS, RECORDS);
        for (let i = 0; i < BATCH; i++) {
          const result = records.result(i);
          const complete = full[i]!;
          // A defined instruction needs exactly its bytes; an undefined one may be known early, but never wrongly.
          const isRight =
            complete > 0
              ? result === (complete > available ? 0 : complete)
              : result === 0 || result === complete;
          if (!isRight) wrong.push(`${describeCase(i)} with ${available}: ${result}, with 15: ${complete}`);
        }
      }
      expect(wrong.slice(0, 20)).toEqual([]);
    },
  );
});

/**
 * What the manual leaves undefined, instruction by instruction: no case is compared there.
 *
 * Intel SDM Vol. 2, "Flags Affected" of each instruction; the text beside each rule says what it says.
 */
import type { CaseInput, CaseOutcome } from "./case.ts";
import { MODE_64 } from "./environment.ts";
import { operandSizeOf } from "./encode.ts";
import type { Form } from "./forms.ts";
import { STATUS_ES } from "./media.ts";
import { TRANSCENDENTAL } from "./x87/forms.ts";

const CF = 0x1n;
const PF = 0x4n;
const AF = 0x10n;
const ZF = 0x40n;
const SF = 0x80n;
const OF = 0x800n;
const ALL = CF | PF | AF | ZF | SF | OF;

export interface Undefined {
  readonly rflags: bigint;
  /** The first operand's value, in a register or in memory. */
  readonly destination: boolean;
  /** All memory. */
  readonly memory?: boolean;
  /** All general registers but RSP. */
  readonly registers?: boolean;
  /** All media state. */
  readonly media?: boolean;
  /** Which of the instruction's several memory operands faults: CR2, and with segment limits the vector. */
  readonly exception?: boolean;
}

const GENERAL_PROTECTION = 13;

const NOTHING: Undefined = { rflags: 0n, destination: false };

/**
 * What is undefined after a fault. SDM Vol. 3A, "Program or Task Restart": a fault's saved state allows the instruction to be
 * executed again, and no order is given to the accesses of an instruction that makes several. These do not read what they may have written: what PUSHA and ENTER stored below the stack pointer and what
 * POPA loaded before the access that faulted.
 */
export function undefinedAfterFault(form: Form, outcome: CaseOutcome): Undefined {
  const { mnemonic } = form.row;
  // SDM Vol. 1, "Operation of XRSTOR": after an exception during or after the restoring of a component each element of that may have the
  // value from before, that of the image, or its initial one. #GP for a reserved bit of MXCSR is such an exception.
  if (mnemonic === "XRSTOR" && outcome.vector === GENERAL_PROTECTION)
    return { ...NOTHING, memory: true, exception: true, media: true };
  if (mnemonic === "PUSHA" || mnemonic === "ENTER") return { ...NOTHING, memory: true, exception: true };
  // SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ": a fault restores the flags from before the instruction. The harness, stepping, has
  // them as of the last complete iteration.
  if (form.group !== "" && (mnemonic === "CMPS" || mnemonic === "SCAS"))
    return { ...NOTHING, rflags: ALL, exception: true };
  // Images of state are many accesses, in an order that is the processor's own.
  if (/^(FNSTENV|FLDENV|FNSAVE|FRSTOR|FXSAVE|FXRSTOR|XSAVE|XSAVEOPT|XSAVEC|XRSTOR)$/.test(mnemonic))
    return { ...NOTHING, memory: true, exception: true };
  if (mnemonic === "CMPS") return { ...NOTHING, exception: true };
  return mnemonic === "POPA" ? { ...NOTHING, registers: true, exception: true } : NOTHING;
}

/** Flags that are undefined whatever the operands are. */
const ALWAYS: Readonly<Record<string, bigint>> = {
  AND: AF,
  OR: AF,
  XOR: AF,
  TEST: AF,
  MUL: SF | ZF | AF | PF,
  IMUL: SF | ZF | AF | PF,
  DIV: ALL,
  IDIV: ALL,
  BT: OF | SF | AF | PF,
  BTS: OF | SF | AF | PF,
  BTR: OF | SF | AF | PF,
  BTC: OF | SF | AF | PF,
  DAA: OF,
  DAS: OF,
  AAA: OF | SF | ZF | PF,
  AAS: OF | SF | ZF | PF,
  AAM: OF | AF | CF,
  AAD: OF | AF | CF,
  LZCNT: OF | SF | PF | AF,
  TZCNT: OF | SF | PF | AF,
  ANDN: AF | PF,
  BLSI: AF | PF,
  BLSMSK: AF | PF,
  BLSR: AF | PF,
  BZHI: AF | PF,
  BEXTR: AF | SF | PF,
};

/** Bits of the first operand. */
function operandBits(form: Form): number {
  return form.row.operands[0]!.registerType === "b" ? 8 : operandSizeOf(form) * 8;
}

/** A shift's count after masking: 6 bits for 64-bit operands, else 5. */
function shiftCount(form: Form, input: CaseInput, bits: number): number {
  const operand = form.row.operands.at(-1)!;
  const raw =
    operand.method === "1"
      ? 1
      : operand.method === "rCX"
        ? Number(input.gpr[1]! & 0xffn)
        : (input.code.at(-1) ?? 0);
  return raw & (bits === 64 && form.mode === MODE_64 ? 63 : 31);
}

/** What is undefined after this case. */
export function undefinedAfter(form: Form, input: CaseInput, outcome: CaseOutcome): Undefined {
  const { mnemonic } = form.row;
  const always = ALWAYS[mnemonic];
  if (always !== undefined) return { rflags: always, destination: false };
  switch (mnemonic) {
    case "BSF":
    case "BSR":
      // "If the content of the source operand is 0, the content of the destination operand is undefined."
      return { rflags: CF | OF | SF | AF | PF, destination: (outcome.rflags & ZF) !== 0n };
    case "SHL":
    case "SAL":
    case "SHR":
    case "SAR": {
      const bits = operandBits(form);
      const count = shiftCount(form, input, bits);
      if (count === 0) return NOTHING;
      // CF: "undefined for SHL and SHR instructions where the count is greater than or equal to the size".
      const isCarryUndefined = mnemonic !== "SAR" && count >= bits;
      return { rflags: AF | (count > 1 ? OF : 0n) | (isCarryUndefined ? CF : 0n), destination: false };
    }
    case "ROL":
    case "ROR":
    case "RCL":
    case "RCR": {
      const count = shiftCount(form, input, operandBits(form));
      return count <= 1 ? NOTHING : { rflags: OF, destination: false };
    }
    case "SHLD":
    case "SHRD": {
      const bits = operandBits(form);
      const count = shiftCount(form, input, bits);
      if (count === 0) return NOTHING;
      // "If the count is greater than the operand size, the result is undefined", and so are all flags.
      if (count > bits) return { rflags: ALL, destination: true };
      return { rflags: AF | (count > 1 ? OF : 0n), destination: false };
    }
    default:
      return NOTHING;
  }
}

/**
 * Whether a part of the media state (`mediaParts`) is defined, by the status word afterwards. The last instruction's opcode is saved only when that
 * has an unmasked exception (SDM Vol. 1, "Fopcode Compatibility Sub-mode"), and on processors whose CPUID says so (CPUID.07H:EBX[6]),
 * which ours do not, its operand's address too (SDM Vol. 1, "x87 FPU Instruction and Data (Operand) Pointers"). `savesPointers`: both
 * outcomes are of processors that save the instruction's address at all times.
 */
export function isMediaDefined(name: string, status: number, savesPointers: boolean): boolean {
  if ((status & STATUS_ES) !== 0) return true;
  return name === "FIP" ? savesPointers : name !== "FOP" && name !== "FDP";
}

const C1 = 0x200;
const UE = 0x10;
const SIGN = 1n << 79n;

/** An x87 register's place among the numbers of its sign, from its ten bytes: neighbours differ by 1. */
function ordinal(bytes: bigint): bigint {
  const exponent = (bytes & ~SIGN) >> 64n;
  return ((exponent === 0n ? 1n : exponent) << 63n) + BigInt.asUintN(64, bytes);
}

/** RCPPS and its like. */
const APPROXIMATION = /^V?R(?:CP|SQRT)[PS]S$/;
/** SDM Vol. 2, "RCPPS", "RSQRTPS": |relative error| <= 1.5 * 2^-12. Ours is the right result, rounded. */
const APPROXIMATION_ERROR = 1.5 * 2 ** -12 + 2 ** -24;

/** Whether registers' singles, the highest first, are equal or, as numbers, within the error of an approximation. */
function areApproximations(wanted: string, got: string): boolean {
  const view = new DataView(new ArrayBuffer(4));
  const single = (hex: string): number => {
    view.setUint32(0, parseInt(hex, 16));
    return view.getFloat32(0);
  };
  for (let at = 0; at < wanted.length; at += 8) {
    const [a, b] = [wanted.slice(at, at + 8), got.slice(at, at + 8)];
    if (a !== b && !(Math.abs(single(a) / single(b) - 1) <= APPROXIMATION_ERROR)) return false;
  }
  return true;
}

/**
 * Whether two values of a part of the media state (`mediaParts`) are both right after an instruction. Approximations are within their error
 * bound of ours. Results of transcendental x87
 * instructions may be the one or the other of two neighbours, and then differ in C1, and next to the smallest normal number in UE (SDM Vol. 1,
 * "x87 FPU Transcendental Instruction Accuracy").
 */
export function isMediaEqual(form: Form, name: string, wanted: string, got: string): boolean {
  if (wanted === got) return true;
  const { mnemonic } = form.row;
  if (APPROXIMATION.test(mnemonic) && /MM/.test(name)) return areApproximations(wanted, got);
  if (!TRANSCENDENTAL.has(mnemonic)) return false;
  if (name === "FSW") return ((parseInt(wanted, 16) ^ parseInt(got, 16)) & ~(C1 | UE)) === 0;
  if (!/^ST\d$/.test(name)) return false;
  const [a, b] = [BigInt(`0x${wanted}`), BigInt(`0x${got}`)];
  const distance = ordinal(a) - ordinal(b);
  return ((a ^ b) & SIGN) === 0n && distance <= 1n && distance >= -1n;
}

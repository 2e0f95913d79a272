/**
 * What iced-x86 says about an instruction, in the decoder's words.
 *
 * Each comparison returns a description of the first disagreement, or undefined. Kinds, registers and sizes go through
 * tables made once, because reading iced's objects costs a call into its WebAssembly per property.
 */
import { Instruction, MemorySize, MemorySizeExt, OpKind, Register } from "iced-x86";
import { BASE_RIP, NO_REGISTER, OperandKind } from "../../layout/decoded.ts";

/** A decoded record as the tests read it. */
export interface DecodedView {
  readonly flags: number;
  readonly disp: bigint;
  readonly imm: bigint;
  readonly imm2: number;
  readonly length: number;
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  readonly segment: number;
  readonly addressSize: number;
  readonly operandCount: number;
  readonly operands: readonly { readonly kind: number; readonly reg: number; readonly size: number }[];
}

interface RegisterMeaning {
  readonly kind: number;
  readonly reg: number;
  /** Bytes of a general register, else 0. */
  readonly size: number;
}

const registerMeanings: (RegisterMeaning | undefined)[] = [];
const give = (first: Register, count: number, kind: number, size: number, reg = 0): void => {
  for (let i = 0; i < count; i++) registerMeanings[first + i] = { kind, reg: reg + i, size };
};
give(Register.AL, 4, OperandKind.GPR, 1);
give(Register.AH, 4, OperandKind.GPR_HIGH, 1);
give(Register.SPL, 12, OperandKind.GPR, 1, 4);
give(Register.AX, 16, OperandKind.GPR, 2);
give(Register.EAX, 16, OperandKind.GPR, 4);
give(Register.RAX, 16, OperandKind.GPR, 8);
give(Register.ES, 6, OperandKind.SEGMENT, 0);
give(Register.CR0, 16, OperandKind.CONTROL, 0);
give(Register.DR0, 16, OperandKind.DEBUG, 0);
give(Register.ST0, 8, OperandKind.X87, 0);
give(Register.MM0, 8, OperandKind.MMX, 0);
give(Register.XMM0, 16, OperandKind.XMM, 0);
give(Register.YMM0, 16, OperandKind.YMM, 0);
registerMeanings[Register.RIP] = { kind: OperandKind.GPR, reg: BASE_RIP, size: 8 };
registerMeanings[Register.EIP] = { kind: OperandKind.GPR, reg: BASE_RIP, size: 4 };

const memoryBytes: number[] = Object.values(MemorySize)
  .filter((value): value is MemorySize => typeof value === "number")
  .map((value) => MemorySizeExt.size(value));

/** Bits of an immediate by iced's operand kind, and whether it is sign-extended. */
const immediates: Readonly<Record<number, { readonly bits: number; readonly isSigned: boolean }>> = {
  [OpKind.Immediate8]: { bits: 8, isSigned: false },
  [OpKind.Immediate16]: { bits: 16, isSigned: false },
  [OpKind.Immediate32]: { bits: 32, isSigned: false },
  [OpKind.Immediate64]: { bits: 64, isSigned: false },
  [OpKind.Immediate8to16]: { bits: 16, isSigned: true },
  [OpKind.Immediate8to32]: { bits: 32, isSigned: true },
  [OpKind.Immediate8to64]: { bits: 64, isSigned: true },
  [OpKind.Immediate32to64]: { bits: 64, isSigned: true },
};

/** Address size in bytes that iced's string operand kinds imply, and what we call them. */
const stringOperands: Readonly<Record<number, { readonly kind: number; readonly addressSize: number }>> = {
  [OpKind.MemorySegSI]: { kind: OperandKind.STRING_SOURCE, addressSize: 2 },
  [OpKind.MemorySegESI]: { kind: OperandKind.STRING_SOURCE, addressSize: 4 },
  [OpKind.MemorySegRSI]: { kind: OperandKind.STRING_SOURCE, addressSize: 8 },
  [OpKind.MemorySegDI]: { kind: OperandKind.MEMORY_DI, addressSize: 2 },
  [OpKind.MemorySegEDI]: { kind: OperandKind.MEMORY_DI, addressSize: 4 },
  [OpKind.MemorySegRDI]: { kind: OperandKind.MEMORY_DI, addressSize: 8 },
  [OpKind.MemoryESDI]: { kind: OperandKind.STRING_DESTINATION, addressSize: 2 },
  [OpKind.MemoryESEDI]: { kind: OperandKind.STRING_DESTINATION, addressSize: 4 },
  [OpKind.MemoryESRDI]: { kind: OperandKind.STRING_DESTINATION, addressSize: 8 },
};

const SEGMENT_FS = 4;

/** Segments: in 64-bit mode iced reports null overrides too, and only FS and GS have a meaning. */
function compareSegment(ours: number, theirs: Register, mode: number): string | undefined {
  const segment = registerMeanings[theirs]!.reg;
  if (mode === 2 && segment < SEGMENT_FS)
    return ours < SEGMENT_FS ? undefined : `segment ${ours}, iced has none`;
  return segment === ours ? undefined : `segment ${ours}, iced ${segment}`;
}

function compareMemory(
  d: DecodedView,
  size: number,
  instruction: Instruction,
  mode: number,
): string | undefined {
  const base = instruction.memoryBase;
  const index = instruction.memoryIndex;
  const ourBase = base === Register.None ? NO_REGISTER : registerMeanings[base]!.reg;
  const ourIndex = index === Register.None ? NO_REGISTER : registerMeanings[index]!.reg;
  if (d.base !== ourBase) return `base ${d.base}, iced ${ourBase}`;
  if (d.index !== ourIndex) return `index ${d.index}, iced ${ourIndex}`;
  if (ourIndex !== NO_REGISTER && 1 << d.scale !== instruction.memoryIndexScale) return `scale ${d.scale}`;
  const baseSize = base === Register.None ? 0 : registerMeanings[base]!.size;
  if (baseSize !== 0 && baseSize !== d.addressSize) return `address size ${d.addressSize}, iced ${baseSize}`;
  // iced gives the target of an address relative to the instruction pointer; the test places code at 0.
  const displacement = ourBase === BASE_RIP ? d.disp + BigInt(d.length) : d.disp;
  const bits = d.addressSize * 8;
  const theirs = BigInt.asUintN(bits, instruction.memoryDisplacement);
  if (BigInt.asUintN(bits, displacement) !== theirs)
    return `disp ${d.disp.toString(16)}, iced ${theirs.toString(16)}`;
  const theirSize = memoryBytes[instruction.memorySize]!;
  // 0 on either side: the instruction decides (XSAVE), or one side does not count it as an access (LEA).
  if (size !== 0 && theirSize !== 0 && size !== theirSize && !instruction.isVsib)
    return `memory size ${size}, iced ${theirSize}`;
  return compareSegment(d.segment, instruction.memorySegment, mode);
}

function compareBranch(d: DecodedView, kind: OpKind, instruction: Instruction): string | undefined {
  const bits = kind === OpKind.NearBranch16 ? 16 : kind === OpKind.NearBranch32 ? 32 : 64;
  const target = BigInt.asUintN(bits, d.imm + BigInt(d.length));
  const theirs = BigInt.asUintN(bits, instruction.nearBranchTarget);
  return target === theirs ? undefined : `target ${target.toString(16)}, iced ${theirs.toString(16)}`;
}

function compareImmediate(
  d: DecodedView,
  n: number,
  kind: OpKind,
  instruction: Instruction,
): string | undefined {
  if (kind === OpKind.Immediate8_2nd)
    return d.imm2 === instruction.immediate8_2nd ? undefined : `imm2 ${d.imm2.toString(16)}`;
  const { bits, isSigned } = immediates[kind]!;
  const theirs = BigInt.asUintN(bits, instruction.immediate(n));
  if (BigInt.asUintN(bits, d.imm) !== theirs) return `imm ${d.imm.toString(16)}, iced ${theirs.toString(16)}`;
  if (isSigned && BigInt.asIntN(64, d.imm) !== BigInt.asIntN(bits, theirs)) return `imm not sign-extended`;
  return undefined;
}

function compareRegister(operand: DecodedView["operands"][number], register: Register): string | undefined {
  const theirs = registerMeanings[register];
  if (!theirs) return `iced register ${Register[register]}`;
  if (operand.kind !== theirs.kind || operand.reg !== theirs.reg)
    return `kind ${operand.kind} register ${operand.reg}, iced ${Register[register]}`;
  return theirs.size === 0 || theirs.size === operand.size
    ? undefined
    : `size ${operand.size}, iced ${theirs.size}`;
}

/** The operand kinds that have no case of their own below: string operands and immediates. */
function compareOtherOperand(
  d: DecodedView,
  n: number,
  instruction: Instruction,
  mode: number,
): string | undefined {
  const kind = instruction.opKind(n);
  const ours = d.operands[n]!;
  const string = stringOperands[kind];
  const wanted = string?.kind ?? OperandKind.IMMEDIATE;
  if (ours.kind !== wanted) return `kind ${ours.kind}, iced ${OpKind[kind]}`;
  if (!string) return compareImmediate(d, n, kind, instruction);
  if (d.addressSize !== string.addressSize)
    return `address size ${d.addressSize}, iced ${string.addressSize}`;
  const size = memoryBytes[instruction.memorySize]!;
  if (size !== ours.size) return `memory size ${ours.size}, iced ${size}`;
  if (string.kind === OperandKind.STRING_DESTINATION) return undefined;
  return compareSegment(d.segment, instruction.memorySegment, mode);
}

function compareOperand(
  d: DecodedView,
  n: number,
  instruction: Instruction,
  mode: number,
): string | undefined {
  const kind = instruction.opKind(n);
  const ours = d.operands[n]!;
  const expect = (wanted: number): string | undefined =>
    ours.kind === wanted ? undefined : `kind ${ours.kind}, iced ${OpKind[kind]}`;
  // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- the default has the rest
  switch (kind) {
    case OpKind.Register:
      return compareRegister(ours, instruction.opRegister(n));
    case OpKind.Memory:
      if (ours.kind === OperandKind.MEMORY_BX_AL)
        return compareSegment(d.segment, instruction.memorySegment, mode);
      return expect(OperandKind.MEMORY) ?? compareMemory(d, ours.size, instruction, mode);
    case OpKind.NearBranch16:
    case OpKind.NearBranch32:
    case OpKind.NearBranch64:
      return expect(OperandKind.RELATIVE) ?? compareBranch(d, kind, instruction);
    case OpKind.FarBranch16:
    case OpKind.FarBranch32: {
      const offset = kind === OpKind.FarBranch16 ? instruction.farBranch16 : instruction.farBranch32;
      if (d.imm !== BigInt(offset) || d.imm2 !== instruction.farBranchSelector) return "far pointer";
      return expect(OperandKind.FAR_POINTER);
    }
    default:
      return compareOtherOperand(d, n, instruction, mode);
  }
}

/** The first disagreement in length or operands between our record and iced's instruction, both valid. */
export function compareInstruction(
  d: DecodedView,
  instruction: Instruction,
  mode: number,
): string | undefined {
  if (d.length !== instruction.length) return `length ${d.length}, iced ${instruction.length}`;
  const count = instruction.opCount;
  if (d.operandCount !== count) return `${d.operandCount} operands, iced ${count}`;
  for (let n = 0; n < count; n++) {
    const difference = compareOperand(d, n, instruction, mode);
    if (difference !== undefined) return `operand ${n + 1}: ${difference}`;
  }
  return undefined;
}

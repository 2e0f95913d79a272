/**
 * One decoded instruction, as `decode()` of the core fills it in and tests and tools read it.
 *
 * Register numbers are the architecture's (0 = rAX, AL, XMM0, ES, CR0 ...), REX and VEX extension bits included.
 */
import { bytes, struct, u16, u32, u64, u8 } from "./struct.ts";

/** `Decoded.flags`. Prefix bits tell what stood in the instruction and was not used up as a mandatory prefix. */
export const DecodedFlag = {
  LOCK: 1 << 0,
  /** F3H (REP, REPE). */
  REP: 1 << 1,
  /** F2H (REPNE). With both F2H and F3H only the last one is set. */
  REPNE: 1 << 2,
  OPERAND_SIZE_PREFIX: 1 << 3,
  ADDRESS_SIZE_PREFIX: 1 << 4,
  /** A REX prefix stood directly before the opcode. */
  REX: 1 << 5,
  /** REX.W or VEX.W; R, X and B likewise, in their not inverted sense. */
  W: 1 << 6,
  R: 1 << 7,
  X: 1 << 8,
  B: 1 << 9,
  VEX: 1 << 10,
  /** VEX.L: 256-bit. */
  VEX_L: 1 << 11,
  MODRM: 1 << 12,
  /** An explicit operand is in memory: by ModR/M or by an offset in the instruction (not string operands). */
  MEMORY: 1 << 13,
  /** Memory operand with a vector of indices; `index` names an XMM or YMM register. */
  VSIB: 1 << 14,
  /** May change the instruction pointer other than to the next instruction. */
  BRANCH: 1 << 15,
  /** #GP(0) when CPL is above 0. */
  PRIVILEGED: 1 << 16,
  /** #UD in real-address mode and virtual-8086 mode; so is every instruction with `VEX`. */
  PROTECTED: 1 << 17,
  /** Has a string operand (rSI or rDI). */
  STRING: 1 << 18,
} as const;

/** `Decoded.operandNKind`. The list is closed; the numbers are part of the layout. */
export const OperandKind = {
  NONE: 0,
  /** General register `reg`; of its low `size` bytes. */
  GPR: 1,
  /** AH, CH, DH or BH: bits 15:8 of general register `reg` (0 to 3). */
  GPR_HIGH: 2,
  /** The memory operand that base, index, scale, disp and segment describe. */
  MEMORY: 3,
  /** `imm`, or `imm2` for ENTER's second operand. */
  IMMEDIATE: 4,
  /** Signed displacement in `imm`, relative to the next instruction. */
  RELATIVE: 5,
  /** Selector in `imm2`, offset in `imm`. */
  FAR_POINTER: 6,
  SEGMENT: 7,
  CONTROL: 8,
  DEBUG: 9,
  /** ST(reg). */
  X87: 10,
  MMX: 11,
  XMM: 12,
  YMM: 13,
  /** String source at rSI, segment `segment`. */
  STRING_SOURCE: 14,
  /** String destination at ES:rDI. */
  STRING_DESTINATION: 15,
  /** Memory at rDI, segment `segment` (MASKMOVQ, MASKMOVDQU). */
  MEMORY_DI: 16,
  /** Memory at rBX + AL, segment `segment` (XLAT). */
  MEMORY_BX_AL: 17,
} as const;

/** Values of `base` and `index` beside register numbers. */
export const NO_REGISTER = 16;
export const BASE_RIP = 17;
/** `segmentOverride` without a prefix that counts. */
export const NO_SEGMENT = 0xff;

/** What `decode()` returns instead of a length. */
export const DecodeResult = { NEED_BYTES: 0, UNDEFINED: -1, TOO_LONG: -2 } as const;

/** `Size` in bytes (0: the instruction decides), `Kind` an `OperandKind`, `Reg` a register number where the kind has one. */
const operandFields = <N extends 0 | 1 | 2 | 3>(n: N) =>
  ({ [`operand${n}Size`]: u16, [`operand${n}Kind`]: u8, [`operand${n}Reg`]: u8 }) as {
    readonly [K in `operand${N}Kind` | `operand${N}Reg` | `operand${N}Size`]: typeof u8;
  };

export const DecodedStruct = struct("Decoded", {
  /** Row number in the instruction table (`emulator/isa/table.ts`). */
  row: u16,
  /** `DecodedFlag` bits. */
  flags: u32,
  /** Displacement, sign-extended; offsets of MOV AL/rAX with memory are zero-extended. */
  disp: u64,
  /** First immediate, sign- or zero-extended to 64 bits as the operand code says. */
  imm: u64,
  /** ENTER's second operand, or the selector of a far pointer. */
  imm2: u16,
  /** 0 one-byte, 1 0F, 2 0F38, 3 0F3A, 4-6 the same three under VEX. */
  map: u8,
  opcode: u8,
  /** Bytes in the instruction, 1 to 15. */
  length: u8,
  modrm: u8,
  /** ModR/M reg field with R. */
  reg: u8,
  /** ModR/M r/m field; with B when mod = 3. */
  rm: u8,
  /** Base register, NO_REGISTER or BASE_RIP. */
  base: u8,
  /** Index register or NO_REGISTER. */
  index: u8,
  /** The index is shifted left by this, 0 to 3. */
  scale: u8,
  vvvv: u8,
  /** ES CS SS DS FS GS = 0 to 5, or NO_SEGMENT. In 64-bit mode only FS and GS count. */
  segmentOverride: u8,
  /** Segment of the memory or string source operand. */
  segment: u8,
  /** 2, 4 or 8 bytes. Byte instructions show it in their operands' sizes. */
  operandSize: u8,
  /** 2, 4 or 8 bytes. */
  addressSize: u8,
  operandCount: u8,
  ...operandFields(0),
  ...operandFields(1),
  ...operandFields(2),
  ...operandFields(3),
  /** The instruction's bytes (`length` of them; what follows is undefined). */
  bytes: bytes(32, 8),
});

/**
 * Operand codes: an addressing method and an operand type.
 *
 * Intel SDM Vol. 2, Appendix A, "Codes for Addressing Method" and "Codes for Operand Type". Ours beyond the manual's:
 * `Ibs` (a byte sign-extended), `Mfx`, `Menv`, `Msave`, `Mt` (images of x87 and FXSAVE state, 80-bit memory), a bare `M` (an
 * address, or a size that the instruction decides), `vm32x` and its like (VSIB), `STi`, and `type/type`: the
 * first type for the register form, the second for the memory form (`Ev/w`).
 */

/**
 * Addressing methods. The order is the numbering that the generated decoder tables use.
 * `R` takes the register that the r/m field names whatever the mod field says (MOV to and from CRn and DRn).
 */
export const METHODS = [
  "none",
  "E", // r/m: general register or memory
  "G", // reg: general register
  "Z", // low three opcode bits: general register
  "R", // r/m: general register
  "B", // VEX.vvvv: general register
  "M", // r/m: memory
  "S", // reg: segment register
  "C", // reg: control register
  "D", // reg: debug register
  "I", // immediate
  "J", // displacement relative to the next instruction
  "A", // far pointer in the instruction
  "O", // memory at an offset in the instruction
  "X", // memory at DS:rSI (segment can be overridden)
  "Y", // memory at ES:rDI
  "DI", // memory at DS:rDI (segment can be overridden): MASKMOVQ, MASKMOVDQU
  "BXAL", // memory at DS:rBX + AL (segment can be overridden): XLAT
  "P", // reg: MMX register
  "Q", // r/m: MMX register or memory
  "N", // r/m: MMX register
  "V", // reg: XMM or YMM register
  "W", // r/m: XMM or YMM register, or memory
  "U", // r/m: XMM or YMM register
  "H", // VEX.vvvv: XMM or YMM register
  "L", // bits 7:4 of an immediate byte: XMM or YMM register
  "VMX", // r/m: memory with a vector of indices in an XMM register
  "VMY", // r/m: memory with a vector of indices in a YMM register
  "STi", // low three bits of ModR/M: x87 register
  "ST0",
  "XMM0",
  "1", // the constant 1
  "rAX",
  "rCX",
  "rDX",
  "ES",
  "CS",
  "SS",
  "DS",
  "FS",
  "GS",
] as const;
export type Method = (typeof METHODS)[number];

/** Operand types. The order is the numbering that the generated decoder tables use. */
export const TYPES = [
  "none", // no size, or one that the instruction decides (XSAVE, LEA)
  "b", // 1 byte
  "w", // 2
  "d", // 4
  "q", // 8
  "dq", // 16
  "qq", // 32
  "t", // 10
  "fx", // 512
  "v", // operand size: 2, 4 or 8
  "z", // 2, or 4 for an operand size of 4 or 8
  "y", // 8 for an operand size of 8, else 4
  "x", // vector length: 16 or 32
  "p", // far pointer: operand size + 2
  "s", // pseudo-descriptor: 6, or 10 in 64-bit mode
  "a", // two operands of operand size: 4 or 8
  "env", // 14 for an operand size of 2, else 28
  "save", // 94 for an operand size of 2, else 108
  "bs", // 1, sign-extended (immediates only)
] as const;
export type OperandType = (typeof TYPES)[number];

export interface OperandCode {
  /** As written in the table. */
  readonly text: string;
  readonly method: Method;
  /** Type when the operand is a register or an immediate. */
  readonly registerType: OperandType;
  /** Type when the operand is in memory. */
  readonly memoryType: OperandType;
}

const same = (text: string, method: Method, type: OperandType): OperandCode => ({
  text,
  method,
  registerType: type,
  memoryType: type,
});

const FIXED: Readonly<Record<string, readonly [Method, OperandType]>> = {
  AL: ["rAX", "b"],
  AX: ["rAX", "w"],
  eAX: ["rAX", "z"],
  rAX: ["rAX", "v"],
  CL: ["rCX", "b"],
  DX: ["rDX", "w"],
  ES: ["ES", "w"],
  CS: ["CS", "w"],
  SS: ["SS", "w"],
  DS: ["DS", "w"],
  FS: ["FS", "w"],
  GS: ["GS", "w"],
  ST0: ["ST0", "t"],
  STi: ["STi", "t"],
  XMM0: ["XMM0", "dq"],
  "1": ["1", "b"],
  BXAL: ["BXAL", "b"],
  DIq: ["DI", "q"],
  DIdq: ["DI", "dq"],
  M: ["M", "none"],
  vm32x: ["VMX", "d"],
  vm64x: ["VMX", "q"],
  vm32y: ["VMY", "d"],
  vm64y: ["VMY", "q"],
};

/** Parses one operand code. Throws when it is not one. */
export function operandCode(text: string): OperandCode {
  const fixed = FIXED[text];
  if (fixed) return same(text, ...fixed);
  const method = METHODS.find((known) => known === text.charAt(0));
  const [registerType, memoryType = registerType] = text.slice(1).split("/").map(operandType);
  if (method === undefined || registerType === undefined) throw new Error(`unknown operand code ${text}`);
  return { text, method, registerType, memoryType: memoryType! };
}

function operandType(text: string): OperandType {
  const type = TYPES.find((known) => known === text);
  if (type === undefined) throw new Error(`unknown operand type ${text}`);
  return type;
}

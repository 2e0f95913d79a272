/** Operand codes to operands, and the immediates that they call for. */
import {
  DECODED_FLAG_B,
  DECODED_FLAG_MEMORY,
  DECODED_FLAG_REX,
  DECODED_FLAG_VEX,
  DECODED_FLAG_VEX_L,
  DECODED_OPERAND0_KIND,
  DECODED_OPERAND0_REG,
  DECODED_OPERAND0_SIZE,
  DECODED_OPERAND1_SIZE,
  Decoded,
  OPERAND_CONTROL,
  OPERAND_DEBUG,
  OPERAND_FAR_POINTER,
  OPERAND_GPR,
  OPERAND_GPR_HIGH,
  OPERAND_IMMEDIATE,
  OPERAND_MEMORY,
  OPERAND_MEMORY_BX_AL,
  OPERAND_MEMORY_DI,
  OPERAND_MMX,
  OPERAND_RELATIVE,
  OPERAND_SEGMENT,
  OPERAND_STRING_DESTINATION,
  OPERAND_STRING_SOURCE,
  OPERAND_X87,
  OPERAND_XMM,
  OPERAND_YMM,
} from "./decoded.generated";
import { segmentOr, takeSigned, takeUnsigned } from "./modrm";
import { MODE_64 } from "./prefixes";
import * as T from "./tables.generated";

const SEGMENT_ES: u32 = 0;
const SEGMENT_DS: u32 = 3;
const RSI: u32 = 6;
const RDI: u32 = 7;

/** Fields of an operand, from its size field on. */
const SLOT_BYTES: usize = DECODED_OPERAND1_SIZE - DECODED_OPERAND0_SIZE;
const SLOT_KIND: usize = DECODED_OPERAND0_KIND - DECODED_OPERAND0_SIZE;
const SLOT_REGISTER: usize = DECODED_OPERAND0_REG - DECODED_OPERAND0_SIZE;

/** Bytes in an operand of a type, 0 where the instruction decides. */
function typeBytes(d: Decoded, type: u32, mode: u32): u32 {
  const operandSize: u32 = d.operandSize;
  switch (type) {
    case T.TYPE_B:
    case T.TYPE_BS:
      return 1;
    case T.TYPE_W:
      return 2;
    case T.TYPE_D:
      return 4;
    case T.TYPE_Q:
      return 8;
    case T.TYPE_DQ:
      return 16;
    case T.TYPE_QQ:
      return 32;
    case T.TYPE_T:
      return 10;
    case T.TYPE_FX:
      return 512;
    case T.TYPE_V:
      return operandSize;
    case T.TYPE_Z:
      return min<u32>(operandSize, 4);
    case T.TYPE_Y:
      return operandSize == 8 ? 8 : 4;
    case T.TYPE_X:
      return d.flags & DECODED_FLAG_VEX_L ? 32 : 16;
    case T.TYPE_P:
      return operandSize + 2;
    case T.TYPE_S:
      return mode == MODE_64 ? 10 : 6;
    case T.TYPE_A:
      return operandSize * 2;
    case T.TYPE_ENV:
      return operandSize == 2 ? 14 : 28;
    case T.TYPE_SAVE:
      return operandSize == 2 ? 94 : 108;
    default:
      return 0;
  }
}

/** Stores an operand; `slot` is the address of its three fields. */
function setOperand(slot: usize, kind: u32, register: u32, size: u32): void {
  store<u16>(slot, <u16>size);
  store<u8>(slot, <u8>kind, SLOT_KIND);
  store<u8>(slot, <u8>register, SLOT_REGISTER);
}

/** A general register; without REX, numbers 4 to 7 of byte registers are AH to BH. */
function setGpr(d: Decoded, slot: usize, register: u32, size: u32): void {
  if (size == 1 && register >= 4 && register < 8 && (d.flags & (DECODED_FLAG_REX | DECODED_FLAG_VEX)) == 0)
    setOperand(slot, OPERAND_GPR_HIGH, register & 3, 1);
  else setOperand(slot, OPERAND_GPR, register, size);
}

function setVector(slot: usize, register: u32, size: u32): void {
  setOperand(slot, size == 32 ? OPERAND_YMM : OPERAND_XMM, register, size);
}

/** Takes an immediate of `type`, extended to 64 bits: `Ib`, `Iw`, `Iv` zero-, `Ibs` and `Iz` sign-extended. */
function takeImmediate(d: Decoded, type: u32, size: u32): u64 {
  return type == T.TYPE_BS || type == T.TYPE_Z ? takeSigned(d, size) : takeUnsigned(d, size);
}

/**
 * Fills in operand number `n` from its operand code, taking immediates from the instruction.
 *
 * @param code  METHOD_ | register type << 8 | memory type << 16
 */
export function takeOperand(d: Decoded, n: u32, code: u32, mode: u32): void {
  const slot = changetype<usize>(d) + DECODED_OPERAND0_SIZE + <usize>n * SLOT_BYTES;
  const method = code & 0xff;
  const type = (code >> 8) & 0xff;
  const memoryType = code >> 16;
  const size = typeBytes(d, type, mode);
  const isMemory = (d.flags & DECODED_FLAG_MEMORY) != 0;
  switch (method) {
    case T.METHOD_E:
    case T.METHOD_Q:
    case T.METHOD_W:
      if (isMemory) setOperand(slot, OPERAND_MEMORY, 0, typeBytes(d, memoryType, mode));
      else if (method == T.METHOD_E) setGpr(d, slot, d.rm, size);
      else if (method == T.METHOD_Q) setOperand(slot, OPERAND_MMX, d.rm & 7, size);
      else setVector(slot, d.rm, size);
      return;
    case T.METHOD_M:
    case T.METHOD_VMX:
    case T.METHOD_VMY:
      setOperand(slot, OPERAND_MEMORY, 0, size);
      return;
    case T.METHOD_G:
      setGpr(d, slot, d.reg, size);
      return;
    case T.METHOD_R:
      setGpr(d, slot, d.rm, size);
      return;
    case T.METHOD_Z:
      setGpr(d, slot, (d.opcode & 7) | (d.flags & DECODED_FLAG_B ? 8 : 0), size);
      return;
    case T.METHOD_B:
      setGpr(d, slot, d.vvvv, size);
      return;
    case T.METHOD_S:
      setOperand(slot, OPERAND_SEGMENT, d.reg & 7, 2);
      return;
    case T.METHOD_C:
      setOperand(slot, OPERAND_CONTROL, d.reg, size);
      return;
    case T.METHOD_D:
      setOperand(slot, OPERAND_DEBUG, d.reg, size);
      return;
    case T.METHOD_I: {
      const value = takeImmediate(d, type, size);
      setOperand(slot, OPERAND_IMMEDIATE, 0, size);
      // ENTER alone has two; its second is a byte.
      if (n == 0 || <u32>load<u8>(slot - SLOT_BYTES, SLOT_KIND) != OPERAND_IMMEDIATE) d.imm = value;
      else d.imm2 = <u16>value;
      return;
    }
    case T.METHOD_J:
      // A near branch with a 64-bit operand size has a 32-bit displacement.
      setOperand(slot, OPERAND_RELATIVE, 0, size);
      d.imm = takeSigned(d, size);
      return;
    case T.METHOD_A:
      setOperand(slot, OPERAND_FAR_POINTER, 0, size);
      d.imm = takeUnsigned(d, size - 2);
      d.imm2 = <u16>takeUnsigned(d, 2);
      return;
    case T.METHOD_O:
      setOperand(slot, OPERAND_MEMORY, 0, size);
      d.flags |= DECODED_FLAG_MEMORY;
      d.segment = <u8>segmentOr(d, SEGMENT_DS);
      d.disp = takeUnsigned(d, d.addressSize);
      return;
    case T.METHOD_X:
      setOperand(slot, OPERAND_STRING_SOURCE, RSI, size);
      d.segment = <u8>segmentOr(d, SEGMENT_DS);
      return;
    case T.METHOD_Y:
      setOperand(slot, OPERAND_STRING_DESTINATION, RDI, size);
      return;
    case T.METHOD_DI:
      setOperand(slot, OPERAND_MEMORY_DI, RDI, size);
      d.segment = <u8>segmentOr(d, SEGMENT_DS);
      return;
    case T.METHOD_BXAL:
      setOperand(slot, OPERAND_MEMORY_BX_AL, 0, size);
      d.segment = <u8>segmentOr(d, SEGMENT_DS);
      return;
    case T.METHOD_P:
      setOperand(slot, OPERAND_MMX, d.reg & 7, size);
      return;
    case T.METHOD_N:
      setOperand(slot, OPERAND_MMX, d.rm & 7, size);
      return;
    case T.METHOD_V:
      setVector(slot, d.reg, size);
      return;
    case T.METHOD_U:
      setVector(slot, d.rm, size);
      return;
    case T.METHOD_H:
      setVector(slot, d.vvvv, size);
      return;
    case T.METHOD_L: {
      const immediate = <u32>takeUnsigned(d, 1);
      d.imm = immediate;
      setVector(slot, mode == MODE_64 ? immediate >> 4 : (immediate >> 4) & 7, size);
      return;
    }
    case T.METHOD_STI:
      setOperand(slot, OPERAND_X87, d.modrm & 7, size);
      return;
    case T.METHOD_ST0:
      setOperand(slot, OPERAND_X87, 0, size);
      return;
    case T.METHOD_XMM0:
      setOperand(slot, OPERAND_XMM, 0, size);
      return;
    case T.METHOD_1:
      setOperand(slot, OPERAND_IMMEDIATE, 0, size);
      d.imm = 1;
      return;
    case T.METHOD_RAX:
    case T.METHOD_RCX:
    case T.METHOD_RDX:
      setOperand(slot, OPERAND_GPR, method - T.METHOD_RAX, size);
      return;
    default:
      // The six fixed segment registers, in the architecture's order.
      setOperand(slot, OPERAND_SEGMENT, SEGMENT_ES + method - T.METHOD_ES, size);
  }
}

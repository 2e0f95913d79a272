/**
 * The instruction decoder: bytes to a `Decoded` record. Behaves as Intel processors do where vendors differ.
 *
 * Runs once per instruction that enters the decoded-record cache, so it is written to be read.
 */
import {
  DECODED_BYTES,
  DECODED_FLAG_ADDRESS_SIZE_PREFIX,
  DECODED_FLAG_B,
  DECODED_FLAG_BRANCH,
  DECODED_FLAG_LOCK,
  DECODED_FLAG_MEMORY,
  DECODED_FLAG_MODRM,
  DECODED_FLAG_OPERAND_SIZE_PREFIX,
  DECODED_FLAG_PRIVILEGED,
  DECODED_FLAG_PROTECTED,
  DECODED_FLAG_R,
  DECODED_FLAG_REP,
  DECODED_FLAG_REPNE,
  DECODED_FLAG_STRING,
  DECODED_FLAG_VEX,
  DECODED_FLAG_VSIB,
  DECODED_FLAG_W,
  DECODE_NEED_BYTES,
  DECODE_TOO_LONG,
  DECODE_UNDEFINED,
  Decoded,
  NO_REGISTER,
  OPERAND_MEMORY,
} from "./decoded.generated";
import { NO_ROW, PREFIX_66, PREFIX_F2, PREFIX_F3, PREFIX_NP, findRow, opcodeEntry } from "./lookup";
import { takeMemoryOperand } from "./modrm";
import { takeOperand } from "./operands";
import { MAX_INSTRUCTION_BYTES, MODE_32, MODE_64, isVex, nextByte, takePrefixes, takeVex } from "./prefixes";
import * as T from "./tables.generated";

/** Words of a row in ROW_DATA. */
const ROW_BYTES: usize = 20;
const ROW_OPERANDS: usize = 4;

/** Values of the VEX pp field as PREFIX_ bits. */
function prefixOfPp(pp: u32): u32 {
  return pp == 0 ? PREFIX_NP : pp == 1 ? PREFIX_66 : pp == 2 ? PREFIX_F3 : PREFIX_F2;
}

/**
 * Decodes one instruction.
 *
 * @param at         host address of its first byte
 * @param available  bytes readable there, 1 to 15
 * @param mode       code size: 0 16-bit, 1 32-bit, 2 64-bit
 * @param out        host address of the `Decoded` record to fill in; its content is undefined unless a length is returned
 * @returns its length, 1 to 15; or 0: more bytes than `available` are needed; -1: undefined (#UD); -2: longer than 15
 *   bytes (#GP(0))
 */
export function decode(at: usize, available: u32, mode: u32, out: usize): i32 {
  const d = changetype<Decoded>(out);
  copyBytes(d, at, available);
  const isDefined = decodeBytes(d, mode);
  // The copy may end inside the instruction. Whatever was concluded from bytes beyond its end is void.
  const taken: u32 = d.length;
  if (taken > available && available < MAX_INSTRUCTION_BYTES) return DECODE_NEED_BYTES;
  if (taken > MAX_INSTRUCTION_BYTES) return DECODE_TOO_LONG;
  return isDefined ? <i32>taken : DECODE_UNDEFINED;
}

/** Copies what is readable, so that decoding needs no bounds checks and never reads beyond `available`. */
function copyBytes(d: Decoded, at: usize, available: u32): void {
  const to = changetype<usize>(d) + DECODED_BYTES;
  if (available >= 8) {
    store<u64>(to, load<u64>(at));
    const tail = available - 8;
    store<u64>(to + tail, load<u64>(at + tail));
    return;
  }
  for (let i: u32 = 0; i < available; i++) store<u8>(to + i, load<u8>(at + i));
}

/** Decodes `d.bytes`; `d.length` becomes the number of bytes looked at. Returns false when undefined. */
function decodeBytes(d: Decoded, mode: u32): bool {
  clear(d);
  takePrefixes(d, mode);
  if (<u32>d.length >= MAX_INSTRUCTION_BYTES) {
    // Fifteen prefixes: an opcode would be the sixteenth byte.
    d.length++;
    return true;
  }
  let opcode = nextByte(d);
  let prefix: u32;
  if (isVex(d, opcode, mode)) {
    const pp = takeVex(d, opcode, mode);
    if (pp < 0) return false;
    prefix = prefixOfPp(<u32>pp);
    opcode = nextByte(d);
  } else {
    const flags = d.flags;
    if (flags & DECODED_FLAG_REPNE) prefix = PREFIX_F2;
    else if (flags & DECODED_FLAG_REP) prefix = PREFIX_F3;
    else prefix = flags & DECODED_FLAG_OPERAND_SIZE_PREFIX ? PREFIX_66 : PREFIX_NP;
    if (opcode == 0x0f) {
      opcode = nextByte(d);
      d.map = 1;
      if (opcode == 0x38 || opcode == 0x3a) {
        d.map = opcode == 0x38 ? 2 : 3;
        opcode = nextByte(d);
      }
    }
  }
  d.opcode = <u8>opcode;

  const entry = opcodeEntry(d.map, opcode);
  if (entry == 0) return false;
  if (entry & T.ENTRY_MODRM) {
    const modrm = nextByte(d);
    d.modrm = <u8>modrm;
    d.reg = <u8>(((modrm >> 3) & 7) | (d.flags & DECODED_FLAG_R ? 8 : 0));
    d.rm = <u8>((modrm & 7) | (d.flags & DECODED_FLAG_B && modrm >= 0xc0 ? 8 : 0));
    d.flags |= DECODED_FLAG_MODRM;
  }
  const row = findRow(d, entry, prefix, mode);
  if (row == NO_ROW) return false;
  return decodeRow(d, row, prefix, mode);
}

/** Everything but bytes, vvvv included. */
function clear(d: Decoded): void {
  memory.fill(changetype<usize>(d), 0, DECODED_BYTES);
  d.base = <u8>NO_REGISTER;
  d.index = <u8>NO_REGISTER;
}

/** The instruction from its row on: sizes, memory operand, operands, and the checks that need them. */
function decodeRow(d: Decoded, row: u32, prefix: u32, mode: u32): bool {
  const rowData = T.ROW_DATA + <usize>row * ROW_BYTES;
  const rowFlags = load<u32>(rowData);
  d.row = <u16>row;
  if (rowFlags & T.ROW_PREFIX) dropMandatoryPrefix(d, rowFlags, prefix);
  setSizes(d, rowFlags, mode);
  const firstOperand = load<u32>(rowData, ROW_OPERANDS);
  const secondOperand = load<u32>(rowData, ROW_OPERANDS + 4);
  let flags = d.flags;
  if (rowFlags & T.ROW_BRANCH) flags |= DECODED_FLAG_BRANCH;
  if (rowFlags & T.ROW_PRIVILEGED) flags |= DECODED_FLAG_PRIVILEGED;
  if (rowFlags & T.ROW_PROTECTED) flags |= DECODED_FLAG_PROTECTED;
  if (rowFlags & T.ROW_STRING) flags |= DECODED_FLAG_STRING;
  const isVsib = (secondOperand & 0xff) == T.METHOD_VMX || (secondOperand & 0xff) == T.METHOD_VMY;
  if (isVsib) flags |= DECODED_FLAG_VSIB;
  d.flags = flags;

  if (flags & DECODED_FLAG_MODRM) {
    if (rowFlags & T.ROW_NO_MEMORY) {
      d.rm = <u8>((d.modrm & 7) | (flags & DECODED_FLAG_B ? 8 : 0));
    } else if (<u32>d.modrm < 0xc0) {
      // VSIB needs a SIB byte, which 16-bit addressing does not have.
      if (isVsib && (d.addressSize == 2 || (d.modrm & 7) != 4)) return false;
      d.flags |= DECODED_FLAG_MEMORY;
      takeMemoryOperand(d, mode);
    }
  }
  if (flags & DECODED_FLAG_VEX) {
    // An unused vvvv must be 1111B, its high bit too where only eight registers exist and the bit is otherwise ignored.
    if (!(rowFlags & T.ROW_VVVV) && d.vvvv != 0) return false;
    if (mode != MODE_64) d.vvvv &= 7;
  }
  let count: u32 = 0;
  for (; count < 4; count++) {
    const code = load<u32>(rowData + (count << 2), ROW_OPERANDS);
    if (code == 0) break;
    takeOperand(d, count, code, mode);
  }
  d.operandCount = <u8>count;

  if (flags & DECODED_FLAG_LOCK && !(rowFlags & T.ROW_LOCK && <u32>d.operand0Kind == OPERAND_MEMORY))
    return false;
  if (isVsib && !areGatherRegistersDistinct(d)) return false;
  return isRegisterDefined(d, firstOperand, 0) && isRegisterDefined(d, secondOperand, 1);
}

/** A mandatory prefix is part of the opcode: it neither repeats nor changes the operand size. */
function dropMandatoryPrefix(d: Decoded, rowFlags: u32, prefix: u32): void {
  if (d.flags & DECODED_FLAG_VEX) return;
  if (prefix == PREFIX_F3) d.flags &= ~DECODED_FLAG_REP;
  else if (prefix == PREFIX_F2) d.flags &= ~DECODED_FLAG_REPNE;
  else if (prefix == PREFIX_66 && !(rowFlags & T.ROW_SIZE_66)) d.flags &= ~DECODED_FLAG_OPERAND_SIZE_PREFIX;
}

/** Intel SDM Vol. 1, "Operand-Size and Address-Size Attributes"; Vol. 2, "Default 64-Bit Operand Size". */
function setSizes(d: Decoded, rowFlags: u32, mode: u32): void {
  const flags = d.flags;
  const hasSizePrefix = (flags & DECODED_FLAG_OPERAND_SIZE_PREFIX) != 0;
  const hasAddressPrefix = (flags & DECODED_FLAG_ADDRESS_SIZE_PREFIX) != 0;
  if (mode == MODE_64) {
    d.addressSize = hasAddressPrefix ? 4 : 8;
    if (flags & DECODED_FLAG_W || rowFlags & T.ROW_F64) d.operandSize = 8;
    else if (hasSizePrefix) d.operandSize = 2;
    else d.operandSize = rowFlags & T.ROW_D64 ? 8 : 4;
    return;
  }
  const isDefault32 = mode == MODE_32;
  d.operandSize = isDefault32 != hasSizePrefix ? 4 : 2;
  d.addressSize = isDefault32 != hasAddressPrefix ? 4 : 2;
}

/** VGATHER and VPGATHER: destination, index and mask must be three registers. */
function areGatherRegistersDistinct(d: Decoded): bool {
  return d.reg != d.index && d.reg != d.vvvv && d.index != d.vvvv;
}

/**
 * Whether a segment, control or debug register operand exists: segment numbers 6 and 7, CR1, CR5 to CR7, CR9 to CR15
 * and DR8 to DR15 do not, and CS cannot be loaded by MOV. DR4 and DR5 depend on CR4.DE and are left to execution.
 */
function isRegisterDefined(d: Decoded, code: u32, n: u32): bool {
  const reg: u32 = d.reg;
  switch (code & 0xff) {
    case T.METHOD_S:
      return (reg & 7) < 6 && !(n == 0 && (reg & 7) == 1);
    case T.METHOD_C:
      return reg == 0 || (reg >= 2 && reg <= 4) || reg == 8;
    case T.METHOD_D:
      return reg < 8;
    default:
      return true;
  }
}

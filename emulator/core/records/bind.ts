/** From a decoded instruction to a record: chooses the handler and packs the operands. */
import { CPU_BLOCK_RIP, CPU_DECODED, CPU_FEATURES, CPU_ZERO } from "../layout.generated";
import {
  DECODED_FLAG_LOCK,
  DECODED_FLAG_MEMORY,
  DECODED_FLAG_OPERAND_SIZE_PREFIX,
  DECODED_FLAG_REP,
  DECODED_FLAG_REPNE,
  DECODED_FLAG_REX,
  Decoded,
  NO_REGISTER,
  BASE_RIP,
  OPERAND_FAR_POINTER,
  OPERAND_GPR,
  OPERAND_GPR_HIGH,
  OPERAND_IMMEDIATE,
  OPERAND_MEMORY_DI,
  OPERAND_SEGMENT,
  OPERAND_CONTROL,
  OPERAND_DEBUG,
  OPERAND_MMX,
  OPERAND_X87,
  OPERAND_XMM,
  OPERAND_YMM,
  DECODED_FLAG_VEX,
  DECODED_FLAG_VEX_L,
  DECODED_OPERAND0_KIND,
  DECODED_OPERAND0_REG,
  DECODED_OPERAND0_SIZE,
  DECODED_OPERAND1_SIZE,
} from "../decode/decoded.generated";
import { decode } from "../decode/decode";
import { segmentOr } from "../decode/modrm";
import {
  HANDLER_BLOCK_END,
  HANDLER_FUNCTIONS,
  ROW_ENDS,
  ROW_FALLBACKS,
  ROW_FEATURES,
  ROW_HANDLERS,
  NO_ROW,
  ROW_SOURCES,
} from "../instructions/handlers.generated";
import { CPU, DS, SS, cpu } from "../state/cpu";
import { MODE_FLAT } from "../state/mode";
import {
  EA_32,
  EA_64,
  EA_64_SEGMENT,
  EA_GENERAL,
  RECORD_66,
  RECORD_LOCK,
  RECORD_MEMORY,
  RECORD_REGISTER,
  RECORD_REP,
  RECORD_REPNE,
  RECORD_REX,
  RECORD_STACK,
  R_ADDRESS_SIZE,
  R_BASE,
  R_DISP,
  R_DST,
  R_EA,
  R_END,
  R_EXTRA,
  R_FLAGS,
  R_HANDLER,
  R_IMM,
  R_INDEX,
  R_LENGTH,
  R_OPSIZE,
  R_ROW,
  R_SRC,
} from "./record";

/** Distance of one operand's fields from those of the operand before. */
const OPERAND_BYTES: usize = DECODED_OPERAND1_SIZE - DECODED_OPERAND0_SIZE;

/** What `decodeAt` returns beside a length. */
export const DECODE_UD: i32 = -1;
export const DECODE_GP: i32 = -2;

function d(): Decoded {
  return changetype<Decoded>(CPU + CPU_DECODED);
}

/** Decodes at a wasm offset with `available` (1 to 15) readable bytes: length, 0 for "more bytes", DECODE_UD, DECODE_GP. */
export function decodeAt(at: usize, available: u32): i32 {
  return decode(at, available, cpu.codeSize, CPU + CPU_DECODED);
}

/** Does the instruction just decoded end its block? */
export function endsBlock(): bool {
  return load<u8>(ROW_ENDS + <usize>d().row) != 0;
}

/** Offset in the CPU block of a general-register operand; the number itself of all other registers. */
function operandOffset(kind: u32, reg: u32): u32 {
  if (kind == OPERAND_GPR) return reg << 3;
  if (kind == OPERAND_GPR_HIGH) return (reg << 3) + 1;
  return reg;
}

function isRegisterKind(kind: u32): bool {
  return (
    kind == OPERAND_GPR ||
    kind == OPERAND_GPR_HIGH ||
    kind == OPERAND_SEGMENT ||
    kind == OPERAND_CONTROL ||
    kind == OPERAND_DEBUG ||
    kind == OPERAND_X87 ||
    kind == OPERAND_MMX ||
    kind == OPERAND_XMM ||
    kind == OPERAND_YMM
  );
}

/** How the memory operand's linear address is formed, in the current mode. */
function addressKind(x: Decoded): u32 {
  const segment = <u32>x.segment;
  if (cpu.codeSize == 2) {
    if (x.addressSize == 8) return segment >= 4 ? EA_64_SEGMENT : EA_64;
    return segment >= 4 ? EA_GENERAL : EA_32;
  }
  const isFlat = (cpu.modeKey & MODE_FLAT) != 0;
  // Through CS only reads are free: a code segment is not writable.
  return isFlat && x.addressSize == 4 && (segment == 0 || segment == 2 || segment == 3) ? EA_32 : EA_GENERAL;
}

/** Table index of the handler that stands behind a block's last record. */
function blockEndHandler(): u32 {
  return load<u32>(load<u32>(changetype<usize>(HANDLER_FUNCTIONS) + (HANDLER_BLOCK_END << 2)));
}

/** Makes `record` the end of a run of records. Returns the handler that it had, to be put back. */
export function bindBlockEnd(record: usize): u16 {
  const before = load<u16>(record, R_HANDLER);
  store<u16>(record, <u16>blockEndHandler(), R_HANDLER);
  return before;
}

/** Does `record` stand behind the last of its block? */
export function isBlockEnd(record: usize): bool {
  return <u32>load<u16>(record, R_HANDLER) == blockEndHandler();
}

/** The row to execute: that of the encoding, or what it is without its feature, or NO_ROW. */
function executedRow(row: u32): u32 {
  const feature = <u32>load<u8>(ROW_FEATURES + <usize>row);
  if ((((<u32>load<u8>(CPU + CPU_FEATURES + <usize>(feature >> 3))) >> (feature & 7)) & 1) != 0) return row;
  return <u32>load<u16>(ROW_FALLBACKS + ((<usize>row) << 1));
}

/** Packs the instruction just decoded. `start` is its offset from the block's first byte. */
export function bindRecord(record: usize, start: u32, length: i32): void {
  const x = d();
  const flags = x.flags;
  const isMemory = (flags & DECODED_FLAG_MEMORY) != 0;
  const end = start + <u32>length;
  const sizeIndex: u32 = x.operandSize == 2 ? 0 : x.operandSize == 4 ? 1 : 2;
  const isLocked = (flags & DECODED_FLAG_LOCK) != 0;
  const isVariant = isLocked || (flags & DECODED_FLAG_VEX_L) != 0;
  const row = executedRow(<u32>x.row);
  // Without a row, the first handler: #UD.
  const handler: u32 =
    row == NO_ROW
      ? 0
      : <u32>(
          load<u16>(
            ROW_HANDLERS + ((<usize>(row * 12 + (isVariant ? 6 : 0) + (isMemory ? 3 : 0) + sizeIndex)) << 1),
          )
        );
  // PROTECTED rows are #UD in real-address and virtual-8086 mode: their handlers check it. VEX rows: see state/media.ts.
  store<u16>(
    record,
    <u16>load<u32>(load<u32>(changetype<usize>(HANDLER_FUNCTIONS) + ((<usize>handler) << 2))),
    R_HANDLER,
  );
  store<u16>(record, <u16>end, R_END);
  store<u8>(record, <u8>length, R_LENGTH);
  store<u16>(record, x.row, R_ROW);
  store<u8>(record, x.operandSize, R_OPSIZE);
  store<u8>(record, x.addressSize, R_ADDRESS_SIZE);
  let bits: u32 = 0;
  if (isMemory) bits |= RECORD_MEMORY;
  else bits |= RECORD_REGISTER;
  if (flags & DECODED_FLAG_REP) bits |= RECORD_REP;
  if (flags & DECODED_FLAG_REPNE) bits |= RECORD_REPNE;
  if (isLocked) bits |= RECORD_LOCK;
  if (flags & DECODED_FLAG_OPERAND_SIZE_PREFIX) bits |= RECORD_66;
  if (flags & DECODED_FLAG_REX) bits |= RECORD_REX;
  if (isMemory && <u32>x.segment == SS) bits |= RECORD_STACK;
  store<u8>(record, <u8>bits, R_FLAGS);
  store<u8>(record, flags & DECODED_FLAG_VEX ? x.vvvv : descriptorTableKind(x), R_EXTRA);
  bindOperands(record, x);
  bindAddress(record, x, end);
}

/** Group 6 and 7 rows: which of SGDT SIDT LGDT LIDT (0–3), SLDT STR LLDT LTR (4–7). */
function descriptorTableKind(x: Decoded): u8 {
  if (x.map != 1) return 0;
  if (x.opcode == 0) return <u8>(4 + ((x.modrm >> 3) & 3));
  return (x.modrm >> 3) & 3;
}

/** Destination is operand 0 when a register; source the register operand that the row names, or else operand 2. */
function bindOperands(record: usize, x: Decoded): void {
  let dst: u32 = 0;
  let src: u32 = 0;
  if (isRegisterKind(x.operand0Kind)) dst = operandOffset(x.operand0Kind, x.operand0Reg);
  // MASKMOVQ and MASKMOVDQU: the register of masks.
  else if (x.operand0Kind == OPERAND_MEMORY_DI) dst = x.operand2Reg;
  const at = changetype<usize>(x) + <usize>load<u8>(ROW_SOURCES + <usize>x.row) * OPERAND_BYTES;
  const kind = <u32>load<u8>(at, DECODED_OPERAND0_KIND);
  if (isRegisterKind(kind)) src = operandOffset(kind, <u32>load<u8>(at, DECODED_OPERAND0_REG));
  else if (isRegisterKind(x.operand2Kind)) src = operandOffset(x.operand2Kind, x.operand2Reg);
  store<u8>(record, <u8>dst, R_DST);
  store<u8>(record, <u8>src, R_SRC);
  // x87 instructions have no immediate, but an opcode that FNSTENV shows: the last three bits of the first byte, and ModR/M.
  const isX87 = x.map == 0 && (x.opcode & 0xf8) == 0xd8;
  store<u64>(record, isX87 ? ((<u64>(x.opcode & 7)) << 8) | (<u64>x.modrm) : x.imm, R_IMM);
}

function slotOf(register: u32): u32 {
  if (register == NO_REGISTER) return <u32>CPU_ZERO;
  if (register == BASE_RIP) return <u32>CPU_BLOCK_RIP;
  return register << 3;
}

function bindAddress(record: usize, x: Decoded, end: u32): void {
  const kind = addressKind(x);
  // MONITOR has no operand that shows, but an address that a segment prefix applies to.
  const segment = x.operandCount == 0 ? segmentOr(x, DS) : <u32>x.segment;
  store<u8>(record, <u8>(segment | (kind << 3) | ((<u32>x.scale) << 6)), R_EA);
  store<u8>(record, <u8>slotOf(x.base), R_BASE);
  store<u8>(record, <u8>slotOf(x.index), R_INDEX);
  let disp = x.disp;
  // RIP-relative: the slot holds the block's first address, so the displacement carries the distance from there.
  if (x.base == BASE_RIP) disp += <u64>end;
  if (x.operand0Kind == OPERAND_FAR_POINTER) disp = <u64>x.imm2;
  store<u64>(record, disp, R_DISP);
  // ENTER keeps its nesting level in the place of the base.
  if (x.operand1Kind == OPERAND_IMMEDIATE && x.operand0Kind == OPERAND_IMMEDIATE)
    store<u8>(record, <u8>x.imm2, R_BASE);
}

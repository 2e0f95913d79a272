/**
 * The decoded record: 32 bytes that say all an instruction's handler needs. Interpreter and translator share it.
 *
 *    0 handler     u16  index in the function table
 *    2 end         u16  offset of the next instruction from the block's first
 *    4 length      u8
 *    5 dst         u8   the destination or only register operand: of a general register the offset of its slot in the CPU
 *                       block, of all others the number
 *    6 src         u8   the source register operand, likewise
 *    7 ea          u8   bits 2:0 segment, bits 5:3 kind (EA_*), bits 7:6 scale
 *    8 base        u8   offset in the CPU block of the base register's slot (or the zero or block-RIP slot)
 *    9 index       u8   likewise
 *   10 size        u8   operand size in bytes
 *   11 flags       u8   RECORD_*
 *   12 row         u16  row of the instruction table
 *   14 address     u8   address size in bytes
 *   15 extra       u8   VEX.vvvv; of group 6 and 7 rows which table register
 *   16 disp        i64  displacement; for a direct branch, the chained successor (see block-cache.ts)
 *   24 imm         u64  immediate, sign-extended
 */
export const RECORD_SIZE: usize = 32;
export const R_HANDLER: usize = 0;
export const R_END: usize = 2;
export const R_LENGTH: usize = 4;
export const R_DST: usize = 5;
export const R_SRC: usize = 6;
export const R_EA: usize = 7;
export const R_BASE: usize = 8;
export const R_INDEX: usize = 9;
export const R_OPSIZE: usize = 10;
export const R_FLAGS: usize = 11;
export const R_ROW: usize = 12;
export const R_ADDRESS_SIZE: usize = 14;
export const R_EXTRA: usize = 15;
export const R_DISP: usize = 16;
export const R_CHAIN: usize = 16;
export const R_IMM: usize = 24;

export const RECORD_MEMORY: u8 = 1 << 0;
export const RECORD_REP: u8 = 1 << 1;
export const RECORD_REPNE: u8 = 1 << 2;
export const RECORD_LOCK: u8 = 1 << 3;
/** ModRM.mod = 3. */
export const RECORD_REGISTER: u8 = 1 << 4;
export const RECORD_66: u8 = 1 << 5;
/** A fault on a non-canonical address is #SS: the access goes through the stack segment. */
export const RECORD_STACK: u8 = 1 << 6;
export const RECORD_REX: u8 = 1 << 7;

/** 64-bit address, no segment base. */
export const EA_64: u32 = 0;
/** 64-bit address plus FS or GS base. */
export const EA_64_SEGMENT: u32 = 1;
/** 32-bit address in a flat segment, or 64-bit mode with a 32-bit address size and no base. */
export const EA_32: u32 = 2;
/** Everything else: address size, segment base, limit and type checks. */
export const EA_GENERAL: u32 = 3;
/** Bit of the kinds that need more than base, index and displacement. */
export const EA_SLOW: u32 = 1;

/** A block's header, before its records; see block-cache.ts. */
export const BLOCK_HEADER: usize = 32;
export const B_PAGE: usize = 0;
/** B_PAGE of a block that has been dropped. */
export const NO_PAGE: u32 = 0;
export const B_KEY: usize = 4;
export const B_COUNT: usize = 8;
export const B_NEXT: usize = 12;
export const B_BYTES: usize = 16;

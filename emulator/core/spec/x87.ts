/** Bits of the x87 control and status words. SDM Vol. 1, "x87 FPU Status Register" and "x87 FPU Control Word". */

/** Stack fault: with IE, an empty register was read or a full one written. */
export const STATUS_SF: u32 = 1 << 6;
export const STATUS_ES: u32 = 1 << 7;
export const STATUS_C0: u32 = 1 << 8;
export const STATUS_C1: u32 = 1 << 9;
export const STATUS_C2: u32 = 1 << 10;
export const STATUS_TOP: u32 = 7 << 11;
export const STATUS_C3: u32 = 1 << 14;
/** Busy: as ES, since the 80287. */
export const STATUS_B: u32 = 1 << 15;
export const STATUS_CONDITION: u32 = STATUS_C0 | STATUS_C1 | STATUS_C2 | STATUS_C3;
/** IE to PE. */
export const STATUS_EXCEPTIONS: u32 = 0x3f;

/** Bits of the control word that can be written; bit 6 is always 1. */
export const CONTROL_WRITABLE: u32 = 0x1f3f;
export const CONTROL_FIXED: u32 = 0x40;
/** Control word after FNINIT: all masked, 64-bit precision, to nearest. */
export const CONTROL_INITIAL: u32 = 0x37f;
/** Precision control for 64 bits, both bits. */
export const CONTROL_PC_64: u32 = 0x300;

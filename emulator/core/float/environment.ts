/**
 * What a floating-point operation is told and what it reports: rounding, masks, exception flags.
 *
 * Words that go in are in the layout of the x87 control word (SDM Vol. 1, "x87 FPU Control Word"): masks in bits 5:0, precision
 * control in bits 9:8, rounding control in bits 11:10; beside these DAZ in bit 6 and FTZ in bit 15, as in MXCSR.
 * What comes out is in `Cpu.floatFlags`, in the order that status word and MXCSR share; operations only set bits there.
 */

export const FLOAT_IE: u32 = 1 << 0;
export const FLOAT_DE: u32 = 1 << 1;
export const FLOAT_ZE: u32 = 1 << 2;
export const FLOAT_OE: u32 = 1 << 3;
export const FLOAT_UE: u32 = 1 << 4;
export const FLOAT_PE: u32 = 1 << 5;
/** Flags that are known before a result is computed: with one of these unmasked, there is no result. */
export const FLOAT_PRE_COMPUTATION: u32 = FLOAT_IE | FLOAT_DE | FLOAT_ZE;
export const FLOAT_ALL: u32 = 0x3f;

/** Denormal operands count as zeros of their sign (SSE only). */
export const CONTROL_DAZ: u32 = 1 << 6;
/** Tiny results become zeros of their sign while underflow is masked (SSE only). */
export const CONTROL_FTZ: u32 = 1 << 15;

export const ROUND_NEAREST: u32 = 0;
export const ROUND_DOWN: u32 = 1;
export const ROUND_UP: u32 = 2;
export const ROUND_ZERO: u32 = 3;

/** Rounding control of a control word, one of ROUND_*. */
export function roundingOf(control: u32): u32 {
  return (control >> 10) & 3;
}

/** The control word for an MXCSR: its masks, DAZ, FTZ and rounding control. */
export function controlOfMxcsr(mxcsr: u32): u32 {
  return ((mxcsr >> 7) & FLOAT_ALL) | (mxcsr & (CONTROL_DAZ | CONTROL_FTZ)) | ((mxcsr >> 3) & 0xc00);
}

/** The exponent of 1 in unpacked numbers and in the double extended format. */
export const BIAS: i32 = 16383;
/** Exponent field of infinities and NaNs in the double extended format. */
export const EXTENDED_MAX: u32 = 0x7fff;
/** By how much an unmasked overflow or underflow moves the exponent of a result in an x87 register. */
export const BIAS_ADJUSTMENT: i32 = 24576;
export const TOP_BIT: u64 = 0x8000000000000000;

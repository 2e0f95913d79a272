/**
 * Control words of the 8254. Names: Intel, "8254 Programmable Interval Timer", data sheet. Port 61H: Intel,
 * "82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data sheet, "NMI Status and Control Register".
 */

/** The PC's timer input clock in Hz. */
export const PIT_HZ = 1_193_182;

/** Offset of the control word register; offsets 0–2 are the counters. */
export const CONTROL_WORD = 3;
export const COUNTERS = 3;

/** Bits 7:6 select the counter; 3 is the read-back command. */
export const SC_SHIFT = 6;
export const SC_READ_BACK = 3;
/** Bits 5:4: 0 is the counter latch command. */
export const RW_SHIFT = 4;
export const RW_LATCH = 0;
export const RW_LSB = 1;
export const RW_MSB = 2;
export const RW_LSB_MSB = 3;
export const MODE_SHIFT = 1;
export const CONTROL_BCD = 1 << 0;

/** Read-back command: 0 in these bits asks for the latch. */
export const READ_BACK_NO_COUNT = 1 << 5;
export const READ_BACK_NO_STATUS = 1 << 4;

export const STATUS_OUTPUT = 1 << 7;
export const STATUS_NULL_COUNT = 1 << 6;

/** Port 61H. */
export const NMISC_TIMER_2_GATE = 1 << 0;
export const NMISC_SPEAKER_DATA = 1 << 1;
export const NMISC_WRITABLE = 0x0f;
/** Toggles with every refresh request (counter 1). */
export const NMISC_REFRESH_TOGGLE = 1 << 4;
export const NMISC_TIMER_2_OUT = 1 << 5;
/** Input clocks between refresh requests: counter 1 is programmed to 18 on a PC. */
export const REFRESH_CLOCKS = 18;

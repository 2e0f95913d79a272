/**
 * Registers of the real-time clock. Names: Motorola, "MC146818A Real-Time Clock plus RAM", data sheet. The use
 * of the RAM above 0EH is the PC AT's, with the additions that SeaBIOS reads for the memory size.
 */

export const SECONDS = 0x00;
export const SECONDS_ALARM = 0x01;
export const MINUTES = 0x02;
export const MINUTES_ALARM = 0x03;
export const HOURS = 0x04;
export const HOURS_ALARM = 0x05;
/** 1 is Sunday. */
export const DAY_OF_WEEK = 0x06;
export const DATE_OF_MONTH = 0x07;
export const MONTH = 0x08;
export const YEAR = 0x09;
export const REGISTER_A = 0x0a;
export const REGISTER_B = 0x0b;
export const REGISTER_C = 0x0c;
export const REGISTER_D = 0x0d;
/** The century, where the ACPI FADT says it is. */
export const CENTURY = 0x32;
export const CMOS_BYTES = 128;

export const A_UIP = 1 << 7;
export const A_DIVIDER = 0x70;
/** DV for a 32.768 kHz time base, the PC's. */
export const A_DIVIDER_32768 = 0x20;
/** DV values 11x hold the divider chain in reset. */
export const A_DIVIDER_RESET = 0x60;
export const A_RATE = 0x0f;

export const B_SET = 1 << 7;
export const B_PIE = 1 << 6;
export const B_AIE = 1 << 5;
export const B_UIE = 1 << 4;
export const B_SQWE = 1 << 3;
/** Data mode: 1 binary, 0 BCD. */
export const B_DM = 1 << 2;
export const B_24_HOUR = 1 << 1;

export const C_IRQF = 1 << 7;
export const C_PF = 1 << 6;
export const C_AF = 1 << 5;
export const C_UF = 1 << 4;

/** Valid RAM and time: the battery is good. */
export const D_VRT = 1 << 7;

/** Bit 7 of the hours register in 12-hour mode. */
export const HOURS_PM = 0x80;
/** Alarm codes C0H-FFH mean "don't care". */
export const ALARM_DONT_CARE = 0xc0;

export const TIME_BASE_HZ = 32768;
/** UIP is set at least 244 µs before the update, which takes 1,984 µs: ticks of the time base. */
export const UPDATE_TICKS = 8 + 65;

/** Bit 7 of port 70H disables NMI; bits 6:0 are the index. */
export const INDEX_MASK = 0x7f;

/** PC AT use of the RAM. */
export const CMOS_SHUTDOWN_STATUS = 0x0f;
export const CMOS_EQUIPMENT = 0x14;
export const CMOS_BASE_MEMORY = 0x15;
export const CMOS_EXTENDED_MEMORY = 0x17;
export const CMOS_CHECKSUM_FIRST = 0x10;
export const CMOS_CHECKSUM_LAST = 0x2d;
export const CMOS_CHECKSUM = 0x2e;
export const CMOS_EXTENDED_MEMORY_2 = 0x30;
/** Memory above 16 MiB in units of 64 KiB. */
export const CMOS_MEMORY_ABOVE_16M = 0x34;
export const CMOS_BOOT_ORDER_HIGH = 0x38;
export const CMOS_BOOT_ORDER_LOW = 0x3d;
/** Memory above 4 GiB in units of 64 KiB, three bytes. */
export const CMOS_MEMORY_ABOVE_4G = 0x5b;
/** Number of processors beyond the first. */
export const CMOS_EXTRA_PROCESSORS = 0x5f;

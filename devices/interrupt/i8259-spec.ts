/**
 * Command words of the 8259A. Names: Intel, "8259A Programmable Interrupt Controller", data sheet; the
 * edge/level control registers: Intel, "82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data sheet.
 */

/** Offset 0 of a controller: ICW1, OCW2, OCW3 (write), IRR, ISR or poll word (read). */
export const COMMAND = 0;
/** Offset 1 of a controller: ICW2–4, OCW1 (write), IMR (read). */
export const DATA = 1;

/** Tells ICW1 from OCW2 and OCW3. */
export const ICW1_SELECT = 1 << 4;
export const ICW1_IC4 = 1 << 0;
export const ICW1_SNGL = 1 << 1;

export const ICW4_AEOI = 1 << 1;
/** Special fully nested mode. */
export const ICW4_SFNM = 1 << 4;

/** Tells OCW3 from OCW2. */
export const OCW3_SELECT = 1 << 3;
export const OCW3_RIS = 1 << 0;
export const OCW3_RR = 1 << 1;
export const OCW3_POLL = 1 << 2;
export const OCW3_SMM = 1 << 5;
export const OCW3_ESMM = 1 << 6;

/** OCW2 bits 7:5: R, SL, EOI. */
export const OCW2_ROTATE_IN_AEOI_CLEAR = 0;
export const OCW2_NON_SPECIFIC_EOI = 1;
export const OCW2_NO_OPERATION = 2;
export const OCW2_SPECIFIC_EOI = 3;
export const OCW2_ROTATE_IN_AEOI_SET = 4;
export const OCW2_ROTATE_ON_NON_SPECIFIC_EOI = 5;
export const OCW2_SET_PRIORITY = 6;
export const OCW2_ROTATE_ON_SPECIFIC_EOI = 7;

/** Bit 7 of the poll word: an interrupt was requested. */
export const POLL_INTERRUPT = 0x80;

/** The interrupt requests whose trigger ELCR1 and ELCR2 can change; the others are always edge-triggered. */
export const ELCR_WRITABLE = [0xf8, 0xde] as const;

/** The master's input that carries the slave's INT. */
export const CASCADE = 2;

/**
 * Registers of the I/O APIC. Names: Intel, "82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC)",
 * data sheet; the EOI register (version 20H): Intel, "82801 (ICH) family" data sheets, "I/O APIC EOI Register".
 */

/** Memory-mapped offsets. */
export const IOREGSEL = 0x00;
export const IOWIN = 0x10;
export const EOI = 0x40;
/** Bytes of address space that the device claims. */
export const IOAPIC_WINDOW = 0x1000;

/** Indirect register indices. */
export const IOAPICID = 0x00;
export const IOAPICVER = 0x01;
export const IOAPICARB = 0x02;
export const IOREDTBL = 0x10;

export const PINS = 24;
/** IOAPICID and IOAPICARB bits 27:24. */
export const ID_SHIFT = 24;

export const VERSION_82093AA = 0x11;
export const VERSION_WITH_EOI = 0x20;

/** Redirection entry, low half. */
export const VECTOR_MASK = 0xff;
export const DELIVERY_MODE_SHIFT = 8;
export const DESTINATION_LOGICAL = 1 << 11;
export const DELIVERY_STATUS = 1 << 12;
/** Interrupt input pin polarity: 1 = low active. */
export const LOW_ACTIVE = 1 << 13;
export const REMOTE_IRR = 1 << 14;
export const LEVEL_TRIGGERED = 1 << 15;
export const MASKED = 1 << 16;
export const LOW_WRITABLE =
  (VECTOR_MASK | (7 << DELIVERY_MODE_SHIFT) | DESTINATION_LOGICAL | LOW_ACTIVE | LEVEL_TRIGGERED | MASKED) >>>
  0;
/** Bits 63:56 are the destination field. */
export const HIGH_WRITABLE = 0xff000000;

export const DELIVERY_FIXED = 0;
export const DELIVERY_LOWEST_PRIORITY = 1;

/** The PC's physical addresses, ports and interrupts, in one page. */

/** PCI memory-mapped configuration space: one bus. */
export const ECAM_BASE = 0xb0000000;
export const ECAM_SIZE = 0x100000;
/** Base address registers are placed from here (setUpPci). */
export const PCI_MEMORY_BASE = 0xe0000000;
export const PCI_IO_BASE = 0xc000;
export const IOAPIC_BASE = 0xfec00000;
export const HPET_BASE = 0xfed00000;
export const LOCAL_APIC_BASE = 0xfee00000;
/** Writes here are message-signalled interrupts. */
export const MSI_BASE = 0xfee00000;
export const MSI_END = 0xfef00000;
export const PM_BASE = 0x600;

export const COM1_PORT = 0x3f8;
export const COM1_IRQ = 4;
export const PIT_IRQ = 0;
/** The PIT reaches the I/O APIC at pin 2 (the MADT's override). */
export const PIT_GSI = 2;
export const KEYBOARD_IRQ = 1;
export const RTC_IRQ = 8;
export const MOUSE_IRQ = 12;
export const SCI_IRQ = 9;
export const FLOAT_ERROR_IRQ = 13;
export const IDE_IRQS = [14, 15] as const;

/** PCI slots of bus 0. */
export const SLOT_HOST_BRIDGE = 0;
export const SLOT_PIIX = 1;
export const SLOT_VGA = 2;

/**
 * Configuration registers of the PC's chipset. Names: Intel, "440FX PCIset, 82441FX (PMC)", data sheet; Intel,
 * "82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data sheet; Intel, "82371AB (PIIX4)", data sheet.
 */
export const VENDOR_INTEL = 0x8086;

/** 82441FX host bridge. */
export const DEVICE_82441FX = 0x1237;
/** Programmable attribute map, 59H–5FH: read and write enables of C0000H–FFFFFH. */
export const PAM0 = 0x59;
export const PAM_REGISTERS = 7;
/** 16-KiB parts of C0000H–FFFFFH. */
export const PAM_PARTS = 16;
export const SMRAM = 0x72;

/** PIIX3 function 0, PCI to ISA bridge. */
export const DEVICE_PIIX3_ISA = 0x7000;
export const PIRQRCA = 0x60;
export const PIRQS = 4;
/** PIRQRCx bit 7: routing is disabled. */
export const PIRQRC_DISABLED = 0x80;
/** IRQs to which a PIRQ can be routed (0, 1, 2, 8 and 13 are reserved). */
export const PIRQ_ROUTABLE = 0xdef8;

/** PIIX4 function 3, power management. */
export const DEVICE_PIIX4_PM = 0x7113;
export const PMBA = 0x40;
export const DEVACTB = 0x58;
/** DEVACTB bit 25: APMC writes generate SMI. */
export const DEVACTB_APMC_EN_BYTE = 3;
export const DEVACTB_APMC_EN = 1 << 1;
export const PMREGMISC = 0x80;
export const PMREGMISC_PMIOSE = 1 << 0;

/** PIIX3 function 1, IDE. */
export const DEVICE_PIIX3_IDE = 0x7010;
/** IDE timing registers, one 16-bit register a channel; bit 15 enables decoding of its ports. */
export const IDETIM = 0x40;
export const IDETIM_DECODE_ENABLE = 0x8000;

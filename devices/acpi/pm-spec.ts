/**
 * Power-management I/O registers. Names: ACPI Specification, "ACPI Hardware Specification", and Intel, "82371AB
 * PCI-to-ISA / IDE Xcelerator (PIIX4)", data sheet, "Power Management I/O Space Registers".
 */

/** Bytes of I/O space at the PM base. */
export const PM_PORTS = 64;

export const PM1_STS = 0x00;
export const PM1_EN = 0x02;
export const PM1_CNT = 0x04;
export const PM_TMR = 0x08;
export const GP_STS = 0x0c;
export const GP_EN = 0x0e;

export const TMROF_STS = 1 << 0;
export const BM_STS = 1 << 4;
export const GBL_STS = 1 << 5;
export const PWRBTN_STS = 1 << 8;
export const RTC_STS = 1 << 10;
export const RSM_STS = 1 << 15;
export const PM1_STS_CLEARABLE = TMROF_STS | BM_STS | GBL_STS | PWRBTN_STS | RTC_STS | RSM_STS;

export const TMROF_EN = 1 << 0;
export const GBL_EN = 1 << 5;
export const PWRBTN_EN = 1 << 8;
export const RTC_EN = 1 << 10;
export const PM1_EN_WRITABLE = TMROF_EN | GBL_EN | PWRBTN_EN | RTC_EN;

export const SCI_EN = 1 << 0;
export const BRLD_EN_BM = 1 << 1;
export const GBL_RLS = 1 << 2;
export const SUS_TYP_SHIFT = 10;
/** Write-only: enters the sleep state of SUS_TYP. */
export const SUS_EN = 1 << 13;
/** SUS_TYP of soft off (S5) on the PIIX4. */
export const SUS_TYP_SOFT_OFF = 0;
export const PM1_CNT_WRITABLE = SCI_EN | BRLD_EN_BM | (7 << SUS_TYP_SHIFT);

export const PM_TIMER_HZ = 3_579_545;
export const PM_TIMER_BITS = 24;
/** TMROF_STS is set whenever the timer's most significant bit changes. */
export const PM_TIMER_HALF = 2 ** (PM_TIMER_BITS - 1);

/** Values of the APM control port (B2H) that the FADT names for switching ACPI mode. */
export const APMC_ACPI_ENABLE = 0xf1;
export const APMC_ACPI_DISABLE = 0xf0;

/** Reset control register, CF9H. */
export const RCR_SRST = 1 << 1;
export const RCR_RCPU = 1 << 2;
export const RCR_WRITABLE = RCR_SRST | RCR_RCPU | (1 << 3);

/** System control port A, 92H. */
export const PORT92_FAST_RESET = 1 << 0;
export const PORT92_A20 = 1 << 1;

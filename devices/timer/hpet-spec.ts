/** Registers of an event timer block. Names: Intel, "IA-PC HPET (High Precision Event Timers) Specification 1.0a". */

export const HPET_BYTES = 0x400;
export const TIMERS = 3;

/** The main counter's period in femtoseconds, and its frequency: 14.31818 MHz, as in Intel's chipsets. */
export const COUNTER_CLK_PERIOD = 69841279;
export const COUNTER_HZ = 14318180;

export const GCAP_ID = 0x000;
export const GCAP_PERIOD = 0x004;
export const GEN_CONF = 0x010;
export const GINTR_STA = 0x020;
export const MAIN_CNT = 0x0f0;
export const MAIN_CNT_HIGH = 0x0f4;
export const TIMER_BASE = 0x100;
export const TIMER_BYTES = 0x20;
/** Offsets in a timer's registers. */
export const CONF_CAP = 0x00;
export const INT_ROUTE_CAP = 0x04;
export const CMP = 0x08;
export const CMP_HIGH = 0x0c;
export const FSB_VALUE = 0x10;
export const FSB_ADDRESS = 0x14;

const REV_ID = 1;
const COUNT_SIZE_CAP = 1 << 13;
const LEG_RT_CAP = 1 << 15;
const VENDOR_INTEL = 0x8086;
/** The low half of the general capabilities register, which the ACPI table repeats as the event timer block's ID. */
export const CAPABILITIES =
  (REV_ID | ((TIMERS - 1) << 8) | COUNT_SIZE_CAP | LEG_RT_CAP | (VENDOR_INTEL << 16)) >>> 0;

export const ENABLE_CNF = 1 << 0;
export const LEG_RT_CNF = 1 << 1;

export const INT_TYPE_LEVEL = 1 << 1;
export const INT_ENB = 1 << 2;
export const TYPE_PERIODIC = 1 << 3;
export const PER_INT_CAP = 1 << 4;
export const SIZE_CAP = 1 << 5;
export const VAL_SET = 1 << 6;
export const MODE_32 = 1 << 8;
export const INT_ROUTE_SHIFT = 9;
export const INT_ROUTE_MASK = 31;
export const FSB_EN = 1 << 14;
export const FSB_INT_DEL_CAP = 1 << 15;
export const CONF_WRITABLE = INT_TYPE_LEVEL | INT_ENB | TYPE_PERIODIC | VAL_SET | MODE_32 | FSB_EN;

/** I/O APIC inputs that a timer can be routed to: those that nothing else uses. */
export const ROUTES = 0x00f00000;

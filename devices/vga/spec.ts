/**
 * Registers of the VGA and of the "dispi" extension. IBM, "Personal System/2 Hardware Interface Technical Reference", "Video
 * Subsystem"; QEMU, "QEMU Standard VGA"; Bochs, "VBE Display API".
 */

/** Video memory, and the size of the frame buffer's BAR. */
export const VIDEO_MEMORY_BYTES = 16 * 1024 * 1024;

export const VENDOR_ID = 0x1234;
export const DEVICE_ID = 0x1111;
export const CLASS_VGA = 0x030000;

export const WINDOW_BASE = 0xa0000;
export const WINDOW_BYTES = 0x20000;
export const PORT_BASE = 0x3b0;
export const PORTS = 0x30;
export const DISPI_PORT = 0x1ce;
export const DISPI_PORTS = 3;

/** Registers in BAR 2. */
export const MMIO_BYTES = 0x1000;
export const MMIO_VGA_PORTS = 0x400;
export const MMIO_VGA_PORTS_END = 0x420;
export const MMIO_DISPI = 0x500;
export const MMIO_DISPI_END = 0x516;

/** Ports, by their usual (colour) addresses. */
export const ATTRIBUTE = 0x3c0;
export const ATTRIBUTE_READ = 0x3c1;
/** Miscellaneous output (write), input status 0 (read). */
export const MISC_WRITE = 0x3c2;
export const SEQUENCER_INDEX = 0x3c4;
export const SEQUENCER_DATA = 0x3c5;
export const PEL_MASK = 0x3c6;
/** Read index (write), state (read). */
export const DAC_READ_INDEX = 0x3c7;
export const DAC_WRITE_INDEX = 0x3c8;
export const DAC_DATA = 0x3c9;
export const FEATURE_READ = 0x3ca;
export const MISC_READ = 0x3cc;
export const GRAPHICS_INDEX = 0x3ce;
export const GRAPHICS_DATA = 0x3cf;
export const CRTC_INDEX = 0x3d4;
export const CRTC_DATA = 0x3d5;
export const INPUT_STATUS_1 = 0x3da;

/** Miscellaneous output: CRTC at 3DxH, not 3BxH. */
export const MISC_COLOUR = 1 << 0;

export const SEQUENCER_REGISTERS = 8;
export const SR_CLOCKING_MODE = 1;
export const SR_8_DOTS = 1 << 0;
export const SR_MAP_MASK = 2;
export const SR_CHARACTER_MAP = 3;
export const SR_MEMORY_MODE = 4;
export const SR_ODD_EVEN_OFF = 1 << 2;
export const SR_CHAIN_4 = 1 << 3;

export const GRAPHICS_REGISTERS = 16;
export const GR_SET_RESET = 0;
export const GR_ENABLE_SET_RESET = 1;
export const GR_COLOUR_COMPARE = 2;
export const GR_DATA_ROTATE = 3;
export const GR_READ_MAP = 4;
export const GR_MODE = 5;
export const GR_READ_MODE_1 = 1 << 3;
export const GR_HOST_ODD_EVEN = 1 << 4;
export const GR_SHIFT_256 = 1 << 6;
export const GR_MISC = 6;
export const GR_GRAPHICS = 1 << 0;
export const GR_COLOUR_DONT_CARE = 7;
export const GR_BIT_MASK = 8;

export const CRTC_REGISTERS = 0x19;
export const CR_DISPLAY_END = 0x01;
export const CR_OVERFLOW = 0x07;
export const CR_MAXIMUM_SCAN_LINE = 0x09;
export const CR_DOUBLE_SCAN = 1 << 7;
export const CR_CURSOR_START = 0x0a;
export const CR_CURSOR_OFF = 1 << 5;
export const CR_CURSOR_END = 0x0b;
export const CR_START_HIGH = 0x0c;
export const CR_START_LOW = 0x0d;
export const CR_CURSOR_HIGH = 0x0e;
export const CR_CURSOR_LOW = 0x0f;
export const CR_VERTICAL_RETRACE_END = 0x11;
/** Registers 0 to 7 are not written. */
export const CR_PROTECT = 1 << 7;
export const CR_VERTICAL_DISPLAY_END = 0x12;
export const CR_OFFSET = 0x13;
export const CR_LINE_COMPARE = 0x18;

export const ATTRIBUTE_REGISTERS = 0x15;
export const AR_MODE = 0x10;
export const AR_BLINK = 1 << 3;
export const AR_P54_SELECT = 1 << 7;
export const AR_PLANE_ENABLE = 0x12;
export const AR_COLOUR_SELECT = 0x14;
/** Attribute index: the screen is on. */
export const ATTRIBUTE_INDEX_SCREEN = 1 << 5;

export const STATUS_DISPLAY_OFF = 1 << 0;
export const STATUS_RETRACE = 1 << 3;

/** Dispi registers. */
export const DISPI_REGISTERS = 11;
export const DISPI_ID = 0;
export const DISPI_XRES = 1;
export const DISPI_YRES = 2;
export const DISPI_BPP = 3;
export const DISPI_ENABLE = 4;
export const DISPI_BANK = 5;
export const DISPI_VIRTUAL_WIDTH = 6;
export const DISPI_VIRTUAL_HEIGHT = 7;
export const DISPI_X_OFFSET = 8;
export const DISPI_Y_OFFSET = 9;
export const DISPI_MEMORY_64K = 10;

export const DISPI_ID_FIRST = 0xb0c0;
export const DISPI_ID_LAST = 0xb0c5;
export const DISPI_ENABLED = 1 << 0;
export const DISPI_GET_CAPABILITIES = 1 << 1;
export const DISPI_8BIT_DAC = 1 << 5;
export const DISPI_NO_CLEAR = 1 << 7;
export const DISPI_MOST_XRES = 2560;
export const DISPI_MOST_YRES = 1600;
export const DISPI_MOST_BPP = 32;
export const DISPI_DEPTHS: readonly number[] = [4, 8, 15, 16, 24, 32];

/**
 * Registers and commands of the keyboard controller. Names: IBM, "Personal System/2 Hardware Interface Technical
 * Reference", "Keyboard and Auxiliary Device Controller".
 */

export const STATUS_OBF = 1 << 0;
export const STATUS_IBF = 1 << 1;
export const STATUS_SYSTEM = 1 << 2;
/** The last write went to port 64H. */
export const STATUS_COMMAND = 1 << 3;
/** The keyboard is not inhibited. */
export const STATUS_UNLOCKED = 1 << 4;
/** The output buffer holds a byte of the auxiliary device. */
export const STATUS_AUX = 1 << 5;
export const STATUS_TIMEOUT = 1 << 6;

export const COMMAND_BYTE_IRQ1 = 1 << 0;
export const COMMAND_BYTE_IRQ12 = 1 << 1;
export const COMMAND_BYTE_SYSTEM = 1 << 2;
export const COMMAND_BYTE_KEYBOARD_DISABLED = 1 << 4;
export const COMMAND_BYTE_AUX_DISABLED = 1 << 5;
/** The keyboard's codes are translated to set 1. */
export const COMMAND_BYTE_TRANSLATE = 1 << 6;

export const READ_COMMAND_BYTE = 0x20;
export const WRITE_COMMAND_BYTE = 0x60;
export const DISABLE_AUX = 0xa7;
export const ENABLE_AUX = 0xa8;
export const TEST_AUX = 0xa9;
export const SELF_TEST = 0xaa;
export const TEST_KEYBOARD = 0xab;
export const DISABLE_KEYBOARD = 0xad;
export const ENABLE_KEYBOARD = 0xae;
export const READ_INPUT_PORT = 0xc0;
export const READ_OUTPUT_PORT = 0xd0;
export const WRITE_OUTPUT_PORT = 0xd1;
export const WRITE_KEYBOARD_OUTPUT = 0xd2;
export const WRITE_AUX_OUTPUT = 0xd3;
export const WRITE_AUX = 0xd4;
export const READ_TEST_INPUTS = 0xe0;
/** F0H–FFH pulse the output port bits that are 0 in the low nibble; bit 0 is the processor's reset. */
export const PULSE_OUTPUT = 0xf0;

export const SELF_TEST_PASSED = 0x55;
export const INTERFACE_OK = 0x00;
/** "Auxiliary device clock line stuck low": no such interface. */
export const INTERFACE_CLOCK_LOW = 0x01;
/** What the controller puts in its buffer when a device does not answer (with the time-out status bit). */
export const RESEND = 0xfe;

export const OUTPUT_PORT_RESET_N = 1 << 0;
export const OUTPUT_PORT_A20 = 1 << 1;
export const OUTPUT_PORT_OBF = 1 << 4;
export const OUTPUT_PORT_AUX_OBF = 1 << 5;

/** Input port: keyboard not locked, manufacturing jumper open. */
export const INPUT_PORT = 0xa0;

/**
 * PCI configuration space. Names: PCI-SIG, "PCI Local Bus Specification 3.0", chapter "Configuration Space", and
 * for MSI-X its section "MSI-X Capability and Table Structures"; ECAM: "PCI Express Base Specification".
 */

export const CONFIG_BYTES = 256;
export const VENDOR_ID = 0x00;
export const DEVICE_ID = 0x02;
export const COMMAND = 0x04;
export const STATUS = 0x06;
export const REVISION_ID = 0x08;
export const CLASS_CODE = 0x09;
export const CACHE_LINE_SIZE = 0x0c;
export const LATENCY_TIMER = 0x0d;
export const HEADER_TYPE = 0x0e;
export const BASE_ADDRESS_0 = 0x10;
export const BASE_ADDRESS_REGISTERS = 6;
export const SUBSYSTEM_VENDOR_ID = 0x2c;
export const SUBSYSTEM_ID = 0x2e;
export const CAPABILITIES_POINTER = 0x34;
export const INTERRUPT_LINE = 0x3c;
export const INTERRUPT_PIN = 0x3d;
/** First byte free for capabilities and device registers. */
export const DEVICE_SPECIFIC = 0x40;

export const COMMAND_IO_SPACE = 1 << 0;
export const COMMAND_MEMORY_SPACE = 1 << 1;
export const COMMAND_BUS_MASTER = 1 << 2;
export const COMMAND_PARITY_ERROR_RESPONSE = 1 << 6;
export const COMMAND_SERR_ENABLE = 1 << 8;
export const COMMAND_INTERRUPT_DISABLE = 1 << 10;

export const STATUS_INTERRUPT = 1 << 3;
export const STATUS_CAPABILITIES_LIST = 1 << 4;
/** Error bits, cleared by writing 1. */
export const STATUS_CLEARABLE = 0xf900;

export const HEADER_MULTI_FUNCTION = 1 << 7;

export const BAR_IO = 1 << 0;
export const BAR_MEMORY_64 = 2 << 1;
export const BAR_PREFETCHABLE = 1 << 3;

/** Configuration Mechanism #1. */
export const CONFIG_ADDRESS_PORT = 0xcf8;
export const CONFIG_DATA_PORT = 0xcfc;
export const CONFIG_ADDRESS_ENABLE = 0x80000000;
export const CONFIG_ADDRESS_WRITABLE = 0x80fffffc;

/** ECAM: bytes of configuration space a function and a bus have there. */
export const ECAM_FUNCTION_BYTES = 4096;
export const ECAM_BUS_BYTES = 1 << 20;

export const CAPABILITY_MSI = 0x05;
export const CAPABILITY_VENDOR_SPECIFIC = 0x09;
export const CAPABILITY_MSIX = 0x11;

/** With a 64-bit address and without masks. */
export const MSI_CAPABILITY_BYTES = 14;
export const MSI_MESSAGE_CONTROL = 2;
export const MSI_ENABLE = 1 << 0;
export const MSI_64_BIT = 1 << 7;
export const MSI_ADDRESS = 4;
export const MSI_DATA = 12;

export const MSIX_CAPABILITY_BYTES = 12;
export const MSIX_MESSAGE_CONTROL = 2;
export const MSIX_TABLE_OFFSET = 4;
export const MSIX_PBA_OFFSET = 8;
export const MSIX_FUNCTION_MASK = 1 << 14;
export const MSIX_ENABLE = 1 << 15;
export const MSIX_ENTRY_BYTES = 16;
/** Bit 0 of an entry's vector control. */
export const MSIX_VECTOR_MASKED = 1 << 0;

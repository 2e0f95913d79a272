/** Keys, registers and structures of the firmware configuration device: QEMU, "QEMU Firmware Configuration (fw_cfg) Device". */

/** Selector (16 bits, write) and data (8 bits, read): I/O ports 510H and 511H. */
export const FW_CFG_PORT = 0x510;
export const FW_CFG_PORTS = 2;
/** DMA address register, big-endian, two doublewords. */
export const FW_CFG_DMA_PORT = 0x514;
export const FW_CFG_DMA_PORTS = 8;

export const KEY_SIGNATURE = 0x0000;
export const KEY_ID = 0x0001;
export const KEY_RAM_SIZE = 0x0003;
export const KEY_NOGRAPHIC = 0x0004;
export const KEY_NB_CPUS = 0x0005;
export const KEY_BOOT_MENU = 0x000e;
export const KEY_MAX_CPUS = 0x000f;
export const KEY_FILE_DIR = 0x0019;
export const KEY_FILE_FIRST = 0x0020;
/** The bit that an access for writing had, once. */
export const KEY_WRITE = 0x4000;
export const KEY_MASK = 0xbfff;

/** What KEY_ID says: the traditional interface and DMA. */
export const ID_TRADITIONAL = 1 << 0;
export const ID_DMA = 1 << 1;

/** FWCfgFile: size and select in big-endian, two reserved bytes, a name ended by zero. */
export const FILE_BYTES = 64;
export const FILE_NAME_AT = 8;
export const FILE_NAME_BYTES = 56;

/** FWCfgDmaAccess: control, length, address (8 bytes), all big-endian. */
export const DMA_ACCESS_BYTES = 16;
export const DMA_ERROR = 1 << 0;
export const DMA_READ = 1 << 1;
export const DMA_SKIP = 1 << 2;
export const DMA_SELECT = 1 << 3;
export const DMA_WRITE = 1 << 4;
/** What the DMA address register reads as: "QEMU CFG". */
export const DMA_SIGNATURE_HIGH = 0x51454d55;
export const DMA_SIGNATURE_LOW = 0x20434647;

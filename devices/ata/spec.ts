/**
 * The command set of ATA drives, whatever carries it. Names: ANSI INCITS T13, "AT Attachment with Packet Interface - 6
 * (ATA/ATAPI-6)"; for what came with Serial ATA, "AT Attachment 8 - ATA/ATAPI Command Set (ATA8-ACS)".
 */

/** Status register. */
export const BSY = 1 << 7;
export const DRDY = 1 << 6;
/** Device fault. */
export const DF = 1 << 5;
/** Bit 4 was DSC; drives still set it when idle, and old drivers wait for it. */
export const DSC = 1 << 4;
export const DRQ = 1 << 3;
export const ERR = 1 << 0;

/** Error register. */
export const ABRT = 1 << 2;
export const IDNF = 1 << 4;
export const UNC = 1 << 6;
/** Write protected (of removable media; the same bit as UNC, for writes). */
export const WP = 1 << 6;
/** Diagnostic code "device 0 passed, device 1 passed or not present". */
export const DIAGNOSTIC_PASSED = 0x01;

/** Device register. */
export const DEVICE_LBA = 1 << 6;
export const DEVICE_DEV = 1 << 4;

/** Device control register: software reset. */
export const CONTROL_SRST = 1 << 2;

export const SECTOR_BYTES = 512;
export const WORDS_IDENTIFY = 256;
/** The largest DRQ block of READ and WRITE MULTIPLE, in sectors. */
export const MOST_MULTIPLE_SECTORS = 16;
export const MOST_LBA28 = 0x0fffffff;

export const NOP = 0x00;
export const DEVICE_RESET = 0x08;
export const RECALIBRATE_FIRST = 0x10;
export const RECALIBRATE_LAST = 0x1f;
export const READ_SECTORS = 0x20;
export const READ_SECTORS_NO_RETRY = 0x21;
export const READ_SECTORS_EXT = 0x24;
export const READ_DMA_EXT = 0x25;
export const READ_NATIVE_MAX_ADDRESS_EXT = 0x27;
export const READ_MULTIPLE_EXT = 0x29;
export const WRITE_SECTORS = 0x30;
export const WRITE_SECTORS_NO_RETRY = 0x31;
export const WRITE_SECTORS_EXT = 0x34;
export const WRITE_DMA_EXT = 0x35;
export const WRITE_MULTIPLE_EXT = 0x39;
/** Serial ATA and later. */
export const DATA_SET_MANAGEMENT = 0x06;
export const READ_LOG_EXT = 0x2f;
export const WRITE_DMA_FUA_EXT = 0x3d;
export const READ_FPDMA_QUEUED = 0x60;
export const WRITE_FPDMA_QUEUED = 0x61;
export const READ_VERIFY_SECTORS = 0x40;
export const READ_VERIFY_SECTORS_NO_RETRY = 0x41;
export const READ_VERIFY_SECTORS_EXT = 0x42;
export const SEEK_FIRST = 0x70;
export const SEEK_LAST = 0x7f;
export const EXECUTE_DEVICE_DIAGNOSTIC = 0x90;
export const INITIALIZE_DEVICE_PARAMETERS = 0x91;
export const PACKET = 0xa0;
export const IDENTIFY_PACKET_DEVICE = 0xa1;
export const READ_MULTIPLE = 0xc4;
export const WRITE_MULTIPLE = 0xc5;
export const SET_MULTIPLE_MODE = 0xc6;
export const READ_DMA = 0xc8;
export const READ_DMA_NO_RETRY = 0xc9;
export const WRITE_DMA = 0xca;
export const WRITE_DMA_NO_RETRY = 0xcb;
export const STANDBY_IMMEDIATE = 0xe0;
export const IDLE_IMMEDIATE = 0xe1;
export const STANDBY = 0xe2;
export const IDLE = 0xe3;
export const CHECK_POWER_MODE = 0xe5;
export const SLEEP = 0xe6;
export const FLUSH_CACHE = 0xe7;
export const FLUSH_CACHE_EXT = 0xea;
export const IDENTIFY_DEVICE = 0xec;
export const SET_FEATURES = 0xef;
export const READ_NATIVE_MAX_ADDRESS = 0xf8;

/** Sector count of CHECK POWER MODE: active or idle, and standby. */
export const POWER_ACTIVE = 0xff;
export const POWER_STANDBY = 0x00;

/** SET FEATURES subcommands. */
export const FEATURE_ENABLE_WRITE_CACHE = 0x02;
export const FEATURE_SET_TRANSFER_MODE = 0x03;
export const FEATURE_DISABLE_LOOK_AHEAD = 0x55;
export const FEATURE_DISABLE_REVERT = 0x66;
export const FEATURE_DISABLE_WRITE_CACHE = 0x82;
export const FEATURE_ENABLE_LOOK_AHEAD = 0xaa;
export const FEATURE_ENABLE_REVERT = 0xcc;

/** DATA SET MANAGEMENT: feature bit 0, TRIM. Each block holds ranges of 8 bytes: 48 bits of address, 16 of count. */
export const DSM_TRIM = 1 << 0;
export const DSM_RANGE_BYTES = 8;
/** READ LOG EXT: the directory, and the log of the queue's error. */
export const LOG_DIRECTORY = 0x00;
export const LOG_NCQ_ERROR = 0x10;
/** Commands in the queue of a drive with native command queuing. */
export const NCQ_DEPTH = 32;

/** Transfer modes, bits 7:3 of the sector count. */
export const MODE_PIO_DEFAULT = 0x00;
export const MODE_PIO_FLOW = 0x08;
export const MODE_MULTIWORD_DMA = 0x20;
export const MODE_ULTRA_DMA = 0x40;
/** The fastest Ultra DMA mode that drives here claim: 100 MB/s. */
export const BEST_ULTRA_DMA = 5;

/**
 * Registers, bits and commands of an ATA device. Names: ANSI INCITS T13, "AT Attachment with Packet Interface - 6
 * (ATA/ATAPI-6)". Bus-master registers: Intel, "82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data
 * sheet, and "Programming Interface for Bus Master IDE Controller".
 */

/** Command block registers, by offset from 1F0H or 170H. */
export const DATA = 0;
/** Error (read), Features (write). */
export const ERROR_FEATURES = 1;
export const SECTOR_COUNT = 2;
export const LBA_LOW = 3;
export const LBA_MID = 4;
export const LBA_HIGH = 5;
export const DEVICE = 6;
/** Status (read), Command (write). */
export const STATUS_COMMAND = 7;
export const COMMAND_BLOCK_PORTS = 8;

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

/** Features register of PACKET. */
export const PACKET_DMA = 1 << 0;
export const PACKET_OVERLAPPED = 1 << 1;
/** Interrupt reason, in the sector count register of a packet device. */
export const REASON_COMMAND = 1 << 0;
/** Input, to the host. */
export const REASON_INPUT = 1 << 1;
export const PACKET_BYTES = 12;
/** Cylinder registers of a packet device's signature. */
export const PACKET_SIGNATURE_MID = 0x14;
export const PACKET_SIGNATURE_HIGH = 0xeb;

/** Device register. */
export const DEVICE_LBA = 1 << 6;
export const DEVICE_DEV = 1 << 4;

/** Device control register. */
export const CONTROL_NIEN = 1 << 1;
export const CONTROL_SRST = 1 << 2;
export const CONTROL_HOB = 1 << 7;

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

/** Transfer modes, bits 7:3 of the sector count. */
export const MODE_PIO_DEFAULT = 0x00;
export const MODE_PIO_FLOW = 0x08;
export const MODE_MULTIWORD_DMA = 0x20;
export const MODE_ULTRA_DMA = 0x40;

/** Bus-master registers of one channel; the second channel's follow at +8. */
export const BMICOM = 0;
export const BMISTA = 2;
export const BMIDTP = 4;
export const BUS_MASTER_CHANNEL_PORTS = 8;

export const BMICOM_SSBM = 1 << 0;
/** Bus master read/write control: 1 = the drive is read, memory is written. */
export const BMICOM_RWCON = 1 << 3;

/** Bus master IDE active. */
export const BMISTA_ACTIVE = 1 << 0;
export const BMISTA_ERROR = 1 << 1;
export const BMISTA_INTERRUPT = 1 << 2;
export const BMISTA_DRIVE0_DMA = 1 << 5;
export const BMISTA_DRIVE1_DMA = 1 << 6;

/** Physical region descriptor. */
export const PRD_BYTES = 8;
export const PRD_EOT = 0x80000000;
/** A PRD table does not cross a 64 KiB boundary. */
export const PRD_TABLE_WINDOW = 0x10000;
export const PRD_ENTRIES_AT_MOST = PRD_TABLE_WINDOW / PRD_BYTES;

/** Legacy places. */
export const PRIMARY_COMMAND_BLOCK = 0x1f0;
export const PRIMARY_CONTROL = 0x3f6;
export const SECONDARY_COMMAND_BLOCK = 0x170;
export const SECONDARY_CONTROL = 0x376;

/** What an undriven bus reads: the standard asks hosts to pull DD7 low, so that BSY is not seen. */
export const FLOATING_BUS = 0x7f;

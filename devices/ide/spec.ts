/**
 * Registers of an IDE channel. Names: ANSI INCITS T13, "AT Attachment with Packet Interface - 6 (ATA/ATAPI-6)". Bus-master registers: Intel, "82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator", data
 * sheet, and "Programming Interface for Bus Master IDE Controller".
 */
export * from "../ata/spec.ts";

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
export const CONTROL_HOB = 1 << 7;

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

/**
 * Commands and data of SCSI disks. Names: ANSI INCITS T10, "SCSI Primary Commands - 4 (SPC-4)", "SCSI Block Commands - 3 (SBC-3)"
 * and "SCSI Architecture Model - 5 (SAM-5)".
 */

export const TEST_UNIT_READY = 0x00;
export const REQUEST_SENSE = 0x03;
export const READ_6 = 0x08;
export const WRITE_6 = 0x0a;
export const INQUIRY = 0x12;
export const MODE_SELECT_6 = 0x15;
export const MODE_SENSE_6 = 0x1a;
export const START_STOP_UNIT = 0x1b;
export const PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e;
export const READ_CAPACITY_10 = 0x25;
export const READ_10 = 0x28;
export const WRITE_10 = 0x2a;
export const VERIFY_10 = 0x2f;
export const SYNCHRONIZE_CACHE_10 = 0x35;
export const WRITE_SAME_10 = 0x41;
export const UNMAP = 0x42;
export const MODE_SELECT_10 = 0x55;
export const MODE_SENSE_10 = 0x5a;
export const READ_16 = 0x88;
export const WRITE_16 = 0x8a;
export const VERIFY_16 = 0x8f;
export const SYNCHRONIZE_CACHE_16 = 0x91;
export const WRITE_SAME_16 = 0x93;
export const SERVICE_ACTION_IN_16 = 0x9e;
export const REPORT_LUNS = 0xa0;
export const READ_12 = 0xa8;
export const WRITE_12 = 0xaa;
export const VERIFY_12 = 0xaf;
/** Service action of SERVICE ACTION IN (16). */
export const READ_CAPACITY_16 = 0x10;

/** Status codes. */
export const GOOD = 0x00;
export const CHECK_CONDITION = 0x02;
export const BUSY = 0x08;

/** Sense keys. */
export const NO_SENSE = 0x0;
export const NOT_READY = 0x2;
export const MEDIUM_ERROR = 0x3;
export const ILLEGAL_REQUEST = 0x5;
export const UNIT_ATTENTION = 0x6;
export const DATA_PROTECT = 0x7;
/** Additional sense code and its qualifier, as one number. */
export const NO_ADDITIONAL_SENSE = 0x0000;
export const INITIALIZING_COMMAND_REQUIRED = 0x0402;
export const WRITE_ERROR = 0x0c00;
export const UNRECOVERED_READ_ERROR = 0x1100;
export const PARAMETER_LIST_LENGTH_ERROR = 0x1a00;
export const INVALID_COMMAND_OPERATION_CODE = 0x2000;
export const LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE = 0x2100;
export const INVALID_FIELD_IN_CDB = 0x2400;
export const LOGICAL_UNIT_NOT_SUPPORTED = 0x2500;
export const INVALID_FIELD_IN_PARAMETER_LIST = 0x2600;
export const WRITE_PROTECTED = 0x2700;
export const POWER_ON_OCCURRED = 0x2900;
export const BUS_DEVICE_RESET_FUNCTION_OCCURRED = 0x2903;
export const SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900;

/** Fixed-format sense data. */
export const SENSE_BYTES = 18;

/** INQUIRY: enable vital product data; peripheral qualifier "no such unit here" with type "none". */
export const INQUIRY_EVPD = 1 << 0;
export const NO_LOGICAL_UNIT = 0x7f;
export const STANDARD_INQUIRY_BYTES = 36;
export const VPD_SUPPORTED_PAGES = 0x00;
export const VPD_UNIT_SERIAL_NUMBER = 0x80;
export const VPD_DEVICE_IDENTIFICATION = 0x83;
export const VPD_BLOCK_LIMITS = 0xb0;
export const VPD_BLOCK_DEVICE_CHARACTERISTICS = 0xb1;
export const VPD_LOGICAL_BLOCK_PROVISIONING = 0xb2;

/** Mode pages. */
export const PAGE_CACHING = 0x08;
export const PAGE_CONTROL = 0x0a;
export const PAGE_ALL = 0x3f;
/** Caching page, byte 2: write cache enabled. */
export const CACHING_WCE = 1 << 2;
/** Device-specific parameter of the mode header: write protect; DPO and FUA are understood. */
export const MODE_WP = 1 << 7;
export const MODE_DPOFUA = 1 << 4;

/** Bits of CDBs: force unit access; UNMAP of WRITE SAME; no data-out buffer. */
export const CDB_FUA = 1 << 3;
export const WRITE_SAME_UNMAP = 1 << 3;
export const WRITE_SAME_ANCHOR = 1 << 4;
export const WRITE_SAME_NDOB = 1 << 0;

/** Most blocks in a transfer, and in UNMAP or WRITE SAME: a command is bounded work. */
export const MOST_TRANSFER_BLOCKS = 0x20000;
export const MOST_UNMAP_BLOCKS = 8192;
export const MOST_UNMAP_DESCRIPTORS = 32;
export const UNMAP_HEADER_BYTES = 8;
export const UNMAP_DESCRIPTOR_BYTES = 16;

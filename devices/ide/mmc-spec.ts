/** Commands and data of a CD-ROM drive: ANSI INCITS T10, "MultiMedia Commands - 5 (MMC-5)" and "SCSI Primary Commands - 3 (SPC-3)". */

export const CD_SECTOR_BYTES = 2048;
/** A frame is a 75th of a second; addresses in minutes begin two seconds before block 0. */
export const FRAMES_A_SECOND = 75;
export const LEAD_IN_FRAMES = 150;

export const TEST_UNIT_READY = 0x00;
export const REQUEST_SENSE = 0x03;
export const INQUIRY = 0x12;
export const START_STOP_UNIT = 0x1b;
export const PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e;
export const READ_CAPACITY = 0x25;
export const READ_10 = 0x28;
export const SEEK_10 = 0x2b;
export const READ_TOC = 0x43;
export const GET_CONFIGURATION = 0x46;
export const GET_EVENT_STATUS_NOTIFICATION = 0x4a;
export const READ_DISC_INFORMATION = 0x51;
export const READ_TRACK_INFORMATION = 0x52;
export const MODE_SENSE_10 = 0x5a;
export const READ_12 = 0xa8;
export const SET_CD_SPEED = 0xbb;
export const MECHANISM_STATUS = 0xbd;
export const READ_CD = 0xbe;

/** Sense keys. */
export const NO_SENSE = 0x0;
export const NOT_READY = 0x2;
export const MEDIUM_ERROR = 0x3;
export const ILLEGAL_REQUEST = 0x5;
export const UNIT_ATTENTION = 0x6;

/** Additional sense codes, with their qualifiers in the low byte. */
export const NO_ADDITIONAL_SENSE = 0x0000;
export const UNRECOVERED_READ_ERROR = 0x1100;
export const INVALID_COMMAND_OPERATION_CODE = 0x2000;
export const LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE = 0x2100;
export const INVALID_FIELD_IN_CDB = 0x2400;
export const POWER_ON_OR_RESET = 0x2900;
export const MEDIUM_NOT_PRESENT_TRAY_OPEN = 0x3a02;
export const MEDIUM_REMOVAL_PREVENTED = 0x5302;

/** GET CONFIGURATION: profiles and features. */
export const PROFILE_CD_ROM = 0x0008;
export const FEATURE_PROFILE_LIST = 0x0000;
export const FEATURE_CORE = 0x0001;
export const FEATURE_REMOVABLE_MEDIUM = 0x0003;
export const FEATURE_RANDOM_READABLE = 0x0010;
export const FEATURE_CD_READ = 0x001e;

/** Mode pages. */
export const PAGE_ERROR_RECOVERY = 0x01;
export const PAGE_CAPABILITIES = 0x2a;
export const PAGE_ALL = 0x3f;

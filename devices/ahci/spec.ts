/**
 * Registers and structures of an AHCI host bus adapter. Names: Intel, "Serial ATA Advanced Host Controller Interface (AHCI) 1.3.1";
 * frames: Serial ATA International Organization, "Serial ATA Revision 2.6", "Transport Layer".
 */

/** ICH9's function in AHCI mode. */
export const DEVICE_ICH9_AHCI = 0x2922;
export const CLASS_AHCI = 0x010601;
/** ABAR, the memory registers. */
export const ABAR = 5;
export const PORTS = 6;
export const SLOTS = 32;

/** Generic host control. */
export const CAP = 0x00;
export const GHC = 0x04;
export const IS = 0x08;
export const PI = 0x0c;
export const VS = 0x10;
export const VERSION = 0x00010301;

/** Number of ports and slots, zero-based. */
export const CAP_NP = PORTS - 1;
export const CAP_NCS = (SLOTS - 1) << 8;
/** Supports AHCI mode only. */
export const CAP_SAM = 1 << 18;
/** Interface speed: generation 2, 3 Gbit/s. */
export const CAP_ISS_GEN2 = 2 << 20;
/** Command list override. */
export const CAP_SCLO = 1 << 24;
export const CAP_SNCQ = 1 << 30;
export const CAP_S64A = 1 << 31;

export const GHC_HR = 1 << 0;
export const GHC_IE = 1 << 1;
export const GHC_AE = 1 << 31;

/** Port registers, from 100H, 80H a port. */
export const PORT_BASE = 0x100;
export const PORT_BYTES = 0x80;
export const ABAR_BYTES = 0x1000;
export const PXCLB = 0x00;
export const PXCLBU = 0x04;
export const PXFB = 0x08;
export const PXFBU = 0x0c;
export const PXIS = 0x10;
export const PXIE = 0x14;
export const PXCMD = 0x18;
export const PXTFD = 0x20;
export const PXSIG = 0x24;
export const PXSSTS = 0x28;
export const PXSCTL = 0x2c;
export const PXSERR = 0x30;
export const PXSACT = 0x34;
export const PXCI = 0x38;

export const CLB_WRITABLE = 0xfffffc00;
export const FB_WRITABLE = 0xffffff00;

/** Device to host register FIS, PIO setup FIS, DMA setup FIS, set device bits FIS. */
export const PXIS_DHRS = 1 << 0;
export const PXIS_PSS = 1 << 1;
export const PXIS_SDBS = 1 << 3;
/** Port connect change, and PhyRdy change: shadows of PxSERR. */
export const PXIS_PCS = 1 << 6;
export const PXIS_PRCS = 1 << 22;
/** Overflow; interface fatal error; host bus fatal error; task file error. */
export const PXIS_OFS = 1 << 24;
export const PXIS_IFS = 1 << 27;
export const PXIS_HBFS = 1 << 29;
export const PXIS_TFES = 1 << 30;
/** Written as ones to be cleared; the shadows are not among them. */
export const PXIS_CLEARABLE = 0x7d0000af;
export const PXIE_WRITABLE = 0x7dc000ff;

export const PXCMD_ST = 1 << 0;
export const PXCMD_SUD = 1 << 1;
export const PXCMD_POD = 1 << 2;
export const PXCMD_CLO = 1 << 3;
export const PXCMD_FRE = 1 << 4;
export const PXCMD_CCS_SHIFT = 8;
export const PXCMD_FR = 1 << 14;
export const PXCMD_CR = 1 << 15;
/** Start, FIS receive enable, device is ATAPI, drive LED on ATAPI enable. */
export const PXCMD_WRITABLE = PXCMD_ST | PXCMD_FRE | (1 << 24) | (1 << 25);

export const PXSCTL_WRITABLE = 0xfff;
export const DET_MASK = 0xf;
/** PxSCTL.DET: perform interface communication initialization; disable the interface. */
export const DET_INITIALIZE = 1;
export const DET_OFFLINE = 4;
/** PxSSTS of a device with which communication is established: active, generation 2. */
export const SSTS_UP = 0x123;
/** PxSSTS of an interface that is off line. */
export const SSTS_OFFLINE = 0x004;
/** PxSERR: PhyRdy change, and exchanged. */
export const SERR_N = 1 << 16;
export const SERR_X = 1 << 26;

/** PxTFD and PxSIG before a device has sent its signature, and without one. */
export const STATUS_NO_DEVICE = 0x7f;
export const SIGNATURE_NONE = 0xffffffff;
export const SIGNATURE_ATA = 0x00000101;

/** Command header. */
export const HEADER_BYTES = 32;
export const HEADER_CFL = 0x1f;
export const HEADER_CLEAR_BUSY = 1 << 10;
export const HEADER_PRDBC = 4;
export const HEADER_CTBA = 8;
/** Command table. */
export const TABLE_PRDT = 0x80;
export const PRD_BYTES = 16;
export const PRD_DBC = 0x3fffff;

/** Received FIS structure. */
export const RFIS_DMA_SETUP = 0x00;
export const RFIS_PIO_SETUP = 0x20;
export const RFIS_REGISTER = 0x40;
export const RFIS_SET_DEVICE_BITS = 0x58;

/** Frame information structures. */
export const FIS_REGISTER_H2D = 0x27;
export const FIS_REGISTER_D2H = 0x34;
export const FIS_DMA_SETUP = 0x41;
export const FIS_PIO_SETUP = 0x5f;
export const FIS_SET_DEVICE_BITS = 0xa1;
export const FIS_REGISTER_BYTES = 20;
export const FIS_DMA_SETUP_BYTES = 28;
export const FIS_SET_DEVICE_BITS_BYTES = 8;
/** Byte 1: the command register is written (host to device); interrupt; direction device to host. */
export const FIS_C = 1 << 7;
export const FIS_I = 1 << 6;
export const FIS_D = 1 << 5;
/** Bytes of a host-to-device register FIS. */
export const FIS_COMMAND = 2;
export const FIS_FEATURES = 3;
export const FIS_LBA = 4;
export const FIS_DEVICE = 7;
export const FIS_LBA_EXP = 8;
export const FIS_FEATURES_EXP = 11;
export const FIS_COUNT = 12;
export const FIS_COUNT_EXP = 13;
export const FIS_CONTROL = 15;

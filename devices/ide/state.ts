/**
 * Volatile state of an IDE channel and its two drives, and what a drive is doing.
 */
import { bytes, nestedArray, struct, u16, u32, u53, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import * as spec from "./spec.ts";

/** What a drive is doing. Kept as numbers in state. */
export const PHASE_IDLE = 0;
/** BSY until its timer; then the command ends without data. */
export const PHASE_COMMAND = 1;
/** BSY until its timer; then the buffer is filled and DRQ set. */
export const PHASE_PIO_IN_BUSY = 2;
/** DRQ: the host reads the buffer. */
export const PHASE_PIO_IN = 3;
/** DRQ: the host fills the buffer. */
export const PHASE_PIO_OUT = 4;
/** BSY until its timer; then the buffer is written to the disk. */
export const PHASE_PIO_OUT_BUSY = 5;
/** BSY until its timer; then the drive asks for DMA. */
export const PHASE_DMA_BUSY = 6;
/** DMARQ is asserted: waits for the bus master. */
export const PHASE_DMA = 7;
/** BSY after a reset. */
export const PHASE_RESET = 8;

/** DRQ: the host writes a command packet. */
export const PHASE_PACKET = 9;

export const BUFFER_BYTES = spec.MOST_MULTIPLE_SECTORS * spec.SECTOR_BYTES;

export const IdeDriveStruct = struct("IdeDrive", {
  /** Command block registers; index 0 holds the present content, 1 the previous one ("HOB"). */
  features: bytes(2),
  sectorCount: bytes(2),
  lbaLow: bytes(2),
  lbaMid: bytes(2),
  lbaHigh: bytes(2),
  error: u8,
  /** DRDY, DF, DSC and ERR; BSY and DRQ follow from the phase. */
  status: u8,
  phase: u8,
  command: u8,
  /** The drive's INTRQ. */
  intrq: u8,
  /** The command addresses 48 bits. */
  ext: u8,
  multipleSectors: u8,
  transferMode: u8,
  writeCache: u8,
  lookAhead: u8,
  standby: u8,
  currentHeads: u8,
  currentSectorsPerTrack: u8,
  /** Sectors in each DRQ block of the running command. */
  blockSectors: u8,
  /** IDENTIFY: the buffer holds device data, not sectors. */
  bufferOnly: u8,
  bufferAt: u16,
  bufferEnd: u16,
  /** End of the DRQ block under way. */
  blockEnd: u16,
  /** The next sector of the running command, and how many are left. */
  lba: u53,
  remaining: u32,
  /** Packet devices: fixed-format sense data, a condition that the next command reports, and a locked tray. */
  senseKey: u8,
  additionalSense: u8,
  senseQualifier: u8,
  unitAttention: u8,
  locked: u8,
  /** The tray is open. */
  ejected: u8,
  /** The command's data go by DMA, and else in DRQ blocks of so many bytes at most. */
  packetDma: u8,
  byteCountLimit: u16,
  buffer: bytes(BUFFER_BYTES, 4),
});

export const IdeChannelStruct = struct("IdeChannel", {
  device: u8,
  control: u8,
  bmicom: u8,
  /** ERROR, INTERRUPT and the two "DMA capable" bits. */
  bmista: u8,
  bmActive: u8,
  /** The level of INTRQ after nIEN, to see its rising edge. */
  intrq: u8,
  bmidtp: u32,
  /** Where the bus master is in its table: next entry's address, and the rest of the current region. */
  prdNext: u32,
  prdEntries: u32,
  prdAddress: u32,
  prdLeft: u32,
  prdLast: u8,
  drives: nestedArray(IdeDriveStruct, 2),
});

export type DriveState = ViewOf<typeof IdeDriveStruct>;
export type ChannelState = ViewOf<typeof IdeChannelStruct>;

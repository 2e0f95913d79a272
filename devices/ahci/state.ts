/** Volatile state of an AHCI controller: its registers, and for each port the drive and the commands under way. */
import { bytes, nested, nestedArray, struct, u16, u32, u53, u8, type ViewOf } from "../../layout/struct.ts";
import * as spec from "./spec.ts";

/** What a command comes to when its time is over. Kept as numbers in state. */
export const WORK_NONE = 0;
export const WORK_READ = 1;
export const WORK_WRITE = 2;
export const WORK_VERIFY = 3;
export const WORK_FLUSH = 4;
export const WORK_IDENTIFY = 5;
export const WORK_READ_LOG = 6;
export const WORK_TRIM = 7;

/** A command slot, as the drive sees it. */
export const SlotStruct = struct("AhciSlot", {
  /** In the drive's queue (native command queuing). */
  isQueued: u8,
  work: u8,
  /** ATA error with which it ends whatever comes; 0 none. */
  error: u8,
  /** Data pass as PIO: the end is a PIO setup FIS for reads. */
  isPio: u8,
  /** The data must be on the medium at the end. */
  isForced: u8,
  /** What the count register shows at the end. */
  count: u16,
  entries: u16,
  fis: bytes(spec.FIS_REGISTER_BYTES, 4),
  /** Order of arrival. */
  order: u32,
  sectors: u32,
  sector: u53,
  header: u53,
  table: u53,
  completeAt: u53,
});

export const SataDriveStruct = struct("SataDrive", {
  multipleSectors: u8,
  transferMode: u8,
  writeCache: u8,
  lookAhead: u8,
  standby: u8,
  currentHeads: u8,
  currentSectorsPerTrack: u8,
  /** A queued command has failed: only reading the log, or a reset, gets the drive out of this. */
  hasQueueError: u8,
  /** The first bytes of the log of that error. */
  queueErrorLog: bytes(14),
  /** A host-to-device FIS has set SRST and none has cleared it. */
  isInSoftReset: u8,
  order: u32,
  /** Slots whose commands the drive has. */
  running: u32,
  /** When the drive sends its signature after a reset; 0 when it does not. */
  readyAt: u53,
  slots: nestedArray(SlotStruct, spec.SLOTS),
});

export const AhciPortStruct = struct("AhciPort", {
  clb: u32,
  clbu: u32,
  fb: u32,
  fbu: u32,
  is: u32,
  ie: u32,
  cmd: u32,
  /** PxTFD. */
  status: u8,
  error: u8,
  /** The signature is there and waits for FIS reception to be enabled. */
  hasSignature: u8,
  /** An error has stopped the command list until PxCMD.ST is cleared. */
  isHalted: u8,
  sig: u32,
  ssts: u32,
  sctl: u32,
  serr: u32,
  sact: u32,
  ci: u32,
  /** Slots of `ci` whose commands have been sent. */
  issued: u32,
  currentSlot: u8,
  drive: nested(SataDriveStruct),
});

export const AhciStruct = struct("Ahci", {
  ghc: u32,
  is: u32,
  /** The interrupt condition as last seen, for the edge that sends a message. */
  line: u8,
  ports: nestedArray(AhciPortStruct, spec.PORTS),
});

export type SlotState = ViewOf<typeof SlotStruct>;
export type SataDriveState = ViewOf<typeof SataDriveStruct>;
export type AhciPortState = ViewOf<typeof AhciPortStruct>;

/**
 * The commands that change or show what a drive is set to, and touch no sector: ANSI INCITS T13, "ATA/ATAPI-6", "SET FEATURES",
 * "SET MULTIPLE MODE", "INITIALIZE DEVICE PARAMETERS" and the power management feature set.
 */
import { DEFAULT_HEADS, DEFAULT_SECTORS_PER_TRACK } from "./identify.ts";
import * as spec from "./spec.ts";

/** Of a drive's state. */
export interface DriveSettings {
  multipleSectors: number;
  /** Value of the last SET FEATURES transfer mode. */
  transferMode: number;
  writeCache: number;
  lookAhead: number;
  standby: number;
  currentHeads: number;
  currentSectorsPerTrack: number;
}

/** Registers of such a command. */
export interface SettingCommand {
  readonly command: number;
  readonly feature: number;
  readonly count: number;
  readonly device: number;
}

/** How it ended: `error` 0 is success; `count` is what the sector count then shows, if the command has it show something. */
export interface SettingResult {
  readonly error: number;
  readonly count?: number;
}

const DONE: SettingResult = { error: 0 };
const ABORTED: SettingResult = { error: spec.ABRT };

/** At power-on and hardware reset. */
export function resetSettings(s: DriveSettings): void {
  s.multipleSectors = 0;
  s.transferMode = spec.MODE_PIO_FLOW | 4;
  s.writeCache = 1;
  s.lookAhead = 1;
  s.standby = 0;
  s.currentHeads = DEFAULT_HEADS;
  s.currentSectorsPerTrack = DEFAULT_SECTORS_PER_TRACK;
}

/** Carries out a command of this kind that every device has; `undefined` when it is none of them. */
export function executeSetting(c: SettingCommand, s: DriveSettings): SettingResult | undefined {
  switch (c.command) {
    case spec.SET_FEATURES:
      return setFeatures(c, s) ? DONE : ABORTED;
    case spec.CHECK_POWER_MODE:
      return { error: 0, count: s.standby ? spec.POWER_STANDBY : spec.POWER_ACTIVE };
    case spec.STANDBY:
    case spec.STANDBY_IMMEDIATE:
    case spec.SLEEP:
      s.standby = 1;
      return DONE;
    case spec.IDLE:
    case spec.IDLE_IMMEDIATE:
      s.standby = 0;
      return DONE;
    default:
      return undefined;
  }
}

/** As `executeSetting`, for commands of disks alone. */
export function executeDiskSetting(c: SettingCommand, s: DriveSettings): SettingResult | undefined {
  switch (c.command) {
    case spec.SET_MULTIPLE_MODE:
      if (c.count > spec.MOST_MULTIPLE_SECTORS || (c.count & (c.count - 1)) !== 0) return ABORTED;
      s.multipleSectors = c.count;
      return DONE;
    case spec.INITIALIZE_DEVICE_PARAMETERS:
      if (c.count === 0) return ABORTED;
      s.currentSectorsPerTrack = c.count;
      s.currentHeads = (c.device & 0x0f) + 1;
      return DONE;
    default:
      return c.command >= spec.RECALIBRATE_FIRST && c.command <= spec.RECALIBRATE_LAST ? DONE : undefined;
  }
}

function setFeatures(c: SettingCommand, s: DriveSettings): boolean {
  switch (c.feature) {
    case spec.FEATURE_ENABLE_WRITE_CACHE:
      s.writeCache = 1;
      return true;
    case spec.FEATURE_DISABLE_WRITE_CACHE:
      s.writeCache = 0;
      return true;
    case spec.FEATURE_ENABLE_LOOK_AHEAD:
      s.lookAhead = 1;
      return true;
    case spec.FEATURE_DISABLE_LOOK_AHEAD:
      s.lookAhead = 0;
      return true;
    case spec.FEATURE_DISABLE_REVERT:
    case spec.FEATURE_ENABLE_REVERT:
      return true;
    case spec.FEATURE_SET_TRANSFER_MODE:
      if (!isTransferMode(c.count)) return false;
      // A PIO mode leaves the DMA mode selected; only DMA modes show in IDENTIFY.
      if (c.count >= spec.MODE_MULTIWORD_DMA) s.transferMode = c.count;
      return true;
    default:
      return false;
  }
}

function isTransferMode(mode: number): boolean {
  const number = mode & 7;
  switch (mode & 0xf8) {
    case spec.MODE_PIO_DEFAULT:
      return number <= 1;
    case spec.MODE_PIO_FLOW:
      return number <= 4;
    case spec.MODE_MULTIWORD_DMA:
      return number <= 2;
    case spec.MODE_ULTRA_DMA:
      return number <= spec.BEST_ULTRA_DMA;
    default:
      return false;
  }
}

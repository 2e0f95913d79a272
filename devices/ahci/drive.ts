/**
 * A solid-state drive on Serial ATA: takes command frames, with native command queuing, and answers with frames when the disk
 * timing model says so. Commands: ANSI INCITS T13, "ATA8-ACS"; frames: "Serial ATA Revision 2.6", "Transport Layer" and "Native
 * Command Queuing". What cannot be is answered with ABRT; SMART, security, host protected area and packet commands are not there.
 */
import { addressedSector, type AddressRegisters } from "../ata/addressing.ts";
import { identifyDevice } from "../ata/identify.ts";
import { executeDiskSetting, executeSetting, resetSettings } from "../ata/settings.ts";
import { sectorsOf, transferOf } from "../ata/transfers.ts";
import * as ata from "../ata/spec.ts";
import type { Clock, DiskTiming, Storage, StorageOperation, StorageResult } from "../ports.ts";
import type { Moved, RegionTable } from "./prdt.ts";
import * as spec from "./spec.ts";
import * as work from "./state.ts";
import type { SataDriveState, SlotState } from "./state.ts";

/** What the drive sends to its port; each call is a frame. */
export interface SataHost {
  /** Register FIS: the command of `slot` has ended, or (queued) has been taken. */
  register(slot: SlotState, answer: Answer): void;
  /** DMA setup FIS: the data of a queued command are about to pass. */
  dmaSetup(slot: SlotState, isRead: boolean): void;
  /** PIO setup FIS, with which a command that reads by PIO ends. */
  pioSetup(slot: SlotState, answer: Answer): void;
  /** Set device bits FIS: queued commands have ended. `bits`: those of PxSACT. */
  setDeviceBits(bits: number, status: number, error: number): void;
  /** The signature after a reset. */
  signature(): void;
  /** The slot's memory, from its beginning. */
  regions(slot: SlotState): RegionTable;
  /** A slot's data did not fit, or its memory was not there: there is no further answer. */
  transferFailed(why: Exclude<Moved, "ok">): void;
}

export interface Answer {
  readonly status: number;
  readonly error: number;
  readonly interrupt: boolean;
  /** Sector to show in the address registers, otherwise they are the command's. */
  readonly sector?: number;
}

export interface SataDriveOptions {
  readonly state: SataDriveState;
  readonly storage: Storage;
  readonly timing: DiskTiming;
  readonly clock: Clock;
  readonly host: SataHost;
}

/** In the log of the queue's error: the command was none of the queue. */
const NOT_QUEUED = 0x80;
const GOOD = ata.DRDY | ata.DSC;
const COMMAND_MICROSECONDS = 5;
const RESET_MICROSECONDS = 500;
/** Bytes moved at a time between disk and memory. */
const COPY_BYTES = 64 * 1024;
/** Sectors of one DATA SET MANAGEMENT that are really trimmed: TRIM is a hint, and a command is bounded work. */
const MOST_TRIMMED_SECTORS = 8192;

export class SataDrive {
  readonly #s: SataDriveState;
  readonly #o: SataDriveOptions;
  readonly #copy = new Uint8Array(COPY_BYTES);

  constructor(options: SataDriveOptions) {
    this.#s = options.state;
    this.#o = options;
  }

  /** Power-on and COMRESET: everything is dropped; the signature comes when the drive is ready. */
  hardReset(): void {
    resetSettings(this.#s);
    this.#s.isInSoftReset = 0;
    this.#s.hasQueueError = 0;
    this.abandon();
    this.#s.readyAt = this.#microseconds(RESET_MICROSECONDS);
  }

  /** Without a link no signature comes. */
  disconnect(): void {
    this.abandon();
    this.#s.readyAt = 0;
  }

  /**
   * A frame that changes the device control register alone: SRST set, and then cleared, resets.
   * @returns whether the signature will answer it
   */
  control(value: number): boolean {
    const s = this.#s;
    const wasInReset = s.isInSoftReset !== 0;
    s.isInSoftReset = (value & ata.CONTROL_SRST) !== 0 ? 1 : 0;
    if (s.isInSoftReset !== 0) {
      this.abandon();
      s.hasQueueError = 0;
      s.readyAt = 0;
    } else if (wasInReset) s.readyAt = this.#microseconds(RESET_MICROSECONDS);
    return s.readyAt !== 0;
  }

  /** Drops all commands. */
  abandon(): void {
    this.#s.running = 0;
  }

  /** When something is due next. */
  get nextDue(): number | undefined {
    const { readyAt, running, slots } = this.#s;
    let next = readyAt === 0 ? Infinity : readyAt;
    for (let left = running; left !== 0; left &= left - 1)
      next = Math.min(next, slots[lowest(left)]!.completeAt);
    return next === Infinity ? undefined : next;
  }

  /** Ends what is due at `now`, in order of time and arrival. */
  completeDue(now: number): void {
    const s = this.#s;
    if (s.readyAt !== 0 && s.readyAt <= now) {
      s.readyAt = 0;
      this.#o.host.signature();
    }
    // An ending may let a new command start, and one may be due at once: no more than the slots in one call.
    for (let count = 0; count < spec.SLOTS; count++) {
      const first = this.#firstDue(now);
      if (first === undefined) return;
      this.#finish(first);
    }
  }

  #firstDue(now: number): number | undefined {
    const { running, slots } = this.#s;
    let first: number | undefined;
    for (let left = running; left !== 0; left &= left - 1) {
      const index = lowest(left);
      const { completeAt, order } = slots[index]!;
      if (completeAt > now) continue;
      const best = first === undefined ? undefined : slots[first]!;
      const isEarlier =
        best === undefined ||
        completeAt < best.completeAt ||
        (completeAt === best.completeAt && order < best.order);
      if (isEarlier) first = index;
    }
    return first;
  }

  /** A command frame, which is in the slot. */
  execute(index: number): void {
    const s = this.#s;
    const slot = s.slots[index]!;
    const others = s.running & ~(1 << index);
    s.running |= 1 << index;
    slot.isQueued = 0;
    slot.work = work.WORK_NONE;
    slot.error = 0;
    slot.isPio = 0;
    slot.isForced = 0;
    slot.count = 0;
    slot.sector = 0;
    slot.sectors = 0;
    slot.order = s.order++;
    slot.completeAt = this.#microseconds(COMMAND_MICROSECONDS);
    const command = slot.fis[spec.FIS_COMMAND]!;
    // Commands that are not queued come one at a time: what else runs is the queue.
    const hasQueue = others !== 0;
    if (s.hasQueueError !== 0 && !this.#readsErrorLog(slot)) slot.error = ata.ABRT;
    else if (hasQueue && !isQueuedCommand(slot)) {
      // "The device shall abort the command and all outstanding queued commands."
      s.running = 1 << index;
      slot.error = ata.ABRT;
      this.#noteQueueError(slot, NOT_QUEUED);
    } else if (isQueuedCommand(slot)) this.#enqueue(index, slot, command);
    else this.#start(slot, command);
  }

  #start(slot: SlotState, command: number): void {
    const transfer = transferOf(command);
    if (transfer !== undefined) {
      const { operation, protocol, ext } = transfer;
      if (protocol === "multiple" && this.#s.multipleSectors === 0) slot.error = ata.ABRT;
      else {
        slot.isPio = protocol === "pio" || protocol === "multiple" ? 1 : 0;
        const kind = { read: work.WORK_READ, write: work.WORK_WRITE, verify: work.WORK_VERIFY }[operation];
        this.#transfer(slot, kind, ext, countOf(slot, ext));
      }
      return;
    }
    const registers = {
      command,
      feature: slot.fis[spec.FIS_FEATURES]!,
      count: slot.fis[spec.FIS_COUNT]!,
      device: slot.fis[spec.FIS_DEVICE]!,
    };
    const setting = executeSetting(registers, this.#s) ?? executeDiskSetting(registers, this.#s);
    if (setting !== undefined) {
      slot.error = setting.error;
      slot.count = setting.count ?? 0;
      return;
    }
    switch (command) {
      case ata.WRITE_DMA_FUA_EXT:
        slot.isForced = 1;
        this.#transfer(slot, work.WORK_WRITE, true, countOf(slot, true));
        break;
      case ata.FLUSH_CACHE:
      case ata.FLUSH_CACHE_EXT:
        slot.work = work.WORK_FLUSH;
        slot.completeAt = this.#o.timing.complete("flush", 0, 0);
        break;
      case ata.IDENTIFY_DEVICE:
        slot.work = work.WORK_IDENTIFY;
        slot.isPio = 1;
        break;
      case ata.READ_LOG_EXT:
        this.#startReadLog(slot);
        break;
      case ata.DATA_SET_MANAGEMENT:
        // One block of ranges, as IDENTIFY DEVICE says.
        if (slot.fis[spec.FIS_FEATURES] !== ata.DSM_TRIM || countOf(slot, true) !== 1) slot.error = ata.ABRT;
        else if (this.#o.storage.readOnly) slot.error = ata.WP | ata.ABRT;
        else {
          slot.work = work.WORK_TRIM;
          slot.completeAt = this.#o.timing.complete("discard", 0, 0);
        }
        break;
      default:
        slot.error = ata.ABRT;
    }
  }

  /** READ and WRITE FPDMA QUEUED: the count is in the features, and the count holds the tag, which is the slot. */
  #enqueue(index: number, slot: SlotState, command: number): void {
    const { fis } = slot;
    const tag = fis[spec.FIS_COUNT]! >> 3;
    const count = fis[spec.FIS_FEATURES]! | (fis[spec.FIS_FEATURES_EXP]! << 8);
    slot.isForced = (fis[spec.FIS_DEVICE]! & 0x80) !== 0 ? 1 : 0;
    const kind = command === ata.READ_FPDMA_QUEUED ? work.WORK_READ : work.WORK_WRITE;
    if (tag !== index) slot.error = ata.ABRT;
    else this.#transfer(slot, kind, true, sectorsOf(count, true));
    if (slot.error !== 0) return;
    slot.isQueued = 1;
    this.#o.host.register(slot, { status: GOOD, error: 0, interrupt: false });
  }

  /** Checks the range and asks the timing model when it is through. */
  #transfer(slot: SlotState, kind: number, ext: boolean, sectors: number): void {
    const { storage, timing } = this.#o;
    const sector = addressedSector(this.#address(slot), slot.fis[spec.FIS_DEVICE]!, ext);
    slot.sector = sector ?? 0;
    if (sector === undefined || sector + sectors > storage.sectors) {
      slot.error = ata.IDNF;
      return;
    }
    if (kind === work.WORK_WRITE && storage.readOnly) {
      slot.error = ata.WP | ata.ABRT;
      return;
    }
    slot.work = kind;
    slot.sectors = sectors;
    this.#s.standby = 0;
    const operation: StorageOperation = kind === work.WORK_WRITE ? "write" : "read";
    slot.completeAt = timing.complete(operation, sector, sectors * ata.SECTOR_BYTES);
    if (this.#mustBeStable(slot)) slot.completeAt = timing.complete("flush", 0, 0);
  }

  #mustBeStable(slot: SlotState): boolean {
    return slot.work === work.WORK_WRITE && (slot.isForced !== 0 || this.#s.writeCache === 0);
  }

  /** READ LOG EXT knows the directory and the log of the queue's error, a page each. */
  #startReadLog(slot: SlotState): void {
    const { fis } = slot;
    const log = fis[spec.FIS_LBA]!;
    const page = fis[spec.FIS_LBA + 1]! | (fis[spec.FIS_LBA_EXP + 1]! << 8);
    const known = log === ata.LOG_DIRECTORY || log === ata.LOG_NCQ_ERROR;
    if (!known || page !== 0 || countOf(slot, true) !== 1) slot.error = ata.ABRT;
    else {
      slot.work = work.WORK_READ_LOG;
      slot.isPio = 1;
    }
  }

  #readsErrorLog(slot: SlotState): boolean {
    return slot.fis[spec.FIS_COMMAND] === ata.READ_LOG_EXT && slot.fis[spec.FIS_LBA] === ata.LOG_NCQ_ERROR;
  }

  #finish(index: number): void {
    const s = this.#s;
    const slot = s.slots[index]!;
    const outcome = slot.error === 0 ? this.#carryOut(slot) : "ok";
    s.running &= ~(1 << index);
    if (outcome === "short" || outcome === "memory-error") {
      this.#o.host.transferFailed(outcome);
      return;
    }
    if (outcome !== "ok") slot.error = errorOf(outcome, slot.work);
    const isFault =
      outcome === "io-error" && (slot.work === work.WORK_WRITE || slot.work === work.WORK_FLUSH);
    const status = GOOD | (slot.error === 0 ? 0 : ata.ERR) | (isFault ? ata.DF : 0);
    if (slot.error !== 0 && isQueuedCommand(slot) && s.hasQueueError === 0) {
      // The first error ends all that is queued.
      s.running = 0;
      this.#noteQueueError(slot, index);
    }
    if (slot.isQueued === 0) this.#end(slot, status);
    else this.#o.host.setDeviceBits(slot.error === 0 ? 1 << index : 0, status, slot.error);
  }

  #end(slot: SlotState, status: number): void {
    const { host } = this.#o;
    const { error } = slot;
    const answer: Answer = {
      status,
      error,
      interrupt: true,
      ...(slot.sectors > 0 || error !== 0 ? { sector: slot.sector } : {}),
    };
    const readsByPio = slot.isPio !== 0 && slot.work !== work.WORK_WRITE;
    if (readsByPio && error === 0) host.pioSetup(slot, answer);
    else host.register(slot, answer);
  }

  /** What the log says until it has been read. `tag`: of the queued command, or NOT_QUEUED. */
  #noteQueueError(slot: SlotState, tag: number): void {
    const s = this.#s;
    const log = s.queueErrorLog;
    s.hasQueueError = 1;
    // Address, device and count lie as in the frame.
    log.set(slot.fis.subarray(0, log.length));
    log[0] = tag;
    log[1] = 0;
    log[2] = GOOD | ata.ERR;
    log[3] = slot.error;
    log[spec.FIS_FEATURES_EXP] = 0;
  }

  // What commands do when their time has come.

  #carryOut(slot: SlotState): StorageResult | Moved {
    const { storage, host } = this.#o;
    switch (slot.work) {
      case work.WORK_READ:
        if (slot.isQueued !== 0) host.dmaSetup(slot, true);
        return this.#read(slot);
      case work.WORK_WRITE: {
        if (slot.isQueued !== 0) host.dmaSetup(slot, false);
        const written = this.#write(slot);
        return written === "ok" && this.#mustBeStable(slot) ? storage.flush() : written;
      }
      case work.WORK_VERIFY:
        return this.#chunks(slot, (sector, chunk) => storage.read(sector, chunk));
      case work.WORK_FLUSH:
        return storage.flush();
      case work.WORK_IDENTIFY:
        this.#identify();
        return host.regions(slot).write(this.#copy.subarray(0, ata.SECTOR_BYTES));
      case work.WORK_READ_LOG:
        this.#fillLog(slot);
        return host.regions(slot).write(this.#copy.subarray(0, ata.SECTOR_BYTES));
      case work.WORK_TRIM:
        return this.#trim(slot);
      default:
        return "ok";
    }
  }

  #read(slot: SlotState): StorageResult | Moved {
    const regions = this.#o.host.regions(slot);
    return this.#chunks(slot, (sector, chunk) => {
      const result = this.#o.storage.read(sector, chunk);
      return result === "ok" ? regions.write(chunk) : result;
    });
  }

  #write(slot: SlotState): StorageResult | Moved {
    const regions = this.#o.host.regions(slot);
    return this.#chunks(slot, (sector, chunk) => {
      const moved = regions.read(chunk);
      return moved === "ok" ? this.#o.storage.write(sector, chunk) : moved;
    });
  }

  /** Calls `each` for the command's sectors, a buffer at a time; at the first trouble `sector` shows where. */
  #chunks(
    slot: SlotState,
    each: (sector: number, chunk: Uint8Array) => StorageResult | Moved,
  ): StorageResult | Moved {
    for (let done = 0; done < slot.sectors;) {
      const sectors = Math.min(slot.sectors - done, COPY_BYTES / ata.SECTOR_BYTES);
      const result = each(slot.sector + done, this.#copy.subarray(0, sectors * ata.SECTOR_BYTES));
      if (result !== "ok") {
        slot.sector += done;
        return result;
      }
      done += sectors;
    }
    // The registers show the last sector.
    slot.sector += Math.max(0, slot.sectors - 1);
    return "ok";
  }

  #identify(): void {
    const s = this.#s;
    const { storage } = this.#o;
    identifyDevice(this.#copy, {
      sectors: storage.sectors,
      serial: storage.serial,
      model: "EXITLESS SSD",
      firmware: "1.0",
      multipleSectors: s.multipleSectors,
      transferMode: s.transferMode,
      writeCache: s.writeCache !== 0,
      lookAhead: s.lookAhead !== 0,
      currentHeads: s.currentHeads,
      currentSectorsPerTrack: s.currentSectorsPerTrack,
      serialAta: true,
    });
  }

  #fillLog(slot: SlotState): void {
    const page = this.#copy.subarray(0, ata.SECTOR_BYTES);
    page.fill(0);
    if (slot.fis[spec.FIS_LBA] === ata.LOG_DIRECTORY) {
      page[0] = 1; // version
      page[2 * ata.LOG_NCQ_ERROR] = 1; // pages
      return;
    }
    page.set(this.#s.queueErrorLog);
    page[511] = -page.reduce((sum, byte) => sum + byte, 0) & 0xff;
    this.#s.hasQueueError = 0;
  }

  #trim(slot: SlotState): StorageResult | Moved {
    const { storage } = this.#o;
    const block = new Uint8Array(ata.SECTOR_BYTES);
    const moved = this.#o.host.regions(slot).read(block);
    if (moved !== "ok") return moved;
    const view = new DataView(block.buffer);
    let left = MOST_TRIMMED_SECTORS;
    for (let at = 0; at < block.length; at += ata.DSM_RANGE_BYTES) {
      const sector = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
      const count = view.getUint16(at + 6, true);
      if (sector + count > storage.sectors) return "out-of-range";
      const trimmed = Math.min(count, left);
      left -= trimmed;
      const result = trimmed === 0 ? "ok" : storage.discard(sector, trimmed);
      if (result !== "ok") return result;
    }
    return "ok";
  }

  #address(slot: SlotState): AddressRegisters {
    const { fis } = slot;
    const register = (at: number): Uint8Array =>
      Uint8Array.of(fis[spec.FIS_LBA + at]!, fis[spec.FIS_LBA_EXP + at]!);
    const { currentHeads, currentSectorsPerTrack } = this.#s;
    return {
      lbaLow: register(0),
      lbaMid: register(1),
      lbaHigh: register(2),
      currentHeads,
      currentSectorsPerTrack,
    };
  }

  #microseconds(microseconds: number): number {
    const { clock } = this.#o;
    return clock.now() + Math.ceil((clock.frequencyHz / 1_000_000) * microseconds);
  }
}

function isQueuedCommand({ fis }: SlotState): boolean {
  const command = fis[spec.FIS_COMMAND];
  return command === ata.READ_FPDMA_QUEUED || command === ata.WRITE_FPDMA_QUEUED;
}

/** The lowest bit that is set. */
const lowest = (bits: number): number => 31 - Math.clz32(bits & -bits);

function countOf(slot: SlotState, ext: boolean): number {
  const { fis } = slot;
  return sectorsOf(fis[spec.FIS_COUNT]! | (ext ? fis[spec.FIS_COUNT_EXP]! << 8 : 0), ext);
}

/** The error register for trouble with the medium. */
function errorOf(result: Exclude<StorageResult, "ok">, kind: number): number {
  switch (result) {
    case "out-of-range":
      return ata.IDNF;
    case "read-only":
      return ata.WP | ata.ABRT;
    case "io-error":
    case "unsupported":
      return kind === work.WORK_READ || kind === work.WORK_VERIFY ? ata.UNC : ata.ABRT;
  }
}

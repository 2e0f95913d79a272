/**
 * One ATA drive: registers and commands of ANSI INCITS T13, "AT Attachment with Packet Interface - 6
 * (ATA/ATAPI-6)".
 *
 * A command sets BSY and a completion time; when that comes, data are moved and INTRQ rises. Everything pending
 * is the phase and the counters in state, so a soft reset simply drops it. Not implemented, and answered with ABRT
 * as the standard has it: SMART, security, host protected area, queued commands, packet commands, UNLOAD.
 */
import type { Clock, DiskTiming, DmaMemory, Storage, StorageResult, Timer } from "../ports.ts";
import { addressedSector, putAddress } from "../ata/addressing.ts";
import { identifyDevice } from "../ata/identify.ts";
import { executeSetting, resetSettings } from "../ata/settings.ts";
import { sectorsOf, transferOf, type SectorTransfer } from "../ata/transfers.ts";
import type { BusMaster, DmaOutcome } from "./bus-master.ts";
import * as spec from "./spec.ts";
import * as phase from "./state.ts";
import type { ChannelState, DriveState } from "./state.ts";

export interface IdeDriveOptions {
  readonly storage: Storage;
  readonly timing: DiskTiming;
  /** Up to 40 characters. */
  readonly model?: string;
}

export interface DriveWiring {
  readonly state: DriveState;
  readonly channel: ChannelState;
  readonly busMaster: BusMaster;
  readonly memory: DmaMemory;
  readonly clock: Clock;
  readonly timer: Timer;
  /** 0 or 1. */
  readonly number: number;
  /** INTRQ of the drive changed. */
  readonly outputsChanged: () => void;
  /** May the function master the bus? */
  readonly mayMaster: () => boolean;
}

/** Time of commands that do not touch the medium, and of a reset, in microseconds. */
const COMMAND_MICROSECONDS = 5;
const RESET_MICROSECONDS = 500;
/** Bytes moved at a time between disk and memory by DMA. */
const COPY_BYTES = 64 * 1024;

export class IdeDrive {
  readonly #s: DriveState;
  readonly #w: DriveWiring;
  readonly #o: IdeDriveOptions;
  readonly #copy = new Uint8Array(COPY_BYTES);

  constructor(wiring: DriveWiring, options: IdeDriveOptions) {
    this.#s = wiring.state;
    this.#w = wiring;
    this.#o = options;
  }

  /** Power-on and hardware reset: the drive is ready at once, with its signature. */
  powerOn(): void {
    const s = this.#s;
    resetSettings(s);
    s.command = 0;
    s.ext = 0;
    s.blockSectors = 1;
    s.bufferOnly = 0;
    s.lba = 0;
    s.buffer.fill(0);
    this.#abandon();
    this.#signature();
  }

  /** SRST is set: the drive drops what it does and stays busy. */
  beginSoftReset(): void {
    this.#abandon();
    this.#s.command = spec.NOP;
    this.#s.phase = phase.PHASE_RESET;
    this.#w.outputsChanged();
  }

  /** SRST is cleared: diagnostics, then ready with the signature; no interrupt. */
  endSoftReset(): void {
    this.#armMicroseconds(RESET_MICROSECONDS);
  }

  /** Status as the register shows it. */
  get status(): number {
    const s = this.#s;
    switch (s.phase) {
      case phase.PHASE_IDLE:
        return s.status;
      case phase.PHASE_PIO_IN:
      case phase.PHASE_PIO_OUT:
      case phase.PHASE_DMA:
        return s.status | spec.DRQ;
      default:
        return spec.BSY;
    }
  }

  get isBusy(): boolean {
    return (this.status & spec.BSY) !== 0;
  }

  get isWaitingForDma(): boolean {
    return this.#s.phase === phase.PHASE_DMA;
  }

  /** "Reading Status" clears INTRQ. */
  acknowledgeInterrupt(): void {
    if (!this.#s.intrq) return;
    this.#s.intrq = 0;
    this.#w.outputsChanged();
  }

  /** The next 16 bits of the data register. */
  readData(): number {
    const s = this.#s;
    if (s.phase !== phase.PHASE_PIO_IN) return 0xffff;
    const value = s.buffer[s.bufferAt]! | (s.buffer[s.bufferAt + 1]! << 8);
    s.bufferAt += 2;
    if (s.bufferAt >= s.bufferEnd) this.#pioInBlockRead();
    return value;
  }

  writeData(value: number): void {
    const s = this.#s;
    if (s.phase !== phase.PHASE_PIO_OUT) return;
    s.buffer[s.bufferAt] = value & 0xff;
    s.buffer[s.bufferAt + 1] = (value >> 8) & 0xff;
    s.bufferAt += 2;
    if (s.bufferAt >= s.bufferEnd) this.#pioOutBlockWritten();
  }

  /** The Command register is written while this drive is selected (or, for diagnostics, in any case). */
  execute(command: number): void {
    const s = this.#s;
    if (this.isBusy) return; // "results are indeterminate": ignored
    this.#abandon();
    s.command = command;
    s.status = spec.DRDY | spec.DSC;
    s.error = 0;
    s.ext = 0;
    s.bufferOnly = 0;
    this.#w.outputsChanged();
    this.#dispatch(command);
  }

  /** EXECUTE DEVICE DIAGNOSTIC goes to both drives; only drive 0 interrupts. */
  diagnose(): void {
    this.#abandon();
    this.#s.command = spec.EXECUTE_DEVICE_DIAGNOSTIC;
    this.#s.phase = phase.PHASE_RESET;
    this.#w.outputsChanged();
    this.#armMicroseconds(RESET_MICROSECONDS);
  }

  /** The time that a command needed has passed. */
  timerFired(): void {
    const s = this.#s;
    switch (s.phase) {
      case phase.PHASE_RESET:
        this.#signature();
        if (s.command === spec.EXECUTE_DEVICE_DIAGNOSTIC && this.#w.number === 0) this.#interrupt();
        s.command = 0;
        break;
      case phase.PHASE_COMMAND:
        this.#finishCommand();
        break;
      case phase.PHASE_PIO_IN_BUSY:
        this.#fillBuffer();
        break;
      case phase.PHASE_PIO_OUT_BUSY:
        this.#emptyBuffer();
        break;
      case phase.PHASE_DMA_BUSY:
        s.phase = phase.PHASE_DMA;
        this.tryDma();
        break;
      default:
        break;
    }
    this.#w.outputsChanged();
  }

  /** Moves the data of a DMA command, if drive and bus master are both ready for it. */
  tryDma(): void {
    const s = this.#s;
    const master = this.#w.busMaster;
    if (s.phase !== phase.PHASE_DMA || !master.active || !this.#w.mayMaster()) return;
    const toMemory = isRead(s.command);
    // A bus master set the wrong way does not answer DMARQ in the drive's direction: nothing moves.
    if (master.readsDrive !== toMemory) return;
    this.#transferDma(toMemory);
    this.#w.outputsChanged();
  }

  // Commands.

  #dispatch(command: number): void {
    const s = this.#s;
    const transfer = transferOf(command);
    if (transfer !== undefined) {
      this.#beginTransfer(transfer);
      return;
    }
    const { device } = this.#w.channel;
    const set = executeSetting({ command, feature: s.features[0]!, count: s.sectorCount[0]!, device }, s);
    if (set !== undefined) {
      if (set.count !== undefined) s.sectorCount[0] = set.count;
      if (set.error === 0) this.#succeed();
      else this.#fail(set.error);
      return;
    }
    switch (command) {
      case spec.FLUSH_CACHE:
      case spec.FLUSH_CACHE_EXT:
        this.#busyUntil(this.#o.timing.complete("flush", 0, 0));
        break;
      case spec.IDENTIFY_DEVICE:
        s.bufferOnly = 1;
        s.phase = phase.PHASE_PIO_IN_BUSY;
        this.#armMicroseconds(COMMAND_MICROSECONDS);
        break;
      case spec.READ_NATIVE_MAX_ADDRESS:
      case spec.READ_NATIVE_MAX_ADDRESS_EXT:
        this.#readNativeMax(command === spec.READ_NATIVE_MAX_ADDRESS_EXT);
        break;
      default:
        if (command >= spec.SEEK_FIRST && command <= spec.SEEK_LAST) this.#seek();
        // NOP always aborts; so does everything the drive does not implement.
        else this.#fail(spec.ABRT);
    }
  }

  #readNativeMax(ext: boolean): void {
    const last = this.#o.storage.sectors - 1;
    this.#s.ext = ext ? 1 : 0;
    putAddress(this.#s, this.#w.channel, ext ? last : Math.min(last, spec.MOST_LBA28 - 1));
    this.#succeed();
  }

  #seek(): void {
    const lba = addressedSector(this.#s, this.#w.channel.device, false);
    if (lba === undefined || lba >= this.#o.storage.sectors) {
      this.#fail(spec.IDNF);
      return;
    }
    this.#succeed();
  }

  #beginTransfer({ operation, protocol, ext }: SectorTransfer): void {
    const s = this.#s;
    if (protocol === "multiple" && s.multipleSectors === 0) {
      this.#fail(spec.ABRT);
      return;
    }
    if (!this.#latchRange(ext)) return;
    if (operation === "write" && this.#o.storage.readOnly) {
      this.#fail(spec.WP | spec.ABRT);
      return;
    }
    const bytes = s.remaining * spec.SECTOR_BYTES;
    if (operation === "verify") {
      this.#busyUntil(this.#o.timing.complete("read", s.lba, bytes));
      return;
    }
    s.standby = 0;
    s.blockSectors = protocol === "multiple" ? s.multipleSectors : 1;
    if (protocol === "dma") {
      s.phase = phase.PHASE_DMA_BUSY;
      this.#w.timer.arm(this.#o.timing.complete(operation, s.lba, bytes));
    } else if (operation === "read") this.#nextPioIn();
    else this.#nextPioOut(false);
  }

  /** Latches address and count; false, with the command failed, when they are not on the disk. */
  #latchRange(ext: boolean): boolean {
    const s = this.#s;
    s.ext = ext ? 1 : 0;
    const lba = addressedSector(s, this.#w.channel.device, ext);
    const count = sectorsOf((ext ? s.sectorCount[1]! << 8 : 0) | s.sectorCount[0]!, ext);
    if (lba === undefined || lba + count > this.#o.storage.sectors) {
      if (lba !== undefined) s.lba = lba;
      this.#fail(spec.IDNF);
      return false;
    }
    s.lba = lba;
    s.remaining = count;
    return true;
  }

  // PIO.

  #nextPioIn(): void {
    const s = this.#s;
    const bytes = Math.min(s.blockSectors, s.remaining) * spec.SECTOR_BYTES;
    s.phase = phase.PHASE_PIO_IN_BUSY;
    this.#w.timer.arm(this.#o.timing.complete("read", s.lba, bytes));
  }

  #fillBuffer(): void {
    const s = this.#s;
    if (s.bufferOnly) {
      identifyDevice(s.buffer, {
        sectors: this.#o.storage.sectors,
        serial: this.#o.storage.serial,
        model: (this.#o.model ?? "EXITLESS HARDDISK").slice(0, 40),
        firmware: "1.0",
        multipleSectors: s.multipleSectors,
        transferMode: s.transferMode,
        writeCache: s.writeCache !== 0,
        lookAhead: s.lookAhead !== 0,
        currentHeads: s.currentHeads,
        currentSectorsPerTrack: s.currentSectorsPerTrack,
      });
      s.bufferEnd = spec.SECTOR_BYTES;
    } else {
      const bytes = Math.min(s.blockSectors, s.remaining) * spec.SECTOR_BYTES;
      const result = this.#o.storage.read(s.lba, s.buffer.subarray(0, bytes));
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
      s.bufferEnd = bytes;
    }
    s.bufferAt = 0;
    s.phase = phase.PHASE_PIO_IN;
    this.#interrupt();
  }

  /** The host has read the whole DRQ block. The last one ends the command without a further interrupt. */
  #pioInBlockRead(): void {
    const s = this.#s;
    if (s.bufferOnly) {
      s.phase = phase.PHASE_IDLE;
      return;
    }
    const sectors = s.bufferEnd / spec.SECTOR_BYTES;
    s.lba += sectors;
    s.remaining -= sectors;
    if (s.remaining === 0) this.#endTransfer(false);
    else this.#nextPioIn();
  }

  /** Asks for a block of data: the first one without an interrupt. */
  #nextPioOut(interrupt: boolean): void {
    const s = this.#s;
    s.bufferAt = 0;
    s.bufferEnd = Math.min(s.blockSectors, s.remaining) * spec.SECTOR_BYTES;
    s.phase = phase.PHASE_PIO_OUT;
    if (interrupt) this.#interrupt();
  }

  #pioOutBlockWritten(): void {
    const s = this.#s;
    s.phase = phase.PHASE_PIO_OUT_BUSY;
    this.#w.timer.arm(this.#o.timing.complete("write", s.lba, s.bufferEnd));
  }

  #emptyBuffer(): void {
    const s = this.#s;
    const result = this.#o.storage.write(s.lba, s.buffer.subarray(0, s.bufferEnd));
    if (result !== "ok") {
      this.#failTransfer(result);
      return;
    }
    const sectors = s.bufferEnd / spec.SECTOR_BYTES;
    s.lba += sectors;
    s.remaining -= sectors;
    if (s.remaining === 0) this.#endTransfer(true);
    else this.#nextPioOut(true);
  }

  // DMA.

  #transferDma(toMemory: boolean): void {
    const s = this.#s;
    const master = this.#w.busMaster;
    while (s.remaining > 0) {
      const sectors = Math.min(s.remaining, COPY_BYTES / spec.SECTOR_BYTES);
      const chunk = this.#copy.subarray(0, sectors * spec.SECTOR_BYTES);
      if (toMemory) {
        const result = this.#o.storage.read(s.lba, chunk);
        if (result !== "ok") {
          this.#failTransfer(result);
          return;
        }
      }
      const { moved, stopped } = this.#moveChunk(chunk, toMemory);
      const whole = Math.floor(moved / spec.SECTOR_BYTES);
      if (!toMemory && whole > 0) {
        const result = this.#o.storage.write(s.lba, chunk.subarray(0, whole * spec.SECTOR_BYTES));
        if (result !== "ok") {
          this.#failTransfer(result);
          return;
        }
      }
      s.lba += whole;
      s.remaining -= whole;
      if (stopped !== undefined) {
        // The drive goes on asking for DMA: as on hardware, only a reset or a new table gets it out of this.
        master.finish(stopped);
        return;
      }
    }
    master.finish(master.exhausted ? "done" : "table-longer");
    this.#endTransfer(true);
  }

  /** Memory ↔ chunk through the table: how many bytes were moved, and what stopped it before the end. */
  #moveChunk(
    chunk: Uint8Array,
    toMemory: boolean,
  ): { readonly moved: number; readonly stopped?: DmaOutcome } {
    const memory = this.#w.memory;
    let at = 0;
    while (at < chunk.length) {
      const region = this.#w.busMaster.nextRegion(chunk.length - at);
      if (region === undefined) return { moved: at, stopped: "table-shorter" };
      if (region === "error") return { moved: at, stopped: "memory-error" };
      const part = chunk.subarray(at, at + region.length);
      const done = toMemory ? memory.write(region.address, part) : memory.read(region.address, part);
      if (!done) return { moved: at, stopped: "memory-error" };
      at += region.length;
    }
    return { moved: at };
  }

  // Ends.

  #finishCommand(): void {
    const s = this.#s;
    if (s.command === spec.FLUSH_CACHE || s.command === spec.FLUSH_CACHE_EXT) {
      const result = this.#o.storage.flush();
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
    }
    // READ VERIFY reads without transferring.
    while (s.remaining > 0) {
      const sectors = Math.min(s.remaining, COPY_BYTES / spec.SECTOR_BYTES);
      const result = this.#o.storage.read(s.lba, this.#copy.subarray(0, sectors * spec.SECTOR_BYTES));
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
      s.lba += sectors;
      s.remaining -= sectors;
    }
    s.phase = phase.PHASE_IDLE;
    this.#interrupt();
  }

  #endTransfer(interrupt: boolean): void {
    const s = this.#s;
    // The registers show the last sector transferred.
    putAddress(this.#s, this.#w.channel, s.lba - 1);
    s.sectorCount[0] = 0;
    s.phase = phase.PHASE_IDLE;
    if (!isRead(s.command) && !s.writeCache) this.#o.storage.flush();
    if (interrupt) this.#interrupt();
  }

  #succeed(): void {
    this.#s.phase = phase.PHASE_COMMAND;
    this.#armMicroseconds(COMMAND_MICROSECONDS);
  }

  /** The command fails its checks: it ends with ERR at once, with an interrupt. */
  #fail(error: number): void {
    const s = this.#s;
    s.remaining = 0;
    if (error & spec.IDNF) putAddress(this.#s, this.#w.channel, s.lba);
    s.error = error;
    s.status |= spec.ERR;
    s.phase = phase.PHASE_COMMAND;
    this.#armMicroseconds(COMMAND_MICROSECONDS);
  }

  /** The medium failed in mid-transfer; the registers show the sector. */
  #failTransfer(result: StorageResult): void {
    const s = this.#s;
    putAddress(this.#s, this.#w.channel, s.lba);
    if (result === "out-of-range") s.error = spec.IDNF;
    else if (result === "read-only") s.error = spec.WP | spec.ABRT;
    else s.error = isRead(s.command) ? spec.UNC : spec.ABRT;
    s.status |= spec.ERR;
    // A write that the medium did not take, and a flush, are device faults too.
    if (result === "io-error" && !isRead(s.command)) s.status |= spec.DF;
    s.phase = phase.PHASE_IDLE;
    this.#w.busMaster.finish("done");
    this.#interrupt();
  }

  #busyUntil(time: number): void {
    this.#s.phase = phase.PHASE_COMMAND;
    this.#w.timer.arm(time);
  }

  #interrupt(): void {
    this.#s.intrq = 1;
    this.#w.outputsChanged();
  }

  #armMicroseconds(microseconds: number): void {
    const clock = this.#w.clock;
    this.#w.timer.arm(clock.now() + Math.ceil((clock.frequencyHz / 1_000_000) * microseconds));
  }

  /** Drops whatever is running. */
  #abandon(): void {
    const s = this.#s;
    s.phase = phase.PHASE_IDLE;
    s.intrq = 0;
    s.remaining = 0;
    s.bufferAt = 0;
    s.bufferEnd = 0;
    this.#w.timer.disarm();
  }

  /** "Device signature" of an ATA device, after resets and diagnostics. */
  #signature(): void {
    const s = this.#s;
    s.features.fill(0);
    for (const register of [s.sectorCount, s.lbaLow]) {
      register[0] = 1;
      register[1] = 0;
    }
    s.lbaMid.fill(0);
    s.lbaHigh.fill(0);
    s.error = spec.DIAGNOSTIC_PASSED;
    s.status = spec.DRDY | spec.DSC;
    s.phase = phase.PHASE_IDLE;
    s.standby = 0;
  }
}

/** Commands that move data from the drive, or verify it. */
function isRead(command: number): boolean {
  const transfer = transferOf(command);
  return transfer !== undefined && transfer.operation !== "write";
}

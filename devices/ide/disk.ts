/**
 * One ATA disk: commands of ANSI INCITS T13, "AT Attachment with Packet Interface - 6 (ATA/ATAPI-6)". Not implemented, and
 * answered with ABRT as the standard has it: SMART, security, host protected area, queued commands, UNLOAD.
 */
import type { StorageResult } from "../ports.ts";
import { addressedSector, putAddress } from "../ata/addressing.ts";
import { identifyDevice } from "../ata/identify.ts";
import { executeDiskSetting, executeSetting } from "../ata/settings.ts";
import { sectorsOf, transferOf, type SectorTransfer } from "../ata/transfers.ts";
import { COMMAND_MICROSECONDS, IdeDevice } from "./device.ts";
import * as spec from "./spec.ts";
import * as phase from "./state.ts";

/** Bytes moved at a time between disk and memory by DMA. */
const COPY_BYTES = 64 * 1024;

export class AtaDisk extends IdeDevice {
  readonly #copy = new Uint8Array(COPY_BYTES);

  protected override get signature(): {
    readonly mid: number;
    readonly high: number;
    readonly status: number;
  } {
    return { mid: 0, high: 0, status: spec.DRDY | spec.DSC };
  }

  protected override readsMedium(): boolean {
    return isRead(this.s.command);
  }

  protected override busyEnded(): void {
    switch (this.s.phase) {
      case phase.PHASE_COMMAND:
        this.#finishCommand();
        break;
      case phase.PHASE_PIO_IN_BUSY:
        this.#fillBuffer();
        break;
      case phase.PHASE_PIO_OUT_BUSY:
        this.#emptyBuffer();
        break;
      default:
        break;
    }
  }

  // Commands.

  protected override dispatch(command: number): void {
    const transfer = transferOf(command);
    if (transfer !== undefined) {
      this.#beginTransfer(transfer);
      return;
    }
    if (this.dispatchSetting(executeSetting) || this.dispatchSetting(executeDiskSetting)) return;
    switch (command) {
      case spec.FLUSH_CACHE:
      case spec.FLUSH_CACHE_EXT:
        this.busyUntil(this.o.timing.complete("flush", 0, 0));
        break;
      case spec.IDENTIFY_DEVICE:
        this.s.bufferOnly = 1;
        this.s.phase = phase.PHASE_PIO_IN_BUSY;
        this.armMicroseconds(COMMAND_MICROSECONDS);
        break;
      case spec.READ_NATIVE_MAX_ADDRESS:
      case spec.READ_NATIVE_MAX_ADDRESS_EXT:
        this.#readNativeMax(command === spec.READ_NATIVE_MAX_ADDRESS_EXT);
        break;
      default:
        if (command >= spec.SEEK_FIRST && command <= spec.SEEK_LAST) this.#seek();
        // NOP always aborts; so does everything the drive does not implement.
        else this.fail(spec.ABRT);
    }
  }

  #readNativeMax(ext: boolean): void {
    const last = this.o.storage.sectors - 1;
    this.s.ext = ext ? 1 : 0;
    putAddress(this.s, this.w.channel, ext ? last : Math.min(last, spec.MOST_LBA28 - 1));
    this.succeed();
  }

  #seek(): void {
    const lba = addressedSector(this.s, this.w.channel.device, false);
    if (lba === undefined || lba >= this.o.storage.sectors) {
      this.fail(spec.IDNF);
      return;
    }
    this.succeed();
  }

  #beginTransfer({ operation, protocol, ext }: SectorTransfer): void {
    const s = this.s;
    if (protocol === "multiple" && s.multipleSectors === 0) {
      this.fail(spec.ABRT);
      return;
    }
    if (!this.#latchRange(ext)) return;
    if (operation === "write" && this.o.storage.readOnly) {
      this.fail(spec.WP | spec.ABRT);
      return;
    }
    const bytes = s.remaining * spec.SECTOR_BYTES;
    if (operation === "verify") {
      this.busyUntil(this.o.timing.complete("read", s.lba, bytes));
      return;
    }
    s.standby = 0;
    s.blockSectors = protocol === "multiple" ? s.multipleSectors : 1;
    if (protocol === "dma") {
      s.phase = phase.PHASE_DMA_BUSY;
      this.w.timer.arm(this.o.timing.complete(operation, s.lba, bytes));
    } else if (operation === "read") this.#nextPioIn();
    else this.#nextPioOut(false);
  }

  /** Latches address and count; false, with the command failed, when they are not on the disk. */
  #latchRange(ext: boolean): boolean {
    const s = this.s;
    s.ext = ext ? 1 : 0;
    const lba = addressedSector(s, this.w.channel.device, ext);
    const count = sectorsOf((ext ? s.sectorCount[1]! << 8 : 0) | s.sectorCount[0]!, ext);
    if (lba === undefined || lba + count > this.o.storage.sectors) {
      if (lba !== undefined) s.lba = lba;
      this.fail(spec.IDNF);
      return false;
    }
    s.lba = lba;
    s.remaining = count;
    return true;
  }

  // PIO.

  #nextPioIn(): void {
    const s = this.s;
    const bytes = Math.min(s.blockSectors, s.remaining) * spec.SECTOR_BYTES;
    s.phase = phase.PHASE_PIO_IN_BUSY;
    this.w.timer.arm(this.o.timing.complete("read", s.lba, bytes));
  }

  #fillBuffer(): void {
    const s = this.s;
    if (s.bufferOnly) {
      identifyDevice(s.buffer, {
        sectors: this.o.storage.sectors,
        serial: this.o.storage.serial,
        model: (this.o.model ?? "EXITLESS HARDDISK").slice(0, 40),
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
      const result = this.o.storage.read(s.lba, s.buffer.subarray(0, bytes));
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
      s.bufferEnd = bytes;
    }
    s.bufferAt = 0;
    s.blockEnd = s.bufferEnd;
    s.phase = phase.PHASE_PIO_IN;
    this.interrupt();
  }

  /** The host has read the whole DRQ block. The last one ends the command without a further interrupt. */
  protected override blockRead(): void {
    const s = this.s;
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
    const s = this.s;
    s.bufferAt = 0;
    s.bufferEnd = Math.min(s.blockSectors, s.remaining) * spec.SECTOR_BYTES;
    s.blockEnd = s.bufferEnd;
    s.phase = phase.PHASE_PIO_OUT;
    if (interrupt) this.interrupt();
  }

  protected override blockWritten(): void {
    const s = this.s;
    s.phase = phase.PHASE_PIO_OUT_BUSY;
    this.w.timer.arm(this.o.timing.complete("write", s.lba, s.bufferEnd));
  }

  #emptyBuffer(): void {
    const s = this.s;
    const result = this.o.storage.write(s.lba, s.buffer.subarray(0, s.bufferEnd));
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

  protected override transferDma(toMemory: boolean): void {
    const s = this.s;
    const master = this.w.busMaster;
    while (s.remaining > 0) {
      const sectors = Math.min(s.remaining, COPY_BYTES / spec.SECTOR_BYTES);
      const chunk = this.#copy.subarray(0, sectors * spec.SECTOR_BYTES);
      if (toMemory) {
        const result = this.o.storage.read(s.lba, chunk);
        if (result !== "ok") {
          this.#failTransfer(result);
          return;
        }
      }
      const { moved, stopped } = this.moveChunk(chunk, toMemory);
      const whole = Math.floor(moved / spec.SECTOR_BYTES);
      if (!toMemory && whole > 0) {
        const result = this.o.storage.write(s.lba, chunk.subarray(0, whole * spec.SECTOR_BYTES));
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

  // Ends.

  #finishCommand(): void {
    const s = this.s;
    if (s.command === spec.FLUSH_CACHE || s.command === spec.FLUSH_CACHE_EXT) {
      const result = this.o.storage.flush();
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
    }
    // READ VERIFY reads without transferring.
    while (s.remaining > 0) {
      const sectors = Math.min(s.remaining, COPY_BYTES / spec.SECTOR_BYTES);
      const result = this.o.storage.read(s.lba, this.#copy.subarray(0, sectors * spec.SECTOR_BYTES));
      if (result !== "ok") {
        this.#failTransfer(result);
        return;
      }
      s.lba += sectors;
      s.remaining -= sectors;
    }
    s.phase = phase.PHASE_IDLE;
    this.interrupt();
  }

  #endTransfer(interrupt: boolean): void {
    const s = this.s;
    // The registers show the last sector transferred.
    putAddress(this.s, this.w.channel, s.lba - 1);
    s.sectorCount[0] = 0;
    s.phase = phase.PHASE_IDLE;
    if (!isRead(s.command) && !s.writeCache) this.o.storage.flush();
    if (interrupt) this.interrupt();
  }

  protected override fail(error: number): void {
    if (error & spec.IDNF) putAddress(this.s, this.w.channel, this.s.lba);
    super.fail(error);
  }

  /** The medium failed in mid-transfer; the registers show the sector. */
  #failTransfer(result: StorageResult): void {
    const s = this.s;
    putAddress(this.s, this.w.channel, s.lba);
    if (result === "out-of-range") s.error = spec.IDNF;
    else if (result === "read-only") s.error = spec.WP | spec.ABRT;
    else s.error = isRead(s.command) ? spec.UNC : spec.ABRT;
    s.status |= spec.ERR;
    // A write that the medium did not take, and a flush, are device faults too.
    if (result === "io-error" && !isRead(s.command)) s.status |= spec.DF;
    s.phase = phase.PHASE_IDLE;
    this.w.busMaster.finish("done");
    this.interrupt();
  }
}

/** Commands that move data from the drive, or verify it. */
function isRead(command: number): boolean {
  const transfer = transferOf(command);
  return transfer !== undefined && transfer.operation !== "write";
}

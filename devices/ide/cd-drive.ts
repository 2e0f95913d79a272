/**
 * A CD-ROM drive on an IDE channel: the PACKET command feature set of ANSI INCITS T13, "ATA/ATAPI-6", whose packets `mmc.ts`
 * answers. Data go by PIO, in DRQ blocks of at most the host's byte count, or by bus-master DMA. No overlap, no queueing.
 */
import type { StorageResult } from "../ports.ts";
import { COMMAND_MICROSECONDS, IdeDevice } from "./device.ts";
import { identifyPacketDevice } from "../ata/identify.ts";
import { executeSetting } from "../ata/settings.ts";
import { answerPacket, type CdMedium } from "./mmc.ts";
import * as mmc from "./mmc-spec.ts";
import * as spec from "./spec.ts";
import * as phase from "./state.ts";

const SECTORS_A_BLOCK = mmc.CD_SECTOR_BYTES / spec.SECTOR_BYTES;
const FIRMWARE = "1.0";
const MODEL = "EXITLESS CD-ROM";
/** The byte count that stands for "no limit", which is even. */
const MOST_BYTE_COUNT = 0xfffe;

export class CdDrive extends IdeDevice {
  /** Bytes moved at a time by DMA. */
  readonly #copy = new Uint8Array(phase.BUFFER_BYTES);

  get #medium(): CdMedium {
    return {
      blocks: Math.floor(this.o.storage.sectors / SECTORS_A_BLOCK),
      model: this.o.model ?? MODEL,
      firmware: FIRMWARE,
    };
  }

  override deviceReset(): boolean {
    this.startReset(spec.DEVICE_RESET);
    return true;
  }

  protected override setDefaults(): void {
    const s = this.s;
    s.multipleSectors = 0;
    s.senseKey = mmc.NO_SENSE;
    s.additionalSense = 0;
    s.senseQualifier = 0;
    s.unitAttention = 1;
    s.locked = 0;
    s.ejected = 0;
    s.packetDma = 0;
    s.byteCountLimit = 0;
  }

  /** Drives with PACKET show no DRDY until their first command. */
  protected override get signature(): {
    readonly mid: number;
    readonly high: number;
    readonly status: number;
  } {
    return { mid: spec.PACKET_SIGNATURE_MID, high: spec.PACKET_SIGNATURE_HIGH, status: 0 };
  }

  protected override readsMedium(): boolean {
    return true;
  }

  protected override dispatch(command: number): void {
    const s = this.s;
    if (this.dispatchSetting(executeSetting)) return;
    switch (command) {
      case spec.PACKET:
        this.#beginPacket();
        break;
      case spec.IDENTIFY_PACKET_DEVICE:
        s.bufferOnly = 1;
        s.phase = phase.PHASE_PIO_IN_BUSY;
        this.armMicroseconds(COMMAND_MICROSECONDS);
        break;
      case spec.IDENTIFY_DEVICE:
      case spec.READ_SECTORS:
        // "The device shall place the signature in the registers and abort": how a host tells the two kinds apart.
        this.putSignature();
        this.fail(spec.ABRT);
        break;
      default:
        this.fail(spec.ABRT);
    }
  }

  protected override busyEnded(): void {
    switch (this.s.phase) {
      case phase.PHASE_COMMAND:
        this.s.phase = phase.PHASE_IDLE;
        this.interrupt();
        break;
      case phase.PHASE_PIO_IN_BUSY:
        this.#fillBuffer();
        break;
      default:
        break;
    }
  }

  // PACKET.

  #beginPacket(): void {
    const s = this.s;
    if ((s.features[0]! & spec.PACKET_OVERLAPPED) !== 0) {
      this.fail(spec.ABRT);
      return;
    }
    s.packetDma = s.features[0]! & spec.PACKET_DMA;
    const limit = (s.lbaHigh[0]! << 8) | s.lbaMid[0]!;
    s.byteCountLimit = limit === 0 ? MOST_BYTE_COUNT : limit === 0xffff ? MOST_BYTE_COUNT : limit;
    s.sectorCount[0] = spec.REASON_COMMAND;
    s.standby = 0;
    s.bufferAt = 0;
    s.blockEnd = spec.PACKET_BYTES;
    // DRQ comes without an interrupt, as IDENTIFY PACKET DEVICE says.
    s.phase = phase.PHASE_PACKET;
  }

  /** The packet is there. */
  protected override blockWritten(): void {
    const s = this.s;
    const answer = answerPacket(s.buffer.slice(0, spec.PACKET_BYTES), s, this.#medium);
    switch (answer.kind) {
      case "done":
        this.#endPacket();
        break;
      case "error":
        this.#check(answer.key, answer.sense);
        break;
      case "data":
        s.buffer.set(answer.bytes);
        s.bufferAt = 0;
        s.bufferEnd = answer.bytes.length;
        s.remaining = 0;
        s.phase = s.packetDma ? phase.PHASE_DMA_BUSY : phase.PHASE_PIO_IN_BUSY;
        this.armMicroseconds(COMMAND_MICROSECONDS);
        break;
      case "read":
        s.lba = answer.block;
        s.remaining = answer.blocks;
        s.bufferAt = 0;
        s.bufferEnd = 0;
        if (s.packetDma) {
          s.phase = phase.PHASE_DMA_BUSY;
          this.w.timer.arm(this.#readTime(answer.blocks));
        } else this.#nextBuffer();
    }
  }

  #readTime(blocks: number): number {
    return this.o.timing.complete("read", this.s.lba * SECTORS_A_BLOCK, blocks * mmc.CD_SECTOR_BYTES);
  }

  /** Ends with good status: the interrupt reason says "status". */
  #endPacket(): void {
    this.s.sectorCount[0] = spec.REASON_COMMAND | spec.REASON_INPUT;
    this.succeed();
  }

  /** Ends with CHECK CONDITION: the sense key is in the error register, the rest is for REQUEST SENSE. */
  #check(key: number, sense: number): void {
    const s = this.s;
    s.senseKey = key;
    s.additionalSense = sense >> 8;
    s.senseQualifier = sense & 0xff;
    s.sectorCount[0] = spec.REASON_COMMAND | spec.REASON_INPUT;
    this.fail((key << 4) | (key === mmc.ILLEGAL_REQUEST ? spec.ABRT : 0));
  }

  // PIO.

  /** Reads on from the disc: as many blocks as the buffer holds. */
  #nextBuffer(): void {
    const s = this.s;
    s.phase = phase.PHASE_PIO_IN_BUSY;
    this.w.timer.arm(this.#readTime(Math.min(s.remaining, phase.BUFFER_BYTES / mmc.CD_SECTOR_BYTES)));
  }

  #fillBuffer(): void {
    const s = this.s;
    if (s.bufferOnly) {
      identifyPacketDevice(s.buffer, {
        serial: this.o.storage.serial,
        model: this.#medium.model,
        firmware: FIRMWARE,
        transferMode: s.transferMode,
      });
      s.bufferAt = 0;
      s.bufferEnd = spec.SECTOR_BYTES;
      s.blockEnd = spec.SECTOR_BYTES;
      s.phase = phase.PHASE_PIO_IN;
      this.interrupt();
      return;
    }
    if (s.remaining > 0) {
      const blocks = Math.min(s.remaining, phase.BUFFER_BYTES / mmc.CD_SECTOR_BYTES);
      const bytes = blocks * mmc.CD_SECTOR_BYTES;
      const result = this.o.storage.read(s.lba * SECTORS_A_BLOCK, s.buffer.subarray(0, bytes));
      if (result !== "ok") {
        this.#failRead(result);
        return;
      }
      s.lba += blocks;
      s.remaining -= blocks;
      s.bufferAt = 0;
      s.bufferEnd = bytes;
    }
    this.#nextBlock();
  }

  /** Offers a DRQ block: the byte count registers say how long it is. Only a last one is of odd length. */
  #nextBlock(): void {
    const s = this.s;
    const left = s.bufferEnd - s.bufferAt;
    const length = left <= s.byteCountLimit ? left : s.byteCountLimit & ~1 || 2;
    s.lbaMid[0] = length & 0xff;
    s.lbaHigh[0] = length >> 8;
    s.sectorCount[0] = spec.REASON_INPUT;
    s.blockEnd = s.bufferAt + length;
    s.phase = phase.PHASE_PIO_IN;
    this.interrupt();
  }

  protected override blockRead(): void {
    const s = this.s;
    if (s.bufferOnly) {
      s.phase = phase.PHASE_IDLE;
      return;
    }
    if (s.bufferAt < s.bufferEnd) this.#nextBlock();
    else if (s.remaining > 0) this.#nextBuffer();
    else this.#endPacket();
  }

  // DMA.

  protected override transferDma(toMemory: boolean): void {
    const s = this.s;
    const master = this.w.busMaster;
    for (;;) {
      let chunk: Uint8Array;
      if (s.bufferEnd > s.bufferAt) chunk = s.buffer.slice(s.bufferAt, s.bufferEnd);
      else if (s.remaining > 0) {
        const blocks = Math.min(s.remaining, this.#copy.length / mmc.CD_SECTOR_BYTES);
        chunk = this.#copy.subarray(0, blocks * mmc.CD_SECTOR_BYTES);
        const result = this.o.storage.read(s.lba * SECTORS_A_BLOCK, chunk);
        if (result !== "ok") {
          master.finish("done");
          this.#failRead(result);
          return;
        }
        s.lba += blocks;
        s.remaining -= blocks;
      } else break;
      const { stopped } = this.moveChunk(chunk, toMemory);
      s.bufferAt = s.bufferEnd;
      if (stopped !== undefined) {
        // As with a disk, only a reset or a new command gets the drive out of this.
        master.finish(stopped);
        return;
      }
    }
    master.finish(master.exhausted ? "done" : "table-longer");
    this.#endPacket();
  }

  #failRead(result: StorageResult): void {
    if (result === "out-of-range") this.#check(mmc.ILLEGAL_REQUEST, mmc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    else this.#check(mmc.MEDIUM_ERROR, mmc.UNRECOVERED_READ_ERROR);
  }
}

/**
 * What a disk and a packet device on an IDE channel share: registers and status, resets and signature, INTRQ, timed ends of
 * commands, SET FEATURES, power modes, and moving data by bus-master DMA. ANSI INCITS T13, "AT Attachment with Packet
 * Interface - 6 (ATA/ATAPI-6)".
 *
 * A command sets BSY and a completion time; when that comes, data are moved and INTRQ rises. Everything pending is the phase and
 * the counters in state, so a soft reset simply drops it.
 */
import type { Clock, DiskTiming, DmaMemory, Storage, Timer } from "../ports.ts";
import { resetSettings, type executeSetting } from "../ata/settings.ts";
import type { BusMaster, DmaOutcome } from "./bus-master.ts";
import * as spec from "./spec.ts";
import * as phase from "./state.ts";
import type { ChannelState, DriveState } from "./state.ts";

export interface IdeDriveOptions {
  readonly storage: Storage;
  readonly timing: DiskTiming;
  /** What the device is. Default "disk". */
  readonly media?: "disk" | "cdrom";
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
export const COMMAND_MICROSECONDS = 5;
const RESET_MICROSECONDS = 500;

export abstract class IdeDevice {
  protected readonly s: DriveState;
  protected readonly w: DriveWiring;
  protected readonly o: IdeDriveOptions;

  constructor(wiring: DriveWiring, options: IdeDriveOptions) {
    this.s = wiring.state;
    this.w = wiring;
    this.o = options;
  }

  /** Power-on and hardware reset: the device is ready at once, with its signature. */
  powerOn(): void {
    const s = this.s;
    resetSettings(s);
    s.command = 0;
    s.ext = 0;
    s.blockSectors = 1;
    s.bufferOnly = 0;
    s.lba = 0;
    s.buffer.fill(0);
    this.setDefaults();
    this.abandon();
    this.#signature();
  }

  /** SRST is set: the device drops what it does and stays busy. */
  beginSoftReset(): void {
    this.abandon();
    this.s.command = spec.NOP;
    this.s.phase = phase.PHASE_RESET;
    this.w.outputsChanged();
  }

  /** SRST is cleared: diagnostics, then ready with the signature; no interrupt. */
  endSoftReset(): void {
    this.armMicroseconds(RESET_MICROSECONDS);
  }

  /** Status as the register shows it. */
  get status(): number {
    const s = this.s;
    switch (s.phase) {
      case phase.PHASE_IDLE:
        return s.status;
      case phase.PHASE_PIO_IN:
      case phase.PHASE_PIO_OUT:
      case phase.PHASE_DMA:
      case phase.PHASE_PACKET:
        return s.status | spec.DRQ;
      default:
        return spec.BSY;
    }
  }

  get isBusy(): boolean {
    return (this.status & spec.BSY) !== 0;
  }

  get isWaitingForDma(): boolean {
    return this.s.phase === phase.PHASE_DMA;
  }

  /** "Reading Status" clears INTRQ. */
  acknowledgeInterrupt(): void {
    if (!this.s.intrq) return;
    this.s.intrq = 0;
    this.w.outputsChanged();
  }

  /** The next 16 bits of the data register. */
  readData(): number {
    const s = this.s;
    if (s.phase !== phase.PHASE_PIO_IN) return 0xffff;
    const value = s.buffer[s.bufferAt]! | (s.buffer[s.bufferAt + 1]! << 8);
    s.bufferAt += 2;
    if (s.bufferAt >= s.blockEnd) this.blockRead();
    return value;
  }

  writeData(value: number): void {
    const s = this.s;
    if (s.phase !== phase.PHASE_PIO_OUT && s.phase !== phase.PHASE_PACKET) return;
    s.buffer[s.bufferAt] = value & 0xff;
    s.buffer[s.bufferAt + 1] = (value >> 8) & 0xff;
    s.bufferAt += 2;
    if (s.bufferAt >= s.blockEnd) this.blockWritten();
  }

  /** The Command register is written while this device is selected. */
  execute(command: number): void {
    const s = this.s;
    if (this.isBusy) return; // "results are indeterminate": ignored
    this.abandon();
    s.command = command;
    s.status = spec.DRDY | spec.DSC;
    s.error = 0;
    s.ext = 0;
    s.bufferOnly = 0;
    this.w.outputsChanged();
    this.dispatch(command);
  }

  /** EXECUTE DEVICE DIAGNOSTIC goes to both devices; only device 0 interrupts. */
  diagnose(): void {
    this.startReset(spec.EXECUTE_DEVICE_DIAGNOSTIC);
  }

  /** DEVICE RESET: a command of packet devices alone. False where it is none. */
  deviceReset(): boolean {
    return false;
  }

  /** The time that a command needed has passed. */
  timerFired(): void {
    const s = this.s;
    switch (s.phase) {
      case phase.PHASE_RESET:
        this.#signature();
        if (s.command === spec.EXECUTE_DEVICE_DIAGNOSTIC && this.w.number === 0) this.interrupt();
        s.command = 0;
        break;
      case phase.PHASE_DMA_BUSY:
        s.phase = phase.PHASE_DMA;
        this.tryDma();
        break;
      default:
        this.busyEnded();
    }
    this.w.outputsChanged();
  }

  /** Moves the data of a DMA command, if device and bus master are both ready for it. */
  tryDma(): void {
    const master = this.w.busMaster;
    if (this.s.phase !== phase.PHASE_DMA || !master.active || !this.w.mayMaster()) return;
    const toMemory = this.readsMedium();
    // A bus master set the wrong way does not answer DMARQ in the device's direction: nothing moves.
    if (master.readsDrive !== toMemory) return;
    this.transferDma(toMemory);
    this.w.outputsChanged();
  }

  // What a kind of device does.

  /** Settings after power-on that this kind of device alone has. */
  protected setDefaults(): void {
    return;
  }
  /** Carries out a command; those of every device are `executeSetting`'s. */
  protected abstract dispatch(command: number): void;
  /** BSY has ended in one of the phases of commands and data. */
  protected abstract busyEnded(): void;
  /** The host has read, or written, a whole DRQ block. */
  protected abstract blockRead(): void;
  protected abstract blockWritten(): void;
  protected abstract transferDma(toMemory: boolean): void;
  /** The command under way moves data from the medium. */
  protected abstract readsMedium(): boolean;
  /** Cylinder registers of the "Device signature", and the status that goes with it. */
  protected abstract get signature(): {
    readonly mid: number;
    readonly high: number;
    readonly status: number;
  };

  /** A command of a kind that changes settings: those of every device are `executeSetting`'s. False when it is none of them. */
  protected dispatchSetting(execute: typeof executeSetting): boolean {
    const s = this.s;
    const { command } = s;
    const registers = { feature: s.features[0]!, count: s.sectorCount[0]!, device: this.w.channel.device };
    const result = execute({ command, ...registers }, s);
    if (result === undefined) return false;
    if (result.count !== undefined) s.sectorCount[0] = result.count;
    if (result.error === 0) this.succeed();
    else this.fail(result.error);
    return true;
  }

  // Data.

  /** Memory ↔ chunk through the table: how many bytes were moved, and what stopped it before the end. */
  protected moveChunk(
    chunk: Uint8Array,
    toMemory: boolean,
  ): { readonly moved: number; readonly stopped?: DmaOutcome } {
    const memory = this.w.memory;
    let at = 0;
    while (at < chunk.length) {
      const region = this.w.busMaster.nextRegion(chunk.length - at);
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

  protected succeed(): void {
    this.s.phase = phase.PHASE_COMMAND;
    this.armMicroseconds(COMMAND_MICROSECONDS);
  }

  /** The command fails its checks: it ends with ERR at once, with an interrupt. */
  protected fail(error: number): void {
    const s = this.s;
    s.remaining = 0;
    s.error = error;
    s.status |= spec.ERR;
    this.succeed();
  }

  protected busyUntil(time: number): void {
    this.s.phase = phase.PHASE_COMMAND;
    this.w.timer.arm(time);
  }

  protected interrupt(): void {
    this.s.intrq = 1;
    this.w.outputsChanged();
  }

  protected armMicroseconds(microseconds: number): void {
    const clock = this.w.clock;
    this.w.timer.arm(clock.now() + Math.ceil((clock.frequencyHz / 1_000_000) * microseconds));
  }

  /** Drops whatever is running. */
  protected abandon(): void {
    const s = this.s;
    s.phase = phase.PHASE_IDLE;
    s.intrq = 0;
    s.remaining = 0;
    s.bufferAt = 0;
    s.bufferEnd = 0;
    s.blockEnd = 0;
    this.w.timer.disarm();
  }

  /** Busy as in a reset, then the signature. */
  protected startReset(command: number): void {
    this.abandon();
    this.s.command = command;
    this.s.phase = phase.PHASE_RESET;
    this.w.outputsChanged();
    this.armMicroseconds(RESET_MICROSECONDS);
  }

  /** "Device signature", after resets and diagnostics. */
  #signature(): void {
    const s = this.s;
    s.features.fill(0);
    this.putSignature();
    s.error = spec.DIAGNOSTIC_PASSED;
    s.status = this.signature.status;
    s.phase = phase.PHASE_IDLE;
    s.standby = 0;
  }

  /** The signature's registers alone. */
  protected putSignature(): void {
    const s = this.s;
    const { mid, high } = this.signature;
    for (const [register, value] of [
      [s.sectorCount, 1],
      [s.lbaLow, 1],
      [s.lbaMid, mid],
      [s.lbaHigh, high],
    ] as const) {
      register[0] = value;
      register[1] = 0;
    }
  }
}

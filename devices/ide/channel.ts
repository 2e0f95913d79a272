/**
 * One IDE channel: task-file registers for up to two drives, selection, soft reset, INTRQ, and its bus master.
 * ANSI INCITS T13, "ATA/ATAPI-6", "Register delivered data transfer command sector addressing" and "Device 0 only
 * configurations".
 */
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, DmaMemory, InterruptLine, PortDevice, Resettable } from "../ports.ts";
import { BusMaster } from "./bus-master.ts";
import type { DriveWiring, IdeDevice, IdeDriveOptions } from "./device.ts";
import { AtaDisk } from "./disk.ts";
import { CdDrive } from "./cd-drive.ts";
import * as spec from "./spec.ts";
import { IdeChannelStruct } from "./state.ts";

export interface IdeChannelOptions {
  readonly label: string;
  /** IRQ 14 or 15. */
  readonly irq: InterruptLine;
  readonly memory: DmaMemory;
  /** Drive 0 and drive 1; either may be absent. */
  readonly drives: readonly [IdeDriveOptions | undefined, IdeDriveOptions | undefined];
  readonly mayMaster: () => boolean;
}

export class IdeChannel implements Resettable {
  readonly #state: ViewOf<typeof IdeChannelStruct>;
  readonly #irq: InterruptLine;
  readonly #drives: readonly (IdeDevice | undefined)[];
  readonly busMaster: BusMaster;

  /** Ports 1F0H–1F7H or 170H–177H. */
  readonly commandBlock: PortDevice;
  /** Port 3F6H or 376H. */
  readonly controlBlock: PortDevice;

  constructor(context: DeviceContext, options: IdeChannelOptions) {
    this.#state = context.state.place(options.label, IdeChannelStruct);
    this.#irq = options.irq;
    this.busMaster = new BusMaster(this.#state, options.memory);
    const drives: (IdeDevice | undefined)[] = [undefined, undefined];
    options.drives.forEach((drive, number) => {
      if (drive === undefined) return;
      const wiring: DriveWiring = {
        state: this.#state.drives[number]!,
        channel: this.#state,
        busMaster: this.busMaster,
        memory: options.memory,
        clock: context.clock,
        timer: context.timer(`${options.label} drive ${number}`, () => drives[number]?.timerFired()),
        number,
        outputsChanged: () => this.syncOutputs(),
        mayMaster: options.mayMaster,
      };
      drives[number] = drive.media === "cdrom" ? new CdDrive(wiring, drive) : new AtaDisk(wiring, drive);
    });
    this.#drives = drives;
    this.commandBlock = {
      readPort: (offset, size) => this.#readCommandBlock(offset, size),
      writePort: (offset, size, value) => this.#writeCommandBlock(offset, size, value),
    };
    this.controlBlock = {
      readPort: () => this.#alternateStatus(),
      writePort: (_offset, _size, value) => this.#writeControl(value & 0xff),
    };
  }

  reset(): void {
    const s = this.#state;
    s.device = 0;
    s.control = 0;
    s.intrq = 0;
    this.busMaster.reset();
    for (const drive of this.#drives) drive?.powerOn();
    this.syncOutputs();
  }

  /** Recomputes INTRQ: that of the selected drive, unless nIEN is set. Its rise sets the bus master's bit. */
  syncOutputs(): void {
    const s = this.#state;
    const drive = s.drives[this.#selectedNumber()]!;
    const level = this.#selected() !== undefined && drive.intrq !== 0 && !(s.control & spec.CONTROL_NIEN);
    if (level && !s.intrq) s.bmista |= spec.BMISTA_INTERRUPT;
    s.intrq = level ? 1 : 0;
    this.#irq.set(level);
  }

  /** Bytes of the bus-master registers, by offset 0–7. */
  readBusMaster(offset: number): number {
    return this.busMaster.readByte(offset);
  }

  writeBusMaster(offset: number, value: number): void {
    if (!this.busMaster.writeByte(offset, value)) return;
    // Only one drive at a time can be asking for DMA: the selected one.
    this.#selected()?.tryDma();
  }

  #selectedNumber(): number {
    return this.#state.device & spec.DEVICE_DEV ? 1 : 0;
  }

  #selected(): IdeDevice | undefined {
    return this.#drives[this.#selectedNumber()];
  }

  #isEmpty(): boolean {
    return this.#drives[0] === undefined && this.#drives[1] === undefined;
  }

  /** Without drives the bus floats; drive 0 answers for an absent drive 1 with 00H. */
  #alternateStatus(): number {
    if (this.#isEmpty()) return spec.FLOATING_BUS;
    return this.#selected()?.status ?? 0;
  }

  #readCommandBlock(offset: number, size: 1 | 2 | 4): number {
    if (offset === spec.DATA) {
      const drive = this.#selected();
      const word = (): number => drive?.readData() ?? 0xffff;
      if (size === 4) return word() + word() * 0x10000;
      return word();
    }
    let value = 0;
    for (let i = 0; i < size; i++) value += this.#readRegister(offset + i) * 256 ** i;
    return value;
  }

  #readRegister(offset: number): number {
    if (offset >= spec.COMMAND_BLOCK_PORTS) return 0xff;
    if (this.#isEmpty()) return spec.FLOATING_BUS;
    const s = this.#state;
    const drive = this.#selected();
    if (offset === spec.STATUS_COMMAND) {
      const value = this.#alternateStatus();
      drive?.acknowledgeInterrupt();
      return value;
    }
    // "If BSY is set, a host reading any register shall read the Status register."
    if (drive?.isBusy === true) return drive.status;
    // An absent drive 1 has copies of what was written: drive 0 answers with its own.
    const registers = s.drives[drive === undefined ? 1 - this.#selectedNumber() : this.#selectedNumber()]!;
    const hob = s.control & spec.CONTROL_HOB ? 1 : 0;
    switch (offset) {
      case spec.ERROR_FEATURES:
        return registers.error;
      case spec.SECTOR_COUNT:
        return registers.sectorCount[hob]!;
      case spec.LBA_LOW:
        return registers.lbaLow[hob]!;
      case spec.LBA_MID:
        return registers.lbaMid[hob]!;
      case spec.LBA_HIGH:
        return registers.lbaHigh[hob]!;
      default:
        return s.device | 0xa0; // bits 7 and 5 are obsolete and read as 1
    }
  }

  #writeCommandBlock(offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset === spec.DATA) {
      const drive = this.#selected();
      drive?.writeData(value & 0xffff);
      if (size === 4) drive?.writeData(value >>> 16);
      return;
    }
    for (let i = 0; i < size; i++) this.#writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Both drives take every write; each register keeps its previous content ("two-byte deep FIFO"). */
  #writeRegister(offset: number, value: number): void {
    const s = this.#state;
    // A write to any command block register clears HOB.
    s.control &= ~spec.CONTROL_HOB;
    if (offset === spec.STATUS_COMMAND) {
      this.#writeCommand(value);
      return;
    }
    if (offset === spec.DEVICE) {
      s.device = value;
      this.syncOutputs();
      return;
    }
    s.drives.forEach((registers, number) => {
      if (this.#drives[number]?.isBusy === true) return; // results are indeterminate: ignored
      const target = [
        registers.features,
        registers.sectorCount,
        registers.lbaLow,
        registers.lbaMid,
        registers.lbaHigh,
      ][offset - 1];
      if (target === undefined) return;
      target[1] = target[0]!;
      target[0] = value;
    });
  }

  #writeCommand(command: number): void {
    if (command === spec.EXECUTE_DEVICE_DIAGNOSTIC) {
      if (this.#drives.some((drive) => drive?.isBusy === true)) return;
      this.#state.device &= ~spec.DEVICE_DEV;
      for (const drive of this.#drives) drive?.diagnose();
      return;
    }
    // DEVICE RESET is taken whatever a packet device is doing.
    if (command === spec.DEVICE_RESET && this.#selected()?.deviceReset() === true) return;
    this.#selected()?.execute(command);
  }

  #writeControl(value: number): void {
    const s = this.#state;
    const changed = value ^ s.control;
    s.control = value & (spec.CONTROL_HOB | spec.CONTROL_SRST | spec.CONTROL_NIEN);
    if (changed & spec.CONTROL_SRST) {
      for (const drive of this.#drives)
        if (value & spec.CONTROL_SRST) drive?.beginSoftReset();
        else drive?.endSoftReset();
      // After a soft reset drive 0 is selected.
      if (value & spec.CONTROL_SRST) s.device = 0;
    }
    this.syncOutputs();
  }
}

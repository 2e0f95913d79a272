/**
 * One port of an AHCI controller: registers, the command list, received frames, and the link to its drive. AHCI 1.3.1, "Port
 * Registers", "System Memory Structures" and "Error Reporting and Recovery".
 */
import { BSY, DRQ, ERR, SECTOR_BYTES } from "../ata/spec.ts";
import type { Clock, DiskTiming, DmaMemory, Storage } from "../ports.ts";
import { SataDrive, type Answer, type SataHost } from "./drive.ts";
import { RegionTable, type Moved } from "./prdt.ts";
import * as spec from "./spec.ts";
import type { AhciPortState, SlotState } from "./state.ts";

export interface AhciDisk {
  readonly storage: Storage;
  readonly timing: DiskTiming;
}

export interface AhciPortOptions {
  readonly state: AhciPortState;
  readonly memory: DmaMemory;
  readonly clock: Clock;
  readonly disk: AhciDisk | undefined;
  /** May the function master the bus? */
  readonly mayMaster: () => boolean;
  /** Registers, or when something is due, may have changed. */
  readonly changed: () => void;
}

export class AhciPort {
  readonly #s: AhciPortState;
  readonly #o: AhciPortOptions;
  readonly #drive: SataDrive | undefined;
  readonly #regions: RegionTable;
  /** The command whose data are moved, valid inside one call only. */
  #moving: SlotState | undefined;
  readonly #header = new Uint8Array(spec.HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #frame = new Uint8Array(spec.FIS_DMA_SETUP_BYTES);

  constructor(options: AhciPortOptions) {
    this.#s = options.state;
    this.#o = options;
    const { memory, mayMaster, clock, disk } = options;
    this.#regions = new RegionTable(memory, mayMaster);
    const host: SataHost = {
      register: (slot, answer) => this.#receiveRegister(slot, answer),
      dmaSetup: (slot, isRead) => this.#receiveDmaSetup(slot, isRead),
      pioSetup: (slot, answer) => this.#receivePioSetup(slot, answer),
      setDeviceBits: (bits, status, error) => this.#receiveSetDeviceBits(bits, status, error),
      signature: () => {
        this.#s.hasSignature = 1;
        this.#takeSignature();
      },
      regions: (slot) => {
        this.#moving = slot;
        this.#regions.begin(slot.table + spec.TABLE_PRDT, slot.entries);
        return this.#regions;
      },
      transferFailed: (why) => this.#transferFailed(why),
    };
    this.#drive = disk && new SataDrive({ state: options.state.drive, ...disk, clock, host });
  }

  /** Power-on. */
  powerOn(): void {
    const s = this.#s;
    s.clb = s.clbu = s.fb = s.fbu = 0;
    this.reset();
  }

  /** HBA reset: all but the addresses of the command list and of received frames. The link comes up by itself. */
  reset(): void {
    const s = this.#s;
    s.is = 0;
    s.ie = 0;
    s.cmd = spec.PXCMD_SUD | spec.PXCMD_POD;
    s.sctl = 0;
    s.serr = 0;
    this.#stop();
    this.#linkDown(0);
    this.#linkUp();
  }

  /** The port has an interrupt that its mask lets through. */
  get isPending(): boolean {
    return (this.#interrupts() & this.#s.ie) !== 0;
  }

  get nextDue(): number | undefined {
    return this.#drive?.nextDue;
  }

  completeDue(now: number): void {
    this.#drive?.completeDue(now);
    this.run();
  }

  /** Offset in the port's registers, aligned. */
  read(offset: number): number {
    const s = this.#s;
    switch (offset) {
      case spec.PXCLB:
        return s.clb;
      case spec.PXCLBU:
        return s.clbu;
      case spec.PXFB:
        return s.fb;
      case spec.PXFBU:
        return s.fbu;
      case spec.PXIS:
        return this.#interrupts();
      case spec.PXIE:
        return s.ie;
      case spec.PXCMD:
        return s.cmd | (s.currentSlot << spec.PXCMD_CCS_SHIFT);
      case spec.PXTFD:
        return s.status | (s.error << 8);
      case spec.PXSIG:
        return s.sig;
      case spec.PXSSTS:
        return s.ssts;
      case spec.PXSCTL:
        return s.sctl;
      case spec.PXSERR:
        return s.serr;
      case spec.PXSACT:
        return s.sact;
      case spec.PXCI:
        return s.ci;
      default:
        return 0;
    }
  }

  /** `value` replaces the register; where ones have an effect, bytes not written are zeroes. */
  write(offset: number, value: number): void {
    const s = this.#s;
    switch (offset) {
      case spec.PXCLB:
        s.clb = value & spec.CLB_WRITABLE;
        break;
      case spec.PXCLBU:
        s.clbu = value;
        break;
      case spec.PXFB:
        s.fb = value & spec.FB_WRITABLE;
        break;
      case spec.PXFBU:
        s.fbu = value;
        break;
      case spec.PXIS:
        s.is &= ~(value & spec.PXIS_CLEARABLE);
        break;
      case spec.PXIE:
        s.ie = value & spec.PXIE_WRITABLE;
        break;
      case spec.PXCMD:
        this.#writeCommand(value);
        break;
      case spec.PXSCTL:
        this.#writeControl(value & spec.PXSCTL_WRITABLE);
        break;
      case spec.PXSERR:
        s.serr &= ~value;
        break;
      case spec.PXSACT:
        // "Software shall not set bits while PxCMD.ST is cleared."
        if (s.cmd & spec.PXCMD_ST) s.sact |= value;
        break;
      case spec.PXCI:
        if (s.cmd & spec.PXCMD_ST) s.ci |= value;
        break;
    }
    this.run();
    this.#o.changed();
  }

  /** PxIS with its shadows of PxSERR. */
  #interrupts(): number {
    const { is, serr } = this.#s;
    const shadows = (serr & spec.SERR_X ? spec.PXIS_PCS : 0) | (serr & spec.SERR_N ? spec.PXIS_PRCS : 0);
    return is | shadows;
  }

  #writeCommand(value: number): void {
    const s = this.#s;
    const before = s.cmd;
    let cmd = (before & ~spec.PXCMD_WRITABLE) | (value & spec.PXCMD_WRITABLE);
    // "Software shall not set ST until FRE is set"; FRE stays while ST is.
    if (cmd & spec.PXCMD_ST) {
      if (before & spec.PXCMD_ST) cmd |= before & spec.PXCMD_FRE;
      if (!(cmd & spec.PXCMD_FRE)) cmd &= ~spec.PXCMD_ST;
    }
    cmd &= ~(spec.PXCMD_FR | spec.PXCMD_CR);
    if (cmd & spec.PXCMD_FRE) cmd |= spec.PXCMD_FR;
    if (cmd & spec.PXCMD_ST) cmd |= spec.PXCMD_CR;
    s.cmd = cmd;
    // Command list override: only while the list does not run.
    if (value & spec.PXCMD_CLO && !(before & spec.PXCMD_ST)) s.status &= ~(BSY | DRQ);
    if (before & spec.PXCMD_ST && !(cmd & spec.PXCMD_ST)) this.#stop();
    this.#takeSignature();
  }

  /** PxCMD.ST is cleared: "PxCI and PxSACT are cleared". What the drive still does comes to nothing. */
  #stop(): void {
    const s = this.#s;
    s.ci = s.sact = s.issued = 0;
    s.currentSlot = 0;
    s.isHalted = 0;
    this.#drive?.abandon();
  }

  /** COMRESET begins when DET becomes 1 and ends when it is something else. */
  #writeControl(value: number): void {
    const s = this.#s;
    const before = s.sctl & spec.DET_MASK;
    const now = value & spec.DET_MASK;
    s.sctl = value;
    if (before === now) return;
    if (now === spec.DET_OFFLINE) this.#linkDown(spec.SSTS_OFFLINE);
    else if (now === spec.DET_INITIALIZE) this.#linkDown(0);
    else if (before === spec.DET_INITIALIZE || before === spec.DET_OFFLINE) this.#linkUp();
  }

  #linkDown(ssts: number): void {
    const s = this.#s;
    s.ssts = ssts;
    s.status = spec.STATUS_NO_DEVICE;
    s.error = 0;
    s.sig = spec.SIGNATURE_NONE;
    s.hasSignature = 0;
    this.#drive?.disconnect();
  }

  #linkUp(): void {
    const s = this.#s;
    if (this.#drive === undefined) return;
    s.ssts = spec.SSTS_UP;
    s.serr |= spec.SERR_X | spec.SERR_N;
    s.status = BSY;
    this.#drive.hardReset();
  }

  // --- the command list

  /** Sends commands to the drive as long as it takes them: AHCI 1.3.1, "Command List Processing". */
  run(): void {
    const s = this.#s;
    const drive = this.#drive;
    if (drive === undefined) return;
    for (let count = 0; count < spec.SLOTS; count++) {
      const waiting = s.ci & ~s.issued;
      if (waiting === 0 || s.isHalted !== 0 || !(s.cmd & spec.PXCMD_ST) || !this.#o.mayMaster()) return;
      if (s.status & (BSY | DRQ) || s.ssts !== spec.SSTS_UP) return;
      this.#issue(drive, nextSlot(waiting, s.currentSlot));
    }
  }

  #issue(drive: SataDrive, index: number): void {
    const s = this.#s;
    const { memory } = this.#o;
    const slot = s.drive.slots[index]!;
    const header = s.clb + s.clbu * 2 ** 32 + index * spec.HEADER_BYTES;
    s.issued |= 1 << index;
    s.currentSlot = index;
    if (!memory.read(header, this.#header)) {
      this.#fatal(spec.PXIS_HBFS);
      return;
    }
    const flags = this.#headerView.getUint16(0, true);
    const table =
      this.#headerView.getUint32(spec.HEADER_CTBA, true) +
      this.#headerView.getUint32(spec.HEADER_CTBA + 4, true) * 2 ** 32;
    slot.header = header;
    slot.table = table - (table % 128);
    slot.entries = this.#headerView.getUint16(2, true);
    if (!memory.read(slot.table, slot.fis)) {
      this.#fatal(spec.PXIS_HBFS);
      return;
    }
    // A frame of another type, or too short to be one, is not understood by the drive.
    const isFrame =
      slot.fis[0] === spec.FIS_REGISTER_H2D && (flags & spec.HEADER_CFL) * 4 >= spec.FIS_REGISTER_BYTES;
    if (!isFrame) {
      this.#fatal(spec.PXIS_IFS);
      return;
    }
    if (slot.fis[1]! & spec.FIS_C) {
      s.status = BSY;
      drive.execute(index);
      return;
    }
    const answers = drive.control(slot.fis[spec.FIS_CONTROL]!);
    if (flags & spec.HEADER_CLEAR_BUSY || !answers) this.#done(index);
    else s.status = BSY;
  }

  /** The command is over: its bit in PxCI goes. */
  #done(index: number): void {
    this.#s.ci &= ~(1 << index);
    this.#s.issued &= ~(1 << index);
  }

  /** An error after which the command list does not go on. */
  #fatal(cause: number): void {
    this.#s.is |= cause;
    this.#s.isHalted = 1;
  }

  #transferFailed(why: Exclude<Moved, "ok">): void {
    // More data than the table has room for, or memory that is not there: the drive waits for ever.
    this.#fatal(why === "short" ? spec.PXIS_OFS : spec.PXIS_HBFS);
  }

  // --- frames from the drive

  #receiveRegister(slot: SlotState, answer: Answer): void {
    this.#fillRegisters(slot, spec.FIS_REGISTER_D2H, answer, 0);
    this.#post(spec.RFIS_REGISTER, spec.FIS_REGISTER_BYTES, answer.interrupt ? spec.PXIS_DHRS : 0);
    this.#ended(slot, answer);
  }

  #receivePioSetup(slot: SlotState, answer: Answer): void {
    this.#fillRegisters(slot, spec.FIS_PIO_SETUP, { ...answer, status: answer.status | DRQ }, spec.FIS_D);
    this.#frame[15] = answer.status;
    // One block of data at the end.
    this.#frame[16] = 0;
    this.#frame[17] = 2;
    this.#post(spec.RFIS_PIO_SETUP, spec.FIS_REGISTER_BYTES, spec.PXIS_PSS);
    this.#ended(slot, answer);
  }

  #receiveDmaSetup(slot: SlotState, isRead: boolean): void {
    const s = this.#s;
    this.#frame.fill(0);
    this.#frame[0] = spec.FIS_DMA_SETUP;
    this.#frame[1] = isRead ? spec.FIS_D : 0;
    // The buffer's identifier is the tag.
    this.#frame[4] = s.drive.slots.indexOf(slot);
    const bytes = slot.sectors * SECTOR_BYTES;
    for (let i = 0; i < 4; i++) this.#frame[20 + i] = (bytes >>> (8 * i)) & 0xff;
    this.#post(spec.RFIS_DMA_SETUP, spec.FIS_DMA_SETUP_BYTES, 0);
  }

  #receiveSetDeviceBits(bits: number, status: number, error: number): void {
    const s = this.#s;
    this.#frame.fill(0);
    this.#frame[0] = spec.FIS_SET_DEVICE_BITS;
    this.#frame[1] = spec.FIS_I;
    this.#frame[2] = status & 0x77;
    this.#frame[3] = error;
    for (let i = 0; i < 4; i++) this.#frame[4 + i] = (bits >>> (8 * i)) & 0xff;
    s.sact &= ~bits;
    s.status = (s.status & ~0x77) | (status & 0x77);
    s.error = error;
    this.#post(spec.RFIS_SET_DEVICE_BITS, spec.FIS_SET_DEVICE_BITS_BYTES, spec.PXIS_SDBS);
    if (status & ERR) this.#fatal(spec.PXIS_TFES);
  }

  /** The signature is taken when frames are received. */
  #takeSignature(): void {
    const s = this.#s;
    if (s.hasSignature === 0 || !(s.cmd & spec.PXCMD_FR)) return;
    s.hasSignature = 0;
    s.status = 0x50;
    s.error = 0x01;
    s.sig = spec.SIGNATURE_ATA;
    this.#frame.fill(0);
    this.#frame.set([spec.FIS_REGISTER_D2H, 0, s.status, s.error, 0x01]);
    this.#frame[spec.FIS_COUNT] = 0x01;
    this.#post(spec.RFIS_REGISTER, spec.FIS_REGISTER_BYTES, 0);
    // A software reset's frames are commands too: the last one ends with the signature.
    s.ci &= ~s.issued;
    s.issued = 0;
  }

  /** Status of a command's answer: to PxTFD, and whether its slot is free. */
  #ended(slot: SlotState, { status, error }: Answer): void {
    const s = this.#s;
    s.status = status;
    s.error = error;
    const index = s.drive.slots.indexOf(slot);
    if (status & ERR) {
      this.#fatal(spec.PXIS_TFES);
      return;
    }
    this.#done(index);
    if (this.#moving !== slot) return;
    this.#moving = undefined;
    this.#o.memory.write32(slot.header + spec.HEADER_PRDBC, this.#regions.moved);
  }

  #fillRegisters(slot: SlotState, type: number, answer: Answer, direction: number): void {
    const f = this.#frame;
    f.fill(0);
    f.set(slot.fis.subarray(spec.FIS_LBA, spec.FIS_LBA_EXP + 3), spec.FIS_LBA);
    f[0] = type;
    f[1] = direction | (answer.interrupt ? spec.FIS_I : 0);
    f[2] = answer.status;
    f[3] = answer.error;
    f[spec.FIS_COUNT] = slot.count & 0xff;
    f[spec.FIS_COUNT_EXP] = slot.count >> 8;
    if (answer.sector === undefined) return;
    const low = answer.sector % 2 ** 24;
    const high = Math.floor(answer.sector / 2 ** 24);
    for (let i = 0; i < 3; i++) {
      f[spec.FIS_LBA + i] = (low >>> (8 * i)) & 0xff;
      f[spec.FIS_LBA_EXP + i] = (high >>> (8 * i)) & 0xff;
    }
  }

  /** Puts the frame where received frames go. */
  #post(offset: number, bytes: number, interrupt: number): void {
    const s = this.#s;
    if (!(s.cmd & spec.PXCMD_FR)) return;
    s.is |= interrupt;
    const at = s.fb + s.fbu * 2 ** 32 + offset;
    if (!this.#o.mayMaster() || !this.#o.memory.write(at, this.#frame.subarray(0, bytes)))
      this.#fatal(spec.PXIS_HBFS);
  }
}

/** The next waiting slot after `last`, in turn. */
function nextSlot(waiting: number, last: number): number {
  for (let i = 1; i <= spec.SLOTS; i++) {
    const slot = (last + i) % spec.SLOTS;
    if (waiting & (1 << slot)) return slot;
  }
  return 0;
}

/**
 * An Intel 82540EM Gigabit Ethernet controller ("e1000"): Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
 * Manual". It interrupts by INTA#.
 *
 * Not there: power management and message-signalled interrupts (no capability says so), wake-up, flow control on the wire (pause frames
 * are neither sent nor obeyed), the manageability filters, writing the EEPROM, flash.
 */
import { array, struct, u32, type ViewOf } from "../../../layout/struct.ts";
import { PciFunction } from "../../pci/config-space.ts";
import type {
  DeviceContext,
  DmaMemory,
  InterruptLine,
  MmioDevice,
  NetworkLink,
  NetworkReceiver,
  OffloadsTaken,
  PortDevice,
  Resettable,
} from "../../ports.ts";
import {
  ETHERNET_HEADER_BYTES,
  LEAST_FRAME_BYTES,
  NO_OFFLOAD,
  isBroadcast,
  isGroupAddress,
} from "../ethernet.ts";
import { Eeprom, EepromStruct } from "./eeprom.ts";
import { Interrupts } from "./interrupts.ts";
import { Phy, PhyStruct } from "./phy.ts";
import { Receive, countWide, sizeClass } from "./receive.ts";
import * as spec from "./spec.ts";
import { Transmit } from "./transmit.ts";

export interface E1000Options {
  readonly label: string;
  readonly memory: DmaMemory;
  /** INTA#. */
  readonly intx: InterruptLine;
  readonly link: NetworkLink;
  readonly mac: Uint8Array;
}

const REGISTER_WORDS = spec.REGISTERS_END / 4;

export const E1000Struct = struct("E1000", {
  registers: array("u32", REGISTER_WORDS),
  /** The register that the I/O window shows. */
  ioAddress: u32,
});

const NO_OFFLOADS: OffloadsTaken = { checksum: false, tcp4: false, tcp6: false, ecn: false };

/** Values after a reset; the others are 0. */
const POWER_ON: ReadonlyMap<number, number> = new Map([
  [spec.CTRL, 0x0241],
  [spec.VET, 0x8100],
  [spec.LEDCTL, 0x07068302],
  [spec.PBA, 0x00100030],
  [spec.RXDCTL, 0x00010000],
  [spec.FCRTH, 0],
]);

export class E1000 implements Resettable, NetworkReceiver {
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof E1000Struct>;
  readonly #registers: Uint32Array;
  readonly #options: E1000Options;
  readonly #eeprom: Eeprom;
  readonly #phy: Phy;
  readonly #interrupts: Interrupts;
  readonly #transmit: Transmit;
  readonly #receive: Receive;

  constructor(context: DeviceContext, options: E1000Options) {
    const { label, memory, link } = options;
    this.#options = options;
    this.#state = context.state.place(label, E1000Struct);
    const { registers } = this.#state;
    this.#registers = registers;
    this.#eeprom = new Eeprom(context.state.place(`${label} EEPROM`, EepromStruct), options.mac);
    this.#phy = new Phy(
      context.state.place(`${label} PHY`, PhyStruct),
      () => link.isUp,
      () => this.#interrupts.raise(spec.ICR_LSC),
    );
    this.#interrupts = new Interrupts(
      context,
      label,
      (offset) => registers[offset >> 2]!,
      (level) => this.#setLine(level),
    );
    const host = { registers, memory, interrupts: this.#interrupts };
    this.#transmit = new Transmit(context, label, { ...host, send: (frame) => this.#send(frame) });
    this.#receive = new Receive(host);
    const mmio: MmioDevice = {
      readMmio: (offset, size) => this.#readBytes(offset, size),
      // Registers take whole words; narrower writes have no effect.
      writeMmio: (offset, size, value) => {
        if (size === 4 && offset % 4 === 0) this.#write(offset, value >>> 0);
      },
    };
    const io: PortDevice = {
      readPort: (offset, size) => this.#readIo(offset, size),
      writePort: (offset, size, value) => this.#writeIo(offset, size, value >>> 0),
    };
    this.pci = new PciFunction(context, {
      label,
      vendorId: spec.VENDOR_INTEL,
      deviceId: spec.DEVICE_82540EM,
      revisionId: spec.REVISION,
      classCode: 0x020000,
      subsystemVendorId: spec.VENDOR_INTEL,
      subsystemId: spec.DEVICE_82540EM,
      interruptPin: 1,
      bars: [
        { kind: "memory32", index: 0, size: spec.REGISTER_BYTES, device: mmio },
        { kind: "io", index: 2, size: spec.IO_BYTES, device: io },
      ],
      written: () => this.#interrupts.sync(),
    });
    link.connect(this);
  }

  /** Power-on and bus reset. */
  reset(): void {
    this.pci.reset();
    this.#phy.reset();
    this.#resetDevice();
  }

  /** Everything but the PHY and the configuration space: CTRL.RST. */
  #resetDevice(): void {
    this.#state.ioAddress = 0;
    this.#registers.fill(0);
    for (const [register, value] of POWER_ON) this.#registers[register >> 2] = value;
    this.#eeprom.reset();
    this.#transmit.reset();
    this.#options.link.clear();
    // The first receive address is loaded from the EEPROM.
    const { mac } = this.#options;
    this.#registers[spec.RAL0 >> 2] = mac[0]! | (mac[1]! << 8) | (mac[2]! << 16) | (mac[3]! << 24);
    this.#registers[(spec.RAL0 >> 2) + 1] = spec.RAH_AV | mac[4]! | (mac[5]! << 8);
    this.#interrupts.reset();
  }

  #setLine(level: boolean): void {
    this.pci.setInterruptStatus(level);
    this.#options.intx.set(level && !this.pci.isInterruptDisabled);
  }

  // --- the link's side

  /** What is on the link is bounded, so this is. */
  arrived(): void {
    const { link } = this.#options;
    for (;;) {
      const frame = link.peek();
      if (frame === undefined) return;
      const isListening = this.#receive.isOn && this.pci.isBusMaster;
      if (isListening && !this.#receive.frame(frame.bytes, frame.offload.checked)) return;
      link.take();
    }
  }

  carrierChanged(): void {
    this.#interrupts.raise(spec.ICR_LSC);
  }

  listens(): OffloadsTaken | undefined {
    return this.#receive.isOn && this.pci.isBusMaster ? NO_OFFLOADS : undefined;
  }

  #send(frame: Uint8Array): void {
    if (frame.length < ETHERNET_HEADER_BYTES) return;
    const registers = this.#registers;
    const length = Math.max(frame.length, LEAST_FRAME_BYTES) + spec.FCS_BYTES;
    registers[spec.TPT >> 2]!++;
    registers[spec.GPTC >> 2]!++;
    registers[sizeClass(spec.PTC64, length) >> 2]!++;
    if (isBroadcast(frame)) registers[spec.BPTC >> 2]!++;
    else if (isGroupAddress(frame)) registers[spec.MPTC >> 2]!++;
    countWide(registers, spec.TOTL, length);
    countWide(registers, spec.GOTCL, length);
    const isLoop = (registers[spec.RCTL >> 2]! & spec.RCTL_LBM) === spec.RCTL_LBM_MAC || this.#phy.isLoopback;
    // What finds no descriptor in loopback is lost: there is no wire on which it could wait.
    if (isLoop) {
      if (this.#receive.isOn) this.#receive.frame(frame, false);
    } else if (this.#phy.isLinkUp) this.#options.link.send(frame, NO_OFFLOAD);
  }

  // --- registers

  /** The I/O window: manual, "I/O Mapped Internal Register, Internal Memory, and Flash". */
  #readIo(offset: number, size: 1 | 2 | 4): number {
    if (offset === 0 && size === 4) return this.#state.ioAddress;
    if (offset === 4 && size === 4) return this.#read(this.#state.ioAddress);
    return 0;
  }

  #writeIo(offset: number, size: 1 | 2 | 4, value: number): void {
    if (size !== 4) return;
    if (offset === 0) this.#state.ioAddress = value & (spec.REGISTER_BYTES - 4);
    else if (offset === 4) this.#write(this.#state.ioAddress, value);
  }

  #readBytes(offset: number, size: 1 | 2 | 4): number {
    const value = this.#read(offset & ~3) >>> (8 * (offset & 3));
    return size === 4 ? value : value & (2 ** (8 * size) - 1);
  }

  #read(offset: number): number {
    switch (offset) {
      case spec.STATUS: {
        const up = this.#phy.isLinkUp && (this.#registers[spec.CTRL >> 2]! & spec.CTRL_SLU) !== 0;
        return spec.STATUS_FD | spec.STATUS_1000 | (up ? spec.STATUS_LU : 0);
      }
      case spec.EECD:
        return this.#eeprom.control;
      case spec.ICR:
        return this.#interrupts.takeCauses();
      case spec.IMS:
        return this.#interrupts.mask;
      case spec.ICS:
      case spec.IMC:
        return 0;
    }
    if (offset >= spec.STATISTICS && offset < spec.STATISTICS_END) return this.#readStatistic(offset);
    return offset < spec.REGISTERS_END ? this.#registers[offset >> 2]! : 0;
  }

  /** Counters are cleared when they are read; one of 64 bits when its high word is. */
  #readStatistic(offset: number): number {
    const value = this.#registers[offset >> 2]!;
    if (spec.WIDE_COUNTERS.some((low) => low === offset)) return value;
    this.#registers[offset >> 2] = 0;
    if (spec.WIDE_COUNTERS.some((low) => low + 4 === offset)) this.#registers[(offset >> 2) - 1] = 0;
    return value;
  }

  #write(offset: number, value: number): void {
    const registers = this.#registers;
    switch (offset) {
      case spec.CTRL:
        this.#writeControl(value);
        return;
      case spec.EECD:
        this.#eeprom.control = value;
        return;
      case spec.EERD:
        registers[offset >> 2] = this.#eeprom.readWord(value);
        return;
      case spec.MDIC:
        this.#writeMdic(value);
        return;
      case spec.ICR:
        this.#interrupts.clearCauses(value);
        return;
      case spec.ICS:
        this.#interrupts.raise(value);
        return;
      case spec.IMS:
        this.#interrupts.setMask(value);
        return;
      case spec.IMC:
        this.#interrupts.clearMask(value);
        return;
      case spec.RCTL:
        registers[offset >> 2] = value & spec.RCTL_WRITABLE;
        this.arrived();
        return;
      case spec.RDT:
        registers[offset >> 2] = value & 0xffff;
        this.arrived();
        return;
      case spec.TCTL:
      case spec.TDT:
        registers[offset >> 2] = offset === spec.TDT ? value & 0xffff : value & spec.TCTL_WRITABLE;
        if (this.pci.isBusMaster) this.#transmit.run();
        return;
      case spec.RDTR:
      case spec.TIDV:
        registers[offset >> 2] = value & 0xffff;
        if (value & spec.FLUSH) this.#interrupts.flush(offset === spec.RDTR ? "receive" : "transmit");
        return;
    }
    const mask = isTable(offset) ? 0xffffffff : spec.PLAIN_REGISTERS.get(offset);
    if (mask !== undefined) registers[offset >> 2] = value & mask;
  }

  #writeControl(value: number): void {
    if (value & spec.CTRL_RST) {
      this.#resetDevice();
      return;
    }
    if (value & spec.CTRL_PHY_RST) {
      this.#phy.reset();
      this.#interrupts.raise(spec.ICR_LSC);
    }
    this.#registers[spec.CTRL >> 2] = value & spec.CTRL_WRITABLE;
  }

  #writeMdic(value: number): void {
    const operation = (value >>> 26) & 3;
    const register = (value >>> 16) & 31;
    const isHere = ((value >>> 21) & 31) === spec.PHY_ADDRESS;
    let result = value & ~(spec.MDIC_READY | spec.MDIC_ERROR);
    if (isHere && operation === spec.MDIC_WRITE) this.#phy.write(register, value & 0xffff);
    else if (isHere && operation === spec.MDIC_READ) result = (result & ~0xffff) | this.#phy.read(register);
    else result |= spec.MDIC_ERROR;
    this.#registers[spec.MDIC >> 2] = (result | spec.MDIC_READY) >>> 0;
    if (value & spec.MDIC_INTERRUPT) this.#interrupts.raise(spec.ICR_MDAC);
  }
}

/** Receive addresses, multicast and VLAN tables. */
function isTable(offset: number): boolean {
  const within = (start: number, words: number): boolean => offset >= start && offset < start + 4 * words;
  return (
    within(spec.MTA, spec.TABLE_WORDS) ||
    within(spec.VFTA, spec.TABLE_WORDS) ||
    within(spec.RAL0, 2 * spec.RECEIVE_ADDRESSES)
  );
}

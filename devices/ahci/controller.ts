/** An AHCI controller as Intel's ICH9 has it: "Serial ATA Advanced Host Controller Interface (AHCI) 1.3.1", with six ports. */
import type { ViewOf } from "../../layout/struct.ts";
import { PciFunction } from "../pci/config-space.ts";
import { Msi, msiCapability } from "../pci/msi.ts";
import type {
  DeviceContext,
  DmaMemory,
  InterruptLine,
  MessageSink,
  MmioDevice,
  Resettable,
  Timer,
} from "../ports.ts";
import { AhciPort, type AhciDisk } from "./port.ts";
import * as spec from "./spec.ts";
import { AhciStruct } from "./state.ts";

export interface AhciOptions {
  readonly label: string;
  readonly memory: DmaMemory;
  readonly messages: MessageSink;
  readonly intx: InterruptLine;
  /** By port; missing ones are empty. */
  readonly disks: readonly (AhciDisk | undefined)[];
}

const VENDOR_INTEL = 0x8086;
const MSI_AT = 0x80;
/** The global registers in which ones clear. */
const ONES_CLEAR = new Set([spec.IS]);
const PORT_ONES = new Set<number>([spec.PXIS, spec.PXSERR, spec.PXSACT, spec.PXCI]);

export class Ahci implements Resettable {
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof AhciStruct>;
  readonly #ports: readonly AhciPort[];
  readonly #timer: Timer;
  readonly #clock: DeviceContext["clock"];
  readonly #intx: InterruptLine;
  readonly #msi: Msi;

  constructor(context: DeviceContext, options: AhciOptions) {
    if (options.disks.length > spec.PORTS)
      throw new RangeError(`${options.label}: ${options.disks.length} drives, at most ${spec.PORTS}`);
    this.#state = context.state.place(options.label, AhciStruct);
    this.#clock = context.clock;
    this.#intx = options.intx;
    this.#timer = context.timer(`${options.label} completion`, () => this.#timerFired());
    const registers: MmioDevice = {
      readMmio: (offset, size) => {
        const value = this.#read(offset - (offset % 4)) >>> (8 * (offset % 4));
        return size === 4 ? value : value & (2 ** (8 * size) - 1);
      },
      writeMmio: (offset, size, value) => this.#writePart(offset, size, value),
    };
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: VENDOR_INTEL,
      deviceId: spec.DEVICE_ICH9_AHCI,
      revisionId: 2,
      classCode: spec.CLASS_AHCI,
      role: "storage",
      interruptPin: 1,
      bars: [{ kind: "memory32", index: spec.ABAR, size: spec.ABAR_BYTES, device: registers }],
      capabilities: [msiCapability(MSI_AT)],
      // Bus mastering, or the kind of interrupt, may have been switched.
      written: () => {
        for (const port of this.#ports) port.run();
        this.#update();
      },
    });
    this.#msi = new Msi(this.pci, options.messages);
    this.#ports = Array.from(
      { length: spec.PORTS },
      (_, index) =>
        new AhciPort({
          state: this.#state.ports[index]!,
          memory: options.memory,
          clock: context.clock,
          disk: options.disks[index],
          mayMaster: () => this.pci.isBusMaster,
          changed: () => this.#update(),
        }),
    );
  }

  /** Power-on and bus reset. */
  reset(): void {
    this.pci.reset();
    for (const port of this.#ports) port.powerOn();
    this.#resetGlobal();
  }

  /** GHC.HR. */
  #resetHba(): void {
    for (const port of this.#ports) port.reset();
    this.#resetGlobal();
  }

  #resetGlobal(): void {
    this.#state.ghc = spec.GHC_AE;
    this.#state.is = 0;
    this.#update();
  }

  #timerFired(): void {
    const now = this.#clock.now();
    for (const port of this.#ports) port.completeDue(now);
    this.#update();
  }

  #read(offset: number): number {
    if (offset >= spec.PORT_BASE) {
      const at = offset - spec.PORT_BASE;
      return (this.#ports[Math.floor(at / spec.PORT_BYTES)]?.read(at % spec.PORT_BYTES) ?? 0) >>> 0;
    }
    switch (offset) {
      case spec.CAP:
        return (
          (spec.CAP_NP |
            spec.CAP_NCS |
            spec.CAP_SAM |
            spec.CAP_ISS_GEN2 |
            spec.CAP_SCLO |
            spec.CAP_SNCQ |
            spec.CAP_S64A) >>>
          0
        );
      case spec.GHC:
        return this.#state.ghc;
      case spec.IS:
        return this.#state.is;
      case spec.PI:
        return 2 ** spec.PORTS - 1;
      case spec.VS:
        return spec.VERSION;
      default:
        return 0;
    }
  }

  /** A write of part of a register keeps the other bytes, or is zeroes there where ones have an effect. */
  #writePart(offset: number, size: 1 | 2 | 4, value: number): void {
    const at = offset - (offset % 4);
    if (size === 4) {
      this.#write(at, value);
      return;
    }
    const shift = 8 * (offset % 4);
    const mask = (2 ** (8 * size) - 1) << shift;
    const inPort = at >= spec.PORT_BASE;
    const isOnes = inPort ? PORT_ONES.has((at - spec.PORT_BASE) % spec.PORT_BYTES) : ONES_CLEAR.has(at);
    const others = isOnes ? 0 : this.#read(at) & ~mask;
    this.#write(at, (others | ((value << shift) & mask)) >>> 0);
  }

  #write(offset: number, value: number): void {
    const s = this.#state;
    if (offset >= spec.PORT_BASE) {
      const at = offset - spec.PORT_BASE;
      this.#ports[Math.floor(at / spec.PORT_BYTES)]?.write(at % spec.PORT_BYTES, value);
      return;
    }
    switch (offset) {
      case spec.GHC:
        if (value & spec.GHC_HR) this.#resetHba();
        else s.ghc = (spec.GHC_AE | (value & spec.GHC_IE)) >>> 0;
        this.#update();
        break;
      case spec.IS:
        s.is &= ~value;
        this.#update(true);
        break;
    }
  }

  /**
   * Gathers the ports' interrupts, drives the line or sends the message, and arms the timer.
   * @param acknowledged bits of IS were cleared: those that are left, or are back, are worth a new message
   */
  #update(acknowledged = false): void {
    const s = this.#state;
    let next = Infinity;
    let fresh = 0;
    this.#ports.forEach((port, index) => {
      next = Math.min(next, port.nextDue ?? Infinity);
      if (port.isPending) fresh |= 1 << index;
    });
    fresh &= ~s.is;
    s.is |= fresh;
    const isAsserted = (s.ghc & spec.GHC_IE) !== 0 && s.is !== 0;
    const isNews = isAsserted && (s.line === 0 || fresh !== 0 || acknowledged);
    s.line = isAsserted ? 1 : 0;
    this.pci.setInterruptStatus(isAsserted);
    this.#intx.set(isAsserted && !this.#msi.enabled && !this.pci.isInterruptDisabled);
    if (isNews) this.#msi.send();
    if (next === Infinity) this.#timer.disarm();
    else if (this.#timer.armedAt !== next) this.#timer.arm(next);
  }
}

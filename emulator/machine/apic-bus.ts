/**
 * How interrupts reach the CPUs' local APICs: from I/O APICs, message-signalled writes and interprocessor interrupts.
 * SDM Vol. 3A, "Issuing Interprocessor Interrupts" and "Message Signalled Interrupts".
 */
import type { ApicBus, InterruptMessage, MessageSink } from "../../devices/ports.ts";
import { Attention } from "../host/core.ts";

const REG_ID = 0x20 >> 4;
const REG_TPR = 0x80 >> 4;
const REG_LDR = 0xd0 >> 4;
const REG_DFR = 0xe0 >> 4;
const REG_SVR = 0xf0 >> 4;
const REG_TMR = 0x180 >> 4;
const REG_IRR = 0x200 >> 4;
const APIC_ENABLE = 1 << 11;
const X2APIC = 1 << 10;

export const Delivery = { FIXED: 0, LOWEST: 1, SMI: 2, NMI: 4, INIT: 5, SIPI: 6, EXTINT: 7 } as const;

/** A local APIC that messages can reach: a physical CPU's, or a virtual CPU's inside a hypervisor. */
export interface ApicTarget {
  /** Registers at (offset >> 4), as the register page has them. */
  readonly registers: Uint32Array;
  /** IA32_APIC_BASE. */
  base(): number;
  setSipiVector(vector: number): void;
  /** Something to look at: a bit of `Attention`. The CPU may be running, halted, or on another thread. */
  notify(bit: number): void;
}

/** What a physical destination is compared with: the APIC ID register. */
function physicalId(target: ApicTarget): number {
  const id = target.registers[REG_ID]!;
  return (target.base() & X2APIC) !== 0 ? id : id >>> 24;
}

/** Destinations of a message, among CPUs whose APICs are on. */
export class LocalApics implements ApicBus, MessageSink {
  readonly #targets: readonly ApicTarget[];

  constructor(targets: readonly ApicTarget[]) {
    this.#targets = targets;
  }

  deliver(message: InterruptMessage): void {
    this.#deliver(
      message.destination,
      message.destinationMode === "logical",
      message.deliveryMode,
      message.vector,
      message.trigger === "level",
      false,
    );
  }

  /** A 32-bit write to FEExxxxxH by a device. */
  send(address: number, data: number): void {
    if (address < 0xfee00000 || address >= 0xfef00000) return;
    const destination = (address >>> 12) & 0xff;
    const isLogical = (address & 4) !== 0;
    const redirects = (address & 8) !== 0;
    const mode = (data >>> 8) & 7;
    this.#deliver(
      destination,
      isLogical,
      redirects && mode === 0 ? Delivery.LOWEST : mode,
      data & 0xff,
      (data & 0x8000) !== 0,
      false,
    );
  }

  /** An interprocessor interrupt from CPU `sender` (not one to itself alone by shorthand). */
  sendIpi(sender: number, icrLow: number, destination: number): void {
    const mode = (icrLow >>> 8) & 7;
    const vector = icrLow & 0xff;
    const shorthand = (icrLow >>> 18) & 3;
    // INIT level de-assert does nothing on processors since the Pentium 4.
    if (mode === Delivery.INIT && (icrLow & 0xc000) === 0x8000) return;
    const isX2 = (this.#targets[sender]!.base() & X2APIC) !== 0;
    if (shorthand === 0) {
      this.#deliver(destination, (icrLow & 0x800) !== 0, mode, vector, false, isX2);
      return;
    }
    this.#targets.forEach((target, index) => {
      if (shorthand === 3 && index === sender) return;
      this.#accept(target, mode, vector, false);
    });
  }

  /** Does a physical destination name CPU `index` and no other? Software may have given several the same ID. */
  isAlone(index: number, destination: number): boolean {
    return this.#targets.every((target, i) => (physicalId(target) === destination) === (i === index));
  }

  #deliver(
    destination: number,
    isLogical: boolean,
    mode: number,
    vector: number,
    isLevel: boolean,
    isX2: boolean,
  ): void {
    const matching = this.#targets.filter((target) => this.#matches(target, destination, isLogical, isX2));
    if (mode === Delivery.LOWEST) {
      // The lowest TPR wins, the lowest index among equals.
      let best: ApicTarget | undefined;
      for (const target of matching)
        if (best === undefined || target.registers[REG_TPR]! < best.registers[REG_TPR]!) best = target;
      if (best) this.#accept(best, Delivery.FIXED, vector, isLevel);
      return;
    }
    for (const target of matching) this.#accept(target, mode, vector, isLevel);
  }

  #matches(target: ApicTarget, destination: number, isLogical: boolean, isX2: boolean): boolean {
    const base = target.base();
    if ((base & APIC_ENABLE) === 0) return false;
    const inX2 = (base & X2APIC) !== 0;
    if (!isLogical) return destination === (isX2 ? 0xffffffff : 0xff) || destination === physicalId(target);
    const ldr = target.registers[REG_LDR]!;
    if (inX2) {
      if (isX2 && destination === 0xffffffff) return true;
      if (!isX2) return (ldr & destination & 0xffff) !== 0 && ldr >>> 16 === 0;
      return ldr >>> 16 === destination >>> 16 && (ldr & destination & 0xffff) !== 0;
    }
    if (destination === 0xff) return true;
    const own = ldr >>> 24;
    if (target.registers[REG_DFR]! >>> 28 === 15) return (own & destination) !== 0;
    return own >> 4 === destination >> 4 && (own & destination & 15) !== 0;
  }

  #accept(target: ApicTarget, mode: number, vector: number, isLevel: boolean): void {
    const { registers } = target;
    switch (mode) {
      case Delivery.FIXED: {
        // An APIC that is software-disabled takes no fixed interrupts.
        if (vector < 16 || (registers[REG_SVR]! & 0x100) === 0) return;
        const word = (vector >> 5) & 7;
        const bit = (1 << (vector & 31)) >>> 0;
        if (isLevel) Atomics.or(registers, REG_TMR + word, bit);
        else Atomics.and(registers, REG_TMR + word, ~bit >>> 0);
        Atomics.or(registers, REG_IRR + word, bit);
        target.notify(Attention.INTERRUPT);
        return;
      }
      case Delivery.NMI:
        target.notify(Attention.NMI);
        return;
      case Delivery.INIT:
        target.notify(Attention.INIT);
        return;
      case Delivery.SIPI:
        target.setSipiVector(vector);
        target.notify(Attention.SIPI);
        return;
      default:
        // SMI: there is no system management mode (docs/known-gaps.md). ExtINT messages come through INTR.
        return;
    }
  }
}

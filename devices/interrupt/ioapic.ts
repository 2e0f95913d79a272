/**
 * An I/O APIC: Intel, "82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC)", data sheet, 24 pins.
 * As version 20H it has the EOI register of the later chipsets too.
 *
 * Messages are delivered at once, so "delivery status" is always idle.
 */
import { array, struct, u32, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { ApicBus, DeviceContext, InterruptLine, MmioDevice, Resettable } from "../ports.ts";
import * as spec from "./ioapic-spec.ts";

export const IoApicStruct = struct("IoApic", {
  ioregsel: u8,
  id: u8,
  arbitrationId: u8,
  /** Electrical level of each pin, one bit a pin. */
  pins: u32,
  redirectionLow: array("u32", spec.PINS),
  redirectionHigh: array("u32", spec.PINS),
});

export interface IoApicOptions {
  readonly label: string;
  readonly bus: ApicBus;
  /** 11H (82093AA) or 20H (with an EOI register). */
  readonly version?: 0x11 | 0x20;
}

export class IoApic implements MmioDevice, Resettable {
  readonly #state: ViewOf<typeof IoApicStruct>;
  readonly #bus: ApicBus;
  readonly #version: number;

  constructor(context: DeviceContext, options: IoApicOptions) {
    this.#state = context.state.place(options.label, IoApicStruct);
    this.#bus = options.bus;
    this.#version = options.version ?? spec.VERSION_WITH_EOI;
  }

  reset(): void {
    const s = this.#state;
    s.ioregsel = 0;
    s.id = 0;
    s.arbitrationId = 0;
    s.pins = 0;
    s.redirectionLow.fill(spec.MASKED);
    s.redirectionHigh.fill(0);
  }

  /** Input pin 0–23. */
  line(pin: number): InterruptLine {
    if (!Number.isInteger(pin) || pin < 0 || pin >= spec.PINS)
      throw new RangeError(`I/O APIC pin ${pin}: must be 0-${spec.PINS - 1}`);
    return { set: (level) => this.#setPin(pin, level) };
  }

  /**
   * A local APIC ended a level-triggered interrupt. Every level-triggered entry with this vector may deliver
   * again, and does if its pin is still asserted.
   */
  eoi(vector: number): void {
    const s = this.#state;
    for (let pin = 0; pin < spec.PINS; pin++) {
      const low = s.redirectionLow[pin]!;
      if (!(low & spec.LEVEL_TRIGGERED) || (low & spec.VECTOR_MASK) !== vector) continue;
      s.redirectionLow[pin] = low & ~spec.REMOTE_IRR;
      this.#serviceLevel(pin);
    }
  }

  readMmio(offset: number, size: 1 | 2 | 4): number {
    const register = offset & ~3;
    let value = 0;
    if (register === spec.IOREGSEL) value = this.#state.ioregsel;
    else if (register === spec.IOWIN) value = this.#readRegister(this.#state.ioregsel);
    value = value >>> (8 * (offset & 3));
    return size === 4 ? value : value & ((1 << (8 * size)) - 1);
  }

  /** The data sheet allows 32-bit accesses only; IOREGSEL and EOI, of 8 bits, take narrower ones too. */
  writeMmio(offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset === spec.IOREGSEL) this.#state.ioregsel = value & 0xff;
    else if (offset === spec.IOWIN && size === 4) this.#writeRegister(this.#state.ioregsel, value >>> 0);
    else if (offset === spec.EOI && this.#version >= spec.VERSION_WITH_EOI) this.eoi(value & 0xff);
  }

  #readRegister(index: number): number {
    const s = this.#state;
    switch (index) {
      case spec.IOAPICID:
        return s.id << spec.ID_SHIFT;
      case spec.IOAPICVER:
        return ((spec.PINS - 1) << 16) | this.#version;
      case spec.IOAPICARB:
        return s.arbitrationId << spec.ID_SHIFT;
    }
    const pin = (index - spec.IOREDTBL) >> 1;
    if (pin < 0 || pin >= spec.PINS) return 0xffffffff;
    return index & 1 ? s.redirectionHigh[pin]! : s.redirectionLow[pin]!;
  }

  #writeRegister(index: number, value: number): void {
    const s = this.#state;
    if (index === spec.IOAPICID) {
      s.id = (value >>> spec.ID_SHIFT) & 0xf;
      // "The IOAPICARB register is loaded when IOAPICID is written."
      s.arbitrationId = s.id;
      return;
    }
    const pin = (index - spec.IOREDTBL) >> 1;
    if (pin < 0 || pin >= spec.PINS) return;
    if (index & 1) {
      s.redirectionHigh[pin] = value & spec.HIGH_WRITABLE;
      return;
    }
    const remoteIrr = s.redirectionLow[pin]! & spec.REMOTE_IRR;
    let low = value & spec.LOW_WRITABLE;
    // Remote IRR has no meaning for edge-triggered entries: switching to edge clears it.
    if (low & spec.LEVEL_TRIGGERED) low |= remoteIrr;
    s.redirectionLow[pin] = low;
    this.#serviceLevel(pin);
  }

  #setPin(pin: number, level: boolean): void {
    const s = this.#state;
    const bit = 1 << pin;
    const was = this.#isAsserted(pin);
    s.pins = level ? s.pins | bit : s.pins & ~bit;
    if (was || !this.#isAsserted(pin)) return;
    const low = s.redirectionLow[pin]!;
    if (this.#isLevel(low)) this.#serviceLevel(pin);
    // "Edge-sensitive interrupts signaled on a masked interrupt pin are ignored (i.e., not delivered or held
    // pending)."
    else if (!(low & spec.MASKED)) this.#deliver(pin, low);
  }

  #isAsserted(pin: number): boolean {
    const s = this.#state;
    return ((s.pins & (1 << pin)) !== 0) !== ((s.redirectionLow[pin]! & spec.LOW_ACTIVE) !== 0);
  }

  /** SMI, NMI, INIT and ExtINT are edge-sensitive whatever the trigger-mode bit says. */
  #isLevel(low: number): boolean {
    const mode = (low >> spec.DELIVERY_MODE_SHIFT) & 7;
    return (
      (low & spec.LEVEL_TRIGGERED) !== 0 &&
      (mode === spec.DELIVERY_FIXED || mode === spec.DELIVERY_LOWEST_PRIORITY)
    );
  }

  /** Delivers an asserted, unmasked level-triggered interrupt that is not being served. */
  #serviceLevel(pin: number): void {
    const s = this.#state;
    const low = s.redirectionLow[pin]!;
    if (!this.#isLevel(low) || low & (spec.MASKED | spec.REMOTE_IRR) || !this.#isAsserted(pin)) return;
    s.redirectionLow[pin] = low | spec.REMOTE_IRR;
    this.#deliver(pin, low);
  }

  #deliver(pin: number, low: number): void {
    this.#bus.deliver({
      destination: this.#state.redirectionHigh[pin]! >>> 24,
      destinationMode: low & spec.DESTINATION_LOGICAL ? "logical" : "physical",
      deliveryMode: (low >> spec.DELIVERY_MODE_SHIFT) & 7,
      vector: low & spec.VECTOR_MASK,
      trigger: this.#isLevel(low) ? "level" : "edge",
    });
  }
}

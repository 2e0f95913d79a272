/**
 * The ACPI power-management block of a PIIX4 (Intel, "82371AB PCI-to-ISA / IDE Xcelerator (PIIX4)", data sheet,
 * "Power Management I/O Space Registers"): PM1 events and control, the PM timer, and the SMI command ports
 * B2H/B3H.
 *
 * There is no system-management mode: writing the FADT's ACPI_ENABLE or ACPI_DISABLE value to B2H has the effect
 * that the firmware's handler would have (SCI_EN). Sleep states other than soft off are accepted and not entered;
 * general-purpose events read as zero.
 */
import { struct, u16, u53, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type {
  Clock,
  DeviceContext,
  InterruptLine,
  PortDevice,
  Resettable,
  SystemControl,
  Timer,
} from "../ports.ts";
import * as spec from "./pm-spec.ts";

export const AcpiPmStruct = struct("AcpiPm", {
  /** PM1_STS but TMROF, which is worked out from time. */
  status: u16,
  enable: u16,
  control: u16,
  gpEnable: u16,
  apmc: u8,
  apms: u8,
  /** Half-periods of the PM timer that had passed when TMROF_STS was last cleared. */
  clearedHalves: u53,
});

export interface AcpiPmOptions {
  readonly label: string;
  /** The SCI: IRQ 9, level-triggered. */
  readonly sci: InterruptLine;
  readonly system: SystemControl;
}

/** How often the timer's highest bit has changed. */
const halves = (ticks: number): number => Math.floor(ticks / spec.PM_TIMER_HALF);

export class AcpiPm implements PortDevice, Resettable {
  readonly #state: ViewOf<typeof AcpiPmStruct>;
  readonly #sci: InterruptLine;
  readonly #system: SystemControl;
  readonly #clock: Clock;
  readonly #timer: Timer;

  /** Ports B2H–B3H. */
  readonly smiPorts: PortDevice;

  constructor(context: DeviceContext, options: AcpiPmOptions) {
    this.#state = context.state.place(options.label, AcpiPmStruct);
    this.#sci = options.sci;
    this.#system = options.system;
    this.#clock = context.clock;
    this.#timer = context.timer(`${options.label} PM timer overflow`, () => this.syncOutputs());
    this.smiPorts = {
      readPort: (offset) => (offset === 0 ? this.#state.apmc : this.#state.apms),
      writePort: (offset, _size, value) => this.#writeSmiPort(offset, value & 0xff),
    };
  }

  reset(): void {
    const s = this.#state;
    s.status = 0;
    s.enable = 0;
    s.control = 0;
    s.gpEnable = 0;
    s.apmc = 0;
    s.apms = 0;
    s.clearedHalves = halves(this.#ticks());
    this.syncOutputs();
  }

  /** A person presses the power button. */
  pressPowerButton(): void {
    this.#state.status |= spec.PWRBTN_STS;
    this.syncOutputs();
  }

  readPort(offset: number, size: 1 | 2 | 4): number {
    // One look at the clock for all bytes: the timer goes on in wall time.
    const ticks = this.#ticks();
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#readByte(offset + i, ticks);
    return value;
  }

  writePort(offset: number, size: 1 | 2 | 4, value: number): void {
    // Two-byte registers take effect as a whole: SUS_EN lies in the upper byte, SUS_TYP too.
    for (let i = 0; i < size; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff);
    this.syncOutputs();
  }

  /** Drives SCI, and arms the timer for the next overflow when that would raise it. */
  syncOutputs(): void {
    const s = this.#state;
    const ticks = this.#ticks();
    const pending = this.#status(ticks) & s.enable & spec.PM1_EN_WRITABLE;
    this.#sci.set((s.control & spec.SCI_EN) !== 0 && pending !== 0);
    if (s.enable & spec.TMROF_EN && !this.#overflowed(ticks))
      this.#timer.arm(this.#clock.timeOfTick(spec.PM_TIMER_HZ, (halves(ticks) + 1) * spec.PM_TIMER_HALF));
    else this.#timer.disarm();
  }

  #ticks(): number {
    return this.#clock.ticks(spec.PM_TIMER_HZ);
  }

  #overflowed(ticks: number): boolean {
    return halves(ticks) > this.#state.clearedHalves;
  }

  #status(ticks: number): number {
    return this.#state.status | (this.#overflowed(ticks) ? spec.TMROF_STS : 0);
  }

  #readByte(offset: number, ticks: number): number {
    const s = this.#state;
    const byteOf = (value: number): number => (offset & 1 ? value >> 8 : value & 0xff);
    switch (offset & ~1) {
      case spec.PM1_STS:
        return byteOf(this.#status(ticks));
      case spec.PM1_EN:
        return byteOf(s.enable);
      case spec.PM1_CNT:
        return byteOf(s.control);
      case spec.GP_EN:
        return byteOf(s.gpEnable);
      case spec.PM_TMR:
      case spec.PM_TMR + 2: {
        const timer = ticks % 2 ** spec.PM_TIMER_BITS;
        return (timer >>> (8 * (offset & 3))) & 0xff;
      }
      default:
        return 0;
    }
  }

  #writeByte(offset: number, value: number): void {
    const s = this.#state;
    const shift = offset & 1 ? 8 : 0;
    const merge = (old: number, writable: number): number => {
      const mask = (0xff << shift) & writable;
      return (old & ~mask) | ((value << shift) & mask);
    };
    switch (offset & ~1) {
      case spec.PM1_STS: {
        const cleared = (value << shift) & spec.PM1_STS_CLEARABLE;
        s.status &= ~cleared;
        if (cleared & spec.TMROF_STS) s.clearedHalves = halves(this.#ticks());
        break;
      }
      case spec.PM1_EN:
        s.enable = merge(s.enable, spec.PM1_EN_WRITABLE);
        break;
      case spec.PM1_CNT:
        s.control = merge(s.control, spec.PM1_CNT_WRITABLE);
        if (
          (value << shift) & spec.SUS_EN &&
          ((s.control >> spec.SUS_TYP_SHIFT) & 7) === spec.SUS_TYP_SOFT_OFF
        )
          this.#system.requestPowerOff();
        break;
      case spec.GP_EN:
        s.gpEnable = merge(s.gpEnable, 0xffff);
        break;
      default:
        break;
    }
  }

  #writeSmiPort(offset: number, value: number): void {
    const s = this.#state;
    if (offset !== 0) {
      s.apms = value;
      return;
    }
    s.apmc = value;
    if (value === spec.APMC_ACPI_ENABLE) s.control |= spec.SCI_EN;
    else if (value === spec.APMC_ACPI_DISABLE) s.control &= ~spec.SCI_EN;
    this.syncOutputs();
  }
}

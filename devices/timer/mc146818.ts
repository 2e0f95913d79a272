/**
 * The PC's real-time clock and CMOS RAM: Motorola, "MC146818A Real-Time Clock plus RAM", data sheet, at ports
 * 70H (index) and 71H (data).
 *
 * Time is the clock's `epochSeconds` plus the time since power-on, moved by what the guest sets. Interrupt flags
 * are worked out from the time that passed since they were last looked at, so nothing runs unless an interrupt is
 * enabled. Not modelled: the square-wave pin, daylight saving, and time bases other than 32.768 kHz.
 */
import { bytes, struct, u53, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { Clock, DeviceContext, InterruptLine, PortDevice, Resettable, Timer } from "../ports.ts";
import { civilFromSeconds, secondsFromCivil } from "./civil-time.ts";
import * as spec from "./mc146818-spec.ts";

export const Mc146818Struct = struct("Mc146818", {
  /** Nonzero once powered on: a later reset keeps RAM and time, which the battery keeps. */
  powered: u8,
  index: u8,
  /** Time registers hold values here only while the clock stands still (SET, or the divider in reset). */
  cmos: bytes(spec.CMOS_BYTES),
  registerA: u8,
  registerB: u8,
  /** PF, AF and UF. */
  flags: u8,
  /** The guest's day of the week minus the calendar's, modulo 7. */
  weekdayOffset: u8,
  /** Clock time is `baseSeconds` + (ticks - `baseTick`) / 32768. */
  baseSeconds: u53,
  baseTick: u53,
  /** Flags are up to date to this tick of the time base. */
  checkedTick: u53,
});

export interface CmosConfiguration {
  /** RAM below 4 GiB, in bytes. */
  readonly memoryBelow4G: number;
  /** RAM above 4 GiB, in bytes. */
  readonly memoryAbove4G?: number;
  readonly processors: number;
  /** SeaBIOS boot order, first to third: 1 floppy, 2 hard disk, 3 CD-ROM, 4 network. */
  readonly bootOrder?: readonly [number, number, number];
}

export interface Mc146818Options {
  readonly label: string;
  /** IRQ 8. */
  readonly irq: InterruptLine;
  readonly cmos: CmosConfiguration;
}

const isTimeRegister = (index: number): boolean =>
  index === spec.SECONDS ||
  index === spec.MINUTES ||
  index === spec.HOURS ||
  (index >= spec.DAY_OF_WEEK && index <= spec.YEAR) ||
  index === spec.CENTURY;

const TIME_REGISTERS = [
  spec.SECONDS,
  spec.MINUTES,
  spec.HOURS,
  spec.DAY_OF_WEEK,
  spec.DATE_OF_MONTH,
  spec.MONTH,
  spec.YEAR,
  spec.CENTURY,
] as const;

/** CMOS RAM as a PC's set-up program leaves it. */
export function cmosContents(configuration: CmosConfiguration): Uint8Array {
  const cmos = new Uint8Array(spec.CMOS_BYTES);
  const put16 = (index: number, value: number): void => {
    cmos[index] = value & 0xff;
    cmos[index + 1] = value >> 8;
  };
  const units = (size: number, from: number, unit: number): number =>
    Math.min(0xffff, Math.max(0, Math.floor((size - from) / unit)));
  const KIB = 1024;
  const MIB = 1024 * KIB;
  cmos[spec.CMOS_EQUIPMENT] = 0x06; // x87 and PS/2 mouse bits of the equipment byte; display from its own BIOS
  put16(spec.CMOS_BASE_MEMORY, 640);
  put16(spec.CMOS_EXTENDED_MEMORY, units(configuration.memoryBelow4G, MIB, KIB));
  put16(spec.CMOS_EXTENDED_MEMORY_2, units(configuration.memoryBelow4G, MIB, KIB));
  put16(spec.CMOS_MEMORY_ABOVE_16M, units(configuration.memoryBelow4G, 16 * MIB, 64 * KIB));
  const above = Math.floor((configuration.memoryAbove4G ?? 0) / (64 * KIB));
  for (let i = 0; i < 3; i++) cmos[spec.CMOS_MEMORY_ABOVE_4G + i] = Math.floor(above / 256 ** i) & 0xff;
  cmos[spec.CMOS_EXTRA_PROCESSORS] = configuration.processors - 1;
  const [first, second, third] = configuration.bootOrder ?? [2, 3, 0];
  cmos[spec.CMOS_BOOT_ORDER_LOW] = first | (second << 4);
  cmos[spec.CMOS_BOOT_ORDER_HIGH] = (third << 4) | 1; // bit 0: do not look for a boot signature on floppies
  let sum = 0;
  for (let i = spec.CMOS_CHECKSUM_FIRST; i <= spec.CMOS_CHECKSUM_LAST; i++) sum += cmos[i]!;
  cmos[spec.CMOS_CHECKSUM] = sum >> 8; // the checksum alone is stored high byte first
  cmos[spec.CMOS_CHECKSUM + 1] = sum & 0xff;
  return cmos;
}

export class Mc146818 implements PortDevice, Resettable {
  readonly #state: ViewOf<typeof Mc146818Struct>;
  readonly #irq: InterruptLine;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #contents: Uint8Array;

  constructor(context: DeviceContext, options: Mc146818Options) {
    this.#state = context.state.place(options.label, Mc146818Struct);
    this.#irq = options.irq;
    this.#clock = context.clock;
    this.#contents = cmosContents(options.cmos);
    this.#timer = context.timer(`${options.label} interrupt`, () => this.syncOutputs());
  }

  reset(): void {
    const s = this.#state;
    if (!s.powered) {
      s.powered = 1;
      s.index = 0;
      s.cmos.set(this.#contents);
      s.registerA = spec.A_DIVIDER_32768 | 6;
      s.registerB = spec.B_24_HOUR;
      s.weekdayOffset = 0;
      s.baseSeconds = this.#clock.epochSeconds;
      s.baseTick = 0;
      s.checkedTick = this.#now();
    }
    // "RESET": clears the enables and flags, not the calendar, the RAM or the divider.
    s.registerB &= ~(spec.B_PIE | spec.B_AIE | spec.B_UIE | spec.B_SQWE);
    this.#collectFlags();
    s.flags = 0;
    this.syncOutputs();
  }

  readPort(offset: number): number {
    if (offset === 0) return 0xff; // the index is write-only
    const s = this.#state;
    const index = s.index;
    if (isTimeRegister(index))
      return this.#isRunning() ? this.#timeRegisters(this.#seconds())[index]! : s.cmos[index]!;
    switch (index) {
      case spec.REGISTER_A:
        return s.registerA | (this.#isUpdateInProgress() ? spec.A_UIP : 0);
      case spec.REGISTER_B:
        return s.registerB;
      case spec.REGISTER_C:
        return this.#readRegisterC();
      case spec.REGISTER_D:
        return spec.D_VRT;
      default:
        return s.cmos[index]!;
    }
  }

  writePort(offset: number, _size: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    value &= 0xff;
    if (offset === 0) {
      s.index = value & spec.INDEX_MASK;
      return;
    }
    const index = s.index;
    this.#collectFlags();
    if (isTimeRegister(index)) this.#writeTime(index, value);
    else if (index === spec.REGISTER_A) this.#writeRegisterA(value);
    else if (index === spec.REGISTER_B) this.#writeRegisterB(value);
    else if (index !== spec.REGISTER_C && index !== spec.REGISTER_D) s.cmos[index] = value;
    this.syncOutputs();
  }

  /** Brings the flags up to date, drives IRQ, and arms the timer for the next enabled event. */
  syncOutputs(): void {
    this.#collectFlags();
    const s = this.#state;
    this.#irq.set((s.flags & s.registerB & (spec.C_PF | spec.C_AF | spec.C_UF)) !== 0);
    const next = this.#nextEventTick();
    if (next === undefined) this.#timer.disarm();
    else this.#timer.arm(this.#clock.timeOfTick(spec.TIME_BASE_HZ, next));
  }

  #now(): number {
    return this.#clock.ticks(spec.TIME_BASE_HZ);
  }

  #isRunning(): boolean {
    const s = this.#state;
    return (s.registerB & spec.B_SET) === 0 && (s.registerA & spec.A_DIVIDER_RESET) !== spec.A_DIVIDER_RESET;
  }

  #seconds(tick = this.#now()): number {
    const s = this.#state;
    return s.baseSeconds + Math.floor((tick - s.baseTick) / spec.TIME_BASE_HZ);
  }

  #isUpdateInProgress(): boolean {
    if (!this.#isRunning()) return false;
    const s = this.#state;
    const inSecond =
      (((this.#now() - s.baseTick) % spec.TIME_BASE_HZ) + spec.TIME_BASE_HZ) % spec.TIME_BASE_HZ;
    return inSecond >= spec.TIME_BASE_HZ - spec.UPDATE_TICKS;
  }

  /** Periodic interrupt period in ticks of the time base, or 0 for none (the data sheet's rate table). */
  #period(): number {
    const rate = this.#state.registerA & spec.A_RATE;
    if (rate === 0) return 0;
    return 1 << (rate <= 2 ? rate + 6 : rate - 1);
  }

  /** Sets PF, AF and UF for everything that happened since they were last brought up to date. */
  #collectFlags(): void {
    const s = this.#state;
    const from = s.checkedTick;
    const to = this.#now();
    if (to <= from) return;
    s.checkedTick = to;
    const divider = (s.registerA & spec.A_DIVIDER_RESET) !== spec.A_DIVIDER_RESET;
    const period = this.#period();
    // The divider chain's phase is that of the second.
    const phase = s.baseTick;
    if (divider && period !== 0 && Math.floor((to - phase) / period) > Math.floor((from - phase) / period))
      s.flags |= spec.C_PF;
    if (!this.#isRunning()) return;
    const before = this.#seconds(from);
    const after = this.#seconds(to);
    if (after === before) return;
    s.flags |= spec.C_UF;
    const alarm = this.#nextAlarm(before);
    if (alarm !== undefined && alarm <= after) s.flags |= spec.C_AF;
  }

  #nextEventTick(): number | undefined {
    const s = this.#state;
    const wanted = s.registerB & ~s.flags & (spec.B_PIE | spec.B_AIE | spec.B_UIE);
    const now = s.checkedTick;
    let next = Infinity;
    const period = this.#period();
    if (wanted & spec.B_PIE && period !== 0 && (s.registerA & spec.A_DIVIDER_RESET) !== spec.A_DIVIDER_RESET)
      next = s.baseTick + (Math.floor((now - s.baseTick) / period) + 1) * period;
    if (this.#isRunning()) {
      const second = this.#seconds(now);
      const tickOf = (seconds: number): number => s.baseTick + (seconds - s.baseSeconds) * spec.TIME_BASE_HZ;
      if (wanted & spec.B_UIE) next = Math.min(next, tickOf(second + 1));
      if (wanted & spec.B_AIE) {
        const alarm = this.#nextAlarm(second);
        if (alarm !== undefined) next = Math.min(next, tickOf(alarm));
      }
    }
    return next === Infinity ? undefined : next;
  }

  /** The first second after `after` that matches the alarm registers; at most a day later. */
  #nextAlarm(after: number): number | undefined {
    const s = this.#state;
    const wanted = (index: number, decode: (value: number) => number): number | undefined => {
      const value = s.cmos[index]!;
      return (value & spec.ALARM_DONT_CARE) === spec.ALARM_DONT_CARE ? undefined : decode(value);
    };
    const hour = wanted(spec.HOURS_ALARM, (value) => this.#decodeHours(value));
    const minute = wanted(spec.MINUTES_ALARM, (value) => this.#decode(value));
    const second = wanted(spec.SECONDS_ALARM, (value) => this.#decode(value));
    const end = after + 86_400;
    // Skips whole hours and minutes that cannot match: at most 24 + 60 + 60 steps.
    for (let at = after + 1; at <= end;) {
      const inDay = ((at % 86_400) + 86_400) % 86_400;
      if (hour !== undefined && Math.floor(inDay / 3600) !== hour) at += 3600 - (inDay % 3600);
      else if (minute !== undefined && Math.floor((inDay % 3600) / 60) !== minute) at += 60 - (inDay % 60);
      else if (second !== undefined && inDay % 60 !== second) at++;
      else return at;
    }
    return undefined;
  }

  /** "The interrupt flags are cleared by reading Register C", and with them the pin. */
  #readRegisterC(): number {
    this.#collectFlags();
    const s = this.#state;
    const asserted = (s.flags & s.registerB & (spec.C_PF | spec.C_AF | spec.C_UF)) !== 0;
    const value = s.flags | (asserted ? spec.C_IRQF : 0);
    s.flags = 0;
    // The pin is released whatever comes next: time goes on between these lines, and a flag that has come up again is another edge.
    this.#irq.set(false);
    this.syncOutputs();
    return value;
  }

  #writeRegisterA(value: number): void {
    const s = this.#state;
    const wasReset = (s.registerA & spec.A_DIVIDER_RESET) === spec.A_DIVIDER_RESET;
    const isReset = (value & spec.A_DIVIDER_RESET) === spec.A_DIVIDER_RESET;
    if (isReset && !wasReset) this.#stop();
    s.registerA = value & ~spec.A_UIP;
    // "When the divider is changed from reset to an operating time base, the first update cycle is one-half
    // second later."
    if (wasReset && !isReset) this.#start(spec.TIME_BASE_HZ / 2);
  }

  #writeRegisterB(value: number): void {
    const s = this.#state;
    const wasSet = (s.registerB & spec.B_SET) !== 0;
    const isSet = (value & spec.B_SET) !== 0;
    if (isSet && !wasSet) this.#stop();
    // A change of data mode re-reads the same bytes in the new mode only for what the guest has written; the
    // running calendar is kept as a number and does not change.
    s.registerB = isSet ? value & ~spec.B_UIE : value; // "SET ... clears UIE"
    if (wasSet && !isSet) {
      const inSecond = (this.#now() - s.baseTick) % spec.TIME_BASE_HZ;
      this.#start(inSecond);
    }
  }

  /** The calendar stops: its registers now hold plain values that the program may set one by one. */
  #stop(): void {
    const s = this.#state;
    if (!this.#isRunning()) return;
    const registers = this.#timeRegisters(this.#seconds());
    for (const index of TIME_REGISTERS) s.cmos[index] = registers[index]!;
  }

  /** The calendar goes on from the registers, `phase` ticks into the second. */
  #start(phase: number): void {
    const s = this.#state;
    if (!this.#isRunning()) return;
    this.#setSeconds(s.cmos, phase);
  }

  #writeTime(index: number, value: number): void {
    const s = this.#state;
    if (!this.#isRunning()) {
      s.cmos[index] = value;
      return;
    }
    const registers = this.#timeRegisters(this.#seconds());
    registers[index] = value;
    this.#setSeconds(registers, (this.#now() - s.baseTick) % spec.TIME_BASE_HZ);
  }

  #setSeconds(registers: Uint8Array, phase: number): void {
    const s = this.#state;
    const field = (index: number): number => this.#decode(registers[index]!);
    const seconds = secondsFromCivil({
      year: field(spec.CENTURY) * 100 + field(spec.YEAR),
      month: field(spec.MONTH),
      day: field(spec.DATE_OF_MONTH),
      hour: this.#decodeHours(registers[spec.HOURS]!),
      minute: field(spec.MINUTES),
      second: field(spec.SECONDS),
    });
    // Before 1970 cannot be kept; such a setting is that of a program filling the registers one by one.
    s.baseSeconds = Math.max(0, seconds);
    s.baseTick = Math.max(0, this.#now() - phase);
    s.checkedTick = this.#now();
    const weekday = civilFromSeconds(s.baseSeconds).weekday;
    s.weekdayOffset = (((field(spec.DAY_OF_WEEK) - 1 - weekday) % 7) + 7) % 7;
  }

  /** The time registers of a moment, in the current data mode, by index. */
  #timeRegisters(seconds: number): Uint8Array {
    const s = this.#state;
    const time = civilFromSeconds(seconds);
    const registers = new Uint8Array(spec.CMOS_BYTES);
    registers[spec.SECONDS] = this.#encode(time.second);
    registers[spec.MINUTES] = this.#encode(time.minute);
    registers[spec.HOURS] = this.#encodeHours(time.hour);
    registers[spec.DAY_OF_WEEK] = this.#encode(((time.weekday + s.weekdayOffset) % 7) + 1);
    registers[spec.DATE_OF_MONTH] = this.#encode(time.day);
    registers[spec.MONTH] = this.#encode(time.month);
    registers[spec.YEAR] = this.#encode(time.year % 100);
    registers[spec.CENTURY] = this.#encode(Math.floor(time.year / 100) % 100);
    return registers;
  }

  #encode(value: number): number {
    return this.#state.registerB & spec.B_DM ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }

  #decode(value: number): number {
    return this.#state.registerB & spec.B_DM ? value : (value >> 4) * 10 + (value & 15);
  }

  #encodeHours(hour: number): number {
    if (this.#state.registerB & spec.B_24_HOUR) return this.#encode(hour);
    return this.#encode(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? spec.HOURS_PM : 0);
  }

  #decodeHours(value: number): number {
    if (this.#state.registerB & spec.B_24_HOUR) return this.#decode(value);
    return (this.#decode(value & ~spec.HOURS_PM) % 12) + (value & spec.HOURS_PM ? 12 : 0);
  }
}

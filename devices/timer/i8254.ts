/**
 * The PC's interval timer: Intel, "8254 Programmable Interval Timer", data sheet, at 1.193182 MHz, with port 61H
 * (gate and output of counter 2, refresh toggle). OUT 0 is the system timer's interrupt. There is no speaker.
 */
import { nestedArray, struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { Clock, DeviceContext, InterruptLine, PortDevice, Resettable, Timer } from "../ports.ts";
import * as spec from "./i8254-spec.ts";
import type { Counter } from "./i8254-counter.ts";
import {
  I8254CounterStruct,
  latchCount,
  latchStatus,
  nextOutputEdge,
  output,
  readCounter,
  resetCounter,
  setGate,
  writeControl,
  writeCount,
} from "./i8254-counter.ts";

export const I8254Struct = struct("I8254", {
  counters: nestedArray(I8254CounterStruct, spec.COUNTERS),
  /** Writable bits of port 61H. */
  port61: u8,
});

export interface I8254Options {
  readonly label: string;
  /** OUT of counter 0. */
  readonly irq: InterruptLine;
}

export class I8254 implements PortDevice, Resettable {
  readonly #state: ViewOf<typeof I8254Struct>;
  readonly #irq: InterruptLine;
  readonly #clock: Clock;
  readonly #timer: Timer;

  /** Port 61H, one byte. */
  readonly port61: PortDevice;

  constructor(context: DeviceContext, options: I8254Options) {
    this.#state = context.state.place(options.label, I8254Struct);
    this.#irq = options.irq;
    this.#clock = context.clock;
    this.#timer = context.timer(`${options.label} OUT0`, () => this.#outputEdge());
    this.port61 = {
      readPort: () => this.#readPort61(),
      writePort: (_offset, _size, value) => this.#writePort61(value),
    };
  }

  reset(): void {
    const s = this.#state;
    for (let i = 0; i < spec.COUNTERS; i++) resetCounter(s.counters[i]!, i !== 2);
    s.port61 = 0;
    this.syncOutputs();
  }

  readPort(offset: number): number {
    if (offset === spec.CONTROL_WORD) return 0xff; // "no operation": the bus floats
    return readCounter(this.#state.counters[offset]!, this.#now());
  }

  writePort(offset: number, _size: 1 | 2 | 4, value: number): void {
    value &= 0xff;
    if (offset === spec.CONTROL_WORD) this.#writeControlWord(value);
    else writeCount(this.#state.counters[offset]!, value, this.#now());
    if (offset === 0 || offset === spec.CONTROL_WORD) this.syncOutputs();
  }

  /** Drives OUT 0 and asks to be called at its next edge. */
  syncOutputs(): void {
    const counter = this.#state.counters[0]!;
    const now = this.#now();
    this.#irq.set(output(counter, now));
    const edge = nextOutputEdge(counter, now);
    if (edge === undefined) this.#timer.disarm();
    else this.#timer.arm(this.#clock.timeOfTick(spec.PIT_HZ, this.#skipStrobe(counter, edge)));
  }

  /**
   * Modes 2, 4 and 5 pulse low for one clock (838 ns). Nothing can act on the low phase alone, so the event is
   * put at the rising edge, where the fall is made up for: one event a period instead of two.
   */
  #skipStrobe(counter: Counter, edge: number): number {
    if (counter.mode !== 2 && counter.mode !== 4 && counter.mode !== 5) return edge;
    const clocks = edge - counter.start;
    const falls =
      counter.mode === 2 ? clocks % counter.count === counter.count - 1 : clocks === counter.count;
    return falls ? edge + 1 : edge;
  }

  /** At an edge. OUT was low before a rise, and in wall time, which does not wait, it may have fallen and risen again since the event was due. */
  #outputEdge(): void {
    this.#irq.set(false);
    this.syncOutputs();
  }

  #now(): number {
    return this.#clock.ticks(spec.PIT_HZ);
  }

  #writeControlWord(value: number): void {
    const counters = this.#state.counters;
    const select = value >> spec.SC_SHIFT;
    const now = this.#now();
    if (select === spec.SC_READ_BACK) {
      for (let i = 0; i < spec.COUNTERS; i++) {
        if (!(value & (2 << i))) continue;
        if (!(value & spec.READ_BACK_NO_COUNT)) latchCount(counters[i]!, now);
        if (!(value & spec.READ_BACK_NO_STATUS)) latchStatus(counters[i]!, now);
      }
    } else if (((value >> spec.RW_SHIFT) & 3) === spec.RW_LATCH) latchCount(counters[select]!, now);
    else writeControl(counters[select]!, value);
  }

  #readPort61(): number {
    const s = this.#state;
    const now = this.#now();
    let value = s.port61;
    if (Math.floor(now / spec.REFRESH_CLOCKS) % 2 === 1) value |= spec.NMISC_REFRESH_TOGGLE;
    if (output(s.counters[2]!, now)) value |= spec.NMISC_TIMER_2_OUT;
    return value;
  }

  #writePort61(value: number): void {
    this.#state.port61 = value & spec.NMISC_WRITABLE;
    setGate(this.#state.counters[2]!, (value & spec.NMISC_TIMER_2_GATE) !== 0, this.#now());
  }
}

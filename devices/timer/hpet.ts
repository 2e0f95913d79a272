/**
 * High-precision event timers: Intel, "IA-PC HPET (High Precision Event Timers) Specification 1.0a". Three timers, each of 64
 * bits, one-shot or periodic, routed to the I/O APIC, in place of PIT and RTC, or sent as messages.
 */
import { nestedArray, struct, u32, u64, u8, type ViewOf } from "../../layout/struct.ts";
import type {
  Clock,
  DeviceContext,
  InterruptLine,
  MessageSink,
  MmioDevice,
  Resettable,
  Timer,
} from "../ports.ts";
import * as spec from "./hpet-spec.ts";

const HpetTimerStruct = struct("HpetTimer", {
  /** The writable bits of the configuration register, route included. */
  config: u32,
  fsbValue: u32,
  fsbAddress: u32,
  /** The low half of the comparator was just written with VAL_SET, which counts for the high half too. */
  setsHigh: u8,
  /** The timer's output. */
  output: u8,
  comparator: u64,
  period: u64,
});

export const HpetStruct = struct("Hpet", {
  config: u32,
  status: u32,
  /** Levels of the lines that legacy replacement takes from the PIT and the RTC. */
  pit: u8,
  rtc: u8,
  /** The main counter: while it runs, less the clock's ticks. */
  counter: u64,
  timers: nestedArray(HpetTimerStruct, spec.TIMERS),
});

export interface HpetOptions {
  readonly label: string;
  /** IRQ 0 and IRQ 8, which timers 0 and 1 can take over. */
  readonly irq0: InterruptLine;
  readonly irq8: InterruptLine;
  /** An input of the I/O APIC. */
  readonly route: (input: number) => InterruptLine;
  readonly messages: MessageSink;
}

type TimerState = ViewOf<typeof HpetTimerStruct>;

const MASK_32 = 0xffffffffn;
/** A match farther away than this many ticks (two years) is not waited for. */
const FARTHEST = 1n << 50n;

export class Hpet implements MmioDevice, Resettable {
  /** Where PIT and RTC are wired to. */
  readonly pit: InterruptLine;
  readonly rtc: InterruptLine;
  readonly #s: ViewOf<typeof HpetStruct>;
  readonly #o: HpetOptions;
  readonly #clock: Clock;
  readonly #events: readonly Timer[];
  readonly #routes: readonly (InterruptLine | undefined)[];

  constructor(context: DeviceContext, options: HpetOptions) {
    this.#s = context.state.place(options.label, HpetStruct);
    this.#o = options;
    this.#clock = context.clock;
    this.#events = Array.from({ length: spec.TIMERS }, (_, index) =>
      context.timer(`${options.label} timer ${index}`, () => this.#fired(index)),
    );
    this.#routes = Array.from({ length: 32 }, (_, input) =>
      spec.ROUTES & (1 << input) ? options.route(input) : undefined,
    );
    this.pit = {
      set: (level) => {
        this.#s.pit = level ? 1 : 0;
        if (!this.#isLegacy) options.irq0.set(level);
      },
    };
    this.rtc = {
      set: (level) => {
        this.#s.rtc = level ? 1 : 0;
        if (!this.#isLegacy) options.irq8.set(level);
      },
    };
  }

  reset(): void {
    const s = this.#s;
    s.config = 0;
    s.status = 0;
    s.counter = 0n;
    for (const timer of s.timers) {
      timer.config = firstRoute();
      timer.fsbValue = timer.fsbAddress = 0;
      timer.setsHigh = timer.output = 0;
      timer.comparator = (1n << 64n) - 1n;
      timer.period = 0n;
    }
    for (const event of this.#events) event.disarm();
    for (const route of this.#routes) route?.set(false);
  }

  readMmio(offset: number, size: 1 | 2 | 4): number {
    const value = this.#read(offset - (offset % 4)) >>> (8 * (offset % 4));
    return size === 4 ? value : value & (2 ** (8 * size) - 1);
  }

  /** "All accesses are 32 or 64 bits": narrower writes have no effect. */
  writeMmio(offset: number, size: 1 | 2 | 4, value: number): void {
    if (size === 4) this.#write(offset, value);
  }

  get #isEnabled(): boolean {
    return (this.#s.config & spec.ENABLE_CNF) !== 0;
  }

  get #isLegacy(): boolean {
    return (this.#s.config & spec.LEG_RT_CNF) !== 0;
  }

  #ticks(): bigint {
    return BigInt(this.#clock.ticks(spec.COUNTER_HZ));
  }

  /**
   * The main counter. Whoever works out something from it looks at the clock once and hands `ticks` on: wall time goes on between two
   * looks, and a comparator that was ahead of the first could be behind the second.
   */
  #counter(ticks = this.#ticks()): bigint {
    return BigInt.asUintN(64, this.#isEnabled ? this.#s.counter + ticks : this.#s.counter);
  }

  #read(offset: number): number {
    const s = this.#s;
    switch (offset) {
      case spec.GCAP_ID:
        return spec.CAPABILITIES;
      case spec.GCAP_PERIOD:
        return spec.COUNTER_CLK_PERIOD;
      case spec.GEN_CONF:
        return s.config;
      case spec.GINTR_STA:
        return s.status;
      case spec.MAIN_CNT:
        return Number(this.#counter() & MASK_32);
      case spec.MAIN_CNT_HIGH:
        return Number(this.#counter() >> 32n);
    }
    const timer = s.timers[(offset - spec.TIMER_BASE) >> 5];
    return offset < spec.TIMER_BASE || timer === undefined ? 0 : readTimer(timer, offset % spec.TIMER_BYTES);
  }

  #write(offset: number, value: number): void {
    const s = this.#s;
    const ticks = this.#ticks();
    switch (offset) {
      case spec.GEN_CONF:
        this.#configure(value, ticks);
        return;
      case spec.GINTR_STA:
        this.#acknowledge(value & s.status);
        return;
      case spec.MAIN_CNT:
        this.#setCounter((this.#counter(ticks) & ~MASK_32) | BigInt(value), ticks);
        return;
      case spec.MAIN_CNT_HIGH:
        this.#setCounter((this.#counter(ticks) & MASK_32) | (BigInt(value) << 32n), ticks);
        return;
    }
    const index = (offset - spec.TIMER_BASE) >> 5;
    if (offset >= spec.TIMER_BASE && index < spec.TIMERS)
      this.#writeTimer(index, offset % spec.TIMER_BYTES, value);
  }

  #configure(value: number, ticks: bigint): void {
    const s = this.#s;
    const counter = this.#counter(ticks);
    const wasLegacy = this.#isLegacy;
    if (wasLegacy !== ((value & spec.LEG_RT_CNF) !== 0))
      s.timers.forEach((_, index) => this.#drive(index, false));
    s.config = value & (spec.ENABLE_CNF | spec.LEG_RT_CNF);
    this.#setCounter(counter, ticks);
    if (wasLegacy === this.#isLegacy) return;
    // The lines are the timers' from now on, or PIT's and RTC's again.
    this.#o.irq0.set(!this.#isLegacy && s.pit !== 0);
    this.#o.irq8.set(!this.#isLegacy && s.rtc !== 0);
  }

  /** "Writes to the main counter should only be done while it is halted": they take effect in any case. */
  #setCounter(value: bigint, ticks: bigint): void {
    this.#s.counter = BigInt.asUintN(64, this.#isEnabled ? value - ticks : value);
    for (let index = 0; index < spec.TIMERS; index++) this.#arm(index, true, ticks);
  }

  /** Ones clear the status of level-triggered timers. */
  #acknowledge(bits: number): void {
    this.#s.status &= ~bits;
    for (let index = 0; index < spec.TIMERS; index++) if (bits & (1 << index)) this.#drive(index, false);
  }

  #writeTimer(index: number, register: number, value: number): void {
    const timer = this.#s.timers[index]!;
    const setsHigh = timer.setsHigh !== 0;
    timer.setsHigh = 0;
    switch (register) {
      case spec.CONF_CAP:
        this.#configureTimer(index, timer, value);
        break;
      case spec.CMP:
        timer.setsHigh = timer.config & spec.VAL_SET ? 1 : 0;
        putComparator(timer, MASK_32, BigInt(value), timer.setsHigh !== 0);
        timer.config &= ~spec.VAL_SET;
        break;
      case spec.CMP_HIGH:
        putComparator(
          timer,
          MASK_32 << 32n,
          BigInt(value) << 32n,
          setsHigh || (timer.config & spec.VAL_SET) !== 0,
        );
        timer.config &= ~spec.VAL_SET;
        break;
      case spec.FSB_VALUE:
        timer.fsbValue = value;
        return;
      case spec.FSB_ADDRESS:
        timer.fsbAddress = value;
        return;
      default:
        return;
    }
    this.#arm(index, true, this.#ticks());
  }

  #configureTimer(index: number, timer: TimerState, value: number): void {
    const route = (value >> spec.INT_ROUTE_SHIFT) & spec.INT_ROUTE_MASK;
    const before = timer.config;
    // "If an unsupported value is written, the value read back will not match": the route stays.
    const routed =
      spec.ROUTES & (1 << route) ? route : (before >> spec.INT_ROUTE_SHIFT) & spec.INT_ROUTE_MASK;
    const config = (value & spec.CONF_WRITABLE) | (routed << spec.INT_ROUTE_SHIFT);
    // What the output was is over when it is no longer driven in the same way.
    const kept =
      spec.INT_TYPE_LEVEL | spec.INT_ENB | spec.FSB_EN | (spec.INT_ROUTE_MASK << spec.INT_ROUTE_SHIFT);
    if ((before ^ config) & kept) this.#drive(index, false);
    timer.config = config;
    if (!(config & spec.INT_TYPE_LEVEL)) this.#s.status &= ~(1 << index);
  }

  /**
   * Waits for the timer's next match.
   * @param isNew the counter or comparator was just set: equal is a match
   */
  #arm(index: number, isNew: boolean, ticks: bigint): void {
    const timer = this.#s.timers[index]!;
    const event = this.#events[index]!;
    const ahead = distance(timer, this.#counter(ticks));
    const wait = ahead === 0n && !isNew ? 1n << width(timer) : ahead;
    if (!this.#isEnabled || wait > FARTHEST) event.disarm();
    else event.arm(this.#clock.timeOfTick(spec.COUNTER_HZ, Number(ticks + wait)));
  }

  #fired(index: number): void {
    const timer = this.#s.timers[index]!;
    const ticks = this.#ticks();
    if (timer.config & spec.TYPE_PERIODIC) advance(timer, this.#counter(ticks));
    if (timer.config & spec.INT_ENB) this.#interrupt(index, timer);
    this.#arm(index, false, ticks);
  }

  #interrupt(index: number, timer: TimerState): void {
    if (timer.config & spec.FSB_EN) this.#o.messages.send(timer.fsbAddress, timer.fsbValue);
    else if (timer.config & spec.INT_TYPE_LEVEL) {
      this.#s.status |= 1 << index;
      this.#drive(index, true);
    } else {
      // An edge: the line then stays up, as the 8259s want it until they are asked for the vector.
      this.#drive(index, false);
      this.#drive(index, true);
    }
  }

  #drive(index: number, level: boolean): void {
    const timer = this.#s.timers[index]!;
    if (!level && timer.output === 0) return;
    timer.output = level ? 1 : 0;
    this.#lineOf(index, timer)?.set(level);
  }

  /** With legacy replacement timer 0 is IRQ 0 and timer 1 IRQ 8, whatever their routes are. */
  #lineOf(index: number, timer: TimerState): InterruptLine | undefined {
    if (this.#isLegacy && index < 2) return index === 0 ? this.#o.irq0 : this.#o.irq8;
    return this.#routes[(timer.config >> spec.INT_ROUTE_SHIFT) & spec.INT_ROUTE_MASK];
  }
}

/** The configuration after reset: the first route that there is. */
function firstRoute(): number {
  return (31 - Math.clz32(spec.ROUTES & -spec.ROUTES)) << spec.INT_ROUTE_SHIFT;
}

function readTimer(timer: TimerState, register: number): number {
  switch (register) {
    case spec.CONF_CAP:
      return timer.config | spec.PER_INT_CAP | spec.SIZE_CAP | spec.FSB_INT_DEL_CAP;
    case spec.INT_ROUTE_CAP:
      return spec.ROUTES;
    case spec.CMP:
      return Number(timer.comparator & MASK_32);
    case spec.CMP_HIGH:
      return Number(timer.comparator >> 32n);
    case spec.FSB_VALUE:
      return timer.fsbValue;
    case spec.FSB_ADDRESS:
      return timer.fsbAddress;
    default:
      return 0;
  }
}

/** Bits that count: 64, or 32 in 32-bit mode. */
const width = (timer: TimerState): bigint => (timer.config & spec.MODE_32 ? 32n : 64n);

/** Ticks until the counter equals the comparator. */
function distance(timer: TimerState, counter: bigint): bigint {
  return BigInt.asUintN(Number(width(timer)), timer.comparator - counter);
}

/**
 * A write to part of the comparator. Of a periodic timer it sets the period, and with VAL_SET the comparator as well:
 * "Timer n Comparator Value Register".
 */
function putComparator(timer: TimerState, mask: bigint, value: bigint, isSet: boolean): void {
  const isPeriodic = (timer.config & spec.TYPE_PERIODIC) !== 0;
  if (isPeriodic) timer.period = (timer.period & ~mask) | value;
  if (!isPeriodic || isSet) timer.comparator = (timer.comparator & ~mask) | value;
}

/** The next match of a periodic timer that has matched: periods that went by unseen are made up for at once. */
function advance(timer: TimerState, counter: bigint): void {
  const bits = Number(width(timer));
  const period = BigInt.asUintN(bits, timer.period);
  if (period === 0n) return;
  const late = BigInt.asUintN(bits, counter - timer.comparator);
  timer.comparator = BigInt.asUintN(bits, timer.comparator + period * (late / period + 1n));
}

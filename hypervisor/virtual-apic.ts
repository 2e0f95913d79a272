/**
 * A virtual local APIC, in software: what the guest reads and writes exits to. SDM Vol. 3A, "Advanced Programmable
 * Interrupt Controller (APIC)", xAPIC and x2APIC modes. Its timer is a slot of the board's event queue.
 */
import type { Clock, DeviceContext, Timer } from "../devices/ports.ts";
import { array, struct, u32, u53, u64, type ViewOf } from "../layout/struct.ts";

export const VirtualApicStruct = struct("VirtualApic", {
  registers: array("u32", 64),
  /** IA32_APIC_BASE: below 2^36 (MAXPHYADDR bits are refused above). */
  base: array("f64", 1),
  timerStart: u53,
  /** Cycle at which the timer fires; 0 when it does not run. */
  timerDeadline: u53,
  tscDeadline: u64,
  errorPending: u32,
  /** INTR of the VM's 8259 pair. */
  intr: array("u32", 1),
});

const ID = 0x02;
const VERSION = 0x03;
const TPR = 0x08;
const PPR = 0x0a;
const EOI = 0x0b;
const LDR = 0x0d;
const DFR = 0x0e;
const SVR = 0x0f;
const ISR = 0x10;
const TMR = 0x18;
const IRR = 0x20;
const ESR = 0x28;
const ICR_LOW = 0x30;
const ICR_HIGH = 0x31;
const LVT_TIMER = 0x32;
const LVT_LINT0 = 0x35;
const LVT_LINT1 = 0x36;
const LVT_ERROR = 0x37;
const TIMER_INITIAL = 0x38;
const TIMER_CURRENT = 0x39;
const TIMER_DIVIDE = 0x3e;
const SELF_IPI = 0x3f;

const LVT_MASKED = 1 << 16;
const SVR_ENABLE = 1 << 8;
const MODE_MASK = 3 << 17;
const MODE_PERIODIC = 1 << 17;
const MODE_TSC_DEADLINE = 2 << 17;
const BASE_BSP = 1 << 8;
const BASE_X2APIC = 1 << 10;
const BASE_ENABLE = 1 << 11;
/** Address bits 35:12 and the three above. */
const BASE_BITS = 0xfffffff00n | BigInt(BASE_BSP | BASE_X2APIC | BASE_ENABLE);
/** Cycles per tick of the undivided timer: as the physical one. */
const CYCLES_PER_TICK = 16;

export interface VirtualApicWiring {
  readonly id: number;
  readonly label: string;
  readonly context: DeviceContext;
  /** An ICR write that reaches others. */
  sendIpi(icrLow: number, destination: number): void;
  /** A level-triggered interrupt has been ended. */
  endOfInterrupt(vector: number): void;
  /** What may be delivered has changed: the virtual CPU must look. */
  changed(): void;
  /** The guest's time-stamp counter. */
  guestTsc(): number;
}

export class VirtualApic {
  readonly id: number;
  readonly state: ViewOf<typeof VirtualApicStruct>;
  readonly #wiring: VirtualApicWiring;
  readonly #clock: Clock;
  readonly #timer: Timer;
  /** Kept from `state`: every entry looks at them. */
  readonly #registers: Uint32Array;
  /** The request register's part of them. */
  readonly #irr: Uint32Array;
  readonly #base: Float64Array;
  readonly #intr: Uint32Array;

  constructor(wiring: VirtualApicWiring) {
    this.id = wiring.id;
    this.#wiring = wiring;
    this.state = wiring.context.state.place(wiring.label, VirtualApicStruct);
    this.#registers = this.state.registers;
    this.#irr = this.#registers.subarray(IRR, IRR + 8);
    this.#base = this.state.base;
    this.#intr = this.state.intr;
    this.#clock = wiring.context.clock;
    this.#timer = wiring.context.timer(`${wiring.label} timer`, () => this.#timerFired());
  }

  /** Power-on: enabled, xAPIC mode. */
  reset(): void {
    this.#base[0] = 0xfee00000 + BASE_ENABLE + (this.id === 0 ? BASE_BSP : 0);
    this.resetRegisters();
    this.#intr[0] = 0;
  }

  /** INIT: registers, but neither the base nor the ID. */
  initRegisters(): void {
    const id = this.#registers[ID]!;
    this.resetRegisters();
    this.#registers[ID] = id;
  }

  /** The registers as at power-on. */
  resetRegisters(): void {
    const r = this.#registers;
    r.fill(0);
    this.#setId();
    r[VERSION] = 0x00050014;
    r[DFR] = 0xffffffff;
    r[SVR] = 0xff;
    for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt++) r[lvt] = LVT_MASKED;
    this.state.errorPending = 0;
    this.#stopTimer();
  }

  #setId(): void {
    const r = this.#registers;
    r[ID] = this.isX2apic ? this.id : (this.id << 24) >>> 0;
    if (this.isX2apic) r[LDR] = (((this.id >> 4) << 16) | (1 << (this.id & 15))) >>> 0;
  }

  /** IA32_APIC_BASE. */
  get base(): number {
    return this.#base[0]!;
  }
  get isX2apic(): boolean {
    return (this.#base[0]! & BASE_X2APIC) !== 0;
  }
  /** Guest-physical page of the registers in xAPIC mode. */
  get page(): number {
    const base = this.#base[0]!;
    return base - (base % 4096);
  }
  get isEnabled(): boolean {
    return (this.#base[0]! & BASE_ENABLE) !== 0;
  }

  /** Writes IA32_APIC_BASE. False: #GP (SDM, "x2APIC State Transitions"). */
  writeBase(value: bigint): boolean {
    if ((value & ~BASE_BITS) !== 0n || (value & 0x2ffn) !== 0n) return false;
    const before = this.base;
    const after = Number(value);
    const both = BASE_ENABLE | BASE_X2APIC;
    const from = before & both;
    const to = after & both;
    const isBad = to === BASE_X2APIC || (from === both && to === BASE_ENABLE) || (from === 0 && to === both);
    if (isBad || ((after ^ before) & BASE_BSP) !== 0) return false;
    this.#base[0] = after;
    if (to === 0) this.resetRegisters();
    else if ((before ^ after) & BASE_X2APIC) {
      if (!this.isX2apic) this.#registers[LDR] = 0;
      this.#setId();
    }
    this.#wiring.changed();
    return true;
  }

  // --- interrupts

  #highest(first: number): number {
    const r = this.#registers;
    for (let word = 7; word >= 0; word--) {
      const bits = r[first + word]!;
      if (bits !== 0) return (word << 5) + 31 - Math.clz32(bits);
    }
    return -1;
  }

  /** Accepts a fixed, edge-triggered vector. */
  accept(vector: number): void {
    if (vector < 16) {
      this.#error(1 << 6);
      return;
    }
    const r = this.#registers;
    const word = vector >> 5;
    const bit = (1 << (vector & 31)) >>> 0;
    Atomics.and(r, TMR + word, ~bit >>> 0);
    Atomics.or(r, IRR + word, bit);
    this.#wiring.changed();
  }

  #priority(): number {
    const tpr = this.#registers[TPR]! & 0xff;
    const inService = this.#highest(ISR);
    const isrClass = inService < 0 ? 0 : inService & 0xf0;
    return (tpr & 0xf0) >= isrClass ? tpr : isrClass;
  }

  /** Highest vector in service, or -1. */
  get inService(): number {
    return this.#highest(ISR);
  }

  /** The vector that would be delivered now, or -1. */
  pendingVector(): number {
    const vector = this.#highest(IRR);
    if (vector < 0 || !this.isEnabled || (this.#registers[SVR]! & SVR_ENABLE) === 0) return -1;
    return (vector & 0xf0) <= (this.#priority() & 0xf0) ? -1 : vector;
  }

  /** The 8259's interrupt reaches this CPU: APIC off, or LINT0 as ExtINT. */
  isExternalPending(): boolean {
    if (this.#intr[0] === 0) return false;
    if (!this.isEnabled) return true;
    const lint0 = this.#registers[LVT_LINT0]!;
    return (lint0 & LVT_MASKED) === 0 && ((lint0 >>> 8) & 7) === 7;
  }

  /** The output of the VM's 8259 pair. */
  setIntr(level: boolean): void {
    this.#intr[0] = level ? 1 : 0;
  }

  /** There is something to deliver: an interrupt of its own, or the 8259's. */
  hasInterrupt(): boolean {
    const irr = this.#irr;
    // Nothing requested is the usual case, at every entry: written out, since the engine does not unroll the loop.
    const requests = irr[0]! | irr[1]! | irr[2]! | irr[3]! | irr[4]! | irr[5]! | irr[6]! | irr[7]!;
    if ((requests | this.#intr[0]!) === 0) return false;
    return this.isExternalPending() || this.pendingVector() >= 0;
  }

  acknowledge(vector: number): void {
    const r = this.#registers;
    const bit = (1 << (vector & 31)) >>> 0;
    Atomics.and(r, IRR + (vector >> 5), ~bit >>> 0);
    Atomics.or(r, ISR + (vector >> 5), bit);
  }

  /** EOI; returns the vector ended, or -1. */
  eoi(): number {
    const vector = this.#highest(ISR);
    if (vector < 0) return -1;
    const r = this.#registers;
    const bit = (1 << (vector & 31)) >>> 0;
    Atomics.and(r, ISR + (vector >> 5), ~bit >>> 0);
    if ((r[TMR + (vector >> 5)]! & bit) !== 0 && (r[SVR]! & (1 << 12)) === 0)
      this.#wiring.endOfInterrupt(vector);
    return vector;
  }

  #error(bits: number): void {
    this.state.errorPending |= bits;
    const lvt = this.#registers[LVT_ERROR]!;
    if ((lvt & LVT_MASKED) === 0 && (lvt & 0xff) >= 16) this.accept(lvt & 0xff);
  }

  // --- timer

  #mode(): number {
    return this.#registers[LVT_TIMER]! & MODE_MASK;
  }

  #cyclesPerCount(): number {
    const divide = this.#registers[TIMER_DIVIDE]!;
    const code = (divide & 3) | ((divide >>> 1) & 4);
    return CYCLES_PER_TICK * (code === 7 ? 1 : 2 ** (code + 1));
  }

  #stopTimer(): void {
    this.state.timerDeadline = 0;
    this.#timer.disarm();
  }

  #startTimer(initial: number): void {
    const s = this.state;
    s.registers[TIMER_INITIAL] = initial;
    if (initial === 0) {
      this.#stopTimer();
      return;
    }
    s.timerStart = this.#clock.now();
    s.timerDeadline = s.timerStart + initial * this.#cyclesPerCount();
    this.#timer.arm(s.timerDeadline);
  }

  #timerFired(): void {
    const s = this.state;
    const lvt = s.registers[LVT_TIMER]!;
    if (this.#mode() === MODE_PERIODIC && s.registers[TIMER_INITIAL] !== 0) {
      const period = s.registers[TIMER_INITIAL]! * this.#cyclesPerCount();
      const behind = Math.max(0, this.#clock.now() - s.timerDeadline);
      s.timerDeadline += (Math.floor(behind / period) + 1) * period;
      this.#timer.arm(s.timerDeadline);
    } else {
      s.timerDeadline = 0;
      if (this.#mode() === MODE_TSC_DEADLINE) s.tscDeadline = 0n;
    }
    if ((lvt & LVT_MASKED) === 0) this.accept(lvt & 0xff);
  }

  /** IA32_TSC_DEADLINE, in the guest's time-stamp counter; 0 disarms. */
  writeTscDeadline(value: bigint): void {
    if (this.#mode() !== MODE_TSC_DEADLINE) return;
    this.state.tscDeadline = value;
    if (value === 0n) {
      this.#stopTimer();
      return;
    }
    const distance = Number(value - BigInt(this.#wiring.guestTsc()));
    this.state.timerDeadline = this.#clock.now() + Math.max(0, distance);
    this.#timer.arm(this.state.timerDeadline);
  }

  readTscDeadline(): bigint {
    return this.#mode() === MODE_TSC_DEADLINE ? this.state.tscDeadline : 0n;
  }

  #currentCount(): number {
    const { timerDeadline } = this.state;
    if (timerDeadline === 0 || this.#mode() === MODE_TSC_DEADLINE) return 0;
    return Math.max(0, Math.ceil((timerDeadline - this.#clock.now()) / this.#cyclesPerCount()));
  }

  // --- registers

  static #isImplemented(index: number): boolean {
    return (
      index === ID ||
      index === VERSION ||
      index === TPR ||
      index === PPR ||
      index === EOI ||
      index === LDR ||
      index === DFR ||
      (index >= SVR && index <= ESR) ||
      (index >= ICR_LOW && index <= TIMER_CURRENT) ||
      index === TIMER_DIVIDE
    );
  }

  /** Reads the register at (offset >> 4) as the register page has it. */
  read(index: number): number {
    switch (index) {
      case PPR:
        return this.#priority();
      case TIMER_CURRENT:
        return this.#currentCount();
      case EOI:
      case SELF_IPI:
        return 0;
      default:
        if (VirtualApic.#isImplemented(index)) return this.#registers[index]!;
        this.#error(1 << 7);
        return 0;
    }
  }

  write(index: number, value: number): void {
    const r = this.#registers;
    switch (index) {
      case ID:
        if (!this.isX2apic) r[ID] = (value & 0xff000000) >>> 0;
        return;
      case TPR:
        r[TPR] = value & 0xff;
        this.#wiring.changed();
        return;
      case EOI:
        this.eoi();
        this.#wiring.changed();
        return;
      case LDR:
        if (!this.isX2apic) r[LDR] = (value & 0xff000000) >>> 0;
        return;
      case DFR:
        r[DFR] = (value | 0x0fffffff) >>> 0;
        return;
      case SVR:
        r[SVR] = value & 0x11ff;
        if ((value & SVR_ENABLE) === 0)
          for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt++) r[lvt]! |= LVT_MASKED;
        this.#wiring.changed();
        return;
      case ESR:
        r[ESR] = this.state.errorPending;
        this.state.errorPending = 0;
        return;
      case ICR_LOW:
        r[ICR_LOW] = value & 0xccfff;
        this.#send(value, r[ICR_HIGH]! >>> 24);
        return;
      case ICR_HIGH:
        r[ICR_HIGH] = (value & 0xff000000) >>> 0;
        return;
      case LVT_TIMER:
        this.#writeLvtTimer(value);
        return;
      case TIMER_INITIAL:
        if (this.#mode() !== MODE_TSC_DEADLINE) this.#startTimer(value);
        return;
      case TIMER_DIVIDE:
        r[TIMER_DIVIDE] = value & 0xb;
        if (this.state.timerDeadline !== 0 && this.#mode() !== MODE_TSC_DEADLINE)
          this.#startTimer(r[TIMER_INITIAL]!);
        return;
      default:
        if (index > LVT_TIMER && index <= LVT_ERROR) this.#writeLvt(index, value);
        else if (!VirtualApic.#isImplemented(index)) this.#error(1 << 7);
    }
  }

  #writeLvt(index: number, value: number): void {
    const writable =
      index === LVT_LINT0 || index === LVT_LINT1 ? 0x1a7ff : index === LVT_ERROR ? 0x100ff : 0x107ff;
    const masked = (this.#registers[SVR]! & SVR_ENABLE) === 0 ? LVT_MASKED : 0;
    this.#registers[index] = (value & writable) | masked;
    this.#wiring.changed();
  }

  #writeLvtTimer(value: number): void {
    const r = this.#registers;
    const before = this.#mode();
    let next = value & 0x700ff;
    if ((next & MODE_MASK) === MODE_MASK) next &= ~MODE_MASK;
    if ((r[SVR]! & SVR_ENABLE) === 0) next |= LVT_MASKED;
    r[LVT_TIMER] = next;
    if ((before === MODE_TSC_DEADLINE) !== (this.#mode() === MODE_TSC_DEADLINE)) {
      this.#stopTimer();
      this.state.tscDeadline = 0n;
      r[TIMER_INITIAL] = 0;
    }
  }

  #send(icrLow: number, destination: number): void {
    const mode = (icrLow >>> 8) & 7;
    if (mode === 0 && (icrLow & 0xff) < 16) {
      this.#error(1 << 5);
      return;
    }
    if (((icrLow >>> 18) & 3) === 1) {
      if (mode === 0) this.accept(icrLow & 0xff);
      return;
    }
    this.#wiring.sendIpi(icrLow, destination);
  }

  /**
   * RDMSR of 800H–83FH (index = MSR − 800H). Undefined: #GP.
   */
  readX2(index: number): bigint | undefined {
    if (
      !this.isX2apic ||
      index === EOI ||
      index === DFR ||
      index === ICR_HIGH ||
      index === SELF_IPI ||
      !VirtualApic.#isImplemented(index)
    )
      return undefined;
    if (index === ICR_LOW)
      return BigInt(this.#registers[ICR_LOW]!) | (BigInt(this.#registers[ICR_HIGH]!) << 32n);
    return BigInt(this.read(index) >>> 0);
  }

  /** WRMSR of 800H–83FH. False: #GP. */
  writeX2(index: number, low: number, high: number): boolean {
    if (!this.isX2apic) return false;
    if (index === ICR_LOW) {
      this.#registers[ICR_LOW] = low & 0xccfff;
      this.#registers[ICR_HIGH] = high;
      this.#send(low, high);
      return true;
    }
    if (high !== 0) return false;
    switch (index) {
      case EOI:
      case ESR:
        if (low !== 0) return false;
        break;
      case TPR:
        if (low > 0xff) return false;
        break;
      case SELF_IPI:
        if (low > 0xff) return false;
        this.accept(low);
        return true;
      case SVR:
      case TIMER_INITIAL:
      case TIMER_DIVIDE:
        break;
      default:
        if (index < LVT_TIMER || index > LVT_ERROR) return false;
    }
    this.write(index, low);
    return true;
  }
}

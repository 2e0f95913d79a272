/**
 * Interrupts of the 82540EM: causes and mask (ICR, ICS, IMS, IMC), the delays of receive and transmit interrupts (RDTR, RADV, TIDV,
 * TADV) and the least interval between two interrupts (ITR). Manual, "Interrupt Moderation".
 */
import { struct, u32, u53, u8, type ViewOf } from "../../../layout/struct.ts";
import type { DeviceContext, Timer } from "../../ports.ts";
import * as spec from "./spec.ts";

export const InterruptsStruct = struct("E1000Interrupts", {
  causes: u32,
  mask: u32,
  /** The line is asserted. */
  asserted: u8,
  /** When it last became so. */
  lastAt: u53,
  /** When the delayed interrupts are due; 0: none is. */
  receiveAt: u53,
  receiveLatest: u53,
  transmitAt: u53,
  transmitLatest: u53,
});

export class Interrupts {
  readonly #state: ViewOf<typeof InterruptsStruct>;
  readonly #context: DeviceContext;
  readonly #register: (offset: number) => number;
  readonly #setLine: (level: boolean) => void;
  readonly #throttle: Timer;
  readonly #delay: Timer;

  constructor(
    context: DeviceContext,
    label: string,
    register: (offset: number) => number,
    setLine: (level: boolean) => void,
  ) {
    this.#context = context;
    this.#state = context.state.place(`${label} interrupts`, InterruptsStruct);
    this.#register = register;
    this.#setLine = setLine;
    this.#throttle = context.timer(`${label} throttle`, () => this.sync());
    this.#delay = context.timer(`${label} delay`, () => this.#delayOver());
  }

  reset(): void {
    const s = this.#state;
    s.causes = s.mask = s.asserted = 0;
    s.lastAt = s.receiveAt = s.receiveLatest = s.transmitAt = s.transmitLatest = 0;
    this.#throttle.disarm();
    this.#delay.disarm();
    this.sync();
  }

  get mask(): number {
    return this.#state.mask;
  }

  /** ICR read: "all bits are cleared upon read". */
  takeCauses(): number {
    const { causes } = this.#state;
    this.clearCauses(spec.ICR_CAUSES);
    return causes;
  }

  clearCauses(bits: number): void {
    this.#state.causes &= ~bits;
    this.sync();
  }

  raise(causes: number): void {
    this.#state.causes = (this.#state.causes | (causes & spec.ICR_CAUSES)) >>> 0;
    this.sync();
  }

  setMask(bits: number): void {
    this.#state.mask = (this.#state.mask | (bits & spec.ICR_CAUSES)) >>> 0;
    this.sync();
  }

  clearMask(bits: number): void {
    this.#state.mask = (this.#state.mask & ~bits) >>> 0;
    this.sync();
  }

  /** A frame was received: RXT0 now, or when no other has come for RDTR, RADV at the latest. */
  received(): void {
    const delay = this.#cycles(this.#register(spec.RDTR) & 0xffff);
    if (delay === 0) {
      this.raise(spec.ICR_RXT0);
      return;
    }
    const s = this.#state;
    const now = this.#context.clock.now();
    const latest = this.#cycles(this.#register(spec.RADV) & 0xffff);
    if (s.receiveAt === 0) s.receiveLatest = latest === 0 ? Number.MAX_SAFE_INTEGER : now + latest;
    s.receiveAt = Math.min(now + delay, s.receiveLatest);
    this.#arm();
  }

  /** A descriptor that asks for it was written back. `delayed`: its IDE bit. */
  transmitted(delayed: boolean): void {
    const delay = this.#cycles(this.#register(spec.TIDV) & 0xffff);
    if (!delayed || delay === 0) {
      this.raise(spec.ICR_TXDW);
      return;
    }
    const s = this.#state;
    const now = this.#context.clock.now();
    const latest = this.#cycles(this.#register(spec.TADV) & 0xffff);
    if (s.transmitAt === 0) s.transmitLatest = latest === 0 ? Number.MAX_SAFE_INTEGER : now + latest;
    s.transmitAt = Math.min(now + delay, s.transmitLatest);
    this.#arm();
  }

  /** RDTR or TIDV with FPD: what is delayed is over now. */
  flush(which: "receive" | "transmit"): void {
    const s = this.#state;
    const isReceive = which === "receive";
    if ((isReceive ? s.receiveAt : s.transmitAt) === 0) return;
    if (isReceive) s.receiveAt = 0;
    else s.transmitAt = 0;
    this.raise(isReceive ? spec.ICR_RXT0 : spec.ICR_TXDW);
    this.#arm();
  }

  #cycles(units: number): number {
    return Math.ceil(units * spec.DELAY_UNIT * this.#context.clock.frequencyHz);
  }

  #arm(): void {
    const { receiveAt, transmitAt } = this.#state;
    const times = [receiveAt, transmitAt].filter((time) => time !== 0);
    if (times.length === 0) this.#delay.disarm();
    else this.#delay.arm(Math.min(...times));
  }

  #delayOver(): void {
    const s = this.#state;
    const now = this.#context.clock.now();
    let causes = 0;
    if (s.receiveAt !== 0 && s.receiveAt <= now) {
      s.receiveAt = 0;
      causes |= spec.ICR_RXT0;
    }
    if (s.transmitAt !== 0 && s.transmitAt <= now) {
      s.transmitAt = 0;
      causes |= spec.ICR_TXDW;
    }
    if (causes !== 0) this.raise(causes);
    this.#arm();
  }

  /** Recomputes the line. It falls at once and rises when ITR's interval is over. */
  sync(): void {
    const s = this.#state;
    const wants = (s.causes & s.mask) !== 0;
    if (!wants) {
      s.asserted = 0;
      this.#throttle.disarm();
    } else if (s.asserted === 0) {
      const { clock } = this.#context;
      const interval = Math.ceil(this.#register(spec.ITR) * spec.ITR_UNIT * clock.frequencyHz);
      const now = clock.now();
      const earliest = interval === 0 || s.lastAt === 0 ? now : s.lastAt + interval;
      if (earliest > now) this.#throttle.arm(earliest);
      else {
        s.asserted = 1;
        s.lastAt = now;
      }
    }
    this.#setLine(s.asserted !== 0);
  }
}

/**
 * A 16550 UART: National Semiconductor, "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs",
 * data sheet (register names are its own), wired as on a PC: OUT2 gates the interrupt line.
 *
 * Transmission takes no time: THR is empty again before the write returns, so LSR always shows THRE and TEMT.
 * Characters from outside wait in a ring in shared state and enter the receiver whenever it has room, so the
 * outside never causes an overrun; a program can (in loop-back).
 */
import { bytes, struct, u16, u32, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, PortDevice, Resettable, SerialSink, Timer } from "../ports.ts";
import * as spec from "./spec.ts";

/** Characters from outside that can wait for the guest. */
export const RECEIVE_RING_BYTES = 4096;

/** Volatile state of one UART. */
export const Uart16550Struct = struct("Uart16550", {
  ier: u8,
  fcr: u8,
  lcr: u8,
  mcr: u8,
  /** LSR's error bits and DR only; THRE and TEMT are constant. */
  lsr: u8,
  msr: u8,
  scr: u8,
  dll: u8,
  dlm: u8,
  /** The THRE interrupt condition: set when THR empties, cleared by reading IIR or writing THR. */
  thrEmptyPending: u8,
  timeoutPending: u8,
  /** Receiver FIFO (only entry 0 is used while FIFOs are off). */
  fifoHead: u8,
  fifoCount: u8,
  fifoData: bytes(spec.FIFO_SIZE),
  /** LSR error bits (PE, FE, BI) that belong to each character. */
  fifoErrors: bytes(spec.FIFO_SIZE),
  ringHead: u16,
  ringCount: u16,
  /** Characters transmitted since power-on, modulo 2^32. */
  transmitted: u32,
  ring: bytes(RECEIVE_RING_BYTES),
});

export interface Uart16550Options {
  readonly label: string;
  readonly irq: InterruptLine;
  readonly sink: SerialSink;
}

export class Uart16550 implements PortDevice, Resettable {
  readonly #state: ViewOf<typeof Uart16550Struct>;
  readonly #irq: InterruptLine;
  readonly #sink: SerialSink;
  readonly #clock: DeviceContext["clock"];
  readonly #timeout: Timer;

  constructor(context: DeviceContext, options: Uart16550Options) {
    this.#state = context.state.place(options.label, Uart16550Struct);
    this.#irq = options.irq;
    this.#sink = options.sink;
    this.#clock = context.clock;
    this.#timeout = context.timer(`${options.label} character timeout`, () => this.#characterTimeout());
  }

  /** Master reset, as the data sheet's table of reset states. Waiting input is kept: it is outside the chip. */
  reset(): void {
    const s = this.#state;
    s.ier = 0;
    s.fcr = 0;
    s.lcr = 0;
    s.mcr = 0;
    s.lsr = 0;
    s.scr = 0;
    // The divisor is not changed by master reset on the chip; a power-on value keeps its use defined.
    s.dll = 12;
    s.dlm = 0;
    s.thrEmptyPending = 0;
    this.#clearReceiver();
    s.msr = this.#modemInputs();
    this.#fillReceiver();
    this.syncOutputs();
  }

  /**
   * Hands characters from outside to the UART.
   * @returns how many were accepted: fewer than given when the ring is full; the caller keeps the rest.
   */
  receive(input: Uint8Array): number {
    const s = this.#state;
    const accepted = Math.min(input.length, RECEIVE_RING_BYTES - s.ringCount);
    for (let i = 0; i < accepted; i++)
      s.ring[(s.ringHead + s.ringCount + i) % RECEIVE_RING_BYTES] = input[i]!;
    s.ringCount += accepted;
    this.#fillReceiver();
    this.syncOutputs();
    return accepted;
  }

  /** Free bytes in the input ring. */
  get receiveSpace(): number {
    return RECEIVE_RING_BYTES - this.#state.ringCount;
  }

  readPort(offset: number): number {
    const s = this.#state;
    switch (offset) {
      case spec.RBR_THR_DLL:
        return this.#isDivisorLatchOpen() ? s.dll : this.#readRbr();
      case spec.IER_DLM:
        return this.#isDivisorLatchOpen() ? s.dlm : s.ier;
      case spec.IIR_FCR:
        return this.#readIir();
      case spec.LCR:
        return s.lcr;
      case spec.MCR:
        return s.mcr;
      case spec.LSR:
        return this.#readLsr();
      case spec.MSR:
        return this.#readMsr();
      case spec.SCR:
        return s.scr;
      default:
        return 0xff;
    }
  }

  writePort(offset: number, _size: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    value &= 0xff;
    switch (offset) {
      case spec.RBR_THR_DLL:
        if (this.#isDivisorLatchOpen()) s.dll = value;
        else this.#writeThr(value);
        break;
      case spec.IER_DLM:
        if (this.#isDivisorLatchOpen()) s.dlm = value;
        else this.#writeIer(value);
        break;
      case spec.IIR_FCR:
        this.#writeFcr(value);
        break;
      case spec.LCR:
        this.#writeLcr(value);
        break;
      case spec.MCR:
        this.#writeMcr(value);
        break;
      case spec.SCR:
        s.scr = value;
        break;
      default: // LSR and MSR are read-only (the data sheet reserves writing LSR for factory testing).
        break;
    }
    this.syncOutputs();
  }

  /** Recomputes the interrupt line. In loop-back the OUT2 pin is inactive, so no interrupt leaves the chip. */
  syncOutputs(): void {
    const enabled = (this.#state.mcr & (spec.MCR_OUT2 | spec.MCR_LOOP)) === spec.MCR_OUT2;
    this.#irq.set(enabled && this.#pendingInterrupt() !== spec.IIR_NONE);
  }

  #isDivisorLatchOpen(): boolean {
    return (this.#state.lcr & spec.LCR_DLAB) !== 0;
  }

  #fifosEnabled(): boolean {
    return (this.#state.fcr & spec.FCR_FIFO_ENABLE) !== 0;
  }

  #triggerLevel(): number {
    return this.#fifosEnabled() ? spec.RCVR_TRIGGER[this.#state.fcr >> spec.FCR_TRIGGER_SHIFT]! : 1;
  }

  /** The highest-priority enabled cause ("Interrupt Control Functions" table), or `IIR_NONE`. */
  #pendingInterrupt(): number {
    const s = this.#state;
    if (s.ier & spec.IER_ELSI && s.lsr & spec.LSR_ERRORS) return spec.IIR_RECEIVER_LINE_STATUS;
    if (s.ier & spec.IER_ERBFI) {
      if (s.fifoCount >= this.#triggerLevel()) return spec.IIR_RECEIVED_DATA_AVAILABLE;
      if (s.timeoutPending) return spec.IIR_CHARACTER_TIMEOUT;
    }
    if (s.ier & spec.IER_ETBEI && s.thrEmptyPending) return spec.IIR_THR_EMPTY;
    if (s.ier & spec.IER_EDSSI && s.msr & spec.MSR_DELTAS) return spec.IIR_MODEM_STATUS;
    return spec.IIR_NONE;
  }

  #readIir(): number {
    const cause = this.#pendingInterrupt();
    // "Reading the IIR (if source of interrupt)" is one of the two ways to clear the THRE cause.
    if (cause === spec.IIR_THR_EMPTY) {
      this.#state.thrEmptyPending = 0;
      this.syncOutputs();
    }
    return cause | (this.#fifosEnabled() ? spec.IIR_FIFOS_ENABLED : 0);
  }

  #readRbr(): number {
    const s = this.#state;
    if (s.fifoCount === 0) return s.fifoData[s.fifoHead]!;
    const value = s.fifoData[s.fifoHead]!;
    s.fifoErrors[s.fifoHead] = 0;
    s.fifoHead = (s.fifoHead + 1) % spec.FIFO_SIZE;
    s.fifoCount--;
    s.timeoutPending = 0;
    this.#revealTopOfFifo();
    this.#fillReceiver();
    this.#restartTimeout();
    this.syncOutputs();
    return value;
  }

  #readLsr(): number {
    const s = this.#state;
    let value = s.lsr | spec.LSR_THRE | spec.LSR_TEMT;
    if (s.fifoCount > 0) value |= spec.LSR_DR;
    if (this.#fifosEnabled())
      for (const errors of s.fifoErrors) if (errors !== 0) value |= spec.LSR_FIFO_ERROR;
    s.lsr = 0;
    if (s.fifoCount > 0) s.fifoErrors[s.fifoHead] = 0;
    this.syncOutputs();
    return value;
  }

  #readMsr(): number {
    const value = this.#state.msr;
    this.#state.msr = value & ~spec.MSR_DELTAS;
    this.syncOutputs();
    return value;
  }

  #writeThr(value: number): void {
    const s = this.#state;
    // The line falls while the character is in THR, then rises: an edge-triggered controller must see that.
    s.thrEmptyPending = 0;
    this.syncOutputs();
    if (s.mcr & spec.MCR_LOOP) this.#receiveCharacter(value & this.#wordMask(), 0);
    else {
      s.transmitted++;
      this.#sink.transmit(value & this.#wordMask());
    }
    s.thrEmptyPending = 1;
  }

  #writeIer(value: number): void {
    const s = this.#state;
    // Enabling the THRE interrupt while THR is empty raises it at once.
    if (value & ~s.ier & spec.IER_ETBEI) s.thrEmptyPending = 1;
    s.ier = value & spec.IER_WRITABLE;
  }

  #writeFcr(value: number): void {
    const s = this.#state;
    // "Changing from FIFO mode to 16450 mode and vice versa clears data from the FIFOs."
    if ((value ^ s.fcr) & spec.FCR_FIFO_ENABLE) this.#clearReceiver();
    if (!(value & spec.FCR_FIFO_ENABLE)) {
      // Bit 0 "must be a 1 when other FCR bits are written to or they will not be programmed".
      s.fcr = 0;
    } else {
      if (value & spec.FCR_RCVR_FIFO_RESET) this.#clearReceiver();
      // The reset bits are self-clearing; the transmitter FIFO is always empty.
      s.fcr = value & ~(spec.FCR_RCVR_FIFO_RESET | spec.FCR_XMIT_FIFO_RESET);
      if (value & spec.FCR_XMIT_FIFO_RESET) s.thrEmptyPending = 1;
    }
    this.#fillReceiver();
    this.#restartTimeout();
  }

  #writeLcr(value: number): void {
    const s = this.#state;
    const breakBegins = (value & ~s.lcr & spec.LCR_BREAK) !== 0;
    s.lcr = value;
    // A break sent in loop-back is received as one zero character marked BI.
    if (breakBegins && s.mcr & spec.MCR_LOOP) this.#receiveCharacter(0, spec.LSR_BI);
  }

  #writeMcr(value: number): void {
    const s = this.#state;
    s.mcr = value & spec.MCR_WRITABLE;
    const inputs = this.#modemInputs();
    const changed = inputs ^ s.msr;
    let deltas = s.msr & spec.MSR_DELTAS;
    if (changed & spec.MSR_CTS) deltas |= spec.MSR_DCTS;
    if (changed & spec.MSR_DSR) deltas |= spec.MSR_DDSR;
    if (changed & spec.MSR_DCD) deltas |= spec.MSR_DDCD;
    // TERI marks the trailing edge of RI only.
    if (changed & spec.MSR_RI && !(inputs & spec.MSR_RI)) deltas |= spec.MSR_TERI;
    s.msr = inputs | deltas;
    this.#fillReceiver();
  }

  /** A terminal is attached: CTS, DSR and DCD are on. In loop-back the inputs are the four outputs. */
  #modemInputs(): number {
    const mcr = this.#state.mcr;
    if (!(mcr & spec.MCR_LOOP)) return spec.MSR_CTS | spec.MSR_DSR | spec.MSR_DCD;
    return (
      (mcr & spec.MCR_RTS ? spec.MSR_CTS : 0) |
      (mcr & spec.MCR_DTR ? spec.MSR_DSR : 0) |
      (mcr & spec.MCR_OUT1 ? spec.MSR_RI : 0) |
      (mcr & spec.MCR_OUT2 ? spec.MSR_DCD : 0)
    );
  }

  #wordMask(): number {
    return (1 << (5 + (this.#state.lcr & spec.LCR_WORD_LENGTH))) - 1;
  }

  #clearReceiver(): void {
    const s = this.#state;
    s.fifoHead = 0;
    s.fifoCount = 0;
    s.fifoData.fill(0);
    s.fifoErrors.fill(0);
    s.timeoutPending = 0;
    this.#timeout.disarm();
  }

  /** Moves waiting input into the receiver as far as it has room. Not in loop-back: SIN is disconnected. */
  #fillReceiver(): void {
    const s = this.#state;
    if (s.mcr & spec.MCR_LOOP) return;
    const capacity = this.#fifosEnabled() ? spec.FIFO_SIZE : 1;
    while (s.ringCount > 0 && s.fifoCount < capacity) {
      const value = s.ring[s.ringHead]!;
      s.ringHead = (s.ringHead + 1) % RECEIVE_RING_BYTES;
      s.ringCount--;
      this.#receiveCharacter(value, 0);
    }
  }

  #receiveCharacter(value: number, errors: number): void {
    const s = this.#state;
    if (this.#fifosEnabled()) {
      if (s.fifoCount === spec.FIFO_SIZE) {
        // FIFO full: the character in the shift register is lost, the FIFO is kept.
        s.lsr |= spec.LSR_OE;
        return;
      }
      const at = (s.fifoHead + s.fifoCount) % spec.FIFO_SIZE;
      s.fifoData[at] = value;
      s.fifoErrors[at] = errors;
      s.fifoCount++;
      if (s.fifoCount === 1) this.#revealTopOfFifo();
    } else {
      // 16450 mode: the new character destroys the one not yet read.
      if (s.fifoCount === 1) s.lsr |= spec.LSR_OE;
      s.fifoData[s.fifoHead] = value;
      s.lsr |= errors;
      s.fifoCount = 1;
    }
    s.timeoutPending = 0;
    this.#restartTimeout();
  }

  /** In FIFO mode an error is "revealed to the CPU when its associated character is at the top of the FIFO". */
  #revealTopOfFifo(): void {
    const s = this.#state;
    if (s.fifoCount > 0) s.lsr |= s.fifoErrors[s.fifoHead]!;
  }

  /** The timeout counts four character times without a character in or out while the FIFO is not empty. */
  #restartTimeout(): void {
    const s = this.#state;
    if (!this.#fifosEnabled() || s.fifoCount === 0 || s.timeoutPending) {
      this.#timeout.disarm();
      return;
    }
    const divisor = (s.dlm << 8) | s.dll || 0x10000;
    const bits =
      1 +
      5 +
      (s.lcr & spec.LCR_WORD_LENGTH) +
      (s.lcr & spec.LCR_PEN ? 1 : 0) +
      (s.lcr & spec.LCR_STB ? 2 : 1);
    const clocks = 4 * bits * spec.CLOCKS_PER_BIT_PER_DIVISOR * divisor;
    const clock = this.#clock;
    this.#timeout.arm(clock.timeOfTick(spec.UART_CLOCK_HZ, clock.ticks(spec.UART_CLOCK_HZ) + clocks));
  }

  #characterTimeout(): void {
    const s = this.#state;
    if (!this.#fifosEnabled() || s.fifoCount === 0) return;
    s.timeoutPending = 1;
    this.syncOutputs();
  }
}

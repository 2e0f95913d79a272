/**
 * The keyboard controller: IBM, "Personal System/2 Hardware Interface Technical Reference", "Keyboard and Auxiliary Device
 * Controller". It resets the processor and holds an A20 gate.
 *
 * With a keyboard and a mouse behind it, their bytes come to the output buffer one at a time, each after the time that a byte
 * takes on the wire. Without, a byte for the keyboard meets no device and the controller reports a time-out, which tells drivers
 * at once that nothing is attached; there is no auxiliary interface.
 */
import { nested, struct, u8 } from "../../layout/struct.ts";
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
import * as spec from "./i8042-spec.ts";
import { Ps2Keyboard, Ps2KeyboardStruct } from "./ps2-keyboard.ts";
import { Ps2Mouse, Ps2MouseStruct } from "./ps2-mouse.ts";
import { BREAK, toSet1 } from "./scan-codes.ts";

export const I8042Struct = struct("I8042", {
  /** OBF, SYSTEM, COMMAND and TIMEOUT. */
  status: u8,
  commandByte: u8,
  outputBuffer: u8,
  outputPort: u8,
  /** The command whose data byte is expected at port 60H, or 0. */
  awaiting: u8,
});

/** Beside the controller's own state, where devices are attached. */
export const Ps2DevicesStruct = struct("Ps2Devices", {
  /** Translation has seen F0H: the next code is a break code. */
  breakPending: u8,
  keyboard: nested(Ps2KeyboardStruct),
  mouse: nested(Ps2MouseStruct),
});

/** Bytes a second from a device: 11 bits each at 110 kHz, ten times as fast as on the wire, for guests that wait. */
const BYTES_A_SECOND = 10_000;

export interface I8042Options {
  readonly label: string;
  /** IRQ 1. */
  readonly irq: InterruptLine;
  readonly system: SystemControl;
  /** A keyboard and a mouse are attached; IRQ 12. */
  readonly auxiliaryIrq?: InterruptLine;
}

export class I8042 implements Resettable {
  readonly #state: ViewOf<typeof I8042Struct>;
  readonly #irq: InterruptLine;
  readonly #system: SystemControl;
  readonly #auxiliaryIrq: InterruptLine | undefined;
  readonly #clock: Clock;
  readonly #devices: ViewOf<typeof Ps2DevicesStruct> | undefined;
  readonly #wire: Timer | undefined;
  readonly keyboard: Ps2Keyboard | undefined;
  readonly mouse: Ps2Mouse | undefined;

  /** Port 60H. */
  readonly dataPort: PortDevice;
  /** Port 64H. */
  readonly commandPort: PortDevice;

  constructor(context: DeviceContext, options: I8042Options) {
    this.#state = context.state.place(options.label, I8042Struct);
    this.#irq = options.irq;
    this.#system = options.system;
    this.#auxiliaryIrq = options.auxiliaryIrq;
    this.#clock = context.clock;
    if (options.auxiliaryIrq) {
      this.#devices = context.state.place(`${options.label} devices`, Ps2DevicesStruct);
      this.#wire = context.timer(`${options.label} wire`, () => this.#byteArrived());
      const typing = (fire: () => void): Timer => context.timer(`${options.label} typing`, fire);
      const hasData = (): void => this.#listen();
      this.keyboard = new Ps2Keyboard(this.#devices.keyboard, context.clock, typing, hasData);
      this.mouse = new Ps2Mouse(this.#devices.mouse, hasData);
    }
    this.dataPort = {
      readPort: () => this.#readData(),
      writePort: (_offset, _size, value) => this.#writeData(value & 0xff),
    };
    this.commandPort = {
      readPort: () => this.#state.status | spec.STATUS_UNLOCKED,
      writePort: (_offset, _size, value) => this.#writeCommand(value & 0xff),
    };
  }

  reset(): void {
    const s = this.#state;
    s.status = 0;
    s.commandByte = spec.COMMAND_BYTE_KEYBOARD_DISABLED;
    s.outputBuffer = 0;
    s.outputPort = spec.OUTPUT_PORT_RESET_N | spec.OUTPUT_PORT_A20;
    s.awaiting = 0;
    if (this.#devices) {
      s.commandByte |= spec.COMMAND_BYTE_AUX_DISABLED;
      this.#devices.breakPending = 0;
      this.#wire!.disarm();
      this.keyboard!.reset();
      this.mouse!.reset();
    }
    this.syncOutputs();
  }

  syncOutputs(): void {
    const s = this.#state;
    const isFull = (s.status & spec.STATUS_OBF) !== 0;
    const isAux = (s.status & spec.STATUS_AUX) !== 0;
    this.#irq.set(isFull && !isAux && (s.commandByte & spec.COMMAND_BYTE_IRQ1) !== 0);
    this.#auxiliaryIrq?.set(isFull && isAux && (s.commandByte & spec.COMMAND_BYTE_IRQ12) !== 0);
  }

  #readData(): number {
    const s = this.#state;
    s.status &= ~(spec.STATUS_OBF | spec.STATUS_TIMEOUT | spec.STATUS_AUX);
    this.syncOutputs();
    this.#listen();
    return s.outputBuffer;
  }

  #respond(value: number, status = 0): void {
    const s = this.#state;
    s.outputBuffer = value;
    s.status = (s.status & ~(spec.STATUS_TIMEOUT | spec.STATUS_AUX)) | spec.STATUS_OBF | status;
  }

  // Devices.

  #isKeyboardReady(): boolean {
    return (
      this.keyboard?.isSilent === false &&
      (this.#state.commandByte & spec.COMMAND_BYTE_KEYBOARD_DISABLED) === 0
    );
  }

  #isMouseReady(): boolean {
    return this.mouse?.isSilent === false && (this.#state.commandByte & spec.COMMAND_BYTE_AUX_DISABLED) === 0;
  }

  /** A device that may send, and whose last byte has been read, sends its next one. */
  #listen(): void {
    const wire = this.#wire;
    if (wire === undefined || wire.armedAt !== undefined) return;
    if ((this.#state.status & spec.STATUS_OBF) !== 0 || !(this.#isKeyboardReady() || this.#isMouseReady()))
      return;
    wire.arm(this.#clock.now() + Math.ceil(this.#clock.frequencyHz / BYTES_A_SECOND));
  }

  #byteArrived(): void {
    const s = this.#state;
    if ((s.status & spec.STATUS_OBF) !== 0) return;
    if (this.#isKeyboardReady()) {
      const value = this.#translated(this.keyboard!.next()!);
      if (value !== undefined) this.#respond(value);
    } else if (this.#isMouseReady()) this.#respond(this.mouse!.next()!, spec.STATUS_AUX);
    this.syncOutputs();
    this.#listen();
  }

  /** "Scan code translation": F0H is taken in, and makes a break code of the next. */
  #translated(value: number): number | undefined {
    const devices = this.#devices!;
    if ((this.#state.commandByte & spec.COMMAND_BYTE_TRANSLATE) === 0) return value;
    if (value === BREAK) {
      devices.breakPending = 1;
      return undefined;
    }
    const bit = devices.breakPending !== 0 ? 0x80 : 0;
    devices.breakPending = 0;
    return toSet1(value) | bit;
  }

  #writeCommand(command: number): void {
    const s = this.#state;
    s.status |= spec.STATUS_COMMAND;
    s.awaiting = 0;
    switch (command) {
      case spec.WRITE_COMMAND_BYTE:
      case spec.WRITE_OUTPUT_PORT:
      case spec.WRITE_KEYBOARD_OUTPUT:
      case spec.WRITE_AUX_OUTPUT:
      case spec.WRITE_AUX:
        s.awaiting = command;
        break;
      case spec.READ_COMMAND_BYTE:
        this.#respond(s.commandByte);
        break;
      case spec.SELF_TEST:
        s.status |= spec.STATUS_SYSTEM;
        s.commandByte |= spec.COMMAND_BYTE_SYSTEM;
        this.#respond(spec.SELF_TEST_PASSED);
        break;
      case spec.TEST_KEYBOARD:
        this.#respond(spec.INTERFACE_OK);
        break;
      case spec.TEST_AUX:
        this.#respond(this.mouse ? spec.INTERFACE_OK : spec.INTERFACE_CLOCK_LOW);
        break;
      case spec.DISABLE_AUX:
        if (this.mouse) s.commandByte |= spec.COMMAND_BYTE_AUX_DISABLED;
        break;
      case spec.ENABLE_AUX:
        s.commandByte &= ~spec.COMMAND_BYTE_AUX_DISABLED;
        break;
      case spec.DISABLE_KEYBOARD:
        s.commandByte |= spec.COMMAND_BYTE_KEYBOARD_DISABLED;
        break;
      case spec.ENABLE_KEYBOARD:
        s.commandByte &= ~spec.COMMAND_BYTE_KEYBOARD_DISABLED;
        break;
      case spec.READ_INPUT_PORT:
        this.#respond(spec.INPUT_PORT);
        break;
      case spec.READ_OUTPUT_PORT:
        this.#respond(s.outputPort | this.#bufferBits());
        break;
      case spec.READ_TEST_INPUTS:
        this.#respond(0);
        break;
      default:
        // Pulses bits of the output port low; only the processor's reset has an effect.
        if (command >= spec.PULSE_OUTPUT && !(command & spec.OUTPUT_PORT_RESET_N))
          this.#system.requestReset("cpu");
    }
    this.syncOutputs();
    this.#listen();
  }

  #bufferBits(): number {
    const { status } = this.#state;
    if ((status & spec.STATUS_OBF) === 0) return 0;
    return status & spec.STATUS_AUX ? spec.OUTPUT_PORT_AUX_OBF : spec.OUTPUT_PORT_OBF;
  }

  #writeData(value: number): void {
    const s = this.#state;
    s.status &= ~spec.STATUS_COMMAND;
    const command = s.awaiting;
    s.awaiting = 0;
    switch (command) {
      case spec.WRITE_COMMAND_BYTE:
        s.commandByte = this.mouse ? value : value & ~spec.COMMAND_BYTE_AUX_DISABLED;
        s.status = (s.status & ~spec.STATUS_SYSTEM) | (value & spec.COMMAND_BYTE_SYSTEM);
        break;
      case spec.WRITE_OUTPUT_PORT:
        this.#writeOutputPort(value);
        break;
      case spec.WRITE_KEYBOARD_OUTPUT:
        this.#respond(value);
        break;
      case spec.WRITE_AUX_OUTPUT:
        // Without an auxiliary interface the byte comes back as the keyboard's.
        this.#respond(value, this.mouse ? spec.STATUS_AUX : 0);
        break;
      case spec.WRITE_AUX:
        this.#toDevice(this.mouse, spec.COMMAND_BYTE_AUX_DISABLED, value);
        break;
      default:
        this.#toDevice(this.keyboard, spec.COMMAND_BYTE_KEYBOARD_DISABLED, value);
    }
    this.syncOutputs();
    this.#listen();
  }

  /** A byte for a device opens its interface; where there is none, the controller's wait for its answer times out. */
  #toDevice(device: Ps2Keyboard | Ps2Mouse | undefined, disabled: number, value: number): void {
    if (device === undefined) {
      this.#respond(spec.RESEND, spec.STATUS_TIMEOUT);
      return;
    }
    this.#state.commandByte &= ~disabled;
    device.receive(value);
  }

  #writeOutputPort(value: number): void {
    const s = this.#state;
    const changed = value ^ s.outputPort;
    s.outputPort = value & ~spec.OUTPUT_PORT_OBF;
    if (changed & spec.OUTPUT_PORT_A20) this.#system.setA20((value & spec.OUTPUT_PORT_A20) !== 0);
    if (!(value & spec.OUTPUT_PORT_RESET_N)) this.#system.requestReset("cpu");
  }
}

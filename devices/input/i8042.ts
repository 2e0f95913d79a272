/**
 * The keyboard controller of a PC with no keyboard and no auxiliary (mouse) interface: IBM, "Personal System/2
 * Hardware Interface Technical Reference", "Keyboard and Auxiliary Device Controller".
 *
 * It answers its own commands as the reference says. A byte for the keyboard meets no device, so the controller
 * reports a time-out, which tells drivers at once that nothing is attached. It resets the processor and holds an
 * A20 gate.
 */
import { struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, PortDevice, Resettable, SystemControl } from "../ports.ts";
import * as spec from "./i8042-spec.ts";

export const I8042Struct = struct("I8042", {
  /** OBF, SYSTEM, COMMAND and TIMEOUT. */
  status: u8,
  commandByte: u8,
  outputBuffer: u8,
  outputPort: u8,
  /** The command whose data byte is expected at port 60H, or 0. */
  awaiting: u8,
});

export interface I8042Options {
  readonly label: string;
  /** IRQ 1. */
  readonly irq: InterruptLine;
  readonly system: SystemControl;
}

export class I8042 implements Resettable {
  readonly #state: ViewOf<typeof I8042Struct>;
  readonly #irq: InterruptLine;
  readonly #system: SystemControl;

  /** Port 60H. */
  readonly dataPort: PortDevice;
  /** Port 64H. */
  readonly commandPort: PortDevice;

  constructor(context: DeviceContext, options: I8042Options) {
    this.#state = context.state.place(options.label, I8042Struct);
    this.#irq = options.irq;
    this.#system = options.system;
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
    this.syncOutputs();
  }

  syncOutputs(): void {
    const s = this.#state;
    this.#irq.set((s.status & spec.STATUS_OBF) !== 0 && (s.commandByte & spec.COMMAND_BYTE_IRQ1) !== 0);
  }

  #readData(): number {
    const s = this.#state;
    s.status &= ~(spec.STATUS_OBF | spec.STATUS_TIMEOUT);
    this.syncOutputs();
    return s.outputBuffer;
  }

  #respond(value: number, status = 0): void {
    const s = this.#state;
    s.outputBuffer = value;
    s.status = (s.status & ~spec.STATUS_TIMEOUT) | spec.STATUS_OBF | status;
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
        this.#respond(spec.INTERFACE_CLOCK_LOW);
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
        this.#respond(s.outputPort | (s.status & spec.STATUS_OBF ? spec.OUTPUT_PORT_OBF : 0));
        break;
      case spec.READ_TEST_INPUTS:
        this.#respond(0);
        break;
      default:
        // Pulses bits of the output port low; only the processor's reset has an effect. Others (A7H and A8H
        // among them) do nothing in a controller without an auxiliary interface.
        if (command >= spec.PULSE_OUTPUT && !(command & spec.OUTPUT_PORT_RESET_N))
          this.#system.requestReset("cpu");
    }
    this.syncOutputs();
  }

  #writeData(value: number): void {
    const s = this.#state;
    s.status &= ~spec.STATUS_COMMAND;
    const command = s.awaiting;
    s.awaiting = 0;
    switch (command) {
      case spec.WRITE_COMMAND_BYTE:
        s.commandByte = value & ~spec.COMMAND_BYTE_AUX_DISABLED;
        s.status = (s.status & ~spec.STATUS_SYSTEM) | (value & spec.COMMAND_BYTE_SYSTEM);
        break;
      case spec.WRITE_OUTPUT_PORT:
        this.#writeOutputPort(value);
        break;
      case spec.WRITE_KEYBOARD_OUTPUT:
      case spec.WRITE_AUX_OUTPUT: // without an auxiliary interface the byte comes back as the keyboard's
        this.#respond(value);
        break;
      default: // A byte for a device that is not there.
        this.#respond(spec.RESEND, spec.STATUS_TIMEOUT);
    }
    this.syncOutputs();
  }

  #writeOutputPort(value: number): void {
    const s = this.#state;
    const changed = value ^ s.outputPort;
    s.outputPort = value & ~spec.OUTPUT_PORT_OBF;
    if (changed & spec.OUTPUT_PORT_A20) this.#system.setA20((value & spec.OUTPUT_PORT_A20) !== 0);
    if (!(value & spec.OUTPUT_PORT_RESET_N)) this.#system.requestReset("cpu");
  }
}

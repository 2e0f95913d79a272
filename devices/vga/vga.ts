/**
 * A VGA on PCI: IBM's registers and memory window, the "dispi" modes with their linear frame buffer, and an option ROM. IBM, "PS/2
 * Hardware Interface Technical Reference", "Video Subsystem"; QEMU, "QEMU Standard VGA".
 */
import type { MmioBus } from "../bus/mmio-bus.ts";
import type { PortBus } from "../bus/port-bus.ts";
import { PciFunction } from "../pci/config-space.ts";
import {
  COMMAND,
  COMMAND_BUS_MASTER,
  COMMAND_IO_SPACE,
  COMMAND_MEMORY_SPACE,
  COMMAND_PARITY_ERROR_RESPONSE,
} from "../pci/spec.ts";
import type { Clock, DeviceContext, MmioDevice, PortDevice, Resettable } from "../ports.ts";
import { readDispi, resetDispi, writeDispi } from "./dispi.ts";
import { readWindow, writeWindow } from "./memory.ts";
import * as spec from "./spec.ts";
import { VgaStruct, type VgaState } from "./state.ts";

export interface VgaOptions {
  readonly label: string;
  readonly ports: PortBus;
  readonly memory: MmioBus;
  /** The option ROM's contents. */
  readonly rom?: Uint8Array;
}

const COMMAND_LOW_BYTE =
  COMMAND_IO_SPACE | COMMAND_MEMORY_SPACE | COMMAND_BUS_MASTER | COMMAND_PARITY_ERROR_RESPONSE;
const ROM_BASE_ADDRESS = 0x30;
const ROM_ENABLE = 1;
const ROM_LEAST_BYTES = 2048;
/** A frame of 70 Hz with 449 lines of which 400 are shown, in lines. */
const LINES_A_SECOND = 31469;
const LINES = 449;
const LINES_SHOWN = 400;
const RETRACE_FIRST = 412;
const RETRACE_LAST = 414;

export class Vga implements Resettable {
  readonly pci: PciFunction;
  readonly state: VgaState;
  readonly #clock: Clock;
  readonly #rom: Uint8Array | undefined;

  constructor(context: DeviceContext, options: VgaOptions) {
    this.state = context.state.place(options.label, VgaStruct);
    this.#clock = context.clock;
    this.#rom = options.rom && padded(options.rom);
    const romMask = this.#rom ? (-this.#rom.length | ROM_ENABLE) >>> 0 : 0;
    this.pci = new PciFunction(context, {
      label: options.label,
      vendorId: spec.VENDOR_ID,
      deviceId: spec.DEVICE_ID,
      revisionId: 2,
      classCode: spec.CLASS_VGA,
      subsystemVendorId: 0x1af4,
      subsystemId: 0x1100,
      bars: [
        {
          kind: "memory32",
          index: 0,
          size: spec.VIDEO_MEMORY_BYTES,
          prefetchable: true,
          device: this.#frameBuffer(),
        },
        { kind: "memory32", index: 2, size: spec.MMIO_BYTES, device: this.#registers() },
      ],
      registers: [
        // Its ports are not those of a base address register: I/O decoding can be switched all the same.
        { offset: COMMAND, value: [0], writable: [COMMAND_LOW_BYTE] },
        {
          offset: ROM_BASE_ADDRESS,
          value: [0, 0, 0, 0],
          writable: [0, 8, 16, 24].map((bit) => (romMask >>> bit) & 0xff),
        },
      ],
    });
    this.#addRanges(options);
  }

  reset(): void {
    this.pci.reset();
    const s = this.state;
    for (const registers of [s.sequencer, s.graphics, s.crtc, s.attribute, s.dac]) registers.fill(0);
    Object.assign(s, {
      misc: 0,
      featureControl: 0,
      sequencerIndex: 0,
      graphicsIndex: 0,
      crtcIndex: 0,
      attributeIndex: 0,
      attributeData: 0,
      pelMask: 0xff,
      dacReadIndex: 0,
      dacWriteIndex: 0,
      dacPart: 0,
      dacState: 0,
      dispiIndex: 0,
      latch: 0,
    });
    resetDispi(s);
  }

  #addRanges({ label, ports, memory }: VgaOptions): void {
    const vgaPorts: PortDevice = {
      readPort: (offset) => this.#readPort(spec.PORT_BASE + offset),
      writePort: (offset, _size, value) => this.#writePort(spec.PORT_BASE + offset, value & 0xff),
    };
    const base = spec.PORT_BASE;
    ports.addFixed({ label: `${label} registers`, base, size: spec.PORTS, device: vgaPorts, maxAccess: 1 });
    const dispi: PortDevice = {
      readPort: (offset) =>
        offset === 0 ? this.state.dispiIndex : readDispi(this.state, this.state.dispiIndex),
      writePort: (offset, size, value) => {
        if (size === 1) return;
        if (offset === 0) this.state.dispiIndex = value;
        else writeDispi(this.state, this.state.dispiIndex, value & 0xffff);
      },
    };
    const dispiRange = {
      base: spec.DISPI_PORT,
      size: spec.DISPI_PORTS,
      device: dispi,
      maxAccess: 2,
    } as const;
    ports.addFixed({ label: `${label} dispi`, ...dispiRange });
    const window: MmioDevice = {
      readMmio: (offset, size) => {
        let value = 0;
        for (let i = 0; i < size; i++) value += readWindow(this.state, offset + i) * 256 ** i;
        return value;
      },
      writeMmio: (offset, size, value) => {
        for (let i = 0; i < size; i++) writeWindow(this.state, offset + i, (value >>> (8 * i)) & 0xff);
      },
    };
    const windowRange = { base: spec.WINDOW_BASE, size: spec.WINDOW_BYTES, device: window };
    memory.addFixed({ label: `${label} window`, ...windowRange });
    const rom = this.#rom;
    if (rom === undefined) return;
    memory.addProgrammable({
      label: `${label} ROM`,
      size: rom.length,
      base: () => this.#romBase(),
      device: {
        readMmio: (offset, size) => {
          let value = 0;
          for (let i = 0; i < size; i++) value += rom[offset + i]! * 256 ** i;
          return value;
        },
        writeMmio: () => undefined,
      },
    });
  }

  #romBase(): number | undefined {
    const register = this.pci.peek(ROM_BASE_ADDRESS, 4);
    const base = register - (register % ROM_LEAST_BYTES);
    const isOn = (register & ROM_ENABLE) !== 0 && (this.pci.command & COMMAND_MEMORY_SPACE) !== 0;
    return isOn && base !== 0 ? base : undefined;
  }

  #frameBuffer(): MmioDevice {
    return {
      readMmio: (offset, size) => {
        const { memory } = this.state;
        let value = memory[offset]!;
        for (let i = 1; i < size; i++) value += memory[offset + i]! * 256 ** i;
        return value;
      },
      writeMmio: (offset, size, value) => {
        const { memory } = this.state;
        for (let i = 0; i < size; i++) memory[offset + i] = value >>> (8 * i);
      },
    };
  }

  /** BAR 2: the ports from 3C0H on as bytes, the dispi registers as words. */
  #registers(): MmioDevice {
    const byteAt = (offset: number): number => {
      if (offset >= spec.MMIO_VGA_PORTS && offset < spec.MMIO_VGA_PORTS_END)
        return this.#readPort(0x3c0 + offset - spec.MMIO_VGA_PORTS);
      if (offset >= spec.MMIO_DISPI && offset < spec.MMIO_DISPI_END)
        return (readDispi(this.state, (offset - spec.MMIO_DISPI) >> 1) >> (8 * (offset & 1))) & 0xff;
      return 0;
    };
    return {
      readMmio: (offset, size) => {
        let value = 0;
        for (let i = 0; i < size; i++) value += byteAt(offset + i) * 256 ** i;
        return value;
      },
      writeMmio: (offset, size, value) => {
        if (offset >= spec.MMIO_DISPI && offset < spec.MMIO_DISPI_END) {
          if (size === 2 && offset % 2 === 0) writeDispi(this.state, (offset - spec.MMIO_DISPI) >> 1, value);
          return;
        }
        for (let i = 0; i < size; i++)
          if (offset + i >= spec.MMIO_VGA_PORTS && offset + i < spec.MMIO_VGA_PORTS_END)
            this.#writePort(0x3c0 + offset + i - spec.MMIO_VGA_PORTS, (value >>> (8 * i)) & 0xff);
      },
    };
  }

  /** The CRTC's and the status's ports are at 3BxH or 3DxH: the usual address of a port, or -1 where it is not now. */
  #usual(port: number): number {
    if (port >= 0x3c0 && port < 0x3d0) return port;
    const isColour = (this.state.misc & spec.MISC_COLOUR) !== 0;
    if (isColour !== port >= 0x3d0) return -1;
    return isColour ? port : port + 0x20;
  }

  #readPort(port: number): number {
    const s = this.state;
    switch (this.#usual(port)) {
      case spec.ATTRIBUTE:
        return s.attributeData === 0 ? s.attributeIndex : 0;
      case spec.ATTRIBUTE_READ:
        return s.attribute[s.attributeIndex & 31] ?? 0;
      case spec.MISC_WRITE:
        return 0x10; // input status 0: a colour monitor senses
      case spec.SEQUENCER_INDEX:
        return s.sequencerIndex;
      case spec.SEQUENCER_DATA:
        return s.sequencer[s.sequencerIndex] ?? 0;
      case spec.PEL_MASK:
        return s.pelMask;
      case spec.DAC_READ_INDEX:
        return s.dacState;
      case spec.DAC_WRITE_INDEX:
        return s.dacWriteIndex;
      case spec.DAC_DATA:
        return this.#readDac();
      case spec.FEATURE_READ:
        return s.featureControl;
      case spec.MISC_READ:
        return s.misc;
      case spec.GRAPHICS_INDEX:
        return s.graphicsIndex;
      case spec.GRAPHICS_DATA:
        return s.graphics[s.graphicsIndex] ?? 0;
      case spec.CRTC_INDEX:
        return s.crtcIndex;
      case spec.CRTC_DATA:
        return s.crtc[s.crtcIndex] ?? 0;
      case spec.INPUT_STATUS_1:
        s.attributeData = 0;
        return this.#inputStatus1();
      default:
        return 0xff;
    }
  }

  #writePort(port: number, value: number): void {
    const s = this.state;
    switch (this.#usual(port)) {
      case spec.ATTRIBUTE:
        if (s.attributeData === 0) s.attributeIndex = value & 0x3f;
        else if ((s.attributeIndex & 31) < s.attribute.length) s.attribute[s.attributeIndex & 31] = value;
        s.attributeData ^= 1;
        break;
      case spec.MISC_WRITE:
        s.misc = value;
        break;
      case spec.SEQUENCER_INDEX:
        s.sequencerIndex = value & 7;
        break;
      case spec.SEQUENCER_DATA:
        s.sequencer[s.sequencerIndex] = value;
        break;
      case spec.PEL_MASK:
        s.pelMask = value;
        break;
      case spec.DAC_READ_INDEX:
        s.dacReadIndex = value;
        s.dacPart = 0;
        s.dacState = 3;
        break;
      case spec.DAC_WRITE_INDEX:
        s.dacWriteIndex = value;
        s.dacPart = 0;
        s.dacState = 0;
        break;
      case spec.DAC_DATA:
        s.dac[3 * s.dacWriteIndex + s.dacPart] = value;
        s.dacPart = (s.dacPart + 1) % 3;
        if (s.dacPart === 0) s.dacWriteIndex++;
        break;
      case spec.INPUT_STATUS_1:
        s.featureControl = value;
        break;
      case spec.GRAPHICS_INDEX:
        s.graphicsIndex = value & 15;
        break;
      case spec.GRAPHICS_DATA:
        s.graphics[s.graphicsIndex] = value;
        break;
      case spec.CRTC_INDEX:
        s.crtcIndex = value;
        break;
      case spec.CRTC_DATA:
        this.#writeCrtc(value);
        break;
      default:
        break;
    }
  }

  #readDac(): number {
    const s = this.state;
    const value = s.dac[3 * s.dacReadIndex + s.dacPart]!;
    s.dacPart = (s.dacPart + 1) % 3;
    if (s.dacPart === 0) s.dacReadIndex++;
    return value;
  }

  #writeCrtc(value: number): void {
    const s = this.state;
    const index = s.crtcIndex;
    if (index >= s.crtc.length) return;
    if (index <= spec.CR_OVERFLOW && s.crtc[spec.CR_VERTICAL_RETRACE_END]! & spec.CR_PROTECT) {
      // Of the protected registers, bit 8 of the line compare alone can be written.
      if (index === spec.CR_OVERFLOW) s.crtc[index] = (s.crtc[index]! & ~0x10) | (value & 0x10);
      return;
    }
    s.crtc[index] = value;
  }

  /** Where the beam is, by the clock: programs wait for retraces. */
  #inputStatus1(): number {
    const line = this.#clock.ticks(LINES_A_SECOND) % LINES;
    let status = 0;
    if (line >= LINES_SHOWN) status |= spec.STATUS_DISPLAY_OFF;
    if (line >= RETRACE_FIRST && line <= RETRACE_LAST) status |= spec.STATUS_RETRACE;
    // Inside a line the beam is off for a fifth of the time.
    else if (this.#clock.ticks(LINES_A_SECOND * 5) % 5 === 4) status |= spec.STATUS_DISPLAY_OFF;
    return status;
  }
}

/** A ROM of a size that a base address register can have. */
function padded(rom: Uint8Array): Uint8Array {
  const size = Math.max(ROM_LEAST_BYTES, 2 ** Math.ceil(Math.log2(rom.length)));
  const bytes = new Uint8Array(size).fill(0xff);
  bytes.set(rom);
  return bytes;
}

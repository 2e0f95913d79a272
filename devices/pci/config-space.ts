/**
 * One PCI function's configuration space with a type 0 header: PCI-SIG, "PCI Local Bus Specification 3.0",
 * "Configuration Space".
 *
 * Which bits a program may write is configuration (masks built once); what is written is state. Where each base
 * address register decodes is worked out when the guest writes and kept in state, so that buses can ask cheaply.
 */
import { bytes, nestedArray, struct, u53, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { MmioBus } from "../bus/mmio-bus.ts";
import type { PortBus } from "../bus/port-bus.ts";
import type { DeviceContext, DeviceRole, MmioDevice, PortDevice, Resettable } from "../ports.ts";
import * as spec from "./spec.ts";

export const PciBarStruct = struct("PciBar", {
  base: u53,
  /** The address is set and the command register lets the function answer it. */
  decoded: u8,
});

export const PciConfigStruct = struct("PciConfig", {
  config: bytes(spec.CONFIG_BYTES, 4),
  bars: nestedArray(PciBarStruct, spec.BASE_ADDRESS_REGISTERS),
});

/** A base address register. A 64-bit one takes two registers, `index` and `index + 1`. */
export type BarOptions =
  | { readonly kind: "io"; readonly index: number; readonly size: number; readonly device: PortDevice }
  | {
      readonly kind: "memory32" | "memory64";
      readonly index: number;
      readonly size: number;
      readonly prefetchable?: boolean;
      readonly device: MmioDevice;
    };

/** Device-specific register bytes: power-on values, what can be written, what is cleared by writing 1. */
export interface RegisterBytes {
  readonly offset: number;
  readonly value: readonly number[];
  readonly writable?: readonly number[];
  readonly clearable?: readonly number[];
}

export interface PciFunctionOptions {
  readonly label: string;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId?: number;
  /** Of its base address registers' ranges. Default "other". */
  readonly role?: DeviceRole;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  readonly multiFunction?: boolean;
  /** 0 none, 1 INTA# … 4 INTD#. */
  readonly interruptPin?: number;
  readonly bars?: readonly BarOptions[];
  /** In list order; each begins with its ID, and its next pointer is filled in here. */
  readonly capabilities?: readonly RegisterBytes[];
  readonly registers?: readonly RegisterBytes[];
  /** Called after a write that the function has taken. */
  readonly written?: (offset: number, size: number) => void;
  /** Called before a read, for registers whose value is made on reading. */
  readonly beforeRead?: (offset: number, size: number) => void;
}

export class PciFunction implements Resettable {
  readonly #state: ViewOf<typeof PciConfigStruct>;
  readonly #powerOn = new Uint8Array(spec.CONFIG_BYTES);
  readonly #writable = new Uint8Array(spec.CONFIG_BYTES);
  readonly #clearable = new Uint8Array(spec.CONFIG_BYTES);
  readonly #options: PciFunctionOptions;
  readonly label: string;

  constructor(context: DeviceContext, options: PciFunctionOptions) {
    this.#state = context.state.place(`${options.label} configuration space`, PciConfigStruct);
    this.#options = options;
    this.label = options.label;
    this.#layOutHeader();
    for (const bar of options.bars ?? []) this.#layOutBar(bar);
    for (const block of options.registers ?? []) this.#layOutRegisters(block);
    this.#layOutCapabilities(options.capabilities ?? []);
  }

  reset(): void {
    this.#state.config.set(this.#powerOn);
    this.#decodeBars();
  }

  /** Adds the function's base address registers to the buses. Configuration: once, while building. */
  registerRanges(ports: PortBus, memory: MmioBus): void {
    for (const bar of this.#options.bars ?? []) {
      const state = this.#state.bars[bar.index]!;
      const base = (): number | undefined => (state.decoded ? state.base : undefined);
      const range = {
        label: `${this.label} BAR ${bar.index}`,
        size: bar.size,
        base,
        role: this.#options.role ?? "other",
      };
      if (bar.kind === "io") ports.addProgrammable({ ...range, device: bar.device });
      else memory.addProgrammable({ ...range, device: bar.device });
    }
  }

  /** Reads 1, 2 or 4 bytes inside an aligned dword. */
  read(offset: number, size: 1 | 2 | 4): number {
    this.#options.beforeRead?.(offset, size);
    return this.#load(offset, size);
  }

  /** As `read`, without making read-time registers: for the device itself. */
  peek(offset: number, size: 1 | 2 | 4): number {
    return this.#load(offset, size);
  }

  write(offset: number, size: 1 | 2 | 4, value: number): void {
    const config = this.#state.config;
    for (let i = 0; i < size && offset + i < spec.CONFIG_BYTES; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const mask = this.#writable[at]!;
      config[at] = ((config[at]! & ~mask) | (byte & mask)) & ~(byte & this.#clearable[at]!);
    }
    const touches = (first: number, last: number): boolean => offset <= last && offset + size > first;
    if (touches(spec.COMMAND, spec.COMMAND) || touches(spec.BASE_ADDRESS_0, spec.BASE_ADDRESS_0 + 23))
      this.#decodeBars();
    this.#options.written?.(offset, size);
  }

  /** Sets a read-only byte from the device's side. */
  poke(offset: number, value: number): void {
    this.#state.config[offset] = value;
  }

  get command(): number {
    return this.#load(spec.COMMAND, 2);
  }

  /** May the function read and write memory by itself? */
  get isBusMaster(): boolean {
    return (this.command & spec.COMMAND_BUS_MASTER) !== 0;
  }

  get isInterruptDisabled(): boolean {
    return (this.command & spec.COMMAND_INTERRUPT_DISABLE) !== 0;
  }

  /** Shows the level of the function's INTx# in the status register. */
  setInterruptStatus(level: boolean): void {
    const config = this.#state.config;
    config[spec.STATUS] =
      (config[spec.STATUS]! & ~spec.STATUS_INTERRUPT) | (level ? spec.STATUS_INTERRUPT : 0);
  }

  /** Where base address register `index` decodes now. */
  barBase(index: number): number | undefined {
    const bar = this.#state.bars[index]!;
    return bar.decoded ? bar.base : undefined;
  }

  /** The configured base address registers, for firmware-like set-up and for tools. */
  get bars(): readonly BarOptions[] {
    return this.#options.bars ?? [];
  }

  get interruptPin(): number {
    return this.#options.interruptPin ?? 0;
  }

  /** Offset of the first capability with this ID, of those configured; `nth` counts from 0. */
  capabilityOffset(id: number, nth = 0): number {
    for (let at = this.#powerOn[spec.CAPABILITIES_POINTER]!; at !== 0; at = this.#powerOn[at + 1]!)
      if (this.#powerOn[at] === id && nth-- === 0) return at;
    throw new RangeError(`${this.label} has no such capability: ${id}`);
  }

  #load(offset: number, size: number): number {
    let value = 0;
    for (let i = 0; i < size && offset + i < spec.CONFIG_BYTES; i++)
      value += this.#state.config[offset + i]! * 256 ** i;
    return value;
  }

  #put(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#powerOn[offset + i] = Math.floor(value / 256 ** i) & 0xff;
  }

  #layOutHeader(): void {
    const o = this.#options;
    this.#put(spec.VENDOR_ID, 2, o.vendorId);
    this.#put(spec.DEVICE_ID, 2, o.deviceId);
    this.#put(spec.REVISION_ID, 1, o.revisionId ?? 0);
    this.#put(spec.CLASS_CODE, 3, o.classCode);
    this.#put(spec.HEADER_TYPE, 1, o.multiFunction === true ? spec.HEADER_MULTI_FUNCTION : 0);
    this.#put(spec.SUBSYSTEM_VENDOR_ID, 2, o.subsystemVendorId ?? 0);
    this.#put(spec.SUBSYSTEM_ID, 2, o.subsystemId ?? 0);
    this.#put(spec.INTERRUPT_PIN, 1, o.interruptPin ?? 0);
    let command =
      spec.COMMAND_BUS_MASTER |
      spec.COMMAND_PARITY_ERROR_RESPONSE |
      spec.COMMAND_SERR_ENABLE |
      spec.COMMAND_INTERRUPT_DISABLE;
    if ((o.bars ?? []).some((bar) => bar.kind === "io")) command |= spec.COMMAND_IO_SPACE;
    if ((o.bars ?? []).some((bar) => bar.kind !== "io")) command |= spec.COMMAND_MEMORY_SPACE;
    this.#writable[spec.COMMAND] = command & 0xff;
    this.#writable[spec.COMMAND + 1] = command >> 8;
    this.#clearable[spec.STATUS + 1] = spec.STATUS_CLEARABLE >> 8;
    for (const at of [spec.CACHE_LINE_SIZE, spec.LATENCY_TIMER, spec.INTERRUPT_LINE])
      this.#writable[at] = 0xff;
  }

  #layOutBar(bar: BarOptions): void {
    const at = spec.BASE_ADDRESS_0 + 4 * bar.index;
    const minimum = bar.kind === "io" ? 4 : 16;
    if (bar.size < minimum || Math.log2(bar.size) % 1 !== 0)
      throw new RangeError(
        `${this.label} BAR ${bar.index}: size ${bar.size} is not a power of two from ${minimum}`,
      );
    let flags = 0;
    if (bar.kind === "io") flags = spec.BAR_IO;
    else {
      if (bar.kind === "memory64") flags |= spec.BAR_MEMORY_64;
      if (bar.prefetchable === true) flags |= spec.BAR_PREFETCHABLE;
    }
    this.#put(at, 4, flags);
    const width = bar.kind === "memory64" ? 8 : 4;
    const mask = -BigInt(bar.size);
    for (let i = 0; i < width; i++) this.#writable[at + i] = Number((mask >> BigInt(8 * i)) & 0xffn);
  }

  #layOutRegisters(block: RegisterBytes): void {
    block.value.forEach((value, i) => {
      this.#powerOn[block.offset + i] = value;
      this.#writable[block.offset + i] = block.writable?.[i] ?? 0;
      this.#clearable[block.offset + i] = block.clearable?.[i] ?? 0;
    });
  }

  #layOutCapabilities(capabilities: readonly RegisterBytes[]): void {
    if (capabilities.length === 0) return;
    this.#powerOn[spec.STATUS]! |= spec.STATUS_CAPABILITIES_LIST;
    capabilities.forEach((capability, i) => {
      this.#layOutRegisters(capability);
      this.#powerOn[i === 0 ? spec.CAPABILITIES_POINTER : capabilities[i - 1]!.offset + 1] =
        capability.offset;
      this.#powerOn[capability.offset + 1] = 0;
    });
  }

  /** Works out where each base address register decodes. An address of zero counts as not assigned. */
  #decodeBars(): void {
    const command = this.command;
    for (const bar of this.#options.bars ?? []) {
      const state = this.#state.bars[bar.index]!;
      const at = spec.BASE_ADDRESS_0 + 4 * bar.index;
      let base = this.#load(at, 4);
      let enabled: boolean;
      if (bar.kind === "io") {
        base -= base % 4;
        enabled = (command & spec.COMMAND_IO_SPACE) !== 0 && base + bar.size <= 0x10000;
      } else {
        base -= base % 16;
        if (bar.kind === "memory64") base += this.#load(at + 4, 4) * 2 ** 32;
        enabled = (command & spec.COMMAND_MEMORY_SPACE) !== 0 && base + bar.size <= 2 ** 52;
      }
      state.base = enabled ? base : 0;
      state.decoded = enabled && base !== 0 ? 1 : 0;
    }
  }
}

/**
 * A virtio device on PCI, modern interface only: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Virtio Over PCI
 * Bus". BAR 4 holds one page each for common configuration, ISR, device configuration and notification (so that a
 * hypervisor can treat the notification page by itself); BAR 1 holds the MSI-X table and pending bits.
 *
 * Features are latched at FEATURES_OK, a queue's configuration at queue_enable; later writes to them are ignored.
 */
import { nestedArray, struct, u16, u32, u8 } from "../../layout/struct.ts";
import type { StateAllocator, ViewOf } from "../../layout/struct.ts";
import { Msix, MSIX_REGION_BYTES, msixCapability } from "../pci/msix.ts";
import { PciFunction } from "../pci/config-space.ts";
import type { RegisterBytes } from "../pci/config-space.ts";
import { CAPABILITY_MSIX, CAPABILITY_VENDOR_SPECIFIC } from "../pci/spec.ts";
import type {
  BusAddress,
  DeviceContext,
  DmaMemory,
  InterruptLine,
  MessageSink,
  MmioDevice,
  Resettable,
} from "../ports.ts";
import { MOST_QUEUE_SIZE, Virtqueue, VirtqueueStruct } from "./queue.ts";
import * as spec from "./spec.ts";

/** The part of a virtio device that depends on its type. */
export interface VirtioDeviceType {
  /** Feature bits offered, without those of the transport (VERSION_1, EVENT_IDX, INDIRECT_DESC, RING_RESET). */
  readonly features: bigint;
  /** Device-specific configuration; `offset` and `size` are the driver's. */
  readConfig(offset: number, size: 1 | 2 | 4): number;
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void;
  /** The driver notified queue `queue`, which is enabled, while the device is live. */
  notified(queue: number): void;
  /** Everything outstanding is dropped, without later effects. */
  resetDevice(): void;
  /** The driver has reset queue `queue` alone, which is not enabled any more: what is outstanding on it is dropped. */
  resetQueue(queue: number): void;
}

/** How a virtio card is wired to its board; every device's options begin with it. */
export interface VirtioWiring {
  readonly label: string;
  readonly memory: DmaMemory;
  readonly messages: MessageSink;
  /** INTA#, used while MSI-X is off. */
  readonly intx: InterruptLine;
  /** Offers packed virtqueues. Default: no. */
  readonly packed?: boolean;
}

/** What kind of virtio device a card is. */
export interface VirtioIdentity {
  /** Virtio device ID: 1 network, 2 block … */
  readonly deviceId: number;
  /** PCI class code, 24 bits. */
  readonly classCode: number;
  /** Maximum size of each queue: powers of two. Its length is the number of queues. */
  readonly queueSizes: readonly number[];
}

const MEMORY_BAR = 4;
const MSIX_BAR = 1;
const PAGE = 0x1000;
const COMMON_PAGE = 0;
const ISR_PAGE = 1;
const DEVICE_PAGE = 2;
const NOTIFY_PAGE = 3;
/** Bytes from one queue's notification address to the next. */
export const NOTIFY_OFF_MULTIPLIER = 4;
/** Offset of the notification page in BAR 4. */
export const NOTIFY_PAGE_OFFSET = NOTIFY_PAGE * PAGE;
const DEVICE_CONFIG_BYTES = 256;
const CAPABILITIES_AT = 0x40;
const PCI_CFG_CAP_BYTES = spec.CAP_BYTES + 4;

function transportStruct(queues: number) {
  return struct("VirtioPci", {
    status: u8,
    isr: u8,
    configGeneration: u8,
    deviceFeatureSelect: u32,
    driverFeatureSelect: u32,
    driverFeaturesLow: u32,
    driverFeaturesHigh: u32,
    queueSelect: u16,
    configVector: u16,
    /** Counts resets: work begun under another number must not have effects. */
    generation: u32,
    queues: nestedArray(VirtqueueStruct, queues),
  });
}

export class VirtioPci implements Resettable {
  readonly pci: PciFunction;
  readonly msix: Msix;
  readonly queues: readonly Virtqueue[];
  readonly #state: ViewOf<ReturnType<typeof transportStruct>>;
  readonly #wiring: VirtioWiring;
  readonly #queueSizes: readonly number[];
  readonly #type: VirtioDeviceType;
  readonly #registers: MmioDevice;
  readonly #pciCfgAt: number;

  constructor(
    context: DeviceContext,
    wiring: VirtioWiring,
    { deviceId, classCode, queueSizes }: VirtioIdentity,
    type: VirtioDeviceType,
  ) {
    for (const size of queueSizes)
      if (size < 1 || size > MOST_QUEUE_SIZE || Math.log2(size) % 1 !== 0)
        throw new RangeError(
          `${wiring.label}: queue size ${size}, must be a power of two up to ${MOST_QUEUE_SIZE}`,
        );
    this.#wiring = wiring;
    this.#queueSizes = queueSizes;
    this.#type = type;
    const layout = transportStruct(queueSizes.length);
    const offset = placeAt(context.state, wiring.label, layout);
    this.#state = layout.at(context.state.memory, offset);
    this.queues = queueSizes.map(
      (_, i) =>
        new Virtqueue(
          context.state.memory,
          offset + layout.offsets.queues + i * VirtqueueStruct.size,
          wiring.memory,
        ),
    );
    this.#registers = {
      readMmio: (at, size) => this.#readRegisters(at, size),
      writeMmio: (at, size, value) => this.#writeRegisters(at, size, value),
    };
    // One vector a queue and one for configuration changes.
    const vectors = queueSizes.length + 1;
    this.msix = new Msix(context, { label: `${wiring.label} MSI-X`, vectors, sink: wiring.messages });
    const capabilities = layOutCapabilities(vectors);
    this.#pciCfgAt = capabilities[capabilities.length - 1]!.offset;
    this.pci = new PciFunction(context, {
      label: wiring.label,
      vendorId: spec.PCI_VENDOR_VIRTIO,
      deviceId: spec.PCI_DEVICE_BASE + deviceId,
      revisionId: spec.PCI_REVISION_MODERN,
      classCode,
      subsystemVendorId: spec.PCI_VENDOR_VIRTIO,
      subsystemId: 0x1100,
      interruptPin: 1,
      bars: [
        { kind: "memory32", index: MSIX_BAR, size: MSIX_REGION_BYTES, device: this.msix },
        { kind: "memory64", index: MEMORY_BAR, size: 4 * PAGE, prefetchable: true, device: this.#registers },
      ],
      capabilities,
      written: (at, size) => this.#configurationWritten(at, size),
      beforeRead: (at, size) => this.#beforeConfigurationRead(at, size),
    });
    this.msix.attach(this.pci);
  }

  /** Power-on and bus reset. */
  reset(): void {
    this.pci.reset();
    this.msix.reset();
    this.#resetDevice();
  }

  /** The device may use its queues: DRIVER_OK is set and nothing is broken, and it may master the bus. */
  get isLive(): boolean {
    const status = this.#state.status;
    return (
      (status & (spec.STATUS_DRIVER_OK | spec.STATUS_DEVICE_NEEDS_RESET)) === spec.STATUS_DRIVER_OK &&
      this.pci.isBusMaster
    );
  }

  get generation(): number {
    return this.#state.generation;
  }

  /** Has the driver accepted feature bit `bit`? */
  hasFeature(bit: bigint): boolean {
    if (!(this.#state.status & spec.STATUS_FEATURES_OK)) return false;
    return ((this.#driverFeatures() >> bit) & 1n) !== 0n;
  }

  /** The features in force among bits 0 to 31, those of the device's type; 0 before FEATURES_OK. */
  get acceptedLow(): number {
    const s = this.#state;
    return s.status & spec.STATUS_FEATURES_OK ? s.driverFeaturesLow : 0;
  }

  /** Queue `queue` may be served. */
  isQueueLive(queue: number): boolean {
    return this.isLive && this.queues[queue]?.state.enabled === 1;
  }

  /** Where the driver notifies queue `queue`, while BAR 4 is decoded: for owners that watch that page themselves. */
  notifyAddress(queue: number): BusAddress | undefined {
    const base = this.pci.barBase(MEMORY_BAR);
    return base === undefined ? undefined : base + NOTIFY_PAGE_OFFSET + queue * NOTIFY_OFF_MULTIPLIER;
  }

  /** Sends the queue's interrupt if the driver wants one; true when one was sent. */
  signalQueue(queue: number): boolean {
    const q = this.queues[queue]!;
    if (!q.shouldSignal()) return false;
    this.#interrupt(q.state.msixVector, spec.ISR_QUEUE);
    return true;
  }

  /** The driver broke a rule: "the device SHOULD set DEVICE_NEEDS_RESET" and tell the driver. */
  needsReset(): void {
    const s = this.#state;
    if (s.status & spec.STATUS_DEVICE_NEEDS_RESET) return;
    s.status |= spec.STATUS_DEVICE_NEEDS_RESET;
    if (s.status & spec.STATUS_DRIVER_OK) this.#interrupt(s.configVector, spec.ISR_CONFIGURATION);
  }

  /** Device configuration changed: a new generation and an interrupt. */
  configurationChanged(): void {
    const s = this.#state;
    s.configGeneration = (s.configGeneration + 1) & 0xff;
    if (s.status & spec.STATUS_DRIVER_OK) this.#interrupt(s.configVector, spec.ISR_CONFIGURATION);
  }

  /** Recomputes INTA#. */
  syncOutputs(): void {
    const asserted = this.#state.isr !== 0;
    this.pci.setInterruptStatus(asserted);
    this.#wiring.intx.set(asserted && !this.msix.enabled && !this.pci.isInterruptDisabled);
  }

  #interrupt(vector: number, isr: number): void {
    if (this.msix.enabled) {
      if (vector !== spec.VIRTIO_MSI_NO_VECTOR) this.msix.request(vector);
      return;
    }
    this.#state.isr |= isr;
    this.syncOutputs();
  }

  /** What writing 0 to device_status does. */
  #resetDevice(): void {
    const s = this.#state;
    s.generation = (s.generation + 1) >>> 0;
    s.status = 0;
    s.isr = 0;
    s.configGeneration = 0;
    s.deviceFeatureSelect = 0;
    s.driverFeatureSelect = 0;
    s.driverFeaturesLow = 0;
    s.driverFeaturesHigh = 0;
    s.queueSelect = 0;
    s.configVector = spec.VIRTIO_MSI_NO_VECTOR;
    this.queues.forEach((queue, i) => queue.reset(this.#queueSizes[i]!));
    this.#type.resetDevice();
    this.syncOutputs();
  }

  #deviceFeatures(): bigint {
    return (
      this.#type.features |
      (1n << spec.VIRTIO_F_VERSION_1) |
      (1n << spec.VIRTIO_F_EVENT_IDX) |
      (1n << spec.VIRTIO_F_INDIRECT_DESC) |
      (1n << spec.VIRTIO_F_RING_RESET) |
      (this.#wiring.packed === true ? 1n << spec.VIRTIO_F_RING_PACKED : 0n)
    );
  }

  #driverFeatures(): bigint {
    return BigInt(this.#state.driverFeaturesLow) | (BigInt(this.#state.driverFeaturesHigh) << 32n);
  }

  #readRegisters(offset: number, size: 1 | 2 | 4): number {
    const at = offset % PAGE;
    switch (Math.floor(offset / PAGE)) {
      case COMMON_PAGE:
        return this.#readCommon(at, size);
      case ISR_PAGE:
        return at === 0 ? this.#readIsr() : 0;
      case DEVICE_PAGE:
        return at + size <= DEVICE_CONFIG_BYTES ? this.#type.readConfig(at, size) : 0;
      default:
        return 0;
    }
  }

  #writeRegisters(offset: number, size: 1 | 2 | 4, value: number): void {
    const at = offset % PAGE;
    switch (Math.floor(offset / PAGE)) {
      case COMMON_PAGE:
        this.#writeCommon(at, size, value);
        break;
      case DEVICE_PAGE:
        if (at + size <= DEVICE_CONFIG_BYTES) this.#type.writeConfig(at, size, value);
        break;
      case NOTIFY_PAGE: {
        const queue = at / NOTIFY_OFF_MULTIPLIER;
        if (Number.isInteger(queue) && this.isQueueLive(queue)) this.#type.notified(queue);
        break;
      }
    }
  }

  /** "Reading the ISR status clears it", and with it the line. */
  #readIsr(): number {
    const value = this.#state.isr;
    this.#state.isr = 0;
    this.syncOutputs();
    return value;
  }

  /** Drivers access each field at its natural width (64-bit ones as two halves); narrower reads work too. */
  #readCommon(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += this.#readCommonByte(offset + i) * 256 ** i;
    return value;
  }

  #readCommonByte(offset: number): number {
    for (const [field, width] of COMMON_FIELDS)
      if (offset >= field && offset < field + width)
        return (this.#readCommonField(field) >>> (8 * (offset - field))) & 0xff;
    return 0;
  }

  #readCommonField(field: number): number {
    const s = this.#state;
    const queue = this.queues[s.queueSelect]?.state;
    switch (field) {
      case spec.COMMON_DEVICE_FEATURE_SELECT:
        return s.deviceFeatureSelect;
      case spec.COMMON_DEVICE_FEATURE:
        return s.deviceFeatureSelect > 1
          ? 0
          : Number((this.#deviceFeatures() >> BigInt(32 * s.deviceFeatureSelect)) & 0xffffffffn);
      case spec.COMMON_DRIVER_FEATURE_SELECT:
        return s.driverFeatureSelect;
      case spec.COMMON_DRIVER_FEATURE:
        return [s.driverFeaturesLow, s.driverFeaturesHigh][s.driverFeatureSelect] ?? 0;
      case spec.COMMON_CONFIG_MSIX_VECTOR:
        return s.configVector;
      case spec.COMMON_NUM_QUEUES:
        return this.queues.length;
      case spec.COMMON_DEVICE_STATUS:
        return s.status;
      case spec.COMMON_CONFIG_GENERATION:
        return s.configGeneration;
      case spec.COMMON_QUEUE_SELECT:
        return s.queueSelect;
    }
    // "queue_size of 0 means the queue is unavailable": so for an index that has none.
    if (queue === undefined) return field === spec.COMMON_QUEUE_MSIX_VECTOR ? spec.VIRTIO_MSI_NO_VECTOR : 0;
    switch (field) {
      case spec.COMMON_QUEUE_SIZE:
        return queue.size;
      case spec.COMMON_QUEUE_MSIX_VECTOR:
        return queue.msixVector;
      case spec.COMMON_QUEUE_ENABLE:
        return queue.enabled;
      case spec.COMMON_QUEUE_NOTIFY_OFF:
        return s.queueSelect;
      case spec.COMMON_QUEUE_RESET:
        return 0;
      case spec.COMMON_QUEUE_DESC:
        return queue.descLow;
      case spec.COMMON_QUEUE_DESC + 4:
        return queue.descHigh;
      case spec.COMMON_QUEUE_DRIVER:
        return queue.driverLow;
      case spec.COMMON_QUEUE_DRIVER + 4:
        return queue.driverHigh;
      case spec.COMMON_QUEUE_DEVICE:
        return queue.deviceLow;
      default:
        return queue.deviceHigh;
    }
  }

  /** Writes must be of a field's natural width; others are ignored. */
  #writeCommon(offset: number, size: 1 | 2 | 4, value: number): void {
    const s = this.#state;
    if (!COMMON_FIELDS.some(([field, width]) => field === offset && width === size)) return;
    const vector = value < this.msix.vectors ? value : spec.VIRTIO_MSI_NO_VECTOR;
    switch (offset) {
      case spec.COMMON_DEVICE_FEATURE_SELECT:
        s.deviceFeatureSelect = value;
        return;
      case spec.COMMON_DRIVER_FEATURE_SELECT:
        s.driverFeatureSelect = value;
        return;
      case spec.COMMON_DRIVER_FEATURE:
        if (s.status & spec.STATUS_FEATURES_OK) return; // latched
        if (s.driverFeatureSelect === 0) s.driverFeaturesLow = value;
        else if (s.driverFeatureSelect === 1) s.driverFeaturesHigh = value;
        return;
      case spec.COMMON_CONFIG_MSIX_VECTOR:
        s.configVector = vector;
        return;
      case spec.COMMON_DEVICE_STATUS:
        this.#writeStatus(value);
        return;
      case spec.COMMON_QUEUE_SELECT:
        s.queueSelect = value;
        return;
    }
    const queue = this.queues[s.queueSelect];
    if (queue === undefined) return;
    if (offset === spec.COMMON_QUEUE_MSIX_VECTOR) queue.state.msixVector = vector;
    else if (offset === spec.COMMON_QUEUE_RESET) this.#writeQueueReset(s.queueSelect, value);
    else if (!queue.state.enabled) this.#writeQueueField(queue, offset, value);
  }

  /** "Virtqueue Reset": over by the time the driver looks, so that queue_reset always reads as 0. */
  #writeQueueReset(index: number, value: number): void {
    if (value !== 1 || !this.hasFeature(spec.VIRTIO_F_RING_RESET)) return;
    this.queues[index]!.reset(this.#queueSizes[index]!);
    this.#type.resetQueue(index);
  }

  #writeQueueField(queue: Virtqueue, offset: number, value: number): void {
    const q = queue.state;
    switch (offset) {
      case spec.COMMON_QUEUE_SIZE:
        if (value > 0 && value <= this.#queueSizes[this.#state.queueSelect]! && (value & (value - 1)) === 0)
          q.size = value;
        break;
      case spec.COMMON_QUEUE_ENABLE:
        if (value !== 1 || !(this.#state.status & spec.STATUS_FEATURES_OK)) break;
        if (
          !queue.enable({
            eventIdx: this.hasFeature(spec.VIRTIO_F_EVENT_IDX),
            indirect: this.hasFeature(spec.VIRTIO_F_INDIRECT_DESC),
            packed: this.hasFeature(spec.VIRTIO_F_RING_PACKED),
          })
        )
          this.needsReset();
        break;
      case spec.COMMON_QUEUE_DESC:
        q.descLow = value;
        break;
      case spec.COMMON_QUEUE_DESC + 4:
        q.descHigh = value;
        break;
      case spec.COMMON_QUEUE_DRIVER:
        q.driverLow = value;
        break;
      case spec.COMMON_QUEUE_DRIVER + 4:
        q.driverHigh = value;
        break;
      case spec.COMMON_QUEUE_DEVICE:
        q.deviceLow = value;
        break;
      case spec.COMMON_QUEUE_DEVICE + 4:
        q.deviceHigh = value;
        break;
    }
  }

  /** "Device Status Field": bits are only ever added, except that 0 resets. */
  #writeStatus(value: number): void {
    const s = this.#state;
    if (value === 0) {
      this.#resetDevice();
      return;
    }
    let added = value & ~s.status & ~spec.STATUS_DEVICE_NEEDS_RESET;
    if (added & spec.STATUS_FEATURES_OK) {
      const driver = this.#driverFeatures();
      const acceptable =
        (driver & ~this.#deviceFeatures()) === 0n && (driver >> spec.VIRTIO_F_VERSION_1) & 1n;
      if (!acceptable) added &= ~spec.STATUS_FEATURES_OK;
    }
    // A driver that did not get FEATURES_OK cannot start the device.
    if (!((s.status | added) & spec.STATUS_FEATURES_OK)) added &= ~spec.STATUS_DRIVER_OK;
    s.status |= added;
  }

  #configurationWritten(offset: number, size: number): void {
    const touches = (at: number, length: number): boolean => offset < at + length && offset + size > at;
    if (touches(this.pci.capabilityOffset(CAPABILITY_MSIX), 4)) this.msix.controlWritten();
    if (touches(this.#pciCfgAt + spec.CAP_PCI_CFG_DATA, 4)) {
      const window = this.#pciCfgWindow();
      if (window === undefined) return;
      const data = this.pci.peek(this.#pciCfgAt + spec.CAP_PCI_CFG_DATA, window.size);
      this.#registers.writeMmio(window.offset, window.size, data);
    }
    this.syncOutputs();
  }

  #beforeConfigurationRead(offset: number, size: number): void {
    const at = this.#pciCfgAt + spec.CAP_PCI_CFG_DATA;
    if (offset >= at + 4 || offset + size <= at) return;
    const window = this.#pciCfgWindow();
    if (window === undefined) return;
    const value = this.#registers.readMmio(window.offset, window.size);
    for (let i = 0; i < window.size; i++) this.pci.poke(at + i, (value >>> (8 * i)) & 0xff);
  }

  /** The access that the PCI configuration access capability describes, if it is a legal one to BAR 4. */
  #pciCfgWindow(): { readonly offset: number; readonly size: 1 | 2 | 4 } | undefined {
    const field = (offset: number, size: 1 | 4): number => this.pci.peek(this.#pciCfgAt + offset, size);
    const size = field(spec.CAP_LENGTH, 4);
    const offset = field(spec.CAP_OFFSET, 4);
    if (field(spec.CAP_BAR, 1) !== MEMORY_BAR || (size !== 1 && size !== 2 && size !== 4)) return undefined;
    return offset % size === 0 && offset + size <= 4 * PAGE ? { offset, size } : undefined;
  }
}

/** Fields of the common configuration structure with their natural widths; 64-bit ones as halves. */
const COMMON_FIELDS: readonly (readonly [number, number])[] = [
  [spec.COMMON_DEVICE_FEATURE_SELECT, 4],
  [spec.COMMON_DEVICE_FEATURE, 4],
  [spec.COMMON_DRIVER_FEATURE_SELECT, 4],
  [spec.COMMON_DRIVER_FEATURE, 4],
  [spec.COMMON_CONFIG_MSIX_VECTOR, 2],
  [spec.COMMON_NUM_QUEUES, 2],
  [spec.COMMON_DEVICE_STATUS, 1],
  [spec.COMMON_CONFIG_GENERATION, 1],
  [spec.COMMON_QUEUE_SELECT, 2],
  [spec.COMMON_QUEUE_SIZE, 2],
  [spec.COMMON_QUEUE_MSIX_VECTOR, 2],
  [spec.COMMON_QUEUE_ENABLE, 2],
  [spec.COMMON_QUEUE_NOTIFY_OFF, 2],
  [spec.COMMON_QUEUE_DESC, 4],
  [spec.COMMON_QUEUE_DESC + 4, 4],
  [spec.COMMON_QUEUE_DRIVER, 4],
  [spec.COMMON_QUEUE_DRIVER + 4, 4],
  [spec.COMMON_QUEUE_DEVICE, 4],
  [spec.COMMON_QUEUE_DEVICE + 4, 4],
  [spec.COMMON_QUEUE_RESET, 2],
];

function placeAt(state: StateAllocator, label: string, layout: { size: number; align: number }): number {
  return state.take(label, layout.size, layout.align);
}

const le32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** The capability list: MSI-X, then the five virtio structures, the configuration access one last. */
function layOutCapabilities(vectors: number): RegisterBytes[] {
  let at = CAPABILITIES_AT;
  const list: RegisterBytes[] = [msixCapability(at, vectors, MSIX_BAR)];
  at += 12;
  const add = (type: number, page: number, length: number, extra: readonly number[] = []): void => {
    const bytes = spec.CAP_BYTES + extra.length;
    const value = [CAPABILITY_VENDOR_SPECIFIC, 0, bytes, type, MEMORY_BAR, 0, 0, 0];
    list.push({ offset: at, value: [...value, ...le32(page * PAGE), ...le32(length), ...extra] });
    at += Math.ceil(bytes / 4) * 4;
  };
  add(spec.VIRTIO_PCI_CAP_COMMON_CFG, COMMON_PAGE, spec.COMMON_BYTES);
  add(spec.VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_PAGE, PAGE, le32(NOTIFY_OFF_MULTIPLIER));
  add(spec.VIRTIO_PCI_CAP_ISR_CFG, ISR_PAGE, 1);
  add(spec.VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_PAGE, DEVICE_CONFIG_BYTES);
  const value = new Array<number>(PCI_CFG_CAP_BYTES).fill(0);
  value[0] = CAPABILITY_VENDOR_SPECIFIC;
  value[2] = PCI_CFG_CAP_BYTES;
  value[3] = spec.VIRTIO_PCI_CAP_PCI_CFG;
  const writable = new Array<number>(PCI_CFG_CAP_BYTES).fill(0);
  writable[spec.CAP_BAR] = 0xff;
  writable.fill(0xff, spec.CAP_OFFSET);
  list.push({ offset: at, value, writable });
  return list;
}

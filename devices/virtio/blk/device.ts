/**
 * A virtio block device: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Block Device".
 *
 * A request goes through three steps, each of which the owner may place where it likes: it is *started*
 * (`serveQueue`: parsed, checked, recorded with its completion time), *finished* when due (`completeDue`: data
 * moved, used ring written), and *signalled* (`signalCompleted`). By itself the device does all three: it starts requests
 * when notified and finishes them by a timer. A hypervisor's I/O path takes over by `setService`.
 */
import { struct, u53, u8 } from "../../../layout/struct.ts";
import type { ViewOf } from "../../../layout/struct.ts";
import type { DeviceContext, DiskTiming, DmaMemory, Storage, StorageResult } from "../../ports.ts";
import { SECTOR_BYTES } from "../../storage/sectors.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import { inFlightFields, inFlightStruct } from "../in-flight.ts";
import { TimedRequests } from "../timed-requests.ts";
import { VirtioPci, type VirtioDeviceType, type VirtioWiring } from "../transport-pci.ts";
import { emptyRequest, parseRequest } from "./request.ts";
import type { BlkLimits, BlkRequest } from "./request.ts";
import * as spec from "./spec.ts";

export const VirtioBlkStruct = struct("VirtioBlk", {
  /** The driver's choice of cache mode, meaningful with CONFIG_WCE: 1 write-back. */
  writeback: u8,
});

const BlkRequestStruct = struct("BlkInFlight", {
  ...inFlightFields,
  type: u8,
  status: u8,
  mayUnmap: u8,
  sector: u53,
  byteLength: u53,
  statusAddress: u53,
});

export const BlkInFlightStruct = inFlightStruct(BlkRequestStruct);

type InFlightRequest = ViewOf<typeof BlkRequestStruct>;

export interface VirtioBlkOptions extends VirtioWiring {
  readonly storage: Storage;
  readonly timing: DiskTiming;
  /** Request queues, 1–16. Default 1. */
  readonly queues?: number;
  /** Size of each queue, a power of two from 4 to 1024. Default 256. */
  readonly queueSize?: number;
}

/** Most sectors in one DISCARD or WRITE_ZEROES request: 4 MiB, so that one request is bounded work. */
const MAX_RANGE_SECTORS = 8192;
/** Bytes moved at a time between disk and memory. */
const COPY_BYTES = 64 * 1024;

export class VirtioBlk extends TimedRequests<InFlightRequest> implements VirtioDeviceType {
  readonly features: bigint;
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  readonly #label: string;
  readonly #state: ViewOf<typeof VirtioBlkStruct>;
  readonly #memory: DmaMemory;
  readonly #storage: Storage;
  readonly #timing: DiskTiming;
  readonly #limits: BlkLimits;
  readonly #config: Uint8Array;
  /** Scratch, valid inside one call only. */
  readonly #request = emptyRequest();
  readonly #copy = new Uint8Array(COPY_BYTES);

  constructor(context: DeviceContext, options: VirtioBlkOptions) {
    const queues = options.queues ?? 1;
    const queueSize = options.queueSize ?? 256;
    if (queues < 1 || queues > 16) throw new RangeError(`${options.label}: ${queues} queues, must be 1-16`);
    if (queueSize < 4) throw new RangeError(`${options.label}: queue size ${queueSize}, must be at least 4`);
    const table = context.state.place(`${options.label} in flight`, BlkInFlightStruct);
    super(context, options.label, table);
    this.#label = options.label;
    this.#memory = options.memory;
    this.#storage = options.storage;
    this.#timing = options.timing;
    this.#limits = {
      sectors: options.storage.sectors,
      readOnly: options.storage.readOnly,
      maxDiscardSectors: MAX_RANGE_SECTORS,
      maxWriteZeroesSectors: MAX_RANGE_SECTORS,
    };
    this.features = offeredFeatures(options.storage.readOnly, queues);
    this.#config = configuration(options.storage.sectors, queues, queueSize);
    this.#state = context.state.place(`${options.label} block`, VirtioBlkStruct);
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: spec.VIRTIO_ID_BLOCK,
        classCode: 0x010000,
        queueSizes: new Array<number>(queues).fill(queueSize),
      },
      this,
    );
    this.pci = this.transport.pci;
  }

  /**
   * Starts up to `budget` waiting requests of a queue.
   * @returns how many were started. Fewer than waiting when the budget is used up, or when the in-flight table is
   * full: then serve again after a completion.
   */
  serveQueue(queue: number, budget: number): number {
    const q = this.transport.queues[queue];
    if (q === undefined || !this.transport.isQueueLive(queue)) return 0;
    let started = 0;
    q.state.servePending = 0;
    for (; started < budget; started++) {
      const found = q.peek(this.chain);
      if (found === "empty") return started;
      if (found === "broken" || !parseRequest(this.chain, this.#memory, this.#limits, this.#request)) {
        this.transport.needsReset();
        return started;
      }
      if (!this.requests.hasRoom(this.chain.count)) break;
      q.take();
      this.#start(queue);
    }
    if (q.waiting !== 0) q.state.servePending = 1;
    return started;
  }

  // What the transport asks.

  resetDevice(): void {
    this.forgetRequests();
    this.#state.writeback = 1;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = at === spec.CONFIG_WRITEBACK ? Number(this.#isWriteback()) : (this.#config[at] ?? 0);
      value += byte * 256 ** i;
    }
    return value;
  }

  /** Only `writeback` can be written, and only with CONFIG_WCE. */
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset !== spec.CONFIG_WRITEBACK || size !== 1) return;
    if (this.transport.hasFeature(spec.VIRTIO_BLK_F_CONFIG_WCE)) this.#state.writeback = value & 1;
  }

  #start(queue: number): void {
    const parsed = this.#request;
    const request = this.requests.add(this.#completionTime(parsed));
    request.type = parsed.type & 0xff;
    request.status = parsed.status;
    request.mayUnmap = parsed.mayUnmap ? 1 : 0;
    request.queue = queue;
    request.head = this.chain.head;
    request.sector = parsed.sector;
    request.byteLength = parsed.byteLength;
    request.statusAddress = parsed.statusAddress;
    if (parsed.status === spec.VIRTIO_BLK_S_OK)
      this.requests.keepSegments(
        request,
        "data",
        this.chain,
        parsed.dataWritable,
        parsed.dataOffset,
        parsed.dataLength,
      );
  }

  /** A request that fails its checks, or asks for the ID, does not go to the disk and takes no disk time. */
  #completionTime(request: BlkRequest): number {
    if (request.status !== spec.VIRTIO_BLK_S_OK) return this.clock.now();
    switch (request.type) {
      case spec.VIRTIO_BLK_T_IN:
        return this.#timing.complete("read", request.sector, request.byteLength);
      case spec.VIRTIO_BLK_T_OUT: {
        const written = this.#timing.complete("write", request.sector, request.byteLength);
        return this.#isWriteback() ? written : this.#timing.complete("flush", 0, 0);
      }
      case spec.VIRTIO_BLK_T_FLUSH:
        return this.#timing.complete("flush", 0, 0);
      case spec.VIRTIO_BLK_T_DISCARD:
        return this.#timing.complete("discard", request.sector, request.byteLength);
      case spec.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#timing.complete("write-zeroes", request.sector, request.byteLength);
      default:
        return this.clock.now();
    }
  }

  /** "Device Operation": without FLUSH the driver cannot flush, so every write must be stable. */
  #isWriteback(): boolean {
    if (this.transport.hasFeature(spec.VIRTIO_BLK_F_CONFIG_WCE)) return this.#state.writeback !== 0;
    return this.transport.hasFeature(spec.VIRTIO_BLK_F_FLUSH);
  }

  protected finish(request: InFlightRequest): void {
    let status = request.status;
    let written = 0;
    if (status === spec.VIRTIO_BLK_S_OK) {
      const result = this.#execute(request);
      status = result === "ok" ? spec.VIRTIO_BLK_S_OK : spec.VIRTIO_BLK_S_IOERR;
      if (result === "ok") written = this.#bytesWrittenToMemory(request);
    }
    this.#copy[0] = status;
    this.#memory.write(request.statusAddress, this.#copy.subarray(0, 1));
    const { queue, head } = request;
    this.requests.remove(request);
    this.transport.queues[queue]!.pushUsed(head, written + 1);
  }

  #bytesWrittenToMemory(request: InFlightRequest): number {
    const { type, byteLength } = request;
    return type === spec.VIRTIO_BLK_T_IN || type === spec.VIRTIO_BLK_T_GET_ID ? byteLength : 0;
  }

  #execute(request: InFlightRequest): StorageResult {
    const count = request.byteLength / SECTOR_BYTES;
    switch (request.type) {
      case spec.VIRTIO_BLK_T_IN:
        return this.#readDisk(request);
      case spec.VIRTIO_BLK_T_OUT: {
        const result = this.#writeDisk(request);
        return result === "ok" && !this.#isWriteback() ? this.#storage.flush() : result;
      }
      case spec.VIRTIO_BLK_T_FLUSH:
        return this.#storage.flush();
      case spec.VIRTIO_BLK_T_GET_ID:
        return this.#writeId(request);
      case spec.VIRTIO_BLK_T_DISCARD:
        return this.#storage.discard(request.sector, count);
      case spec.VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#storage.writeZeroes(request.sector, count, request.mayUnmap !== 0);
      default:
        return "unsupported";
    }
  }

  #readDisk(request: InFlightRequest): StorageResult {
    const memory = this.requests.stream(request.data, this.#memory);
    return this.#chunks(request, (sector, chunk) => {
      const result = this.#storage.read(sector, chunk);
      return result !== "ok" || memory.write(chunk) ? result : "io-error";
    });
  }

  #writeDisk(request: InFlightRequest): StorageResult {
    const memory = this.requests.stream(request.data, this.#memory);
    return this.#chunks(request, (sector, chunk) =>
      memory.read(chunk) ? this.#storage.write(sector, chunk) : "io-error",
    );
  }

  /** Calls `each` for the request's sectors, a copy buffer at a time, as long as all is well. */
  #chunks(
    request: InFlightRequest,
    each: (sector: number, chunk: Uint8Array) => StorageResult,
  ): StorageResult {
    for (let done = 0; done < request.byteLength;) {
      const chunk = this.#copy.subarray(0, Math.min(COPY_BYTES, request.byteLength - done));
      const result = each(request.sector + done / SECTOR_BYTES, chunk);
      if (result !== "ok") return result;
      done += chunk.length;
    }
    return "ok";
  }

  #writeId(request: InFlightRequest): StorageResult {
    const id = this.#copy.subarray(0, request.byteLength);
    id.fill(0);
    for (let i = 0; i < Math.min(id.length, this.#storage.serial.length); i++)
      id[i] = this.#storage.serial.charCodeAt(i);
    return this.requests.stream(request.data, this.#memory).write(id) ? "ok" : "io-error";
  }

  /** For traces. */
  override toString(): string {
    return `${this.#label}: ${this.#storage.sectors} sectors, ${this.inFlight} in flight`;
  }
}

function offeredFeatures(readOnly: boolean, queues: number): bigint {
  const bits = [
    spec.VIRTIO_BLK_F_SEG_MAX,
    spec.VIRTIO_BLK_F_BLK_SIZE,
    spec.VIRTIO_BLK_F_FLUSH,
    spec.VIRTIO_BLK_F_TOPOLOGY,
    spec.VIRTIO_BLK_F_CONFIG_WCE,
  ];
  if (queues > 1) bits.push(spec.VIRTIO_BLK_F_MQ);
  if (readOnly) bits.push(spec.VIRTIO_BLK_F_RO);
  else bits.push(spec.VIRTIO_BLK_F_DISCARD, spec.VIRTIO_BLK_F_WRITE_ZEROES);
  return bits.reduce((all, bit) => all | (1n << bit), 0n);
}

/** struct virtio_blk_config; `writeback` is made on reading. */
function configuration(sectors: number, queues: number, queueSize: number): Uint8Array {
  const bytes = new Uint8Array(spec.CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(spec.CONFIG_CAPACITY, BigInt(sectors), true);
  // A request takes two descriptors beside its data.
  view.setUint32(spec.CONFIG_SEG_MAX, queueSize - 2, true);
  view.setUint32(spec.CONFIG_BLK_SIZE, SECTOR_BYTES, true);
  // Topology: physical blocks of 2^3 sectors (4 KiB), aligned; minimum and optimal I/O of one such block.
  view.setUint8(spec.CONFIG_TOPOLOGY, 3);
  view.setUint16(spec.CONFIG_TOPOLOGY + 2, 8, true);
  view.setUint32(spec.CONFIG_TOPOLOGY + 4, 8, true);
  view.setUint16(spec.CONFIG_NUM_QUEUES, queues, true);
  view.setUint32(spec.CONFIG_MAX_DISCARD_SECTORS, MAX_RANGE_SECTORS, true);
  view.setUint32(spec.CONFIG_MAX_DISCARD_SEG, 1, true);
  view.setUint32(spec.CONFIG_DISCARD_SECTOR_ALIGNMENT, 1, true);
  view.setUint32(spec.CONFIG_MAX_WRITE_ZEROES_SECTORS, MAX_RANGE_SECTORS, true);
  view.setUint32(spec.CONFIG_MAX_WRITE_ZEROES_SEG, 1, true);
  view.setUint8(spec.CONFIG_WRITE_ZEROES_MAY_UNMAP, 1);
  return bytes;
}

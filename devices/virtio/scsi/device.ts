/**
 * A virtio SCSI host device with disks: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "SCSI Host Device". Requests go through
 * the steps of `ServedVirtio`, so a request path can take them over; the control queue is answered at once.
 */
import { bytes, nestedArray, struct, u16, u32, u8, type ViewOf } from "../../../layout/struct.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import type { DeviceContext, DiskTiming, DmaMemory, Storage } from "../../ports.ts";
import { putBe } from "../../scsi/cdb.ts";
import {
  ScsiDisk,
  ScsiDiskStruct,
  absentUnit,
  reply,
  type ScsiData,
  type ScsiResult,
} from "../../scsi/disk.ts";
import * as scsi from "../../scsi/spec.ts";
import { readChain, writeChain } from "../chain-data.ts";
import { inFlightFields, inFlightStruct } from "../in-flight.ts";
import { TimedRequests } from "../timed-requests.ts";
import { VirtioPci, type VirtioDeviceType, type VirtioWiring } from "../transport-pci.ts";
import { MOST_CDB_BYTES, ScsiRequest, unitAddress, type UnitAddress } from "./request.ts";
import * as spec from "./spec.ts";

const ScsiRequestStruct = struct("ScsiInFlight", {
  ...inFlightFields,
  /** Logical unit by its number in the device; NO_UNIT when there is none at that LUN. */
  unit: u8,
  /** Response other than OK that the request ends with, whatever it would have done. */
  response: u8,
  idLow: u32,
  idHigh: u32,
  target: u16,
  inBytes: u32,
  outBytes: u32,
  answerBytes: u32,
  cdb: bytes(MOST_CDB_BYTES, 4),
});

const InFlightStruct = inFlightStruct(ScsiRequestStruct);

/** Logical units of one device at most. */
export const MOST_UNITS = 64;
export const MOST_TARGET = 255;
export const MOST_LUN = 255;
const NO_UNIT = 255;

const VirtioScsiStruct = struct("VirtioScsi", {
  /** As the driver set them. */
  senseSize: u32,
  cdbSize: u32,
  units: nestedArray(ScsiDiskStruct, MOST_UNITS),
});

type InFlightRequest = ViewOf<typeof ScsiRequestStruct>;

export interface ScsiUnitOptions extends UnitAddress {
  readonly storage: Storage;
  readonly timing: DiskTiming;
}

export interface VirtioScsiOptions extends VirtioWiring {
  readonly units: readonly ScsiUnitOptions[];
  /** Request queues, 1 to 16. */
  readonly queues: number;
}

const QUEUE_SIZE = 256;

export class VirtioScsi extends TimedRequests<InFlightRequest> implements VirtioDeviceType {
  readonly features = 0n;
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof VirtioScsiStruct>;
  readonly #units: readonly { readonly at: UnitAddress; readonly disk: ScsiDisk }[];
  readonly #memory: DmaMemory;
  readonly #queues: number;
  /** Scratch, valid inside one call only. */
  readonly #request = new ScsiRequest();
  readonly #control = new Uint8Array(spec.TMF_BYTES);

  constructor(context: DeviceContext, options: VirtioScsiOptions) {
    if (options.units.length > MOST_UNITS)
      throw new RangeError(`${options.label}: ${options.units.length} units, at most ${MOST_UNITS}`);
    super(context, options.label, context.state.place(`${options.label} in flight`, InFlightStruct));
    this.#memory = options.memory;
    this.#queues = options.queues;
    this.#state = context.state.place(`${options.label} SCSI`, VirtioScsiStruct);
    this.#units = options.units.map(({ target, lun, storage, timing }, index) => ({
      at: { target, lun },
      disk: new ScsiDisk(this.#state.units[index]!, { storage, timing, clock: context.clock }),
    }));
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: spec.VIRTIO_ID_SCSI,
        classCode: 0x010000,
        queueSizes: new Array<number>(spec.FIRST_REQUEST_QUEUE + options.queues).fill(QUEUE_SIZE),
      },
      this,
    );
    this.pci = this.transport.pci;
  }

  override reset(): void {
    for (const { disk } of this.#units) disk.reset();
    super.reset();
  }

  /** Buffers on the event queue are no work: there is nothing to report, since nothing is plugged in while it runs. */
  override hasWork(queue: number): boolean {
    return queue !== spec.EVENT_QUEUE && super.hasWork(queue);
  }

  serveQueue(queue: number, budget: number): number {
    const q = this.transport.queues[queue];
    if (q === undefined || queue === spec.EVENT_QUEUE || !this.transport.isQueueLive(queue)) return 0;
    let started = 0;
    q.state.servePending = 0;
    for (; started < budget; started++) {
      const found = q.peek(this.chain);
      if (found === "empty") break;
      if (found === "ok" && !this.requests.hasRoom(this.chain.count)) {
        q.state.servePending = 1;
        break;
      }
      const isTaken =
        found === "ok" && (queue === spec.CONTROL_QUEUE ? this.#serveControl() : this.#start(queue));
      if (!isTaken) {
        this.transport.needsReset();
        return started;
      }
      q.take();
      if (queue === spec.CONTROL_QUEUE) q.pushUsed(this.chain.head, this.#controlAnswer);
    }
    if (started === budget && q.waiting !== 0) q.state.servePending = 1;
    // Answers of the control queue, and requests that it ended, are told at once.
    if (queue === spec.CONTROL_QUEUE) this.signalCompleted();
    return started;
  }

  // What the transport asks.

  resetDevice(): void {
    this.forgetRequests();
    this.#state.senseSize = spec.DEFAULT_SENSE_SIZE;
    this.#state.cdbSize = spec.DEFAULT_CDB_SIZE;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    const config = new DataView(new ArrayBuffer(spec.CONFIG_BYTES + 4));
    config.setUint32(spec.CONFIG_NUM_QUEUES, this.#queues, true);
    // A request takes two descriptors beside its data.
    config.setUint32(spec.CONFIG_SEG_MAX, QUEUE_SIZE - 2, true);
    config.setUint32(spec.CONFIG_MAX_SECTORS, 0xffff, true);
    config.setUint32(spec.CONFIG_CMD_PER_LUN, 128, true);
    config.setUint32(spec.CONFIG_EVENT_INFO_SIZE, 16, true);
    config.setUint32(spec.CONFIG_SENSE_SIZE, this.#state.senseSize, true);
    config.setUint32(spec.CONFIG_CDB_SIZE, this.#state.cdbSize, true);
    config.setUint16(spec.CONFIG_MAX_TARGET, Math.max(0, ...this.#units.map(({ at }) => at.target)), true);
    config.setUint32(spec.CONFIG_MAX_LUN, MOST_LUN, true);
    if (offset >= spec.CONFIG_BYTES) return 0;
    return size === 4
      ? config.getUint32(offset, true)
      : size === 2
        ? config.getUint16(offset, true)
        : config.getUint8(offset);
  }

  /** Sense and CDB sizes can be written, between what is of use and a page. */
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if (size !== 4 || value > 4096) return;
    if (offset === spec.CONFIG_SENSE_SIZE) this.#state.senseSize = value;
    else if (offset === spec.CONFIG_CDB_SIZE && value >= 16) this.#state.cdbSize = value;
  }

  // Requests.

  /** Starts the request in the chain; false when it cannot even be answered. */
  #start(queue: number): boolean {
    const parsed = this.#request;
    const { senseSize, cdbSize } = this.#state;
    if (!parsed.parse(this.chain, this.#memory, cdbSize, senseSize)) return false;
    const unit = this.#find(parsed.unit);
    const disk = this.#units[unit]?.disk;
    const isUnknown = !this.#units.some(({ at }) => at.target === parsed.unit?.target);
    // REPORT LUNS is the target's; the others' time is the disk's to say.
    const isDisks = disk !== undefined && parsed.cdb[0] !== scsi.REPORT_LUNS;
    const request = this.requests.add(isDisks ? disk.plan(parsed.cdb) : this.clock.now());
    request.queue = queue;
    request.head = this.chain.head;
    request.unit = unit;
    request.target = parsed.unit?.target ?? 0;
    request.response = isUnknown ? spec.VIRTIO_SCSI_S_BAD_TARGET : spec.VIRTIO_SCSI_S_OK;
    request.idLow = parsed.idLow;
    request.idHigh = parsed.idHigh;
    request.inBytes = parsed.inBytes;
    request.outBytes = parsed.outBytes;
    request.answerBytes = parsed.inOffset;
    request.cdb.set(parsed.cdb);
    this.requests.keepSegments(request, "reply", this.chain, true, 0, parsed.inOffset);
    if (parsed.inBytes > 0)
      this.requests.keepSegments(request, "data", this.chain, true, parsed.inOffset, parsed.inBytes);
    else if (parsed.outBytes > 0)
      this.requests.keepSegments(request, "data", this.chain, false, parsed.outOffset, parsed.outBytes);
    return true;
  }

  #find(address: UnitAddress | undefined): number {
    const index = this.#units.findIndex(({ at }) => at.target === address?.target && at.lun === address.lun);
    return index < 0 ? NO_UNIT : index;
  }

  protected finish(request: InFlightRequest): void {
    let { response } = request;
    let result: ScsiResult = { status: scsi.GOOD, length: 0 };
    const { inBytes } = request;
    // Commands in both directions at once do not exist here: the readable bytes are then no data.
    const outBytes = inBytes > 0 ? 0 : request.outBytes;
    if (response === spec.VIRTIO_SCSI_S_OK) {
      const stream = this.requests.stream(request.data, this.#memory);
      const data: ScsiData = {
        inBytes,
        outBytes,
        write: (from) => (inBytes > 0 ? stream.write(from) : from.length === 0),
        read: (into) => (outBytes > 0 ? stream.read(into) : into.length === 0),
      };
      result = this.#execute(request, data);
      if (result.length > inBytes + outBytes) response = spec.VIRTIO_SCSI_S_OVERRUN;
    }
    const moved = Math.min(result.length, inBytes + outBytes);
    this.#answer(request, response, result, inBytes + outBytes - moved);
    const { queue, head, answerBytes } = request;
    this.requests.remove(request);
    this.transport.queues[queue]!.pushUsed(head, answerBytes + (inBytes > 0 ? moved : 0));
  }

  #execute(request: InFlightRequest, data: ScsiData): ScsiResult {
    const { cdb } = request;
    if (cdb[0] === scsi.REPORT_LUNS) return this.#reportLuns(request.target, cdb, data);
    const disk = this.#units[request.unit]?.disk;
    return disk === undefined ? absentUnit(cdb, data) : disk.execute(cdb, data);
  }

  /** SPC-4, "REPORT LUNS": the target's, whichever of its units is asked. */
  #reportLuns(target: number, cdb: Uint8Array, data: ScsiData): ScsiResult {
    const luns = this.#units.filter(({ at }) => at.target === target).map(({ at }) => at.lun);
    luns.sort((a, b) => a - b);
    const list = new Uint8Array(8 + 8 * luns.length);
    putBe(list, 0, 4, 8 * luns.length);
    luns.forEach((lun, i) => putBe(list, 8 + 8 * i, 2, lun));
    return reply(list, ((cdb[6]! << 24) | (cdb[7]! << 16) | (cdb[8]! << 8) | cdb[9]!) >>> 0, data);
  }

  #answer(request: InFlightRequest, response: number, result: ScsiResult, residual: number): void {
    const answer = new Uint8Array(request.answerBytes);
    const view = new DataView(answer.buffer);
    const sense = result.sense?.subarray(0, answer.length - spec.ANSWER_SENSE);
    view.setUint32(spec.ANSWER_SENSE_LENGTH, sense?.length ?? 0, true);
    view.setUint32(spec.ANSWER_RESIDUAL, residual, true);
    answer[spec.ANSWER_STATUS] = result.status;
    answer[spec.ANSWER_RESPONSE] = response;
    if (sense) answer.set(sense, spec.ANSWER_SENSE);
    this.requests.stream(request.reply, this.#memory).write(answer);
  }

  // Control queue.

  /** Bytes written in answer to the last control request. */
  #controlAnswer = 0;

  /** Answers the control request in the chain; false when that cannot be done. */
  #serveControl(): boolean {
    const c = this.#control;
    const readable = this.chain.readableBytes;
    if (readable < 4 || !readChain(this.chain, this.#memory, 0, c.subarray(0, 4))) return false;
    const type = c[0]! | (c[1]! << 8);
    if (type === spec.VIRTIO_SCSI_T_TMF) {
      if (readable < spec.TMF_BYTES || !readChain(this.chain, this.#memory, 0, c)) return false;
      return this.#answerControl(Uint8Array.of(this.#manageTasks()));
    }
    // Asynchronous notifications: none of the events that may be asked for is known.
    if (readable < spec.AN_BYTES || !readChain(this.chain, this.#memory, 0, c.subarray(0, spec.AN_BYTES)))
      return false;
    const isKnown = this.#find(unitAddress(c, spec.AN_LUN)) !== NO_UNIT;
    return this.#answerControl(
      Uint8Array.of(0, 0, 0, 0, isKnown ? spec.VIRTIO_SCSI_S_OK : spec.VIRTIO_SCSI_S_BAD_TARGET),
    );
  }

  #answerControl(answer: Uint8Array): boolean {
    this.#controlAnswer = answer.length;
    return writeChain(this.chain, this.#memory, 0, answer);
  }

  /** A task management function: SAM-5, "Task management functions". Returns the response. */
  #manageTasks(): number {
    const view = new DataView(this.#control.buffer);
    const address = unitAddress(this.#control, spec.TMF_LUN);
    const unit = this.#find(address);
    const ofTarget = this.#units.some(({ at }) => at.target === address?.target);
    if (!ofTarget) return spec.VIRTIO_SCSI_S_BAD_TARGET;
    const isTask = (request: InFlightRequest): boolean =>
      request.unit === unit &&
      request.idLow === view.getUint32(spec.TMF_ID, true) &&
      request.idHigh === view.getUint32(spec.TMF_ID + 4, true);
    const subtype = view.getUint32(spec.TMF_SUBTYPE, true);
    if (subtype === spec.TMF_I_T_NEXUS_RESET) {
      this.#endTasks((request) => request.target === address?.target, spec.VIRTIO_SCSI_S_RESET);
      for (const { at, disk } of this.#units)
        if (at.target === address?.target) disk.reset(scsi.BUS_DEVICE_RESET_FUNCTION_OCCURRED);
      return spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
    }
    if (unit === NO_UNIT) return spec.VIRTIO_SCSI_S_INCORRECT_LUN;
    switch (subtype) {
      case spec.TMF_ABORT_TASK:
        this.#endTasks(isTask, spec.VIRTIO_SCSI_S_ABORTED);
        return spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
      case spec.TMF_ABORT_TASK_SET:
      case spec.TMF_CLEAR_TASK_SET:
        this.#endTasks((request) => request.unit === unit, spec.VIRTIO_SCSI_S_ABORTED);
        return spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
      case spec.TMF_LOGICAL_UNIT_RESET:
        this.#endTasks((request) => request.unit === unit, spec.VIRTIO_SCSI_S_RESET);
        this.#units[unit]!.disk.reset(scsi.BUS_DEVICE_RESET_FUNCTION_OCCURRED);
        return spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
      // "FUNCTION_SUCCEEDED" says that such a task is there, "FUNCTION_COMPLETE" (OK) that there is none.
      case spec.TMF_QUERY_TASK:
        return this.requests.requests.some(isTask)
          ? spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED
          : spec.VIRTIO_SCSI_S_OK;
      case spec.TMF_QUERY_TASK_SET:
        return this.requests.requests.some((request) => request.unit === unit)
          ? spec.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED
          : spec.VIRTIO_SCSI_S_OK;
      default:
        return spec.VIRTIO_SCSI_S_FUNCTION_REJECTED;
    }
  }

  /** Ends requests without effect, with this response. */
  #endTasks(which: (request: InFlightRequest) => boolean, response: number): void {
    for (const request of this.requests.requests) {
      if (!which(request)) continue;
      request.response = response;
      this.finish(request);
    }
  }
}

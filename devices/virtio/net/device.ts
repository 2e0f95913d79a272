/**
 * A virtio network device: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Network Device".
 *
 * Frames are moved when a queue is served (`serveQueue`), by the device itself when it is notified or by a hypervisor's request path; a
 * frame that finds no buffers waits on the link until the driver adds some.
 *
 * Not offered: announcements (nothing here migrates), MTU, receive-side scaling and its hashes, coalescing.
 */
import { array, struct, u16, u32, type ViewOf } from "../../../layout/struct.ts";
import { ETHERNET_HEADER_BYTES, MOST_FRAME_BYTES } from "../../net/ethernet.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import type {
  DeviceContext,
  DmaMemory,
  FrameOffload,
  NetworkLink,
  NetworkReceiver,
  OffloadsTaken,
  ReceivedFrame,
} from "../../ports.ts";
import { readChain } from "../chain-bytes.ts";
import { DescriptorChain, MOST_DESCRIPTORS } from "../queue.ts";
import type { Virtqueue } from "../queue.ts";
import type { ServedVirtio, VirtioService } from "../served.ts";
import { VirtioPci, type VirtioWiring } from "../transport-pci.ts";
import type { VirtioDeviceType } from "../transport-pci.ts";
import { flowOf } from "./flow.ts";
import { ReceiveFilter, ReceiveFilterStruct } from "./receive-filter.ts";
import * as spec from "./spec.ts";

export const MOST_QUEUE_PAIRS = 8;

export interface VirtioNetOptions extends VirtioWiring {
  readonly link: NetworkLink;
  readonly mac: Uint8Array;
  /** Pairs of receive and transmit queues, 1 to 8. Default 1. */
  readonly queuePairs?: number;
  /** Size of each of them, a power of two. Default 256. */
  readonly queueSize?: number;
}

export const VirtioNetStruct = struct("VirtioNet", {
  /** Pairs in use. */
  pairs: u16,
  /** Offloads that the driver has switched off, by feature bit. */
  offloadsOff: u32,
  /** By pair: 0, or 1 + the position of the chain that the frame on the link still needs. */
  lacking: array("u32", MOST_QUEUE_PAIRS),
});

const CONTROL_QUEUE_SIZE = 64;
/** The longest command: a long table of addresses. */
const MOST_COMMAND_BYTES = 4096;
const NO_OFFLOADS: OffloadsTaken = { checksum: false, tcp4: false, tcp6: false, ecn: false };

/** Chains gathered for one frame, and the segments that they consist of. */
class Gathered {
  chains = 0;
  segments = 0;
  bytes = 0;
  readonly heads = new Uint16Array(MOST_DESCRIPTORS);
  /** Chain i's segments end before `ends[i]`. */
  readonly ends = new Uint32Array(MOST_DESCRIPTORS);
  readonly addresses = new Float64Array(MOST_DESCRIPTORS);
  readonly lengths = new Uint32Array(MOST_DESCRIPTORS);

  clear(): void {
    this.chains = this.segments = this.bytes = 0;
  }

  /** Adds a chain's writable buffers; false when there are too many. */
  add(chain: DescriptorChain): boolean {
    const count = chain.count - chain.readable;
    if (this.chains === MOST_DESCRIPTORS || this.segments + count > MOST_DESCRIPTORS) return false;
    for (let i = chain.readable; i < chain.count; i++) {
      this.addresses[this.segments] = chain.addresses[i]!;
      this.lengths[this.segments++] = chain.lengths[i]!;
    }
    this.heads[this.chains] = chain.head;
    this.ends[this.chains++] = this.segments;
    this.bytes += chain.writableBytes;
    return true;
  }
}

export class VirtioNet implements VirtioDeviceType, ServedVirtio, NetworkReceiver {
  readonly features: bigint;
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  /** Frames are moved when they are served: none is ever under way inside the device. */
  readonly inFlight = 0;
  readonly nextDue = undefined;
  readonly #state: ViewOf<typeof VirtioNetStruct>;
  readonly #filter: ReceiveFilter;
  readonly #memory: DmaMemory;
  readonly #link: NetworkLink;
  readonly #mac: Uint8Array;
  readonly #pairs: number;
  /** Scratch, valid inside one call only. */
  readonly #chain = new DescriptorChain();
  readonly #gathered = new Gathered();
  readonly #header = new Uint8Array(spec.HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #bytes = new Uint8Array(MOST_FRAME_BYTES);
  #service: VirtioService | undefined;

  constructor(context: DeviceContext, options: VirtioNetOptions) {
    const { label, queuePairs = 1, queueSize = 256 } = options;
    if (!Number.isInteger(queuePairs) || queuePairs < 1 || queuePairs > MOST_QUEUE_PAIRS)
      throw new RangeError(`${label}: ${queuePairs} queue pairs, must be 1-${MOST_QUEUE_PAIRS}`);
    this.#mac = options.mac;
    this.#pairs = queuePairs;
    this.#memory = options.memory;
    this.#link = options.link;
    this.features = offeredFeatures(queuePairs);
    this.#state = context.state.place(`${label} net`, VirtioNetStruct);
    this.#filter = new ReceiveFilter(context.state.place(`${label} filter`, ReceiveFilterStruct));
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: spec.VIRTIO_ID_NETWORK,
        classCode: 0x020000,
        queueSizes: [...new Array<number>(2 * queuePairs).fill(queueSize), CONTROL_QUEUE_SIZE],
      },
      this,
    );
    this.pci = this.transport.pci;
    options.link.connect(this);
  }

  reset(): void {
    this.transport.reset();
  }

  // --- a device whose queues somebody else may serve

  setService(service: VirtioService | undefined): void {
    this.#service = service;
  }

  get queueCount(): number {
    return this.transport.queues.length;
  }

  hasWork(queue: number): boolean {
    if (!this.transport.isQueueLive(queue)) return false;
    const q = this.transport.queues[queue]!;
    if (!this.#isReceive(queue)) return q.waiting !== 0;
    if (this.#isShort(queue)) return false;
    const frame = this.#link.peek();
    return frame !== undefined && this.#pairFor(frame.bytes) === queue >> 1;
  }

  serveQueue(queue: number, budget: number): number {
    if (!this.transport.isQueueLive(queue)) return 0;
    const served = this.#isReceive(queue) ? this.#receive(budget) : this.#serveDriver(queue, budget);
    this.signalCompleted();
    return served;
  }

  completeDue(): number {
    return 0;
  }

  signalCompleted(): number {
    let sent = 0;
    this.transport.queues.forEach((queue, index) => {
      if (queue.state.signalPending && this.transport.isQueueLive(index) && this.transport.signalQueue(index))
        sent++;
    });
    return sent;
  }

  setNotificationsEnabled(queue: number, on: boolean): boolean {
    return this.transport.isQueueLive(queue) && this.transport.queues[queue]!.setNotificationsEnabled(on);
  }

  // --- a receiver of frames

  /** What is on the link is bounded, so this is. */
  arrived(): void {
    this.#receive(Infinity);
    this.signalCompleted();
  }

  carrierChanged(): void {
    if (this.#has(spec.VIRTIO_NET_F_STATUS)) this.transport.configurationChanged();
  }

  listens(): OffloadsTaken | undefined {
    if (!this.transport.isQueueLive(0)) return undefined;
    const taken = this.transport.acceptedLow & ~this.#state.offloadsOff;
    if (!(taken & spec.bit(spec.VIRTIO_NET_F_GUEST_CSUM))) return NO_OFFLOADS;
    return {
      checksum: true,
      tcp4: (taken & spec.bit(spec.VIRTIO_NET_F_GUEST_TSO4)) !== 0,
      tcp6: (taken & spec.bit(spec.VIRTIO_NET_F_GUEST_TSO6)) !== 0,
      ecn: (taken & spec.bit(spec.VIRTIO_NET_F_GUEST_ECN)) !== 0,
    };
  }

  // --- what the transport asks

  /** By itself the device serves at once all that a queue can hold. */
  notified(queue: number): void {
    if (this.#service !== undefined) this.#service.notified(queue);
    else this.serveQueue(queue, this.transport.queues[queue]!.state.size);
  }

  resetDevice(): void {
    const s = this.#state;
    s.pairs = 1;
    s.offloadsOff = 0;
    s.lacking.fill(0);
    this.#filter.reset(this.#mac);
    this.#link.clear();
  }

  /** No buffer is kept, but where the next one was waited for. */
  resetQueue(queue: number): void {
    if (queue % 2 === 0 && queue >> 1 < this.#pairs) this.#state.lacking[queue >> 1] = 0;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < size; i++) value += this.#configByte(offset + i) * 256 ** i;
    return value;
  }

  /** Nothing can be written: the address changes by the control queue. */
  writeConfig(): void {
    return;
  }

  #configByte(at: number): number {
    if (at < spec.CONFIG_STATUS) return this.#filter.mac[at]!;
    if (at === spec.CONFIG_STATUS) return this.#link.isUp ? spec.VIRTIO_NET_S_LINK_UP : 0;
    return at === spec.CONFIG_MAX_VIRTQUEUE_PAIRS ? this.#pairs : 0;
  }

  #has(feature: bigint): boolean {
    return (this.transport.acceptedLow & spec.bit(feature)) !== 0;
  }

  /** "The control queue is queue 2 × max_virtqueue_pairs, or 2 without VIRTIO_NET_F_MQ." */
  get #controlQueue(): number {
    return this.#has(spec.VIRTIO_NET_F_MQ) ? 2 * this.#pairs : 2;
  }

  #isReceive(queue: number): boolean {
    return queue % 2 === 0 && queue < 2 * this.#state.pairs;
  }

  // --- the driver's side: frames to send, and commands

  #serveDriver(queue: number, budget: number): number {
    const q = this.transport.queues[queue]!;
    let served = 0;
    for (; served < budget; served++) {
      const found = q.peek(this.#chain);
      if (found === "empty") return served;
      if (found === "broken") {
        this.transport.needsReset();
        return served;
      }
      q.take();
      if (queue === this.#controlQueue) this.#serveCommand(q);
      else {
        if (queue % 2 === 1) this.#transmit();
        q.pushUsed(this.#chain.head, 0);
      }
    }
    return served;
  }

  /** Sends the frame in `#chain`. One that is malformed is dropped, as a wire would. */
  #transmit(): void {
    const length = this.#chain.readableBytes - spec.HEADER_BYTES;
    if (length < ETHERNET_HEADER_BYTES || length > MOST_FRAME_BYTES) return;
    const frame = this.#bytes.subarray(0, length);
    if (!readChain(this.#chain, this.#memory, 0, this.#header)) return;
    if (!readChain(this.#chain, this.#memory, spec.HEADER_BYTES, frame)) return;
    const offload = this.#offloadOf(length);
    if (offload !== undefined) this.#link.send(frame, offload);
  }

  /** What the header asks for; undefined when it may not. */
  #offloadOf(length: number): FrameOffload | undefined {
    const header = this.#headerView;
    const needsChecksum = (header.getUint8(spec.HDR_FLAGS) & spec.VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
    const gso = header.getUint8(spec.HDR_GSO_TYPE);
    const type = gso & ~spec.VIRTIO_NET_HDR_GSO_ECN;
    const isEcn = (gso & spec.VIRTIO_NET_HDR_GSO_ECN) !== 0;
    const checksumStart = needsChecksum ? header.getUint16(spec.HDR_CSUM_START, true) : 0;
    const checksumOffset = needsChecksum ? header.getUint16(spec.HDR_CSUM_OFFSET, true) : 0;
    if (needsChecksum) {
      const isInFrame =
        checksumStart >= ETHERNET_HEADER_BYTES && checksumStart + checksumOffset + 2 <= length;
      if (!isInFrame || !this.#has(spec.VIRTIO_NET_F_CSUM)) return undefined;
    }
    const plain = { checksumStart, checksumOffset, segmentBytes: 0, segmentation: 0, ecn: false } as const;
    if (type === spec.VIRTIO_NET_HDR_GSO_NONE) return { ...plain, checked: false };
    const feature = SEGMENTATION_FEATURES[type];
    // "If gso_type differs from NONE, the driver MUST also set NEEDS_CSUM" and a size.
    const segmentBytes = header.getUint16(spec.HDR_GSO_SIZE, true);
    if (feature === undefined || !needsChecksum || segmentBytes === 0) return undefined;
    if (!this.#has(feature) || (isEcn && !this.#has(spec.VIRTIO_NET_F_HOST_ECN))) return undefined;
    const segmentation = type === spec.VIRTIO_NET_HDR_GSO_TCPV4 ? 4 : 6;
    return { ...plain, segmentBytes, segmentation, ecn: isEcn, checked: false };
  }

  /** Carries out the command in `#chain` and answers it. */
  #serveCommand(q: Virtqueue): void {
    const chain = this.#chain;
    const { head, readableBytes, writableBytes } = chain;
    if (writableBytes === 0) {
      q.pushUsed(head, 0);
      return;
    }
    const answerAt = chain.addresses[chain.readable]!;
    const command = new Uint8Array(Math.min(readableBytes, MOST_COMMAND_BYTES));
    const done =
      readableBytes <= MOST_COMMAND_BYTES &&
      readableBytes >= 2 &&
      readChain(chain, this.#memory, 0, command) &&
      this.#command(command[0]!, command[1]!, command.subarray(2));
    this.#memory.write(answerAt, Uint8Array.of(done ? spec.VIRTIO_NET_OK : spec.VIRTIO_NET_ERR));
    q.pushUsed(head, 1);
  }

  #command(kind: number, command: number, data: Uint8Array): boolean {
    switch (kind) {
      case spec.VIRTIO_NET_CTRL_RX: {
        const feature =
          command <= spec.VIRTIO_NET_CTRL_RX_ALLMULTI
            ? spec.VIRTIO_NET_F_CTRL_RX
            : spec.VIRTIO_NET_F_CTRL_RX_EXTRA;
        return data.length === 1 && this.#has(feature) && this.#filter.setMode(command, data[0]!);
      }
      case spec.VIRTIO_NET_CTRL_MAC:
        if (command === spec.VIRTIO_NET_CTRL_MAC_TABLE_SET)
          return this.#has(spec.VIRTIO_NET_F_CTRL_RX) && this.#filter.setTable(data);
        return (
          command === spec.VIRTIO_NET_CTRL_MAC_ADDR_SET &&
          this.#has(spec.VIRTIO_NET_F_CTRL_MAC_ADDR) &&
          this.#filter.setMac(data)
        );
      case spec.VIRTIO_NET_CTRL_VLAN:
        return (
          data.length === 2 &&
          command <= spec.VIRTIO_NET_CTRL_VLAN_DEL &&
          this.#has(spec.VIRTIO_NET_F_CTRL_VLAN) &&
          this.#filter.setVlan(data[0]! | (data[1]! << 8), command === spec.VIRTIO_NET_CTRL_VLAN_ADD)
        );
      case spec.VIRTIO_NET_CTRL_MQ: {
        const pairs = data[0]! | (data[1]! << 8);
        if (command !== spec.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || data.length !== 2) return false;
        if (!this.#has(spec.VIRTIO_NET_F_MQ) || pairs < 1 || pairs > this.#pairs) return false;
        this.#state.pairs = pairs;
        return true;
      }
      case spec.VIRTIO_NET_CTRL_GUEST_OFFLOADS: {
        if (command !== spec.VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET || data.length !== 8) return false;
        const wanted = new DataView(data.buffer, data.byteOffset, 8);
        const low = wanted.getUint32(0, true);
        const offered = (this.transport.acceptedLow & spec.GUEST_OFFLOADS) >>> 0;
        if (wanted.getUint32(4, true) !== 0 || (low & ~offered) !== 0) return false;
        if (!this.#has(spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) return false;
        this.#state.offloadsOff = (spec.GUEST_OFFLOADS & ~low) >>> 0;
        return true;
      }
      default:
        return false;
    }
  }

  // --- frames to the driver

  /** Moves up to `budget` frames from the link to buffers. @returns how many, those that the filter dropped included */
  #receive(budget: number): number {
    let received = 0;
    while (received < budget) {
      const frame = this.#link.peek();
      if (frame === undefined) break;
      if (this.transport.isQueueLive(0) && this.#wants(frame)) {
        const queue = 2 * this.#pairFor(frame.bytes);
        const fate = this.#place(this.transport.queues[queue]!, frame);
        if (fate === "broken") this.transport.needsReset();
        // The driver notifies when it adds buffers; it may have added some in the meantime.
        if (fate === "wait" && !this.#isStillShort(queue)) continue;
        if (fate === "wait") break;
      }
      this.#link.take();
      received++;
    }
    return received;
  }

  /** Asks for a notification of new buffers. @returns whether there are still too few */
  #isStillShort(queue: number): boolean {
    this.transport.queues[queue]!.setNotificationsEnabled(true);
    return this.#isShort(queue);
  }

  /** No chain has come where the last look found none, or where the next one would be. */
  #isShort(queue: number): boolean {
    const q = this.transport.queues[queue]!;
    const lacking = this.#state.lacking[queue >> 1]!;
    return lacking === 0 ? q.waiting === 0 : !q.isAvailableAt(lacking - 1);
  }

  #wants({ bytes, offload }: ReceivedFrame): boolean {
    if (!this.#filter.passes(bytes, this.#has(spec.VIRTIO_NET_F_CTRL_VLAN))) return false;
    // Offloads may have been switched off since the frame was sent.
    if (offload.checksumStart === 0) return true;
    const taken = this.listens()!;
    if (offload.segmentation === 4) return taken.tcp4;
    return offload.segmentation === 6 ? taken.tcp6 : taken.checksum;
  }

  #pairFor(frame: Uint8Array): number {
    const { pairs } = this.#state;
    if (pairs === 1) return 0;
    const pair = flowOf(frame) % pairs;
    return this.transport.isQueueLive(2 * pair) ? pair : 0;
  }

  /** Puts a frame into buffers: several chains with MRG_RXBUF, else one that is large enough, or the frame is dropped. */
  #place(q: Virtqueue, { bytes, offload }: ReceivedFrame): "done" | "wait" | "broken" {
    const gathered = this.#gathered;
    const needed = spec.HEADER_BYTES + bytes.length;
    const merges = this.#has(spec.VIRTIO_NET_F_MRG_RXBUF);
    const pair = this.transport.queues.indexOf(q) >> 1;
    const before = q.position;
    gathered.clear();
    while (gathered.bytes < needed) {
      const found = q.peek(this.#chain);
      if (found === "broken") return "broken";
      if (found === "empty") {
        this.#state.lacking[pair] = q.position + 1;
        q.rewind(before);
        return "wait";
      }
      if (!merges && this.#chain.writableBytes < needed) return "done";
      q.take();
      // More pieces than that are no buffers for frames.
      if (!gathered.add(this.#chain) || this.#chain.readableBytes > 0) return "broken";
    }
    this.#state.lacking[pair] = 0;
    if (q.state.notificationsOff === 0) q.setNotificationsEnabled(false);
    this.#writeHeader(bytes, offload, gathered.chains);
    this.#scatter(q, bytes);
    return "done";
  }

  #writeHeader(frame: Uint8Array, offload: FrameOffload, chains: number): void {
    const header = this.#headerView;
    this.#header.fill(0);
    header.setUint16(spec.HDR_NUM_BUFFERS, chains, true);
    if (offload.checksumStart !== 0) {
      header.setUint8(spec.HDR_FLAGS, spec.VIRTIO_NET_HDR_F_NEEDS_CSUM);
      header.setUint16(spec.HDR_CSUM_START, offload.checksumStart, true);
      header.setUint16(spec.HDR_CSUM_OFFSET, offload.checksumOffset, true);
    } else if (offload.checked && this.#has(spec.VIRTIO_NET_F_GUEST_CSUM))
      header.setUint8(spec.HDR_FLAGS, spec.VIRTIO_NET_HDR_F_DATA_VALID);
    if (offload.segmentBytes === 0) return;
    const type = offload.segmentation === 4 ? spec.VIRTIO_NET_HDR_GSO_TCPV4 : spec.VIRTIO_NET_HDR_GSO_TCPV6;
    header.setUint8(spec.HDR_GSO_TYPE, offload.ecn ? type | spec.VIRTIO_NET_HDR_GSO_ECN : type);
    header.setUint16(spec.HDR_GSO_SIZE, offload.segmentBytes, true);
    const transport = offload.checksumStart;
    const headers = transport + (((frame[transport + 12] ?? 0) >> 4) << 2);
    header.setUint16(spec.HDR_HDR_LEN, Math.min(headers, frame.length), true);
  }

  /** Header and frame into the gathered buffers; the driver sees all of them at once. */
  #scatter(q: Virtqueue, frame: Uint8Array): void {
    const gathered = this.#gathered;
    let headerDone = 0;
    let frameDone = 0;
    let segment = 0;
    for (let i = 0; i < gathered.chains; i++) {
      let written = 0;
      for (; segment < gathered.ends[i]!; segment++) {
        let address = gathered.addresses[segment]!;
        let room = gathered.lengths[segment]!;
        if (headerDone < spec.HEADER_BYTES) {
          const part = Math.min(room, spec.HEADER_BYTES - headerDone);
          this.#memory.write(address, this.#header.subarray(headerDone, headerDone + part));
          headerDone += part;
          address += part;
          room -= part;
          written += part;
        }
        const part = Math.min(room, frame.length - frameDone);
        if (part > 0) this.#memory.write(address, frame.subarray(frameDone, frameDone + part));
        frameDone += part;
        written += part;
      }
      q.stageUsed(gathered.heads[i]!, written);
    }
    q.publishUsed();
  }
}

const SEGMENTATION_FEATURES: Readonly<Record<number, bigint>> = {
  [spec.VIRTIO_NET_HDR_GSO_TCPV4]: spec.VIRTIO_NET_F_HOST_TSO4,
  [spec.VIRTIO_NET_HDR_GSO_TCPV6]: spec.VIRTIO_NET_F_HOST_TSO6,
};

function offeredFeatures(pairs: number): bigint {
  const offered = [
    spec.VIRTIO_NET_F_CSUM,
    spec.VIRTIO_NET_F_GUEST_CSUM,
    spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    spec.VIRTIO_NET_F_MAC,
    spec.VIRTIO_NET_F_GUEST_TSO4,
    spec.VIRTIO_NET_F_GUEST_TSO6,
    spec.VIRTIO_NET_F_GUEST_ECN,
    spec.VIRTIO_NET_F_HOST_TSO4,
    spec.VIRTIO_NET_F_HOST_TSO6,
    spec.VIRTIO_NET_F_HOST_ECN,
    spec.VIRTIO_NET_F_MRG_RXBUF,
    spec.VIRTIO_NET_F_STATUS,
    spec.VIRTIO_NET_F_CTRL_VQ,
    spec.VIRTIO_NET_F_CTRL_RX,
    spec.VIRTIO_NET_F_CTRL_VLAN,
    spec.VIRTIO_NET_F_CTRL_RX_EXTRA,
    spec.VIRTIO_NET_F_CTRL_MAC_ADDR,
    ...(pairs > 1 ? [spec.VIRTIO_NET_F_MQ] : []),
  ];
  return offered.reduce((bits, feature) => bits | (1n << feature), 0n);
}

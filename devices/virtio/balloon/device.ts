/**
 * A virtio balloon: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Traditional Memory Balloon Device". The host sets a target;
 * the guest gives pages up (inflates) or takes them back. What it gave up is counted; its memory here stays where it is, zeroed
 * so that the host need not keep its contents.
 */
import { array, struct, u32, u8, type ViewOf } from "../../../layout/struct.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import type { DeviceContext, DmaMemory, Resettable } from "../../ports.ts";
import { readChain } from "../chain-data.ts";
import { DescriptorChain } from "../queue.ts";
import { VirtioPci, type VirtioDeviceType, type VirtioWiring } from "../transport-pci.ts";

export const VIRTIO_ID_BALLOON = 5;
export const VIRTIO_BALLOON_F_MUST_TELL_HOST = 0n;
export const VIRTIO_BALLOON_F_STATS_VQ = 1n;

const INFLATE_QUEUE = 0;
const DEFLATE_QUEUE = 1;
const STATS_QUEUE = 2;
const QUEUE_SIZE = 128;

/** struct virtio_balloon_config: num_pages at 0, then actual. */
const CONFIG_ACTUAL = 4;
/** Pages are of 4 KiB whatever the guest's are. */
export const BALLOON_PAGE = 4096;

/** Most page numbers taken from one buffer; drivers send 256. */
const MOST_PAGES = 1024;
/** struct virtio_balloon_stat: tag and value. */
const STAT_BYTES = 10;
const MOST_STATS = 16;

/** Statistics by tag, as QEMU names them. */
export const BALLOON_STATS = [
  "swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory", "available-memory", "disk-caches",
  "hugetlb-allocations", "hugetlb-failures",
] as const; // prettier-ignore

const VirtioBalloonStruct = struct("VirtioBalloon", {
  /** What the host asks for, in pages; it outlives resets of the device. */
  target: u32,
  /** What the guest says it has given up. */
  actual: u32,
  /** A buffer of statistics is here, and its head is kept until the next are asked for. */
  hasStats: u8,
  statsHead: u32,
  /** Bit n: statistic n has been told. */
  known: u32,
  inflated: u32,
  deflated: u32,
  stats: array("f64", MOST_STATS),
});

export class VirtioBalloon implements VirtioDeviceType, Resettable {
  readonly features = (1n << VIRTIO_BALLOON_F_MUST_TELL_HOST) | (1n << VIRTIO_BALLOON_F_STATS_VQ);
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  readonly #state: ViewOf<typeof VirtioBalloonStruct>;
  readonly #memory: DmaMemory;
  /** Scratch, valid inside one call only. */
  readonly #chain = new DescriptorChain();
  readonly #bytes = new Uint8Array(4 * MOST_PAGES);
  readonly #zeroes = new Uint8Array(BALLOON_PAGE);

  constructor(context: DeviceContext, options: VirtioWiring) {
    this.#memory = options.memory;
    this.#state = context.state.place(`${options.label} balloon`, VirtioBalloonStruct);
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: VIRTIO_ID_BALLOON,
        classCode: 0x00ff00,
        queueSizes: [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE],
      },
      this,
    );
    this.pci = this.transport.pci;
  }

  reset(): void {
    this.#state.target = 0;
    this.transport.reset();
  }

  /** Pages that the guest shall give up. It is told, and follows when it can. */
  setTarget(pages: number): void {
    this.#state.target = pages;
    this.transport.configurationChanged();
  }

  /** Pages asked for, pages that the guest says it has given up, and how many it has named in all. */
  get pages(): {
    readonly target: number;
    readonly actual: number;
    readonly inflated: number;
    readonly deflated: number;
  } {
    const { target, actual, inflated, deflated } = this.#state;
    return { target, actual, inflated, deflated };
  }

  /** The guest's statistics as of its last report, by name. Asks for the next ones. */
  takeStatistics(): Readonly<Record<string, number>> {
    const s = this.#state;
    const report: Record<string, number> = {};
    BALLOON_STATS.forEach((name, tag) => {
      if (s.known & (1 << tag)) report[name] = s.stats[tag]!;
    });
    if (s.hasStats !== 0 && this.transport.isQueueLive(STATS_QUEUE)) {
      s.hasStats = 0;
      this.transport.queues[STATS_QUEUE]!.pushUsed(s.statsHead, 0);
      this.transport.signalQueue(STATS_QUEUE);
    }
    return report;
  }

  // What the transport asks.

  notified(queue: number): void {
    if (queue === STATS_QUEUE) this.#takeReport();
    else if (queue === INFLATE_QUEUE || queue === DEFLATE_QUEUE) this.#takePages(queue);
  }

  resetDevice(): void {
    const s = this.#state;
    s.actual = 0;
    s.hasStats = 0;
    s.known = 0;
    s.inflated = s.deflated = 0;
  }

  /** The buffer for statistics is the driver's again. */
  resetQueue(queue: number): void {
    if (queue === STATS_QUEUE) this.#state.hasStats = 0;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const field = at < CONFIG_ACTUAL ? this.#state.target : at < 8 ? this.#state.actual : 0;
      value += ((field >>> (8 * (at % 4))) & 0xff) * 256 ** i;
    }
    return value;
  }

  /** `actual` is the driver's to write. */
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset === CONFIG_ACTUAL && size === 4) this.#state.actual = value;
  }

  /** Arrays of page numbers: given up, or taken back. Pages that are not RAM are of no use to anybody. */
  #takePages(index: number): void {
    const s = this.#state;
    const queue = this.transport.queues[index]!;
    const view = new DataView(this.#bytes.buffer);
    for (let served = 0; served < queue.state.size; served++) {
      const found = queue.peek(this.#chain);
      if (found === "empty") break;
      const length = this.#chain.readableBytes;
      const isFit = found === "ok" && length % 4 === 0 && length <= this.#bytes.length;
      if (!isFit || !readChain(this.#chain, this.#memory, 0, this.#bytes.subarray(0, length))) {
        this.transport.needsReset();
        return;
      }
      queue.take();
      for (let at = 0; at < length; at += 4) {
        const page = view.getUint32(at, true);
        if (!this.#memory.contains(page * BALLOON_PAGE, BALLOON_PAGE)) continue;
        if (index === DEFLATE_QUEUE) s.deflated++;
        else {
          s.inflated++;
          this.#memory.write(page * BALLOON_PAGE, this.#zeroes);
        }
      }
      queue.pushUsed(this.#chain.head, 0);
    }
    if (queue.state.signalPending !== 0) this.transport.signalQueue(index);
  }

  /** The driver has put statistics into the queue's one buffer, which is given back when more are wanted. */
  #takeReport(): void {
    const s = this.#state;
    const queue = this.transport.queues[STATS_QUEUE]!;
    const found = queue.peek(this.#chain);
    if (found === "empty") return;
    const length = Math.min(this.#chain.readableBytes, MOST_STATS * STAT_BYTES);
    const report = this.#bytes.subarray(0, length - (length % STAT_BYTES));
    if (found === "broken" || s.hasStats !== 0 || !readChain(this.#chain, this.#memory, 0, report)) {
      this.transport.needsReset();
      return;
    }
    queue.take();
    s.statsHead = this.#chain.head;
    s.hasStats = 1;
    const view = new DataView(report.buffer, 0, report.length);
    for (let at = 0; at < report.length; at += STAT_BYTES) {
      const tag = view.getUint16(at, true);
      if (tag >= BALLOON_STATS.length) continue;
      s.known |= 1 << tag;
      s.stats[tag] = Number(view.getBigUint64(at + 2, true));
    }
  }
}

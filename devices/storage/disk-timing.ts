/**
 * How long the physical disk takes. One model in shared state stands behind every path to the disk, so that
 * metal, emulation and virtio queue up at the same device.
 *
 * The drive is modelled as `channels` flash channels working in parallel and one interface over which commands
 * and data pass one after another:
 * - a read that continues the last one has been prefetched: it takes the interface only;
 * - any other read first takes a channel for the read latency, then the interface for its data, but at least for
 *   the command overhead that bounds the random rate;
 * - a write passes over the interface into the drive's buffer and is acknowledged after the write latency; random
 *   writes then occupy the interface for the time that bounds their rate;
 * - a flush waits for everything accepted before it.
 *
 * All times are integer cycles, rounded up.
 */
import { array, struct, u53 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, DiskTiming, Resettable, StorageOperation } from "../ports.ts";
import { SECTOR_BYTES } from "./sectors.ts";

export interface DiskParameter {
  readonly value: number;
  /** Where the figure is from; "free" if from nowhere. */
  readonly source: string;
}

export interface DiskProfile {
  readonly name: string;
  readonly readBytesPerSecond: DiskParameter;
  readonly writeBytesPerSecond: DiskParameter;
  readonly readLatencyNanoseconds: DiskParameter;
  readonly writeLatencyNanoseconds: DiskParameter;
  /** 4 KiB random reads per second at a deep queue. */
  readonly randomReadsPerSecond: DiskParameter;
  readonly randomWritesPerSecond: DiskParameter;
  readonly channels: DiskParameter;
}

/** Intel X25-E, 32 GB. */
export const X25E: DiskProfile = {
  name: "x25-e",
  readBytesPerSecond: {
    value: 250_000_000,
    source: "Intel X25-E, reports of IDF 2008: 250 MB/s sequential read",
  },
  writeBytesPerSecond: {
    value: 170_000_000,
    source: "The Tech Report, Intel's X25-E Extreme solid-state drive (2008): 170 MB/s sustained write",
  },
  readLatencyNanoseconds: { value: 75_000, source: "Intel X25-E, reports of IDF 2008: 75 us read latency" },
  writeLatencyNanoseconds: { value: 85_000, source: "free: the figure usually quoted for the X25-E" },
  randomReadsPerSecond: {
    value: 35_000,
    source: "Intel X25-E, reports of IDF 2008: 35,000 4 KiB random reads/s",
  },
  randomWritesPerSecond: { value: 3_300, source: "free: the figure usually quoted for the X25-E" },
  channels: {
    value: 10,
    source: "Tom's Hardware, X25-E SSD performance (2009): ten-channel flash controller",
  },
};

const MOST_CHANNELS = 32;

export const DiskTimingStruct = struct("DiskTiming", {
  /** When each flash channel is free. */
  channelFree: array("u64", MOST_CHANNELS),
  interfaceFree: u53,
  /** When everything accepted so far is done. */
  allDone: u53,
  /** The sector after the last read, and after the last write. */
  nextRead: u53,
  nextWrite: u53,
});

/** floor or ceiling of a × b / c without losing bits: the product may exceed 2^53. */
function ceilMulDiv(a: number, b: number, c: number): number {
  const product = a * b;
  if (product <= Number.MAX_SAFE_INTEGER) return Math.ceil(product / c);
  return Number((BigInt(a) * BigInt(b) + BigInt(c) - 1n) / BigInt(c));
}

export class DiskServiceTime implements DiskTiming, Resettable {
  readonly #state: ViewOf<typeof DiskTimingStruct>;
  readonly #clock: DeviceContext["clock"];
  readonly #profile: DiskProfile;
  readonly #channels: number;

  constructor(context: DeviceContext, options: { readonly label: string; readonly profile?: DiskProfile }) {
    this.#state = context.state.place(options.label, DiskTimingStruct);
    this.#clock = context.clock;
    this.#profile = options.profile ?? X25E;
    this.#channels = this.#profile.channels.value;
    if (this.#channels < 1 || this.#channels > MOST_CHANNELS)
      throw new RangeError(`disk profile ${this.#profile.name}: channels must be 1-${MOST_CHANNELS}`);
  }

  reset(): void {
    const s = this.#state;
    s.channelFree.fill(0n);
    s.interfaceFree = 0;
    s.allDone = 0;
    // No first request counts as a continuation.
    s.nextRead = Number.MAX_SAFE_INTEGER;
    s.nextWrite = Number.MAX_SAFE_INTEGER;
  }

  complete(operation: StorageOperation, sector: number, byteLength: number): number {
    const now = this.#clock.now();
    const done = this.#schedule(operation, sector, byteLength, now);
    this.#state.allDone = Math.max(this.#state.allDone, done);
    return done;
  }

  #schedule(operation: StorageOperation, sector: number, byteLength: number, now: number): number {
    const p = this.#profile;
    switch (operation) {
      case "read":
        return this.#read(sector, byteLength, now);
      case "write":
        return this.#write(sector, byteLength, now);
      case "flush":
        return Math.max(now, this.#state.allDone) + this.#nanoseconds(p.writeLatencyNanoseconds.value);
      case "discard":
      case "write-zeroes":
        // The drive only notes that the range is empty: a command, no data.
        return this.#useInterface(now, 0, this.#perSecond(p.randomReadsPerSecond.value));
    }
  }

  #read(sector: number, byteLength: number, now: number): number {
    const s = this.#state;
    const p = this.#profile;
    const transfer = this.#transfer(byteLength, p.readBytesPerSecond.value);
    const continues = sector === s.nextRead;
    s.nextRead = sector + Math.ceil(byteLength / SECTOR_BYTES);
    if (continues) return this.#useInterface(now, transfer, transfer);
    const sensed = this.#useChannel(now, this.#nanoseconds(p.readLatencyNanoseconds.value));
    return this.#useInterface(
      sensed,
      transfer,
      Math.max(transfer, this.#perSecond(p.randomReadsPerSecond.value)),
    );
  }

  #write(sector: number, byteLength: number, now: number): number {
    const s = this.#state;
    const p = this.#profile;
    const transfer = this.#transfer(byteLength, p.writeBytesPerSecond.value);
    const continues = sector === s.nextWrite;
    s.nextWrite = sector + Math.ceil(byteLength / SECTOR_BYTES);
    if (continues) return this.#useInterface(now, transfer, transfer);
    const occupied = Math.max(transfer, this.#perSecond(p.randomWritesPerSecond.value));
    return this.#useInterface(now, transfer, occupied) + this.#nanoseconds(p.writeLatencyNanoseconds.value);
  }

  /** The earliest free channel works for `cycles`; returns when it is done. */
  #useChannel(from: number, cycles: number): number {
    const free = this.#state.channelFree;
    let channel = 0;
    for (let i = 1; i < this.#channels; i++) if (free[i]! < free[channel]!) channel = i;
    const done = Math.max(from, Number(free[channel])) + cycles;
    free[channel] = BigInt(done);
    return done;
  }

  /** The interface is taken for `occupied` cycles from its first free moment; the data is there after `transfer`. */
  #useInterface(from: number, transfer: number, occupied: number): number {
    const s = this.#state;
    const start = Math.max(from, s.interfaceFree);
    s.interfaceFree = start + occupied;
    return start + transfer;
  }

  #transfer(byteLength: number, bytesPerSecond: number): number {
    return ceilMulDiv(byteLength, this.#clock.frequencyHz, bytesPerSecond);
  }

  #nanoseconds(nanoseconds: number): number {
    return ceilMulDiv(nanoseconds, this.#clock.frequencyHz, 1_000_000_000);
  }

  #perSecond(rate: number): number {
    return Math.ceil(this.#clock.frequencyHz / rate);
  }
}

/** A disk that takes no time: for wall mode, where nothing is delayed artificially. */
export class NoServiceTime implements DiskTiming {
  readonly #clock: DeviceContext["clock"];

  constructor(context: DeviceContext) {
    this.#clock = context.clock;
  }

  complete(): number {
    return this.#clock.now();
  }
}

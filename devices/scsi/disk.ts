/**
 * A SCSI disk as a logical unit, whatever carries its commands: ANSI INCITS T10, SPC-4 and SBC-3. A command is planned when it
 * comes (when will it be through?) and carried out when its time has come; what it needs is its CDB and its data.
 */
import { struct, u8, u16, type ViewOf } from "../../layout/struct.ts";
import type { Clock, DiskTiming, Storage, StorageResult } from "../ports.ts";
import { be16, be32, be64, blockOperationOf, putBe, rangeOf, type BlockOperation } from "./cdb.ts";
import { standardInquiry, vitalProductData, type DiskIdentity } from "./inquiry.ts";
import { modeSelect, modeSense } from "./mode.ts";
import * as spec from "./spec.ts";

export const ScsiDiskStruct = struct("ScsiDisk", {
  writeCache: u8,
  isStopped: u8,
  /** Additional sense of a unit attention that waits to be told; 0 none. */
  attention: u16,
});

/** The data of a command, in order. */
export interface ScsiData {
  /** Bytes that the initiator has room for, and that it sends. */
  readonly inBytes: number;
  readonly outBytes: number;
  /** False when memory cannot be reached. */
  write(from: Uint8Array): boolean;
  read(into: Uint8Array): boolean;
}

export interface ScsiResult {
  readonly status: number;
  /** Bytes moved; more than there was room for means an overrun. */
  readonly length: number;
  readonly sense?: Uint8Array;
}

const SECTOR = 512;
const COPY_BYTES = 64 * 1024;
/** Commands that a pending unit attention does not stop. */
const BEFORE_ATTENTION = new Set([spec.INQUIRY, spec.REPORT_LUNS, spec.REQUEST_SENSE]);
/** Commands that a stopped unit refuses. */
const NEEDS_MEDIUM = new Set([
  spec.TEST_UNIT_READY,
  spec.READ_CAPACITY_10,
  spec.SERVICE_ACTION_IN_16,
  spec.UNMAP,
]);

/** Fixed-format sense data. */
export function senseData(key: number, code: number, information?: number): Uint8Array {
  const data = new Uint8Array(spec.SENSE_BYTES);
  data[0] = information === undefined || information > 0xffffffff ? 0x70 : 0xf0;
  data[2] = key;
  if (data[0] === 0xf0) putBe(data, 3, 4, information ?? 0);
  data[7] = spec.SENSE_BYTES - 8;
  data[12] = code >> 8;
  data[13] = code & 0xff;
  return data;
}

export function failed(key: number, code: number, information?: number): ScsiResult {
  return { status: spec.CHECK_CONDITION, length: 0, sense: senseData(key, code, information) };
}

/** Where no logical unit is, INQUIRY says so, and all else fails. */
export function absentUnit(cdb: Uint8Array, data: ScsiData): ScsiResult {
  if (cdb[0] !== spec.INQUIRY || cdb[1]! & spec.INQUIRY_EVPD)
    return failed(spec.ILLEGAL_REQUEST, spec.LOGICAL_UNIT_NOT_SUPPORTED);
  return reply(standardInquiry(undefined), be16(cdb, 3), data);
}

/** Sends `bytes`, cut to what the CDB allows for. */
export function reply(bytes: Uint8Array, allocation: number, data: ScsiData): ScsiResult {
  const length = Math.min(bytes.length, allocation);
  const part = bytes.subarray(0, Math.min(length, data.inBytes));
  return data.write(part)
    ? { status: spec.GOOD, length }
    : failed(spec.MEDIUM_ERROR, spec.NO_ADDITIONAL_SENSE);
}

export class ScsiDisk {
  readonly #s: ViewOf<typeof ScsiDiskStruct>;
  readonly #storage: Storage;
  readonly #timing: DiskTiming;
  readonly #clock: Clock;
  readonly #identity: DiskIdentity;
  readonly #copy = new Uint8Array(COPY_BYTES);

  constructor(
    state: ViewOf<typeof ScsiDiskStruct>,
    options: { readonly storage: Storage; readonly timing: DiskTiming; readonly clock: Clock },
  ) {
    this.#s = state;
    this.#storage = options.storage;
    this.#timing = options.timing;
    this.#clock = options.clock;
    this.#identity = { serial: options.storage.serial, product: "HARDDISK" };
  }

  /** Power-on, or a reset, of which the initiator is told by a unit attention. */
  reset(reason: number = spec.POWER_ON_OCCURRED): void {
    this.#s.writeCache = 1;
    this.#s.isStopped = 0;
    this.#s.attention = reason;
  }

  /** When a command that comes now will be through. */
  plan(cdb: Uint8Array): number {
    if (this.#s.attention !== 0 || this.#refusal(cdb) !== undefined) return this.#clock.now();
    const operation = blockOperationOf(cdb);
    if (operation === undefined)
      return cdb[0] === spec.UNMAP ? this.#timing.complete("discard", 0, 0) : this.#clock.now();
    const { sector, count } = rangeOf(cdb);
    switch (operation) {
      case "read":
      case "verify":
        return this.#timing.complete("read", sector, count * SECTOR);
      case "write": {
        const written = this.#timing.complete("write", sector, count * SECTOR);
        return this.#mustBeStable(cdb) ? this.#timing.complete("flush", 0, 0) : written;
      }
      case "flush":
        return this.#timing.complete("flush", 0, 0);
      case "write-same":
        return this.#timing.complete("write-zeroes", sector, count * SECTOR);
    }
  }

  /** Carries a command out. */
  execute(cdb: Uint8Array, data: ScsiData): ScsiResult {
    const s = this.#s;
    if (s.attention !== 0 && !BEFORE_ATTENTION.has(cdb[0]!)) {
      const code = s.attention;
      s.attention = 0;
      return failed(spec.UNIT_ATTENTION, code);
    }
    const refusal = this.#refusal(cdb);
    if (refusal !== undefined) return refusal;
    const operation = blockOperationOf(cdb);
    if (operation !== undefined) return this.#executeOnBlocks(operation, cdb, data);
    switch (cdb[0]!) {
      case spec.TEST_UNIT_READY:
      case spec.PREVENT_ALLOW_MEDIUM_REMOVAL:
        return { status: spec.GOOD, length: 0 };
      case spec.REQUEST_SENSE:
        return this.#requestSense(cdb, data);
      case spec.INQUIRY:
        return this.#inquiry(cdb, data);
      case spec.MODE_SENSE_6:
      case spec.MODE_SENSE_10: {
        const mode = modeSense(cdb, s, this.#storage);
        const allocation = cdb[0] === spec.MODE_SENSE_10 ? be16(cdb, 7) : cdb[4]!;
        return typeof mode === "number" ? failed(spec.ILLEGAL_REQUEST, mode) : reply(mode, allocation, data);
      }
      case spec.MODE_SELECT_6:
      case spec.MODE_SELECT_10:
        return this.#modeSelect(cdb, data);
      case spec.START_STOP_UNIT:
        // Power conditions are accepted; START decides when there is none.
        if (cdb[4]! >> 4 === 0) s.isStopped = cdb[4]! & 1 ? 0 : 1;
        return { status: spec.GOOD, length: 0 };
      case spec.READ_CAPACITY_10: {
        const capacity = new Uint8Array(8);
        putBe(capacity, 0, 4, Math.min(0xffffffff, this.#storage.sectors - 1));
        putBe(capacity, 4, 4, SECTOR);
        return reply(capacity, capacity.length, data);
      }
      case spec.SERVICE_ACTION_IN_16:
        return this.#serviceActionIn(cdb, data);
      case spec.UNMAP:
        return this.#unmap(cdb, data);
      default:
        return failed(spec.ILLEGAL_REQUEST, spec.INVALID_COMMAND_OPERATION_CODE);
    }
  }

  /** Why a command cannot be carried out at all: ranges, lengths, protection, a stopped unit. */
  #refusal(cdb: Uint8Array): ScsiResult | undefined {
    const operation = blockOperationOf(cdb);
    const { sectors, readOnly } = this.#storage;
    if (this.#s.isStopped !== 0 && (operation !== undefined || NEEDS_MEDIUM.has(cdb[0]!)))
      return failed(spec.NOT_READY, spec.INITIALIZING_COMMAND_REQUIRED);
    const writes = operation === "write" || operation === "write-same" || cdb[0] === spec.UNMAP;
    if (writes && readOnly) return failed(spec.DATA_PROTECT, spec.WRITE_PROTECTED);
    if (operation === undefined) return undefined;
    const { sector, count } = rangeOf(cdb);
    if (sector + count > sectors)
      return failed(spec.ILLEGAL_REQUEST, spec.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, sector);
    const most = operation === "write-same" ? spec.MOST_UNMAP_BLOCKS : spec.MOST_TRANSFER_BLOCKS;
    const isWrong =
      (operation !== "flush" && count > most) ||
      (operation === "write-same" && (count === 0 || (cdb[1]! & spec.WRITE_SAME_ANCHOR) !== 0)) ||
      // Protection information, and comparing with data sent (BYTCHK), are not there.
      (operation !== "flush" && cdb[0]! >= 0x20 && cdb[1]! >> 5 !== 0) ||
      (operation === "verify" && (cdb[1]! & 0x06) !== 0);
    return isWrong ? failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB) : undefined;
  }

  #mustBeStable(cdb: Uint8Array): boolean {
    return this.#s.writeCache === 0 || (cdb[0]! >= 0x20 && (cdb[1]! & spec.CDB_FUA) !== 0);
  }

  #executeOnBlocks(operation: BlockOperation, cdb: Uint8Array, data: ScsiData): ScsiResult {
    const { sector, count } = rangeOf(cdb);
    switch (operation) {
      case "read":
        return this.#chunks(sector, count, data.inBytes, (at, chunk) => {
          const result = this.#storage.read(at, chunk);
          return result !== "ok" || data.write(chunk) ? result : "io-error";
        });
      case "verify":
        return {
          ...this.#chunks(sector, count, Infinity, (at, chunk) => this.#storage.read(at, chunk)),
          length: 0,
        };
      case "write": {
        const written = this.#chunks(
          sector,
          count,
          data.outBytes,
          (at, chunk) => (data.read(chunk) ? this.#storage.write(at, chunk) : "io-error"),
          spec.WRITE_ERROR,
        );
        if (written.status !== spec.GOOD || !this.#mustBeStable(cdb)) return written;
        return this.#storage.flush() === "ok" ? written : failed(spec.MEDIUM_ERROR, spec.WRITE_ERROR);
      }
      case "write-same":
        return this.#writeSame(cdb, data, sector, count);
      case "flush":
        return this.#storage.flush() === "ok"
          ? { status: spec.GOOD, length: 0 }
          : failed(spec.MEDIUM_ERROR, spec.WRITE_ERROR);
    }
  }

  /**
   * Calls `each` for the blocks, a buffer at a time. What the initiator has no room for is not moved: the length says so.
   * @param room bytes of the initiator
   */
  #chunks(
    sector: number,
    count: number,
    room: number,
    each: (sector: number, chunk: Uint8Array) => StorageResult,
    trouble: number = spec.UNRECOVERED_READ_ERROR,
  ): ScsiResult {
    const bytes = count * SECTOR;
    const moved = Math.min(bytes, Math.floor(room / SECTOR) * SECTOR);
    for (let done = 0; done < moved;) {
      const chunk = this.#copy.subarray(0, Math.min(COPY_BYTES, moved - done));
      const at = sector + done / SECTOR;
      if (each(at, chunk) !== "ok") return failed(spec.MEDIUM_ERROR, trouble, at);
      done += chunk.length;
    }
    return { status: spec.GOOD, length: bytes };
  }

  #writeSame(cdb: Uint8Array, data: ScsiData, sector: number, count: number): ScsiResult {
    const hasData = cdb[0] !== spec.WRITE_SAME_16 || (cdb[1]! & spec.WRITE_SAME_NDOB) === 0;
    const block = new Uint8Array(SECTOR);
    const moved = hasData ? SECTOR : 0;
    if (hasData && (data.outBytes < SECTOR || !data.read(block)))
      return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB);
    const isZero = block.every((byte) => byte === 0);
    let result: StorageResult = "ok";
    if (isZero) result = this.#storage.writeZeroes(sector, count, (cdb[1]! & spec.WRITE_SAME_UNMAP) !== 0);
    else for (let i = 0; i < count && result === "ok"; i++) result = this.#storage.write(sector + i, block);
    return result === "ok"
      ? { status: spec.GOOD, length: moved }
      : failed(spec.MEDIUM_ERROR, spec.WRITE_ERROR, sector);
  }

  #requestSense(cdb: Uint8Array, data: ScsiData): ScsiResult {
    // Descriptor format is not there.
    if (cdb[1]! & 1) return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB);
    const code = this.#s.attention;
    this.#s.attention = 0;
    const sense = code === 0 ? senseData(spec.NO_SENSE, 0) : senseData(spec.UNIT_ATTENTION, code);
    return reply(sense, cdb[4]!, data);
  }

  #inquiry(cdb: Uint8Array, data: ScsiData): ScsiResult {
    const isVital = (cdb[1]! & spec.INQUIRY_EVPD) !== 0;
    const page = isVital ? vitalProductData(cdb[2]!, this.#identity) : standardInquiry(this.#identity);
    // A page code without EVPD is as wrong as one that does not exist.
    if (page === undefined || (!isVital && cdb[2] !== 0))
      return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB);
    return reply(page, be16(cdb, 3), data);
  }

  #modeSelect(cdb: Uint8Array, data: ScsiData): ScsiResult {
    const isLong = cdb[0] === spec.MODE_SELECT_10;
    // Pages can be changed, not saved.
    if (cdb[1]! & 1) return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB);
    const length = isLong ? be16(cdb, 7) : cdb[4]!;
    const list = new Uint8Array(length);
    if (length > data.outBytes || !data.read(list))
      return failed(spec.ILLEGAL_REQUEST, spec.PARAMETER_LIST_LENGTH_ERROR);
    const wrong = modeSelect(list, isLong, this.#s);
    return wrong === 0 ? { status: spec.GOOD, length } : failed(spec.ILLEGAL_REQUEST, wrong);
  }

  #serviceActionIn(cdb: Uint8Array, data: ScsiData): ScsiResult {
    if ((cdb[1]! & 0x1f) !== spec.READ_CAPACITY_16)
      return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB);
    const capacity = new Uint8Array(32);
    putBe(capacity, 0, 8, this.#storage.sectors - 1);
    putBe(capacity, 8, 4, SECTOR);
    capacity[13] = 3; // physical blocks of 2^3 logical ones
    capacity[14] = 0xc0; // provisioning is managed; unmapped blocks read as zeroes
    return reply(capacity, be32(cdb, 10), data);
  }

  #unmap(cdb: Uint8Array, data: ScsiData): ScsiResult {
    if (cdb[1]! & 1) return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_CDB); // ANCHOR
    const length = be16(cdb, 7);
    if (length === 0) return { status: spec.GOOD, length: 0 };
    const most = spec.UNMAP_HEADER_BYTES + spec.MOST_UNMAP_DESCRIPTORS * spec.UNMAP_DESCRIPTOR_BYTES;
    if (length < spec.UNMAP_HEADER_BYTES)
      return failed(spec.ILLEGAL_REQUEST, spec.PARAMETER_LIST_LENGTH_ERROR);
    const list = new Uint8Array(Math.min(length, most));
    if (list.length > data.outBytes || !data.read(list))
      return failed(spec.ILLEGAL_REQUEST, spec.PARAMETER_LIST_LENGTH_ERROR);
    const listed = Math.min(be16(list, 2), length - spec.UNMAP_HEADER_BYTES);
    const descriptors = Math.floor(listed / spec.UNMAP_DESCRIPTOR_BYTES);
    if (descriptors > spec.MOST_UNMAP_DESCRIPTORS)
      return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_PARAMETER_LIST);
    const ranges = Array.from({ length: descriptors }, (_, i) => {
      const at = spec.UNMAP_HEADER_BYTES + i * spec.UNMAP_DESCRIPTOR_BYTES;
      return { sector: be64(list, at), count: be32(list, at + 8) };
    });
    if (ranges.reduce((sum, { count }) => sum + count, 0) > spec.MOST_UNMAP_BLOCKS)
      return failed(spec.ILLEGAL_REQUEST, spec.INVALID_FIELD_IN_PARAMETER_LIST);
    const outside = ranges.find(({ sector, count }) => sector + count > this.#storage.sectors);
    if (outside !== undefined)
      return failed(spec.ILLEGAL_REQUEST, spec.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, outside.sector);
    for (const { sector, count } of ranges)
      if (count > 0 && this.#storage.discard(sector, count) !== "ok")
        return failed(spec.MEDIUM_ERROR, spec.WRITE_ERROR, sector);
    return { status: spec.GOOD, length };
  }
}

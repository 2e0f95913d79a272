/**
 * From an untrusted descriptor chain to a block request, checked once: OASIS, "Virtual I/O Device (VIRTIO) Version
 * 1.2", "Block Device", "Device Operation". No framing of descriptors is assumed: the header is the first 16
 * readable bytes and the status the last writable byte, wherever descriptors end.
 */
import type { BusAddress, DmaMemory } from "../../ports.ts";
import { SECTOR_BYTES } from "../../storage/sectors.ts";
import { readChain } from "../chain-data.ts";
import type { DescriptorChain } from "../queue.ts";
import * as spec from "./spec.ts";

/** Longest transfer of one request, so that one request is bounded work; drivers stay far below. */
export const MOST_TRANSFER_BYTES = 64 * 1024 * 1024;

/** What the disk and the negotiated features allow. */
export interface BlkLimits {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly maxDiscardSectors: number;
  readonly maxWriteZeroesSectors: number;
}

/** A request after its checks. `status` other than OK means that it fails without touching the disk. */
export interface BlkRequest {
  type: number;
  status: number;
  sector: number;
  /** Bytes moved (IN, OUT, GET_ID), else bytes of the range (DISCARD, WRITE_ZEROES). */
  byteLength: number;
  mayUnmap: boolean;
  statusAddress: BusAddress;
  /** The data in the chain: `dataLength` bytes from `dataOffset` of the readable or the writable part. */
  dataWritable: boolean;
  dataOffset: number;
  dataLength: number;
}

export function emptyRequest(): BlkRequest {
  return {
    type: 0,
    status: spec.VIRTIO_BLK_S_OK,
    sector: 0,
    byteLength: 0,
    mayUnmap: false,
    statusAddress: 0,
    dataWritable: false,
    dataOffset: 0,
    dataLength: 0,
  };
}

const header = new Uint8Array(spec.HEADER_BYTES);
const headerView = new DataView(header.buffer);
const range = new Uint8Array(spec.RANGE_BYTES);
const rangeView = new DataView(range.buffer);

/**
 * Fills `request`. False when the chain has no room for header or status: the driver then cannot be answered.
 */
export function parseRequest(
  chain: DescriptorChain,
  memory: DmaMemory,
  limits: BlkLimits,
  request: BlkRequest,
): boolean {
  if (chain.readableBytes < spec.HEADER_BYTES || chain.writableBytes < 1) return false;
  if (!readChain(chain, memory, 0, header)) return false;
  const last = chain.count - 1;
  request.statusAddress = chain.addresses[last]! + chain.lengths[last]! - 1;
  request.type = headerView.getUint32(0, true);
  request.status = spec.VIRTIO_BLK_S_OK;
  request.sector = 0;
  request.byteLength = 0;
  request.mayUnmap = false;
  request.dataWritable = false;
  request.dataOffset = spec.HEADER_BYTES;
  request.dataLength = 0;
  const sector = sectorOf(headerView, 8);
  switch (request.type) {
    case spec.VIRTIO_BLK_T_IN:
      request.dataWritable = true;
      request.dataOffset = 0;
      checkTransfer(request, limits, sector, chain.writableBytes - 1);
      break;
    case spec.VIRTIO_BLK_T_OUT:
      checkTransfer(request, limits, sector, chain.readableBytes - spec.HEADER_BYTES);
      // "A device MUST set the status byte to VIRTIO_BLK_S_IOERR for a write request if VIRTIO_BLK_F_RO".
      if (limits.readOnly) request.status = spec.VIRTIO_BLK_S_IOERR;
      break;
    case spec.VIRTIO_BLK_T_FLUSH:
      break;
    case spec.VIRTIO_BLK_T_GET_ID:
      request.dataWritable = true;
      request.dataOffset = 0;
      request.dataLength = Math.min(spec.ID_BYTES, chain.writableBytes - 1);
      request.byteLength = request.dataLength;
      break;
    case spec.VIRTIO_BLK_T_DISCARD:
    case spec.VIRTIO_BLK_T_WRITE_ZEROES:
      checkRangeRequest(request, limits, chain, memory);
      break;
    default:
      request.status = spec.VIRTIO_BLK_S_UNSUPP;
  }
  return true;
}

function checkTransfer(request: BlkRequest, limits: BlkLimits, sector: number, byteLength: number): void {
  const fits =
    byteLength % SECTOR_BYTES === 0 &&
    byteLength <= MOST_TRANSFER_BYTES &&
    sector + byteLength / SECTOR_BYTES <= limits.sectors;
  if (!fits) {
    request.status = spec.VIRTIO_BLK_S_IOERR;
    return;
  }
  request.sector = sector;
  request.byteLength = byteLength;
  request.dataLength = byteLength;
}

/** One range a request: max_discard_seg and max_write_zeroes_seg are 1. It is copied here, once. */
function checkRangeRequest(
  request: BlkRequest,
  limits: BlkLimits,
  chain: DescriptorChain,
  memory: DmaMemory,
): void {
  const isDiscard = request.type === spec.VIRTIO_BLK_T_DISCARD;
  request.status = spec.VIRTIO_BLK_S_IOERR;
  if (chain.readableBytes !== spec.HEADER_BYTES + spec.RANGE_BYTES) return;
  if (!readChain(chain, memory, spec.HEADER_BYTES, range)) return;
  const sector = sectorOf(rangeView, 0);
  const count = rangeView.getUint32(8, true);
  const flags = rangeView.getUint32(12, true);
  // Unknown flags, and unmap in a discard, are "unsupported"; the rest of the rules are I/O errors.
  if (flags & ~spec.RANGE_F_UNMAP || (isDiscard && flags !== 0)) {
    request.status = spec.VIRTIO_BLK_S_UNSUPP;
    return;
  }
  const most = isDiscard ? limits.maxDiscardSectors : limits.maxWriteZeroesSectors;
  if (limits.readOnly || count > most || sector + count > limits.sectors) return;
  request.status = spec.VIRTIO_BLK_S_OK;
  request.sector = sector;
  request.byteLength = count * SECTOR_BYTES;
  request.mayUnmap = (flags & spec.RANGE_F_UNMAP) !== 0;
}

/** A 64-bit sector number. Beyond 2^53 it is rounded, and still beyond every disk. */
function sectorOf(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
}

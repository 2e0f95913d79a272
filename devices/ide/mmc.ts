/**
 * What a CD-ROM drive answers to a command packet: the command is parsed once, and either fails its checks, or is answered with a
 * few bytes, or reads blocks. ANSI INCITS T10, "MMC-5" and "SPC-3".
 *
 * One disc of one session with one data track, Mode 1. No audio, no writing.
 */
import * as mmc from "./mmc-spec.ts";

/** What a packet comes to. */
export type PacketAnswer =
  | { readonly kind: "done" }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "read"; readonly block: number; readonly blocks: number }
  | { readonly kind: "error"; readonly key: number; readonly sense: number };

/** The drive as a command finds and leaves it. */
export interface CdState {
  senseKey: number;
  additionalSense: number;
  senseQualifier: number;
  unitAttention: number;
  locked: number;
  ejected: number;
}

export interface CdMedium {
  /** Blocks of 2,048 bytes. */
  readonly blocks: number;
  readonly model: string;
  readonly firmware: string;
}

const DONE: PacketAnswer = { kind: "done" };
const TRACK = 1;
const LEAD_OUT = 0xaa;
/** Data track, digital copying prohibited; Q-channel: position. */
const ADR_CONTROL = 0x14;

const illegal = (sense: number): PacketAnswer => ({ kind: "error", key: mmc.ILLEGAL_REQUEST, sense });

/** Commands that a drive answers whatever else it has to report. */
const ALWAYS = new Set([mmc.INQUIRY, mmc.REQUEST_SENSE, mmc.GET_EVENT_STATUS_NOTIFICATION]);
/** Commands that need a disc. */
const NEEDS_DISC = new Set([
  mmc.TEST_UNIT_READY,
  mmc.READ_CAPACITY,
  mmc.READ_10,
  mmc.READ_12,
  mmc.READ_CD,
  mmc.SEEK_10,
  mmc.READ_TOC,
  mmc.READ_DISC_INFORMATION,
  mmc.READ_TRACK_INFORMATION,
]);

/** Parses a packet of 12 bytes and changes the drive's state as it says. */
export function answerPacket(packet: Uint8Array, drive: CdState, medium: CdMedium): PacketAnswer {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const command = packet[0]!;
  if (!ALWAYS.has(command)) {
    if (drive.unitAttention !== 0) {
      drive.unitAttention = 0;
      return { kind: "error", key: mmc.UNIT_ATTENTION, sense: mmc.POWER_ON_OR_RESET };
    }
    if (drive.ejected !== 0 && NEEDS_DISC.has(command))
      return { kind: "error", key: mmc.NOT_READY, sense: mmc.MEDIUM_NOT_PRESENT_TRAY_OPEN };
  }
  switch (command) {
    case mmc.TEST_UNIT_READY:
    case mmc.SET_CD_SPEED:
      return DONE;
    case mmc.REQUEST_SENSE:
      return data(takeSense(drive), packet[4]!);
    case mmc.INQUIRY:
      return inquiry(packet, medium);
    case mmc.START_STOP_UNIT:
      return startStop(packet[4]!, drive);
    case mmc.PREVENT_ALLOW_MEDIUM_REMOVAL:
      drive.locked = packet[4]! & 1;
      return DONE;
    case mmc.READ_CAPACITY:
      return data(
        bytesOf(8, (out) => putTwo(out, medium.blocks - 1, mmc.CD_SECTOR_BYTES)),
        8,
      );
    case mmc.READ_10:
      return read(view.getUint32(2), view.getUint16(7), medium);
    case mmc.READ_12:
      return read(view.getUint32(2), view.getUint32(6), medium);
    case mmc.READ_CD:
      return readCd(packet, view, medium);
    case mmc.SEEK_10:
      return view.getUint32(2) < medium.blocks ? DONE : illegal(mmc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    case mmc.READ_TOC:
      return readToc(packet, view.getUint16(7), medium);
    case mmc.GET_CONFIGURATION:
      return getConfiguration(packet, view, drive);
    case mmc.GET_EVENT_STATUS_NOTIFICATION:
      return eventStatus(packet, view.getUint16(7), drive);
    case mmc.READ_DISC_INFORMATION:
      return data(discInformation(), view.getUint16(7));
    case mmc.READ_TRACK_INFORMATION:
      return data(trackInformation(medium), view.getUint16(7));
    case mmc.MODE_SENSE_10:
      return modeSense(packet, view.getUint16(7), drive);
    case mmc.MECHANISM_STATUS:
      return data(
        bytesOf(8, (out) => out.setUint8(5, 1)),
        view.getUint16(8),
      );
    default:
      return illegal(mmc.INVALID_COMMAND_OPERATION_CODE);
  }
}

function bytesOf(length: number, fill: (out: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  fill(new DataView(bytes.buffer));
  return bytes;
}

function putTwo(out: DataView, first: number, second: number): void {
  out.setUint32(0, first >>> 0);
  out.setUint32(4, second);
}

/** What the host has room for; nothing is asked for when that is 0. */
function data(bytes: Uint8Array, allocation: number): PacketAnswer {
  const taken = bytes.subarray(0, Math.min(bytes.length, allocation));
  return taken.length === 0 ? DONE : { kind: "data", bytes: taken };
}

/** Fixed format sense data; reporting it ends it. */
function takeSense(drive: CdState): Uint8Array {
  const attention = drive.senseKey === mmc.NO_SENSE && drive.unitAttention !== 0;
  const bytes = bytesOf(18, (out) => {
    out.setUint8(0, 0x70);
    out.setUint8(2, attention ? mmc.UNIT_ATTENTION : drive.senseKey);
    out.setUint8(7, 10);
    out.setUint8(12, attention ? mmc.POWER_ON_OR_RESET >> 8 : drive.additionalSense);
    out.setUint8(13, attention ? 0 : drive.senseQualifier);
  });
  if (attention) drive.unitAttention = 0;
  drive.senseKey = mmc.NO_SENSE;
  drive.additionalSense = 0;
  drive.senseQualifier = 0;
  return bytes;
}

function putText(out: DataView, at: number, length: number, text: string): void {
  const padded = text.padEnd(length, " ");
  for (let i = 0; i < length; i++) out.setUint8(at + i, padded.charCodeAt(i) & 0x7f);
}

function inquiry(packet: Uint8Array, { model, firmware }: CdMedium): PacketAnswer {
  // Vital product data pages: none.
  if ((packet[1]! & 1) !== 0 || packet[2] !== 0) return illegal(mmc.INVALID_FIELD_IN_CDB);
  const bytes = bytesOf(36, (out) => {
    out.setUint8(0, 5); // CD/DVD device
    out.setUint8(1, 0x80); // removable
    out.setUint8(3, 0x21); // ATAPI, response format 1
    out.setUint8(4, 31);
    putText(out, 8, 8, "EXITLESS");
    putText(out, 16, 16, model);
    putText(out, 32, 4, firmware);
  });
  return data(bytes, (packet[3]! << 8) | packet[4]!);
}

const LOEJ = 1 << 1;
const START = 1 << 0;

function startStop(flags: number, drive: CdState): PacketAnswer {
  if ((flags & LOEJ) === 0) return DONE;
  if ((flags & START) !== 0) {
    if (drive.ejected !== 0) drive.unitAttention = 1;
    drive.ejected = 0;
    return DONE;
  }
  if (drive.locked !== 0) return illegal(mmc.MEDIUM_REMOVAL_PREVENTED);
  drive.ejected = 1;
  return DONE;
}

function read(block: number, blocks: number, medium: CdMedium): PacketAnswer {
  if (blocks === 0) return DONE;
  if (block + blocks > medium.blocks) return illegal(mmc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
  return { kind: "read", block, blocks };
}

/** User data of Mode 1 blocks alone: there are no others on the disc, and no headers are kept. */
function readCd(packet: Uint8Array, view: DataView, medium: CdMedium): PacketAnswer {
  const sectorType = (packet[1]! >> 2) & 7;
  const mainChannel = packet[9]!;
  const blocks = view.getUint32(5) & 0xffffff;
  if (mainChannel === 0) return DONE;
  if ((sectorType !== 0 && sectorType !== 2) || mainChannel !== 0x10 || (packet[10]! & 7) !== 0)
    return illegal(mmc.INVALID_FIELD_IN_CDB);
  return read(view.getUint32(2), blocks, medium);
}

/** A block's address, in minutes, seconds and frames where the host asks for that. */
function putAddress(out: DataView, at: number, block: number, inMinutes: boolean): void {
  if (!inMinutes) {
    out.setUint32(at, block);
    return;
  }
  const frames = block + mmc.LEAD_IN_FRAMES;
  const seconds = Math.floor(frames / mmc.FRAMES_A_SECOND);
  out.setUint8(at + 1, Math.floor(seconds / 60) & 0xff);
  out.setUint8(at + 2, seconds % 60);
  out.setUint8(at + 3, frames % mmc.FRAMES_A_SECOND);
}

function readToc(packet: Uint8Array, allocation: number, { blocks }: CdMedium): PacketAnswer {
  const inMinutes = (packet[1]! & 2) !== 0;
  // The format is in byte 2; old drivers put it in the two upper bits of byte 9.
  const format = packet[2]! & 15 || packet[9]! >> 6;
  const first = packet[6]!;
  switch (format) {
    case 0: {
      if (first > TRACK && first !== LEAD_OUT) return illegal(mmc.INVALID_FIELD_IN_CDB);
      const entries = [TRACK, LEAD_OUT].filter((track) => track >= first);
      const bytes = bytesOf(4 + 8 * entries.length, (out) => {
        out.setUint16(0, 2 + 8 * entries.length);
        out.setUint8(2, TRACK);
        out.setUint8(3, TRACK);
        entries.forEach((track, i) => {
          out.setUint8(5 + 8 * i, ADR_CONTROL);
          out.setUint8(6 + 8 * i, track);
          putAddress(out, 8 + 8 * i, track === TRACK ? 0 : blocks, inMinutes);
        });
      });
      return data(bytes, allocation);
    }
    case 1: {
      const bytes = bytesOf(12, (out) => {
        out.setUint16(0, 10);
        out.setUint8(2, 1);
        out.setUint8(3, 1);
        out.setUint8(5, ADR_CONTROL);
        out.setUint8(6, TRACK);
        putAddress(out, 8, 0, inMinutes);
      });
      return data(bytes, allocation);
    }
    case 2:
      return data(fullToc(blocks), allocation);
    default:
      return illegal(mmc.INVALID_FIELD_IN_CDB);
  }
}

/** "Format 0010b: Full TOC": first and last track, lead-out, and the track. */
function fullToc(blocks: number): Uint8Array {
  const points = [
    [0xa0, TRACK, 0],
    [0xa1, TRACK, 0],
    [0xa2, undefined, blocks],
    [TRACK, undefined, 0],
  ] as const;
  return bytesOf(4 + 11 * points.length, (out) => {
    out.setUint16(0, 2 + 11 * points.length);
    out.setUint8(2, 1);
    out.setUint8(3, 1);
    points.forEach(([point, track, block], i) => {
      const at = 4 + 11 * i;
      out.setUint8(at, 1);
      out.setUint8(at + 1, ADR_CONTROL);
      out.setUint8(at + 3, point);
      if (track !== undefined) out.setUint8(at + 8, track);
      else putAddress(out, at + 7, block, true);
    });
  });
}

/** "GET CONFIGURATION": header, then the features from a number on. */
function getConfiguration(packet: Uint8Array, view: DataView, drive: CdState): PacketAnswer {
  const requestType = packet[1]! & 3;
  const first = view.getUint16(2);
  const current = drive.ejected === 0 ? mmc.PROFILE_CD_ROM : 0;
  const isCurrent = current === 0 ? 0 : 1;
  // Feature code, flags (version, persistent, current), data.
  const features: readonly (readonly [code: number, flags: number, data: readonly number[]])[] = [
    [mmc.FEATURE_PROFILE_LIST, 0x03, [0, mmc.PROFILE_CD_ROM, isCurrent, 0]],
    [mmc.FEATURE_CORE, 0x0b, [0, 0, 0, 2, 1, 0, 0, 0]], // ATAPI
    [mmc.FEATURE_REMOVABLE_MEDIUM, 0x03, [0x29, 0, 0, 0]], // tray, eject, lock
    [mmc.FEATURE_RANDOM_READABLE, isCurrent, [0, 0, 8, 0, 0, 1, 0, 0]],
    [mmc.FEATURE_CD_READ, 0x08 | isCurrent, [0, 0, 0, 0]],
  ];
  const wanted = features.filter(([code, flags]) =>
    requestType === 2 ? code === first : code >= first && (requestType === 0 || (flags & 1) !== 0),
  );
  if (requestType === 3) return illegal(mmc.INVALID_FIELD_IN_CDB);
  const length = wanted.reduce((sum, [, , bytes]) => sum + 4 + bytes.length, 8);
  const answer = bytesOf(length, (out) => {
    out.setUint32(0, length - 4);
    out.setUint16(6, current);
    let at = 8;
    for (const [code, flags, bytes] of wanted) {
      out.setUint16(at, code);
      out.setUint8(at + 2, flags);
      out.setUint8(at + 3, bytes.length);
      bytes.forEach((byte, i) => out.setUint8(at + 4 + i, byte));
      at += 4 + bytes.length;
    }
  });
  return data(answer, view.getUint16(7));
}

const CLASS_MEDIA = 4;

/** "GET EVENT STATUS NOTIFICATION", polled: there is never an event to report but the disc's presence. */
function eventStatus(packet: Uint8Array, allocation: number, drive: CdState): PacketAnswer {
  if ((packet[1]! & 1) === 0) return illegal(mmc.INVALID_FIELD_IN_CDB);
  const wantsMedia = (packet[4]! & (1 << CLASS_MEDIA)) !== 0;
  const bytes = bytesOf(wantsMedia ? 8 : 4, (out) => {
    out.setUint16(0, wantsMedia ? 6 : 2);
    out.setUint8(2, wantsMedia ? CLASS_MEDIA : 0x80);
    out.setUint8(3, 1 << CLASS_MEDIA);
    // Media status: present, or the tray is open.
    if (wantsMedia) out.setUint8(5, drive.ejected === 0 ? 2 : 1);
  });
  return data(bytes, allocation);
}

function discInformation(): Uint8Array {
  return bytesOf(34, (out) => {
    out.setUint16(0, 32);
    out.setUint8(2, 0x0e); // complete, last session complete
    out.setUint8(3, TRACK);
    out.setUint8(4, 1);
    out.setUint8(5, TRACK);
    out.setUint8(6, TRACK);
    out.setUint8(7, 0x20); // for unrestricted use
    out.setUint32(16, 0xffffffff);
    out.setUint32(20, 0xffffffff);
  });
}

function trackInformation({ blocks }: CdMedium): Uint8Array {
  return bytesOf(28, (out) => {
    out.setUint16(0, 26);
    out.setUint8(2, TRACK);
    out.setUint8(3, 1);
    out.setUint8(5, ADR_CONTROL & 15);
    out.setUint8(6, 1); // Mode 1
    out.setUint32(24, blocks);
  });
}

function modeSense(packet: Uint8Array, allocation: number, drive: CdState): PacketAnswer {
  const page = packet[2]! & 0x3f;
  const pages: Uint8Array[] = [];
  if (page === mmc.PAGE_ERROR_RECOVERY || page === mmc.PAGE_ALL)
    pages.push(Uint8Array.of(mmc.PAGE_ERROR_RECOVERY, 6, 0, 5, 0, 0, 0, 0));
  if (page === mmc.PAGE_CAPABILITIES || page === mmc.PAGE_ALL)
    pages.push(
      bytesOf(22, (out) => {
        out.setUint8(0, mmc.PAGE_CAPABILITIES);
        out.setUint8(1, 20);
        // Lock, lock state, eject; loading by tray.
        out.setUint8(6, 0x29 | (drive.locked !== 0 ? 2 : 0));
        out.setUint16(8, 706); // kB/s at most
        out.setUint16(12, 128); // KB of buffer
        out.setUint16(14, 706);
      }),
    );
  if (pages.length === 0) return illegal(mmc.INVALID_FIELD_IN_CDB);
  const length = pages.reduce((sum, { length: bytes }) => sum + bytes, 8);
  const answer = new Uint8Array(length);
  answer[0] = (length - 2) >> 8;
  answer[1] = (length - 2) & 0xff;
  let at = 8;
  for (const bytes of pages) {
    answer.set(bytes, at);
    at += bytes.length;
  }
  return data(answer, allocation);
}

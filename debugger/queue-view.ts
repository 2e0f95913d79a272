/** Virtqueues as text: rings, indices and the descriptors of the chains that wait. VIRTIO 1.2, "Split Virtqueues". */
import { VirtioBlk } from "../devices/virtio/blk/device.ts";
import * as blk from "../devices/virtio/blk/spec.ts";
import type { Virtqueue } from "../devices/virtio/queue.ts";
import type { ServedVirtio } from "../devices/virtio/served.ts";
import * as spec from "../devices/virtio/spec.ts";
import type { Vm } from "../hypervisor/vm.ts";
import { hex } from "./number-format.ts";

/** Most chains and descriptors of a chain that are written out. The rings are the guest's: anything may be in them. */
const MOST_CHAINS = 8;
const MOST_DESCRIPTORS = 32;

const REQUESTS: Readonly<Record<number, string>> = {
  [blk.VIRTIO_BLK_T_IN]: "read",
  [blk.VIRTIO_BLK_T_OUT]: "write",
  [blk.VIRTIO_BLK_T_FLUSH]: "flush",
  [blk.VIRTIO_BLK_T_GET_ID]: "get ID",
  [blk.VIRTIO_BLK_T_DISCARD]: "discard",
  [blk.VIRTIO_BLK_T_WRITE_ZEROES]: "write zeroes",
};

/** Guest memory by guest-physical address, or undefined outside RAM. */
type Read = (address: number, length: number) => DataView | undefined;
/** Says what a chain's first bytes ask for. */
type RequestWords = (header: DataView | undefined) => string;

/**
 * The queues of virtio devices.
 * @param index one device only, counted from 0; undefined: all
 */
export function queueLines(vm: Vm, index: number | undefined): string[] {
  const devices = vm.pc.served;
  if (devices.length === 0) return ["this machine has no virtio device"];
  if (index !== undefined && devices[index] === undefined)
    return [`there is no virtio device ${index}: name one from 0 to ${devices.length - 1}`];
  const read: Read = (address, length) => {
    const bytes = vm.memory.read(address, length);
    return bytes === undefined ? undefined : new DataView(bytes.buffer);
  };
  return devices.flatMap((device, i) =>
    index === undefined || index === i ? deviceLines(device, vm, read) : [],
  );
}

function deviceLines(device: ServedVirtio, vm: Vm, read: Read): string[] {
  const { transport } = device;
  const name = transport.pci.label.replace(`${vm.label} `, "");
  const words = device instanceof VirtioBlk ? requestWords : (): string => "";
  const due = device.nextDue === undefined ? "" : `, next due at cycle ${device.nextDue}`;
  const lines = [
    `${name}: ${transport.isLive ? "live" : "not live (no DRIVER_OK, or no bus mastering)"}, ${device.inFlight} in flight${due}`,
  ];
  transport.queues.forEach((queue, q) => {
    const notify = transport.notifyAddress(q);
    lines.push(...queueStateLines(queue, q, notify, read, words).map((line) => `  ${line}`));
  });
  return lines;
}

function queueStateLines(
  queue: Virtqueue,
  q: number,
  notify: number | undefined,
  read: Read,
  words: RequestWords,
): string[] {
  const s = queue.state;
  if (s.enabled === 0) return [`queue ${q}: not enabled, size ${s.size}`];
  const table = s.descHigh * 2 ** 32 + s.descLow;
  if (s.packed !== 0)
    return [
      `queue ${q}: packed, size ${s.size}, ring at ${hex(table)}; next to take ${s.lastAvail} (wrap ${s.availWrap}), next used ${s.usedIndex} (wrap ${s.usedWrap})`,
    ];
  const driver = s.driverHigh * 2 ** 32 + s.driverLow;
  const device = s.deviceHigh * 2 ** 32 + s.deviceLow;
  const available = read(driver, spec.RING_ENTRIES + 2 * s.size + 2);
  const used = read(device, spec.RING_ENTRIES + spec.USED_ELEMENT_BYTES * s.size + 2);
  const features = [s.eventIdx !== 0 ? "EVENT_IDX" : "", s.indirect !== 0 ? "INDIRECT_DESC" : ""].filter(
    Boolean,
  );
  const lines = [
    `queue ${q}: size ${s.size}, ${features.join(" ") || "no features"}, MSI-X vector ${s.msixVector === spec.VIRTIO_MSI_NO_VECTOR ? "none" : s.msixVector}` +
      `, notify at ${notify === undefined ? "no address" : hex(notify, 8)}`,
  ];
  if (available === undefined || used === undefined) return [...lines, "  its rings are not in RAM"];
  const availIdx = available.getUint16(spec.RING_IDX, true);
  const waiting = (availIdx - s.lastAvail) & 0xffff;
  const usedEvent =
    s.eventIdx !== 0 ? `, used_event ${available.getUint16(available.byteLength - 2, true)}` : "";
  const availEvent = s.eventIdx !== 0 ? `, avail_event ${used.getUint16(used.byteLength - 2, true)}` : "";
  lines.push(
    `  available ring ${hex(driver, 8)}: flags ${available.getUint16(0, true)}, idx ${availIdx}${usedEvent}; the device has taken ${s.lastAvail}, ${waiting} waiting`,
    `  used ring ${hex(device, 8)}: flags ${used.getUint16(0, true)}, idx ${used.getUint16(spec.RING_IDX, true)}${availEvent}; the device is at ${s.usedIndex}`,
    `  descriptor table ${hex(table, 8)}${s.notificationsOff !== 0 ? "; notifications are off: the device polls" : ""}`,
  );
  if (waiting > s.size) return [...lines, `  broken: ${waiting} chains wait in a queue of ${s.size}`];
  for (let i = 0; i < Math.min(waiting, MOST_CHAINS); i++) {
    const head = available.getUint16(spec.RING_ENTRIES + 2 * ((s.lastAvail + i) % s.size), true);
    lines.push(...chainLines(read, table, s.size, head, words).map((line) => `  ${line}`));
  }
  if (waiting > MOST_CHAINS) lines.push(`  … and ${waiting - MOST_CHAINS} chains more`);
  return lines;
}

/** The descriptors of one chain, into at most one indirect table, and the request in it. */
function chainLines(read: Read, table: number, size: number, head: number, words: RequestWords): string[] {
  const lines: string[] = [];
  let request = "";
  let at = table;
  let entries = size;
  let index = head;
  for (let count = 0; ; count++) {
    if (count === MOST_DESCRIPTORS) {
      lines.push("  … the chain goes on");
      break;
    }
    const view =
      index < entries ? read(at + spec.VIRTQ_DESC_BYTES * index, spec.VIRTQ_DESC_BYTES) : undefined;
    if (view === undefined) {
      lines.push(`  descriptor ${index}: outside its table or RAM`);
      break;
    }
    const address = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
    const length = view.getUint32(8, true);
    const flags = view.getUint16(12, true);
    const isIndirect = (flags & spec.VIRTQ_DESC_F_INDIRECT) !== 0;
    const kind = isIndirect
      ? "indirect table"
      : (flags & spec.VIRTQ_DESC_F_WRITE) !== 0
        ? "device writes"
        : "device reads";
    lines.push(`  descriptor ${index}: ${hex(address, 8)}, ${length} bytes, ${kind}`);
    if (isIndirect) {
      if (at !== table) break;
      at = address;
      entries = Math.floor(length / spec.VIRTQ_DESC_BYTES);
      index = 0;
      continue;
    }
    if (request === "" && length >= blk.HEADER_BYTES) request = words(read(address, blk.HEADER_BYTES));
    if ((flags & spec.VIRTQ_DESC_F_NEXT) === 0) break;
    index = view.getUint16(14, true);
  }
  return [`waiting chain, head ${head}${request}`, ...lines];
}

function requestWords(header: DataView | undefined): string {
  if (header === undefined) return "";
  const type = header.getUint32(0, true);
  const sector = header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32;
  return `: ${REQUESTS[type] ?? `request type ${type}`}, sector ${sector}`;
}

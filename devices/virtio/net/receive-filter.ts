/** Which frames a virtio network device receives, and the commands that say so: virtio 1.2, "Control Virtqueue". */
import { bytes, struct, u16, u8, type ViewOf } from "../../../layout/struct.ts";
import { ETHERTYPE_VLAN, MAC_BYTES, be16, isBroadcast, isGroupAddress, sameMac } from "../../net/ethernet.ts";
import * as spec from "./spec.ts";

/** Addresses in the filter table. More of a kind: all of that kind pass, as the specification allows. */
export const MOST_FILTER_ADDRESSES = 64;
const VLANS = 4096;

export const ReceiveFilterStruct = struct("VirtioNetFilter", {
  mac: bytes(MAC_BYTES),
  /** PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST: by command. */
  modes: bytes(6),
  unicasts: u16,
  multicasts: u16,
  unicastsOverflow: u8,
  multicastsOverflow: u8,
  /** Unicast addresses, then multicast ones. */
  table: bytes(MAC_BYTES * MOST_FILTER_ADDRESSES),
  vlans: bytes(VLANS / 8),
});

const PROMISC = spec.VIRTIO_NET_CTRL_RX_PROMISC;
const ALLMULTI = spec.VIRTIO_NET_CTRL_RX_ALLMULTI;
const ALLUNI = spec.VIRTIO_NET_CTRL_RX_ALLUNI;
const NOMULTI = 3;
const NOUNI = 4;
const NOBCAST = spec.VIRTIO_NET_CTRL_RX_NOBCAST;

export class ReceiveFilter {
  readonly #state: ViewOf<typeof ReceiveFilterStruct>;

  constructor(state: ViewOf<typeof ReceiveFilterStruct>) {
    this.#state = state;
  }

  /** Until the driver says otherwise, everything passes. */
  reset(mac: Uint8Array): void {
    const s = this.#state;
    s.mac.set(mac);
    s.modes.fill(0);
    s.modes[PROMISC] = 1;
    s.unicasts = s.multicasts = 0;
    s.unicastsOverflow = s.multicastsOverflow = 0;
    s.table.fill(0);
    s.vlans.fill(0);
  }

  get mac(): Uint8Array {
    return this.#state.mac;
  }

  /** @param filtersVlans VIRTIO_NET_F_CTRL_VLAN is in force */
  passes(frame: Uint8Array, filtersVlans: boolean): boolean {
    const s = this.#state;
    if (s.modes[PROMISC]) return true;
    if (filtersVlans && be16(frame, 2 * MAC_BYTES) === ETHERTYPE_VLAN) {
      const vlan = frame.length >= 16 ? be16(frame, 14) & 0xfff : 0;
      if (!(s.vlans[vlan >> 3]! & (1 << (vlan & 7)))) return false;
    }
    if (isGroupAddress(frame)) {
      if (isBroadcast(frame)) return s.modes[NOBCAST] === 0;
      if (s.modes[NOMULTI]) return false;
      if (s.modes[ALLMULTI] || s.multicastsOverflow) return true;
      return this.#isInTable(frame, s.unicasts, s.unicasts + s.multicasts);
    }
    if (s.modes[NOUNI]) return false;
    if (s.modes[ALLUNI] || s.unicastsOverflow || sameMac(frame, 0, s.mac, 0)) return true;
    return this.#isInTable(frame, 0, s.unicasts);
  }

  #isInTable(frame: Uint8Array, from: number, to: number): boolean {
    for (let i = from; i < to; i++) if (sameMac(frame, 0, this.#state.table, MAC_BYTES * i)) return true;
    return false;
  }

  /** A receive mode: on or off. */
  setMode(command: number, on: number): boolean {
    if (command > NOBCAST || on > 1) return false;
    this.#state.modes[command] = on;
    return true;
  }

  setMac(data: Uint8Array): boolean {
    if (data.length !== MAC_BYTES) return false;
    this.#state.mac.set(data);
    return true;
  }

  /** Two tables after each other: entries (le32) and that many addresses; unicast, then multicast. */
  setTable(data: Uint8Array): boolean {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const tables: { readonly from: number; readonly count: number }[] = [];
    let at = 0;
    for (let i = 0; i < 2; i++) {
      if (at + 4 > data.length) return false;
      const count = view.getUint32(at, true);
      if (count > (data.length - at - 4) / MAC_BYTES) return false;
      tables.push({ from: at + 4, count });
      at += 4 + count * MAC_BYTES;
    }
    if (at !== data.length) return false;
    const s = this.#state;
    let room = MOST_FILTER_ADDRESSES;
    let placed = 0;
    const counts = tables.map(({ from, count }) => {
      if (count > room) return undefined;
      s.table.set(data.subarray(from, from + count * MAC_BYTES), placed * MAC_BYTES);
      room -= count;
      placed += count;
      return count;
    });
    s.unicasts = counts[0] ?? 0;
    s.multicasts = counts[1] ?? 0;
    s.unicastsOverflow = counts[0] === undefined ? 1 : 0;
    s.multicastsOverflow = counts[1] === undefined ? 1 : 0;
    return true;
  }

  setVlan(vlan: number, on: boolean): boolean {
    if (vlan >= VLANS) return false;
    const { vlans } = this.#state;
    const bit = 1 << (vlan & 7);
    vlans[vlan >> 3] = on ? vlans[vlan >> 3]! | bit : vlans[vlan >> 3]! & ~bit;
    return true;
  }
}

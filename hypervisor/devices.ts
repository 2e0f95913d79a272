/**
 * `-device`: cards as a person asks for them, by QEMU's models and names, and what becomes of them: a list of cards in which
 * every name is resolved, every default filled in, and every card has a slot.
 */
import {
  FIRST_CARD_SLOT,
  LAST_CARD_SLOT,
  type CardOptions,
  type CardPlace,
} from "../emulator/machine/cards.ts";
import { parseMac } from "../devices/net/ethernet.ts";
import type { DriveOptions } from "./assembly.ts";
import type { NetdevOptions } from "./netdevs.ts";
import { OptionError } from "./option-error.ts";

/**
 * Where a drive is attached: `ide` and `virtio` make their own controller or card; a drive with `none` is named by a device.
 */
export const DRIVE_INTERFACES = ["ide", "virtio", "none"] as const;
export type DriveInterface = (typeof DRIVE_INTERFACES)[number];

interface Card {
  /** For buses that the card offers, and for messages. */
  readonly id?: string;
  /** PCI slot of bus 0 (QEMU's `addr`). Default: the first that is free. */
  readonly slot?: number;
  /** For virtio: offers packed virtqueues. Default: no. */
  readonly packed?: boolean;
}

/** A device by its QEMU model. `drive` is the id of one with `if=none`. */
export type DeviceOptions = Card &
  (
    | {
        readonly model: "virtio-blk-pci";
        readonly drive: string;
        /** Request queues. Default 1. */
        readonly queues?: number;
      }
    | { readonly model: "virtio-rng-pci" }
    | (NetworkCard & {
        readonly model: "virtio-net-pci";
        /** Pairs of receive and transmit queues. Default 1. */
        readonly queuePairs?: number;
      })
    | (NetworkCard & { readonly model: "e1000" })
  );

interface NetworkCard {
  /** The id of a netdev. */
  readonly netdev: string;
  /** `52:54:00:12:34:56`. Default: that, counted up by card. */
  readonly mac?: string;
}

type NetworkDevice = DeviceOptions & NetworkCard;

/** Cards whose queues a request path serves; its threads have room for so many. */
const MOST_SERVED_CARDS = 12;

/**
 * The machine's cards: those of drives with `if=virtio` first, as QEMU places them. Throws OptionError, naming the device, when
 * a name or a slot is not to be had.
 */
export function planCards(
  drives: readonly DriveOptions[],
  devices: readonly DeviceOptions[],
  netdevs: readonly NetdevOptions[] = [],
): CardOptions[] {
  const slots = new Slots(devices);
  const unused = new Map<string, number>();
  drives.forEach(({ interface: at, id }, index) => {
    if (at !== "none") return;
    if (id === undefined)
      throw new OptionError(`-drive ${drives[index]!.file}: if=none needs id=, for a -device that uses it`);
    if (unused.has(id)) throw new OptionError(`-drive id=${id}: there are two drives of that name`);
    unused.set(id, index);
  });
  const take = (device: DeviceOptions, id: string): number => {
    const index = unused.get(id);
    if (index === undefined)
      throw new OptionError(
        `-device ${device.model},drive=${id}: no unused drive has that id; give -drive if=none,id=${id},file=F`,
      );
    unused.delete(id);
    return index;
  };
  const cards: CardOptions[] = [];
  drives.forEach((drive, index) => {
    if (drive.interface === "virtio")
      cards.push({
        kind: "virtio-blk",
        drive: index,
        queues: drive.queues ?? 1,
        slot: slots.next("-drive if=virtio"),
      });
  });
  const netdev = netdevTaker(netdevs);
  for (const device of devices) {
    const slot = device.slot ?? slots.next(`-device ${device.model}`);
    const place = device.packed === true ? { slot, packed: true } : { slot };
    cards.push(cardOf(device, place, { drive: (id) => take(device, id), netdev }));
  }
  if (cards.filter((card) => card.kind === "virtio-blk").length > MOST_SERVED_CARDS)
    throw new OptionError(`-device: at most ${MOST_SERVED_CARDS} virtio disks and adapters`);
  return cards;
}

/** Resolves the names that devices use, each once. */
interface Names {
  readonly drive: (id: string) => number;
  readonly netdev: (device: NetworkDevice) => { readonly netdev: number; readonly mac: Uint8Array };
}

function cardOf(device: DeviceOptions, place: CardPlace, { drive, netdev }: Names): CardOptions {
  switch (device.model) {
    case "virtio-blk-pci":
      return { kind: "virtio-blk", drive: drive(device.drive), queues: device.queues ?? 1, ...place };
    case "e1000":
      return { kind: "e1000", ...netdev(device), ...place };
    case "virtio-net-pci":
      return { kind: "virtio-net", ...netdev(device), queuePairs: device.queuePairs ?? 1, ...place };
    case "virtio-rng-pci":
      return { kind: "virtio-rng", ...place };
  }
}

/** Where addresses that nobody chose begin: QEMU's. */
const FIRST_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56] as const;

/** Gives network cards their back ends and addresses. */
function netdevTaker(netdevs: readonly NetdevOptions[]): Names["netdev"] {
  const used = new Set<string>();
  return ({ model, netdev: id, mac: text }) => {
    const index = netdevs.findIndex((netdev) => netdev.id === id);
    if (index < 0)
      throw new OptionError(
        `-device ${model},netdev=${id}: no netdev has that id; give -netdev KIND,id=${id}`,
      );
    if (used.has(id)) throw new OptionError(`-device ${model},netdev=${id}: another device has that netdev`);
    const counted = Uint8Array.from(FIRST_MAC);
    counted[5]! += used.size;
    used.add(id);
    const mac = text === undefined ? counted : parseMac(text);
    if (mac === undefined)
      throw new OptionError(
        `-device ${model},mac=${text ?? ""}: must be one station's, as 52:54:00:12:34:56`,
      );
    return { netdev: index, mac };
  };
}

/** Free PCI slots. Those that devices ask for are taken from the start. */
class Slots {
  readonly #taken = new Set<number>();

  constructor(devices: readonly DeviceOptions[]) {
    for (const { model, slot } of devices) {
      if (slot === undefined) continue;
      if (!Number.isInteger(slot) || slot < FIRST_CARD_SLOT || slot > LAST_CARD_SLOT)
        throw new OptionError(
          `-device ${model}: slot ${slot} must be ${FIRST_CARD_SLOT} to ${LAST_CARD_SLOT}: those below are the chipset's`,
        );
      if (this.#taken.has(slot)) throw new OptionError(`-device ${model}: slot ${slot} is taken`);
      this.#taken.add(slot);
    }
  }

  next(who: string): number {
    for (let slot = FIRST_CARD_SLOT; slot <= LAST_CARD_SLOT; slot++)
      if (!this.#taken.has(slot)) {
        this.#taken.add(slot);
        return slot;
      }
    throw new OptionError(`${who}: all PCI slots are taken`);
  }
}

/**
 * `-device`: cards as a person asks for them, by QEMU's models and names, and what becomes of them: a list of cards in which
 * every name is resolved, every default filled in, and every card has a slot.
 */
import { PORTS as AHCI_PORTS } from "../devices/ahci/spec.ts";
import { parseMac } from "../devices/net/ethernet.ts";
import { MOST_LUN, MOST_TARGET, MOST_UNITS } from "../devices/virtio/scsi/device.ts";
import { MOST_PORTS } from "../devices/virtio/console/device.ts";
import { FIRST_CARD_SLOT, LAST_CARD_SLOT, type CardOptions } from "../emulator/machine/cards.ts";
import type { DriveOptions } from "./assembly.ts";
import type { CharacterOptions } from "./characters.ts";
import type { NetdevOptions } from "./netdevs.ts";
import { OptionError } from "./option-error.ts";

/**
 * Where a drive is attached: `ide` and `ahci` to such a controller, `virtio` makes a card; a drive with `none` is named by a
 * device.
 */
export const DRIVE_INTERFACES = ["ide", "virtio", "ahci", "none"] as const;
export type DriveInterface = (typeof DRIVE_INTERFACES)[number];

interface Named {
  /** For buses that a card offers, and for messages. */
  readonly id?: string;
}

interface Card extends Named {
  /** PCI slot of bus 0 (QEMU's `addr`). Default: the first that is free. */
  readonly slot?: number;
}

/** A port of a virtio-serial device: a console (hvc), or a serial port by its name. */
interface SerialPort extends Named {
  /** A character device's id. Default: what is sent goes nowhere. */
  readonly chardev?: string;
  readonly name?: string;
  /** `ID.0` of a `virtio-serial-pci`. Default: the first one with room. */
  readonly bus?: string;
}

interface VirtioCard extends Card {
  /** Offers packed virtqueues. Default: no. */
  readonly packed?: boolean;
}

interface NetworkCard {
  /** The id of a netdev. */
  readonly netdev: string;
  /** `52:54:00:12:34:56`. Default: that, counted up by card. */
  readonly mac?: string;
}

/** A device by its QEMU model: a card, or what is attached to a card's bus. `drive` is the id of one with `if=none`. */
export type DeviceOptions =
  | (VirtioCard & {
      readonly model: "virtio-blk-pci";
      readonly drive: string;
      /** Request queues. Default 1. */
      readonly queues?: number;
    })
  | (VirtioCard & { readonly model: "virtio-rng-pci" })
  | (VirtioCard &
      NetworkCard & {
        readonly model: "virtio-net-pci";
        /** Pairs of receive and transmit queues. Default 1. */
        readonly queuePairs?: number;
      })
  | (Card & NetworkCard & { readonly model: "e1000" })
  | (VirtioCard & {
      readonly model: "virtio-scsi-pci";
      /** Request queues. Default 1. */
      readonly queues?: number;
    })
  | (Named & {
      readonly model: "scsi-hd";
      readonly drive: string;
      /** `ID.0` of a `virtio-scsi-pci`. Default: the first one. */
      readonly bus?: string;
      /** Target (QEMU's `scsi-id`) and logical unit. Default: LUN 0 of the first target that has none. */
      readonly target?: number;
      readonly lun?: number;
    })
  | (VirtioCard & { readonly model: "virtio-balloon-pci" })
  | (VirtioCard & {
      readonly model: "virtio-serial-pci";
      /** 1: the simple device, without control queues. Default 8. */
      readonly maxPorts?: number;
    })
  | (SerialPort & { readonly model: "virtconsole" })
  | (SerialPort & { readonly model: "virtserialport" })
  | (Card & { readonly model: "ahci" })
  | (Named & {
      readonly model: "ide-hd";
      readonly drive: string;
      /** `ID.PORT` of an `ahci`. Default: the first port that is free. */
      readonly bus?: string;
    });

/**
 * The machine's cards: those of drives with `if=virtio` first, as QEMU places them, then the controller of those with `if=ahci`.
 * Throws OptionError, naming the device, when a name or a slot is not to be had.
 */
export function planCards(
  drives: readonly DriveOptions[],
  devices: readonly DeviceOptions[],
  backEnds: {
    readonly characters?: readonly CharacterOptions[];
    readonly netdevs?: readonly NetdevOptions[];
  } = {},
): CardOptions[] {
  const { characters = [], netdevs = [] } = backEnds;
  const plan = new CardPlan(drives, devices, characters, netdevs);
  drives.forEach((drive, index) => {
    if (drive.interface === "virtio")
      plan.add("-drive if=virtio", undefined, {
        kind: "virtio-blk",
        drive: index,
        queues: drive.queues ?? 1,
        slot: plan.slot("-drive if=virtio"),
      });
  });
  const ahciDrives = drives.flatMap((drive, index) => (drive.interface === "ahci" ? [index] : []));
  if (ahciDrives.length > AHCI_PORTS) throw new OptionError(`-drive if=ahci: at most ${AHCI_PORTS} drives`);
  if (ahciDrives.length > 0)
    plan.add("-drive if=ahci", undefined, {
      kind: "ahci",
      drives: ahciDrives,
      slot: plan.slot("-drive if=ahci"),
    });
  for (const device of devices) plan.addDevice(device);
  return plan.finish();
}

/** What `-device` calls itself in messages. */
const nameOf = ({ model, id }: DeviceOptions): string =>
  `-device ${model}${id === undefined ? "" : `,id=${id}`}`;

/** Where addresses that nobody chose begin: QEMU's. */
const FIRST_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56] as const;

class CardPlan {
  readonly cards: CardOptions[] = [];
  /** Places in `cards` by the cards' ids. */
  readonly #byId = new Map<string, number>();
  readonly #unusedDrives = new Map<string, number>();
  readonly #unusedCharacters = new Map<string, number>();
  readonly #takenSlots = new Set<number>();
  readonly #netdevs: readonly NetdevOptions[];
  readonly #usedNetdevs = new Set<string>();

  constructor(
    drives: readonly DriveOptions[],
    devices: readonly DeviceOptions[],
    characters: readonly CharacterOptions[],
    netdevs: readonly NetdevOptions[],
  ) {
    this.#netdevs = netdevs;
    characters.forEach(({ id }, index) => {
      if (this.#unusedCharacters.has(id))
        throw new OptionError(`-chardev id=${id}: there are two of that name`);
      this.#unusedCharacters.set(id, index);
    });
    drives.forEach(({ interface: at, id, file }, index) => {
      if (at !== "none") return;
      if (id === undefined)
        throw new OptionError(`-drive ${file}: if=none needs id=, for a -device that uses it`);
      if (this.#unusedDrives.has(id))
        throw new OptionError(`-drive id=${id}: there are two drives of that name`);
      this.#unusedDrives.set(id, index);
    });
    // Slots that devices ask for are kept for them.
    for (const device of devices) {
      const { slot } = device as Card;
      if (slot !== undefined) this.#keepSlot(device, slot);
    }
  }

  addDevice(device: DeviceOptions): void {
    const who = nameOf(device);
    switch (device.model) {
      case "virtio-blk-pci":
        this.add(who, device.id, {
          kind: "virtio-blk",
          drive: this.#drive(who, device.drive),
          queues: device.queues ?? 1,
          ...this.#virtioPlace(who, device),
        });
        break;
      case "virtio-rng-pci":
        this.add(who, device.id, { kind: "virtio-rng", ...this.#virtioPlace(who, device) });
        break;
      case "virtio-net-pci":
        this.add(who, device.id, {
          kind: "virtio-net",
          queuePairs: device.queuePairs ?? 1,
          ...this.#netdev(who, device),
          ...this.#virtioPlace(who, device),
        });
        break;
      case "e1000":
        this.add(who, device.id, {
          kind: "e1000",
          ...this.#netdev(who, device),
          slot: device.slot ?? this.slot(who),
        });
        break;
      case "virtio-balloon-pci":
        this.add(who, device.id, { kind: "virtio-balloon", ...this.#virtioPlace(who, device) });
        break;
      case "virtio-serial-pci": {
        const { maxPorts = MOST_PORTS } = device;
        if (maxPorts < 1 || maxPorts > MOST_PORTS)
          throw new OptionError(`${who}: max_ports=${maxPorts} must be 1 to ${MOST_PORTS}`);
        const place = this.#virtioPlace(who, device);
        this.add(who, device.id, { kind: "virtio-console", multiport: maxPorts > 1, ports: [], ...place });
        break;
      }
      case "virtconsole":
      case "virtserialport":
        this.#attachPort(who, device);
        break;
      case "ahci":
        this.add(who, device.id, { kind: "ahci", drives: [], slot: device.slot ?? this.slot(who) });
        break;
      case "virtio-scsi-pci":
        this.add(who, device.id, {
          kind: "virtio-scsi",
          queues: device.queues ?? 1,
          units: [],
          ...this.#virtioPlace(who, device),
        });
        break;
      case "scsi-hd":
        this.#attachScsi(who, device, this.#drive(who, device.drive));
        break;
      case "ide-hd":
        this.#attachAhci(who, device.bus, this.#drive(who, device.drive));
        break;
    }
  }

  add(who: string, id: string | undefined, card: CardOptions): void {
    if (id !== undefined) {
      if (this.#byId.has(id)) throw new OptionError(`${who}: another device has that id`);
      this.#byId.set(id, this.cards.length);
    }
    this.cards.push(card);
  }

  /** The cards, when every device has been added. */
  finish(): CardOptions[] {
    for (const card of this.cards)
      if (card.kind === "virtio-console" && card.ports.length === 0)
        throw new OptionError(
          "-device virtio-serial-pci: it has no port; give a virtconsole or virtserialport",
        );
    return this.cards;
  }

  /** The first free slot. */
  slot(who: string): number {
    for (let slot = FIRST_CARD_SLOT; slot <= LAST_CARD_SLOT; slot++)
      if (!this.#takenSlots.has(slot)) {
        this.#takenSlots.add(slot);
        return slot;
      }
    throw new OptionError(`${who}: all PCI slots are taken`);
  }

  #keepSlot(device: DeviceOptions, slot: number): void {
    const who = nameOf(device);
    if (!Number.isInteger(slot) || slot < FIRST_CARD_SLOT || slot > LAST_CARD_SLOT)
      throw new OptionError(
        `${who}: slot ${slot} must be ${FIRST_CARD_SLOT} to ${LAST_CARD_SLOT}: those below are the chipset's`,
      );
    if (this.#takenSlots.has(slot)) throw new OptionError(`${who}: slot ${slot} is taken`);
    this.#takenSlots.add(slot);
  }

  #virtioPlace(who: string, device: VirtioCard): { readonly slot: number; readonly packed?: boolean } {
    const slot = device.slot ?? this.slot(who);
    return device.packed === true ? { slot, packed: true } : { slot };
  }

  #netdev(
    who: string,
    { netdev: id, mac: text }: NetworkCard,
  ): { readonly netdev: number; readonly mac: Uint8Array } {
    const index = this.#netdevs.findIndex((netdev) => netdev.id === id);
    if (index < 0)
      throw new OptionError(`${who},netdev=${id}: no netdev has that id; give -netdev KIND,id=${id}`);
    if (this.#usedNetdevs.has(id))
      throw new OptionError(`${who},netdev=${id}: another device has that netdev`);
    const counted = Uint8Array.from(FIRST_MAC);
    counted[5]! += this.#usedNetdevs.size;
    this.#usedNetdevs.add(id);
    const mac = text === undefined ? counted : parseMac(text);
    if (mac === undefined)
      throw new OptionError(`${who},mac=${text ?? ""}: must be one station's, as 52:54:00:12:34:56`);
    return { netdev: index, mac };
  }

  #drive(who: string, id: string): number {
    const index = this.#unusedDrives.get(id);
    if (index === undefined)
      throw new OptionError(
        `${who},drive=${id}: no unused drive has that id; give -drive if=none,id=${id},file=F`,
      );
    this.#unusedDrives.delete(id);
    return index;
  }

  /** Finds the card that `bus` (`ID.N`) names, or the first of its kind that `hasRoom`; `place` is N. */
  #bus<K extends CardOptions["kind"]>(
    who: string,
    bus: string | undefined,
    kind: K,
    hasRoom: (card: Extract<CardOptions, { kind: K }>) => boolean,
  ): {
    readonly at: number;
    readonly card: Extract<CardOptions, { kind: K }>;
    readonly place: number | undefined;
  } {
    const isKind = (card: CardOptions | undefined): card is Extract<CardOptions, { kind: K }> =>
      card?.kind === kind;
    if (bus === undefined) {
      const at = this.cards.findIndex((card) => isKind(card) && hasRoom(card));
      const card = this.cards[at];
      if (!isKind(card))
        throw new OptionError(`${who}: there is no ${kind} with room for it; give one before it`);
      return { at, card, place: undefined };
    }
    const [, id, place] = /^(.+)\.(\d+)$/.exec(bus) ?? [];
    const at = id === undefined ? undefined : this.#byId.get(id);
    const card = at === undefined ? undefined : this.cards[at];
    if (at === undefined || !isKind(card))
      throw new OptionError(`${who}: bus=${bus} must be ID.N of a ${kind} that stands before it`);
    return { at, card, place: Number(place) };
  }

  #attachPort(
    who: string,
    device: Extract<DeviceOptions, { model: "virtconsole" | "virtserialport" }>,
  ): void {
    const room = ({ multiport }: { readonly multiport: boolean }): number => (multiport ? MOST_PORTS : 1);
    const { at, card } = this.#bus(who, device.bus, "virtio-console", (one) => one.ports.length < room(one));
    if (card.ports.length === room(card)) throw new OptionError(`${who}: its bus has no port left`);
    const isConsole = device.model === "virtconsole";
    if (!isConsole && !card.multiport)
      throw new OptionError(`${who}: a device with max_ports=1 has a console alone`);
    const { chardev, name } = device;
    const character = chardev === undefined ? undefined : this.#unusedCharacters.get(chardev);
    if (chardev !== undefined) {
      if (character === undefined)
        throw new OptionError(`${who},chardev=${chardev}: no unused -chardev has that id`);
      this.#unusedCharacters.delete(chardev);
    }
    const port = {
      isConsole,
      ...(name !== undefined && { name }),
      ...(character !== undefined && { character }),
    };
    this.cards[at] = { ...card, ports: [...card.ports, port] };
  }

  #attachScsi(who: string, device: Extract<DeviceOptions, { model: "scsi-hd" }>, drive: number): void {
    const { at, card } = this.#bus(who, device.bus, "virtio-scsi", ({ units }) => units.length < MOST_UNITS);
    const isTaken = (target: number, lun: number): boolean =>
      card.units.some((unit) => unit.target === target && unit.lun === lun);
    const lun = device.lun ?? 0;
    let { target } = device;
    if (target === undefined) for (target = 0; isTaken(target, lun); target++);
    if (target > MOST_TARGET || lun > MOST_LUN)
      throw new OptionError(
        `${who}: scsi-id=${target}, lun=${lun} must be at most ${MOST_TARGET} and ${MOST_LUN}`,
      );
    if (isTaken(target, lun)) throw new OptionError(`${who}: scsi-id=${target}, lun=${lun} is taken`);
    if (card.units.length === MOST_UNITS)
      throw new OptionError(`${who}: at most ${MOST_UNITS} units on a bus`);
    this.cards[at] = { ...card, units: [...card.units, { target, lun, drive }] };
  }

  #attachAhci(who: string, bus: string | undefined, drive: number): void {
    const free = (card: Extract<CardOptions, { kind: "ahci" }>): number => {
      for (let port = 0; port < AHCI_PORTS; port++) if (card.drives[port] === undefined) return port;
      return AHCI_PORTS;
    };
    const { at, card, place } = this.#bus(who, bus, "ahci", (one) => free(one) < AHCI_PORTS);
    const port = place ?? free(card);
    if (port >= AHCI_PORTS)
      throw new OptionError(`${who}: bus=${bus ?? ""}: the ports are 0 to ${AHCI_PORTS - 1}`);
    if (card.drives[port] !== undefined) throw new OptionError(`${who}: port ${port} of its bus is taken`);
    const ports = Array.from({ length: AHCI_PORTS }, (_, i) => card.drives[i]);
    ports[port] = drive;
    this.cards[at] = { ...card, drives: ports };
  }
}

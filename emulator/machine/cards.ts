/** The PCI cards of a PC: what can be plugged in, and how each kind is built and wired. */
import { Ahci } from "../../devices/ahci/controller.ts";
import { hostEntropy } from "../../devices/entropy/host.ts";
import { SeededEntropy } from "../../devices/entropy/seeded.ts";
import type { PciFunction } from "../../devices/pci/config-space.ts";
import { E1000 } from "../../devices/net/e1000/device.ts";
import type {
  CharacterSink,
  DeviceContext,
  DiskTiming,
  DmaMemory,
  InterruptLine,
  MessageSink,
  NetworkLink,
  Resettable,
  Storage,
} from "../../devices/ports.ts";
import { VirtioBalloon } from "../../devices/virtio/balloon/device.ts";
import { VirtioBlk } from "../../devices/virtio/blk/device.ts";
import { VirtioConsole } from "../../devices/virtio/console/device.ts";
import { VirtioNet } from "../../devices/virtio/net/device.ts";
import { VirtioRng } from "../../devices/virtio/rng/device.ts";
import { VirtioScsi } from "../../devices/virtio/scsi/device.ts";
import type { ServedVirtio } from "../../devices/virtio/served.ts";

/** Slots 0 and 1 are the chipset's, 2 is the display adapter's. */
export const FIRST_CARD_SLOT = 3;
export const LAST_CARD_SLOT = 31;

/** Where a card is plugged in: slot of bus 0. */
export interface CardPlace {
  readonly slot: number;
  /** A virtio card offers packed virtqueues. */
  readonly packed?: boolean;
}

/** A card. Back ends are named by their place in `CardBackEnds`, so this is plain data and can be sent to another thread. */
export type CardOptions = CardPlace &
  (
    | {
        readonly kind: "virtio-blk";
        readonly drive: number;
        /** Request queues. */
        readonly queues: number;
      }
    | { readonly kind: "virtio-rng" }
    | { readonly kind: "virtio-balloon" }
    | {
        readonly kind: "virtio-console";
        readonly multiport: boolean;
        readonly ports: readonly {
          readonly isConsole: boolean;
          readonly name?: string;
          /** A character device; without one, what is sent goes nowhere. */
          readonly character?: number;
        }[];
      }
    | {
        readonly kind: "ahci";
        /** By port: a drive, or nothing. */
        readonly drives: readonly (number | undefined)[];
      }
    | {
        readonly kind: "virtio-scsi";
        /** Request queues. */
        readonly queues: number;
        readonly units: readonly { readonly target: number; readonly lun: number; readonly drive: number }[];
      }
    | NetworkCardOptions
  );

/** A network card. */
export type NetworkCardOptions = {
  readonly netdev: number;
  readonly mac: Uint8Array;
} & ({ readonly kind: "virtio-net"; readonly queuePairs: number } | { readonly kind: "e1000" });

/** What stands behind the cards, on this thread. */
export interface CardBackEnds {
  /** By the number of the drive. */
  readonly disks: readonly { readonly storage: Storage; readonly timing: DiskTiming }[];
  /** By the number of the character device. */
  readonly characters: readonly CharacterSink[];
  /** By the number of the netdev. */
  readonly links: readonly NetworkLink[];
  /** Random numbers that a run can repeat, or the host's. */
  readonly entropy: "seeded" | "host";
}

/** What the board has for its cards. */
export interface CardWiring {
  readonly context: DeviceContext;
  /** For disks, when their completions are served elsewhere than the other timers. */
  readonly diskContext: DeviceContext;
  readonly memory: DmaMemory;
  readonly messages: MessageSink;
  /** The wire of a slot's INTx#; 1 is INTA#. */
  readonly intx: (slot: number, pin: number) => InterruptLine;
  /** The label of a device, from its own. */
  readonly name: (device: string) => string;
}

/** A card in its slot. */
export interface Card {
  readonly slot: number;
  readonly pci: PciFunction;
  readonly devices: readonly Resettable[];
  /** Where the card's queues can be served by a request path. */
  readonly served?: ServedVirtio;
  readonly balloon?: VirtioBalloon;
  /** Ports that take what comes from a character device. */
  readonly inputs?: readonly ConsoleInput[];
}

/** A console's port behind a character device. */
export interface ConsoleInput {
  readonly character: number;
  readonly console: VirtioConsole;
  readonly port: number;
}

const NOWHERE: CharacterSink = { write: () => undefined };

/** Builds the cards in order. Labels count each kind from 0. */
export function buildCards(
  cards: readonly CardOptions[],
  backEnds: CardBackEnds,
  wiring: CardWiring,
): readonly Card[] {
  const counts = new Map<string, number>();
  return cards.map((card) => {
    const index = counts.get(card.kind) ?? 0;
    counts.set(card.kind, index + 1);
    return { slot: card.slot, ...build(card, `${card.kind} ${index}`, backEnds, wiring) };
  });
}

function build(
  card: CardOptions,
  name: string,
  backEnds: CardBackEnds,
  wiring: CardWiring,
): Omit<Card, "slot"> {
  const common = {
    label: wiring.name(name),
    memory: wiring.memory,
    messages: wiring.messages,
    intx: wiring.intx(card.slot, 1),
    packed: card.packed === true,
  };
  switch (card.kind) {
    case "virtio-blk": {
      const { storage, timing } = backEnds.disks[card.drive]!;
      const device = new VirtioBlk(wiring.diskContext, { ...common, storage, timing, queues: card.queues });
      return { pci: device.pci, devices: [device], served: device };
    }
    case "ahci": {
      const disks = card.drives.map((drive) => (drive === undefined ? undefined : backEnds.disks[drive]));
      const device = new Ahci(wiring.diskContext, { ...common, disks });
      return { pci: device.pci, devices: [device] };
    }
    case "virtio-scsi": {
      const units = card.units.map(({ drive, ...at }) => ({ ...at, ...backEnds.disks[drive]! }));
      const device = new VirtioScsi(wiring.diskContext, { ...common, units, queues: card.queues });
      return { pci: device.pci, devices: [device], served: device };
    }
    case "virtio-balloon": {
      const device = new VirtioBalloon(wiring.context, common);
      return { pci: device.pci, devices: [device], balloon: device };
    }
    case "virtio-console": {
      const { multiport } = card;
      const ports = card.ports.map(({ character, ...port }) => ({
        ...port,
        sink: character === undefined ? NOWHERE : backEnds.characters[character]!,
      }));
      const device = new VirtioConsole(wiring.context, { ...common, multiport, ports });
      const inputs = card.ports.flatMap(({ character }, port): ConsoleInput[] =>
        character === undefined ? [] : [{ character, console: device, port }],
      );
      return { pci: device.pci, devices: [device], inputs };
    }
    case "virtio-rng": {
      const { context } = wiring;
      if (backEnds.entropy === "host") {
        const device = new VirtioRng(context, { ...common, entropy: hostEntropy });
        return { pci: device.pci, devices: [device] };
      }
      const entropy = new SeededEntropy(context, { label: `${common.label} entropy`, seed: card.slot });
      const device = new VirtioRng(context, { ...common, entropy });
      return { pci: device.pci, devices: [entropy, device] };
    }
    case "e1000": {
      const { label, memory, intx } = common;
      const link = backEnds.links[card.netdev]!;
      const device = new E1000(wiring.diskContext, { label, memory, intx, link, mac: card.mac });
      return { pci: device.pci, devices: [device] };
    }
    case "virtio-net": {
      const { mac, queuePairs } = card;
      const link = backEnds.links[card.netdev]!;
      const device = new VirtioNet(wiring.diskContext, { ...common, link, mac, queuePairs });
      return { pci: device.pci, devices: [device], served: device };
    }
  }
}

/** `-device MODEL,key=value,…` as QEMU spells it: parsed once, into the library's options. */
import { MOST_PORTS } from "../devices/virtio/console/device.ts";
import type { CharacterOptions } from "../hypervisor/characters.ts";
import type { DeviceOptions } from "../hypervisor/devices.ts";
import { MOST_LUN, MOST_TARGET } from "../devices/virtio/scsi/device.ts";
import { optional, Properties } from "./properties.ts";

type Model = DeviceOptions["model"];
/** Reads a model's own properties; `id` and `addr` are every card's. */
type Parser<M extends Model> = (
  p: Properties,
) => Omit<Extract<DeviceOptions, { model: M }>, "model" | "id" | "slot">;

const PARSERS: { readonly [M in Model]: Parser<M> } = {
  "virtio-blk-pci": (p) => ({
    drive: p.required("drive"),
    ...optional("queues", p.integer("num-queues", 1, 16)),
  }),
  e1000: networkCard,
  "virtio-net-pci": (p) => ({
    ...networkCard(p),
    ...optional("queuePairs", p.integer("queue-pairs", 1, 8)),
  }),
  "virtio-rng-pci": () => ({}),
  "virtio-balloon-pci": () => ({}),
  "virtio-serial-pci": (p) => ({ ...optional("maxPorts", p.integer("max_ports", 1, MOST_PORTS)) }),
  virtconsole: (p) => portOptions(p),
  virtserialport: (p) => portOptions(p),
  ahci: () => ({}),
  "virtio-scsi-pci": (p) => ({ ...optional("queues", p.integer("num_queues", 1, 16)) }),
  "scsi-hd": (p) => ({
    drive: p.required("drive"),
    ...optional("bus", p.take("bus")),
    ...optional("target", p.integer("scsi-id", 0, MOST_TARGET)),
    ...optional("lun", p.integer("lun", 0, MOST_LUN)),
  }),
  "ide-hd": (p) => ({ drive: p.required("drive"), ...optional("bus", p.take("bus")) }),
};

function networkCard(p: Properties): { readonly netdev: string; readonly mac?: string } {
  return { netdev: p.required("netdev"), ...optional("mac", p.take("mac")) };
}

/** Other names of the same models, as QEMU has them. */
const ALIASES: Readonly<Record<string, Model>> = {
  "virtio-blk": "virtio-blk-pci",
  "virtio-net": "virtio-net-pci",
  "virtio-rng": "virtio-rng-pci",
  "virtio-scsi": "virtio-scsi-pci",
  "virtio-serial": "virtio-serial-pci",
  "virtio-balloon": "virtio-balloon-pci",
  "ich9-ahci": "ahci",
};

/** Models that are attached to a card's bus, not to a slot. */
const BUS_MODELS: ReadonlySet<Model> = new Set<Model>(["ide-hd", "scsi-hd", "virtconsole", "virtserialport"]);

/** The models that `-device` knows. */
export const DEVICE_MODELS = Object.keys(PARSERS) as readonly Model[];

/** Throws an Error that names the wrong part. */
export function parseDevice(text: string): DeviceOptions {
  const p = new Properties(`-device ${text}`, text, "driver");
  const name = p.required("driver");
  const model =
    ALIASES[name] ??
    DEVICE_MODELS.find((known) => known === name) ??
    p.fail(`${name}: no such model; known are ${DEVICE_MODELS.join(", ")}`);
  const common = {
    ...optional("id", p.take("id")),
    ...(BUS_MODELS.has(model) ? {} : optional("slot", slotOf(p))),
  };
  const packed = model.startsWith("virtio-") && p.isOn("packed") ? { packed: true } : {};
  const own = PARSERS[model](p);
  p.end();
  return { model, ...common, ...packed, ...own } as DeviceOptions;
}

function portOptions(p: Properties): { chardev?: string; name?: string; bus?: string } {
  return {
    ...optional("chardev", p.take("chardev")),
    ...optional("name", p.take("name")),
    ...optional("bus", p.take("bus")),
  };
}

/** `null|stdio|file,id=I[,path=F]`. Throws an Error that names the wrong part. */
export function parseCharacter(text: string): CharacterOptions {
  const p = new Properties(`-chardev ${text}`, text, "backend");
  const kind = p.oneOf("backend", ["null", "stdio", "file"] as const) ?? p.fail("the kind is missing");
  const id = p.required("id");
  const character = kind === "file" ? { kind, id, path: p.required("path") } : { kind, id };
  p.end();
  return character;
}

/** `addr=`: slot and function in hexadecimal, as QEMU reads them. A card here has function 0 alone. */
function slotOf(p: Properties): number | undefined {
  const text = p.take("addr");
  if (text === undefined) return undefined;
  const match = /^(?:0x)?([0-9a-f]{1,2})(?:\.0)?$/i.exec(text);
  const slot = match ? parseInt(match[1]!, 16) : NaN;
  return slot <= 31 ? slot : p.fail(`addr=${text} must be a PCI slot in hexadecimal, 0 to 1f`);
}

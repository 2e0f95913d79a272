/**
 * `-netdev`: back ends of network devices as a person asks for them, by QEMU's words where it has them, and the plans that the
 * machine is built from.
 */
import type { NetdevPlan } from "../emulator/machine/network.ts";
import type { DumpPlan } from "./assembly.ts";
import { OptionError } from "./option-error.ts";

/** Where a stream is connected. */
export type StreamAddress =
  | { readonly type: "inet"; readonly host: string; readonly port: number }
  | { readonly type: "unix"; readonly path: string };

/** A port of the host that leads to the guest. */
export interface HostForward {
  readonly protocol: "tcp" | "udp";
  /** Default 127.0.0.1. */
  readonly hostAddress?: string;
  /** 0: one that is free. */
  readonly hostPort: number;
  /** Default: the address that DHCP gives. */
  readonly guestAddress?: string;
  readonly guestPort: number;
}

interface Common {
  readonly id: string;
  /** One way, microseconds of virtual time. Default 10. */
  readonly latency?: number;
  /** Mbit/s of virtual time, 0 for no limit. Default 1000. */
  readonly bandwidth?: number;
  /** Probabilities, 0 to 1, that a frame is lost, arrives twice, is overtaken by the next. Default 0. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  /** Of the generator that decides. Default 1. */
  readonly seed?: number;
}

export type NetdevOptions = Common &
  (
    | /** Frames come back. */ { readonly kind: "loop" }
      /** Devices with the same `link` are on one switch; default: the id. */
    | { readonly kind: "peer"; readonly link?: string }
    /** QEMU's framing over a stream socket. */
    | { readonly kind: "stream"; readonly server: boolean; readonly address: StreamAddress }
    /** A network of its own, with the host's behind it. */
    | {
        readonly kind: "user";
        readonly hostForwards?: readonly HostForward[];
        /** No connections outwards, forwarded ports excepted. */
        readonly restrict?: boolean;
      }
    /** Frames are the library's user's: `Machine.network`. */
    | { readonly kind: "host" }
  );

/** `-object filter-dump`: a capture of a netdev's frames. */
export interface FilterDumpOptions {
  readonly id?: string;
  readonly netdev: string;
  readonly file: string;
  /** Bytes of each frame that are kept. Default 65536. */
  readonly maxBytes?: number;
}

const MOST_NETDEVS = 8;
const DEFAULT_LATENCY = 10;
const DEFAULT_BANDWIDTH = 1000;
const DEFAULT_CAPTURE_BYTES = 65536;

/** Checks what the types cannot. Throws OptionError. */
export function planNetdevs(
  netdevs: readonly NetdevOptions[],
  clock: "virtual" | "wall",
  frequencyHz: number,
): NetdevPlan[] {
  if (netdevs.length > MOST_NETDEVS) throw new OptionError(`-netdev: at most ${MOST_NETDEVS}`);
  const ids = new Set<string>();
  for (const { id } of netdevs) {
    if (ids.has(id)) throw new OptionError(`-netdev id=${id}: there are two of that name`);
    ids.add(id);
  }
  return netdevs.map((options) => {
    const { id, latency, bandwidth, loss = 0, duplicate = 0, reorder = 0, seed = 1 } = options;
    for (const [name, value] of Object.entries({ loss, duplicate, reorder }))
      if (!(value >= 0 && value <= 1))
        throw new OptionError(`-netdev id=${id}: ${name}=${value} must be a probability from 0 to 1`);
    const isImpaired = loss > 0 || duplicate > 0 || reorder > 0;
    const timed = clock === "virtual";
    return {
      id,
      medium: mediumOf(options),
      latencyCycles: timed ? Math.ceil(((latency ?? DEFAULT_LATENCY) * frequencyHz) / 1e6) : 0,
      bitsPerSecond: timed ? (bandwidth ?? DEFAULT_BANDWIDTH) * 1e6 : 0,
      ...(isImpaired ? { impairment: { loss, duplicate, reorder, seed } } : {}),
    };
  });
}

function mediumOf(options: NetdevOptions): NetdevPlan["medium"] {
  switch (options.kind) {
    case "loop":
      return { kind: "loop" };
    case "peer":
      return { kind: "peer", link: options.link ?? options.id };
    case "user":
      return { kind: "host", takesOffloads: true };
    case "stream":
    case "host":
      return { kind: "host", takesOffloads: false };
  }
}

/** Throws OptionError for a capture of no netdev. */
export function planDumps(
  dumps: readonly FilterDumpOptions[],
  netdevs: readonly NetdevOptions[],
): DumpPlan[] {
  return dumps.map(({ netdev: id, file, maxBytes }) => {
    const netdev = netdevs.findIndex((candidate) => candidate.id === id);
    if (netdev < 0)
      throw new OptionError(
        `-object filter-dump,netdev=${id}: no netdev has that id; give -netdev KIND,id=${id}`,
      );
    return { netdev, file, mostBytes: maxBytes ?? DEFAULT_CAPTURE_BYTES };
  });
}

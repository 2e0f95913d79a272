/** `-netdev KIND,id=N,…` and `-object filter-dump,…` as QEMU spells them: parsed once, into the library's options. */
import type { FilterDumpOptions, HostForward, NetdevOptions, StreamAddress } from "../hypervisor/netdevs.ts";
import { optional, Properties } from "./properties.ts";

type Kind = Exclude<NetdevOptions["kind"], "host">;
export const NETDEV_KINDS = ["user", "stream", "peer", "loop"] as const satisfies readonly Kind[];

/** Throws an Error that names the wrong part, as all functions here do. */
export function parseNetdev(text: string): NetdevOptions {
  const p = new Properties(`-netdev ${text}`, text, "type", ["hostfwd"]);
  const kind =
    p.oneOf("type", NETDEV_KINDS) ?? p.fail(`the kind is missing; known are ${NETDEV_KINDS.join(", ")}`);
  const common = {
    id: p.required("id"),
    ...optional("latency", p.number("latency", 0, 1e6)),
    ...optional("bandwidth", p.number("bandwidth", 0, 1e6)),
    ...optional("loss", p.number("loss", 0, 1)),
    ...optional("duplicate", p.number("duplicate", 0, 1)),
    ...optional("reorder", p.number("reorder", 0, 1)),
    ...optional("seed", p.integer("seed", 0, 0xffffffff)),
  };
  const options = { ...common, ...ownOptions(kind, p) };
  p.end();
  return options;
}

/** Without the properties that all kinds have. */
type Own<K extends Kind> = Omit<
  Extract<NetdevOptions, { kind: K }>,
  "id" | "latency" | "bandwidth" | "loss" | "duplicate" | "reorder" | "seed"
>;

function ownOptions(kind: Kind, p: Properties): { [K in Kind]: Own<K> }[Kind] {
  switch (kind) {
    case "loop":
      return { kind };
    case "peer":
      return { kind, ...optional("link", p.take("link")) };
    case "stream":
      return { kind, server: p.isOn("server"), address: streamAddress(p) };
    case "user": {
      const hostForwards = p.all("hostfwd").map((text) => hostForward(p, text));
      return { kind, restrict: p.isOn("restrict"), ...(hostForwards.length > 0 ? { hostForwards } : {}) };
    }
  }
}

function streamAddress(p: Properties): StreamAddress {
  const type = p.oneOf("addr.type", ["inet", "unix"] as const) ?? p.fail("addr.type= is missing");
  if (type === "unix") return { type, path: p.required("addr.path") };
  const port = p.integer("addr.port", 0, 65535) ?? p.fail("addr.port= is missing");
  return { type, host: p.required("addr.host"), port };
}

/** `[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`. */
function hostForward(p: Properties, text: string): HostForward {
  const match = /^(tcp|udp)?:([0-9.]*):(\d+)-([0-9.]*):(\d+)$/.exec(text);
  if (match === null)
    return p.fail(`hostfwd=${text} must be tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport`);
  const [, protocol, hostAddress, hostPort, guestAddress, guestPort] = match;
  const port = (name: string, value: string | undefined, least: number): number => {
    const number = Number(value);
    return number >= least && number <= 65535
      ? number
      : p.fail(`hostfwd=${text}: ${name} must be ${least} to 65535`);
  };
  return {
    protocol: protocol === "udp" ? "udp" : "tcp",
    hostPort: port("hostport", hostPort, 0),
    guestPort: port("guestport", guestPort, 1),
    ...(hostAddress ? { hostAddress } : {}),
    ...(guestAddress ? { guestAddress } : {}),
  };
}

export function parseFilterDump(text: string): FilterDumpOptions {
  const p = new Properties(`-object ${text}`, text, "qom-type");
  const type = p.required("qom-type");
  if (type !== "filter-dump") p.fail(`${type}: no such object; known is filter-dump`);
  const options = {
    ...optional("id", p.take("id")),
    netdev: p.required("netdev"),
    file: p.required("file"),
    ...optional("maxBytes", p.integer("maxlen", 16, 65536)),
  };
  p.end();
  return options;
}

import { describe, expect, test } from "vitest";
import { parseFilterDump, parseNetdev } from "../../../cli/netdevs.ts";
import { planDumps, planNetdevs } from "../../../hypervisor/netdevs.ts";

describe("-netdev", () => {
  test.each([
    ["loop,id=n", { kind: "loop", id: "n" }],
    ["peer,id=n,link=lan,loss=0.01,seed=7", { kind: "peer", id: "n", link: "lan", loss: 0.01, seed: 7 }],
    [
      "stream,id=n,server=on,addr.type=unix,addr.path=/s,,t",
      { kind: "stream", id: "n", server: true, address: { type: "unix", path: "/s,t" } },
    ],
    [
      "stream,id=n,addr.type=inet,addr.host=127.0.0.1,addr.port=4000",
      { kind: "stream", id: "n", server: false, address: { type: "inet", host: "127.0.0.1", port: 4000 } },
    ],
    [
      "user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.2:53-10.0.2.16:5353",
      {
        kind: "user",
        id: "n",
        restrict: false,
        hostForwards: [
          { protocol: "tcp", hostPort: 2222, guestPort: 22 },
          {
            protocol: "udp",
            hostAddress: "127.0.0.2",
            hostPort: 53,
            guestAddress: "10.0.2.16",
            guestPort: 5353,
          },
        ],
      },
    ],
  ])("%s", (text, options) => expect(parseNetdev(text)).toEqual(options));

  test.each([
    ["tap,id=n", "type=tap must be user, stream, peer or loop"],
    ["loop", "id= is missing"],
    ["loop,id=n,loss=2", "loss=2 must be 0 to 1"],
    ["loop,id=n,hostfwd=tcp::1-:2", "hostfwd= is not known"],
    ["stream,id=n", "addr.type= is missing"],
    ["stream,id=n,addr.type=inet,addr.host=h", "addr.port= is missing"],
    ["user,id=n,hostfwd=22", "must be tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport"],
    ["user,id=n,hostfwd=tcp::99999-:22", "hostport must be 0 to 65535"],
    ["user,id=n,hostfwd=tcp::1-:0", "guestport must be 1 to 65535"],
  ])("%s: %s", (text, message) => expect(() => parseNetdev(text)).toThrow(message));
});

describe("-object filter-dump", () => {
  test("as QEMU spells it", () => {
    expect(parseFilterDump("filter-dump,id=f,netdev=n,file=F,maxlen=96")).toEqual({
      id: "f",
      netdev: "n",
      file: "F",
      maxBytes: 96,
    });
    expect(() => parseFilterDump("rng-random,id=r")).toThrow("no such object");
    expect(() => planDumps([{ netdev: "x", file: "F" }], [])).toThrow("no netdev has that id");
  });
});

describe("plans", () => {
  test("latency and bandwidth are virtual time's; wall time takes the time it takes", () => {
    const netdev = { kind: "loop", id: "n", latency: 5, bandwidth: 100 } as const;
    expect(planNetdevs([netdev], "virtual", 1e9)).toEqual([
      { id: "n", medium: { kind: "loop" }, latencyCycles: 5000, bitsPerSecond: 1e8 },
    ]);
    expect(planNetdevs([netdev], "wall", 1e9)).toMatchObject([{ latencyCycles: 0, bitsPerSecond: 0 }]);
  });

  test("two of a name, too many, no probability", () => {
    const loop = (id: string) => ({ kind: "loop", id }) as const;
    expect(() => planNetdevs([loop("a"), loop("a")], "virtual", 1e9)).toThrow("two of that name");
    const nine = Array.from({ length: 9 }, (_, i) => loop(String(i)));
    expect(() => planNetdevs(nine, "virtual", 1e9)).toThrow("at most 8");
    expect(() => planNetdevs([{ ...loop("a"), loss: NaN }], "virtual", 1e9)).toThrow("probability");
  });
});

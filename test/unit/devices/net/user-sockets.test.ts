import { createSocket } from "node:dgram";
import dns from "node:dns";
import { createConnection, createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { NO_OFFLOAD, be16, be32, putBe16, putBe32 } from "../../../../devices/net/ethernet.ts";
import type { HostPort } from "../../../../devices/net/host-port.ts";
import { UserBackEnd, type UserOptions } from "../../../../devices/net/user/back-end.ts";
import { PAYLOAD_AT, ipFrame, udpDatagram } from "../../../../devices/net/user/packets.ts";
import { DNS_IP, FIRST_GUEST_IP, ROUTER_IP } from "../../../../devices/net/user/stack.ts";
import { MAC_A } from "../../../support/network.ts";

const ROUTER_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
const SYN_FLAG = 2;

/** A guest that speaks in frames. */
class Guest implements HostPort {
  readonly frames: Uint8Array[] = [];
  deliver(frame: Uint8Array): boolean {
    this.frames.push(frame.slice());
    return true;
  }
  now(): number {
    return Date.now() / 1000;
  }
  arm(): void {
    return;
  }
}

const until = async (isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isSo()).toBe(true);
};

let guest: Guest;
let backEnd: UserBackEnd | undefined;
const opened: { close(): void }[] = [];
const open = async (options: UserOptions = {}): Promise<UserBackEnd> => {
  backEnd = new UserBackEnd(guest, options);
  await backEnd.ready;
  return backEnd;
};
beforeEach(() => {
  guest = new Guest();
});
afterEach(() => {
  backEnd?.close();
  for (const one of opened.splice(0)) one.close();
});

const sendIp = (protocol: number, destination: number, payload: Uint8Array): void => {
  const frame = ipFrame({
    fromMac: MAC_A,
    toMac: ROUTER_MAC,
    source: FIRST_GUEST_IP,
    destination,
    protocol,
    identification: 1,
    payloadBytes: payload.length,
  });
  frame.set(payload, PAYLOAD_AT);
  backEnd!.frame(frame, { ...NO_OFFLOAD, checked: true });
};
const sendUdp = (from: number, destination: number, port: number, text: string): void =>
  sendIp(17, destination, udpDatagram(FIRST_GUEST_IP, from, destination, port, Buffer.from(text)));
/** Datagrams that the guest got: from whom, to which port, what. */
const datagrams = (): unknown[] =>
  guest.frames
    .filter((frame) => be16(frame, 12) === 0x0800 && frame[23] === 17)
    .map((frame) => [
      be32(frame, 26),
      be16(frame, PAYLOAD_AT),
      be16(frame, PAYLOAD_AT + 2),
      Buffer.from(frame.subarray(PAYLOAD_AT + 8)).toString(),
    ]);

/** A socket of the host that answers what it gets. */
async function echo(): Promise<number> {
  const socket = createSocket("udp4");
  opened.push(socket);
  socket.on("message", (bytes, { port, address }) => socket.send(`${bytes.toString()}!`, port, address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return socket.address().port;
}

describe("the user network's sockets", () => {
  test("datagrams to the host's loopback are answered from there", async () => {
    const port = await echo();
    await open();
    sendUdp(5555, ROUTER_IP, port, "hello");
    await until(() => datagrams().length === 1);
    expect(datagrams()).toEqual([[ROUTER_IP, port, 5555, "hello!"]]);
  });

  test("names are asked of the name server that the process has", async () => {
    const servers = dns.getServers();
    const port = await echo();
    dns.setServers([`127.0.0.1:${port}`]);
    try {
      await open();
      sendUdp(5556, DNS_IP, 53, "a name");
      await until(() => datagrams().length === 1);
      expect(datagrams()).toEqual([[DNS_IP, 53, 5556, "a name!"]]);
    } finally {
      dns.setServers(servers);
    }
  });

  test("a port of the host leads datagrams to the guest, and its answers come from that port", async () => {
    const { where } = await open({ hostForwards: [{ protocol: "udp", hostPort: 0, guestPort: 7 }] });
    const port = Number(/^udp 127\.0\.0\.1:(\d+) leads to 10\.0\.2\.15:7$/.exec(where)![1]);
    const client = createSocket("udp4");
    opened.push(client);
    const answers: string[] = [];
    client.on("message", (bytes, remote) => answers.push(`${bytes.toString()} from ${remote.port}`));
    // The guest's hardware address is known once it has sent something.
    sendUdp(9, ROUTER_IP, 9, "");
    client.send("knock", port, "127.0.0.1");
    await until(() => datagrams().length === 1);
    const [[from, fromPort, to, text]] = datagrams() as [[number, number, number, string]];
    expect([from, to, text]).toEqual([ROUTER_IP, 7, "knock"]);
    sendUdp(7, ROUTER_IP, fromPort, "who is there");
    await until(() => answers.length === 1);
    expect(answers).toEqual([`who is there from ${port}`]);
  });

  test("a port of the host leads connections to the guest; what the guest refuses is closed", async () => {
    const { where } = await open({ hostForwards: [{ protocol: "tcp", hostPort: 0, guestPort: 22 }] });
    const port = Number(/^tcp 127\.0\.0\.1:(\d+) leads to 10\.0\.2\.15:22$/.exec(where)![1]);
    sendUdp(9, ROUTER_IP, 9, "");
    const client = createConnection(port, "127.0.0.1");
    let isClosed = false;
    client.on("error", () => undefined).on("close", () => (isClosed = true));
    const syn = (): Uint8Array | undefined =>
      guest.frames.find((frame) => frame[23] === 6 && frame[PAYLOAD_AT + 13] === SYN_FLAG);
    await until(() => syn() !== undefined);
    const asked = syn()!;
    expect([be32(asked, 26), be16(asked, PAYLOAD_AT + 2)]).toEqual([ROUTER_IP, 22]);
    const reset = new Uint8Array(20);
    putBe16(reset, 0, 22);
    putBe16(reset, 2, be16(asked, PAYLOAD_AT));
    putBe32(reset, 8, (be32(asked, PAYLOAD_AT + 4) + 1) >>> 0);
    reset.set([0x50, 0x14], 12);
    sendIp(6, ROUTER_IP, reset);
    await until(() => isClosed);
  });

  test("a port that is taken is said", async () => {
    const server = createServer();
    opened.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const at = server.address();
    const hostPort = typeof at === "object" && at !== null ? at.port : 0;
    await expect(open({ hostForwards: [{ protocol: "tcp", hostPort, guestPort: 1 }] })).rejects.toThrow(
      /EADDRINUSE/,
    );
  });
});

import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { checksum, pseudoHeader } from "../../../../devices/net/checksum.ts";
import { NO_OFFLOAD, be16, be32, putBe16, putBe32 } from "../../../../devices/net/ethernet.ts";
import type { HostPort } from "../../../../devices/net/host-port.ts";
import { DhcpServer } from "../../../../devices/net/user/dhcp.ts";
import {
  PAYLOAD_AT,
  ipFrame,
  leaveChecksum,
  parseIp,
  udpDatagram,
} from "../../../../devices/net/user/packets.ts";
import {
  DNS_IP,
  FIRST_GUEST_IP,
  ROUTER_IP,
  UserStack,
  type Destination,
  type Outside,
  type OutsideStream,
  type OutsideStreamEvents,
} from "../../../../devices/net/user/stack.ts";
import { ACK, FIN, RST, SYN } from "../../../../devices/net/user/tcp.ts";
import type { FrameOffload } from "../../../../devices/ports.ts";
import { BROADCAST, MAC_A, frameOf } from "../../../support/network.ts";

const ROUTER_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);

class Guest implements HostPort {
  frames: { readonly bytes: Uint8Array; readonly offload: FrameOffload }[] = [];
  seconds = 1;
  armedAt: number | undefined;
  deliver(bytes: Uint8Array, offload: FrameOffload): boolean {
    this.frames.push({ bytes: bytes.slice(), offload });
    return true;
  }
  now(): number {
    return this.seconds;
  }
  arm(seconds: number): void {
    this.armedAt = seconds;
  }
  take(): Uint8Array[] {
    return this.frames.splice(0).map(({ bytes }) => bytes);
  }
}

class FakeStream implements OutsideStream {
  readonly written: Uint8Array[] = [];
  events: OutsideStreamEvents | undefined;
  state: "open" | "ended" | "destroyed" = "open";
  isPaused = false;
  waiting = 0;
  write(bytes: Uint8Array): void {
    this.written.push(bytes);
  }
  end(): void {
    if (this.state === "open") this.state = "ended";
  }
  destroy(): void {
    this.state = "destroyed";
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
}

class FakeOutside implements Outside {
  readonly connections: { readonly to: Destination; readonly stream: FakeStream }[] = [];
  readonly datagrams: {
    readonly from: { readonly ip: number; readonly port: number };
    readonly to: Destination;
    readonly bytes: Uint8Array;
  }[] = [];
  connect(to: Destination, events: OutsideStreamEvents): OutsideStream {
    const stream = new FakeStream();
    stream.events = events;
    this.connections.push({ to, stream });
    return stream;
  }
  send(from: { readonly ip: number; readonly port: number }, to: Destination, bytes: Uint8Array): void {
    this.datagrams.push({ from, to, bytes });
  }
}

let guest: Guest;
let outside: FakeOutside;
let stack: UserStack;
beforeEach(() => {
  guest = new Guest();
  outside = new FakeOutside();
  stack = new UserStack(guest, outside, { restrict: false });
});

const ip = (
  protocol: number,
  destination: number,
  payload: Uint8Array,
  source = FIRST_GUEST_IP,
): Uint8Array => {
  const frame = ipFrame({
    fromMac: MAC_A,
    toMac: ROUTER_MAC,
    source,
    destination,
    protocol,
    identification: 7,
    payloadBytes: payload.length,
  });
  frame.set(payload, PAYLOAD_AT);
  return frame;
};
const send = (frame: Uint8Array, offload = NO_OFFLOAD): void => stack.frame(frame, offload);
const udp = (port: number, destination: number, data: Uint8Array, from = 5555): Uint8Array =>
  ip(17, destination, udpDatagram(FIRST_GUEST_IP, from, destination, port, data));

interface Tcp {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly data?: Uint8Array;
  readonly port?: number;
  readonly from?: number;
  readonly options?: readonly number[];
}
function tcp(destination: number, s: Tcp): Uint8Array {
  const options = s.options ?? [];
  const data = s.data ?? new Uint8Array(0);
  const payload = new Uint8Array(20 + options.length + data.length);
  putBe16(payload, 0, s.from ?? 1234);
  putBe16(payload, 2, s.port ?? 80);
  putBe32(payload, 4, s.sequence ?? 0);
  putBe32(payload, 8, s.acknowledgement ?? 0);
  payload[12] = ((20 + options.length) / 4) << 4;
  payload[13] = s.flags;
  putBe16(payload, 14, 60000);
  payload.set(options, 20);
  payload.set(data, 20 + options.length);
  const frame = ip(6, destination, payload);
  leaveChecksum(frame, 6, 16);
  putBe16(frame, PAYLOAD_AT + 16, checksum(frame, PAYLOAD_AT, frame.length));
  return frame;
}
const fields = (frame: Uint8Array) => ({
  flags: frame[PAYLOAD_AT + 13],
  sequence: be32(frame, PAYLOAD_AT + 4),
  acknowledgement: be32(frame, PAYLOAD_AT + 8),
  data: Buffer.from(frame.subarray(PAYLOAD_AT + (frame[PAYLOAD_AT + 12]! >> 4) * 4)).toString("latin1"),
});

/** A DHCP message. */
function dhcp(type: number, more: readonly number[] = [], mac: Uint8Array = MAC_A): Uint8Array {
  const message = new Uint8Array(300);
  message.set([1, 1, 6, 0, 0xaa, 0xbb, 0xcc, 0xdd]);
  message.set(mac, 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...more, 255], 236);
  return message;
}

describe("ARP and pings", () => {
  const arp = (target: number): Uint8Array => {
    const frame = frameOf(BROADCAST, MAC_A, 42, 0x0806);
    frame.set([0, 1, 8, 0, 6, 4, 0, 1], 14);
    frame.set(MAC_A, 22);
    putBe32(frame, 28, FIRST_GUEST_IP);
    frame.fill(0, 32, 38);
    putBe32(frame, 38, target);
    return frame;
  };

  test("the router and the name server answer, nobody else", () => {
    for (const target of [ROUTER_IP, DNS_IP, FIRST_GUEST_IP, 0x08080808]) send(arp(target));
    const replies = guest.take();
    expect(replies.map((frame) => be32(frame, 28))).toEqual([ROUTER_IP, DNS_IP]);
    expect([...replies[0]!.subarray(0, 12)]).toEqual([...MAC_A, ...ROUTER_MAC]);
  });

  test("an echo comes back; one with a wrong checksum does not", () => {
    const echo = new Uint8Array(64).fill(0x61);
    echo.set([8, 0, 0, 0, 0x12, 0x34, 0, 1]);
    putBe16(echo, 2, checksum(echo, 0, echo.length));
    send(ip(1, ROUTER_IP, echo));
    const [reply] = guest.take() as [Uint8Array];
    expect([reply[PAYLOAD_AT], checksum(reply, PAYLOAD_AT, reply.length), checksum(reply, 14, 34)]).toEqual([
      0, 0, 0,
    ]);
    expect(reply.subarray(PAYLOAD_AT + 8)).toEqual(echo.subarray(8));
    echo[20] = 0;
    send(ip(1, ROUTER_IP, echo));
    const broken = ip(1, ROUTER_IP, echo);
    broken[22] = 1;
    send(broken);
    expect(guest.take()).toEqual([]);
  });
});

describe("DHCP", () => {
  const options = {
    server: ROUTER_IP,
    dns: DNS_IP,
    netmask: 0xffffff00,
    firstAddress: FIRST_GUEST_IP,
    addresses: 3,
  };

  test("offer and acknowledgement by broadcast, with router, mask and name server", () => {
    for (const [type, more] of [
      [1, []],
      [3, [50, 4, 10, 0, 2, 15]],
    ] as const) {
      const frame = ip(17, 0xffffffff, udpDatagram(0, 68, 0xffffffff, 67, dhcp(type, more)), 0);
      frame.set(BROADCAST);
      send(frame);
    }
    const replies = guest.take();
    expect(replies.map((frame) => frame[PAYLOAD_AT + 8 + 242])).toEqual([2, 5]);
    for (const frame of replies) {
      expect([be16(frame, PAYLOAD_AT), be16(frame, PAYLOAD_AT + 2)]).toEqual([67, 68]);
      expect(be32(frame, PAYLOAD_AT + 8 + 16)).toBe(FIRST_GUEST_IP);
      expect(
        checksum(frame, PAYLOAD_AT, frame.length, pseudoHeader(frame, 26, 8, 17, frame.length - PAYLOAD_AT)),
      ).toBe(0);
      const text = Buffer.from(frame.subarray(PAYLOAD_AT + 8 + 240)).toString("latin1");
      for (const option of [
        "\x01\x04\xff\xff\xff\x00",
        "\x03\x04\x0a\x00\x02\x02",
        "\x06\x04\x0a\x00\x02\x03",
      ])
        expect(text).toContain(option);
    }
  });

  test("an address for each station, the same each time, and no more than there are", () => {
    const server = new DhcpServer(options);
    const station = (i: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 0, i);
    const address = (i: number): number | undefined => server.reply(dhcp(1, [], station(i)))?.address;
    expect([0, 1, 0, 2, 3, 1].map(address)).toEqual(
      [0, 1, 0, 2, undefined, 1].map((i) => (i === undefined ? undefined : FIRST_GUEST_IP + i)),
    );
  });

  test("a request for another address, or another server's, is refused or left alone", () => {
    const server = new DhcpServer(options);
    const answer = server.reply(dhcp(3, [50, 4, 10, 0, 2, 99]))!.message;
    expect([answer[242], be32(answer, 16)]).toEqual([6, 0]);
    expect(server.reply(dhcp(3, [54, 4, 10, 0, 2, 77]))).toBeUndefined();
    expect(server.reply(dhcp(8))!.message[242]).toBe(5);
  });

  test("malformed messages are ignored", () => {
    const server = new DhcpServer(options);
    const good = dhcp(1);
    const broken = (change: (message: Uint8Array) => Uint8Array | undefined): void => {
      const copy = good.slice();
      expect(server.reply(change(copy) ?? copy)).toBeUndefined();
    };
    broken((message) => message.subarray(0, 239));
    broken((message) => void (message[0] = 2));
    broken((message) => void (message[2] = 16));
    broken((message) => void (message[236] = 0));
    broken((message) => void message.fill(52, 243)); // options that run over the end
    broken((message) => void (message[242] = 99));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const message = good.slice();
        message.set(bytes.subarray(0, 60), 240);
        server.reply(message);
        server.reply(bytes);
      }),
    );
  });
});

describe("UDP", () => {
  test("goes out to the host's loopback, the name server, the world; answers come back from there", () => {
    send(udp(7, ROUTER_IP, Buffer.from("a")));
    send(udp(53, DNS_IP, Buffer.from("b")));
    send(udp(9, parseIp("192.0.2.1")!, Buffer.from("c")));
    expect(
      outside.datagrams.map(({ to, bytes }) => [to.host, to.port, Buffer.from(bytes).toString()]),
    ).toEqual([
      ["loopback", 7, "a"],
      ["dns", 53, "b"],
      [parseIp("192.0.2.1"), 9, "c"],
    ]);
    stack.datagram({ host: "dns", port: 53 }, outside.datagrams[1]!.from, Buffer.from("answer"));
    const [reply] = guest.take() as [Uint8Array];
    expect([be32(reply, 26), be16(reply, PAYLOAD_AT), be16(reply, PAYLOAD_AT + 2)]).toEqual([
      DNS_IP,
      53,
      5555,
    ]);
  });

  test("a large answer comes in fragments", () => {
    send(udp(7, ROUTER_IP, Buffer.from("a")));
    stack.datagram({ host: "loopback", port: 7 }, { ip: FIRST_GUEST_IP, port: 5555 }, new Uint8Array(4000));
    const frames = guest.take();
    expect(frames.map((frame) => [be16(frame, 20), be16(frame, 16)])).toEqual([
      [0x2000, 1500],
      [0x2000 | 185, 1500],
      [370, 20 + 4008 - 2960],
    ]);
  });

  test("what may not go out is answered as unreachable: a restricted network, other stations", () => {
    stack = new UserStack(guest, outside, { restrict: true });
    send(udp(7, ROUTER_IP, Buffer.from("a")));
    const [reply] = guest.take() as [Uint8Array];
    expect([reply[23], reply[PAYLOAD_AT], reply[PAYLOAD_AT + 1]]).toEqual([1, 3, 13]);
    expect(outside.datagrams).toEqual([]);
  });

  test("wrong lengths and checksums are dropped", () => {
    const bad = udp(7, ROUTER_IP, Buffer.from("abc"));
    bad[bad.length - 1]! ^= 1;
    send(bad);
    for (const length of [0, 7, 100]) {
      const frame = udp(7, ROUTER_IP, Buffer.from("abc"));
      putBe16(frame, PAYLOAD_AT + 4, length);
      putBe16(frame, PAYLOAD_AT + 6, 0);
      send(frame);
    }
    expect(outside.datagrams).toEqual([]);
  });
});

describe("TCP", () => {
  /** Opens a connection of the guest's to the host's port 80. */
  const open = (): FakeStream => {
    send(tcp(ROUTER_IP, { flags: SYN, sequence: 100, options: [2, 4, 5, 0xb4, 1, 3, 3, 7] }));
    const { stream } = outside.connections[outside.connections.length - 1]!;
    expect(guest.take()).toEqual([]);
    stream.events!.connected();
    const [answer] = guest.take() as [Uint8Array];
    expect(fields(answer)).toMatchObject({ flags: SYN | ACK, acknowledgement: 101 });
    const acknowledgement = fields(answer).sequence + 1;
    send(tcp(ROUTER_IP, { flags: ACK, sequence: 101, acknowledgement }));
    sequence = acknowledgement;
    return stream;
  };
  let sequence = 0;

  test("the guest connects, data go both ways, both sides end", () => {
    const stream = open();
    expect(outside.connections[0]!.to).toEqual({ host: "loopback", port: 80 });
    send(
      tcp(ROUTER_IP, { flags: ACK, sequence: 101, acknowledgement: sequence, data: Buffer.from("hello") }),
    );
    expect(Buffer.concat(stream.written).toString()).toBe("hello");
    stream.events!.data(Buffer.from("world"));
    expect(fields(guest.take().pop()!)).toMatchObject({ data: "world", acknowledgement: 106 });
    stream.events!.ended();
    expect(fields(guest.take().pop()!).flags! & FIN).toBe(FIN);
    send(tcp(ROUTER_IP, { flags: FIN | ACK, sequence: 106, acknowledgement: sequence + 6 }));
    expect([stream.state, fields(guest.take().pop()!).acknowledgement]).toEqual(["ended", 107]);
    guest.seconds += 11;
    stack.timer();
    expect(stack.connections).toBe(0);
  });

  test("large data are one frame with segmentation left to be done", () => {
    const stream = open();
    stream.events!.data(new Uint8Array(10_000));
    const [first] = guest.frames;
    expect([first!.offload.segmentBytes, first!.offload.segmentation, first!.bytes.length]).toEqual([
      1460,
      4,
      54 + 10_000,
    ]);
  });

  test("a connection that the outside refuses is reset", () => {
    send(tcp(ROUTER_IP, { flags: SYN, sequence: 100 }));
    outside.connections[0]!.stream.events!.closed(true);
    expect(fields((guest.take() as [Uint8Array])[0])).toMatchObject({
      flags: RST | ACK,
      acknowledgement: 101,
    });
    expect(stack.connections).toBe(0);
  });

  test("segments of no connection are reset; resets are not", () => {
    send(tcp(ROUTER_IP, { flags: ACK, sequence: 5, acknowledgement: 9 }));
    send(tcp(ROUTER_IP, { flags: RST, sequence: 5 }));
    expect(guest.take().map(fields)).toMatchObject([{ flags: RST, sequence: 9 }]);
  });

  test("the outside is paused while the guest does not keep up", () => {
    const stream = open();
    stream.events!.data(new Uint8Array(300_000));
    expect(stream.isPaused).toBe(true);
    for (let i = 0; i < 20; i++) {
      const last = guest.take().pop();
      if (last === undefined) break;
      const { sequence: at, data } = fields(last);
      send(tcp(ROUTER_IP, { flags: ACK, sequence: 101, acknowledgement: (at + data.length) >>> 0 }));
    }
    expect(stream.isPaused).toBe(false);
  });

  test("segments whose checksum or lengths are wrong are dropped, whatever they say", () => {
    const stream = open();
    const segment = (): Uint8Array =>
      tcp(ROUTER_IP, { flags: ACK, sequence: 101, acknowledgement: sequence, data: Buffer.from("hello") });
    const refresh = (frame: Uint8Array): Uint8Array => {
      putBe16(frame, 24, 0);
      putBe16(frame, 24, checksum(frame, 14, 34));
      return frame;
    };
    const wrong: ((frame: Uint8Array) => void)[] = [
      (frame) => (frame[frame.length - 1]! ^= 0x20), // data
      (frame) => (frame[PAYLOAD_AT + 7]! ^= 1), // sequence number
      (frame) => (frame[25]! ^= 1), // the IP header's own checksum
      (frame) => refresh((putBe16(frame, 16, frame.length), frame)), // a packet longer than its frame
      (frame) => refresh((putBe16(frame, 16, 19), frame)), // shorter than its header
      (frame) => refresh((frame.fill(0x4f, 14, 15), frame)), // a header into the data
      (frame) => refresh((frame.fill(0x65, 14, 15), frame)), // IPv6 in an IPv4 frame
    ];
    for (const change of wrong) {
      const frame = segment();
      change(frame);
      send(frame);
    }
    // Header lengths that TCP does not have, with everything else right: by a card that leaves checksums undone.
    for (const words of [0, 4, 15]) {
      const frame = segment();
      frame[PAYLOAD_AT + 12] = words << 4;
      send(frame, { ...NO_OFFLOAD, checked: true });
    }
    expect([stream.written, stream.state, guest.take()]).toEqual([[], "open", []]);
    send(segment());
    expect(Buffer.concat(stream.written).toString()).toBe("hello");
  });

  test("a reset from either side reaches the other", () => {
    const stream = open();
    send(tcp(ROUTER_IP, { flags: RST, sequence: 101 }));
    expect([stream.state, stack.connections]).toEqual(["destroyed", 0]);
    const other = open();
    other.events!.closed(true);
    expect(fields(guest.take().pop()!).flags! & RST).toBe(RST);
  });

  test("a port of the host leads to the guest", () => {
    send(udp(7, ROUTER_IP, Buffer.from("learn my address")));
    const stream = new FakeStream();
    const events = stack.openInwards(FIRST_GUEST_IP, 22, stream)!;
    const [syn] = guest.take() as [Uint8Array];
    expect([fields(syn).flags, be16(syn, PAYLOAD_AT + 2), stream.isPaused]).toEqual([SYN, 22, true]);
    const port = be16(syn, PAYLOAD_AT);
    send(
      tcp(ROUTER_IP, {
        flags: SYN | ACK,
        from: 22,
        port,
        sequence: 500,
        acknowledgement: fields(syn).sequence + 1,
      }),
    );
    expect(stream.isPaused).toBe(false);
    events.data(Buffer.from("in"));
    expect(fields(guest.take().pop()!)).toMatchObject({ data: "in", acknowledgement: 501 });
  });

  test("a connection to a station that is not there yet is asked for as soon as it is", () => {
    const stream = new FakeStream();
    stack.openInwards(FIRST_GUEST_IP, 22, stream);
    // Only the question where the station is.
    expect(guest.take().map((frame) => be16(frame, 12))).toEqual([0x0806]);
    for (const seconds of [1.1, 3.2, 7.3]) {
      guest.seconds = 1 + seconds;
      stack.timer();
    }
    expect(guest.take().map((frame) => be16(frame, 12))).toEqual([0x0806, 0x0806, 0x0806]);
    guest.seconds = 8.5;
    send(udp(9, ROUTER_IP, new Uint8Array(0)));
    expect(guest.take().map((frame) => fields(frame).flags)).toEqual([SYN]);
    expect(guest.armedAt).toBeCloseTo(9.5);
    send(udp(9, ROUTER_IP, new Uint8Array(0)));
    expect(guest.take()).toEqual([]);
  });

  test("connections are bounded", () => {
    for (let i = 0; i < 300; i++) send(tcp(ROUTER_IP, { flags: SYN, sequence: 1, from: 1000 + i }));
    expect([outside.connections.length, stack.connections]).toEqual([256, 256]);
    expect(guest.take().map((frame) => fields(frame).flags)).toEqual(new Array(44).fill(RST | ACK));
    stack.close();
    expect(outside.connections.every(({ stream }) => stream.state === "destroyed")).toBe(true);
  });
});

describe("hostile frames", () => {
  test("nothing that a guest sends throws or makes the network grow", () => {
    const base = [
      () => tcp(ROUTER_IP, { flags: SYN, sequence: 1, options: [2, 4, 5, 0xb4] }),
      () => tcp(ROUTER_IP, { flags: ACK, sequence: 2, acknowledgement: 3, data: Buffer.from("x") }),
      () => udp(7, ROUTER_IP, Buffer.from("abc")),
      () => ip(17, 0xffffffff, udpDatagram(0, 68, 0xffffffff, 67, dhcp(1)), 0),
      () => ip(1, ROUTER_IP, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0)),
      () => frameOf(BROADCAST, MAC_A, 42, 0x0806),
    ];
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            kind: fc.nat(base.length - 1),
            changes: fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 }),
            cut: fc.option(fc.nat(80), { freq: 5 }),
            // Checksums are right or left to be completed, else little gets past them.
            unchecked: fc.boolean(),
          }),
          { maxLength: 40 },
        ),
        (steps) => {
          stack = new UserStack(guest, outside, { restrict: false });
          for (const { kind, changes, cut, unchecked } of steps) {
            let frame = base[kind]!();
            for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
            if (frame.length >= 34) {
              putBe16(frame, 24, 0);
              putBe16(frame, 24, checksum(frame, 14, 34));
            }
            if (cut !== null) frame = frame.slice(0, cut);
            send(frame, unchecked ? { ...NO_OFFLOAD, checked: true } : NO_OFFLOAD);
            for (const { stream } of outside.connections.splice(0)) stream.events!.connected();
          }
          guest.seconds += 100;
          stack.timer();
          expect(stack.connections).toBeLessThanOrEqual(256);
          guest.frames.length = outside.datagrams.length = 0;
        },
      ),
      { numRuns: 200 },
    );
  });
});

/**
 * A network of its own for one machine, as QEMU's user networking lays it out: 10.0.2.0/24 with a router at 10.0.2.2, which also stands
 * for the host's loopback, and a name server at 10.0.2.3. It answers ARP, DHCP and pings by itself and leads TCP and UDP to the outside, which
 * is handed in: it knows no sockets.
 *
 * Everything is bounded: stations, connections, datagram flows, bytes that wait. Not here: IPv6, datagrams in fragments from the
 * guest, pings beyond the router.
 */
import type { FrameOffload } from "../../ports.ts";
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  MAC_BYTES,
  NO_OFFLOAD,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  be16,
  be32,
  isBroadcast,
  isGroupAddress,
  putBe16,
  putBe32,
  sameMac,
} from "../ethernet.ts";
import { checksum } from "../checksum.ts";
import type { HostPort } from "../host-port.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer } from "./dhcp.ts";
import {
  BROADCAST_IP,
  IP_HEADER_BYTES,
  PAYLOAD_AT,
  TCP_HEADER_BYTES,
  UDP_HEADER_BYTES,
  ipFrame,
  leaveChecksum,
  readIp,
  udpDatagram,
  type IpPacket,
} from "./packets.ts";
import { ACK, RST, SYN, TcpConnection, type TcpSegment } from "./tcp.ts";

const NETWORK = 0x0a000200;
const NETMASK = 0xffffff00;
/** The router, and the host's loopback. */
export const ROUTER_IP = 0x0a000202;
export const DNS_IP = 0x0a000203;
/** What DHCP gives to the first station. */
export const FIRST_GUEST_IP = 0x0a00020f;
const MOST_STATIONS = 16;
const DNS_PORT = 53;
const ROUTER_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);

const MOST_CONNECTIONS = 256;
const SEGMENT_BYTES = 1460;
/** Bytes that wait for the outside before the guest's window closes. */
const RECEIVE_ROOM = 1 << 18;
/** Bytes that wait for the guest before the outside is asked to pause, and to go on. */
const PAUSE_AT = 1 << 18;
const RESUME_AT = 1 << 17;
const MOST_FRAGMENT_BYTES = 1480;

/** A stream connection on the outside. */
export interface OutsideStream {
  write(bytes: Uint8Array): void;
  /** An end after what was written. */
  end(): void;
  destroy(): void;
  pause(): void;
  resume(): void;
  /** Bytes written that wait. */
  readonly waiting: number;
}

export interface OutsideStreamEvents {
  connected(): void;
  data(bytes: Uint8Array): void;
  /** The other side has sent its last. */
  ended(): void;
  /** It is over; `isReset`: not in order, or never was. */
  closed(isReset: boolean): void;
  /** What waited has gone. */
  drained(): void;
}

/** Where an address of the user network leads. */
export interface Destination {
  /** `loopback`: the host; `dns`: its name server; else an IPv4 address. */
  readonly host: "loopback" | "dns" | number;
  readonly port: number;
}

/** The outside: sockets, or what a test puts in their place. */
export interface Outside {
  connect(to: Destination, events: OutsideStreamEvents): OutsideStream;
  /** Sends a datagram of the guest's port; answers come by `UserStack.datagram` with the same station and port. */
  send(from: { readonly ip: number; readonly port: number }, to: Destination, bytes: Uint8Array): void;
}

interface Connection {
  readonly key: string;
  readonly guest: number;
  readonly tcp: TcpConnection;
  outside: OutsideStream | undefined;
  isPaused: boolean;
  isConnected: boolean;
}

export interface UserStackOptions {
  readonly restrict: boolean;
}

export class UserStack {
  readonly #port: HostPort;
  readonly #outside: Outside;
  readonly #options: UserStackOptions;
  readonly #dhcp = new DhcpServer({
    server: ROUTER_IP,
    dns: DNS_IP,
    netmask: NETMASK,
    firstAddress: FIRST_GUEST_IP,
    addresses: MOST_STATIONS,
  });
  /** Hardware addresses by IP, learnt from what the stations send. */
  readonly #stations = new Map<number, Uint8Array>();
  readonly #connections = new Map<string, Connection>();
  #identification = 0;
  #sequence = 0x10000000;
  #nextPort = 49152;

  constructor(port: HostPort, outside: Outside, options: UserStackOptions) {
    this.#port = port;
    this.#outside = outside;
    this.#options = options;
  }

  get connections(): number {
    return this.#connections.size;
  }

  // --- frames

  /** A frame from the guest. What is malformed, or not for this network, is dropped. */
  frame(bytes: Uint8Array, offload: FrameOffload): void {
    if (bytes.length < ETHERNET_HEADER_BYTES || isGroupAddress(bytes, MAC_BYTES)) return;
    if (!isBroadcast(bytes) && !sameMac(bytes, 0, ROUTER_MAC, 0)) return;
    switch (be16(bytes, 12)) {
      case ETHERTYPE_ARP:
        this.#arp(bytes);
        return;
      case ETHERTYPE_IPV4: {
        const packet = readIp(bytes, offload);
        if (packet !== undefined) this.#ip(packet, bytes.slice(MAC_BYTES, 2 * MAC_BYTES));
      }
    }
  }

  #learn(ip: number, mac: Uint8Array): void {
    const isHere = (ip & NETMASK) >>> 0 === NETWORK && ip !== ROUTER_IP && ip !== DNS_IP;
    if (!isHere) return;
    const isNew = !this.#stations.has(ip);
    if (isNew && this.#stations.size >= 2 * MOST_STATIONS) return;
    this.#stations.set(ip, mac);
    if (!isNew) return;
    for (const { guest, tcp } of [...this.#connections.values()]) if (guest === ip) tcp.askAgain();
    this.#armTimer();
  }

  #arp(frame: Uint8Array): void {
    const at = ETHERNET_HEADER_BYTES;
    if (frame.length < at + 28 || be32(frame, at) !== 0x00010800 || be16(frame, at + 4) !== 0x0604) return;
    const operation = be16(frame, at + 6);
    const sender = be32(frame, at + 14);
    const target = be32(frame, at + 24);
    this.#learn(sender, frame.slice(at + 8, at + 14));
    if (operation === 1 && (target === ROUTER_IP || target === DNS_IP))
      this.#sendArp(2, target, sender, frame.slice(at + 8, at + 14));
  }

  #sendArp(operation: 1 | 2, sender: number, target: number, targetMac: Uint8Array | undefined): void {
    const at = ETHERNET_HEADER_BYTES;
    const frame = new Uint8Array(at + 28);
    frame.set(targetMac ?? new Uint8Array(MAC_BYTES).fill(0xff));
    frame.set(ROUTER_MAC, MAC_BYTES);
    putBe16(frame, 12, ETHERTYPE_ARP);
    putBe32(frame, at, 0x00010800);
    putBe16(frame, at + 4, 0x0604);
    putBe16(frame, at + 6, operation);
    frame.set(ROUTER_MAC, at + 8);
    putBe32(frame, at + 14, sender);
    if (targetMac) frame.set(targetMac, at + 18);
    putBe32(frame, at + 24, target);
    this.#port.deliver(frame, NO_OFFLOAD);
  }

  #ip(packet: IpPacket, mac: Uint8Array): void {
    if (packet.isFragment) return;
    if (packet.protocol === PROTOCOL_UDP && packet.payload.length >= UDP_HEADER_BYTES) {
      const isDhcp = be16(packet.payload, 2) === DHCP_SERVER_PORT;
      if (isDhcp && (packet.destination === BROADCAST_IP || packet.destination === ROUTER_IP)) {
        this.#answerDhcp(packet, mac);
        return;
      }
    }
    this.#learn(packet.source, mac);
    if ((packet.source & NETMASK) >>> 0 !== NETWORK) return;
    switch (packet.protocol) {
      case PROTOCOL_ICMP:
        this.#icmp(packet);
        return;
      case PROTOCOL_UDP:
        this.#udp(packet);
        return;
      case PROTOCOL_TCP:
        this.#tcp(packet);
    }
  }

  #answerDhcp(packet: IpPacket, mac: Uint8Array): void {
    const reply = this.#dhcp.reply(packet.payload.subarray(UDP_HEADER_BYTES));
    if (reply === undefined) return;
    const datagram = udpDatagram(ROUTER_IP, DHCP_SERVER_PORT, BROADCAST_IP, DHCP_CLIENT_PORT, reply.message);
    this.#learn(reply.address, mac);
    // To the station's hardware address: it has no other yet, and the IP address is everybody's.
    this.#sendIp(ROUTER_IP, BROADCAST_IP, PROTOCOL_UDP, datagram, mac);
  }

  /** Sends a datagram in as many frames as it needs. */
  #sendIp(
    source: number,
    destination: number,
    protocol: number,
    datagram: Uint8Array,
    toMac?: Uint8Array,
  ): void {
    const identification = (this.#identification = (this.#identification + 1) & 0xffff);
    const mac = toMac ?? this.#macOf(destination);
    if (mac === undefined) return;
    for (let offset = 0; offset < datagram.length; offset += MOST_FRAGMENT_BYTES) {
      const part = datagram.subarray(offset, offset + MOST_FRAGMENT_BYTES);
      const more = offset + part.length < datagram.length;
      const frame = ipFrame({
        fromMac: ROUTER_MAC,
        toMac: mac,
        source,
        destination,
        protocol,
        identification,
        payloadBytes: part.length,
        ...(more || offset > 0 ? { fragment: { offset, more } } : {}),
      });
      frame.set(part, PAYLOAD_AT);
      this.#port.deliver(frame, NO_OFFLOAD);
    }
  }

  /** A station's hardware address; when it is not known it is asked for, and what was to be sent is lost. */
  #macOf(ip: number): Uint8Array | undefined {
    const mac = this.#stations.get(ip);
    if (mac === undefined) this.#sendArp(1, ROUTER_IP, ip, undefined);
    return mac;
  }

  // --- ICMP: RFC 792

  #icmp({ source, destination, payload }: IpPacket): void {
    const isEcho = payload.length >= 8 && payload[0] === 8 && payload[1] === 0;
    if (!isEcho || checksum(payload, 0, payload.length) !== 0) return;
    if (destination !== ROUTER_IP && destination !== DNS_IP) return;
    const reply = payload.slice();
    reply[0] = 0;
    putBe16(reply, 2, 0);
    putBe16(reply, 2, checksum(reply, 0, reply.length));
    this.#sendIp(destination, source, PROTOCOL_ICMP, reply);
  }

  /** "Destination unreachable", with the beginning of what was sent. */
  #unreachable({ source, destination, whole }: IpPacket, code: number): void {
    const quoted = whole.subarray(0, IP_HEADER_BYTES + 8);
    const message = new Uint8Array(8 + quoted.length);
    message[0] = 3;
    message[1] = code;
    message.set(quoted, 8);
    putBe16(message, 2, checksum(message, 0, message.length));
    this.#sendIp(destination, source, PROTOCOL_ICMP, message);
  }

  // --- where addresses lead

  #destinationOf(ip: number, port: number): Destination | undefined {
    if (this.#options.restrict) return undefined;
    if (ip === ROUTER_IP) return { host: "loopback", port };
    if (ip === DNS_IP) return port === DNS_PORT ? { host: "dns", port } : undefined;
    // Stations of this network are reached without a router, groups not at all; 0/8 and 127/8 lead nowhere.
    const first = ip >>> 24;
    if ((ip & NETMASK) >>> 0 === NETWORK || first >= 224 || first === 0 || first === 127) return undefined;
    return { host: ip, port };
  }

  // --- UDP: RFC 768

  #udp(packet: IpPacket): void {
    const { payload, source, destination } = packet;
    if (payload.length < UDP_HEADER_BYTES) return;
    const length = be16(payload, 4);
    if (length < UDP_HEADER_BYTES || length > payload.length) return;
    const to = this.#destinationOf(destination, be16(payload, 2));
    const answers = this.#isForwarded(source, be16(payload, 0), destination, be16(payload, 2));
    if (to === undefined && !answers) {
      if (!isGroupIp(destination)) this.#unreachable(packet, 13);
      return;
    }
    const from = { ip: source, port: be16(payload, 0) };
    const target = to ?? { host: "loopback", port: be16(payload, 2) };
    this.#outside.send(from, target, payload.slice(UDP_HEADER_BYTES, length));
  }

  /** Flows that a forwarded port began may be answered whatever is restricted: by guest's end and outside's port. */
  readonly #forwarded = new Set<string>();

  #isForwarded(guest: number, guestPort: number, ip: number, port: number): boolean {
    return ip === ROUTER_IP && this.#forwarded.has(`${guest}:${guestPort} ${port}`);
  }

  /** A datagram for a station's port, from an address of the outside. */
  datagram(from: Destination, to: { readonly ip: number; readonly port: number }, bytes: Uint8Array): void {
    if (bytes.length > 65507) return;
    const source = from.host === "loopback" ? ROUTER_IP : from.host === "dns" ? DNS_IP : from.host;
    if (from.host === "loopback") {
      if (this.#forwarded.size >= MOST_CONNECTIONS) this.#forwarded.clear();
      this.#forwarded.add(`${to.ip}:${to.port} ${from.port}`);
    }
    this.#sendIp(source, to.ip, PROTOCOL_UDP, udpDatagram(source, from.port, to.ip, to.port, bytes));
  }

  // --- TCP

  #tcp(packet: IpPacket): void {
    const { payload, source, destination } = packet;
    if (payload.length < TCP_HEADER_BYTES) return;
    const headerBytes = (payload[12]! >> 4) * 4;
    if (headerBytes < TCP_HEADER_BYTES || headerBytes > payload.length) return;
    const guestPort = be16(payload, 0);
    const port = be16(payload, 2);
    const segment: TcpSegment = {
      sequence: be32(payload, 4),
      acknowledgement: be32(payload, 8),
      flags: payload[13]! & 0x3f,
      window: be16(payload, 14),
      options: payload.subarray(TCP_HEADER_BYTES, headerBytes),
      data: payload.subarray(headerBytes),
    };
    const key = keyOf(source, guestPort, destination, port);
    const known = this.#connections.get(key);
    if (known !== undefined) {
      // Until the outside has answered, a SYN that comes again changes nothing.
      if (known.tcp.state !== "closed") known.tcp.receive(segment);
      else if (segment.flags & RST) this.#drop(known);
      this.#armTimer();
      return;
    }
    if (segment.flags & RST) return;
    const to = this.#destinationOf(destination, port);
    const opens = (segment.flags & (SYN | ACK)) === SYN;
    if (!opens || to === undefined || this.#connections.size >= MOST_CONNECTIONS) {
      this.#refuse(source, guestPort, destination, port, segment);
      return;
    }
    this.#openOutwards(key, source, guestPort, destination, port, segment, to);
  }

  /** The guest asks; it is answered when the outside has. */
  #openOutwards(
    key: string,
    guest: number,
    guestPort: number,
    ip: number,
    port: number,
    syn: TcpSegment,
    to: Destination,
  ): void {
    const kept = { ...syn, options: syn.options.slice(), data: syn.data.slice() };
    const connection = this.#connection(key, guest, guestPort, ip, port);
    connection.outside = this.#outside.connect(to, {
      ...this.#outsideEvents(connection),
      connected: () => {
        connection.isConnected = true;
        connection.tcp.accept(kept);
        this.#armTimer();
      },
      closed: (isReset) => {
        if (connection.isConnected) this.#outsideClosed(connection, isReset);
        else {
          this.#drop(connection);
          this.#refuse(guest, guestPort, ip, port, kept);
        }
      },
    });
  }

  /**
   * The outside has a connection for a station's port.
   * @returns what the outside tells from now on; undefined: no room
   */
  openInwards(
    guest: number,
    guestPort: number,
    outside: OutsideStream,
  ): Omit<OutsideStreamEvents, "connected"> | undefined {
    if (this.#connections.size >= MOST_CONNECTIONS) return undefined;
    let port = this.#nextPort;
    while (this.#connections.has(keyOf(guest, guestPort, ROUTER_IP, port)))
      port = port === 65535 ? 49152 : port + 1;
    this.#nextPort = port === 65535 ? 49152 : port + 1;
    const key = keyOf(guest, guestPort, ROUTER_IP, port);
    const connection = this.#connection(key, guest, guestPort, ROUTER_IP, port);
    connection.outside = outside;
    connection.isConnected = true;
    connection.isPaused = true;
    outside.pause();
    connection.tcp.connect();
    this.#armTimer();
    return {
      ...this.#outsideEvents(connection),
      closed: (isReset) => this.#outsideClosed(connection, isReset),
    };
  }

  #connection(key: string, guest: number, guestPort: number, ip: number, port: number): Connection {
    this.#sequence = (this.#sequence + 0x01000193) >>> 0;
    const tcp = new TcpConnection({
      initialSequence: this.#sequence,
      segmentBytes: SEGMENT_BYTES,
      now: () => this.#port.now(),
      send: (segment) => this.#sendSegment(ip, port, guest, guestPort, segment, connection.tcp.segmentBytes),
      receiveRoom: () => Math.max(0, RECEIVE_ROOM - (connection.outside?.waiting ?? 0)),
      opened: () => this.#resume(connection),
      data: (bytes) => connection.outside?.write(bytes.slice()),
      ended: () => connection.outside?.end(),
      sent: () => this.#resume(connection),
      closed: (isReset) => {
        const { outside } = connection;
        this.#connections.delete(key);
        if (isReset) outside?.destroy();
        else outside?.end();
      },
    });
    const connection: Connection = {
      key,
      guest,
      tcp,
      outside: undefined,
      isPaused: false,
      isConnected: false,
    };
    this.#connections.set(key, connection);
    return connection;
  }

  #outsideEvents(connection: Connection): Pick<OutsideStreamEvents, "data" | "ended" | "drained"> {
    return {
      data: (bytes) => {
        connection.tcp.write(bytes);
        if (connection.tcp.waiting > PAUSE_AT && !connection.isPaused) {
          connection.isPaused = true;
          connection.outside?.pause();
        }
        this.#armTimer();
      },
      ended: () => {
        connection.tcp.end();
        this.#armTimer();
      },
      drained: () => {
        connection.tcp.roomMade();
        this.#armTimer();
      },
    };
  }

  #outsideClosed(connection: Connection, isReset: boolean): void {
    if (isReset) connection.tcp.abort();
    else connection.tcp.end();
    this.#armTimer();
  }

  #resume(connection: Connection): void {
    if (!connection.isPaused || connection.tcp.waiting > RESUME_AT) return;
    connection.isPaused = false;
    connection.outside?.resume();
  }

  #drop(connection: Connection): void {
    this.#connections.delete(connection.key);
    connection.outside?.destroy();
  }

  /** Answers a segment of no connection as RFC 9293, "Reset Generation", says. */
  #refuse(guest: number, guestPort: number, ip: number, port: number, segment: TcpSegment): void {
    const { flags, sequence, acknowledgement, data } = segment;
    const hasAck = (flags & ACK) !== 0;
    const length = data.length + (flags & SYN ? 1 : 0) + (flags & 1);
    const reset: TcpSegment = {
      sequence: hasAck ? acknowledgement : 0,
      acknowledgement: hasAck ? 0 : (sequence + length) >>> 0,
      flags: hasAck ? RST : RST | ACK,
      window: 0,
      options: new Uint8Array(0),
      data: new Uint8Array(0),
    };
    this.#sendSegment(ip, port, guest, guestPort, reset, SEGMENT_BYTES);
  }

  #sendSegment(
    ip: number,
    port: number,
    guest: number,
    guestPort: number,
    segment: TcpSegment,
    segmentBytes: number,
  ): void {
    const mac = this.#macOf(guest);
    if (mac === undefined) return;
    const { options, data } = segment;
    const headerBytes = TCP_HEADER_BYTES + options.length;
    const frame = ipFrame({
      fromMac: ROUTER_MAC,
      toMac: mac,
      source: ip,
      destination: guest,
      protocol: PROTOCOL_TCP,
      identification: (this.#identification = (this.#identification + 1) & 0xffff),
      payloadBytes: headerBytes + data.length,
    });
    putBe16(frame, PAYLOAD_AT, port);
    putBe16(frame, PAYLOAD_AT + 2, guestPort);
    putBe32(frame, PAYLOAD_AT + 4, segment.sequence);
    putBe32(frame, PAYLOAD_AT + 8, segment.acknowledgement);
    frame[PAYLOAD_AT + 12] = (headerBytes / 4) << 4;
    frame[PAYLOAD_AT + 13] = segment.flags;
    putBe16(frame, PAYLOAD_AT + 14, segment.window);
    frame.set(options, PAYLOAD_AT + TCP_HEADER_BYTES);
    frame.set(data, PAYLOAD_AT + headerBytes);
    leaveChecksum(frame, PROTOCOL_TCP, 16);
    const isLong = data.length > segmentBytes;
    this.#port.deliver(frame, {
      ...NO_OFFLOAD,
      checksumStart: PAYLOAD_AT,
      checksumOffset: 16,
      ...(isLong ? { segmentBytes, segmentation: 4 } : {}),
    });
  }

  // --- time

  /** What is due in any connection. */
  timer(): void {
    const now = this.#port.now();
    for (const { tcp } of [...this.#connections.values()]) {
      const { deadline } = tcp;
      if (deadline !== undefined && deadline <= now) tcp.expire(now);
    }
    this.#armTimer();
  }

  #armTimer(): void {
    let earliest = Infinity;
    for (const { tcp } of this.#connections.values()) earliest = Math.min(earliest, tcp.deadline ?? Infinity);
    if (earliest !== Infinity) this.#port.arm(earliest);
  }

  /** Ends every connection on the outside. */
  close(): void {
    for (const connection of [...this.#connections.values()]) this.#drop(connection);
  }
}

const isGroupIp = (ip: number): boolean => ip >>> 28 === 14 || ip === BROADCAST_IP || (ip & 0xff) === 0xff;

function keyOf(guest: number, guestPort: number, ip: number, port: number): string {
  return `${guest}:${guestPort} ${ip}:${port}`;
}

/** The user network's outside by Node's sockets, and ports of the host that lead to the guest. */
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import dns from "node:dns";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import type { FrameOffload } from "../../ports.ts";
import type { HostBackEnd, HostPort } from "../host-port.ts";
import { formatIp, parseIp } from "./packets.ts";
import {
  FIRST_GUEST_IP,
  UserStack,
  type Destination,
  type Outside,
  type OutsideStream,
  type OutsideStreamEvents,
} from "./stack.ts";

export interface UserOptions {
  readonly restrict?: boolean;
  readonly hostForwards?: readonly {
    readonly protocol: "tcp" | "udp";
    readonly hostAddress?: string;
    readonly hostPort: number;
    readonly guestAddress?: string;
    readonly guestPort: number;
  }[];
}

const LOOPBACK = "127.0.0.1";
/** Sockets for datagrams of the guest's ports. */
const MOST_FLOWS = 128;
/** A flow without traffic is forgotten, milliseconds. */
const FLOW_IDLE = 60_000;

/** A datagram socket that stands for a port of a station. */
interface Flow {
  readonly socket: DatagramSocket;
  readonly isForward: boolean;
  idle: NodeJS.Timeout | undefined;
}

export class UserBackEnd implements HostBackEnd {
  readonly ready: Promise<void>;
  readonly #stack: UserStack;
  readonly #servers: (Server | DatagramSocket)[] = [];
  readonly #flows = new Map<string, Flow>();
  readonly #dns = nameServer();
  readonly #forwards: string[] = [];

  constructor(port: HostPort, options: UserOptions) {
    const outside: Outside = {
      connect: (to, events) => this.#connect(to, events),
      send: (from, to, bytes) => this.#send(from, to, bytes),
    };
    this.#stack = new UserStack(port, outside, { restrict: options.restrict === true });
    const forwards = options.hostForwards ?? [];
    this.ready = Promise.all(forwards.map((forward) => this.#forward(forward))).then(() => undefined);
    this.ready.catch(() => undefined);
  }

  get where(): string {
    return this.#forwards.join(", ");
  }

  frame(bytes: Uint8Array, offload: FrameOffload): void {
    this.#stack.frame(bytes, offload);
  }

  timer(): void {
    this.#stack.timer();
  }

  close(): void {
    this.#stack.close();
    for (const server of this.#servers) server.close();
    for (const { socket, isForward, idle } of this.#flows.values()) {
      clearTimeout(idle);
      if (!isForward) socket.close();
    }
    this.#flows.clear();
  }

  #addressOf(to: Destination): { readonly host: string; readonly port: number } {
    if (to.host === "loopback") return { host: LOOPBACK, port: to.port };
    return to.host === "dns" ? this.#dns : { host: formatIp(to.host), port: to.port };
  }

  #connect(to: Destination, events: OutsideStreamEvents): OutsideStream {
    const socket = createConnection({ ...this.#addressOf(to), allowHalfOpen: true });
    socket.on("connect", () => events.connected());
    return wire(socket, events);
  }

  // --- datagrams

  #send(from: { readonly ip: number; readonly port: number }, to: Destination, bytes: Uint8Array): void {
    const key = `${from.ip}:${from.port}`;
    const flow = this.#flows.get(key) ?? this.#newFlow(key, from);
    if (flow === undefined) return;
    flow.idle?.refresh();
    const { host, port } = this.#addressOf(to);
    // Port 0 and hosts that cannot be are the guest's mistake.
    if (port !== 0) flow.socket.send(bytes, port, host, () => undefined);
  }

  #newFlow(key: string, station: { readonly ip: number; readonly port: number }): Flow | undefined {
    if (this.#flows.size >= MOST_FLOWS) return undefined;
    const socket = createSocket("udp4");
    const forget = (): void => {
      if (this.#flows.get(key)?.socket !== socket) return;
      this.#flows.delete(key);
      socket.close();
    };
    const idle = setTimeout(forget, FLOW_IDLE);
    idle.unref();
    socket.on("error", forget);
    socket.on("message", (bytes, { address, port }) => this.#answer(address, port, station, bytes));
    // The machine, not a flow, keeps the process.
    socket.unref();
    const flow: Flow = { socket, isForward: false, idle };
    this.#flows.set(key, flow);
    return flow;
  }

  #answer(
    address: string,
    port: number,
    station: { readonly ip: number; readonly port: number },
    bytes: Uint8Array,
  ): void {
    const isDns = address === this.#dns.host && port === this.#dns.port;
    const host = isDns ? "dns" : address.startsWith("127.") ? "loopback" : parseIp(address);
    if (host !== undefined) this.#stack.datagram({ host, port: isDns ? 53 : port }, station, bytes);
  }

  // --- ports of the host

  async #forward(forward: NonNullable<UserOptions["hostForwards"]>[number]): Promise<void> {
    const ip = forward.guestAddress === undefined ? FIRST_GUEST_IP : parseIp(forward.guestAddress);
    if (ip === undefined) throw new Error(`hostfwd: ${forward.guestAddress ?? ""} is no IPv4 address`);
    const host = forward.hostAddress ?? LOOPBACK;
    const station = { ip, port: forward.guestPort };
    const at =
      forward.protocol === "tcp"
        ? await this.#forwardTcp(host, forward.hostPort, station)
        : await this.#forwardUdp(host, forward.hostPort, station);
    this.#forwards.push(`${forward.protocol} ${host}:${at} leads to ${formatIp(ip)}:${forward.guestPort}`);
  }

  #forwardTcp(
    host: string,
    port: number,
    station: { readonly ip: number; readonly port: number },
  ): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      // What the stack wants to be told is known only after it has the stream; nothing happens on it before.
      const told: { events?: Omit<OutsideStreamEvents, "connected"> } = {};
      const stream = wire(socket, {
        connected: () => undefined,
        data: (bytes) => told.events?.data(bytes),
        ended: () => told.events?.ended(),
        closed: (isReset) => told.events?.closed(isReset),
        drained: () => told.events?.drained(),
      });
      const events = this.#stack.openInwards(station.ip, station.port, stream);
      if (events) told.events = events;
      else socket.destroy();
    });
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, () => {
        server.on("error", () => undefined);
        const at = server.address();
        resolve(typeof at === "object" && at !== null ? at.port : port);
      });
    });
  }

  #forwardUdp(
    host: string,
    port: number,
    station: { readonly ip: number; readonly port: number },
  ): Promise<number> {
    const socket = createSocket("udp4");
    this.#servers.push(socket);
    // What the station sends from that port goes out by this socket, so that it comes from where it was asked.
    this.#flows.set(`${station.ip}:${station.port}`, { socket, isForward: true, idle: undefined });
    socket.on("message", (bytes, remote) =>
      this.#stack.datagram({ host: "loopback", port: remote.port }, station, bytes),
    );
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, host, () => {
        socket.on("error", () => undefined);
        resolve(socket.address().port);
      });
    });
  }
}

/** A socket as the stack wants it. */
function wire(socket: Socket, events: OutsideStreamEvents): OutsideStream {
  let isReset = false;
  socket.setNoDelay(true);
  socket.on("data", (bytes) => events.data(bytes));
  socket.on("end", () => events.ended());
  socket.on("drain", () => events.drained());
  socket.on("error", () => (isReset = true));
  socket.on("close", () => events.closed(isReset));
  return {
    write: (bytes) => void socket.write(bytes),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    get waiting() {
      return socket.writableLength;
    },
  };
}

/** The process's first IPv4 name server: the host's, unless `dns.setServers` said otherwise (which a named import would not see). */
function nameServer(): { readonly host: string; readonly port: number } {
  for (const server of dns.getServers()) {
    const [host, port] = server.split(":");
    if (host !== undefined && parseIp(host) !== undefined) return { host, port: Number(port ?? 53) };
  }
  return { host: LOOPBACK, port: 53 };
}

/** The user network's DHCP server: RFC 2131, RFC 2132. It gives each station an address of its own and never takes it back. */
import { be32, putBe32 } from "../ethernet.ts";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
const OPTIONS_AT = 240;
const MAGIC = 0x63825363;
const LEASE_SECONDS = 86400;
/** Replies are at least as long as BOOTP's. */
const LEAST_REPLY_BYTES = 300;

const OPTION_PAD = 0;
const OPTION_SUBNET = 1;
const OPTION_ROUTER = 3;
const OPTION_DNS = 6;
const OPTION_REQUESTED_IP = 50;
const OPTION_LEASE = 51;
const OPTION_MESSAGE_TYPE = 53;
const OPTION_SERVER = 54;
const OPTION_END = 255;

const DISCOVER = 1;
const OFFER = 2;
const REQUEST = 3;
const ACK = 5;
const NAK = 6;
const INFORM = 8;

export interface DhcpOptions {
  readonly server: number;
  readonly dns: number;
  readonly netmask: number;
  readonly firstAddress: number;
  /** Addresses given out at most. */
  readonly addresses: number;
}

export interface DhcpReply {
  readonly message: Uint8Array;
  /** The address that the station has from now on, or would have. */
  readonly address: number;
}

export class DhcpServer {
  readonly #options: DhcpOptions;
  /** By hardware address. */
  readonly #leases = new Map<string, number>();

  constructor(options: DhcpOptions) {
    this.#options = options;
  }

  /** The reply to a message, or undefined where there is none: to what is malformed, and to what wants none. */
  reply(message: Uint8Array): DhcpReply | undefined {
    const isRequest =
      message.length >= OPTIONS_AT && message[0] === 1 && message[1] === 1 && message[2] === 6;
    if (!isRequest || be32(message, OPTIONS_AT - 4) !== MAGIC) return undefined;
    const options = readOptions(message);
    if (options === undefined) return undefined;
    const type = options.get(OPTION_MESSAGE_TYPE)?.[0] ?? 0;
    const address = this.#addressOf(message.subarray(28, 34));
    if (address === undefined) return undefined;
    switch (type) {
      case DISCOVER:
        return { message: this.#message(message, OFFER, address), address };
      case INFORM:
        return { message: this.#message(message, ACK, 0), address };
      case REQUEST: {
        const server = ipOption(options, OPTION_SERVER);
        if (server !== undefined && server !== this.#options.server) return undefined;
        const wanted = ipOption(options, OPTION_REQUESTED_IP) ?? be32(message, 12);
        const answer = wanted === address ? ACK : NAK;
        return { message: this.#message(message, answer, answer === ACK ? address : 0), address };
      }
      default:
        return undefined;
    }
  }

  #addressOf(mac: Uint8Array): number | undefined {
    const key = mac.join(":");
    const known = this.#leases.get(key);
    if (known !== undefined) return known;
    if (this.#leases.size >= this.#options.addresses) return undefined;
    const address = this.#options.firstAddress + this.#leases.size;
    this.#leases.set(key, address);
    return address;
  }

  #message(request: Uint8Array, type: number, address: number): Uint8Array {
    const { server, dns, netmask } = this.#options;
    const reply = new Uint8Array(LEAST_REPLY_BYTES);
    reply.set([2, 1, 6, 0]);
    reply.set(request.subarray(4, 8), 4); // xid
    reply.set(request.subarray(10, 12), 10); // flags
    if (type === ACK) reply.set(request.subarray(12, 16), 12); // ciaddr
    putBe32(reply, 16, address); // yiaddr
    putBe32(reply, 20, type === NAK ? 0 : server); // siaddr
    reply.set(request.subarray(28, 44), 28); // chaddr
    putBe32(reply, OPTIONS_AT - 4, MAGIC);
    let at = OPTIONS_AT;
    const add = (option: number, value: number, bytes: 1 | 4 = 4): void => {
      reply[at++] = option;
      reply[at++] = bytes;
      if (bytes === 1) reply[at] = value;
      else putBe32(reply, at, value);
      at += bytes;
    };
    add(OPTION_MESSAGE_TYPE, type, 1);
    add(OPTION_SERVER, server);
    if (type !== NAK) {
      if (address !== 0) add(OPTION_LEASE, LEASE_SECONDS);
      add(OPTION_SUBNET, netmask);
      add(OPTION_ROUTER, server);
      add(OPTION_DNS, dns);
    }
    reply[at] = OPTION_END;
    return reply;
  }
}

/** Options by number, the first of each; undefined when one runs over the end. */
function readOptions(message: Uint8Array): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  for (let at = OPTIONS_AT; at < message.length;) {
    const option = message[at]!;
    if (option === OPTION_END) break;
    if (option === OPTION_PAD) {
      at++;
      continue;
    }
    const length = message[at + 1];
    if (length === undefined || at + 2 + length > message.length) return undefined;
    if (!options.has(option)) options.set(option, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

function ipOption(options: Map<number, Uint8Array>, option: number): number | undefined {
  const value = options.get(option);
  return value?.length === 4 ? be32(value, 0) : undefined;
}

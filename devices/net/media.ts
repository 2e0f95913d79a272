/** What links lead to inside one machine: back to the sender, or to a switch. */
import { array, nestedArray, struct, u32, u53, u8, type ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, FrameOffload, Resettable } from "../ports.ts";
import { MAC_BYTES, isGroupAddress } from "./ethernet.ts";
import type { LinkPort, Medium } from "./link.ts";

/** Frames come back to who sent them. */
export class Loopback implements Medium {
  readonly takesOffloads = true;

  transmit(from: LinkPort, frame: Uint8Array, offload: FrameOffload): void {
    from.deliver(frame, offload);
  }
}

/** Addresses that a switch remembers. */
export const MOST_ADDRESSES = 256;
/** Seconds after which an address is forgotten that was not heard of (IEEE 802.1D, "Ageing Time"). */
const AGEING_SECONDS = 300;

const AddressStruct = struct("SwitchAddress", {
  /** The address as two words. */
  mac: array("u32", 2),
  port: u32,
  isKnown: u8,
  heard: u53,
});

const SwitchStruct = struct("Switch", { addresses: nestedArray(AddressStruct, MOST_ADDRESSES) });

const wordsOf = (frame: Uint8Array, at: number): [number, number] => [
  (frame[at]! | (frame[at + 1]! << 8) | (frame[at + 2]! << 16) | (frame[at + 3]! << 24)) >>> 0,
  frame[at + 4]! | (frame[at + 5]! << 8),
];

/** Which port an address was last heard at: bounded, the oldest gives way. Ports are numbers. */
export class AddressTable implements Resettable {
  readonly #state: ViewOf<typeof SwitchStruct>;
  readonly #context: DeviceContext;

  constructor(context: DeviceContext, label: string) {
    this.#context = context;
    this.#state = context.state.place(label, SwitchStruct);
  }

  reset(): void {
    for (const address of this.#state.addresses) address.isKnown = 0;
  }

  /** A frame came in at `port`: its source is there. Group addresses are nobody's source. */
  learn(frame: Uint8Array, port: number): void {
    if (isGroupAddress(frame, MAC_BYTES)) return;
    const [low, high] = wordsOf(frame, MAC_BYTES);
    let place = this.#find(low, high);
    if (place === undefined) {
      place = this.#state.addresses[0]!;
      for (const candidate of this.#state.addresses) {
        if (candidate.isKnown === 0) {
          place = candidate;
          break;
        }
        if (candidate.heard < place.heard) place = candidate;
      }
      place.mac[0] = low;
      place.mac[1] = high;
      place.isKnown = 1;
    }
    place.port = port;
    place.heard = this.#context.clock.now();
  }

  /** Where a frame must go; undefined: to all other ports. */
  portOf(frame: Uint8Array): number | undefined {
    if (isGroupAddress(frame)) return undefined;
    const found = this.#find(...wordsOf(frame, 0));
    const { clock } = this.#context;
    if (found === undefined || clock.now() - found.heard > AGEING_SECONDS * clock.frequencyHz)
      return undefined;
    return found.port;
  }

  #find(low: number, high: number): ViewOf<typeof AddressStruct> | undefined {
    for (const address of this.#state.addresses)
      if (address.isKnown !== 0 && address.mac[0] === low && address.mac[1] === high) return address;
    return undefined;
  }
}

/** A learning switch (IEEE 802.1D, without spanning tree). */
export class Switch implements Medium, Resettable {
  readonly takesOffloads = true;
  readonly #ports: LinkPort[] = [];
  readonly #addresses: AddressTable;

  constructor(context: DeviceContext, label: string) {
    this.#addresses = new AddressTable(context, label);
  }

  /** Configuration, while building. */
  add(port: LinkPort): void {
    this.#ports.push(port);
  }

  reset(): void {
    this.#addresses.reset();
  }

  transmit(from: LinkPort, frame: Uint8Array, offload: FrameOffload): void {
    const source = this.#ports.indexOf(from);
    this.#addresses.learn(frame, source);
    const destination = this.#addresses.portOf(frame);
    this.#ports.forEach((port, index) => {
      if (index !== source && (destination === undefined || index === destination))
        port.deliver(frame, offload);
    });
  }
}

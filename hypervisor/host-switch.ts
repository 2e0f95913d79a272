/**
 * One link for machines of the same process: a switch between their netdevs of kind `host`. It learns addresses as the switch inside a
 * machine does; each machine takes its frames when it runs.
 */
import { MAC_BYTES, isGroupAddress } from "../devices/net/ethernet.ts";

/** What a machine's netdev of kind `host` is to the switch: `Machine.network(id)`. */
export interface SwitchPort {
  onFrame: ((frame: Uint8Array) => void) | undefined;
  send(frame: Uint8Array): boolean;
}

/** Addresses that the switch remembers: the one learnt first gives way. */
const MOST_ADDRESSES = 256;

const addressAt = (frame: Uint8Array, at: number): string => frame.subarray(at, at + MAC_BYTES).join(":");

export class HostSwitch {
  readonly #ports: SwitchPort[] = [];
  readonly #addresses = new Map<string, SwitchPort>();

  /** Plugs a machine in; its `onFrame` is the switch's from now on. */
  connect(port: SwitchPort): void {
    this.#ports.push(port);
    port.onFrame = (frame) => this.#forward(port, frame);
  }

  #forward(from: SwitchPort, frame: Uint8Array): void {
    if (!isGroupAddress(frame, MAC_BYTES)) {
      const source = addressAt(frame, MAC_BYTES);
      // What was heard of last is last in the map.
      this.#addresses.delete(source);
      if (this.#addresses.size >= MOST_ADDRESSES)
        this.#addresses.delete(this.#addresses.keys().next().value as string);
      this.#addresses.set(source, from);
    }
    const destination = isGroupAddress(frame) ? undefined : this.#addresses.get(addressAt(frame, 0));
    if (destination === from) return;
    for (const port of destination === undefined ? this.#ports : [destination])
      if (port !== from) port.send(frame);
  }
}

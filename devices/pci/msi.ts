/** One message-signalled interrupt of a function: PCI-SIG, "PCI Local Bus Specification 3.0", "MSI Capability Structure" (64-bit address, one message, no mask). */
import type { MessageSink } from "../ports.ts";
import type { PciFunction, RegisterBytes } from "./config-space.ts";
import * as spec from "./spec.ts";

/** The capability's bytes. */
export function msiCapability(offset: number): RegisterBytes {
  const value = new Array<number>(spec.MSI_CAPABILITY_BYTES).fill(0);
  value[0] = spec.CAPABILITY_MSI;
  value[spec.MSI_MESSAGE_CONTROL] = spec.MSI_64_BIT;
  const writable = new Array<number>(spec.MSI_CAPABILITY_BYTES).fill(0xff);
  writable[0] = writable[1] = writable[spec.MSI_MESSAGE_CONTROL + 1] = 0;
  // Of "multiple message enable" nothing: one message is all there is.
  writable[spec.MSI_MESSAGE_CONTROL] = spec.MSI_ENABLE;
  writable[spec.MSI_ADDRESS] = 0xfc;
  return { offset, value, writable };
}

/** Sends the message that the capability describes. All its state is the function's configuration space. */
export class Msi {
  readonly #pci: PciFunction;
  readonly #sink: MessageSink;
  readonly #at: number;

  constructor(pci: PciFunction, sink: MessageSink) {
    this.#pci = pci;
    this.#sink = sink;
    this.#at = pci.capabilityOffset(spec.CAPABILITY_MSI);
  }

  /** While enabled, the function must not use INTx#. */
  get enabled(): boolean {
    return (this.#pci.peek(this.#at + spec.MSI_MESSAGE_CONTROL, 1) & spec.MSI_ENABLE) !== 0;
  }

  /** A message is a memory write, so it needs bus mastering. */
  send(): void {
    if (!this.enabled || !this.#pci.isBusMaster) return;
    const address =
      this.#pci.peek(this.#at + spec.MSI_ADDRESS, 4) +
      this.#pci.peek(this.#at + spec.MSI_ADDRESS + 4, 4) * 2 ** 32;
    this.#sink.send(address, this.#pci.peek(this.#at + spec.MSI_DATA, 2));
  }
}

/** A virtio entropy device: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "Entropy Device". */
import type { DeviceContext, DmaMemory, EntropySource, Resettable } from "../../ports.ts";
import type { PciFunction } from "../../pci/config-space.ts";
import { writeChain } from "../chain-data.ts";
import { DescriptorChain } from "../queue.ts";
import { VirtioPci, type VirtioDeviceType, type VirtioWiring } from "../transport-pci.ts";

export const VIRTIO_ID_ENTROPY = 4;

const REQUEST_QUEUE = 0;
const QUEUE_SIZE = 8;
/** Most bytes put into one buffer: "one or more random bytes" are enough, and one request is bounded work. */
const MOST_BYTES = 4096;

export interface VirtioRngOptions extends VirtioWiring {
  readonly entropy: EntropySource;
}

export class VirtioRng implements VirtioDeviceType, Resettable {
  readonly features = 0n;
  readonly transport: VirtioPci;
  readonly pci: PciFunction;
  readonly #memory: DmaMemory;
  readonly #entropy: EntropySource;
  /** Scratch, valid inside one call only. */
  readonly #chain = new DescriptorChain();
  readonly #bytes = new Uint8Array(MOST_BYTES);

  constructor(context: DeviceContext, options: VirtioRngOptions) {
    this.#memory = options.memory;
    this.#entropy = options.entropy;
    this.transport = new VirtioPci(
      context,
      options,
      {
        deviceId: VIRTIO_ID_ENTROPY,
        classCode: 0x00ff00,
        queueSizes: [QUEUE_SIZE],
      },
      this,
    );
    this.pci = this.transport.pci;
  }

  reset(): void {
    this.transport.reset();
  }

  /** Fills the buffers that are there: no more than the queue holds. */
  notified(): void {
    const queue = this.transport.queues[REQUEST_QUEUE]!;
    for (let served = 0; served < queue.state.size; served++) {
      const found = queue.peek(this.#chain);
      if (found === "empty") break;
      // "The driver MUST NOT place driver-readable buffers into the queue."
      if (found === "broken" || this.#chain.readable > 0) {
        this.transport.needsReset();
        return;
      }
      queue.take();
      const bytes = this.#bytes.subarray(0, Math.min(MOST_BYTES, this.#chain.writableBytes));
      this.#entropy.fill(bytes);
      writeChain(this.#chain, this.#memory, 0, bytes);
      queue.pushUsed(this.#chain.head, bytes.length);
    }
    if (queue.state.signalPending !== 0) this.transport.signalQueue(REQUEST_QUEUE);
  }

  /** Nothing is ever outstanding. */
  resetDevice(): void {
    return;
  }

  resetQueue(): void {
    return;
  }

  /** There is no device configuration. */
  readConfig(): number {
    return 0;
  }

  writeConfig(): void {
    return;
  }
}

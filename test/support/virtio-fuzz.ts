/** A driver without manners, for any virtio device: random chains, notifications, configuration accesses, resets. */
import fc from "fast-check";
import type { PciFunction } from "../../devices/pci/config-space.ts";
import type { Resettable } from "../../devices/ports.ts";
import type { DriverQueue } from "./virtio-driver.ts";
import type { VirtioMachine } from "./virtio-machine.ts";

const RING_RESET = 1n << 40n;
const DATA = 0x40000;
const DATA_BYTES = 0x8000;

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("chain" as const),
      queue: fc.nat(3),
      descriptors: fc.array(
        fc.record({
          // Mostly in RAM; now and then anywhere.
          address: fc.oneof(
            { weight: 9, arbitrary: fc.integer({ min: DATA, max: DATA + DATA_BYTES }) },
            fc.maxSafeNat(),
          ),
          length: fc.oneof({ weight: 9, arbitrary: fc.nat(700) }, fc.nat(0xffffffff)),
          write: fc.boolean(),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      bytes: fc.uint8Array({ maxLength: 96 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("kick" as const), queue: fc.nat(4) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("time" as const), cycles: fc.nat(1_000_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("config" as const),
      offset: fc.nat(255),
      size: fc.constantFrom(1 as const, 2 as const, 4 as const),
      value: fc.nat(0xffffffff),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("jump" as const), queue: fc.nat(3), index: fc.nat(65535) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reset queue" as const),
      queue: fc.nat(3),
      again: fc.boolean(),
    }),
  },
);

/**
 * Runs random drivers against a device, looking after each step at the red zones, and at the end whether the device comes back
 * after a reset. `shape` may turn a chain's random bytes into what the device's requests look like.
 */
export function fuzzVirtio<D extends Resettable & { readonly pci: PciFunction }>(
  make: () => VirtioMachine<D>,
  sizes: readonly number[],
  options: {
    readonly features?: bigint;
    readonly runs?: number;
    readonly shape?: (bytes: Uint8Array, queue: number) => void;
    readonly check?: (machine: VirtioMachine<D>) => void;
  } = {},
): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const m = make();
      const features = (options.features ?? 0n) | RING_RESET;
      let queues: DriverQueue[] = m.start(sizes, features);
      const bytes = new Uint8Array(m.memory.bytes.buffer, DATA, DATA_BYTES);
      for (const s of steps) {
        switch (s.kind) {
          case "chain": {
            const queue = queues[s.queue % queues.length]!;
            options.shape?.(s.bytes, s.queue % queues.length);
            bytes.set(s.bytes);
            // The first descriptor is where the bytes are, so that many requests make sense.
            queue.add(s.descriptors.map((d, i) => (i === 0 && !d.write ? { ...d, address: DATA } : d)));
            queue.kick();
            break;
          }
          case "kick":
            m.driver.kick(s.queue);
            break;
          case "time":
            m.context.advance(s.cycles);
            break;
          case "config":
            m.driver.config(s.offset, s.size);
            m.driver.setConfig(s.offset, s.size, s.value);
            break;
          case "jump":
            queues[s.queue % queues.length]!.setAvailIndex(s.index);
            break;
          case "restart":
            queues = m.start(sizes, features);
            break;
          case "reset queue": {
            const index = s.queue % queues.length;
            const old = queues[index]!;
            m.driver.resetQueue(index);
            if (s.again) queues[index] = m.driver.setUpQueue(m.memory, index, old.size, old.desc, false);
            break;
          }
        }
      }
      m.context.settle();
      m.context.checkRedZones();
      options.check?.(m);
      m.start(sizes, options.features);
      if (m.driver.status !== 0xf) throw new Error(`status ${m.driver.status} after a reset`);
    }),
    { numRuns: options.runs ?? 150 },
  );
}

/** The bytes of a descriptor chain as two streams: what the device reads, and what it writes, wherever descriptors end. */
import type { DmaMemory } from "../ports.ts";
import type { DescriptorChain } from "./queue.ts";

/** Copies readable bytes of the chain, from `offset` on, into `into`; false when it has not so many. */
export function readChain(
  chain: DescriptorChain,
  memory: DmaMemory,
  offset: number,
  into: Uint8Array,
): boolean {
  return walk(chain, 0, chain.readable, offset, into.length, (address, at, length) =>
    memory.read(address, into.subarray(at, at + length)),
  );
}

/** Copies `from` into writable bytes of the chain, from `offset` on; false when it has not so many. */
export function writeChain(
  chain: DescriptorChain,
  memory: DmaMemory,
  offset: number,
  from: Uint8Array,
): boolean {
  return walk(chain, chain.readable, chain.count, offset, from.length, (address, at, length) =>
    memory.write(address, from.subarray(at, at + length)),
  );
}

/** Calls `each` for the pieces of `length` bytes from `offset` on in the descriptors from `first` to before `end`. */
function walk(
  chain: DescriptorChain,
  first: number,
  end: number,
  offset: number,
  length: number,
  each: (address: number, at: number, length: number) => boolean,
): boolean {
  let skip = offset;
  let done = 0;
  for (let i = first; i < end && done < length; i++) {
    const available = chain.lengths[i]!;
    if (skip >= available) {
      skip -= available;
      continue;
    }
    const part = Math.min(available - skip, length - done);
    if (!each(chain.addresses[i]! + skip, done, part)) return false;
    done += part;
    skip = 0;
  }
  return done === length;
}

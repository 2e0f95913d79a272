/** The bytes of a descriptor chain, wherever its buffers begin and end: a driver may cut a request up as it likes. */
import type { DmaMemory } from "../ports.ts";
import type { DescriptorChain } from "./queue.ts";

/** Copies readable bytes of the chain, from `offset` on, into `into`. False when there are not so many. */
export function readChain(
  chain: DescriptorChain,
  memory: DmaMemory,
  offset: number,
  into: Uint8Array,
): boolean {
  let skip = offset;
  let done = 0;
  for (let i = 0; i < chain.readable && done < into.length; i++) {
    const length = chain.lengths[i]!;
    if (skip >= length) {
      skip -= length;
      continue;
    }
    const part = Math.min(length - skip, into.length - done);
    if (!memory.read(chain.addresses[i]! + skip, into.subarray(done, done + part))) return false;
    done += part;
    skip = 0;
  }
  return done === into.length;
}

/**
 * From the end of one block straight to the next, without the run loop, while the common case holds: nothing asks to
 * stop, the budget covers the whole next block, and the jump cache knows it.
 *
 * Where it does not hold, the functions here return `record` with the instruction done, and the run loop goes on.
 */
import { enter } from "../env";
import { CPU_ATTENTION, CPU_JUMP_CACHE, JUMP_ENTRIES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { isTargetLegal, truncate } from "../instructions/control-transfer";
import { B_BYTES, B_COUNT, BLOCK_HEADER, RECORD_SIZE, R_IMM } from "./record";

export class Chain {
  /** Distance of the jump-cache entry for a linear address from that of address 0. */
  @inline
  static jumpDistance(linear: u64): usize {
    return (((<usize>linear) ^ ((<usize>linear) >> 12)) & (JUMP_ENTRIES - 1)) << 4;
  }

  /** The block that the jump cache has for a linear address: one that has just been entered from there. */
  static blockAt(linear: u64): usize {
    return <usize>load<u32>(CPU + Chain.jumpDistance(linear), CPU_JUMP_CACHE + 12);
  }

  /**
   * Enters the block at `linear`, which is also RIP, behind the block that `record` ends; 0 when the run loop must do it. An
   * address that is in the jump cache was legal to branch to when it came there, and the key says that it still is.
   *
   * @returns the block's first record, with the CPU's state ready for it
   */
  @inline
  private static known(record: usize, linear: u64): usize {
    // Attention and `leave` as one.
    if (load<u64>(CPU, CPU_ATTENTION) != 0) return 0;
    const slot = CPU + Chain.jumpDistance(linear);
    if (load<u64>(slot, CPU_JUMP_CACHE) != linear || load<u32>(slot, CPU_JUMP_CACHE + 8) != cpu.followKey)
      return 0;
    const block = <usize>load<u32>(slot, CPU_JUMP_CACHE + 12);
    const count = load<u32>(block, B_COUNT);
    const instructions = cpu.instructions + <u64>((record + RECORD_SIZE - <usize>cpu.blockFirst) >> 5);
    if (instructions + <u64>count > cpu.targetInstructions) return 0;
    const first = block + BLOCK_HEADER;
    cpu.instructions = instructions;
    cpu.recordEnd = <u32>(first + ((<usize>count) << 5));
    cpu.blockFirst = <u32>first;
    cpu.blockRip = linear;
    cpu.rip = linear + <u64>load<u32>(block, B_BYTES);
    return first;
  }

  /** After the last record of a block, with RIP at the next instruction: `return follow(record)`. */
  @inline
  static follow(record: usize): usize {
    if (cpu.recordEnd == 0) return record;
    const first = Chain.known(record, cpu.rip);
    return first != 0 ? enter(first) : record;
  }

  /** A direct near branch: `return branch<T>(record, condition)`. */
  @inline
  static branch<T>(record: usize, taken: bool): usize {
    const next = cpu.rip;
    const target = taken ? truncate<T>(next + load<u64>(record, R_IMM)) : next;
    const first = Chain.known(record, target);
    if (first != 0) return enter(first);
    if (!taken || isTargetLegal(target)) cpu.rip = target;
    return record;
  }
}

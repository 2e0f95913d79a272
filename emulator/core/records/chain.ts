/**
 * From the end of one block straight to the next, without the run loop, while the common case holds: nothing asks to
 * stop, the budget covers the whole next block, and the jump cache knows it.
 */
import { CPU_ATTENTION, CPU_JUMP_CACHE, JUMP_ENTRIES } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { MODE_FLAT } from "../state/mode";
import { B_BYTES, B_COUNT, BLOCK_HEADER } from "./record";
import { enter } from "./next";

/** Bit of Cpu.modeKey that says 64-bit code, beside MODE_FLAT: with either, RIP is the linear address. */
const MODE_64: u32 = 2;

/** Slot of the jump cache for a linear address. */
// @ts-ignore: decorator is AssemblyScript's
@inline
export function jumpSlot(linear: u64): usize {
  return CPU + CPU_JUMP_CACHE + ((((<usize>linear) ^ (<usize>linear >> 12)) & (JUMP_ENTRIES - 1)) << 4);
}

/**
 * Goes on behind the block whose last record has been executed; RIP is at the next instruction.
 *
 * Where that cannot be done here it returns `record` with nothing changed, and the run loop does it. To be used as
 * `return follow(record)`.
 */
// @ts-ignore: decorator is AssemblyScript's
@inline
export function follow(record: usize): usize {
  if (cpu.recordEnd == 0 || cpu.leave != 0 || load<u32>(CPU + CPU_ATTENTION) != 0) return record;
  const linear = cpu.rip;
  const slot = jumpSlot(linear);
  if (load<u64>(slot) != linear || load<u32>(slot, 8) != cpu.jumpKey || (cpu.modeKey & (MODE_64 | MODE_FLAT)) == 0) return record;
  const block = <usize>load<u32>(slot, 12);
  const count = load<u32>(block, B_COUNT);
  const first = block + BLOCK_HEADER;
  const instructions = cpu.instructions + <u64>((record + 32 - <usize>cpu.blockFirst) >> 5);
  if (instructions + <u64>count > cpu.targetInstructions) return record;
  cpu.instructions = instructions;
  cpu.recordEnd = <u32>(first + (<usize>count << 5));
  cpu.blockFirst = <u32>first;
  cpu.blockRip = linear;
  const end = linear + <u64>load<u32>(block, B_BYTES);
  cpu.rip = cpu.codeSize == 2 ? end : end & 0xffffffff;
  return enter(first);
}

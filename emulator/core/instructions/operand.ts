/** Register and immediate operands of a record, and LOCKed access. */
import { R_DST, R_IMM, R_OPSIZE, R_SRC } from "../records/record";
import { CPU_SCRATCH, MACHINE_SPLIT_LOCK } from "../layout.generated";
import { CPU, machine } from "../state/cpu";

export class Op {
  @inline static dst<T>(record: usize): T {
    return load<T>(CPU + <usize>load<u8>(record, R_DST));
  }
  @inline static src<T>(record: usize): T {
    return load<T>(CPU + <usize>load<u8>(record, R_SRC));
  }
  /** A 32-bit destination clears the upper half (SDM Vol. 1, "General-Purpose Registers in 64-Bit Mode"). */
  @inline static setDst<T>(record: usize, value: T): void {
    const at = CPU + <usize>load<u8>(record, R_DST);
    if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
    else store<T>(at, value);
  }
  @inline static setSrc<T>(record: usize, value: T): void {
    const at = CPU + <usize>load<u8>(record, R_SRC);
    if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
    else store<T>(at, value);
  }
  @inline static imm<T>(record: usize): T {
    return load<T>(record, R_IMM);
  }
  /** Operand size in bytes. */
  @inline static size(record: usize): u32 {
    return <u32>load<u8>(record, R_OPSIZE);
  }
  /** Number of a segment, control or debug register operand. */
  @inline static dstNumber(record: usize): u32 {
    return <u32>load<u8>(record, R_DST);
  }
  @inline static srcNumber(record: usize): u32 {
    return <u32>load<u8>(record, R_SRC);
  }
}

export class Locked {
  /** True when a wasm atomic can do it: naturally aligned RAM. Unaligned wasm atomics trap (WebAssembly threads proposal). */
  @inline static isAtomic<T>(at: usize): bool {
    return (at & (sizeof<T>() - 1)) == 0 && at != CPU + CPU_SCRATCH && machine.parallel != 0;
  }
  /** One lock for all split LOCKed accesses; other CPUs' atomic ones are not held up by it (docs/known-gaps.md). */
  static acquireSplit(): void {
    if (machine.parallel == 0) return;
    const lock = changetype<usize>(machine) + MACHINE_SPLIT_LOCK;
    while (atomic.cmpxchg<u32>(lock, 0, 1) != 0) {}
  }
  static releaseSplit(): void {
    if (machine.parallel == 0) return;
    atomic.store<u32>(changetype<usize>(machine) + MACHINE_SPLIT_LOCK, 0);
  }
}

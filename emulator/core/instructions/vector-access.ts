/**
 * The memory operand of a vector instruction's record: wasm offset at which it can be loaded or stored, or 0 with a fault
 * recorded (mmu/linear.ts says what a slow access is). `Aligned`: #GP(0) unless the operand is aligned to its size.
 */
import { Access, Unaligned } from "../mmu/linear";
import { Address } from "../mmu/segmented";

export class Memory {
  static read1(record: usize): usize {
    return Access.readable<u8>(record, Address.forRead(record, 1));
  }
  static read2(record: usize): usize {
    return Access.readable<u16>(record, Address.forRead(record, 2));
  }
  static read4(record: usize): usize {
    return Access.readable<u32>(record, Address.forRead(record, 4));
  }
  static read8(record: usize): usize {
    return Access.readable<u64>(record, Address.forRead(record, 8));
  }
  /** As `read8`, without #AC. */
  static read8Unaligned(record: usize): usize {
    const wasChecked = Unaligned.enter();
    const at = Memory.read8(record);
    Unaligned.leave(wasChecked);
    return at;
  }
  static read16(record: usize): usize {
    return Access.readable<v128>(record, Address.forRead(record, 16));
  }
  static read16Aligned(record: usize): usize {
    return Access.readable<v128>(record, Address.forReadAligned(record, 16));
  }
  static read32(record: usize): usize {
    return Access.readable32(record, Address.forRead(record, 32));
  }
  static store4(record: usize): usize {
    return Access.storable<u32>(record, Address.forWrite(record, 4));
  }
  static store8(record: usize): usize {
    return Access.storable<u64>(record, Address.forWrite(record, 8));
  }
  /** As `store8`, without #AC. */
  static store8Unaligned(record: usize): usize {
    const wasChecked = Unaligned.enter();
    const at = Memory.store8(record);
    Unaligned.leave(wasChecked);
    return at;
  }
  static store16(record: usize): usize {
    return Access.storable<v128>(record, Address.forWrite(record, 16));
  }
}

/** MMX, XMM and YMM register operands of a record. SDM Vol. 1, "Programming with Intel MMX Technology", "… AVX". */
import { CPU_VECTOR, CPU_X87 } from "../layout.generated";
import { R_DST, R_EXTRA, R_IMM, R_INDEX, R_SRC } from "../records/record";
import { CPU, cpu } from "../state/cpu";

/** TOP in the x87 status word. */
const TOP: u32 = 7 << 11;

/** Distance of one vector register's slot from the next, as a shift. */
const SLOT: usize = 5;
const MMX_SLOT: usize = 4;

/** XMM and YMM registers. `High` is bits 255:128. */
export class Vec {
  /** Wasm offset of register `number`. */
  @inline static at(number: u32): usize {
    return CPU + CPU_VECTOR + ((<usize>number) << SLOT);
  }
  @inline static dstAt(record: usize): usize {
    return Vec.at(<u32>load<u8>(record, R_DST));
  }
  @inline static srcAt(record: usize): usize {
    return Vec.at(<u32>load<u8>(record, R_SRC));
  }
  @inline static hAt(record: usize): usize {
    return Vec.at(<u32>load<u8>(record, R_EXTRA));
  }
  @inline static dst(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_DST)) << SLOT), CPU_VECTOR);
  }
  @inline static src(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_SRC)) << SLOT), CPU_VECTOR);
  }
  /** VEX.vvvv. */
  @inline static h(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_EXTRA)) << SLOT), CPU_VECTOR);
  }
  @inline static dstHigh(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_DST)) << SLOT), CPU_VECTOR + 16);
  }
  @inline static srcHigh(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_SRC)) << SLOT), CPU_VECTOR + 16);
  }
  @inline static hHigh(record: usize): v128 {
    return load<v128>(CPU + ((<usize>load<u8>(record, R_EXTRA)) << SLOT), CPU_VECTOR + 16);
  }
  /** Legacy encodings leave bits 255:128 alone. */
  @inline static set(record: usize, value: v128): void {
    store<v128>(CPU + ((<usize>load<u8>(record, R_DST)) << SLOT), value, CPU_VECTOR);
  }
  /** VEX.128 clears bits 255:128. */
  @inline static setVex(record: usize, value: v128): void {
    const at = CPU + ((<usize>load<u8>(record, R_DST)) << SLOT);
    store<v128>(at, value, CPU_VECTOR);
    store<v128>(at, i64x2.splat(0), CPU_VECTOR + 16);
  }
  @inline static setWide(record: usize, low: v128, high: v128): void {
    const at = CPU + ((<usize>load<u8>(record, R_DST)) << SLOT);
    store<v128>(at, low, CPU_VECTOR);
    store<v128>(at, high, CPU_VECTOR + 16);
  }
  /** Register named by bits 7:4 of the immediate byte; outside 64-bit mode bit 7 is ignored. */
  @inline static immAt(record: usize): usize {
    return Vec.at(((<u32>load<u8>(record, R_IMM)) >> 4) & (cpu.codeSize == 2 ? 15 : 7));
  }
  /** Register of indices of a VSIB operand. */
  @inline static indexAt(record: usize): usize {
    return Vec.at((<u32>load<u8>(record, R_INDEX)) >> 3);
  }
  /** 16 bytes at a wasm offset. */
  @inline static load(at: usize): v128 {
    return load<v128>(at);
  }
  @inline static loadHigh(at: usize): v128 {
    return load<v128>(at, 16);
  }
}

/** MMX registers: 64 bits in the lower half of a vector whose upper half is 0. */
export class Mmx {
  @inline static dst(record: usize): v128 {
    return v128.load64_zero(CPU + ((<usize>load<u8>(record, R_DST)) << MMX_SLOT), CPU_X87);
  }
  @inline static src(record: usize): v128 {
    return v128.load64_zero(CPU + ((<usize>load<u8>(record, R_SRC)) << MMX_SLOT), CPU_X87);
  }
  @inline static srcQuad(record: usize): u64 {
    return load<u64>(CPU + ((<usize>load<u8>(record, R_SRC)) << MMX_SLOT), CPU_X87);
  }
  /** Every MMX instruction but EMMS makes all registers valid and TOP 0. */
  @inline static enter(): void {
    cpu.x87Status &= ~TOP;
    cpu.x87Tag = 0xff;
  }
  /** What a store does before its access, whether that faults or not: it leaves the tags for later. */
  @inline static beginStore(): void {
    cpu.x87Status &= ~TOP;
  }
  @inline static setQuad(record: usize, value: u64): void {
    const at = CPU + ((<usize>load<u8>(record, R_DST)) << MMX_SLOT);
    store<u64>(at, value, CPU_X87);
    // A written register gets ones in sign and exponent.
    store<u16>(at, 0xffff, CPU_X87 + 8);
    Mmx.enter();
  }
  @inline static set(record: usize, value: v128): void {
    Mmx.setQuad(record, <u64>i64x2.extract_lane(value, 0));
  }
  /** As `setQuad`, for the upper half of a vector. */
  @inline static setHigh(record: usize, value: v128): void {
    Mmx.setQuad(record, <u64>i64x2.extract_lane(value, 1));
  }
  /** Two operands side by side: `a` in the lower half. */
  @inline static pair(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 0, 2);
  }
}

/** EMMS. */
export function emms(record: usize): void {
  cpu.x87Tag = 0;
  cpu.x87Status &= ~TOP;
}

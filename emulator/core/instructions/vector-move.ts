/** Vector instructions that need more than one step: inserts, tests, and what moves lanes across 128-bit halves. SDM Vol. 2. */
import { CPU_LANES, CPU_VECTOR, CPU_X87 } from "../layout.generated";
import { R_DST, R_EXTRA, R_IMM, R_SRC } from "../records/record";
import { CPU } from "../state/cpu";
import { setArithmeticFlags } from "../state/flags";
import { FLAG_CF, FLAG_ZF } from "../spec/architecture";
import { Mmx, Vec } from "./vector-operand";

/** Where a result is put together whose sources may be its destination. */
const BUFFER: usize = CPU_LANES;

/** PINSRW and PEXTRW on MMX registers. */
export class Insert {
  static word(record: usize, value: u16): void {
    const lane = ((<usize>load<u8>(record, R_IMM)) & 3) << 1;
    const at = CPU + CPU_X87 + ((<usize>load<u8>(record, R_DST)) << 4);
    store<u16>(at + lane, value);
    store<u16>(at, 0xffff, 8);
    Mmx.enter();
  }
  static extractWord(record: usize): u32 {
    const lane = ((<usize>load<u8>(record, R_IMM)) & 3) << 1;
    Mmx.enter();
    return <u32>load<u16>(CPU + CPU_X87 + ((<usize>load<u8>(record, R_SRC)) << 4) + lane);
  }
}

/** PTEST's flags: ZF when a AND b is 0, CF when b has no bit that a has not. */
function setTestFlags(both: bool, onlySecond: bool): void {
  setArithmeticFlags((both ? 0 : FLAG_ZF) | (onlySecond ? 0 : FLAG_CF));
}

export function ptest(a: v128, b: v128): void {
  setTestFlags(v128.any_true(v128.and(a, b)), v128.any_true(v128.andnot(b, a)));
}

export function ptestWide(a: v128, b: v128, aHigh: v128, bHigh: v128): void {
  setTestFlags(
    v128.any_true(v128.or(v128.and(a, b), v128.and(aHigh, bHigh))),
    v128.any_true(v128.or(v128.andnot(b, a), v128.andnot(bHigh, aHigh))),
  );
}

/** Sources may be in the destination, so that results go through the buffer. `b` is the wasm offset of 32 bytes. */
export class Across {
  /** VPERMD, VPERMPS: by the indices in VEX.vvvv. */
  static dwords(record: usize, b: usize): void {
    const index = Vec.hAt(record);
    const buffer = CPU + BUFFER;
    for (let i: usize = 0; i < 32; i += 4)
      store<u32>(buffer + i, load<u32>(b + ((<usize>(load<u8>(index + i) & 7)) << 2)));
    Vec.setWide(record, load<v128>(buffer), load<v128>(buffer, 16));
  }
  /** VPERMQ, VPERMPD. */
  static quads(record: usize, b: usize): void {
    const select = <usize>load<u8>(record, R_IMM);
    const buffer = CPU + BUFFER;
    for (let i: usize = 0; i < 4; i++)
      store<u64>(buffer + (i << 3), load<u64>(b + (((select >> (i << 1)) & 3) << 3)));
    Vec.setWide(record, load<v128>(buffer), load<v128>(buffer, 16));
  }
  /** A half that four bits choose: 0 and 1 of VEX.vvvv, 2 and 3 of `b`; bit 3: zero. */
  private static half(a: usize, b: usize, select: u32): v128 {
    if (select & 8) return i64x2.splat(0);
    return load<v128>((select & 2 ? b : a) + (((<usize>select) & 1) << 4));
  }
  /** VPERM2F128, VPERM2I128. */
  static halves(record: usize, b: usize): void {
    const select = <u32>load<u8>(record, R_IMM);
    const a = Vec.at(<u32>load<u8>(record, R_EXTRA));
    Vec.setWide(record, Across.half(a, b, select), Across.half(a, b, select >> 4));
  }
  /** VINSERTF128, VINSERTI128. */
  static insert(record: usize, value: v128): void {
    if (load<u8>(record, R_IMM) & 1) Vec.setWide(record, Vec.h(record), value);
    else Vec.setWide(record, value, Vec.hHigh(record));
  }
}

/** VZEROUPPER. Outside 64-bit mode the registers from 8 on do not exist, and stay. */
export function clearUpperHalves(count: usize): void {
  for (let i: usize = 0; i < count; i++) store<v128>(CPU + (i << 5), i64x2.splat(0), CPU_VECTOR + 16);
}

/** VZEROALL. */
export function clearVectors(count: usize): void {
  memory.fill(CPU + CPU_VECTOR, 0, count << 5);
}

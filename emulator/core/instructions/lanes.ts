/**
 * Integer operations on vectors that WebAssembly has no single instruction for. SDM Vol. 2.
 *
 * All work on 128 bits; YMM instructions do both halves by themselves, and MMX instructions use the lower half.
 */

/** What multiplies, adds across lanes, or changes their width. */
export class Lanes {
  @inline static mulHighSigned(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(
      i32x4.extmul_low_i16x8_s(a, b),
      i32x4.extmul_high_i16x8_s(a, b),
      1,
      3,
      5,
      7,
      9,
      11,
      13,
      15,
    );
  }
  @inline static mulHighUnsigned(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(
      i32x4.extmul_low_i16x8_u(a, b),
      i32x4.extmul_high_i16x8_u(a, b),
      1,
      3,
      5,
      7,
      9,
      11,
      13,
      15,
    );
  }
  /** PMULHRSW does not saturate: -1 × -1 is -1. */
  static mulRoundScale(a: v128, b: v128): v128 {
    const least = i16x8.splat(-32768);
    const both = v128.and(i16x8.eq(a, least), i16x8.eq(b, least));
    return v128.xor(i16x8.q15mulr_sat_s(a, b), both);
  }
  /** PMADDUBSW: bytes of `a` are unsigned, those of `b` signed. */
  static mulAddBytes(a: v128, b: v128): v128 {
    const even = i16x8.mul(v128.and(a, i16x8.splat(255)), i16x8.shr_s(i16x8.shl(b, 8), 8));
    const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
    return i16x8.add_sat_s(even, odd);
  }
  @inline static mulUnsignedQuad(a: v128, b: v128): v128 {
    const low = i64x2.splat(0xffffffff);
    return i64x2.mul(v128.and(a, low), v128.and(b, low));
  }
  @inline static mulSignedQuad(a: v128, b: v128): v128 {
    return i64x2.mul(i64x2.shr_s(i64x2.shl(a, 32), 32), i64x2.shr_s(i64x2.shl(b, 32), 32));
  }
  /** PSADBW. */
  static sumDifferences(a: v128, b: v128): v128 {
    const difference = v128.or(i8x16.sub_sat_u(a, b), i8x16.sub_sat_u(b, a));
    const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(difference));
    return i64x2.add(v128.and(sums, i64x2.splat(0xffffffff)), i64x2.shr_u(sums, 32));
  }

  @inline static evenWords(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
  }
  @inline static oddWords(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  }
  @inline static evenDwords(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
  }
  @inline static oddDwords(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
  }
  static addWords(a: v128, b: v128): v128 {
    return i16x8.add(Lanes.evenWords(a, b), Lanes.oddWords(a, b));
  }
  static addDwords(a: v128, b: v128): v128 {
    return i32x4.add(Lanes.evenDwords(a, b), Lanes.oddDwords(a, b));
  }
  static addWordsSaturated(a: v128, b: v128): v128 {
    return i16x8.add_sat_s(Lanes.evenWords(a, b), Lanes.oddWords(a, b));
  }
  static subWords(a: v128, b: v128): v128 {
    return i16x8.sub(Lanes.evenWords(a, b), Lanes.oddWords(a, b));
  }
  static subDwords(a: v128, b: v128): v128 {
    return i32x4.sub(Lanes.evenDwords(a, b), Lanes.oddDwords(a, b));
  }
  static subWordsSaturated(a: v128, b: v128): v128 {
    return i16x8.sub_sat_s(Lanes.evenWords(a, b), Lanes.oddWords(a, b));
  }

  static signBytes(a: v128, b: v128): v128 {
    const negative = i8x16.shr_s(b, 7);
    const signed = i8x16.sub(v128.xor(a, negative), negative);
    return v128.andnot(signed, i8x16.eq(b, i64x2.splat(0)));
  }
  static signWords(a: v128, b: v128): v128 {
    const negative = i16x8.shr_s(b, 15);
    const signed = i16x8.sub(v128.xor(a, negative), negative);
    return v128.andnot(signed, i16x8.eq(b, i64x2.splat(0)));
  }
  static signDwords(a: v128, b: v128): v128 {
    const negative = i32x4.shr_s(b, 31);
    const signed = i32x4.sub(v128.xor(a, negative), negative);
    return v128.andnot(signed, i32x4.eq(b, i64x2.splat(0)));
  }

  /** PHMINPOSUW: the smallest word and, in the next lane, where it is first. */
  static minimumPosition(a: v128): v128 {
    let least = <u32>i16x8.extract_lane_u(a, 0);
    let position: u32 = 0;
    let rest = a;
    for (let i: u32 = 1; i < 8; i++) {
      rest = v128.shuffle<i16>(rest, rest, 1, 2, 3, 4, 5, 6, 7, 0);
      const word = <u32>i16x8.extract_lane_u(rest, 0);
      if (word < least) {
        least = word;
        position = i;
      }
    }
    return i32x4.replace_lane(i64x2.splat(0), 0, least | (position << 16));
  }

  /**
   * MPSADBW on 128 bits: eight sums of four absolute differences between the four bytes of `b` that `select` names and
   * successive bytes of `a`.
   */
  static multipleSums(a: v128, b: v128, select: u32): v128 {
    const one = i8x16.splat(1);
    let from = i8x16.add(Shuffle.iota(), i8x16.splat(<i8>(((select >> 2) & 1) << 2)));
    const block = i32x4.splat(<i32>Lanes.dword(b, select & 3));
    let sums = i64x2.splat(0);
    // Bytes 0 to 7 of `window` are a[offset + i + k] for k = 0 to 3.
    for (let k: i32 = 0; k < 4; k++) {
      const window = i16x8.extend_low_i8x16_u(i8x16.swizzle(a, from));
      const wanted = v128.and(i32x4.shr_u(block, k << 3), i32x4.splat(255));
      const words = v128.or(wanted, i32x4.shl(wanted, 16));
      sums = i16x8.add(sums, i16x8.abs(i16x8.sub(window, words)));
      from = i8x16.add(from, one);
    }
    return sums;
  }

  /** Dword number 0 to 3. */
  static dword(a: v128, number: u32): u32 {
    const quad = number < 2 ? i64x2.extract_lane(a, 0) : i64x2.extract_lane(a, 1);
    return <u32>((<u64>quad) >> ((number & 1) << 5));
  }
}

/** Shifts. A count beyond the lane's width gives 0, or the sign in every bit. */
export class Shift {
  /** The count in the lower 64 bits of an operand, at most 255. */
  @inline static count(source: v128): u32 {
    return <u32>min<u64>(<u64>i64x2.extract_lane(source, 0), 255);
  }
  static leftWords(a: v128, count: u32): v128 {
    return count > 15 ? i64x2.splat(0) : i16x8.shl(a, <i32>count);
  }
  static leftDwords(a: v128, count: u32): v128 {
    return count > 31 ? i64x2.splat(0) : i32x4.shl(a, <i32>count);
  }
  static leftQuads(a: v128, count: u32): v128 {
    return count > 63 ? i64x2.splat(0) : i64x2.shl(a, <i32>count);
  }
  static rightWords(a: v128, count: u32): v128 {
    return count > 15 ? i64x2.splat(0) : i16x8.shr_u(a, <i32>count);
  }
  static rightDwords(a: v128, count: u32): v128 {
    return count > 31 ? i64x2.splat(0) : i32x4.shr_u(a, <i32>count);
  }
  static rightQuads(a: v128, count: u32): v128 {
    return count > 63 ? i64x2.splat(0) : i64x2.shr_u(a, <i32>count);
  }
  static signedWords(a: v128, count: u32): v128 {
    return i16x8.shr_s(a, <i32>min<u32>(count, 15));
  }
  static signedDwords(a: v128, count: u32): v128 {
    return i32x4.shr_s(a, <i32>min<u32>(count, 31));
  }
  static leftBytes(a: v128, count: u32): v128 {
    return i8x16.swizzle(a, i8x16.sub(Shuffle.iota(), i8x16.splat(<i8>min<u32>(count, 16))));
  }
  static rightBytes(a: v128, count: u32): v128 {
    return i8x16.swizzle(a, i8x16.add(Shuffle.iota(), i8x16.splat(<i8>min<u32>(count, 16))));
  }

  /** VPSLLVD and its like: a count for each lane. */
  static eachLeftDword(a: v128, counts: v128): v128 {
    let result = i64x2.splat(0);
    result = i32x4.replace_lane(
      result,
      0,
      Shift.left32(i32x4.extract_lane(a, 0), i32x4.extract_lane(counts, 0)),
    );
    result = i32x4.replace_lane(
      result,
      1,
      Shift.left32(i32x4.extract_lane(a, 1), i32x4.extract_lane(counts, 1)),
    );
    result = i32x4.replace_lane(
      result,
      2,
      Shift.left32(i32x4.extract_lane(a, 2), i32x4.extract_lane(counts, 2)),
    );
    return i32x4.replace_lane(
      result,
      3,
      Shift.left32(i32x4.extract_lane(a, 3), i32x4.extract_lane(counts, 3)),
    );
  }
  static eachRightDword(a: v128, counts: v128): v128 {
    let result = i64x2.splat(0);
    result = i32x4.replace_lane(
      result,
      0,
      Shift.right32(i32x4.extract_lane(a, 0), i32x4.extract_lane(counts, 0)),
    );
    result = i32x4.replace_lane(
      result,
      1,
      Shift.right32(i32x4.extract_lane(a, 1), i32x4.extract_lane(counts, 1)),
    );
    result = i32x4.replace_lane(
      result,
      2,
      Shift.right32(i32x4.extract_lane(a, 2), i32x4.extract_lane(counts, 2)),
    );
    return i32x4.replace_lane(
      result,
      3,
      Shift.right32(i32x4.extract_lane(a, 3), i32x4.extract_lane(counts, 3)),
    );
  }
  static eachSignedDword(a: v128, counts: v128): v128 {
    let result = i64x2.splat(0);
    result = i32x4.replace_lane(
      result,
      0,
      Shift.signed32(i32x4.extract_lane(a, 0), i32x4.extract_lane(counts, 0)),
    );
    result = i32x4.replace_lane(
      result,
      1,
      Shift.signed32(i32x4.extract_lane(a, 1), i32x4.extract_lane(counts, 1)),
    );
    result = i32x4.replace_lane(
      result,
      2,
      Shift.signed32(i32x4.extract_lane(a, 2), i32x4.extract_lane(counts, 2)),
    );
    return i32x4.replace_lane(
      result,
      3,
      Shift.signed32(i32x4.extract_lane(a, 3), i32x4.extract_lane(counts, 3)),
    );
  }
  static eachLeftQuad(a: v128, counts: v128): v128 {
    const low = <u64>i64x2.extract_lane(counts, 0);
    const high = <u64>i64x2.extract_lane(counts, 1);
    const result = i64x2.splat(low > 63 ? 0 : i64x2.extract_lane(a, 0) << low);
    return i64x2.replace_lane(result, 1, high > 63 ? 0 : i64x2.extract_lane(a, 1) << high);
  }
  static eachRightQuad(a: v128, counts: v128): v128 {
    const low = <u64>i64x2.extract_lane(counts, 0);
    const high = <u64>i64x2.extract_lane(counts, 1);
    const result = i64x2.splat(low > 63 ? 0 : <i64>((<u64>i64x2.extract_lane(a, 0)) >> low));
    return i64x2.replace_lane(result, 1, high > 63 ? 0 : <i64>((<u64>i64x2.extract_lane(a, 1)) >> high));
  }
  @inline static left32(value: i32, count: i32): i32 {
    return <u32>count > 31 ? 0 : value << count;
  }
  @inline static right32(value: i32, count: i32): i32 {
    return <u32>count > 31 ? 0 : <i32>((<u32>value) >> count);
  }
  @inline static signed32(value: i32, count: i32): i32 {
    return value >> (<i32>min<u32>(<u32>count, 31));
  }
}

/** What moves lanes about. Selectors are immediate bytes. */
export class Shuffle {
  @inline static iota(): v128 {
    return i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  /** Four bytes of a byte index for the dword that the low two bits of `select` name. */
  @inline static dwordIndex(select: u32): i32 {
    return <i32>((select & 3) * 0x04040404 + 0x03020100);
  }
  /** PSHUFD. */
  static dwords(a: v128, select: u32): v128 {
    let index = i32x4.splat(Shuffle.dwordIndex(select));
    index = i32x4.replace_lane(index, 1, Shuffle.dwordIndex(select >> 2));
    index = i32x4.replace_lane(index, 2, Shuffle.dwordIndex(select >> 4));
    index = i32x4.replace_lane(index, 3, Shuffle.dwordIndex(select >> 6));
    return i8x16.swizzle(a, index);
  }
  /** Byte indices of four words among the first four of a vector. */
  @inline static wordIndex(select: u32): u64 {
    const spread: u64 =
      (<u64>(select & 3)) |
      ((<u64>(select & 0xc)) << 14) |
      ((<u64>(select & 0x30)) << 28) |
      ((<u64>(select & 0xc0)) << 42);
    return spread * 0x0202 + 0x0100010001000100;
  }
  static lowWords(a: v128, select: u32): v128 {
    return i8x16.swizzle(a, i64x2.replace_lane(Shuffle.iota(), 0, <i64>Shuffle.wordIndex(select)));
  }
  static highWords(a: v128, select: u32): v128 {
    const index = <i64>(Shuffle.wordIndex(select) + 0x0808080808080808);
    return i8x16.swizzle(a, i64x2.replace_lane(Shuffle.iota(), 1, index));
  }
  /** SHUFPS. */
  static singles(a: v128, b: v128, select: u32): v128 {
    return v128.shuffle<i64>(Shuffle.dwords(a, select), Shuffle.dwords(b, select), 0, 3);
  }
  /** SHUFPD: bit 0 chooses from `a`, bit 1 from `b`. */
  static doubles(a: v128, b: v128, select: u32): v128 {
    const low = (select & 1) != 0 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0);
    const high = (select & 2) != 0 ? i64x2.extract_lane(b, 1) : i64x2.extract_lane(b, 0);
    return i64x2.replace_lane(i64x2.splat(low), 1, high);
  }
  /** PSHUFB: bit 7 of an index makes a zero. */
  @inline static bytes(a: v128, index: v128): v128 {
    return i8x16.swizzle(a, v128.and(index, i8x16.splat(<i8>0x8f)));
  }
  /** PSHUFB on MMX registers. */
  @inline static bytes8(a: v128, index: v128): v128 {
    return i8x16.swizzle(a, v128.and(index, i8x16.splat(<i8>0x87)));
  }
  /** PALIGNR: bytes of `a` above those of `b`, moved right. */
  static align(a: v128, b: v128, count: u32): v128 {
    const index = i8x16.add(Shuffle.iota(), i8x16.splat(<i8>min<u32>(count, 32)));
    return v128.or(i8x16.swizzle(b, index), i8x16.swizzle(a, i8x16.sub(index, i8x16.splat(16))));
  }
  @inline static lowBytes(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
  @inline static highBytes(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }
  @inline static lowWordPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }
  @inline static highWordPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  @inline static lowDwordPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  }
  @inline static highDwordPairs(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  }
  @inline static lowQuads(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 0, 2);
  }
  @inline static highQuads(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 1, 3);
  }
  /** The lower half of `a`, and `b` above it. */
  @inline static joinLow(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 0, 2);
  }

  /** Masks of all ones in the lanes whose bit in `select` is set. */
  @inline static wordMask(select: u32): v128 {
    const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
    return i16x8.eq(v128.and(i16x8.splat(<i16>select), bits), bits);
  }
  @inline static dwordMask(select: u32): v128 {
    const bits = i32x4(1, 2, 4, 8);
    return i32x4.eq(v128.and(i32x4.splat(<i32>select), bits), bits);
  }
  @inline static quadMask(select: u32): v128 {
    const bits = i64x2(1, 2);
    return i64x2.eq(v128.and(i64x2.splat(<i64>select), bits), bits);
  }
  static blendWords(a: v128, b: v128, select: u32): v128 {
    return v128.bitselect(b, a, Shuffle.wordMask(select));
  }
  static blendDwords(a: v128, b: v128, select: u32): v128 {
    return v128.bitselect(b, a, Shuffle.dwordMask(select));
  }
  static blendQuads(a: v128, b: v128, select: u32): v128 {
    return v128.bitselect(b, a, Shuffle.quadMask(select));
  }
  /** INSERTPS: bits 7:6 choose from `b`, 5:4 where in `a`, 3:0 what becomes zero. */
  static insertSingle(a: v128, value: u32, select: u32): v128 {
    const lane: u32 = 1 << ((select >> 4) & 3);
    const inserted = v128.bitselect(i32x4.splat(<i32>value), a, Shuffle.dwordMask(lane));
    return v128.andnot(inserted, Shuffle.dwordMask(select & 15));
  }
  /** VPERMILPS with a register of selectors. */
  static eachDword(a: v128, selectors: v128): v128 {
    const index = i32x4.mul(v128.and(selectors, i32x4.splat(3)), i32x4.splat(0x04040404));
    return i8x16.swizzle(a, i32x4.add(index, i32x4.splat(0x03020100)));
  }
  /** VPERMILPD: bit 1 of each selector. */
  static eachQuad(a: v128, selectors: v128): v128 {
    const low =
      (i64x2.extract_lane(selectors, 0) & 2) != 0 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0);
    const high =
      (i64x2.extract_lane(selectors, 1) & 2) != 0 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0);
    return i64x2.replace_lane(i64x2.splat(low), 1, high);
  }
}

/**
 * AES, SHA and carry-less multiplication. SDM Vol. 2; FIPS 197 and FIPS 180-4 for the functions that its operations name.
 *
 * The AES state is a column-major 4 × 4 matrix of bytes, as in an XMM register.
 */

/** FIPS 197, "SubBytes". */
const S_BOX: usize = memory.data<u8>([
  0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76, 0xca, 0x82,
  0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0, 0xb7, 0xfd, 0x93, 0x26,
  0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15, 0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96,
  0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75, 0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0,
  0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84, 0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb,
  0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf, 0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f,
  0x50, 0x3c, 0x9f, 0xa8, 0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff,
  0xf3, 0xd2, 0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
  0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb, 0xe0, 0x32,
  0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79, 0xe7, 0xc8, 0x37, 0x6d,
  0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08, 0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6,
  0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a, 0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e,
  0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e, 0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e,
  0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf, 0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f,
  0xb0, 0x54, 0xbb, 0x16,
]);

/** FIPS 197, "InvSubBytes". */
const INVERSE_S_BOX: usize = memory.data<u8>([
  0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb, 0x7c, 0xe3,
  0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb, 0x54, 0x7b, 0x94, 0x32,
  0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e, 0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9,
  0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25, 0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16,
  0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92, 0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15,
  0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84, 0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05,
  0xb8, 0xb3, 0x45, 0x06, 0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13,
  0x8a, 0x6b, 0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
  0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e, 0x47, 0xf1,
  0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b, 0xfc, 0x56, 0x3e, 0x4b,
  0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4, 0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07,
  0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f, 0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d,
  0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef, 0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb,
  0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61, 0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63,
  0x55, 0x21, 0x0c, 0x7d,
]);

/** Replaces the eight bytes of a word by those of a table. */
function substitute(value: u64, table: usize): u64 {
  let result: u64 = 0;
  for (let i: u64 = 0; i < 64; i += 8) result |= (<u64>load<u8>(table + <usize>((value >> i) & 0xff))) << i;
  return result;
}

function substituteAll(a: v128, table: usize): v128 {
  const low = substitute(<u64>i64x2.extract_lane(a, 0), table);
  const high = substitute(<u64>i64x2.extract_lane(a, 1), table);
  return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
}

/** Multiplies each byte by x in GF(2^8). */
function double(a: v128): v128 {
  return v128.xor(i8x16.shl(a, 1), v128.and(i8x16.shr_s(a, 7), i8x16.splat(0x1b)));
}

/** The bytes of each column moved up by one, two or three rows. */
function up1(a: v128): v128 {
  return v128.shuffle<i8>(a, a, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
}
function up2(a: v128): v128 {
  return v128.shuffle<i8>(a, a, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}

function mixColumns(a: v128): v128 {
  const next = up1(a);
  const sum = v128.xor(a, next);
  // 2a + 3b + c + d = 2(a + b) + b + (c + d)
  return v128.xor(v128.xor(double(sum), next), up2(sum));
}

function inverseMixColumns(a: v128): v128 {
  // The inverse polynomial is that of MixColumns times (4x² + 5).
  return mixColumns(v128.xor(a, double(double(v128.xor(a, up2(a))))));
}

function shiftRows(a: v128): v128 {
  return v128.shuffle<i8>(a, a, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
}
function inverseShiftRows(a: v128): v128 {
  return v128.shuffle<i8>(a, a, 0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3);
}

export class Aes {
  static encrypt(state: v128, key: v128): v128 {
    return v128.xor(mixColumns(substituteAll(shiftRows(state), S_BOX)), key);
  }
  static encryptLast(state: v128, key: v128): v128 {
    return v128.xor(substituteAll(shiftRows(state), S_BOX), key);
  }
  static decrypt(state: v128, key: v128): v128 {
    return v128.xor(inverseMixColumns(substituteAll(inverseShiftRows(state), INVERSE_S_BOX)), key);
  }
  static decryptLast(state: v128, key: v128): v128 {
    return v128.xor(substituteAll(inverseShiftRows(state), INVERSE_S_BOX), key);
  }
  /** AESIMC. */
  static inverseMix(a: v128): v128 {
    return inverseMixColumns(a);
  }
  /** AESKEYGENASSIST: of dwords 1 and 3, SubWord, and RotWord of that with the round constant. */
  static keyAssist(a: v128, constant: u32): v128 {
    const words = substituteAll(v128.shuffle<i32>(a, a, 1, 1, 3, 3), S_BOX);
    const rotated = v128.shuffle<i8>(words, words, 0, 1, 2, 3, 5, 6, 7, 4, 8, 9, 10, 11, 13, 14, 15, 12);
    return v128.xor(rotated, i64x2.splat((<i64>constant) << 32));
  }
}

/** PCLMULQDQ: bit 0 of `select` chooses the half of `a`, bit 4 that of `b`. */
export class Carryless {
  static multiply(a: v128, b: v128, select: u32): v128 {
    const x = <u64>((select & 1) != 0 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0));
    let y = <u64>((select & 16) != 0 ? i64x2.extract_lane(b, 1) : i64x2.extract_lane(b, 0));
    let low: u64 = 0;
    let high: u64 = 0;
    while (y != 0) {
      const at = ctz<u64>(y);
      low ^= x << at;
      // Twice, since a shift by 64 would be one by 0.
      high ^= (x >> 1) >> (63 - at);
      y &= y - 1;
    }
    return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
  }
}

function choose(x: u32, y: u32, z: u32): u32 {
  return (x & y) ^ (~x & z);
}
function majority(x: u32, y: u32, z: u32): u32 {
  return (x & y) ^ (x & z) ^ (y & z);
}
function sum0(x: u32): u32 {
  return rotr<u32>(x, 2) ^ rotr<u32>(x, 13) ^ rotr<u32>(x, 22);
}
function sum1(x: u32): u32 {
  return rotr<u32>(x, 6) ^ rotr<u32>(x, 11) ^ rotr<u32>(x, 25);
}
function sigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}
function sigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

/** A vector of four dwords, bits 31:0 first. */
function dwords(a: u32, b: u32, c: u32, d: u32): v128 {
  return i32x4.replace_lane(
    i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(<i32>a), 1, <i32>b), 2, <i32>c),
    3,
    <i32>d,
  );
}
function lane0(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 0);
}
function lane1(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 1);
}
function lane2(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 2);
}
function lane3(a: v128): u32 {
  return <u32>i32x4.extract_lane(a, 3);
}

/** FIPS 180-4, "SHA-1 Functions": the function of a group of twenty rounds. */
function sha1Function(group: u32, b: u32, c: u32, d: u32): u32 {
  return group == 0 ? choose(b, c, d) : group == 2 ? majority(b, c, d) : b ^ c ^ d;
}
function sha1Constant(group: u32): u32 {
  return group == 0 ? 0x5a827999 : group == 1 ? 0x6ed9eba1 : group == 2 ? 0x8f1bbcdc : 0xca62c1d6;
}

export class Sha {
  static rounds1(state: v128, words: v128, select: u32): v128 {
    const group = select & 3;
    const constant = sha1Constant(group);
    let a = lane3(state);
    let b = lane2(state);
    let c = lane1(state);
    let d = lane0(state);
    // The first word already has E in it.
    let e: u32 = 0;
    let rest = words;
    for (let i: u32 = 0; i < 4; i++) {
      const next = sha1Function(group, b, c, d) + rotl<u32>(a, 5) + lane3(rest) + e + constant;
      e = d;
      d = c;
      c = rotl<u32>(b, 30);
      b = a;
      a = next;
      rest = v128.shuffle<i32>(rest, rest, 3, 0, 1, 2);
    }
    return dwords(d, c, b, a);
  }
  static nextE1(state: v128, words: v128): v128 {
    return i32x4.replace_lane(words, 3, <i32>(lane3(words) + rotl<u32>(lane3(state), 30)));
  }
  static message1First(a: v128, b: v128): v128 {
    return v128.xor(a, v128.shuffle<i32>(a, b, 6, 7, 0, 1));
  }
  static message1Second(a: v128, b: v128): v128 {
    const w16 = rotl<u32>(lane3(a) ^ lane2(b), 1);
    const w17 = rotl<u32>(lane2(a) ^ lane1(b), 1);
    const w18 = rotl<u32>(lane1(a) ^ lane0(b), 1);
    return dwords(rotl<u32>(lane0(a) ^ w16, 1), w18, w17, w16);
  }
  /** `words`: XMM0, of which the lower half is used. */
  static rounds256(cdgh: v128, abef: v128, words: v128): v128 {
    let a = lane3(abef);
    let b = lane2(abef);
    let c = lane3(cdgh);
    let d = lane2(cdgh);
    let e = lane1(abef);
    let f = lane0(abef);
    let g = lane1(cdgh);
    let h = lane0(cdgh);
    let word = lane0(words);
    for (let i: u32 = 0; i < 2; i++) {
      const first = choose(e, f, g) + sum1(e) + word + h;
      h = g;
      g = f;
      f = e;
      e = first + d;
      const next = first + majority(a, b, c) + sum0(a);
      d = c;
      c = b;
      b = a;
      a = next;
      word = lane1(words);
    }
    return dwords(f, e, b, a);
  }
  static message256First(a: v128, b: v128): v128 {
    return dwords(
      lane0(a) + sigma0(lane1(a)),
      lane1(a) + sigma0(lane2(a)),
      lane2(a) + sigma0(lane3(a)),
      lane3(a) + sigma0(lane0(b)),
    );
  }
  static message256Second(a: v128, b: v128): v128 {
    const w16 = lane0(a) + sigma1(lane2(b));
    const w17 = lane1(a) + sigma1(lane3(b));
    const w18 = lane2(a) + sigma1(w16);
    return dwords(w16, w17, w18, lane3(a) + sigma1(w17));
  }
}

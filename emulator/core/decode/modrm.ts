/**
 * Memory operands of the ModR/M and SIB bytes. Intel SDM Vol. 2A, "Addressing-Mode Encoding of ModR/M and SIB Bytes".
 */
import {
  BASE_RIP,
  DECODED_BYTES,
  DECODED_FLAG_B,
  DECODED_FLAG_VSIB,
  DECODED_FLAG_X,
  Decoded,
  NO_REGISTER,
  NO_SEGMENT,
} from "./decoded.generated";
import { MODE_64, nextByte } from "./prefixes";

const SEGMENT_SS: u32 = 2;
const SEGMENT_DS: u32 = 3;
const RSP: u32 = 4;
const RBP: u32 = 5;
const RBX: u32 = 3;
const RSI: u32 = 6;
const RDI: u32 = 7;

/** Takes `count` bytes (1, 2, 4 or 8), zero-extended. */
export function takeUnsigned(d: Decoded, count: u32): u64 {
  const at = changetype<usize>(d) + d.length;
  d.length += <u8>count;
  if (count == 1) return load<u8>(at, DECODED_BYTES);
  if (count == 2) return load<u16>(at, DECODED_BYTES);
  if (count == 4) return load<u32>(at, DECODED_BYTES);
  return load<u64>(at, DECODED_BYTES);
}

/** Takes `count` bytes (1, 2, 4 or 8), sign-extended. */
export function takeSigned(d: Decoded, count: u32): u64 {
  const at = changetype<usize>(d) + d.length;
  d.length += <u8>count;
  if (count == 1) return <u64>(<i64>load<i8>(at, DECODED_BYTES));
  if (count == 2) return <u64>(<i64>load<i16>(at, DECODED_BYTES));
  if (count == 4) return <u64>(<i64>load<i32>(at, DECODED_BYTES));
  return load<u64>(at, DECODED_BYTES);
}

/** The segment prefix if there is one, else `fallback`. */
export function segmentOr(d: Decoded, fallback: u32): u32 {
  const chosen: u32 = d.segmentOverride;
  return chosen == NO_SEGMENT ? fallback : chosen;
}

/** Takes SIB and displacement of the memory operand that `d.modrm` (mod below 3) names; sets base, index, scale, disp, segment. */
export function takeMemoryOperand(d: Decoded, mode: u32): void {
  if (d.addressSize == 2) takeMemoryOperand16(d);
  else takeMemoryOperand32(d, mode);
}

function takeMemoryOperand16(d: Decoded): void {
  const modrm: u32 = d.modrm;
  const mod = modrm >> 6;
  let base: u32 = NO_REGISTER;
  let index: u32 = NO_REGISTER;
  let segment = SEGMENT_DS;
  switch (modrm & 7) {
    case 0:
      base = RBX;
      index = RSI;
      break;
    case 1:
      base = RBX;
      index = RDI;
      break;
    case 2:
      base = RBP;
      index = RSI;
      segment = SEGMENT_SS;
      break;
    case 3:
      base = RBP;
      index = RDI;
      segment = SEGMENT_SS;
      break;
    case 4:
      base = RSI;
      break;
    case 5:
      base = RDI;
      break;
    case 6:
      // Without a displacement this encoding is a bare offset.
      if (mod != 0) {
        base = RBP;
        segment = SEGMENT_SS;
      }
      break;
    default:
      base = RBX;
  }
  d.base = <u8>base;
  d.index = <u8>index;
  d.segment = <u8>segmentOr(d, segment);
  if (mod == 1) d.disp = takeSigned(d, 1);
  else if (mod == 2 || base == NO_REGISTER) d.disp = takeSigned(d, 2);
}

function takeMemoryOperand32(d: Decoded, mode: u32): void {
  const modrm: u32 = d.modrm;
  const mod = modrm >> 6;
  const flags = d.flags;
  let low = modrm & 7;
  let base: u32 = low;
  let hasSib = false;
  if (low == 4) {
    hasSib = true;
    const sib = nextByte(d);
    const index = ((sib >> 3) & 7) | (flags & DECODED_FLAG_X ? 8 : 0);
    // Index 4 means none, but for a vector of indices; R12 and XMM4 are usable.
    d.index = <u8>(index == RSP && (flags & DECODED_FLAG_VSIB) == 0 ? NO_REGISTER : index);
    d.scale = <u8>(sib >> 6);
    low = sib & 7;
    base = low;
  }
  let segment = SEGMENT_DS;
  let dispBytes: u32 = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  if (mod == 0 && low == 5) {
    // REX.B does not matter here: R13 as well as rBP needs a displacement to be a base.
    dispBytes = 4;
    base = mode == MODE_64 && !hasSib ? BASE_RIP : NO_REGISTER;
  } else {
    if (flags & DECODED_FLAG_B) base |= 8;
    if (base == RSP || base == RBP) segment = SEGMENT_SS;
  }
  d.base = <u8>base;
  d.segment = <u8>segmentOr(d, segment);
  if (dispBytes != 0) d.disp = takeSigned(d, dispBytes);
}

/**
 * Instruction prefixes: legacy, REX and VEX. Intel SDM Vol. 2A, "Instruction Format".
 *
 * Here as in the other files of this folder, `d.length` is the cursor while an instruction is being decoded: the
 * number of bytes taken so far from `d.bytes`.
 */
import {
  DECODED_BYTES,
  DECODED_FLAG_ADDRESS_SIZE_PREFIX,
  DECODED_FLAG_B,
  DECODED_FLAG_LOCK,
  DECODED_FLAG_OPERAND_SIZE_PREFIX,
  DECODED_FLAG_R,
  DECODED_FLAG_REP,
  DECODED_FLAG_REPNE,
  DECODED_FLAG_REX,
  DECODED_FLAG_VEX,
  DECODED_FLAG_VEX_L,
  DECODED_FLAG_W,
  DECODED_FLAG_X,
  Decoded,
  NO_SEGMENT,
} from "./decoded.generated";

/** Code sizes, the `mode` argument of `decode()`. */
export const MODE_16: u32 = 0;
export const MODE_32: u32 = 1;
export const MODE_64: u32 = 2;

/** Architectural limit; a longer instruction raises #GP(0). */
export const MAX_INSTRUCTION_BYTES: u32 = 15;

/** Takes the next byte. In range: at most 15 prefixes, and an instruction body of at most 15 bytes, in a 32-byte copy. */
export function nextByte(d: Decoded): u32 {
  const at: u32 = d.length;
  d.length = <u8>(at + 1);
  return load<u8>(changetype<usize>(d) + at, DECODED_BYTES);
}

/** The byte at the cursor, not taken. */
export function peekByte(d: Decoded): u32 {
  return load<u8>(changetype<usize>(d) + d.length, DECODED_BYTES);
}

/**
 * Takes legacy prefixes and REX, and sets `flags` and `segmentOverride`.
 *
 * The last of several segment prefixes counts, and the last of F2H and F3H. In 64-bit mode ES, CS, SS and DS overrides are
 * null prefixes. A REX prefix counts only directly before the opcode. Stops after 15 bytes: what follows is too long.
 */
export function takePrefixes(d: Decoded, mode: u32): void {
  let flags: u32 = 0;
  let rex: u32 = 0;
  let segment: u32 = NO_SEGMENT;
  while (<u32>d.length < MAX_INSTRUCTION_BYTES) {
    const byte = peekByte(d);
    if ((byte & 0xf0) == 0x40 && mode == MODE_64) {
      rex = byte;
      d.length++;
      continue;
    }
    switch (byte) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        if (mode != MODE_64) segment = (byte >> 3) & 3;
        break;
      case 0x64:
      case 0x65:
        segment = byte & 7;
        break;
      case 0x66:
        flags |= DECODED_FLAG_OPERAND_SIZE_PREFIX;
        break;
      case 0x67:
        flags |= DECODED_FLAG_ADDRESS_SIZE_PREFIX;
        break;
      case 0xf0:
        flags |= DECODED_FLAG_LOCK;
        break;
      case 0xf2:
        flags = (flags & ~DECODED_FLAG_REP) | DECODED_FLAG_REPNE;
        break;
      case 0xf3:
        flags = (flags & ~DECODED_FLAG_REPNE) | DECODED_FLAG_REP;
        break;
      default:
        // WRXB are adjacent in the byte, but in the order B, X, R, W from bit 0, while flags go W, R, X, B.
        if (rex != 0) {
          flags |= DECODED_FLAG_REX;
          if (rex & 8) flags |= DECODED_FLAG_W;
          if (rex & 4) flags |= DECODED_FLAG_R;
          if (rex & 2) flags |= DECODED_FLAG_X;
          if (rex & 1) flags |= DECODED_FLAG_B;
        }
        d.flags = flags;
        d.segmentOverride = <u8>segment;
        return;
    }
    rex = 0;
    d.length++;
  }
  d.flags = flags;
  d.segmentOverride = <u8>segment;
}

/**
 * Whether C4H or C5H, just taken as opcode, begins a VEX prefix: always in 64-bit mode; elsewhere when the next byte would
 * be a ModR/M byte with mod = 3, which LES and LDS do not have.
 */
export function isVex(d: Decoded, opcode: u32, mode: u32): bool {
  return (opcode & 0xfe) == 0xc4 && (mode == MODE_64 || (peekByte(d) & 0xc0) == 0xc0);
}

/** Prefixes that make a VEX-encoded instruction undefined. */
const BEFORE_VEX: u32 =
  DECODED_FLAG_LOCK |
  DECODED_FLAG_REP |
  DECODED_FLAG_REPNE |
  DECODED_FLAG_OPERAND_SIZE_PREFIX |
  DECODED_FLAG_REX;

/**
 * Takes the rest of a VEX prefix whose first byte was `first`, and sets map, flags and vvvv.
 *
 * @returns the pp field (0 none, 1 66H, 2 F3H, 3 F2H), or -1 when the instruction is undefined: a prefix that VEX does not
 *   allow before it, or a reserved map
 */
export function takeVex(d: Decoded, first: u32, mode: u32): i32 {
  const isAllowed = (d.flags & BEFORE_VEX) == 0;
  let flags: u32 = d.flags | DECODED_FLAG_VEX;
  let payload = nextByte(d);
  // R, X, B and vvvv are stored inverted.
  if ((payload & 0x80) == 0) flags |= DECODED_FLAG_R;
  let map: u32 = 1;
  if (first == 0xc4) {
    if ((payload & 0x40) == 0) flags |= DECODED_FLAG_X;
    if ((payload & 0x20) == 0) flags |= DECODED_FLAG_B;
    map = payload & 0x1f;
    payload = nextByte(d);
    if (payload & 0x80) flags |= DECODED_FLAG_W;
  }
  if (payload & 4) flags |= DECODED_FLAG_VEX_L;
  const vvvv = (~payload >> 3) & 15;
  if (mode != MODE_64) {
    // Only eight registers: the bits that name the others are ignored (the one in vvvv by `decodeRow`).
    flags &= ~(DECODED_FLAG_R | DECODED_FLAG_X | DECODED_FLAG_B);
  }
  d.flags = flags;
  d.vvvv = <u8>vvvv;
  if (!isAllowed || map < 1 || map > 3) return -1;
  d.map = <u8>(map + 3);
  return payload & 3;
}

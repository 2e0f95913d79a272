/**
 * The six arithmetic flags, kept lazily in two words.
 *
 * An ALU instruction stores its result, sign-extended to 64 bits, and the vector of its carries; flags are
 * computed when somebody asks, without a switch on what produced them:
 *
 *   flagResult   ZF = (flagResult == 0), SF = bit 63, PF = parity of the low byte
 *   flagCarries  bit 63: CF.  bit 63 xor bit 62: OF.  bit 3: AF.
 *                bit 0: SF is inverted.  bits 15:8: exclusive-or into the byte that PF looks at.
 *
 * The two inversion fields make every combination of flags representable (POPF can ask for ZF and SF).
 */
import { cpu } from "./cpu";
import {
  FLAGS_ARITHMETIC,
  FLAG_1,
  FLAG_AF,
  FLAG_CF,
  FLAG_OF,
  FLAG_PF,
  FLAG_SF,
  FLAG_ZF,
} from "../spec/architecture";

const CF_BIT: u64 = 0x8000000000000000;
const OF_PARTNER: u64 = 0x4000000000000000;
const AF_BIT: u64 = 8;
const KEPT: u64 = CF_BIT | OF_PARTNER | AF_BIT;

// The methods are inlined by request: each is a few operations, and calls would dominate (performance.md).
export class Flags {
  /** Records result and carry-out vector of an addition or subtraction of type T. */
  @inline static arithmetic<T>(result: T, carries: T): void {
    if (sizeof<T>() == 8) {
      cpu.flagResult = <u64>result;
      cpu.flagCarries = (<u64>carries) & KEPT;
    } else if (sizeof<T>() == 4) {
      cpu.flagResult = <u64>(<i64>(<i32>result));
      const wide = <u64>(<u32>carries);
      cpu.flagCarries = ((wide << 32) & (CF_BIT | OF_PARTNER)) | (wide & AF_BIT);
    } else if (sizeof<T>() == 2) {
      cpu.flagResult = <u64>(<i64>(<i16>result));
      const wide = <u64>(<u16>carries);
      cpu.flagCarries = ((wide << 48) & (CF_BIT | OF_PARTNER)) | (wide & AF_BIT);
    } else {
      cpu.flagResult = <u64>(<i64>(<i8>result));
      const wide = <u64>(<u8>carries);
      cpu.flagCarries = ((wide << 56) & (CF_BIT | OF_PARTNER)) | (wide & AF_BIT);
    }
  }

  /** Records the result of a logical operation: CF = OF = 0; AF, undefined, is cleared. */
  @inline static logic<T>(result: T): void {
    cpu.flagResult = Flags.extend<T>(result);
    cpu.flagCarries = 0;
  }

  @inline static extend<T>(value: T): u64 {
    if (sizeof<T>() == 8) return <u64>value;
    if (sizeof<T>() == 4) return <u64>(<i64>(<i32>value));
    if (sizeof<T>() == 2) return <u64>(<i64>(<i16>value));
    return <u64>(<i64>(<i8>value));
  }

  /** Records a result with CF, OF and AF given (shifts, multiplications). Each is 0 or 1. */
  @inline static explicit<T>(result: T, cf: u64, overflow: u64, af: u64): void {
    cpu.flagResult = Flags.extend<T>(result);
    cpu.flagCarries = (cf << 63) | ((cf ^ overflow) << 62) | (af << 3);
  }

  @inline static cf(): u64 {
    return cpu.flagCarries >> 63;
  }

  @inline static of(): u64 {
    const carries = cpu.flagCarries;
    return (carries ^ (carries << 1)) >> 63;
  }

  @inline static af(): u64 {
    return (cpu.flagCarries >> 3) & 1;
  }

  @inline static zf(): bool {
    return cpu.flagResult == 0;
  }

  @inline static sf(): u64 {
    return (cpu.flagResult >> 63) ^ (cpu.flagCarries & 1);
  }

  @inline static pf(): u64 {
    return <u64>(~popcnt<u32>(((<u32>cpu.flagResult) ^ ((<u32>cpu.flagCarries) >> 8)) & 0xff) & 1);
  }

  /** Changes CF, keeps the other five. */
  @inline static setCf(cf: u64): void {
    const overflow = Flags.of();
    cpu.flagCarries = (cpu.flagCarries & ~(CF_BIT | OF_PARTNER)) | (cf << 63) | ((cf ^ overflow) << 62);
  }

  /** Changes CF and OF, keeps the other four. */
  @inline static setCfOf(cf: u64, overflow: u64): void {
    cpu.flagCarries = (cpu.flagCarries & ~(CF_BIT | OF_PARTNER)) | (cf << 63) | ((cf ^ overflow) << 62);
  }
}

/** The whole RFLAGS image. */
export function getFlags(): u64 {
  return (
    (cpu.rflags & ~FLAGS_ARITHMETIC) |
    FLAG_1 |
    Flags.cf() |
    (Flags.pf() << 2) |
    (Flags.af() << 4) |
    ((<u64>Flags.zf()) << 6) |
    (Flags.sf() << 7) |
    (Flags.of() << 11)
  );
}

/** Sets the six arithmetic flags from an RFLAGS image; the others keep their values. */
export function setArithmeticFlags(image: u64): void {
  const zf = (image & FLAG_ZF) != 0;
  const result: u64 = zf ? 0 : 1;
  const cf = image & FLAG_CF;
  const overflow = (image & FLAG_OF) >> 11;
  const sf = (image & FLAG_SF) >> 7;
  // Parity of the result's low byte: 0 has even parity (PF = 1), 1 has odd (PF = 0).
  const pf = (image & FLAG_PF) >> 2;
  const invertParity = pf ^ (zf ? 1 : 0);
  cpu.flagResult = result;
  cpu.flagCarries =
    (cf << 63) | ((cf ^ overflow) << 62) | (((image & FLAG_AF) >> 4) << 3) | sf | (invertParity << 8);
}

/** Fields of IEEE formats by the type T that holds their bits: u16 half, u32 single, u64 double. */
import { BIAS, TOP_BIT } from "./environment";

export class Fields {
  @inline static signBit<T>(): u64 {
    return sizeof<T>() == 2 ? 0x8000 : sizeof<T>() == 4 ? 0x80000000 : TOP_BIT;
  }
  /** Bits of the fraction field. */
  @inline static fractionBits<T>(): u64 {
    return sizeof<T>() == 2 ? 10 : sizeof<T>() == 4 ? 23 : 52;
  }
  @inline static fractionMask<T>(): u64 {
    return ((<u64>1) << Fields.fractionBits<T>()) - 1;
  }
  /** Exponent field of infinities and NaNs. */
  @inline static maxExponent<T>(): u32 {
    return sizeof<T>() == 2 ? 31 : sizeof<T>() == 4 ? 255 : 2047;
  }
  /** Exponent of 1. */
  @inline static bias<T>(): i32 {
    return sizeof<T>() == 2 ? 15 : sizeof<T>() == 4 ? 127 : 1023;
  }
  /** Exponent of a denormal whose fraction, as a 64-bit number, has no leading zero. */
  @inline static denormalExponent<T>(): i32 {
    return BIAS - Fields.bias<T>() + 64 - <i32>Fields.fractionBits<T>();
  }
  @inline static sign<T>(bits: T): u32 {
    return <u32>((<u64>bits) >> (sizeof<T>() * 8 - 1));
  }
  @inline static exponent<T>(bits: T): u32 {
    return (<u32>((<u64>bits) >> Fields.fractionBits<T>())) & Fields.maxExponent<T>();
  }
  @inline static fraction<T>(bits: T): u64 {
    return (<u64>bits) & Fields.fractionMask<T>();
  }
  /** Magnitude: all but the sign. */
  @inline static magnitude<T>(bits: T): u64 {
    return (<u64>bits) & (Fields.signBit<T>() - 1);
  }
  @inline static infinity<T>(): u64 {
    return (<u64>Fields.maxExponent<T>()) << Fields.fractionBits<T>();
  }
  @inline static isNan<T>(bits: T): bool {
    return Fields.magnitude<T>(bits) > Fields.infinity<T>();
  }
  /** The bit that tells quiet from signaling NaNs. */
  @inline static quietBit<T>(): u64 {
    return (<u64>1) << (Fields.fractionBits<T>() - 1);
  }
  @inline static isSignaling<T>(bits: T): bool {
    return Fields.isNan<T>(bits) && ((<u64>bits) & Fields.quietBit<T>()) == 0;
  }
  @inline static isDenormal<T>(bits: T): bool {
    return Fields.magnitude<T>(bits) - 1 < Fields.fractionMask<T>();
  }
  /** The NaN that stands for a masked invalid operation: quiet, negative, nothing else. */
  @inline static indefinite<T>(): T {
    return <T>(Fields.signBit<T>() | Fields.infinity<T>() | Fields.quietBit<T>());
  }
}

/** Exponent of a finite number that is not zero, as in unpacked numbers. */
export function unpackExponent<T>(bits: T): i32 {
  const field = Fields.exponent<T>(bits);
  if (field != 0) return <i32>field - Fields.bias<T>() + BIAS;
  return Fields.denormalExponent<T>() - <i32>clz<u64>(Fields.fraction<T>(bits));
}

/** Significand of a finite number that is not zero, with its top bit at bit 63. */
export function unpackSignificand<T>(bits: T): u64 {
  const fraction = Fields.fraction<T>(bits);
  if (Fields.exponent<T>(bits) != 0) return TOP_BIT | (fraction << (63 - Fields.fractionBits<T>()));
  return fraction << clz<u64>(fraction);
}

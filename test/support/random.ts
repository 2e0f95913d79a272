/** A small seeded generator: xorshift32 (Marsaglia, "Xorshift RNGs"). Same seed, same sequence, on every platform. */
export class Random {
  /** Signed: an integer of the engine's, where an unsigned one would be a number on its heap. */
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 0x9e3779b9 | 0;
  }

  /** Uniform in 0 to 2^32 - 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** Uniform in 0 to `bound` - 1. The high bits are used: the low ones are the weaker. */
  below(bound: number): number {
    return Math.floor((this.next() / 4294967296) * bound);
  }

  /** True in `percent` of the cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** FNV-1a (Fowler, Noll, Vo), 32 bits: a seed from a name. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** Seed and size of a random test: the defaults, or what EXITLESS_SEED and EXITLESS_CASES say. */
export function randomTestSettings(defaults: { seed: number; cases: number }): {
  seed: number;
  cases: number;
} {
  const { EXITLESS_SEED, EXITLESS_CASES } = process.env;
  return {
    seed: EXITLESS_SEED === undefined ? defaults.seed : Number(EXITLESS_SEED),
    cases: EXITLESS_CASES === undefined ? defaults.cases : Number(EXITLESS_CASES),
  };
}

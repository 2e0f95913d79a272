/**
 * Generates the constants of the transcendental x87 instructions: coefficients of power series and values of functions, as
 * fixed-point numbers of 128 bits, computed with BigInt.
 */

/** Bits behind the binary point while computing. */
const WORK = 200n;
const ONE = 1n << WORK;

/** Rounds a working number to `fraction` bits behind the point. */
const fixed = (value: bigint, fraction: bigint): bigint =>
  (value + (1n << (WORK - fraction - 1n))) >> (WORK - fraction);

/** The arc tangent of p/q by its power series, for p/q of 1/2 or less. */
function atanOf(p: bigint, q: bigint): bigint {
  let power = (p * ONE) / q;
  let sum = 0n;
  for (let k = 1n; power !== 0n; k += 2n) {
    sum += k % 4n === 1n ? power / k : -power / k;
    power = (power * p * p) / (q * q);
  }
  return sum;
}

/** π by Machin's formula. */
const PI = 16n * atanOf(1n, 5n) - 4n * atanOf(1n, 239n);

/** The arc tangent of k/32. */
function atanOf32nds(k: bigint): bigint {
  // Above 1/2: atan(x) = π/4 - atan((1 - x) / (1 + x)).
  return k <= 16n ? atanOf(k, 32n) : PI / 4n - atanOf(32n - k, 32n + k);
}

/** ln 2 = 2 artanh(1/3). */
function ln2(): bigint {
  let power = ONE / 3n;
  let sum = 0n;
  for (let k = 1n; power !== 0n; k += 2n) {
    sum += power / k;
    power /= 9n;
  }
  return 2n * sum;
}

function factorial(n: number): bigint {
  let product = 1n;
  for (let i = 2; i <= n; i++) product *= BigInt(i);
  return product;
}

const word = (value: bigint): string => `0x${BigInt.asUintN(64, value).toString(16).padStart(16, "0")}`;

/** A table of 128-bit numbers with `fraction` bits behind the point, upper word first. */
function table(name: string, comment: string, fraction: bigint, values: readonly bigint[]): string {
  const rows = values.map((value) => {
    const bits = fixed(value, fraction);
    return `  ${word(bits >> 64n)}, ${word(bits)},`;
  });
  return `/** ${comment} */\nexport const ${name}: usize = memory.data<u64>([\n${rows.join("\n")}\n]);\nexport const ${name}_TERMS: u32 = ${values.length};\n`;
}

/** One number with its top bit at bit 127, as two words. */
function constant(name: string, comment: string, value: bigint, fraction: bigint): string {
  const bits = fixed(value, fraction);
  if (bits >> 127n !== 1n) throw new Error(`${name} is not normalized`);
  return `/** ${comment} */\nexport const ${name}_HIGH: u64 = ${word(bits >> 64n)};\nexport const ${name}_LOW: u64 = ${word(bits)};\n`;
}

const terms = (count: number, term: (k: number) => bigint): bigint[] =>
  Array.from({ length: count }, (_, k) => term(k));

/** The text of `emulator/core/float/tables.generated.ts`, without its first line. */
export function floatTables(): string {
  const Q127 = 127n;
  return [
    "// Constants of emulator/core/float/series.ts and its users, made by emulator/isa/generate-float-tables.ts.",
    table(
      "SIN_SERIES",
      "1 / (2k + 1)!, 127 bits behind the point.",
      Q127,
      terms(13, (k) => ONE / factorial(2 * k + 1)),
    ),
    table(
      "COS_SERIES",
      "1 / (2k)!, 127 bits behind the point.",
      Q127,
      terms(14, (k) => ONE / factorial(2 * k)),
    ),
    table(
      "EXP_SERIES",
      "1 / (k + 1)!, 127 bits behind the point.",
      Q127,
      terms(25, (k) => ONE / factorial(k + 1)),
    ),
    table(
      "ODD_SERIES",
      "1 / (2k + 1), 127 bits behind the point: arc tangent and hyperbolic arc tangent.",
      Q127,
      terms(18, (k) => ONE / BigInt(2 * k + 1)),
    ),
    table(
      "ATAN_32NDS",
      "atan(k / 32), 126 bits behind the point.",
      126n,
      terms(33, (k) => atanOf32nds(BigInt(k))),
    ),
    constant("LN2", "ln 2, 128 bits behind the point.", ln2(), 128n),
    constant("TWO_OVER_LN2", "2 / ln 2, 126 bits behind the point.", (2n * ONE * ONE) / ln2(), 126n),
    constant("PI", "π, 126 bits behind the point.", PI, 126n),
  ].join("\n");
}

/**
 * The transcendental functions with hundreds of bits, by BigInt: what results of the core and of processors are measured against.
 *
 * Trigonometric functions take their argument modulo the π with 66 bits that the processor uses (Intel SDM Vol. 1, "Approximation of Pi").
 */
import type { Extended } from "./case.ts";

/** A rational number: value / 2^bits. */
export interface Fixed {
  readonly value: bigint;
  readonly bits: bigint;
}

const BIAS = 16383;
const abs = (value: bigint): bigint => (value < 0n ? -value : value);

/** The exact value of a finite number. */
function fixedOf({ exponent, significand }: Extended): Fixed {
  const field = Math.max(exponent & 0x7fff, 1);
  const shift = field - BIAS - 63;
  const value = exponent & 0x8000 ? -significand : significand;
  return shift >= 0 ? { value: value << BigInt(shift), bits: 0n } : { value, bits: BigInt(-shift) };
}

/** The same with `bits` bits behind the point; exact when there are that many. */
const rescale = ({ value, bits }: Fixed, to: bigint): bigint =>
  to >= bits ? value << (to - bits) : value >> (bits - to);

/** Bits that leave some 200 significant ones in a result of this magnitude. */
function workingBits(...numbers: readonly Extended[]): bigint {
  const smallest = Math.min(...numbers.map(({ exponent }) => (exponent & 0x7fff) - BIAS), 0);
  return BigInt(256 - smallest * 2);
}

/** Σ of terms until they vanish. */
function sum(first: bigint, next: (term: bigint, k: bigint) => bigint): bigint {
  let total = 0n;
  let term = first;
  for (let k = 0n; term !== 0n; k++) {
    total += term;
    term = next(term, k);
  }
  return total;
}

const sinOf = (x: bigint, bits: bigint): bigint =>
  sum(x, (term, k) => -((((term * x) >> bits) * x) >> bits) / ((2n * k + 2n) * (2n * k + 3n)));
const cosOf = (x: bigint, bits: bigint): bigint =>
  sum(1n << bits, (term, k) => -((((term * x) >> bits) * x) >> bits) / ((2n * k + 1n) * (2n * k + 2n)));
const expMinus1 = (x: bigint, bits: bigint): bigint => sum(x, (term, k) => ((term * x) >> bits) / (k + 2n));

/** artanh(p / q) with `bits` bits. */
function artanh(p: bigint, q: bigint, bits: bigint): bigint {
  let power = (p << bits) / q;
  let total = 0n;
  for (let k = 1n; power !== 0n && power !== -1n; k += 2n) {
    total += power / k;
    power = (power * p * p) / (q * q);
  }
  return total;
}

const ln2 = (bits: bigint): bigint => 2n * artanh(1n, 3n, bits);

function squareRoot(value: bigint): bigint {
  let root = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** atan(y / x) for positive x and y ≥ 0. */
function atan(y: bigint, x: bigint, bits: bigint): bigint {
  let t = (y << bits) / x;
  const one = 1n << bits;
  // atan t = 2 atan(t / (1 + √(1 + t²))), four times.
  let doublings = 0n;
  for (; doublings < 4n; doublings++) t = (t << bits) / (one + squareRoot((one << bits) + t * t));
  let power = t;
  let total = 0n;
  const square = (t * t) >> bits;
  for (let k = 1n; power !== 0n; k += 2n) {
    total += k % 4n === 1n ? power / k : -power / k;
    power = (power * square) >> bits;
  }
  return total << doublings;
}

const pi = (bits: bigint): bigint => 16n * atan(1n, 5n, bits) - 4n * atan(1n, 239n, bits);

/** π/2 with the processor's 66 bits, in units of 2^-65. */
const HALF_PI = 0x3243f6a8885a308d3n;

/** Argument of sine and cosine after the processor's reduction, and the multiple of π/2 taken away. */
function reduce(x: Extended, bits: bigint): { rest: bigint; quadrant: bigint } {
  const value = rescale(fixedOf(x), bits);
  const halfPi = HALF_PI << (bits - 65n);
  if (abs(value) <= halfPi >> 1n) return { rest: value, quadrant: 0n };
  const twice = 2n * abs(value) + halfPi;
  const multiple = twice / (2n * halfPi);
  const rest = abs(value) - multiple * halfPi;
  // sin(-x) = -sin x, and so on: turned back by the caller's use of the sign.
  return value < 0n
    ? { rest: -rest, quadrant: ((-multiple % 4n) + 4n) % 4n }
    : { rest, quadrant: multiple % 4n };
}

function sinCos(x: Extended): { sin: Fixed; cos: Fixed } {
  const bits = workingBits(x) + 128n;
  const { rest, quadrant } = reduce(x, bits);
  const sin = sinOf(rest, bits);
  const cos = cosOf(rest, bits);
  const turned = [
    [sin, cos],
    [cos, -sin],
    [-sin, -cos],
    [-cos, sin],
  ][Number(quadrant)]!;
  return { sin: { value: turned[0]!, bits }, cos: { value: turned[1]!, bits } };
}

/** log2 of value / 2^bits, with `bits` bits. */
function log2(value: bigint, bits: bigint): bigint {
  // x = 2^power × m with m between √½ and √2.
  let power = BigInt(value.toString(2).length - 1) - bits;
  let q = 1n << (bits + power);
  if (value * value > 2n * q * q) {
    q <<= 1n;
    power++;
  }
  const fraction = ((2n * artanh(value - q, value + q, bits)) << bits) / ln2(bits);
  return (power << bits) + fraction;
}

const product = (a: bigint, y: Extended, bits: bigint): Fixed => {
  const other = fixedOf(y);
  return { value: a * other.value, bits: bits + other.bits };
};

/** Results in the order in which they are computed: of FSINCOS the sine, then the cosine. */
export function exactResults(mnemonic: string, st0: Extended, st1: Extended): Fixed[] {
  if (mnemonic === "FSIN") return [sinCos(st0).sin];
  if (mnemonic === "FCOS") return [sinCos(st0).cos];
  if (mnemonic === "FSINCOS") return [sinCos(st0).sin, sinCos(st0).cos];
  if (mnemonic === "FPTAN") {
    const { sin, cos } = sinCos(st0);
    return [{ value: (sin.value << sin.bits) / cos.value, bits: sin.bits }];
  }
  if (mnemonic === "F2XM1") {
    const bits = workingBits(st0);
    return [{ value: expMinus1((rescale(fixedOf(st0), bits) * ln2(bits)) >> bits, bits), bits }];
  }
  if (mnemonic === "FYL2X") {
    // The exponent is added at the end, so that its size does not matter.
    const bits = 384n;
    const power = BigInt(st0.exponent - BIAS);
    const significand = rescale(fixedOf({ exponent: BIAS, significand: st0.significand }), bits);
    return [product((power << bits) + log2(significand, bits), st1, bits)];
  }
  if (mnemonic === "FYL2XP1") {
    const bits = workingBits(st0);
    return [product(log2((1n << bits) + rescale(fixedOf(st0), bits), bits), st1, bits)];
  }
  // FPATAN.
  const x = fixedOf(st0);
  const y = fixedOf(st1);
  const common = x.bits > y.bits ? x.bits : y.bits;
  const a = rescale(x, common);
  const b = rescale(y, common);
  const length = (value: bigint): number => abs(value).toString(2).length;
  const bits = BigInt(256 + 2 * Math.max(0, length(a) - length(b)));
  const angle = atan(abs(b), abs(a), bits);
  const whole = a < 0n ? pi(bits) - angle : angle;
  return [{ value: b < 0n ? -whole : whole, bits }];
}

/** How far a number is from a result, in thousandths of a unit of the number's last place. */
export function errorInUlps({ exponent, significand }: Extended, exact: Fixed): number {
  const number = fixedOf({ exponent, significand });
  const bits = number.bits > exact.bits ? number.bits : exact.bits;
  const difference = abs(rescale(number, bits) - rescale(exact, bits));
  const field = Math.max(exponent & 0x7fff, 1);
  // One unit is 2^(field - BIAS - 63).
  const unit = BigInt(field - BIAS - 63) + bits;
  return Number(unit >= 0n ? (1000n * difference) >> unit : (1000n * difference) << -unit) / 1000;
}

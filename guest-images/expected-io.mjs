/**
 * What the guest kernel's disk benchmarks must report, computed on the host from the same image: the sectors that
 * `seq`, `rand` and `busy` read and the checksum in their IO lines. The definition is at the head of
 * kernel/bench-io.c; this file follows it without BigInt in the loops, which would be some fifty times slower.
 */

const SECTOR_BYTES = 512;

/** h * 100000001B3H mod 2^64 in two 32-bit halves: 2^40 + 1B3H. Products stay below 2^53. */
function fnvChecksum(words, first, count) {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (let i = first; i < first + 2 * count; i += 2) {
    low = (low ^ words[i]) >>> 0;
    high = (high ^ words[i + 1]) >>> 0;
    const product = low * 0x1b3;
    const lowResult = product % 0x100000000;
    const carry = (product - lowResult) / 0x100000000;
    high = (high * 0x1b3 + low * 0x100 + carry) % 0x100000000;
    low = lowResult;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

const MASK64 = (1n << 64n) - 1n;

/** The outputs of xorshift64*, upper 32 bits each. */
function* randomNumbers(seed) {
  let x = seed === 0n ? 1n : seed;
  for (;;) {
    x ^= x >> 12n;
    x = (x ^ (x << 25n)) & MASK64;
    x ^= x >> 27n;
    yield ((x * 0x2545f4914f6cdd1dn) & MASK64) >> 32n;
  }
}

/** The first sectors of the requests, in order. See expected-io.d.mts for the parameters. */
export function* requestSectors({ sectors, pattern, size, count, start = 0, span, seed = 1 }) {
  const perRequest = size / SECTOR_BYTES;
  const room = Math.max(0, sectors - start);
  const units = Math.min(Math.floor(Math.min(span ?? room, room) / perRequest), 0xffffffff);
  if (units === 0) throw new RangeError(`no room for a request of ${size} bytes at sector ${start}`);
  const random = randomNumbers(BigInt(seed));
  for (let i = 0; i < count; i++) {
    const unit = pattern === "rand" ? Number((random.next().value * BigInt(units)) >> 32n) : i % units;
    yield start + unit * perRequest;
  }
}

/** The checksum of a whole run over the content of a disk, as the guest prints it: `0x` and 16 digits. */
export function expectedChecksum(image, run) {
  if (image.byteOffset % 4 !== 0)
    throw new RangeError("the image must start at a multiple of 4 in its buffer");
  const words = new Uint32Array(image.buffer, image.byteOffset, image.byteLength >>> 2);
  const cache = new Map();
  let sum = 0n;
  let i = 0n;
  for (const sector of requestSectors({ ...run, sectors: Math.floor(image.byteLength / SECTOR_BYTES) })) {
    let checksum = cache.get(sector);
    if (checksum === undefined) {
      checksum = fnvChecksum(words, (sector * SECTOR_BYTES) / 4, run.size / 8);
      cache.set(sector, checksum);
    }
    sum = (sum + checksum * (2n * i + 1n)) & MASK64;
    i++;
  }
  return `0x${sum.toString(16).padStart(16, "0")}`;
}

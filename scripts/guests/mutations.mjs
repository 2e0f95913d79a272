/**
 * Damage to images: numbers that follow from a seed, and changes of bytes that can be put in and taken out again.
 *
 * A mutation is `{ text, patches, length? }`: what was done in words, the bytes to write ({ at, bytes }), and the length to cut the image to.
 */

const SECTOR = 512;

/** Numbers of a stream of their own for every case of a seed: a case can be made again without those before it. */
export class Random {
  #state;

  constructor(seed, index) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
    for (let i = 0; i < 4; i++) this.#next();
  }

  /** Mulberry32. */
  #next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit) {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** Mostly small, seldom up to 2^`bits`. */
  few(bits) {
    return 1 << this.below(bits + 1);
  }

  bytes(length) {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

/** Bytes of an image that a mutation may touch: `pieces` of { at, length }. */
export class Region {
  constructor(name, pieces) {
    this.name = name;
    this.pieces = pieces.filter(({ length }) => length > 0);
    this.length = this.pieces.reduce((sum, { length }) => sum + length, 0);
  }

  /** Where in the image its byte `offset` is. */
  place(offset) {
    let left = offset;
    for (const { at, length } of this.pieces) {
      if (left < length) return at + left;
      left -= length;
    }
    throw new RangeError(`${this.name} has ${this.length} bytes`);
  }

  /** Where some byte of it is, aligned. */
  anywhere(random, align = 1) {
    const at = this.place(random.below(this.length));
    return at - (at % align);
  }
}

/** The sectors of [from, to) that hold more than zeroes, as pieces of a region. */
export function usedSectors(image, from, to) {
  const pieces = [];
  for (let at = from; at < to; at += SECTOR) {
    const length = Math.min(SECTOR, to - at);
    if (image.subarray(at, at + length).some((byte) => byte !== 0)) pieces.push({ at, length });
  }
  return pieces;
}

const EXTREMES = [0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const at = (place) => `${place.toString(16).toUpperCase()}H`;

/** What can be done to any region. Each takes (random, image, region) and gives a mutation. */
const DAMAGE = {
  bits(random, image, region) {
    const patches = Array.from({ length: random.few(6) }, () => {
      const place = region.anywhere(random);
      return { at: place, bytes: Buffer.from([image[place] ^ (1 << random.below(8))]) };
    });
    return { text: `${patches.length} bits`, patches };
  },
  bytes(random, _image, region) {
    const patches = Array.from({ length: random.few(6) }, () => ({
      at: region.anywhere(random),
      bytes: random.bytes(1),
    }));
    return { text: `${patches.length} bytes`, patches };
  },
  extreme(random, _image, region) {
    const patches = Array.from({ length: random.few(3) }, () => {
      const width = random.pick([2, 4]);
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(random.pick(EXTREMES));
      return { at: region.anywhere(random, width), bytes: bytes.subarray(0, width) };
    });
    return { text: `extreme numbers at ${patches.map((patch) => at(patch.at)).join(" ")}`, patches };
  },
  fill(random, _image, region) {
    const value = random.pick([0, 0, 0xff, 0xcc]);
    const patches = Array.from({ length: random.few(3) }, () => ({
      at: region.anywhere(random, SECTOR),
      bytes: Buffer.alloc(SECTOR, value),
    }));
    return { text: `sectors of ${at(value)} at ${patches.map((patch) => at(patch.at)).join(" ")}`, patches };
  },
  noise(random, _image, region) {
    const place = region.anywhere(random, SECTOR);
    return { text: `noise at ${at(place)}`, patches: [{ at: place, bytes: random.bytes(SECTOR) }] };
  },
  swap(random, image, region) {
    const [one, other] = [region.anywhere(random, SECTOR), region.anywhere(random, SECTOR)];
    if (one === other) return DAMAGE.noise(random, image, region);
    const sector = (place) => Buffer.from(image.subarray(place, place + SECTOR));
    const patches = [
      { at: one, bytes: sector(other) },
      { at: other, bytes: sector(one) },
    ];
    return { text: `sectors ${at(one)} and ${at(other)} swapped`, patches };
  },
};

/** Some damage to a region; patches stay inside the image. */
export function damage(random, image, region, kinds = Object.keys(DAMAGE)) {
  const { text, patches } = DAMAGE[random.pick(kinds)](random, image, region);
  return { text: `${region.name}: ${text}`, patches: patches.filter((patch) => patch.at < image.length) };
}

const TABLE = 446;
const LINUX = 0x83;
const EXTENDED = 0x05;

/** Entries of a partition table that no disk has: huge, overlapping, or a chain of extended ones that leads to itself. */
export function strangePartitions(random, image) {
  const sectors = Math.floor(image.length / SECTOR);
  const table = Buffer.from(image.subarray(TABLE, SECTOR));
  const entry = (index, type, start, length) => {
    table[16 * index + 4] = type;
    table.writeUInt32LE(start >>> 0, 16 * index + 8);
    table.writeUInt32LE(length >>> 0, 16 * index + 12);
  };
  const kind = random.pick(["huge", "overlapping", "loop", "outside"]);
  const patches = [{ at: TABLE, bytes: table }];
  if (kind === "huge") entry(random.below(4), LINUX, random.pick([0, 2048]), 0xffffffff - random.below(4096));
  else if (kind === "outside") entry(random.below(2), LINUX, sectors + random.below(1 << 20), 2048);
  else if (kind === "overlapping")
    for (let index = 0; index < 4; index++)
      entry(index, LINUX, random.below(sectors), random.below(2 * sectors));
  else {
    // An extended partition whose own table names itself as the next.
    const place = 1 + random.below(64);
    entry(1, EXTENDED, place, sectors - place);
    const next = Buffer.alloc(SECTOR);
    next.writeUInt32LE(random.pick([0, 1, 0xffffffff]), TABLE + 8);
    next[TABLE + 4] = LINUX;
    next.writeUInt32LE(16, TABLE + 12);
    next[TABLE + 16 + 4] = EXTENDED;
    next.writeUInt32LE(random.pick([0, 0, sectors - place, 0xffffffff]), TABLE + 16 + 8);
    next.writeUInt32LE(2048, TABLE + 16 + 12);
    next.writeUInt16LE(0xaa55, SECTOR - 2);
    patches.push({ at: place * SECTOR, bytes: next });
  }
  return { text: `partition table: ${kind}`, patches };
}

/** A copy of the image with a mutation in it. */
export function mutated(image, { patches, length = image.length }) {
  const copy = Buffer.from(image);
  for (const patch of patches) patch.bytes.copy(copy, patch.at);
  return copy.subarray(0, length);
}

/** The kernel packed in a bzImage: gzip and LZ4 unpack, everything else is refused with a reason. */
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ImageError } from "../../../emulator/machine/loaders/image-error.ts";
import { unpackLinuxPayload } from "../../../emulator/machine/loaders/linux-payload.ts";
import { unpackLz4 } from "../../../emulator/machine/loaders/lz4.ts";
import { buildBzImage, imageFile } from "../../support/boot-images.ts";

/** A bzImage whose payload is `packed`, which unpacks to `length` bytes. */
function bzImageWith(packed: Uint8Array, length: number, version = 0x20f): Uint8Array {
  const image = buildBzImage({ kernelBytes: packed.length + 0x104, version });
  const view = new DataView(image.buffer);
  view.setUint32(0x248, 0x100, true);
  view.setUint32(0x24c, packed.length + 4, true);
  image.set(packed, 1024 + 0x100);
  view.setUint32(1024 + 0x100 + packed.length, length, true);
  return image;
}

const u32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  value >>> 24,
];
const frame = (...blocks: readonly (readonly number[])[]): Uint8Array =>
  new Uint8Array([0x02, 0x21, 0x4c, 0x18, ...blocks.flatMap((block) => [...u32(block.length), ...block])]);

/** LZ4's lengths: up to 14 in the token, then bytes of 255 and a last one. */
const more = (value: number): number[] =>
  value < 15 ? [] : [...Array<number>(Math.floor((value - 15) / 255)).fill(255), (value - 15) % 255];
const nibble = (value: number): number => Math.min(value, 15);
/** A sequence of literals and a match that copies `length` bytes from `distance` before. */
const sequence = (literals: readonly number[], distance: number, length: number): number[] => [
  (nibble(literals.length) << 4) | nibble(length - 4),
  ...more(literals.length),
  ...literals,
  ...[distance & 0xff, distance >> 8],
  ...more(length - 4),
];
const last = (literals: readonly number[]): number[] => [
  nibble(literals.length) << 4,
  ...more(literals.length),
  ...literals,
];

const errorOf = (bytes: Uint8Array): ImageError => {
  try {
    unpackLinuxPayload(imageFile(bytes));
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("it unpacked");
};

test("gzip", () => {
  const contents = Buffer.from("kernel ".repeat(1000));
  const { bytes } = unpackLinuxPayload(imageFile(bzImageWith(gzipSync(contents), contents.length)));
  expect(Buffer.from(bytes)).toEqual(contents);
});

test("LZ4: literals, long lengths, matches that overlap themselves, several blocks", () => {
  const many = Array.from({ length: 600 }, (_, i) => i & 0xff);
  const packed = frame(
    [...sequence([1, 2, 3], 3, 300), ...last([9])],
    [...sequence(many, 600, 19), ...last([])],
  );
  const wanted = [...Array.from({ length: 303 }, (_, i) => (i % 3) + 1), 9, ...many, ...many.slice(0, 19)];
  const { bytes } = unpackLinuxPayload(imageFile(bzImageWith(packed, wanted.length)));
  expect([...bytes]).toEqual(wanted);
});

describe("what is refused, and why", () => {
  test.each([
    ["XZ", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4], "XZ"],
    ["Zstandard", [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0], "Zstandard"],
    ["something unknown", [1, 2, 3, 4, 5, 6, 7, 8], "unknown"],
  ])("%s", (_, packed, word) => {
    expect(errorOf(bzImageWith(new Uint8Array(packed), 100)).message).toContain(word);
  });

  test("a damaged gzip stream, one of another length, a length beyond reason, a payload outside the file", () => {
    const packed = gzipSync(Buffer.alloc(5000, 7));
    expect(errorOf(bzImageWith(packed, 4999)).message).toContain("does not unpack");
    expect(errorOf(bzImageWith(packed, 5001)).message).toContain("does not unpack");
    expect(errorOf(bzImageWith(packed, 0xf0000000)).message).toContain("4026531840");
    packed[packed.length >> 1]! ^= 0xff;
    expect(errorOf(bzImageWith(packed, 5000)).message).toContain("does not unpack");
    const image = bzImageWith(packed, 5000);
    new DataView(image.buffer).setUint32(0x24c, 0x7fffffff, true);
    expect(errorOf(image).message).toContain("truncated");
    expect(errorOf(bzImageWith(packed, 5000, 0x207)).message).toContain("2.08");
  });

  test("a match before the beginning, of distance 0, or beyond the end", () => {
    expect(unpackLz4(frame([...sequence([1], 2, 4), ...last([])]), 5)).toBeUndefined();
    expect(unpackLz4(frame([...sequence([1], 0, 4), ...last([])]), 5)).toBeUndefined();
    expect(unpackLz4(frame([...sequence([1], 1, 9), ...last([])]), 5)).toBeUndefined();
  });

  test("any bytes at all", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 2000 }), (bytes, length) => {
        const result = unpackLz4(frame([...bytes]), length);
        expect(result === undefined || result.length === length).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

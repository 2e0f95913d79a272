import { describe, expect, test } from "vitest";
import { parseElf, physicalEntry } from "../../../emulator/machine/loaders/elf.ts";
import { ImageError } from "../../../emulator/machine/loaders/image-error.ts";
import { buildElf, imageFile, pvhNote } from "../../support/boot-images.ts";
import { Random } from "../../support/random.ts";

const code = Uint8Array.from([0x90, 0xf4, 0xeb, 0xfd]);
const good = (width: 32 | 64): Uint8Array =>
  buildElf(width, 0x100000, [
    { physical: 0x100000, contents: code, memoryBytes: 0x2000 },
    { type: 4, physical: 0x103000, contents: pvhNote(0x100002, width === 64) },
  ]);

/** The error that parsing throws; the test fails when there is none or it is of another kind. */
function errorOf(bytes: Uint8Array): ImageError {
  try {
    parseElf(imageFile(bytes));
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("accepted");
}

const patched = (bytes: Uint8Array, at: number, ...values: number[]): Uint8Array => {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
};

describe.each([32, 64] as const)("ELF%i", (width) => {
  const headerBytes = width === 64 ? 64 : 52;
  const entryBytes = width === 64 ? 56 : 32;

  test("a good file gives its segments, entry point and notes", () => {
    const image = parseElf(imageFile(good(width)));
    expect(image.width).toBe(width);
    expect(image.entry).toBe(0x100000n);
    expect(image.segments).toHaveLength(1);
    expect(image.segments[0]).toMatchObject({ physical: 0x100000, virtual: 0x100000n, memoryBytes: 0x2000 });
    expect([...image.segments[0]!.bytes]).toEqual([...code]);
    expect(image.notes.map(({ owner, type }) => [owner, type])).toEqual([["Xen", 18]]);
  });

  test("a file cut anywhere is refused with the place", () => {
    const whole = good(width);
    for (let length = 0; length < whole.length; length++) {
      const error = errorOf(whole.subarray(0, length));
      expect(error.file).toBe("dir/image.elf");
      expect(error.where).toMatch(/offset|e_phoff/);
    }
  });

  test("a file cut in each part names that part", () => {
    const whole = good(width);
    expect(errorOf(whole.subarray(0, 3)).what).toBe("ELF identification");
    expect(errorOf(whole.subarray(0, headerBytes - 1)).what).toBe("ELF header");
    expect(errorOf(whole.subarray(0, headerBytes + entryBytes)).what).toBe("ELF program headers");
    expect(errorOf(whole.subarray(0, 0x401)).what).toBe("ELF program header 0: contents");
    expect(errorOf(whole.subarray(0, whole.length - 1)).what).toBe("ELF program header 1: notes");
    expect(errorOf(whole.subarray(0, 0x401)).hint).toContain("truncated");
  });

  test.each([
    ["no magic", 0, [0x7e], "ELF identification"],
    ["class 3", 4, [3], "ELF identification"],
    ["big-endian", 5, [2], "ELF identification"],
    ["identification version", 6, [9], "ELF identification"],
    ["relocatable object", 16, [1, 0], "ELF header"],
    ["position-independent", 16, [3, 0], "ELF header"],
    ["another machine", 18, [0xb7, 0], "ELF header"],
    ["version", 20, [2], "ELF header"],
    ["program header size", width === 64 ? 54 : 42, [31, 0], "ELF header"],
    ["no program headers", width === 64 ? 56 : 44, [0, 0], "ELF header"],
    ["65535 program headers", width === 64 ? 56 : 44, [0xff, 0xff], "ELF header"],
    ["65534 program headers", width === 64 ? 56 : 44, [0xfe, 0xff], "ELF program headers"],
    ["program headers beyond the file", width === 64 ? 32 : 28, [0, 0, 0, 0x7f], "ELF program headers"],
    [
      "contents beyond the file",
      headerBytes + (width === 64 ? 8 : 4),
      [0, 0, 0, 0x7f],
      "ELF program header 0: contents",
    ],
    ["file size beyond memory size", headerBytes + (width === 64 ? 40 : 20), [1, 0], "ELF program header 0"],
    ["nothing to load", headerBytes, [2], "ELF program headers"],
    ["absurd note name", 0x404, [0xff, 0xff, 0xff, 0xff], "ELF program header 1: notes"],
    ["absurd note descriptor", 0x408, [0xff, 0xff, 0xff, 0xff], "ELF program header 1: notes"],
  ])("%s is refused", (_name, at, values, what) => {
    expect(errorOf(patched(good(width), at, ...values)).what).toBe(what);
  });

  test("segments that share memory are refused", () => {
    const bytes = buildElf(width, 0x100000, [
      { physical: 0x100000, contents: code, memoryBytes: 0x2000 },
      { physical: 0x101fff, contents: code },
    ]);
    expect(errorOf(bytes).why).toContain("overlaps program header 0");
  });

  test("arbitrary damage gives an image or an ImageError, never another failure", () => {
    const random = new Random(width);
    for (let i = 0; i < 20_000; i++) {
      const bytes = good(width);
      for (let n = 1 + random.below(4); n > 0; n--)
        bytes[random.below(random.chance(80) ? 0xc0 : bytes.length)] = random.below(256);
      try {
        const { segments } = parseElf(imageFile(bytes));
        for (const { bytes: contents, memoryBytes } of segments)
          expect(contents.length).toBeLessThanOrEqual(memoryBytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ImageError);
      }
    }
  });
});

test("64-bit values beyond 52 bits are refused where they are used", () => {
  const high = (field: number): Uint8Array => patched(good(64), field + 7, 0x80);
  expect(errorOf(high(32)).where).toBe("e_phoff");
  for (const field of [8, 24, 32, 40]) expect(errorOf(high(64 + field)).what).toBe("ELF program header 0");
  // A memory size just below the limit exceeds it together with the address.
  const almost = patched(good(64), 64 + 40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0);
  expect(errorOf(almost).why).toContain("beyond 52 bits");
});

test("e_entry in a segment linked high is translated to its physical address; elsewhere it is taken as it is", () => {
  const part = { virtual: 0xffffffff80100000n, physical: 0x100000, contents: code };
  const linkedHigh = parseElf(imageFile(buildElf(64, 0xffffffff80100002n, [part])));
  expect(physicalEntry(linkedHigh)).toBe(0x100002n);
  const physical = parseElf(imageFile(buildElf(64, 0x100002n, [part])));
  expect(physicalEntry(physical)).toBe(0x100002n);
});

test("notes of a segment aligned to 8 bytes are padded to 8", () => {
  const first = new Uint8Array(24);
  new DataView(first.buffer).setUint32(0, 4, true);
  new DataView(first.buffer).setUint32(4, 1, true);
  first.set([0x47, 0x4e, 0x55, 0], 12);
  const contents = Uint8Array.from([...first, ...pvhNote(0x100000, true)]);
  const parts = [
    { physical: 0x100000, contents: code },
    { type: 4, physical: 0, contents, align: 8 },
  ];
  const { notes } = parseElf(imageFile(buildElf(64, 0x100000, parts)));
  expect(notes.map(({ owner }) => owner)).toEqual(["GNU", "Xen"]);
});

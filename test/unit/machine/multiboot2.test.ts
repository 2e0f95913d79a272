/** Multiboot 2: what the header asks for, where the image goes, what the information structure says; and headers that ask for nonsense. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { byteSum } from "../../../emulator/machine/table-writer.ts";
import { buildFirmware } from "../../../emulator/machine/firmware/firmware.ts";
import type { BootImage, BootRequest } from "../../../emulator/machine/loaders/boot-image.ts";
import { detectProtocol, loadBootImage } from "../../../emulator/machine/loaders/detect.ts";
import { RAX, RBX } from "../../../emulator/machine/loaders/entry-state.ts";
import { ImageError } from "../../../emulator/machine/loaders/image-error.ts";
import {
  LoadedMemory,
  MIB,
  bootRequest,
  buildElf,
  imageFile,
  multiboot2Header,
  multibootHeader,
  overlapOf,
  type Multiboot2Tag,
} from "../../support/boot-images.ts";

const LINKED = 0x200000;
const ADDRESSES = (load = LINKED, header = LINKED, end = 0, bss = 0): Multiboot2Tag => ({
  type: 2,
  fields: [header, load, end, bss],
});
const ENTRY = (entry = LINKED + 0x80): Multiboot2Tag => ({ type: 3, fields: [entry] });

/** The header, and NOPs up to `length` bytes. */
function flat(tags: readonly Multiboot2Tag[], length = 0x200, options = {}): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x90);
  bytes.set(multiboot2Header(tags, options));
  return bytes;
}

function elf(width: 32 | 64, tags: readonly Multiboot2Tag[], memoryBytes = 0x5000): Uint8Array {
  const contents = flat(tags);
  return buildElf(width, LINKED + 0x80, [{ physical: LINKED, contents, memoryBytes }]);
}

function errorOf(bytes: Uint8Array, options: Parameters<typeof bootRequest>[1] = {}): ImageError {
  try {
    loadBootImage(bootRequest(imageFile(bytes), options), "multiboot2");
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("accepted");
}

const load = (bytes: Uint8Array, changes: Partial<BootRequest> = {}): BootImage =>
  loadBootImage({ ...bootRequest(imageFile(bytes)), ...changes }, "multiboot2");

/** The information structure's tags, each with where its contents are. */
function tagsOf(image: BootImage): { type: number; at: number; length: number }[] {
  const memory = new LoadedMemory(image.segments);
  const info = image.entry.general[RBX]!;
  expect(info % 8).toBe(0);
  const end = info + memory.u32(info);
  expect(memory.u32(info + 4)).toBe(0);
  const tags = [];
  for (let at = info + 8; at < end;) {
    const [type, size] = [memory.u32(at), memory.u32(at + 4)];
    tags.push({ type, at: at + 8, length: size - 8 });
    at += Math.ceil(size / 8) * 8;
  }
  expect(tags.at(-1)).toEqual({ type: 0, at: end, length: 0 });
  return tags;
}

describe("the information structure", () => {
  const firmware = buildFirmware({
    ram: { lowRam: 64 * MIB, highRam: 0 },
    cpus: 1,
    signature: 0,
    featureFlags: 0,
  });
  const modules = [
    { file: imageFile(new Uint8Array(10).fill(1), "env"), commandLine: "" },
    { file: imageFile(new Uint8Array(5000).fill(7), "second"), commandLine: "x y" },
  ];
  const image = load(elf(32, []), { commandLine: "a=1 b", modules, rsdpBytes: firmware.rsdpBytes });
  const memory = new LoadedMemory(image.segments);
  const tags = tagsOf(image);
  const only = (type: number): number => {
    const found = tags.filter((each) => each.type === type);
    expect(found).toHaveLength(1);
    return found[0]!.at;
  };

  test("command line, name, memory and its map", () => {
    expect([image.protocol, image.entry.general[RAX], image.entry.rip]).toEqual([
      "multiboot2",
      0x36d76289,
      LINKED + 0x80,
    ]);
    expect([image.entry.mode, image.entry.cr0, image.entry.rflags]).toEqual(["protected32", 0x11, 2]);
    expect(overlapOf(image.segments)).toBeUndefined();
    expect(memory.string(only(1))).toBe("a=1 b");
    expect(memory.string(only(2))).toBe("exitless");
    expect([memory.u32(only(4)), memory.u32(only(4) + 4)]).toEqual([639, 63 * 1024]);
    const map = only(6);
    expect([memory.u32(map), memory.u32(map + 4)]).toEqual([24, 0]);
    const { memoryMap } = bootRequest(imageFile(new Uint8Array(1)));
    const entries = memoryMap.map((_, index) => {
      const at = map + 8 + 24 * index;
      expect(memory.u32(at + 20)).toBe(0);
      return { base: memory.u64(at), length: memory.u64(at + 8), type: memory.u32(at + 16) };
    });
    expect(entries).toEqual(memoryMap);
    expect(tags.find(({ type }) => type === 6)!.length).toBe(8 + 24 * memoryMap.length);
  });

  test("modules, page-aligned behind the image with its BSS", () => {
    const found = tags
      .filter(({ type }) => type === 3)
      .map(({ at }) => [memory.u32(at), memory.u32(at + 4), memory.string(at + 8)]);
    expect(found).toEqual([
      [LINKED + 0x5000, LINKED + 0x500a, "env"],
      [LINKED + 0x6000, LINKED + 0x6000 + 5000, "second x y"],
    ]);
    expect(memory.bytes(LINKED + 0x6000, 2)).toEqual(Uint8Array.of(7, 7));
  });

  test("copies of the RSDP, both with right checksums", () => {
    expect(byteSum(memory.bytes(only(14), 20))).toBe(0);
    expect(byteSum(memory.bytes(only(15), 36))).toBe(0);
    expect(memory.bytes(only(15), 36)).toEqual(firmware.rsdpBytes.slice());
  });

  test("nothing that is not to be had: boot device, video, APM, EFI, SMBIOS, network; no load base without relocation", () => {
    expect(new Set(tags.map(({ type }) => type))).toEqual(new Set([0, 1, 2, 3, 4, 6, 14, 15]));
    expect(tagsOf(load(elf(32, []))).map(({ type }) => type)).toEqual([1, 2, 4, 6, 0]);
  });
});

describe("section headers", () => {
  const NAMES = new TextEncoder().encode("\0.names\0.bss\0");
  /** An ELF file with sections: none, code at its address, names without one, BSS. */
  function withSections(
    width: 32 | 64,
    change: (view: DataView, table: number) => void = () => undefined,
  ): Uint8Array {
    const image = elf(width, []);
    const wide = width === 64;
    const entry = wide ? 64 : 40;
    const table = image.length + 16;
    const bytes = new Uint8Array(table + 4 * entry);
    bytes.set(image);
    bytes.set(NAMES, image.length);
    const view = new DataView(bytes.buffer);
    const word = (at: number, value: number): void => {
      if (wide) view.setBigUint64(at, BigInt(value), true);
      else view.setUint32(at, value, true);
    };
    word(wide ? 40 : 32, table);
    view.setUint16(wide ? 58 : 46, entry, true);
    view.setUint16(wide ? 60 : 48, 4, true);
    view.setUint16(wide ? 62 : 50, 2, true);
    const section = (index: number, type: number, address: number, offset: number, size: number): void => {
      const at = table + index * entry;
      view.setUint32(at + 4, type, true);
      [address, offset, size].forEach((value, i) => word(at + (wide ? 16 + 8 * i : 12 + 4 * i), value));
    };
    section(1, 1, LINKED, 0x400, 0x200);
    section(2, 3, 0, image.length, NAMES.length);
    section(3, 8, 0, 0, 0x1000);
    change(view, table);
    return bytes;
  }

  test.each([32, 64] as const)(
    "ELF%i: those without an address are placed, and the table says where",
    (width) => {
      const image = load(withSections(width));
      const memory = new LoadedMemory(image.segments);
      expect(overlapOf(image.segments)).toBeUndefined();
      const { at, length } = tagsOf(image).find(({ type }) => type === 9)!;
      const entry = width === 64 ? 64 : 40;
      expect([memory.u32(at), memory.u32(at + 4), memory.u32(at + 8), length]).toEqual([
        4,
        entry,
        2,
        12 + 4 * entry,
      ]);
      const address = (index: number): number =>
        memory.u32(at + 12 + index * entry + (width === 64 ? 16 : 12));
      expect([address(0), address(1), address(3)]).toEqual([0, LINKED, 0]);
      expect(memory.bytes(address(2), NAMES.length)).toEqual(NAMES);
    },
  );

  test("headers that do not hold together are left out", () => {
    const spoilt: ((view: DataView, table: number) => void)[] = [
      (view) => view.setUint32(32, 0xfffffff0, true),
      (view) => view.setUint16(46, 41, true),
      (view) => view.setUint16(48, 5000, true),
      (view) => view.setUint16(50, 4, true),
      (view, table) => view.setUint32(table + 2 * 40 + 20, 0xffffffff, true),
      (view, table) => view.setUint32(table + 2 * 40 + 16, 0xffffffff, true),
    ];
    for (const change of spoilt)
      expect(tagsOf(load(withSections(32, change))).some(({ type }) => type === 9)).toBe(false);
  });
});

describe("where the image goes", () => {
  test("by an address tag, without ELF", () => {
    // The header lies 20H into the file; 10H of the file before it are loaded as well.
    const bytes = new Uint8Array(0x100).fill(0x90);
    bytes.set(
      multiboot2Header([ADDRESSES(LINKED, LINKED + 0x10, LINKED + 0x90, LINKED + 0x1000), ENTRY()]),
      0x20,
    );
    const image = load(bytes);
    const [first] = image.segments;
    expect([first!.physical, first!.bytes.length, first!.size]).toEqual([LINKED, 0x90, 0x1000]);
    expect(first!.bytes).toEqual(bytes.subarray(0x10, 0xa0));
    expect(image.entry.rip).toBe(LINKED + 0x80);
  });

  test("load_addr -1: the file from its beginning", () => {
    const bytes = new Uint8Array(0x100).fill(0x90);
    bytes.set(multiboot2Header([ADDRESSES(0xffffffff, LINKED + 0x20), ENTRY()]), 0x20);
    const [first] = load(bytes).segments;
    expect([first!.physical, first!.bytes.length]).toEqual([LINKED, 0x100]);
    expect(errorOf(flat([ADDRESSES(0xffffffff, 0), ENTRY(0)])).why).toContain("free RAM");
    bytes.set(multiboot2Header([ADDRESSES(0xffffffff, 0x10), ENTRY()]), 0x20);
    expect(errorOf(bytes).why).toContain("lower than the header's offset");
  });

  test("the entry address tag goes before ELF's entry", () => {
    expect(load(elf(64, [ENTRY(LINKED + 0x90)])).entry.rip).toBe(LINKED + 0x90);
    expect(errorOf(elf(32, [ENTRY(0x100000)])).why).toContain("not in what is loaded");
  });

  const relocatable = (min: number, max: number, align: number, preference: number): Multiboot2Tag => ({
    type: 10,
    fields: [min, max, align, preference],
  });
  test.each([
    ["no preference: where it is linked", 0x100000, 0x2fffffff, 0x1000, 0, LINKED],
    ["no preference, but not there: the lowest place", 0x300000, 0x2fffffff, 0x1000, 0, 0x300000],
    ["no preference, not aligned so: the lowest place", 0x100000, 0x2fffffff, 0x400000, 0, 0x400000],
    ["lowest", 0x123456, 0x2fffffff, 0x10000, 1, 0x130000],
    ["lowest, below 1 MiB", 0x8000, 0x2fffffff, 0x1000, 1, 0x8000],
    ["highest in RAM", 0x100000, 0xffffffff, 0x1000, 2, 64 * MIB - 0x5000],
    ["highest as asked", 0x100000, 0x1ffffff, 0x1000, 2, 0x2000000 - 0x5000],
  ])("relocatable, %s", (_, min, max, align, preference, wanted) => {
    const bytes = elf(32, [relocatable(min, max, align, preference)]);
    const image = load(bytes);
    expect([image.segments[0]!.physical, image.entry.rip]).toEqual([wanted, wanted + 0x80]);
    const base = tagsOf(image).find(({ type }) => type === 21)!;
    expect(new LoadedMemory(image.segments).u32(base.at)).toBe(wanted);
    expect(overlapOf(image.segments)).toBeUndefined();
  });

  test("relocatable by addresses: the entry moves too", () => {
    const image = load(flat([ADDRESSES(), ENTRY(), relocatable(0x800000, 0xffffff, 0x1000, 1)]));
    expect([image.segments[0]!.physical, image.entry.rip]).toEqual([0x800000, 0x800080]);
  });

  test.each([
    ["no room", relocatable(0x100000, 0x104000, 0x1000, 1), "are free from"],
    ["no alignment", relocatable(0x100000, 0x204000, 0, 1), "not a power of two"],
    ["a preference of 3", relocatable(0x100000, 0x204000, 0x1000, 3), "is not 0, 1 or 2"],
    ["too few bytes", { type: 10, fields: [1, 2] }, "too few for its fields"],
  ])("relocatable, %s: refused", (_, tag, why) => {
    expect(errorOf(elf(32, [tag])).why).toContain(why);
  });
});

describe("the header", () => {
  test("is found at any 8-byte boundary of the first 32768 bytes and not beyond", () => {
    const header = multiboot2Header([ADDRESSES(0xffffffff, LINKED + 0x100), ENTRY(LINKED)]);
    const at = (offset: number): Uint8Array => {
      const bytes = new Uint8Array(0x9000);
      bytes.set(header, offset);
      return bytes;
    };
    expect(detectProtocol(imageFile(at(0)))).toBe("multiboot2");
    expect(detectProtocol(imageFile(at(32768 - header.length)))).toBe("multiboot2");
    expect(errorOf(at(32768 - 24)).why).toContain("beyond the file or its first 32768 bytes");
    expect(() => detectProtocol(imageFile(at(4)))).toThrow(ImageError);
    expect(() => detectProtocol(imageFile(at(32768)))).toThrow(ImageError);
    const wrong = at(0);
    wrong[12]! ^= 1;
    expect(() => detectProtocol(imageFile(wrong))).toThrow(ImageError);
    expect(errorOf(wrong).why).toContain("no header with a right checksum");
  });

  test("an image with both headers is booted by multiboot 1, or as asked", () => {
    const bytes = flat([ADDRESSES(), ENTRY()]);
    bytes.set(multibootHeader(0x10000, [LINKED + 0x100, LINKED, 0, 0, LINKED]), 0x100);
    expect(detectProtocol(imageFile(bytes))).toBe("multiboot");
    expect(load(bytes).entry.general[RAX]).toBe(0x36d76289);
  });

  test.each<[string, Multiboot2Tag, string | undefined]>([
    ["information that the specification knows", { type: 1, fields: [1, 6, 7, 13, 21] }, undefined],
    ["unknown information", { type: 1, fields: [6, 22] }, "unknown to the specification"],
    ["a console", { type: 4, fields: [1] }, "requires a console"],
    ["EGA text support", { type: 4, fields: [2] }, undefined],
    ["a video mode", { type: 5, fields: [800, 600, 32] }, undefined],
    ["module alignment", { type: 6 }, undefined],
    ["EFI boot services", { type: 7 }, "requires EFI boot services"],
    ["an entry point for EFI", { type: 9, fields: [LINKED] }, undefined],
    ["an unknown tag", { type: 11 }, "unknown to the specification"],
  ])("%s: refused where required, if at all", (_, tag, why) => {
    if (why === undefined) expect(load(elf(32, [tag])).entry.rip).toBe(LINKED + 0x80);
    else expect(errorOf(elf(32, [tag])).why).toContain(why);
    expect(load(elf(32, [{ ...tag, isOptional: true }])).entry.rip).toBe(LINKED + 0x80);
  });

  test("a video mode is noted", () => {
    expect(load(elf(32, [{ type: 5, fields: [0, 0, 0] }])).notes).toHaveLength(1);
  });

  test.each([
    ["another architecture", flat([], 0x200, { architecture: 4 }), "not that of 32-bit x86"],
    ["no end tag", flat([], 0x200, { hasEnd: false }), "without an end tag"],
    ["a tag of 4 bytes", flat([{ type: 6, size: 4 }]), "does not fit"],
    ["a tag beyond the end", flat([{ type: 6, size: 0x100 }]), "does not fit"],
    ["neither ELF nor addresses", flat([ENTRY()]), "not ELF"],
    ["addresses without an entry", flat([ADDRESSES()]), "no entry address tag"],
    ["addresses that do not agree", flat([ADDRESSES(LINKED + 8), ENTRY()]), "is above header_addr"],
    [
      "addresses beyond the file",
      flat([ADDRESSES(LINKED, LINKED, LINKED + 0x300), ENTRY()]),
      "bytes are needed",
    ],
    ["addresses outside RAM", flat([ADDRESSES(0xf0000000, 0xf0000000), ENTRY(0xf0000000)]), "RAM ends at"],
  ])("%s: refused", (_, bytes, why) => {
    expect(errorOf(bytes).why).toContain(why);
  });

  test("an image above 4 GiB is refused", () => {
    const contents = flat([]);
    const high = buildElf(64, LINKED + 0x80, [
      { physical: LINKED, contents },
      { physical: 0x100000000, contents },
    ]);
    expect(errorOf(high, { highRam: MIB }).why).toContain("above 4 GiB");
  });
});

test("hostile headers: booted apart from everything else, or refused with a reason", () => {
  const tag = fc.record({
    type: fc.oneof(fc.nat(12), fc.nat(0xffff)),
    isOptional: fc.boolean(),
    fields: fc.array(
      fc.oneof(fc.nat(40), fc.integer({ min: 0x100000, max: 0x3ff0000 }), fc.nat(0xffffffff)),
      {
        maxLength: 5,
      },
    ),
    size: fc.option(fc.nat(64), { nil: undefined, freq: 8 }),
  });
  const damage = fc.array(fc.tuple(fc.nat(0x3ff), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(tag, { maxLength: 6 }), fc.boolean(), damage, (tags, isElf, changes) => {
      const known = tags.map(({ size, ...rest }) => (size === undefined ? rest : { ...rest, size }));
      const bytes = isElf ? elf(32, known) : flat([...known, ADDRESSES(), ENTRY()]);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      try {
        const image = load(bytes);
        expect(overlapOf(image.segments)).toBeUndefined();
        expect(image.topOfUse).toBeLessThanOrEqual(64 * MIB);
        tagsOf(image);
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        expect(error.message).not.toBe("");
      }
    }),
    { numRuns: 500 },
  );
});

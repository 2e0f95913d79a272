import { describe, expect, test } from "vitest";
import type { BootImage, BootProtocol, BootRequest } from "../../../emulator/machine/loaders/boot-image.ts";
import { detectProtocol, loadBootImage } from "../../../emulator/machine/loaders/detect.ts";
import {
  CS,
  DS,
  LDTR,
  RAX,
  RBX,
  RSI,
  TR,
  applyEntryState,
} from "../../../emulator/machine/loaders/entry-state.ts";
import { ImageError } from "../../../emulator/machine/loaders/image-error.ts";
import { readImage } from "../../../emulator/machine/read-image.ts";
import { CpuStruct } from "../../../layout/cpu.ts";
import { StateMemory } from "../../../layout/struct.ts";
import {
  LoadedMemory,
  MIB,
  bootRequest,
  buildBzImage,
  buildElf,
  imageFile,
  multibootHeader,
  overlapOf,
  pvhNote,
} from "../../support/boot-images.ts";
import type { BzImageFields } from "../../support/boot-images.ts";

function errorOf(request: BootRequest, protocol?: BootProtocol): ImageError {
  try {
    loadBootImage(request, protocol);
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("accepted");
}

const pad = (bytes: Uint8Array, length: number): Uint8Array => {
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return whole;
};

const multibootElf = (
  flags = 3,
  options: { physical?: number; memoryBytes?: number; entry?: number } = {},
): Uint8Array => {
  const physical = options.physical ?? 0x100000;
  const contents = pad(multibootHeader(flags), 64);
  return buildElf(32, options.entry ?? physical + 16, [
    { physical, contents, memoryBytes: options.memoryBytes ?? 0x5000 },
  ]);
};
const pvhElf = (width: 32 | 64, entry = 0x100010): Uint8Array =>
  buildElf(width, 0x100000, [
    { physical: 0x100000, contents: pad(new Uint8Array(0), 64), memoryBytes: 0x3000 },
    { type: 4, physical: 0x104000, contents: pvhNote(entry, width === 64) },
  ]);
const textFile = (text: string, name: string) => imageFile(new TextEncoder().encode(text), name);

/** What the boot GDT at `entry.gdtr` says of a selector: base 0 and limit 4 GiB are checked here. */
function descriptor(image: BootImage, selector: number): { code: boolean; l: boolean; d: boolean } {
  const { base, limit } = image.entry.gdtr;
  expect(selector + 7).toBeLessThanOrEqual(limit);
  const memory = new LoadedMemory(image.segments);
  const [low, high] = [memory.u32(base + selector), memory.u32(base + selector + 4)];
  expect([low, (high & 0xff0000ff) >>> 0, (high >> 16) & 0xf]).toEqual([0xffff, 0, 0xf]);
  return { code: (high & 0x800) !== 0, l: (high & 0x200000) !== 0, d: (high & 0x400000) !== 0 };
}

describe("multiboot", () => {
  test("the information structure has memory, map, command line, modules and the loader's name", () => {
    const env = textFile("NR_CPUS=2\n", "env");
    const second = imageFile(new Uint8Array(5000).fill(7), "second");
    const request = bootRequest(imageFile(multibootElf(), "test.flat"), {
      commandLine: "a=1 b",
      modules: [
        { file: env, commandLine: "" },
        { file: second, commandLine: "x y" },
      ],
    });
    const image = loadBootImage(request);
    expect(image.protocol).toBe("multiboot");
    expect(overlapOf(image.segments)).toBeUndefined();
    const memory = new LoadedMemory(image.segments);
    const info = image.entry.general[RBX]!;
    expect(image.entry.general[RAX]).toBe(0x2badb002);
    expect(memory.u32(info)).toBe(0x24d);
    expect([memory.u32(info + 4), memory.u32(info + 8)]).toEqual([639, 63 * 1024]);
    expect(memory.string(memory.u32(info + 16))).toBe("test.flat a=1 b");
    expect(memory.string(memory.u32(info + 64))).toBe("exitless");

    expect(memory.u32(info + 20)).toBe(2);
    const list = memory.u32(info + 24);
    const modules = [0, 16].map((at) => ({
      start: memory.u32(list + at),
      end: memory.u32(list + at + 4),
      string: memory.string(memory.u32(list + at + 8)),
    }));
    // Page-aligned, in order, behind the image with its BSS (100000H–104FFFH).
    expect(modules).toEqual([
      { start: 0x105000, end: 0x10500a, string: "env" },
      { start: 0x106000, end: 0x106000 + 5000, string: "second x y" },
    ]);
    expect(new TextDecoder().decode(memory.bytes(0x105000, 10))).toBe("NR_CPUS=2\n");

    const [length, map] = [memory.u32(info + 44), memory.u32(info + 48)];
    const ranges = [];
    for (let at = 0; at < length; at += memory.u32(map + at) + 4)
      ranges.push({
        base: memory.u64(map + at + 4),
        length: memory.u64(map + at + 12),
        type: memory.u32(map + at + 20),
      });
    expect(ranges).toEqual(request.memoryMap);
    expect(image.topOfUse).toBe(0x106000 + 5000);
  });

  test("the entry state is flat 32-bit protected mode with a GDT that agrees", () => {
    const image = loadBootImage(bootRequest(imageFile(multibootElf())));
    const { entry } = image;
    expect([entry.mode, entry.rip, entry.cr0, entry.cr4, entry.efer, entry.rflags]).toEqual([
      "protected32",
      0x100010,
      0x11,
      0,
      0,
      2,
    ]);
    expect(entry.segments[CS]).toEqual({ selector: 8, base: 0, limit: 0xffffffff, rights: 0xc09b });
    expect(entry.segments[DS]).toEqual({ selector: 16, base: 0, limit: 0xffffffff, rights: 0xc093 });
    expect(descriptor(image, 8)).toEqual({ code: true, l: false, d: true });
    expect(descriptor(image, 16)).toEqual({ code: false, l: false, d: true });
  });

  test("a header with load addresses places the file without ELF", () => {
    // The header lies 20H into the file; 10H of the file before it are loaded as well.
    const bytes = new Uint8Array(0x80).fill(0x90);
    bytes.set(multibootHeader(0x10003, [0x200010, 0x200000, 0x200040, 0x201000, 0x200030]), 0x20);
    const image = loadBootImage(bootRequest(imageFile(bytes)));
    const [first] = image.segments;
    expect([first!.physical, first!.bytes.length, first!.size]).toEqual([0x200000, 0x40, 0x1000]);
    expect([...first!.bytes]).toEqual([...bytes.subarray(0x10, 0x50)]);
    expect(image.entry.rip).toBe(0x200030);
  });

  test("load_end_addr 0 loads to the end of the file, bss_end_addr 0 means no BSS", () => {
    const bytes = pad(multibootHeader(0x10000, [0x200000, 0x200000, 0, 0, 0x200020]), 0x90);
    const [first] = loadBootImage(bootRequest(imageFile(bytes))).segments;
    expect([first!.bytes.length, first!.size]).toEqual([0x90, 0x90]);
  });

  test.each([
    ["load_addr above header_addr", [0x1ffff0, 0x200000, 0, 0, 0x200000], "above header_addr"],
    ["load_addr before the file", [0x200010, 0x200000, 0, 0, 0x200000], "before the file's first byte"],
    ["load_end_addr below load_addr", [0x200000, 0x200000, 0x1ff000, 0, 0x200000], "not above load_addr"],
    ["load_end_addr beyond the file", [0x200000, 0x200000, 0x300000, 0, 0x200000], "bytes are needed"],
    [
      "bss_end_addr inside the data",
      [0x200000, 0x200000, 0x200080, 0x200040, 0x200000],
      "below the end of the data",
    ],
    ["entry outside", [0x200000, 0x200000, 0, 0, 0x300000], "not in what is loaded"],
    ["load address outside RAM", [0xf0000000, 0xf0000000, 0, 0, 0xf0000000], "RAM ends at"],
  ])("address fields: %s is refused", (_name, fields, why) => {
    expect(errorOf(bootRequest(imageFile(pad(multibootHeader(0x10000, fields), 0x80)))).why).toContain(why);
  });

  test("the header is found at any 4-byte boundary of the first 8192 bytes and not beyond", () => {
    const at = (offset: number): Uint8Array => {
      const bytes = new Uint8Array(0x3000);
      bytes.set(multibootHeader(0x10000, [0x200000 + offset, 0x200000, 0, 0, 0x200000]), offset);
      return bytes;
    };
    expect(detectProtocol(imageFile(at(8192 - 12)))).toBe("multiboot");
    expect(() => detectProtocol(imageFile(at(8192 - 8)))).toThrow(ImageError);
    expect(() => detectProtocol(imageFile(at(2)))).toThrow(ImageError);
    const wrong = at(0);
    wrong[8]! ^= 1;
    expect(() => detectProtocol(imageFile(wrong))).toThrow(ImageError);
  });

  test("unknown requirements are refused, a video mode is noted", () => {
    expect(errorOf(bootRequest(imageFile(multibootElf(0x8)))).why).toContain("features unknown");
    expect(loadBootImage(bootRequest(imageFile(multibootElf(0x7)))).notes).toHaveLength(1);
  });

  test("segments outside RAM are refused, with the -m that would do", () => {
    const outside = errorOf(
      bootRequest(imageFile(multibootElf(3, { memoryBytes: 80 * MIB })), { mebibytes: 32 }),
    );
    expect(outside).toMatchObject({
      what: "ELF program header 0",
      hint: "give the machine more memory: -m 81",
    });
    const absurd = errorOf(bootRequest(imageFile(multibootElf(3, { memoryBytes: 0xffffffff }))));
    expect(absurd.hint).toContain("cannot fit");
    // A size that wraps around 2^32 is no way into the PCI hole or low memory.
    expect(
      errorOf(bootRequest(imageFile(multibootElf(3, { physical: 0xfffff000, entry: 0xfffff000 })))).why,
    ).toContain("RAM ends");
    for (const physical of [0, 0x400, 0x9f000, 0xa0000, 0xe0000, 0xff000])
      expect(errorOf(bootRequest(imageFile(multibootElf(3, { physical })))).why).toContain("below 1 MiB");
    // 1000H + 5000H bytes of conventional memory are RAM.
    expect(loadBootImage(bootRequest(imageFile(multibootElf(3, { physical: 0x1000 })))).entry.rip).toBe(
      0x1010,
    );
  });

  test("an image of several segments in too little RAM says at once what all of it needs", () => {
    const contents = pad(multibootHeader(3), 64);
    const parts = [0x100000, 0x3000000, 0x2000000].map((physical) => ({
      physical,
      contents,
      memoryBytes: MIB,
    }));
    const kernel = imageFile(buildElf(32, 0x100010, parts));
    expect(errorOf(bootRequest(kernel, { mebibytes: 32 }))).toMatchObject({
      what: "ELF program header 1",
      hint: "give the machine more memory: -m 49",
    });
    expect(loadBootImage(bootRequest(kernel, { mebibytes: 49 })).entry.rip).toBe(0x100010);
  });

  test("tables keep clear of an image that takes all of conventional memory", () => {
    const contents = pad(multibootHeader(3), 0x9f000 - 0x1000);
    const file = imageFile(
      buildElf(32, 0x1000, [{ physical: 0x1000, contents, memoryBytes: 0x9fc00 - 0x1000 }]),
    );
    const image = loadBootImage(bootRequest(file, { commandLine: "x".repeat(5000) }));
    expect(overlapOf(image.segments)).toBeUndefined();
    expect(image.entry.general[RBX]).toBeGreaterThanOrEqual(MIB);
    expect(image.topOfUse).toBeGreaterThan(MIB);
  });

  test("a module that does not fit says how much memory would do, and then that much does", () => {
    const modules = [{ file: imageFile(new Uint8Array(20 * MIB), "initrd"), commandLine: "" }];
    const request = (mebibytes: number): BootRequest =>
      bootRequest(imageFile(multibootElf()), { modules, mebibytes });
    const error = errorOf(request(16));
    expect(error).toMatchObject({ file: "dir/initrd", what: "module" });
    const needed = Number(/-m (\d+)/.exec(error.hint)![1]);
    expect(loadBootImage(request(needed)).segments).not.toHaveLength(0);
    expect(() => loadBootImage(request(needed - 1))).toThrow(ImageError);
  });
});

describe.each([32, 64] as const)("PVH, ELF%i", (width) => {
  test("the start information has map, command line, modules and RSDP", () => {
    const file = imageFile(new Uint8Array(5000).fill(9), "initrd");
    const request = bootRequest(imageFile(pvhElf(width)), {
      commandLine: "quiet",
      modules: [{ file, commandLine: "m" }],
    });
    const image = loadBootImage(request);
    expect(image.protocol).toBe("pvh");
    expect(overlapOf(image.segments)).toBeUndefined();
    const memory = new LoadedMemory(image.segments);
    const start = image.entry.general[RBX]!;
    expect([memory.u32(start), memory.u32(start + 4), memory.u32(start + 8)]).toEqual([0x336ec578, 1, 0]);
    expect(memory.string(memory.u64(start + 24))).toBe("quiet");
    expect(memory.u64(start + 32)).toBe(0xe0000);
    expect(memory.u32(start + 12)).toBe(1);
    const list = memory.u64(start + 16);
    expect([memory.u64(list), memory.u64(list + 8)]).toEqual([64 * MIB - 0x2000, 5000]);
    expect(memory.string(memory.u64(list + 16))).toBe("m");
    const map = memory.u64(start + 40);
    expect(memory.u32(start + 48)).toBe(request.memoryMap.length);
    request.memoryMap.forEach((range, i) =>
      expect([memory.u64(map + 24 * i), memory.u64(map + 24 * i + 8), memory.u32(map + 24 * i + 16)]).toEqual(
        [range.base, range.length, range.type],
      ),
    );
    const { entry } = image;
    expect([entry.mode, entry.rip, entry.cr0, entry.cr4, entry.efer]).toEqual([
      "protected32",
      0x100010,
      0x11,
      0,
      0,
    ]);
    expect(entry.segments[TR]).toMatchObject({ base: 0, limit: 0x67, rights: 0x8b });
  });

  test("an entry point outside the image, and an image without the note, are refused", () => {
    expect(errorOf(bootRequest(imageFile(pvhElf(width, 0x200000)))).why).toContain("not in what is loaded");
    const plain = imageFile(
      buildElf(width, 0x100000, [{ physical: 0x100000, contents: new Uint8Array(16) }]),
    );
    expect(errorOf(bootRequest(plain), "pvh").why).toContain("no XEN_ELFNOTE_PHYS32_ENTRY");
    expect(errorOf(bootRequest(plain)).why).toContain("neither a PVH note nor a multiboot header");
  });
});

describe("Linux, 64-bit entry", () => {
  const bzImage = (fields: BzImageFields = {}) => imageFile(buildBzImage(fields), "bzImage");

  test("boot_params has header, command line, RAM disk, memory map and RSDP", () => {
    const file = imageFile(new Uint8Array(5000).fill(9), "initrd");
    const request = bootRequest(bzImage(), {
      commandLine: "console=ttyS0",
      modules: [{ file, commandLine: "" }],
    });
    const image = loadBootImage(request);
    expect(image.protocol).toBe("linux");
    expect(overlapOf(image.segments)).toBeUndefined();
    const memory = new LoadedMemory(image.segments);
    const params = image.entry.general[RSI]!;
    expect(params % 4096).toBe(0);
    expect([...memory.bytes(params + 0x1f1, 0x77)].slice(0x2d)).toEqual([
      ...request.kernel.bytes.subarray(0x21e, 0x228),
      ...memory.bytes(params + 0x228, 4),
      ...request.kernel.bytes.subarray(0x22c, 0x268),
    ]);
    expect(memory.u32(params + 0x202)).toBe(0x53726448);
    expect(memory.u16(params + 0x1fa)).toBe(0xffff);
    expect(memory.bytes(params + 0x210, 1)[0]).toBe(0xff);
    expect(memory.u32(params + 0x214)).toBe(0x1000000);
    expect(memory.string(memory.u32(params + 0x228))).toBe("console=ttyS0");
    expect([memory.u32(params + 0x218), memory.u32(params + 0x21c)]).toEqual([64 * MIB - 0x2000, 5000]);
    expect(memory.u64(params + 0x70)).toBe(0xe0000);
    expect(memory.bytes(params + 0x1e8, 1)[0]).toBe(request.memoryMap.length);
    request.memoryMap.forEach((range, i) => {
      const at = params + 0x2d0 + 20 * i;
      expect([memory.u64(at), memory.u64(at + 8), memory.u32(at + 16)]).toEqual([
        range.base,
        range.length,
        range.type,
      ]);
    });
  });

  test("the entry state is 64-bit mode, the low 4 GiB identity mapped", () => {
    const image = loadBootImage(bootRequest(bzImage()));
    const { entry } = image;
    expect([entry.mode, entry.rip, entry.cr0, entry.cr4, entry.efer]).toEqual([
      "long64",
      0x1000200,
      0x80000011,
      0x20,
      0x500,
    ]);
    expect(entry.segments[CS]).toMatchObject({ selector: 0x10, rights: 0xa09b });
    expect(entry.segments[DS]).toMatchObject({ selector: 0x18, rights: 0xc093 });
    expect(descriptor(image, 0x10)).toEqual({ code: true, l: true, d: false });
    const memory = new LoadedMemory(image.segments);
    const translate = (linear: number): number => {
      const pdpt = memory.u64(entry.cr3 + 8 * Math.floor(linear / 2 ** 39));
      const directory = memory.u64(pdpt - 3 + 8 * (Math.floor(linear / 2 ** 30) % 512));
      const page = memory.u64(directory - 3 + 8 * (Math.floor(linear / 2 ** 21) % 512));
      expect([pdpt & 0xfff, directory & 0xfff, page & 0xfff]).toEqual([3, 3, 0x83]);
      return page - 0x83 + (linear % 2 ** 21);
    };
    for (const linear of [0, 0x12345, 0x1000200, 0x3fffffff, 0x40000000, 0xfee00000, 0xffffffff])
      expect(translate(linear)).toBe(linear);
  });

  test("what the kernel unpacks itself into is kept free", () => {
    const file = imageFile(new Uint8Array(20 * MIB), "initrd");
    const image = loadBootImage(
      bootRequest(bzImage({ initSize: 0x2000000 }), { mebibytes: 69, modules: [{ file, commandLine: "" }] }),
    );
    const initrd = image.segments.find(({ size }) => size === 20 * MIB)!;
    expect(initrd.physical).toBe(49 * MIB);
    expect(
      errorOf(
        bootRequest(bzImage({ initSize: 0x2200000 }), {
          mebibytes: 69,
          modules: [{ file, commandLine: "" }],
        }),
      ).what,
    ).toBe("initrd");
  });

  test("a relocatable kernel is loaded lower in a small machine; another says what it needs", () => {
    expect(loadBootImage(bootRequest(bzImage({ initSize: 0x800000 }), { mebibytes: 12 })).entry.rip).toBe(
      0x200200,
    );
    const error = errorOf(bootRequest(bzImage({ initSize: 0x800000, relocatable: 0 }), { mebibytes: 12 }));
    expect(error.hint).toBe("give the machine more memory: -m 24");
    expect(errorOf(bootRequest(bzImage({ initSize: 0x800000 }), { mebibytes: 9 })).hint).toContain("-m 10");
  });

  test("the RAM disk stays below initrd_addr_max", () => {
    const file = imageFile(new Uint8Array(5000), "initrd");
    const image = loadBootImage(
      bootRequest(bzImage({ initrdMax: 0x2ffffff }), { modules: [{ file, commandLine: "" }] }),
    );
    expect(new LoadedMemory(image.segments).u32(image.entry.general[RSI]! + 0x218)).toBe(0x2ffe000);
  });

  test("every length of a cut file is refused", () => {
    const whole = buildBzImage();
    for (let length = 0x206; length < whole.length - 15; length += length < 0x400 ? 1 : 61)
      expect(errorOf(bootRequest(imageFile(whole.subarray(0, length))), "linux").why).toMatch(
        /bytes are needed/,
      );
  });

  test.each<[string, BzImageFields, string]>([
    ["old protocol", { version: 0x20b }, "older than 2.12"],
    ["no 64-bit entry", { xloadflags: 0 }, "no 64-bit entry point"],
    ["zImage", { loadflags: 0 }, "LOADED_HIGH"],
    ["kernel larger than the file", { syssize: 0x0fffffff }, "bytes are needed"],
    ["no kernel", { syssize: 1 }, "less than its entry point needs"],
    ["short header", { jump: 0x30 }, "too early"],
    ["alignment", { alignment: 0x300000 }, "not a power of two"],
    ["alignment 0", { alignment: 0 }, "not a power of two"],
    ["preferred address 0", { preferred: 0n }, "not between 1 MiB and 4 GiB"],
    ["absurd preferred address", { preferred: 0xffffffffffffffffn }, "not between 1 MiB and 4 GiB"],
    ["absurd init_size", { initSize: 0xffffffff }, "it needs RAM up to"],
  ])("%s is refused", (_name, fields, why) => {
    expect(errorOf(bootRequest(bzImage(fields))).why).toContain(why);
  });

  test("a command line longer than cmdline_size and a second RAM disk are refused", () => {
    expect(errorOf(bootRequest(bzImage({ cmdlineSize: 10 }), { commandLine: "12345678901" })).what).toBe(
      "command line",
    );
    expect(
      loadBootImage(bootRequest(bzImage({ cmdlineSize: 10 }), { commandLine: "1234567890" })).protocol,
    ).toBe("linux");
    const module = { file: imageFile(new Uint8Array(1), "initrd"), commandLine: "" };
    expect(errorOf(bootRequest(bzImage(), { modules: [module, module] })).hint).toBe(
      "join them into one file",
    );
  });
});

describe("our own images", () => {
  const image = (name: string) =>
    readImage(new URL(`../../../guest-images/images/${name}`, import.meta.url).pathname, "kernel");

  test("each is detected and loads; the kernel takes all three protocols", () => {
    expect(detectProtocol(image("kernel.bzimage"))).toBe("linux");
    expect(detectProtocol(image("kernel.elf"))).toBe("pvh");
    expect(detectProtocol(image("bench32-crc.elf"))).toBe("multiboot");
    expect(detectProtocol(image("loader64.elf"))).toBe("multiboot");
    expect(loadBootImage(bootRequest(image("kernel.elf")), "multiboot").entry.rip).toBe(0x10001c);
    expect(loadBootImage(bootRequest(image("kernel.elf"))).entry.rip).toBe(0x10002b);
    expect(loadBootImage(bootRequest(image("kernel.bzimage"))).entry.rip).toBe(0x100200);
    for (const name of ["bench32-crc.elf", "loader64.elf", "kernel.elf", "kernel.bzimage"])
      expect(overlapOf(loadBootImage(bootRequest(image(name))).segments)).toBeUndefined();
  });

  test("a protocol that an image does not follow is refused", () => {
    expect(errorOf(bootRequest(image("kernel.elf")), "linux").what).toBe("Linux setup header");
    expect(errorOf(bootRequest(image("kernel.bzimage")), "pvh").what).toBe("kernel payload");
    expect(errorOf(bootRequest(image("bench32-crc.elf")), "pvh").what).toBe("PVH note");
    expect(errorOf(bootRequest(textFile("hello", "text")), "multiboot").what).toBe("multiboot header");
    expect(errorOf(bootRequest(textFile("hello", "text"))).what).toBe("boot protocol");
  });
});

test("applyEntryState writes every register that the entry state names into the CPU block", () => {
  const cpu = CpuStruct.at(new StateMemory(new ArrayBuffer(65536)), 0);
  cpu.gpr.fill(0xffffffffffffffffn);
  cpu.cr2 = 5n;
  const { entry } = loadBootImage(bootRequest(imageFile(buildBzImage())));
  applyEntryState(cpu, entry);
  expect([...cpu.gpr].map(Number)).toEqual(entry.general);
  expect([cpu.rip, cpu.rflags, cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.efer]).toEqual([
    0x1000200n,
    2n,
    0x80000011n,
    0n,
    BigInt(entry.cr3),
    0x20n,
    0x500n,
  ]);
  entry.segments.forEach((segment, i) =>
    expect([cpu.segSelector[i], cpu.segBase[i], cpu.segLimit[i], cpu.segRights[i]].map(Number)).toEqual([
      segment.selector,
      segment.base,
      segment.limit,
      segment.rights,
    ]),
  );
  expect(cpu.segRights[LDTR]).toBe(0x82n);
  expect([cpu.gdtrBase, cpu.gdtrLimit, cpu.idtrLimit]).toEqual([BigInt(entry.gdtr.base), 0x1fn, 0x3ffn]);
});

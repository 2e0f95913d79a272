import { describe, expect, test } from "vitest";
import { IsaBridge } from "../../../devices/pci/chipset.ts";
import * as aml from "../../../emulator/machine/firmware/acpi/aml.ts";
import { buildAcpiTables } from "../../../emulator/machine/firmware/acpi/tables.ts";
import { e820Map } from "../../../emulator/machine/firmware/e820.ts";
import { buildFirmware } from "../../../emulator/machine/firmware/firmware.ts";
import { buildMpTable } from "../../../emulator/machine/firmware/mptable.ts";
import { byteSum } from "../../../emulator/machine/table-writer.ts";
import { loadBootImage } from "../../../emulator/machine/loaders/detect.ts";
import {
  LoadedMemory,
  MIB,
  bootRequest,
  imageFile,
  multibootHeader,
  overlapOf,
} from "../../support/boot-images.ts";

/*
 * The AML was checked by hand with acpica-tools 20200925: `iasl -d` disassembles every table without a warning, its output
 * compiles again without error or warning, and `acpiexec` loads the DSDT and executes _PIC, _STA, _CRS and _SRS of the
 * link devices (`acpiexec -b "resources \_SB.LNKA" dsdt.dat`).
 */

const bytesOf = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("AML encodings (ACPI Specification, examples of its AML chapter)", () => {
  test("package lengths take 1 to 4 bytes and count themselves", () => {
    expect([...aml.packageLength(0)]).toEqual([1]);
    expect([...aml.packageLength(62)]).toEqual([63]);
    expect([...aml.packageLength(63)]).toEqual([0x41, 0x04]);
    expect([...aml.packageLength(4093)]).toEqual([0x4f, 0xff]);
    expect([...aml.packageLength(4094)]).toEqual([0x81, 0x00, 0x01]);
    expect([...aml.packageLength(0xffffc)]).toEqual([0x8f, 0xff, 0xff]);
    expect([...aml.packageLength(0xffffd)]).toEqual([0xc1, 0x00, 0x00, 0x01]);
    expect(() => aml.packageLength(2 ** 28)).toThrow(RangeError);
  });

  test("integers take their shortest form", () => {
    expect(
      [0, 1, 2, 0xff, 0x100, 0xffff, 0x10000, 0xffffffff].map((value) => [...aml.integer(value)]),
    ).toEqual([
      [0],
      [1],
      [0x0a, 2],
      [0x0a, 0xff],
      [0x0b, 0, 1],
      [0x0b, 0xff, 0xff],
      [0x0c, 0, 0, 1, 0],
      [0x0c, 0xff, 0xff, 0xff, 0xff],
    ]);
  });

  test("names have their prefixes and are padded", () => {
    const text = (path: string): string => Buffer.from(aml.name(path)).toString("latin1");
    expect(["_SB", "\\_SB", "^^A", "A.B1", "\\A.B.C", "\\"].map(text)).toEqual([
      "_SB_",
      "\\_SB_",
      "^^A___",
      ".A___B1__",
      "\\/\x03A___B___C___",
      "\\\0",
    ]);
    for (const bad of ["1A", "ABCDE", "ab"]) expect(() => aml.name(bad)).toThrow(RangeError);
  });

  test("EISA IDs are compressed: PNP0A03 is 030AD041H", () => {
    expect([...aml.eisaId("PNP0A03")]).toEqual([0x0c, 0x41, 0xd0, 0x0a, 0x03]);
    expect(() => aml.eisaId("PNP03")).toThrow(RangeError);
  });
});

/** The tables as an operating system finds them: from the RSDP through RSDT and XSDT, every checksum verified. */
function walk(cpus: number, options = {}) {
  const acpi = buildAcpiTables({ cpus, ...options });
  const memory = new LoadedMemory([{ physical: acpi.rsdp, bytes: acpi.bytes, size: acpi.bytes.length }]);
  const signature = (at: number, length = 4): string =>
    Buffer.from(memory.bytes(at, length)).toString("latin1");
  const rsdp = acpi.rsdp;
  expect(rsdp % 16).toBe(0);
  expect([signature(rsdp, 8), memory.bytes(rsdp + 15, 1)[0], memory.u32(rsdp + 20)]).toEqual([
    "RSD PTR ",
    2,
    36,
  ]);
  expect([byteSum(memory.bytes(rsdp, 20)), byteSum(memory.bytes(rsdp, 36))]).toEqual([0, 0]);
  const table = (at: number): Uint8Array => {
    const bytes = memory.bytes(at, memory.u32(at + 4));
    expect([signature(at), byteSum(bytes)]).toEqual([signature(at), 0]);
    return bytes;
  };
  const rsdt = memory.u32(rsdp + 16);
  const xsdt = memory.u64(rsdp + 24);
  expect([signature(rsdt), signature(xsdt)]).toEqual(["RSDT", "XSDT"]);
  const count = (table(rsdt).length - 36) / 4;
  expect((table(xsdt).length - 36) / 8).toBe(count);
  const found = new Map<string, { at: number; bytes: Uint8Array; view: DataView }>();
  const add = (at: number): void => {
    const bytes = table(at);
    found.set(signature(at), { at, bytes, view: new DataView(bytes.buffer) });
  };
  for (let i = 0; i < count; i++) {
    const at = memory.u32(rsdt + 36 + 4 * i);
    expect(memory.u64(xsdt + 36 + 8 * i)).toBe(at);
    add(at);
  }
  const fadt = found.get("FACP")!.view;
  add(fadt.getUint32(40, true));
  return { acpi, memory, signature, get: (name: string) => found.get(name)! };
}

describe("ACPI tables", () => {
  test("RSDP, RSDT and XSDT lead to FADT, MADT, MCFG and DSDT with right checksums", () => {
    const { get, memory, signature, acpi } = walk(4);
    const fadt = get("FACP").view;
    expect([...["FACP", "APIC", "MCFG", "DSDT"].map((name) => get(name).bytes.length > 36)]).toEqual([
      true,
      true,
      true,
      true,
    ]);
    const facs = fadt.getUint32(36, true);
    expect([signature(facs), facs % 64, memory.u32(facs + 4)]).toEqual(["FACS", 0, 64]);
    expect([Number(fadt.getBigUint64(132, true)), Number(fadt.getBigUint64(140, true))]).toEqual([
      facs,
      get("DSDT").at,
    ]);
    expect(acpi.rsdp + acpi.bytes.length).toBeLessThanOrEqual(MIB);
  });

  test("the FADT has the PM block, SMI commands, reset register, SCI and century byte", () => {
    const { view } = walk(1).get("FACP");
    expect([56, 64, 76, 80].map((at) => view.getUint32(at, true))).toEqual([0x600, 0x604, 0x608, 0x60c]);
    expect([88, 89, 91, 92].map((at) => view.getUint8(at))).toEqual([4, 2, 4, 4]);
    expect([
      view.getUint16(46, true),
      view.getUint32(48, true),
      view.getUint8(52),
      view.getUint8(53),
    ]).toEqual([9, 0xb2, 0xf1, 0xf0]);
    expect([
      view.getUint8(116),
      view.getUint8(117),
      Number(view.getBigUint64(120, true)),
      view.getUint8(128),
    ]).toEqual([1, 8, 0xcf9, 6]);
    expect(view.getUint32(112, true) & (1 << 10)).not.toBe(0);
    expect([view.getUint8(108), view.getUint16(109, true) & 3]).toEqual([0x32, 1]);
    const withKeyboard = walk(1, { keyboardAndMouse: true }).get("FACP").view;
    expect(withKeyboard.getUint16(109, true) & 3).toBe(3);
    expect(Number(view.getBigUint64(148 + 4, true))).toBe(0x600);
    expect(
      Number(
        walk(1, { pmBase: 0xb000 })
          .get("FACP")
          .view.getBigUint64(208 + 4, true),
      ),
    ).toBe(0xb008);
  });

  /** MADT entries by type, without type and length. */
  const madt = (cpus: number): Record<number, number[][]> => {
    const { bytes } = walk(cpus).get("APIC");
    const entries: Record<number, number[][]> = {};
    let at = 44;
    for (; at < bytes.length; at += bytes[at + 1]!)
      (entries[bytes[at]!] ??= []).push([...bytes.subarray(at + 2, at + bytes[at + 1]!)]);
    expect(at).toBe(bytes.length);
    return entries;
  };

  test("the MADT lists every CPU, the I/O APIC, the overrides and NMI", () => {
    const entries = madt(3);
    expect(entries[0]).toEqual([
      [0, 0, 1, 0, 0, 0],
      [1, 1, 1, 0, 0, 0],
      [2, 2, 1, 0, 0, 0],
    ]);
    expect(entries[1]).toEqual([[0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]]);
    // bus, source, GSI, flags: IRQ 0 is input 2; SCI and PIRQ targets are level-triggered, active high.
    expect(entries[2]).toEqual([
      [0, 0, 2, 0, 0, 0, 0, 0],
      [0, 9, 9, 0, 0, 0, 0xd, 0],
      [0, 10, 10, 0, 0, 0, 0xd, 0],
      [0, 11, 11, 0, 0, 0, 0xd, 0],
    ]);
    expect(entries[4]).toEqual([[0xff, 0, 0, 1]]);
    expect(entries[9]).toBeUndefined();
  });

  test("CPUs whose APIC ID does not fit in a byte have x2APIC entries", () => {
    const entries = madt(257);
    expect([entries[0]!.length, entries[9]!.length, entries[10]!.length]).toEqual([255, 2, 1]);
    expect(entries[9]![1]!.slice(2)).toEqual([0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
  });

  test("the MCFG names ECAM for the buses that the board decodes", () => {
    const { view } = walk(1).get("MCFG");
    expect([
      Number(view.getBigUint64(44, true)),
      view.getUint16(52, true),
      view.getUint8(54),
      view.getUint8(55),
    ]).toEqual([0xb0000000, 0, 0, 0]);
  });

  test("\\_S5 is encoded so that a search for its bytes finds it, with sleep type 0", () => {
    const text = Buffer.from(walk(1).get("DSDT").bytes).toString("latin1");
    // NameOp, root, "_S5_", PackageOp, length 6, 4 elements, ZeroOp × 4.
    expect(text).toContain("\x08\\_S5_\x12\x06\x04\0\0\0\0");
  });

  test.each(["LNK", "GSI"])("_PRT through %s says of every slot and pin what the board wires", (links) => {
    const { bytes } = walk(1).get("DSDT");
    const text = Buffer.from(bytes).toString("latin1");
    const seen = new Map<string, string>();
    // Package (4) {DWord slot << 16 | FFFFH, pin, link, 0}
    const entry = /\x12[\s\S]\x04\x0c\xff\xff([\s\S])\x00(\x00|\x01|\x0a[\s\S])(LNK|GSI)([A-D])\x00/g;
    for (const [, slot, pin, kind, letter] of text.matchAll(entry))
      if (kind === links) seen.set(`${slot!.charCodeAt(0)}.${pin!.charCodeAt(pin!.length - 1)}`, letter!);
    expect(seen.size).toBe(31 * 4);
    for (let slot = 1; slot < 32; slot++)
      for (let pin = 0; pin < 4; pin++)
        expect(seen.get(`${slot}.${pin}`)).toBe("ABCD"[IsaBridge.pirqOf(slot, pin + 1)]);
  });

  test("the I/O APIC's link devices are inputs 16 to 19, level-triggered, active high", () => {
    const { bytes } = walk(1).get("DSDT");
    const inputs = [];
    for (let at = 0; at + 9 <= bytes.length; at++)
      if (bytes[at] === 0x89 && bytes[at + 1] === 6 && bytes[at + 2] === 0 && bytes[at + 3] === 9)
        inputs.push(bytes[at + 5]);
    // _PRS and _CRS of each.
    expect(inputs).toEqual([16, 16, 17, 17, 18, 18, 19, 19]);
  });
});

describe("MP table", () => {
  const base = 0xf0000;
  const table = (cpus: number) => {
    const bytes = buildMpTable({ cpus, signature: 0x506e3, featureFlags: 0x1234 }, base);
    const view = new DataView(bytes.buffer);
    expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe("_MP_");
    expect(byteSum(bytes.subarray(0, 16))).toBe(0);
    const at = view.getUint32(4, true) - base;
    const length = view.getUint16(at + 4, true);
    expect(Buffer.from(bytes.subarray(at, at + 4)).toString()).toBe("PCMP");
    expect(byteSum(bytes.subarray(at, at + length))).toBe(0);
    const entries: number[][] = [];
    let offset = at + 44;
    for (let n = view.getUint16(at + 34, true); n > 0; n--) {
      const size = bytes[offset] === 0 ? 20 : 8;
      entries.push([...bytes.subarray(offset, offset + size)]);
      offset += size;
    }
    expect(offset).toBe(at + length);
    return entries;
  };

  test("processors come first, the bootstrap processor flagged; then buses, I/O APIC and interrupts in order of type", () => {
    const entries = table(4);
    expect(entries.filter(([type]) => type === 0).map((e) => [e[1], e[3]])).toEqual([
      [0, 3],
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    expect(entries[0]!.slice(4, 12)).toEqual([0xe3, 0x06, 0x05, 0, 0x34, 0x12, 0, 0]);
    const types = entries.map(([type]) => type!);
    expect(types).toEqual([...types].sort());
    expect(entries.find(([type]) => type === 2)).toEqual([2, 0, 0x20, 1, 0, 0, 0xc0, 0xfe]);
    expect(entries.filter(([type]) => type === 1).map((e) => Buffer.from(e.slice(2)).toString())).toEqual([
      "PCI   ",
      "ISA   ",
    ]);
  });

  test("interrupts agree with the MADT and with the board's wiring", () => {
    const interrupts = table(1).filter(([type]) => type === 3);
    const isa = interrupts.filter((e) => e[4] === 1).map((e) => [e[5], e[2], e[7]]);
    expect(isa).toContainEqual([0, 0, 2]);
    expect(isa).toContainEqual([9, 0xd, 9]);
    expect(isa).toContainEqual([4, 0, 4]);
    expect(isa.some(([irq]) => irq === 2)).toBe(false);
    expect(new Set(isa.map(([, , input]) => input)).size).toBe(15);
    const pci = interrupts.filter((e) => e[4] === 0);
    expect(pci).toHaveLength(31 * 4);
    for (const [, , flags, , , source, , input] of pci)
      expect([flags, input]).toEqual([0xd, 16 + IsaBridge.pirqOf(source! >> 2, (source! & 3) + 1)]);
    expect(
      table(1)
        .filter(([type]) => type === 4)
        .map((e) => [e[1], e[6], e[7]]),
    ).toEqual([
      [3, 0xff, 0],
      [1, 0xff, 1],
    ]);
  });

  test("255 CPUs do not fit", () => {
    expect(() => table(255)).toThrow(RangeError);
    expect(table(254)).not.toHaveLength(0);
  });
});

describe("memory map", () => {
  test.each([
    [1, 0],
    [64, 0],
    [2816, 0],
    [2816, 1024],
  ])("%i MiB below and %i MiB above 4 GiB: ascending, apart, and RAM where there is RAM", (low, high) => {
    const map = e820Map({ lowRam: low * MIB, highRam: high * MIB });
    for (let i = 1; i < map.length; i++)
      expect(map[i]!.base).toBeGreaterThanOrEqual(map[i - 1]!.base + map[i - 1]!.length);
    expect(map.every(({ length }) => length > 0)).toBe(true);
    const usable = map.filter(({ type }) => type === 1).map(({ base, length }) => [base, base + length]);
    const expected = [[0, 0x9fc00]];
    if (low > 1) expected.push([MIB, low * MIB]);
    if (high > 0) expected.push([2 ** 32, 2 ** 32 + high * MIB]);
    expect(usable).toEqual(expected);
    expect(map).toContainEqual({ base: 0xb0000000, length: 0x100000, type: 2 });
    expect(map).toContainEqual({ base: 0xe0000, length: 0x20000, type: 2 });
  });
});

describe("firmware in memory", () => {
  const ram = { lowRam: 16 * MIB, highRam: 0 };
  const build = (cpus = 2) => buildFirmware({ ram, cpus, signature: 1, featureFlags: 2 });

  test("its parts do not overlap, and no boot image can lie on them", () => {
    const { segments } = build(200);
    expect(overlapOf(segments)).toBeUndefined();
    const code = new Uint8Array(0x80);
    code.set(multibootHeader(0x10000, [0x500, 0x500, 0, 0x9fc00, 0x520]));
    const image = loadBootImage(bootRequest(imageFile(code), { mebibytes: 16 }));
    expect(overlapOf([...segments, ...image.segments])).toBeUndefined();
  });

  test("the BIOS data area has COM1, the EBDA and the memory size; vectors point to an IRET", () => {
    const memory = new LoadedMemory(build().segments);
    expect([memory.u16(0x400), memory.u16(0x40e), memory.u16(0x413)]).toEqual([0x3f8, 0x9fc0, 639]);
    expect(memory.bytes(0x9fc00, 1)).toEqual(bytesOf(1));
    const [offset, segment] = [memory.u16(4 * 0x10), memory.u16(4 * 0x10 + 2)];
    expect(memory.bytes(segment * 16 + offset, 1)).toEqual(bytesOf(0xcf));
    expect(memory.bytes(0xffff0, 2)).toEqual(bytesOf(0xfa, 0xf4));
  });

  test("a scan of E0000H–FFFFFH at 16-byte steps finds RSDP and MP pointer", () => {
    const { segments, rsdp } = build();
    const found: Record<string, number> = {};
    for (const { physical, bytes } of segments)
      for (let at = 0; at < bytes.length; at += 16) {
        const text = Buffer.from(bytes.subarray(at, at + 8)).toString("latin1");
        if ((physical + at) % 16 === 0 && (text === "RSD PTR " || text.startsWith("_MP_")))
          found[text.slice(0, 3)] = physical + at;
      }
    expect(found).toEqual({ RSD: rsdp, _MP: 0xf0000 });
  });

  test("it needs RAM up to 1 MiB", () => {
    expect(() =>
      buildFirmware({ ram: { lowRam: 0x80000, highRam: 0 }, cpus: 1, signature: 1, featureFlags: 2 }),
    ).toThrow(RangeError);
  });
});

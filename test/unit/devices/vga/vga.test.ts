/** The VGA, driven as firmware and boot loaders drive it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inflateSync } from "node:zlib";
import { MmioBus } from "../../../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../../../devices/bus/port-bus.ts";
import { PciBus } from "../../../../devices/pci/pci-bus.ts";
import { screenOf, textScreenOf } from "../../../../devices/vga/screen.ts";
import { code437 } from "../../../../devices/vga/code-page.ts";
import { VIDEO_MEMORY_BYTES } from "../../../../devices/vga/spec.ts";
import { Vga } from "../../../../devices/vga/vga.ts";
import { encodePng } from "../../../../hypervisor/png.ts";
import { FakeContext } from "../../../support/device-context.ts";

const FRAME_BUFFER = 0xe0000000;
const REGISTERS = 0xe1000000;
const ROM = 0xe1010000;

/** Memory is cleared between cases, not made anew: it is large. */
const context = new FakeContext({ stateBytes: VIDEO_MEMORY_BYTES + 1024 * 1024 });
const ports = new PortBus();
const memory = new MmioBus();
const bus = new PciBus(context, { label: "pci", ports, memory });
const vga = new Vga(context, {
  label: "vga",
  ports,
  memory,
  rom: Uint8Array.of(0x55, 0xaa, ...new Array<number>(3000).fill(7)),
});
bus.add(2, 0, vga.pci);

function start(): void {
  context.powerOn(bus, vga);
  vga.state.memory.fill(0);
  vga.pci.write(0x10, 4, FRAME_BUFFER);
  vga.pci.write(0x18, 4, REGISTERS);
  vga.pci.write(4, 2, 3);
}

const out = (port: number, value: number, size: 1 | 2 = 1): void => ports.write(port, size, value);
const indexed = (port: number, values: Readonly<Record<number, number>>): void => {
  for (const [index, value] of Object.entries(values)) {
    out(port, Number(index));
    out(port + 1, value);
  }
};
const attributes = (values: readonly number[]): void => {
  ports.read(0x3da, 1);
  values.forEach((value, index) => {
    out(0x3c0, index);
    out(0x3c0, value);
  });
  out(0x3c0, 0x20);
};
const dispi = (index: number, value: number): void => {
  out(0x1ce, index, 2);
  out(0x1cf, value, 2);
};
const readDispi = (index: number): number => {
  out(0x1ce, index, 2);
  return ports.read(0x1cf, 2);
};
const colour = (index: number, red: number, green: number, blue: number): void => {
  out(0x3c8, index);
  for (const part of [red, green, blue]) out(0x3c9, part);
};
const IDENTITY = Array.from({ length: 16 }, (_, i) => i);

/** 40 × 3 characters of 8 × 4 dots. */
function textMode(): void {
  out(0x3c2, 0x67);
  indexed(0x3c4, { 1: 1, 2: 3, 3: 0, 4: 2 });
  indexed(0x3ce, { 5: 0x10, 6: 0x0e });
  indexed(0x3d4, { 1: 39, 7: 0, 9: 3, 0xa: 0x20, 0x12: 11, 0x13: 20 });
  attributes([...IDENTITY, 0]);
  colour(7, 42, 42, 42);
  colour(1, 0, 0, 63);
}

const put = (text: string, at: number, attribute: number): void => {
  Array.from(text, (letter) => letter.charCodeAt(0)).forEach((byte, i) => {
    memory.write(0xb8000 + 2 * (at + i), 1, byte);
    memory.write(0xb8000 + 2 * (at + i) + 1, 1, attribute);
  });
};

describe("text", () => {
  test("characters, attributes, and the font that the guest loads into plane 2", () => {
    start();
    textMode();
    put("Hi\xb3", 1, 0x17);
    // Plane 2 alone, without odd/even addressing: the first lines of H.
    indexed(0x3c4, { 2: 4, 4: 6 });
    indexed(0x3ce, { 5: 0, 6: 4, 8: 0xff });
    memory.write(0xa0000 + 32 * 0x48, 1, 0x81);
    indexed(0x3c4, { 2: 3, 4: 2 });
    indexed(0x3ce, { 5: 0x10, 6: 0x0e });
    const { width, height, rgb, text } = screenOf(vga.state);
    expect([width, height]).toEqual([320, 12]);
    expect(text).toEqual([" Hi│", "", ""]);
    expect([...rgb.subarray(3 * 8, 3 * 10)]).toEqual([170, 170, 170, 0, 0, 255]);
    expect(memory.read(0xb8002, 2)).toBe(0x1748);
  });
  test("start address, cursor", () => {
    start();
    textMode();
    put("abc", 41, 7);
    indexed(0x3d4, { 0xc: 0, 0xd: 40, 0xa: 2, 0xb: 3, 0xe: 0, 0xf: 40 });
    const { rgb, text } = screenOf(vga.state);
    expect(text![0]).toBe(" abc");
    expect(rgb[3 * 2 * 320]).toBe(0); // the cursor has the colour of its character, attribute 0
    const cells = textScreenOf(vga.state)!;
    expect(cells.cursor).toEqual({ row: 0, column: 0 });
    indexed(0x3d4, { 0xa: 0x20 });
    expect(textScreenOf(vga.state)!.cursor).toBeUndefined();
  });

  test("characters with their colours are those of the picture", () => {
    start();
    textMode();
    put("Hi\xb3", 1, 0x17);
    const { rows } = textScreenOf(vga.state)!;
    expect(rows.map((row) => row.length)).toEqual([40, 40, 40]);
    expect(rows[0]!.slice(0, 4)).toEqual([
      { character: code437(0), foreground: 0, background: 0 },
      { character: "H", foreground: 0xaaaaaa, background: 0x0000ff },
      { character: "i", foreground: 0xaaaaaa, background: 0x0000ff },
      { character: "│", foreground: 0xaaaaaa, background: 0x0000ff },
    ]);
    // Attribute bit 7 is blinking where the mode register says so, else a bright background.
    put("!", 0, 0x97);
    colour(9, 0, 0, 21);
    expect(textScreenOf(vga.state)!.rows[0]![0]!.background).toBe(0x000055);
    attributes([...IDENTITY, 8]);
    expect(textScreenOf(vga.state)!.rows[0]![0]!.background).toBe(0x0000ff);
    indexed(0x3ce, { 6: 5 });
    expect(textScreenOf(vga.state)).toBeUndefined();
  });
});

test("no character of the screen is one that steers a terminal", () => {
  for (let byte = 0; byte < 256; byte++) expect(code437(byte)).toMatch(/^[^\p{Cc}]$/u);
});

describe("planes", () => {
  const planar = (): void => {
    start();
    out(0x3c2, 0xe3);
    indexed(0x3c4, { 1: 1, 2: 0x0f, 4: 6 });
    indexed(0x3ce, { 0: 0, 1: 0, 3: 0, 4: 0, 5: 0, 6: 5, 7: 15, 8: 0xff });
    indexed(0x3d4, { 1: 3, 7: 0, 9: 0, 0x12: 1, 0x13: 2 });
    attributes([...IDENTITY, 1, 0, 15]);
    for (let i = 0; i < 16; i++) colour(i, i, 0, 0);
  };
  const pixels = (): number[] => Array.from({ length: 8 }, (_, x) => screenOf(vga.state).rgb[3 * x]! >> 2);

  test("write mode 0: map mask, set/reset, bit mask, rotation, functions", () => {
    planar();
    indexed(0x3c4, { 2: 5 });
    memory.write(0xa0000, 1, 0xf0);
    expect(pixels()).toEqual([5, 5, 5, 5, 0, 0, 0, 0]);
    indexed(0x3c4, { 2: 15 });
    indexed(0x3ce, { 0: 2, 1: 15, 8: 0x18 });
    memory.read(0xa0000, 1);
    memory.write(0xa0000, 1, 0);
    expect(pixels()).toEqual([5, 5, 5, 2, 2, 0, 0, 0]);
    indexed(0x3ce, { 1: 0, 3: 0x18 | 4, 8: 0xff });
    memory.read(0xa0000, 1);
    memory.write(0xa0000, 1, 0x01); // rotated right by four: 10H, exclusive or
    expect(pixels()).toEqual([5, 5, 5, 13, 2, 0, 0, 0]);
  });
  test("write modes 1, 2 and 3, read mode 1", () => {
    planar();
    indexed(0x3ce, { 5: 2, 8: 0x3c });
    memory.write(0xa0000, 1, 9);
    expect(pixels()).toEqual([0, 0, 9, 9, 9, 9, 0, 0]);
    indexed(0x3ce, { 5: 1 });
    memory.read(0xa0000, 1);
    memory.write(0xa0001, 1, 0);
    expect(vga.state.memory[4]).toBe(0x3c);
    indexed(0x3ce, { 0: 6, 5: 3, 8: 0xff });
    memory.read(0xa0000, 1);
    memory.write(0xa0000, 1, 0x81);
    expect(pixels()).toEqual([6, 0, 9, 9, 9, 9, 0, 6]);
    indexed(0x3ce, { 2: 9, 5: 8 });
    expect(memory.read(0xa0000, 1)).toBe(0x3c);
    indexed(0x3ce, { 7: 1 });
    expect(memory.read(0xa0000, 1)).toBe(0x3c);
  });
});

test("mode 13H: a byte a pixel, chained", () => {
  start();
  out(0x3c2, 0x63);
  indexed(0x3c4, { 2: 15, 4: 0x0e });
  indexed(0x3ce, { 5: 0x40, 6: 5 });
  indexed(0x3d4, { 1: 79, 7: 0, 9: 0x41, 0x12: 3, 0x13: 40 });
  attributes([...IDENTITY, 0x41]);
  colour(200, 63, 0, 1);
  memory.write(0xa0000 + 320 + 2, 1, 200);
  const { width, height, rgb } = screenOf(vga.state);
  expect([width, height]).toEqual([320, 2]);
  expect([...rgb.subarray(3 * 322, 3 * 323)]).toEqual([255, 0, 4]);
});

describe("dispi", () => {
  const mode = (x: number, y: number, bpp: number, flags = 0x41): void => {
    start();
    dispi(4, 0);
    dispi(1, x);
    dispi(2, y);
    dispi(3, bpp);
    dispi(4, flags);
  };
  test.each<[number, number, number[]]>([
    [32, 0x00ff8001, [255, 128, 1]],
    [24, 0x00ff8001, [255, 128, 1]],
    [16, 0xf800 | (32 << 5) | 1, [255, 130, 8]],
    [15, 0x7c00 | (16 << 5) | 1, [255, 132, 8]],
  ])("%i bits a pixel", (bpp, pixel, expected) => {
    mode(64, 48, bpp);
    expect(readDispi(4)).toBe(0x41);
    const bytes = (bpp + 7) >> 3;
    for (let i = 0; i < bytes; i++)
      memory.write(FRAME_BUFFER + (64 + 3) * bytes + i, 1, (pixel >>> (8 * i)) & 0xff);
    const { width, height, rgb } = screenOf(vga.state);
    expect([width, height]).toEqual([64, 48]);
    expect([...rgb.subarray(3 * 67, 3 * 68)]).toEqual(expected);
  });
  test("banks, and the BAR's registers", () => {
    mode(1024, 768, 8);
    dispi(5, 3);
    memory.write(0xa0005, 1, 0x77);
    expect(memory.read(FRAME_BUFFER + 0x30005, 1)).toBe(0x77);
    expect(memory.read(REGISTERS + 0x502, 2)).toBe(1024);
    memory.write(REGISTERS + 0x400 + 8, 1, 5);
    expect(ports.read(0x3c8, 1)).toBe(5);
  });
  test("a virtual screen wider than the visible part, with offsets kept inside", () => {
    mode(64, 48, 32);
    dispi(6, 128);
    dispi(8, 100);
    dispi(9, 5);
    expect([readDispi(6), readDispi(8), readDispi(9)]).toEqual([128, 64, 5]);
    memory.write(FRAME_BUFFER + 4 * (5 * 128 + 64), 4, 0x00010203);
    expect([...screenOf(vga.state).rgb.subarray(0, 3)]).toEqual([1, 2, 3]);
  });
  test("impossible modes are not enabled; capabilities are told", () => {
    mode(5000, 48, 32);
    expect(readDispi(4) & 1).toBe(0);
    mode(2560, 1600, 33);
    expect(readDispi(4) & 1).toBe(0);
    dispi(4, 2);
    expect([readDispi(1), readDispi(2), readDispi(3)]).toEqual([2560, 1600, 32]);
  });
});

test("the option ROM is where its base address register says, when that is on", () => {
  start();
  vga.pci.write(0x30, 4, 0xfffffffe);
  expect(vga.pci.read(0x30, 4)).toBe(0xfffff000);
  vga.pci.write(0x30, 4, ROM);
  expect(memory.read(ROM, 2)).toBe(0xffff);
  vga.pci.write(0x30, 4, ROM | 1);
  expect(memory.read(ROM, 2)).toBe(0xaa55);
});

test("the retrace comes and goes with the clock", () => {
  start();
  out(0x3c2, 0x67);
  const seen = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    context.advanceMicroseconds(13);
    seen.add(ports.read(0x3da, 1));
  }
  expect([...seen].sort()).toEqual([0, 1, 9]);
});

test("a PNG holds the picture", () => {
  const rgb = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
  const png = Buffer.from(encodePng({ width: 2, height: 2, rgb }));
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  const at = png.indexOf("IDAT");
  const data = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  expect([...data]).toEqual([0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12]);
});

test("random accesses, then a picture: nothing is harmed", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.tuple(fc.constant("port"), fc.integer({ min: 0x3b0, max: 0x3df }), fc.nat(255)),
          fc.tuple(fc.constant("dispi"), fc.nat(12), fc.nat(0xffff)),
          fc.tuple(fc.constant("small dispi"), fc.nat(12), fc.nat(64)),
          fc.tuple(fc.constant("window"), fc.nat(0x1ffff), fc.nat(0xffffffff)),
          fc.tuple(fc.constant("frame"), fc.nat(VIDEO_MEMORY_BYTES - 4), fc.nat(0xffffffff)),
          fc.tuple(fc.constant("register"), fc.nat(0xfff), fc.nat(0xffff)),
        ),
        { maxLength: 60 },
      ),
      (accesses) => {
        start();
        for (const [kind, a, b] of accesses) {
          if (kind === "port") out(a, b);
          else if (kind === "dispi" || kind === "small dispi") dispi(a, b);
          else if (kind === "window") memory.write(0xa0000 + a, 4, b);
          else if (kind === "frame") memory.write(FRAME_BUFFER + a, 4, b);
          else memory.write(REGISTERS + a, 2, b);
          memory.read(0xa0000 + (a & 0x1ffff), 4);
          memory.read(REGISTERS + (a & 0xffc), 4);
        }
        const { width, height, rgb } = screenOf(vga.state);
        expect(rgb.length).toBe(3 * width * height);
        textScreenOf(vga.state);
        context.checkRedZones();
      },
    ),
    { numRuns: 100 },
  );
});

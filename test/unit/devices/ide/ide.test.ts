import { beforeEach, describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { FakeContext } from "../../../support/device-context.ts";
import { IdeMachine } from "../../../support/ide-driver.ts";

let m: IdeMachine;
beforeEach(() => (m = new IdeMachine()));

const READY = 0x50;
const fill = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => i * seed + 1);

describe("detection", () => {
  test("the signature of an ATA device after reset", () => {
    expect([1, 2, 3, 4, 5].map((r) => m.in(0x1f0 + r))).toEqual([1, 1, 1, 0, 0]);
    expect(m.in(0x1f7)).toBe(READY);
  });

  test("soft reset: busy, then the signature, drive 0 selected and no interrupt", () => {
    m.command28(0xec, 0, 0);
    m.out(0x1f4, 0x55);
    m.out(0x3f6, 4);
    expect(m.status).toBe(0x80);
    expect(m.in(0x1f4)).toBe(0x80);
    m.context.advance(100_000); // the dropped command's time passes; SRST is still set
    expect(m.status).toBe(0x80);
    m.out(0x3f6, 0);
    m.context.advanceMicroseconds(499);
    expect(m.status).toBe(0x80);
    m.context.advanceMicroseconds(1);
    expect([m.status, m.in(0x1f2), m.in(0x1f4), m.irq14.rises]).toEqual([READY, 1, 0, 0]);
  });

  test("an absent drive 1 has status 0 and ignores commands; drive 0 answers its registers", () => {
    m.out(0x1f6, 0xb0);
    expect(m.in(0x1f7)).toBe(0);
    m.out(0x1f2, 0x55);
    expect(m.in(0x1f2)).toBe(0x55);
    m.out(0x1f7, 0xec);
    m.context.settle();
    expect([m.in(0x1f7), m.irq14.rises]).toEqual([0, 0]);
  });

  test("a channel without drives floats; without decoding nobody answers", () => {
    expect([m.in(0x177), m.in(0x376), m.in(0x172)]).toEqual([0x7f, 0x7f, 0x7f]);
    m.ide.pci.write(0x42, 2, 0);
    expect([m.in(0x177), m.in(0x1f7)]).toEqual([0xff, READY]);
    m.ide.pci.write(4, 2, 0);
    expect(m.in(0x1f7)).toBe(0xff);
  });

  test("IDENTIFY DEVICE", () => {
    m.command28(0xec, 0, 0);
    expect(m.status).toBe(0x80);
    expect(m.waitInterrupt()).toBe(READY | 8);
    const data = m.readWords(256);
    const word = (i: number): number => data[2 * i]! | (data[2 * i + 1]! << 8);
    const text = (from: number, words: number): string =>
      Array.from({ length: 2 * words }, (_, i) => String.fromCharCode(data[2 * from + (i ^ 1)]!)).join("");
    expect([word(0), word(1), word(3), word(6)]).toEqual([0x40, 2, 16, 63]);
    expect([word(60) | (word(61) << 16), word(100), word(83) & 0x400]).toEqual([2048, 2048, 0x400]);
    expect([text(10, 10).trim(), text(27, 20).trim()]).toEqual(["IDE-1", "EXITLESS HARDDISK"]);
    expect(data.reduce((sum, byte) => (sum + byte) & 0xff)).toBe(0);
    expect(m.status).toBe(READY);
  });

  test("EXECUTE DEVICE DIAGNOSTIC reaches both drives and interrupts once", () => {
    m = new IdeMachine({ second: new MemoryStorage(new Uint8Array(512)) });
    m.out(0x1f6, 0xb0);
    m.out(0x1f7, 0x90);
    expect(m.waitInterrupt()).toBe(READY);
    expect([m.in(0x1f1), m.in(0x1f6), m.irq14.rises]).toEqual([1, 0xa0, 1]);
  });
});

describe("PIO", () => {
  test("READ SECTORS: one interrupt a sector, INTRQ cleared by Status, not by Alternate Status", () => {
    m.command28(0x20, 7, 3);
    for (let i = 0; i < 3; i++) {
      m.context.advance(1000);
      expect(m.irq14.level).toBe(true);
      expect([m.status, m.irq14.level]).toEqual([READY | 8, true]);
      expect([m.in(0x1f7), m.irq14.level]).toEqual([READY | 8, false]);
      expect(m.readWords(256)).toEqual(m.disk(7 + i, 1));
    }
    expect(m.status).toBe(READY);
    m.context.settle();
    expect(m.irq14.rises).toBe(3);
  });

  test("32-bit accesses of the data register move two words", () => {
    m.command28(0x20, 0, 1);
    m.waitInterrupt();
    expect(m.in(0x1f0, 4)).toBe(new DataView(m.contents.buffer).getUint32(0, true));
    for (let i = 0; i < 127; i++) m.in(0x1f0, 4);
    expect(m.status).toBe(READY);
  });

  test("WRITE SECTORS: DRQ at once without interrupt, then one interrupt a sector", () => {
    m.command28(0x30, 9, 2);
    expect([m.status, m.irq14.level]).toEqual([READY | 8, false]);
    const data = fill(1024, 3);
    m.writeWords(data.subarray(0, 512));
    expect(m.status).toBe(0x80);
    expect(m.waitInterrupt()).toBe(READY | 8);
    m.writeWords(data.subarray(512));
    expect(m.waitInterrupt()).toBe(READY);
    expect(m.disk(9, 2)).toEqual(data);
  });

  test("READ and WRITE MULTIPLE move blocks; without SET MULTIPLE they abort", () => {
    m.command28(0xc4, 0, 1);
    expect(m.waitInterrupt() & 1).toBe(1);
    m.command28(0xc6, 0, 3);
    expect(m.waitInterrupt() & 1).toBe(1);
    m.command28(0xc6, 0, 8);
    expect(m.waitInterrupt()).toBe(READY);
    m.command28(0xc4, 100, 10);
    expect(m.waitInterrupt()).toBe(READY | 8);
    expect(m.readWords(8 * 256)).toEqual(m.disk(100, 8));
    expect(m.waitInterrupt()).toBe(READY | 8);
    expect(m.readWords(2 * 256)).toEqual(m.disk(108, 2));
    expect(m.status).toBe(READY);
    m.command48(0x39, 200, 9);
    const data = fill(9 * 512, 5);
    m.writeWords(data.subarray(0, 4096));
    m.waitInterrupt();
    m.writeWords(data.subarray(4096));
    expect(m.waitInterrupt()).toBe(READY);
    expect(m.disk(200, 9)).toEqual(data);
  });

  test("CHS with the default and with a chosen translation", () => {
    const chs = (c: number, h: number, s: number): Uint8Array => {
      m.out(0x1f6, 0xa0 | h);
      m.out(0x1f2, 1);
      m.out(0x1f3, s);
      m.out(0x1f4, c & 0xff);
      m.out(0x1f5, c >> 8);
      m.out(0x1f7, 0x20);
      return (m.waitInterrupt() & 1) === 0 ? m.readWords(256) : new Uint8Array(0);
    };
    expect(chs(1, 2, 3)).toEqual(m.disk((1 * 16 + 2) * 63 + 2, 1));
    expect(chs(0, 0, 0).length).toBe(0);
    expect(m.in(0x1f1)).toBe(0x10);
    m.out(0x1f6, 0xa3);
    m.out(0x1f2, 10);
    m.out(0x1f7, 0x91);
    m.waitInterrupt();
    expect(chs(5, 3, 10)).toEqual(m.disk((5 * 4 + 3) * 10 + 9, 1));
    expect(chs(5, 4, 1).length).toBe(0);
  });

  test("48-bit addresses: two-deep registers, HOB reads the previous content", () => {
    m.command48(0x24, 0x5a1, 1);
    m.waitInterrupt();
    expect(m.readWords(256)).toEqual(m.disk(0x5a1, 1));
    m.out(0x1f3, 0x11);
    m.out(0x1f3, 0x22);
    m.out(0x3f6, 0x80);
    expect(m.in(0x1f3)).toBe(0x11);
    m.out(0x1f4, 0);
    expect(m.in(0x1f3)).toBe(0x22);
  });
});

describe("other commands", () => {
  test.each([
    ["NOP", 0x00, 0x04],
    ["DEVICE RESET (packet devices only)", 0x08, 0x04],
    ["IDENTIFY PACKET DEVICE", 0xa1, 0x04],
    ["SMART", 0xb0, 0x04],
    ["an unknown code", 0xfe, 0x04],
    ["RECALIBRATE", 0x10, 0],
    ["SEEK", 0x70, 0],
    ["READ VERIFY", 0x40, 0],
    ["FLUSH CACHE", 0xe7, 0],
    ["FLUSH CACHE EXT", 0xea, 0],
    ["STANDBY IMMEDIATE", 0xe0, 0],
    ["IDLE", 0xe3, 0],
  ])("%s", (_name, command, error) => {
    m.command28(command, 3, 1);
    expect(m.waitInterrupt()).toBe(error === 0 ? READY : READY | 1);
    expect(m.in(0x1f1)).toBe(error);
  });

  test("SET FEATURES: modes and caches show in IDENTIFY; unknown ones abort", () => {
    const set = (features: number, count: number): number => {
      m.command28(0xef, 0, count, 0, features);
      return m.waitInterrupt() & 1;
    };
    expect([set(3, 0x22), set(3, 0x0c), set(0x82, 0), set(3, 0x47), set(3, 0x23), set(0x77, 0)]).toEqual([
      0, 0, 0, 1, 1, 1,
    ]);
    m.command28(0xec, 0, 0);
    m.waitInterrupt();
    const data = new DataView(m.readWords(256).buffer);
    expect([data.getUint16(126, true), data.getUint16(170, true) & 0x20]).toEqual([0x0407, 0]);
  });

  test("power mode and native maximum", () => {
    m.command28(0xe5, 0, 0);
    m.waitInterrupt();
    expect(m.in(0x1f2)).toBe(0xff);
    m.command28(0xe0, 0, 0);
    m.waitInterrupt();
    m.command28(0xe5, 0, 0);
    m.waitInterrupt();
    expect(m.in(0x1f2)).toBe(0);
    m.command28(0xf8, 0, 0);
    m.waitInterrupt();
    expect([m.in(0x1f3), m.in(0x1f4), m.in(0x1f5)]).toEqual([0xff, 0x07, 0]);
  });

  test("nIEN keeps INTRQ low until enabled", () => {
    m.out(0x3f6, 2);
    m.command28(0x20, 0, 1);
    m.context.settle();
    expect([m.status, m.irq14.level]).toEqual([READY | 8, false]);
    m.out(0x3f6, 0);
    expect(m.irq14.level).toBe(true);
  });

  test("registers cannot be written, nor commands given, while busy", () => {
    m.command28(0x20, 5, 1);
    m.out(0x1f3, 0x77);
    m.out(0x1f7, 0xe7);
    m.waitInterrupt();
    expect([m.in(0x1f3), m.status]).toEqual([5, READY | 8]);
  });

  test("a command during DRQ ends the transfer", () => {
    m.command28(0x30, 5, 1);
    m.command28(0xe7, 0, 0);
    expect(m.waitInterrupt()).toBe(READY);
  });
});

describe("errors", () => {
  test("past the end: IDNF with the address, nothing transferred", () => {
    m.command28(0x20, 2047, 2);
    expect(m.waitInterrupt()).toBe(READY | 1);
    expect([m.in(0x1f1), m.in(0x1f3), m.in(0x1f4)]).toEqual([0x10, 0xff, 0x07]);
    const before = m.contents.slice();
    m.command28(0x30, 2040, 0); // 256 sectors
    expect(m.waitInterrupt() & 9).toBe(1);
    m.command48(0x34, 2 ** 47, 1);
    expect(m.waitInterrupt() & 9).toBe(1);
    expect(Buffer.from(m.contents).equals(before)).toBe(true);
  });

  test("an unreadable sector is UNC at that sector; an unwritable one a device fault", () => {
    const contents = new Uint8Array(64 * 512);
    const storage = new MemoryStorage(contents);
    const read = storage.read.bind(storage);
    storage.read = (sector, into) => (sector === 5 ? "io-error" : read(sector, into));
    storage.write = () => "io-error";
    m = new IdeMachine({ storage });
    m.command28(0x20, 4, 4);
    m.waitInterrupt();
    m.readWords(256);
    expect(m.waitInterrupt()).toBe(READY | 1);
    expect([m.in(0x1f1), m.in(0x1f3)]).toEqual([0x40, 5]);
    m.command28(0x40, 5, 1);
    expect(m.waitInterrupt() & 1).toBe(1);
    m.command28(0x30, 9, 1);
    m.writeWords(new Uint8Array(512));
    expect(m.waitInterrupt()).toBe(READY | 0x21);
    expect(m.in(0x1f1)).toBe(4);
  });

  test("a read-only disk refuses writes with WP and ABRT", () => {
    const contents = new Uint8Array(64 * 512).fill(9);
    m = new IdeMachine({ storage: new MemoryStorage(contents, { readOnly: true }) });
    m.command28(0xca, 0, 1);
    expect(m.waitInterrupt() & 1).toBe(1);
    expect([m.in(0x1f1), contents.every((byte) => byte === 9)]).toEqual([0x44, true]);
  });
});

describe("bus-master DMA", () => {
  test("a read through several regions, in libata's order", () => {
    m.prd(0x1000, [
      [0x8000, 512],
      [0xa002, 100],
      [0xc000, 4096 - 612],
    ]);
    m.dma(0xc8, 20, 8, 0x1000, true);
    expect(m.in(m.bm + 2)).toBe(0x61);
    m.context.advance(1000);
    expect(m.irq14.level).toBe(true);
    expect(m.in(m.bm + 2)).toBe(0x64);
    m.out(m.bm, 8);
    expect(m.in(0x1f7)).toBe(READY);
    m.out(m.bm + 2, 0x64);
    expect([m.in(m.bm + 2), m.irq14.level]).toEqual([0x60, false]);
    const got = [m.ram(0x8000, 512), m.ram(0xa002, 100), m.ram(0xc000, 3484)];
    expect(Buffer.concat(got).equals(m.disk(20, 8))).toBe(true);
  });

  test("a write; 48-bit; a region of 64 KiB", () => {
    const data = fill(64 * 1024, 7);
    m.memory.bytes.set(data, 0x20000);
    m.prd(0x1000, [[0x20000, 0x10000]]);
    m.out(m.bm + 4, 0x1000, 4);
    m.out(m.bm, 0);
    m.command48(0x35, 300, 128);
    m.out(m.bm, 1);
    expect(m.waitInterrupt()).toBe(READY);
    expect(Buffer.from(m.disk(300, 128)).equals(data)).toBe(true);
    expect(m.in(m.bm + 2) & 7).toBe(4);
  });

  test("the bus master may be started after the drive is ready", () => {
    m.prd(0x1000, [[0x8000, 512]]);
    m.out(m.bm + 4, 0x1000, 4);
    m.command28(0xc8, 1, 1);
    m.context.advance(5000);
    expect([m.status, m.irq14.level]).toEqual([READY | 8, false]);
    m.out(m.bm, 9);
    expect([m.irq14.level, m.in(0x1f7)]).toEqual([true, READY]);
    expect(m.ram(0x8000, 512)).toEqual(m.disk(1, 1));
  });

  test("a table longer than the data leaves the controller active", () => {
    m.prd(0x1000, [[0x8000, 1024]]);
    m.dma(0xc8, 1, 1, 0x1000, true);
    m.context.settle();
    expect(m.in(m.bm + 2) & 7).toBe(5);
    m.out(m.bm, 8);
    expect(m.in(m.bm + 2) & 7).toBe(4);
  });

  test("a table shorter than the data: inactive, no interrupt, the drive waits; a reset frees it", () => {
    m.prd(0x1000, [[0x8000, 512]]);
    m.dma(0xc8, 1, 2, 0x1000, true);
    m.context.settle();
    expect([m.in(m.bm + 2) & 7, m.irq14.level, m.status & 8]).toEqual([0, false, 8]);
    m.out(m.bm, 8);
    m.prd(0x1000, [[0xa000, 512]]);
    m.out(m.bm, 9);
    expect(m.in(0x1f7)).toBe(READY);
    expect(m.ram(0xa000, 512)).toEqual(m.disk(2, 1));
  });

  test.each([
    ["a region beyond RAM", 0x100000, 0x1000],
    ["a region that ends beyond RAM", 0xffe02, 0x1000],
    ["a region at the top of 4 GiB", 0xfffffe00, 0x1000],
    ["a table beyond RAM", 0x8000, 0x200000],
  ])("%s sets the error bit and touches nothing", (_name, region, table) => {
    if (table === 0x1000) m.prd(table, [[region, 512]]);
    const before = m.memory.bytes.slice();
    const disk = m.contents.slice();
    for (const [command, toMemory] of [
      [0xc8, true],
      [0xca, false],
    ] as const) {
      m.dma(command, 1, 1, table, toMemory);
      m.context.settle();
      expect(m.in(m.bm + 2) & 7).toBe(2);
      m.out(m.bm, 0);
      m.out(0x3f6, 4);
      m.out(0x3f6, 0);
      m.context.settle();
    }
    expect(Buffer.from(m.memory.bytes).equals(before)).toBe(true);
    expect(Buffer.from(m.contents).equals(disk)).toBe(true);
  });

  test("a table without end, and one that crosses its window, are bounded", () => {
    const view = new DataView(m.memory.bytes.buffer);
    for (let at = 0x10000; at < 0x20000; at += 8) {
      view.setUint32(at, 0x30000, true);
      view.setUint32(at + 4, 2, true);
    }
    m.dma(0xc8, 0, 33, 0x1fff8, true); // 8,192 entries of 2 bytes: 32 sectors
    m.context.settle();
    expect([m.in(m.bm + 2) & 7, m.status & 8]).toEqual([0, 8]);
  });

  test("without bus mastering, or with the wrong direction, nothing moves", () => {
    m.prd(0x1000, [[0x8000, 512]]);
    m.ide.pci.write(4, 2, 1);
    m.dma(0xc8, 1, 1, 0x1000, true);
    m.context.settle();
    expect([m.ram(0x8000, 512).some((byte) => byte !== 0), m.irq14.level]).toEqual([false, false]);
    m = new IdeMachine();
    m.prd(0x1000, [[0x8000, 512]]);
    m.dma(0xca, 1, 1, 0x1000, true);
    m.context.settle();
    expect(m.irq14.level).toBe(false);
  });

  test("a soft reset in mid-request drops it without later effects", () => {
    m.prd(0x1000, [[0x8000, 512]]);
    m.dma(0xc8, 1, 1, 0x1000, true);
    m.context.advance(500);
    m.out(0x3f6, 4);
    m.out(0x3f6, 0);
    m.context.advance(1000); // past the time at which the request would have been done
    expect(m.status).toBe(0x80);
    m.context.settle();
    expect([m.ram(0x8000, 512).some((byte) => byte !== 0), m.irq14.rises, m.status]).toEqual([
      false,
      0,
      READY,
    ]);
  });
});

test("two drives keep their own registers and INTRQ follows the selected one", () => {
  const second = new MemoryStorage(new Uint8Array(16 * 512).fill(0xcd));
  m = new IdeMachine({ second });
  m.command28(0x20, 3, 1, 1);
  m.context.settle();
  expect(m.irq14.level).toBe(true);
  m.out(0x1f6, 0xe0);
  expect([m.irq14.level, m.status]).toEqual([false, READY]);
  m.out(0x1f6, 0xf0);
  expect([m.irq14.level, m.in(0x1f7)]).toEqual([true, READY | 8]);
  expect(m.readWords(256)[0]).toBe(0xcd);
});

test("a twin on the same memory finishes the request; building it disturbs nothing", () => {
  m.command28(0x20, 6, 1);
  const before = m.context.snapshot();
  const twinContext = new FakeContext({ like: m.context });
  const twin = new IdeMachine({ context: twinContext, memory: m.memory, storage: m.storage });
  expect(m.context.sameAs(before)).toBe(true);
  twinContext.timers.find((timer) => timer.label.includes("channel 0 drive 0"))!.fire();
  expect(twin.in(0x1f7)).toBe(READY | 8);
  expect(twin.readWords(256)).toEqual(m.disk(6, 1));
  m.context.checkRedZones();
});

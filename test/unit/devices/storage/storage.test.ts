import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Storage } from "../../../../devices/ports.ts";
import { DiskServiceTime, NoServiceTime } from "../../../../devices/storage/disk-timing.ts";
import { StorageError } from "../../../../devices/storage/errors.ts";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { overlayBytes, OverlayStorage } from "../../../../devices/storage/overlay.ts";
import { RawFile } from "../../../../devices/storage/raw-file.ts";
import { FakeClock, FakeContext } from "../../../support/device-context.ts";

const folder = mkdtempSync(join(tmpdir(), "exitless-storage-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function image(sectors: number): string {
  const path = join(folder, `disk${files++}.img`);
  writeFileSync(
    path,
    Uint8Array.from({ length: sectors * 512 }, (_, i) => (i >> 9) * 3 + i),
  );
  return path;
}
const errorOf = (act: () => unknown): StorageError => {
  try {
    act();
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
  throw new Error("no error");
};

describe("raw files", () => {
  test.each([
    ["missing-file", () => join(folder, "absent.img")],
    ["is-directory", () => folder],
    ["zero-length", () => (writeFileSync(join(folder, "empty.img"), ""), join(folder, "empty.img"))],
    [
      "not-whole-sectors",
      () => (writeFileSync(join(folder, "odd.img"), "x".repeat(700)), join(folder, "odd.img")),
    ],
  ])("%s is a typed error with advice", (code, path) => {
    for (const readOnly of [true, false]) {
      const error = errorOf(() => new RawFile(path(), { readOnly }));
      expect(error.code).toBe(code);
      expect(error.message).toContain(error.where);
      expect(error.advice.length).toBeGreaterThan(10);
    }
  });

  test("a disk shorter than asked for is refused", () => {
    expect(errorOf(() => new RawFile(image(4), { minimumSectors: 5 })).code).toBe("shorter-than-asked");
  });

  test("reads and writes sectors; two openings see each other", () => {
    const path = image(8);
    const [a, b] = [new RawFile(path, { serial: "disk-é-0123456789012345" }), new RawFile(path)];
    expect(a.serial).toBe("disk-?-0123456789012");
    const sector = new Uint8Array(512).fill(0x5a);
    expect(a.write(3, sector)).toBe("ok");
    expect(a.flush()).toBe("ok");
    const got = new Uint8Array(512);
    expect(b.read(3, got)).toBe("ok");
    expect(got).toEqual(sector);
    expect([a.writeZeroes(2, 2), b.read(3, got)]).toEqual(["ok", "ok"]);
    expect(got.every((byte) => byte === 0)).toBe(true);
    a.close();
    expect([a.read(0, got), a.write(0, got)]).toEqual(["io-error", "io-error"]);
    b.close();
  });

  test("nothing outside the disk is written, and read-only stays intact", () => {
    const path = image(4);
    const before = readFileSync(path);
    const disk = new RawFile(path);
    const sectors = new Uint8Array(1024);
    expect([disk.write(3, sectors), disk.write(-1, sectors), disk.write(2 ** 53, sectors)]).toEqual([
      "out-of-range",
      "out-of-range",
      "out-of-range",
    ]);
    expect([disk.write(0.5, sectors), disk.write(0, sectors.subarray(1)), disk.writeZeroes(3, 2)]).toEqual([
      "out-of-range",
      "unsupported",
      "out-of-range",
    ]);
    const locked = new RawFile(path, { readOnly: true });
    expect([locked.write(0, sectors), locked.discard(0, 1)]).toEqual(["read-only", "read-only"]);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test("a file cut while open is an I/O error, not an endless loop", () => {
    const path = image(8);
    const disk = new RawFile(path, { readOnly: true });
    truncateSync(path, 1024);
    expect(disk.read(1, new Uint8Array(1024))).toBe("io-error");
  });

  test("reads straight into shared memory", () => {
    const disk = new RawFile(image(2));
    const shared = new Uint8Array(new SharedArrayBuffer(512));
    expect([disk.read(1, shared), shared[0], shared[5]]).toEqual(["ok", 3, 8]);
  });
});

describe("copy-on-write overlay", () => {
  const contents = Uint8Array.from({ length: 21 * 512 }, (_, i) => i * 7 + (i >> 9));

  test("behaves as a plain disk and leaves the base alone (random operations)", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            kind: fc.constantFrom("read", "write", "zero", "discard"),
            sector: fc.integer({ min: 0, max: 24 }),
            count: fc.integer({ min: 0, max: 20 }),
            fill: fc.integer({ min: 0, max: 255 }),
          }),
          { maxLength: 30 },
        ),
        (operations) => {
          const base = contents.slice();
          const overlay = new OverlayStorage(
            new MemoryStorage(base),
            new SharedArrayBuffer(overlayBytes(21)),
          );
          const plain = new MemoryStorage(contents.slice());
          const apply = (disk: Storage, o: (typeof operations)[number]): unknown => {
            const data = new Uint8Array(o.count * 512).fill(o.fill);
            if (o.kind === "read")
              return [disk.read(o.sector, data), createHash("sha1").update(data).digest("hex")];
            if (o.kind === "write") return disk.write(o.sector, data);
            return o.kind === "zero"
              ? disk.writeZeroes(o.sector, o.count, true)
              : disk.discard(o.sector, o.count);
          };
          for (const operation of operations)
            expect(apply(overlay, operation)).toEqual(apply(plain, operation));
          const all = [new Uint8Array(21 * 512), new Uint8Array(21 * 512)] as const;
          expect([overlay.read(0, all[0]), plain.read(0, all[1])]).toEqual(["ok", "ok"]);
          expect(Buffer.from(all[0]).equals(all[1])).toBe(true);
          expect(Buffer.from(base).equals(contents)).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("two openings share what is written, and a copy of the used prefix is the disk", () => {
    const buffer = new SharedArrayBuffer(overlayBytes(21));
    const base = new MemoryStorage(contents.slice(), { readOnly: true });
    const [a, b] = [new OverlayStorage(base, buffer), new OverlayStorage(base, buffer)];
    a.write(9, new Uint8Array(512).fill(1));
    const got = new Uint8Array(512);
    b.read(9, got);
    expect(got[0]).toBe(1);
    const copy = new SharedArrayBuffer(overlayBytes(21));
    new Uint8Array(copy).set(new Uint8Array(buffer, 0, a.usedBytes));
    new OverlayStorage(base, copy).read(9, got);
    expect([got[0], a.usedBytes]).toEqual([1, 8192]);
  });

  test("a full overlay is an I/O error, and what was written stays", () => {
    const overlay = new OverlayStorage(
      new MemoryStorage(contents.slice()),
      new SharedArrayBuffer(overlayBytes(21, 1)),
    );
    const sector = new Uint8Array(512).fill(9);
    expect([overlay.write(0, sector), overlay.write(8, sector), overlay.write(1, sector)]).toEqual([
      "ok",
      "io-error",
      "ok",
    ]);
    expect(() => new OverlayStorage(new MemoryStorage(contents), new SharedArrayBuffer(100))).toThrow(
      StorageError,
    );
  });
});

describe("service time of the X25-E", () => {
  const HZ = 2_670_000_000;
  const make = (): { context: FakeContext; disk: DiskServiceTime } => {
    const context = new FakeContext({ clock: new FakeClock(HZ) });
    const disk = new DiskServiceTime(context, { label: "timing" });
    context.powerOn(disk);
    return { context, disk };
  };
  /** Requests per second with `depth` always outstanding. */
  const rate = (
    operation: "read" | "write",
    depth: number,
    bytes: number,
    sector: (i: number) => number,
  ): number => {
    const { context, disk } = make();
    const outstanding: number[] = [];
    const count = 2000;
    let last = 0;
    for (let i = 0; i < count; i++) {
      if (outstanding.length === depth) {
        outstanding.sort((a, b) => a - b);
        context.advanceTo(outstanding.shift()!);
      }
      const done = disk.complete(operation, sector(i), bytes);
      expect(Number.isSafeInteger(done)).toBe(true);
      outstanding.push(done);
      last = Math.max(last, done);
    }
    return (count * HZ) / last;
  };
  const random = (i: number): number => ((i * 7919) % 1000) * 64 + 1;

  test("sequential throughput is the drive's", () => {
    expect((rate("read", 1, 65536, (i) => i * 128) * 65536) / 1e6).toBeCloseTo(250, -1);
    expect((rate("write", 1, 65536, (i) => i * 128) * 65536) / 1e6).toBeCloseTo(170, -1);
  });

  test("random 4 KiB reads: 91 us alone, 35,000 a second at depth 32", () => {
    expect(1e6 / rate("read", 1, 4096, random)).toBeCloseTo(91.4, 0);
    expect(rate("read", 32, 4096, random)).toBeGreaterThan(34_000);
    expect(rate("read", 32, 4096, random)).toBeLessThan(35_100);
    expect(rate("write", 32, 4096, random)).toBeCloseTo(3300, -2);
  });

  test("a flush comes after what was accepted before it; state is shared", () => {
    const { context, disk } = make();
    const write = disk.complete("write", 5, 1 << 20);
    expect(disk.complete("flush", 0, 0)).toBeGreaterThan(write);
    const twin = new DiskServiceTime(new FakeContext({ like: context }), { label: "timing" });
    expect(twin.complete("read", 100, 4096)).toBeGreaterThan(write - (HZ * 85e3) / 1e9);
    context.checkRedZones();
  });

  test("no service time is now", () => {
    const context = new FakeContext();
    context.advance(77);
    expect(new NoServiceTime(context).complete()).toBe(77);
  });
});

/** Random register sequences at the IDE controller: no exception, no state outside its own, the image intact. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { RawFile } from "../../../../devices/storage/raw-file.ts";
import { IdeMachine } from "../../../support/ide-driver.ts";

const folder = mkdtempSync(join(tmpdir(), "exitless-ide-"));
afterAll(() => rmSync(folder, { recursive: true }));

const WRITES = [0x30, 0x31, 0x34, 0x35, 0x39, 0xc5, 0xca, 0xcb];
const COMMANDS = [
  0x00, 0x08, 0x10, 0x20, 0x24, 0x25, 0x27, 0x29, 0x40, 0x42, 0x70, 0x90, 0x91, 0xa1, 0xb0, 0xc4, 0xc6, 0xc8,
  0xe0, 0xe5, 0xe7, 0xea, 0xec, 0xef, 0xf8,
];

const step = (commands: readonly number[]) =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("write" as const),
        port: fc.constantFrom(0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x172, 0x176, 0x177),
        size: fc.constantFrom<1 | 2 | 4>(1, 1, 1, 2, 4),
        // Sizes above 1 would spill into the command register: they go to the data register only.
        value: fc.oneof(fc.constantFrom(0, 1, 2, 8, 0x40, 0xe0, 0xf0, 0xff), fc.nat(0xff)),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("command" as const), value: fc.constantFrom(...commands) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("read" as const),
        port: fc.constantFrom(
          0x1f0,
          0x1f1,
          0x1f2,
          0x1f3,
          0x1f4,
          0x1f5,
          0x1f6,
          0x1f7,
          0x3f6,
          0xc000,
          0xc002,
          0xc004,
        ),
        size: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("time" as const), value: fc.nat(600_000) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("control" as const),
        value: fc.oneof(fc.constantFrom(0, 0, 0, 2, 4), fc.nat(0xff)),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("master" as const),
        offset: fc.nat(15),
        size: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
        value: fc.oneof(fc.constantFrom(0, 1, 8, 9, 0x66, 0x1000, 0xfff8, 0xffffffff), fc.nat(0xffffffff)),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("drain" as const), value: fc.nat(600) }) },
  );

function play(
  m: IdeMachine,
  steps: readonly (ReturnType<typeof step> extends fc.Arbitrary<infer T> ? T : never)[],
): void {
  for (const s of steps)
    switch (s.kind) {
      case "write":
        m.out(s.port, s.value, s.port === 0x1f0 ? s.size : 1);
        break;
      case "command":
        m.out(0x1f7, s.value);
        break;
      case "read":
        m.in(s.port, s.size);
        break;
      case "time":
        m.context.advance(s.value);
        break;
      case "control":
        m.out(0x3f6, s.value);
        break;
      case "master":
        m.out(m.bm + s.offset, s.value, s.size);
        break;
      case "drain":
        for (let i = 0; i < s.value; i++) {
          m.in(0x1f0, 2);
          m.out(0x1f0, i, 2);
        }
        break;
    }
  m.context.settle();
}

/** RAM full of plausible region descriptors. */
function plantTables(m: IdeMachine, seed: number): void {
  const view = new DataView(m.memory.bytes.buffer);
  for (let at = 0x1000; at < 0x10000; at += 8) {
    view.setUint32(at, (at * 2654435761 + seed) % 0x120000, true);
    view.setUint32(at + 4, ((at * 40503 + seed) & 0x1fff) | (at % 64 === 0 ? 0x80000000 : 0), true);
  }
}

test("without write commands the disk stays as it is", () => {
  let interrupts = 0;
  fc.assert(
    fc.property(fc.array(step(COMMANDS), { minLength: 10, maxLength: 80 }), fc.nat(), (steps, seed) => {
      const m = new IdeMachine({ sectors: 300 });
      plantTables(m, seed);
      const before = m.contents.slice();
      play(m, steps);
      m.context.checkRedZones();
      expect(Buffer.from(m.contents).equals(before)).toBe(true);
      interrupts += m.irq14.rises;
    }),
    { numRuns: 150, seed: 20261121 },
  );
  expect(interrupts).toBeGreaterThan(100);
});

test("with every command byte a file keeps its length, and a read-only one its contents", () => {
  const path = join(folder, "disk.img");
  writeFileSync(
    path,
    Uint8Array.from({ length: 300 * 512 }, (_, i) => i),
  );
  const before = readFileSync(path);
  let interrupts = 0;
  for (const readOnly of [true, false]) {
    const storage = new RawFile(path, { readOnly });
    const all = [...COMMANDS, ...WRITES, ...WRITES, ...Array.from({ length: 256 }, (_, i) => i)];
    fc.assert(
      fc.property(fc.array(step(all), { minLength: 10, maxLength: 80 }), fc.nat(), (steps, seed) => {
        const m = new IdeMachine({ storage });
        plantTables(m, seed);
        play(m, steps);
        m.context.checkRedZones();
        interrupts += m.irq14.rises;
      }),
      { numRuns: 100, seed: 42 },
    );
    storage.close();
    if (readOnly) expect(readFileSync(path).equals(before)).toBe(true);
  }
  expect(readFileSync(path).length).toBe(before.length);
  expect(interrupts).toBeGreaterThan(100);
});

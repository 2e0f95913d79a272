/** A driver that breaks every rule of the virtqueue and of the transport. */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { BlkMachine, EVENT_IDX, INDIRECT } from "../../../support/virtio-blk-machine.ts";
import type { DriverQueue, RawDescriptor } from "../../../support/virtio-driver.ts";

const NEEDS_RESET = 0x40;
const HEADER = 0x10000;
const STATUS = 0x10100;
const DATA = 0x20000;
const RAM_END = 1024 * 1024;

let m: BlkMachine;
let q: DriverQueue;
let disk: Uint8Array;

beforeEach(() => {
  m = new BlkMachine();
  [q] = m.start(INDIRECT) as [DriverQueue];
  disk = m.contents.slice();
});

/** Puts descriptors in the table from index 0 on, offers index 0 and notifies. */
const attack = (descriptors: readonly RawDescriptor[], head = 0): void => {
  m.header(HEADER, 0, 0);
  descriptors.forEach((d, i) => q.writeDescriptor(q.desc, i, d));
  q.offer(head);
  q.kick();
  m.context.settle();
};
const header: RawDescriptor = { address: HEADER, length: 16, flags: 1, next: 1 };
const status: RawDescriptor = { address: STATUS, length: 1, flags: 2, next: 0 };
const data = (change: Partial<RawDescriptor>): RawDescriptor => ({
  address: DATA,
  length: 512,
  flags: 3,
  next: 2,
  ...change,
});

const expectBroken = (): void => {
  expect(m.driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  // A configuration interrupt (vector 0) tells the driver; no request was answered.
  expect(m.messages.sent).toEqual([{ address: 0xfee00000, data: 0x40 }]);
  expect(q.collect()).toEqual([]);
  expect(Buffer.from(m.contents).equals(disk)).toBe(true);
  m.context.checkRedZones();
  // Nothing is served until the driver resets; then everything works again.
  q.kick();
  m.context.settle();
  expect(q.collect()).toEqual([]);
  [q] = m.start(INDIRECT) as [DriverQueue];
  attack([header, data({}), status]);
  expect(q.collect()).toEqual([{ id: 0, length: 513 }]);
  expect(m.byte(STATUS)).toBe(0);
};

describe("broken chains put the device into DEVICE_NEEDS_RESET", () => {
  const cases: [string, RawDescriptor[], number?][] = [
    ["a chain that loops", [header, data({ next: 0 })]],
    ["a descriptor that follows itself", [{ ...header, next: 0 }]],
    ["a next index outside the table", [header, data({ next: 16 })]],
    ["a head outside the table", [header, data({}), status], 16],
    ["a head of 65,535", [header, data({}), status], 0xffff],
    ["an address beyond RAM", [header, data({ address: RAM_END }), status]],
    ["a buffer that ends beyond RAM", [header, data({ address: RAM_END - 511 }), status]],
    ["an address at the top of 64 bits", [header, data({ address: 2n ** 64n - 512n }), status]],
    ["an address in the device's own registers", [header, data({ address: 0xe0004000 }), status]],
    ["a header outside RAM", [{ ...header, address: 0xfffffff0 }, data({}), status]],
    ["a status outside RAM", [header, data({}), { ...status, address: RAM_END }]],
    ["a zero length", [header, data({ length: 0 }), status]],
    ["an absurd length", [header, data({ length: 0xffffffff }), status]],
    ["no room for the status", [{ ...header, flags: 0 }]],
    ["a short header", [{ ...header, length: 15 }, data({}), status]],
    [
      "readable after writable",
      [header, data({}), { ...status, flags: 3, next: 3 }, { ...header, flags: 0 }],
    ],
    ["an indirect table of no entries", [{ address: DATA, length: 0, flags: 4, next: 0 }]],
    ["an indirect table of 17 bytes", [{ address: DATA, length: 17, flags: 4, next: 0 }]],
    ["an indirect table of 2^28 entries", [{ address: DATA, length: 0xfffffff0, flags: 4, next: 0 }]],
    ["an indirect table outside RAM", [{ address: RAM_END, length: 64, flags: 4, next: 0 }]],
    ["INDIRECT together with NEXT", [{ address: 0x1000, length: 64, flags: 5, next: 1 }, status]],
    // The table's own first entry is indirect: it describes itself.
    ["nested indirect tables", [{ address: 0x1000, length: 64, flags: 4, next: 0 }]],
  ];
  test.each(cases)("%s", (_name, descriptors, head = 0) => {
    attack(descriptors, head);
    expectBroken();
  });

  test("an available index that jumps by more than the queue's size", () => {
    // Every ring entry names a legal chain, so the index alone is wrong.
    m.header(HEADER, 0, 0);
    [header, data({}), status].forEach((d, i) => q.writeDescriptor(q.desc, i, d));
    q.setAvailIndex(17);
    q.kick();
    m.context.settle();
    expectBroken();
  });

  test("an indirect descriptor without the feature", () => {
    [q] = m.start(0n) as [DriverQueue];
    attack([{ address: 0x30000, length: 64, flags: 4, next: 0 }]);
    expectBroken();
  });

  test("a chain of every buffer in RAM that is legal is served, whatever its shape", () => {
    // The same data buffer 13 times: 14 x 512 bytes would be too long for the 16 entries only.
    const buffers = Array.from({ length: 13 }, () => ({ address: DATA, length: 512, write: true }));
    m.header(HEADER, 0, 0);
    q.add([{ address: HEADER, length: 16 }, ...buffers, { address: STATUS, length: 1, write: true }]);
    q.kick();
    m.context.settle();
    expect(q.collect()).toEqual([{ id: 0, length: 13 * 512 + 1 }]);
  });
});

describe("memory that changes under the device", () => {
  test("a descriptor is read once: rewriting it afterwards changes nothing", () => {
    const reads = new Map<number, number>();
    m.memory.onRead = (address, length) => {
      if (length !== 16 || address < q.desc || address >= q.avail) return;
      reads.set(address, (reads.get(address) ?? 0) + 1);
      // As soon as one descriptor was read, the driver rewrites those read before it.
      for (const seen of reads.keys())
        if (seen !== address)
          q.writeDescriptor(seen, 0, { address: 2n ** 60n, length: 0xffffffff, flags: 7, next: 0xffff });
    };
    attack([header, data({}), status]);
    m.memory.onRead = undefined;
    expect([...reads.values()]).toEqual([1, 1, 1]);
    expect(q.collect()).toEqual([{ id: 0, length: 513 }]);
    expect(m.memory.bytes.slice(DATA, DATA + 512)).toEqual(disk.slice(0, 512));
  });

  test("the header is copied when the request starts: a change in flight has no effect", () => {
    m.header(HEADER, 0, 7);
    q.add([
      { address: HEADER, length: 16 },
      { address: DATA, length: 512, write: true },
      { address: STATUS, length: 1, write: true },
    ]);
    q.kick();
    m.header(HEADER, 1, 200);
    for (let i = 0; i < 3; i++) q.writeDescriptor(q.desc, i, { address: 0, length: 0, flags: 0, next: 0 });
    m.context.settle();
    expect(m.memory.bytes.slice(DATA, DATA + 512)).toEqual(disk.slice(7 * 512, 8 * 512));
    expect(Buffer.from(m.contents).equals(disk)).toBe(true);
  });

  test("the range of WRITE_ZEROES is copied once", () => {
    m.header(HEADER, 13, 0);
    const range = new DataView(m.memory.bytes.buffer, DATA, 16);
    range.setBigUint64(0, 3n, true);
    range.setUint32(8, 1, true);
    q.add([
      { address: HEADER, length: 16 },
      { address: DATA, length: 16 },
      { address: STATUS, length: 1, write: true },
    ]);
    q.kick();
    range.setBigUint64(0, 2n ** 60n, true);
    m.context.settle();
    disk.fill(0, 3 * 512, 4 * 512);
    expect(m.byte(STATUS)).toBe(0);
    expect(Buffer.from(m.contents).equals(disk)).toBe(true);
  });
});

describe("reset", () => {
  test("in mid-request drops it without later effects", () => {
    m.memory.bytes.fill(0xee, DATA, DATA + 512);
    m.memory.bytes[STATUS] = 0xff;
    m.header(HEADER, 0, 1);
    q.add([
      { address: HEADER, length: 16 },
      { address: DATA, length: 512, write: true },
      { address: STATUS, length: 1, write: true },
    ]);
    q.kick();
    expect(m.disk.inFlight).toBe(1);
    const generation = m.disk.transport.generation;
    m.driver.status = 0;
    m.context.settle();
    expect([m.disk.inFlight, m.byte(DATA), m.byte(STATUS), m.messages.sent.length]).toEqual([
      0, 0xee, 0xff, 0,
    ]);
    expect(m.disk.transport.generation).toBe(generation + 1);
    expect([m.driver.status, m.driver.common(28, 2), m.driver.common(16, 2)]).toEqual([0, 0, 0xffff]);
    expect(m.disk.completeDue(Number.MAX_SAFE_INTEGER)).toBe(0);
  });

  test("a notification before DRIVER_OK, without bus mastering, or to no queue is ignored", () => {
    m.driver.status = 0;
    m.driver.negotiate(0n);
    const queue = m.driver.setUpQueue(m.memory, 0, 16, 0x1000, false);
    queue.offer(0);
    queue.kick();
    expect(m.driver.status).toBe(0xb);
    m.driver.status = 0xf;
    m.disk.pci.write(4, 2, 2);
    queue.kick();
    m.driver.kick(1);
    m.driver.kick(900);
    expect([m.driver.status, m.disk.inFlight]).toEqual([0xf, 0]);
  });
});

describe("configuration is latched", () => {
  test("queue addresses and size cannot change while enabled", () => {
    m.driver.setCommon(22, 2, 0);
    m.driver.setCommon(24, 2, 8);
    m.driver.setCommon(32, 4, 0xdead0000);
    m.driver.setCommon(44, 4, 1);
    m.driver.setCommon(28, 2, 0);
    expect([
      m.driver.common(24, 2),
      m.driver.common(32, 4),
      m.driver.common(44, 4),
      m.driver.common(28, 2),
    ]).toEqual([16, 0x1000, 0, 1]);
  });

  test("features are latched at FEATURES_OK, which needs VERSION_1 and a subset of the offer", () => {
    const d = m.driver;
    d.status = 0;
    d.status = 3;
    d.setDriverFeatures(1n << 9n);
    d.status = 0xb;
    expect(d.status).toBe(3);
    d.setDriverFeatures((1n << 32n) | (1n << 41n));
    d.status = 0xb;
    expect(d.status).toBe(3);
    d.status = 0xf;
    expect(d.status).toBe(3);
    d.setDriverFeatures(1n << 32n);
    d.status = 0xb;
    d.setDriverFeatures((1n << 32n) | EVENT_IDX);
    d.setCommon(8, 4, 0);
    expect([d.status, d.common(12, 4)]).toEqual([0xb, 0]);
  });

  test.each([
    ["a misaligned table", 0x1008, 0x1100, 0x1200],
    ["a ring beyond RAM", 0x1000, RAM_END - 4, 0x1200],
    ["a ring above 4 GiB", 0x1000, 0x1100, 2 ** 32],
  ])("enabling a queue with %s asks for a reset", (_name, desc, avail, used) => {
    m.driver.negotiate(0n);
    m.driver.setCommon(22, 2, 0);
    [desc, avail, used].forEach((address, i) => {
      m.driver.setCommon(32 + 8 * i, 4, address % 2 ** 32);
      m.driver.setCommon(36 + 8 * i, 4, Math.floor(address / 2 ** 32));
    });
    m.driver.setCommon(28, 2, 1);
    expect([m.driver.common(28, 2), m.driver.status & NEEDS_RESET]).toEqual([0, NEEDS_RESET]);
  });

  test("queue sizes that are not powers of two, vectors and queues that do not exist", () => {
    const d = m.driver;
    d.negotiate(0n);
    for (const size of [0, 3, 15, 32, 0xffff]) d.setCommon(24, 2, size);
    expect(d.common(24, 2)).toBe(16);
    d.setCommon(26, 2, 2);
    d.setCommon(16, 2, 77);
    expect([d.common(26, 2), d.common(16, 2)]).toEqual([0xffff, 0xffff]);
    d.setCommon(22, 2, 5);
    d.setCommon(28, 2, 1);
    expect([d.common(24, 2), d.common(28, 2)]).toEqual([0, 0]);
  });

  test("the PCI configuration access capability reaches the same registers, and only legal places", () => {
    const pci = m.disk.pci;
    const at = pci.capabilityOffset(9, 4);
    const access = (offset: number, length: number, bar = 4): void => {
      pci.write(at + 4, 1, bar);
      pci.write(at + 8, 4, offset);
      pci.write(at + 12, 4, length);
    };
    access(18, 2);
    expect(pci.read(at + 16, 2)).toBe(1);
    access(20, 1);
    pci.write(at + 16, 1, 0);
    expect(m.driver.status).toBe(0);
    pci.write(at + 16, 1, 1);
    expect([m.driver.status, pci.read(at + 16, 1)]).toEqual([1, 1]);
    for (const [offset, length, bar] of [
      [0x4000, 4, 4],
      [0xfffffffc, 4, 4],
      [2, 4, 4],
      [20, 3, 4],
      [20, 1, 1],
      [20, 0xffffffff, 4],
    ] as const) {
      access(offset, length, bar);
      pci.write(at + 16, 1, 0);
      expect(m.driver.status).toBe(1);
    }
  });
});

describe("random input", () => {
  const rawDescriptor = fc.record({
    address: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0x8000, max: 0x18000 }) },
      fc.constantFrom(0, 0x1000, RAM_END - 1, RAM_END, 0xe0004000, 2 ** 52, 2 ** 53 - 1),
    ),
    length: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(1, 15, 16, 17, 32, 48, 511, 512, 513, 1024, 4096) },
      fc.nat(0xffffffff),
    ),
    flags: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(0, 1, 2, 3) }, fc.nat(0xffff)),
    next: fc.oneof({ weight: 8, arbitrary: fc.nat(15) }, fc.nat(0xffff)),
  });
  /** Mostly a legal chain of three (header, data, status) at every fourth index, so that some requests are served. */
  const sensible = (i: number): fc.Arbitrary<RawDescriptor & { address: number }> =>
    fc.record({
      address: fc.constant(0x8000 + 0x1000 * i),
      length: fc.constant([16, 512, 1, 16][i % 4]!),
      flags: i % 4 === 1 ? fc.constantFrom(1, 3) : fc.constant([1, 3, 2, 0][i % 4]!),
      next: fc.constant((i + 1) % 16),
    });
  const tableOf16 = fc.tuple(
    ...Array.from({ length: 16 }, (_, i) =>
      fc.oneof({ weight: 9, arbitrary: sensible(i) }, { weight: 1, arbitrary: rawDescriptor }),
    ),
  );
  const scenario = fc.record({
    features: fc.constantFrom(0n, INDIRECT, EVENT_IDX, INDIRECT | EVENT_IDX),
    table: tableOf16,
    heads: fc.array(
      fc.oneof({ weight: 12, arbitrary: fc.constantFrom(0, 4, 8, 12) }, fc.nat(15), fc.nat(0xffff)),
      { minLength: 1, maxLength: 20 },
    ),
    ram: fc.uint8Array({ minLength: 256, maxLength: 256 }),
    type: fc.constantFrom(0, 1, 4, 8, 11, 13, 99),
    sector: fc.oneof({ weight: 4, arbitrary: fc.nat(300) }, fc.nat()),
    resetAfter: fc.boolean(),
  });

  test("no chain harms anything outside the device, the disk and the buffers given", () => {
    let served = 0;
    let broken = 0;
    fc.assert(
      fc.property(scenario, (s) => {
        const machine = new BlkMachine({ sectors: 64 });
        const [queue] = machine.start(s.features) as [DriverQueue];
        const before = machine.contents.slice();
        for (let at = 0x8000; at < 0x19000; at += 256) machine.memory.bytes.set(s.ram, at);
        // Requests that make sense begin where descriptors often point.
        s.table.forEach((d, i) => {
          queue.writeDescriptor(queue.desc, i, d);
          if (d.address >= 0x8000 && d.address < 0x18000 && i % 4 === 0)
            machine.header(d.address, s.type, s.sector);
        });
        const rings = machine.memory.bytes.slice(0, 0x1000);
        const outside = machine.memory.bytes.slice(0x20000);
        for (const head of s.heads) {
          queue.offer(head);
          queue.kick();
          if (s.resetAfter && head === 8) machine.driver.status = 0;
          machine.context.advance(500);
        }
        machine.context.settle();
        machine.context.checkRedZones();
        // Page 0 can be reached by a descriptor that names it; beyond 20000H only the last byte can be.
        if (!s.table.some((d) => d.address < 0x1000))
          expect(Buffer.from(machine.memory.bytes.subarray(0, 0x1000)).equals(rings)).toBe(true);
        if (!s.table.some((d) => d.length > 4096 || d.address >= 0x20000))
          expect(Buffer.from(machine.memory.bytes.subarray(0x20000)).equals(outside)).toBe(true);
        if (![1, 11, 13].includes(s.type) && !s.ram.includes(1) && !s.ram.includes(11) && !s.ram.includes(13))
          expect(Buffer.from(machine.contents).equals(before)).toBe(true);
        expect(machine.disk.inFlight).toBe(0);
        served += queue.collect().length;
        if (machine.driver.status & NEEDS_RESET) broken++;
      }),
      { numRuns: 400, seed: 20261121 },
    );
    // The generator reaches both outcomes.
    expect(served).toBeGreaterThan(200);
    expect(broken).toBeGreaterThan(100);
  });

  test("no sequence of register writes throws or leaves the device's state", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            offset: fc.oneof(fc.nat(0x60), fc.nat(0x3fff), fc.constantFrom(0x1000, 0x2000, 0x2020, 0x3000)),
            size: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
            value: fc.oneof(fc.constantFrom(0, 1, 3, 0xb, 0xf, 0xff, 0x1000, 0xffffffff), fc.nat(0xffffffff)),
            write: fc.boolean(),
          }),
          { maxLength: 60 },
        ),
        (accesses) => {
          const machine = new BlkMachine({ sectors: 8, queues: 2 });
          if (accesses.length % 2) machine.start(0n, 16, true, 2);
          const before = machine.contents.slice();
          const bar = machine.disk.pci.barBase(4)!;
          for (const a of accesses)
            if (a.write) machine.mmio.write(bar + a.offset, a.size, a.value);
            else machine.mmio.read(bar + a.offset, a.size);
          machine.context.settle();
          machine.context.checkRedZones();
          expect(Buffer.from(machine.contents).equals(before)).toBe(true);
        },
      ),
      { numRuns: 150, seed: 7 },
    );
  });
});

import { beforeEach, describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { FakeContext } from "../../../support/device-context.ts";
import { BlkMachine, EVENT_IDX, INDIRECT } from "../../../support/virtio-blk-machine.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";

const HEADER = 0x10000;
const STATUS = 0x10100;
const DATA = 0x20000;
let m: BlkMachine;
let q: DriverQueue;

beforeEach(() => {
  m = new BlkMachine();
  [q] = m.start() as [DriverQueue];
  m.memory.bytes.fill(0xee, HEADER, 0x80000);
});

const request = (
  type: number,
  sector: bigint | number,
  data: readonly { address: number; length: number; write?: boolean }[],
  at = 0,
  queue = q,
  indirect?: number,
): number => {
  m.header(HEADER + 32 * at, type, sector);
  m.memory.bytes[STATUS + at] = 0xff;
  return queue.add(
    [{ address: HEADER + 32 * at, length: 16 }, ...data, { address: STATUS + at, length: 1, write: true }],
    indirect,
  );
};
const run = (): void => {
  q.kick();
  m.context.settle();
};
const diskBytes = (sector: number, bytes: number): Uint8Array =>
  m.contents.slice(sector * 512, sector * 512 + bytes);
const ram = (address: number, bytes: number): Uint8Array => m.memory.bytes.slice(address, address + bytes);

describe("requests", () => {
  test("IN: data, status, used element and one message, at the disk's time", () => {
    const head = request(0, 5, [{ address: DATA, length: 1024, write: true }]);
    q.kick();
    m.context.advance(999);
    expect(q.collect()).toEqual([]);
    m.context.advance(1);
    expect(q.collect()).toEqual([{ id: head, length: 1025 }]);
    expect(ram(DATA, 1024)).toEqual(diskBytes(5, 1024));
    expect(m.byte(STATUS)).toBe(0);
    expect(m.messages.sent).toEqual([{ address: 0xfee00000, data: 0x41 }]);
    expect(m.byte(DATA + 1024)).toBe(0xee);
  });

  test("OUT gathers odd pieces; IN scatters them", () => {
    m.memory.bytes.set(
      Uint8Array.from({ length: 1536 }, (_, i) => i * 3),
      DATA,
    );
    request(1, 7, [
      { address: DATA, length: 100 },
      { address: DATA + 100, length: 1000 },
      { address: DATA + 1100, length: 436 },
    ]);
    run();
    expect(q.collect()).toEqual([{ id: 0, length: 1 }]);
    expect(diskBytes(7, 1536)).toEqual(ram(DATA, 1536));
    request(0, 7, [
      { address: DATA + 0x10000, length: 513, write: true },
      { address: DATA + 0x18000, length: 1023, write: true },
    ]);
    run();
    expect(ram(DATA + 0x10000, 513)).toEqual(diskBytes(7, 513));
    expect(ram(DATA + 0x18000, 1023)).toEqual(diskBytes(8, 1024).slice(1));
  });

  test("transfers longer than the copy buffer, both ways", () => {
    m.memory.bytes.set(
      Uint8Array.from({ length: 100 * 1024 }, (_, i) => i >> 5),
      DATA,
    );
    request(1, 10, [{ address: DATA, length: 100 * 1024 }]);
    run();
    expect(Buffer.from(diskBytes(10, 100 * 1024)).equals(ram(DATA, 100 * 1024))).toBe(true);
    request(0, 10, [{ address: DATA + 0x40000, length: 100 * 1024, write: true }]);
    run();
    expect(Buffer.from(ram(DATA + 0x40000, 100 * 1024)).equals(ram(DATA, 100 * 1024))).toBe(true);
  });

  test("no framing is assumed: header in pieces with data behind it, status behind data", () => {
    m.header(HEADER, 1, 3);
    m.memory.bytes.copyWithin(DATA, HEADER, HEADER + 7);
    m.memory.bytes.copyWithin(DATA + 0x1000, HEADER + 7, HEADER + 16);
    m.memory.bytes.fill(0x77, DATA + 0x1009, DATA + 0x1209);
    q.add([
      { address: DATA, length: 7 },
      { address: DATA + 0x1000, length: 9 + 512 },
      { address: STATUS - 3, length: 4, write: true },
    ]);
    run();
    expect(m.byte(STATUS)).toBe(0);
    expect(diskBytes(3, 512).every((byte) => byte === 0x77)).toBe(true);
  });

  test("GET_ID, FLUSH, and an unknown type", () => {
    request(8, 0, [{ address: DATA, length: 20, write: true }], 0);
    request(4, 0, [], 1);
    request(99, 0, [{ address: DATA + 64, length: 512, write: true }], 2);
    run();
    expect(Buffer.from(ram(DATA, 20)).toString("latin1")).toBe("SERIAL-42".padEnd(20, "\0"));
    expect([m.byte(STATUS), m.byte(STATUS + 1), m.byte(STATUS + 2)]).toEqual([0, 0, 2]);
    expect(
      q
        .collect()
        .map((u) => u.length)
        .sort(),
    ).toEqual([1, 1, 21]);
  });

  test.each([
    ["DISCARD", 11, 4n, 3, 0, 0],
    ["WRITE_ZEROES", 13, 4n, 3, 1, 0],
    ["DISCARD with a flag", 11, 4n, 3, 1, 2],
    ["WRITE_ZEROES with an unknown flag", 13, 4n, 3, 2, 2],
    ["WRITE_ZEROES past the end", 13, 254n, 3, 0, 1],
    ["DISCARD of an absurd sector", 11, 2n ** 64n - 1n, 1, 0, 1],
    ["WRITE_ZEROES of too many sectors", 13, 0n, 0xffffffff, 0, 1],
  ])("%s", (_name, type, sector, count, flags, status) => {
    const before = m.contents.slice();
    const view = new DataView(m.memory.bytes.buffer, DATA, 16);
    view.setBigUint64(0, sector, true);
    view.setUint32(8, count, true);
    view.setUint32(12, flags, true);
    request(type, 0, [{ address: DATA, length: 16 }]);
    run();
    expect(m.byte(STATUS)).toBe(status);
    if (status === 0) before.fill(0, 4 * 512, 7 * 512);
    expect(Buffer.from(m.contents).equals(before)).toBe(true);
  });

  test.each([
    ["past the end", 0, 255, 1024],
    ["at 2^63", 0, 2n ** 63n, 512],
    ["not whole sectors", 0, 0, 513],
    ["a write past the end", 1, 256, 512],
  ])("%s is an I/O error without effect", (_name, type, sector, length) => {
    const before = m.contents.slice();
    request(type, sector, [{ address: DATA, length, write: type === 0 }]);
    run();
    expect(m.byte(STATUS)).toBe(1);
    expect(Buffer.from(m.contents).equals(before)).toBe(true);
    expect(m.byte(DATA)).toBe(0xee);
    expect(m.driver.status).toBe(0xf);
  });

  test("host trouble is an I/O error", () => {
    const broken = new MemoryStorage(new Uint8Array(4096));
    broken.read = () => "io-error";
    m = new BlkMachine({ storage: broken });
    [q] = m.start() as [DriverQueue];
    request(0, 0, [{ address: DATA, length: 512, write: true }]);
    run();
    expect(m.byte(STATUS)).toBe(1);
  });
});

describe("configuration", () => {
  test("structure fields", () => {
    expect(m.driver.config(0, 4)).toBe(256);
    expect(m.driver.config(12, 4)).toBe(14);
    expect([m.driver.config(20, 4), m.driver.config(34, 2), m.driver.config(40, 4)]).toEqual([512, 1, 1]);
    expect(m.driver.config(0x80, 4)).toBe(0);
  });

  test("without FLUSH each write is flushed; with CONFIG_WCE the driver chooses", () => {
    let flushes = 0;
    const storage = new MemoryStorage(new Uint8Array(8192));
    storage.flush = () => (flushes++, "ok");
    m = new BlkMachine({ storage });
    [q] = m.start() as [DriverQueue];
    expect(m.driver.config(32, 1)).toBe(0);
    request(1, 0, [{ address: DATA, length: 512 }]);
    run();
    expect(flushes).toBe(1);
    [q] = m.start((1n << 9n) | (1n << 11n)) as [DriverQueue];
    expect(m.driver.config(32, 1)).toBe(1);
    request(1, 0, [{ address: DATA, length: 512 }]);
    run();
    expect(flushes).toBe(1);
    m.driver.setConfig(32, 1, 0);
    request(1, 0, [{ address: DATA, length: 512 }]);
    run();
    expect(flushes).toBe(2);
  });

  test("a read-only disk offers RO, refuses writes and stays intact", () => {
    const contents = new Uint8Array(4096).fill(7);
    m = new BlkMachine({ storage: new MemoryStorage(contents, { readOnly: true }) });
    expect((m.driver.deviceFeatures() >> 5n) & 1n).toBe(1n);
    expect((m.driver.deviceFeatures() >> 13n) & 3n).toBe(0n);
    [q] = m.start() as [DriverQueue];
    request(1, 0, [{ address: DATA, length: 512 }], 0);
    m.memory.bytes.fill(0, DATA + 512, DATA + 528);
    m.memory.bytes[DATA + 520] = 1;
    request(13, 0, [{ address: DATA + 512, length: 16 }], 1);
    run();
    expect([m.byte(STATUS), m.byte(STATUS + 1)]).toEqual([1, 1]);
    expect(contents.every((byte) => byte === 7)).toBe(true);
  });
});

describe("several requests", () => {
  test("completions out of order go to the used ring in order of time", () => {
    m = new BlkMachine({ service: (_operation, sector) => 10_000 - sector * 100 });
    [q] = m.start() as [DriverQueue];
    const heads = [1, 2, 3, 4].map((sector) =>
      request(0, sector, [{ address: DATA + sector * 512, length: 512, write: true }], sector),
    );
    run();
    expect(q.collect().map((u) => u.id)).toEqual(heads.reverse());
    for (const sector of [1, 2, 3, 4]) expect(ram(DATA + sector * 512, 512)).toEqual(diskBytes(sector, 512));
  });

  test("indirect tables", () => {
    m = new BlkMachine();
    [q] = m.start(INDIRECT) as [DriverQueue];
    const head = request(
      0,
      1,
      Array.from({ length: 100 }, (_, i) => ({ address: DATA + 1024 * i, length: 512, write: true })),
      0,
      q,
      0x60000,
    );
    run();
    expect(q.collect()).toEqual([{ id: head, length: 51201 }]);
    expect(ram(DATA + 99 * 1024, 512)).toEqual(diskBytes(100, 512));
  });

  test("indices wrap around 65,536 with everything intact", () => {
    for (let i = 0; i < 66_000; i++) {
      request(4, 0, []);
      q.kick();
      if (i % 4 === 3) m.context.settle();
    }
    m.context.settle();
    expect(q.usedSeen).toBe(0);
    q.usedSeen = (65_999 - 15) & 0xffff;
    expect(q.collect().length).toBe(16);
    expect(m.driver.status).toBe(0xf);
  });

  test("several queues, each with its vector", () => {
    m = new BlkMachine({ queues: 4 });
    const queues = m.start(1n << 12n, 16, true, 4);
    expect(m.driver.common(18, 2)).toBe(4);
    queues.forEach((queue, i) =>
      request(0, i, [{ address: DATA + 512 * i, length: 512, write: true }], i, queue),
    );
    for (const queue of queues) queue.kick();
    m.context.settle();
    expect(m.messages.sent.map((message) => message.data)).toEqual([0x41, 0x42, 0x43, 0x44]);
    for (const queue of queues) expect(queue.collect().length).toBe(1);
  });

  test("more requests than the in-flight table holds are taken up as it empties", () => {
    m = new BlkMachine({ queues: 2, queueSize: 1024 });
    const queues = m.start(0n, 1024, true, 2);
    for (const queue of queues)
      for (let i = 0; i < 500; i++) {
        m.header(HEADER, 4, 0);
        queue.add([
          { address: HEADER, length: 16 },
          { address: STATUS, length: 1, write: true },
        ]);
      }
    for (const queue of queues) queue.kick();
    expect(m.disk.inFlight).toBe(256);
    m.context.settle();
    expect(queues.map((queue) => queue.collect().length)).toEqual([500, 500]);
  });
});

describe("interrupt and notification suppression", () => {
  test("NO_INTERRUPT", () => {
    q.setNoInterrupt(true);
    request(4, 0, []);
    run();
    expect([m.messages.sent.length, q.collect().length]).toEqual([0, 1]);
    q.setNoInterrupt(false);
    request(4, 0, []);
    run();
    expect(m.messages.sent.length).toBe(1);
  });

  test("EVENT_IDX: an interrupt only when the used index passes used_event", () => {
    m = new BlkMachine();
    [q] = m.start(EVENT_IDX) as [DriverQueue];
    const one = (): void => {
      request(4, 0, []);
      run();
    };
    one(); // used_event 0: index 1 passes it
    expect(m.messages.sent.length).toBe(1);
    one();
    one();
    expect(m.messages.sent.length).toBe(1);
    q.setUsedEvent(4);
    one();
    expect(m.messages.sent.length).toBe(1);
    one();
    expect(m.messages.sent.length).toBe(2);
  });

  test("EVENT_IDX: the device asks for each notification, or for none while it polls", () => {
    for (const features of [EVENT_IDX, 0n]) {
      m = new BlkMachine();
      [q] = m.start(features) as [DriverQueue];
      request(4, 0, []);
      q.notify();
      expect(q.kicks).toBe(1);
      m.context.settle();
      expect(m.disk.setNotificationsEnabled(0, false)).toBe(false);
      for (let i = 0; i < 70_000; i++) {
        request(4, 0, []);
        q.notify();
        m.disk.serveQueue(0, 16);
        m.disk.completeDue(m.context.clock.now() + 10_000);
        if (i % 16 === 0) q.collect();
      }
      expect(q.kicks).toBe(1);
      request(4, 0, []);
      q.notify();
      // What was added meanwhile is found by the check after switching on.
      expect(m.disk.setNotificationsEnabled(0, true)).toBe(true);
      m.disk.serveQueue(0, 16);
      request(4, 0, []);
      q.notify();
      expect(q.kicks).toBe(2);
    }
  });

  test("INTx: ISR and status bit, read clears; disabled by the command register", () => {
    m = new BlkMachine();
    [q] = m.start(0n, 16, false) as [DriverQueue];
    request(4, 0, []);
    run();
    expect([m.line.level, m.disk.pci.read(6, 2) & 8]).toEqual([true, 8]);
    m.disk.pci.write(4, 2, 0x406);
    expect(m.line.level).toBe(false);
    m.disk.pci.write(4, 2, 6);
    expect(m.line.level).toBe(true);
    expect(m.driver.isr()).toBe(1);
    expect([m.line.level, m.driver.isr()]).toEqual([false, 0]);
  });
});

describe("someone else serves", () => {
  test("a service gets the notifications and does the three steps itself", () => {
    const notified: number[] = [];
    m.disk.setService({ notified: (queue) => void notified.push(queue) });
    request(0, 2, [{ address: DATA, length: 512, write: true }]);
    run();
    expect([notified, q.collect(), m.disk.hasWork(0)]).toEqual([[0], [], true]);
    expect(m.disk.serveQueue(0, 8)).toBe(1);
    const due = m.disk.nextDue!;
    expect(m.disk.completeDue(due - 1)).toBe(0);
    expect(m.disk.completeDue(due)).toBe(1);
    expect(q.collect().length).toBe(1);
    expect(m.messages.sent.length).toBe(0);
    expect(m.disk.signalCompleted()).toBe(1);
    expect(m.disk.signalCompleted()).toBe(0);
    expect(m.messages.sent.length).toBe(1);
  });

  test("the notification address is the one the driver uses", () => {
    const notified: number[] = [];
    m.disk.setService({ notified: (queue) => void notified.push(queue) });
    m.mmio.write(m.disk.transport.notifyAddress(0)!, 2, 0);
    expect(notified).toEqual([0]);
  });

  test("the budget bounds a pass", () => {
    m.disk.setService({ notified: () => undefined });
    for (let i = 0; i < 8; i++) request(4, 0, []);
    expect([m.disk.serveQueue(0, 3), m.disk.serveQueue(0, 3), m.disk.serveQueue(0, 3)]).toEqual([3, 3, 2]);
    expect(m.disk.hasWork(0)).toBe(false);
  });

  test("another thread's twin finishes what this one started; building it disturbs nothing", () => {
    request(0, 9, [{ address: DATA, length: 512, write: true }]);
    q.kick();
    const before = m.context.snapshot();
    const twin = new BlkMachine({
      context: new FakeContext({ like: m.context }),
      memory: m.memory,
      storage: m.storage,
    });
    expect(m.context.sameAs(before)).toBe(true);
    expect(twin.disk.completeDue(twin.disk.nextDue!)).toBe(1);
    expect(twin.disk.signalCompleted()).toBe(1);
    expect(twin.messages.sent.length).toBe(1);
    expect(ram(DATA, 512)).toEqual(diskBytes(9, 512));
    expect(m.disk.inFlight).toBe(0);
    m.context.checkRedZones();
  });

  test("a snapshot with a request in flight finishes it after being restored", () => {
    request(0, 3, [{ address: DATA, length: 512, write: true }]);
    q.kick();
    const state = m.context.snapshot();
    const memory = m.memory.bytes.slice();
    const armed = m.context.timers.map((timer) => timer.armedAt);
    m.context.settle();
    m.context.restore(state);
    m.memory.bytes.set(memory);
    m.context.timers.forEach((timer, i) => (timer.armedAt = armed[i]));
    expect(m.byte(DATA)).toBe(0xee);
    m.context.settle();
    expect(ram(DATA, 512)).toEqual(diskBytes(3, 512));
    expect(q.collect().length).toBe(1);
  });
});

/** The SCSI host device and its disks, driven through the queues. VIRTIO 1.2, "SCSI Host Device"; SPC-4, SBC-3. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Storage } from "../../../../devices/ports.ts";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { VirtioScsi } from "../../../../devices/virtio/scsi/device.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { fuzzVirtio } from "../../../support/virtio-fuzz.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const HEADER = 0x20000;
const ANSWER = 0x21000;
const DATA = 0x30000;
const SIZES = [64, 64, 64];
const NEEDS_RESET = 0x40;

let contents: Uint8Array;

function make(
  storage: Storage = new MemoryStorage(contents, { serial: "DISK-A" }),
): VirtioMachine<VirtioScsi> {
  return new VirtioMachine(
    (context, parts) => {
      const timing = { complete: () => context.clock.now() + 1000 };
      const other = new MemoryStorage(new Uint8Array(4096), { serial: "DISK-B", readOnly: true });
      return new VirtioScsi(context, {
        ...parts,
        queues: 1,
        units: [
          { target: 0, lun: 0, storage, timing },
          { target: 0, lun: 5, storage: other, timing },
          { target: 3, lun: 0, storage: other, timing },
        ],
      });
    },
    { stateBytes: 2 * 1024 * 1024 },
  );
}

let m: VirtioMachine<VirtioScsi>;
let control: DriverQueue;
let queue: DriverQueue;
beforeEach(() => {
  contents = Uint8Array.from({ length: 256 * 512 }, (_, i) => (i >> 9) + i * 3);
  m = make();
  [control, , queue] = m.start(SIZES) as [DriverQueue, DriverQueue, DriverQueue];
  // The unit attention of power-on.
  expect(command([0x00]).sense).toEqual([6, 0x2900]);
});

interface Outcome {
  readonly response: number;
  readonly status: number;
  readonly residual: number;
  /** Key, and additional code with qualifier. */
  readonly sense: readonly [number, number] | undefined;
}

interface Options {
  readonly target?: number;
  readonly lun?: number;
  /** Bytes that the initiator has room for. */
  readonly room?: number;
  readonly out?: Uint8Array;
  readonly id?: bigint;
}

function submit(cdb: readonly number[], o: Options = {}): void {
  const header = new Uint8Array(51);
  header.set([1, o.target ?? 0, 0x40, o.lun ?? 0]);
  new DataView(header.buffer).setBigUint64(8, o.id ?? 7n, true);
  header.set(cdb, 19);
  m.memory.bytes.set(header, HEADER);
  m.memory.bytes.fill(0xff, ANSWER, ANSWER + 108);
  if (o.out) m.memory.bytes.set(o.out, DATA);
  queue.add([
    { address: HEADER, length: header.length },
    ...(o.out ? [{ address: DATA, length: o.out.length }] : []),
    { address: ANSWER, length: 108, write: true },
    ...(o.room === undefined ? [] : [{ address: DATA, length: o.room, write: true }]),
  ]);
  queue.kick();
}

function outcome(): Outcome {
  const view = new DataView(m.memory.bytes.buffer, ANSWER, 108);
  const length = view.getUint32(0, true);
  return {
    response: view.getUint8(11),
    status: view.getUint8(10),
    residual: view.getUint32(4, true),
    sense: length === 0 ? undefined : [view.getUint8(14) & 15, view.getUint16(24)],
  };
}

function command(cdb: readonly number[], o: Options = {}): Outcome {
  submit(cdb, o);
  m.context.settle();
  return outcome();
}

const data = (length: number, at = 0): Buffer =>
  Buffer.from(m.memory.bytes.slice(DATA + at, DATA + at + length));
const good = { response: 0, status: 0, residual: 0, sense: undefined };

describe("addressing", () => {
  test("REPORT LUNS lists the target's units", () => {
    expect(command([0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24], { room: 24 })).toEqual(good);
    expect([data(4).readUInt32BE(), data(2, 8).readUInt16BE(), data(2, 16).readUInt16BE()]).toEqual([
      16, 0, 5,
    ]);
  });

  test("a target that is not there, and a unit that is not there", () => {
    expect(command([0x12, 0, 0, 0, 36], { target: 1, room: 36 }).response).toBe(3);
    expect(command([0x12, 0, 0, 0, 36], { lun: 1, room: 36 })).toEqual(good);
    expect(data(1)[0]).toBe(0x7f);
    expect(command([0x00], { lun: 1 }).sense).toEqual([5, 0x2500]);
  });

  test("a LUN of another form names nothing", () => {
    m.memory.bytes.set([2, 0, 0x40, 0], HEADER);
    submit([0x00]);
    m.memory.bytes[HEADER] = 2;
    m.context.settle();
    // Copied when it was started: changing it afterwards has no effect.
    expect(outcome().response).toBe(0);
  });
});

describe("what Linux's sd asks", () => {
  test("INQUIRY and the pages of vital product data", () => {
    expect(command([0x12, 0, 0, 0, 36], { room: 36 })).toEqual(good);
    expect([data(1)[0], data(36).subarray(8, 24).toString()]).toEqual([0, "EXITLESSHARDDISK"]);
    command([0x12, 1, 0, 0, 255], { room: 255 });
    expect([...data(10)]).toEqual([0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    command([0x12, 1, 0x80, 0, 255], { room: 255 });
    expect(data(10, 4).subarray(0, 6).toString()).toBe("DISK-A");
    command([0x12, 1, 0x83, 0, 255], { room: 255 });
    expect(data(14, 8).toString()).toBe("EXITLESSDISK-A");
    command([0x12, 1, 0xb0, 0, 255], { room: 255 });
    expect([data(4, 8).readUInt32BE(), data(4, 20).readUInt32BE()]).toEqual([0x20000, 8192]);
    command([0x12, 1, 0xb1, 0, 255], { room: 255 });
    expect(data(2, 4).readUInt16BE()).toBe(1);
    command([0x12, 1, 0xb2, 0, 255], { room: 255 });
    expect([...data(8)]).toEqual([0, 0xb2, 0, 4, 0, 0xe4, 2, 0]);
    expect(command([0x12, 1, 0x99, 0, 255], { room: 255 }).sense).toEqual([5, 0x2400]);
  });

  test("an allocation length shorter than the data, and room longer than either", () => {
    expect(command([0x12, 0, 0, 0, 5], { room: 36 })).toEqual({ ...good, residual: 31 });
  });

  test("READ CAPACITY", () => {
    command([0x25], { room: 8 });
    expect([data(4).readUInt32BE(), data(4, 4).readUInt32BE()]).toEqual([255, 512]);
    command([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], { room: 32 });
    expect([data(8).readBigUInt64BE(), data(1, 13)[0], data(1, 14)[0]]).toEqual([255n, 3, 0xc0]);
  });

  test("MODE SENSE and MODE SELECT: the write cache", () => {
    command([0x1a, 0, 0x3f, 0, 255], { room: 255 });
    // Length, not protected, DPO and FUA, a block descriptor, caching page with WCE.
    expect([data(1)[0], data(1, 2)[0], data(1, 3)[0], data(1, 12)[0], data(1, 14)[0]]).toEqual([
      43, 0x10, 8, 8, 4,
    ]);
    const off = new Uint8Array(24);
    off.set([0, 0, 0, 0, 8, 18]);
    expect(command([0x15, 0x10, 0, 0, 24], { out: off })).toEqual(good);
    command([0x5a, 8, 8, 0, 0, 0, 0, 0, 255], { room: 255 });
    expect([data(2).readUInt16BE(), data(1, 10)[0]]).toEqual([26, 0]);
    expect(command([0x1a, 0, 0xc8, 0, 255], { room: 255 }).sense).toEqual([5, 0x3900]);
    expect(command([0x1a, 0, 0x02, 0, 255], { room: 255 }).sense).toEqual([5, 0x2400]);
    command([0x1a, 0, 0x08, 0, 255], { room: 255, lun: 5 });
    command([0x1a, 0, 0x08, 0, 255], { room: 255, lun: 5 });
    expect(data(1, 2)[0]).toBe(0x90);
  });

  test("REQUEST SENSE, START STOP UNIT, PREVENT ALLOW", () => {
    expect(command([0x03, 0, 0, 0, 18], { room: 18 })).toEqual(good);
    expect(data(1, 2)[0]).toBe(0);
    expect(command([0x1e, 0, 0, 0, 1])).toEqual(good);
    expect(command([0x1b, 0, 0, 0, 0])).toEqual(good);
    expect(command([0x28, 0, 0, 0, 0, 0, 0, 0, 1], { room: 512 }).sense).toEqual([2, 0x0402]);
    expect(command([0x1b, 0, 0, 0, 1])).toEqual(good);
    expect(command([0x00])).toEqual(good);
    expect(command([0xff]).sense).toEqual([5, 0x2000]);
  });
});

describe("blocks", () => {
  test.each([
    ["READ (6)", [0x08, 0, 0, 9, 2]],
    ["READ (10)", [0x28, 0, 0, 0, 0, 9, 0, 0, 2]],
    ["READ (12)", [0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 2]],
    ["READ (16)", [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2]],
  ])("%s", (_, cdb) => {
    expect(command(cdb, { room: 1024 })).toEqual(good);
    expect(data(1024).equals(Buffer.from(contents.slice(9 * 512, 11 * 512)))).toBe(true);
    expect(queue.collect().at(-1)!.length).toBe(108 + 1024);
  });

  test.each([
    ["WRITE (6)", [0x0a, 0, 0, 4, 1]],
    ["WRITE (10) with FUA", [0x2a, 8, 0, 0, 0, 4, 0, 0, 1]],
    ["WRITE (12)", [0xaa, 0, 0, 0, 0, 4, 0, 0, 0, 1]],
    ["WRITE (16)", [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1]],
  ])("%s", (_, cdb) => {
    expect(command(cdb, { out: new Uint8Array(512).fill(0x5c) })).toEqual(good);
    expect(contents.slice(4 * 512, 5 * 512).every((byte) => byte === 0x5c)).toBe(true);
    expect(contents[5 * 512]).toBe((5 + 5 * 512 * 3) & 0xff);
  });

  test("UNMAP and WRITE SAME", () => {
    const list = new Uint8Array(24);
    const view = new DataView(list.buffer);
    view.setUint16(0, 22);
    view.setUint16(2, 16);
    view.setBigUint64(8, 20n);
    view.setUint32(16, 2);
    expect(command([0x42, 0, 0, 0, 0, 0, 0, 0, 24], { out: list })).toEqual(good);
    expect(contents.slice(20 * 512, 22 * 512).every((byte) => byte === 0)).toBe(true);
    view.setUint32(16, 8193);
    expect(command([0x42, 0, 0, 0, 0, 0, 0, 0, 24], { out: list }).sense).toEqual([5, 0x2600]);
    const block = Uint8Array.from({ length: 512 }, (_, i) => i);
    expect(command([0x93, 0, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 3], { out: block })).toEqual(good);
    expect(Buffer.from(contents.slice(32 * 512, 33 * 512)).equals(Buffer.from(block))).toBe(true);
    expect(command([0x93, 9, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 3])).toEqual(good);
    expect(contents.slice(30 * 512, 33 * 512).every((byte) => byte === 0)).toBe(true);
    expect(command([0x41, 0, 0, 0, 0, 30, 0, 0, 0], { out: block }).sense).toEqual([5, 0x2400]);
  });

  test("flush and verify", () => {
    expect(command([0x35])).toEqual(good);
    expect(command([0x91])).toEqual(good);
    expect(command([0x2f, 0, 0, 0, 0, 0, 0, 0, 5])).toEqual(good);
    expect(command([0x2f, 2, 0, 0, 0, 0, 0, 0, 5]).sense).toEqual([5, 0x2400]);
  });

  test("beyond the end, a protected disk, room that is too small, a medium with errors", () => {
    expect(command([0x28, 0, 0, 0, 0, 255, 0, 0, 2], { room: 1024 }).sense).toEqual([5, 0x2100]);
    command([0x00], { lun: 5 });
    expect(command([0x2a, 0, 0, 0, 0, 0, 0, 0, 1], { lun: 5, out: new Uint8Array(512) }).sense).toEqual([
      7, 0x2700,
    ]);
    // Two blocks into room for one: the first one comes, and the overrun is told.
    expect(command([0x28, 0, 0, 0, 0, 9, 0, 0, 2], { room: 512 })).toEqual({ ...good, response: 1 });
    expect(data(512).equals(Buffer.from(contents.slice(9 * 512, 10 * 512)))).toBe(true);
    const bad = Object.assign(Object.create(new MemoryStorage(contents)) as Storage, {
      sectors: 256,
      readOnly: false,
      serial: "BAD",
      read: () => "io-error",
    });
    m = make(bad);
    [control, , queue] = m.start(SIZES) as [DriverQueue, DriverQueue, DriverQueue];
    command([0x00]);
    expect(command([0x28, 0, 0, 0, 0, 9, 0, 0, 1], { room: 512 }).sense).toEqual([3, 0x1100]);
  });
});

describe("task management", () => {
  const manage = (subtype: number, lun = 0, id = 7n, target = 0): number => {
    const request = new Uint8Array(24);
    const view = new DataView(request.buffer);
    view.setUint32(4, subtype, true);
    request.set([1, target, 0x40, lun], 8);
    view.setBigUint64(16, id, true);
    m.memory.bytes.set(request, 0x22000);
    control.add([
      { address: 0x22000, length: 24 },
      { address: 0x23000, length: 1, write: true },
    ]);
    control.kick();
    return m.memory.bytes[0x23000]!;
  };

  test("a task is found, and aborted; it is answered once, and moves nothing", () => {
    m.memory.bytes.fill(0xee, DATA, DATA + 512);
    submit([0x28, 0, 0, 0, 0, 9, 0, 0, 1], { room: 512, id: 99n });
    expect([manage(6, 0, 99n), manage(6, 0, 98n), manage(7, 0), manage(7, 5)]).toEqual([10, 0, 10, 0]);
    expect(manage(0, 0, 99n)).toBe(10);
    expect([outcome().response, m.device.inFlight]).toEqual([2, 0]);
    m.context.settle();
    expect([queue.collect().length, m.memory.bytes[DATA]]).toEqual([2, 0xee]);
  });

  test("a logical unit reset ends its tasks and is told by a unit attention", () => {
    submit([0x28, 0, 0, 0, 0, 9, 0, 0, 1], { room: 512 });
    expect(manage(5)).toBe(10);
    expect(outcome().response).toBe(4);
    expect(command([0x00]).sense).toEqual([6, 0x2903]);
    expect(command([0x00])).toEqual(good);
  });

  test("wrong places and unknown functions", () => {
    expect([manage(5, 1), manage(5, 0, 0n, 9), manage(2), manage(77), manage(4)]).toEqual([
      12, 3, 11, 11, 10,
    ]);
  });

  test("asynchronous notifications: none is known", () => {
    m.memory.bytes.fill(0, 0x22000, 0x22010);
    m.memory.bytes[0x22000] = 2;
    m.memory.bytes.set([1, 0, 0x40, 0], 0x22004);
    control.add([
      { address: 0x22000, length: 16 },
      { address: 0x23000, length: 5, write: true },
    ]);
    control.kick();
    expect([...m.memory.bytes.slice(0x23000, 0x23005)]).toEqual([0, 0, 0, 0, 0]);
  });
});

describe("the device", () => {
  test("configuration", () => {
    expect([0, 4, 12, 20, 24, 32].map((at) => m.driver.config(at, 4))).toEqual([1, 254, 128, 96, 32, 255]);
    expect(m.driver.config(30, 2)).toBe(3);
    m.driver.setConfig(20, 4, 18);
    expect(m.driver.config(20, 4)).toBe(18);
    m.driver.setConfig(24, 4, 8);
    expect(m.driver.config(24, 4)).toBe(32);
  });

  test("a chain without room for the answer asks for a reset", () => {
    queue.add([
      { address: HEADER, length: 51 },
      { address: ANSWER, length: 107, write: true },
    ]);
    queue.kick();
    expect(m.driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  test("hostile drivers", () => {
    fuzzVirtio(() => make(), SIZES, {
      shape: (bytes, index) => {
        // Mostly a request to the first unit, or a task management function.
        if (index === 2) bytes.set([1, 0, 0x40, 0].slice(0, bytes.length));
        else if (bytes.length > 4) bytes.fill(0, 0, 4);
      },
      check: (machine) => expect(machine.device.inFlight).toBe(0),
    });
  });
});

/** The CD-ROM drive, driven as SeaBIOS, GRUB and Linux's libata drive it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { answerPacket, type CdState } from "../../../../devices/ide/mmc.ts";
import { IdeMachine } from "../../../support/ide-driver.ts";

const READY = [0x00];
const REQUEST_SENSE = [0x03, 0, 0, 0, 18];
const read10 = (block: number, blocks: number): number[] => [
  ...[0x28, 0, block >>> 24, (block >> 16) & 0xff, (block >> 8) & 0xff, block & 0xff],
  ...[0, blocks >> 8, blocks & 0xff],
];

/** A drive whose condition after power-on has been taken note of. */
function ready(sectors = 64): IdeMachine {
  const machine = new IdeMachine({ cdrom: true, sectors });
  expect(machine.packet(READY) & 1).toBe(1);
  expect(sense(machine)).toEqual([6, 0x29, 0]);
  expect(machine.packet(READY)).toBe(0x50);
  return machine;
}

function sense(machine: IdeMachine): number[] {
  const { data } = machine.packetData(REQUEST_SENSE);
  return [data[2]!, data[12]!, data[13]!];
}

test("the signature tells a packet device, IDENTIFY DEVICE aborts with it", () => {
  const machine = new IdeMachine({ cdrom: true });
  expect([machine.in(0x1f4), machine.in(0x1f5), machine.status]).toEqual([0x14, 0xeb, 0]);
  machine.out(0x1f4, 0);
  machine.out(0x1f7, 0xec);
  expect(machine.waitInterrupt()).toBe(0x51);
  expect([machine.in(0x1f1), machine.in(0x1f4), machine.in(0x1f5)]).toEqual([4, 0x14, 0xeb]);
});

test("IDENTIFY PACKET DEVICE", () => {
  const machine = new IdeMachine({ cdrom: true });
  machine.out(0x1f7, 0xa1);
  expect(machine.waitInterrupt()).toBe(0x58);
  const bytes = machine.readWords(256);
  expect(bytes[0]! | (bytes[1]! << 8)).toBe(0x85c0);
  expect(machine.status).toBe(0x50);
});

test("DEVICE RESET is taken in the middle of a command", () => {
  const machine = ready();
  machine.packet(read10(0, 2));
  machine.out(0x1f7, 0x08);
  expect(machine.status).toBe(0x80);
  machine.context.advanceMicroseconds(1000);
  expect([machine.status, machine.in(0x1f4), machine.in(0x1f5)]).toEqual([0, 0x14, 0xeb]);
});

test("capacity, inquiry, table of contents", () => {
  const machine = ready(64);
  expect([...machine.packetData([0x25]).data]).toEqual([0, 0, 0, 15, 0, 0, 8, 0]);
  const inquiry = machine.packetData([0x12, 0, 0, 0, 36]).data;
  expect([inquiry[0], inquiry[1], inquiry.length]).toEqual([5, 0x80, 36]);
  expect(machine.packetData([0x12, 0, 0, 0, 5]).data).toHaveLength(5);
  const toc = machine.packetData([0x43, 0, 0, 0, 0, 0, 0, 0, 255]).data;
  expect([...toc]).toEqual([0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0, 16]);
  const inMinutes = machine.packetData([0x43, 2, 0, 0, 0, 0, 0xaa, 0, 255]).data;
  expect([...inMinutes.subarray(8)]).toEqual([0, 0, 2, 16]);
});

test.each([0xfffe, 2048, 2047, 512, 0])("READ by PIO with a byte count of %i", (byteCount) => {
  const machine = ready();
  const { data, status, blocks } = machine.packetData(read10(3, 7), byteCount);
  expect(status).toBe(0x50);
  expect(data).toEqual(machine.disk(12, 28));
  const most = byteCount === 0 ? 0xfffe : byteCount;
  expect(Math.max(...blocks)).toBeLessThanOrEqual(most);
  expect(machine.in(0x1f2) & 7).toBe(3);
});

test("READ by DMA", () => {
  const machine = ready();
  machine.prd(0x100, [
    [0x4000, 3000],
    [0x8000, 5192],
  ]);
  machine.out(machine.bm + 4, 0x100, 4);
  machine.out(machine.bm, 8);
  machine.out(machine.bm + 2, 0x66);
  machine.packet(read10(5, 4), 0, 1);
  machine.out(machine.bm, 9);
  expect(machine.waitInterrupt()).toBe(0x50);
  expect(machine.in(machine.bm + 2) & 7).toBe(4);
  const whole = machine.disk(20, 16);
  expect(machine.ram(0x4000, 3000)).toEqual(whole.subarray(0, 3000));
  expect(machine.ram(0x8000, 5192)).toEqual(whole.subarray(3000));
});

describe("errors", () => {
  test.each<[string, number[], number[]]>([
    ["a block beyond the end", read10(16, 1), [5, 0x21, 0]],
    ["too many blocks", read10(15, 2), [5, 0x21, 0]],
    ["an unknown command", [0xd7], [5, 0x20, 0]],
    ["an unknown mode page", [0x5a, 0, 0x3e, 0, 0, 0, 0, 0, 255], [5, 0x24, 0]],
    ["asynchronous events", [0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8], [5, 0x24, 0]],
  ])("%s", (_, packet, expected) => {
    const machine = ready();
    expect(machine.packet(packet)).toBe(0x51);
    expect(machine.in(0x1f1)).toBe((expected[0]! << 4) | 4);
    expect(sense(machine)).toEqual(expected);
    expect(sense(machine)).toEqual([0, 0, 0]);
  });
  test("a medium that cannot be read", () => {
    const storage = new MemoryStorage(new Uint8Array(64 * 512));
    const broken = Object.assign(Object.create(storage) as MemoryStorage, { read: () => "io-error" });
    const machine = new IdeMachine({ cdrom: true, storage: broken });
    machine.packet(READY);
    expect(machine.packet(read10(0, 1))).toBe(0x51);
    expect(sense(machine)).toEqual([3, 0x11, 0]);
  });
  test("the tray: locked, open, and closed again", () => {
    const machine = ready();
    expect(machine.packet([0x1e, 0, 0, 0, 1])).toBe(0x50);
    expect(machine.packet([0x1b, 0, 0, 0, 2])).toBe(0x51);
    expect(sense(machine)).toEqual([5, 0x53, 2]);
    machine.packet([0x1e]);
    expect(machine.packet([0x1b, 0, 0, 0, 2])).toBe(0x50);
    expect(machine.packet(read10(0, 1))).toBe(0x51);
    expect(sense(machine)).toEqual([2, 0x3a, 2]);
    expect(machine.packetData([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]).data[5]).toBe(1);
    machine.packet([0x1b, 0, 0, 0, 3]);
    expect(machine.packet(READY)).toBe(0x51);
    expect(machine.packet(READY)).toBe(0x50);
  });
});

test("random packets have answers, and never more than the host has room for", () => {
  const medium = { blocks: 1000, model: "MODEL", firmware: "1.0" };
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 12, maxLength: 12 }), { maxLength: 30 }),
      fc.constantFrom(0x43, 0x46, 0x4a, 0x51, 0x52, 0x5a, 0xbd, 0x28, 0xa8, 0xbe),
      (packets, common) => {
        const drive: CdState = {
          senseKey: 0,
          additionalSense: 0,
          senseQualifier: 0,
          unitAttention: 1,
          locked: 0,
          ejected: 0,
        };
        for (const packet of packets) {
          if (packet[11]! & 1) packet[0] = common;
          const answer = answerPacket(packet, drive, medium);
          if (answer.kind === "data") expect(answer.bytes.length).toBeLessThanOrEqual(255);
          if (answer.kind === "read") expect(answer.block + answer.blocks).toBeLessThanOrEqual(medium.blocks);
        }
      },
    ),
  );
});

test("random register accesses and DMA tables harm nothing", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom(0x1f0, 0x1f1, 0x1f2, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x3f6, 0xc000, 0xc002, 0xc004),
          fc.oneof(fc.constantFrom(0xa0, 0xa1, 0x08, 0x28, 9, 1), fc.nat(255)),
          fc.boolean(),
        ),
        { maxLength: 200 },
      ),
      (accesses) => {
        const machine = new IdeMachine({ cdrom: true, sectors: 64 });
        for (const [port, value, isRead] of accesses) {
          if (isRead) machine.in(port, port === 0x1f0 ? 2 : 1);
          else machine.out(port, value, port === 0x1f0 ? 2 : 1);
          machine.context.advanceMicroseconds(value & 7);
        }
        machine.context.checkRedZones();
      },
    ),
    { numRuns: 300 },
  );
});

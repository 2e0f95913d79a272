/** The AHCI controller and its drive, driven by registers and memory as a driver does. AHCI 1.3.1; ATA8-ACS. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Storage } from "../../../../devices/ports.ts";
import { MemoryStorage } from "../../../../devices/storage/memory.ts";
import { AhciMachine, LIST, PORT0, RECEIVED, TABLES } from "../../../support/ahci-driver.ts";

const DATA = 0x40000;
const DHRS = 1 << 0;
const PSS = 1 << 1;
const SDBS = 1 << 3;
const OFS = 1 << 24;
const HBFS = 1 << 29;
const TFES = 1 << 30;

let m: AhciMachine;
beforeEach(() => {
  m = new AhciMachine();
  m.start();
});

const sector = (lba: number, count = 1): Buffer =>
  Buffer.from(m.contents.slice(lba * 512, (lba + count) * 512));
const ncq = (command: number, tag: number, lba: number, count: number, address: number, device = 0x40) =>
  ({
    command,
    feature: count,
    count: tag << 3,
    lba,
    device,
    regions: [[address, count * 512]],
  }) as const;

describe("discovery", () => {
  test("the function is ICH9's, and its capabilities say what it can do", () => {
    expect([m.ahci.pci.read(0, 4), m.ahci.pci.read(8, 4) >>> 8]).toEqual([0x29228086, 0x010601]);
    const cap = m.read(0);
    // Six ports, 32 slots, AHCI alone, command list override, queuing, 64-bit addresses.
    expect([
      cap & 0x1f,
      (cap >> 8) & 0x1f,
      (cap >>> 18) & 1,
      (cap >>> 24) & 1,
      (cap >>> 30) & 1,
      cap >>> 31,
    ]).toEqual([5, 31, 1, 1, 1, 1]);
    expect([m.read(0x0c), m.read(0x10)]).toEqual([0x3f, 0x00010301]);
  });

  test("a port with a drive comes up with its signature, an empty one does not", () => {
    expect([m.port(0x28), m.port(0x24), m.port(0x20)]).toEqual([0x123, 0x101, 0x150]);
    // The signature's frame lies with the received ones.
    expect([...m.bytes(RECEIVED + 0x40, 13)]).toEqual([0x34, 0, 0x50, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    const empty = PORT0 + 0x80;
    expect([m.read(empty + 0x28), m.read(empty + 0x24), m.read(empty + 0x20)]).toEqual([0, 0xffffffff, 0x7f]);
  });

  test("the signature waits until frames are received", () => {
    const fresh = new AhciMachine();
    fresh.context.settle();
    expect([fresh.port(0x20), fresh.port(0x24)]).toEqual([0x80, 0xffffffff]);
    fresh.setPort(0x08, RECEIVED);
    fresh.setPort(0x18, 0x10);
    expect([fresh.port(0x20), fresh.port(0x24)]).toEqual([0x150, 0x101]);
  });

  test("IDENTIFY DEVICE", () => {
    const { is, tfd } = m.run({ command: 0xec, regions: [[DATA, 512]] });
    expect([is & PSS, tfd & 0xff, m.prdbc(0)]).toEqual([PSS, 0x50, 512]);
    const words = new Uint16Array(m.memory.bytes.buffer, DATA, 256);
    // Sectors, queue depth, generations and queuing, TRIM, not rotating, logging.
    expect([words[100], words[75], words[76], words[169], words[217], words[84]! & 0x20]).toEqual([
      512, 31, 0x106, 1, 1, 0x20,
    ]);
    expect(m.bytes(DATA, 512).reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    // The PIO setup frame: device to host, with the interrupt bit, and the final status.
    const setup = m.bytes(RECEIVED + 0x20, 18);
    expect([setup[0], setup[1], setup[15], setup.readUInt16LE(16)]).toEqual([0x5f, 0x60, 0x50, 512]);
  });
});

describe("data", () => {
  test.each([
    ["READ DMA", 0x25, DHRS],
    ["READ DMA (28 bits)", 0xc8, DHRS],
    ["READ SECTORS EXT", 0x24, PSS],
  ])("%s into scattered memory", (_, command, interrupt) => {
    const { is, tfd } = m.run({
      command,
      count: 3,
      lba: 7,
      regions: [
        [DATA, 100],
        [DATA + 0x1000, 1024],
        [DATA + 0x3000, 412],
      ],
    });
    expect([is & interrupt, tfd & 0xff, m.port(0x38), m.prdbc(0)]).toEqual([interrupt, 0x50, 0, 1536]);
    const parts = [m.bytes(DATA, 100), m.bytes(DATA + 0x1000, 1024), m.bytes(DATA + 0x3000, 412)];
    expect(Buffer.concat(parts).equals(sector(7, 3))).toBe(true);
  });

  test.each([0x35, 0x3d, 0xca, 0x34])("write by command %i", (command) => {
    m.memory.bytes.fill(0x5a, DATA, DATA + 1024);
    const { is, tfd } = m.run({ command, count: 2, lba: 9, regions: [[DATA, 1024]] });
    expect([is & DHRS, tfd & 0xff]).toEqual([DHRS, 0x50]);
    expect(sector(9, 2).every((byte) => byte === 0x5a)).toBe(true);
    expect(sector(11)[0]).toBe(11);
  });

  test("READ and WRITE MULTIPLE want the mode set first", () => {
    const read = { command: 0xc4, count: 2, lba: 4, regions: [[DATA, 1024]] } as const;
    expect(m.run(read).tfd).toBe(0x0451);
    m.setPort(0x18, 0x10);
    m.setPort(0x18, 0x11);
    expect(m.run({ command: 0xc6, count: 8 }).tfd & 0xff).toBe(0x50);
    expect(m.run(read).tfd & 0xff).toBe(0x50);
    expect(m.bytes(DATA, 1024).equals(sector(4, 2))).toBe(true);
  });

  test("cylinder, head and sector still address a sector", () => {
    // Cylinder 0, head 1, sector 2 of 63 a track: sector 64.
    m.run({ command: 0xc8, count: 1, lba: 2, device: 0x01, regions: [[DATA, 512]] });
    expect(m.bytes(DATA, 512).equals(sector(64))).toBe(true);
  });

  test("TRIM, flush, verify and settings", () => {
    const view = new DataView(m.memory.bytes.buffer, DATA, 512);
    m.memory.bytes.fill(0, DATA, DATA + 512);
    view.setUint32(0, 20, true);
    view.setUint16(6, 2, true);
    expect(m.run({ command: 0x06, feature: 1, count: 1, regions: [[DATA, 512]] }).tfd & 0xff).toBe(0x50);
    expect(sector(20, 2).every((byte) => byte === 0)).toBe(true);
    expect(sector(22)[0]).toBe(22);
    expect(m.run({ command: 0xea }).tfd & 0xff).toBe(0x50);
    expect(m.run({ command: 0x42, count: 3, lba: 5 }).tfd & 0xff).toBe(0x50);
    expect(m.run({ command: 0xef, feature: 3, count: 0x45 }).tfd & 0xff).toBe(0x50);
    m.run({ command: 0xe5 });
    expect(m.bytes(RECEIVED + 0x40, 13)[12]).toBe(0xff);
  });

  test("commands are sent one at a time, in turn", () => {
    const order: number[] = [];
    m = new AhciMachine({ service: (_, lba) => (order.push(lba), 1000) });
    m.start();
    for (const slot of [3, 1, 30])
      m.put(slot, { command: 0x25, count: 1, lba: slot, regions: [[DATA, 512]] });
    m.issue(3, 1, 30);
    expect([order, m.port(0x20) & 0x80]).toEqual([[1], 0x80]);
    m.context.settle();
    expect([order, m.port(0x38)]).toEqual([[1, 3, 30], 0]);
  });
});

describe("native command queuing", () => {
  test("commands end in the order of the disk, each with its bit", () => {
    m = new AhciMachine({ service: (_, lba) => 10_000 - lba });
    m.start();
    m.put(0, ncq(0x60, 0, 10, 1, DATA));
    m.put(5, ncq(0x60, 5, 400, 2, DATA + 0x1000));
    m.issueQueued(0, 5);
    // Both are with the drive, which is not busy.
    expect([m.port(0x38), m.port(0x34), m.port(0x20) & 0x88]).toEqual([0, 0x21, 0]);
    m.context.advance(9_700);
    expect([m.port(0x34), m.port(0x10) & SDBS]).toEqual([0x01, SDBS]);
    m.context.settle();
    expect(m.port(0x34)).toBe(0);
    expect(m.bytes(DATA, 512).equals(sector(10))).toBe(true);
    expect(m.bytes(DATA + 0x1000, 1024).equals(sector(400, 2))).toBe(true);
    // The DMA setup frame of the last one, and its set device bits frame.
    expect([m.bytes(RECEIVED, 5)[0], m.bytes(RECEIVED, 5)[4]]).toEqual([0x41, 0]);
    expect([...m.bytes(RECEIVED + 0x58, 8)]).toEqual([0xa1, 0x40, 0x50, 0, 1, 0, 0, 0]);
  });

  test("writes, with FUA as well", () => {
    const flushed: string[] = [];
    m = new AhciMachine({ service: (operation) => (flushed.push(operation), 1000) });
    m.start();
    m.memory.bytes.fill(0x77, DATA, DATA + 512);
    m.put(31, ncq(0x61, 31, 3, 1, DATA, 0xc0));
    m.issueQueued(31);
    m.context.settle();
    expect([m.port(0x34), flushed]).toEqual([0, ["write", "flush"]]);
    expect(sector(3).every((byte) => byte === 0x77)).toBe(true);
  });

  test("an error stops the queue; the log says whose it was, and reading it gets the drive out of it", () => {
    const bad: Storage = Object.assign(Object.create(new MemoryStorage(m.contents)) as Storage, {
      sectors: 512,
      readOnly: false,
      serial: "BAD",
      read: (lba: number, into: Uint8Array) => (lba === 50 ? "io-error" : (into.fill(1), "ok")),
    });
    m = new AhciMachine({ storage: bad, service: (_, lba) => lba });
    m.start();
    m.put(2, ncq(0x60, 2, 50, 1, DATA));
    m.put(4, ncq(0x60, 4, 90, 1, DATA));
    m.issueQueued(2, 4);
    m.context.settle();
    expect([m.port(0x10) & TFES, m.port(0x20), m.port(0x34)]).toEqual([TFES, 0x4051, 0x14]);
    // The driver starts the list again: PxCI and PxSACT are cleared; the drive still wants its log read.
    m.setPort(0x18, 0x10);
    m.setPort(0x10, 0xffffffff);
    expect([m.port(0x34), m.port(0x38)]).toEqual([0, 0]);
    m.setPort(0x18, 0x11);
    expect(m.run({ command: 0xea }).tfd).toBe(0x0451);
    m.setPort(0x18, 0x10);
    m.setPort(0x18, 0x11);
    expect(m.run({ command: 0x2f, count: 1, lba: 0x10, regions: [[DATA, 512]] }).tfd & 0xff).toBe(0x50);
    const log = m.bytes(DATA, 512);
    expect([log[0], log[2], log[3], log[4], log[7]]).toEqual([2, 0x51, 0x40, 50, 0x40]);
    expect(log.reduce((sum, byte) => sum + byte, 0) & 0xff).toBe(0);
    expect(m.run({ command: 0xea }).tfd & 0xff).toBe(0x50);
  });

  test("a command that is not queued aborts the queue", () => {
    m.put(0, ncq(0x60, 0, 10, 1, DATA));
    m.put(1, { command: 0xea });
    m.issueQueued(0);
    m.issue(1);
    m.context.settle();
    expect([m.port(0x10) & TFES, m.port(0x20), m.port(0x34)]).toEqual([TFES, 0x0451, 1]);
  });

  test("a tag that is not the slot's is refused", () => {
    m.put(3, ncq(0x60, 4, 10, 1, DATA));
    m.issueQueued(3);
    m.context.settle();
    expect(m.port(0x20)).toBe(0x0451);
  });
});

describe("errors", () => {
  test.each([
    ["beyond the disk", { command: 0x25, count: 1, lba: 512 }, 0x1051],
    ["an unknown command", { command: 0xb0 }, 0x0451],
    ["a packet command", { command: 0xa1 }, 0x0451],
  ])("%s stops the list until PxCMD.ST is cleared", (_, command, tfd) => {
    expect(m.run({ ...command, regions: [[DATA, 512]] }).tfd).toBe(tfd);
    expect(m.port(0x38)).toBe(1);
    m.put(1, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(1);
    m.context.settle();
    expect(m.port(0x38)).toBe(3);
    m.setPort(0x18, 0x10);
    m.setPort(0x18, 0x11);
    expect(m.port(0x38)).toBe(0);
    expect(m.run({ command: 0xec, regions: [[DATA, 512]] }).tfd & 0xff).toBe(0x50);
  });

  test("a read-only disk refuses writes", () => {
    m = new AhciMachine({ storage: new MemoryStorage(m.contents, { readOnly: true }) });
    m.start();
    expect(m.run({ command: 0x35, count: 1, lba: 0, regions: [[DATA, 512]] }).tfd).toBe(0x4451);
  });

  test.each([
    ["a table that is too short", [[DATA, 256]], OFS],
    ["a region outside RAM", [[0xfffff000, 512]], HBFS],
  ] as const)("%s", (_, regions, cause) => {
    m.put(0, { command: 0x25, count: 1, lba: 1, regions });
    m.issue(0);
    m.context.settle();
    expect([m.port(0x10) & cause, m.port(0x38)]).toEqual([cause, 1]);
    // The drive is still busy with it: COMRESET is the way out.
    expect(m.port(0x20) & 0x80).toBe(0x80);
    m.setPort(0x18, 0x10);
    m.setPort(0x2c, 0x301);
    m.setPort(0x2c, 0x300);
    m.context.settle();
    expect([m.port(0x28), m.port(0x20)]).toEqual([0x123, 0x150]);
    expect(m.port(0x30)).toBe((1 << 26) | (1 << 16));
  });

  test("command list override frees a port that a stopped command left busy", () => {
    m.put(0, { command: 0x25, count: 1, lba: 1, regions: [[DATA, 512]] });
    m.issue(0);
    m.setPort(0x18, 0x10);
    m.context.settle();
    expect(m.port(0x20) & 0x80).toBe(0x80);
    m.setPort(0x18, 0x18);
    expect([m.port(0x20) & 0x88, m.port(0x18) & 8]).toEqual([0, 0]);
  });

  test.each([
    ["a command list outside RAM", 0x00, 0xf0000000, HBFS],
    ["received frames outside RAM", 0x08, 0xf0000000, HBFS],
  ])("%s", (_, register, address, cause) => {
    m.setPort(0x18, 0);
    m.setPort(register, address);
    m.setPort(0x18, 0x10);
    m.setPort(0x18, 0x11);
    m.put(0, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(0);
    m.context.settle();
    expect(m.port(0x10) & cause).toBe(cause);
  });

  test("without bus mastering nothing is sent; with it, what waits is", () => {
    m.ahci.pci.write(4, 2, 2);
    m.put(0, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(0);
    m.context.settle();
    expect([m.port(0x38), m.port(0x20) & 0x80]).toEqual([1, 0]);
    m.ahci.pci.write(4, 2, 6);
    m.context.settle();
    expect(m.port(0x38)).toBe(0);
  });
});

describe("resets", () => {
  test("software reset: SRST set with the clear-busy flag, then cleared, then the signature", () => {
    m.put(0, { command: 0, isCommand: false, control: 4, flags: 0x500 });
    m.issue(0);
    expect(m.port(0x38)).toBe(0);
    m.put(1, { command: 0, isCommand: false, control: 0 });
    m.issue(1);
    expect([m.port(0x38), m.port(0x20) & 0x80]).toEqual([2, 0x80]);
    m.context.settle();
    expect([m.port(0x38), m.port(0x20), m.port(0x24)]).toEqual([0, 0x150, 0x101]);
  });

  test("HBA reset puts all back but the memory's addresses", () => {
    m.put(0, { command: 0x25, count: 1, lba: 1, regions: [[DATA, 512]] });
    m.issue(0);
    m.write(0x04, 0x80000001);
    expect([m.read(0x04), m.port(0x18), m.port(0x38), m.port(0x14)]).toEqual([0x80000000, 6, 0, 0]);
    expect([m.port(0x00), m.port(0x08)]).toEqual([LIST, RECEIVED]);
    m.memory.bytes.fill(0xee, DATA, DATA + 512);
    m.context.settle();
    expect(m.memory.bytes[DATA]).toBe(0xee);
    m.start();
    expect(m.run({ command: 0xec, regions: [[DATA, 512]] }).tfd & 0xff).toBe(0x50);
  });

  test("off line there is no drive", () => {
    m.setPort(0x18, 0);
    m.setPort(0x2c, 4);
    expect([m.port(0x28), m.port(0x20), m.port(0x24)]).toEqual([4, 0x7f, 0xffffffff]);
    m.setPort(0x2c, 1);
    m.setPort(0x2c, 0);
    expect(m.port(0x28)).toBe(0x123);
  });
});

describe("interrupts", () => {
  test("INTA# is a level: it falls when port and controller have been acknowledged", () => {
    m.put(0, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(0);
    m.context.settle();
    expect([m.line.level, m.read(0x08), m.ahci.pci.read(6, 1) & 8]).toEqual([true, 1, 8]);
    // Acknowledging the controller alone does nothing: the port still asks.
    m.write(0x08, 1);
    expect([m.line.level, m.read(0x08)]).toEqual([true, 1]);
    m.setPort(0x10, m.port(0x10));
    m.write(0x08, 1);
    expect([m.line.level, m.read(0x08)]).toEqual([false, 0]);
  });

  test("masks: of the port, and of the controller", () => {
    m.setPort(0x14, 0);
    m.run({ command: 0xec, regions: [[DATA, 512]] });
    expect([m.line.rises, m.read(0x08)]).toEqual([0, 0]);
    m.setPort(0x14, PSS);
    m.write(0x04, 0x80000000);
    m.put(0, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(0);
    m.context.settle();
    expect([m.line.level, m.read(0x08)]).toEqual([false, 1]);
    m.write(0x04, 0x80000002);
    expect(m.line.level).toBe(true);
  });

  test("a message for each, and again for what an acknowledgement left", () => {
    m.enableMsi();
    m.put(0, { command: 0xec, regions: [[DATA, 512]] });
    m.issue(0);
    m.context.settle();
    expect([m.messages.sent, m.line.level]).toEqual([[{ address: 0xfee00000, data: 0x55 }], false]);
    // The controller's bit is acknowledged too early: the port's is still set, so a second message follows.
    m.write(0x08, 1);
    expect(m.messages.sent).toHaveLength(2);
    m.setPort(0x10, m.port(0x10));
    m.write(0x08, 1);
    expect(m.messages.sent).toHaveLength(2);
  });

  test("link changes show in PxIS until PxSERR is cleared", () => {
    const fresh = new AhciMachine();
    expect(fresh.port(0x10)).toBe((1 << 6) | (1 << 22));
    fresh.setPort(0x10, 0xffffffff);
    expect(fresh.port(0x10)).toBe((1 << 6) | (1 << 22));
    fresh.setPort(0x30, 1 << 26);
    expect(fresh.port(0x10)).toBe(1 << 22);
  });
});

test("narrow accesses: bytes and words of registers", () => {
  expect([m.read(0x10, 2), m.read(0x12, 1), m.read(0x13, 1)]).toEqual([0x0301, 1, 0]);
  m.write(PORT0 + 0x15, 0x00, 1);
  expect(m.port(0x14)).toBe(0x7dc000ff & ~0xff00);
});

test("a command table that changes while the command runs changes the regions alone", () => {
  m.put(0, { command: 0x25, count: 1, lba: 6, regions: [[DATA, 512]] });
  m.issue(0);
  // Another command over the first one's frame.
  m.memory.bytes.set([0x27, 0x80, 0x35, 0, 100], TABLES);
  m.context.settle();
  expect(m.bytes(DATA, 512).equals(sector(6))).toBe(true);
});

import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { checksum } from "../../../../devices/net/checksum.ts";
import { crc32 } from "../../../../devices/net/crc32.ts";
import * as spec from "../../../../devices/net/e1000/spec.ts";
import { be16, be32, putBe16 } from "../../../../devices/net/ethernet.ts";
import {
  E1000Machine,
  ENTRIES,
  RX_BUFFERS,
  RX_RING,
  TX_BUFFERS,
  TX_RING,
} from "../../../support/e1000-machine.ts";
import { BROADCAST, MAC_A, MAC_B, frameOf, isSoundTcp4, tcpFrame } from "../../../support/network.ts";

let m: E1000Machine;
beforeEach(() => {
  m = new E1000Machine();
});

describe("identification", () => {
  test("configuration space, EEPROM through EERD and bit by bit, its checksum", () => {
    expect([m.card.pci.read(0, 4), m.card.pci.read(8, 4) >>> 8, m.card.pci.read(0x3d, 1)]).toEqual([
      0x100e8086, 0x020000, 1,
    ]);
    let sum = 0;
    for (let word = 0; word < 64; word++) {
      m.write(spec.EERD, (word << 8) | spec.EERD_START);
      const value = m.read(spec.EERD);
      expect(value & spec.EERD_DONE).toBe(spec.EERD_DONE);
      expect(m.readEeprom(word)).toBe(value >>> 16);
      sum += value >>> 16;
    }
    expect(sum & 0xffff).toBe(0xbaba);
    const mac = [0, 1, 2].flatMap((word) => [m.readEeprom(word) & 0xff, m.readEeprom(word) >> 8]);
    expect(mac).toEqual([...MAC_A]);
    expect([m.read(spec.RAL0), m.read(spec.RAL0 + 4)]).toEqual([0x00005452, 0x80000a00]);
  });

  test("the PHY: identifier, link, nobody at other addresses", () => {
    const mdic = (address: number, register: number, operation = 2, data = 0): number => {
      m.write(spec.MDIC, ((operation << 26) | (address << 21) | (register << 16) | data) >>> 0);
      return m.read(spec.MDIC);
    };
    expect([mdic(1, 2) & 0xffff, mdic(1, 3) & 0xfff0]).toEqual([0x0141, 0x0c20]);
    expect(mdic(1, 1) & 0x24).toBe(0x24);
    expect(mdic(2, 2) & spec.MDIC_ERROR).toBe(spec.MDIC_ERROR);
    mdic(1, 4, 1, 0x1234);
    expect(mdic(1, 4) & 0xffff).toBe(0x1234);
    m.link.setUp(false);
    expect([mdic(1, 1) & 0x24, m.read(spec.STATUS) & spec.STATUS_LU]).toEqual([0, 0]);
    expect(m.read(spec.ICR) & spec.ICR_LSC).toBe(spec.ICR_LSC);
  });

  test("the I/O window shows the same registers", () => {
    const io = m.card.pci.barBase(2)!;
    m.ports.write(io, 4, spec.RDBAL);
    m.ports.write(io + 4, 4, 0x12345670);
    expect([m.read(spec.RDBAL), m.ports.read(io + 4, 4)]).toEqual([0x12345670, 0x12345670]);
  });

  test("a reset by CTRL.RST puts registers back", () => {
    m.start();
    m.write(spec.IMS, 0xff);
    m.write(spec.CTRL, spec.CTRL_RST);
    expect([
      m.read(spec.RCTL),
      m.read(spec.IMS),
      m.read(spec.RDLEN),
      m.read(spec.CTRL) & spec.CTRL_RST,
    ]).toEqual([0, 0, 0, 0]);
    expect(m.read(spec.RAL0 + 4)).toBe(0x80000a00);
  });
});

describe("sending", () => {
  test("a legacy descriptor: the frame, padded; status; interrupt", () => {
    m.start();
    m.write(spec.IMS, spec.ICR_TXDW);
    const status = m.sendLegacy(frameOf(MAC_B, MAC_A, 42));
    expect(m.medium.frames.map(({ bytes }) => bytes.length)).toEqual([60]);
    expect([m.memory.bytes[status]! & 1, m.line.level]).toEqual([1, true]);
    expect(m.read(spec.ICR) & (spec.ICR_TXDW | spec.ICR_TXQE)).toBe(3);
    expect([m.line.level, m.read(spec.TDH), m.read(spec.GPTC), m.read(spec.GPTC)]).toEqual([false, 1, 1, 0]);
  });

  test("a frame in several descriptors, some of which come later", () => {
    m.start();
    const frame = frameOf(MAC_B, MAC_A, 300);
    m.memory.bytes.set(frame, TX_BUFFERS);
    m.put(TX_BUFFERS, 0, 100, 0);
    m.kick();
    expect(m.medium.frames).toEqual([]);
    m.put(TX_BUFFERS + 100, 0, 200 | (spec.TXD_EOP << 24), 0);
    m.kick();
    expect(Buffer.from(m.medium.frames[0]!.bytes).equals(Buffer.from(frame))).toBe(true);
  });

  test("a packet longer than any may be is dropped whole, and the next one goes", () => {
    m.start();
    // Five descriptors of 16,383 bytes are more than 64 KiB.
    for (let i = 0; i < 5; i++) m.put(TX_BUFFERS, 0, 0x3fff | (i === 4 ? spec.TXD_EOP << 24 : 0), 0);
    m.kick();
    expect([m.medium.frames, m.read(spec.TDH), m.read(spec.GPTC)]).toEqual([[], 5, 0]);
    m.sendLegacy(frameOf(MAC_B, MAC_A, 100));
    expect(m.medium.frames.map(({ bytes }) => bytes.length)).toEqual([100]);
  });

  test("checksums by a legacy descriptor and by a context", () => {
    m.start();
    const { frame } = tcpFrame(new Uint8Array(101).fill(3));
    m.sendLegacy(frame, spec.TXD_EOP | spec.TXD_IC, 34, 50);
    putBe16(frame, 24, 0);
    m.memory.bytes.set(frame, TX_BUFFERS + 0x1000);
    m.put(
      14 | (24 << 8) | (33 << 16),
      34 | (50 << 8),
      (spec.TXD_DEXT | spec.TUCMD_IP | spec.TUCMD_TCP) << 24,
      0,
    );
    m.put(
      TX_BUFFERS + 0x1000,
      0,
      frame.length | (1 << 20) | ((spec.TXD_DEXT | spec.TXD_EOP) << 24),
      (spec.POPTS_IXSM | spec.POPTS_TXSM) << 8,
    );
    m.kick();
    expect(m.medium.frames.map(({ bytes }) => isSoundTcp4(bytes))).toEqual([true, true]);
  });

  test("TCP segmentation: sound segments that are the whole", () => {
    fc.assert(
      fc.property(fc.integer({ min: 32, max: 2000 }), fc.integer({ min: 1, max: 60_000 }), (mss, length) => {
        m = new E1000Machine();
        m.start();
        const data = Uint8Array.from({ length }, (_, i) => i * 5);
        const { frame } = tcpFrame(data);
        // What a driver leaves: no lengths, a pseudo-header's sum without the length.
        putBe16(frame, 16, 0);
        putBe16(frame, 24, 0);
        const sum = be16(frame, 50) - (20 + length);
        putBe16(frame, 50, sum < 0 ? sum + 0xffff : sum);
        m.memory.bytes.set(frame, TX_BUFFERS);
        const command = spec.TXD_DEXT | spec.TXD_TSE | spec.TUCMD_IP | spec.TUCMD_TCP;
        m.put(14 | (24 << 8) | (33 << 16), 34 | (50 << 8), length | (command << 24), (54 << 8) | (mss << 16));
        m.put(
          TX_BUFFERS,
          0,
          frame.length | (1 << 20) | ((spec.TXD_DEXT | spec.TXD_TSE | spec.TXD_EOP) << 24),
          3 << 8,
        );
        m.kick();
        const segments = m.medium.frames.map(({ bytes }) => bytes.subarray(0, 14 + be16(bytes, 16)));
        expect(segments).toHaveLength(Math.ceil(length / mss));
        expect(segments.every(isSoundTcp4)).toBe(true);
        expect(Buffer.concat(segments.map((bytes) => bytes.subarray(54))).equals(Buffer.from(data))).toBe(
          true,
        );
        expect(segments.map((bytes) => bytes[47])).toEqual(
          segments.map((_, i) => (i === segments.length - 1 ? 0x19 : 0x10)),
        );
        expect(segments.map((bytes) => be32(bytes, 38))).toEqual(
          segments.map((_, i) => (0xfffffff0 + i * mss) >>> 0),
        );
      }),
      { numRuns: 30 },
    );
  });

  test("a VLAN tag is put in where the descriptor and CTRL.VME say so", () => {
    m.start();
    m.write(spec.CTRL, m.read(spec.CTRL) | spec.CTRL_VME);
    const frame = frameOf(MAC_B, MAC_A, 100);
    m.sendLegacy(frame, spec.TXD_EOP | spec.TXD_VLE, 0, 0, 0x2064);
    const { bytes } = m.medium.frames[0]!;
    expect([bytes.length, be16(bytes, 12), be16(bytes, 14), be16(bytes, 16)]).toEqual([
      104, 0x8100, 0x2064, 0x88b5,
    ]);
    expect(bytes.subarray(16)).toEqual(frame.subarray(12));
  });

  test("loopback inside the MAC", () => {
    m.start(spec.RCTL_LBM_MAC | spec.RCTL_UPE);
    m.sendLegacy(frameOf(MAC_B, MAC_A, 80));
    expect(m.medium.frames).toEqual([]);
    expect(m.received(0).length).toBe(84);
  });
});

describe("receiving", () => {
  test("a frame with its check sequence, padded; status, interrupt, counters", () => {
    m.start();
    m.write(spec.IMS, spec.ICR_RXT0);
    const frame = frameOf(MAC_A, MAC_B, 50);
    m.deliver(frame);
    expect(m.received(0)).toMatchObject({
      length: 64,
      status: spec.RXD_DD | spec.RXD_EOP | spec.RXD_IXSM,
      errors: 0,
    });
    const stored = m.memory.bytes.slice(RX_BUFFERS, RX_BUFFERS + 64);
    expect(stored.subarray(0, 50)).toEqual(frame);
    expect(new DataView(stored.buffer).getUint32(60, true)).toBe(crc32(stored.subarray(0, 60)));
    expect([m.line.level, m.read(spec.RDH), m.read(spec.GPRC), m.read(spec.TORL)]).toEqual([true, 1, 1, 64]);
  });

  test("a long frame takes several buffers, where long packets are allowed", () => {
    m.start(spec.RCTL_LPE | spec.RCTL_SECRC);
    const frame = frameOf(MAC_A, MAC_B, 5000);
    m.deliver(frame);
    expect([0, 1, 2].map((i) => [m.received(i).length, m.received(i).status & 3])).toEqual([
      [2048, 1],
      [2048, 1],
      [904, 3],
    ]);
    expect(
      Buffer.from(m.memory.bytes.subarray(RX_BUFFERS, RX_BUFFERS + 5000)).equals(Buffer.from(frame)),
    ).toBe(true);
    m.start(0);
    m.deliver(frame);
    expect([m.read(spec.ROC), m.read(spec.RDH)]).toEqual([1, 0]);
  });

  test("frames wait for descriptors", () => {
    m.start();
    for (let i = 0; i < ENTRIES + 4; i++) m.deliver(frameOf(MAC_A, MAC_B, 60, 0x88b5, i));
    expect([m.read(spec.RDH), m.read(spec.GPRC), m.read(spec.RNBC) > 0]).toEqual([
      ENTRIES - 1,
      ENTRIES - 1,
      true,
    ]);
    m.write(spec.RDT, 3);
    expect([m.read(spec.RDH), m.read(spec.GPRC)]).toEqual([3, 4]);
  });

  test("filters: own address, broadcast, multicast table, promiscuous modes, VLANs", () => {
    const passes = (
      rctl: number,
      to: readonly number[] | Uint8Array,
      change = (): void => undefined,
    ): boolean => {
      m = new E1000Machine();
      m.start(rctl);
      change();
      m.deliver(frameOf(Uint8Array.from(to), MAC_B, 64));
      return m.read(spec.GPRC) === 1;
    };
    const group = [1, 0, 0x5e, 0, 0x12, 0x34];
    expect([passes(0, MAC_A), passes(0, MAC_B), passes(spec.RCTL_UPE, MAC_B)]).toEqual([true, false, true]);
    expect([passes(0, BROADCAST), passes(spec.RCTL_BAM, BROADCAST)]).toEqual([false, true]);
    expect([passes(0, group), passes(spec.RCTL_MPE, group)]).toEqual([false, true]);
    // MO = 0: bits 47:36 of the address.
    const hash = ((0x34 << 8) | 0x12) >> 4;
    expect(passes(0, group, () => m.write(spec.MTA + 4 * ((hash >> 5) & 127), 1 << (hash & 31)))).toBe(true);
    const second = (): void => {
      m.write(spec.RAL0 + 8, 0x00005452);
      m.write(spec.RAL0 + 12, 0x80000b00);
    };
    expect(passes(0, MAC_B, second)).toBe(true);
    const tagged = (allowed: number): number => {
      m = new E1000Machine();
      m.start(spec.RCTL_VFE);
      m.write(spec.CTRL, m.read(spec.CTRL) | spec.CTRL_VME);
      m.write(spec.VFTA + 4 * (allowed >> 5), 1 << (allowed & 31));
      const frame = frameOf(MAC_A, MAC_B, 100, 0x8100);
      putBe16(frame, 14, 0x6064);
      m.deliver(frame);
      return m.read(spec.GPRC);
    };
    expect([
      tagged(100),
      m.received(0).tag,
      m.received(0).status & spec.RXD_VP,
      m.received(0).length,
    ]).toEqual([1, 0x6064, 8, 100]);
    expect(tagged(101)).toBe(0);
  });

  test("checksums are looked at as RXCSUM says", () => {
    m.start();
    m.write(spec.RXCSUM, spec.RXCSUM_IPOFL | spec.RXCSUM_TUOFL | 14);
    const { frame } = tcpFrame(new Uint8Array(99).fill(7), { to: MAC_A, from: MAC_B });
    putBe16(frame, 50, checksum(frame, 34, frame.length));
    m.deliver(frame);
    frame[60]! ^= 1;
    m.deliver(frame);
    frame[22]! ^= 1;
    m.deliver(frame);
    expect([0, 1, 2].map((i) => [m.received(i).status & 0x64, m.received(i).errors])).toEqual([
      [0x60, 0],
      [0x60, spec.RXD_TCPE],
      [0x60, spec.RXD_TCPE | spec.RXD_IPE],
    ]);
    expect(m.received(0).sum).not.toBe(0);
  });
});

describe("interrupt moderation", () => {
  test("ITR keeps interrupts apart", () => {
    m.start();
    m.write(spec.ITR, 1000); // 256 µs
    m.write(spec.IMS, spec.ICR_TXDW);
    m.context.advanceMicroseconds(10);
    m.sendLegacy(frameOf(MAC_B, MAC_A, 60));
    m.read(spec.ICR);
    m.sendLegacy(frameOf(MAC_B, MAC_A, 60));
    expect([m.line.rises, m.line.level]).toEqual([1, false]);
    m.context.advanceMicroseconds(255);
    expect(m.line.level).toBe(false);
    m.context.advanceMicroseconds(2);
    expect(m.line.level).toBe(true);
  });

  test("RDTR waits for more frames, RADV not for ever", () => {
    m.start();
    m.write(spec.RDTR, 100); // 102.4 µs
    m.write(spec.RADV, 150); // 153.6 µs
    m.write(spec.IMS, spec.ICR_RXT0);
    const at = (microseconds: number): boolean => {
      m.context.advanceTo(microseconds * 1000);
      return m.line.level;
    };
    at(10);
    m.deliverNow(frameOf(MAC_A, MAC_B, 60));
    expect(at(100)).toBe(false);
    m.deliverNow(frameOf(MAC_A, MAC_B, 60));
    expect([at(160), at(165)]).toEqual([false, true]);
  });

  test("transmit interrupts are delayed where the descriptor says so; a flush ends the delay", () => {
    m.start();
    m.write(spec.TIDV, 100);
    m.write(spec.IMS, spec.ICR_TXDW);
    m.sendLegacy(frameOf(MAC_B, MAC_A, 60), spec.TXD_EOP | spec.TXD_RS | spec.TXD_IDE);
    expect(m.line.level).toBe(false);
    m.write(spec.TIDV, (100 | spec.FLUSH) >>> 0);
    expect(m.line.level).toBe(true);
  });
});

describe("hostile guests", () => {
  const register = fc.oneof(
    fc.constantFrom(
      spec.CTRL, spec.EECD, spec.EERD, spec.MDIC, spec.ICR, spec.ITR, spec.ICS, spec.IMS, spec.IMC, spec.RCTL, spec.TCTL,
      spec.RDBAL, spec.RDBAH, spec.RDLEN, spec.RDH, spec.RDT, spec.RDTR, spec.RADV, spec.TDBAL, spec.TDLEN, spec.TDH,
      spec.TDT, spec.TIDV, spec.TADV, spec.TXDCTL, spec.RXCSUM, spec.VET,
    ),
    fc.nat(spec.REGISTER_BYTES / 4 - 1).map((word) => 4 * word),
  ); // prettier-ignore
  const value = fc.oneof(
    fc.constantFrom(
      0,
      1,
      2,
      15,
      16,
      0x80,
      0x100,
      0x1000,
      0xffff,
      0xfff80,
      0xffffffff,
      RX_RING,
      TX_RING,
      0x40040000,
    ),
    fc.nat(0xffffffff),
  );

  test("no sequence of register accesses, frames and time throws, hangs or leaves the device's state", () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(
          fc.oneof(
            { weight: 8, arbitrary: fc.record({ kind: fc.constant("write" as const), at: register, value }) },
            { weight: 2, arbitrary: fc.record({ kind: fc.constant("read" as const), at: register, value }) },
            {
              weight: 1,
              arbitrary: fc.record({ kind: fc.constant("frame" as const), at: fc.nat(3000), value }),
            },
            {
              weight: 1,
              arbitrary: fc.record({ kind: fc.constant("time" as const), at: fc.nat(1_000_000), value }),
            },
          ),
          { maxLength: 60 },
        ),
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        (isStarted, steps, descriptors) => {
          m = new E1000Machine();
          m.memory.bytes.set(descriptors, TX_RING);
          if (isStarted) m.start(spec.RCTL_UPE);
          for (const step of steps)
            if (step.kind === "write") m.write(step.at, step.value);
            else if (step.kind === "read") m.read(step.at);
            else if (step.kind === "time") m.context.advance(step.at);
            else m.deliverNow(frameOf(MAC_A, MAC_B, 14 + step.at, step.value & 0xffff));
          m.context.advance(10_000_000);
          m.context.checkRedZones();
          m.write(spec.CTRL, spec.CTRL_RST);
          m.start();
          m.medium.frames.length = 0;
          m.sendLegacy(frameOf(MAC_B, MAC_A, 60));
          // In PHY loopback, which survives a reset of the MAC, nothing is sent.
          expect(m.medium.frames.length).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("random transmit descriptors: what is sent is a frame, and memory is not written but for status", () => {
    const word = fc.oneof(fc.constantFrom(0, TX_BUFFERS, 0x200, 0xffffffff), fc.nat(0xffffffff));
    const third = fc
      .tuple(fc.oneof(fc.nat(3000), fc.nat(0xfffff)), fc.constantFrom(0, 1, 2), fc.nat(0xff))
      .map(([length, type, command]) => (length | (type << 20) | (command << 24)) >>> 0);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(word, fc.constantFrom(0, 0, 0, 1), third, word), { maxLength: 15 }),
        (list) => {
          m = new E1000Machine();
          m.start();
          for (const [low, high, length, last] of list) m.put(low, high, length, last);
          const before = m.memory.bytes.slice();
          m.kick();
          m.context.advance(1_000_000);
          m.context.checkRedZones();
          for (const { bytes } of m.medium.frames) {
            expect(bytes.length).toBeGreaterThanOrEqual(14);
            expect(bytes.length).toBeLessThanOrEqual(65553);
          }
          before.fill(0, TX_RING, TX_RING + 16 * ENTRIES);
          m.memory.bytes.fill(0, TX_RING, TX_RING + 16 * ENTRIES);
          expect(Buffer.from(m.memory.bytes).equals(Buffer.from(before))).toBe(true);
        },
      ),
      { numRuns: 150 },
    );
  });
});

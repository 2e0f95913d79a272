import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ACK, FIN, PSH, RST, SYN, TcpConnection, type TcpSegment } from "../../../../devices/net/user/tcp.ts";

/** One end, what it did, and how full its reader lets its buffer get. */
class End {
  readonly tcp: TcpConnection;
  readonly received: Uint8Array[] = [];
  room = 1 << 17;
  isOpen = false;
  hasEnded = false;
  closed: "in order" | "reset" | undefined;
  sentCalls = 0;

  constructor(
    net: { now: number; send(from: End, segment: TcpSegment): void },
    initialSequence: number,
    segmentBytes = 1460,
  ) {
    this.tcp = new TcpConnection({
      initialSequence,
      segmentBytes,
      now: () => net.now,
      send: (segment) => net.send(this, { ...segment, data: segment.data.slice() }),
      receiveRoom: () => this.room,
      opened: () => (this.isOpen = true),
      data: (bytes) => this.received.push(bytes.slice()),
      ended: () => (this.hasEnded = true),
      sent: () => this.sentCalls++,
      closed: (isReset) => (this.closed = isReset ? "reset" : "in order"),
    });
  }
  get bytes(): Buffer {
    return Buffer.concat(this.received);
  }
}

/** Two ends and a network that loses, doubles and reorders, from one seeded generator. */
class Net {
  now = 1;
  readonly a: End;
  readonly b: End;
  readonly #queue: { readonly at: number; readonly to: End; readonly segment: TcpSegment }[] = [];
  readonly #loss: number;
  #random: number;
  resent = 0;
  readonly #seen = new Set<string>();

  constructor(options: { loss?: number; seed?: number; initial?: readonly [number, number] } = {}) {
    this.#loss = options.loss ?? 0;
    this.#random = (options.seed ?? 1) | 1;
    const [a, b] = options.initial ?? [1000, 2000];
    this.a = new End(this, a);
    this.b = new End(this, b, 1000);
  }

  /** One step of mulberry32. */
  #chance(): number {
    this.#random = (this.#random + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  send(from: End, segment: TcpSegment): void {
    // As the link does: what is longer than a segment goes as several.
    const size = from.tcp.segmentBytes;
    const { data, sequence } = segment;
    for (let at = 0; at < data.length || at === 0; at += size)
      this.#sendOne(from, {
        ...segment,
        sequence: (sequence + at) >>> 0,
        data: data.subarray(at, at + size),
      });
  }

  #sendOne(from: End, segment: TcpSegment): void {
    const to = from === this.a ? this.b : this.a;
    const key = `${from === this.a} ${segment.sequence}`;
    if (segment.data.length > 0 && this.#seen.has(key)) this.resent++;
    if (segment.data.length > 0) this.#seen.add(key);
    if (this.#chance() < this.#loss) return;
    const copies = this.#chance() < this.#loss / 2 ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const late = this.#chance() < this.#loss ? 0.005 : 0;
      this.#queue.push({ at: this.now + 0.001 + late, to, segment });
    }
  }

  /** Until nothing is to be done, or `seconds` have passed. */
  run(seconds = 600): void {
    const end = this.now + seconds;
    for (let steps = 0; ; steps++) {
      if (steps > 200_000) throw new Error("no end");
      let next = Infinity;
      let index = -1;
      this.#queue.forEach(({ at }, i) => {
        if (at < next) {
          next = at;
          index = i;
        }
      });
      const deadline = Math.min(this.a.tcp.deadline ?? Infinity, this.b.tcp.deadline ?? Infinity);
      if (Math.min(next, deadline) > end) return;
      if (next <= deadline) {
        const { to, segment } = this.#queue.splice(index, 1)[0]!;
        this.now = Math.max(this.now, next);
        if (to.tcp.state === "closed" && to.closed === undefined && (segment.flags & (SYN | ACK)) === SYN)
          to.tcp.accept(segment);
        else to.tcp.receive(segment);
      } else {
        this.now = Math.max(this.now, deadline);
        for (const { tcp } of [this.a, this.b]) tcp.expire(this.now);
      }
    }
  }
}

const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * seed + seed) & 0xff));

function exchange(net: Net, fromA: Buffer, fromB: Buffer): void {
  net.a.tcp.connect();
  net.a.tcp.write(fromA);
  net.run(100);
  net.b.tcp.write(fromB);
  net.a.tcp.end();
  net.b.tcp.end();
  net.run();
}

describe("a connection", () => {
  test("opens, moves data both ways, ends in order, and is forgotten", () => {
    const net = new Net();
    exchange(net, pattern(100_000, 1), pattern(50_000, 2));
    expect(net.b.bytes.equals(pattern(100_000, 1))).toBe(true);
    expect(net.a.bytes.equals(pattern(50_000, 2))).toBe(true);
    expect([net.a.hasEnded, net.b.hasEnded, net.a.closed, net.b.closed]).toEqual([
      true,
      true,
      "in order",
      "in order",
    ]);
    expect(net.resent).toBe(0);
  });

  test.each([
    [0.01, 1],
    [0.05, 2],
    [0.15, 3],
    [0.15, 4],
  ])("with %d lost, doubled and late (seed %i), all data arrive once and in order", (loss, seed) => {
    const net = new Net({ loss, seed, initial: [0xffffff00, 0xfffffff0] });
    exchange(net, pattern(200_000, seed), pattern(100_000, seed + 9));
    expect(net.b.bytes.equals(pattern(200_000, seed))).toBe(true);
    expect(net.a.bytes.equals(pattern(100_000, seed + 9))).toBe(true);
    expect(net.resent).toBeGreaterThan(0);
    // The very last acknowledgement may be among what is lost too often.
    if (loss < 0.1) expect([net.a.closed, net.b.closed]).toEqual(["in order", "in order"]);
  });

  test("any loss and any seed", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 30 }),
        fc.integer({ min: 0, max: 15 }),
        fc.nat(40_000),
        fc.nat(40_000),
        (seed, percent, up, down) => {
          const net = new Net({ loss: percent / 100, seed, initial: [seed * 4, -seed >>> 0] });
          exchange(net, pattern(up, 5), pattern(down, 6));
          expect(net.b.bytes.equals(pattern(up, 5))).toBe(true);
          expect(net.a.bytes.equals(pattern(down, 6))).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("back pressure: a reader that stops closes the window, and opens it again", () => {
    const net = new Net();
    net.a.tcp.connect();
    net.run(1);
    const full = 30_000;
    const b = net.b;
    b.room = full;
    const take = b.received.push.bind(b.received);
    b.received.push = (...pieces) => {
      b.room = Math.max(0, b.room - pieces.reduce((sum, piece) => sum + piece.length, 0));
      return take(...pieces);
    };
    net.a.tcp.write(pattern(200_000, 3));
    net.run(20);
    // What was promised before the reader stopped may still come.
    expect(b.bytes.length).toBeLessThan(180_000);
    expect(net.a.tcp.waiting).toBeGreaterThan(0);
    b.received.push = take;
    b.room = 1 << 17;
    b.tcp.roomMade();
    net.run(60);
    expect(b.bytes.equals(pattern(200_000, 3))).toBe(true);
    expect(net.a.tcp.waiting).toBe(0);
  });

  test("a peer that has gone is given up, in bounded time", () => {
    const net = new Net();
    net.a.tcp.connect();
    net.run(1);
    net.send = () => undefined;
    net.a.tcp.write(pattern(1000, 1));
    net.run(1000);
    expect(net.a.closed).toBe("reset");
    expect(net.a.tcp.deadline).toBeUndefined();
  });
});

describe("segments that nobody should send", () => {
  const segment = (fields: Partial<TcpSegment>): TcpSegment => ({
    sequence: 0,
    acknowledgement: 0,
    flags: ACK,
    window: 1000,
    options: new Uint8Array(0),
    data: new Uint8Array(0),
    ...fields,
  });

  test("a reset counts only at the edge of the window", () => {
    const net = new Net();
    net.a.tcp.connect();
    net.run(1);
    net.a.tcp.receive(segment({ flags: RST, sequence: 2001 + 5 }));
    net.a.tcp.receive(segment({ flags: RST, sequence: 5_000_000 }));
    expect(net.a.closed).toBeUndefined();
    net.a.tcp.receive(segment({ flags: RST, sequence: 2001 }));
    expect(net.a.closed).toBe("reset");
  });

  test("an acknowledgement of what was never sent moves nothing", () => {
    const net = new Net();
    net.a.tcp.connect();
    net.run(1);
    net.a.tcp.write(pattern(10, 1));
    net.a.tcp.receive(segment({ sequence: 2001, acknowledgement: 900_000 }));
    expect(net.a.tcp.waiting).toBe(10);
    net.run(1);
    expect(net.a.tcp.waiting).toBe(0);
  });

  test("no sequence of segments throws, delivers more than was promised, or keeps a closed connection busy", () => {
    const near = fc.oneof(fc.integer({ min: -70_000, max: 70_000 }), fc.integer());
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(
          fc.record({
            sequence: near,
            acknowledgement: near,
            flags: fc.oneof(fc.constantFrom(ACK, ACK | PSH, FIN | ACK, SYN, RST), fc.nat(0x3f)),
            window: fc.nat(0xffff),
            options: fc.uint8Array({ maxLength: 40 }),
            data: fc.uint8Array({ maxLength: 100 }),
            seconds: fc.nat(3),
          }),
          { maxLength: 60 },
        ),
        (isActive, segments) => {
          const net = new Net();
          net.send = () => undefined;
          if (isActive) net.a.tcp.connect();
          else
            net.a.tcp.accept(
              segment({ flags: SYN, sequence: 1999, options: segments[0]?.options ?? new Uint8Array(0) }),
            );
          net.a.tcp.write(pattern(5000, 1));
          for (const s of segments) {
            net.a.tcp.receive({
              ...s,
              sequence: (2000 + s.sequence) >>> 0,
              acknowledgement: (1001 + s.acknowledgement) >>> 0,
            });
            net.now += s.seconds;
            if ((net.a.tcp.deadline ?? Infinity) <= net.now) net.a.tcp.expire(net.now);
          }
          expect(net.a.bytes.length).toBeLessThanOrEqual(segments.length * 100);
          net.a.tcp.abort();
          expect(net.a.tcp.deadline).toBeUndefined();
        },
      ),
      { numRuns: 200 },
    );
  });
});

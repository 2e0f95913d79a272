/** The console device, with one port and with several. VIRTIO 1.2, "Console Device". */
import { beforeEach, describe, expect, test } from "vitest";
import { VirtioConsole } from "../../../../devices/virtio/console/device.ts";
import type { DriverQueue } from "../../../support/virtio-driver.ts";
import { fuzzVirtio } from "../../../support/virtio-fuzz.ts";
import { VirtioMachine } from "../../../support/virtio-machine.ts";

const DATA = 0x20000;
const IN = 0x28000;
const MULTIPORT = 1n << 1n;
const NEEDS_RESET = 0x40;
const SIZES = [16, 16, 16, 16, 16, 16];

let sent: string[];
const sink = (port: number) => ({
  write: (bytes: Uint8Array): void =>
    void (sent[port] = (sent[port] ?? "") + Buffer.from(bytes).toString("latin1")),
});
const single = (): VirtioMachine<VirtioConsole> =>
  new VirtioMachine(
    (context, parts) =>
      new VirtioConsole(context, { ...parts, multiport: false, ports: [{ isConsole: true, sink: sink(0) }] }),
  );
const several = (): VirtioMachine<VirtioConsole> =>
  new VirtioMachine(
    (context, parts) =>
      new VirtioConsole(context, {
        ...parts,
        multiport: true,
        ports: [
          { isConsole: true, sink: sink(0) },
          { isConsole: false, name: "org.test", sink: sink(1) },
        ],
      }),
  );

let m: VirtioMachine<VirtioConsole>;
beforeEach(() => {
  sent = [];
});

const send = (queue: DriverQueue, text: string): void => {
  m.memory.bytes.set(Buffer.from(text, "latin1"), DATA);
  queue.add([{ address: DATA, length: text.length }]);
  queue.kick();
};
const room = (queue: DriverQueue, bytes: number, at = IN): void => {
  queue.add([{ address: at, length: bytes, write: true }]);
  queue.kick();
};
const received = (length: number, at = IN): string =>
  Buffer.from(m.memory.bytes.slice(at, at + length)).toString("latin1");

describe("one port", () => {
  let receive: DriverQueue;
  let transmit: DriverQueue;
  beforeEach(() => {
    m = single();
    [receive, transmit] = m.start([16, 16]) as [DriverQueue, DriverQueue];
  });

  test("what the guest sends arrives, whole and in order", () => {
    send(transmit, "hello ");
    send(transmit, "x".repeat(9000));
    expect(sent[0]).toBe(`hello ${"x".repeat(9000)}`);
    expect(transmit.collect()).toHaveLength(2);
  });

  test("what comes from outside waits for buffers, and fills as many as it needs", () => {
    expect(m.device.receive(0, Buffer.from("abcdef"))).toBe(6);
    room(receive, 4);
    expect([received(4), receive.collect()]).toEqual(["abcd", [{ id: 0, length: 4 }]]);
    room(receive, 64, IN + 0x100);
    expect(received(2, IN + 0x100)).toBe("ef");
    // Nothing waits: the buffer stays with the device until something comes.
    room(receive, 64, IN + 0x200);
    receive.collect();
    m.device.receive(0, Buffer.from("!"));
    expect([received(1, IN + 0x200), receive.collect()]).toEqual(["!", [{ id: 2, length: 1 }]]);
  });

  test("the ring is bounded", () => {
    m.driver.status = 0;
    expect(m.device.receive(0, new Uint8Array(5000))).toBe(4096);
    expect(m.device.receive(0, new Uint8Array(1))).toBe(0);
  });

  test("emergency write", () => {
    m.driver.status = 0;
    m.driver.setConfig(8, 4, 0x41);
    expect(sent[0]).toBe("A");
  });

  test("a buffer that is absurdly long asks for a reset", () => {
    transmit.add(Array.from({ length: 3 }, () => ({ address: 0, length: 512 * 1024 })));
    transmit.kick();
    expect([m.driver.status & NEEDS_RESET, sent]).toEqual([NEEDS_RESET, []]);
  });
});

describe("several ports", () => {
  let queues: DriverQueue[];
  beforeEach(() => {
    m = several();
    queues = m.start(SIZES, MULTIPORT);
    for (let i = 0; i < 8; i++) room(queues[2]!, 64, IN + 64 * i);
  });

  const control = (id: number, event: number, value = 1): void => {
    const message = Buffer.alloc(8);
    message.writeUInt32LE(id);
    message.writeUInt16LE(event, 4);
    message.writeUInt16LE(value, 6);
    send(queues[3]!, message.toString("latin1"));
  };
  let seen = 0;
  /** Messages since the last look: port, event, value, name. */
  const messages = (): unknown[] =>
    queues[2]!.collect().map(({ length }) => {
      const at = IN + 64 * seen++;
      const message = Buffer.from(m.memory.bytes.slice(at, at + length));
      const name = message.subarray(8, -1).toString();
      return [
        message.readUInt32LE(),
        message.readUInt16LE(4),
        message.readUInt16LE(6),
        ...(name ? [name] : []),
      ];
    });

  test("ports are announced, named and opened as the driver comes to be ready", () => {
    seen = 0;
    expect([m.driver.config(4, 4), m.device.isOpen(0)]).toEqual([2, false]);
    control(0, 0);
    expect(messages()).toEqual([
      [0, 1, 1],
      [1, 1, 1],
    ]);
    control(0, 3);
    control(1, 3);
    expect(messages()).toEqual([
      [0, 4, 1],
      [0, 6, 1],
      [1, 7, 1, "org.test"],
      [1, 6, 1],
    ]);
    control(1, 6);
    expect([m.device.isOpen(0), m.device.isOpen(1)]).toEqual([false, true]);
    send(queues[5]!, "to the port");
    expect(sent[1]).toBe("to the port");
    m.device.receive(1, Buffer.from("from outside"));
    room(queues[4]!, 64, IN + 0x1000);
    expect(received(12, IN + 0x1000)).toBe("from outside");
    control(1, 6, 0);
    expect(m.device.isOpen(1)).toBe(false);
  });

  test("messages wait for buffers", () => {
    queues = m.start(SIZES, MULTIPORT);
    control(0, 0);
    seen = 0;
    expect(queues[2]!.collect()).toEqual([]);
    room(queues[2]!, 64);
    room(queues[2]!, 64, IN + 64);
    expect(messages()).toEqual([
      [0, 1, 1],
      [1, 1, 1],
    ]);
  });

  test("a driver without the feature has port 0 alone", () => {
    queues = m.start(SIZES.slice(0, 2));
    expect([m.device.isOpen(0), m.device.isOpen(1)]).toEqual([true, false]);
    send(queues[1]!, "plain");
    expect(sent[0]).toBe("plain");
  });

  test("ports that do not exist are ignored", () => {
    control(7, 3);
    control(7, 6);
    expect(queues[2]!.collect()).toEqual([]);
  });
});

test("hostile drivers", () => {
  fuzzVirtio(several, SIZES, {
    features: MULTIPORT,
    runs: 100,
    shape: (bytes) => {
      if (bytes.length > 6) bytes.set([(bytes[0] ?? 0) % 3, 0, 0, 0, (bytes[4] ?? 0) % 8, 0]);
    },
  });
  fuzzVirtio(single, [16, 16], { runs: 50 });
});

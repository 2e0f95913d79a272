/**
 * A machine saved at any moment, requests in flight included, and restored into freshly built devices runs on to
 * the same end.
 */
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { MemoryStorage } from "../../../devices/storage/memory.ts";
import { FakeClock, FakeContext, FakeMemory } from "../../support/device-context.ts";
import { AhciMachine } from "../../support/ahci-driver.ts";
import { IdeMachine } from "../../support/ide-driver.ts";
import { BlkMachine } from "../../support/virtio-blk-machine.ts";
import type { DriverQueue } from "../../support/virtio-driver.ts";

interface Saved {
  readonly state: Buffer;
  readonly ram: Uint8Array;
  readonly disk: Uint8Array;
  readonly cycles: number;
  readonly armed: readonly (number | undefined)[];
}

const save = (context: FakeContext, memory: FakeMemory, disk: Uint8Array): Saved => ({
  state: context.snapshot(),
  ram: memory.bytes.slice(),
  disk: disk.slice(),
  cycles: context.clock.cycles,
  armed: context.timers.map((timer) => timer.armedAt),
});

/** Fresh state memory and RAM with the saved contents; the devices are then built on them. */
const restore = (saved: Saved): { context: FakeContext; memory: FakeMemory; disk: Uint8Array } => {
  const context = new FakeContext({ clock: new FakeClock() });
  context.restore(saved.state);
  context.clock.cycles = saved.cycles;
  const memory = new FakeMemory(saved.ram.length);
  memory.bytes.set(saved.ram);
  return { context, memory, disk: saved.disk.slice() };
};

const digest = (state: FakeContext, memory: FakeMemory, disk: Uint8Array): string =>
  createHash("sha256").update(state.snapshot()).update(memory.bytes).update(disk).digest("hex");

test("virtio-blk: 60 moments among eight requests of all kinds", () => {
  const build = (from?: Saved): BlkMachine => {
    const fresh = from === undefined ? undefined : restore(from);
    const disk = fresh?.disk ?? Uint8Array.from({ length: 128 * 512 }, (_, i) => i * 3);
    const machine = new BlkMachine({
      storage: new MemoryStorage(disk),
      service: (_operation, sector) => 2000 + ((sector * 977) % 1500),
      ...(fresh === undefined ? {} : { context: fresh.context, memory: fresh.memory }),
    });
    from?.armed.forEach((time, i) => time !== undefined && machine.context.timers[i]!.arm(time));
    return Object.assign(machine, { disk128: disk });
  };
  const diskOf = (machine: BlkMachine): Uint8Array =>
    (machine as BlkMachine & { disk128: Uint8Array }).disk128;
  const start = (): BlkMachine => {
    const machine = build();
    const [q] = machine.start(0n, 16, false) as [DriverQueue];
    [0, 1, 0, 4, 8, 1, 13, 0].forEach((type, i) => {
      machine.header(0x10000 + 32 * i, type, 5 * i);
      const data = {
        address: 0x20000 + 4096 * i,
        length: type === 13 ? 16 : 2048,
        write: type === 0 || type === 8,
      };
      q.add([
        { address: 0x10000 + 32 * i, length: 16 },
        ...(type === 4 ? [] : [data]),
        { address: 0x10800 + i, length: 1, write: true },
      ]);
      if (q.availIndex <= 5) q.kick();
      machine.context.advance(300);
    });
    return machine;
  };
  const reference = start();
  reference.context.settle();
  const expected = digest(reference.context, reference.memory, diskOf(reference));
  for (let i = 0; i < 60; i++) {
    const original = start();
    original.context.advance(i * 61);
    const resumed = build(save(original.context, original.memory, diskOf(original)));
    resumed.context.settle();
    expect(digest(resumed.context, resumed.memory, diskOf(resumed))).toBe(expected);
  }
});

test("IDE: 60 moments of a DMA read, and of a PIO write", () => {
  const build = (from?: Saved): IdeMachine => {
    const fresh = from === undefined ? undefined : restore(from);
    const disk = fresh?.disk ?? Uint8Array.from({ length: 128 * 512 }, (_, i) => i * 3);
    const machine = new IdeMachine({
      storage: new MemoryStorage(disk),
      ...(fresh === undefined ? {} : { context: fresh.context, memory: fresh.memory }),
    });
    from?.armed.forEach((time, i) => time !== undefined && machine.context.timers[i]!.arm(time));
    return Object.assign(machine, { disk128: disk });
  };
  const diskOf = (machine: IdeMachine): Uint8Array =>
    (machine as IdeMachine & { disk128: Uint8Array }).disk128;
  // The guest's program as steps, so that it can go on in the restored machine.
  const words = Uint8Array.from({ length: 1024 }, (_, i) => i * 13);
  const steps: ((m: IdeMachine) => void)[] = [
    (m) => m.prd(0x1000, [[0x8000, 2048]]),
    (m) => m.dma(0xc8, 3, 4, 0x1000, true),
    ...Array.from({ length: 12 }, () => (m: IdeMachine) => m.context.advance(100)),
    (m) => void m.in(0x1f7),
    (m) => m.out(m.bm, 8),
    (m) => m.command28(0x30, 40, 2),
    ...[0, 256, 512, 768].flatMap((at) => [
      (m: IdeMachine) => m.writeWords(words.subarray(at, at + 256)),
      ...Array.from({ length: 10 }, () => (m: IdeMachine) => m.context.advance(110)),
    ]),
    (m) => void m.in(0x1f7),
  ];
  const run = (m: IdeMachine, from: number, to: number): void => {
    for (const step of steps.slice(from, to)) step(m);
  };
  const reference = build();
  run(reference, 0, steps.length);
  expect(Buffer.from(diskOf(reference).subarray(40 * 512, 42 * 512)).equals(words)).toBe(true);
  const expected = digest(reference.context, reference.memory, diskOf(reference));
  for (let at = 0; at < 60; at++) {
    const cut = Math.min(at, steps.length);
    const original = build();
    run(original, 0, cut);
    const resumed = build(save(original.context, original.memory, diskOf(original)));
    run(resumed, cut, steps.length);
    expect(digest(resumed.context, resumed.memory, diskOf(resumed))).toBe(expected);
  }
});

test("AHCI: 40 moments among queued reads and writes, and a command that is not queued after them", () => {
  const build = (from?: Saved): { readonly m: AhciMachine; readonly disk: Uint8Array } => {
    const like = from === undefined ? undefined : restore(from);
    const disk = like?.disk ?? Uint8Array.from({ length: 128 * 512 }, (_, i) => i * 5);
    const m = new AhciMachine({
      storage: new MemoryStorage(disk),
      service: (_operation, sector) => 2000 + ((sector * 977) % 1500),
      ...(like === undefined ? {} : { like }),
    });
    from?.armed.forEach((time, i) => time !== undefined && m.context.timers[i]!.arm(time));
    return { m, disk };
  };
  const start = (): ReturnType<typeof build> => {
    const machine = build();
    const { m } = machine;
    m.start();
    for (let tag = 0; tag < 6; tag++)
      m.put(tag, {
        command: tag % 3 === 2 ? 0x61 : 0x60,
        feature: 4,
        count: tag << 3,
        lba: 7 * tag,
        regions: [[0x40000 + 0x1000 * tag, 2048]],
      });
    m.issueQueued(0, 1, 2, 3, 4, 5);
    return machine;
  };
  const finish = ({ m }: ReturnType<typeof build>): void => {
    // The same moment in all runs: when the last command comes is in the state that they leave.
    m.context.advanceTo(2_000_000);
    m.setPort(0x10, 0xffffffff);
    m.put(7, { command: 0x25, count: 2, lba: 14, regions: [[0x50000, 1024]] });
    m.issue(7);
    m.context.settle();
  };
  const reference = start();
  finish(reference);
  const expected = digest(reference.m.context, reference.m.memory, reference.disk);
  for (let i = 0; i < 40; i++) {
    const original = start();
    original.m.context.advance(100 * i);
    const copy = build(save(original.m.context, original.m.memory, original.disk));
    finish(copy);
    expect(digest(copy.m.context, copy.m.memory, copy.disk)).toBe(expected);
  }
});

/**
 * Parallel mode: a thread per CPU and per host thread, wall time. Only counts and results are asserted, never times; and
 * that every thread ends.
 */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { expectedChecksum } from "../../guest-images/expected-io.mjs";
import { compareDisk, kernelPath, makeImage, type CompareRow } from "../../cli/compare.ts";
import { ParallelMachine } from "../../hypervisor/parallel-machine.ts";
import type { MachineOptions, RunResult } from "../../hypervisor/machine.ts";
import type { LedgerEntry } from "../../hypervisor/ledger.ts";
import type { MachineStats } from "../../hypervisor/stats.ts";
import { TemporaryFolder, runGuest, multiboot } from "../support/machine.ts";

/** Generous: the test machine may be busy. */
const PATIENCE = 120_000;
const DISK_BYTES = 4 * 1024 * 1024;

const folder = new TemporaryFolder();
const disk = folder.disk(DISK_BYTES);
const contents = makeImage(DISK_BYTES);
afterAll(() => folder.remove());

function parallelMachine(
  script: string,
  options: Partial<MachineOptions>,
): { machine: ParallelMachine; text: () => string } {
  const serial: number[] = [];
  const machine = new ParallelMachine({
    kernel: kernelPath(),
    append: `apic=x2apic tsc=2670000000 script=${script}`,
    memory: 16,
    onSerial: (byte) => serial.push(byte),
    ...options,
  });
  return { machine, text: () => Buffer.from(serial).toString("latin1") };
}

interface Outcome {
  readonly result: RunResult;
  readonly text: string;
  readonly stats: MachineStats;
}

async function runParallel(script: string, options: Partial<MachineOptions>): Promise<Outcome> {
  const { machine, text } = parallelMachine(script, options);
  try {
    const result = await machine.run();
    return { result, text: text(), stats: machine.stats() };
  } finally {
    await machine.close();
  }
}

/** The fields of the guest's IO line. */
function ioFields(text: string): Record<string, string> {
  const line = text.split(/\r?\n/).find((candidate) => candidate.startsWith("IO "));
  expect(line, text).toBeDefined();
  return Object.fromEntries<string>(
    line!
      .split(" ")
      .slice(1)
      .map((field): [string, string] => [
        field.slice(0, field.indexOf("=")),
        field.slice(field.indexOf("=") + 1),
      ]),
  );
}

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test.each([1, 4])(
    "the self-test and the common counter with %i CPUs",
    async (smp) => {
      const { result, text, stats } = await runParallel("selftest;smp:count=20000", { mode, smp });
      expect(result, text).toEqual({ end: "power-off", code: 0 });
      expect(text).toMatch(new RegExp(`^SELFTEST .*cpus=${smp} `, "m"));
      expect(text).toMatch(new RegExp(`^SMP ok n=${smp}\\b`, "m"));
      expect(text).not.toMatch(/^(FAIL|PANIC)/m);
      expect(stats.pcpus).toHaveLength(smp);
      for (const cpu of stats.pcpus) expect(cpu.instructions).toBeGreaterThan(1000);
      expect(stats.ledgerAgrees).toBe(true);
    },
    PATIENCE,
  );

  test(
    "timers of the board and of the CPU wake a halted guest",
    async () => {
      const { result, text } = await runParallel("timer;idle:ms=20", { mode });
      expect(result, text).toEqual({ end: "power-off", code: 0 });
      expect(text).not.toMatch(/^(FAIL|PANIC)/m);
      expect(text).toMatch(/^IDLE .* irqs=1 eois=1 hlts=1 /m);
    },
    PATIENCE,
  );

  test(
    "a reset starts the guest again on the same threads; a triple fault and the exit port end it",
    async () => {
      const { machine, text } = parallelMachine("reset", { mode });
      try {
        expect(await machine.run()).toEqual({ end: "reset", code: 0 });
        machine.reset();
        expect(await machine.run()).toEqual({ end: "reset", code: 0 });
        expect(text().match(/^exitless guest kernel/gm)).toHaveLength(2);
      } finally {
        await machine.close();
      }
      expect((await runParallel("fault:kind=triple", { mode })).result.end).toBe("triple-fault");
      expect((await runParallel("exit:code=5", { mode })).result).toEqual({ end: "debug-exit", code: 5 });
    },
    PATIENCE,
  );

  test(
    "a running guest is paused, goes on, and is closed in the middle",
    async () => {
      const { machine, text } = parallelMachine("spin:loops=100000000000", { mode, smp: 2 });
      for (let i = 0; i < 2; i++) {
        const before = machine.stats().instructions;
        // However long the threads take to start: paused once the guest has moved.
        const timer = setInterval(() => {
          if (machine.stats().instructions > before) machine.pause();
        }, 100);
        expect(await machine.run()).toEqual({ end: "paused", code: 0 });
        clearInterval(timer);
        expect(machine.stats().instructions).toBeGreaterThan(before);
      }
      const running = machine.run();
      const closed = expect(running).rejects.toThrow("closed");
      await machine.close();
      await closed;
      expect(text()).not.toMatch(/^PANIC/m);
    },
    PATIENCE,
  );

  test(
    "keys reach the guest while it runs",
    async () => {
      const { machine, text } = parallelMachine("uartecho:count=6", { mode });
      const keys = Buffer.from("keys!.");
      let sent = 0;
      const typing = setInterval(() => {
        if (text().includes("UARTECHO ready") && sent < keys.length)
          sent += machine.receive(keys.subarray(sent, sent + 1));
      }, 20);
      try {
        // A guest that waits for keys alone is idle: the run ends and is taken up again, as on a terminal.
        let result = await machine.run();
        while (result.end === "idle") result = await machine.run();
        expect(result.end, text()).toBe("power-off");
        expect(text()).toContain("keys!");
      } finally {
        clearInterval(typing);
        await machine.close();
      }
    },
    PATIENCE,
  );
});

interface PathCase {
  readonly name: string;
  readonly options: Partial<MachineOptions>;
  readonly device: "ide" | "virtio";
  readonly kicks: number;
}

const REQUESTS = 100;
const PATHS: readonly PathCase[] = [
  { name: "metal IDE", options: { mode: "metal" }, device: "ide", kicks: 0 },
  { name: "metal virtio", options: { mode: "metal" }, device: "virtio", kicks: REQUESTS },
  { name: "IDE user", options: { path: "user" }, device: "ide", kicks: 0 },
  { name: "virtio user", options: { path: "user" }, device: "virtio", kicks: REQUESTS },
  { name: "virtio in-vmm", options: { path: "in-vmm" }, device: "virtio", kicks: REQUESTS },
  { name: "virtio poll", options: { path: "poll" }, device: "virtio", kicks: 0 },
  { name: "virtio poll + eli", options: { path: "poll", completion: "eli" }, device: "virtio", kicks: 0 },
  { name: "virtio poll with 4 CPUs", options: { path: "poll", smp: 4 }, device: "virtio", kicks: 0 },
];

describe("disk reads", () => {
  test.each(PATHS)(
    "$name: the data, the kicks and the port accesses are those of virtual time",
    async ({ options, device, kicks }) => {
      const drives = [{ file: disk, interface: device, readOnly: true }];
      const script = `rand:dev=${device},count=${REQUESTS},seed=3`;
      const { result, text, stats } = await runParallel(script, { ...options, drives });
      expect(result, text).toEqual({ end: "power-off", code: 0 });
      const fields = ioFields(text);
      expect(fields.checksum).toBe(
        expectedChecksum(contents, { pattern: "rand", size: 4096, count: REQUESTS, seed: 3 }),
      );
      expect(fields).toMatchObject({
        errors: "0",
        kicks: `${kicks}`,
        irqs: `${REQUESTS}`,
        eois: `${REQUESTS}`,
      });
      expect(stats.ledgerAgrees).toBe(true);
      const virtual = ioFields(runGuest(script, { append: "apic=x2apic", ...options, drives }).text);
      for (const field of [
        "ports_in",
        "ports_out",
        "ide_in",
        "ide_out",
        "kicks",
        "irqs",
        "eois",
        "mmio",
        "checksum",
      ])
        expect([field, fields[field]]).toEqual([field, virtual[field]]);
    },
    PATIENCE,
  );

  test(
    "writes of several threads' requests land in the snapshot, and the image file stays as it is",
    async () => {
      const drives = [{ file: disk, interface: "virtio" as const, snapshot: true, queues: 2 }];
      const { result, text } = await runParallel(
        "write:dev=virtio,start=64,count=32;rand:dev=virtio,count=200,qd=16,queues=2",
        {
          smp: 2,
          path: "in-vmm",
          drives,
        },
      );
      expect(result, text).toEqual({ end: "power-off", code: 0 });
      expect(text).toMatch(/^WRITE .* verified/m);
      expect(Buffer.compare(readFileSync(disk), contents)).toBe(0);
      expect(ioFields(text).errors).toBe("0");
    },
    PATIENCE,
  );

  test(
    "every exit is traced, and the trace is the ledger",
    async () => {
      const entries: LedgerEntry[] = [];
      const { stats } = await runParallel("rand:dev=virtio,count=50", {
        drives: [{ file: disk, interface: "virtio", readOnly: true }],
        onExit: (entry) => entries.push(entry),
      });
      const byReason: Record<string, number> = {};
      for (const { reason } of entries) byReason[reason] = (byReason[reason] ?? 0) + 1;
      expect(byReason).toEqual(stats.exits);
      expect(entries.map(({ sequence }) => sequence)).toEqual(entries.map((_, index) => index));
    },
    PATIENCE,
  );
});

test(
  "compare disk: exits by port access and by kick are those of virtual time",
  async () => {
    const image = folder.disk(2 * 1024 * 1024, "small.img");
    const common = { requests: 12, image, cost: "nehalem-2010", progress: () => undefined };
    const wall = await compareDisk({ ...common, clock: "wall" });
    const virtual = await compareDisk(common);
    expect(wall.clock).toBe("wall");
    const counts = (row: CompareRow): unknown => ({
      name: row.name,
      pattern: row.pattern,
      requests: row.requests,
      kicks: row.guestKicks,
      kickExits: row.exits.byReason.EPT_VIOLATION ?? 0,
      guestPortAccesses: row.guestPortAccesses,
      portExits: row.exits.byReason.IO_INSTRUCTION ?? 0,
      verified: row.verified,
      ledgerAgrees: row.ledgerAgrees,
    });
    expect(wall.rows.map(counts)).toEqual(virtual.rows.map(counts));
    expect(wall.rows.every((row) => row.verified && row.ledgerAgrees)).toBe(true);
  },
  2 * PATIENCE,
);

test(
  "a guest that can never wake again ends the run",
  async () => {
    // CLI, HLT, and back.
    const { machine } = parallelMachine("", { mode: "metal", kernel: multiboot([0xfa, 0xf4, 0xeb, 0xfd]) });
    try {
      expect(await machine.run()).toEqual({ end: "idle", code: 0 });
    } finally {
      await machine.close();
    }
  },
  PATIENCE,
);

describe("code that changes under a running CPU", () => {
  // A loop that stores the operand of its own first instruction (at 7, with DS = 0) at 9000H. 16-bit code.
  // xor ax,ax; mov ds,ax; nop; nop; L: mov ax,0; mov [9000H],ax; jmp L
  const echo = [0x31, 0xc0, 0x8e, 0xd8, 0x90, 0x90, 0xb8, 0, 0, 0xa3, 0x00, 0x90, 0xeb, 0xf8];
  const PROGRAM = 0x100040;
  const ROUNDS = 1000;

  test(
    "another CPU's stores into it are executed: a thousand of them",
    async () => {
      const prologue = [
        0xfa, // cli
        ...[0xbe, ...long(PROGRAM + 256)], // mov esi, the loop
        ...[0xbf, ...long(0x8000)], // mov edi, 8000H
        ...[0xb9, ...long(echo.length), 0xf3, 0xa4], // mov ecx, its length; rep movsb
        ...[0xbb, ...long(0xfee00300)], // mov ebx, the ICR
        ...[0xc7, 0x43, 0x10, ...long(1 << 24)], // destination: APIC 1
        ...[0xc7, 0x03, ...long(0x4500)], // INIT
        ...[0xc7, 0x03, ...long(0x4608)], // SIPI, vector 8: 8000H
        ...[0x31, 0xc0], // xor eax,eax
      ];
      const wait = [
        ...[0x66, 0x39, 0x05, ...long(0x9000)], // cmp [9000H],ax
        ...[0x74, 0x08], // je done
        ...[0xf3, 0x90], // pause
        ...[0xe2, 0xf3], // loop wait
        ...[0xb0, 0x01, 0xe6, 0xf4], // mov al,1; out F4H,al: it never came
      ];
      const round = [
        0x40, // inc eax
        ...[0x66, 0xa3, ...long(0x8007)], // mov [8007H],ax: the operand
        ...[0xb9, ...long(0x4000000)], // mov ecx, patience
        ...wait,
        ...[0x3d, ...long(ROUNDS)], // cmp eax, the last
      ];
      const program = [
        ...prologue,
        ...round,
        ...[0x75, -(round.length + 2) & 0xff], // jne round
        ...[0xb0, 0x55, 0xe6, 0xf4, 0xf4], // mov al,55H; out F4H,al; hlt
      ];
      const kernel = multiboot([...program, ...new Array<number>(256 - program.length).fill(0x90), ...echo]);
      const { machine } = parallelMachine("", { mode: "metal", smp: 2, kernel });
      try {
        expect(await machine.run()).toEqual({ end: "debug-exit", code: 0x55 });
        expect(machine.stats().pcpus[1]!.instructions).toBeGreaterThan(ROUNDS);
      } finally {
        await machine.close();
      }
    },
    PATIENCE,
  );

  test(
    "a device's DMA from a thread that runs no CPU is executed",
    async () => {
      // The same loop in 32-bit code: L: mov eax,0; mov [9000H],eax; jmp L
      const kernel = multiboot([0xfa, 0xb8, ...long(0), 0xa3, ...long(0x9000), 0xeb, 0xf4]);
      const { machine } = parallelMachine("", { mode: "metal", kernel });
      const running = machine.run();
      try {
        const seen = (): number => machine.board.dma.read32(0x9000) ?? -1;
        for (let value = 1; value <= 50; value++) {
          const operand = new Uint8Array(long(value));
          expect(machine.board.lock!.hold(() => machine.board.dma.write(PROGRAM + 2, operand))).toBe(true);
          await expect.poll(seen, { timeout: 20_000, interval: 1 }).toBe(value);
        }
        machine.pause();
        expect((await running).end).toBe("paused");
      } finally {
        await machine.close();
      }
    },
    PATIENCE,
  );
});

/** Four bytes, little-endian. */
function long(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}

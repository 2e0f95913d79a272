/**
 * `exitless debug`: a script steps to the first virtio notification, goes on and back. The golden output is made again
 * with EXITLESS_UPDATE_GOLDEN=1.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { Session } from "../../debugger/session.ts";
import { OptionError, type LedgerEntry } from "../../index.ts";
import { diskContents, exitless, KERNEL, temporaryDisk, Workspace } from "../support/cli.ts";

const GOLDEN = new URL("../golden/debug-virtio.txt", import.meta.url);
const SCRIPT = `# To the first notification that the driver writes, three exits on, two back.
next virtio notify
vmcs
queue
x rip 3
regs
next
next
next
back 2
vmcs RIP
exits
quit
`;

const workspace = new Workspace();
const image = workspace.file("disk.img", diskContents(1));
afterAll(() => workspace.remove());

const debug = (script: string, args: readonly string[] = [], append = "script=rand:dev=virtio,count=4") =>
  exitless([
    "debug",
    ...["-kernel", KERNEL, "-m", "32", "-append", append, "-drive", `file=${image},if=virtio`],
    ...args,
    ...["--script", workspace.file("script", script)],
  ]);

describe("exitless debug", () => {
  test("a script to the first virtio notification, three exits on and two back: golden output", async () => {
    const { status, stdout, stderr } = await debug(SCRIPT);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    // stdout is bytes; the debugger's words are UTF-8.
    const output = Buffer.from(stdout, "latin1").toString("utf8");
    if (process.env["EXITLESS_UPDATE_GOLDEN"] === "1") writeFileSync(GOLDEN, output);
    expect(output).toBe(readFileSync(GOLDEN, "utf8"));
  });

  test("what the golden output must say, whatever its figures are", async () => {
    const { stdout } = await debug(SCRIPT);
    const stops = [...stdout.matchAll(/^exit (\d+) {2}(\S+)/gm)].map(([, number, reason]) => [
      Number(number),
      reason,
    ]);
    const [first, notify, one, two, three, back] = stops;
    expect(first).toEqual([1, "EPT_VIOLATION"]);
    expect(notify![1]).toBe("EPT_VIOLATION");
    const at = Number(notify![0]);
    expect([one![0], two![0], three![0]]).toEqual([at + 1, at + 2, at + 3]);
    expect(back).toEqual(one);
    expect(stops).toHaveLength(6);
    expect(stdout).toMatch(
      /write at guest-physical E[0-9A-F]{7}H \(virtio-blk 0 BAR 4 \+ 3000H: notification of queue 0\)/,
    );
    expect(stdout).toContain("waiting chain, head 0: read, sector ");
  });

  test("a drive's file stays as it is, though the guest writes and reads back", async () => {
    const before = readFileSync(image);
    const { stdout, status } = await debug("continue\n", [], "script=write:dev=virtio,count=8");
    expect(status).toBe(0);
    expect(stdout).toContain("serial| PASS write");
    expect(stdout).toContain("the guest has ended: power-off, after ");
    expect(readFileSync(image).equals(before)).toBe(true);
  });

  test("a command that cannot be carried out ends a script with the usage status and says where", async () => {
    const { status, stderr } = await debug("next\nfly\nnext\n");
    expect(status).toBe(2);
    expect(stderr).toBe('exitless: script line 2: there is no command "fly"; help lists them\n');
  });

  test("metal has no exits: a usage error", async () => {
    const { status, stderr } = await debug("next\n", ["--mode", "metal"]);
    expect(status).toBe(2);
    expect(stderr).toContain("no VM exits to stop at; use --mode vm");
  });

  test("without --script it reads commands from stdin, its prompt on stderr", async () => {
    const result = await exitless(
      ["debug", "-kernel", KERNEL, "-m", "32", "-append", "script=hello"],
      "next CPUID\nquit\n",
    );
    expect(result.status).toBe(0);
    expect(result.stderr).toBe("(exitless) (exitless) ");
    expect(result.stdout).toMatch(/^exit \d+ {2}CPUID/m);
  });
});

describe("Session", () => {
  const every = (): boolean => true;

  async function withSession<T>(
    options: { smp: number; interval: number; most: number },
    act: (session: Session) => Promise<T>,
  ): Promise<T> {
    const disk = temporaryDisk(1);
    const session = new Session(
      {
        kernel: KERNEL,
        append: "script=smp:count=50;rand:dev=virtio,count=8",
        memory: 32,
        smp: options.smp,
        drives: [{ file: disk.path, interface: "virtio" }],
      },
      { onSerial: () => undefined, checkpointInterval: options.interval, mostCheckpoints: options.most },
    );
    try {
      return await act(session);
    } finally {
      session.close();
      disk.remove();
    }
  }

  test.each([
    { smp: 1, interval: 100, most: 4 },
    { smp: 4, interval: 300, most: 3 },
  ])("back shows the exit that was there, and from there the run ends as before: %j", async (options) => {
    await withSession(options, async (session) => {
      const entries: LedgerEntry[] = [];
      while (await session.runTo(every)) entries[session.exits] = session.stop!.entry;
      expect(session.ended).toEqual({ end: "power-off", code: 0 });
      const total = session.exits;
      const state = session.machine.hash();
      for (const count of [1, 2, 7, 500, 100_000]) {
        const from = session.exits;
        expect(await session.back(count)).toBe(true);
        const target = Math.max(1, from - count);
        // An exit inside another's emulation is no place to stand: then the stop before.
        expect(session.exits).toBeGreaterThan(target - 3);
        expect(session.exits).toBeLessThanOrEqual(target + 1);
        expect(session.stop!.entry).toEqual(entries[session.exits]);
      }
      expect(session.exits).toBe(1);
      expect(await session.back(1)).toBe(false);
      expect(await session.runTo(() => false)).toBe(false);
      expect(session.exits).toBe(total);
      expect(session.machine.hash()).toBe(state);
    });
  });

  test("serial output is not repeated when a part of the run is replayed", async () => {
    const serial: number[] = [];
    const session = new Session(
      { kernel: KERNEL, append: "script=hello", memory: 32 },
      { onSerial: (byte) => serial.push(byte), checkpointInterval: 50 },
    );
    try {
      await session.runTo(() => false);
      const once = Buffer.from(serial).toString("latin1");
      expect(once).toContain("exitless guest kernel");
      await session.back(200);
      await session.runTo(() => false);
      expect(Buffer.from(serial).toString("latin1")).toBe(once);
    } finally {
      session.close();
    }
  });

  test("metal is refused before a machine is made", () => {
    expect(() => new Session({ kernel: KERNEL, mode: "metal" }, { onSerial: () => undefined })).toThrow(
      OptionError,
    );
  });
});

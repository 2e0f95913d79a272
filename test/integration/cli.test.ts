/** The command line as a person meets it: the built program as a child process. Exit statuses: cli/status.ts. */
import { readFileSync } from "node:fs";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Status } from "../../cli/status.ts";
import { bootScript, diskContents, exitless, KERNEL, KERNEL_BZIMAGE, Workspace } from "../support/cli.ts";

const workspace = new Workspace();
afterAll(() => workspace.remove());

const CONTENTS = diskContents(1);
const SECTOR = 512;
const PATTERN_ABSENT = Buffer.alloc(SECTOR, 0xa5);

/** QEMU's status of the debug-exit port. */
const debugStatus = (code: number): number => (code << 1) | 1;

describe("exit status", () => {
  test("power-off is 0, and our words are not among the guest's", async () => {
    const { status, stdout, stderr } = await bootScript("hello");
    expect(status).toBe(Status.OK);
    expect(stdout).toContain("exitless guest kernel, booted by pvh");
    expect(stderr).toBe("");
  });

  test.each([0, 5, 42])("exit code %i from the debug port", async (code) => {
    expect((await bootScript(`exit:code=${code}`)).status).toBe(debugStatus(code));
  });

  test.each(["vm", "metal"])("triple fault, %s", async (mode) => {
    const { status, stderr } = await bootScript("fault:kind=triple", ["--mode", mode]);
    expect(status).toBe(Status.TRIPLE_FAULT);
    expect(stderr).toMatch(/^exitless: triple fault at RIP [0-9A-F]+H\n$/);
  });

  test.each(["vm", "metal"])(
    "a read of unmapped space is all ones, a jump there is the guest's own fault, %s",
    async (mode) => {
      const read = await bootScript("fault:kind=unmapped", ["--mode", mode]);
      expect(read.stdout).toContain("FAULT unmapped read=0xffffffff");
      expect(read.status).toBe(Status.OK);
      const jump = await bootScript("fault:kind=jump", ["--mode", mode]);
      expect(jump.stdout).toMatch(/EXCEPTION #PF vector=14 error=0x11 /);
      expect(jump.status).toBe(debugStatus(127));
    },
  );

  test.each(["vm", "metal"])("a guest that computes for ever ends at --timeout, %s", async (mode) => {
    const { status, stderr } = await bootScript("spin:loops=4000000000", ["--timeout", "1", "--mode", mode]);
    expect(status).toBe(Status.TIMEOUT);
    expect(stderr).toMatch(/^exitless: timeout: the guest still runs after 1 s, at RIP [0-9A-F]+H\n$/);
  });
});

/** Entries a TLB miss reads, by the guest's own counters: levels of its tables, and with EPT those of both (SDM Vol. 3C, "EPT Translation Mechanism"). */
test.each([
  ["metal", "-walk-caches", 4, 3],
  ["vm", "-walk-caches", 24, 19],
  ["metal", "+walk-caches", 1, 1],
  ["vm", "+walk-caches", 2, 2],
])("walks counted by the guest, %s, %s", async (mode, caches, small, large) => {
  const { stdout } = await bootScript("walks", ["--mode", mode, "-cpu", `skylake,+pmu,${caches}`]);
  const walks = [...stdout.matchAll(/^WALKS (\S+) misses (\d+) references (\d+)/gm)];
  expect(walks.map(([, kind]) => kind)).toEqual(["4-KiB", "2-MiB"]);
  const each = walks.map(([, , misses, references]) => Math.floor(Number(references) / Number(misses)));
  expect(each).toEqual([small, large]);
});

describe("usage errors say which option and what it must be", () => {
  test.each<[readonly string[], string]>([
    [["fly"], "unknown command 'fly'"],
    [["boot"], "-kernel FILE or -bios FILE: one of the two must be given"],
    [["boot", "-bios", "x", "-boot", "menu=perhaps"], '"menu=perhaps" must be order=LETTERS or menu=on|off'],
    [["boot", "-kernel", KERNEL, "--path", "fast"], "Allowed choices are user, in-vmm, poll"],
    [["boot", "-kernel", KERNEL, "-m", "0"], "must be an integer from 2 to 2600"],
    [["boot", "-kernel", KERNEL, "-smp", "9"], "must be an integer from 1 to 8"],
    [["boot", "-kernel", KERNEL, "-drive", "if=virtio"], "file= is missing"],
    [["boot", "-kernel", KERNEL, "-drive", "file=x,if=nvme"], "if=nvme must be ide, virtio, ahci or none"],
    [["boot", "-kernel", KERNEL, "-drive", "file=x,colour=red"], "colour= is not known"],
    [["boot", "-kernel", KERNEL, "-device", "floppy"], "floppy: no such model; known are virtio-blk-pci, "],
    [["boot", "-kernel", KERNEL, "-device", "virtio-blk-pci,drive=d"], "no unused drive has that id"],
    [["boot", "-kernel", KERNEL, "-drive", "file=x,if=none"], "if=none needs id="],
    [
      ["boot", "-kernel", KERNEL, "--mode", "metal", "--path", "poll"],
      "--path and --completion need --mode vm",
    ],
    [["screen", "-kernel", KERNEL, "-vga", "none"], "-vga none: there is no screen to show"],
    [
      ["screen", "-kernel", KERNEL, "-chardev", "stdio,id=c"],
      "-chardev stdio: the terminal shows the screen",
    ],
    [["boot", "-kernel", KERNEL, "--cost", "none-such"], "--cost none-such: there is no such profile"],
  ])("%j", async (args, message) => {
    const { status, stdout, stderr } = await exitless(args);
    expect(stderr).toContain(message);
    expect(status).toBe(Status.USAGE);
    expect(stdout).toBe("");
  });
});

describe("unreadable images: what, where, why", () => {
  const truncated = workspace.file("truncated.elf", readFileSync(KERNEL).subarray(0, 1000));
  const empty = workspace.file("empty.img", "");
  const short = workspace.file("short.img", Buffer.alloc(65536));
  const text = workspace.file("text", "no kernel at all\n".repeat(64));
  const drive = (path: string, iface: string): readonly string[] => [
    "boot",
    "-kernel",
    KERNEL,
    "-drive",
    `file=${path},if=${iface}`,
  ];

  test.each<[string, readonly string[], string]>([
    [
      "missing kernel",
      ["boot", "-kernel", "/nonexistent/kernel"],
      "/nonexistent/kernel: kernel (host file system): there is no such file",
    ],
    ["directory as kernel", ["boot", "-kernel", workspace.path], "it is a directory; name a file"],
    ["truncated ELF", ["boot", "-kernel", truncated], "truncated.elf: ELF program header 0: contents"],
    [
      "no kernel",
      ["boot", "-kernel", text],
      "neither a bzImage nor an ELF file nor has it a multiboot header",
    ],
    ["empty kernel", ["boot", "-kernel", empty], "empty.img: "],
    [
      "missing initrd",
      ["boot", "-kernel", KERNEL, "-initrd", "/nonexistent/initrd"],
      "/nonexistent/initrd: initrd",
    ],
    ["missing disk", drive("/nonexistent/disk", "ide"), "/nonexistent/disk: no such disk image"],
    ["directory as disk", drive(workspace.path, "virtio"), "is a directory; give a raw image file"],
    [
      "missing image",
      ["compare", "disk", "--image", "/nonexistent/disk"],
      "/nonexistent/disk: no such disk image",
    ],
    ["shorter than asked for", ["compare", "disk", "--image", short], "has 128 sectors, 2176 are needed"],
    ["zero-length disk", drive(empty, "ide"), "is empty; a disk has at least one sector of 512 bytes"],
  ])("%s", async (_, args, message) => {
    const { status, stdout, stderr } = await exitless(args);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^exitless: /);
    expect(status).toBe(Status.BAD_IMAGE);
    expect(stdout).toBe("");
  });
});

describe("--stats and --trace", () => {
  test("a trace has one JSON line an exit, as many as the statistics say, which agree with the core's counters", async () => {
    const stats = `${workspace.path}/stats.json`;
    const trace = `${workspace.path}/trace.jsonl`;
    const image = workspace.file("stats.img", CONTENTS);
    const { status } = await bootScript("rand:dev=virtio,count=8", [
      ...["-drive", `file=${image},if=virtio,snapshot=on`, "-smp", "2"],
      ...["--stats", stats, "--trace", trace],
    ]);
    expect(status).toBe(Status.OK);
    const counted = JSON.parse(readFileSync(stats, "utf8")) as {
      mode: string;
      clock: string;
      instructions: number;
      virtualSeconds: number;
      wallSeconds: number;
      peakMemoryBytes: number;
      exits: Record<string, number>;
      vcpus: { index: number; pcpu: number; total: number }[];
      pcpus: { instructions: number; exits: Record<string, number> }[];
      ledgerAgrees: boolean;
    };
    const lines = readFileSync(trace, "utf8").trimEnd().split("\n");
    const entries = lines.map(
      (line) =>
        JSON.parse(line) as {
          reason: string;
          vcpu: number;
          pcpu: number;
          handler: string;
          rip: string;
          qualification: string;
        },
    );
    for (const { rip, qualification } of entries)
      expect(`${rip} ${qualification}`).toMatch(/^0x[0-9a-f]+ 0x[0-9a-f]+$/);
    const byReason: Record<string, number> = {};
    for (const { reason } of entries) byReason[reason] = (byReason[reason] ?? 0) + 1;
    expect(counted.exits).toEqual(byReason);
    expect(counted.vcpus.map(({ total }) => total)).toEqual(
      [0, 1].map((cpu) => entries.filter(({ vcpu }) => vcpu === cpu).length),
    );
    expect(counted.pcpus.reduce((sum, { instructions }) => sum + instructions, 0)).toBe(counted.instructions);
    expect(entries.filter(({ handler }) => handler === "virtio notify")).toHaveLength(8);
    expect(counted).toMatchObject({ mode: "vm", clock: "virtual", ledgerAgrees: true });
    for (const figure of [
      counted.instructions,
      counted.virtualSeconds,
      counted.wallSeconds,
      counted.peakMemoryBytes,
    ])
      expect(figure).toBeGreaterThan(0);
  });

  test("--stats - writes to stderr", async () => {
    const { stderr, stdout } = await bootScript("hello", ["--stats", "-"]);
    expect(JSON.parse(stderr)).toMatchObject({ mode: "vm", ledgerAgrees: true });
    expect(stdout).not.toContain("ledgerAgrees");
  });
});

describe.each(["ide", "virtio"])("a disk on %s", (iface) => {
  const name = `${iface}.img`;
  let image = "";
  beforeEach(() => {
    image = workspace.file(name, CONTENTS);
  });
  const boot = (script: string, drive = ""): ReturnType<typeof bootScript> =>
    bootScript(script, ["-drive", `file=${image},if=${iface}${drive}`]);

  test("writes reach the image file, and nothing else of it changes", async () => {
    const { status, stdout } = await boot(`write:dev=${iface},start=16,count=4,size=4096;flush:dev=${iface}`);
    expect(stdout).toContain("PASS write");
    expect(status).toBe(Status.OK);
    const after = workspace.read(name);
    expect(after.subarray(0, 16 * SECTOR).equals(CONTENTS.subarray(0, 16 * SECTOR))).toBe(true);
    const written = 16 * SECTOR + 4 * 4096;
    expect(after.subarray(written).equals(CONTENTS.subarray(written))).toBe(true);
    for (let at = 16 * SECTOR; at < written; at += SECTOR)
      expect(after.subarray(at, at + SECTOR).equals(CONTENTS.subarray(at, at + SECTOR))).toBe(false);
  });

  test("snapshot=on: the guest reads back what it wrote, the file stays as it is", async () => {
    const { status, stdout } = await boot(`write:dev=${iface},count=32`, ",snapshot=on");
    expect(stdout).toContain("PASS write");
    expect(status).toBe(Status.OK);
    expect(workspace.read(name).equals(CONTENTS)).toBe(true);
  });

  test("readonly=on: writes are refused, reads go on", async () => {
    const { status, stdout } = await boot(`write:dev=${iface},count=4`, ",readonly=on");
    expect(stdout).toMatch(/FAIL io: \S+: operation 1 at sector 0 ended with status 1/);
    expect(status).toBe(debugStatus(1));
    const read = await boot(`seq:dev=${iface},count=2,size=4096`, ",readonly=on");
    expect(read.stdout).toMatch(/IO name=seq .* errors=0 /);
    expect(workspace.read(name).equals(CONTENTS)).toBe(true);
  });

  test("reads and writes past the end are refused, the device works on, the image is intact", async () => {
    const { status, stdout } = await boot(`beyond:dev=${iface}`);
    for (const check of ["read-beyond-end", "write-beyond-end", "read-after-error"])
      expect(stdout).toContain(`PASS ${check}`);
    expect(status).toBe(Status.OK);
    expect(workspace.read(name).equals(CONTENTS)).toBe(true);
  });

  test("flush and identification", async () => {
    const { status, stdout } = await boot(`flush:dev=${iface};getid:dev=${iface}`);
    expect(stdout).toContain("PASS flush");
    expect(stdout).toMatch(
      iface === "ide" ? /ID dev=ide0 model=EXITLESS HARDDISK/ : /ID dev=virtio0 id=EXITLESS/,
    );
    expect(status).toBe(Status.OK);
  });
});

test("discard and write-zeroes on virtio touch their sectors alone", async () => {
  const before = Buffer.concat([PATTERN_ABSENT, CONTENTS.subarray(SECTOR)]);
  const image = workspace.file("zeroes.img", before);
  const { status, stdout } = await bootScript("discard:start=8,sectors=16;writezeroes:start=64,sectors=8", [
    "-drive",
    `file=${image},if=virtio`,
  ]);
  expect(stdout).toContain("PASS discard");
  expect(stdout).toContain("PASS writezeroes");
  expect(status).toBe(Status.OK);
  const after = workspace.read("zeroes.img");
  expect(after.subarray(64 * SECTOR, 72 * SECTOR).equals(Buffer.alloc(8 * SECTOR))).toBe(true);
  const untouched: readonly (readonly [number, number])[] = [
    [0, 8],
    [24, 64],
    [72, 2048],
  ];
  for (const [from, to] of untouched)
    expect(
      after.subarray(from * SECTOR, to * SECTOR).equals(before.subarray(from * SECTOR, to * SECTOR)),
    ).toBe(true);
});

describe("reset", () => {
  test.each(["vm", "metal"])("-no-reboot ends the run, %s", async (mode) => {
    const { status, stdout } = await bootScript("reset", ["-no-reboot", "--mode", mode]);
    expect(status).toBe(Status.OK);
    expect(stdout.match(/exitless guest kernel/g)).toHaveLength(1);
  });

  test("without it the guest boots again, and again, until the timeout", async () => {
    const { status, stdout } = await bootScript("reset", ["--timeout", "2"]);
    expect(status).toBe(Status.TIMEOUT);
    expect(stdout.match(/exitless guest kernel/g)!.length).toBeGreaterThan(1);
  });
});

test.each(["vm", "metal"])("what comes on stdin reaches the guest's serial port, %s", async (mode) => {
  const { status, stdout } = await bootScript(
    "uartecho:count=64",
    ["--mode", mode, "--timeout", "20"],
    "stdin to guest.",
  );
  expect(stdout).toContain("stdin to guest.");
  expect(status).toBe(Status.OK);
});

describe("boot protocols", () => {
  const images = [
    { protocol: "multiboot", image: KERNEL },
    { protocol: "pvh", image: KERNEL },
    { protocol: "linux", image: KERNEL_BZIMAGE },
  ];
  const cases = images.flatMap((one) =>
    ["vm", "metal"].flatMap((mode) => [1, 4].map((smp) => ({ ...one, mode, smp }))),
  );
  test.each(cases)("$protocol, $mode, $smp CPUs", async ({ protocol, image, mode, smp }) => {
    const { status, stdout } = await exitless([
      ...["boot", "-kernel", image, "--protocol", protocol, "-m", "64", "--mode", mode, "-smp", String(smp)],
      ...["-append", "script=selftest;smp:count=200"],
    ]);
    expect(stdout).toContain(`booted by ${protocol}`);
    expect(stdout).toContain(`SMP ok n=${smp}`);
    expect(stdout).toContain("PASS ");
    expect(stdout).not.toContain("FAIL ");
    expect(status).toBe(Status.OK);
  });
});

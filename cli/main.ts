#!/usr/bin/env node
/** The command line: `exitless boot | compare | exits | conformance | debug`. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { StorageError } from "../devices/storage/errors.ts";
import { CPU_MODELS } from "../emulator/host/cpu-models.ts";
import { CostProfileError } from "../emulator/machine/cost-profile.ts";
import { CpuSpecError } from "../emulator/host/cpu-spec.ts";
import { BOOT_PROTOCOLS, type BootProtocol } from "../emulator/machine/loaders/boot-image.ts";
import { ImageError } from "../emulator/machine/loaders/image-error.ts";
import {
  OptionError,
  type CharacterOptions,
  type DeviceOptions,
  type DriveOptions,
  type FilterDumpOptions,
  type NetdevOptions,
} from "../hypervisor/machine.ts";
import type { RequestPath } from "../hypervisor/request-paths.ts";
import type { CompletionPath } from "../hypervisor/vm.ts";
import { normalizeArguments, parseBoot, parseDrive, parseMachine } from "./arguments.ts";
import { boot } from "./boot.ts";
import { conformance, formatConformance } from "./conformance.ts";
import { compareDisk, formatCompare } from "./compare.ts";
import { formatExits, measureExits } from "./exits.ts";
import { DEVICE_MODELS, parseCharacter, parseDevice } from "./devices.ts";
import { TypingOptions } from "./typing.ts";
import { NETDEV_KINDS, parseFilterDump, parseNetdev } from "./netdevs.ts";
import { Status } from "./status.ts";

let status: number = Status.OK;

const integer =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text.replace(/M$/, ""));
    if (!Number.isInteger(value) || value < least || value > most)
      throw new InvalidArgumentError(`must be an integer from ${least} to ${most}`);
    return value;
  };

/** A value parsed by a function whose errors say what is wrong. */
const parsed =
  <T>(parse: (text: string) => T) =>
  (text: string): T => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };

const typing = new TypingOptions();

const clockOption = (): Option =>
  new Option("--clock <clock>", "virtual: deterministic, costs charged; wall: a thread per CPU, real time")
    .choices(["virtual", "wall"])
    .default("virtual");

/** Gathers the values of an option that can be repeated. */
const collect =
  <T>(parse: (text: string) => T) =>
  (text: string, before: readonly T[]): readonly T[] => [...before, parsed(parse)(text)];

/** The options that say what machine to make: for `boot` and `debug`. */
function machineOptions(command: Command): Command {
  return command
    .option("--kernel <file>", "multiboot, PVH or Linux (bzImage) kernel")
    .option("--bios <file>", "BIOS image to start in, instead of a kernel (SeaBIOS's bios-256k.bin)")
    .option(
      "--boot <spec>",
      "order=LETTERS[,menu=on]: firmware's boot order, c hard disk, d CD-ROM",
      parsed(parseBoot),
    )
    .addOption(
      new Option("--vga <model>", "a VGA; default: std with -bios, else none").choices(["none", "std"]),
    )
    .option("--vga-bios <file>", "its option ROM; default: vgabios-stdvga.bin beside the BIOS image")
    .option("--bios-log <file>", "write what firmware says on its debug port (402H)")
    .option("--initrd <file>", "initial RAM disk, or module")
    .option("--append <string>", "kernel command line", "")
    .addOption(
      new Option("--protocol <name>", "boot protocol, where the image has several").choices([
        ...BOOT_PROTOCOLS,
      ]),
    )
    .option("--m <MiB>", "guest memory", integer(2, 2600), 128)
    .option("--smp <n>", "CPUs", integer(1, 8), 1)
    .option(
      "--cpu <model>",
      `${CPU_MODELS.join(", ")}; with ,+feature or ,-feature (-cpu max,-x2apic)`,
      "nehalem",
    )
    .option(
      "--drive <spec>",
      "file=F,if=ide|virtio|ahci|none[,id=D][,media=cdrom][,index=N][,readonly=on][,snapshot=on][,queues=N] (repeatable)",
      collect(parseDrive),
      [],
    )
    .option(
      "--device <spec>",
      `MODEL[,id=I][,addr=SLOT][,key=value…] (repeatable); models: ${DEVICE_MODELS.join(", ")}`,
      collect(parseDevice),
      [],
    )
    .option(
      "--netdev <spec>",
      `KIND,id=N[,loss=P][,duplicate=P][,reorder=P][,seed=N][,latency=US][,bandwidth=MBIT]… (repeatable); kinds: ${NETDEV_KINDS.join(", ")}`,
      collect(parseNetdev),
      [],
    )
    .option(
      "--object <spec>",
      "filter-dump,id=I,netdev=N,file=F[,maxlen=BYTES]: capture a network's frames (repeatable)",
      collect(parseFilterDump),
      [],
    )
    .option(
      "--machine <spec>",
      "hpet=on|off, pit=on|off: timers that the board has (repeatable)",
      collect(parseMachine),
      [],
    )
    .option("--balloon <MiB>", "memory that the balloon is to leave the guest", integer(1, 2600))
    .option("--chardev <spec>", "null|stdio|file,id=I[,path=F] (repeatable)", collect(parseCharacter), [])
    .option("--cdrom <file>", "a disc in the CD-ROM drive: file=FILE,if=ide,index=2,media=cdrom")
    .addOption(
      new Option("--mode <mode>", "as a virtual machine or on the bare machine")
        .choices(["vm", "metal"])
        .default("vm"),
    )
    .addOption(
      new Option("--path <path>", "who serves disk requests (vm)").choices(["user", "in-vmm", "poll"]),
    )
    .addOption(
      new Option("--completion <path>", "how completions reach the guest (vm)").choices(["inject", "eli"]),
    )
    .addOption(clockOption())
    .option("--cost <profile>", "cost profile: a name, or a .json file", "nehalem-2010");
}

interface MachineFlags {
  readonly kernel?: string;
  readonly bios?: string;
  readonly boot?: { order?: string; menu?: boolean };
  readonly biosLog?: string;
  readonly vga?: "none" | "std";
  readonly vgaBios?: string;
  readonly initrd?: string;
  readonly append: string;
  readonly protocol?: BootProtocol;
  readonly m: number;
  readonly smp: number;
  readonly cpu: string;
  readonly drive: readonly DriveOptions[];
  readonly device: readonly DeviceOptions[];
  readonly balloon?: number;
  readonly chardev: readonly CharacterOptions[];
  readonly netdev: readonly NetdevOptions[];
  readonly object: readonly FilterDumpOptions[];
  readonly cdrom?: string;
  readonly machine: readonly { readonly hpet?: boolean; readonly pit?: boolean }[];
  readonly mode: "vm" | "metal";
  readonly path?: RequestPath;
  readonly completion?: CompletionPath;
  readonly clock: "virtual" | "wall";
  readonly cost: string;
}

function machineOf(flags: MachineFlags): Parameters<typeof boot>[0]["machine"] {
  return {
    append: flags.append,
    memory: flags.m,
    smp: flags.smp,
    cpu: flags.cpu,
    drives:
      flags.cdrom === undefined
        ? flags.drive
        : [...flags.drive, { file: flags.cdrom, interface: "ide", media: "cdrom", index: 2 }],
    devices: flags.device,
    characters: flags.chardev,
    netdevs: flags.netdev,
    filterDumps: flags.object,
    timers: Object.assign({}, ...flags.machine) as (typeof flags.machine)[number],
    mode: flags.mode,
    ...(flags.balloon === undefined ? {} : { balloon: flags.balloon }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.bios === undefined ? {} : { bios: flags.bios }),
    ...(flags.boot?.order === undefined ? {} : { bootOrder: flags.boot.order }),
    ...(flags.boot?.menu === undefined ? {} : { bootMenu: flags.boot.menu }),
    ...(flags.vga === undefined ? {} : { vga: flags.vga }),
    ...(flags.vgaBios === undefined ? {} : { vgaBios: flags.vgaBios }),
    ...(flags.biosLog === undefined ? {} : { biosLog: flags.biosLog }),
    ...(flags.initrd === undefined ? {} : { initrd: flags.initrd }),
    ...(flags.protocol === undefined ? {} : { protocol: flags.protocol }),
    ...(flags.path === undefined ? {} : { path: flags.path }),
    ...(flags.completion === undefined ? {} : { completion: flags.completion }),
  };
}

const program = new Command("exitless")
  .description(
    "An x86-64 PC with Intel VT-x in WebAssembly: every VM exit counted, costed and re-runnable to the byte.",
  )
  .version("0.1.0")
  .exitOverride()
  .showHelpAfterError("(try --help)")
  .addHelpText(
    "after",
    `
Exit status: 0 power-off; (code << 1) | 1 from the debug-exit port; ${Status.USAGE} usage; ${Status.BAD_IMAGE} unreadable image;
${Status.TRIPLE_FAULT} triple fault; ${Status.TIMEOUT} timeout; ${Status.HALTED} halted for ever; ${Status.INTERNAL} internal error; ${Status.INTERRUPTED} interrupted.`,
  );

/** The options of a run: for `boot` and `screen`. */
function runOptions(command: Command): Command {
  return machineOptions(command)
    .option("--timeout <seconds>", "end the run after so much wall time", integer(1, 86400 * 365))
    .option("--stats <file>", "write counters as JSON at the end ('-': stderr)")
    .option("--trace <file>", "write one JSON line per VM exit; RIP and qualification as hexadecimal strings")
    .option("--screen <file>", "at the end, write the characters on the screen ('-': stderr)")
    .option("--screenshot <file>", "at the end, write the screen as a PNG")
    .option(
      "--keys <text>",
      "type on the guest's keyboard: characters, and QEMU's names of keys as in <ctrl-alt-delete> (repeatable)",
      parsed((text) => typing.type(text)),
    )
    .option(
      "--keys-at <seconds>",
      "time of the guest at which the next --keys are typed",
      parsed((text) => typing.at(text)),
    )
    .option(
      "--keys-after <text>",
      "text on the screen or serial port after which the next --keys are typed",
      parsed((text) => typing.after(text)),
    )
    .option(
      "--until <text>",
      "end the run, with status 0, once the guest has shown this on screen or serial port",
    )
    .option("--no-reboot", "end instead of resetting when the guest asks for a reset");
}

interface RunFlags extends MachineFlags {
  readonly timeout?: number;
  readonly stats?: string;
  readonly trace?: string;
  readonly screen?: string;
  readonly screenshot?: string;
  readonly until?: string;
  readonly reboot: boolean;
}

async function run(flags: RunFlags, console: "serial" | "screen"): Promise<void> {
  const machine = machineOf(flags);
  const { characters = [] } = machine;
  if (console === "screen" && characters.some(({ kind }) => kind === "stdio"))
    throw new OptionError("-chardev stdio: the terminal shows the screen; use boot, or -chardev file");
  if (console === "screen" && machine.vga === "none")
    throw new OptionError("-vga none: there is no screen to show; leave it out, or use boot");
  status = await boot({
    console,
    machine: {
      ...machine,
      ...(typing.typings.length > 0 && { keyboard: true }),
      ...(console === "screen" && { vga: machine.vga ?? "std" }),
    },
    clock: flags.clock,
    cost: flags.cost,
    timeoutSeconds: flags.timeout,
    stats: flags.stats,
    trace: flags.trace,
    screen: flags.screen,
    screenshot: flags.screenshot,
    typings: typing.typings,
    until: flags.until,
    reboot: flags.reboot,
  });
}

runOptions(
  program.command("boot").description("run a guest, its serial port on stdin and stdout (Ctrl-A X quits)"),
)
  .addHelpText(
    "after",
    `
Examples:
  exitless boot -kernel guest-images/images/kernel.elf -append script=hello
  exitless boot -kernel bzImage -initrd initrd.gz -append console=ttyS0 -m 256 -smp 2
  exitless boot -kernel kernel.elf -drive file=disk.img,if=virtio,snapshot=on --path poll --completion eli --stats -`,
  )
  .action((flags: RunFlags) => run(flags, "serial"));

runOptions(
  program
    .command("screen")
    .description(
      "run a guest, its VGA and keyboard in the terminal (Ctrl-A X quits); else print the screen at the end",
    ),
)
  .addHelpText(
    "after",
    `
Examples:
  exitless screen -bios bios-256k.bin -drive file=disk.img,if=ide,snapshot=on -m 256
  exitless screen -bios bios-256k.bin -cdrom debian.iso --until "boot:" | head`,
  )
  .action((flags: RunFlags) => run(flags, "screen"));

const progress = (done: number, total: number, what: string): void => {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${pc.dim(`[${done}/${total}]`)} ${what}${done === total ? "\n" : ""}`);
  else process.stderr.write(`[${done}/${total}] ${what}\n`);
};

const compare = program.command("compare").description("compare I/O paths");
compare
  .command("disk")
  .description("sequential and random reads over every request and completion path, and on the bare machine")
  .option("--json", "print JSON")
  .addOption(clockOption())
  .option("--requests <n>", "requests a row", integer(1, 1_000_000))
  .option("--image <file>", "disk image (default: 64 MiB made for the run)")
  .option("--cost <profile>", "cost profile", "nehalem-2010")
  .action(
    async (flags: {
      json?: boolean;
      clock: "virtual" | "wall";
      requests?: number;
      image?: string;
      cost: string;
    }) => {
      const { clock, requests, image, cost } = flags;
      const result = await compareDisk({ clock, requests, image, cost, progress });
      process.stdout.write(`${flags.json ? JSON.stringify(result, null, 2) : formatCompare(result, pc)}\n`);
      if (!result.rows.every((row) => row.verified && row.ledgerAgrees)) status = Status.INTERNAL;
    },
  );

program
  .command("exits")
  .description("what each kind of exit costs the guest, on metal and as a VM")
  .option("--json", "print JSON")
  .option("--cost <profile>", "cost profile", "nehalem-2010")
  .action((flags: { json?: boolean; cost: string }) => {
    const result = measureExits(flags.cost);
    process.stdout.write(`${flags.json ? JSON.stringify(result, null, 2) : formatExits(result)}\n`);
  });

program
  .command("conformance")
  .description("run a folder of built kvm-unit-tests by its unittests.cfg")
  .argument("<folder>", "folder with unittests.cfg and the images")
  .argument("[tests...]", "names of tests; default: all")
  .addOption(
    new Option("--mode <mode>", "as a virtual machine or on the bare machine")
      .choices(["vm", "metal"])
      .default("metal"),
  )
  .addOption(clockOption())
  .option("--timeout <seconds>", "wall time a test; default: what the file says, or 90", integer(1, 86400))
  .option("--logs <folder>", "write each test's output to a file there")
  .option("--json", "print JSON")
  .addHelpText(
    "after",
    `
Exit status: 0 when no test failed or timed out, else 1.

Example:
  exitless conformance kvm-unit-tests/x86 smptest realmode --mode vm --logs logs`,
  )
  .action(
    async (
      folder: string,
      names: readonly string[],
      flags: {
        mode: "vm" | "metal";
        clock: "virtual" | "wall";
        timeout?: number;
        logs?: string;
        json?: boolean;
      },
    ) => {
      const { mode, clock, timeout, logs } = flags;
      const result = await conformance({ folder, names, mode, clock, timeout, logs, progress });
      process.stdout.write(
        `${flags.json ? JSON.stringify(result, null, 2) : formatConformance(result, pc)}\n`,
      );
      if (result.rows.some((row) => row.verdict === "fail" || row.verdict === "timeout")) status = 1;
    },
  );

machineOptions(
  program
    .command("debug")
    .description("as boot, stopped at the first VM exit: step from exit to exit, forwards and backwards"),
)
  .option("--script <file>", "read commands from a file, one a line")
  .addHelpText(
    "after",
    "\nType help at the prompt for the commands. Writes to drives stay in memory. A reset ends the run.",
  )
  .action(async (flags: MachineFlags & { script?: string }) => {
    // Loaded when it is needed: the disassembler is large.
    const { debug } = await import("./debug.ts");
    status = await debug({ machine: machineOf(flags), cost: flags.cost, script: flags.script });
  });

try {
  await program.parseAsync(normalizeArguments(process.argv.slice(2)), { from: "user" });
} catch (error) {
  if (error instanceof CommanderError) status = error.exitCode === 0 ? Status.OK : Status.USAGE;
  else if (error instanceof ImageError || error instanceof StorageError) {
    process.stderr.write(`exitless: ${error.message}\n`);
    status = Status.BAD_IMAGE;
  } else if (
    error instanceof OptionError ||
    error instanceof CpuSpecError ||
    error instanceof CostProfileError ||
    error instanceof RangeError
  ) {
    process.stderr.write(`exitless: ${error.message}\n`);
    status = Status.USAGE;
  } else {
    process.stderr.write(
      `exitless: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    status = Status.INTERNAL;
  }
}
process.exitCode = status;

/**
 * What hostile input is tried on, kind by kind. A kind is `{ name, share, prepare(kit) }`: cases of a thousand, and a function that builds
 * what the cases share and gives `{ mutate(random), attempt(mutation, index), close() }`. An attempt ends in `{ outcome, detail, text, damaged }`:
 * what it came to, in a line and in all the guest's words, and the state blocks that were written beyond.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { HeldMachine, WatchedMachine } from "./held-machine.mjs";
import {
  CD_SECTOR, FIELD_KINDS, PAYLOAD_EXIT, PAYLOAD_TEXT, SECTOR, bootDisc, bootDisk, cut, damagedFiles, damagedTable, diskRegions,
} from "./hostile-images.mjs"; // prettier-ignore
import { Region, damage, mutated } from "./mutations.mjs";

/** Seconds of the host's for a case that takes about one; others have a multiple. */
const CASE_SECONDS = 6;

/** Classes of outcomes, and what each means. */
export const OUTCOMES = {
  booted: "the guest came through",
  complained: "the guest came through, with an error of its own",
  "guest error": "the guest says what is wrong and does not come through",
  shutdown: "triple fault, or a reset, without a word",
  "time over": "no end and no word within the bound",
  refused: "exitless says what is wrong with the input",
};

// --- what guests say

/** Of SeaBIOS and GRUB; a GRUB that comes to its prompt has not found its configuration. */
const BOOT_ERROR =
  /Boot failed: .*|No bootable device.*|error: .*|grub rescue>|grub>|(Geom|Read|Hard Disk|Floppy) Error|alloc magic is broken.*|unaligned pointer.*|.*free magic.*/i;
const LINUX_ERROR =
  /.*(EXT4-fs (error|warning)|EXT4-fs \(\S+\): .*(rror|bad|[Ii]nvalid|corrupt|not |no |fail|bogus|unsupported|larger|too |Can't|can't|can not)|JBD2: .*|I\/O error|Buffer I\/O|mount: mounting .*failed|Kernel panic|BUG:|Oops|WARNING: CPU|Initramfs unpacking failed|unable to |failed|-- System halted|invalid|truncated|overlapping|detected capacity change).*/;

/** Of a kernel on its way to /init, which also says that machines like these have no DMI. */
const KERNEL_ERROR =
  /.*(Kernel panic|BUG:|Oops|WARNING: CPU|-- System halted|decompression failed|Initramfs unpacking failed).*/;

/** In SeaBIOS's log. */
const ROM_ERROR = /.*(WARNING - |Out of memory).*/;

const lineOf = (pattern, text) => pattern.exec(text)?.[0].trim().slice(0, 100);

/** The outcome of a run. */
function judge({ end, text, isThrough, error }) {
  const word = lineOf(error, text);
  if (isThrough) return { text, outcome: word ? "complained" : "booted", detail: word ?? "" };
  if (word) return { text, outcome: "guest error", detail: word };
  return { text, outcome: end === "triple-fault" || end === "reset" ? "shutdown" : "time over", detail: end };
}

// --- disks by firmware and GRUB

const AFTER_POST = (text) => /Booting from (Hard Disk|DVD)/.test(text);
const IN_GRUB = (text) => text.includes("Welcome to GRUB!");
const TO_BOOT = { instructions: 400e6, cycles: 20e9, seconds: Infinity };

function firmwareMachine(kit, mode, drive, image) {
  return new HeldMachine(
    {
      bios: join(kit.guests, "bios-256k.bin"),
      memory: 16,
      mode,
      drives: [{ file: image.path, interface: "ide", ...drive }],
    },
    image,
  );
}

/** GRUB from an image: from before the boot record is read, and from when GRUB begins to look at file systems. */
class GrubBoots {
  #held;
  #early;
  #late;
  #choose;

  /** @param choose (random) → { mutation, isEarly } */
  constructor(held, choose) {
    this.#held = held;
    this.#choose = choose;
    const early = held.hold("its boot record", TO_BOOT, AFTER_POST);
    const late = held.hold("GRUB", TO_BOOT, IN_GRUB);
    this.#early = { moment: early, bound: this.#boundFrom(early, 1.25) };
    this.#late = { moment: late, bound: this.#boundFrom(late, 4) };
  }

  /** A multiple of what a whole boot takes from a moment, and time for reads that fail. */
  #boundFrom(moment, factor) {
    const held = this.#held;
    const end = held.attempt(moment, { patches: [] }, TO_BOOT, () => false);
    if (end !== PAYLOAD_EXIT || !held.text.includes(PAYLOAD_TEXT))
      throw new Error(`the whole image does not boot: ${end}\n${held.text}`);
    const { instructions, cycles } = held.since(moment, factor);
    return { instructions: instructions + 10e6, cycles: cycles + 500e6, seconds: CASE_SECONDS };
  }

  mutate(random) {
    const { mutation, isEarly } = this.#choose(random);
    return { ...mutation, isEarly, text: `${mutation.text}${isEarly ? "" : ", seen by GRUB alone"}` };
  }

  attempt(mutation) {
    const held = this.#held;
    const { moment, bound } = mutation.isEarly ? this.#early : this.#late;
    const end = held.attempt(moment, mutation, bound, (text) => BOOT_ERROR.test(text));
    const { text } = held;
    return {
      ...judge({
        end,
        text,
        isThrough: end === PAYLOAD_EXIT && text.includes(PAYLOAD_TEXT),
        error: BOOT_ERROR,
      }),
      damaged: held.machine.damagedRedZones(),
    };
  }

  close() {
    this.#held.close();
  }
}

function grubDisk(mode) {
  return (kit) => {
    const bytes = kit.once("GRUB's disk", () => bootDisk(kit, 0));
    const regions = diskRegions(bytes);
    const choose = (random) => {
      const kind = random.below(50);
      // What is read before GRUB runs costs a second or more a case: it is few of them.
      if (kind < 3) return { isEarly: true, mutation: damage(random, bytes, regions.record) };
      if (kind < 4) return { isEarly: true, mutation: damage(random, bytes, regions.core) };
      if (kind < 10)
        return { isEarly: random.below(3) === 0, mutation: damagedTable(random, bytes, regions) };
      if (kind < 14) return { isEarly: random.below(4) === 0, mutation: cut(random, bytes, SECTOR) };
      return { isEarly: false, mutation: damagedFiles(random, bytes, regions) };
    };
    const image = { path: join(kit.scratch, `grub-${mode}.img`), bytes };
    return new GrubBoots(firmwareMachine(kit, mode, { snapshot: true }, image), choose);
  };
}

/** A CD-ROM: descriptors, boot catalog, GRUB's image, directories. */
function grubIso(kit) {
  const { bytes, regions } = bootDisc(kit);
  const { descriptors, head, rest } = regions;
  const choose = (random) => {
    const isEarly = random.below(3) === 0;
    if (random.below(8) === 0) return { isEarly, mutation: cut(random, bytes, CD_SECTOR) };
    return { isEarly, mutation: damage(random, bytes, random.pick([descriptors, head, head, rest])) };
  };
  const image = { path: join(kit.scratch, "grub.iso"), bytes };
  return new GrubBoots(firmwareMachine(kit, "vm", { media: "cdrom", index: 2 }, image), choose);
}

// --- disks by Linux

const WORDS = "console=ttyS0 cryptomgr.notests panic=-1";
const TO_INIT = { instructions: 3e9, cycles: 60e9, seconds: Infinity };

const linux = (kit, options) => ({
  kernel: join(kit.guests, "cloud.bzimage"),
  protocol: "pvh",
  cpu: "skylake",
  memory: 96,
  ...options,
});

/** Debian's kernel with its own drivers and ext4: held before it looks for the disk. */
function linuxDisk({ mode, path, bus, modules, disk }) {
  return (kit) => {
    const bytes = kit.once("Linux's disk", () => bootDisk(kit, 40));
    const regions = diskRegions(bytes);
    const file = join(kit.scratch, `${disk}.img`);
    const options = linux(kit, {
      initrd: join(kit.guests, "cloud.initramfs.gz"),
      append: `${WORDS} modules=${modules} job=mount disk=${disk}`,
      mode,
      ...(path && { path }),
      drives: [{ file, interface: bus, snapshot: true }],
    });
    const held = new HeldMachine(options, { path: file, bytes });
    const moment = held.hold("/init", TO_INIT, (text) => text.includes("Run /init as init process"));
    const isThrough = (text) => /mount: \w+1 mounted[^]*init: job mount ended with status 0/.test(text);
    const end = held.attempt(moment, { patches: [] }, TO_INIT, () => false);
    if (end !== "power-off" || !isThrough(held.text))
      throw new Error(`the whole disk is not mounted: ${end}\n${held.text}`);
    // Drivers try again and again, and wait in between.
    const bound = { ...held.since(moment, 5), seconds: 3 * CASE_SECONDS };
    const clean = held.text;
    return {
      mutate(random) {
        const kind = random.below(20);
        if (kind < 3) return damagedTable(random, bytes, regions);
        return kind < 5 ? cut(random, bytes, SECTOR) : damagedFiles(random, bytes, regions);
      },
      attempt(mutation) {
        const how = held.attempt(moment, mutation, bound, (text) => text.includes("Kernel panic"));
        const { text } = held;
        return {
          ...judge({
            end: how,
            text: newLines(clean, text),
            isThrough: how === "power-off" && isThrough(text),
            error: LINUX_ERROR,
          }),
          damaged: held.machine.damagedRedZones(),
        };
      },
      close: () => held.close(),
    };
  };
}

/** Lines of `text` that a run without damage does not print; their times differ. */
function newLines(clean, text) {
  const plain = (line) => line.replace(/^\[ *[\d.]+\] /, "").trim();
  const known = new Set(clean.split("\n").map(plain));
  return text
    .split("\n")
    .map(plain)
    .filter((line) => !known.has(line))
    .join("\n");
}

// --- kernels and initramfs

const SETUP = new Region("setup header", [{ at: 0x1f1, length: 0x268 - 0x1f1 }]);

/** How far a damaged kernel has to come: its own unpacking over, or, where the host unpacks it, its own start over. */
const ARRIVALS = { linux: "Linux version ", pvh: "Run /init as init process" };

/** A damaged bzImage by one of its protocols: a machine of its own each. */
function bzImage(protocol) {
  return (kit) => {
    const path = join(kit.guests, "cloud.bzimage");
    const bytes = readFileSync(path);
    const packed = new Region("packed kernel", [{ at: 0x8000, length: bytes.length - 0x8000 }]);
    const arrives = (text) => text.includes(ARRIVALS[protocol]);
    const boot = (image, bound) => {
      const options = linux(kit, {
        kernel: { path: "bzImage", name: "bzImage", bytes: image },
        protocol,
        initrd: join(kit.guests, "cloud.tiny.gz"),
        append: `${WORDS} earlyprintk=ttyS0`,
        mode: "metal",
      });
      return once(kit, options, bound, arrives, KERNEL_ERROR);
    };
    const whole = boot(bytes, TO_INIT);
    if (whole.outcome !== "booted") throw new Error(`the whole bzImage does not start: ${whole.detail}`);
    const bound = {
      instructions: 2 * whole.instructions,
      cycles: 40 * whole.instructions,
      seconds: 5 * CASE_SECONDS,
    };
    return {
      mutate(random) {
        const kind = random.below(8);
        if (kind < 5) return damage(random, bytes, SETUP, FIELD_KINDS);
        return kind < 6
          ? cut(random, bytes, 1, random.pick([bytes.length, 0x10000]))
          : damage(random, bytes, packed);
      },
      attempt: (mutation) => boot(mutated(bytes, mutation), bound),
      close: () => undefined,
    };
  };
}

/** A machine for one case: refused, or run to a bound. `logged` is more that there is to read. */
function once(kit, options, bound, arrives, error, logged = () => "") {
  let watched;
  try {
    watched = new WatchedMachine(options);
  } catch (trouble) {
    if (!kit.isRefusal(trouble)) throw trouble;
    return { outcome: "refused", detail: trouble.message, damaged: [] };
  }
  try {
    const end = watched.run(bound, (text) => arrives(text + logged()) || error.test(text));
    const { machine } = watched;
    const text = watched.text + logged();
    return {
      ...judge({ end, text, isThrough: arrives(text), error }),
      damaged: machine.damagedRedZones(),
      instructions: machine.instructions,
    };
  } finally {
    watched.close();
  }
}

/** A damaged initramfs, put into the memory of a kernel that is about to unpack it: as cpio archive, or packed. */
function initramfs(kit) {
  const packed = readFileSync(join(kit.guests, "cloud.tiny.gz"));
  const archive = gunzipSync(packed);
  const options = linux(kit, {
    initrd: { path: "initramfs", name: "initramfs", bytes: archive },
    append: `${WORDS} job=none`,
    mode: "metal",
  });
  const held = new HeldMachine(options);
  const moment = held.hold("its initramfs", TO_INIT, (text) =>
    text.includes("Trying to unpack rootfs image"),
  );
  const place = held.machine.bootImage.segments.find(({ bytes }) => bytes.length === archive.length).physical;
  const isThrough = (text) => text.includes("init: reached");
  // The memory has room for the archive; what an image does not fill is zero.
  const run = (image, bound, isOver) => {
    const bytes = Buffer.alloc(archive.length);
    image.copy(bytes);
    return held.attemptInMemory(moment, place, bytes, bound, isOver);
  };
  for (const image of [packed, archive]) {
    const end = run(image, TO_INIT, () => false);
    if (end !== "power-off" || !isThrough(held.text))
      throw new Error(`the whole initramfs fails: ${end}\n${held.text}`);
  }
  const clean = held.text;
  const bound = { ...held.since(moment, 3), seconds: 3 * CASE_SECONDS };
  // newc headers are of 110 bytes, before every name.
  const headers = [];
  for (let at = archive.indexOf("070701"); at >= 0; at = archive.indexOf("070701", at + 6))
    headers.push({ at, length: 110 });
  const regions = {
    headers: new Region("cpio headers", headers),
    archive: new Region("cpio archive", [{ at: 0, length: archive.length }]),
    stream: new Region("gzip stream", [{ at: 0, length: packed.length }]),
    start: new Region("gzip header", [{ at: 0, length: 18 }]),
  };
  return {
    mutate(random) {
      const isPacked = random.below(2) === 0;
      const { headers, archive: whole, start, stream } = regions;
      const region = random.pick(isPacked ? [start, stream, stream] : [headers, headers, whole]);
      const image = isPacked ? packed : archive;
      const mutation = random.below(8) === 0 ? cut(random, image) : damage(random, image, region);
      return { ...mutation, image, text: `${isPacked ? "gzip" : "cpio"}, ${mutation.text}` };
    },
    attempt(mutation) {
      const how = run(mutated(mutation.image, mutation), bound, (text) => text.includes("Kernel panic"));
      return {
        ...judge({
          end: how,
          text: newLines(clean, held.text),
          isThrough: isThrough(held.text),
          error: LINUX_ERROR,
        }),
        damaged: held.machine.damagedRedZones(),
      };
    },
    close: () => held.close(),
  };
}

// --- ROMs

/** A damaged VGA option ROM: whether SeaBIOS, without a disk, comes to say that there is none. Its log shows it, whatever the screen does. */
function optionRom(kit) {
  const bytes = readFileSync(join(kit.guests, "vgabios-stdvga.bin"));
  const all = new Region("option ROM", [{ at: 0, length: bytes.length }]);
  const head = new Region("head of the option ROM", [{ at: 0, length: 64 }]);
  const vgaBios = join(kit.scratch, "vga.bin");
  const biosLog = join(kit.scratch, "bios.log");
  const logged = () => readFileSync(biosLog, "latin1");
  const arrives = (text) => text.includes("No bootable device.");
  const bound = { instructions: 12e6, cycles: 5e9, seconds: CASE_SECONDS };
  const boot = (image, mode) => {
    writeFileSync(vgaBios, image);
    const options = { bios: join(kit.guests, "bios-256k.bin"), vgaBios, biosLog, memory: 16, mode };
    return once(kit, options, bound, arrives, ROM_ERROR, logged);
  };
  for (const mode of ["metal", "vm"]) {
    const { outcome, detail } = boot(bytes, mode);
    if (outcome !== "booted") throw new Error(`the whole option ROM does not do: ${outcome} ${detail}`);
  }
  return {
    mutate: (random) =>
      random.below(6) === 0 ? cut(random, bytes) : damage(random, bytes, random.pick([head, all])),
    attempt: (mutation, index) => boot(mutated(bytes, mutation), index % 2 ? "vm" : "metal"),
    close: () => undefined,
  };
}

/** `share` is of a thousand disk images; those of `isDisk` make up the thousand. */
export const KINDS = [
  { name: "grub-vm", share: 720, isDisk: true, prepare: grubDisk("vm") },
  { name: "grub-metal", share: 140, isDisk: true, prepare: grubDisk("metal") },
  {
    name: "linux-virtio",
    share: 100,
    isDisk: true,
    prepare: linuxDisk({
      mode: "vm",
      path: "in-vmm",
      bus: "virtio",
      modules: "virtio_pci,virtio_blk",
      disk: "vda",
    }),
  },
  {
    name: "linux-ide",
    share: 40,
    isDisk: true,
    prepare: linuxDisk({ mode: "metal", bus: "ide", modules: "ata_piix,sd_mod", disk: "sda" }),
  },
  { name: "iso", share: 60, prepare: grubIso },
  { name: "initramfs", share: 60, prepare: initramfs },
  { name: "bzimage", share: 30, prepare: bzImage("linux") },
  { name: "bzimage-pvh", share: 20, prepare: bzImage("pvh") },
  { name: "option-rom", share: 30, prepare: optionRom },
];

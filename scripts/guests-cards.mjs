/**
 * Debian's unmodified kernels on our cards and board parts: AHCI, virtio-scsi, entropy, console, balloon, and the guest's own
 * listing of its machine.
 *
 *   npm run guests:cards                 all rows
 *   npm run guests:cards -- --only vm    rows whose name contains a word
 *   npm run guests:cards -- --update     writes the listings in test/golden/guests anew
 *   npm run guests:cards -- --jobs 2     so many at once (default: 2)
 *
 * Disks: the guest reads one (the host compares its MD5) and writes a file system that the host's e2fsck finds clean. Needs
 * `npm run guests:debian`, a built `dist/`, and e2fsprogs. Ends with status 1 if a row fails.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { complaints, diskFaults, exitless } from "./guests/boot.mjs";
import { writeDisk } from "./guests/disk.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const guests = join(root, "guests", "debian");
const golden = join(root, "test", "golden", "guests");
const SECONDS = 400;
const MEBIBYTES = 512;
const BALLOON_MEBIBYTES = 256;

const METAL = ["--mode", "metal"];
const VM = ["--mode", "vm"];
const SCSI = (disk) =>
  [
    ["-drive", `file=${disk},if=none,id=d0`, "-device", "virtio-scsi-pci,id=s,num_queues=2"],
    ["-device", "scsi-hd,drive=d0,bus=s.0,scsi-id=0,lun=0"],
  ].flat();
const IDE = (disk) => ["-drive", `file=${disk},if=ide`];
const AHCI = (disk) => ["-drive", `file=${disk},if=ahci`];
const SCSI_MODULES = "virtio_pci,virtio_scsi,sd_mod,ext4";
const AHCI_MODULES = "ahci,sd_mod,crc32c_generic,ext4";

/** Rows whose guest does the job `disk` on sda. */
const DISK_ROWS = [
  { name: "metal virtio-scsi", kernel: "cloud", machine: METAL, disk: SCSI, modules: SCSI_MODULES },
  { name: "metal virtio-scsi wall", kernel: "cloud", machine: [...METAL, "--clock", "wall"], disk: SCSI, modules: SCSI_MODULES },
  { name: "vm virtio-scsi user", kernel: "cloud", machine: [...VM, "--path", "user"], disk: SCSI, modules: SCSI_MODULES },
  { name: "vm virtio-scsi in-vmm", kernel: "cloud", machine: [...VM, "--path", "in-vmm"], disk: SCSI, modules: SCSI_MODULES },
  { name: "vm virtio-scsi poll eli", kernel: "cloud", machine: [...VM, "--path", "poll", "--completion", "eli"], disk: SCSI, modules: SCSI_MODULES },
  { name: "metal virtio-scsi generic", kernel: "generic", machine: METAL, disk: SCSI, modules: `${SCSI_MODULES},crc32c_generic` },
  { name: "metal ide generic", kernel: "generic", machine: METAL, disk: IDE, modules: "ata_piix,sd_mod,crc32c_generic,ext4" },
  { name: "metal ahci", kernel: "generic", machine: METAL, disk: AHCI, modules: AHCI_MODULES },
  { name: "vm ahci", kernel: "generic", machine: [...VM, "-cpu", "skylake"], disk: AHCI, modules: AHCI_MODULES },
]; // prettier-ignore

/** The other cards, in one machine. */
const CARD_ROWS = [
  { name: "metal cards", machine: METAL },
  { name: "vm cards", machine: VM },
  { name: "vm cards wall", machine: [...VM, "--clock", "wall"] },
];

const E1000 = ["-netdev", "loop,id=n", "-device", "e1000,netdev=n"];
const VIRTIO = (disk) =>
  [
    ["-drive", `file=${disk},if=virtio`, ...SCSI(disk), "-netdev", "loop,id=n", "-device", "virtio-net-pci,netdev=n"],
    ["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci", "-device", "virtio-serial-pci", "-device", "virtconsole"],
  ].flat(); // prettier-ignore
const VIRTIO_MODULES =
  "virtio_pci,virtio_blk,virtio_scsi,virtio_net,virtio_rng,virtio_balloon,virtio_console,sd_mod";

/** Machines whose guests say what they see. Who serves a virtio device, QEMU's process or vhost, a guest cannot see. */
const LISTINGS = [
  { name: "metal", kernel: "generic", machine: METAL, modules: "ata_piix,ahci,sd_mod,e1000",
    devices: (disk) => ["-drive", `file=${disk},if=ide`, ...AHCI(disk), ...E1000] },
  { name: "vm-full-virtualization", kernel: "generic", machine: VM, modules: "ata_piix,sd_mod,e1000",
    devices: (disk) => ["-drive", `file=${disk},if=ide`, ...E1000] },
  { name: "vm-virtio", kernel: "cloud", machine: [...VM, "--path", "user"], modules: VIRTIO_MODULES, devices: VIRTIO },
  { name: "vm-virtio", kernel: "cloud", machine: [...VM, "--path", "in-vmm"], modules: VIRTIO_MODULES, devices: VIRTIO },
  { name: "vm-virtio", kernel: "cloud", machine: [...VM, "--path", "poll"], modules: VIRTIO_MODULES, devices: VIRTIO },
]; // prettier-ignore

function common(kernel, words, more) {
  const image =
    kernel === "generic"
      ? ["-kernel", join(guests, "generic.elf"), "--protocol", "pvh"]
      : ["-kernel", join(guests, "cloud.bzimage")];
  return [
    ["boot", ...image, "-initrd", join(guests, `${kernel}.initramfs.gz`)],
    ["-cpu", "skylake", "-m", String(MEBIBYTES), "--timeout", String(SECONDS), ...more],
    ["-append", `console=ttyS0 cryptomgr.notests quiet ${words}`],
  ].flat();
}

/** Each row: its name, and a function that runs it in a folder of its own and returns what is wrong. */
function rows(update) {
  return [
    ...DISK_ROWS.map(({ name, kernel, machine, disk, modules }) => ({
      name,
      run: async (folder) => {
        const image = join(folder, "disk.img");
        writeDisk(image);
        const words = `modules=${modules} job=disk disk=sda`;
        const run = await exitless(common(kernel, words, [...machine, "-smp", "2", ...disk(image)]));
        return [run, diskFaults(run.output, image)];
      },
    })),
    ...CARD_ROWS.map(({ name, machine }) => ({ name, run: (folder) => runCards(machine, folder) })),
    ...LISTINGS.map(({ name, kernel, machine, modules, devices }) => ({
      name: `listing ${[name, ...machine.slice(3)].join(" ")}`,
      run: async (folder) => {
        const image = join(folder, "disk.img");
        writeDisk(image);
        const run = await exitless(
          common(kernel, `modules=${modules} job=listing`, [...machine, ...devices(image)]),
        );
        return [run, listingFaults(name, run.output, update)];
      },
    })),
  ];
}

async function runCards(machine, folder) {
  const port = join(folder, "port");
  const terminal = join(folder, "console");
  const disk = join(folder, "disk.img");
  writeDisk(disk);
  const cards = [
    ["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci", "--balloon", String(BALLOON_MEBIBYTES)],
    ["-chardev", `file,id=c,path=${terminal}`, "-chardev", `file,id=p,path=${port}`],
    ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=c"],
    ["-device", "virtserialport,chardev=p,name=org.exitless.test"],
    ["-drive", `file=${disk},if=none,id=a`, "-device", "virtio-scsi-pci"],
    ["-device", "scsi-hd,drive=a,scsi-id=1,lun=2"],
  ].flat();
  const modules = "virtio_pci,virtio_rng,virtio_console,virtio_balloon,virtio_scsi,sd_mod";
  const run = await exitless(common("cloud", `modules=${modules} job=cards`, [...machine, ...cards]));
  const wrong = [];
  for (const line of [
    "cards: rng virtio_rng.0",
    "cards: hwrng 64 bytes",
    "org.exitless.test",
    "cards: console hvc0",
    "cards: scsi 0:0:1:2 EXITLESS HARDDISK",
  ])
    if (!run.output.includes(line)) wrong.push(`no line "${line}"`);
  const lines = Array.from({ length: 2000 }, (_, i) => `${i + 1}\n`).join("");
  if (readFileSync(port, "utf8") !== lines)
    wrong.push("what the guest wrote to its port did not arrive whole");
  if (!readFileSync(terminal, "utf8").includes("a line for the console"))
    wrong.push("nothing came to the console");
  const left = Number(/cards: balloon (\d+) kB/.exec(run.output)?.[1]);
  if (!(left < BALLOON_MEBIBYTES * 1024))
    wrong.push(`the balloon left ${left} kB of ${BALLOON_MEBIBYTES} MiB`);
  return [run, wrong];
}

function listingFaults(name, output, update) {
  const text = /^listing: pci\r?$[^]*?(?=^listing: end)/m.exec(output)?.[0].replaceAll("\r", "");
  if (text === undefined) return ["no listing"];
  const file = join(golden, `${name}.txt`);
  if (update) {
    mkdirSync(golden, { recursive: true });
    writeFileSync(file, text);
  }
  if (!existsSync(file)) return [`${file} is missing: run with --update`];
  return readFileSync(file, "utf8") === text ? [] : [`the listing differs from ${file}:\n${text}`];
}

async function main() {
  const words = process.argv.slice(2);
  const option = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
  if (!existsSync(join(guests, "cloud.bzimage"))) {
    console.error("guests-cards: there are no guests: run npm run guests:debian");
    return 2;
  }
  const only = option("--only");
  const chosen = rows(words.includes("--update")).filter(
    ({ name }) => only === undefined || name.includes(only),
  );
  const scratch = mkdtempSync(join(tmpdir(), "exitless-cards-"));
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  let failed = 0;
  let next = 0;
  const worker = async () => {
    while (next < chosen.length) {
      const index = next++;
      const { name, run } = chosen[index];
      const folder = join(scratch, String(index));
      mkdirSync(folder);
      const started = process.hrtime.bigint();
      const [{ status, output, errors }, faults] = await run(folder);
      const wrong = [...faults, ...complaints(output)];
      if (status !== 0) wrong.unshift(`status ${status}: ${errors.trim().split("\n").at(-1) ?? ""}`);
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      rmSync(folder, { recursive: true });
      console.log(
        `${name}: ${wrong.length === 0 ? "pass" : `FAIL ${wrong.join("; ")}`} (${seconds.toFixed(0)} s)`,
      );
      if (wrong.length > 0) console.error(output.split("\n").slice(-15).join("\n"));
      failed += wrong.length > 0 ? 1 : 0;
    }
  };
  await Promise.all(Array.from({ length: Number(option("--jobs") ?? 2) }, worker));
  console.log(`${chosen.length - failed} of ${chosen.length} pass`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();

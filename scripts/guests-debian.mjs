/**
 * The guest kit: Debian's kernels, BusyBox, SeaBIOS, GRUB and memtest86+ in `guests/debian/`, and an initramfs for each kernel.
 *
 *   npm run guests:debian            fetches what is missing and builds
 *   npm run guests:debian -- --fresh begins anew
 *
 * Needs a Debian (apt-get, dpkg-deb, xz); nothing is installed, nothing of it may be committed. Ends with status 0, or 1 and
 * a message.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildInitramfs } from "./guests/initramfs.mjs";
import { KernelModules } from "./guests/kernel-modules.mjs";
import { packageBehind, unpackedPackage } from "./guests/packages.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "guests", "debian");
const sources = join(root, "guest-images", "linux");

const KERNELS = [
  { name: "cloud", metapackage: "linux-image-cloud-amd64", pattern: /^linux-image-\d.*-cloud-amd64$/ },
  { name: "generic", metapackage: "linux-image-amd64", pattern: /^linux-image-\d.*\d-amd64$/ },
];

/** Modules that a guest of ours may want; each kernel has some of them. */
const MODULES = [
  "virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_rng", "virtio_console", "virtio_balloon",
  "ata_piix", "ahci", "sd_mod", "sr_mod", "isofs", "crc32c_generic", "ext4", "e1000", "psmouse", "kvm_intel", "ata_generic",
]; // prettier-ignore

const XZ_MAGIC = 0xfd377a58;

/** Where each file of a package goes. */
const FILES = [
  { package: "seabios", from: "usr/share/seabios/bios-256k.bin", to: "bios-256k.bin" },
  { package: "seabios", from: "usr/share/seabios/vgabios-stdvga.bin", to: "vgabios-stdvga.bin" },
  { package: "memtest86+", from: "boot/memtest86+x64.bin", to: "memtest86+x64.bin" },
];

/** A tool as root file system: every program it needs is in it. */
const TREES = ["grub-pc-bin", "grub-common"];

function build() {
  if (process.argv.includes("--fresh")) rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const note = (text) => process.stderr.write(`guests: ${text}\n`);
  const busyboxPackage = unpackedPackage("busybox-static", folder);
  const busybox = readFileSync(join(busyboxPackage, "bin", "busybox"));
  for (const kernel of KERNELS) {
    const name = packageBehind(kernel.metapackage, kernel.pattern);
    note(name);
    const tree = unpackedPackage(name, folder);
    const boot = join(tree, "boot");
    const image = readdirSync(boot).find((file) => file.startsWith("vmlinuz-"));
    const version = image.slice("vmlinuz-".length);
    copyFileSync(join(boot, image), join(folder, `${kernel.name}.bzimage`));
    writeFileSync(join(folder, `${kernel.name}.version`), `${version}\n`);
    const modules = new KernelModules(join(tree, "lib", "modules", version));
    writeFileSync(
      join(folder, `${kernel.name}.initramfs.gz`),
      buildInitramfs({ busybox, sources, modules, names: MODULES, programs: ownPrograms() }),
    );
    writeFileSync(
      join(folder, `${kernel.name}.tiny.gz`),
      buildInitramfs({ busybox, sources, programs: ownPrograms() }),
    );
    unpackXz(join(folder, `${kernel.name}.bzimage`), join(folder, `${kernel.name}.elf`));
  }
  for (const file of FILES)
    copyFileSync(join(unpackedPackage(file.package, folder), file.from), join(folder, file.to));
  for (const tree of TREES) unpackedPackage(tree, folder);
  note(`done: ${folder}`);
}

/** Static programs of ours, for /bin of the initramfs. */
const PROGRAMS = ["flow", "kvm-guest", "tsc"];

function ownPrograms() {
  return Object.fromEntries(
    PROGRAMS.map((file) => [file, readFileSync(join(root, "guest-images", "images", file))]),
  );
}

/**
 * Leaves the ELF file inside a bzImage packed with XZ, which `exitless boot --protocol pvh` does not unpack itself: Linux kernel
 * documentation, "The Linux/x86 Boot Protocol", payload_offset and payload_length.
 */
function unpackXz(bzImage, elf) {
  const bytes = readFileSync(bzImage);
  const start = ((bytes[0x1f1] || 4) + 1) * 512 + bytes.readUInt32LE(0x248);
  const payload = bytes.subarray(start, start + bytes.readUInt32LE(0x24c));
  if (payload.readUInt32BE(0) !== XZ_MAGIC) return;
  // The payload ends with the length that it unpacks to, which is no part of the stream.
  const length = payload.readUInt32LE(payload.length - 4);
  const result = spawnSync("xz", ["-dc", "--single-stream"], {
    input: payload.subarray(0, -4),
    maxBuffer: 1 << 30,
  });
  if (result.error || result.stdout.length !== length)
    throw new Error(`${bzImage}: xz could not unpack it: ${result.error?.message ?? result.stderr}`);
  writeFileSync(elf, result.stdout);
}

try {
  build();
} catch (error) {
  process.stderr.write(`guests: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

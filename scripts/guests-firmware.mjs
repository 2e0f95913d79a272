/**
 * Boots by firmware: SeaBIOS and GRUB with Debian's cloud kernel from a disk and from a CD-ROM, and memtest86+, each on metal and as a VM.
 *
 *   npm run guests:firmware              all of them
 *   npm run guests:firmware -- --only vm rows whose description contains a word
 *
 * Builds the images in `guests/debian/firmware/` and leaves the screens there, as text and as PNG. Needs `npm run guests:debian`, a built
 * `dist/`, e2fsprogs and xorriso. Ends with status 1 if a row fails.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SCREEN_MODULES, buildDiskImage, findFile } from "./guests/disk-image.mjs";
import { buildIsoImage } from "./guests/iso-image.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const guests = join(root, "guests", "debian");
const folder = join(guests, "firmware");
const grub = ["grub-common", "grub-pc-bin"].map((name) => join(guests, "packages", name));
const SECONDS = 900;

/** One entry, started at once; the kernel's words go where GRUB's go. */
const entry = (prelude, append) => `${prelude}
set timeout=0
menuentry "Debian" {
  linux /boot/vmlinuz cryptomgr.notests job=none ${append}
  initrd /boot/initramfs.gz
}
`;
const SERIAL = "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial";
const FRAME_BUFFER = `loadfont /boot/grub/unicode.pf2
set gfxmode=800x600x32
set gfxpayload=keep
terminal_output gfxterm`;

function buildImages() {
  mkdirSync(folder, { recursive: true });
  const kernel = {
    "boot/vmlinuz": join(guests, "cloud.bzimage"),
    "boot/initramfs.gz": join(guests, "cloud.tiny.gz"),
  };
  const font = { "boot/grub/unicode.pf2": findFile(grub, "usr/share/grub/unicode.pf2") };
  const disk = (name, files, config, modules) =>
    buildDiskImage({ grub, output: join(folder, name), sizeMib: 48, files, config, modules });
  disk("serial.img", kernel, entry(SERIAL, "console=ttyS0"), []);
  disk("text.img", kernel, entry("set gfxpayload=text", ""), []);
  disk("picture.img", { ...kernel, ...font }, entry(FRAME_BUFFER, ""), SCREEN_MODULES);
  const memtest = { "boot/memtest.bin": join(guests, "memtest86+x64.bin") };
  disk("memtest.img", memtest, "set timeout=0\nmenuentry memtest {\n  linux16 /boot/memtest.bin\n}\n", []);
  const iso = { grub, files: kernel, config: entry(SERIAL, "console=ttyS0") };
  buildIsoImage({ ...iso, output: join(folder, "serial.iso") });
}

const image = (name) => ["-drive", `file=${join(folder, name)},if=ide,snapshot=on`];
const REACHED = /init: reached on (\d) CPU/;

/** What to boot, and what shows that it worked: in what it sends, or on its screen. */
const GUESTS = {
  "disk, serial": { args: image("serial.img"), sends: REACHED },
  "disk, serial, no VGA, 2 CPUs": {
    args: [...image("serial.img"), "-vga", "none", "-smp", "2"],
    sends: REACHED,
  },
  "CD-ROM, serial": { args: ["-cdrom", join(folder, "serial.iso")], sends: REACHED },
  "disk, text screen": { args: image("text.img"), shows: REACHED },
  "disk, frame buffer": { args: image("picture.img"), pictures: [800, 600] },
  memtest86: {
    args: [...image("memtest.img"), "--until", "to start testing"],
    shows: /Memtest86\+[^]*to start testing/,
  },
};

const rows = ["metal", "vm"].flatMap((mode) =>
  Object.entries(GUESTS).map(([name, guest]) => ({ name: `${mode}: ${name}`, mode, ...guest })),
);

/** Runs a row; resolves to undefined, or to what is wrong. */
function boot(row, index) {
  const screen = join(folder, `${index}.txt`);
  const picture = join(folder, `${index}.png`);
  for (const file of [screen, picture]) rmSync(file, { force: true });
  const hasScreen = !row.args.includes("none");
  const args = [
    ...[
      join(root, "dist/cli.js"),
      "boot",
      "-bios",
      join(guests, "bios-256k.bin"),
      "-m",
      "256",
      "-cpu",
      "skylake",
    ],
    ...["--mode", row.mode, "--timeout", String(SECONDS), ...row.args],
    ...(hasScreen ? ["--screen", screen, "--screenshot", picture] : []),
  ];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let sent = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (sent += data));
    child.on("close", (status) => {
      if (status !== 0) return resolve(`status ${status}: ${sent.slice(-500)}`);
      if (row.sends && !row.sends.test(sent)) return resolve(`not sent: ${row.sends}`);
      const shown = existsSync(screen) ? readFileSync(screen, "utf8") : "";
      if (row.shows && !row.shows.test(shown)) return resolve(`not shown: ${row.shows}\n${shown}`);
      if (row.pictures) {
        const png = readFileSync(picture);
        const size = [png.readUInt32BE(16), png.readUInt32BE(20)];
        if (String(size) !== String(row.pictures)) return resolve(`a screen of ${size.join(" x ")}`);
      }
      resolve(undefined);
    });
  });
}

const only = process.argv[process.argv.indexOf("--only") + 1];
const chosen = process.argv.includes("--only") ? rows.filter(({ name }) => name.includes(only)) : rows;
buildImages();
for (const row of chosen) {
  const started = Date.now();
  const wrong = await boot(row, rows.indexOf(row));
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(
    `${wrong === undefined ? "PASS" : "FAIL"} ${row.name} (${seconds} s)${wrong === undefined ? "" : ` ${wrong}`}`,
  );
  if (wrong !== undefined) process.exitCode = 1;
}

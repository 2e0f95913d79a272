/**
 * The guest's console as a person at a terminal meets it: `exitless boot`, or `exitless screen`, in tmux, with an interactive BusyBox
 * shell. Arrow keys edit, Up recalls, Tab completes, Ctrl-C interrupts the guest's program and not ours, Ctrl-A X quits and leaves the
 * terminal as it was.
 *
 *   node scripts/guests/console.mjs [vm|metal] [screen]
 *
 * With `screen` the shell is on the VGA, behind SeaBIOS and GRUB, whose menu is used too. Needs tmux, `npm run guests:debian` and a built `dist/`. Ends with status 1 and the screen if something is not as it should be.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildDiskImage } from "./disk-image.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const guests = join(root, "guests", "debian");
const session = `exitless-console-${process.pid}`;
const SECONDS = 180;

const tmux = (...args) => {
  const result = spawnSync("tmux", ["-L", session, ...args], { encoding: "utf8" });
  if (result.error) throw new Error(`tmux: ${result.error.message}`);
  return result.stdout;
};
const screen = () => tmux("capture-pane", "-p", "-t", session);
const keys = (...names) => tmux("send-keys", "-t", session, ...names);

/** Waits until the screen has what is wanted. */
async function expectScreen(what, pattern) {
  for (let i = 0; i < SECONDS * 10; i++) {
    if (pattern.test(screen())) {
      console.log(`console: ${what}`);
      return;
    }
    await sleep(100);
  }
  throw new Error(`${what}: not seen within ${SECONDS} s\n${screen()}`);
}

const mode = process.argv[2] ?? "metal";
const onScreen = process.argv[3] === "screen";
const scratch = mkdtempSync(join(tmpdir(), "exitless-console-"));

/** A disk whose GRUB waits in a menu of two kernels, of which the second gives a shell on the VGA. */
function menuDisk() {
  const output = join(scratch, "disk.img");
  const entry = (title, words) =>
    `menuentry "${title}" {\n  linux /vmlinuz cryptomgr.notests quiet ${words}\n  initrd /initramfs.gz\n}\n`;
  buildDiskImage({
    grub: ["grub-common", "grub-pc-bin"].map((name) => join(guests, "packages", name)),
    output,
    sizeMib: 48,
    files: { vmlinuz: join(guests, "cloud.bzimage"), "initramfs.gz": join(guests, "cloud.tiny.gz") },
    config: `set timeout=-1\n${entry("Power off", "job=none")}${entry("A shell", "")}`,
  });
  return output;
}

const machine = ["-cpu", "skylake", "-m", "128", "--mode", mode];
const words = onScreen
  ? ["screen", ...machine, "-bios", join(guests, "bios-256k.bin"), "-drive", `file=${menuDisk()},if=ide,snapshot=on`]
  : [
      ...["boot", ...machine, "-kernel", join(guests, "cloud.bzimage"), "--protocol", "pvh"],
      ...["-initrd", join(guests, "cloud.tiny.gz"), "-append", "'console=ttyS0 cryptomgr.notests quiet'"],
    ];
const command = [process.execPath, join(root, "dist", "cli.js"), ...words].join(" ");
try {
  tmux("new-session", "-d", "-s", session, "-x", "100", "-y", "40", "env PS1='host$ ' sh");
  keys(command, "Enter");
  if (onScreen) {
    await expectScreen("GRUB's menu", /GNU GRUB[^]*A shell/);
    keys("Down");
    await expectScreen("Down moves in it", /\*A shell/);
    keys("Enter");
  }
  await expectScreen("the guest's prompt", /^\/ #\s*$/m);
  keys("echo one three", "Left", "Left", "Left", "Left", "Left", "two ", "Enter");
  await expectScreen("Left moves within the line", /^one two three$/m);
  keys("Up", "BSpace", "BSpace", "BSpace", "BSpace", "BSpace", "four", "Enter");
  await expectScreen("Up recalls it", /^one two four$/m);
  keys("echo /proc/cpui", "Tab", "Enter");
  await expectScreen("Tab completes", /^\/proc\/cpuinfo$/m);
  keys("sleep 100000; echo status $?", "Enter");
  await sleep(500);
  keys("C-c");
  await sleep(500);
  keys("echo still here", "Enter");
  await expectScreen("Ctrl-C reaches the guest", /^still here$/m);
  if (!onScreen) {
    keys("stty size < /dev/console; echo ended", "Enter");
    await expectScreen("a program that talks to the terminal", /^ended$/m);
  }
  keys("C-a", "x");
  await expectScreen("Ctrl-A X quits", /terminated by Ctrl-A X\s+host\$\s*$/m);
  keys("stty -a | grep -o ' icanon'; echo back", "Enter");
  await expectScreen("the terminal is as it was", /^ icanon\s+back$/m);
  console.log(`console: PASS (${mode}${onScreen ? ", screen" : ""})`);
} catch (error) {
  console.error(`console: FAIL ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  tmux("kill-server");
  rmSync(scratch, { recursive: true, force: true });
}

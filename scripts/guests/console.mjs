/**
 * The guest's console as a person at a terminal meets it: `exitless boot` in tmux, with an interactive BusyBox shell. Arrow keys edit, Up
 * recalls, Tab completes, Ctrl-C interrupts the guest's program and not ours, Ctrl-A X quits and leaves the terminal as it was.
 *
 *   node scripts/guests/console.mjs [vm|metal]
 *
 * Needs tmux, `npm run guests:debian` and a built `dist/`. Ends with status 1 and the screen if something is not as it should be.
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

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
const command = [
  process.execPath,
  join(root, "dist", "cli.js"),
  ...["boot", "-kernel", join(guests, "cloud.bzimage"), "--protocol", "pvh"],
  ...["-initrd", join(guests, "cloud.tiny.gz"), "-cpu", "skylake", "-m", "128", "--mode", mode],
  ...["-append", "'console=ttyS0 cryptomgr.notests quiet'"],
].join(" ");
try {
  tmux("new-session", "-d", "-s", session, "-x", "100", "-y", "40", "env PS1='host$ ' sh");
  keys(command, "Enter");
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
  keys("stty size < /dev/console; echo ended", "Enter");
  await expectScreen("a program that talks to the terminal", /^ended$/m);
  keys("C-a", "x");
  await expectScreen("Ctrl-A X quits", /terminated by Ctrl-A X\s+host\$\s*$/m);
  keys("stty -a | grep -o ' icanon'; echo back", "Enter");
  await expectScreen("the terminal is as it was", /^ icanon\s+back$/m);
  console.log(`console: PASS (${mode})`);
} catch (error) {
  console.error(`console: FAIL ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  tmux("kill-server");
}

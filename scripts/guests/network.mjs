/**
 * Networks of real guests: Debian's kernels, their own drivers, and TCP both ways with sums that must agree.
 *
 *   node scripts/guests/network.mjs                    every case, 1 MiB each way
 *   node scripts/guests/network.mjs --bytes 10485760   as many bytes
 *   node scripts/guests/network.mjs user e1000         cases whose names have all of the words
 *   node scripts/guests/network.mjs --list
 *
 * Needs `npm run build` and `npm run guests:debian`; the cases with `qemu` need qemu-system-x86_64. With tshark each capture is read by it
 * and must have no malformed packet. Ends with status 1 when a case fails.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const kit = join(root, "guests", "debian");
const SECONDS = 900;

const md5 = (bytes) => createHash("md5").update(bytes).digest("hex");
const has = (program) => spawnSync(program, ["--version"]).status === 0;

const MODELS = {
  virtio: { device: "virtio-net-pci", kernel: "cloud", modules: "virtio_pci,virtio_net" },
  e1000: { device: "e1000", kernel: "generic", modules: "e1000" },
};
const IMPAIRED = ",loss=0.01,reorder=0.01,duplicate=0.005,seed=7";

/** A guest's process, with its output. */
function guest({ model, job, bytes, options, program }) {
  const { kernel, modules } = MODELS[model];
  const elf = join(kit, `${kernel}.elf`);
  const image = kernel === "generic" && !program && existsSync(elf) ? elf : join(kit, `${kernel}.bzimage`);
  const append = `console=ttyS0 cryptomgr.notests quiet modules=${modules} job=network bytes=${bytes} ${job}`;
  const common = ["-kernel", image, "-initrd", join(kit, `${kernel}.initramfs.gz`), "-m", "256", "-append", append];
  const [command, ...args] = program ?? [
    process.execPath,
    join(root, "dist", "cli.js"),
    "boot",
    "--timeout",
    String(SECONDS),
  ];
  const child = spawn(command, [...args, ...common, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const take = (piece) => (output += piece);
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const ended = new Promise((resolve) => child.on("close", (status) => resolve({ status, output })));
  return { child, ended };
}

/** What must be in the output of a guest, by its role's name. */
function check({ status, output }, problems) {
  if (status !== 0) problems.push(`status ${status}`);
  if (/^PING/m.test(output) && !/3 packets received|[1-3] packets received, (0|33|66)% packet loss/.test(output))
    problems.push("ping failed");
  for (const line of output.split("\n"))
    if (/WARNING: CPU|unexpected|NETDEV WATCHDOG|Tx Unit Hang|BUG:|Call Trace/i.test(line)) problems.push(line.trim());
}

const said = (output, words) => new RegExp(`network: ${words} ([0-9a-f]{32})`).exec(output)?.[1];

function compare(what, sent, taken, problems) {
  if (sent === undefined || sent !== taken) problems.push(`${what}: sent ${sent}, taken ${taken}`);
}

/** Servers for the user network: one sends, the next port's takes. Returns both sums. */
async function hostServers(bytes) {
  const data = randomBytes(Math.floor(bytes / 65536) * 65536);
  const hash = createHash("md5");
  let isTaken;
  const taken = new Promise((resolve) => (isTaken = resolve));
  const sends = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {}).end(data));
  const takes = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (piece) => hash.update(piece));
    socket.on("end", () => isTaken(hash.digest("hex")));
  });
  for (let tries = 0; ; tries++) {
    const port = 41000 + Math.floor(Math.random() * 8000);
    const listen = (server, at) =>
      new Promise((resolve, reject) => server.once("error", reject).listen(at, "127.0.0.1", resolve));
    try {
      await listen(sends, port);
      await listen(takes, port + 1);
      const close = () => (sends.close(), takes.close());
      return { port, sum: md5(data), taken, close };
    } catch (error) {
      sends.close();
      if (tries > 20) throw error;
    }
  }
}

async function user({ model, bytes, mode, impaired, dump }) {
  const servers = await hostServers(bytes);
  const problems = [];
  const options = [...mode, "-netdev", `user,id=n${impaired}`, "-device", `${MODELS[model].device},netdev=n`, ...dump("n")];
  const run = await guest({ model, job: `network=user port=${servers.port}`, bytes, options }).ended;
  check(run, problems);
  compare("host to guest", servers.sum, said(run.output, "guest took"), problems);
  const late = new Promise((resolve) => setTimeout(() => resolve(undefined), 2000));
  compare("guest to host", said(run.output, "guest sends"), await Promise.race([servers.taken, late]), problems);
  if (!/network: address 10\.0\.2\.15 router 10\.0\.2\.2 dns 10\.0\.2\.3/.test(run.output)) problems.push("no DHCP lease");
  servers.close();
  return { problems, output: run.output };
}

function sumsOfTwo(output, problems) {
  compare("caller to server", said(output, "caller sends"), said(output, "server took"), problems);
  compare("server to caller", said(output, "server sends"), said(output, "caller took"), problems);
}

/** Two devices of one machine. */
async function peer({ model, bytes, mode, impaired, dump, device = MODELS[model].device }) {
  const problems = [];
  const options = [
    ...mode,
    ...["-netdev", `peer,id=a,link=lan${impaired}`, "-device", `${device},netdev=a`],
    ...["-netdev", "peer,id=b,link=lan", "-device", `${device},netdev=b`],
    ...dump("a"),
  ];
  const run = await guest({ model, job: "network=peer", bytes, options }).ended;
  check(run, problems);
  sumsOfTwo(run.output, problems);
  return { problems, output: run.output };
}

/** Two machines, by QEMU's framing over a socket. The one that answers may be QEMU. */
async function stream({ model, bytes, mode, impaired, dump, withQemu, folder }) {
  const problems = [];
  const { device } = MODELS[model];
  const path = join(folder, "link");
  const address = `addr.type=unix,addr.path=${path}`;
  const server = withQemu
    ? guest({
        model,
        job: "network=serve",
        bytes,
        program: ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-nographic", "-no-reboot"],
        options: ["-netdev", `stream,id=n,server=on,${address}`, "-device", `${device},netdev=n,mac=52:54:00:aa:bb:cc`],
      })
    : guest({
        model,
        job: "network=serve",
        bytes,
        options: [...mode, "-netdev", `stream,id=n,server=on,${address}`, "-device", `${device},netdev=n,mac=52:54:00:aa:bb:cc`],
      });
  const caller = guest({
    model,
    job: "network=call",
    bytes,
    options: [...mode, "-netdev", `stream,id=n,server=off,${address}${impaired}`, "-device", `${device},netdev=n`, ...dump("n")],
  });
  const first = await caller.ended;
  const hurry = setTimeout(() => server.child.kill(), 60_000);
  const second = await server.ended;
  clearTimeout(hurry);
  check(first, problems);
  if (second.status !== 0) problems.push(`the server ended with status ${second.status}`);
  const output = `${first.output}\n--- server\n${second.output}`;
  sumsOfTwo(output, problems);
  return { problems, output };
}

/** Two machines of this process on one switch, by the library: they take turns. */
async function twins({ model, bytes, metal }) {
  const { HostSwitch, Machine } = await import(join(root, "dist", "index.js"));
  const { device, kernel, modules } = MODELS[model];
  const elf = join(kit, `${kernel}.elf`);
  const link = new HostSwitch();
  const make = (job, mac) => {
    const one = { output: "", status: undefined };
    one.machine = new Machine({
      kernel: kernel === "generic" && existsSync(elf) ? elf : join(kit, `${kernel}.bzimage`),
      initrd: join(kit, `${kernel}.initramfs.gz`),
      append: `console=ttyS0 cryptomgr.notests quiet modules=${modules} job=network bytes=${bytes} network=${job}`,
      memory: 256,
      mode: metal ? "metal" : "vm",
      netdevs: [{ kind: "host", id: "n" }],
      devices: [{ model: device, netdev: "n", mac }],
      onSerial: (byte) => (one.output += String.fromCharCode(byte)),
    });
    link.connect(one.machine.network("n"));
    return one;
  };
  const both = [make("serve", "52:54:00:00:00:02"), make("call", "52:54:00:00:00:01")];
  const problems = [];
  const deadline = Date.now() + SECONDS * 1000;
  while (both.some(({ status }) => status === undefined)) {
    for (const one of both.filter(({ status }) => status === undefined)) {
      const { end } = one.machine.run({ untilCycle: one.machine.cycles + 5_000_000 });
      if (end === "power-off") one.status = 0;
      else if (end !== "paused" && !(end === "idle" && !one.machine.isDead)) one.status = 1;
    }
    if (Date.now() > deadline) break;
  }
  for (const one of both) {
    check({ status: one.status ?? "timeout", output: one.output }, problems);
    one.machine.close();
  }
  const output = both.map((one) => one.output).join("\n---\n");
  sumsOfTwo(output, problems);
  return { problems, output };
}

function cases() {
  const list = [];
  for (const model of Object.keys(MODELS)) {
    const metal = { model, mode: ["--mode", "metal"], impaired: "" };
    const vm = (path) => ({ ...metal, mode: ["--mode", "vm", "--path", path] });
    const wall = { ...metal, mode: ["--mode", "metal", "--clock", "wall"] };
    list.push({ name: `user ${model} metal`, run: user, ...metal });
    list.push({ name: `user ${model} vm in-vmm`, run: user, ...vm("in-vmm") });
    list.push({ name: `user ${model} wall`, run: user, ...wall });
    list.push({ name: `user ${model} impaired`, run: user, ...metal, impaired: IMPAIRED });
    list.push({ name: `peer ${model} metal`, run: peer, ...metal });
    list.push({ name: `peer ${model} vm user`, run: peer, ...vm("user") });
    if (model === "virtio")
      for (const [where, one] of [["metal", metal], ["vm poll", vm("poll")]])
        list.push({ name: `peer ${model} packed ${where}`, run: peer, ...one, device: "virtio-net-pci,packed=on" });
    list.push({ name: `peer ${model} vm poll`, run: peer, ...vm("poll") });
    list.push({ name: `peer ${model} impaired`, run: peer, ...metal, impaired: IMPAIRED });
    list.push({ name: `twins ${model}`, run: twins, model, metal: true });
    list.push({ name: `twins ${model} vm`, run: twins, model, metal: false });
    list.push({ name: `stream ${model} metal`, run: stream, ...metal });
    list.push({ name: `stream ${model} qemu`, run: stream, ...metal, withQemu: true });
    list.push({ name: `stream ${model} qemu impaired`, run: stream, ...metal, withQemu: true, impaired: IMPAIRED });
  }
  return list;
}

/** tshark's word on a capture: problems. */
function readCapture(file) {
  if (!has("tshark")) return [];
  const result = spawnSync("tshark", ["-r", file, "-Y", "_ws.malformed"], { encoding: "utf8", maxBuffer: 1 << 26 });
  const problems = result.stdout.trim() === "" ? [] : [`malformed: ${result.stdout.split("\n")[0]}`];
  if (result.status !== 0) problems.push(`tshark: ${result.stderr.trim()}`);
  return problems;
}

async function main() {
  const args = process.argv.slice(2);
  const at = args.indexOf("--bytes");
  const bytes = at < 0 ? 1 << 20 : Number(args[at + 1]);
  const words = args.filter((word, i) => !word.startsWith("--") && !(at >= 0 && i === at + 1));
  const chosen = cases().filter(({ name }) => words.every((word) => name.split(" ").includes(word)));
  if (args.includes("--list")) {
    for (const { name } of chosen) console.log(name);
    return;
  }
  if (!existsSync(join(kit, "cloud.bzimage"))) throw new Error("guests/debian is missing: npm run guests:debian");
  for (const one of chosen) {
    if (one.withQemu && !has("qemu-system-x86_64")) {
      console.log(`skip  ${one.name}: no qemu-system-x86_64`);
      continue;
    }
    const folder = mkdtempSync(join(tmpdir(), "exitless-network-"));
    const capture = join(folder, "capture.pcap");
    const dump = (netdev) => ["-object", `filter-dump,id=f,netdev=${netdev},file=${capture}`];
    const started = Date.now();
    const { problems, output } = await one.run({ ...one, bytes, dump, folder });
    if (existsSync(capture)) problems.push(...readCapture(capture));
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(`${problems.length === 0 ? "ok   " : "FAIL "} ${one.name} (${seconds} s)`);
    if (problems.length > 0) {
      process.exitCode = 1;
      for (const problem of problems) console.log(`      ${problem}`);
      if (args.includes("--verbose")) console.log(output);
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();

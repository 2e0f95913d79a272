/**
 * Networks of real guests: Debian's kernels, their own drivers, and TCP both ways with sums that must agree.
 *
 *   node scripts/guests/network.mjs                    every case, 1 MiB each way
 *   node scripts/guests/network.mjs --bytes 10485760   as many bytes
 *   node scripts/guests/network.mjs user e1000         the case of that name, else those whose names have all of the words
 *   node scripts/guests/network.mjs short              what CI runs: a few cases, 10 MiB each way where not said otherwise
 *   node scripts/guests/network.mjs --list
 *
 * Needs `npm run build` and `npm run guests:debian`; the cases with `qemu` need qemu-system-x86_64. tshark reads each capture, in which no
 * packet may be malformed; without these tools their part is left out, said so, and with CI set a failure. A line for each case has what
 * the guest's own clock says of each transfer. Ends with status 1 when a case fails.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ownNetwork } from "../own-network.mjs";
import { complaints } from "./boot.mjs";
import {
  askGuest,
  bulkServers,
  callGuest,
  nameServer,
  randomData,
  services,
  within,
} from "./network-host.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const kit = join(root, "guests", "debian");
const SECONDS = 900;

const has = (program) => spawnSync(program, ["--version"]).status === 0;

const MODELS = {
  virtio: { device: "virtio-net-pci", kernel: "cloud", modules: "virtio_pci,virtio_net" },
  e1000: { device: "e1000", kernel: "generic", modules: "e1000" },
  // The generic kernel's own drivers of both cards.
  both: {
    device: "e1000",
    other: "virtio-net-pci",
    kernel: "generic",
    modules: "e1000,virtio_pci,virtio_net",
  },
};
const IMPAIRED = ",loss=0.01,reorder=0.01,duplicate=0.005,seed=7";

/** A guest's process, with its output. */
function guest({ model, job, bytes, options, program, nodeOptions = [] }) {
  const { kernel, modules } = MODELS[model];
  const elf = join(kit, `${kernel}.elf`);
  const image = kernel === "generic" && !program && existsSync(elf) ? elf : join(kit, `${kernel}.bzimage`);
  const append = `console=ttyS0 cryptomgr.notests quiet modules=${modules} job=network bytes=${bytes} ${job}`;
  const common = [
    "-kernel",
    image,
    "-initrd",
    join(kit, `${kernel}.initramfs.gz`),
    "-m",
    "256",
    "-append",
    append,
  ];
  const [command, ...args] = program ?? [
    process.execPath,
    ...nodeOptions,
    join(root, "dist", "cli.js"),
    "boot",
    "--timeout",
    String(SECONDS),
  ];
  const child = spawn(command, [...args, ...common, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  const running = { child, output: "", ended: undefined };
  const take = (piece) => (running.output += piece);
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  running.ended = new Promise((resolve) =>
    child.on("close", (status) => resolve({ status, output: running.output })),
  );
  return running;
}

/** What must be in the output of a guest, by its role's name. */
function check({ status, output }, problems) {
  if (status !== 0) problems.push(`status ${status}`);
  if (
    /^PING/m.test(output) &&
    !/3 packets received|[1-3] packets received, (0|33|66)% packet loss/.test(output)
  )
    problems.push("ping failed");
  for (const line of output.split("\n"))
    if (/NETDEV WATCHDOG|Tx Unit Hang|Call Trace|network: FAIL/i.test(line)) problems.push(line.trim());
  problems.push(...complaints(output));
}

/** How many bytes went over, and their sum. */
const said = (output, words) =>
  new RegExp(`network: ${words} (\\d+ bytes, crc32c [0-9a-f]{8})`).exec(output)?.[1];

function compare(what, sent, taken, problems) {
  if (sent === undefined || sent !== taken) problems.push(`${what}: sent ${sent}, taken ${taken}`);
}

async function user({ model, bytes, mode, impaired, dump }) {
  const servers = await bulkServers(bytes);
  const problems = [];
  const options = [
    ...mode,
    "-netdev",
    `user,id=n${impaired}`,
    "-device",
    `${MODELS[model].device},netdev=n`,
    ...dump("n"),
  ];
  const run = await guest({ model, job: `network=user port=${servers.port}`, bytes, options }).ended;
  check(run, problems);
  compare("host to guest", servers.sum, said(run.output, "guest took"), problems);
  compare("guest to host", said(run.output, "guest sends"), await within(2000, servers.taken), problems);
  checkLease(run.output, problems);
  servers.close();
  return { problems, output: run.output };
}

function checkLease(output, problems) {
  if (!/network: address 10\.0\.2\.15 router 10\.0\.2\.2 dns 10\.0\.2\.3/.test(output))
    problems.push("no DHCP lease");
}

/** The address to reach "outwards", and where the process is told that it has it (RFC 5737, TEST-NET-1). */
const OUTSIDE = "192.0.2.1";
const OUTSIDE_SAID = "EXITLESS_OUTSIDE";

/**
 * Runs this script again in a network namespace of its own, in which its loopback interface has the outside address too: nothing listens
 * where others could reach it. Returns its status; undefined where the host does not allow that.
 */
function inOwnNetwork() {
  const [command, ...before] = ownNetwork();
  if (command === undefined) return undefined;
  const addresses = `ip link set lo up && ip addr add ${OUTSIDE}/32 dev lo && exec "$@"`;
  const run = (words, options) =>
    spawnSync(command, [...before, "sh", "-c", addresses, "sh", ...words], options);
  if (run(["true"]).status !== 0) return undefined;
  const env = { ...process.env, [OUTSIDE_SAID]: OUTSIDE };
  return run([process.execPath, ...process.argv.slice(1)], { stdio: "inherit", env }).status ?? 1;
}

/** Names, datagrams both ways, connections outwards, and ports of the host that lead to the guest. */
async function userServices({ model, bytes, mode, dump }) {
  const problems = [];
  const outside = process.env[OUTSIDE_SAID];
  const offered = await services(outside, bytes);
  const names = await nameServer("known.example", "192.0.2.7");
  const { data, sum } = randomData(bytes);
  const forwards = ["tcp::0-:40001", "tcp::0-:40002", "udp::0-:7"]
    .map((forward) => `,hostfwd=${forward}`)
    .join("");
  const options = [
    ...mode,
    "-netdev",
    `user,id=n${forwards}`,
    "-device",
    `${MODELS[model].device},netdev=n`,
    ...dump("n"),
  ];
  // The name server is the process's own, as its user may set it.
  const setServers = `import { setServers } from "node:dns"; setServers(["127.0.0.1:${names.port}"]);`;
  const job = `network=services port=${offered.port} closed=${offered.closed} ${outside ? `outside=${outside}` : ""}`;
  const running = guest({
    ...{ model, job, bytes, options },
    nodeOptions: ["--import", `data:text/javascript,${encodeURIComponent(setServers)}`],
  });
  let isOver = false;
  const ended = running.ended.finally(() => (isOver = true));
  const says = (words) => said(running.output, words) !== undefined;
  /** The host's port that leads to one of the guest's, once the command has said so. */
  const portOf = async (protocol, port) => {
    for (;;) {
      const found = new RegExp(`${protocol} 127\\.0\\.0\\.1:(\\d+) leads to 10\\.0\\.2\\.15:${port}\\b`).exec(
        running.output,
      );
      if (found || isOver) return Number(found?.[1]);
      await within(50, new Promise(() => {}));
    }
  };
  const forwarded = async () => {
    const answer = await askGuest(await portOf("udp", 7), "knock", () => isOver);
    await callGuest(await portOf("tcp", 40001), data, () => isOver || says("forwarded took"));
    const taken = await callGuest(await portOf("tcp", 40002), undefined, (one) => isOver || one?.bytes > 0);
    return { answer, taken };
  };
  const [run, { answer, taken }] = await Promise.all([ended, forwarded()]);
  check(run, problems);
  checkLease(run.output, problems);
  const wanted = [
    /network: dns Name:\s+known\.example/,
    /network: dns Address: 192\.0\.2\.7/,
    /network: dns \*\* server can't find unknown\.example: NXDOMAIN/,
    /network: loopback got loopback by 127\.0\.0\.1/,
    /network: refused .*Connection refused/,
    /network: forwarded answered knock/,
  ];
  if (outside) wanted.push(new RegExp(`network: outwards got outwards by ${outside}`));
  else console.log("note  this host allows no network namespace: nothing was sent outwards");
  for (const line of wanted) if (!line.test(run.output)) problems.push(`not seen: ${line.source}`);
  if (outside) compare("outwards", offered.sum, said(run.output, "outside took"), problems);
  if (answer !== "knock") problems.push(`the guest's answer: ${answer}`);
  compare("host's client to guest", sum, said(run.output, "forwarded took"), problems);
  compare("guest to host's client", said(run.output, "forwarded sends"), taken, problems);
  offered.close();
  names.close();
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
    ...["-netdev", "peer,id=b,link=lan", "-device", `${MODELS[model].other ?? device},netdev=b`],
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
        program: ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "Nehalem", "-nographic", "-no-reboot"],
        options: [
          "-netdev",
          `stream,id=n,server=on,${address}`,
          "-device",
          `${device},netdev=n,mac=52:54:00:aa:bb:cc`,
        ],
      })
    : guest({
        model,
        job: "network=serve",
        bytes,
        options: [
          ...mode,
          "-netdev",
          `stream,id=n,server=on,${address}`,
          "-device",
          `${device},netdev=n,mac=52:54:00:aa:bb:cc`,
        ],
      });
  const caller = guest({
    model,
    job: "network=call",
    bytes,
    options: [
      ...mode,
      "-netdev",
      `stream,id=n,server=off,${address}${impaired}`,
      "-device",
      `${device},netdev=n`,
      ...dump("n"),
    ],
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
  for (const model of ["virtio", "e1000"]) {
    const metal = { model, mode: ["--mode", "metal"], impaired: "" };
    const vm = (path) => ({ ...metal, mode: ["--mode", "vm", "--path", path] });
    const wall = { ...metal, mode: ["--mode", "metal", "--clock", "wall"] };
    list.push({ name: `user ${model} metal`, run: user, ...metal });
    list.push({ name: `user ${model} vm in-vmm`, run: user, ...vm("in-vmm") });
    list.push({ name: `user ${model} wall`, run: user, ...wall });
    list.push({ name: `user ${model} impaired`, run: user, ...metal, impaired: IMPAIRED });
    list.push({ name: `services ${model} metal`, run: userServices, ...metal });
    list.push({ name: `services ${model} vm in-vmm`, run: userServices, ...vm("in-vmm") });
    list.push({ name: `peer ${model} metal`, run: peer, ...metal });
    list.push({ name: `peer ${model} vm user`, run: peer, ...vm("user") });
    if (model === "virtio")
      for (const [where, one] of [
        ["metal", metal],
        ["vm poll", vm("poll")],
      ])
        list.push({
          name: `peer ${model} packed ${where}`,
          run: peer,
          ...one,
          device: "virtio-net-pci,packed=on",
        });
    list.push({ name: `peer ${model} vm poll`, run: peer, ...vm("poll") });
    list.push({ name: `peer ${model} impaired`, run: peer, ...metal, impaired: IMPAIRED });
    list.push({ name: `twins ${model}`, run: twins, model, metal: true });
    list.push({ name: `twins ${model} vm`, run: twins, model, metal: false });
    list.push({ name: `stream ${model} metal`, run: stream, ...metal });
    list.push({ name: `stream ${model} qemu`, run: stream, ...metal, withQemu: true });
    list.push({
      name: `stream ${model} qemu impaired`,
      run: stream,
      ...metal,
      withQemu: true,
      impaired: IMPAIRED,
    });
  }
  list.push({ name: "peer both metal", run: peer, model: "both", mode: ["--mode", "metal"], impaired: "" });
  return list;
}

/** What CI runs, and how many bytes each way. */
const SHORT = new Map([
  ["user virtio metal", 10 << 20],
  ["services e1000 metal", 1 << 18],
  ["peer e1000 impaired", 1 << 20],
  ["stream virtio qemu", 10 << 20],
]);

/** Whether a tool is there; where it is not, that is said, and in CI it fails. */
function needs(tool, name) {
  if (has(tool)) return true;
  console.log(`${process.env.CI ? "FAIL " : "skip "} ${name}: no ${tool}`);
  if (process.env.CI) process.exitCode = 1;
  return false;
}

/** What went over, by the guests' own clocks. */
function figures(output) {
  return [...output.matchAll(/network: (\w+ (?:sends|took)) (\d+) bytes, crc32c \w+, (\d+) ms/g)]
    .map(
      ([, what, bytes, ms]) =>
        `      ${what} ${bytes} bytes, ${(bytes / 1e3 / Math.max(1, ms)).toFixed(1)} MB/s`,
    )
    .join("\n");
}

/**
 * tshark's word on a capture: problems. Each frame is looked at by itself: what is moved is no protocol's, and tshark's attempts to put
 * streams together take what is sent again for malformed. (IP's checksum is never left to a card; TCP's may be.)
 */
function readCapture(file, name) {
  if (!needs("tshark", `the capture of ${name}`)) return [];
  const settings = ["tcp.desegment_tcp_streams:FALSE", "ip.check_checksum:TRUE"].flatMap((one) => [
    "-o",
    one,
  ]);
  const filter = "_ws.malformed || ip.checksum.status == 0";
  const result = spawnSync("tshark", ["-n", "-r", file, ...settings, "-Y", filter], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const problems = result.stdout.trim() === "" ? [] : [`malformed: ${result.stdout.split("\n")[0]}`];
  if (result.status !== 0) problems.push(`tshark: ${result.stderr.trim()}`);
  return problems;
}

async function main() {
  const args = process.argv.slice(2);
  const at = args.indexOf("--bytes");
  const asked = at < 0 ? undefined : Number(args[at + 1]);
  const words = args.filter((word, i) => !word.startsWith("--") && !(at >= 0 && i === at + 1));
  const isShort = words[0] === "short";
  const all = cases();
  const exact = all.filter(({ name }) => name === words.join(" "));
  const matching = all.filter(({ name }) =>
    isShort ? SHORT.has(name) : words.every((word) => name.split(" ").includes(word)),
  );
  const chosen = exact.length > 0 ? exact : matching;
  if (chosen.length === 0) throw new Error(`no case has all of these words: ${words.join(" ")}`);
  if (args.includes("--list")) {
    for (const { name } of chosen) console.log(name);
    return;
  }
  if (!existsSync(join(kit, "cloud.bzimage")))
    throw new Error("guests/debian is missing: npm run guests:debian");
  if (chosen.some(({ run }) => run === userServices) && process.env[OUTSIDE_SAID] === undefined) {
    const status = inOwnNetwork();
    if (status !== undefined) {
      process.exitCode = status;
      return;
    }
  }
  for (const one of chosen) {
    if (one.withQemu && !needs("qemu-system-x86_64", one.name)) continue;
    const bytes = asked ?? (isShort ? SHORT.get(one.name) : 1 << 20);
    const folder = mkdtempSync(join(tmpdir(), "exitless-network-"));
    const capture = join(folder, "capture.pcap");
    const dump = (netdev) => ["-object", `filter-dump,id=f,netdev=${netdev},file=${capture}`];
    const started = Date.now();
    const { problems, output } = await one.run({ ...one, bytes, dump, folder });
    if (existsSync(capture)) problems.push(...readCapture(capture, one.name));
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(`${problems.length === 0 ? "ok   " : "FAIL "} ${one.name} (${seconds} s)`);
    console.log(figures(output));
    if (problems.length > 0) {
      process.exitCode = 1;
      for (const problem of problems) console.log(`      ${problem}`);
      if (args.includes("--verbose")) console.log(output);
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();

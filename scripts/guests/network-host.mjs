/** The host's side of network.mjs: servers that a guest talks to, clients of ports that lead to it, and sums of what went over. */
import { createCipheriv } from "node:crypto";
import { createSocket } from "node:dgram";
import { createConnection, createServer } from "node:net";

/** CRC-32C (Castagnoli), the sum of SSE4.2's CRC32 instruction: a table for each of eight bytes at once. */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  TABLES[0][byte] = sum;
}
for (let table = 1; table < 8; table++)
  for (let byte = 0; byte < 256; byte++) {
    const sum = TABLES[table - 1][byte];
    TABLES[table][byte] = (sum >>> 8) ^ TABLES[0][sum & 0xff];
  }

export class Sum {
  #sum = 0xffffffff;
  bytes = 0;

  add(piece) {
    const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
    let sum = this.#sum;
    let at = 0;
    for (const end = piece.length - 7; at < end; at += 8) {
      sum ^= piece[at] | (piece[at + 1] << 8) | (piece[at + 2] << 16) | (piece[at + 3] << 24);
      sum =
        t7[sum & 0xff] ^
        t6[(sum >>> 8) & 0xff] ^
        t5[(sum >>> 16) & 0xff] ^
        t4[sum >>> 24] ^
        t3[piece[at + 4]] ^
        t2[piece[at + 5]] ^
        t1[piece[at + 6]] ^
        t0[piece[at + 7]];
    }
    for (; at < piece.length; at++) sum = (sum >>> 8) ^ t0[(sum ^ piece[at]) & 0xff];
    this.#sum = sum;
    this.bytes += piece.length;
    return this;
  }

  /** As the guest's program prints it. */
  get text() {
    return `${this.bytes} bytes, crc32c ${((this.#sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0")}`;
  }
}

/** Bytes like random ones, the same in each run (tshark is to say the same of them), and their sum. */
export function randomData(bytes) {
  const data = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(bytes));
  return { data, sum: new Sum().add(data).text };
}

/** `value`, or undefined after so many milliseconds. */
export function within(milliseconds, value) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)));
  return Promise.race([value, late]).finally(() => clearTimeout(timer));
}

const listen = (server, port, address) =>
  new Promise((resolve, reject) => server.once("error", reject).listen(port, address, resolve));
const bind = (socket, port, address) =>
  new Promise((resolve, reject) => socket.once("error", reject).bind(port, address, resolve));

/** Calls `make` with ports until one of them is free. */
async function atFreePort(make) {
  for (let tries = 0; ; tries++) {
    const port = 41000 + Math.floor(Math.random() * 8000);
    const opened = [];
    try {
      await make(port, opened);
      return { port, close: () => opened.forEach((one) => one.close()) };
    } catch (error) {
      for (const one of opened)
        try {
          one.close();
        } catch {
          // It never listened.
        }
      if (error.code !== "EADDRINUSE" || tries > 20) throw error;
    }
  }
}

/** A server that sends `data` to whoever comes. */
const sender = (data) =>
  createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {}).end(data));

/** On one port a server that sends bytes, on the next one that takes them: both sums. */
export async function bulkServers(bytes) {
  const { data, sum } = randomData(bytes);
  let isTaken;
  const taken = new Promise((resolve) => (isTaken = resolve));
  const takes = createServer((socket) => {
    const taking = new Sum();
    socket.on("error", () => {});
    socket.on("data", (piece) => taking.add(piece));
    socket.on("end", () => isTaken(taking.text));
  });
  const servers = await atFreePort(async (port, opened) => {
    opened.push(sender(data), takes);
    await listen(opened[0], port, "127.0.0.1");
    await listen(takes, port + 1, "127.0.0.1");
  });
  return { ...servers, sum, taken };
}

/** On one port of the loopback and of `outside`: an echo of datagrams, and bytes by TCP; behind it a port where nobody listens. */
export async function services(outside, bytes) {
  const { data, sum } = randomData(bytes);
  const servers = await atFreePort(async (port, opened) => {
    for (const address of ["127.0.0.1", ...(outside === undefined ? [] : [outside])]) {
      const echo = createSocket("udp4");
      echo.on("message", (text, { port: from, address: to }) => echo.send(`${text} by ${address}`, from, to));
      const server = sender(data);
      opened.push(echo, server);
      await bind(echo, port, address);
      await listen(server, port, address);
    }
    const nobody = createServer();
    await listen(nobody, port + 1, "127.0.0.1");
    await new Promise((resolve) => nobody.close(resolve));
  });
  return { ...servers, closed: servers.port + 1, sum };
}

/** A name server that knows one name (RFC 1035). */
export async function nameServer(name, address) {
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    let at = 12;
    const labels = [];
    for (let length = query[at]; length > 0; length = query[at]) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const isAddress = query.readUInt16BE(at + 1) === 1;
    const isKnown = labels.join(".") === name;
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(isKnown ? 0x8180 : 0x8183, 2);
    header.writeUInt16BE(isKnown && isAddress ? 1 : 0, 6);
    header.writeUInt32BE(0, 8);
    const answer =
      isKnown && isAddress
        ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".")])
        : "";
    socket.send(
      Buffer.concat([header, query.subarray(12, at + 5), Buffer.from(answer)]),
      from.port,
      from.address,
    );
  });
  await bind(socket, 0, "127.0.0.1");
  return { port: socket.address().port, close: () => socket.close() };
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Connects to a port that leads to a guest, which may not listen yet, sends `data` and takes what comes. @returns what came, or undefined */
function once(port, data) {
  return new Promise((resolve) => {
    const taken = new Sum();
    let hasFailed = false;
    const socket = createConnection({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("data", (piece) => taken.add(piece));
    socket.on("error", () => (hasFailed = true));
    socket.on("close", () => resolve(hasFailed ? undefined : taken));
    socket.on("end", () => socket.end());
    if (data !== undefined) socket.end(data);
  });
}

/** Asks until `isOver` says so. @returns the sum of what came at the last time */
export async function callGuest(port, data, isOver) {
  for (;;) {
    const taken = await once(port, data);
    if (isOver(taken)) return taken?.text;
    await pause(200);
  }
}

/** Sends a datagram to a port that leads to a guest until it is answered, or `isOver`. */
export async function askGuest(port, text, isOver) {
  const socket = createSocket("udp4");
  const answer = new Promise((resolve) => socket.once("message", (bytes) => resolve(bytes.toString())));
  try {
    while (!isOver()) {
      socket.send(text, port, "127.0.0.1");
      const said = await within(300, answer);
      if (said !== undefined) return said;
    }
    return undefined;
  } finally {
    socket.close();
  }
}

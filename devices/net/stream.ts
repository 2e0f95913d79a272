/**
 * QEMU's framing over a stream socket (`-netdev stream`, and `-netdev socket` of before): each frame after its length, 4 bytes,
 * big-endian. One peer at a time; a server waits for the next when one has gone, a client tries again.
 */
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { lstatSync, unlinkSync } from "node:fs";
import { LEAST_FRAME_BYTES, MOST_FRAME_BYTES, NO_OFFLOAD } from "./ethernet.ts";
import type { HostBackEnd, HostPort } from "./host-port.ts";

const LENGTH_BYTES = 4;
/** Bytes that may wait for a slow peer; frames beyond are dropped, as a switch would. */
const MOST_WAITING = 4 << 20;
const RETRY_MILLISECONDS = 200;
/** How often a guest that had no room is asked again, milliseconds. */
const FULL_MILLISECONDS = 2;

export interface StreamOptions {
  readonly server: boolean;
  readonly address:
    | { readonly type: "inet"; readonly host: string; readonly port: number }
    | { readonly type: "unix"; readonly path: string };
}

/** Cuts a stream of bytes into frames. */
export class StreamReader {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * Adds bytes and hands on the frames that are complete; stops, keeping the rest, when `take` returns false.
   * @returns false when the stream is no stream of frames: a length that no frame has
   */
  push(bytes: Uint8Array, take: (frame: Uint8Array) => boolean): boolean {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    let isSound = true;
    while (at + LENGTH_BYTES <= this.#rest.length) {
      const length = this.#rest.readUInt32BE(at);
      if (length === 0 || length > MOST_FRAME_BYTES) {
        isSound = false;
        break;
      }
      const end = at + LENGTH_BYTES + length;
      if (end > this.#rest.length || !take(this.#rest.subarray(at + LENGTH_BYTES, end))) break;
      at = end;
    }
    this.#rest = Buffer.from(this.#rest.subarray(at));
    return isSound;
  }
}

/** A frame as it goes over the stream. */
export function framed(bytes: Uint8Array): Buffer {
  // What is shorter than a frame on a wire is filled up, as network cards do.
  const length = Math.max(bytes.length, LEAST_FRAME_BYTES);
  const record = Buffer.alloc(LENGTH_BYTES + length);
  record.writeUInt32BE(length);
  record.set(bytes, LENGTH_BYTES);
  return record;
}

export class StreamBackEnd implements HostBackEnd {
  readonly ready: Promise<void>;
  readonly #port: HostPort;
  readonly #options: StreamOptions;
  #server: Server | undefined;
  #peer: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #listensAt = "";

  constructor(port: HostPort, options: StreamOptions) {
    this.#port = port;
    this.#options = options;
    this.ready = options.server ? this.#listen() : Promise.resolve();
    // Who waits for `ready` hears of it; the machine may be closed before.
    this.ready.catch(() => undefined);
    if (!options.server) this.#connect();
  }

  get where(): string {
    return this.#options.server ? `listens on ${this.#listensAt}` : "";
  }

  frame(bytes: Uint8Array): void {
    const peer = this.#peer;
    if (peer === undefined || peer.connecting || peer.writableLength > MOST_WAITING) return;
    peer.write(framed(bytes));
  }

  timer(): void {
    return;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    // What was sent goes out before the end.
    this.#peer?.end();
    this.#peer?.unref();
    this.#server?.close();
  }

  #listen(): Promise<void> {
    const { address } = this.#options;
    const server = createServer((socket) => {
      if (this.#peer !== undefined) socket.destroy();
      else this.#use(socket);
    });
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      const listening = (): void => {
        server.removeListener("error", reject);
        server.on("error", () => undefined);
        const at = server.address();
        this.#listensAt = typeof at === "string" ? at : `${at?.address ?? ""}:${at?.port ?? 0}`;
        resolve();
      };
      if (address.type === "unix") {
        // A socket that nobody listens on any more would be in the way.
        if (lstatSync(address.path, { throwIfNoEntry: false })?.isSocket() === true) unlinkSync(address.path);
        server.listen(address.path, listening);
      } else server.listen(address.port, address.host, listening);
    });
  }

  #connect(): void {
    if (this.#isClosed) return;
    const { address } = this.#options;
    const socket =
      address.type === "unix" ? createConnection(address.path) : createConnection(address.port, address.host);
    this.#use(socket);
  }

  #use(socket: Socket): void {
    this.#peer = socket;
    socket.setNoDelay(true);
    const reader = new StreamReader();
    const receive = (bytes: Uint8Array): void => {
      const room = { isFull: false };
      const isSound = reader.push(bytes, (frame) => {
        room.isFull = !this.#port.deliver(frame, NO_OFFLOAD);
        return !room.isFull;
      });
      if (!isSound) socket.destroy();
      else if (room.isFull) {
        // The peer waits in turn: what it cannot send fills up its socket.
        socket.pause();
        this.#timer = setTimeout(() => receive(new Uint8Array(0)), FULL_MILLISECONDS);
      } else if (socket.isPaused()) socket.resume();
    };
    socket.on("data", receive);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.#peer === socket) this.#peer = undefined;
      if (!this.#options.server && !this.#isClosed)
        this.#timer = setTimeout(() => this.#connect(), RETRY_MILLISECONDS);
    });
  }
}

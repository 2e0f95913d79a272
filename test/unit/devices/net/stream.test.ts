import fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { HostPort } from "../../../../devices/net/host-port.ts";
import { StreamBackEnd, StreamReader, framed } from "../../../../devices/net/stream.ts";
import { MAC_A, MAC_B, frameOf } from "../../../support/network.ts";

describe("QEMU's framing", () => {
  test("frames come out as they went in, wherever the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 60, max: 3000 }), { maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 4000 })),
        (lengths, cuts) => {
          const frames = lengths.map((length, i) => Buffer.from(frameOf(MAC_A, MAC_B, length, 0x88b5, i)));
          const stream = Buffer.concat(frames.map(framed));
          const seen: Buffer[] = [];
          const reader = new StreamReader();
          let at = 0;
          for (const cut of [...cuts, stream.length]) {
            const isSound = reader.push(
              stream.subarray(at, at + cut),
              (frame) => seen.push(Buffer.from(frame)) > 0,
            );
            expect(isSound).toBe(true);
            at += cut;
          }
          expect(Buffer.concat(seen).equals(Buffer.concat(frames))).toBe(true);
          expect(seen).toHaveLength(frames.length);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("a frame that is not taken stays, and comes first the next time", () => {
    const reader = new StreamReader();
    const stream = Buffer.concat([framed(frameOf(MAC_A, MAC_B, 70)), framed(frameOf(MAC_A, MAC_B, 80))]);
    const lengths: number[] = [];
    reader.push(stream, (frame) => {
      lengths.push(frame.length);
      return lengths.length < 2;
    });
    reader.push(new Uint8Array(0), (frame) => lengths.push(frame.length) > 0);
    expect(lengths).toEqual([70, 80, 80]);
  });

  test("short frames are filled up to what a wire carries", () => {
    expect(framed(frameOf(MAC_A, MAC_B, 20))).toHaveLength(64);
  });

  test.each([[0], [65554], [0xffffffff]])("a length of %i ends the stream", (length) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(length);
    expect(new StreamReader().push(bytes, () => true)).toBe(false);
  });
});

class Guest implements HostPort {
  readonly frames: Uint8Array[] = [];
  room = Infinity;
  deliver(frame: Uint8Array): boolean {
    if (this.frames.length >= this.room) return false;
    this.frames.push(frame.slice());
    return true;
  }
  now(): number {
    return 0;
  }
  arm(): void {
    return;
  }
}

const until = async (isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !isSo(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isSo()).toBe(true);
};

describe("streams", () => {
  test("two machines by a socket of the file system; a client that comes first tries again; back pressure", async () => {
    const folder = mkdtempSync(join(tmpdir(), "exitless-stream-"));
    const address = { type: "unix", path: join(folder, "s") } as const;
    const [a, b] = [new Guest(), new Guest()];
    const client = new StreamBackEnd(b, { server: false, address });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const server = new StreamBackEnd(a, { server: true, address });
    try {
      await server.ready;
      await until(() => {
        client.frame(frameOf(MAC_A, MAC_B, 100));
        return a.frames.length > 0;
      });
      b.room = 5;
      for (let i = 0; i < 40; i++) server.frame(frameOf(MAC_B, MAC_A, 1500, 0x88b5, i));
      await until(() => b.frames.length === 5);
      b.room = Infinity;
      await until(() => b.frames.length === 40);
      expect(b.frames.map((frame) => frame[20])).toEqual(Array.from({ length: 40 }, (_, i) => 20 + i));
    } finally {
      client.close();
      server.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("who sends nonsense is cut off, and the next one is served", async () => {
    const guest = new Guest();
    const server = new StreamBackEnd(guest, {
      server: true,
      address: { type: "inet", host: "127.0.0.1", port: 0 },
    });
    try {
      await server.ready;
      const port = Number(/:(\d+)$/.exec(server.where)![1]);
      const hostile = createConnection(port, "127.0.0.1");
      let isGone = false;
      hostile.on("error", () => undefined).on("close", () => (isGone = true));
      hostile.write(Buffer.alloc(100, 0xff));
      await until(() => isGone);
      const next = createConnection(port, "127.0.0.1");
      next.write(framed(frameOf(MAC_A, MAC_B, 99)));
      await until(() => guest.frames.length === 1);
      next.destroy();
    } finally {
      server.close();
    }
  });

  test("an address that cannot be had is said", async () => {
    const server = new StreamBackEnd(new Guest(), {
      server: true,
      address: { type: "unix", path: "/nonexistent-folder/s" },
    });
    await expect(server.ready).rejects.toThrow();
    server.close();
  });
});

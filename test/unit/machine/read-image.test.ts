import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImageError } from "../../../emulator/machine/loaders/image-error.ts";
import { readImage } from "../../../emulator/machine/read-image.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "read-image-"))));
afterAll(() => rmSync(folder, { recursive: true }));

function errorOf(path: string, limit?: number): ImageError {
  try {
    readImage(path, "kernel", limit);
  } catch (error) {
    if (error instanceof ImageError) return error;
    throw error;
  }
  throw new Error("read");
}

test("a file is read whole and named by its last component", () => {
  const path = join(folder, "kernel.elf");
  writeFileSync(
    path,
    Uint8Array.from({ length: 300_000 }, (_, i) => i),
  );
  const image = readImage(path, "kernel");
  expect([image.path, image.name, image.bytes.length, image.bytes[299_999]]).toEqual([
    path,
    "kernel.elf",
    300_000,
    223,
  ]);
});

test("a missing file, a directory, a device, an empty and a too large file are told apart", () => {
  expect(errorOf(join(folder, "none"))).toMatchObject({ what: "kernel", why: "there is no such file" });
  expect(errorOf(folder)).toMatchObject({ why: "it is a directory", hint: "name a file" });
  expect(errorOf("/dev/null").why).toBe("it is not a regular file");
  const path = join(folder, "file");
  writeFileSync(path, "");
  expect(errorOf(path).why).toBe("it is empty");
  writeFileSync(path, "12345");
  expect(errorOf(path, 4).why).toBe("it has 5 bytes, more than 4H");
  expect(errorOf(join(path, "below")).why).toBe("a folder on the way is a file");
  symlinkSync(join(folder, "loop"), join(folder, "loop"));
  expect(errorOf(join(folder, "loop")).why).toBe("its symbolic links form a loop");
});

test("the message is one line with file, what, where, why and hint", () => {
  expect(errorOf(join(folder, "none")).message).toBe(
    `${join(folder, "none")}: kernel (host file system): there is no such file; check the path`,
  );
});

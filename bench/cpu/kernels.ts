/** The guest kernels that every engine runs: guest-images/bench32, 32-bit multiboot images of integer code. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Kernel {
  readonly name: string;
  /** Absolute path of the multiboot image. */
  readonly path: string;
  /** What the kernel must print after `RESULT name `, from guest-images/tests.json. */
  readonly checksum: string;
}

interface ImageTest {
  readonly name: string;
  readonly image?: string;
  readonly expect?: readonly string[];
}

const PREFIX = "bench32-";
const RESULT = /^RESULT (\w+) ([0-9a-f]{8})\r?$/m;

/** Reads the list of kernels with their checksums from the images' own list of tests. */
export function benchKernels(root: string): Kernel[] {
  const folder = join(root, "guest-images");
  const { tests } = JSON.parse(readFileSync(join(folder, "tests.json"), "utf8")) as {
    readonly tests: readonly ImageTest[];
  };
  return tests.flatMap(({ name, image, expect }) => {
    if (!name.startsWith(PREFIX) || image === undefined) return [];
    const result = resultOf(expect?.join("\n") ?? "");
    if (result === undefined) throw new Error(`guest-images/tests.json: ${name} expects no RESULT line`);
    return [
      { name: name.slice(PREFIX.length), path: join(folder, "images", image), checksum: result.checksum },
    ];
  });
}

/** The `RESULT name checksum` line in what a kernel printed. */
export function resultOf(output: string): { name: string; checksum: string } | undefined {
  const match = RESULT.exec(output);
  return match ? { name: match[1]!, checksum: match[2]! } : undefined;
}

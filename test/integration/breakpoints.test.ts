/** Debug registers and the trap flag, by a program of ours (test/support/programs/breakpoints.asm). */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { multiboot } from "../support/machine.ts";

/** What nasm makes of the source. */
const PROGRAM = Buffer.from(
  "bc000018000f011538011000ea53001000080066b810008ed88ec08ed0b8e200100066a34601100066c7054801100008" +
    "0066c7054a011000008ec1e81066a34c0110000f011d4e011000b8540110000f23c8b8b70010000f23c0b80a04d0000f" +
    "23f831dbc6055701100007a054011000c6055801100007909c810c24000100009d90816424fcfffeffffb8000400000f" +
    "23f881fb110100007504b005e6f489d8e6f4500f21f0a901000000740b83c310814c240c00000100a902000000740383" +
    "c301a900400000740e81c3000100008164240cfffeffff31c00f23f058cf90900000000000000000ffff0000009bcf00" +
    "ffff00000093cf00170020011000000000000000000000000000000000000f003e0110000000000000000000",
  "hex",
);

function hasNasm(): boolean {
  try {
    execFileSync("nasm", ["-v"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test("data, instruction and single-step traps come once each, with their bits in DR6", () => {
    const machine = new Machine({ kernel: multiboot([...PROGRAM]), mode, memory: 16 });
    const result = machine.run({ untilInstruction: 100_000 });
    machine.close();
    expect(result).toEqual({ end: "debug-exit", code: 5 });
  });
});

test.skipIf(!hasNasm())("the bytes are the source's", () => {
  const folder = mkdtempSync(join(tmpdir(), "exitless-"));
  try {
    const output = join(folder, "program");
    execFileSync("nasm", ["-f", "bin", "test/support/programs/breakpoints.asm", "-o", output]);
    expect(readFileSync(output).equals(PROGRAM)).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/**
 * v86 beside us in one process, on programs of 32-bit code: the same output and the same memory, or v86 contradicts Intel's
 * manual in what is listed in v86-differences.ts.
 *
 * The programs of guest-images/opinions check themselves and leave a digest of each group of checks, or all of their results, in
 * memory. The program `debug` is left out: v86 has no debug exceptions at all.
 */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { parseVerdict, type Program, type Verdict } from "../second-opinion/verdict.ts";
import { runV86 } from "./v86-machine.ts";
import { V86_DIFFERENCES } from "./v86-differences.ts";

interface Run {
  readonly text: string;
  readonly memory: Uint8Array;
}

function runOurs(path: string, from: number, length: number): Run {
  const serial: number[] = [];
  const machine = new Machine({
    kernel: path,
    cpu: "max",
    memory: 16,
    mode: "metal",
    onSerial: (byte) => serial.push(byte),
  });
  try {
    expect(machine.run({ untilInstruction: 400_000_000 }).end).toBe("debug-exit");
    const at = machine.memory.ramOffset(from, length);
    return {
      text: Buffer.from(serial).toString("latin1"),
      memory: machine.memory.state.bytes.slice(at, at + length),
    };
  } finally {
    machine.close();
  }
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

// layout.h of the programs.
const RESULTS_BASE = 0x200000;
const RESULTS_RAW = 0x8000;
const RESULTS_BYTES = 0x20000;

/** Digests of groups in memory, by the hash of the group's name, as 32-bit words. */
function groupDigests(memory: Uint8Array): Map<number, number> {
  const view = new DataView(memory.buffer, memory.byteOffset);
  const digests = new Map<number, number>();
  for (let at = 0; at < RESULTS_RAW && view.getUint32(at, true) !== 0; at += 8)
    digests.set(view.getUint32(at, true), view.getUint32(at + 4, true));
  return digests;
}

/** report.c's hash of a group's name. */
function nameHash(name: string): number {
  let hash = 2166136261;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  return hash;
}

/** Groups and digests in which v86's verdict is not ours. */
function differing(ours: Verdict, other: Verdict): string[] {
  const passed = new Set(other.passed);
  return [
    ...ours.passed.filter((group) => !passed.has(group)),
    ...Object.keys(ours.digests).filter((name) => ours.digests[name] !== other.digests[name]),
  ];
}

const PROGRAMS = [
  "arithmetic",
  "instructions",
  "segments",
  "gates",
  "tasks",
  "paging",
  "modes",
  "x87",
  "sse",
  "algorithms",
] as const satisfies readonly Program[];

/** Programs whose raw results are equal to the byte. */
const RAW_IS_COMPARED = new Set<Program>(["sse", "algorithms"]);

describe("beside v86", () => {
  test.each(PROGRAMS)("%s", async (program) => {
    const path = `guest-images/images/opinion-${program}.elf`;
    const ours = runOurs(path, RESULTS_BASE, RESULTS_BYTES);
    const v86 = await runV86(path, RESULTS_BASE, RESULTS_BYTES);
    const [mine, other] = [parseVerdict(ours.text, false), parseVerdict(v86.text, false)];
    const known = V86_DIFFERENCES.filter((difference) => difference.program === program);
    const different = differing(mine, other);
    // Nothing differs but what the manual decides, and what is listed does differ.
    expect(different.filter((name) => !known.some(({ names }) => names.test(name)))).toEqual([]);
    for (const { names } of known)
      expect(
        different.some((name) => names.test(name)),
        names.source,
      ).toBe(true);
    // v86 comes to the end, or stops where the list says that it must.
    expect(v86.end === "HALT" || known.some(({ stops }) => stops === true), v86.end).toBe(true);
    // What each group left in memory, where v86 agrees.
    const [mineInMemory, otherInMemory] = [groupDigests(ours.memory), groupDigests(v86.memory)];
    const agreed = mine.passed.filter((group) => other.passed.includes(group));
    for (const group of agreed) {
      const name = nameHash(group);
      expect(mineInMemory.get(name), group).toBeDefined();
      expect(otherInMemory.get(name), group).toBe(mineInMemory.get(name));
    }
    expect(agreed.length + Object.keys(mine.digests).length).toBeGreaterThan(0);
    if (different.length === 0) expect(sha256(v86.memory)).toBe(sha256(ours.memory));
    // And raw results: those that status words and special operands have no part in.
    if (RAW_IS_COMPARED.has(program))
      expect(sha256(v86.memory.subarray(RESULTS_RAW))).toBe(sha256(ours.memory.subarray(RESULTS_RAW)));
  });
});

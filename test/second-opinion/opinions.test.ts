/**
 * The programs of guest-images/opinions on our machine, on the metal and in a VM: every group of checks passes, as recorded; and
 * wherever a peer's recorded verdict is another, the manual says why.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EXPLANATIONS } from "./explanations.ts";
import { runOurs } from "./machines.ts";
import { OURS, PAGE, explanationOf, makePage, readRecord } from "./record.ts";
import { PROGRAMS, differences } from "./verdict.ts";

const record = readRecord();
const peers = Object.keys(record.peers);

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test.each(PROGRAMS)("%s: every check passes, and digests are as recorded", (program) => {
    const verdict = runOurs(program, mode);
    expect(verdict.failed).toEqual({});
    expect(verdict.ended).toBe(true);
    expect(verdict).toEqual(record.verdicts[program][OURS]);
  });
});

test("QEMU and Bochs have been asked about every program", () => {
  expect(peers).toEqual(["QEMU", "Bochs"]);
  for (const program of PROGRAMS) expect(Object.keys(record.verdicts[program])).toEqual([OURS, ...peers]);
});

test("every difference of a peer has an explanation", () => {
  for (const program of PROGRAMS)
    for (const peer of peers) {
      const verdict = record.verdicts[program][peer]!;
      for (const group of differences(record.verdicts[program][OURS]!, verdict))
        expect(explanationOf(peer, program, group), `${peer} ${program}/${group}`).toBeDefined();
    }
});

test("every explanation belongs to a difference", () => {
  for (const explanation of EXPLANATIONS) {
    const { peer, program } = explanation;
    const different = differences(record.verdicts[program][OURS]!, record.verdicts[program][peer]!);
    expect(
      different.some((group) => explanationOf(peer, program, group) === explanation),
      `${peer} ${program} ${explanation.groups.source}`,
    ).toBe(true);
  }
});

test("each check that some peer fails is passed by another, or by silicon", () => {
  // Bochs checks what QEMU's translator leaves out: no group is ours alone, but for those listed.
  const alone = PROGRAMS.flatMap((program) => {
    const ours = record.verdicts[program][OURS]!;
    const [first, ...others] = peers.map(
      (peer) => new Set(differences(ours, record.verdicts[program][peer]!)),
    );
    return [...first!]
      .filter((group) => others.every((other) => other.has(group)))
      .map((group) => `${program}/${group}`);
  });
  expect(alone).toEqual(["gates/iret-faults", "long/ist", "long/call-gate-64", "long/control-registers-64"]);
});

test("the page is what the record makes", () => {
  expect(readFileSync(PAGE, "utf8")).toBe(makePage(record));
});

/**
 * The silicon corpora themselves: complete, reproducible, and replayed by a comparison that notices errors.
 *
 * Where gcc and an x86-64 Linux are at hand, the harness is built and every case is run again on this processor.
 */
import { describe, expect, test } from "vitest";
import { ROWS } from "../../emulator/isa/table.ts";
import type { CaseOutcome } from "./case.ts";
import { isImageRecorded, isMediaRecorded, isRecorded, type Form } from "./forms.ts";
import { buildHarness, canRunNative, runNative, thisProcessor } from "./native-core.ts";
import { RecordedCore } from "./recorded-core.ts";
import { compareOutcomes, loadCorpus, replay, type ReplayResult } from "./replay.ts";
import { SUITES } from "./suites.ts";
import { isVendorDifference, savesPointers } from "./vendor-differences.ts";

const everything = (): boolean => true;
const corpora = new Map(SUITES.map((suite) => [suite, loadCorpus(suite)]));

/** Linux's name of a feature, where it is not the table's in lower case. */
const LINUX_FLAGS: Readonly<Record<string, string>> = {
  LZCNT: "abm",
  PREFETCHW: "3dnowprefetch",
  X87: "fpu",
  SSE3: "pni",
  SHA: "sha_ni",
};
/** Whether the processor at hand has what the form needs; PREFETCHW and other hints are NOPs where they are missing. */
function isSupported(form: Form, flags: ReadonlySet<string>): boolean {
  const { feature } = form.row;
  return feature
    .split("+")
    .every((name) => name === "BASE" || flags.has(LINUX_FLAGS[name] ?? name.toLowerCase()));
}

describe.each(SUITES)("$name corpus", (suite) => {
  const corpus = corpora.get(suite)!;

  test("has every form of the table that belongs to it", () => {
    const recorded = new Set(corpus.header.forms);
    expect(
      suite
        .forms()
        .filter((form) => !recorded.has(form.key))
        .map((form) => form.key),
    ).toEqual([]);
  });

  test("accepts the recorded outcomes", () => {
    const cases = corpus.cases.filter(
      ({ form, input, outcome }) => !isVendorDifference(corpus.header.processor.vendor, form, input, outcome),
    );
    const comparable = { ...corpus, cases };
    const result = replay(new RecordedCore(comparable), comparable, { isImplemented: everything });
    expect(result.mismatches).toEqual([]);
    expect(result.compared).toBe(cases.length);
  });

  /** Replays the first case that completes with its outcome altered: what the comparison says. */
  const replayAltered = (alter: (outcome: CaseOutcome) => CaseOutcome): ReplayResult => {
    const completed = corpus.cases.find(({ outcome }) => outcome.vector === undefined);
    const first = { ...corpus, cases: completed ? [completed] : [] };
    return replay(new RecordedCore(first, alter), first, { isImplemented: everything });
  };

  test.each([
    ["a flag", (o: CaseOutcome) => ({ ...o, rflags: o.rflags ^ 1n }), /RFLAGS/],
    [
      "a register",
      (o: CaseOutcome) => ({ ...o, gpr: o.gpr.map((value, i) => (i === 3 ? value ^ 1n : value)) }),
      /RBX/,
    ],
    ["RIP", (o: CaseOutcome) => ({ ...o, rip: o.rip + 1n }), /RIP/],
    ["memory", (o: CaseOutcome) => ({ ...o, changes: [...o.changes, [8191, 0x5a] as const] }), /memory/],
    [
      "an XMM register",
      (o: CaseOutcome) =>
        o.media
          ? { ...o, media: o.media.map((byte, i) => (i === 200 ? byte ^ 1 : byte)) }
          : { ...o, rip: 0n },
      /XMM2|RIP/,
    ],
    ["an exception", (o: CaseOutcome) => ({ ...o, vector: 6 }), /vector 6/],
  ])("notices a wrong %s", (_, alter, message) => {
    const result = replayAltered(alter);
    expect(result.mismatchCount).toBe(1);
    expect(result.mismatches[0]).toMatch(message);
  });

  test.skipIf(!canRunNative())("is what this processor does, twice", () => {
    const harness = buildHarness();
    const { processor, flags } = thisProcessor();
    const recorded = corpus.header.processor.vendor;
    const { vendor } = processor;
    // What a vendor does in its own way can be compared with itself alone.
    const cases = corpus.cases.filter(
      ({ form, input, outcome }) =>
        isSupported(form, flags) &&
        (vendor === recorded || !isVendorDifference(recorded, form, input, outcome)),
    );
    const inputs = cases.map(({ input }) => input);
    const wrong: string[] = [];
    for (let pass = 0; pass < 2; pass++)
      runNative(harness, inputs).forEach((actual, i) => {
        const { form, input, outcome } = cases[i]!;
        if (vendor !== recorded && isVendorDifference(vendor, form, input, actual)) return;
        const hasPointers = savesPointers(vendor) && savesPointers(recorded);
        let differences = compareOutcomes(form, input, outcome, actual, hasPointers);
        // As in `ReplayOptions.runAgain`.
        if (differences.length > 0 && isImageRecorded(form.row))
          differences = compareOutcomes(form, input, outcome, runNative(harness, [input])[0]!, hasPointers);
        if (differences.length > 0)
          wrong.push(`${form.key} ${Buffer.from(input.code).toString("hex")}: ${differences.join("; ")}`);
      });
    expect(wrong.slice(0, 20)).toEqual([]);
  });
});

test("the corpora have 50,000 cases or more", () => {
  const total = [...corpora.values()].reduce((sum, { cases }) => sum + cases.length, 0);
  expect(total).toBeGreaterThanOrEqual(50_000);
});

test("every recorded row is met, and completes at least once unless it always faults at CPL 3", () => {
  const completed = new Set<string>();
  const met = new Set<string>();
  for (const { cases } of corpora.values())
    for (const { form, outcome } of cases) {
      met.add(form.row.id);
      if (outcome.vector === undefined) completed.add(form.row.id);
    }
  const rows = ROWS.filter((row) => isRecorded(row) || isMediaRecorded(row));
  expect(rows.filter((row) => !met.has(row.id)).map((row) => row.id)).toEqual([]);
  const alwaysFaults = /^(UD[012]|INT3|INTO|IN|OUT|INS|OUTS|CLI|STI)$/;
  const never = rows.filter(
    (row) => !completed.has(row.id) && !row.attributes.has("priv") && !alwaysFaults.test(row.mnemonic),
  );
  expect(never.map((row) => row.id)).toEqual([]);
});

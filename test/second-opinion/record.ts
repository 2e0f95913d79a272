/** The recorded verdicts (docs/second-opinions.json) and the page that is made of them. */
import { readFileSync } from "node:fs";
import { EXPLANATIONS } from "./explanations.ts";
import { PROGRAMS, differences, type Program, type Verdict } from "./verdict.ts";

export const RECORD = "docs/second-opinions.json";
export const PAGE = "docs/second-opinions.md";

export interface OpinionRecord {
  /** Versions of the peers. */
  readonly peers: Readonly<Record<string, string>>;
  readonly verdicts: Readonly<Record<Program, Readonly<Record<string, Verdict>>>>;
}

/** Our own verdict's name in a record. */
export const OURS = "exitless";

export const readRecord = (): OpinionRecord => JSON.parse(readFileSync(RECORD, "utf8")) as OpinionRecord;

/** Which explanation a difference has, or undefined. */
export const explanationOf = (
  peer: string,
  program: Program,
  group: string,
): (typeof EXPLANATIONS)[number] | undefined =>
  EXPLANATIONS.find(
    (explanation) =>
      explanation.peer === peer &&
      (explanation.program as string) === program &&
      explanation.groups.test(group),
  );

/** The page: a table of verdicts, and each difference with its explanation. */
export function makePage({ peers, verdicts }: OpinionRecord): string {
  const names = Object.keys(peers);
  const count = (verdict: Verdict): number => verdict.passed.length + Object.keys(verdict.digests).length;
  const rows = PROGRAMS.map((program) => {
    const ours = verdicts[program][OURS]!;
    const cells = names.map((name) => {
      const peer = verdicts[program][name]!;
      const agreed = count(ours) - differences(ours, peer).length;
      return `${agreed}${peer.ended ? "" : " (ended early)"}`;
    });
    return `| ${program} | ${count(ours)} | ${cells.join(" | ")} |`;
  });
  const sections = names.map((name) => {
    const items = EXPLANATIONS.filter(({ peer }) => peer === name).map((explanation) => {
      const { program, because } = explanation;
      const ours = verdicts[program][OURS]!;
      const groups = differences(ours, verdicts[program][name]!).filter(
        (group) => explanationOf(name, program, group) === explanation,
      );
      return `- **${program}**: ${groups.join(", ")}. ${because}`;
    });
    return `## Where ${name} differs\n\n${items.join("\n")}\n`;
  });
  return `# Second opinions

What silicon cannot show at user level: real-address and virtual-8086 mode, ring 0, paging, tasks. The programs in
\`guest-images/opinions\` test it with expectations from Intel's manual, and run unchanged on our machine (metal and VM) and on
other emulators. This page is generated from \`second-opinions.json\` by \`node test/second-opinion/run.mjs\`; \`npm test\` holds
our own verdicts to it, and CI the peers'.

Groups of checks that pass and digests of results, and how many of them each peer agrees with:

| program | exitless | ${names.map((name) => `${name} ${peers[name]!}`).join(" | ")} |
| --- | --: | ${names.map(() => "--:").join(" | ")} |
${rows.join("\n")}

${sections.join("\n")}`;
}

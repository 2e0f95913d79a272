/**
 * Asks the peers for their opinion of the programs in guest-images/opinions.
 *
 *   node test/second-opinion/run.mjs                records our verdicts and those of all peers, and writes the page
 *   node test/second-opinion/run.mjs --peer bochs   records that of one peer
 *   node test/second-opinion/run.mjs --check        compares with what is recorded: CI. Each peer must be installed
 *
 * Ends with 1 when a difference between a peer and us has no explanation, or, of the same version, is not as recorded.
 */
import { existsSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { runOurs } from "./machines.ts";
import { PEERS } from "./peers.ts";
import { OURS, PAGE, RECORD, explanationOf, makePage, readRecord, type OpinionRecord } from "./record.ts";
import { PROGRAMS, differences, imagePath, type Program, type Verdict } from "./verdict.ts";

const { values } = parseArgs({ options: { peer: { type: "string" }, check: { type: "boolean" } } });
const wanted = PEERS.filter(
  ({ name }) => values.peer === undefined || name.toLowerCase() === values.peer.toLowerCase(),
);
if (wanted.length === 0)
  throw new Error(`--peer ${values.peer}: there are ${PEERS.map(({ name }) => name).join(", ")}`);

const recorded: OpinionRecord | undefined = existsSync(RECORD) ? readRecord() : undefined;
const peers: Record<string, string> = { ...recorded?.peers };
const verdicts = {} as Record<Program, Record<string, Verdict>>;
const problems: string[] = [];

for (const peer of wanted) {
  const installed = peer.version();
  if (installed === undefined) throw new Error(`${peer.name} is not installed`);
  peers[peer.name] = installed;
}
for (const program of PROGRAMS) {
  const ours = runOurs(program, "metal");
  verdicts[program] = { ...recorded?.verdicts[program], [OURS]: ours };
  for (const peer of wanted) {
    const verdict = peer.run(imagePath(program));
    verdicts[program][peer.name] = verdict;
    const different = differences(ours, verdict);
    console.log(
      `${program}: ${peer.name} ${different.length === 0 ? "agrees" : `differs in ${different.join(", ")}`}`,
    );
    const unexplained = different.filter((group) => !explanationOf(peer.name, program, group));
    for (const group of unexplained)
      problems.push(
        `${peer.name} ${program}/${group}: ${verdict.failed[group]?.join("; ") ?? "not reached"}`,
      );
    // A program that is new is not recorded yet.
    if (values.check !== true || !recorded || !(program in recorded.verdicts)) continue;
    const { [OURS]: oursThen, [peer.name]: peerThen } = recorded.verdicts[program];
    if (!oursThen || !peerThen || recorded.peers[peer.name] !== peers[peer.name]) continue;
    const then = differences(oursThen, peerThen);
    if (then.join() !== different.join())
      problems.push(`${peer.name} ${program}: recorded is ${then.join(", ")}, now ${different.join(", ")}`);
  }
}
if (values.check !== true) {
  const record: OpinionRecord = { peers, verdicts };
  writeFileSync(RECORD, `${JSON.stringify(record, null, 1)}\n`);
  writeFileSync(PAGE, makePage(record));
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

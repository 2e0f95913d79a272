/** The programs of guest-images/opinions, and what their output says. */

export const PROGRAMS = [
  "arithmetic",
  "instructions",
  "segments",
  "gates",
  "tasks",
  "paging",
  "debug",
  "modes",
  "triple",
  "x87",
  "sse",
  "algorithms",
  "long",
] as const;
export type Program = (typeof PROGRAMS)[number];

export const imagePath = (program: Program): string => `guest-images/images/opinion-${program}.elf`;

/** What one machine made of one program. */
export interface Verdict {
  /** Groups of checks that passed, in order. */
  readonly passed: readonly string[];
  /** Groups that failed, with the lines that say what. */
  readonly failed: Readonly<Record<string, readonly string[]>>;
  readonly digests: Readonly<Record<string, string>>;
  /** The program came to its end. */
  readonly ended: boolean;
}

/** `isOver`: the machine ended by itself, as a triple fault makes it do. */
export function parseVerdict(text: string, isOver: boolean): Verdict {
  const passed: string[] = [];
  const failed: Record<string, string[]> = {};
  const digests: Record<string, string> = {};
  const lines = text.split(/[\r\n]+/);
  for (const line of lines) {
    const pass = /^PASS (\S+)/.exec(line);
    if (pass) passed.push(pass[1]!);
    const fail = /^FAIL ([^\s/]+)/.exec(line);
    if (fail) (failed[fail[1]!] ??= []).push(line.slice("FAIL ".length));
    const digest = /^DIGEST (\S+) (\S+)/.exec(line);
    if (digest) digests[digest[1]!] = digest[2]!;
  }
  const ended = lines.some((line) => line.startsWith("END "));
  const expectsTripleFault = lines.includes("EXPECT triple-fault");
  if (expectsTripleFault && !ended && isOver) passed.push("triple-fault");
  return { passed, failed, digests, ended: ended || (expectsTripleFault && isOver) };
}

/** Where a peer's verdict is not ours: groups that it failed or did not come to, and digests. */
export function differences(ours: Verdict, peer: Verdict): string[] {
  const passed = new Set(peer.passed);
  return [
    ...ours.passed.filter((group) => !passed.has(group)),
    ...Object.keys(ours.digests).filter((name) => peer.digests[name] !== ours.digests[name]),
  ];
}

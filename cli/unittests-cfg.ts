/**
 * The `unittests.cfg` of kvm-unit-tests: which image to run with how many CPUs and which arguments. Its format is described in
 * that project's docs/unittests.md; names are as there.
 */

export interface UnitTest {
  readonly name: string;
  /** Image, relative to the folder of the file. */
  readonly file: string;
  readonly smp: number;
  /** The test's arguments: what QEMU would get by -append. */
  readonly args: string;
  /** Words of qemu_params (and of extra_params but for its -append). */
  readonly parameters: readonly string[];
  /** i386 or x86_64 when the test is for one of them only. */
  readonly arch: string | undefined;
  readonly groups: readonly string[];
  /** Seconds; undefined where the file names none. */
  readonly timeout: number | undefined;
}

/** A malformed file: says which line and why. */
export class UnitTestsError extends Error {
  override readonly name = "UnitTestsError";
}

/** Splits as a shell would: blanks, and quotes of both kinds. */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  for (const match of text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g))
    words.push(match[0].replaceAll(/"([^"]*)"|'([^']*)'/g, (_, a: string | undefined, b: string) => a ?? b));
  return words;
}

/**
 * Parses the file.
 * @param source its name, for errors
 * @throws UnitTestsError
 */
export function parseUnitTests(text: string, source: string): UnitTest[] {
  const tests: UnitTest[] = [];
  let name: string | undefined;
  let values = new Map<string, string>();
  const finish = (): void => {
    if (name !== undefined) tests.push(unitTest(name, values, source));
  };
  for (const [index, line] of text.split("\n").entries()) {
    const content = line.replace(/^\s*#.*/, "").trim();
    if (content === "") continue;
    const heading = /^\[(.+)\]$/.exec(content);
    if (heading) {
      finish();
      name = heading[1]!;
      values = new Map();
      continue;
    }
    const pair = /^([a-z_]+)\s*=\s*(.*)$/.exec(content);
    if (!pair || name === undefined)
      throw new UnitTestsError(`${source}: line ${index + 1}: neither [name] nor key = value: ${content}`);
    values.set(pair[1]!, pair[2]!);
  }
  finish();
  return tests;
}

function unitTest(name: string, values: ReadonlyMap<string, string>, source: string): UnitTest {
  const file = values.get("file");
  if (file === undefined) throw new UnitTestsError(`${source}: [${name}] has no file`);
  const parameters = shellWords(values.get("qemu_params") ?? values.get("extra_params") ?? "");
  const append = parameters.indexOf("-append");
  const appended = append < 0 ? [] : parameters.splice(append, 2);
  const smp = Number(values.get("smp") ?? 1);
  const timeout = values.get("timeout");
  return {
    name,
    file,
    // "$MAX_SMP" and the like stand for as many as the host has.
    smp: Number.isInteger(smp) && smp > 0 ? smp : 4,
    args: [shellWords(values.get("test_args") ?? "").join(" "), ...appended.slice(1)].join(" ").trim(),
    parameters,
    arch: values.get("arch"),
    groups: shellWords(values.get("groups") ?? ""),
    timeout: timeout === undefined ? undefined : Number(timeout),
  };
}

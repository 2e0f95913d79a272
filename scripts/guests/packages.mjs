/** Debian packages, fetched with `apt-get download` and unpacked with `dpkg-deb`; nothing is installed. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

function run(command, args, options = {}) {
  const result = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
  });
  if (result.error) throw new Error(`${command}: ${result.error.message}`);
  if (result.status !== 0)
    throw new Error(`${command} ${args.join(" ")}: status ${result.status}\n${result.stderr}`);
  return result.stdout;
}

/** The package of a name's newest version that a metapackage stands for: linux-image-cloud-amd64 → linux-image-6.1.0-56-cloud-amd64. */
export function packageBehind(metapackage, pattern) {
  const listing = run("apt-cache", ["depends", metapackage]);
  const found = listing
    .split("\n")
    .map((line) => /Depends: (\S+)/.exec(line)?.[1])
    .find((name) => name !== undefined && pattern.test(name));
  if (found === undefined)
    throw new Error(`${metapackage} depends on no package like ${pattern}; run apt-get update`);
  return found;
}

/**
 * Fetches and unpacks a package, unless that has been done.
 * @returns the folder with the package's files
 */
export function unpackedPackage(name, folder) {
  const target = join(folder, "packages", name);
  if (existsSync(target)) return target;
  const downloads = join(folder, "downloads");
  mkdirSync(downloads, { recursive: true });
  run("apt-get", ["download", name], { cwd: downloads });
  const file = readdirSync(downloads).find((each) => each.startsWith(`${name}_`));
  if (file === undefined) throw new Error(`apt-get download ${name} left no file`);
  const partial = `${target}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  run("dpkg-deb", ["-x", join(downloads, file), partial]);
  run("mv", [partial, target]);
  rmSync(join(downloads, file));
  return target;
}

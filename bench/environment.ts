/** What a result was measured on: written in the first line of every results file. */
import { spawnSync } from "node:child_process";
import { cpus, totalmem } from "node:os";

export interface Environment {
  /** Commit, with `+` when the tree has changes. */
  readonly commit: string;
  readonly processor: string;
  readonly processors: number;
  readonly memoryMebibytes: number;
  readonly node: string;
  readonly v8: string;
  readonly date: string;
}

function git(root: string, ...args: string[]): string {
  const { status, stdout } = spawnSync("git", ["-C", root, ...args], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "";
}

export function environment(root: string): Environment {
  const commit = git(root, "rev-parse", "--short=12", "HEAD") || "unknown";
  const isChanged = git(root, "status", "--porcelain", "--untracked-files=no") !== "";
  return {
    commit: isChanged ? `${commit}+` : commit,
    processor: cpus()[0]?.model ?? "unknown",
    processors: cpus().length,
    memoryMebibytes: Math.round(totalmem() / 1048576),
    node: process.versions.node,
    v8: process.versions.v8,
    date: new Date().toISOString(),
  };
}

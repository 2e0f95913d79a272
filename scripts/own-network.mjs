// A network namespace of its own for what listens on more than the loopback, so that nobody outside reaches it.
import { spawnSync } from "node:child_process";

/** The words before a command that give it one; none where the host does not allow that. */
export function ownNetwork() {
  const words = ["unshare", process.getuid?.() === 0 ? "-n" : "-rn"];
  return spawnSync(words[0], [words[1], "true"]).status === 0 ? words : [];
}

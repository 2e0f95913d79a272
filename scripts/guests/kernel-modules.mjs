/** Kernel modules of an unpacked kernel package: where they are, and what each depends on. */
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";

/** The name that the kernel gives a module: its file's, with underscores. */
const moduleName = (path) => basename(path, ".ko").replaceAll("-", "_");

export class KernelModules {
  #paths = new Map();
  #dependencies = new Map();

  /** @param {string} folder `lib/modules/VERSION` of an unpacked package with uncompressed modules */
  constructor(folder) {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile() && entry.name.endsWith(".ko"))
        this.#paths.set(moduleName(entry.name), join(entry.parentPath ?? entry.path, entry.name));
  }

  has(name) {
    return this.#paths.has(name);
  }

  read(name) {
    const path = this.#paths.get(name);
    if (path === undefined) throw new Error(`no kernel module ${name}`);
    return readFileSync(path);
  }

  /** What a module needs, deepest first, by the `depends=` line of its .modinfo section. */
  dependencies(name) {
    const known = this.#dependencies.get(name);
    if (known) return known;
    const match = /\0depends=([^\0]*)\0/.exec(this.read(name).toString("latin1"));
    const direct = (match?.[1] ?? "").split(",").filter((word) => word !== "");
    const all = [];
    for (const dependency of direct.map(moduleName))
      for (const each of [...this.dependencies(dependency), dependency])
        if (!all.includes(each)) all.push(each);
    this.#dependencies.set(name, all);
    return all;
  }
}

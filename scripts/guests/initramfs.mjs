/** An initramfs with BusyBox, `guest-images/linux/` and kernel modules. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { CpioArchive } from "./cpio.mjs";

/**
 * @param {object} options
 * @param {Buffer} options.busybox a static BusyBox
 * @param {string} options.sources the folder with `init` and `jobs/`
 * @param {import("./kernel-modules.mjs").KernelModules} [options.modules]
 * @param {readonly string[]} [options.names] modules to pack, with what they depend on; those that the kernel lacks are left out
 * @param {Readonly<Record<string, Buffer>>} [options.programs] more files for /bin
 * @returns {Buffer} compressed
 */
export function buildInitramfs({ busybox, sources, modules, names = [], programs = {} }) {
  const archive = new CpioArchive();
  for (const path of ["bin", "dev", "jobs", "modules", "proc", "sys"]) archive.directory(path);
  archive.characterDevice("dev/console", 5, 1);
  archive.characterDevice("dev/null", 1, 3);
  archive.file("bin/busybox", busybox, { isProgram: true });
  archive.file("init", readFileSync(join(sources, "init")), { isProgram: true });
  for (const [name, bytes] of Object.entries(programs))
    archive.file(`bin/${name}`, bytes, { isProgram: true });
  for (const job of readdirSync(join(sources, "jobs")).sort())
    archive.file(`jobs/${job}`, readFileSync(join(sources, "jobs", job)));
  const packed = new Set();
  const order = [];
  for (const name of names.filter((each) => modules?.has(each))) {
    const dependencies = modules.dependencies(name);
    for (const each of [...dependencies, name]) packed.add(each);
    order.push([name, ...dependencies].join(" "));
  }
  for (const name of packed) archive.file(`modules/${name}.ko`, modules.read(name));
  archive.file("modules/order", `${order.join("\n")}\n`);
  return gzipSync(archive.bytes(), { level: 9 });
}

/**
 * An ISO image that a BIOS boots from a CD-ROM by El Torito without emulation: GRUB, a configuration and the files given. Made by
 * xorriso.
 *
 *   node scripts/guests/iso-image.mjs --grub FOLDERS --output boot.iso --config grub.cfg [PATH=FILE …]
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMON_MODULES, fillFolder, makeCore, parseWords, run } from "./disk-image.mjs";

/**
 * @param {{ grub: string[], output: string, files: Record<string, string>, config: string, modules?: string[],
 *   xorriso?: string }} options
 */
export function buildIsoImage({ grub, output, files, config, modules = [], xorriso = "xorriso" }) {
  const work = mkdtempSync(join(tmpdir(), "exitless-iso-"));
  try {
    const folder = join(work, "root");
    fillFolder(folder, files, config);
    makeCore({
      grub,
      format: "i386-pc-eltorito",
      prefix: "/boot/grub",
      modules: ["biosdisk", "iso9660", ...COMMON_MODULES, ...modules],
      output: join(folder, "boot/grub/eltorito.img"),
    });
    const eltorito = [
      "-b",
      "boot/grub/eltorito.img",
      "-no-emul-boot",
      "-boot-load-size",
      "4",
      "-boot-info-table",
    ];
    run(xorriso, ["-as", "mkisofs", "-R", ...eltorito, "--grub2-boot-info", "-o", output, folder]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { options, files } = parseWords(process.argv.slice(2));
  const { grub, output, config } = options;
  if (!grub || !output || !config) {
    process.stderr.write("usage: iso-image.mjs --grub FOLDERS --output FILE --config GRUB.CFG PATH=FILE …\n");
    process.exitCode = 2;
  } else buildIsoImage({ grub: grub.split(":"), output, files, config: readFileSync(config, "utf8") });
}

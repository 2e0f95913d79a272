// Debian's Bochs, run for what a guest on its disk sends by the serial port: for second opinions and for KVM's counts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownNetwork } from "./own-network.mjs";

export const SECTOR = 512;
export const HEADS = 16;
export const SECTORS_A_TRACK = 63;

/** See bochs.d.mts. */
export function prepareBochs(folder, { model, mebibytes, cylinders, instructionsPerSecond, ignoresBadMsrs }) {
  const settings = `
display_library: rfb, options="timeout=0"
megs: ${mebibytes}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=${model}, count=1, ips=${instructionsPerSecond}, reset_on_triple_fault=0, ignore_bad_msrs=${ignoresBadMsrs ? 1 : 0}
ata0-master: type=disk, path=${folder}/disk.img, mode=flat, cylinders=${cylinders}, heads=${HEADS}, spt=${SECTORS_A_TRACK}
boot: disk
com1: enabled=1, mode=file, dev=${folder}/serial
log: ${folder}/log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
clock: sync=none
`;
  writeFileSync(join(folder, "bochsrc"), settings);
  // Debian's Bochs has a debugger, which waits for its first command.
  writeFileSync(join(folder, "commands"), "c\n");
  // Of the displays in Debian's package one needs no screen, and it listens.
  const [command, ...before] = [...ownNetwork(), "bochs"];
  return [command, [...before, "-q", "-f", join(folder, "bochsrc"), "-rc", join(folder, "commands")]];
}

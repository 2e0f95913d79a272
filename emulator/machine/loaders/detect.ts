/** Which boot protocol an image follows, and loading it by that one. */
import type { ImageFile } from "../read-image.ts";
import type { BootImage, BootProtocol, BootRequest } from "./boot-image.ts";
import { isElf, parseElf } from "./elf.ts";
import { isBzImage, loadLinux64 } from "./linux64.ts";
import { unpackLinuxPayload } from "./linux-payload.ts";
import { findMultibootHeader, loadMultiboot } from "./multiboot.ts";
import { loadMultiboot2 } from "./multiboot2.ts";
import { findMultiboot2Header } from "./multiboot2-header.ts";
import { loadPvh, pvhEntry } from "./pvh.ts";
import { ImageReader } from "./reader.ts";

/**
 * The protocol of an image that may follow several: a bzImage first, then an ELF file with a PVH note, then a multiboot 1
 * header, then one of multiboot 2.
 * @throws ImageError when it follows none, or is a damaged ELF file
 */
export function detectProtocol(kernel: ImageFile): BootProtocol {
  if (isBzImage(kernel)) return "linux";
  const multiboot =
    findMultibootHeader(kernel) !== undefined
      ? "multiboot"
      : findMultiboot2Header(kernel) !== undefined
        ? "multiboot2"
        : undefined;
  if (isElf(kernel)) {
    if (pvhEntry(parseElf(kernel)) !== undefined) return "pvh";
    if (multiboot === undefined)
      throw new ImageReader(kernel).error(
        "boot protocol",
        "ELF notes, first 32768 bytes",
        "this ELF file has neither a PVH note nor a multiboot header",
        "name a kernel, or an image built to be booted",
      );
  }
  if (multiboot !== undefined) return multiboot;
  throw new ImageReader(kernel).error(
    "boot protocol",
    "first 32768 bytes",
    "it is neither a bzImage nor an ELF file nor has it a multiboot header",
    "name a kernel image",
  );
}

const LOADERS: Readonly<Record<BootProtocol, (request: BootRequest) => BootImage>> = {
  multiboot: loadMultiboot,
  multiboot2: loadMultiboot2,
  pvh: loadPvh,
  linux: loadLinux64,
};

/**
 * Lays out the boot of a kernel. PVH with a bzImage boots the ELF file that is packed in it.
 * @param protocol the one to use, where an image follows several
 * @throws ImageError when the image cannot be booted so, or does not fit in RAM
 */
export function loadBootImage(request: BootRequest, protocol = detectProtocol(request.kernel)): BootImage {
  const isPacked = protocol === "pvh" && isBzImage(request.kernel);
  const kernel = isPacked ? unpackLinuxPayload(request.kernel) : request.kernel;
  return LOADERS[protocol]({ ...request, kernel });
}

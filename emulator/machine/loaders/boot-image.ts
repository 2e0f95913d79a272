/** What every boot protocol takes and gives. */
import type { MemoryRange, RamSize } from "../firmware/memory-ranges.ts";
import type { ImageFile } from "../read-image.ts";
import type { BootSegment } from "./boot-memory.ts";
import type { EntryState } from "./entry-state.ts";

export type BootProtocol = "multiboot" | "multiboot2" | "pvh" | "linux";
export const BOOT_PROTOCOLS: readonly BootProtocol[] = ["multiboot", "multiboot2", "pvh", "linux"];

/** A file given with `-initrd`: a multiboot or PVH module, or Linux's initial RAM disk. */
export interface BootModule {
  readonly file: ImageFile;
  /** Multiboot and PVH hand it to the kernel; multiboot puts the file's name before it. */
  readonly commandLine: string;
}

export interface BootRequest {
  readonly kernel: ImageFile;
  /** The kernel's command line, without the image's name. */
  readonly commandLine: string;
  readonly modules: readonly BootModule[];
  readonly ram: RamSize;
  /** The memory map to hand over: `e820Map(ram)`. */
  readonly memoryMap: readonly MemoryRange[];
  /** Physical address of the RSDP; 0 when there are no ACPI tables. */
  readonly rsdp: number;
  /** What lies there, for protocols that hand over a copy. */
  readonly rsdpBytes?: Uint8Array;
}

export interface BootImage {
  readonly protocol: BootProtocol;
  /** What to put into RAM: the image, its modules, and the protocol's tables. None overlap. */
  readonly segments: readonly BootSegment[];
  readonly entry: EntryState;
  /** First physical address above everything that is put into RAM. */
  readonly topOfUse: number;
  /** Things a person should know that do not stop the boot. */
  readonly notes: readonly string[];
}

/** A zero-terminated string in the encoding that the protocols call ASCII; other text goes as UTF-8. */
export function zeroTerminated(text: string): Uint8Array {
  const zero = text.indexOf("\0");
  return new TextEncoder().encode((zero < 0 ? text : text.slice(0, zero)) + "\0");
}

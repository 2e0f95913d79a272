/**
 * Linux's bzImage by its 64-bit entry point: Linux kernel documentation, "The Linux/x86 Boot Protocol", "64-bit Boot
 * Protocol" (version 2.12 and later, XLF_KERNEL_64). Field names are the document's.
 *
 * The kernel is entered in 64-bit mode with the low 4 GiB identity mapped in 2 MiB pages. The real-mode part is
 * read for its setup header only.
 */
import { conventionalKib, extendedKib } from "../firmware/e820.ts";
import { FOUR_GIB, MIB } from "../firmware/memory-ranges.ts";
import type { ImageFile } from "../read-image.ts";
import { TableWriter } from "../table-writer.ts";
import { BootMemory, mebibytesHint } from "./boot-memory.ts";
import { zeroTerminated } from "./boot-image.ts";
import type { BootImage, BootRequest } from "./boot-image.ts";
import { RSI, bootGdt, entryState } from "./entry-state.ts";
import { hex } from "./image-error.ts";
import { ImageReader } from "./reader.ts";

/** Offsets of setup-header fields, the same in the file and in boot_params. */
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const VID_MODE = 0x1fa;
const BOOT_FLAG = 0x1fe;
const JUMP_DISPLACEMENT = 0x201;
const HEADER = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const RELOCATABLE_KERNEL = 0x234;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
const HEADER_END = 0x264;

/** Offsets in boot_params outside the setup header ("Zero Page"). */
const EXT_MEM_K = 0x002;
const ACPI_RSDP_ADDR = 0x070;
const ALT_MEM_K = 0x1e0;
const E820_ENTRIES = 0x1e8;
const EDD_MBR_SIG_BUFFER = 0x290;
const E820_TABLE = 0x2d0;
const E820_ENTRY_BYTES = 20;
const E820_MAX_ENTRIES = 128;
const BOOT_PARAMS_BYTES = 4096;

const BOOT_FLAG_VALUE = 0xaa55;
const HEADER_MAGIC = 0x53726448; // "HdrS"
const VERSION_2_12 = 0x20c;
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
const VID_MODE_NORMAL = 0xffff;
/** type_of_loader of a boot loader without an assigned number. */
const LOADER_UNDEFINED = 0xff;
const SECTOR = 512;
const ENTRY64_OFFSET = 0x200;

/** __BOOT_CS and __BOOT_DS. */
const BOOT_SELECTORS = { code: 0x10, data: 0x18 } as const;

const PTE_P_RW = 0x3;
const PTE_PS = 0x80;
const PAGE = 4096;

/** Does the file have a Linux setup header? */
export function isBzImage(file: ImageFile): boolean {
  if (file.bytes.length < HEADER + 4) return false;
  const reader = new ImageReader(file);
  return (
    reader.u16(BOOT_FLAG, "boot_flag") === BOOT_FLAG_VALUE && reader.u32(HEADER, "header") === HEADER_MAGIC
  );
}

interface SetupHeader {
  /** The header's bytes from 1F1H on. */
  readonly bytes: Uint8Array;
  /** The protected-mode part of the file. */
  readonly kernel: Uint8Array;
  readonly relocatable: boolean;
  readonly alignment: number;
  readonly preferred: number;
  /** Memory that the kernel needs from where it is loaded. */
  readonly initSize: number;
  readonly initrdMax: number;
  readonly cmdlineSize: number;
}

/**
 * Lays out a 64-bit Linux boot.
 * @throws ImageError when the image is damaged or too old, the command line too long, or RAM too small
 */
export function loadLinux64(request: BootRequest): BootImage {
  const { kernel, ram, memoryMap } = request;
  const reader = new ImageReader(kernel);
  const header = readSetupHeader(reader);
  const commandLine = zeroTerminated(request.commandLine);
  if (commandLine.length - 1 > header.cmdlineSize)
    throw reader.error(
      "command line",
      "cmdline_size",
      `it has ${commandLine.length - 1} bytes, the kernel takes ${header.cmdlineSize}`,
      "shorten -append",
    );
  if (memoryMap.length > E820_MAX_ENTRIES) throw new RangeError(`memory map of ${memoryMap.length} ranges`);
  if (request.modules.length > 1)
    throw reader.error(
      "initrd",
      "command line",
      `${request.modules.length} files are given, Linux takes one`,
      "join them into one file",
    );

  const memory = new BootMemory(ram);
  const loadAddress = placeKernel(reader, memory, header);
  const params = new TableWriter(BOOT_PARAMS_BYTES);
  params.put(SETUP_SECTS, header.bytes);
  params.u16(EXT_MEM_K, Math.min(0xffff, extendedKib(ram))).u32(ALT_MEM_K, extendedKib(ram));
  params.u64(ACPI_RSDP_ADDR, request.rsdp);
  params.u16(VID_MODE, VID_MODE_NORMAL);
  params.u8(TYPE_OF_LOADER, LOADER_UNDEFINED);
  params.u32(CODE32_START, loadAddress);
  params.u32(CMD_LINE_PTR, memory.placeTable(kernel, "command line", commandLine, 16));
  const initrd = request.modules[0];
  if (initrd) {
    const limit = Math.min(header.initrdMax + 1, FOUR_GIB);
    const at = memory.placeModuleHigh(initrd.file, "initrd", initrd.file.bytes, limit);
    params.u32(RAMDISK_IMAGE, at).u32(RAMDISK_SIZE, initrd.file.bytes.length);
  }
  params.u8(E820_ENTRIES, memoryMap.length);
  memoryMap.forEach(({ base, length, type }, index) => {
    const at = E820_TABLE + E820_ENTRY_BYTES * index;
    params
      .u64(at, base)
      .u64(at + 8, length)
      .u32(at + 16, type);
  });
  const paramsAt = memory.placeTable(kernel, "boot_params", params.bytes, PAGE);
  const gdt = bootGdt("long64", BOOT_SELECTORS);
  const gdtAt = memory.placeTable(kernel, "descriptor table", gdt, 8);
  return {
    protocol: "linux",
    segments: memory.segments,
    entry: entryState({
      mode: "long64",
      rip: loadAddress + ENTRY64_OFFSET,
      registers: [[RSI, paramsAt]],
      selectors: BOOT_SELECTORS,
      gdt: { base: gdtAt, limit: gdt.length - 1 },
      cr3: placeIdentityMap(kernel, memory),
    }),
    topOfUse: memory.topOfUse,
    notes: conventionalKib(ram) < 512 ? ["Linux needs 512 KiB of conventional memory or more"] : [],
  };
}

function readSetupHeader(reader: ImageReader): SetupHeader {
  const what = "Linux setup header";
  if (!isBzImage(reader.file)) {
    reader.require(0, HEADER + 4, what);
    throw reader.error(
      what,
      "offset 1FEH",
      "boot_flag AA55H and header 'HdrS' are not there",
      "name a bzImage, or choose another protocol",
    );
  }
  const version = reader.u16(VERSION, what);
  if (version < VERSION_2_12)
    throw reader.error(
      what,
      "offset 206H",
      `boot protocol ${version >> 8}.${version & 0xff} is older than 2.12`,
      "use Linux 3.8 or later",
    );
  reader.require(0, HEADER_END, what);
  if ((reader.u16(XLOADFLAGS, what) & XLF_KERNEL_64) === 0)
    throw reader.error(
      what,
      "offset 236H",
      "the kernel has no 64-bit entry point (XLF_KERNEL_64)",
      "use an amd64 kernel",
    );
  if ((reader.u8(LOADFLAGS, what) & LOADED_HIGH) === 0)
    throw reader.error(
      what,
      "offset 211H",
      "the kernel loads at 10000H (LOADED_HIGH is clear)",
      "use a bzImage, not a zImage",
    );

  // "The size of the setup code in 512-byte sectors. If this field is 0, the real value is 4."
  const setupSectors = reader.u8(SETUP_SECTS, what) || 4;
  const kernelAt = (setupSectors + 1) * SECTOR;
  const kernelBytes = reader.u32(SYSSIZE, what) * 16;
  if (kernelBytes <= ENTRY64_OFFSET)
    throw reader.error(
      what,
      "offset 1F4H",
      `syssize gives ${hex(kernelBytes)} bytes, less than its entry point needs`,
      "the file is damaged",
    );
  // syssize counts whole paragraphs; the file's last one may be short.
  reader.require(kernelAt, kernelBytes - 15, "Linux protected-mode kernel");
  const kernel = reader.bytes(
    kernelAt,
    Math.min(kernelBytes, reader.length - kernelAt),
    "Linux protected-mode kernel",
  );

  // "The end of setup header can be calculated as: 0x0202 + byte value at offset 0x0201".
  const headerEnd = Math.min(HEADER + reader.u8(JUMP_DISPLACEMENT, what), EDD_MBR_SIG_BUFFER);
  if (headerEnd < HEADER_END)
    throw reader.error(
      what,
      "offset 201H",
      `it ends at ${hex(headerEnd)}, too early for its version`,
      "the file is damaged",
    );
  const alignment = reader.u32(KERNEL_ALIGNMENT, what);
  const preferred = reader.u64(PREF_ADDRESS, what);
  if (alignment === 0 || (alignment & (alignment - 1)) !== 0)
    throw reader.error(
      what,
      "offset 230H",
      `kernel_alignment ${hex(alignment)} is not a power of two`,
      "the file is damaged",
    );
  if (preferred < BigInt(MIB) || preferred >= BigInt(FOUR_GIB))
    throw reader.error(
      what,
      "offset 258H",
      `pref_address ${hex(preferred)} is not between 1 MiB and 4 GiB`,
      "the file is damaged",
    );
  return {
    bytes: reader.bytes(SETUP_SECTS, headerEnd - SETUP_SECTS, what),
    kernel,
    relocatable: reader.u8(RELOCATABLE_KERNEL, what) !== 0,
    alignment,
    preferred: Number(preferred),
    initSize: Math.max(reader.u32(INIT_SIZE, what), kernel.length),
    initrdMax: reader.u32(INITRD_ADDR_MAX, what),
    cmdlineSize: reader.u32(CMDLINE_SIZE, what),
  };
}

/**
 * Loads the kernel at its preferred address, where it need not move itself; a relocatable one in a small machine at the
 * lowest aligned address that has room.
 */
function placeKernel(reader: ImageReader, memory: BootMemory, header: SetupHeader): number {
  const { kernel, preferred, alignment, initSize } = header;
  const { lowRam } = memory.ram;
  const candidates = [preferred];
  if (header.relocatable) candidates.push(Math.ceil(MIB / alignment) * alignment);
  const at = candidates.find((address) => address + initSize <= lowRam);
  if (at === undefined) {
    const end = Math.min(...candidates) + initSize;
    throw reader.error(
      "Linux protected-mode kernel",
      `init_size at offset ${hex(INIT_SIZE)}`,
      `it needs RAM up to ${hex(end)}, RAM ends at ${hex(lowRam)}`,
      mebibytesHint(end),
    );
  }
  memory.place(reader.file, "Linux protected-mode kernel", at, kernel);
  // What it unpacks itself into; its own business, so not zeroed, but kept free of our tables.
  memory.reserve(at + kernel.length, initSize - kernel.length, "memory that the kernel unpacks itself into");
  return at;
}

/** PML4, page-directory-pointer table and four page directories: linear = physical for the low 4 GiB. Returns CR3. */
function placeIdentityMap(kernel: ImageFile, memory: BootMemory): number {
  const tables = new TableWriter(6 * PAGE);
  const at = memory.placeTable(kernel, "page tables", tables.bytes, PAGE);
  tables.u64(0, at + PAGE + PTE_P_RW);
  for (let i = 0; i < 4; i++) tables.u64(PAGE + 8 * i, at + (2 + i) * PAGE + PTE_P_RW);
  for (let i = 0; i < 2048; i++) tables.u64(2 * PAGE + 8 * i, i * 0x200000 + PTE_P_RW + PTE_PS);
  return at;
}

/** What the board tells its firmware through the firmware configuration device. */
import type { FwCfgItems } from "../../../devices/firmware/fw-cfg.ts";
import {
  KEY_BOOT_MENU,
  KEY_MAX_CPUS,
  KEY_NB_CPUS,
  KEY_NOGRAPHIC,
  KEY_RAM_SIZE,
} from "../../../devices/firmware/fw-cfg-spec.ts";
import { COM1_PORT, ECAM_BASE, ECAM_SIZE } from "../layout.ts";
import type { PcTimers } from "../pc.ts";
import { TableWriter } from "../table-writer.ts";
import { AddressRangeMemory, AddressRangeReserved, FOUR_GIB } from "./memory-ranges.ts";
import type { RamSize } from "./memory-ranges.ts";
import { acpiFiles } from "./table-loader.ts";

export interface FirmwareItemsOptions {
  readonly ram: RamSize;
  readonly cpus: number;
  readonly vga: boolean;
  readonly keyboardAndMouse: boolean;
  readonly timers: PcTimers;
  /** Show the firmware's boot menu and wait for a key. */
  readonly bootMenu: boolean;
}

/** Milliseconds for which firmware says that nothing could be booted before it starts anew: for ever. */
const BOOT_FAIL_WAIT = 0xffffffff;
const E820_ENTRY_BYTES = 20;

const u16 = (value: number): Uint8Array => new TableWriter(2).u16(0, value).bytes;
const u32 = (value: number): Uint8Array => new TableWriter(4).u32(0, value).bytes;
const u64 = (value: number): Uint8Array => new TableWriter(8).u64(0, value).bytes;

/** RAM as chips have it (firmware itself cuts out what a PC has below 1 MiB), and what firmware could not know to be taken. */
function e820(ram: RamSize): Uint8Array {
  const ranges = [
    [0, ram.lowRam, AddressRangeMemory],
    [ECAM_BASE, ECAM_SIZE, AddressRangeReserved],
    ...(ram.highRam > 0 ? [[FOUR_GIB, ram.highRam, AddressRangeMemory] as const] : []),
  ] as const;
  const table = new TableWriter(E820_ENTRY_BYTES * ranges.length);
  ranges.forEach(([base, length, type], i) => {
    const at = E820_ENTRY_BYTES * i;
    table
      .u64(at, base)
      .u64(at + 8, length)
      .u32(at + 16, type);
  });
  return table.bytes;
}

export function firmwareItems({
  ram,
  cpus,
  vga,
  keyboardAndMouse,
  timers,
  bootMenu,
}: FirmwareItemsOptions): FwCfgItems {
  const files = new Map(acpiFiles({ cpus, vga, keyboardAndMouse, timers }));
  files.set("etc/e820", e820(ram));
  files.set("etc/boot-fail-wait", u32(BOOT_FAIL_WAIT));
  // Without a VGA the firmware's screen is the serial port.
  if (!vga) files.set("etc/sercon-port", u16(COM1_PORT));
  const keys = new Map([
    [KEY_RAM_SIZE, u64(ram.lowRam + ram.highRam)],
    [KEY_NOGRAPHIC, u16(vga ? 0 : 1)],
    [KEY_NB_CPUS, u16(cpus)],
    [KEY_MAX_CPUS, u16(cpus)],
    [KEY_BOOT_MENU, u16(bootMenu ? 1 : 0)],
  ]);
  return { keys, files };
}

/**
 * ACPI tables for firmware that places them itself: two files and a script. The script's commands are those of QEMU's
 * "etc/table-loader": allocate a file, add a file's address to a pointer, make a checksum.
 */
import { TableWriter, concatenate } from "../table-writer.ts";
import { ACPI_CHECKSUM_AT, layOutAcpiTables, type AcpiOptions } from "./acpi/tables.ts";

const TABLES = "etc/acpi/tables";
const RSDP = "etc/acpi/rsdp";

const ENTRY_BYTES = 128;
const FILE_NAME_BYTES = 56;
const ALLOCATE = 1;
const ADD_POINTER = 2;
const ADD_CHECKSUM = 3;
const ZONE_HIGH = 1;
const ZONE_F_SEGMENT = 2;

const RSDP_V1_BYTES = 20;

function allocate(file: string, align: number, zone: number): Uint8Array {
  return new TableWriter(ENTRY_BYTES)
    .u32(0, ALLOCATE)
    .text(4, file)
    .u32(4 + FILE_NAME_BYTES, align)
    .u8(8 + FILE_NAME_BYTES, zone).bytes;
}

/** Adds the address of the tables' file to the pointer that lies at `offset` in `file`. */
function addPointer(file: string, offset: number, size: number): Uint8Array {
  return new TableWriter(ENTRY_BYTES)
    .u32(0, ADD_POINTER)
    .text(4, file)
    .text(4 + FILE_NAME_BYTES, TABLES)
    .u32(4 + 2 * FILE_NAME_BYTES, offset)
    .u8(8 + 2 * FILE_NAME_BYTES, size).bytes;
}

function addChecksum(file: string, offset: number, start: number, length: number): Uint8Array {
  return new TableWriter(ENTRY_BYTES)
    .u32(0, ADD_CHECKSUM)
    .text(4, file)
    .u32(4 + FILE_NAME_BYTES, offset)
    .u32(8 + FILE_NAME_BYTES, start)
    .u32(12 + FILE_NAME_BYTES, length).bytes;
}

/** The files by name. Pointers in them are offsets in the tables' file, until the script has run. */
export function acpiFiles(options: AcpiOptions): ReadonlyMap<string, Uint8Array> {
  const { area, rsdpBytes, pointers, tables } = layOutAcpiTables(options, 0);
  const script = [allocate(TABLES, 64, ZONE_HIGH), allocate(RSDP, 16, ZONE_F_SEGMENT)];
  for (const { at, size } of pointers) script.push(addPointer(at < rsdpBytes ? RSDP : TABLES, at, size));
  for (const { at, length } of tables) script.push(addChecksum(TABLES, at + ACPI_CHECKSUM_AT, at, length));
  script.push(addChecksum(RSDP, 8, 0, RSDP_V1_BYTES), addChecksum(RSDP, 32, 0, rsdpBytes));
  return new Map([
    [TABLES, area],
    [RSDP, area.slice(0, rsdpBytes)],
    ["etc/table-loader", concatenate(script)],
  ]);
}

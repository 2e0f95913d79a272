/** The commands that move sectors, as a table: ANSI INCITS T13, "ATA/ATAPI-6", "Command descriptions". */
import * as spec from "./spec.ts";

export interface SectorTransfer {
  readonly operation: "read" | "write" | "verify";
  /** How data pass: one sector, or a block of several, at each request; or by DMA. `none`: READ VERIFY. */
  readonly protocol: "pio" | "multiple" | "dma" | "none";
  /** 48-bit address and 16-bit count. */
  readonly ext: boolean;
}

const TRANSFERS: ReadonlyMap<number, SectorTransfer> = new Map(
  (
    [
      ["read", "pio", false, [spec.READ_SECTORS, spec.READ_SECTORS_NO_RETRY]],
      ["read", "pio", true, [spec.READ_SECTORS_EXT]],
      ["write", "pio", false, [spec.WRITE_SECTORS, spec.WRITE_SECTORS_NO_RETRY]],
      ["write", "pio", true, [spec.WRITE_SECTORS_EXT]],
      ["read", "multiple", false, [spec.READ_MULTIPLE]],
      ["read", "multiple", true, [spec.READ_MULTIPLE_EXT]],
      ["write", "multiple", false, [spec.WRITE_MULTIPLE]],
      ["write", "multiple", true, [spec.WRITE_MULTIPLE_EXT]],
      ["read", "dma", false, [spec.READ_DMA, spec.READ_DMA_NO_RETRY]],
      ["read", "dma", true, [spec.READ_DMA_EXT]],
      ["write", "dma", false, [spec.WRITE_DMA, spec.WRITE_DMA_NO_RETRY]],
      ["write", "dma", true, [spec.WRITE_DMA_EXT]],
      ["verify", "none", false, [spec.READ_VERIFY_SECTORS, spec.READ_VERIFY_SECTORS_NO_RETRY]],
      ["verify", "none", true, [spec.READ_VERIFY_SECTORS_EXT]],
    ] as const
  ).flatMap(([operation, protocol, ext, commands]) =>
    commands.map((command) => [command, { operation, protocol, ext }] as const),
  ),
);

/** What a command moves, if it is one of those. */
export function transferOf(command: number): SectorTransfer | undefined {
  return TRANSFERS.get(command);
}

/** A count of 0 means the largest: 256, or 65,536 with 48-bit commands. */
export function sectorsOf(count: number, ext: boolean): number {
  return count || (ext ? 65536 : 256);
}

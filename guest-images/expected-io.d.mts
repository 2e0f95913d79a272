/** The parameters of a run of `seq`, `rand` or `busy`, as in the guest's script. */
export interface IoRun {
  /** `busy:pattern=rand` is "rand", `busy:pattern=seq` is "seq". */
  readonly pattern: "seq" | "rand";
  /** Bytes of one request, a multiple of 512. */
  readonly size: number;
  /** Number of requests. */
  readonly count: number;
  /** First sector of the range; 0 if absent. */
  readonly start?: number;
  /** Sectors in the range; to the end of the disk if absent. */
  readonly span?: number;
  /** Seed of the random sequence; 1 if absent, as in the guest. */
  readonly seed?: number | bigint;
}

/**
 * The first sector of each request, in the order of submission, on a disk of `sectors` sectors.
 *
 * @throws RangeError if not one request fits
 */
export function requestSectors(run: IoRun & { readonly sectors: number }): Generator<number>;

/**
 * The `checksum=` that the guest must print after reading this disk, e.g. `0x32cfe48ed1cae967`. Little-endian hosts.
 *
 * @param image the whole disk; its byteOffset must be a multiple of 4
 * @throws RangeError if not one request fits
 */
export function expectedChecksum(image: Uint8Array, run: IoRun): string;

/** The geometry of the disk that `prepareBochs` describes. */
export const SECTOR: number;
export const HEADS: number;
export const SECTORS_A_TRACK: number;

/**
 * Writes Bochs's configuration into a folder, in which the guest's disk is `disk.img`; what it sends comes to `serial`, what Bochs says to
 * `log`.
 *
 * @returns a command and its arguments: Bochs, where the host allows it in a network namespace of its own
 */
export function prepareBochs(
  folder: string,
  options: {
    /** As `bochs --help cpu` lists them. */
    readonly model: string;
    readonly mebibytes: number;
    readonly cylinders: number;
    /** How many its clock counts as a second. */
    readonly instructionsPerSecond: number;
    /** MSRs that it lacks read as 0 instead of raising #GP. */
    readonly ignoresBadMsrs: boolean;
  },
): [command: string, words: string[]];

/**
 * Where and how every case runs: the part of the machine's state that is the same for all of them.
 *
 * Segments are flat in 64-bit and 32-bit compatibility mode; in 16-bit mode CS begins at the code page with a limit of FFFFH, and SS,
 * DS and ES begin at the window with a limit of 3FFFH, so that offsets from 2000H are in the segment but not present. CPL is 3, IOPL is 0, no I/O port is
 * allowed, paging maps exactly two things for the user, and nothing else below 4 GiB: the code page (read, write, execute) and
 * the operand window (read, write). CR0.AM is set; CR4 enables none of
 * UMIP, TSD and PKE's restrictions that a case could notice.
 */
import { Random } from "../support/random.ts";

/** How the instruction is executed; the numbers are the native harness's and those of `decode()`. */
export const MODE_16 = 0;
export const MODE_COMPATIBILITY = 1;
export const MODE_64 = 2;
export type Mode = typeof MODE_16 | typeof MODE_COMPATIBILITY | typeof MODE_64;

/** Linear address of the page with the code, and of the instruction in it. */
export const CODE_PAGE = 0x10000000;
export const CODE = 0x10000800;
/** Linear address and size of the operand window. The pages before and after it are not present. */
export const WINDOW = 0x20000000;
export const WINDOW_BYTES = 8192;

/** Segments of 16-bit mode. */
export const CODE_LIMIT_16 = 0xffff;
export const DATA_LIMIT_16 = 0x3fff;

/** Base of SS, DS and ES. */
export const dataBase = (mode: Mode): number => (mode === MODE_16 ? WINDOW : 0);
/** RIP of the instruction. */
export const startRip = (mode: Mode): bigint => BigInt(mode === MODE_16 ? CODE - CODE_PAGE : CODE);

/** RFLAGS bits that are compared: CF PF AF ZF SF DF OF NT AC ID. TF and RF belong to the harness; IF and IOPL never change. */
export const COMPARED_RFLAGS = 0x244cd5n;

/** RFLAGS bits a case starts with besides its random ones: bit 1 and IF. */
export const INITIAL_RFLAGS = 0x202n;

const PATTERN_SEED = 0x5111c0;

/** The window's content before a case's own bytes are put over it. */
export function windowPattern(): Uint8Array {
  const random = new Random(PATTERN_SEED);
  return Uint8Array.from({ length: WINDOW_BYTES }, () => random.next() >>> 24);
}

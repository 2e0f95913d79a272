/** One x87 instruction with the state it starts from, and what it did. */
import type { Row } from "../../../emulator/isa/format.ts";

export const REGISTERS = 8;
export const OPERAND_BYTES = 32;

/** An x87 row as it is encoded here: with the operand at (%rdi), or with a register. */
export interface X87Form {
  readonly row: Row;
  /** Stable name. */
  readonly key: string;
}

/** A number in the double extended format. */
export interface Extended {
  /** Sign in bit 15. */
  readonly exponent: number;
  readonly significand: bigint;
}

export interface X87Input {
  readonly code: Uint8Array;
  readonly control: number;
  /** With TOP. */
  readonly status: number;
  /** Bit n: Rn is not empty. */
  readonly tag: number;
  /** Arithmetic flags. */
  readonly rflags: number;
  readonly rax: bigint;
  /** R0 to R7. */
  readonly registers: readonly Extended[];
  readonly operand: Uint8Array;
}

export interface X87Outcome {
  /** The instruction raised #MF; nothing else is known then. */
  readonly isFaulted: boolean;
  readonly control: number;
  readonly status: number;
  readonly tag: number;
  /** Opcode of the last instruction that counts. */
  readonly opcode: number;
  readonly rflags: number;
  readonly rax: bigint;
  readonly registers: readonly Extended[];
  readonly operand: Uint8Array;
}

/** Number of the register that is ST(i). */
export const physical = (status: number, i: number): number => ((status >> 11) + i) & 7;

/** What goes into a case and what comes out of it. */
import type { Mode } from "./environment.ts";

/** Everything that differs between cases before the instruction. */
export interface CaseInput {
  readonly mode: Mode;
  /** The instruction, 1 to 15 bytes, at `CODE`. */
  readonly code: Uint8Array;
  /** A repeated string instruction, or a gather: it is stepped until it is complete. */
  readonly isRepeated: boolean;
  /** What is behind the instruction is not what is executed next, or TF may change: a native run must be stopped by a single-step trap. */
  readonly mayLeave: boolean;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15. In compatibility mode all below 2^32, and R8 to R15 are 0. */
  readonly gpr: BigUint64Array;
  readonly rflags: bigint;
  /** Bytes that replace the window's pattern from this offset, up to 64. */
  readonly pokeOffset: number;
  readonly poke: Uint8Array;
  /** Number of the general register that the first operand is, undefined when it is in memory or there is none. */
  readonly destination: number | undefined;
  /** x87, MMX, SSE and AVX state in the form of `media.ts`; undefined for integer instructions, which have none. */
  readonly media?: Uint8Array;
  /** More of the window's content: an image that XRSTOR reads, or that XSAVE writes over. Put there after `poke`. */
  readonly image?: { readonly offset: number; readonly bytes: Uint8Array };
}

/** What the instruction did. */
export interface CaseOutcome {
  /** The exception it raised, or undefined when it completed. */
  readonly vector: number | undefined;
  /** Error code, 0 for exceptions without one. */
  readonly error: number;
  /** CR2 after a page fault, else 0. */
  readonly cr2: bigint;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly gpr: BigUint64Array;
  /** Bytes of the window that changed: offset and new value, by rising offset. */
  readonly changes: readonly (readonly [offset: number, value: number])[];
  /** State after the instruction, where the case has one. */
  readonly media?: Uint8Array;
}

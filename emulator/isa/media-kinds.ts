/**
 * Which state an instruction of the media sets needs, as bits that state/media.ts of the core turns into #UD, #NM or #MF.
 *
 * SDM Vol. 3A, "Emulation of x87, MMX and SSE instructions" (CR0.EM, CR0.TS and their neighbours); Vol. 2, exception
 * types of the VEX-encoded instructions.
 */
import type { Row } from "./format.ts";

export const MEDIA_BITS = {
  /** x87 instructions that look for a pending exception first. */
  X87: 1,
  /** x87 instructions that do not. */
  X87_NO_WAIT: 2,
  MMX: 4,
  /** XMM registers or MXCSR, legacy encoding. */
  SSE: 8,
  /** YMM and XMM registers, VEX encoding. */
  AVX: 16,
  /** VEX encoding with general registers. */
  VEX: 32,
  /** FWAIT. */
  WAIT: 64,
} as const;

const MMX_METHODS = new Set(["P", "Q", "N"]);
const VECTOR_METHODS = new Set(["V", "W", "U", "H", "L", "XMM0", "VMX", "VMY"]);
/** Vector state without an operand that says so. */
const IMPLICIT = new Set(["LDMXCSR", "STMXCSR", "VLDMXCSR", "VSTMXCSR", "VZEROUPPER", "VZEROALL"]);
const NO_WAIT = new Set([
  "FNINIT",
  "FNCLEX",
  "FNSTCW",
  "FNSTSW",
  "FNSTENV",
  "FNSAVE",
  "FNENI",
  "FNDISI",
  "FNSETPM",
]);

/** OR of MEDIA_BITS; 0 for instructions that need none of this state. */
export function mediaKinds(row: Row): number {
  if (row.mnemonic === "FWAIT") return MEDIA_BITS.WAIT;
  if (row.feature === "X87") return NO_WAIT.has(row.mnemonic) ? MEDIA_BITS.X87_NO_WAIT : MEDIA_BITS.X87;
  if (row.mnemonic === "FXSAVE" || row.mnemonic === "FXRSTOR") return MEDIA_BITS.X87_NO_WAIT;
  const isVex = row.map >= 4;
  const isVector =
    IMPLICIT.has(row.mnemonic) || row.operands.some((operand) => VECTOR_METHODS.has(operand.method));
  let kinds = 0;
  if (isVector) kinds |= isVex ? MEDIA_BITS.AVX : MEDIA_BITS.SSE;
  else if (isVex) kinds |= MEDIA_BITS.VEX;
  if (row.mnemonic === "EMMS" || row.operands.some((operand) => MMX_METHODS.has(operand.method)))
    kinds |= MEDIA_BITS.MMX;
  return kinds;
}

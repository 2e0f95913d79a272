/**
 * Whether x87, MMX, SSE and AVX instructions may execute. Their handlers look at one word, `Cpu.mediaFaults`, and come here
 * only when it says that they may not.
 *
 * SDM Vol. 3A, "Control Registers" and "Device-Not-Available Exception"; Vol. 2, exception types of VEX instructions.
 */
import {
  CR0_EM,
  CR0_MP,
  CR0_NE,
  CR0_PE,
  CR0_TS,
  CR4_OSFXSR,
  CR4_OSXSAVE,
  FLAG_VM,
  VECTOR_MF,
  VECTOR_NM,
  VECTOR_UD,
  X87_STATUS_ES,
  XCR0_AVX,
  XCR0_SSE,
} from "../spec/architecture";
import {
  MEDIA_AVX,
  MEDIA_MMX,
  MEDIA_SSE,
  MEDIA_VEX,
  MEDIA_WAIT,
  MEDIA_X87,
  MEDIA_X87_NO_WAIT,
} from "../spec/media.generated";
import { FAULT_FLOAT_ERROR, raise } from "../interrupts/raise";
import { CPU_ATTENTION } from "../layout.generated";
import { ATTENTION_FLOAT_ERROR, CPU, cpu } from "./cpu";

/** Kinds that are undefined: #UD. */
function undefinedKinds(): u32 {
  const emulated = (cpu.cr0 & CR0_EM) != 0;
  let kinds: u32 = 0;
  if (emulated) kinds |= MEDIA_MMX | MEDIA_SSE;
  if ((cpu.cr4 & CR4_OSFXSR) == 0) kinds |= MEDIA_SSE;
  const noVex = (cpu.cr0 & CR0_PE) == 0 || (cpu.rflags & FLAG_VM) != 0;
  if (noVex) kinds |= MEDIA_VEX;
  const vectorState = XCR0_SSE | XCR0_AVX;
  if (noVex || (cpu.cr4 & CR4_OSXSAVE) == 0 || (cpu.xcr0 & vectorState) != vectorState) kinds |= MEDIA_AVX;
  return kinds;
}

/** Kinds whose state belongs to another task, or is emulated: #NM. */
function unavailableKinds(): u32 {
  const switched = (cpu.cr0 & CR0_TS) != 0;
  let kinds: u32 = 0;
  if (switched) kinds |= MEDIA_X87 | MEDIA_X87_NO_WAIT | MEDIA_MMX | MEDIA_SSE | MEDIA_AVX;
  if ((cpu.cr0 & CR0_EM) != 0) kinds |= MEDIA_X87 | MEDIA_X87_NO_WAIT;
  if (switched && (cpu.cr0 & CR0_MP) != 0) kinds |= MEDIA_WAIT;
  return kinds;
}

/** Kinds that a pending unmasked x87 exception stops: #MF, or with CR0.NE = 0 until it is answered from outside. */
function pendingKinds(): u32 {
  return (cpu.x87Status & X87_STATUS_ES) != 0 && cpu.ignne == 0 ? MEDIA_X87 | MEDIA_MMX | MEDIA_WAIT : 0;
}

/**
 * FERR# follows the pending exception where CR0.NE is 0, and IGNNE# ends with it. The board is told at the next boundary. SDM Vol.
 * 1, "MS-DOS* Compatibility Sub-mode"; Vol. 3A, "Control Registers" (NE).
 */
function updateFloatError(): void {
  const level: u32 = (cpu.x87Status & X87_STATUS_ES) != 0 && (cpu.cr0 & CR0_NE) == 0 ? 1 : 0;
  if (level == 0) cpu.ignne = 0;
  if (level == cpu.ferr) return;
  cpu.ferr = level;
  atomic.or<u32>(CPU + CPU_ATTENTION, ATTENTION_FLOAT_ERROR);
}

/** After CR0, CR4, XCR0, RFLAGS.VM, IGNNE# or the x87 status word's ES changed. */
export function updateMedia(): void {
  updateFloatError();
  cpu.mediaFaults = undefinedKinds() | unavailableKinds() | pendingKinds();
}

/** Raises what stops an instruction of `kinds` (MEDIA_*); at least one of them must be in `Cpu.mediaFaults`. */
export function mediaFault(kinds: u32): void {
  if ((undefinedKinds() & kinds) != 0) raise(VECTOR_UD);
  else if ((unavailableKinds() & kinds) != 0) raise(VECTOR_NM);
  else raise(cpu.ferr != 0 ? FAULT_FLOAT_ERROR : VECTOR_MF);
}

/**
 * Whether x87, MMX, SSE and AVX instructions may execute. Their handlers look at one word, `Cpu.mediaFaults`, and come here
 * only when it says that they may not.
 *
 * SDM Vol. 3A, "Control Registers" and "Device-Not-Available Exception"; Vol. 2, exception types of VEX instructions.
 */
import {
  CR0_EM,
  CR0_MP,
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
import { raise } from "../interrupts/raise";
import { cpu } from "./cpu";

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

/** Kinds that a pending unmasked x87 exception stops: #MF. */
function pendingKinds(): u32 {
  return (cpu.x87Status & X87_STATUS_ES) != 0 ? MEDIA_X87 | MEDIA_MMX | MEDIA_WAIT : 0;
}

/** After CR0, CR4, XCR0, RFLAGS.VM or the x87 status word's ES changed. */
export function updateMedia(): void {
  cpu.mediaFaults = undefinedKinds() | unavailableKinds() | pendingKinds();
}

/** Raises what stops an instruction of `kinds` (MEDIA_*); at least one of them must be in `Cpu.mediaFaults`. */
export function mediaFault(kinds: u32): void {
  if ((undefinedKinds() & kinds) != 0) raise(VECTOR_UD);
  else if ((unavailableKinds() & kinds) != 0) raise(VECTOR_NM);
  else raise(VECTOR_MF);
}

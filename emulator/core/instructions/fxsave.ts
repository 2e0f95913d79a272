/**
 * FXSAVE and FXRSTOR, and the 512-byte legacy region that XSAVE's image begins with. SDM Vol. 1, "FXSAVE Area" ("XSAVE-Managed Features
 * and State-Component Bitmap", "Legacy Region of an XSAVE Area").
 *
 * Images are put together in the CPU block's image area (x87/memory.ts), from which they are written in one go.
 */
import { CPU_IMAGE, CPU_VECTOR } from "../layout.generated";
import { CPU, cpu } from "../state/cpu";
import { is64 } from "../state/mode";
import { Address } from "../mmu/segmented";
import { faultPending, raiseGp } from "../interrupts/raise";
import { CR4_OSFXSR } from "../spec/architecture";
import { CONTROL_FIXED, CONTROL_WRITABLE } from "../spec/x87";
import { Op } from "./operand";
import { cpuidWord } from "./identification";
import { readImage, writeImage } from "./x87/memory";
import { Stack, updatePending } from "./x87/stack";

/** Bits of MXCSR that can be set, as MXCSR_MASK reports them: all, DAZ included. */
export const MXCSR_MASK: u32 = 0xffff;
/** CPUID.(EAX=07H,ECX=0):EBX.FCS_FDS_DEPRECATED. */
const FCS_FDS_DEPRECATED: u32 = 1 << 13;
const EBX: u32 = 1;

/** Offsets and sizes in the legacy region. */
export const LEGACY_X87_HEADER: u32 = 24;
export const LEGACY_MXCSR: u32 = 24;
export const LEGACY_REGISTERS: u32 = 32;
export const LEGACY_XMM: u32 = 160;
const XMM_BYTES: u32 = 16;

/** Does the CPU model save CS and DS of the last x87 instruction as 0? */
export function hasNoSelectors(): bool {
  return (cpuidWord(7, 0, EBX) & FCS_FDS_DEPRECATED) != 0;
}

/** XMM registers that the current mode has. */
export function xmmCount(): u32 {
  return is64() ? 16 : 8;
}

/** Puts the x87 part, bytes 23:0 and 159:32, into the image area. `isWide`: 64-bit pointers (REX.W) instead of selector and offset. */
export function putLegacyX87(isWide: bool): void {
  const image = CPU + CPU_IMAGE;
  store<u16>(image, <u16>cpu.x87Control);
  store<u16>(image, <u16>cpu.x87Status, 2);
  store<u16>(image, <u16>cpu.x87Tag, 4);
  store<u16>(image, <u16>(cpu.x87Opcode & 0x7ff), 6);
  if (isWide) {
    store<u64>(image, cpu.x87CodeOffset, 8);
    store<u64>(image, cpu.x87DataOffset, 16);
  } else {
    const hidden = hasNoSelectors();
    store<u32>(image, <u32>cpu.x87CodeOffset, 8);
    store<u32>(image, hidden ? 0 : cpu.x87CodeSelector, 12);
    store<u32>(image, <u32>cpu.x87DataOffset, 16);
    store<u32>(image, hidden ? 0 : cpu.x87DataSelector, 20);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const at = image + <usize>(LEGACY_REGISTERS + i * 16);
    store<u64>(at, Stack.significand(i));
    store<u64>(at, <u64>Stack.exponent(i), 8);
  }
}

/** Takes the x87 part from the image area. */
export function getLegacyX87(isWide: bool): void {
  const image = CPU + CPU_IMAGE;
  cpu.x87Control = ((<u32>load<u16>(image)) & CONTROL_WRITABLE) | CONTROL_FIXED;
  cpu.x87Status = load<u16>(image, 2);
  cpu.x87Tag = load<u8>(image, 4);
  cpu.x87Opcode = (<u32>load<u16>(image, 6)) & 0x7ff;
  if (isWide) {
    cpu.x87CodeOffset = load<u64>(image, 8);
    cpu.x87DataOffset = load<u64>(image, 16);
    cpu.x87CodeSelector = 0;
    cpu.x87DataSelector = 0;
  } else {
    cpu.x87CodeOffset = load<u32>(image, 8);
    cpu.x87CodeSelector = load<u16>(image, 12);
    cpu.x87DataOffset = load<u32>(image, 16);
    cpu.x87DataSelector = load<u16>(image, 20);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const at = image + <usize>(LEGACY_REGISTERS + i * 16);
    const slot = Stack.slot(i);
    store<u64>(slot, load<u64>(at));
    store<u16>(slot, load<u16>(at, 8), 8);
  }
  updatePending();
}

/** Puts MXCSR and MXCSR_MASK, bytes 31:24, into the image area. */
export function putLegacyMxcsr(): void {
  store<u32>(CPU, cpu.mxcsr, CPU_IMAGE + LEGACY_MXCSR);
  store<u32>(CPU, MXCSR_MASK, CPU_IMAGE + LEGACY_MXCSR + 4);
}

/** Puts the XMM registers of the current mode into the image area. */
export function putLegacyXmm(): void {
  for (let i: u32 = 0; i < xmmCount(); i++)
    memory.copy(
      CPU + CPU_IMAGE + <usize>(LEGACY_XMM + i * XMM_BYTES),
      CPU + CPU_VECTOR + ((<usize>i) << 5),
      XMM_BYTES,
    );
}

/** Takes the XMM registers of the current mode from the image area. */
export function getLegacyXmm(): void {
  for (let i: u32 = 0; i < xmmCount(); i++)
    memory.copy(
      CPU + CPU_VECTOR + ((<usize>i) << 5),
      CPU + CPU_IMAGE + <usize>(LEGACY_XMM + i * XMM_BYTES),
      XMM_BYTES,
    );
}

/** Linear address of an image's first byte, which must be a multiple of `alignment`. Check `faultPending()`. */
export function imageAddress(record: usize, size: u32, alignment: u64, isWrite: bool): u64 {
  const linear = isWrite ? Address.forWrite(record, size) : Address.forRead(record, size);
  if (!faultPending() && (linear & (alignment - 1)) != 0) raiseGp();
  return linear;
}

const FXSAVE_BYTES: u32 = 512;

/** Bytes of the image that FXSAVE writes: neither the reserved ones at the end nor registers that the mode has not. */
function writtenBytes(): u32 {
  return (cpu.cr4 & CR4_OSFXSR) == 0 ? LEGACY_XMM : LEGACY_XMM + xmmCount() * XMM_BYTES;
}

export function fxsave(record: usize): void {
  const linear = imageAddress(record, FXSAVE_BYTES, 16, true);
  if (faultPending()) return;
  putLegacyX87(Op.size(record) == 8);
  putLegacyMxcsr();
  if ((cpu.cr4 & CR4_OSFXSR) != 0) putLegacyXmm();
  writeImage<u64>(linear, 0, writtenBytes());
}

export function fxrstor(record: usize): void {
  const linear = imageAddress(record, FXSAVE_BYTES, 16, false);
  if (faultPending()) return;
  if (!readImage<u64>(linear, FXSAVE_BYTES)) return;
  const hasSse = (cpu.cr4 & CR4_OSFXSR) != 0;
  const mxcsr = load<u32>(CPU, CPU_IMAGE + LEGACY_MXCSR);
  if (hasSse && (mxcsr & ~MXCSR_MASK) != 0) {
    raiseGp();
    return;
  }
  getLegacyX87(Op.size(record) == 8);
  if (!hasSse) return;
  cpu.mxcsr = mxcsr;
  getLegacyXmm();
}

/**
 * The 128 KiB at A0000H as the CPU sees them: planes with latches and the read and write modes of the graphics controller, odd/even
 * addressing of text, chained planes, and the banks of VBE modes. IBM, "PS/2 Hardware Interface Technical Reference", "Graphics
 * Controller Registers".
 */
import * as spec from "./spec.ts";
import type { VgaState } from "./state.ts";

const MEMORY_MASK = spec.VIDEO_MEMORY_BYTES - 1;
const BANK_BYTES = 0x10000;
/** Planar modes reach 64 KiB a plane. */
const PLANE_MASK = 0xffff;
/** Of four plane bits, a doubleword with a whole byte a plane. */
const EXPAND = Uint32Array.from({ length: 16 }, (_, bits) =>
  [0, 1, 2, 3].reduce((sum, plane) => sum + (bits & (1 << plane) ? 0xff * 256 ** plane : 0), 0),
);
const BYTES = 0x01010101;

/** Where an address of the window lies in it, by the memory map that the graphics controller selects; -1: nowhere. */
function windowOffset(s: VgaState, offset: number): number {
  switch ((s.graphics[spec.GR_MISC]! >> 2) & 3) {
    case 0:
      return offset;
    case 1:
      return offset < 0x10000 ? offset : -1;
    case 2:
      return offset >= 0x10000 && offset < 0x18000 ? offset - 0x10000 : -1;
    default:
      return offset >= 0x18000 ? offset - 0x18000 : -1;
  }
}

/** In VBE modes of 8 bits and more the window is a bank of the frame buffer. */
export function isLinear(s: VgaState): boolean {
  return (s.dispi[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) !== 0 && s.dispi[spec.DISPI_BPP]! > 4;
}

const bankOffset = (s: VgaState, offset: number): number =>
  (s.dispi[spec.DISPI_BANK]! * BANK_BYTES + (offset & (BANK_BYTES - 1))) & MEMORY_MASK;

export function readWindow(s: VgaState, offset: number): number {
  const memory = s.memory;
  if (isLinear(s)) return memory[bankOffset(s, offset)]!;
  const at = windowOffset(s, offset);
  if (at < 0) return 0xff;
  if (s.sequencer[spec.SR_MEMORY_MODE]! & spec.SR_CHAIN_4) return memory[at]!;
  const mode = s.graphics[spec.GR_MODE]!;
  const map = s.graphics[spec.GR_READ_MAP]! & 3;
  if (mode & spec.GR_HOST_ODD_EVEN) return memory[((at & ~1) << 1) | (map & 2) | (at & 1)]!;
  const base = (at & PLANE_MASK) << 2;
  s.latch =
    (memory[base]! | (memory[base + 1]! << 8) | (memory[base + 2]! << 16) | (memory[base + 3]! << 24)) >>> 0;
  if ((mode & spec.GR_READ_MODE_1) === 0) return (s.latch >>> (8 * map)) & 0xff;
  // Read mode 1: a bit is set where all planes that matter have the colour compared with.
  const care = EXPAND[s.graphics[spec.GR_COLOUR_DONT_CARE]! & 15]!;
  const colour = EXPAND[s.graphics[spec.GR_COLOUR_COMPARE]! & 15]!;
  const differs = ((s.latch ^ colour) & care) >>> 0;
  return ~(differs | (differs >>> 8) | (differs >>> 16) | (differs >>> 24)) & 0xff;
}

export function writeWindow(s: VgaState, offset: number, value: number): void {
  const memory = s.memory;
  if (isLinear(s)) {
    memory[bankOffset(s, offset)] = value;
    return;
  }
  const at = windowOffset(s, offset);
  if (at < 0) return;
  const mapMask = s.sequencer[spec.SR_MAP_MASK]! & 15;
  const memoryMode = s.sequencer[spec.SR_MEMORY_MODE]!;
  if (memoryMode & spec.SR_CHAIN_4) {
    if (mapMask & (1 << (at & 3))) memory[at] = value;
    return;
  }
  if ((memoryMode & spec.SR_ODD_EVEN_OFF) === 0) {
    const planes = mapMask & (at & 1 ? 0b1010 : 0b0101);
    for (let plane = at & 1; plane < 4; plane += 2)
      if (planes & (1 << plane)) memory[((at & ~1) << 1) | plane] = value;
    return;
  }
  const result = planarData(s, value);
  const base = (at & PLANE_MASK) << 2;
  for (let plane = 0; plane < 4; plane++)
    if (mapMask & (1 << plane)) memory[base + plane] = result >>> (8 * plane);
}

/** What the graphics controller makes of a byte written: a byte a plane. */
function planarData(s: VgaState, value: number): number {
  const g = s.graphics;
  const rotate = g[spec.GR_DATA_ROTATE]! & 7;
  const rotated = ((value >> rotate) | (value << (8 - rotate))) & 0xff;
  let bitMask = g[spec.GR_BIT_MASK]!;
  let bytes: number;
  switch (g[spec.GR_MODE]! & 3) {
    case 0: {
      const enabled = EXPAND[g[spec.GR_ENABLE_SET_RESET]! & 15]!;
      const set = EXPAND[g[spec.GR_SET_RESET]! & 15]!;
      bytes = ((Math.imul(rotated, BYTES) & ~enabled) | (set & enabled)) >>> 0;
      break;
    }
    case 1:
      return s.latch;
    case 2:
      bytes = EXPAND[value & 15]!;
      break;
    default:
      bitMask &= rotated;
      bytes = EXPAND[g[spec.GR_SET_RESET]! & 15]!;
  }
  const { latch } = s;
  switch ((g[spec.GR_DATA_ROTATE]! >> 3) & 3) {
    case 1:
      bytes &= latch;
      break;
    case 2:
      bytes |= latch;
      break;
    case 3:
      bytes ^= latch;
      break;
    default:
      break;
  }
  const mask = Math.imul(bitMask, BYTES);
  return ((bytes & mask) | (latch & ~mask)) >>> 0;
}

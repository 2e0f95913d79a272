/** The "dispi" registers: modes with a linear frame buffer, set by resolution and depth. Bochs, "VBE Display API"; QEMU, "QEMU Standard VGA". */
import * as spec from "./spec.ts";
import type { VgaState } from "./state.ts";

/** Bytes from one line of the frame buffer to the next. */
export function lineBytes(s: VgaState): number {
  const width = s.dispi[spec.DISPI_VIRTUAL_WIDTH]!;
  const bpp = s.dispi[spec.DISPI_BPP]!;
  // In 16 colours eight pixels are a byte of each of the four planes.
  return bpp === 4 ? width >> 1 : width * ((bpp + 7) >> 3);
}

export function readDispi(s: VgaState, index: number): number {
  if (index >= spec.DISPI_REGISTERS) return 0;
  if (s.dispi[spec.DISPI_ENABLE]! & spec.DISPI_GET_CAPABILITIES) {
    if (index === spec.DISPI_XRES) return spec.DISPI_MOST_XRES;
    if (index === spec.DISPI_YRES) return spec.DISPI_MOST_YRES;
    if (index === spec.DISPI_BPP) return spec.DISPI_MOST_BPP;
  }
  return s.dispi[index]!;
}

export function resetDispi(s: VgaState): void {
  s.dispi.fill(0);
  s.dispi[spec.DISPI_ID] = spec.DISPI_ID_LAST;
  s.dispi[spec.DISPI_MEMORY_64K] = spec.VIDEO_MEMORY_BYTES >> 16;
}

export function writeDispi(s: VgaState, index: number, value: number): void {
  const d = s.dispi;
  switch (index) {
    case spec.DISPI_ID:
      if (value >= spec.DISPI_ID_FIRST && value <= spec.DISPI_ID_LAST) d[index] = value;
      break;
    case spec.DISPI_XRES:
    case spec.DISPI_YRES:
    case spec.DISPI_BPP:
      // A mode under way keeps what it was set with.
      if ((d[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) === 0) d[index] = value;
      break;
    case spec.DISPI_ENABLE:
      enable(s, value);
      break;
    case spec.DISPI_BANK:
      if (value < spec.VIDEO_MEMORY_BYTES >> 16) d[index] = value;
      break;
    case spec.DISPI_VIRTUAL_WIDTH:
      d[index] = value;
      fitVirtual(s);
      break;
    case spec.DISPI_X_OFFSET:
    case spec.DISPI_Y_OFFSET:
      d[index] = value;
      fitVirtual(s);
      break;
    default:
      break;
  }
}

function enable(s: VgaState, value: number): void {
  const d = s.dispi;
  const starts = (value & ~d[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) !== 0;
  if (starts && !isPossible(s)) {
    d[spec.DISPI_ENABLE] = value & ~spec.DISPI_ENABLED;
    return;
  }
  d[spec.DISPI_ENABLE] = value;
  if (!starts) {
    if ((value & spec.DISPI_ENABLED) === 0) d[spec.DISPI_BANK] = 0;
    return;
  }
  d[spec.DISPI_VIRTUAL_WIDTH] = d[spec.DISPI_XRES]!;
  d[spec.DISPI_X_OFFSET] = 0;
  d[spec.DISPI_Y_OFFSET] = 0;
  d[spec.DISPI_BANK] = 0;
  fitVirtual(s);
  if ((value & spec.DISPI_NO_CLEAR) === 0) s.memory.fill(0, 0, lineBytes(s) * d[spec.DISPI_YRES]!);
}

function isPossible(s: VgaState): boolean {
  const [x, y, bpp] = [s.dispi[spec.DISPI_XRES]!, s.dispi[spec.DISPI_YRES]!, s.dispi[spec.DISPI_BPP]!];
  return (
    x > 0 &&
    x <= spec.DISPI_MOST_XRES &&
    y > 0 &&
    y <= spec.DISPI_MOST_YRES &&
    spec.DISPI_DEPTHS.includes(bpp) &&
    x * y * ((bpp + 7) >> 3) <= spec.VIDEO_MEMORY_BYTES
  );
}

/** Keeps the visible part inside the virtual screen, and that in video memory. */
function fitVirtual(s: VgaState): void {
  const d = s.dispi;
  if ((d[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) === 0) return;
  const [x, y, bpp] = [d[spec.DISPI_XRES]!, d[spec.DISPI_YRES]!, d[spec.DISPI_BPP]!];
  const heightAt = (width: number): number =>
    Math.floor(spec.VIDEO_MEMORY_BYTES / (bpp === 4 ? width >> 1 : width * ((bpp + 7) >> 3)));
  let width = Math.max(x, d[spec.DISPI_VIRTUAL_WIDTH]!);
  if (heightAt(width) < y) width = x;
  d[spec.DISPI_VIRTUAL_WIDTH] = width;
  const height = Math.min(0xffff, heightAt(width));
  d[spec.DISPI_VIRTUAL_HEIGHT] = height;
  d[spec.DISPI_X_OFFSET] = Math.min(d[spec.DISPI_X_OFFSET]!, width - x);
  d[spec.DISPI_Y_OFFSET] = Math.min(d[spec.DISPI_Y_OFFSET]!, height - y);
}

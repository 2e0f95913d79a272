/** Volatile state of the VGA: its registers, and the video memory, in which the four planes are interleaved byte by byte. */
import { array, bytes, struct, u16, u32, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import * as spec from "./spec.ts";

export const VgaStruct = struct("Vga", {
  misc: u8,
  featureControl: u8,
  sequencerIndex: u8,
  graphicsIndex: u8,
  crtcIndex: u8,
  attributeIndex: u8,
  /** The next write to the attribute port is data. */
  attributeData: u8,
  pelMask: u8,
  dacReadIndex: u8,
  dacWriteIndex: u8,
  /** Which of a colour's three bytes is next. */
  dacPart: u8,
  /** 0 after a write index, 3 after a read index. */
  dacState: u8,
  dispiIndex: u16,
  /** What the last read of planar memory left, a byte a plane. */
  latch: u32,
  sequencer: bytes(spec.SEQUENCER_REGISTERS),
  graphics: bytes(spec.GRAPHICS_REGISTERS),
  crtc: bytes(spec.CRTC_REGISTERS),
  attribute: bytes(spec.ATTRIBUTE_REGISTERS),
  dac: bytes(768),
  dispi: array("u16", spec.DISPI_REGISTERS),
  memory: bytes(spec.VIDEO_MEMORY_BYTES, 8),
});

export type VgaState = ViewOf<typeof VgaStruct>;

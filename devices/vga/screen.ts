/**
 * What is on the VGA's screen: characters in text modes, and the picture in every mode. Made from the registers and video memory
 * alone, with the font that the guest has loaded.
 */
import { code437 } from "./code-page.ts";
import { lineBytes } from "./dispi.ts";
import * as spec from "./spec.ts";
import type { VgaState } from "./state.ts";

export interface Screen {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue of each pixel, row by row. */
  readonly rgb: Uint8Array;
  /** Text modes: the characters, row by row. */
  readonly text?: readonly string[];
}

/** A character of a text screen with its colours, 0xRRGGBB. */
export interface TextCell {
  readonly character: string;
  readonly foreground: number;
  readonly background: number;
}

/** What a text mode shows. */
export interface TextScreen {
  readonly rows: readonly (readonly TextCell[])[];
  /** Where the cursor is, if there is one. */
  readonly cursor: { readonly row: number; readonly column: number } | undefined;
}

const FONT_BYTES_A_CHARACTER = 32;
const FONT_PLANE = 2;
/** Offsets of the eight fonts in plane 2, by the character map's number. */
const FONT_OFFSETS = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000];

export function screenOf(s: VgaState): Screen {
  if (s.dispi[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) return vbeScreen(s);
  if ((s.attributeIndex & spec.ATTRIBUTE_INDEX_SCREEN) === 0) return blank(s);
  if ((s.graphics[spec.GR_MISC]! & spec.GR_GRAPHICS) === 0) return textScreen(s);
  return s.graphics[spec.GR_MODE]! & spec.GR_SHIFT_256 ? screenOf256(s) : planarScreen(s);
}

function isText(s: VgaState): boolean {
  return (
    (s.dispi[spec.DISPI_ENABLE]! & spec.DISPI_ENABLED) === 0 &&
    (s.attributeIndex & spec.ATTRIBUTE_INDEX_SCREEN) !== 0 &&
    (s.graphics[spec.GR_MISC]! & spec.GR_GRAPHICS) === 0
  );
}

/** Characters with their colours, and the cursor; undefined where the screen shows no text. */
export function textScreenOf(s: VgaState): TextScreen | undefined {
  if (!isText(s)) return undefined;
  const columns = columnsOf(s);
  const { foreground, background } = cellColours(s);
  const dac = palette(s);
  const rgb = (index: number): number =>
    (dac[3 * index]! << 16) | (dac[3 * index + 1]! << 8) | dac[3 * index + 2]!;
  const { address: cursorAt } = cursorOf(s);
  let cursor: TextScreen["cursor"];
  const rows = Array.from({ length: textRows(s) }, (_, row) =>
    Array.from({ length: columns }, (__, column) => {
      const address = cellAddress(s, row, column);
      if (address === cursorAt) cursor = { row, column };
      const attribute = s.memory[4 * address + 1]!;
      return {
        character: code437(s.memory[4 * address]!),
        foreground: rgb(foreground(attribute)),
        background: rgb(background(attribute)),
      };
    }),
  );
  return { rows, cursor };
}

/** The characters on the screen, row by row; undefined where it shows none. Far cheaper than the picture. */
export function textOf(s: VgaState): readonly string[] | undefined {
  if (!isText(s)) return undefined;
  const columns = columnsOf(s);
  return Array.from({ length: textRows(s) }, (_, row) =>
    Array.from({ length: columns }, (__, column) => code437(s.memory[4 * cellAddress(s, row, column)]!))
      .join("")
      .trimEnd(),
  );
}

/** The colours of 256 DAC registers, as red, green and blue of 8 bits. */
function palette(s: VgaState): Uint8Array {
  const wide = (s.dispi[spec.DISPI_ENABLE]! & spec.DISPI_8BIT_DAC) !== 0;
  return Uint8Array.from(s.dac, (value) => (wide ? value : ((value & 63) << 2) | ((value & 63) >> 4)));
}

/** DAC register of each of the 16 colours of the attribute controller. */
function attributeColours(s: VgaState): readonly number[] {
  const a = s.attribute;
  const select = a[spec.AR_COLOUR_SELECT]!;
  return Array.from({ length: 16 }, (_, colour) => {
    const entry = a[colour]! & 0x3f;
    const high = (select & 0x0c) << 4;
    const index =
      a[spec.AR_MODE]! & spec.AR_P54_SELECT ? (entry & 0x0f) | ((select & 3) << 4) | high : entry | high;
    return index & s.pelMask;
  });
}

class Picture {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly #palette: Uint8Array;

  constructor(width: number, height: number, colours: Uint8Array) {
    this.width = width;
    this.height = height;
    this.rgb = new Uint8Array(width * height * 3);
    this.#palette = colours;
  }

  put(x: number, y: number, dacIndex: number): void {
    const at = 3 * (y * this.width + x);
    for (let i = 0; i < 3; i++) this.rgb[at + i] = this.#palette[3 * dacIndex + i]!;
  }
}

/** Scan lines that are shown. */
function linesShown(s: VgaState): number {
  const overflow = s.crtc[spec.CR_OVERFLOW]!;
  const end = s.crtc[spec.CR_VERTICAL_DISPLAY_END]!;
  return (end | ((overflow & 0x02) << 7) | ((overflow & 0x40) << 3)) + 1;
}

/** Scan lines of a row: of a text row, or of a pixel's repetitions. */
function linesARow(s: VgaState): number {
  return (s.crtc[spec.CR_MAXIMUM_SCAN_LINE]! & 31) + 1;
}

const startAddress = (s: VgaState): number => (s.crtc[spec.CR_START_HIGH]! << 8) | s.crtc[spec.CR_START_LOW]!;

const columnsOf = (s: VgaState): number => s.crtc[spec.CR_DISPLAY_END]! + 1;

function blank(s: VgaState): Screen {
  const [width, height] = [columnsOf(s) * 8, linesShown(s)];
  return { width, height, rgb: new Uint8Array(width * height * 3) };
}

const textRows = (s: VgaState): number => Math.floor(linesShown(s) / linesARow(s));

const cellAddress = (s: VgaState, row: number, column: number): number =>
  (startAddress(s) + row * s.crtc[spec.CR_OFFSET]! * 2 + column) & 0xffff;

/** The two fonts that bit 3 of an attribute chooses from. Where they differ, it is no bit of the colour. */
function fontsOf(s: VgaState): readonly [number, number] {
  const map = s.sequencer[spec.SR_CHARACTER_MAP]!;
  return [FONT_OFFSETS[(map & 3) | ((map >> 2) & 4)]!, FONT_OFFSETS[((map >> 2) & 3) | ((map >> 3) & 4)]!];
}

/** DAC registers of an attribute's two colours. */
function cellColours(s: VgaState): Record<"foreground" | "background", (attribute: number) => number> {
  const colours = attributeColours(s);
  const [clear, set] = fontsOf(s);
  const foregroundBits = clear !== set ? 7 : 15;
  const backgroundBits = (s.attribute[spec.AR_MODE]! & spec.AR_BLINK) !== 0 ? 7 : 15;
  return {
    foreground: (attribute) => colours[attribute & foregroundBits]!,
    background: (attribute) => colours[(attribute >> 4) & backgroundBits]!,
  };
}

/** Text: character and attribute are planes 0 and 1 of an address, the font is in plane 2. */
function textScreen(s: VgaState): Screen {
  const { memory } = s;
  const columns = columnsOf(s);
  const cellLines = linesARow(s);
  const rows = textRows(s);
  const cellWidth = s.sequencer[spec.SR_CLOCKING_MODE]! & spec.SR_8_DOTS ? 8 : 9;
  const fonts = fontsOf(s);
  const colours = cellColours(s);
  const picture = new Picture(columns * cellWidth, rows * cellLines, palette(s));
  const cursor = cursorOf(s);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const address = cellAddress(s, row, column);
      const character = memory[4 * address]!;
      const attribute = memory[4 * address + 1]!;
      const foreground = colours.foreground(attribute);
      const background = colours.background(attribute);
      const font = fonts[(attribute >> 3) & 1]!;
      for (let y = 0; y < cellLines; y++) {
        let bits =
          memory[4 * ((font + character * FONT_BYTES_A_CHARACTER + (y & 31)) & 0xffff) + FONT_PLANE]! << 1;
        // Line-drawing characters go on into the ninth dot.
        if (character >= 0xc0 && character <= 0xdf) bits |= (bits >> 1) & 1;
        if (address === cursor.address && y >= cursor.first && y <= cursor.last) bits = 0x1ff;
        for (let x = 0; x < cellWidth; x++)
          picture.put(
            column * cellWidth + x,
            row * cellLines + y,
            bits & (0x100 >> x) ? foreground : background,
          );
      }
    }
  }
  return { width: picture.width, height: picture.height, rgb: picture.rgb, text: textOf(s)! };
}

function cursorOf(s: VgaState): { readonly address: number; readonly first: number; readonly last: number } {
  const first = s.crtc[spec.CR_CURSOR_START]!;
  const address = (s.crtc[spec.CR_CURSOR_HIGH]! << 8) | s.crtc[spec.CR_CURSOR_LOW]!;
  const isOff = (first & spec.CR_CURSOR_OFF) !== 0;
  return { address: isOff ? -1 : address, first: first & 31, last: s.crtc[spec.CR_CURSOR_END]! & 31 };
}

/** 256 colours, as in mode 13H: a byte a pixel, each two dots wide. */
function screenOf256(s: VgaState): Screen {
  const width = columnsOf(s) * 4;
  const height = graphicsLines(s);
  const picture = new Picture(width, height, palette(s));
  const stride = s.crtc[spec.CR_OFFSET]! * 8;
  const start = startAddress(s) * 4;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (start + y * stride + x) & (spec.VIDEO_MEMORY_BYTES - 1);
      picture.put(x, y, s.memory[at]! & s.pelMask);
    }
  return picture;
}

/** Rows of pixels: scan lines that repeat the one before are left out. */
function graphicsLines(s: VgaState): number {
  const isDoubled = (s.crtc[spec.CR_MAXIMUM_SCAN_LINE]! & spec.CR_DOUBLE_SCAN) !== 0;
  const repeat = linesARow(s) * (isDoubled ? 2 : 1);
  return Math.floor(linesShown(s) / repeat);
}

/** 16 colours: a bit of each of the four planes a pixel. */
function planarScreen(s: VgaState): Screen {
  const width = columnsOf(s) * 8;
  const height = graphicsLines(s);
  return planarPicture(s, width, height, startAddress(s), s.crtc[spec.CR_OFFSET]! * 2);
}

function planarPicture(s: VgaState, width: number, height: number, start: number, stride: number): Screen {
  const picture = new Picture(width, height, palette(s));
  const colours = attributeColours(s);
  const planes = s.attribute[spec.AR_PLANE_ENABLE]! & 15;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = 4 * ((start + y * stride + (x >> 3)) & (spec.VIDEO_MEMORY_BYTES / 4 - 1));
      let colour = 0;
      for (let plane = 0; plane < 4; plane++)
        if (s.memory[at + plane]! & (0x80 >> (x & 7))) colour |= 1 << plane;
      picture.put(x, y, colours[colour & planes]!);
    }
  return picture;
}

/** Bits of red, green and blue in a pixel's word, and where they begin. */
const CHANNELS: Readonly<Record<number, readonly (readonly [shift: number, bits: number])[]>> = {
  15: [
    [10, 5],
    [5, 5],
    [0, 5],
  ],
  16: [
    [11, 5],
    [5, 6],
    [0, 5],
  ],
  24: [
    [16, 8],
    [8, 8],
    [0, 8],
  ],
  32: [
    [16, 8],
    [8, 8],
    [0, 8],
  ],
};

function vbeScreen(s: VgaState): Screen {
  const [width, height, bpp] = [
    s.dispi[spec.DISPI_XRES]!,
    s.dispi[spec.DISPI_YRES]!,
    s.dispi[spec.DISPI_BPP]!,
  ];
  const [xOffset, yOffset] = [s.dispi[spec.DISPI_X_OFFSET]!, s.dispi[spec.DISPI_Y_OFFSET]!];
  const stride = lineBytes(s);
  if (bpp === 4) {
    const planeStride = stride >> 2;
    return planarPicture(s, width, height, yOffset * planeStride + (xOffset >> 3), planeStride);
  }
  const pixelBytes = (bpp + 7) >> 3;
  const picture = new Picture(width, height, palette(s));
  const channels = CHANNELS[bpp];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = (y + yOffset) * stride + (x + xOffset) * pixelBytes;
      if (channels === undefined) {
        picture.put(x, y, s.memory[at]! & s.pelMask);
        continue;
      }
      let word = 0;
      for (let i = 0; i < pixelBytes; i++) word |= s.memory[at + i]! << (8 * i);
      channels.forEach(([shift, bits], channel) => {
        const value = (word >>> shift) & ((1 << bits) - 1);
        picture.rgb[3 * (y * width + x) + channel] = Math.round((value * 255) / ((1 << bits) - 1));
      });
    }
  return picture;
}

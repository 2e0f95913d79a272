/** A BIOS image of one's own for tests: real-mode code that runs from ROM, put together from a few kinds of step. */

const ROM_BYTES = 0x20000;
const SEGMENT = 0xf000;
const RESET_VECTOR = ROM_BYTES - 16;
const COM1 = 0x3f8;
const DEBUG_EXIT = 0xf4;

const low = (value: number): number => value & 0xff;
const word = (value: number): number[] => [low(value), low(value >> 8)];
const doubleword = (value: number): number[] => [...word(value), ...word(value >>> 16)];

/** Steps of a program; each is the bytes of a few instructions. BX keeps what the program wants to keep. */
export const step = {
  /** DS = segment. */
  dataSegment: (segment: number): number[] => [0xb8, ...word(segment), 0x8e, 0xd8],
  /** ES = segment. */
  extraSegment: (segment: number): number[] => [0xb8, ...word(segment), 0x8e, 0xc0],
  writeByte: (offset: number, value: number): number[] => [0xc6, 0x06, ...word(offset), value],
  incrementByte: (offset: number): number[] => [0xfe, 0x06, ...word(offset)],
  /** The byte at DS:offset to the serial port. */
  sendByte: (offset: number): number[] => [0xa0, ...word(offset), 0xba, ...word(COM1), 0xee],
  /** A byte of PCI configuration space of bus 0. */
  configByte: (device: number, register: number, value: number): number[] => [
    ...[0x66, 0xb8, ...doubleword((0x80000000 | (device << 11) | (register & 0xfc)) >>> 0)],
    ...[0xba, ...word(0xcf8), 0x66, 0xef],
    ...[0xb0, value, 0xba, ...word(0xcfc + (register & 3)), 0xee],
  ],
  /** Copies all of DS to ES (64 KiB). */
  copySegment: (): number[] => [0x31, 0xf6, 0x31, 0xff, 0xb9, 0, 0x40, 0xfc, 0xf3, 0x66, 0xa5],
  outByte: (port: number, value: number): number[] => [0xb0, value, 0xba, ...word(port), 0xee],
  inByte: (port: number): number[] => [0xba, ...word(port), 0xec],
  outWord: (port: number, value: number): number[] => [0xb8, ...word(value), 0xba, ...word(port), 0xef],
  /** The byte that IN gave last, to the serial port. */
  sendLast: (): number[] => [0xba, ...word(COM1), 0xee],
  /** Skips `steps` unless the byte at DS:offset is `value`. */
  ifByte: (offset: number, value: number, steps: readonly (readonly number[])[]): number[] => {
    const bytes = steps.flat();
    return [0x80, 0x3e, ...word(offset), value, 0x0f, 0x85, ...word(bytes.length), ...bytes];
  },
  exit: (code: number): number[] => [0xb0, code, 0xe6, DEBUG_EXIT, 0xf4, 0xeb, 0xfd],
} as const;

/** An image of 128 KiB whose program begins at F000:0100; `data` lies at the given offsets of its last 64 KiB. */
export function biosImage(
  steps: readonly (readonly number[])[],
  data: Readonly<Record<number, number>> = {},
): Uint8Array {
  const image = new Uint8Array(ROM_BYTES).fill(0xff);
  // The serial port sends 8 bits a character.
  image.set([step.outByte(COM1 + 3, 0x03), ...steps].flat(), ROM_BYTES / 2 + 0x100);
  for (const [offset, value] of Object.entries(data)) image[ROM_BYTES / 2 + Number(offset)] = value;
  // JMP F000:0100.
  image.set([0xea, ...word(0x100), ...word(SEGMENT)], RESET_VECTOR);
  return image;
}

/**
 * Writing ACPI Machine Language: the encodings of the ACPI Specification, chapter "ACPI Machine Language (AML)
 * Specification", for the terms that our DSDT uses. Each function gives the bytes of one term.
 */
import { concatenate } from "../../table-writer.ts";

export type Aml = Uint8Array;

const op = (...bytes: number[]): Aml => Uint8Array.from(bytes);

const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const METHOD_OP = 0x14;
const DUAL_NAME_PREFIX = 0x2e;
const MULTI_NAME_PREFIX = 0x2f;
const EXT_OP_PREFIX = 0x5b;
const OP_REGION_OP = 0x80;
const FIELD_OP = 0x81;
const DEVICE_OP = 0x82;
const STORE_OP = 0x70;
const SUBTRACT_OP = 0x74;
const SHIFT_LEFT_OP = 0x79;
const AND_OP = 0x7b;
const OR_OP = 0x7d;
const FIND_SET_RIGHT_BIT_OP = 0x82;
const CREATE_WORD_FIELD_OP = 0x8b;
const IF_OP = 0xa0;
const ELSE_OP = 0xa1;
const RETURN_OP = 0xa4;

/** "Package Length Encoding": the length counts its own 1 to 4 bytes. */
export function packageLength(contentBytes: number): Aml {
  if (contentBytes + 1 < 0x40) return op(contentBytes + 1);
  for (const extra of [1, 2, 3]) {
    const length = contentBytes + 1 + extra;
    if (length >= 2 ** (4 + 8 * extra)) continue;
    const bytes = [(extra << 6) | (length & 0xf)];
    for (let i = 0; i < extra; i++) bytes.push((length >>> (4 + 8 * i)) & 0xff);
    return op(...bytes);
  }
  throw new RangeError(`AML package of ${contentBytes} bytes`);
}

const packaged = (opcode: readonly number[], ...contents: Aml[]): Aml => {
  const content = concatenate(contents);
  return concatenate([op(...opcode), packageLength(content.length), content]);
};

/** A four-character name segment, padded with '_'. */
function segment(name: string): Aml {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(name)) throw new RangeError(`AML name segment "${name}"`);
  return new TextEncoder().encode(name.padEnd(4, "_"));
}

/** A name string: segments joined by '.', after '\' (from the root) or '^' (from the parent), if wanted. */
export function name(path: string): Aml {
  const [, prefix, rest] = /^(\\|\^*)(.*)$/.exec(path)!;
  const segments = rest === "" ? [] : rest!.split(".").map(segment);
  const head: number[] = [...new TextEncoder().encode(prefix)];
  if (segments.length === 0) head.push(0);
  else if (segments.length === 2) head.push(DUAL_NAME_PREFIX);
  else if (segments.length > 2) head.push(MULTI_NAME_PREFIX, segments.length);
  return concatenate([op(...head), ...segments]);
}

/** An integer constant below 2^32, in its shortest encoding. */
export function integer(value: number): Aml {
  if (value === 0) return op(ZERO_OP);
  if (value === 1) return op(ONE_OP);
  if (value < 0x100) return op(BYTE_PREFIX, value);
  if (value < 0x10000) return op(WORD_PREFIX, value & 0xff, value >> 8);
  return op(DWORD_PREFIX, value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

/** An ASCII string constant. */
export const string = (text: string): Aml =>
  concatenate([op(STRING_PREFIX), new TextEncoder().encode(text), op(0)]);

/** "EISAID (EISA ID String To Integer Conversion)": "PNP0A03" as the integer that _HID holds. */
export function eisaId(id: string): Aml {
  const [, letters, digits] = /^([A-Z]{3})([0-9A-F]{4})$/.exec(id) ?? [];
  if (!letters || !digits) throw new RangeError(`EISA ID "${id}"`);
  const [a, b, c] = [0, 1, 2].map((i) => letters.charCodeAt(i) - 0x40);
  const compressed = (a! << 10) | (b! << 5) | c!;
  const product = parseInt(digits, 16);
  return op(DWORD_PREFIX, compressed >> 8, compressed & 0xff, product >> 8, product & 0xff);
}

/** DefBuffer with these contents. */
export const buffer = (bytes: Uint8Array): Aml => packaged([BUFFER_OP], integer(bytes.length), bytes);

/** DefPackage of constant length. */
export function packageOf(elements: readonly Aml[]): Aml {
  if (elements.length > 255) throw new RangeError(`AML package of ${elements.length} elements`);
  return packaged([PACKAGE_OP], op(elements.length), ...elements);
}

export const define = (path: string, value: Aml): Aml => concatenate([op(NAME_OP), name(path), value]);
export const scope = (path: string, ...terms: Aml[]): Aml => packaged([SCOPE_OP], name(path), ...terms);
export const device = (path: string, ...terms: Aml[]): Aml =>
  packaged([EXT_OP_PREFIX, DEVICE_OP], name(path), ...terms);

const METHOD_SERIALIZED = 0x08;

/** DefMethod, serialized: so it may create named objects. */
export const method = (path: string, argumentCount: number, ...terms: Aml[]): Aml =>
  packaged([METHOD_OP], name(path), op(argumentCount | METHOD_SERIALIZED), ...terms);

/** Region spaces: "OperationRegion". */
export const REGION_PCI_CONFIG = 2;

export const operationRegion = (path: string, space: number, offset: number, bytes: number): Aml =>
  concatenate([op(EXT_OP_PREFIX, OP_REGION_OP), name(path), op(space), integer(offset), integer(bytes)]);

/** DefField with byte access, no lock, preserving: consecutive one-byte fields. */
export const byteFields = (region: string, fields: readonly string[]): Aml =>
  packaged(
    [EXT_OP_PREFIX, FIELD_OP],
    name(region),
    op(0x01),
    ...fields.map((field) => concatenate([segment(field), packageLength(7)])),
  );

export const argument = (index: number): Aml => op(0x68 + index);
export const local = (index: number): Aml => op(0x60 + index);
export const NO_TARGET: Aml = op(ZERO_OP);

export const store = (value: Aml, target: Aml): Aml => concatenate([op(STORE_OP), value, target]);
export const and = (a: Aml, b: Aml, target = NO_TARGET): Aml => concatenate([op(AND_OP), a, b, target]);
export const or = (a: Aml, b: Aml, target = NO_TARGET): Aml => concatenate([op(OR_OP), a, b, target]);
export const subtract = (a: Aml, b: Aml, target = NO_TARGET): Aml =>
  concatenate([op(SUBTRACT_OP), a, b, target]);
export const shiftLeft = (a: Aml, count: Aml, target = NO_TARGET): Aml =>
  concatenate([op(SHIFT_LEFT_OP), a, count, target]);
/** Number of the lowest 1 bit, counted from 1; 0 when there is none. */
export const findSetRightBit = (value: Aml, target = NO_TARGET): Aml =>
  concatenate([op(FIND_SET_RIGHT_BIT_OP), value, target]);
export const createWordField = (source: Aml, byteIndex: number, field: string): Aml =>
  concatenate([op(CREATE_WORD_FIELD_OP), source, integer(byteIndex), name(field)]);
export const returns = (value: Aml): Aml => concatenate([op(RETURN_OP), value]);
export const ifElse = (condition: Aml, then: readonly Aml[], otherwise: readonly Aml[] = []): Aml =>
  concatenate([
    packaged([IF_OP], condition, ...then),
    ...(otherwise.length > 0 ? [packaged([ELSE_OP], ...otherwise)] : []),
  ]);

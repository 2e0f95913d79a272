/** The one error of everything that reads a boot image: says which file, what was read, where, why it fails, what to do. */

export interface ImageErrorFields {
  /** The file, as the person named it. */
  readonly file: string;
  /** What was being read: "ELF program header 2", "Linux setup header". */
  readonly what: string;
  /** Where in the file or in memory: "offset 34H", "physical 100000H–143FFFH". */
  readonly where: string;
  /** The rule that does not hold, with the values that break it. */
  readonly why: string;
  /** What the person can do about it. */
  readonly hint: string;
}

/** An image that cannot be read, understood or placed. Its message is one line. */
export class ImageError extends Error implements ImageErrorFields {
  override readonly name = "ImageError";
  readonly file: string;
  readonly what: string;
  readonly where: string;
  readonly why: string;
  readonly hint: string;

  constructor(fields: ImageErrorFields, options?: ErrorOptions) {
    const { file, what, where, why, hint } = fields;
    super(`${file}: ${what} (${where}): ${why}; ${hint}`, options);
    this.file = file;
    this.what = what;
    this.where = where;
    this.why = why;
    this.hint = hint;
  }
}

/** A number in the manuals' notation: `1000H`. */
export function hex(value: number | bigint): string {
  return `${value.toString(16).toUpperCase()}H`;
}

/** An address range in the manuals' notation, both ends included; `length` is at least 1. */
export function hexRange(start: number, length: number): string {
  return `${hex(start)}–${hex(start + length - 1)}`;
}

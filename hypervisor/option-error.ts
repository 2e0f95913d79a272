/** An option that cannot be: says which and what it must be. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

/** Test door of the decoder alone: decodes many byte strings in one call. Not part of the product's core. */
import { DECODED_SIZE } from "./decode/decoded.generated";
import { decode } from "./decode/decode";

export { decode };

/**
 * Decodes `count` strings of 16 bytes from `input`, each as `available` readable bytes.
 * Result i goes to `results` + 4 * i, its record to `records` + DECODED_SIZE * i.
 */
export function decodeMany(
  input: usize,
  count: u32,
  available: u32,
  mode: u32,
  results: usize,
  records: usize,
): void {
  for (let i: u32 = 0; i < count; i++)
    store<i32>(
      results + (i << 2),
      decode(input + (i << 4), available, mode, records + <usize>i * DECODED_SIZE),
    );
}

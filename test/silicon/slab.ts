/**
 * Small arrays side by side in large buffers. A typed array with a buffer of its own costs an allocation outside the engine's heap
 * and a finalizer; a batch of a fuzzer's cases has a hundred thousand of them.
 */

const SLAB_BYTES = 1 << 18;
const ALIGNMENT = 8;

let slab = new ArrayBuffer(SLAB_BYTES);
let used = 0;

/** `length` zeros, aligned to eight bytes. */
export function smallArray(length: number): Uint8Array {
  const at = used;
  used += (length + ALIGNMENT - 1) & -ALIGNMENT;
  if (used <= SLAB_BYTES) return new Uint8Array(slab, at, length);
  slab = new ArrayBuffer(SLAB_BYTES);
  used = 0;
  return smallArray(length);
}

/** The bytes of an array that may lie inside a larger buffer. */
export const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/**
 * Finishes a compiled core: tail calls between handlers, and the CPU's block as their second parameter
 * (emulator/core/env.ts). A module without handlers comes back as it is.
 *
 * @throws Error when the module does not have the expected form
 */
export function insertTailCalls(wasm: Uint8Array): {
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly tailCalls: number;
  readonly handlers: number;
};
